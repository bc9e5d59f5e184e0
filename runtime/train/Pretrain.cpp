// SPDX-License-Identifier: Apache-2.0

#include "runtime/base/AtomicFile.h"
#include "runtime/train/Stages.h"

#include <algorithm>
#include <cstdio>

namespace morph {

namespace {

/// One step of the curriculum, with its data.
struct Phase {
  int64_t stepsMax = 1, batch = 1;
  double advanceAt = 0.9;
  std::unique_ptr<BatchStream> training;
  std::vector<std::string> tasks;
  std::vector<std::unique_ptr<BatchStream>> heldOut; ///< By task.
};

/// Steps between measurements of the accuracy.
constexpr int64_t measureEvery = 10;
/// Answer tokens that one measurement of a task has at least.
constexpr int64_t measureRows = 128;

class Curriculum {
public:
  Curriculum(const StageContext &context) : context_(context) {}
  Status read(const PretrainSpec &section);
  StatusOr<StageOutcome> run(LoopOptions options);
  int64_t stepsMax() const {
    int64_t sum = 0;
    for (const Phase &phase : phases_)
      sum += phase.stepsMax;
    return sum;
  }

private:
  /// Share of answer tokens right on `rows` or more held-out answer tokens of each task of a phase, by the program
  /// `score`.
  StatusOr<std::vector<double>> accuracies(NamedTensors &masters, const Phase &phase, int64_t rows);
  /// Moves on where the current phase is through; whether it was the last.
  StatusOr<bool> advance(int64_t step, NamedTensors &masters);

