// SPDX-License-Identifier: Apache-2.0
#include "runtime/data/Batch.h"

#include "runtime/base/Json.h"

#include <algorithm>
#include <cmath>
#include <optional>

namespace morph {
namespace {

at::Tensor tensorOf(const std::vector<int64_t> &values) {
  at::Tensor tensor = at::empty({static_cast<int64_t>(values.size())}, at::kLong);
  std::copy(values.begin(), values.end(), tensor.data_ptr<int64_t>());
  return tensor;
}

/// A row that is read, before rows are put into the order of positions.
struct Row {
  int64_t position, target, answer;
  double weight;
};

} // namespace

StatusOr<Batch> makeBatch(std::vector<Sample> samples, const BatchOptions &options) {
  if (samples.empty())
    return Status::failed("a batch needs at least one sample");
  int64_t length = static_cast<int64_t>(samples[0].tokens.size());
  int64_t textRows = 0, answering = 0;
  for (const Sample &sample : samples) {
    if (static_cast<int64_t>(sample.tokens.size()) != length)
      return Status::failed("a batch needs samples of one length, not " + std::to_string(length) + " and " +
                            std::to_string(sample.tokens.size()));
    textRows += static_cast<int64_t>(sample.textPositions.size());
    answering += !sample.positions.empty();
  }
  Batch batch;
  batch.tokens = at::empty({static_cast<int64_t>(samples.size()), length}, at::kLong);
  batch.begins = at::zeros_like(batch.tokens);
  int64_t *tokens = batch.tokens.data_ptr<int64_t>(), *begins = batch.begins.data_ptr<int64_t>();
  std::vector<Row> rows;
  int64_t answers = 0;
  for (size_t b = 0; b < samples.size(); ++b) {
    const Sample &sample = samples[b];
    int64_t base = static_cast<int64_t>(b) * length;
    std::copy(sample.tokens.begin(), sample.tokens.end(), tokens + base);
    std::copy(sample.begins.begin(), sample.begins.end(), begins + base);
    const auto isInside = [&](int64_t position) { return begins[base + position + 1] != position + 1; };
    const auto inside = std::count_if(sample.positions.begin(), sample.positions.end(), isInside);
    for (size_t i = 0; i < sample.positions.size(); ++i)
      rows.push_back({base + sample.positions[i], sample.targets[i],
                      sample.answerId[i] < 0 ? -1 : answers + sample.answerId[i],
                      isInside(sample.positions[i]) ? 1.0 / static_cast<double>(inside * answering) : 0.0});
    if (options.textWeight > 0)
      for (int64_t position : sample.textPositions)
        rows.push_back({base + position, sample.tokens[position + 1], -1, options.textWeight / textRows});
    batch.answerOffsets.push_back(answers);
    answers += sample.answers();
  }
  batch.answerOffsets.push_back(answers);
  std::stable_sort(rows.begin(), rows.end(), [](const Row &a, const Row &b) { return a.position < b.position; });

  double sum = 0;
  for (const Row &row : rows)
    sum += row.weight;
  if (!rows.empty() && sum == 0)
    return Status::failed("no document of the batch has a second token to predict");
  std::vector<int64_t> positions, targets;
  batch.weights = at::empty({static_cast<int64_t>(rows.size())}, at::kFloat);
  float *weights = batch.weights.data_ptr<float>();
  for (size_t i = 0; i < rows.size(); ++i) {
    positions.push_back(rows[i].position);
    targets.push_back(rows[i].target);
    weights[i] = static_cast<float>(rows[i].weight / sum);
    batch.answerIndex.push_back(rows[i].answer);
  }
  batch.positions = tensorOf(positions);
  batch.targets = tensorOf(targets);
  batch.samples = std::move(samples);
  return batch;
}

std::vector<double> exactMatches(const Batch &batch, const at::Tensor &correct) {
  at::Tensor rows = correct.to(at::kFloat).contiguous();
  std::vector<double> result(batch.answerOffsets.back(), 1.0);
  for (size_t i = 0; i < batch.answerIndex.size(); ++i)
    if (batch.answerIndex[i] >= 0 && rows.data_ptr<float>()[i] < 0.5f)
      result[batch.answerIndex[i]] = 0;
  return result;
}

StatusOr<std::unique_ptr<BatchStream>> BatchStream::create(BatchStreamOptions options,
                                                           std::vector<std::shared_ptr<const TaskGenerator>> tasks,
                                                           std::shared_ptr<const TextStore> text) {
  const std::string &where = options.stream;
  if (options.batch < 1)
    return Status::invalid(where + ": 'batch' must be 1 or more");
  if (!(options.taskFraction >= 0 && options.taskFraction <= 1))
    return Status::invalid(where + ": 'task_fraction' must be in 0..1");
  if (tasks.empty())
    options.taskFraction = 0;
  if (options.taskFraction < 1 && !text)
    return Status::invalid(where + ": it trains on text, and the spec has no text",
                           "give data.text, or tasks with task_fraction = 1");
  if (options.length == 0 && options.taskFraction == 0)
    return Status::invalid(where + ": 'length' is missing, and there is no task to take it from");
  if (options.length != 0 && options.length < 2)
    return Status::invalid(where + ": 'length' must be 2 tokens or more");
  // A batch has one length, drawn from its first task's where none is given: it has to suit all tasks.
  std::vector<int64_t> lengths = !options.lengths.empty() ? options.lengths
                                 : options.length         ? std::vector<int64_t>{options.length}
                                                          : tasks[0]->lengths();
  int64_t longest = *std::max_element(lengths.begin(), lengths.end());
  if (options.taskFraction > 0)
    for (const auto &task : tasks)
      for (int64_t length : lengths) {
        Status status = task->checkLength(length);
        if (!status.ok())
          return std::move(status).withContext(where);
      }
  if (options.longDocuments && options.taskFraction < 1) {
    options.isPacked = false;
    Status status = text->checkInsideDocuments(longest, options.sample.split);
    if (!status.ok())
      return std::move(status).withContext(where);
  }
  std::unique_ptr<BatchStream> stream(new BatchStream);
  stream->seed_ = Random::streamSeed(options.seed, options.stream);
  stream->options_ = std::move(options);
  stream->tasks_ = std::move(tasks);
  stream->text_ = std::move(text);
  return stream;
}

uint64_t BatchStream::tasksBefore(uint64_t number) const {
  // They come at the numbers where this grows: exact in the long run, whatever the batch.
  return static_cast<uint64_t>(std::floor(static_cast<double>(number) * options_.taskFraction + 1e-9));
}

int64_t BatchStream::differentSamples(int64_t wanted) const {
  if (options_.taskFraction == 0)
    return wanted;
  std::optional<int64_t> least;
  for (const auto &task : tasks_)
    for (int64_t length : options_.length ? std::vector<int64_t>{options_.length} : tasks_[0]->lengths())
      if (const std::optional<int64_t> count = task->sampleCount(length, options_.sample.split))
        least = std::min(least.value_or(*count), *count);
  int64_t different = wanted;
  while (least && tasksBefore(static_cast<uint64_t>(different)) > static_cast<uint64_t>(*least) * tasks_.size())
    --different;
  return different;
}

StatusOr<Batch> BatchStream::batch(uint64_t index) const {
  int64_t length = options_.length ? options_.length : tasks_[0]->drawLength(seed_, index);
  if (const uint64_t parts = options_.lengths.size(); parts > 0) {
    const uint64_t batches = static_cast<uint64_t>(std::max<int64_t>(options_.batches, 1));
    length = options_.lengths[std::min(index * parts / batches, parts - 1)];
  }
  std::vector<Sample> samples;
  for (int64_t i = 0; i < options_.batch; ++i) {
    uint64_t number = index * static_cast<uint64_t>(options_.batch) + static_cast<uint64_t>(i);
    if (tasksBefore(number + 1) > tasksBefore(number)) {
      const uint64_t before = tasksBefore(number), count = tasks_.size();
      const auto &task = tasks_[before % count];
      // Questions of a file come one after another; of the others any number gives a sample of its own.
      const bool isFinite = task->sampleCount(length, options_.sample.split).has_value();
      MORPH_ASSIGN_OR_RETURN(Sample sample,
                             task->sample(seed_, isFinite ? before / count : number, length, options_.sample));
      samples.push_back(std::move(sample));
    } else {
      samples.push_back(
          textSample(*text_, seed_, number, length, options_.textPositions, options_.sample.split, options_.isPacked));
    }
  }
  return makeBatch(std::move(samples), {options_.textWeight});
}

StatusOr<TaskSpec> findTask(const std::vector<TaskSpec> &tasks, const std::string &name) {
  std::string known;
  for (const TaskSpec &task : tasks) {
    if (task.name == name)
      return task;
    known += (known.empty() ? "" : ", ") + task.name;
  }
  return Status::invalid("the spec has no [[task]] named '" + name + "'",
                         known.empty() ? "the spec has no [[task]]" : "the tasks are: " + known);
}

StatusOr<std::vector<std::shared_ptr<const TaskGenerator>>>
createTasks(const std::vector<TaskSpec> &tasks, const std::vector<std::string> &names, const std::string &dataDir,
            std::shared_ptr<const TextStore> text, int64_t vocabulary) {
  std::vector<std::shared_ptr<const TaskGenerator>> generators;
  for (const std::string &name : names) {
    MORPH_ASSIGN_OR_RETURN(const TaskSpec task, findTask(tasks, name));
    MORPH_ASSIGN_OR_RETURN(auto generator, TaskGenerator::create(task, dataDir, text, vocabulary));
    generators.push_back(std::move(generator));
  }
  return generators;
}

} // namespace morph
