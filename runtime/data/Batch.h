// SPDX-License-Identifier: Apache-2.0
// Batches: samples of one length as the tensors that programs read, and streams of batches mixed from text and tasks.

#ifndef MORPH_RUNTIME_DATA_BATCH_H
#define MORPH_RUNTIME_DATA_BATCH_H

#include "runtime/data/Retrieval.h"

#include <ATen/ATen.h>

#include <memory>
#include <string>
#include <vector>

namespace morph {

/// B sequences of T tokens and the N rows of theirs that are read.
struct Batch {
  at::Tensor tokens;                  ///< [B, T] int64
  at::Tensor begins;                  ///< [B, T] int64: where in its sequence the document of a position begins.
  at::Tensor positions;               ///< [N] int64: b * T + t, increasing. The row predicts token t + 1 of sequence b.
  at::Tensor targets;                 ///< [N] int64
  at::Tensor weights;                 ///< [N] float32, sum 1.
  std::vector<Sample> samples;        ///< What the batch was made of, in order.
  std::vector<int64_t> answerOffsets; ///< First answer of sample b among all answers; B + 1 entries.
  std::vector<int64_t> answerIndex;   ///< [N] which answer a row belongs to, over the whole batch; -1: text.
  int64_t tokenCount() const { return tokens.numel(); }
};

struct BatchOptions {
  /// > 0: rows of `Sample::textPositions` are read too, all of them together weighing this against 1 for all answers.
  double textWeight = 0;
};

/// Stacks samples of equal length. Every sample weighs the same, and within a sample every row, so that 128 rows of
/// text do not drown 8 rows of an answer. A row that would predict the first token of another document weighs nothing.
/// An error where lengths differ, there is no sample, or no row that weighs anything.
StatusOr<Batch> makeBatch(std::vector<Sample> samples, const BatchOptions &options = {});

/// Of per-row results `correct` [N] (1 right, 0 wrong; any dtype): 1 for each answer of the batch with every row right,
/// else 0, in the order of answerOffsets.
std::vector<double> exactMatches(const Batch &batch, const at::Tensor &correct);

/// A stage's batches: batch i is a function of the options and i.
struct BatchStreamOptions {
  uint64_t seed = 0;  ///< The run's seed.
  std::string stream; ///< The stage's name; streams of other names are independent.
  int64_t batch = 1;  ///< B
  int64_t length = 0; ///< T; 0: drawn from the first task's `length` for each batch.
  /// Where there are some, T of as many equal parts of the first `batches` batches, one after another; `length` is the
  /// longest that may come.
  std::vector<int64_t> lengths;
  int64_t batches = 0;
  double taskFraction = 1;   ///< Share of task samples; exact over many batches, in every batch within one sample.
  int64_t textPositions = 0; ///< Rows read of a text sample: its last ones; 0: all.
  double textWeight = 0;     ///< BatchOptions::textWeight.
  bool longDocuments =
      false;             ///< Text windows must lie inside one document: an error at creation where none is as long.
  bool isPacked = false; ///< Otherwise: they hold the documents of a window apart (Batch::begins), short ones, too.
  SampleOptions sample;
};

class BatchStream {
public:
  /// `tasks` may be empty when taskFraction is 0 (or then it is taken as 0), `text` null when it is 1. Everything that
  /// could make a batch fail is found here.
  static StatusOr<std::unique_ptr<BatchStream>> create(BatchStreamOptions options,
                                                       std::vector<std::shared_ptr<const TaskGenerator>> tasks,
                                                       std::shared_ptr<const TextStore> text);

  /// Batch `index`. Task samples are of the tasks in turn.
  StatusOr<Batch> batch(uint64_t index) const;

  /// How many of the first `wanted` samples are different ones: questions of a file come again when all have been, and
  /// then tell nothing new.
  int64_t differentSamples(int64_t wanted) const;

private:
  BatchStream() = default;
  /// Task samples among the first `number` samples.
  uint64_t tasksBefore(uint64_t number) const;

  BatchStreamOptions options_;
  uint64_t seed_ = 0;
  std::vector<std::shared_ptr<const TaskGenerator>> tasks_;
  std::shared_ptr<const TextStore> text_;
};

/// The task of that name; an error lists those that there are.
StatusOr<TaskSpec> findTask(const std::vector<TaskSpec> &tasks, const std::string &name);

/// Generators of the tasks with these names, in their order, over `<runDir>/data`.
StatusOr<std::vector<std::shared_ptr<const TaskGenerator>>>
createTasks(const std::vector<TaskSpec> &tasks, const std::vector<std::string> &names, const std::string &dataDir,
            std::shared_ptr<const TextStore> text, int64_t vocabulary);

} // namespace morph

#endif // MORPH_RUNTIME_DATA_BATCH_H
