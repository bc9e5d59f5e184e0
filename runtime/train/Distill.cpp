// SPDX-License-Identifier: Apache-2.0

#include "runtime/base/AtomicFile.h"
#include "runtime/base/Log.h"
#include "runtime/train/Adapters.h"
#include "runtime/train/HeldOutCourse.h"
#include "runtime/train/KeptResults.h"
#include "runtime/train/Stages.h"

#include <algorithm>
#include <cstdio>

namespace morph {

namespace {

/// Measures the KL on held-out samples of each task and on held-out text, each where the stage has it.
class Probe {
public:
  /// `data` is what the stage trains on.
  static StatusOr<Probe> create(const StageContext &context, BatchStreamOptions data) {
    const DistillSpec &section = context.spec.distill;
    Probe probe;
    // Sequences one by one: the errors, by which weights are kept, are over them.
    data.batch = 1;
    const double tasks = data.taskFraction;
    data.sample.split = Split::Selection;
    const auto add = [&](const std::string &part, double taskFraction,
                         const std::vector<std::string> &names) -> Status {
      data.stream = "held-out/distill/" + part;
      data.taskFraction = taskFraction;
      Part &made = probe.parts_[part];
      MORPH_ASSIGN_OR_RETURN(made.stream, context.stream(data, names));
      made.samples = made.stream->differentSamples(section.evalSamples);
      return Status();
    };
    for (const std::string &task : section.tasks)
      if (tasks > 0)
        MORPH_RETURN_IF_ERROR(add(task, 1, {task}));
    if (tasks < 1)
      MORPH_RETURN_IF_ERROR(add("text", 0, {}));
    return probe;
  }

