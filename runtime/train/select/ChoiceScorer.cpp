// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/select/ChoiceScorer.h"

#include "runtime/base/Log.h"
#include "runtime/train/HeldOut.h"
#include "runtime/train/Interrupt.h"

#include <algorithm>
#include <cstdio>
#include <limits>

namespace morph {

StatusOr<std::unique_ptr<ChoiceScorer>> ChoiceScorer::create(const StageContext &context, const ChoiceSpace &space,
                                                             const ScoredSamples &samples, const Executor *sharing) {
  BatchStreamOptions options;
  options.batch = samples.batch;
  options.sample.split = samples.split;
  options.stream = samples.stream;
  options.taskFraction = samples.tasks.empty() ? 0 : samples.taskFraction;
  options.textPositions = context.spec.distill.textPositions;
  if (samples.tasks.empty())
    options.length = context.spec.distill.length;
  std::unique_ptr<ChoiceScorer> scorer(new ChoiceScorer(context));
  MORPH_ASSIGN_OR_RETURN(scorer->stream_, context.stream(options, samples.tasks));
  const int64_t different = scorer->stream_->differentSamples(samples.count);
  if (different < samples.count)
    logInfo(samples.stream.c_str(), "there are " + std::to_string(different) + " different samples, of " +
                                        std::to_string(samples.count) + " that were asked for");
  // Whole batches, up to the last sample that was asked for, but to none that has been.
  const int64_t batches =
      std::max<int64_t>(1, (different < samples.count ? different : samples.count + samples.batch - 1) / samples.batch);
  MORPH_ASSIGN_OR_RETURN(scorer->judge_, ChoiceJudge::create(context, sharing, space, *scorer->stream_, batches));
  scorer->samples_ = batches * samples.batch;
  scorer->batch_ = samples.batch;
  ChoiceJudge *judge = scorer->judge_.get();
  const std::string name = samples.stream.substr(samples.stream.rfind('/') + 1);
  const bool isShared = !context.choicesDir.empty();
  MORPH_ASSIGN_OR_RETURN(
      scorer->choices_,
      MeasuredChoices::open(
          isShared ? context.choicesDir + "/" + name + ".safetensors"
                   : context.outPath("checkpoint.choices-" + name + ".safetensors"),
          isShared ? context.choicesKey : context.key,
          [judge, batch = samples.batch](const Choice &choice, int64_t begin, int64_t end, MeasureCost &cost) {
            return judge->measure(choice, begin / batch, (end + batch - 1) / batch, cost);
          },
          /*writes=*/context.processes->isLeader()));
  return scorer;
}

void ChoiceScorer::expect(const std::string &label, int64_t choices) {
  progress_.reset();
  progress_.emplace(label, choices, 0, "choice");
  done_ = 0;
  best_ = std::numeric_limits<double>::infinity();
}

StatusOr<ChoiceScores> ChoiceScorer::scores(const Choice &choice, int64_t samples) {
  MORPH_ASSIGN_OR_RETURN(const bool stops, processes_.any(interrupted()));
  if (stops) {
    progress_.reset();
    MORPH_RETURN_IF_ERROR(choices_->flush());
    return Status::interrupted();
  }
  // A batch is computed whole, and so it costs.
  const int64_t wanted = samples > 0 ? std::min(samples_, (samples + batch_ - 1) / batch_ * batch_) : samples_;
  const int64_t known = choices_->count();
  MORPH_ASSIGN_OR_RETURN(ChoiceScores scores, choices_->scores(choice, wanted));
  // A search that measures a choice again on more samples has not come further.
  if (progress_ && (samples == 0 || choices_->count() > known)) {
    const double kl = meanAndError(scores.kl).mean;
    char details[64];
    // What a part of the samples gives is not held against what others or all do.
    if (wanted < samples_) {
      std::snprintf(details, sizeof details, "KL %.4g on %lld samples", kl, static_cast<long long>(wanted));
    } else {
      best_ = std::min(best_, kl);
      std::snprintf(details, sizeof details, "KL %.4g, best %.4g", kl, best_);
    }
    ++done_;
    progress_->update(done_, choices_->measuredTokens(), details, done_ % 10 == 0);
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
