// SPDX-License-Identifier: Apache-2.0

#include "runtime/base/AtomicFile.h"
#include "runtime/base/Intervals.h"
#include "runtime/plan/Names.h"
#include "runtime/train/HeldOut.h"
#include "runtime/train/Inference.h"
#include "runtime/train/Interrupt.h"
#include "runtime/train/Progress.h"
#include "runtime/train/Stages.h"

#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <optional>

namespace morph {

namespace {

using OrderedJson = nlohmann::ordered_json;

/// What one row measures.
struct Cell {
  std::shared_ptr<const TaskGenerator> task; ///< Null: perplexity.
  int64_t length = 0;
  std::optional<double> depth;
};

/// A member of a cell's row: answers are predicted with the true tokens before them (plan `score`) or written by the
/// model itself (plan `decode`).
enum class Measure { TeacherForced, Text, Generated };
struct Step {
  size_t cell = 0;
  Measure measure = Measure::TeacherForced;
};

/// Of each sample of a task.
struct SampleResults {
  std::vector<double> answers;    ///< Share of answers with every token right.
  std::vector<double> tokens;     ///< Share of answer tokens that are right.
  std::vector<double> loss;       ///< Mean cross-entropy of answer tokens in nats.
  std::vector<Piece> written;     ///< The answers' tokens that the model generated, one after another.
  std::vector<int64_t> questions; ///< Which of the task's: Sample::question.
  double answersPerSample = 1;
};

class Evaluation {
public:
  Evaluation(const StageContext &context, const EvaluateOptions &options) : context_(context), options_(options) {}
  StatusOr<StageOutcome> run();

private:
  Status read();
  int64_t size(const Step &step) const;
  /// Samples of a cell: no more than the task has different ones.
  int64_t samplesOf(const Cell &cell, int64_t wanted) const;
  OrderedJson emptyRow(const Cell &cell) const;
  /// Sample `index` of a cell: the same for every model.
  StatusOr<Sample> sampleOf(const Cell &cell, int64_t index) const;
  /// Makes of `own`, results of the samples in the batches that are this process', the results of all `total` samples;
  /// nothing when `stopped` is true in any process.
  StatusOr<std::optional<std::vector<std::vector<double>>>> collect(const std::vector<std::vector<double>> &own,
                                                                    int64_t total, bool stopped);
  /// Fill members of a row; false when interrupted.
  StatusOr<bool> measure(const Step &step, OrderedJson &row, Progress &progress);
  StatusOr<bool> scoreAnswers(const Cell &cell, SampleResults &results, Progress &progress);
  StatusOr<bool> generateAnswers(const Cell &cell, SampleResults &results, Progress &progress);
  /// Adds each sample's share of right answers, their number, its question, and the tokens written; false when
  /// interrupted.
  StatusOr<bool> generateBatch(const std::vector<Sample> &samples, std::vector<std::vector<double>> &results);
  StatusOr<bool> measureText(const Cell &cell, OrderedJson &row, Progress &progress);

