// SPDX-License-Identifier: Apache-2.0
// A safetensors file as the runtime reads it, and as a checkpoint of a training loop.

#include "MemoryFile.h"

#include "runtime/train/Checkpoint.h"
#include "runtime/weights/Safetensors.h"

using namespace morph;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static fuzz::MemoryFile memory;
  memory.set(data, size);
  auto file = SafetensorsFile::open(memory.path());
  if (!file.ok())
    return 0;
  for (const std::string &name : (*file)->names())
    (*file)->tensor(name).clone();
  (void)readCheckpoint(memory.path(), "fuzz");
  return 0;
}
