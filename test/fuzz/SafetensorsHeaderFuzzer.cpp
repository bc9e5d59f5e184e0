// SPDX-License-Identifier: Apache-2.0
// A safetensors file as the compiler reads it: the header only.

#include "MemoryFile.h"

#include "frontends/huggingface/SafetensorsHeader.h"

#include "llvm/Support/raw_ostream.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static morph::fuzz::MemoryFile file;
  file.set(data, size);
  morph::Diagnostics diagnostics("fuzz", llvm::nulls());
  morph::readSafetensorsHeader(file.path(), diagnostics);
  return 0;
}
