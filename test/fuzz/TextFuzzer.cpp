// SPDX-License-Identifier: Apache-2.0
// Token files: text.json, text.documents and text.tokens. An input is the JSON, a byte 0, eight offsets and the tokens.

#include "MemoryFile.h"

#include "runtime/data/Retrieval.h"
#include "runtime/data/TextStore.h"

#include <algorithm>
#include <cstring>

using namespace morph;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static fuzz::MemoryFile json, documents, tokens;
  static fuzz::MemoryFolder folder;
  static bool added =
      (folder.add("text.json", json), folder.add("text.documents", documents), folder.add("text.tokens", tokens), true);
  (void)added;
  const void *zero = size ? std::memchr(data, 0, size) : nullptr;
  size_t cut = zero ? static_cast<size_t>(static_cast<const uint8_t *>(zero) - data) : size;
  json.set(data, cut);
  size_t begin = zero ? cut + 1 : size;
  size_t middle = std::min(size, begin + 64);
  documents.set(data + begin, middle - begin);
  tokens.set(data + middle, size - middle);
  auto store = TextStore::open(folder.path(), /*vocabulary=*/256);
  if (!store.ok())
    return 0;
  for (Split split : kSplits)
    for (int64_t length : {1, 7, 100})
      textSample(**store, /*seed=*/0, size, length, /*lastPositions=*/3, split);
  (*store)->evaluationWindows(8, 64);
  (*store)->packedWindow(/*seed=*/0, size, 8);
  return 0;
}