  const StageContext &context_;
  const EvaluateOptions &options_;
  std::vector<Cell> cells_;
  std::vector<Step> steps_; ///< All of plan `score` before those of plan `decode`: one executor at a time.
  std::shared_ptr<const TextStore> text_;
  std::vector<TextWindow> windows_;
  std::unique_ptr<Executor> executor_;
  int64_t samples_ = 0, generateSamples_ = 0, batch_ = 0;
  int64_t done_ = 0, tokens_ = 0;
};

OrderedJson toJson(const Interval &interval) { return {interval.low, interval.high}; }

} // namespace

Status Evaluation::read() {
  const EvaluateSpec &section = context_.spec.evaluate;
  samples_ = section.samples;
  generateSamples_ = std::min(section.samples, section.generateSamples);
  batch_ = section.batch;
  MORPH_ASSIGN_OR_RETURN(text_, context_.text());
  MORPH_ASSIGN_OR_RETURN(const auto tasks, context_.tasks(section.tasks, text_));
  for (const auto &task : tasks) {
    for (int64_t length : section.lengths.empty() ? task->lengths() : section.lengths) {
      MORPH_RETURN_IF_ERROR(task->checkLength(length));
      if (section.depths.empty() || !task->hasDepths()) {
        cells_.push_back({task, length, std::nullopt});
        continue;
      }
      for (double depth : section.depths)
        cells_.push_back({task, length, depth});
    }
  }
  if (text_ && section.perplexityTokens > 0) {
    windows_ = text_->evaluationWindows(section.perplexityLength, section.perplexityTokens,
                                        context_.spec.data.separateDocuments);
    if (!windows_.empty())
      // A held-out text shorter than a window gives one window: all of it.
      cells_.push_back({nullptr, static_cast<int64_t>(windows_.front().tokens.size()), std::nullopt});
  }
  if (cells_.empty())
    return Status::invalid("evaluate: there is neither a task nor held-out text to measure",
                           "give evaluate.tasks, or data.text with data.holdout > 0");
  for (size_t i = 0; i < cells_.size(); ++i)
    steps_.push_back({i, cells_[i].task ? Measure::TeacherForced : Measure::Text});
  for (size_t i = 0; i < cells_.size(); ++i)
    if (cells_[i].task && generateSamples_ > 0)
      steps_.push_back({i, Measure::Generated});
  return Status();
}

StatusOr<Sample> Evaluation::sampleOf(const Cell &cell, int64_t index) const {
  // The name holds what the samples depend on, and not the model: all models see the same samples.
  char depth[32] = "drawn";
  if (cell.depth)
    std::snprintf(depth, sizeof depth, "%.6f", *cell.depth);
  const uint64_t stream = Random::streamSeed(context_.seed, "evaluate/" + cell.task->name() + "/" +
                                                                std::to_string(cell.length) + "/" + depth);
  return cell.task->sample(stream, static_cast<uint64_t>(index), cell.length, {cell.depth, Split::Evaluation});
}

StatusOr<std::optional<std::vector<std::vector<double>>>>
Evaluation::collect(const std::vector<std::vector<double>> &own, int64_t total, bool stopped) {
  MORPH_ASSIGN_OR_RETURN(stopped, context_.processes->any(stopped));
  if (stopped)
    return std::optional<std::vector<std::vector<double>>>();
  MORPH_ASSIGN_OR_RETURN(auto all, context_.processes->collect(own, batch_, total));
  done_ += total - static_cast<int64_t>(own.size()); // What the others have done.
  return std::optional(std::move(all));
}

StatusOr<bool> Evaluation::scoreAnswers(const Cell &cell, SampleResults &results, Progress &progress) {
  std::vector<std::vector<double>> own; // By sample: share of right answers, of right tokens, loss, answers.
  const int64_t total = samplesOf(cell, samples_);
  bool stopped = false;
  for (int64_t begin = 0; begin < total && !stopped; begin += batch_) {
    if (!context_.processes->owns(begin / batch_))
      continue;
    stopped = interrupted();
    if (stopped)
      break;
    std::vector<Sample> samples;
    for (int64_t i = begin; i < std::min(begin + batch_, total); ++i) {
      MORPH_ASSIGN_OR_RETURN(samples.emplace_back(), sampleOf(cell, i));
    }
    MORPH_ASSIGN_OR_RETURN(const Batch batch, makeBatch(std::move(samples)));
    MORPH_ASSIGN_OR_RETURN(const NamedTensors outputs, executor_->run(loopBatch(batch, executor_->plan()).inputs));
    const at::Tensor correct = outputs.at("correct").to(at::kCPU, at::kDouble).contiguous();
    const at::Tensor nll = outputs.at("nll").to(at::kCPU, at::kDouble).contiguous();
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
      const double answers = static_cast<double>(end - first);
      own.push_back({sum / answers, sumRight[b] / rows[b], sumLoss[b] / rows[b], answers,
                     static_cast<double>(batch.samples[b].question)});
    }
    done_ += static_cast<int64_t>(count);
    tokens_ += batch.tokenCount();
    progress.update(done_, tokens_, cell.task->name() + " at " + std::to_string(cell.length), false);
  }
  MORPH_ASSIGN_OR_RETURN(const auto all, collect(own, total, stopped));
  if (!all)
    return false;
  for (const std::vector<double> &sample : *all) {
    results.answers.push_back(sample[0]);
    results.tokens.push_back(sample[1]);
    results.loss.push_back(sample[2]);
    results.answersPerSample = sample[3];
    results.questions.push_back(static_cast<int64_t>(sample[4]));
  }
  return true;
}

