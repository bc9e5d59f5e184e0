// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/select/MeasuredChoices.h"

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
    for (const Json &entry : saved->state.value("choices", Json::array()))
      choices.known_[entry.value("choice", Choice())] = {entry.value("kl", std::vector<double>()),
                                                         entry.value("correct", std::vector<double>())};
    choices.cost_ = {saved->tokens, saved->state.value("flops", 0.0), saved->seconds};
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
  checkpoint.tokens = cost_.tokens;
  checkpoint.seconds = cost_.seconds;
  checkpoint.fingerprint = fingerprint_;
  Json list = Json::array();
  for (const auto &[choice, scores] : known_)
    list.push_back({{"choice", choice}, {"kl", scores.kl}, {"correct", scores.correct}});
  checkpoint.state = {{"flops", cost_.flops}, {"choices", std::move(list)}};
  return writeCheckpoint(path_, checkpoint);
}

StatusOr<ChoiceScores> MeasuredChoices::scores(const Choice &choice, int64_t samples) {
  const auto found = known_.find(choice);
  const auto known = found == known_.end() ? int64_t(0) : static_cast<int64_t>(found->second.kl.size());
  if (known >= samples)
    return found->second;
  const auto begin = std::chrono::steady_clock::now();
  MORPH_ASSIGN_OR_RETURN(const ChoiceScores more, measure_(choice, known, samples, cost_));
  const auto end = std::chrono::steady_clock::now();
  cost_.seconds += std::chrono::duration<double>(end - begin).count();
  ChoiceScores &scores = known_[choice];
  scores.kl.insert(scores.kl.end(), more.kl.begin(), more.kl.end());
  scores.correct.insert(scores.correct.end(), more.correct.begin(), more.correct.end());
  // The whole file is written each time.
  if (end - written_ > std::chrono::seconds(2))
    MORPH_RETURN_IF_ERROR(flush());
  return scores;
}

} // namespace morph
