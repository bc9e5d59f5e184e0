// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/select/MeasuredChoices.h"

#include <algorithm>
#include <cmath>

namespace morph {

StatusOr<MeasuredChoices> MeasuredChoices::open(std::string path, std::string fingerprint, Measure measure,
                                                bool writes) {
  MeasuredChoices choices;
  choices.path_ = std::move(path);
  choices.fingerprint_ = std::move(fingerprint);
  choices.measure_ = std::move(measure);
  choices.writes_ = writes;
  MORPH_ASSIGN_OR_RETURN(const std::optional<Checkpoint> saved, readCheckpoint(choices.path_, choices.fingerprint_));
  if (!saved)
    return choices;
  MORPH_RETURN_IF_ERROR(readState(choices.path_, [&] {
    for (const Json &entry : saved->state.value("choices", Json::array())) {
      Known &known = choices.known_[entry.value("choice", Choice())];
      known.scores = {entry.value("kl", std::vector<double>()), entry.value("correct", std::vector<double>())};
      known.cost = {entry.value("tokens", int64_t(0)), entry.value("flops", 0.0), entry.value("seconds", 0.0)};
    }
    return Status();
  }));
  return choices;
}

Status MeasuredChoices::flush() {
  if (!writes_)
    return Status();
  written_ = std::chrono::steady_clock::now();
  Checkpoint checkpoint;
  checkpoint.step = static_cast<int64_t>(known_.size());
  checkpoint.fingerprint = fingerprint_;
  Json list = Json::array();
  for (const auto &[choice, known] : known_)
    list.push_back({{"choice", choice},
                    {"kl", known.scores.kl},
                    {"correct", known.scores.correct},
                    {"tokens", known.cost.tokens},
                    {"flops", known.cost.flops},
                    {"seconds", known.cost.seconds}});
  checkpoint.state = {{"choices", std::move(list)}};
  return writeCheckpoint(path_, checkpoint);
}

StatusOr<ChoiceScores> MeasuredChoices::scores(const Choice &choice, int64_t samples) {
  const auto found = known_.find(choice);
  const auto before = found == known_.end() ? int64_t(0) : static_cast<int64_t>(found->second.scores.kl.size());
  if (before < samples) {
    const auto begin = std::chrono::steady_clock::now();
    MeasureCost cost;
    MORPH_ASSIGN_OR_RETURN(const ChoiceScores more, measure_(choice, before, samples, cost));
    const auto end = std::chrono::steady_clock::now();
    cost.seconds = std::chrono::duration<double>(end - begin).count();
    measuredTokens_ += cost.tokens;
    Known &known = known_[choice];
    known.cost += cost;
    known.scores.kl.insert(known.scores.kl.end(), more.kl.begin(), more.kl.end());
    known.scores.correct.insert(known.scores.correct.end(), more.correct.begin(), more.correct.end());
    // The whole file is written each time.
    if (end - written_ > std::chrono::seconds(2))
      MORPH_RETURN_IF_ERROR(flush());
  }
  int64_t &asked = asked_[choice];
  asked = std::max(asked, samples);
  ChoiceScores scores = known_[choice].scores;
  scores.kl.resize(static_cast<size_t>(samples));
  scores.correct.resize(static_cast<size_t>(samples));
  return scores;
}

MeasureCost MeasuredChoices::cost() const {
  double tokens = 0;
  MeasureCost sum;
  for (const auto &[choice, samples] : asked_) {
    const Known &known = known_.at(choice);
    const double share = static_cast<double>(samples) / static_cast<double>(known.scores.kl.size());
    tokens += share * static_cast<double>(known.cost.tokens);
    sum += {0, share * known.cost.flops, share * known.cost.seconds};
  }
  sum.tokens = std::llround(tokens);
  return sum;
}

} // namespace morph
