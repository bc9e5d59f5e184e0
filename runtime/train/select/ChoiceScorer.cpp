// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/select/ChoiceScorer.h"

#include "runtime/train/HeldOut.h"
#include "runtime/train/Interrupt.h"

#include <algorithm>
#include <cstdio>

namespace morph {

StatusOr<std::unique_ptr<ChoiceScorer>> ChoiceScorer::create(const StageContext &context, const ChoiceSpace &space,
                                                             ScoredData data, const Executor *sharing) {
  const SelectSpec &section = context.spec.select;
  const bool isText = data == ScoredData::Text;
  BatchStreamOptions options;
  options.batch = section.batch;
  options.sample.split = Split::Selection;
  options.stream = isText ? "select/score/text" : "select/score";
  if (isText) {
    // As distillation will see it.
    options.length = context.spec.distill.length;
    options.taskFraction = 0;
    options.textPositions = context.spec.distill.textPositions;
  }
  std::unique_ptr<ChoiceScorer> scorer(new ChoiceScorer(context));
  MORPH_ASSIGN_OR_RETURN(scorer->stream_, context.stream(options, isText ? std::vector<std::string>() : section.tasks));
  const int64_t batches = (section.samples + section.batch - 1) / section.batch;
  MORPH_ASSIGN_OR_RETURN(scorer->judge_, ChoiceJudge::create(context, sharing, space, *scorer->stream_, batches));
  ChoiceJudge *judge = scorer->judge_.get();
  MORPH_ASSIGN_OR_RETURN(
      scorer->choices_,
      MeasuredChoices::open(
          context.outPath(isText ? "checkpoint.choices-text.safetensors" : "checkpoint.choices.safetensors"),
          context.key, [judge](const Choice &choice, MeasureCost &cost) { return judge->measure(choice, cost); },
          /*writes=*/context.processes->isLeader()));
  return scorer;
}

void ChoiceScorer::expect(const std::string &label, int64_t choices) {
  progress_.reset();
  progress_.emplace(label, choices, 0, "choice");
  done_ = 0;
}

StatusOr<ChoiceScores> ChoiceScorer::scores(const Choice &choice) {
  MORPH_ASSIGN_OR_RETURN(const bool stops, processes_.any(interrupted()));
  if (stops) {
    progress_.reset();
    MORPH_RETURN_IF_ERROR(choices_->flush());
    return Status::interrupted();
  }
  MORPH_ASSIGN_OR_RETURN(ChoiceScores scores, choices_->scores(choice));
  if (progress_) {
    const double kl = meanAndError(scores.kl).mean;
    best_ = done_ == 0 ? kl : std::min(best_, kl);
    char details[64];
    std::snprintf(details, sizeof details, "KL %.4g, best %.4g", kl, best_);
    ++done_;
    progress_->update(done_, choices_->cost().tokens, details, done_ % 10 == 0);
  }
  return scores;
}

StatusOr<double> ChoiceScorer::kl(const Choice &choice) {
  MORPH_ASSIGN_OR_RETURN(const ChoiceScores found, scores(choice));
  return meanAndError(found.kl).mean;
}

MeasureCost ChoiceScorer::cost() const {
  MeasureCost cost = choices_->cost();
  cost += judge_->teacherCost();
  return cost;
}

} // namespace morph
