// SPDX-License-Identifier: Apache-2.0

#include "tools/morph/MemoryLimit.h"

#include "tools/morph/Report.h"

#include <algorithm>

using namespace morph;

namespace {

/// In bytes, of a spec that has a limit.
double limitOf(const ResolvedSpec &resolved) { return 1e9 * *resolved.model.memoryLimit; }

class Emitter {
public:
  Emitter(const Compiler &compiler, const ResolvedSpec &resolved, const fs::path &phase, const std::string &program,
          const fs::path &folder)
      : compiler(compiler), trials(compiler.withoutCode()), resolved(resolved), phase(phase), program(program),
        folder(folder) {}

  /// Emits the plan, with the options `more` beside its own.
  Status emit(const TrainingPlan &plan, const std::string &more = "") const { return emitBy(compiler, plan, more); }
  /// The same without code: for costOf.
  Status emitTrial(const TrainingPlan &plan, const std::string &more = "") const { return emitBy(trials, plan, more); }

  /// The cost of the plan's stage; of nothing where the spec gives it no steps.
  StatusOr<StageCost> costOf(const TrainingPlan &plan) const {
    const PlanFiles files = {{program, folder / (plan.name + ".json")}};
    MORPH_ASSIGN_OR_RETURN(const std::vector<StageCost> costs,
                           estimateStages(resolved, files, {variantsOf(resolved).back()}));
    // A selector may run the program, too.
    const std::string stage = program == "gates" ? "select" : program;
    const auto found =
        std::find_if(costs.begin(), costs.end(), [&](const StageCost &cost) { return cost.stage == stage; });
    return found == costs.end() ? StageCost() : *found;
  }

  bool fits(const StageCost &cost) const { return cost.memory.bytes <= limitOf(resolved); }

  /// Emits the plan of that cost anew, with values computed twice, where it does not fit.
  Status fit(const TrainingPlan &plan, const StageCost &cost) const {
    const auto measure = [&](const std::string &more) -> StatusOr<StageMemory> {
      MORPH_RETURN_IF_ERROR(emitTrial(plan, more));
      MORPH_ASSIGN_OR_RETURN(const StageCost now, costOf(plan));
      return now.memory;
    };
    MORPH_ASSIGN_OR_RETURN(const std::string more, fitMemory(limitOf(resolved), cost.memory, measure));
    return more.empty() || !compiler.makesCode() ? Status() : emit(plan, more); // Without code the trial is the plan.
  }

private:
  Status emitBy(const Compiler &by, const TrainingPlan &plan, const std::string &more) const {
    return by.emitPlan(phase, program, plan.options + more, folder / (plan.name + ".json"));
  }

  const Compiler &compiler;
  const Compiler trials;
  const ResolvedSpec &resolved;
  const fs::path &phase;
  const std::string &program;
  const fs::path &folder;
};

/// The layers that have candidates to align.
std::vector<int64_t> alignedLayers(const ChoiceSpace &space) {
  std::vector<int64_t> layers;
  for (int64_t layer = 0; layer < space.layerCount(); ++layer)
    for (const Candidate &candidate : space.layers[static_cast<size_t>(layer)])
      if (candidate.trained && (layers.empty() || layers.back() != layer))
        layers.push_back(layer);
  return layers;
}

/// Wave `index` of `count`, from 0: as many of the layers that are aligned as every other, and those up to the next
/// wave.
TrainingPlan waveOf(const TrainingPlan &whole, const ChoiceSpace &space, int64_t index, int64_t count) {
  const std::vector<int64_t> aligned = alignedLayers(space);
  const auto layers = static_cast<int64_t>(aligned.size());
  const auto begin = [&](int64_t wave) { return aligned[static_cast<size_t>(wave * layers / count)]; };
  const int64_t first = index == 0 ? 0 : begin(index);
  const int64_t last = index + 1 == count ? space.layerCount() - 1 : begin(index + 1) - 1;
  return {whole.name + "-" + std::to_string(index + 1),
          whole.options + ",layers=" + std::to_string(first) + "-" + std::to_string(last)};
}

} // namespace

StatusOr<std::string> morph::fitMemory(double limit, StageMemory memory,
                                       const std::function<StatusOr<StageMemory>(const std::string &)> &measure) {
  std::string options;
  double values = memory.values, least = 0;
  while (memory.bytes > limit && values > 0) {
    values = std::max(0.0, values - std::max(memory.bytes - limit, least * values));
    least = least == 0 ? 1.0 / 64 : 2 * least;
    std::string sizes;
    for (const auto &[name, size] : memory.sizes)
      sizes += (sizes.empty() ? "" : " ") + name + "=" + std::to_string(size);
    options = ",limit=" + std::to_string(static_cast<int64_t>(values)) + ",threads=" + std::to_string(memory.threads) +
              ",sizes=" + sizes;
    MORPH_ASSIGN_OR_RETURN(memory, measure(options));
  }
  return options;
}