  const StageContext &context_;
  std::vector<Phase> phases_;
  size_t current_ = 0;
  int64_t begin_ = 0;                      ///< Step at which the current phase begins.
  std::map<std::string, double> accuracy_; ///< By task, as last measured in the last step's phase; empty until then.
  Json history_ = Json::array();
};

} // namespace

Status Curriculum::read(const PretrainSpec &section) {
  if (section.tasks.empty())
    return Status::invalid("spec: 'pretrain.tasks' must name at least one task");
  if (section.phase.empty())
    return Status::invalid("spec: pretrain needs at least one [[pretrain.phase]]");
  MORPH_ASSIGN_OR_RETURN(const std::shared_ptr<const TextStore> text, context_.text());
  for (size_t i = 0; i < section.phase.size(); ++i) {
    const PretrainPhaseSpec &asked = section.phase[i];
    Phase phase;
    phase.stepsMax = asked.stepsMax;
    phase.advanceAt = asked.advanceAt;
    phase.batch = asked.batch;
    BatchStreamOptions data;
    data.seed = context_.seed;
    data.batch = asked.batch;
    data.length = asked.length;
    data.textWeight = section.textWeight;
    std::vector<std::shared_ptr<const TaskGenerator>> generators;
    phase.tasks = asked.tasks;
    for (const std::string &name : phase.tasks) {
      MORPH_ASSIGN_OR_RETURN(TaskSpec task, findTask(context_.spec.tasks, name));
      if (asked.needles) {
        task.needles = *asked.needles;
        task.queries = allQueries(task);
      }
      task.background = asked.background.value_or(task.background);
      task.length = {asked.length};
      // A token that is nowhere a key in training is none to the base afterwards: the base is taught all of them.
      // Values of several tokens are held out, as combinations.
      const Sharing shared{/*keys=*/true, /*values=*/task.valueLength == 1, /*wordings=*/false};
      MORPH_ASSIGN_OR_RETURN(std::shared_ptr<const TaskGenerator> generator,
                             TaskGenerator::create(task, context_.dataDir(), text, context_.vocabulary, shared));
      generators.push_back(std::move(generator));
    }
    data.stream = "pretrain/phase " + std::to_string(i);
    MORPH_ASSIGN_OR_RETURN(phase.training, BatchStream::create(data, generators, text));
    data.stream = "held-out/pretrain/phase " + std::to_string(i);
    data.textWeight = 0;
    data.sample.split = Split::Selection;
    // All tasks together are measured on about one batch.
    const int64_t tasks = static_cast<int64_t>(generators.size());
    data.batch = (asked.batch + tasks - 1) / tasks;
    for (const std::shared_ptr<const TaskGenerator> &generator : generators) {
      MORPH_ASSIGN_OR_RETURN(auto stream, BatchStream::create(data, {generator}, text));
      phase.heldOut.push_back(std::move(stream));
    }
    phases_.push_back(std::move(phase));
  }
  return Status();
}

StatusOr<std::vector<double>> Curriculum::accuracies(NamedTensors &masters, const Phase &phase, int64_t rows) {
  MORPH_ASSIGN_OR_RETURN(const auto scorer, context_.executorOf("score", WeightStore::inMemory(masters)));
  std::vector<double> right, count;
  for (const std::unique_ptr<BatchStream> &heldOut : phase.heldOut) {
    double &rightOfTask = right.emplace_back(0), &countOfTask = count.emplace_back(0);
    for (int64_t i = 0; countOfTask < static_cast<double>(rows); ++i) {
      MORPH_ASSIGN_OR_RETURN(const Batch batch, heldOut->batch(static_cast<uint64_t>(i)));
      countOfTask += static_cast<double>(batch.positions.numel());
      if (!context_.processes->owns(i))
        continue;
      MORPH_ASSIGN_OR_RETURN(const NamedTensors outputs, scorer->run(loopBatch(batch, scorer->plan()).inputs));
      rightOfTask += outputs.at("correct").cpu().sum(at::kDouble).item<double>();
    }
  }
  MORPH_ASSIGN_OR_RETURN(std::vector<double> shares, context_.processes->sum(right));
  for (size_t task = 0; task < shares.size(); ++task)
    shares[task] /= count[task];
  return shares;
}

StatusOr<bool> Curriculum::advance(int64_t step, NamedTensors &masters) {
  const Phase &phase = phases_[current_];
  const int64_t done = step + 1 - begin_;
  if (done == 1)
    accuracy_.clear();
  const bool last = done >= phase.stepsMax;
  if (done % measureEvery != 0 && !last)
    return false;
  MORPH_ASSIGN_OR_RETURN(const std::vector<double> shares, accuracies(masters, phase, measureRows));
  for (size_t task = 0; task < shares.size(); ++task)
    accuracy_[phase.tasks[task]] = shares[task];
  const double worst = *std::min_element(shares.begin(), shares.end());
  // advance_at = 1 asks for all steps: a sample of rows may well be all right.
  const bool reached = worst >= phase.advanceAt && phase.advanceAt < 1;
  if (!reached && !last)
    return false;
  history_.push_back({{"phase", current_}, {"steps", done}, {"accuracy", worst}});
  if (current_ + 1 == phases_.size())
    return true;
  ++current_;
  begin_ = step + 1;
  return false;
}

StatusOr<StageOutcome> Curriculum::run(LoopOptions options) {
  MORPH_ASSIGN_OR_RETURN(const auto executor, context_.executor("pretrain"));
  MORPH_ASSIGN_OR_RETURN(Optimizer optimizer, Optimizer::create(*executor, context_.processes));
  // Every process takes its part of the smallest phase's batches.
  int64_t sequences = phases_.front().batch;
  for (const Phase &phase : phases_)
    sequences = std::min(sequences, phase.batch);
  options.division = Division(context_.processes, *executor, options.accumulate, sequences);
  const BatchSource source = options.division.attachTo([&](int64_t index) -> StatusOr<LoopBatch> {
    MORPH_ASSIGN_OR_RETURN(const Batch batch, phases_[current_].training->batch(static_cast<uint64_t>(index - begin_)));
    return loopBatch(batch, executor->plan());
  });
  LoopHooks hooks;
  // The curriculum's length is not known beforehand: the rate is constant until the last phase, and falls in it.
  hooks.rate = [&](int64_t step) {
    Schedule schedule = options.schedule;
    const int64_t rise = schedule.rise();
    if (step < rise)
      return schedule.rate(step);
    if (current_ + 1 < phases_.size())
      return schedule.peak;
    // It has risen; what of that was in this phase is no part of the fall.
    schedule.steps = phases_.back().stepsMax;
    schedule.warmup = std::max<int64_t>(0, rise - begin_);
    return schedule.rate(std::max(step - begin_, schedule.rise()));
  };
  hooks.finished = [&](int64_t step, NamedTensors &masters) { return advance(step, masters); };
  hooks.onLog = [&](int64_t step, nlohmann::ordered_json &line) {
    line["phase"] = step < begin_ ? current_ - 1 : current_; // The last step of a phase has begun the next.
    line["accuracy"] = accuracy_;
    return Status();
  };
  hooks.save = [&](Json &state, NamedTensors &) {
    state = {{"phase", current_}, {"begin", begin_}, {"accuracy", accuracy_}, {"history", history_}};
  };
  hooks.restore = [&](const Json &state, const NamedTensors &) {
    current_ = state.value("phase", size_t(0));
    begin_ = state.value("begin", int64_t(0));
    accuracy_ = state.value("accuracy", accuracy_);
    history_ = state.value("history", Json::array());
    return current_ < phases_.size() ? Status() : Status::failed("checkpoint: it is of a longer curriculum");
  };
  MORPH_ASSIGN_OR_RETURN(const LoopResult result, runTrainLoop(optimizer, source, options, hooks));
  if (result.interrupted)
    return StageOutcome::Interrupted;

  // What is written is bf16: that is what the accuracy is of.
  std::map<std::string, at::Tensor> weights;
  NamedTensors rounded;
  for (const auto &[name, tensor] : trainedTensors(*executor)) {
    weights[name] = tensor.to(at::kBFloat16);
    rounded[name] = weights[name].to(at::kFloat);
  }
  const std::vector<std::string> &tasks = phases_.back().tasks;
  MORPH_ASSIGN_OR_RETURN(const std::vector<double> shares, accuracies(rounded, phases_.back(), 4096));
  if (!context_.processes->isLeader())
    return StageOutcome::Done;
  nlohmann::ordered_json heldOut;
  for (size_t task = 0; task < shares.size(); ++task) {
    std::fprintf(stderr, "pretrain: %s: %.2f %% of held-out answer tokens right\n", tasks[task].c_str(),
                 100 * shares[task]);
    heldOut[tasks[task]] = shares[task];
  }
  MORPH_RETURN_IF_ERROR(writeSafetensors(context_.outPath("model.safetensors"), weights, {{"format", "pt"}}));
  const nlohmann::ordered_json stats = {{"steps", result.steps},     {"tokens", result.tokens},
                                        {"seconds", result.seconds}, {"last_loss", result.lastLoss},
                                        {"phases", history_},        {"held_out_accuracy", heldOut},
                                        {"seed", context_.seed}};
  MORPH_RETURN_IF_ERROR(writeFile(context_.outPath("stats.json"), stats.dump(2) + "\n"));
  return StageOutcome::Done;
}

StatusOr<StageOutcome> runPretrain(const StageContext &context) {
  if (!context.spec.pretrain)
    return Status::invalid("spec: it has no [pretrain]");
  const PretrainSpec &section = *context.spec.pretrain;
  Curriculum curriculum(context);
  MORPH_RETURN_IF_ERROR(curriculum.read(section));
  return curriculum.run(context.loopOptions("pretrain", section, curriculum.stepsMax()));
}

} // namespace morph