StatusOr<bool> Evaluation::generateBatch(const std::vector<Sample> &samples,
                                         std::vector<std::vector<double>> &results) {
  // Every row is its sample, with the tokens of answers replaced by the model's own. Rows are put side by side at their
  // first answer; those that come to it earlier are padded on the left.
  const int64_t count = static_cast<int64_t>(samples.size());
  std::vector<int64_t> first;
  std::vector<std::vector<int64_t>> written;
  std::vector<std::vector<bool>> isAnswer;
  for (const Sample &sample : samples) {
    first.push_back(sample.positions.front() + 1);
    written.push_back(sample.tokens);
    isAnswer.emplace_back(sample.tokens.size(), false);
    for (int64_t position : sample.positions)
      isAnswer.back()[static_cast<size_t>(position + 1)] = true;
  }
  const int64_t longest = *std::max_element(first.begin(), first.end());
  int64_t steps = 0; // Up to the last answer of every row.
  for (int64_t b = 0; b < count; ++b)
    steps = std::max(steps, samples[static_cast<size_t>(b)].positions.back() + 2 - first[static_cast<size_t>(b)]);
  at::Tensor tokens = at::zeros({count, longest}, at::kLong), start = at::empty({count}, at::kLong);
  for (int64_t b = 0; b < count; ++b) {
    start[b] = longest - first[b];
    std::copy(written[b].begin(), written[b].begin() + first[b],
              tokens.data_ptr<int64_t>() + b * longest + longest - first[b]);
  }
  MORPH_ASSIGN_OR_RETURN(const auto decoder, Decoder::create(*executor_, start, longest + steps - 1));
  const at::Tensor best = at::empty({count, 1}, at::kLong), next = at::zeros({count, 1}, at::kLong);
  for (int64_t step = 0; step < steps; ++step) {
    if (interrupted())
      return false;
    MORPH_ASSIGN_OR_RETURN(const at::Tensor logits, decoder->append(tokens));
    takeMostLikely(logits, best);
    tokens_ += tokens.numel();
    tokens = next;
    for (int64_t b = 0; b < count; ++b) {
      const size_t at = static_cast<size_t>(first[b] + step);
      if (at >= written[b].size())
        continue; // This row is done; the others need a token of it.
      if (isAnswer[b][at])
        written[b][at] = best.data_ptr<int64_t>()[b];
      tokens.data_ptr<int64_t>()[b] = written[b][at];
    }
  }
  for (size_t b = 0; b < samples.size(); ++b) {
    const Sample &sample = samples[b];
    std::vector<double> right(static_cast<size_t>(sample.answers()), 1);
    std::vector<double> &result = results.emplace_back(3, 0.0);
    for (size_t i = 0; i < sample.positions.size(); ++i) {
      const int64_t token = written[b][static_cast<size_t>(sample.positions[i] + 1)];
      result.push_back(static_cast<double>(token));
      if (token != sample.targets[i])
        right[static_cast<size_t>(sample.answerId[i])] = 0;
    }
    result[0] = meanOf(right);
    result[1] = static_cast<double>(right.size());
    result[2] = static_cast<double>(sample.question);
  }
  return true;
}

