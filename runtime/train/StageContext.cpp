// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/StageContext.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <filesystem>
#include <thread>
#include <unistd.h>

namespace morph {

StatusOr<Precision> parsePrecision(const std::string &name) {
  if (name == "fp32")
    return Precision::F32;
  if (name == "bf16")
    return Precision::BF16;
  if (name == "fp64")
    return Precision::F64;
  return Status::invalid("unknown precision '" + name + "'", "use fp32 or bf16");
}

Status setThreads(int64_t threads) {
  const int64_t most = 4 * std::max<int64_t>(1, std::thread::hardware_concurrency());
  if (threads > most)
    return Status::invalid("model.threads is " + std::to_string(threads) + ", and at most " + std::to_string(most) +
                               " make sense on this machine",
                           "0 takes one thread a core");
  at::set_num_threads(static_cast<int>(threads));
  return Status();
}

Status StageContext::prepare() {
  SpecReader root(spec, ""), model(spec, "model"), info(spec, "model_info");
  seed = static_cast<uint64_t>(root.integer("seed", 0));
  const std::string precisionName = model.text("precision", "fp32");
  const int64_t threads = model.integerAtLeast("threads", 0, 0);
  vocabulary = info.integer("vocab", 0);
  layers = info.integer("layers", 0);
  for (const SpecReader *reader : {&root, &model, &info})
    MORPH_RETURN_IF_ERROR(reader->status());
  MORPH_ASSIGN_OR_RETURN(precision, parsePrecision(precisionName));
  if (threads > 0)
    MORPH_RETURN_IF_ERROR(setThreads(threads));
  if (!out.empty()) {
    std::error_code error;
    std::filesystem::create_directories(out, error);
    if (error)
      return Status::failed("cannot make the folder '" + out + "': " + error.message());
  }
  return Status();
}

StatusOr<plan::Plan> StageContext::plan(const std::string &name) const {
  auto found = planPaths.find(name);
  if (found == planPaths.end())
    return Status::invalid("this stage needs the plan '" + name + "'", "give --plan " + name + "=FILE");
  return plan::readPlan(found->second);
}

StatusOr<std::unique_ptr<Executor>> StageContext::executor(const std::string &name,
                                                           const std::vector<std::string> &extraWeights) const {
  MORPH_ASSIGN_OR_RETURN(plan::Plan program, plan(name));
  std::vector<std::string> paths = weightPaths;
  paths.insert(paths.end(), extraWeights.begin(), extraWeights.end());
  MORPH_ASSIGN_OR_RETURN(const WeightStore store, WeightStore::open(paths));
  return Executor::create(std::move(program), store, precision, seed);
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
  return createTasks(spec, names, dataDir(), text, vocabulary);
}

StatusOr<std::unique_ptr<BatchStream>> StageContext::stream(BatchStreamOptions options,
                                                            const std::vector<std::string> &names) const {
  options.seed = seed;
  MORPH_ASSIGN_OR_RETURN(std::shared_ptr<const TextStore> store, text());
  MORPH_ASSIGN_OR_RETURN(auto generators, tasks(names, store));
  if (generators.empty())
    options.taskFraction = 0;
  return BatchStream::create(options, std::move(generators), std::move(store));
}

StatusOr<LoopOptions> StageContext::loopOptions(const std::string &stage, SpecReader &section, double rate,
                                                const std::string &schedule,
                                                const std::vector<std::string> &plans) const {
  LoopOptions options;
  options.stage = stage;
  options.variant = variant;
  options.steps = section.integerAtLeast("steps", 0, 0);
  options.accumulate = section.integerAtLeast("accumulate", 1, 1);
  options.clip = section.number("clip", 1);
  options.logEvery = section.integerAtLeast("log_every", 10, 1);
  options.checkpointEvery = section.integerAtLeast("checkpoint_every", 50, 1);
  const std::vector<double> betas = section.numbers("betas", {0.9, 0.999});
  options.optimizer.weightDecay = section.number("weight_decay", 0);
  options.schedule.peak = section.number("lr", rate);
  options.schedule.end = section.number("lr_end", options.schedule.peak);
  options.schedule.warmup = section.integerAtLeast("warmup", 0, 0);
  options.schedule.steps = options.steps;
  const std::string kind = section.text("schedule", schedule);
  MORPH_RETURN_IF_ERROR(section.status());
  if (betas.size() != 2 || betas[0] < 0 || betas[0] >= 1 || betas[1] < 0 || betas[1] >= 1)
    return Status::invalid("spec: '" + stage + ".betas' must be two numbers in [0, 1)");
  options.optimizer.beta1 = betas[0];
  options.optimizer.beta2 = betas[1];
  MORPH_ASSIGN_OR_RETURN(options.schedule.kind, parseScheduleKind(kind));

  options.metricsPath = metricsPath();
  if (!out.empty())
    options.checkpointPath = outPath("checkpoint.safetensors");
  // What the numbers depend on. How often to log or to save is not part of it.
  Json key = {{"seed", seed}, {"model", spec.value("model", Json())}, {"variant", variant}};
  key["section"] = section.object();
  for (const char *name : {"log_every", "checkpoint_every"})
    key["section"].erase(name);
  key["tasks"] = spec.value("tasks", Json());
  key["budget"] = spec.value("budget", Json());
  for (const std::string &name : plans) {
    auto found = planPaths.find(name);
    if (found == planPaths.end())
      continue;
    MORPH_ASSIGN_OR_RETURN(const std::string content, readTextFile(found->second));
    key["plans"][name] = Random::streamSeed(0, content);
  }
  options.fingerprint = std::to_string(Random::streamSeed(0, key.dump()));
  return options;
}

LoopBatch loopBatch(const Batch &batch, const plan::Plan &plan) {
  LoopBatch result;
  result.tokens = batch.tokenCount();
  for (const plan::NamedValue &input : plan.inputs) {
    if (input.name == "tokens")
      result.inputs[input.name] = batch.tokens;
    else if (input.name == "positions")
      result.inputs[input.name] = batch.positions;
    else if (input.name == "targets")
      result.inputs[input.name] = batch.targets;
    else if (input.name == "weights")
      result.inputs[input.name] = batch.weights;
  }
  return result;
}

std::map<std::string, at::Tensor> trainedTensors(Executor &executor) {
  std::map<std::string, at::Tensor> tensors;
  for (const auto &[name, master] : executor.masters())
    tensors[name] = master.contiguous();
  return tensors;
}

} // namespace morph
