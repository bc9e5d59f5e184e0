// SPDX-License-Identifier: Apache-2.0
// What a run will take, from its plans and spec alone: tokens, arithmetic, memory, disk, cache at context lengths.

#ifndef MORPH_TOOLS_MORPH_COSTS_H
#define MORPH_TOOLS_MORPH_COSTS_H

#include "runtime/plan/DeviceModel.h"
#include "runtime/spec/Spec.h"
#include "tools/morph/Files.h"
#include "tools/morph/Selection.h"

#include <map>
#include <string>
#include <vector>

namespace morph {

/// What the tensors of a stage hold at most, in bytes.
struct StageMemory {
  double bytes = 0;                     ///< All of it.
  double weights = 0;                   ///< Weights, views of files included.
  double optimizer = 0;                 ///< What training keeps beside them: moments, sums of gradients.
  double values = 0;                    ///< Values of a run and kernels' scratch: what recomputation makes less.
  double moments = 0;                   ///< Of `optimizer` what several processes divide.
  double frozen = 0, gathered = 0;      ///< Of `weights` what they can divide, and the buffer that this would take.
  std::map<std::string, int64_t> sizes; ///< Of that run, by name.
  int64_t threads = 1;                  ///< Of that run.
};

/// Of a run of a plan with the named sizes bound. Errors: a size of an input that is not bound.
StatusOr<StageMemory> memoryOfRun(const plan::Plan &plan, const std::map<std::string, int64_t> &sizes, int64_t threads);
/// Of one of `count` processes, which divide the moments and, where they shard, the frozen weights.
StageMemory memoryOfProcess(StageMemory memory, int64_t count, bool shards);
/// Of generating after `batch` sequences of `length` tokens by a program `decode`: the prefill, or a step.
StatusOr<StageMemory> memoryOfDecoding(const plan::Plan &decode, int64_t batch, int64_t length, int64_t threads);
/// The most tokens of one sequence after which a program `decode` can go on within so many bytes, up to
/// kMostContext: 0 where there is no room for any.
StatusOr<int64_t> longestContext(const plan::Plan &decode, double bytes);
inline constexpr int64_t kMostContext = int64_t(1) << 30;
/// Seconds that a GPU would take for a token after `context` others.
StatusOr<double> decodeSeconds(const plan::Plan &decode, int64_t context, const plan::DeviceModel &device);

/// A line a context from `least` tokens on, doubled until 262144: `context`, `full_bytes` and `hybrid_bytes` of the
/// caches of one sequence, by programs `decode`.
Json cacheByContext(const plan::Plan &full, const plan::Plan &hybrid, int64_t least);

/// The threads that a run has for a spec's number, of which 0 means all cores.
int64_t threadsOf(int64_t threads);

/// The cost of one stage; tokens, FLOPs and disk are those of all its models together.
struct StageCost {
  std::string stage;
  int64_t models = 1; ///< How many models go through the stage, each with all its steps.
  int64_t waves = 1;  ///< Groups of layers that are trained one after another, each with all the steps.
  int64_t steps = 0;
  double tokens = 0;
  double flops = 0;
  double sharedFlops = 0; ///< What its models would take beside these if they did not share the teacher's results.
  double seconds = 0;     ///< On a GPU, where one was named, for all models.
  StageMemory memory;
  double diskBytes = 0; ///< What it leaves; what follows comes on top while it runs.
  double checkpointBytes = 0;
  double keptBytes = 0; ///< Results of the teacher for later runs on the same data.
};

/// Where the plans of a run lie, by program ("calibrate", "align", "gates", "distill", "finetune", "score", "decode",
/// "pretrain"); "score-full" and "decode-full" are the teacher's. Where align goes in waves, they are "align-1",
/// "align-2", ... "score-relaxed" scores choices for selectors, "judge" for an audit. A program without a plan has no
/// cost.
using PlanFiles = std::map<std::string, fs::path>;

/// Costs of the stages that a resolved spec has, in order. The hybrids of `variants` are chosen, distilled, tuned and
/// measured; with a plan "judge", they are an audit's. Times are those of `device`, if any.
StatusOr<std::vector<StageCost>> estimateStages(const ResolvedSpec &resolved, const PlanFiles &plans,
                                                const std::vector<Variant> &variants,
                                                const plan::DeviceModel *device = nullptr);

/// Free disk space for the folder (or the nearest one above that exists).
double availableDisk(const fs::path &folder);

} // namespace morph

#endif // MORPH_TOOLS_MORPH_COSTS_H
