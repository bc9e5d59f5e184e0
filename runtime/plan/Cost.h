// SPDX-License-Identifier: Apache-2.0
// What running a plan once takes: arithmetic and memory, from the shapes alone.

#ifndef MORPH_RUNTIME_PLAN_COST_H
#define MORPH_RUNTIME_PLAN_COST_H

#include "runtime/plan/Plan.h"

namespace morph::plan {

struct Cost {
  double flops = 0;          ///< All instructions; a multiply-add counts as two.
  double productFlops = 0;   ///< Of these, the matrix products with weights.
  int64_t boundBytes = 0;    ///< Weights as the executor holds them between runs, views of files included.
  int64_t runBytes = 0;      ///< What a run holds beside them at most: inputs, values, kernels' scratch.
  int64_t outputBytes = 0;   ///< The outputs, which are left after a run.
  int64_t halfBytes = 0;     ///< bf16 copies of weights held in fp32, which are left too.
  int64_t masterBytes = 0;   ///< Trainable weights and gates in fp32, once.
  int64_t largestMaster = 0; ///< The largest one of these.
  int64_t trainable = 0;     ///< Trainable elements.
};

/// How a program is run.
struct RunMode {
  bool halves = false; ///< Products are bf16.
  int64_t threads = 1; ///< Each has scratch of its own.
};

/// The cost of one run with the named sizes bound ("B", "T", "S", "N"). Errors: a size of an input that is not bound.
/// Attention counts the pairs that causality and window leave; linear attention the chunked algorithm's products.
/// Memory is what the executor and its kernels allocate through LibTorch's allocator, instruction by instruction.
StatusOr<Cost> estimateCost(const Plan &plan, const std::map<std::string, int64_t> &sizes, const RunMode &mode = {});

/// The most bytes that training by the plan holds, its weights included: a run beside the sums of earlier batches'
/// gradients where a step has several (`accumulates`) and beside AdamW's moments where it is not the first step
/// (`moments`), or the update.
double trainingBytes(const Cost &cost, bool accumulates, bool moments);

/// Bytes of the caches and states that a decode program's caller holds for one sequence of `context` tokens: its inputs
/// `cache.`, all of them fp32; keys and values of every token, windows or not.
double cacheBytes(const Plan &decode, int64_t context);

} // namespace morph::plan

#endif // MORPH_RUNTIME_PLAN_COST_H
