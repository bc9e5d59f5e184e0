// SPDX-License-Identifier: Apache-2.0
// What running a plan once takes: arithmetic and memory, from the shapes alone.

#ifndef MORPH_RUNTIME_PLAN_COST_H
#define MORPH_RUNTIME_PLAN_COST_H

#include "runtime/plan/Buffers.h"

namespace morph::plan {

template <typename Number> class OpSizes;

/// Pairs of a query and a key that causal attention of `queries` over `keys` positions computes, the queries being the
/// last of them, each seeing at most `window` keys.
double attentionPairs(double queries, double keys, double window);

/// Operations of the chunked algorithm of linear attention (runtime/kernels/ChunkedRecurrence.h).
double linearAttentionFlops(const OpSizes<double> &d);
/// Of its backward: less where `states` or `written` need not be found again.
double linearAttentionGradFlops(const OpSizes<double> &d);

struct Cost {
  double flops = 0;        ///< All instructions; a multiply-add counts as two.
  int64_t boundBytes = 0;  ///< Weights as the executor holds them between runs, views of files included.
  int64_t inputBytes = 0;  ///< What the caller gives to a run.
  int64_t arenaBytes = 0;  ///< The arena that values and scratch lie in (runtime/plan/Buffers.h).
  int64_t masterBytes = 0; ///< Trainable weights and gates, once.
  int64_t momentBytes = 0; ///< What the update keeps from step to step beside weights and gradients.
  int64_t trainable = 0;   ///< Trainable elements.
};

/// The cost of one run with the named sizes bound ("B", "T", "S", "N"). Errors: a size of an input that is not bound.
/// Attention counts the pairs that causality and window leave; linear attention the chunked algorithm's products.
StatusOr<Cost> estimateCost(const Plan &plan, const std::map<std::string, int64_t> &sizes, const RunMode &mode = {});

/// The operations of each instruction of a valid plan, as `estimateCost` counts them.
StatusOr<std::vector<double>> instructionFlops(const Plan &plan, const std::map<std::string, int64_t> &sizes);

/// The bytes that running the plan holds: weights, inputs (sums of gradients among them), values, moments.
inline double runBytes(const Cost &cost) {
  return static_cast<double>(cost.boundBytes) + static_cast<double>(cost.inputBytes) +
         static_cast<double>(cost.arenaBytes) + static_cast<double>(cost.momentBytes);
}

/// The most that the exchanges of layers keep of one subset for the next: what goes into each layer, of all batches.
inline constexpr int64_t kStreamBytes = int64_t(1) << 30;

/// The most that a stage keeps on disk of one result of a frozen model for later runs on the same data.
inline constexpr int64_t kKeptBytes = int64_t(4) << 30;

/// Bytes of the caches and states that a decode program's caller holds for one sequence of `context` tokens: its inputs
/// `cache.`, in their types, rings with the slots of runtime/plan/Rings.h.
double cacheBytes(const Plan &decode, int64_t context);

} // namespace morph::plan

#endif // MORPH_RUNTIME_PLAN_COST_H
