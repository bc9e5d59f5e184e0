// SPDX-License-Identifier: Apache-2.0

#include "tools/morph/Costs.h"

#include "runtime/plan/Cost.h"

#include <algorithm>
#include <fstream>

using namespace morph;

namespace {

double number(const Json &section, const char *name, double fallback) {
  const auto found = section.find(name);
  return found != section.end() && found->is_number() ? found->get<double>() : fallback;
}

/// The lengths that samples of these tasks have: `lengths`, or else those of the tasks (all tasks where none is named).
std::vector<int64_t> sampleLengths(const Json &resolved, const Json &names, const Json &lengths) {
  std::vector<int64_t> result;
  for (const Json &length : lengths)
    result.push_back(length.get<int64_t>());
  if (result.empty())
    for (const Json &task : resolved.value("tasks", Json::array())) {
      if (!names.empty() && std::find(names.begin(), names.end(), task.value("name", "")) == names.end())
        continue;
      for (const Json &length : task.value("length", Json::array()))
        result.push_back(length.get<int64_t>());
    }
  return result.empty() ? std::vector<int64_t>{512} : result;
}

/// Positions that a sample of the tasks reads, at most: a guess, because texts are tokenised later.
constexpr int64_t kAnswerPositions = 64;

class StageEstimator {
public:
  StageEstimator(const Json &resolved, const PlanFiles &plans) : resolved_(resolved), plans_(plans) {}

  bool has(const std::string &program) const { return plans_.count(program) != 0; }

  /// `passes` runs of a program with B sequences of T tokens, N rows read. Training programs keep gradients and two
  /// moments beside each trained weight, all fp32.
  StatusOr<StageCost> estimate(const std::string &stage, const std::string &program, double passes, double steps,
                               int64_t batch, int64_t length, int64_t rows) const {
    MORPH_ASSIGN_OR_RETURN(const plan::Plan plan, plan::readPlan(plans_.at(program).string()));
    MORPH_ASSIGN_OR_RETURN(const plan::Cost cost,
                           plan::estimateCost(plan, {{"B", batch}, {"T", length}, {"N", rows}, {"S", 0}}));
    StageCost result;
    result.stage = stage;
    result.steps = static_cast<int64_t>(steps);
    result.tokens = passes * static_cast<double>(batch * length);
    result.flops = passes * cost.flops;
    // Weights are held in fp32, and in bf16 beside that where products are.
    double weights = 0;
    const double elementBytes = resolved_.value("model", Json::object()).value("precision", "fp32") == "bf16" ? 6 : 4;
    for (const plan::Weight &weight : plan.weights) {
      double elements = elementBytes;
      for (int64_t size : weight.shape)
        elements *= static_cast<double>(size);
      weights += elements;
    }
    result.memoryBytes = weights + 4.0 * cost.masterBytes + cost.peakBytes;
    result.diskBytes = cost.masterBytes;
    result.checkpointBytes = 3.0 * cost.masterBytes;
    return result;
  }

  /// `passes` runs that spread evenly over sequences of several lengths; the memory is that of the longest.
  StatusOr<StageCost> estimateLengths(const std::string &stage, const std::string &program, double passes, double steps,
                                      int64_t batch, const std::vector<int64_t> &lengths, int64_t rows) const {
    StageCost total;
    total.stage = stage;
    for (int64_t length : lengths) {
      MORPH_ASSIGN_OR_RETURN(
          const StageCost cost,
          estimate(stage, program, passes / static_cast<double>(lengths.size()), steps, batch, length, rows));
      const double tokens = total.tokens + cost.tokens, flops = total.flops + cost.flops;
      if (cost.memoryBytes > total.memoryBytes)
        total = cost;
      total.tokens = tokens;
      total.flops = flops;
    }
    return total;
  }

