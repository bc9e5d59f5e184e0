// SPDX-License-Identifier: Apache-2.0
// Local search over choices by exchanging the candidates of one layer or two.

#ifndef MORPH_RUNTIME_TRAIN_SELECT_SWAPSEARCH_H
#define MORPH_RUNTIME_TRAIN_SELECT_SWAPSEARCH_H

#include "runtime/choice/Solve.h"

#include <functional>

namespace morph {

/// The objective (smaller is better) of a choice on each of the first `samples` samples of a fixed list, and maybe on
/// more. Asking twice for a choice must be cheap (MeasuredChoices).
using ChoiceObjective = std::function<StatusOr<std::vector<double>>(const Choice &choice, int64_t samples)>;

/// With fewer samples than these a standard error is too uncertain for more than telling what is far worse: by more
/// than kFarWorse of its standard errors.
inline constexpr size_t kRaceSamples = 16;
inline constexpr double kFarWorse = 2;

/// With as many samples or more, an exchange is measured no further once it would pass with a probability below one in
/// ten: this is that quantile of Student's distribution with kRaceSamples - 1 degrees of freedom.
inline constexpr double kRaceQuantile = 1.3406;

struct SwapResult {
  Choice choice;
  double objective = 0, firstObjective = 0; ///< Means over the samples that each was measured on.
  double gain = 0, gainStandardError = 0;   ///< What all exchanges lowered it by: the paired difference.
  int64_t evaluations = 0, swaps = 0;       ///< Different choices looked at; exchanges made.
  int64_t samples = 0;                      ///< On which these were measured, all together.
};

/// From `choice`, takes the first exchange that lowers the objective, until none does. An exchange gives one layer (or
/// tied group) another candidate, or two at once, and satisfies the space: with two candidates and a number of layers,
/// one kept layer for another; the sum of its `values` is at most `reach` below that of `choice`. Only what rises above
/// the noise of the samples counts: the mean of (new - old) over the same samples must be below -`errors` of its
/// standard errors. Exchanges are tried from those on that raise the sum of `values` most or lower it least: the
/// likeliest first. The mean falls with every exchange, so none comes back.
///
/// An exchange is a race (Maron and Moore, Hoeffding Races, NIPS 1993) against that bar: it is measured on an eighth of
/// the samples, a quarter, a half and all of them, and is out at the first look that makes it unlikely to pass. Of a
/// mean m with the standard error s on a share f of the samples, the mean over all is distributed about N(m, s^2 (1 -
/// f)), and its error will be s sqrt(f) (predictive power: Spiegelhalter, Freedman and Blackburn, Controlled Clinical
/// Trials 7, 1986): out where m > kRaceQuantile * s * sqrt(1 - f) - `errors` * s * sqrt(f). So what is as good as the
/// present choice does not take all samples to show that it is no better; what would just pass is lost at one look in
/// ten.
///
/// `beginRound` is told how many exchanges there are to try, at the beginning and after each that is taken.
///
/// Errors: fewer than two samples, which have no error; what `objective` says.
StatusOr<SwapResult> searchSwaps(const Choice &choice, const CandidateTable &values, const ChoiceSpace &space,
                                 double reach, double errors, int64_t samples, const ChoiceObjective &objective,
                                 const std::function<void(int64_t exchanges)> &beginRound = nullptr);

} // namespace morph

#endif // MORPH_RUNTIME_TRAIN_SELECT_SWAPSEARCH_H
