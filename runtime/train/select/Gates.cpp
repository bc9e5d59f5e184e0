// SPDX-License-Identifier: Apache-2.0
// FlashMorph's selector (arXiv 2606.30562), with the choices that it leaves open as keys of the spec: gates of the
// relaxed model are trained by Adam on the objective of the plan `gates` plus a pressure on their sum; the layers with
// the largest gates keep full attention. Optional: exchanges of layers on the same objective afterwards.
//
// Plans: `gates`. For the exchanges, where given, `score` (relaxed, with kl) and `logits` (base or relaxed), which cost
// no backward and run the teacher once; otherwise `gates`.

#include "runtime/train/HeldOut.h"
#include "runtime/train/select/GateSpace.h"
#include "runtime/train/select/SwapSearch.h"

#include <algorithm>
#include <chrono>

namespace morph {

namespace {

/// One run of the selector.
class GateSelector {
public:
  GateSelector(const StageContext &context, const SelectionRequest &request) : context_(context), request_(request) {}
  StatusOr<Selection> run();

private:
  Status read();
  /// Sets pressure_.unit from the objective of the teacher and of all layers linear.
  Status measureUnit();
  StatusOr<LoopResult> train();
  Status refine(Selection &selection);
  /// Counts tokens and operations of a run of the gates' plan.
  Status count(const LoopBatch &batch);
  LoopHooks hooks();

