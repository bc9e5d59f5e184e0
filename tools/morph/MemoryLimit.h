// SPDX-License-Identifier: Apache-2.0
// Stages of training within a memory limit: values that are computed twice, and waves of layers.

#ifndef MORPH_TOOLS_MORPH_MEMORYLIMIT_H
#define MORPH_TOOLS_MORPH_MEMORYLIMIT_H

#include "tools/morph/Compiler.h"
#include "tools/morph/Costs.h"

#include <functional>

namespace morph {

/// A plan of a program, and the options that it is built with: those of a plan that measures the same, too.
struct TrainingPlan {
  std::string name; ///< Its file's without the ending.
  std::string options;
};

/// The plans of a program.
struct TrainingPlans {
  std::vector<TrainingPlan> plans;
  double unlimitedFlops = 0; ///< Of the stage of one model if there were no limit; 0 where there is none.
};

/// The options, ",limit=...,threads=...,sizes=...", by which a plan computes so many values twice that a run of it is
/// within `limit` bytes, or that nothing helps any more; none where the run is within it as it is, and takes `memory`.
/// `measure` says what a run takes by such options. Kernels are formed after the choice of what is computed twice;
/// where the memory is a little more for it, the next attempt is at a lower limit: by a 64th, a 32nd, ..., all.
StatusOr<std::string> fitMemory(double limit, StageMemory memory,
                                const std::function<StatusOr<StageMemory>(const std::string &options)> &measure);

/// Emits the program `program` of a phase as the plan `name` in `folder` (NAME.json). With `model.memory_limit` it is
/// one whose stage, as the spec says, stays within it, at the cost of time; programs of align may become several plans,
/// NAME-1, NAME-2, ..., of as few waves of layers as the limit allows. A stage that cannot stay within it gets the
/// least memory that is found: `explainExcess` says what it is made of.
StatusOr<TrainingPlans> emitTrainingPlans(const Compiler &compiler, const ResolvedSpec &resolved, const fs::path &phase,
                                          const std::string &program, const fs::path &folder, const std::string &name);

/// Takes the stage's memory for that of one of `count` processes. They divide the frozen weights where the spec says
/// so, and where the memory is otherwise beyond its limit or `most` bytes; returns whether they do.
bool divideAmong(const ResolvedSpec &resolved, int64_t count, double most, StageCost &cost);

/// Why a stage of that memory is beyond the spec's limit: "stage 'x' needs at least 98 GB, and the limit is 24 GB:
/// weights are ..."; empty where it is not, or where there is no limit.
std::string explainExcess(const ResolvedSpec &resolved, const StageCost &cost);

/// What makes a stage smaller, as a hint says it.
std::string howToShrink(const ResolvedSpec &resolved, const StageCost &cost);

} // namespace morph

#endif // MORPH_TOOLS_MORPH_MEMORYLIMIT_H
