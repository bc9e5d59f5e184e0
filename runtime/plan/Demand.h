// SPDX-License-Identifier: Apache-2.0
// Which instructions of a plan a run needs, where gates leave candidates out and some results are there already. A
// candidate whose share is exactly zero has no backward, for it would add zeros; nor a forward where nothing but its
// blend reads it.

#ifndef MORPH_RUNTIME_PLAN_DEMAND_H
#define MORPH_RUNTIME_PLAN_DEMAND_H

#include "runtime/plan/Plan.h"

#include <set>

namespace morph::plan {

/// What becomes of an instruction.
enum class Step : unsigned char {
  Run,
  Skip,  ///< Nothing reads its results.
  Zero,  ///< Its results are zero, or what reads them multiplies them by zero: they are filled with zeros.
  Given, ///< Those of its results that are given are copied; the others are zeros.
};

/// For each weight, the candidates whose share is zero; empty where it is no gate.
using ZeroShares = std::vector<std::vector<bool>>;

/// The candidates whose share is zero in any precision, by a gate's values: those that are 0, and the last candidate
/// where one of them is 1 and the others are 0.
std::vector<bool> zeroShares(const std::vector<double> &gate);

/// A step an instruction, such that the outputs of a run are those of one that runs all. `given` are values that are
/// there already.
std::vector<Step> planSteps(const Plan &plan, const ZeroShares &zero, const std::set<int64_t> &given = {});

} // namespace morph::plan

#endif // MORPH_RUNTIME_PLAN_DEMAND_H
