// SPDX-License-Identifier: Apache-2.0
// Local search over subsets of layers by exchanging one kept layer for another.

#ifndef MORPH_RUNTIME_TRAIN_SELECT_SWAPSEARCH_H
#define MORPH_RUNTIME_TRAIN_SELECT_SWAPSEARCH_H

#include "runtime/train/select/Selector.h"

namespace morph {

/// The objective (smaller is better) of keeping full attention in these layers (sorted).
using SubsetObjective = std::function<StatusOr<double>(const std::vector<int64_t> &kept)>;

struct SwapResult {
  std::vector<int64_t> kept;
  double objective = 0, firstObjective = 0;
  int64_t evaluations = 0, swaps = 0;
  bool interrupted = false;
};

/// From `kept`, takes the first exchange that lowers the objective until none does. Exchanges are tried from the kept
/// layer of lowest score and the other layer of highest score on: the likeliest first. Pinned layers do not move; no
/// subset is evaluated twice.
StatusOr<SwapResult> searchSwaps(const std::vector<int64_t> &kept, const std::vector<double> &scores,
                                 const SelectionRequest &request, const SubsetObjective &objective);

} // namespace morph

#endif // MORPH_RUNTIME_TRAIN_SELECT_SWAPSEARCH_H
