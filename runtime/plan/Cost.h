// SPDX-License-Identifier: Apache-2.0
// What running a plan once takes: arithmetic and memory, from the shapes alone.

#ifndef MORPH_RUNTIME_PLAN_COST_H
#define MORPH_RUNTIME_PLAN_COST_H

#include "runtime/plan/Plan.h"

namespace morph::plan {

struct Cost {
  double flops = 0;        ///< All instructions; a multiply-add counts as two.
  double productFlops = 0; ///< Of these, the matrix products with weights.
  int64_t peakBytes = 0;   ///< Most bytes of values alive at once, fp32, values freed at their last use.
  int64_t weightBytes = 0; ///< All weights in the checkpoint's dtype.
  int64_t masterBytes = 0; ///< Trainable weights in fp32, once.
  int64_t trainable = 0;   ///< Trainable elements.
};

/// The cost of one run with the named sizes bound ("B", "T", "S", "N"). Errors: a size of an input that is not bound.
/// Attention counts the pairs that causality and window leave; linear attention the chunked algorithm's products.
StatusOr<Cost> estimateCost(const Plan &plan, const std::map<std::string, int64_t> &sizes);

} // namespace morph::plan

#endif // MORPH_RUNTIME_PLAN_COST_H
