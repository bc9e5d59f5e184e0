// SPDX-License-Identifier: Apache-2.0
// selection.json as morph-discretize reads it, for a model of four layers.

#include "MemoryFile.h"
#include "TokenMutator.h"

#include "passes/Selection.h"
#include "runtime/choice/Solve.h"

using namespace morph;

const std::vector<std::string> &fuzz::formatWords() {
  static const std::vector<std::string> words{
      "version", "layers", "kept",    "scores", "gates",     "budget", "choice", "values", "space", "allowed",
      "ties",    "counts", "budgets", "costs",  "candidate", "null",   "true",   "[]",     "{}",    "gated_deltanet"};
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
  // What is read makes sense: a space can be solved in, or says what excludes each other.
  if (selection->space)
    (void)solve(*selection->space, {}).ok();
  return 0;
}