StatusOr<bool> Evaluation::generateAnswers(const Cell &cell, SampleResults &results, Progress &progress) {
  std::vector<std::vector<double>> own; // As generateBatch gives them.
  const int64_t total = samplesOf(cell, generateSamples_);
  bool stopped = false;
  for (int64_t begin = 0; begin < total && !stopped; begin += batch_) {
    if (!context_.processes->owns(begin / batch_))
      continue;
    std::vector<Sample> samples;
    for (int64_t i = begin; i < std::min(begin + batch_, total); ++i) {
      MORPH_ASSIGN_OR_RETURN(samples.emplace_back(), sampleOf(cell, i));
    }
    MORPH_ASSIGN_OR_RETURN(const bool done, generateBatch(samples, own));
    stopped = !done;
    if (stopped)
      break;
    done_ += static_cast<int64_t>(samples.size());
    progress.update(done_, tokens_, "writing " + cell.task->name() + " at " + std::to_string(cell.length), false);
  }
  MORPH_ASSIGN_OR_RETURN(const auto all, collect(own, total, stopped));
  if (!all)
    return false;
  for (const std::vector<double> &sample : *all) {
    results.answers.push_back(sample[0]);
    results.answersPerSample = sample[1];
    results.questions.push_back(static_cast<int64_t>(sample[2]));
    results.written.emplace_back(sample.begin() + 3, sample.end());
  }
  return true;
}

StatusOr<bool> Evaluation::measure(const Step &step, OrderedJson &row, Progress &progress) {
  const Cell &cell = cells_[step.cell];
  if (step.measure == Measure::Text)
    return measureText(cell, row, progress);
  const bool generated = step.measure == Measure::Generated;
  SampleResults results;
  MORPH_ASSIGN_OR_RETURN(const bool done,
                         generated ? generateAnswers(cell, results, progress) : scoreAnswers(cell, results, progress));
  if (!done)
    return false;
  const Share share = estimateShare(results.answers, results.answersPerSample);
  OrderedJson part = {{"samples", results.answers.size()},
                      {"answers", share.value},
                      {"interval", toJson(share.interval)},
                      {"by_sample", results.answers}};
  row["answers_per_sample"] = results.answersPerSample;
  if (cell.task->sampleCount(cell.length, Split::Evaluation)) // Other seeds ask the same.
    part["questions"] = results.questions;
  if (generated) {
    part["written"] = results.written;
  } else {
    part["tokens"] = meanOf(results.tokens);
    part["cross_entropy"] = meanOf(results.loss);
    part["cross_entropy_interval"] = nullptr;
    if (const std::optional<Interval> interval = meanInterval(results.loss))
      part["cross_entropy_interval"] = toJson(*interval);
    if (!std::isfinite(meanOf(results.loss)))
      return Status::failed("evaluate: the cross-entropy of task '" + cell.task->name() + "' is not a number");
  }
  row[generated ? "generated" : "teacher_forced"] = std::move(part);
  char details[96];
  std::snprintf(details, sizeof details, "%s at %lld: %.3f of the answers, %s", cell.task->name().c_str(),
                static_cast<long long>(cell.length), share.value, generated ? "generated" : "teacher-forced");
  progress.update(done_, tokens_, details, true);
  return true;
}

/// Where the parts of a window's targets end, of which a text's cross-entropy is told: what comes later has more
/// context.
static std::vector<int64_t> partEnds(int64_t targets) {
  const int64_t parts = std::min<int64_t>(8, targets);
  std::vector<int64_t> ends;
  for (int64_t part = 1; part <= parts; ++part)
    ends.push_back(part * targets / parts);
  return ends;
}

