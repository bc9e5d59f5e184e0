// SPDX-License-Identifier: Apache-2.0
// Scores of choices on samples that are the same for all.

#ifndef MORPH_RUNTIME_TRAIN_SELECT_CHOICESCORER_H
#define MORPH_RUNTIME_TRAIN_SELECT_CHOICESCORER_H

#include "runtime/train/Progress.h"
#include "runtime/train/select/ChoiceJudge.h"

#include <optional>

namespace morph {

/// What choices are scored on: the first `count` sequences of a stream, in whole batches; fewer where it has no more
/// that are different.
struct ScoredSamples {
  std::string stream;             ///< Its name; its last part ("a/b") is in a file's name.
  std::vector<std::string> tasks; ///< None: windows of text, as distillation sees them.
  Split split = Split::Selection;
  int64_t count = 0, batch = 1;
  double taskFraction = 1; ///< Of samples of tasks: the others are windows of text.
};

/// Measures each choice once. What was measured is in a file of the stage, or of the run's selectors
/// (StageContext::choicesDir), so a search that is stopped and begun again goes on where it was. All processes measure
/// together and get the same.
class ChoiceScorer {
public:
  /// `sharing`: an executor of the relaxed model whose weights are read (null: none).
  static StatusOr<std::unique_ptr<ChoiceScorer>> create(const StageContext &context, const ChoiceSpace &space,
                                                        const ScoredSamples &samples, const Executor *sharing);

  /// Scores of a choice, on the first `samples` samples, rounded up to whole batches; 0: on all. The teacher has run
  /// once; the layers below the first in which the choice differs from the one before it do not run again, so
  /// neighbours belong together. Errors: Status::interrupted after a signal.
  StatusOr<ChoiceScores> scores(const Choice &choice, int64_t samples = 0);
  /// The mean of its KL.
  StatusOr<double> kl(const Choice &choice);

  /// Writes what was measured.
  Status flush() { return choices_->flush(); }

  /// So many further choices are to come: the progress line's length. `label` opens it: "select (drop)".
  void expect(const std::string &label, int64_t choices);

  /// Samples that there are.
  int64_t sampleCount() const { return samples_; }
  /// Tokens that a choice which shares no layer takes.
  int64_t tokensOfChoice() const { return judge_->teacherCost().tokens; }

  /// What all choices took that were asked for, those of the file too, with the teacher's run.
  MeasureCost cost() const;
  const Executor &executor() const { return judge_->executor(); }

private:
  ChoiceScorer(const StageContext &context) : processes_(*context.processes) {}

  Processes &processes_;
  std::unique_ptr<BatchStream> stream_;
  std::unique_ptr<ChoiceJudge> judge_;
  std::optional<MeasuredChoices> choices_;
  int64_t samples_ = 0; ///< All that there are: whole batches.
  int64_t batch_ = 1;
  std::optional<Progress> progress_;
  int64_t done_ = 0; ///< Of those expected.
  double best_ = 0;  ///< KL among these.
};

} // namespace morph

#endif // MORPH_RUNTIME_TRAIN_SELECT_CHOICESCORER_H
