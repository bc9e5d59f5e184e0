// SPDX-License-Identifier: Apache-2.0

#include "runtime/bench/PlanBench.h"

#include "runtime/base/Cpu.h"
#include "runtime/bench/Products.h"
#include "runtime/bench/Reads.h"
#include "runtime/bench/Sampler.h"
#include "runtime/device/TorchDevice.h"
#include "runtime/exec/Bindings.h"
#include "runtime/exec/HeldMemory.h"
#include "runtime/plan/Cost.h"
#include "runtime/plan/Names.h"
#include "runtime/train/TrainLoop.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <limits>
#include <sys/resource.h>

namespace morph {

namespace {

using OrderedJson = nlohmann::ordered_json;

/// Seconds by op; an op that mixes tokens has the names of its optional operands behind its own: "linear_attention
/// decay".
class Profile {
public:
  explicit Profile(const plan::Plan &plan) : plan_(plan) {}

  void add(size_t instruction, double seconds) {
    const plan::Instruction &what = plan_.instructions[instruction];
    std::string name = what.op;
    if (const plan::OpRule &rule = *plan::findOpRule(what.op); rule.mixesTokens)
      for (const plan::OperandRule &operand : rule.operands)
        if (operand.arity == plan::Arity::Optional && !operand.index &&
            plan::operandValue(what, rule, operand.name) >= 0)
          name += " " + operand.name;
    Entry &entry = entries_[name];
    entry.seconds += seconds;
    ++entry.calls;
  }

  /// A line an op, the dearest first, and one for what is outside instructions: seconds and calls of a step, share.
  OrderedJson describe(int64_t steps, double stepSeconds) const {
    std::vector<std::pair<std::string, Entry>> sorted(entries_.begin(), entries_.end());
    double inside = 0;
    for (const auto &[name, entry] : sorted)
      inside += entry.seconds;
    const double count = static_cast<double>(steps);
    sorted.push_back({"(outside instructions)", {std::max(0.0, stepSeconds * count - inside), steps}});
    std::sort(sorted.begin(), sorted.end(),
              [](const auto &a, const auto &b) { return a.second.seconds > b.second.seconds; });
    OrderedJson lines = OrderedJson::array();
    for (const auto &[name, entry] : sorted)
      lines.push_back({{"op", name},
                       {"seconds", entry.seconds / count},
                       {"calls", static_cast<double>(entry.calls) / count},
                       {"share", entry.seconds / count / stepSeconds}});
    return lines;
  }

private:
  struct Entry {
    double seconds = 0;
    int64_t calls = 0;
  };
  const plan::Plan &plan_;
  std::map<std::string, Entry> entries_;
};

/// The most memory that the process had so far, programs and libraries included.
int64_t peakResidentBytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return 1024 * static_cast<int64_t>(usage.ru_maxrss);
}

/// One call of benchPlan.
class PlanBench {
public:
  PlanBench(const StageContext &context, const PlanBenchOptions &options) : context_(context), options_(options) {}
  StatusOr<OrderedJson> run();

private:
  /// Where programs run; null: the CPU.
  CudaDevice *cuda() const { return isCuda(context_.device) ? &cudaDeviceOf(context_.device) : nullptr; }
  int64_t heldNow() const { return cuda() ? cuda()->heldBytes() : heldBytes(); }
  /// A plan by its name, of any model.
  StatusOr<plan::Plan> readPlan(const std::string &name) const;
  Status bind();
  Status save(const WeightStore &store) const;
  /// Runs steps until the sampler has enough.
  Status train();
  Status repeat();
  /// After each step: whether it was the last.
  bool stepDone();

  const StageContext &context_;
  const PlanBenchOptions &options_;
  std::unique_ptr<Executor> executor_;
  NamedTensors inputs_;
  std::optional<ProductTimer> products_;
  std::optional<Profile> profile_;
  std::optional<Sampler> sampler_;
  int64_t heldBefore_ = 0, peakBytes_ = 0, peakResidentBytes_ = 0, allocations_ = 0, allocationsBefore_ = 0;
  double loss_ = std::numeric_limits<double>::quiet_NaN();
};

} // namespace

