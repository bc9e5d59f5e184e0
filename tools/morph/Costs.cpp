// SPDX-License-Identifier: Apache-2.0

#include "tools/morph/Costs.h"

#include "runtime/choice/Enumerate.h"
#include "runtime/plan/Cost.h"
#include "runtime/plan/Demand.h"
#include "runtime/plan/Gathers.h"
#include "runtime/plan/InferShapes.h"
#include "runtime/plan/OpTable.h"
#include "runtime/plan/Rings.h"
#include "runtime/spec/TaskRules.h"
#include "tools/morph/Compiler.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <numeric>
#include <thread>
#include <utility>

using namespace morph;

namespace {

/// The samples that are computed where so many are asked for in whole batches.
int64_t wholeBatches(int64_t samples, int64_t batch) { return (samples + batch - 1) / batch * batch; }

/// Tokens of all answers of a sample: exact in token space; in words of tokenizers that know every digit and have no
/// more than three tokens a word, because texts are tokenised later.
int64_t answerTokens(const TaskSpec &task) {
  int64_t tokens = task.valueLength;
  if (task.space == TaskSpec::Space::Words && task.values == TaskSpec::Values::Words)
    tokens *= 3;
  if (task.space == TaskSpec::Space::Words && task.values == TaskSpec::Values::Uuid)
    tokens = 36;
  switch (task.kind) {
  case TaskSpec::Kind::Passkeys:
  case TaskSpec::Kind::Mqar:
  case TaskSpec::Kind::NiahMultiValue:
  case TaskSpec::Kind::NearKeys:
    return task.needles * tokens;
  case TaskSpec::Kind::VariableTracking: // Answers are keys.
    return task.hops * (task.space == TaskSpec::Space::Words ? 3 : 1);
  case TaskSpec::Kind::CommonWords: // The same.
  case TaskSpec::Kind::FrequentWords:
    return task.needles * (task.space == TaskSpec::Space::Words ? 3 : 1);
  case TaskSpec::Kind::Counting: // A space and the digits of at most 65536.
    return task.queries * (task.space == TaskSpec::Space::Words ? 6 : 1);
  case TaskSpec::Kind::Jsonl: // Answers of a few words; they are read later.
  case TaskSpec::Kind::Qa:
    return 16;
  case TaskSpec::Kind::TwoHop:
  case TaskSpec::Kind::Induction:
  case TaskSpec::Kind::NiahSingle:
  case TaskSpec::Kind::NiahMultiKey:
  case TaskSpec::Kind::NiahMultiQuery:
    break;
  }
  return task.queries * tokens;
}

/// The most of these tasks.
int64_t answerTokens(const ResolvedSpec &resolved, const std::vector<std::string> &names) {
  int64_t most = 0;
  for (const TaskSpec &task : resolved.tasks)
    if (std::find(names.begin(), names.end(), task.name) != names.end())
      most = std::max(most, answerTokens(task));
  return most;
}

/// How many choices a selector scores, without the teacher's run and the exchanges that end it, of which nobody knows
/// how many are tried. Exact for those that change one layer alone. The others: where layers have two candidates and a
/// number of full layers is all that the space asks for, exact for greedy and exhaustive; at most for beam, whose best
/// choices have neighbours in common, and for random_search and evolution, which end where they draw nothing new.
/// `tokens`: those of a choice.
double scoredChoices(const ResolvedSpec &resolved, const SelectorName &selector, const Choice &dearest, double tokens) {
  const double layers = static_cast<double>(dearest.size()), kept = static_cast<double>(fullLayers(dearest).size());
  const auto changes = [&] {
    double sum = 0;
    const std::vector<std::vector<int64_t>> compared = comparedCandidates(resolved.space);
    for (const std::vector<size_t> &group : tiedGroups(resolved.space))
      sum += static_cast<double>(compared[group.front()].size() - 1);
    return sum;
  };
  const auto grown = [&](double width) {
    double sum = 0, best = 1, all = 1;
    for (double size = 0; size < kept; ++size) {
      all = all * (layers - size) / (size + 1); // So many choices have a layer more.
      const double next = std::min(all, best * (layers - size));
      sum += next;
      best = std::min(next, width);
    }
    return sum;
  };
  double all = 1;
  for (double i = 0; i < kept; ++i)
    all = all * (layers - i) / (i + 1);
  switch (selector.info->visits) {
  case SelectorVisits::NoChoices:
    return 0;
  case SelectorVisits::Changes:
    return changes();
  case SelectorVisits::LinearAndChanges:
    return 1 + changes();
  case SelectorVisits::Growth: // Backward: layers + (layers - 1) + ... + (kept + 1)
    return selector.option == "backward" ? (layers * (layers + 1) - kept * (kept + 1)) / 2 : grown(1);
  case SelectorVisits::BeamGrowth:
    return grown(static_cast<double>(beamWidth(selector.option)));
  case SelectorVisits::EveryChoice:
    return all;
  case SelectorVisits::SearchTokens:
    return std::min(all, std::floor(static_cast<double>(resolved.select.searchTokens) / tokens));
  }
  return 0;
}

void takeLarger(StageMemory &memory, const StageMemory &other) {
  if (other.bytes > memory.bytes)
    memory = other;
}

/// Adds what a further part of a stage takes.
void addPart(StageCost &cost, const StageCost &part) {
  cost.tokens += part.tokens;
  cost.flops += part.flops;
  cost.seconds += part.seconds;
  takeLarger(cost.memory, part.memory);
}

/// The instructions that a training program's loss needs: those of the same program without gradients.
std::vector<size_t> lossInstructions(plan::Plan plan) {
  std::vector<size_t> numbers, needed;
  std::vector<plan::Instruction> instructions;
  for (size_t i = 0; i < plan.instructions.size(); ++i) {
    const plan::Instruction &instruction = plan.instructions[i];
    // Sums of gradients, which count as needed whoever reads them.
    if (instruction.op != "launch" && plan::updatesInPlace(instruction, *plan::findOpRule(instruction.op)))
      continue;
    numbers.push_back(i);
    instructions.push_back(instruction);
  }
  plan.instructions = std::move(instructions);
  plan.outputs.erase(std::remove_if(plan.outputs.begin(), plan.outputs.end(),
                                    [](const plan::NamedValue &output) { return output.name != "loss"; }),
                     plan.outputs.end());
  const std::vector<plan::Step> steps = plan::planSteps(plan, plan::ZeroShares(plan.weights.size()));
  for (size_t i = 0; i < steps.size(); ++i)
    if (steps[i] == plan::Step::Run)
      needed.push_back(numbers[i]);
  return needed;
}

/// Sets what several processes could divide of a plan's weights.
void addFrozen(const plan::Plan &plan, StageMemory &memory) {
  const std::vector<bool> divided = plan::dividableWeights(plan);
  for (size_t w = 0; w < plan.weights.size(); ++w) {
    const std::vector<int64_t> &shape = plan.weights[w].shape;
    const plan::DType type = plan.values[static_cast<size_t>(plan.weightValues[w])].dtype;
    if (divided[w])
      memory.frozen += std::accumulate(shape.begin(), shape.end(), static_cast<double>(plan::elementBytes(type, {})),
                                       std::multiplies<double>());
  }
  memory.gathered = static_cast<double>(plan::planGathers(plan, divided, 1, {}).bufferBytes);
}

StageMemory memoryOf(const plan::Plan &plan, const plan::Cost &cost, const std::map<std::string, int64_t> &sizes,
                     int64_t threads) {
  StageMemory memory;
  addFrozen(plan, memory);
  memory.moments = static_cast<double>(cost.momentBytes);
  memory.bytes = plan::runBytes(cost);
  memory.weights = static_cast<double>(cost.boundBytes);
  memory.values = static_cast<double>(cost.arenaBytes);
  // Sums of gradients are inputs.
  memory.optimizer = static_cast<double>(cost.momentBytes + (cost.momentBytes > 0 ? cost.masterBytes : 0));
  memory.sizes = sizes;
  memory.threads = threads;
  return memory;
}

class StageEstimator {
public:
  StageEstimator(const ResolvedSpec &resolved, const PlanFiles &plans, const plan::DeviceModel *device)
      : plans_(plans), device_(device) {
    mode_.threads = threadsOf(resolved.model.threads);
  }

