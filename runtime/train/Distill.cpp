// SPDX-License-Identifier: Apache-2.0

#include "runtime/base/AtomicFile.h"
#include "runtime/train/HeldOut.h"
#include "runtime/train/KeptResults.h"
#include "runtime/train/Stages.h"

#include <algorithm>
#include <cstdio>

namespace morph {

namespace {

/// KL on held-out tasks and on held-out text, each where the stage has it.
struct Probe {
  std::unique_ptr<BatchStream> tasks, text;
  int64_t batches = 2;

  /// `teacher` has what an earlier measurement has kept.
  StatusOr<Json> measure(Executor &executor, KeptResults &teacher, Processes &processes) const {
    Json result = Json::object();
    for (const auto &[name, stream] : {std::pair<const char *, const BatchStream *>{"tasks", tasks.get()},
                                       std::pair<const char *, const BatchStream *>{"text", text.get()}}) {
      if (!stream)
        continue;
      const BatchSource source =
          teacher.attachTo(batchSource(*stream, executor.plan()), std::string("held-out-") + name);
      MORPH_ASSIGN_OR_RETURN(const HeldOutLoss loss, heldOutLoss(executor, source, batches, nullptr, &processes));
      result[name] = {{"kl", loss.loss}, {"standard_error", loss.standardError}, {"batches", loss.losses}};
    }
    return result;
  }
};

} // namespace

StatusOr<StageOutcome> runDistill(const StageContext &context) {
  const DistillSpec &section = context.spec.distill;
  BatchStreamOptions data;
  data.batch = section.batch;
  data.length = section.length;
  data.taskFraction = section.tasks.empty() ? 0 : section.taskFraction;
  data.textPositions = section.textPositions;
  LoopOptions options = context.loopOptions("distill", section);

  data.stream = "distill";
  MORPH_ASSIGN_OR_RETURN(const auto stream, context.stream(data, section.tasks));
  Probe probe;
  probe.batches = std::max<int64_t>(2, 8 / data.batch);
  BatchStreamOptions held = data;
  held.sample.split = Split::Selection;
  if (data.taskFraction > 0) {
    held.stream = "held-out/distill/tasks";
    held.taskFraction = 1;
    MORPH_ASSIGN_OR_RETURN(probe.tasks, context.stream(held, section.tasks));
  }
  if (data.taskFraction < 1) {
    held.stream = "held-out/distill/text";
    held.taskFraction = 0;
    MORPH_ASSIGN_OR_RETURN(probe.text, context.stream(held, {}));
  }
  MORPH_ASSIGN_OR_RETURN(const auto executor, context.executor("distill"));
  MORPH_ASSIGN_OR_RETURN(const auto forward, context.executor("distill-forward", executor.get()));

  MORPH_ASSIGN_OR_RETURN(Optimizer optimizer, Optimizer::create(*executor, context.processes));
  // The teacher, the batches and their order are the same for all variants.
  const bool isShared = !context.teacherDir.empty();
  KeptResults teacher(isShared ? context.teacherDir : context.outPath("checkpoint.teacher"),
                      isShared ? context.teacherKey : context.key, {"teacher"}, context.processes->count());
  options.division = Division(context.processes, *executor, options.accumulate, section.batch);
  BatchSource source = options.division.attachTo(batchSource(*stream, executor->plan()));
  if (isShared) // No variant sees a batch of the training twice.
    source = teacher.attachTo(std::move(source), "train");
  Json before;
  LoopHooks hooks;
  hooks.begin = [&]() -> Status {
    MORPH_ASSIGN_OR_RETURN(before, probe.measure(*forward, teacher, *context.processes));
    return Status();
  };
  hooks.save = [&](Json &state, NamedTensors &) { state = before; };
  hooks.restore = [&](const Json &state, const NamedTensors &) {
    before = state;
    return Status();
  };
  MORPH_ASSIGN_OR_RETURN(const LoopResult result, runTrainLoop(optimizer, source, options, hooks));
  if (result.interrupted)
    return StageOutcome::Interrupted;

  MORPH_ASSIGN_OR_RETURN(const Json after, probe.measure(*forward, teacher, *context.processes));
  if (!context.processes->isLeader())
    return StageOutcome::Done;
  for (const auto &[name, value] : after.items()) {
    if (!before.is_object() || !before.contains(name))
      continue;
    // The same batches before and after: their differences show what the batches' own spread would hide.
    const MeanAndError rise = pairedDifference(value["batches"], before[name]["batches"]);
    if (rise.mean > 2 * rise.standardError)
      std::fprintf(stderr,
                   "distill: warning: KL to the teacher on held-out %s rose from %.4g to %.4g (by %.2g +- %.1g)\n"
                   "distill: hint: lower distill.lr, or change distill.task_fraction\n",
                   name.c_str(), before[name]["kl"].get<double>(), value["kl"].get<double>(), rise.mean,
                   rise.standardError);
  }
  MORPH_RETURN_IF_ERROR(writeSafetensors(context.outPath("weights.safetensors"), trainedTensors(*executor)));
  const nlohmann::ordered_json summary = {{"variant", context.variant},     {"steps", result.steps},
                                          {"tokens", result.tokens},        {"seconds", result.seconds},
                                          {"first_loss", result.firstLoss}, {"last_loss", result.lastLoss},
                                          {"held_out_before", before},      {"held_out_after", after}};
  MORPH_RETURN_IF_ERROR(writeFile(context.outPath("distill.json"), summary.dump(2) + "\n"));
  return StageOutcome::Done;
}

} // namespace morph
