// SPDX-License-Identifier: Apache-2.0

#include "runtime/base/AtomicFile.h"
#include "runtime/train/Calibrate.h"
#include "runtime/train/HeldOut.h"
#include "runtime/train/KeptResults.h"
#include "runtime/train/Stages.h"

#include <algorithm>
#include <filesystem>
#include <utility>

namespace morph {

namespace {

/// The outputs `stream.<layer>` of a wave's plan, which its neighbours have as well: what goes into it, what comes out
/// of it. Nothing else, for they become names of folders.
std::vector<std::string> streamsOf(const plan::Plan &plan) {
  const std::string prefix = "stream.";
  std::vector<std::string> names;
  for (const plan::NamedValue &output : plan.outputs)
    if (output.name.rfind(prefix, 0) == 0 &&
        output.name.find_first_not_of("0123456789", prefix.size()) == std::string::npos)
      names.push_back(output.name);
  return names;
}

/// Layers that are aligned together.
struct Wave {
  std::string plan;  ///< Its plan; "-forward" after it: the one that measures.
  std::string label; ///< "wave 2 of 4"; empty where there is one.

  /// Where the wave's loop saves its steps.
  std::string stepsPath(const StageContext &context) const {
    return context.outPath(label.empty() ? "checkpoint.safetensors" : "checkpoint." + plan + ".steps.safetensors");
  }
  /// What it leaves to the waves after it.
  std::string resultPath(const StageContext &context) const {
    return context.outPath("checkpoint." + plan + ".safetensors");
  }
};

std::vector<Wave> findWaves(const StageContext &context) {
  if (!context.hasPlan("align-1"))
    return {{"align", ""}};
  std::vector<Wave> waves;
  while (context.hasPlan("align-" + std::to_string(waves.size() + 1)))
    waves.push_back({"align-" + std::to_string(waves.size() + 1), ""});
  for (size_t i = 0; i < waves.size(); ++i)
    waves[i].label = "wave " + std::to_string(i + 1) + " of " + std::to_string(waves.size());
  return waves;
}

/// What is known of a wave once it is through, beside its branches.
struct WaveResult {
  int64_t tokens = 0;
  double seconds = 0, firstLoss = 0, heldOutLoss = 0; ///< Losses are the wave's part of the mean over all layers.
  std::vector<double> layerLoss;                      ///< On held-out data.
  bool interrupted = false;
};

class Alignment {
public:
  explicit Alignment(const StageContext &given) : context(given), section(context.spec.align) {}

  StatusOr<StageOutcome> run();

private:
  StageContext context; ///< With the first values that are calibrated.
  const AlignSpec &section;
  std::unique_ptr<BatchStream> stream, heldOut;
  std::map<std::string, at::Tensor> branches; ///< Of the waves so far: views of their files, but for the last.