  bool has(const std::string &program) const { return plans_.count(program) != 0; }

  /// `passes` runs of a program with B sequences of T tokens, N rows read, `cached` tokens before, and `steps` updates.
  StatusOr<StageCost> estimate(const std::string &stage, const std::string &program, double passes, double steps,
                               int64_t batch, int64_t length, int64_t rows, int64_t cached = 0) const {
    MORPH_ASSIGN_OR_RETURN(const auto read, planOf(program));
    const plan::Plan &plan = *read;
    const std::map<std::string, int64_t> sizes =
        plan::withRings({{"B", batch}, {"T", length}, {"N", rows}}, plan, cached + length);
    MORPH_ASSIGN_OR_RETURN(const plan::Cost cost, plan::estimateCost(plan, sizes, mode_));
    StageCost result;
    result.stage = stage;
    result.steps = static_cast<int64_t>(steps);
    result.tokens = passes * static_cast<double>(batch * length);
    result.flops = passes * cost.flops;
    MORPH_ASSIGN_OR_RETURN(const std::vector<double> seconds, secondsOf(plan, sizes));
    result.seconds = passes * std::accumulate(seconds.begin(), seconds.end(), 0.0);
    if (plan.update) {
      MORPH_ASSIGN_OR_RETURN(const std::vector<double> update, secondsOf(*plan.update, sizes));
      result.seconds += steps * std::accumulate(update.begin(), update.end(), 0.0);
    }
    const double masters = static_cast<double>(cost.masterBytes);
    result.memory = memoryOf(plan, cost, sizes, mode_.threads);
    result.diskBytes = masters;
    result.checkpointBytes = 3 * masters;
    return result;
  }

