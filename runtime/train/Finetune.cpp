// SPDX-License-Identifier: Apache-2.0

#include "runtime/base/AtomicFile.h"
#include "runtime/train/Adapters.h"
#include "runtime/train/Stages.h"

namespace morph {

StatusOr<StageOutcome> runFinetune(const StageContext &context) {
  const FinetuneSpec &section = context.spec.finetune;
  BatchStreamOptions data;
  data.batch = section.batch;
  data.length = section.length;
  data.taskFraction = section.taskFraction;
  // Joining short documents would train on contexts that are not there.
  data.longDocuments = section.longDocuments;
  LoopOptions options = context.loopOptions("finetune", section);
  data.stream = "finetune";
  BatchStreamOptions training = data;
  training.lengths = section.lengths;
  training.batches = section.steps * section.accumulate;
  MORPH_ASSIGN_OR_RETURN(const auto stream, context.stream(training, section.tasks));
  MORPH_ASSIGN_OR_RETURN(const auto executor, context.executor("finetune"));

  MORPH_ASSIGN_OR_RETURN(Optimizer optimizer, Optimizer::create(*executor, context.processes));
  options.division = Division(context.processes, *executor, options.accumulate, section.batch);
  const BatchSource source = options.division.attachTo(batchSource(*stream, executor->plan()));
  MORPH_ASSIGN_OR_RETURN(const LoopResult result, runTrainLoop(optimizer, source, options));
  if (result.interrupted)
    return StageOutcome::Interrupted;
  if (!context.processes->isLeader())
    return StageOutcome::Done;
  MORPH_ASSIGN_OR_RETURN(const auto weights, mergedWeights(context, *executor));
  MORPH_RETURN_IF_ERROR(writeSafetensors(context.outPath("weights.safetensors"), weights));
  const nlohmann::ordered_json summary = {{"variant", context.variant},     {"steps", result.steps},
                                          {"tokens", result.tokens},        {"seconds", result.seconds},
                                          {"first_loss", result.firstLoss}, {"last_loss", result.lastLoss}};
  MORPH_RETURN_IF_ERROR(writeFile(context.outPath("finetune.json"), summary.dump(2) + "\n"));
  return StageOutcome::Done;
}

} // namespace morph
