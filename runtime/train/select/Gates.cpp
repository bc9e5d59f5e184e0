// SPDX-License-Identifier: Apache-2.0
// FlashMorph's selector (arXiv 2606.30562), with the choices that it leaves open as keys of the spec: gates of the
// relaxed model are trained by Adam on the objective of the plan `gates` plus a pressure on their sum; what the
// gates say most of, within the budgets, stays (solve).
//
// The paper's objective, pressure `raw`, is L + lambda * sum_l a_l, a_l the share of full attention in layer l;
// `relative` is L + lambda * u * sum_l a_l, u = (L all linear - L teacher) / layers. `budget` is the augmented
// Lagrangian of sum_l a_l = K, for each budget and pattern with its own costs: L + m * e + u/2 * e^2 with e = sum_l a_l
// - K and m <- m + 0.1 * u * e after every step; where a limit is only kept, m + u * e and m are at least 0 (Nocedal
// and Wright, Numerical Optimization, 2006, chapter 17). Over the first steps K is not yet the limit (GatePressure).
//
// Plans: `gates`; `gates-forward`, the same without gradients, for what is only measured.

#include "runtime/base/Log.h"
#include "runtime/train/HeldOut.h"
#include "runtime/train/select/GatePressure.h"
#include "runtime/train/select/GateSpace.h"
#include "runtime/train/select/Selector.h"

#include <algorithm>
#include <cstdio>
#include <numeric>

namespace morph {

namespace {

/// One run of the selector.
class GateSelector {
public:
  GateSelector(const StageContext &context, const ChoiceSpace &space)
      : context_(context), section_(context.spec.select), space_(space) {}
  StatusOr<Selection> run();

private:
  Status read();
  /// Sets the unit of the pressure from the objective of the teacher and of all layers linear, on sequences of its own.
  /// A unit that does not rise above its error is said; one that is not positive is an error.
  Status measureUnit();
  StatusOr<LoopResult> train();
  /// Scores, their drift and the layers, from the gates' trajectory.
  StatusOr<Selection> rank() const;
  /// What it costs to take the choice for the gates as they are: the objective of both on the unit's sequences, for
  /// selection.json. It decides nothing, and so is no part of the selection's cost: what it took stands with it. Leaves
  /// the gates at the choice.
  Status measureGap(Selection &selection);
  LoopHooks hooks();