  /// A training stage as its section says.
  StatusOr<StageCost> training(const std::string &stage, const std::string &program, int64_t rows) const {
    const Json section = resolved_.value(stage, Json::object());
    const double steps = number(section, "steps", 0);
    const auto batch = static_cast<int64_t>(number(section, "batch", 1));
    const auto length = static_cast<int64_t>(number(section, "length", 512));
    return estimate(stage, program, steps * number(section, "accumulate", 1), steps, batch, length, rows);
  }

private:
  const Json &resolved_;
  const PlanFiles &plans_;
};

} // namespace

double morph::sectionTokens(const Json &section) {
  return number(section, "steps", 0) * number(section, "batch", 1) * number(section, "accumulate", 1) *
         number(section, "length", 512);
}

StatusOr<std::vector<StageCost>> morph::estimateStages(const Json &resolved, const PlanFiles &plans, int64_t variants) {
  const StageEstimator estimator(resolved, plans);
  std::vector<StageCost> costs;
  auto section = [&](const char *name) { return resolved.value(name, Json::object()); };
  auto times = [](StageCost cost, int64_t models) {
    const auto factor = static_cast<double>(models);
    cost.models = models;
    cost.tokens *= factor;
    cost.flops *= factor;
    cost.diskBytes *= factor;
    return cost;
  };

  if (estimator.has("pretrain")) {
    StageCost total;
    total.stage = "pretrain";
    for (const Json &phase : section("pretrain").value("phase", Json::array())) {
      const auto batch = static_cast<int64_t>(number(phase, "batch", 1));
      const auto length = static_cast<int64_t>(number(phase, "length", 64));
      const double steps = number(phase, "steps_max", 0);
      MORPH_ASSIGN_OR_RETURN(const StageCost cost, estimator.estimate("pretrain", "pretrain", steps, steps, batch,
                                                                      length, batch * (length - 1)));
      total.steps += cost.steps;
      total.tokens += cost.tokens;
      total.flops += cost.flops;
      total.memoryBytes = std::max(total.memoryBytes, cost.memoryBytes);
      total.diskBytes = cost.diskBytes;
      total.checkpointBytes = cost.checkpointBytes;
    }
    costs.push_back(total);
  }
  if (estimator.has("align") && number(section("align"), "steps", 0) > 0) {
    MORPH_ASSIGN_OR_RETURN(const StageCost cost, estimator.training("align", "align", 0));
    costs.push_back(cost);
  }
  if (estimator.has("gates") && section("select").value("method", "gates") == "gates") {
    const Json select = section("select");
    const double steps = number(select, "steps", 0);
    const auto batch = static_cast<int64_t>(number(select, "batch", 1));
    const std::vector<int64_t> lengths = sampleLengths(resolved, select.value("tasks", Json::array()), Json::array());
    MORPH_ASSIGN_OR_RETURN(StageCost cost,
                           estimator.estimateLengths("select", "gates", steps * number(select, "accumulate", 1), steps,
                                                     batch, lengths, batch * kAnswerPositions));
    costs.push_back(cost);
  }
  if (estimator.has("distill") && number(section("distill"), "steps", 0) > 0) {
    const Json distill = section("distill");
    const auto rows = static_cast<int64_t>(number(distill, "batch", 1) * number(distill, "text_positions", 128));
    MORPH_ASSIGN_OR_RETURN(const StageCost cost, estimator.training("distill", "distill", rows));
    costs.push_back(times(cost, variants));
  }
  if (estimator.has("finetune") && number(section("finetune"), "steps", 0) > 0) {
    const Json finetune = section("finetune");
    const auto rows = static_cast<int64_t>(number(finetune, "batch", 1) * (number(finetune, "length", 512) - 1));
    MORPH_ASSIGN_OR_RETURN(const StageCost cost, estimator.training("finetune", "finetune", rows));
    costs.push_back(times(cost, variants));
  }
  if (estimator.has("score")) {
    const Json evaluate = section("evaluate");
    const Json tasks = evaluate.value("tasks", Json::array());
    const std::vector<int64_t> lengths = sampleLengths(resolved, tasks, evaluate.value("lengths", Json::array()));
    // Given lengths are measured for each task, a task's own lengths once.
    const bool given = !evaluate.value("lengths", Json::array()).empty();
    const double depths = std::max<double>(1, evaluate.value("depths", Json::array()).size());
    const double groups =
        static_cast<double>(lengths.size()) * (given ? std::max<double>(1, tasks.size()) : 1) * depths;
    const auto batch = static_cast<int64_t>(number(evaluate, "batch", 1));
    const double passes = groups * number(evaluate, "samples", 32) / batch;
    MORPH_ASSIGN_OR_RETURN(StageCost cost, estimator.estimateLengths("evaluate", "score", passes, 0, batch, lengths,
                                                                     batch * kAnswerPositions));
    if (const double tokens = number(evaluate, "perplexity_tokens", 0)) {
      const auto length = static_cast<int64_t>(number(evaluate, "perplexity_length", 512));
      MORPH_ASSIGN_OR_RETURN(const StageCost text, estimator.estimate("evaluate", "score", tokens / (batch * length), 0,
                                                                      batch, length, batch * (length - 1)));
      cost.tokens += text.tokens;
      cost.flops += text.flops;
      cost.memoryBytes = std::max(cost.memoryBytes, text.memoryBytes);
    }
    // The teacher once; every hybrid after each stage that changes it.
    int64_t stages = 1;
    for (const char *name : {"distill", "finetune"})
      stages += number(section(name), "steps", 0) > 0;
    costs.push_back(times(cost, resolved.contains("pretrain") ? 1 : 1 + variants * stages));
  }
  return costs;
}