  StatusOr<StageMemory> decodeMemory(const std::string &program, int64_t batch, int64_t length) const {
    MORPH_ASSIGN_OR_RETURN(const auto read, planOf(program));
    return memoryOfDecoding(*read, batch, length, mode_.threads);
  }

  /// `passes` runs that spread evenly over sequences of several lengths; the memory is that of the longest.
  StatusOr<StageCost> estimateLengths(const std::string &stage, const std::string &program, double passes, double steps,
                                      int64_t batch, const std::vector<int64_t> &lengths, int64_t rows) const {
    StageCost total;
    total.stage = stage;
    total.steps = static_cast<int64_t>(steps);
    const auto parts = static_cast<double>(lengths.size());
    for (int64_t length : lengths) {
      MORPH_ASSIGN_OR_RETURN(const StageCost cost,
                             estimate(stage, program, passes / parts, steps / parts, batch, length, rows));
      total.diskBytes = cost.diskBytes;
      total.checkpointBytes = cost.checkpointBytes;
      total.tokens += cost.tokens;
      total.flops += cost.flops;
      total.seconds += cost.seconds;
      takeLarger(total.memory, cost.memory);
    }
    return total;
  }

  /// `passes` runs of a training program without gradients, on sequences one by one that spread evenly over several
  /// lengths. They hold less memory than the training does: of it there are the sizes alone.
  StatusOr<StageCost> forward(const std::string &stage, const std::string &program, double passes,
                              const std::vector<int64_t> &lengths, int64_t rows) const {
    MORPH_ASSIGN_OR_RETURN(const auto read, planOf(program));
    const plan::Plan &plan = *read;
    const std::vector<size_t> instructions = lossInstructions(plan);
    const double runs = passes / static_cast<double>(lengths.size());
    StageCost total;
    total.stage = stage;
    for (const int64_t length : lengths) {
      total.memory.sizes = plan::withRings({{"B", 1}, {"T", length}, {"N", rows}}, plan, length);
      MORPH_ASSIGN_OR_RETURN(const std::vector<double> flops, plan::instructionFlops(plan, total.memory.sizes));
      MORPH_ASSIGN_OR_RETURN(const std::vector<double> seconds, secondsOf(plan, total.memory.sizes));
      total.tokens += runs * static_cast<double>(length);
      for (const size_t i : instructions) {
        total.flops += runs * flops[i];
        total.seconds += runs * seconds[i];
      }
    }
    return total;
  }

  /// What it takes to keep an output of all of a cost's runs, of which `most` bytes are kept, and what later runs save
  /// that are given it.
  struct Keeping {
    double bytes = 0, flops = 0, seconds = 0;
  };
  StatusOr<Keeping> keeping(const std::string &program, const std::string &output, double passes,
                            const std::map<std::string, int64_t> &sizes,
                            double most = static_cast<double>(plan::kKeptBytes)) const {
    MORPH_ASSIGN_OR_RETURN(const auto read, planOf(program));
    const plan::Plan &plan = *read;
    const auto found = std::find_if(plan.outputs.begin(), plan.outputs.end(),
                                    [&](const plan::NamedValue &value) { return value.name == output; });
    if (found == plan.outputs.end())
      return Keeping();
    MORPH_ASSIGN_OR_RETURN(const auto shapes, plan::resolveShapes(plan, sizes));
    MORPH_ASSIGN_OR_RETURN(const std::vector<double> flops, plan::instructionFlops(plan, sizes));
    MORPH_ASSIGN_OR_RETURN(const std::vector<double> seconds, secondsOf(plan, sizes));
    const std::vector<int64_t> &shape = shapes[static_cast<size_t>(found->value)];
    const double bytes = std::accumulate(shape.begin(), shape.end(), 4.0 * passes, std::multiplies<double>());
    const std::vector<plan::Step> steps = plan::planSteps(plan, plan::ZeroShares(plan.weights.size()), {found->value});
    Keeping result;
    for (size_t i = 0; i < steps.size(); ++i)
      if (steps[i] != plan::Step::Run) {
        result.flops += passes * flops[i];
        result.seconds += passes * seconds[i];
      }
    // Beyond what is kept, later runs compute it again (KeptResults).
    result.bytes = std::min(bytes, most);
    const double share = bytes > 0 ? result.bytes / bytes : 0;
    result.flops *= share;
    result.seconds *= share;
    return result;
  }

  /// The outputs of a program with a prefix, in their order.
  StatusOr<std::vector<std::string>> outputsWith(const std::string &program, const std::string &prefix) const {
    MORPH_ASSIGN_OR_RETURN(const auto read, planOf(program));
    std::vector<std::string> names;
    for (const plan::NamedValue &output : read->outputs)
      if (output.name.rfind(prefix, 0) == 0)
        names.push_back(output.name);
    return names;
  }

