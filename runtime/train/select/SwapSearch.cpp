// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/select/SwapSearch.h"

#include "runtime/train/HeldOut.h"
#include "runtime/train/Interrupt.h"
#include "runtime/train/Progress.h"

#include <algorithm>
#include <cstdio>
#include <set>

namespace morph {

StatusOr<SwapResult> searchSwaps(const std::vector<int64_t> &kept, const std::vector<double> &scores,
                                 const SelectionRequest &request, double errors, const SubsetObjective &objective) {
  SwapResult result;
  result.kept = kept;
  MORPH_ASSIGN_OR_RETURN(const std::vector<double> first, objective(kept));
  if (first.size() < 2)
    return Status::invalid("the exchanges of layers need at least two samples to know their noise",
                           "raise select.swap_samples");
  std::vector<double> current = first;
  std::set<std::vector<int64_t>> seen = {kept};
  const auto contains = [](const std::vector<int64_t> &list, int64_t layer) {
    return std::find(list.begin(), list.end(), layer) != list.end();
  };
  const auto score = [&](int64_t layer) { return scores[static_cast<size_t>(layer)]; };
  // How long the search takes is not known: the bar counts the exchanges of one round.
  const int64_t round = static_cast<int64_t>(kept.size()) * (request.layers - static_cast<int64_t>(kept.size()));
  Progress progress("select (swaps)", round, 0, "subset");

  bool improved = true;
  while (improved) {
    improved = false;
    std::vector<int64_t> leaving, entering;
    for (int64_t layer = 0; layer < request.layers; ++layer) {
      if (contains(result.kept, layer) && !contains(request.keep, layer))
        leaving.push_back(layer);
      else if (!contains(result.kept, layer) && !contains(request.linear, layer))
        entering.push_back(layer);
    }
    std::stable_sort(leaving.begin(), leaving.end(), [&](int64_t a, int64_t b) { return score(a) < score(b); });
    std::stable_sort(entering.begin(), entering.end(), [&](int64_t a, int64_t b) { return score(a) > score(b); });
    int64_t tried = 0;
    for (size_t i = 0; i < entering.size() && !improved; ++i) {
      for (size_t j = 0; j < leaving.size() && !improved; ++j) {
        if (interrupted()) {
          progress.finish();
          std::fprintf(stderr, "select (swaps): stopped after %zu subsets; run again to continue\n", seen.size());
          result.interrupted = true;
          return result;
        }
        std::vector<int64_t> subset = result.kept;
        std::replace(subset.begin(), subset.end(), leaving[j], entering[i]);
        std::sort(subset.begin(), subset.end());
        MORPH_ASSIGN_OR_RETURN(const std::vector<double> values, objective(subset));
        seen.insert(subset);
        const MeanAndError change = pairedDifference(values, current);
        if (change.mean < 0 && change.mean < -errors * change.standardError) {
          result.kept = subset;
          current = values;
          ++result.swaps;
          improved = true;
        }
        char details[64];
        std::snprintf(details, sizeof details, "best %.4g", meanAndError(current).mean);
        ++tried;
        progress.update(std::min(tried, round), 0, details, tried % 10 == 0);
      }
    }
  }
  const MeanAndError gain = pairedDifference(first, current);
  result.firstObjective = meanAndError(first).mean;
  result.objective = meanAndError(current).mean;
  result.gain = gain.mean;
  result.gainStandardError = gain.standardError;
  result.evaluations = static_cast<int64_t>(seen.size());
  return result;
}

} // namespace morph
