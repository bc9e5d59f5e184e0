// SPDX-License-Identifier: Apache-2.0

#include "runtime/base/AtomicFile.h"
#include "runtime/train/HeldOut.h"
#include "runtime/train/Interrupt.h"
#include "runtime/train/Progress.h"
#include "runtime/train/Stages.h"

#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <optional>

namespace morph {

namespace {

/// What one row measures.
struct Cell {
  std::shared_ptr<const TaskGenerator> task; ///< Null: perplexity.
  int64_t length = 0;
  std::optional<double> depth;
};

class Evaluation {
public:
  Evaluation(const StageContext &context, const EvaluateOptions &options) : context_(context), options_(options) {}
  StatusOr<StageOutcome> run();

private:
  Status read();
  /// Fills a row; false when interrupted.
  StatusOr<bool> measureTask(const Cell &cell, nlohmann::ordered_json &row, Progress &progress);
  StatusOr<bool> measureText(const Cell &cell, nlohmann::ordered_json &row, Progress &progress);

  const StageContext &context_;
  const EvaluateOptions &options_;
  std::vector<Cell> cells_;
  std::shared_ptr<const TextStore> text_;
  std::vector<std::vector<int64_t>> windows_;
  std::unique_ptr<Executor> executor_;
  TextStore::Part part_ = TextStore::Part::Training;
  int64_t samples_ = 0, batch_ = 0;
  int64_t done_ = 0, tokens_ = 0;
};

} // namespace

Status Evaluation::read() {
  const EvaluateSpec &section = context_.spec.evaluate;
  samples_ = section.samples;
  batch_ = section.batch;
  MORPH_ASSIGN_OR_RETURN(text_, context_.text());
  if (text_ && text_->tokenCount(TextStore::Part::Holdout) > 0)
    part_ = TextStore::Part::Holdout;
  MORPH_ASSIGN_OR_RETURN(const auto tasks, context_.tasks(section.tasks, text_));
  for (const auto &task : tasks) {
    for (int64_t length : section.lengths.empty() ? task->lengths() : section.lengths) {
      MORPH_RETURN_IF_ERROR(task->checkLength(length));
      if (section.depths.empty())
        cells_.push_back({task, length, std::nullopt});
      for (double depth : section.depths)
        cells_.push_back({task, length, depth});
    }
  }
  if (text_ && section.perplexityTokens > 0) {
    windows_ = text_->holdoutWindows(section.perplexityLength, section.perplexityTokens);
    if (!windows_.empty())
      // A held-out text shorter than a window gives one window: all of it.
      cells_.push_back({nullptr, static_cast<int64_t>(windows_.front().size()), std::nullopt});
  }
  if (cells_.empty())
    return Status::invalid("evaluate: there is neither a task nor held-out text to measure",
                           "give evaluate.tasks, or data.text with data.holdout > 0");
  return Status();
}

StatusOr<bool> Evaluation::measureTask(const Cell &cell, nlohmann::ordered_json &row, Progress &progress) {
  // The name holds what the samples depend on, and not the model: all models see the same samples.
  char depth[32] = "drawn";
  if (cell.depth)
    std::snprintf(depth, sizeof depth, "%.6f", *cell.depth);
  const uint64_t stream = Random::streamSeed(context_.seed, "evaluate/" + cell.task->name() + "/" +
                                                                std::to_string(cell.length) + "/" + depth);
  std::vector<double> exact, right, loss; // by sample
  double answers = 0;
  for (int64_t begin = 0; begin < samples_; begin += batch_) {
    if (interrupted())
      return false;
    std::vector<Sample> samples;
    for (int64_t i = begin; i < std::min(begin + batch_, samples_); ++i) {
      SampleOptions options;
      options.depth = cell.depth;
      options.part = part_;
      MORPH_ASSIGN_OR_RETURN(Sample sample, cell.task->sample(stream, static_cast<uint64_t>(i), cell.length, options));
      samples.push_back(std::move(sample));
    }
    MORPH_ASSIGN_OR_RETURN(const Batch batch, makeBatch(std::move(samples)));
    MORPH_ASSIGN_OR_RETURN(const NamedTensors outputs, executor_->run(loopBatch(batch, executor_->plan()).inputs));
    const at::Tensor correct = outputs.at("correct").to(at::kDouble).contiguous();
    const at::Tensor nll = outputs.at("nll").to(at::kDouble).contiguous();
    const std::vector<double> matches = exactMatches(batch, correct);
    const size_t count = batch.samples.size();
    std::vector<double> rows(count, 0), sumRight(count, 0), sumLoss(count, 0);
    for (int64_t i = 0; i < batch.positions.numel(); ++i) {
      const size_t b = static_cast<size_t>(batch.positions.data_ptr<int64_t>()[i] / cell.length);
      rows[b] += 1;
      sumRight[b] += correct.data_ptr<double>()[i];
      sumLoss[b] += nll.data_ptr<double>()[i];
    }
    for (size_t b = 0; b < count; ++b) {
      double sum = 0;
      const int64_t first = batch.answerOffsets[b], end = batch.answerOffsets[b + 1];
      for (int64_t answer = first; answer < end; ++answer)
        sum += matches[static_cast<size_t>(answer)];
      answers += static_cast<double>(end - first);
      exact.push_back(sum / static_cast<double>(end - first));
      right.push_back(sumRight[b] / rows[b]);
      loss.push_back(sumLoss[b] / rows[b]);
    }
    done_ += static_cast<int64_t>(count);
    tokens_ += batch.tokenCount();
    progress.update(done_, tokens_, cell.task->name() + " at " + std::to_string(cell.length), false);
  }
  const MeanAndError accuracy = meanAndError(exact), tokens = meanAndError(right), entropy = meanAndError(loss);
  row["samples"] = samples_;
  row["accuracy"] = accuracy.mean;
  row["standard_error"] = accuracy.standardError;
  row["cross_entropy"] = entropy.mean;
  row["cross_entropy_standard_error"] = entropy.standardError;
  row["token_accuracy"] = tokens.mean;
  row["token_accuracy_standard_error"] = tokens.standardError;
  row["answers"] = answers;
  return true;
}

StatusOr<bool> Evaluation::measureText(const Cell &cell, nlohmann::ordered_json &row, Progress &progress) {
  std::vector<double> right, loss; // by window
  for (size_t begin = 0; begin < windows_.size(); begin += static_cast<size_t>(batch_)) {
    if (interrupted())
      return false;
    const size_t end = std::min(begin + static_cast<size_t>(batch_), windows_.size());
    const int64_t count = static_cast<int64_t>(end - begin), targets = cell.length - 1;
    const at::Tensor tokens = at::empty({count, cell.length}, at::kLong);
    for (size_t w = begin; w < end; ++w)
      std::copy(windows_[w].begin(), windows_[w].end(),
                tokens.data_ptr<int64_t>() + static_cast<int64_t>(w - begin) * cell.length);
    NamedTensors inputs;
    inputs["tokens"] = tokens;
    inputs["positions"] =
        at::arange(count * cell.length, at::kLong).view({count, cell.length}).slice(1, 0, targets).flatten();
    inputs["targets"] = tokens.slice(1, 1).flatten();
    MORPH_ASSIGN_OR_RETURN(const NamedTensors outputs, executor_->run(inputs));
    const at::Tensor nll = outputs.at("nll").to(at::kDouble).view({count, targets}).mean(1);
    const at::Tensor correct = outputs.at("correct").to(at::kDouble).view({count, targets}).mean(1);
    for (int64_t i = 0; i < count; ++i) {
      loss.push_back(nll[i].item<double>());
      right.push_back(correct[i].item<double>());
    }
    done_ += count;
    tokens_ += tokens.numel();
    progress.update(done_, tokens_, "text", false);
  }
  const MeanAndError entropy = meanAndError(loss), accuracy = meanAndError(right);
  row["samples"] = windows_.size();
  row["accuracy"] = accuracy.mean;
  row["standard_error"] = accuracy.standardError;
  row["cross_entropy"] = entropy.mean;
  row["cross_entropy_standard_error"] = entropy.standardError;
  row["perplexity"] = std::exp(entropy.mean);
  return true;
}

StatusOr<StageOutcome> Evaluation::run() {
  if (!context_.hasPlan("score"))
    return Status::invalid("this stage needs the plan 'score'", "give --plan score=FILE");
  MORPH_RETURN_IF_ERROR(read());
  MORPH_ASSIGN_OR_RETURN(executor_, context_.executor("score"));
  int64_t total = 0;
  for (const Cell &cell : cells_)
    total += cell.task ? samples_ : static_cast<int64_t>(windows_.size());

  // Rows that an interrupted evaluation finished.
  const std::string partial = context_.outPath("partial.json");
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  if (::access(partial.c_str(), F_OK) == 0) {
    MORPH_ASSIGN_OR_RETURN(const std::string saved, readTextFile(partial));
    const auto value = parseJson<nlohmann::ordered_json>(saved, partial);
    if (value.ok() && value->is_object() && value->contains("rows") && (*value)["rows"].is_array() &&
        value->contains("key") && (*value)["key"] == context_.key)
      rows = (*value)["rows"];
  }
  Progress progress("evaluate " + options_.modelName + " after " + options_.after, total, 0, "sample");
  for (size_t i = 0; i < cells_.size(); ++i) {
    const Cell &cell = cells_[i];
    const int64_t size = cell.task ? samples_ : static_cast<int64_t>(windows_.size());
    if (i < rows.size()) {
      done_ += size;
      continue;
    }
    nlohmann::ordered_json row = {{"model", options_.modelName},
                                  {"after", options_.after},
                                  {"task", cell.task ? cell.task->name() : "text"},
                                  {"length", cell.length},
                                  {"depth", nullptr}};
    if (cell.depth)
      row["depth"] = *cell.depth;
    MORPH_ASSIGN_OR_RETURN(const bool done,
                           cell.task ? measureTask(cell, row, progress) : measureText(cell, row, progress));
    if (!done) {
      progress.finish();
      std::fprintf(stderr, "evaluate: stopped after %zu of %zu rows; run again to continue\n", i, cells_.size());
      return StageOutcome::Interrupted;
    }
    if (!std::isfinite(row["cross_entropy"].get<double>()))
      return Status::failed("evaluate: the cross-entropy of task '" + row["task"].get<std::string>() +
                            "' is not a number");
    char details[96];
    std::snprintf(details, sizeof details, "%s at %lld: accuracy %.3f, cross-entropy %.4g",
                  row["task"].get<std::string>().c_str(), static_cast<long long>(cell.length),
                  row["accuracy"].get<double>(), row["cross_entropy"].get<double>());
    progress.update(done_, tokens_, details, true);
    rows.push_back(std::move(row));
    const nlohmann::ordered_json saved = {{"key", context_.key}, {"rows", rows}};
    MORPH_RETURN_IF_ERROR(writeFile(partial, saved.dump() + "\n"));
  }
  progress.finish();
  MORPH_RETURN_IF_ERROR(writeFile(context_.outPath("rows.json"), rows.dump(2) + "\n"));
  ::unlink(partial.c_str());
  return StageOutcome::Done;
}

StatusOr<StageOutcome> runEvaluate(const StageContext &context, const EvaluateOptions &options) {
  return Evaluation(context, options).run();
}

} // namespace morph