StatusOr<bool> Evaluation::measureText(const Cell &cell, OrderedJson &row, Progress &progress) {
  const std::vector<int64_t> ends = partEnds(cell.length - 1);
  // By window: loss, share of right tokens, of each part the sum of losses and their number.
  std::vector<std::vector<double>> own;
  bool stopped = false;
  for (size_t begin = 0; begin < windows_.size() && !stopped; begin += static_cast<size_t>(batch_)) {
    if (!context_.processes->owns(static_cast<int64_t>(begin) / batch_))
      continue;
    stopped = interrupted();
    if (stopped)
      break;
    const size_t end = std::min(begin + static_cast<size_t>(batch_), windows_.size());
    const int64_t count = static_cast<int64_t>(end - begin), targets = cell.length - 1;
    const at::Tensor tokens = at::empty({count, cell.length}, at::kLong), begins = at::zeros_like(tokens);
    const bool separates = context_.spec.data.separateDocuments;
    for (size_t w = begin; w < end; ++w) {
      const int64_t place = static_cast<int64_t>(w - begin) * cell.length;
      std::copy(windows_[w].tokens.begin(), windows_[w].tokens.end(), tokens.data_ptr<int64_t>() + place);
      if (separates)
        std::copy(windows_[w].begins.begin(), windows_[w].begins.end(), begins.data_ptr<int64_t>() + place);
    }
    NamedTensors inputs;
    inputs["tokens"] = tokens;
    inputs["positions"] =
        at::arange(count * cell.length, at::kLong).view({count, cell.length}).slice(1, 0, targets).flatten();
    inputs["targets"] = tokens.slice(1, 1).flatten();
    if (separates)
      inputs[plan::kBegins] = begins;
    MORPH_ASSIGN_OR_RETURN(const NamedTensors outputs, executor_->run(inputs));
    // No document predicts the first token of the next one.
    const at::Tensor inside = begins.slice(1, 1).lt(at::arange(1, cell.length, at::kLong)).to(at::kDouble);
    const at::Tensor nll = outputs.at("nll").to(at::kCPU, at::kDouble).view({count, targets}) * inside;
    const at::Tensor correct = outputs.at("correct").to(at::kCPU, at::kDouble).view({count, targets}) * inside;
    for (int64_t i = 0; i < count; ++i) {
      std::vector<double> &window = own.emplace_back();
      for (const at::Tensor &each : {nll, correct})
        window.push_back((each[i].sum() / inside[i].sum()).item<double>());
      for (size_t part = 0; part < ends.size(); ++part)
        for (const at::Tensor &each : {nll, inside})
          window.push_back(each[i].slice(0, part == 0 ? 0 : ends[part - 1], ends[part]).sum().item<double>());
    }
    done_ += count;
    tokens_ += tokens.numel();
    progress.update(done_, tokens_, "text", false);
  }
  MORPH_ASSIGN_OR_RETURN(const auto all, collect(own, static_cast<int64_t>(windows_.size()), stopped));
  if (!all)
    return false;
  std::vector<double> right, loss;
  for (const std::vector<double> &window : *all) {
    loss.push_back(window[0]);
    right.push_back(window[1]);
  }
  const double entropy = meanOf(loss);
  if (!std::isfinite(entropy))
    return Status::failed("evaluate: the cross-entropy of the text is not a number");
  row["samples"] = windows_.size();
  row["cross_entropy"] = entropy;
  row["cross_entropy_interval"] = nullptr;
  if (const std::optional<Interval> interval = meanInterval(loss))
    row["cross_entropy_interval"] = toJson(*interval);
  row["perplexity"] = std::exp(entropy);
  row["tokens"] = meanOf(right);
  row["by_sample"] = loss;
  row["by_position"] = OrderedJson::array();
  for (size_t part = 0; part < ends.size(); ++part) {
    double sum = 0, rows = 0;
    for (const std::vector<double> &window : *all) {
      sum += window[2 + 2 * part];
      rows += window[3 + 2 * part];
    }
    if (rows == 0) // Documents of one token alone.
      continue;
    // The target behind `ends` of them has as many tokens before it.
    row["by_position"].push_back({{"end", ends[part]}, {"cross_entropy", sum / rows}});
  }
  char details[96];
  std::snprintf(details, sizeof details, "text at %lld: cross-entropy %.4g", static_cast<long long>(cell.length),
                entropy);
  progress.update(done_, tokens_, details, true);
  return true;
}

int64_t Evaluation::samplesOf(const Cell &cell, int64_t wanted) const {
  return std::min(wanted, cell.task->sampleCount(cell.length, Split::Evaluation).value_or(wanted));
}