  const StageContext &context_;
  const SelectionRequest &request_;
  std::unique_ptr<Executor> executor_;
  std::unique_ptr<BatchStream> stream_, unitStream_, swapStream_;
  GateSpace space_;
  GatePressure pressure_;
  LoopOptions options_;
  BatchStreamOptions data_;
  double lastPressure_ = 0;
  std::vector<std::vector<double>> trajectory_; ///< Full shares after each step.
  int64_t tokens_ = 0;
  double flops_ = 0;
  std::map<std::pair<int64_t, int64_t>, double> flopsOf_; ///< By sizes of tokens and positions.
};

} // namespace

Status GateSelector::read() {
  const SelectSpec &section = context_.spec.select;
  data_.batch = section.batch;
  pressure_.lambda = section.lambda;
  pressure_.anneal = section.anneal;
  // The pressure is not part of the objective's norm: clipping would weigh one against the other.
  options_ = context_.loopOptions("select", section, section.steps);
  options_.accumulate = section.accumulate;
  if (section.tasks.empty())
    return Status::invalid("select.tasks: the gates need at least one task");
  pressure_.fixed = section.pressure == SelectSpec::Pressure::Fixed;
  pressure_.layers = request_.layers;
  pressure_.budget = request_.budget;
  pressure_.steps = options_.steps;

  data_.stream = "select";
  MORPH_ASSIGN_OR_RETURN(stream_, context_.stream(data_, section.tasks));
  BatchStreamOptions other = data_;
  other.stream = "select/unit";
  MORPH_ASSIGN_OR_RETURN(unitStream_, context_.stream(other, section.tasks));
  other.stream = "select/swap";
  MORPH_ASSIGN_OR_RETURN(swapStream_, context_.stream(other, section.tasks));
  MORPH_ASSIGN_OR_RETURN(executor_, context_.executor("gates"));
  MORPH_ASSIGN_OR_RETURN(space_, GateSpace::create(executor_->plan(), request_, section.parametrization));
  return Status();
}

Status GateSelector::count(const LoopBatch &batch) {
  tokens_ += batch.tokens;
  const at::Tensor &tokens = batch.inputs.at("tokens");
  const int64_t rows = batch.inputs.count("positions") ? batch.inputs.at("positions").numel() : 0;
  auto [entry, isNew] = flopsOf_.insert({{tokens.numel(), rows}, 0});
  if (isNew) {
    MORPH_ASSIGN_OR_RETURN(entry->second, batchFlops(executor_->plan(), batch.inputs));
  }
  flops_ += entry->second;
  return Status();
}

Status GateSelector::measureUnit() {
  NamedTensors saved;
  for (const auto &[name, gate] : executor_->masters())
    saved[name] = gate.clone();
  std::vector<int64_t> all(static_cast<size_t>(request_.layers));
  for (size_t i = 0; i < all.size(); ++i)
    all[i] = static_cast<int64_t>(i);
  double objective[2];
  for (int linear = 0; linear < 2; ++linear) {
    space_.setSubset(executor_->masters(), linear ? std::vector<int64_t>() : all, {});
    executor_->mastersChanged();
    MORPH_ASSIGN_OR_RETURN(const HeldOutLoss loss, heldOutLoss(*executor_, *unitStream_, 2 * options_.accumulate));
    objective[linear] = loss.loss;
    tokens_ += loss.tokens;
    flops_ += loss.flops;
  }
  MORPH_RETURN_IF_ERROR(restoreMasters(executor_->masters(), saved));
  executor_->mastersChanged();
  // A linear model that is as good as its teacher gives no unit; any small one lets the budget decide alone.
  pressure_.unit = std::max(objective[1] - objective[0], 1e-6) / static_cast<double>(request_.layers);
  return Status();
}

LoopHooks GateSelector::hooks() {
  LoopHooks hooks;
  hooks.onGradients = [this](int64_t step, NamedTensors &gradients, double) {
    double sum = 0;
    for (double share : space_.fullShares(executor_->masters()))
      sum += share;
    lastPressure_ = pressure_.next(step, sum);
    space_.beforeUpdate(executor_->masters(), gradients, lastPressure_);
    return Status();
  };
  hooks.onUpdate = [this](int64_t, NamedTensors &masters) {
    space_.afterUpdate(masters);
    trajectory_.push_back(space_.fullShares(masters));
    return Status();
  };
  hooks.onLog = [this](int64_t step, const NamedTensors &, nlohmann::ordered_json &line) {
    double sum = 0;
    for (double share : trajectory_.back())
      sum += share;
    line["gates"] = trajectory_.back();
    line["gate_sum"] = sum;
    if (!pressure_.fixed)
      line["target"] = pressure_.target(step);
    line["pressure"] = lastPressure_;
  };
  hooks.save = [this](Json &state, NamedTensors &tensors) {
    state = {{"unit", pressure_.unit}, {"multiplier", pressure_.multiplier}, {"tokens", tokens_}, {"flops", flops_}};
    // Full shares are fp32: as fp32 they come back exactly.
    at::Tensor run = at::empty({static_cast<int64_t>(trajectory_.size()), request_.layers}, at::kFloat);
    float *data = run.data_ptr<float>();
    for (const std::vector<double> &shares : trajectory_)
      for (double share : shares)
        *data++ = static_cast<float>(share);
    tensors["trajectory"] = run;
    for (const auto &[name, logits] : space_.logits())
      tensors["logits/" + name] = logits;
  };
  hooks.restore = [this](const Json &state, const NamedTensors &tensors) {
    pressure_.unit = state.value("unit", 1.0);
    pressure_.multiplier = state.value("multiplier", 0.0);
    tokens_ = state.value("tokens", int64_t(0));
    flops_ = state.value("flops", 0.0);
    NamedTensors logits;
    const std::string prefix = "logits/";
    for (const auto &[name, tensor] : tensors)
      if (name.rfind(prefix, 0) == 0)
        logits[name.substr(prefix.size())] = tensor.clone();
    space_.restoreLogits(logits);
    trajectory_.clear();
    auto found = tensors.find("trajectory");
    if (found == tensors.end() || found->second.dim() != 2 || found->second.size(1) != request_.layers)
      return Status::failed("checkpoint: the gates' trajectory is missing or has another shape");
    const at::Tensor run = found->second.contiguous();
    const float *data = run.data_ptr<float>();
    for (int64_t step = 0; step < run.size(0); ++step, data += request_.layers)
      trajectory_.emplace_back(data, data + request_.layers);
    return Status();
  };
  return hooks;
}

StatusOr<LoopResult> GateSelector::train() {
  const BatchSource source = [this](int64_t index) -> StatusOr<LoopBatch> {
    MORPH_ASSIGN_OR_RETURN(const Batch batch, stream_->batch(static_cast<uint64_t>(index)));
    LoopBatch inputs = loopBatch(batch, executor_->plan());
    MORPH_RETURN_IF_ERROR(count(inputs));
    return inputs;
  };
  space_.begin(executor_->masters());
  executor_->mastersChanged();
  MORPH_RETURN_IF_ERROR(measureUnit());
  // A checkpoint brings its own unit and counts, which were measured in the same way.
  return runTrainLoop(*executor_, source, options_, hooks());
}

Status GateSelector::refine(Selection &selection) {
  const bool fast =
      context_.spec.select.loss == SelectSpec::Loss::Kl && context_.hasPlan("score") && context_.hasPlan("logits");
  std::unique_ptr<Executor> scorer;
  std::vector<NamedTensors> inputs;
  const int64_t batches = (context_.spec.select.swapSamples + data_.batch - 1) / data_.batch;
  std::vector<int64_t> all(static_cast<size_t>(request_.layers));
  for (size_t i = 0; i < all.size(); ++i)
    all[i] = static_cast<int64_t>(i);
  if (fast) {
    MORPH_ASSIGN_OR_RETURN(scorer, context_.executor("score"));
    MORPH_ASSIGN_OR_RETURN(const auto teacher, context_.executor("logits"));
    // The teacher: the base model, or the relaxed one with every gate at full attention.
    if (!teacher->masters().empty()) {
      space_.setSubset(teacher->masters(), all, {});
      teacher->mastersChanged();
    }
    for (int64_t i = 0; i < batches; ++i) {
      MORPH_ASSIGN_OR_RETURN(const Batch batch, swapStream_->batch(static_cast<uint64_t>(i)));
      MORPH_ASSIGN_OR_RETURN(NamedTensors outputs, teacher->run(loopBatch(batch, teacher->plan()).inputs));
      NamedTensors input = loopBatch(batch, scorer->plan()).inputs;
      input["teacher_logits"] = outputs.at("logits");
      inputs.push_back(std::move(input));
      tokens_ += batch.tokenCount();
      MORPH_ASSIGN_OR_RETURN(const double flops, batchFlops(teacher->plan(), inputs.back()));
      flops_ += flops;
    }
  }
  Executor &judge = fast ? *scorer : *executor_;
  const SubsetObjective objective = [&](const std::vector<int64_t> &kept) -> StatusOr<double> {
    space_.setSubset(judge.masters(), kept, selection.chosen);
    judge.mastersChanged();
    if (!fast) {
      MORPH_ASSIGN_OR_RETURN(const HeldOutLoss loss, heldOutLoss(judge, *swapStream_, batches));
      tokens_ += loss.tokens;
      flops_ += loss.flops;
      return loss.loss;
    }
    double sum = 0;
    for (const NamedTensors &input : inputs) {
      MORPH_ASSIGN_OR_RETURN(const NamedTensors outputs, judge.run(input));
      sum += outputs.at("kl").mean(at::kDouble).item<double>() / static_cast<double>(inputs.size());
      tokens_ += input.at("tokens").numel();
      MORPH_ASSIGN_OR_RETURN(const double flops, batchFlops(judge.plan(), input));
      flops_ += flops;
    }
    return sum;
  };
  MORPH_ASSIGN_OR_RETURN(const SwapResult result, searchSwaps(selection.kept, selection.scores, request_, objective));
  selection.interrupted = result.interrupted;
  selection.details["swap"] = {{"kept_before", selection.kept},
                               {"objective_before", result.firstObjective},
                               {"objective_after", result.objective},
                               {"evaluations", result.evaluations},
                               {"swaps", result.swaps},
                               {"samples", batches * data_.batch}};
  selection.kept = result.kept;
  return Status();
}

StatusOr<Selection> GateSelector::run() {
  MORPH_RETURN_IF_ERROR(read());
  MORPH_ASSIGN_OR_RETURN(const LoopResult result, train());
  Selection selection;
  selection.interrupted = result.interrupted;
  if (result.interrupted)
    return selection;
  if (trajectory_.empty())
    return Status::invalid("select.steps: the gates need at least one step");

  selection.scores = trajectory_.back();
  selection.chosen = space_.bestCandidates(executor_->masters());
  // Standard errors by batch means: the last quarter of the run in five pieces.
  const size_t steps = trajectory_.size();
  const size_t tail = std::max<size_t>(std::min<size_t>(steps, 5), steps / 4);
  std::vector<double> means;
  for (size_t layer = 0; layer < selection.scores.size(); ++layer) {
    double mean = 0;
    for (const std::vector<double> &shares : trajectory_)
      mean += shares[layer] / static_cast<double>(steps);
    means.push_back(mean);
    std::vector<double> pieces;
    const size_t count = std::min<size_t>(5, tail);
    for (size_t piece = 0; piece < count; ++piece) {
      const size_t begin = steps - tail + piece * tail / count, end = steps - tail + (piece + 1) * tail / count;
      double sum = 0;
      for (size_t step = begin; step < end; ++step)
        sum += trajectory_[step][layer];
      pieces.push_back(sum / static_cast<double>(end - begin));
    }
    selection.standardErrors.push_back(meanAndError(pieces).standardError);
  }
  selection.kept = largestLayers(selection.scores, means, request_);
  selection.details = {{"mean_gates", means},
                       {"objective_unit", pressure_.unit},
                       {"standard_errors", "batch means: the last quarter of the steps in five pieces"}};

  const auto begin = std::chrono::steady_clock::now();
  if (context_.spec.select.swap)
    MORPH_RETURN_IF_ERROR(refine(selection));
  selection.tokens = tokens_;
  selection.flops = flops_;
  selection.seconds = result.seconds + std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return selection;
}

static StatusOr<Selection> selectGates(const StageContext &context, const SelectionRequest &request) {
  return GateSelector(context, request).run();
}

static const SelectorRegistration registration("gates", "gates trained on the relaxed model", selectGates);

} // namespace morph
