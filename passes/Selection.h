// SPDX-License-Identifier: Apache-2.0
// Which layers of a model keep full attention, read from options and from files that the runtime or a person wrote.

#ifndef MORPH_PASSES_SELECTION_H
#define MORPH_PASSES_SELECTION_H

#include "mlir/Support/LLVM.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/Error.h"

#include <optional>
#include <string>

namespace morph {

/// What a selection file says. All of it is checked against the number of layers.
struct SelectionFile {
  std::optional<llvm::SmallVector<int64_t>> kept;  ///< Sorted, no layer twice.
  std::optional<llvm::SmallVector<double>> scores; ///< One a layer, finite.
  std::optional<int64_t> budget;
  llvm::SmallVector<std::string> chosen; ///< Empty, or the kind of mixer of each layer.
};

/// Reads a selection or gates file of a model with `layers` layers. Keys: `version` (1), `layers`, `kept` (array of
/// layers), `scores` or `gates` (array of a number a layer, a gate with several shares being an array whose first is
/// full attention's), `budget` (layers), `chosen` (array of a kind of mixer a layer); others are for people. The file
/// is not trusted: the error says what is wrong with it, and where (file:line:column).
llvm::Expected<SelectionFile> readSelectionFile(llvm::StringRef path, int64_t layers);

/// Layers floor(i * layers / budget) for i < budget.
llvm::SmallVector<int64_t> uniformLayers(int64_t layers, int64_t budget);

/// The `budget` layers with the largest scores, ties to the lower layer, sorted. Layers in `keep` are taken first,
/// layers in `linear` never.
llvm::Expected<llvm::SmallVector<int64_t>> largestScores(llvm::ArrayRef<double> scores, int64_t budget,
                                                         llvm::ArrayRef<int64_t> keep, llvm::ArrayRef<int64_t> linear);

/// Sorts a list of layers; an error names an entry that is no layer of the model or is there twice. `what` names the
/// list.
llvm::Expected<llvm::SmallVector<int64_t>> checkLayers(llvm::ArrayRef<int64_t> list, int64_t layers,
                                                       const llvm::Twine &what);

} // namespace morph

#endif // MORPH_PASSES_SELECTION_H
