// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/TrainLoop.h"

#include "runtime/base/Log.h"
#include "runtime/train/Interrupt.h"
#include "runtime/train/Metrics.h"
#include "runtime/train/Progress.h"
#include "runtime/train/Readings.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>

namespace morph {

/// So many steps at most go by unread where nothing else asks for their losses.
static constexpr int64_t kMostUnread = 100;

/// The elements of the output `layer_loss`; 0: the program has none.
static size_t layerCountOf(const plan::Plan &plan) {
  for (const plan::NamedValue &output : plan.outputs)
    if (output.name == "layer_loss")
      return static_cast<size_t>(std::get<int64_t>(plan.values[static_cast<size_t>(output.value)].shape.at(0)));
  return 0;
}

namespace {

/// State of a running loop.
class Loop {
public:
  Loop(Optimizer &optimizer, const BatchSource &source, const LoopOptions &options, const LoopHooks &hooks)
      : optimizer_(optimizer), source_(source), options_(options), hooks_(hooks),
        layerCount_(layerCountOf(optimizer.executor().plan())), readsAreFree_(optimizer.executor().device().is_cpu()) {}

  StatusOr<LoopResult> run();

private:
  Status resume();
  Status checkpoint();
  /// The end of a hint.
  std::string kept() const { return hasCheckpoint_ ? "; the last checkpoint is kept" : ""; }
  /// Sums up the gradients of the step, averaged over the batches of all processes.
  Status addBatches(int64_t step);
  /// Reads the losses and norms of the steps before `end` that were not read yet. Errors: one is not finite.
  Status read(int64_t end);
  Status requireFinite(const Readings::Reading &loss, const std::vector<Readings::Reading> &layers) const;
  NamedTensors &masters() { return optimizer_.executor().masters(); }
  double elapsed() const {
    return secondsBefore_ + std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
  }

  Optimizer &optimizer_;
  const BatchSource &source_;
  const LoopOptions &options_;
  const LoopHooks &hooks_;

  Processes &processes() { return options_.division.processes(); }

