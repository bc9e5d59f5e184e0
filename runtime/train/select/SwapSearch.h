// SPDX-License-Identifier: Apache-2.0
// Local search over subsets of layers by exchanging one kept layer for another.

#ifndef MORPH_RUNTIME_TRAIN_SELECT_SWAPSEARCH_H
#define MORPH_RUNTIME_TRAIN_SELECT_SWAPSEARCH_H

#include "runtime/train/select/Selector.h"

namespace morph {

/// The objective (smaller is better) of keeping full attention in these layers (sorted), on each sample of a fixed
/// list. Asking twice for a subset must be cheap (MeasuredSubsets).
using SubsetObjective = std::function<StatusOr<std::vector<double>>(const std::vector<int64_t> &kept)>;

struct SwapResult {
  std::vector<int64_t> kept;
  double objective = 0, firstObjective = 0; ///< Means over the samples.
  double gain = 0, gainStandardError = 0;   ///< What all exchanges lowered it by: the paired difference.
  int64_t evaluations = 0, swaps = 0;       ///< Different subsets looked at; exchanges made.
  bool interrupted = false;
};

/// From `kept`, takes the first exchange that lowers the objective, until none does. Only what rises above the noise of
/// the samples counts: the mean of (new - old) over the same samples must be below -`errors` of its standard errors.
/// Exchanges are tried from the kept layer of lowest score and the other layer of highest score on: the likeliest
/// first. Pinned layers do not move. The mean falls with every exchange, so none comes back. Errors: fewer than
/// two samples, which have no error.
StatusOr<SwapResult> searchSwaps(const std::vector<int64_t> &kept, const std::vector<double> &scores,
                                 const SelectionRequest &request, double errors, const SubsetObjective &objective);

} // namespace morph

#endif // MORPH_RUNTIME_TRAIN_SELECT_SWAPSEARCH_H
