// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/select/SwapSearch.h"

#include "runtime/train/Interrupt.h"
#include "runtime/train/Progress.h"

#include <algorithm>
#include <cstdio>
#include <set>

namespace morph {

StatusOr<SwapResult> searchSwaps(const std::vector<int64_t> &kept, const std::vector<double> &scores,
                                 const SelectionRequest &request, const SubsetObjective &objective) {
  SwapResult result;
  result.kept = kept;
  MORPH_ASSIGN_OR_RETURN(result.objective, objective(kept));
  result.firstObjective = result.objective;
  result.evaluations = 1;
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
          result.interrupted = true;
          return result;
        }
        std::vector<int64_t> subset = result.kept;
        std::replace(subset.begin(), subset.end(), leaving[j], entering[i]);
        std::sort(subset.begin(), subset.end());
        ++tried;
        if (!seen.insert(subset).second)
          continue;
        MORPH_ASSIGN_OR_RETURN(const double value, objective(subset));
        ++result.evaluations;
        char details[64];
        std::snprintf(details, sizeof details, "best %.4g", std::min(value, result.objective));
        progress.update(std::min(tried, round), 0, details, result.evaluations % 10 == 0);
        if (value < result.objective) {
          result.kept = subset;
          result.objective = value;
          ++result.swaps;
          improved = true;
        }
      }
    }
  }
  return result;
}

} // namespace morph