  int64_t step_ = 0, tokens_ = 0;
  double flops_ = 0;
  double secondsBefore_ = 0;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  Readings losses_, layerLosses_, norms_; ///< Of batches and steps that were not read yet.
  int64_t readSteps_ = 0;                 ///< Steps whose losses were read.
  double intervalLoss_ = 0;               ///< Sum since the last logged step.
  int64_t intervalSteps_ = 0;
  double firstLoss_ = 0, lastLoss_ = 0, lastNorm_ = 0;
  const size_t layerCount_;      ///< Elements of the output `layer_loss`; 0: there is none.
  std::vector<float> layerLoss_; ///< Of the last step that was read.
  const bool readsAreFree_;      ///< What is read is there: on the CPU.
  bool asked_ = false;           ///< A signal has come to one of the processes.
  bool stopped_ = false;         ///< The stage's `finished` said so.
  bool hasCheckpoint_ = false;
};

} // namespace

Status Loop::resume() {
  if (options_.checkpointPath.empty())
    return Status();
  MORPH_ASSIGN_OR_RETURN(std::optional<Checkpoint> saved,
                         readCheckpoint(options_.checkpointPath, options_.fingerprint));
  if (!saved)
    return Status();
  hasCheckpoint_ = true;
  MORPH_RETURN_IF_ERROR(restoreMasters(masters(), saved->masters));
  MORPH_RETURN_IF_ERROR(optimizer_.restore(saved->optimizer));
  step_ = readSteps_ = saved->step;
  tokens_ = saved->tokens;
  secondsBefore_ = saved->seconds;
  return readState(options_.checkpointPath, [&]() -> Status {
    flops_ = saved->state.value("flops", 0.0);
    intervalLoss_ = saved->state.value("interval_loss", 0.0);
    intervalSteps_ = saved->state.value("interval_steps", int64_t(0));
    firstLoss_ = saved->state.value("first_loss", 0.0);
    lastLoss_ = saved->state.value("last_loss", 0.0);
    stopped_ = saved->state.value("stopped", false);
    if (hooks_.restore)
      MORPH_RETURN_IF_ERROR(hooks_.restore(saved->state.value("stage", Json()), saved->stage));
    return Status();
  });
}

Status Loop::checkpoint() {
  if (options_.checkpointPath.empty())
    return Status();
  Checkpoint checkpoint;
  checkpoint.step = step_;
  checkpoint.tokens = tokens_;
  checkpoint.seconds = elapsed();
  checkpoint.fingerprint = options_.fingerprint;
  checkpoint.masters = masters();
  MORPH_ASSIGN_OR_RETURN(checkpoint.optimizer, optimizer_.state());
  Json stage;
  if (hooks_.save)
    hooks_.save(stage, checkpoint.stage);
  checkpoint.state = {{"flops", flops_},
                      {"interval_loss", intervalLoss_},
                      {"interval_steps", intervalSteps_},
                      {"first_loss", firstLoss_},
                      {"last_loss", lastLoss_},
                      {"stopped", stopped_},
                      {"stage", stage}};
  hasCheckpoint_ = true;
  return processes().isLeader() ? writeCheckpoint(options_.checkpointPath, checkpoint) : Status();
}

Status Loop::addBatches(int64_t step) {
  const double share = 1 / static_cast<double>(options_.accumulate);
  double tokens = 0, flops = 0;
  for (int64_t i = 0; i < options_.accumulate; ++i) {
    const int64_t index = step * options_.accumulate + i;
    if (!options_.division.owns(index))
      continue;
    MORPH_ASSIGN_OR_RETURN(LoopBatch batch, source_(index));
    if (batch.share == 0)
      continue;
    MORPH_ASSIGN_OR_RETURN(NamedTensors outputs, options_.division.run(batch, [&] {
      return optimizer_.addBatch(batch.inputs, share * batch.share, batch.given);
    }));
    if (batch.keep)
      MORPH_RETURN_IF_ERROR(batch.keep(outputs));
    auto found = outputs.find("loss");
    if (found == outputs.end())
      return Status::invalid("the plan '" + optimizer_.executor().plan().program + "' has no output 'loss'");
    losses_.keep(step, share * batch.share, found->second);
    if (layerCount_ > 0)
      layerLosses_.keep(step, share * batch.share, outputs.at("layer_loss"));
    tokens += static_cast<double>(batch.tokens);
    flops += batch.flops;
  }
  MORPH_RETURN_IF_ERROR(optimizer_.sumGradients());
  MORPH_ASSIGN_OR_RETURN(const std::vector<double> sums, processes().sum({tokens, flops, interrupted() ? 1.0 : 0.0}));
  tokens_ += static_cast<int64_t>(sums[0]);
  flops_ += sums[1];
  asked_ = sums[2] > 0;
  return Status();
}

Status Loop::requireFinite(const Readings::Reading &loss, const std::vector<Readings::Reading> &layers) const {
  const double value = loss.value.front();
  if (std::isfinite(value))
    return Status();
  std::string where;
  for (const Readings::Reading &ofLayers : layers)
    for (size_t layer = 0; ofLayers.step == loss.step && where.empty() && layer < ofLayers.value.size(); ++layer)
      if (!std::isfinite(ofLayers.value[layer]))
        where = " (first in layer " + std::to_string(layer) + ")";
  return Status::failed(options_.stage + ": the loss of step " + std::to_string(loss.step + 1) + " is " +
                            (std::isnan(value) ? "not a number" : "infinite") + where,
                        // Before the first update the weights are those that the stage was given.
                        loss.step == 0
                            ? std::string("a mixer of your own may be the cause: decays are logarithms, which "
                                          "are not positive")
                            : "lower the learning rate, or use precision = \"fp32\"; decays of a mixer that "
                              "become positive are another cause" +
                                  kept());
}

Status Loop::read(int64_t end) {
  const std::vector<Readings::Reading> losses = losses_.take(), layers = layerLosses_.take(), norms = norms_.take();
  // Steps after one whose gradient is not finite tell nothing.
  const auto bad = std::find_if(norms.begin(), norms.end(),
                                [](const Readings::Reading &norm) { return !std::isfinite(norm.value.front()); });
  const int64_t sound = bad == norms.end() ? end : bad->step + 1;
  const auto unread = static_cast<size_t>(end - readSteps_);
  std::vector<double> sums(unread + layerCount_, 0.0); // Of every step the loss, of the last one the layers', too.
  for (const Readings::Reading &loss : losses) {
    if (loss.step >= sound)
      break;
    MORPH_RETURN_IF_ERROR(requireFinite(loss, layers));
    sums[static_cast<size_t>(loss.step - readSteps_)] += loss.weight * loss.value.front();
  }
  for (const Readings::Reading &ofLayers : layers)
    for (size_t layer = 0; ofLayers.step == end - 1 && layer < layerCount_; ++layer)
      sums[unread + layer] += ofLayers.weight * ofLayers.value[layer];
  // Norms are the same in all processes: one whose loss is not finite says so, and is missed here by the others.
  if (unread > 0) {
    MORPH_ASSIGN_OR_RETURN(sums, processes().sum(std::move(sums)));
  }
  if (bad != norms.end())
    return Status::failed(options_.stage + ": the gradient of step " + std::to_string(bad->step + 1) + " is not finite",
                          "lower the learning rate" + kept());
  if (!norms.empty())
    lastNorm_ = norms.back().value.front();
  if (unread == 0)
    return Status();
  for (size_t i = 0; i < unread; ++i, ++readSteps_) {
    lastLoss_ = sums[i];
    if (readSteps_ == 0)
      firstLoss_ = lastLoss_;
    intervalLoss_ += lastLoss_;
    ++intervalSteps_;
  }
  layerLoss_.assign(sums.begin() + static_cast<std::ptrdiff_t>(unread), sums.end());
  return Status();
}

StatusOr<LoopResult> Loop::run() {
  MORPH_RETURN_IF_ERROR(resume());
  const int64_t resumedAt = step_, tokensBefore = tokens_;
  MORPH_ASSIGN_OR_RETURN(MetricsFile metrics,
                         options_.metricsPath.empty() || !processes().isLeader()
                             ? StatusOr<MetricsFile>(MetricsFile())
                             : MetricsFile::open(options_.metricsPath, options_.stage, options_.variant, step_));
  const std::string label = options_.stage + (options_.variant.empty() ? "" : " " + options_.variant);
  Progress progress(label, options_.steps, step_);
  if (step_ > 0 && step_ < options_.steps)
    progress.note("continuing after step " + std::to_string(step_));
  if (options_.division.idle() > 0 && processes().isLeader())
    logWarning("morph-run", label + ": " + std::to_string(options_.division.idle()) + " of " +
                                std::to_string(processes().count()) +
                                " processes have nothing to do: a step has too few batches and sequences for all");
  begin_ = std::chrono::steady_clock::now();
  if (step_ == 0 && options_.steps > 0 && hooks_.begin)
    MORPH_RETURN_IF_ERROR(hooks_.begin());

  char details[64] = "";
  while (step_ < options_.steps && !stopped_) {
    MORPH_RETURN_IF_ERROR(addBatches(step_));
    // What a hook looks at is finite; and it waits for the device anyway.
    if (hooks_.onGradients) {
      MORPH_RETURN_IF_ERROR(read(step_ + 1));
      MORPH_RETURN_IF_ERROR(hooks_.onGradients(step_, optimizer_.gradients()));
    }
    const double rate = hooks_.rate ? hooks_.rate(step_) : options_.schedule.rate(step_);
    MORPH_ASSIGN_OR_RETURN(const at::Tensor norm, optimizer_.step(rate));
    norms_.keep(step_, 1, norm);
    if (hooks_.onUpdate) {
      MORPH_RETURN_IF_ERROR(read(step_ + 1));
      MORPH_RETURN_IF_ERROR(hooks_.onUpdate(step_, masters()));
    }
    ++step_;
    if (readsAreFree_)
      MORPH_RETURN_IF_ERROR(read(step_));
    if (hooks_.finished) {
      const StatusOr<bool> finished = hooks_.finished(step_ - 1, masters());
      if (!finished.ok())
        MORPH_RETURN_IF_ERROR(read(step_)); // It may have met weights that a loss, not read yet, says more of.
      MORPH_ASSIGN_OR_RETURN(stopped_, finished);
    }
    const bool last = step_ == options_.steps || stopped_;
    const bool log =
        last || (options_.logEvery > 0 && step_ % options_.logEvery == 0) || (hooks_.logs && hooks_.logs(step_));
    const bool stop = asked_ && !last;
    const bool keep = last || stop || (options_.checkpointEvery > 0 && step_ % options_.checkpointEvery == 0);
    if (log || keep || step_ - readSteps_ == kMostUnread)
      MORPH_RETURN_IF_ERROR(read(step_));
    if (intervalSteps_ > 0)
      std::snprintf(details, sizeof details, "loss %.4g", intervalLoss_ / static_cast<double>(intervalSteps_));
    if (!options_.quiet)
      progress.update(step_, tokens_ - tokensBefore, details, log);
    if (log) {
      nlohmann::ordered_json line = {{"step", step_},     {"loss", intervalLoss_ / static_cast<double>(intervalSteps_)},
                                     {"tokens", tokens_}, {"seconds", elapsed()},
                                     {"lr", rate},        {"grad_norm", lastNorm_}};
      if (layerCount_ > 0)
        line["layer_loss"] = layerLoss_;
      if (hooks_.onLog)
        MORPH_RETURN_IF_ERROR(hooks_.onLog(step_ - 1, line));
      MORPH_RETURN_IF_ERROR(metrics.append(line));
      intervalLoss_ = 0;
      intervalSteps_ = 0;
    }
    if (keep)
      MORPH_RETURN_IF_ERROR(checkpoint());
    if (stop) {
      progress.finish();
      LoopResult result;
      result.interrupted = true;
      result.steps = step_;
      std::fprintf(stderr, "%s: stopped after step %lld of %lld (%lld here); run again to continue\n", label.c_str(),
                   static_cast<long long>(step_), static_cast<long long>(options_.steps),
                   static_cast<long long>(step_ - resumedAt));
      return result;
    }
  }
  progress.finish();
  LoopResult result;
  result.steps = step_;
  result.tokens = tokens_;
  result.flops = flops_;
  result.seconds = elapsed();
  result.firstLoss = firstLoss_;
  result.lastLoss = lastLoss_;
  return result;
}

StatusOr<NamedTensors> runBatch(Executor &executor, const LoopBatch &batch) {
  MORPH_ASSIGN_OR_RETURN(NamedTensors outputs, executor.run(batch.inputs, batch.given));
  if (batch.keep)
    MORPH_RETURN_IF_ERROR(batch.keep(outputs));
  return outputs;
}

StatusOr<LoopResult> runTrainLoop(Optimizer &optimizer, const BatchSource &source, const LoopOptions &options,
                                  const LoopHooks &hooks) {
  return Loop(optimizer, source, options, hooks).run();
}

} // namespace morph