int64_t Evaluation::size(const Step &step) const {
  return step.measure == Measure::Text
             ? static_cast<int64_t>(windows_.size())
             : samplesOf(cells_[step.cell], step.measure == Measure::Generated ? generateSamples_ : samples_);
}

OrderedJson Evaluation::emptyRow(const Cell &cell) const {
  OrderedJson row = {{"model", options_.modelName},
                     {"after", options_.after},
                     {"task", cell.task ? cell.task->name() : "text"},
                     {"length", cell.length},
                     {"depth", nullptr}};
  if (cell.depth)
    row["depth"] = *cell.depth;
  if (cell.task) {
    // What the samples of training and selection have in common with these.
    row["shared"] = OrderedJson::array();
    const Sharing &sharing = cell.task->sharing();
    for (const auto &[name, shared] :
         {std::pair("keys", sharing.keys), std::pair("values", sharing.values), std::pair("wording", sharing.wordings)})
      if (shared)
        row["shared"].push_back(name);
  }
  return row;
}

StatusOr<StageOutcome> Evaluation::run() {
  for (const char *name : {"score", "decode"})
    if (!context_.hasPlan(name))
      return Status::invalid("this stage needs the plan '" + std::string(name) + "'",
                             "give --plan " + std::string(name) + "=FILE");
  MORPH_RETURN_IF_ERROR(read());
  int64_t total = 0;
  for (const Step &step : steps_)
    total += size(step);

  // Steps that an interrupted evaluation finished, and their rows.
  const std::string checkpoint = context_.outPath("checkpoint.json");
  OrderedJson rows = OrderedJson::array();
  for (const Cell &cell : cells_)
    rows.push_back(emptyRow(cell));
  size_t finished = 0;
  if (::access(checkpoint.c_str(), F_OK) == 0) {
    MORPH_ASSIGN_OR_RETURN(const std::string saved, readTextFile(checkpoint));
    const auto value = parseJson<OrderedJson>(saved, checkpoint);
    if (value.ok() && value->is_object() && value->contains("rows") && (*value)["rows"].size() == rows.size() &&
        value->contains("finished") && (*value)["finished"].is_number_unsigned() && value->contains("key") &&
        (*value)["key"] == context_.key) {
      finished = (*value)["finished"].get<size_t>();
      rows = (*value)["rows"];
    }
  }
  for (size_t i = 0; i < finished && i < steps_.size(); ++i)
    done_ += size(steps_[i]);
  Progress progress("evaluate " + options_.modelName + " after " + options_.after, total, done_, "sample");
  const char *bound = "";
  for (size_t i = finished; i < steps_.size(); ++i) {
    const Step &step = steps_[i];
    const char *plan = step.measure == Measure::Generated ? "decode" : "score";
    if (std::string(plan) != bound) {
      executor_.reset();
      MORPH_ASSIGN_OR_RETURN(executor_, context_.executor(plan));
      bound = plan;
    }
    MORPH_ASSIGN_OR_RETURN(const bool done, measure(step, rows[step.cell], progress));
    if (!done) {
      progress.finish();
      std::fprintf(stderr, "evaluate: stopped after %zu of %zu parts; run again to continue\n", i, steps_.size());
      return StageOutcome::Interrupted;
    }
    const OrderedJson saved = {{"key", context_.key}, {"finished", i + 1}, {"rows", rows}};
    if (context_.processes->isLeader())
      MORPH_RETURN_IF_ERROR(writeFile(checkpoint, saved.dump() + "\n"));
  }
  progress.finish();
  if (!context_.processes->isLeader())
    return StageOutcome::Done;
  MORPH_RETURN_IF_ERROR(writeFile(context_.outPath("rows.json"), rows.dump(2) + "\n"));
  return StageOutcome::Done;
}

StatusOr<StageOutcome> runEvaluate(const StageContext &context, const EvaluateOptions &options) {
  return Evaluation(context, options).run();
}

} // namespace morph