  /// A training stage, whose program has its name, as its section says, in sequences of `lengths`; none: the section's
  /// own.
  StatusOr<StageCost> training(const std::string &stage, const TrainingSpec &section, int64_t rows,
                               const std::vector<int64_t> &lengths) const {
    return training(stage, stage, section, rows, lengths);
  }
  StatusOr<StageCost> training(const std::string &stage, const std::string &program, const TrainingSpec &section,
                               int64_t rows, const std::vector<int64_t> &lengths) const {
    const double steps = static_cast<double>(section.steps);
    const double batches = steps * static_cast<double>(section.accumulate);
    // Held-out data are as long as the longest.
    MORPH_ASSIGN_OR_RETURN(const StageCost longest,
                           estimate(stage, program, batches, steps, section.batch, section.length, rows));
    if (lengths.empty())
      return longest;
    MORPH_ASSIGN_OR_RETURN(StageCost cost,
                           estimateLengths(stage, program, batches, steps, section.batch, lengths, rows));
    takeLarger(cost.memory, longest.memory);
    return cost;
  }

private:
  /// The plan of a program, whose file is read once.
  StatusOr<std::shared_ptr<const plan::Plan>> planOf(const std::string &program) const {
    std::shared_ptr<const plan::Plan> &known = read_[program];
    if (!known) {
      MORPH_ASSIGN_OR_RETURN(plan::Plan plan, plan::readPlan(plans_.at(program).string()));
      known = std::make_shared<const plan::Plan>(std::move(plan));
    }
    return known;
  }

  /// Of each instruction; zeros where no GPU was named.
  StatusOr<std::vector<double>> secondsOf(const plan::Plan &plan, const std::map<std::string, int64_t> &sizes) const {
    if (!device_)
      return std::vector<double>(plan.instructions.size(), 0);
    return plan::instructionSeconds(plan, sizes, *device_);
  }

  const PlanFiles &plans_;
  const plan::DeviceModel *device_;
  plan::RunMode mode_;
  mutable std::map<std::string, std::shared_ptr<const plan::Plan>> read_;
};

} // namespace

StatusOr<StageMemory> morph::memoryOfRun(const plan::Plan &plan, const std::map<std::string, int64_t> &sizes,
                                         int64_t threads) {
  plan::RunMode mode;
  mode.threads = threads;
  MORPH_ASSIGN_OR_RETURN(const plan::Cost cost, plan::estimateCost(plan, sizes, mode));
  return memoryOf(plan, cost, sizes, threads);
}

StageMemory morph::memoryOfProcess(StageMemory memory, int64_t count, bool shards) {
  if (count == 1)
    return memory;
  const double rest = 1 - 1 / static_cast<double>(count), moments = rest * memory.moments,
               weights = shards ? rest * memory.frozen - memory.gathered : 0;
  memory.optimizer -= moments;
  memory.weights -= weights;
  memory.bytes -= moments + weights;
  return memory;
}

StatusOr<StageMemory> morph::memoryOfDecoding(const plan::Plan &decode, int64_t batch, int64_t length,
                                              int64_t threads) {
  plan::RunMode mode;
  mode.threads = threads;
  // The arena of the prefill stays.
  int64_t inputs = 0, arena = 0, bound = 0;
  for (int64_t tokens : {std::min(length, plan::kPrefillChunk), int64_t(1)}) {
    const auto sizes = plan::withRings({{"B", batch}, {"T", tokens}, {"N", 0}}, decode, length + 1);
    MORPH_ASSIGN_OR_RETURN(const plan::Cost cost, plan::estimateCost(decode, sizes, mode));
    inputs = std::max(inputs, cost.inputBytes);
    arena = std::max(arena, cost.arenaBytes);
    bound = cost.boundBytes;
  }
  StageMemory memory;
  addFrozen(decode, memory);
  memory.weights = static_cast<double>(bound);
  memory.values = static_cast<double>(arena);
  memory.bytes = memory.weights + memory.values + static_cast<double>(inputs);
  return memory;
}

StatusOr<int64_t> morph::longestContext(const plan::Plan &decode, double bytes) {
  int64_t fits = 0, fails = kMostContext + 1;
  while (fits + 1 < fails) {
    const int64_t length = fits + (fails - fits) / 2;
    MORPH_ASSIGN_OR_RETURN(const StageMemory memory, memoryOfDecoding(decode, 1, length, 1));
    (memory.bytes <= bytes ? fits : fails) = length;
  }
  return fits;
}

StatusOr<double> morph::decodeSeconds(const plan::Plan &decode, int64_t context, const plan::DeviceModel &device) {
  const auto sizes = plan::withRings({{"B", 1}, {"T", 1}, {"N", 0}}, decode, context + 1);
  MORPH_ASSIGN_OR_RETURN(const std::vector<double> seconds, plan::instructionSeconds(decode, sizes, device));
  return std::accumulate(seconds.begin(), seconds.end(), 0.0);
}

