// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/StageContext.h"

#include "runtime/base/Log.h"
#include "runtime/device/TorchDevice.h"
#include "runtime/plan/Names.h"
#include "runtime/spec/DeviceName.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <filesystem>
#include <thread>
#include <unistd.h>

namespace morph {

Status setThreads(int64_t threads, const std::string &source) {
  const int64_t most = 4 * std::max<int64_t>(1, std::thread::hardware_concurrency());
  if (threads > most)
    return Status::invalid(source + " is " + std::to_string(threads) + ", and at most " + std::to_string(most) +
                           " make sense on this machine");
  at::set_num_threads(static_cast<int>(threads));
  return Status();
}

Status StageContext::prepare() {
  seed = static_cast<uint64_t>(spec.seed);
  vocabulary = spec.modelInfo.vocab;
  layers = spec.modelInfo.layers;
  if (spec.model.threads > 0)
    MORPH_RETURN_IF_ERROR(setThreads(spec.model.threads, "model.threads"));
  if (!spec.model.device.empty())
    MORPH_RETURN_IF_ERROR(openDevice(spec.model.device));
  if (!out.empty()) {
    std::error_code error;
    std::filesystem::create_directories(out, error);
    if (error)
      return Status::failed("cannot make the folder '" + out + "': " + error.message());
  }
  return Status();
}

Status StageContext::openDevice(const std::string &name) {
  const std::optional<DeviceName> parsed = parseDeviceName(name);
  if (!parsed)
    return Status::invalid("'" + name + "' is no device", kDeviceNames);
  device = at::kCPU;
  if (parsed->isCpu())
    return Status();
  // A process a GPU. A launcher may have left each process its own GPU alone, which is then the first for all of them.
  const bool seesOne = processes->localRank() > 0 && !CudaDevice::describe(1).ok();
  const int ordinal = parsed->cuda + (seesOne ? 0 : static_cast<int>(processes->localRank()));
  if (processes->localRank() > 0 && !seesOne && !CudaDevice::describe(ordinal).ok())
    return Status::invalid("process " + std::to_string(processes->rank()) +
                               " would run on cuda:" + std::to_string(ordinal) +
                               ", and this machine has no such GPU: each process has one of "
                               "its own, unless there is but one, which all share",
                           "take fewer processes, or show them one GPU: CUDA_VISIBLE_DEVICES=0");
  MORPH_ASSIGN_OR_RETURN(std::shared_ptr<CudaDevice> opened, CudaDevice::open(ordinal));
  MORPH_ASSIGN_OR_RETURN(device, torchDevice(std::move(opened)));
  return Status();
}

/// The results that stages need of the plan that they know by `name`.
static std::vector<std::string> outputsOf(const std::string &name) {
  if (name == "logits" || name == "decode")
    return {"logits"};
  if (name == "score")
    return {"nll", "correct"};
  if (name == "read")
    return {"nll"};
  if (name == "calibrate") // They are called as the weights.
    return {};
  return {"loss"};
}

/// Whether a result has the shape in which stages read results of that name: a scalar, a number for each of the rows
/// that `positions` picks or for each layer's branches, or rows of logits.
static bool fitsItsName(const plan::Plan &plan, const plan::NamedValue &output, const StageContext &context) {
  const plan::TensorType &type = plan.values[static_cast<size_t>(output.value)];
  if (output.name == "loss")
    return type.dtype == plan::DType::F32 && type.shape.empty();
  if (output.name == "layer_loss") { // Of every candidate beside full attention, in all layers or in a wave of them.
    int64_t branches = 0;
    for (const std::vector<Candidate> &candidates : context.spec.space.layers)
      branches += static_cast<int64_t>(candidates.size()) - 1;
    return type.dtype == plan::DType::F32 && type.shape.size() == 1 && std::holds_alternative<int64_t>(type.shape[0]) &&
           std::get<int64_t>(type.shape[0]) <= branches;
  }
  if (output.name == "logits")
    return type.dtype == plan::DType::F32 && type.shape.size() == 2 &&
           (context.vocabulary == 0 || type.shape[1] == plan::Dim(context.vocabulary));
  if (output.name != "nll" && output.name != "correct" && output.name != "kl")
    return true;
  const auto positions = std::find_if(plan.inputs.begin(), plan.inputs.end(),
                                      [](const plan::NamedValue &input) { return input.name == "positions"; });
  return type.dtype == plan::DType::F32 && positions != plan.inputs.end() &&
         type.shape == plan.values[static_cast<size_t>(positions->value)].shape;
}

StatusOr<plan::Plan> StageContext::plan(const std::string &name) const {
  auto found = planPaths.find(name);
  if (found == planPaths.end())
    return Status::invalid("this stage needs the plan '" + name + "'", "give --plan " + name + "=FILE");
  MORPH_ASSIGN_OR_RETURN(plan::Plan plan, plan::readPlan(found->second));
  const std::string what = "'" + found->second + "' is a plan of program '" + plan.program + "', ";
  const std::string hint = "is it the plan '" + name + "' of this model?";
  for (const std::string &needed : outputsOf(name))
    if (std::none_of(plan.outputs.begin(), plan.outputs.end(),
                     [&](const plan::NamedValue &output) { return output.name == needed; }))
      return Status::invalid(what + "which has no output '" + needed + "'", hint);
  for (const plan::NamedValue &output : plan.outputs)
    if (!fitsItsName(plan, output, *this))
      return Status::invalid(what + "whose output '" + output.name + "' has another shape or type", hint);
  return plan;
}

std::shared_ptr<Processes> StageContext::sharers() const { return shards || spec.model.shard ? processes : nullptr; }

StatusOr<std::unique_ptr<Executor>> StageContext::executor(const std::string &name, const Executor *sharing) const {
  MORPH_ASSIGN_OR_RETURN(plan::Plan program, plan(name));
  MORPH_ASSIGN_OR_RETURN(WeightStore store, WeightStore::open(weightPaths));
  store.add(firstValues);
  return Executor::create(std::move(program), store, precision, seed, sharing, device, sharers());
}

StatusOr<std::unique_ptr<Executor>> StageContext::baseExecutor(const std::string &name, const Executor *sharing) const {
  MORPH_ASSIGN_OR_RETURN(plan::Plan program, plan(name));
  MORPH_ASSIGN_OR_RETURN(const WeightStore store, WeightStore::open(weightPaths));
  for (const plan::Weight &weight : program.weights)
    if (store.isOverridden(weight.name)) {
      MORPH_ASSIGN_OR_RETURN(const WeightStore base, WeightStore::open({weightPaths.front()}));
      return Executor::create(std::move(program), base, precision, seed, /*sharing=*/nullptr, device, sharers());
    }
  return executor(name, sharing);
}

StatusOr<std::unique_ptr<Executor>> StageContext::executorOf(const std::string &name, const WeightStore &store) const {
  MORPH_ASSIGN_OR_RETURN(plan::Plan program, plan(name));
  return Executor::create(std::move(program), store, precision, seed, /*sharing=*/nullptr, device);
}

StatusOr<std::shared_ptr<const TextStore>> StageContext::text() const {
  if (::access((dataDir() + "/text.json").c_str(), F_OK) != 0)
    return std::shared_ptr<const TextStore>();
  return TextStore::open(dataDir(), vocabulary);
}

StatusOr<std::vector<std::shared_ptr<const TaskGenerator>>>
StageContext::tasks(const std::vector<std::string> &names, const std::shared_ptr<const TextStore> &text) const {
  if (names.empty())
    return std::vector<std::shared_ptr<const TaskGenerator>>();
  return createTasks(spec.tasks, names, dataDir(), text, vocabulary);
}

void StageContext::noteUnread(const BatchStreamOptions &options, const std::shared_ptr<const TextStore> &text) const {
  const bool isPacked = options.isPacked && !options.longDocuments;
  if (!text || options.taskFraction == 1 || options.length == 0 || isPacked || !processes->isLeader())
    return;
  const double share = text->unreadShare(options.length, options.sample.split);
  *unreadShare = std::max(*unreadShare, share);
  if (share < 0.01)
    return;
  char line[200];
  std::snprintf(line, sizeof line, ": %.0f %% of the text's tokens are in documents of less than %lld, and not read%s",
                100 * share, static_cast<long long>(options.length),
                options.longDocuments ? "" : " (data.separate_documents = true reads them)");
  logInfo("morph-run", options.stream + line);
}

StatusOr<std::unique_ptr<BatchStream>> StageContext::stream(BatchStreamOptions options,
                                                            const std::vector<std::string> &names) const {
  options.seed = seed;
  MORPH_ASSIGN_OR_RETURN(std::shared_ptr<const TextStore> store, text());
  MORPH_ASSIGN_OR_RETURN(auto generators, tasks(names, store));
  if (generators.empty())
    options.taskFraction = 0;
  options.isPacked = spec.data.separateDocuments;
  noteUnread(options, store);
  return BatchStream::create(options, std::move(generators), std::move(store));
}

LoopOptions StageContext::loopOptions(const std::string &stage, const TrainingSpec &section) const {
  LoopOptions options = loopOptions(stage, section, section.steps);
  options.accumulate = section.accumulate;
  return options;
}

LoopOptions StageContext::loopOptions(const std::string &stage, const OptimizerSpec &section, int64_t steps) const {
  LoopOptions options;
  options.stage = stage;
  options.variant = variant;
  options.steps = steps;
  options.accumulate = 1;
  options.logEvery = section.logEvery;
  options.checkpointEvery = section.checkpointEvery;
  options.schedule = {section.schedule, section.lr, section.lrEnd, section.warmup, steps};

  options.fingerprint = key;
  if (!out.empty()) {
    options.metricsPath = outPath("metrics.jsonl");
    options.checkpointPath = outPath("checkpoint.safetensors");
  }
  return options;
}

LoopBatch loopBatch(const Batch &batch, const plan::Plan &plan) {
  LoopBatch result;
  result.tokens = batch.tokenCount();
  for (const plan::NamedValue &input : plan.inputs) {
    if (input.name == "tokens")
      result.inputs[input.name] = batch.tokens;
    else if (input.name == plan::kBegins)
      result.inputs[input.name] = batch.begins;
    else if (input.name == "positions")
      result.inputs[input.name] = batch.positions;
    else if (input.name == "targets")
      result.inputs[input.name] = batch.targets;
    else if (input.name == "weights")
      result.inputs[input.name] = batch.weights;
  }
  return result;
}

BatchSource batchSource(const BatchStream &stream, const plan::Plan &plan) {
  return [&](int64_t index) -> StatusOr<LoopBatch> {
    MORPH_ASSIGN_OR_RETURN(const Batch batch, stream.batch(static_cast<uint64_t>(index)));
    return loopBatch(batch, plan);
  };
}

std::map<std::string, at::Tensor> trainedTensors(Executor &executor) {
  std::map<std::string, at::Tensor> tensors;
  for (const auto &[name, master] : executor.masters())
    tensors[name] = master.cpu().contiguous();
  return tensors;
}

} // namespace morph
