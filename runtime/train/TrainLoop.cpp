// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/TrainLoop.h"

#include "runtime/base/Log.h"
#include "runtime/train/Interrupt.h"
#include "runtime/train/Metrics.h"
#include "runtime/train/Progress.h"

#include <chrono>
#include <cmath>
#include <cstdio>

namespace morph {

namespace {

/// State of a running loop.
class Loop {
public:
  Loop(Optimizer &optimizer, const BatchSource &source, const LoopOptions &options, const LoopHooks &hooks)
      : optimizer_(optimizer), source_(source), options_(options), hooks_(hooks) {}

  StatusOr<LoopResult> run();

private:
  Status resume();
  Status checkpoint();
  /// The end of a hint.
  std::string kept() const { return hasCheckpoint_ ? "; the last checkpoint is kept" : ""; }
  /// Sums up the gradients of the step, averaged over the batches of all processes; returns the loss.
  StatusOr<double> addBatches(int64_t step);
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
  double intervalLoss_ = 0; ///< Sum since the last logged step.
  int64_t intervalSteps_ = 0;
  double firstLoss_ = 0, lastLoss_ = 0;
  bool asked_ = false;   ///< A signal has come to one of the processes.
  bool stopped_ = false; ///< The stage's `finished` said so.
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
  step_ = saved->step;
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

StatusOr<double> Loop::addBatches(int64_t step) {
  const double share = 1 / static_cast<double>(options_.accumulate);
  double loss = 0, tokens = 0, flops = 0;
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
    const double value = found->second.item<double>();
    if (!std::isfinite(value)) {
      std::string where;
      if (auto layers = outputs.find("layer_loss"); layers != outputs.end()) {
        const at::Tensor bad = at::isfinite(layers->second.cpu()).logical_not().nonzero().flatten();
        if (bad.numel() > 0)
          where = " (first in layer " + std::to_string(bad[0].item<int64_t>()) + ")";
      }
      return Status::failed(options_.stage + ": the loss of step " + std::to_string(step + 1) + " is " +
                                (std::isnan(value) ? "not a number" : "infinite") + where,
                            // Before the first update the weights are those that the stage was given.
                            step == 0
                                ? std::string("a mixer of your own may be the cause: decays are logarithms, which "
                                              "are not positive")
                                : "lower the learning rate, or use precision = \"fp32\"; decays of a mixer that "
                                  "become positive are another cause" +
                                      kept());
    }
    loss += value * share * batch.share;
    tokens += static_cast<double>(batch.tokens);
    flops += batch.flops;
    if (hooks_.onOutputs)
      hooks_.onOutputs(step, outputs, share * batch.share);
  }
  MORPH_RETURN_IF_ERROR(optimizer_.sumGradients());
  MORPH_ASSIGN_OR_RETURN(const std::vector<double> sums,
                         processes().sum({loss, tokens, flops, interrupted() ? 1.0 : 0.0}));
  tokens_ += static_cast<int64_t>(sums[1]);
  flops_ += sums[2];
  asked_ = sums[3] > 0;
  return sums[0];
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

  while (step_ < options_.steps && !stopped_) {
    MORPH_ASSIGN_OR_RETURN(const double loss, addBatches(step_));
    if (hooks_.onGradients)
      MORPH_RETURN_IF_ERROR(hooks_.onGradients(step_, optimizer_.gradients(), loss));
    const double rate = hooks_.rate ? hooks_.rate(step_) : options_.schedule.rate(step_);
    MORPH_ASSIGN_OR_RETURN(const double norm, optimizer_.step(rate));
    if (!std::isfinite(norm))
      return Status::failed(options_.stage + ": the gradient of step " + std::to_string(step_ + 1) + " is not finite",
                            "lower the learning rate" + kept());
    if (hooks_.onUpdate)
      MORPH_RETURN_IF_ERROR(hooks_.onUpdate(step_, masters()));

    if (step_ == 0)
      firstLoss_ = loss;
    lastLoss_ = loss;
    intervalLoss_ += loss;
    ++intervalSteps_;
    ++step_;
    if (hooks_.finished) {
      MORPH_ASSIGN_OR_RETURN(stopped_, hooks_.finished(step_ - 1, masters()));
    }
    const bool last = step_ == options_.steps || stopped_;
    const bool log = last || (options_.logEvery > 0 && step_ % options_.logEvery == 0);
    char details[64];
    std::snprintf(details, sizeof details, "loss %.4g", intervalLoss_ / static_cast<double>(intervalSteps_));
    if (!options_.quiet)
      progress.update(step_, tokens_ - tokensBefore, details, log);
    if (log) {
      nlohmann::ordered_json line = {{"step", step_},     {"loss", intervalLoss_ / static_cast<double>(intervalSteps_)},
                                     {"tokens", tokens_}, {"seconds", elapsed()},
                                     {"lr", rate},        {"grad_norm", norm}};
      if (hooks_.onLog)
        MORPH_RETURN_IF_ERROR(hooks_.onLog(step_ - 1, line));
      MORPH_RETURN_IF_ERROR(metrics.append(line));
      intervalLoss_ = 0;
      intervalSteps_ = 0;
    }
    const bool stop = asked_ && !last;
    if (last || stop || (options_.checkpointEvery > 0 && step_ % options_.checkpointEvery == 0))
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