Json morph::cacheByContext(const plan::Plan &full, const plan::Plan &hybrid, int64_t least) {
  Json lines = Json::array();
  for (int64_t context = least; context <= 262144; context *= 2)
    lines.push_back({{"context", context},
                     {"full_bytes", plan::cacheBytes(full, context)},
                     {"hybrid_bytes", plan::cacheBytes(hybrid, context)}});
  return lines;
}

int64_t morph::threadsOf(int64_t threads) {
  return threads > 0 ? threads : std::max<int64_t>(1, std::thread::hardware_concurrency());
}

StatusOr<std::vector<StageCost>> morph::estimateStages(const ResolvedSpec &resolved, const PlanFiles &plans,
                                                       const std::vector<Variant> &variants,
                                                       const plan::DeviceModel *device) {
  const StageEstimator estimator(resolved, plans, device);
  std::vector<StageCost> costs;
  auto times = [](StageCost cost, int64_t models) {
    const auto factor = static_cast<double>(models);
    cost.models = models;
    cost.tokens *= factor;
    cost.flops *= factor;
    cost.seconds *= factor;
    cost.diskBytes *= factor;
    return cost;
  };

  if (estimator.has("pretrain") && resolved.pretrain) {
    StageCost total;
    total.stage = "pretrain";
    for (const PretrainPhaseSpec &phase : resolved.pretrain->phase) {
      const int64_t batch = phase.batch, length = phase.length;
      const double steps = static_cast<double>(phase.stepsMax);
      MORPH_ASSIGN_OR_RETURN(const StageCost cost, estimator.estimate("pretrain", "pretrain", steps, steps, batch,
                                                                      length, batch * (length - 1)));
      total.steps += cost.steps;
      total.tokens += cost.tokens;
      total.flops += cost.flops;
      total.seconds += cost.seconds;
      takeLarger(total.memory, cost.memory);
      total.diskBytes = cost.diskBytes;
      total.checkpointBytes = cost.checkpointBytes;
    }
    costs.push_back(total);
  }
  const AlignSpec &align = resolved.align;
  std::vector<std::string> waves = {"align"};
  if (!estimator.has("align"))
    for (waves.clear(); estimator.has("align-" + std::to_string(waves.size() + 1));)
      waves.push_back("align-" + std::to_string(waves.size() + 1));
  if (align.steps > 0 && !waves.empty()) {
    StageCost total;
    for (const std::string &wave : waves) {
      MORPH_ASSIGN_OR_RETURN(const StageCost cost, estimator.training("align", wave, align, 0, {}));
      total.tokens += cost.tokens;
      total.flops += cost.flops;
      total.seconds += cost.seconds;
      total.diskBytes += cost.diskBytes;
      total.checkpointBytes = std::max(total.checkpointBytes, cost.checkpointBytes);
      takeLarger(total.memory, cost.memory);
      if (wave == waves.front())
        continue;
      // It begins with what the wave before it has left of each batch, and leaves as much to the next one.
      MORPH_ASSIGN_OR_RETURN(const std::vector<std::string> streams, estimator.outputsWith(wave, "stream."));
      if (streams.empty())
        continue;
      MORPH_ASSIGN_OR_RETURN(const auto kept,
                             estimator.keeping(wave, streams.front(),
                                               static_cast<double>(align.steps * align.accumulate), cost.memory.sizes));
      total.flops -= kept.flops;
      total.seconds -= kept.seconds;
      total.keptBytes = std::max(total.keptBytes, static_cast<double>(streams.size()) * kept.bytes);
    }
    if (estimator.has("calibrate")) {
      MORPH_ASSIGN_OR_RETURN(const StageCost cost,
                             estimator.estimate("align", "calibrate", static_cast<double>(align.calibration), 0,
                                                align.batch, align.length, 0));
      total.tokens += cost.tokens;
      total.flops += cost.flops;
      total.seconds += cost.seconds;
      takeLarger(total.memory, cost.memory);
    }
    total.stage = "align";
    total.steps = align.steps;
    total.waves = static_cast<int64_t>(waves.size());
    if (waves.size() > 1) // What each leaves to the last one, which puts it together.
      total.checkpointBytes += total.diskBytes;
    costs.push_back(total);
  }
  /// Stage distill of so many models, with the KL that it measures on held-out data. `given` of them get what the
  /// teacher said from one before them.
  const auto distilling = [&](const std::string &stage, int64_t models, int64_t given) -> StatusOr<StageCost> {
    const DistillSpec &section = resolved.distill;
    const bool readsText = section.tasks.empty() || section.taskFraction < 1;
    const int64_t textRows = readsText ? std::min(section.textPositions, section.length - 1) : 0;
    // A prompt's own text, too.
    const int64_t rows = !section.tasks.empty() && section.textWeight > 0 ? section.length - 1 : textRows;
    MORPH_ASSIGN_OR_RETURN(StageCost cost,
                           estimator.training(stage, "distill", section,
                                              section.batch * std::max(answerTokens(resolved, section.tasks), rows),
                                              section.lengths));
    const auto sizes = cost.memory.sizes;
    std::vector<int64_t> parts; // Rows of a sequence of each task that is measured, and of text.
    for (const std::string &task : section.tasks)
      if (section.taskFraction > 0)
        parts.push_back(answerTokens(resolved, {task}));
    if (readsText)
      parts.push_back(textRows);
    const auto samples = static_cast<double>(section.evalSamples);
    const auto measurements =
        static_cast<double>(1 + section.steps / section.evalEvery + (section.steps % section.evalEvery != 0));
    auto room = static_cast<double>(plan::kKeptBytes);
    StageEstimator::Keeping teacher;
    for (const int64_t part : parts) {
      MORPH_ASSIGN_OR_RETURN(const StageCost measured,
                             estimator.forward(stage, "distill", measurements * samples, {section.length}, part));
      addPart(cost, measured);
      MORPH_ASSIGN_OR_RETURN(const auto kept,
                             estimator.keeping("distill", "teacher", samples, measured.memory.sizes, room));
      room -= kept.bytes;
      teacher.bytes += kept.bytes;
      teacher.flops += kept.flops;
      teacher.seconds += kept.seconds;
    }
    // It runs for a model's first measurement.
    cost.flops -= (measurements - 1) * teacher.flops;
    cost.seconds -= (measurements - 1) * teacher.seconds;
    if (models > 1) {
      MORPH_ASSIGN_OR_RETURN(const auto kept,
                             estimator.keeping("distill", "teacher",
                                               static_cast<double>(section.steps * section.accumulate), sizes, room));
      teacher.bytes += kept.bytes;
      teacher.flops += kept.flops;
      teacher.seconds += kept.seconds;
    }
    cost = times(cost, models);
    cost.sharedFlops = static_cast<double>(given) * teacher.flops;
    cost.flops -= cost.sharedFlops;
    cost.seconds -= static_cast<double>(given) * teacher.seconds;
    cost.keptBytes = teacher.bytes;
    return cost;
  };
  StageCost selection;
  const auto add = [&](const StageCost &cost) {
    selection.stage = "select";
    selection.steps = std::max(selection.steps, cost.steps);
    selection.diskBytes = std::max(selection.diskBytes, cost.diskBytes);
    selection.checkpointBytes = std::max(selection.checkpointBytes, cost.checkpointBytes);
    selection.keptBytes = std::max(selection.keptBytes, cost.keptBytes);
    addPart(selection, cost);
  };
  /// `choices` on samples of these sizes, of which `rows` are read in a batch.
  const auto scoring = [&](const char *stage, const char *program, double choices, int64_t sampleCount,
                           int64_t batchSize, const std::vector<int64_t> &sizes, int64_t rows) -> StatusOr<StageCost> {
    const double samples = static_cast<double>(sampleCount), batch = static_cast<double>(batchSize);
    MORPH_ASSIGN_OR_RETURN(StageCost cost, estimator.estimateLengths(stage, program, choices * samples / batch, 0,
                                                                     batchSize, sizes, rows));
    // Between two choices, what goes into the layers, and what the teacher said (ChoiceJudge).
    const double length = static_cast<double>(*std::max_element(sizes.begin(), sizes.end()));
    const double streams = 4.0 * static_cast<double>(resolved.modelInfo.layers * resolved.modelInfo.hidden) * length *
                           std::max(samples, 2 * batch);
    if (streams <= static_cast<double>(plan::kStreamBytes))
      cost.memory.bytes += streams;
    cost.memory.bytes += 4.0 * static_cast<double>(rows * resolved.modelInfo.vocab) * samples / batch;
    return cost;
  };
  // Of a window of text, as distillation sees it.
  const int64_t windowRows = std::min(resolved.distill.textPositions, resolved.distill.length - 1);
  bool distilledAlone = false;
  for (const Variant &variant : variants) {
    // A variant of an audit has a budget and settings of its own.
    const SelectSpec &select = variant.spec.select;
    const std::vector<int64_t> lengths = mixedLengths(resolved.tasks, select.tasks);
    const int64_t textRows =
        select.taskFraction < 1 && !lengths.empty()
            ? std::min(resolved.distill.textPositions, *std::max_element(lengths.begin(), lengths.end()) - 1)
            : 0;
    const int64_t sampleRows = std::max(answerTokens(resolved, select.tasks), textRows);
    const int64_t answers = select.batch * sampleRows;
    const int64_t samples = wholeBatches(select.samples, select.batch);
    const auto addScores = [&](double choices, const std::vector<int64_t> &sizes, int64_t rows) -> Status {
      // The teacher runs on them once.
      MORPH_ASSIGN_OR_RETURN(const StageCost cost,
                             scoring("select", "score-relaxed", 1 + choices, samples, select.batch, sizes, rows));
      add(cost);
      return Status();
    };
    MORPH_ASSIGN_OR_RETURN(const SelectorName selector, parseSelectorName(select.method));
    const SelectorNeeds needs = selector.info->needs;
    if (needs == SelectorNeeds::Gates && estimator.has("gates")) {
      const double steps = static_cast<double>(select.steps);
      MORPH_ASSIGN_OR_RETURN(const StageCost cost,
                             estimator.estimateLengths("select", "gates",
                                                       steps * static_cast<double>(select.accumulate), steps,
                                                       select.batch, lengths, answers));
      add(cost);
      // The unit of the pressure, by all layers linear and with loss ce all full; and what it costs to take the choice
      // for the gates, by both.
      const int64_t unit = select.pressure == SelectSpec::Pressure::Raw ? 0
                           : select.loss == SelectSpec::Loss::Ce        ? 2
                                                                        : 1;
      MORPH_ASSIGN_OR_RETURN(const StageCost measured,
                             estimator.forward("select", "gates", static_cast<double>((unit + 2) * select.unitSamples),
                                               lengths, sampleRows));
      add(measured);
    }
    if (needs == SelectorNeeds::Alignment && !waves.empty()) {
      // All layers at once: of several waves the last one has the most below it.
      MORPH_ASSIGN_OR_RETURN(
          const StageCost cost,
          estimator.forward("select", waves.back(), static_cast<double>(select.samples), {align.length}, 0));
      add(cost);
    }
    // One model a layer, or tied group; selectors for several budgets have them together.
    if (distilsAlone(selector) && estimator.has("distill") && !std::exchange(distilledAlone, true)) {
      const auto groups = static_cast<int64_t>(tiedGroups(resolved.space).size());
      MORPH_ASSIGN_OR_RETURN(const StageCost cost, distilling("select", groups, groups - 1));
      add(cost);
    }
    if (!needsScores(selector) || !estimator.has("score-relaxed"))
      continue;
    // One that distils reads what was measured then.
    const bool scores = needsScores({selector.info, selector.option}) && !distilsAlone(selector);
    double choices = 0;
    if (scores) {
      MORPH_ASSIGN_OR_RETURN(const Choice dearest, dearestChoice(variant.spec));
      const double length =
          lengths.empty() ? 1
                          : std::accumulate(lengths.begin(), lengths.end(), 0.0) / static_cast<double>(lengths.size());
      choices = scoredChoices(variant.spec, selector, dearest, length * static_cast<double>(samples));
    }
    const bool scoresTasks = scores && needs != SelectorNeeds::Text;
    // Of the exchanges it is not known how many there are: one choice.
    if ((scoresTasks || selector.refines) && !lengths.empty())
      MORPH_RETURN_IF_ERROR(addScores((scoresTasks ? choices : 0) + (selector.refines ? 1 : 0), lengths, answers));
    if (scores && scoresText(*selector.info))
      MORPH_RETURN_IF_ERROR(addScores(choices, {resolved.distill.length}, select.batch * windowRows));
  }
  if (!selection.stage.empty())
    costs.push_back(selection);
  auto models = static_cast<int64_t>(variants.size());
  bool distills = true;
  if (estimator.has("judge") && resolved.audit) {
    const AuditSpec &audit = *resolved.audit;
    distills = audit.distill != AuditSpec::Distill::None;
    const int64_t batch = resolved.evaluate.batch;
    // Every choice of each budget or, where these are too many, one a selector at most.
    std::map<int64_t, std::vector<const Variant *>> budgets;
    for (const Variant &variant : variants)
      budgets[variant.budget].push_back(&variant);
    double judged = 0;
    models = 0;
    for (const auto &[budget, chosen] : budgets) {
      MORPH_ASSIGN_OR_RETURN(const auto all,
                             allChoices(chosen.front()->spec.space, static_cast<size_t>(audit.mostChoices)));
      const size_t choices = all ? all->size() : chosen.size();
      const size_t hybrids = audit.distill == AuditSpec::Distill::Every ? choices : std::min(choices, chosen.size());
      models += static_cast<int64_t>(hybrids);
      // The teacher runs once for them, and once for each that is judged again.
      judged += static_cast<double>(1 + choices + (distills ? 2 * hybrids : 0));
    }
    StageCost judging;
    judging.stage = "judge";
    for (const std::string &task : audit.tasks) {
      MORPH_ASSIGN_OR_RETURN(const StageCost cost,
                             scoring("judge", "judge", judged, wholeBatches(audit.samples, batch), batch,
                                     mixedLengths(resolved.tasks, {task}), batch * answerTokens(resolved, {task})));
      addPart(judging, cost);
    }
    if (audit.textSamples > 0) {
      MORPH_ASSIGN_OR_RETURN(const StageCost text,
                             scoring("judge", "judge", judged, wholeBatches(audit.textSamples, batch), batch,
                                     {resolved.distill.length}, batch * windowRows));
      addPart(judging, text);
    }
    costs.push_back(judging);
  }
  const DistillSpec &distill = resolved.distill;
  if (estimator.has("distill") && distill.steps > 0 && distills) {
    // The teacher runs for the first of several, if not for those that a selector distilled.
    MORPH_ASSIGN_OR_RETURN(const StageCost cost,
                           distilling("distill", models, models > 1 && distilledAlone ? models : models - 1));
    costs.push_back(cost);
  }
  const FinetuneSpec &finetune = resolved.finetune;
  if (estimator.has("finetune") && finetune.steps > 0) {
    const bool text = finetune.tasks.empty() || finetune.taskFraction < 1;
    const int64_t positions = text ? finetune.length - 1 : answerTokens(resolved, finetune.tasks);
    MORPH_ASSIGN_OR_RETURN(const StageCost cost,
                           estimator.training("finetune", finetune, finetune.batch * positions, finetune.lengths));
    costs.push_back(times(cost, models));
  }
  if (estimator.has("score")) {
    const EvaluateSpec &evaluate = resolved.evaluate;
    const int64_t batch = evaluate.batch;
    /// A task, at each length and, where it has depths, depth.
    struct Measured {
      std::vector<int64_t> lengths;
      double batches = 0; ///< A sample of each of these.
      int64_t answers = 0;
    };
    std::vector<Measured> tasks;
    for (const std::string &name : evaluate.tasks)
      for (const TaskSpec &task : resolved.tasks)
        if (task.name == name) {
          const std::vector<int64_t> &lengths = evaluate.lengths.empty() ? task.length : evaluate.lengths;
          const size_t depths = hasDepths(task.kind) ? std::max<size_t>(1, evaluate.depths.size()) : 1;
          tasks.push_back(
              {lengths, static_cast<double>(lengths.size() * depths) / static_cast<double>(batch), answerTokens(task)});
        }
    const auto scoring = [&](const char *program) -> StatusOr<StageCost> {
      StageCost cost;
      cost.stage = "evaluate";
      for (const Measured &task : tasks) {
        MORPH_ASSIGN_OR_RETURN(const StageCost part,
                               estimator.estimateLengths("evaluate", program,
                                                         task.batches * static_cast<double>(evaluate.samples), 0, batch,
                                                         task.lengths, batch * task.answers));
        addPart(cost, part);
      }
      if (evaluate.perplexityTokens == 0 || resolved.data.text.empty())
        return cost;
      const int64_t length = evaluate.perplexityLength;
      MORPH_ASSIGN_OR_RETURN(const StageCost text, estimator.estimate("evaluate", program,
                                                                      static_cast<double>(evaluate.perplexityTokens) /
                                                                          static_cast<double>(batch * length),
                                                                      0, batch, length, batch * (length - 1)));
      addPart(cost, text);
      return cost;
    };
    MORPH_ASSIGN_OR_RETURN(StageCost cost, scoring("score"));
    // The teacher, in whose layers all attention is full, is evaluated, too, and may take more memory than a hybrid.
    if (estimator.has("score-full")) {
      MORPH_ASSIGN_OR_RETURN(const StageCost teacher, scoring("score-full"));
      takeLarger(cost.memory, teacher.memory);
    }
    // Generated answers: a prefill and steps. The teacher has the largest caches.
    const int64_t generated = std::min(evaluate.samples, evaluate.generateSamples);
    for (const Measured &task : tasks) {
      if (generated == 0)
        break;
      const int64_t longest = *std::max_element(task.lengths.begin(), task.lengths.end());
      if (estimator.has("decode-full")) {
        const double prefills = task.batches * static_cast<double>(generated);
        MORPH_ASSIGN_OR_RETURN(const StageCost prefill, estimator.estimateLengths("evaluate", "decode-full", prefills,
                                                                                  0, batch, task.lengths, 0));
        MORPH_ASSIGN_OR_RETURN(const StageCost step, estimator.estimate("evaluate", "decode-full",
                                                                        prefills * static_cast<double>(task.answers), 0,
                                                                        batch, 1, 0, longest));
        cost.tokens += prefill.tokens + step.tokens;
        cost.flops += prefill.flops + step.flops;
        cost.seconds += prefill.seconds + step.seconds;
      }
      // Of the hybrids and, where it is among the plans, of the teacher.
      for (const char *program : {"decode", "decode-full"}) {
        if (!estimator.has(program))
          continue;
        MORPH_ASSIGN_OR_RETURN(const StageMemory memory, estimator.decodeMemory(program, batch, longest));
        takeLarger(cost.memory, memory);
      }
    }
    // The teacher once; every hybrid after each stage that changes it.
    const int64_t stages = 1 + (distill.steps > 0) + (finetune.steps > 0);
    costs.push_back(times(cost, resolved.pretrain ? 1 : 1 + models * stages));
  }
  return costs;
}

double morph::availableDisk(const fs::path &folder) {
  fs::path nearest = fs::absolute(folder);
  std::error_code error;
  while (!fs::exists(nearest, error) && nearest.has_parent_path() && nearest != nearest.parent_path())
    nearest = nearest.parent_path();
  const fs::space_info space = fs::space(nearest, error);
  return error ? 1e18 : static_cast<double>(space.available);
}