double morph::cacheBytes(const plan::Plan &decode, int64_t context, int64_t elementBytes) {
  // cache -> concat -> attention: the window of the attention that a cache belongs to.
  std::map<int64_t, int64_t> windows;
  for (const plan::Instruction &concat : decode.instructions) {
    if (concat.op != "concat" || concat.operands.empty() || concat.results.empty())
      continue;
    for (const plan::Instruction &attention : decode.instructions) {
      const auto window = attention.attributes.find("window");
      const std::vector<int64_t> &operands = attention.operands;
      if (attention.op == "attention" && window != attention.attributes.end() &&
          std::find(operands.begin(), operands.end(), concat.results[0]) != operands.end())
        if (const int64_t *value = std::get_if<int64_t>(&window->second))
          windows[concat.operands[0]] = *value;
    }
  }
  double bytes = 0;
  for (const plan::NamedValue &input : decode.inputs) {
    if (input.name.rfind("cache.", 0) != 0)
      continue;
    double elements = 1;
    bool grows = false;
    for (const plan::Dim &dim : decode.values[input.value].shape) {
      if (const int64_t *size = std::get_if<int64_t>(&dim))
        elements *= static_cast<double>(*size);
      else
        grows |= std::get<std::string>(dim) == "S";
    }
    const auto window = windows.find(input.value);
    const int64_t length = window == windows.end() ? context : std::min(context, window->second);
    bytes += grows ? elements * static_cast<double>(length * elementBytes) : elements * 4;
  }
  return bytes;
}

double morph::availableMemory() {
  double available = 1e18;
  std::ifstream information("/proc/meminfo");
  std::string line;
  while (std::getline(information, line))
    if (line.rfind("MemAvailable:", 0) == 0)
      available = 1024 * std::stod(line.substr(13));
  // A container's limit, less what it uses beyond the page cache.
  std::ifstream limitFile("/sys/fs/cgroup/memory.max"), statistics("/sys/fs/cgroup/memory.stat");
  double limit = 0, used = 0;
  if (limitFile >> limit) {
    std::string name;
    double value;
    while (statistics >> name >> value)
      if (name == "anon" || name == "slab_unreclaimable")
        used += value;
    available = std::min(available, limit - used);
  }
  return available;
}

double morph::availableDisk(const fs::path &folder) {
  fs::path nearest = fs::absolute(folder);
  std::error_code error;
  while (!fs::exists(nearest, error) && nearest.has_parent_path() && nearest != nearest.parent_path())
    nearest = nearest.parent_path();
  const fs::space_info space = fs::space(nearest, error);
  return error ? 1e18 : static_cast<double>(space.available);
}
