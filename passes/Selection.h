// SPDX-License-Identifier: Apache-2.0
// Which layers of a model keep full attention, read from options and from files that the runtime or a person wrote.

#ifndef MORPH_PASSES_SELECTION_H
#define MORPH_PASSES_SELECTION_H

#include "runtime/choice/Space.h"

#include "mlir/Support/LLVM.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/Error.h"

#include <optional>
#include <string>

namespace morph {

/// What a selection file says. All of it is checked against the number of layers.
struct SelectionFile {
  /// What the numbers of a layer are: a score of its full attention, the shares of its candidates but the last, or the
  /// values of all of them.
  enum class Values { Scores, Shares, Candidates };

  llvm::SmallVector<std::string> choice;          ///< Empty, or the name of each layer's candidate.
  std::optional<llvm::SmallVector<int64_t>> kept; ///< Sorted, no layer twice.
  Values kind = Values::Scores;
  std::vector<std::vector<double>> values; ///< Empty, or by layer; finite.
  std::optional<int64_t> budget;
  std::optional<ChoiceSpace> space; ///< Of as many layers.
};

/// Reads a selection or gates file of a model with `layers` layers. Keys: `version` (1), `layers`, `choice` (array of a
/// candidate's name a layer), `kept` (array of layers, those of which `choice` says "full" where both are there),
/// `values` (array of an array a layer), `gates` (array of a number or of an array a layer), `scores` (array of a
/// number a layer), `budget` (layers), `space`; others are for people. The file is not trusted: the error says what is
/// wrong with it, and where (file:line:column).
llvm::Expected<SelectionFile> readSelectionFile(llvm::StringRef path, int64_t layers);

/// Layers floor(i * layers / budget) for i < budget.
llvm::SmallVector<int64_t> uniformLayers(int64_t layers, int64_t budget);

/// Sorts a list of layers; an error names an entry that is no layer of the model or is there twice. `what` names the
/// list.
llvm::Expected<llvm::SmallVector<int64_t>> checkLayers(llvm::ArrayRef<int64_t> list, int64_t layers,
                                                       const llvm::Twine &what);

} // namespace morph

#endif // MORPH_PASSES_SELECTION_H