StatusOr<plan::Plan> PlanBench::readPlan(const std::string &name) const {
  if (!context_.hasPlan(name))
    return Status::invalid("the plan '" + name + "' is missing", "give --plan " + name + "=FILE");
  return plan::readPlan(context_.planPaths.at(name));
}

Status PlanBench::save(const WeightStore &store) const {
  std::map<std::string, at::Tensor> model, branches;
  for (const std::string &name : store.names())
    model[name] = store.find(name).contiguous();
  for (const plan::Weight &weight : executor_->plan().weights) {
    if (model.count(weight.name) || !weight.teacherOf.empty())
      continue;
    MORPH_ASSIGN_OR_RETURN(branches[weight.name],
                           loadWeight(executor_->plan(), weight, store, context_.seed, at::kFloat));
    if (weight.gate)
      branches[weight.name] = executor_->masters().at(weight.name);
  }
  MORPH_RETURN_IF_ERROR(writeSafetensors(options_.save + "/model.safetensors", model, {{"format", "pt"}}));
  MORPH_RETURN_IF_ERROR(writeSafetensors(options_.save + "/branches.safetensors", branches, {{"format", "pt"}}));
  return writeSafetensors(options_.save + "/inputs.safetensors", inputs_);
}

Status PlanBench::bind() {
  MORPH_ASSIGN_OR_RETURN(plan::Plan plan, readPlan(options_.program));
  heldBefore_ = heldNow();
  MORPH_ASSIGN_OR_RETURN(inputs_, seededInputs(plan, options_.sizes, context_.seed));
  // What a program updates lies where it runs.
  for (auto &[name, input] : inputs_)
    if (plan::hasPrefix(name, plan::kCachePrefix))
      input = input.to(context_.device);
  std::optional<WeightStore> store;
  if (context_.weightPaths.empty()) {
    MORPH_ASSIGN_OR_RETURN(const plan::Plan model, readPlan("score"));
    store = WeightStore::inMemory(seededWeights(model, context_.seed));
  } else {
    MORPH_ASSIGN_OR_RETURN(store, WeightStore::open(context_.weightPaths));
  }
  MORPH_ASSIGN_OR_RETURN(executor_, Executor::create(std::move(plan), *store, context_.precision, context_.seed,
                                                     /*sharing=*/nullptr, context_.device));
  // At their first value, all full attention, a step has no loss and could leave the candidates out.
  for (const plan::Weight &weight : executor_->plan().weights)
    if (weight.gate) {
      at::Tensor &gate = executor_->masters().at(weight.name);
      gate.fill_(1.0 / static_cast<double>(gate.numel() + 1));
    }
  if (!options_.save.empty())
    MORPH_RETURN_IF_ERROR(save(*store));
  return Status();
}

bool PlanBench::stepDone() {
  const bool wasWarm = sampler_->warm();
  allocations_ = allocationCount() - allocationsBefore_;
  const bool enough = sampler_->stepDone();
  if (!wasWarm && sampler_->warm() && options_.profile) {
    profile_.emplace(executor_->plan());
    executor_->observe([this](size_t instruction, double seconds) { profile_->add(instruction, seconds); });
  }
  allocationsBefore_ = allocationCount();
  return enough;
}

Status PlanBench::train() {
  LoopOptions loop;
  loop.stage = "bench";
  loop.steps = std::numeric_limits<int64_t>::max();
  loop.logEvery = loop.checkpointEvery = 0;
  loop.quiet = true;
  loop.schedule.peak = 1e-6; // So small that random weights cannot diverge.
  LoopHooks hooks;
  hooks.finished = [this](int64_t, NamedTensors &) -> StatusOr<bool> {
    // A step's time is the device's.
    if (cuda())
      MORPH_RETURN_IF_ERROR(cuda()->synchronize());
    return stepDone();
  };
  const BatchSource source = [this](int64_t) {
    LoopBatch batch;
    batch.inputs = inputs_;
    batch.tokens = options_.sizes.batch * options_.sizes.length;
    return StatusOr<LoopBatch>(std::move(batch));
  };
  MORPH_ASSIGN_OR_RETURN(Optimizer optimizer, Optimizer::create(*executor_));
  MORPH_ASSIGN_OR_RETURN(const LoopResult result, runTrainLoop(optimizer, source, loop, hooks));
  loss_ = result.firstLoss;
  return Status();
}