  /// A wave that an earlier call has brought to its end; nothing where there is none.
  StatusOr<std::optional<WaveResult>> findResult(const Wave &wave) const;
  Status keepResult(const Wave &wave, const WaveResult &result, Executor &executor);
  StatusOr<WaveResult> train(const Wave &wave, bool isLast);
};

StatusOr<std::optional<WaveResult>> Alignment::findResult(const Wave &wave) const {
  const std::string path = wave.resultPath(context);
  MORPH_ASSIGN_OR_RETURN(const std::optional<Checkpoint> saved, readCheckpoint(path, context.key));
  if (!saved)
    return std::optional<WaveResult>();
  WaveResult result;
  result.tokens = saved->tokens;
  result.seconds = saved->seconds;
  MORPH_RETURN_IF_ERROR(readState(path, [&] {
    saved->state.at("first_loss").get_to(result.firstLoss);
    saved->state.at("held_out_loss").get_to(result.heldOutLoss);
    saved->state.at("held_out_layer_loss").get_to(result.layerLoss);
    return Status();
  }));
  return std::optional<WaveResult>(std::move(result));
}

Status Alignment::keepResult(const Wave &wave, const WaveResult &result, Executor &executor) {
  Checkpoint checkpoint;
  checkpoint.step = section.steps;
  checkpoint.tokens = result.tokens;
  checkpoint.seconds = result.seconds;
  checkpoint.fingerprint = context.key;
  checkpoint.state = {{"first_loss", result.firstLoss},
                      {"held_out_loss", result.heldOutLoss},
                      {"held_out_layer_loss", result.layerLoss}};
  checkpoint.masters = executor.masters();
  if (context.processes->isLeader()) {
    MORPH_RETURN_IF_ERROR(writeCheckpoint(wave.resultPath(context), checkpoint));
    std::error_code error; // What is left is as good as what would be written again.
    std::filesystem::remove(wave.stepsPath(context), error);
  }
  return context.processes->barrier(); // All read it next.
}

StatusOr<WaveResult> Alignment::train(const Wave &wave, bool isLast) {
  MORPH_ASSIGN_OR_RETURN(const auto executor, context.executor(wave.plan));
  MORPH_ASSIGN_OR_RETURN(const auto forward, context.executor(wave.plan + "-forward", executor.get()));
  MORPH_ASSIGN_OR_RETURN(Optimizer optimizer, Optimizer::create(*executor, context.processes));
  LoopOptions options = context.loopOptions("align", section);
  options.variant = wave.label;
  if (!options.checkpointPath.empty())
    options.checkpointPath = wave.stepsPath(context);

  // What the wave before has left of each batch is where this one begins.
  const std::vector<std::string> streams = streamsOf(executor->plan());
  KeptResults teacher(context.outPath("checkpoint.streams"), context.key, streams, context.processes->count());
  options.division = Division(context.processes, *executor, options.accumulate, section.batch);
  const BatchSource source =
      teacher.attachTo(options.division.attachTo(batchSource(*stream, executor->plan())), "train");
  MORPH_ASSIGN_OR_RETURN(const LoopResult loop, runTrainLoop(optimizer, source, options));
  WaveResult result;
  result.interrupted = loop.interrupted;
  if (loop.interrupted)
    return result;

  const int64_t batches = std::max<int64_t>(1, 8 / section.batch);
  const BatchSource measured = teacher.attachTo(batchSource(*heldOut, forward->plan()), "held-out");
  MORPH_ASSIGN_OR_RETURN(const HeldOutLoss loss,
                         heldOutLoss(*forward, measured, batches, nullptr, context.processes.get()));
  result.tokens = loop.tokens;
  result.seconds = loop.seconds;
  result.firstLoss = loop.firstLoss;
  result.heldOutLoss = loss.loss;
  result.layerLoss = loss.layerLoss;
  if (!isLast)
    MORPH_RETURN_IF_ERROR(keepResult(wave, result, *executor));
  else
    branches.merge(trainedTensors(*executor));
  // No wave after it begins where it did.
  for (size_t i = 0; i + (isLast ? 0 : 1) < streams.size(); ++i)
    teacher.forget(streams[i]);
  return result;
}

StatusOr<StageOutcome> Alignment::run() {
  BatchStreamOptions data;
  data.batch = section.batch;
  data.length = section.length;
  data.taskFraction = section.taskFraction;
  data.stream = "align";
  MORPH_ASSIGN_OR_RETURN(stream, context.stream(data, section.tasks));
  data.stream = "held-out/align";
  data.sample.split = Split::Selection;
  MORPH_ASSIGN_OR_RETURN(heldOut, context.stream(data, section.tasks));

  MORPH_ASSIGN_OR_RETURN(const Calibration calibration, calibrate(context, *stream));
  if (calibration.interrupted)
    return StageOutcome::Interrupted;
  context.firstValues = calibration.values;

  WaveResult total;
  const std::vector<Wave> waves = findWaves(context);
  for (const Wave &wave : waves) {
    const bool isLast = &wave == &waves.back();
    std::optional<WaveResult> result;
    if (!isLast) {
      MORPH_ASSIGN_OR_RETURN(result, findResult(wave));
    }
    if (!result) {
      MORPH_ASSIGN_OR_RETURN(result, train(wave, isLast));
      if (result->interrupted)
        return StageOutcome::Interrupted;
    }
    if (!isLast) {
      MORPH_ASSIGN_OR_RETURN(const auto file, SafetensorsFile::open(wave.resultPath(context)));
      const std::string prefix = "master/";
      for (const std::string &name : file->names()) {
        if (name.compare(0, prefix.size(), prefix) != 0)
          return Status::failed("'" + wave.resultPath(context) + "' is damaged: it has a tensor '" + name + "'");
        branches[name.substr(prefix.size())] = file->tensor(name);
      }
    }
    total.tokens += result->tokens;
    total.seconds += result->seconds;
    total.firstLoss += result->firstLoss;
    total.heldOutLoss += result->heldOutLoss;
    total.layerLoss.insert(total.layerLoss.end(), result->layerLoss.begin(), result->layerLoss.end());
  }
  if (!context.processes->isLeader())
    return StageOutcome::Done;
  // Those that are not trained, too: no later stage knows them but by this file.
  branches.insert(calibration.values.begin(), calibration.values.end());
  MORPH_RETURN_IF_ERROR(writeSafetensors(context.outPath("branches.safetensors"), branches));
  nlohmann::ordered_json summary = {{"steps", section.steps},
                                    {"tokens", total.tokens + calibration.tokens},
                                    {"seconds", total.seconds + calibration.seconds},
                                    {"first_loss", total.firstLoss},
                                    {"held_out_loss", total.heldOutLoss},
                                    {"held_out_layer_loss", total.layerLoss}};
  if (!calibration.values.empty())
    summary["calibration"] = {{"weights", calibration.values.size()},
                              {"batches", calibration.batches},
                              {"tokens", calibration.tokens},
                              {"flops", calibration.flops},
                              {"seconds", calibration.seconds}};
  MORPH_RETURN_IF_ERROR(writeFile(context.outPath("align.json"), summary.dump(2) + "\n"));
  return StageOutcome::Done;
}

} // namespace

StatusOr<StageOutcome> runAlign(const StageContext &context) { return Alignment(context).run(); }

} // namespace morph