  const StageContext &context_;
  const SelectSpec &section_;
  const ChoiceSpace &space_;
  std::unique_ptr<Executor> executor_, forward_;
  std::unique_ptr<BatchStream> stream_, unitStream_;
  int64_t unitSamples_ = 0; ///< Sequences of the second that are measured.
  GateSpace gates_;
  GatePressure pressure_;
  LoopOptions options_;
  BatchStreamOptions data_;
  Json unit_;                                   ///< What was measured, for selection.json.
  std::vector<std::vector<double>> trajectory_; ///< Full shares after each step.
  MeasureCost unitCost_;
};

} // namespace

Status GateSelector::read() {
  data_.batch = section_.batch;
  options_ = context_.loopOptions("select", section_, section_.steps);
  options_.accumulate = section_.accumulate;
  if (section_.tasks.empty())
    return Status::invalid("select.tasks: the gates need at least one task");
  pressure_ = GatePressure(space_, section_.pressure, section_.lambda, section_.anneal, options_.steps);

  data_.stream = "select";
  data_.sample.split = Split::Selection;
  data_.taskFraction = section_.taskFraction;
  data_.textPositions = context_.spec.distill.textPositions;
  MORPH_ASSIGN_OR_RETURN(stream_, context_.stream(data_, section_.tasks));
  BatchStreamOptions other = data_;
  other.stream = "select/unit";
  other.batch = 1; // The unit's error is over sequences.
  MORPH_ASSIGN_OR_RETURN(unitStream_, context_.stream(other, section_.tasks));
  unitSamples_ = unitStream_->differentSamples(section_.unitSamples);
  MORPH_ASSIGN_OR_RETURN(executor_, context_.executor("gates"));
  MORPH_ASSIGN_OR_RETURN(forward_, context_.executor("gates-forward", executor_.get()));
  MORPH_ASSIGN_OR_RETURN(gates_, GateSpace::create(executor_->plan(), space_, section_.parametrization));
  return Status();
}

Status GateSelector::measureUnit() {
  NamedTensors saved;
  for (const auto &[name, gate] : executor_->masters())
    saved[name] = gate.clone();
  // In every layer the first candidate beside full attention that pins allow, and full attention.
  const Choice linear = linearChoice(space_), full = fullChoice(space_);
  const auto objective = [&](const Choice &choice) -> StatusOr<std::vector<double>> {
    gates_.setChoice(forward_->masters(), choice);
    MORPH_ASSIGN_OR_RETURN(HeldOutLoss loss,
                           heldOutLoss(*forward_, *unitStream_, unitSamples_, nullptr, context_.processes.get()));
    unitCost_ += {loss.tokens, loss.flops, 0}; // The loop's time has it.
    return std::move(loss.losses);
  };
  MORPH_ASSIGN_OR_RETURN(const std::vector<double> student, objective(linear));
  // The other objectives are distances from the teacher: its own is 0.
  std::vector<double> teacher(student.size(), 0);
  if (section_.loss == SelectSpec::Loss::Ce) {
    MORPH_ASSIGN_OR_RETURN(teacher, objective(full));
  }
  MORPH_RETURN_IF_ERROR(restoreMasters(executor_->masters(), saved));

  const MeanAndError rise = pairedDifference(student, teacher);
  char text[128];
  std::snprintf(text, sizeof text, "%.3g +- %.2g over %lld sequences", rise.mean, rise.standardError,
                static_cast<long long>(unitSamples_));
  const std::string what =
      std::string("making every layer linear raises the objective '") + toWord(section_.loss) + "' by " + text;
  if (rise.mean <= 0)
    return Status::failed("select: " + what + ": the pressure on the gates has no unit, and no layer is worth keeping",
                          "take another select.loss or harder tasks, raise select.unit_samples, or set "
                          "select.pressure = \"raw\"");
  if (rise.mean < 2 * rise.standardError)
    std::fprintf(stderr,
                 "select: warning: %s, which is within its noise: so is the unit of the pressure on the gates\n"
                 "select: hint: raise select.unit_samples, or take harder tasks\n",
                 what.c_str());
  const auto layers = static_cast<double>(space_.layerCount());
  pressure_.setUnit(rise.mean / layers);
  unit_ = {{"value", rise.mean / layers}, {"standard_error", rise.standardError / layers}, {"samples", unitSamples_}};
  return Status();
}

LoopHooks GateSelector::hooks() {
  LoopHooks hooks;
  // A checkpoint brings the unit that it was trained with.
  if (section_.pressure != PressureKind::Raw)
    hooks.begin = [this] { return measureUnit(); };
  hooks.onGradients = [this](int64_t step, NamedTensors &gradients) -> Status {
    gates_.beforeUpdate(executor_->masters(), gradients, pressure_.next(step, gates_.shares(executor_->masters())));
    return Status();
  };
  hooks.onUpdate = [this](int64_t, NamedTensors &masters) {
    gates_.afterUpdate(masters);
    std::vector<double> full;
    for (const std::vector<double> &row : gates_.shares(masters))
      full.push_back(row.front());
    trajectory_.push_back(std::move(full));
    return Status();
  };
  hooks.onLog = [this](int64_t step, nlohmann::ordered_json &line) {
    line["gates"] = gates_.shares(executor_->masters());
    line["gate_sum"] = std::accumulate(trajectory_.back().begin(), trajectory_.back().end(), 0.0);
    // In units of layers, as the pressure sees them.
    for (const PressedBudget &budget : pressure_.budgets())
      line["budgets"].push_back(
          {{"used", budget.used}, {"target", pressure_.target(budget, step)}, {"pressure", budget.pressure}});
    return Status();
  };
  hooks.save = [this](Json &state, NamedTensors &tensors) {
    state = {{"unit", unit_},
             {"multipliers", pressure_.multipliers()},
             {"tokens", unitCost_.tokens},
             {"flops", unitCost_.flops}};
    // Full shares are fp32: as fp32 they come back exactly.
    at::Tensor run = at::empty({static_cast<int64_t>(trajectory_.size()), space_.layerCount()}, at::kFloat);
    float *data = run.data_ptr<float>();
    for (const std::vector<double> &shares : trajectory_)
      for (double share : shares)
        *data++ = static_cast<float>(share);
    tensors["trajectory"] = run;
    for (const auto &[name, variables] : gates_.variables())
      tensors["variables/" + name] = variables;
  };
  hooks.restore = [this](const Json &state, const NamedTensors &tensors) {
    unit_ = state.value("unit", Json());
    pressure_.setUnit(unit_.is_object() ? unit_.value("value", 1.0) : 1.0);
    pressure_.restoreMultipliers(state.value("multipliers", std::vector<double>()));
    unitCost_ = {state.value("tokens", int64_t(0)), state.value("flops", 0.0), 0};
    NamedTensors variables;
    const std::string prefix = "variables/";
    for (const auto &[name, tensor] : tensors)
      if (name.rfind(prefix, 0) == 0)
        variables[name.substr(prefix.size())] = tensor.clone();
    gates_.restoreVariables(variables);
    trajectory_.clear();
    auto found = tensors.find("trajectory");
    if (found == tensors.end() || found->second.dim() != 2 || found->second.size(1) != space_.layerCount())
      return Status::failed("checkpoint: the gates' trajectory is missing or has another shape");
    const at::Tensor run = found->second.contiguous();
    const float *data = run.data_ptr<float>();
    for (int64_t step = 0; step < run.size(0); ++step, data += space_.layerCount())
      trajectory_.emplace_back(data, data + space_.layerCount());
    return Status();
  };
  return hooks;
}

StatusOr<LoopResult> GateSelector::train() {
  options_.division = Division(context_.processes, *executor_, options_.accumulate, section_.batch);
  const plan::Plan &plan = executor_->plan();
  const BatchSource source = options_.division.attachTo(countingFlops(batchSource(*stream_, plan), plan));
  gates_.begin(executor_->masters());
  pressure_.begin(gates_.shares(executor_->masters()));
  MORPH_ASSIGN_OR_RETURN(Optimizer optimizer, Optimizer::create(*executor_, context_.processes));
  return runTrainLoop(optimizer, source, options_, hooks());
}

StatusOr<Selection> GateSelector::rank() const {
  Selection selection;
  selection.scores = trajectory_.back();
  selection.reach = section_.refineReach;
  const CandidateTable shares = gates_.shares(executor_->masters());
  selection.values = valuesOfShares(space_, shares);
  const size_t steps = trajectory_.size();
  std::vector<double> means;
  for (size_t layer = 0; layer < selection.scores.size(); ++layer) {
    double mean = 0, least = 1, most = 0;
    for (size_t step = 0; step < steps; ++step) {
      const double share = trajectory_[step][layer];
      mean += share / static_cast<double>(steps);
      if (4 * (step + 1) <= 3 * steps)
        continue;
      least = std::min(least, share);
      most = std::max(most, share);
    }
    means.push_back(mean);
    selection.drift.push_back(most - least);
  }
  // What the values leave open, such as candidates that cost alike, their own shares decide, of full attention the mean
  // over the run.
  CandidateTable ties = shares;
  for (size_t layer = 0; layer < ties.size(); ++layer)
    ties[layer].front() = means[layer];
  MORPH_ASSIGN_OR_RETURN(selection.choice, solve(space_, selection.values, ties));
  selection.details["mean_gates"] = means;
  if (unit_.is_object())
    selection.details["objective_unit"] = unit_;
  return selection;
}

Status GateSelector::measureGap(Selection &selection) {
  const auto objective = [&] {
    return heldOutLoss(*forward_, *unitStream_, unitSamples_, nullptr, context_.processes.get());
  };
  MORPH_ASSIGN_OR_RETURN(const HeldOutLoss relaxed, objective());
  gates_.setChoice(forward_->masters(), selection.choice);
  MORPH_ASSIGN_OR_RETURN(const HeldOutLoss discrete, objective());
  const MeanAndError rise = pairedDifference(discrete.losses, relaxed.losses);
  selection.details["gap"] = {{"relaxed", relaxed.loss},
                              {"discrete", discrete.loss},
                              {"difference", rise.mean},
                              {"standard_error", rise.standardError},
                              {"samples", unitSamples_},
                              {"tokens", relaxed.tokens + discrete.tokens},
                              {"flops", relaxed.flops + discrete.flops}};
  char text[160];
  std::snprintf(text, sizeof text, "loss with the gates as trained %.4g, with the layers chosen %.4g (%+.2g +- %.2g)",
                relaxed.loss, discrete.loss, rise.mean, rise.standardError);
  if (context_.processes->isLeader())
    logLine("select", "", text);
  return Status();
}

StatusOr<Selection> GateSelector::run() {
  MORPH_RETURN_IF_ERROR(read());
  MORPH_ASSIGN_OR_RETURN(const LoopResult result, train());
  if (result.interrupted)
    return Status::interrupted();
  if (trajectory_.empty())
    return Status::invalid("select.steps: the gates need at least one step");
  MORPH_ASSIGN_OR_RETURN(Selection selection, rank());
  selection.cost = unitCost_;
  selection.cost += {result.tokens, result.flops, result.seconds};
  MORPH_RETURN_IF_ERROR(measureGap(selection));
  return selection;
}

static StatusOr<Selection> selectGates(SelectorContext &context) {
  return GateSelector(context.stage, context.space).run();
}

static const SelectorRegistration gatesRegistration("gates", selectGates);

} // namespace morph