StatusOr<TrainingPlans> morph::emitTrainingPlans(const Compiler &compiler, const ResolvedSpec &resolved,
                                                 const fs::path &phase, const std::string &program,
                                                 const fs::path &folder, const std::string &name) {
  const Emitter emitter(compiler, resolved, phase, program, folder);
  const TrainingPlan whole = {name, programOptions(resolved, program)};
  MORPH_RETURN_IF_ERROR(emitter.emit(whole));
  if (!resolved.model.memoryLimit)
    return TrainingPlans{{whole}, 0};
  MORPH_ASSIGN_OR_RETURN(const StageCost cost, emitter.costOf(whole));
  TrainingPlans result = {{whole}, cost.flops};
  const auto layers = static_cast<int64_t>(alignedLayers(resolved.space).size());
  if (emitter.fits(cost) || program != "align" || layers == 1) {
    MORPH_RETURN_IF_ERROR(emitter.fit(whole, cost));
    return result;
  }
  MORPH_RETURN_IF_ERROR(removeAll(folder / (name + ".json")));
  // The last wave has the most below it, and no other has more layers.
  int64_t few = 2, many = layers;
  while (few < many) {
    const int64_t count = (few + many) / 2;
    const TrainingPlan last = waveOf(whole, resolved.space, count - 1, count);
    MORPH_RETURN_IF_ERROR(emitter.emitTrial(last));
    MORPH_ASSIGN_OR_RETURN(const StageCost lastCost, emitter.costOf(last));
    (emitter.fits(lastCost) ? many : few) = emitter.fits(lastCost) ? count : count + 1;
    MORPH_RETURN_IF_ERROR(removeAll(folder / (last.name + ".json")));
  }
  result.plans.clear();
  for (int64_t index = 0; index < few; ++index) {
    const TrainingPlan &wave = result.plans.emplace_back(waveOf(whole, resolved.space, index, few));
    MORPH_RETURN_IF_ERROR(emitter.emit(wave));
    MORPH_ASSIGN_OR_RETURN(const StageCost waveCost, emitter.costOf(wave));
    MORPH_RETURN_IF_ERROR(emitter.fit(wave, waveCost));
  }
  return result;
}

bool morph::divideAmong(const ResolvedSpec &resolved, int64_t count, double most, StageCost &cost) {
  const StageMemory whole = memoryOfProcess(cost.memory, count, false);
  const StageMemory divided = memoryOfProcess(cost.memory, count, true);
  const bool fits = whole.bytes <= most && (!resolved.model.memoryLimit || whole.bytes <= limitOf(resolved));
  const bool divides =
      count > 1 && cost.memory.frozen > 0 && (resolved.model.shard || (!fits && divided.bytes < whole.bytes));
  cost.memory = divides ? divided : whole;
  return divides;
}

std::string morph::explainExcess(const ResolvedSpec &resolved, const StageCost &cost) {
  const StageMemory &memory = cost.memory;
  if (!resolved.model.memoryLimit || memory.bytes <= limitOf(resolved))
    return "";
  std::string text = "stage '" + cost.stage + "' needs at least " + formatBytes(memory.bytes) + ", and the limit is " +
                     formatBytes(limitOf(resolved)) + ": weights are " + formatBytes(memory.weights);
  if (memory.optimizer > 1e6)
    text += ", moments and sums of gradients " + formatBytes(memory.optimizer);
  text += ", values " + formatBytes(memory.values);
  if (const double inputs = memory.bytes - memory.weights - memory.optimizer - memory.values; inputs > 1e6)
    text += ", inputs and caches " + formatBytes(inputs);
  return text;
}

std::string morph::howToShrink(const ResolvedSpec &resolved, const StageCost &cost) {
  std::string section = cost.stage == "judge" ? "evaluate" : cost.stage;
  const auto batch = cost.memory.sizes.find("B"), length = cost.memory.sizes.find("T");
  const bool isBatched = batch == cost.memory.sizes.end() || batch->second > 1;
  if (resolved.pretrain && cost.stage == "pretrain" && batch != cost.memory.sizes.end() &&
      length != cost.memory.sizes.end()) {
    // Each phase has a batch of its own: that of the one whose memory it is.
    const std::vector<PretrainPhaseSpec> &phases = resolved.pretrain->phase;
    const auto phase = std::find_if(phases.begin(), phases.end(), [&](const PretrainPhaseSpec &one) {
      return one.batch == batch->second && one.length == length->second;
    });
    section += ".phase." + (phase == phases.end() ? "N" : std::to_string(phase - phases.begin()));
  }
  return "lower " + (isBatched ? section + ".batch or " : "") + "the lengths" +
         (resolved.model.precision == ModelSpec::Precision::Bf16 ? "" : ", set model.precision=\"bf16\"");
}
