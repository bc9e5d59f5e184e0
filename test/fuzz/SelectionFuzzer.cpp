// SPDX-License-Identifier: Apache-2.0
// selection.json as morph-discretize reads it, for a model of four layers.

#include "MemoryFile.h"
#include "TokenMutator.h"

#include "passes/Selection.h"

using namespace morph;

const std::vector<std::string> &fuzz::formatWords() {
  static const std::vector<std::string> words{"version", "layers",    "kept",          "scores", "gates",
                                              "budget",  "choice",    "null",          "true",   "[]",
                                              "{}",      "lightning", "gated_deltanet"};
  return words;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static fuzz::MemoryFile file;
  file.set(data, size);
  llvm::Expected<SelectionFile> selection = readSelectionFile(file.path(), /*layers=*/4);
  if (!selection) {
    llvm::consumeError(selection.takeError());
    return 0;
  }
  if (selection->scores && selection->budget)
    llvm::consumeError(largestScores(*selection->scores, *selection->budget, {}, {}).takeError());
  return 0;
}