Status PlanBench::repeat() {
  do {
    MORPH_ASSIGN_OR_RETURN(const NamedTensors outputs, executor_->run(inputs_));
    if (auto found = outputs.find("loss"); found != outputs.end() && !sampler_->warm())
      loss_ = found->second.item<double>();
    if (cuda())
      MORPH_RETURN_IF_ERROR(cuda()->synchronize());
  } while (!stepDone());
  return Status();
}

StatusOr<OrderedJson> PlanBench::run() {
  MORPH_RETURN_IF_ERROR(bind());
  const plan::Plan &plan = executor_->plan();
  MORPH_ASSIGN_OR_RETURN(products_, ProductTimer::create(plan, options_.sizes, context_.device));
  const plan::RunMode mode{context_.precision == Precision::F64, at::get_num_threads()};
  MORPH_ASSIGN_OR_RETURN(const plan::Cost cost, plan::estimateCost(plan, options_.sizes.bound(plan), mode));
  const bool trains = !executor_->masters().empty();

  // A step of decoding reads every weight and all caches, and hardly computes.
  std::optional<ReadTimer> reads;
  double readBytes = 0;
  if (plan.program == "decode" && options_.sizes.length == 1 && !cuda()) {
    readBytes = static_cast<double>(cost.boundBytes) +
                static_cast<double>(options_.sizes.batch) * plan::cacheBytes(plan, options_.sizes.context);
    reads.emplace(readBytes);
  }

  bool measured = false;
  sampler_.emplace(options_.warmup, options_.repeat, /*leastSeconds=*/0.2, [&] {
    // The products' own matrices come after the peak was read.
    if (!measured) {
      peakBytes_ = (cuda() ? cuda()->peakBytes() : peakHeldBytes()) - heldBefore_;
      peakResidentBytes_ = peakResidentBytes();
    }
    measured = true;
    products_->round();
    if (reads)
      reads->round();
  });
  cuda() ? cuda()->restartPeak() : restartPeak();
  MORPH_RETURN_IF_ERROR(trains ? train() : repeat());

  const double seconds = median(sampler_->seconds()), ideal = products_->seconds();
  const double tokens = static_cast<double>(options_.sizes.batch * options_.sizes.length);
  OrderedJson result = {{"median_seconds", seconds},
                        {"spread", spread(sampler_->seconds())},
                        {"tokens_per_second", tokens / seconds},
                        {"flops", cost.flops},
                        {"ideal_gemm_seconds", ideal},
                        {"share", ideal / seconds},
                        {"peak_bytes", peakBytes_},
                        {"peak_rss_bytes", peakResidentBytes_},
                        {"planned_bytes", plan::runBytes(cost)},
                        {"allocations", allocations_},
                        {"cpu", cpuName()},
                        {"threads", at::get_num_threads()},
                        {"loss", std::isfinite(loss_) ? OrderedJson(loss_) : OrderedJson()},
                        {"seconds", sampler_->seconds()},
                        {"products", products_->describe()}};
  if (reads) {
    result["read_bytes"] = readBytes;
    result["ideal_read_seconds"] = reads->seconds();
    result["read_share"] = reads->seconds() / seconds;
  }
  if (cuda())
    result["device"] = cuda()->properties().name;
  if (profile_)
    result["profile"] = profile_->describe(sampler_->steps(), mean(sampler_->seconds()));
  return result;
}

StatusOr<OrderedJson> benchPlan(const StageContext &context, const PlanBenchOptions &options) {
  return PlanBench(context, options).run();
}

} // namespace morph
