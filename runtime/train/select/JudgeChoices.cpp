// SPDX-License-Identifier: Apache-2.0
// Choices judged on samples that no selector sees: what an audit holds selectors against.

#include "runtime/base/AtomicFile.h"
#include "runtime/train/HeldOut.h"
#include "runtime/train/Stages.h"
#include "runtime/train/select/ChoiceScorer.h"

#include <algorithm>

namespace morph {

namespace {

/// What is judged.
struct JudgedChoices {
  std::vector<Choice> list;
  bool complete = false; ///< All that there are.
};

/// What was judged on one task, or on text.
struct JudgedData {
  std::string name;
  bool isText = false;
  ChoiceScores teacher;
  std::vector<ChoiceScores> scores; ///< Of all choices, in their order.
  MeasureCost teacherCost;
  MeasureCost cost; ///< Of all, with the teacher's run.
};

} // namespace

/// The choices of a file, a candidate's number a layer, each within the space's candidates.
static StatusOr<JudgedChoices> readChoices(const std::string &path, const ChoiceSpace &space) {
  MORPH_ASSIGN_OR_RETURN(const Json json, readJson(path));
  JudgedChoices choices;
  MORPH_ASSIGN_OR_RETURN(choices.list, jsonGet<std::vector<Choice>>(json, "choices", path));
  MORPH_ASSIGN_OR_RETURN(choices.complete, jsonGet<bool>(json, "complete", path));
  for (const Choice &choice : choices.list) {
    bool fits = choice.size() == space.layers.size();
    for (size_t layer = 0; fits && layer < choice.size(); ++layer)
      fits = choice[layer] >= 0 && choice[layer] < static_cast<int64_t>(space.layers[layer].size());
    if (!fits)
      return Status::invalid(path + ": a choice is not one of the space's candidates a layer");
  }
  // Neighbours share their first layers.
  std::sort(choices.list.begin(), choices.list.end());
  return choices;
}

static nlohmann::ordered_json toJson(const ChoiceScores &scores) {
  return {{"kl", scores.kl}, {"correct", scores.correct}};
}

static nlohmann::ordered_json toJson(const MeasureCost &cost) {
  return {{"tokens", cost.tokens}, {"flops", cost.flops}, {"seconds", cost.seconds}};
}

/// Judges all choices on these samples. Errors: Status::interrupted after a signal.
static StatusOr<JudgedData> judgeOn(const StageContext &context, const ScoredSamples &samples,
                                    const std::vector<Choice> &choices) {
  JudgedData judged;
  judged.isText = samples.tasks.empty();
  judged.name = judged.isText ? "text" : samples.tasks.front();
  MORPH_ASSIGN_OR_RETURN(const auto scorer,
                         ChoiceScorer::create(context, context.spec.space, samples, /*sharing=*/nullptr));
  judged.teacherCost = scorer->cost(); // Nothing else has run so far.
  MORPH_ASSIGN_OR_RETURN(judged.teacher, scorer->scores(Choice()));
  scorer->expect("judge (" + judged.name + ")", static_cast<int64_t>(choices.size()));
  for (const Choice &choice : choices) {
    MORPH_ASSIGN_OR_RETURN(ChoiceScores scores, scorer->scores(choice));
    judged.scores.push_back(std::move(scores));
  }
  judged.cost = scorer->cost();
  return judged;
}

StatusOr<StageOutcome> runJudge(const StageContext &context, const JudgeOptions &options) {
  const ChoiceSpace &space = context.spec.space;
  if (!context.spec.audit)
    return Status::invalid("the spec has no [audit]");
  const AuditSpec &audit = *context.spec.audit;
  MORPH_ASSIGN_OR_RETURN(const JudgedChoices choices, readChoices(options.choices, space));
  std::vector<ScoredSamples> data;
  for (const std::string &task : audit.tasks)
    data.push_back({"audit/" + task, {task}, Split::Evaluation, audit.samples, context.spec.evaluate.batch});
  if (audit.textSamples > 0)
    data.push_back({"audit/text", {}, Split::Evaluation, audit.textSamples, context.spec.evaluate.batch});
  std::vector<JudgedData> judged;
  // Text is no part of the objective, so what it took stands apart.
  MeasureCost cost, teacherCost, textCost;
  for (const ScoredSamples &samples : data) {
    StatusOr<JudgedData> found = judgeOn(context, samples, choices.list);
    if (found.status().code() == StatusCode::Interrupted)
      return StageOutcome::Interrupted;
    MORPH_RETURN_IF_ERROR(found.status());
    (found->isText ? textCost : cost) += found->cost;
    if (!found->isText)
      teacherCost += found->teacherCost;
    judged.push_back(*std::move(found));
  }
  if (!context.processes->isLeader())
    return StageOutcome::Done;
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (size_t i = 0; i < choices.list.size(); ++i) {
    nlohmann::ordered_json scores = nlohmann::ordered_json::object();
    for (const JudgedData &part : judged)
      scores[part.name] = toJson(part.scores[i]);
    list.push_back({{"choice", candidateNames(space, choices.list[i])},
                    {"kept", fullLayers(choices.list[i])},
                    {"scores", std::move(scores)}});
  }
  nlohmann::ordered_json teacher = nlohmann::ordered_json::object();
  for (const JudgedData &part : judged)
    teacher[part.name] = {{"correct", meanAndError(part.teacher.correct).mean},
                          {"samples", part.teacher.correct.size()}};
  const nlohmann::ordered_json json = {{"version", 1},
                                       {"layers", space.layerCount()},
                                       {"complete", choices.complete},
                                       {"tasks", audit.tasks},
                                       {"cost", toJson(cost)},
                                       {"teacher_cost", toJson(teacherCost)},
                                       {"text_cost", toJson(textCost)},
                                       {"teacher", std::move(teacher)},
                                       {"choices", std::move(list)}};
  MORPH_RETURN_IF_ERROR(writeFile(context.outPath("judged.json"), json.dump() + "\n"));
  return StageOutcome::Done;
}

} // namespace morph