  /// `teacher` has what an earlier measurement has kept.
  StatusOr<HeldOutParts> measure(int64_t step, Executor &executor, KeptResults &teacher, Processes &processes) const {
    HeldOutParts result;
    result.step = step;
    for (const auto &[name, part] : parts_) {
      const BatchSource source = teacher.attachTo(batchSource(*part.stream, executor.plan()), "held-out-" + name);
      MORPH_ASSIGN_OR_RETURN(const HeldOutLoss loss, heldOutLoss(executor, source, part.samples, nullptr, &processes));
      result.losses[name] = loss.losses;
      result.tokens += loss.tokens;
      result.flops += loss.flops;
    }
    return result;
  }

private:
  struct Part {
    std::unique_ptr<BatchStream> stream;
    int64_t samples = 0; ///< That are measured.
  };
  std::map<std::string, Part> parts_; ///< By task, and "text".
};

/// For distill.json.
nlohmann::ordered_json toJson(const HeldOutParts &parts) {
  nlohmann::ordered_json result;
  for (const auto &[name, losses] : parts.losses) {
    const MeanAndError kl = meanAndError(losses);
    result[name] = {{"kl", kl.mean}, {"standard_error", kl.standardError}, {"by_sample", losses}};
  }
  return result;
}

/// The mean of each part.
nlohmann::ordered_json means(const HeldOutParts &parts) {
  nlohmann::ordered_json result;
  for (const auto &[name, losses] : parts.losses)
    result[name] = meanAndError(losses).mean;
  return result;
}

/// Says where the kept weights are not the last ones, and where a KL has risen.
void report(const std::string &variant, const HeldOutCourse &course, const HeldOutParts &kept) {
  const std::string who = "distill" + (variant.empty() ? "" : " " + variant);
  const HeldOutParts &last = course.last();
  const std::string steps = std::to_string(last.step) + " steps";
  if (kept.step == 0 && last.step > 0)
    logInfo(who.c_str(),
            "the weights are left as they were: of " + steps + " none that was measured on held-out data was better");
  else if (kept.step < last.step)
    logInfo(who.c_str(), "kept the weights of step " + std::to_string(kept.step) + " of " + std::to_string(last.step) +
                             ", the best on held-out data");
  const auto risen = course.worse(last);
  for (const auto &[part, rise] : risen) {
    char numbers[160];
    std::snprintf(numbers, sizeof numbers, "from %.4g to %.4g (by %.2g +- %.1g)",
                  meanAndError(course.first().losses.at(part)).mean, meanAndError(last.losses.at(part)).mean, rise.mean,
                  rise.standardError);
    logWarning(who.c_str(), "KL to the teacher on held-out " + part + " rose " + numbers + " in " + steps);
  }
  if (!risen.empty())
    logLine(who.c_str(), "hint: ", "lower distill.lr, or change distill.task_fraction");
}

} // namespace

StatusOr<StageOutcome> runDistill(const StageContext &context) {
  const DistillSpec &section = context.spec.distill;
  BatchStreamOptions data;
  data.batch = section.batch;
  data.length = section.length;
  data.taskFraction = section.tasks.empty() ? 0 : section.taskFraction;
  data.textPositions = section.textPositions;
  data.stream = "distill";
  LoopOptions options = context.loopOptions("distill", section);

  BatchStreamOptions training = data;
  training.textWeight = section.textWeight;
  training.lengths = section.lengths;
  training.batches = section.steps * section.accumulate;
  MORPH_ASSIGN_OR_RETURN(const auto stream, context.stream(training, section.tasks));
  MORPH_ASSIGN_OR_RETURN(const Probe probe, Probe::create(context, data));
  MORPH_ASSIGN_OR_RETURN(const auto executor, context.executor("distill"));
  MORPH_ASSIGN_OR_RETURN(const auto forward, context.executor("distill-forward", executor.get()));

  MORPH_ASSIGN_OR_RETURN(Optimizer optimizer, Optimizer::create(*executor, context.processes));
  // The teacher, the batches and their order are the same for all variants.
  const bool isShared = !context.teacherDir.empty();
  KeptResults teacher(isShared ? context.teacherDir : context.outPath("checkpoint.teacher"),
                      isShared ? context.teacherKey : context.key, {"teacher"}, context.processes->count());
  options.division = Division(context.processes, *executor, options.accumulate, section.batch);
  BatchSource source =
      options.division.attachTo(countingFlops(batchSource(*stream, executor->plan()), executor->plan()));
  if (isShared) // No variant sees a batch of the training twice.
    source = teacher.attachTo(std::move(source), "train");

  HeldOutCourse course;
  const auto measure = [&](int64_t step) -> Status {
    MORPH_ASSIGN_OR_RETURN(HeldOutParts parts, probe.measure(step, *forward, teacher, *context.processes));
    const bool isBest = course.add(std::move(parts));
    if (!(isBest || section.keep == DistillSpec::Keep::Last) || !context.processes->isLeader())
      return Status();
    MORPH_ASSIGN_OR_RETURN(const auto weights, mergedWeights(context, *executor));
    return writeSafetensors(context.outPath("weights.safetensors"), weights);
  };
  LoopHooks hooks;
  hooks.begin = [&] { return measure(0); };
  hooks.finished = [&](int64_t step, NamedTensors &) -> StatusOr<bool> {
    if ((step + 1) % section.evalEvery != 0 && step + 1 != section.steps)
      return false;
    MORPH_RETURN_IF_ERROR(measure(step + 1));
    return section.patience > 0 && course.sinceBest() >= section.patience;
  };
  hooks.logs = [&](int64_t steps) { return course.last().step == steps; };
  hooks.onLog = [&](int64_t step, nlohmann::ordered_json &line) {
    if (course.last().step == step + 1)
      line["held_out"] = means(course.last());
    return Status();
  };
  hooks.save = [&](Json &state, NamedTensors &) { state = course.state(); };
  hooks.restore = [&](const Json &state, const NamedTensors &) {
    course.restore(state);
    return course.empty() ? Status::failed("the checkpoint of distill has no measurement") : Status();
  };
  MORPH_ASSIGN_OR_RETURN(const LoopResult result, runTrainLoop(optimizer, source, options, hooks));
  if (result.interrupted)
    return StageOutcome::Interrupted;
  if (!context.processes->isLeader())
    return StageOutcome::Done;

  const HeldOutParts &kept = section.keep == DistillSpec::Keep::Best ? course.best() : course.last();
  report(context.variant, course, kept);
  nlohmann::ordered_json measured = nlohmann::ordered_json::array();
  int64_t measuredTokens = 0;
  double measuredFlops = 0;
  for (const HeldOutParts &parts : course.all()) {
    measured.push_back({{"step", parts.step}, {"kl", means(parts)}});
    measuredTokens += parts.tokens;
    measuredFlops += parts.flops;
  }
  const nlohmann::ordered_json summary = {
      {"variant", context.variant},     {"steps", result.steps},        {"kept_step", kept.step},
      {"tokens", result.tokens},        {"flops", result.flops},        {"seconds", result.seconds},
      {"first_loss", result.firstLoss}, {"last_loss", result.lastLoss}, {"held_out_before", toJson(course.first())},
      {"held_out_after", toJson(kept)}, {"held_out", measured},         {"held_out_tokens", measuredTokens},
      {"held_out_flops", measuredFlops}};
  MORPH_RETURN_IF_ERROR(writeFile(context.outPath("distill.json"), summary.dump(2) + "\n"));
  return StageOutcome::Done;
}

} // namespace morph
