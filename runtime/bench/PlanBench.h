// SPDX-License-Identifier: Apache-2.0
// Times the steps of one plan, and what they could take at best.

#ifndef MORPH_RUNTIME_BENCH_PLANBENCH_H
#define MORPH_RUNTIME_BENCH_PLANBENCH_H

#include "runtime/base/Json.h"
#include "runtime/bench/SeededData.h"
#include "runtime/train/StageContext.h"

namespace morph {

struct PlanBenchOptions {
  std::string program; ///< The plan that is timed.
  RunSizes sizes;
  int64_t warmup = 2; ///< Untimed steps.
  int64_t repeat = 5; ///< Samples.
  bool profile = false;
  std::string save; ///< Folder for model, branches and inputs, each with .safetensors; empty: none.
};

/// Times the context's plan of `program`. Its weights come from the context's files; without files those that the plan
/// `score` reads, all of a base model, are made from the seed. A plan that trains is stepped by the training loop,
/// updates included; another is run on the same inputs again and again.
///
/// Gates stand in the middle: at their first value, all full attention, a step has no loss and needs no candidate.
///
/// The result: median_seconds; spread, (largest - least) / median; tokens_per_second; flops; ideal_gemm_seconds, the
/// plan's products with weights by the fastest library at hand, timed between the samples; share, ideal / median;
/// peak_bytes, held at most in a step, weights included; planned_bytes, the same before the run; peak_rss_bytes, of the
/// process; allocations of one step; loss of the first step; cpu; seconds of each sample; products, each shape. For
/// decoding also read_bytes, of weights and caches; ideal_read_seconds, what reading so many bytes takes, timed between
/// the samples; read_share. With `profile` the seconds of each op.
StatusOr<nlohmann::ordered_json> benchPlan(const StageContext &context, const PlanBenchOptions &options);

} // namespace morph

#endif // MORPH_RUNTIME_BENCH_PLANBENCH_H
