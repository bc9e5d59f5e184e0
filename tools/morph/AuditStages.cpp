// SPDX-License-Identifier: Apache-2.0
// What an audit does once the branches are aligned: every selector chooses, every choice is judged.

#include "runtime/choice/Enumerate.h"
#include "tools/morph/Pipeline.h"

#include <algorithm>

using namespace morph;

namespace {

/// "1-4-7"; with more than two candidates each layer's number: "0-1-2-1".
std::string nameOf(const ChoiceSpace &space, const Choice &choice) {
  const bool isPlain = std::all_of(space.layers.begin(), space.layers.end(),
                                   [](const std::vector<Candidate> &candidates) { return candidates.size() <= 2; });
  std::string name;
  for (const int64_t number : isPlain ? fullLayers(choice) : choice)
    name += (name.empty() ? "" : "-") + std::to_string(number);
  return name.empty() ? "none" : name;
}

/// The stage that judges a budget's choices, or, with the name of a hybrid, that one.
std::string judgeStage(int64_t budget, const std::string &hybrid = "") {
  return "judge/" + std::to_string(budget) + (hybrid.empty() ? "" : "-distill/" + hybrid);
}

/// The file of what all hybrids of a budget lose after distillation.
std::string joinedFile(int64_t budget) { return "judged-" + std::to_string(budget) + "-distill.json"; }

/// What something took.
struct Spent {
  int64_t tokens = 0;
  double flops = 0, seconds = 0;

  /// Adds `times` what an object of a file says, which may be -1.
  Status add(const Json &said, const std::string &where, int64_t times = 1) {
    MORPH_ASSIGN_OR_RETURN(const int64_t ownTokens, jsonGet<int64_t>(said, "tokens", where));
    MORPH_ASSIGN_OR_RETURN(const double ownFlops, jsonGet<double>(said, "flops", where));
    MORPH_ASSIGN_OR_RETURN(const double ownSeconds, jsonGet<double>(said, "seconds", where));
    tokens += times * ownTokens;
    flops += static_cast<double>(times) * ownFlops;
    seconds += static_cast<double>(times) * ownSeconds;
    return Status();
  }
  /// Adds a distillation with what was measured in its course, within its seconds.
  Status addDistillation(const Json &summary, const std::string &where) {
    MORPH_RETURN_IF_ERROR(add(summary, where));
    MORPH_ASSIGN_OR_RETURN(const int64_t measured, jsonGet<int64_t>(summary, "held_out_tokens", where));
    MORPH_ASSIGN_OR_RETURN(const double measuredFlops, jsonGet<double>(summary, "held_out_flops", where));
    tokens += measured;
    flops += measuredFlops;
    return Status();
  }
  Json json() const { return {{"tokens", tokens}, {"flops", flops}, {"seconds", seconds}}; }
};

} // namespace

StatusOr<Json> Pipeline::audit(std::vector<Variant> variants) {
  variants_ = std::move(variants);
  MORPH_RETURN_IF_ERROR(execute(Goal::Audit));
  Json cells = Json::array();
  for (const AuditedBudget &budget : audited_) {
    Json cell = {{"budget", budget.budget},
                 {"after", "selection"},
                 {"measures", judgeStage(budget.budget) + "/judged.json"},
                 {"selections", budget.selections}};
    cells.push_back(cell);
    if (resolved_.audit->distill == AuditSpec::Distill::None)
      continue;
    cell["after"] = "distill";
    cell["measures"] = joinedFile(budget.budget);
    cells.push_back(cell);
  }
  return cells;
}

Status Pipeline::walkAudit() {
  for (const Variant &variant : variants_) {
    MORPH_RETURN_IF_ERROR(select(variant));
    if (audited_.empty() || audited_.back().budget != variant.budget) {
      AuditedBudget &budget = audited_.emplace_back();
      budget.budget = variant.budget;
      budget.spec = variant.spec;
    }
    if (!isWhole(selectionStage(variant.name)))
      continue;
    MORPH_ASSIGN_OR_RETURN(const Choice choice, choiceOf(variant));
    audited_.back().chosen.insert(choice);
    audited_.back().selections[variant.label] = selectionStage(variant.name) + "/selection.json";
  }
  if (mode_ == Mode::Run)
    MORPH_RETURN_IF_ERROR(removeAll(choicesFolder()));
  for (AuditedBudget &budget : audited_) {
    if (budget.selections.empty())
      continue;
    MORPH_ASSIGN_OR_RETURN(const auto all,
                           allChoices(budget.spec.space, static_cast<size_t>(resolved_.audit->mostChoices)));
    budget.complete = all.has_value();
    budget.choices = all.value_or(std::vector<Choice>(budget.chosen.begin(), budget.chosen.end()));
    MORPH_RETURN_IF_ERROR(judge(budget, budget.choices, ""));
  }
  if (resolved_.audit->distill == AuditSpec::Distill::None)
    return Status();
  size_t judged = 0;
  for (const AuditedBudget &budget : audited_)
    for (const Choice &choice : toDistill(budget)) {
      ++judged;
      if (trains("distill", hasTrained(budget.spec.space, choice)))
        trained_.push_back(nameOf(budget.spec.space, choice));
    }
  if (mode_ == Mode::Run) // Looked at before they are counted.
    stages_ += trained_.size() + judged;
  for (const AuditedBudget &budget : audited_)
    MORPH_RETURN_IF_ERROR(distillChoices(budget));
  return Status();
}

std::vector<Choice> Pipeline::toDistill(const AuditedBudget &budget) const {
  return resolved_.audit->distill == AuditSpec::Distill::Every
             ? budget.choices
             : std::vector<Choice>(budget.chosen.begin(), budget.chosen.end());
}

bool Pipeline::isAuditWhole(const std::string &stage) const {
  for (const AuditedBudget &budget : audited_) {
    if (stage == "judge" && !isWhole(judgeStage(budget.budget)))
      return false;
    if (stage == "judge" && resolved_.audit->distill != AuditSpec::Distill::None)
      for (const Choice &choice : toDistill(budget))
        if (!isWhole(judgeStage(budget.budget, nameOf(budget.spec.space, choice))))
          return false;
  }
  return isStageWhole("select") && std::all_of(trained_.begin(), trained_.end(),
                                               [&](const std::string &hybrid) { return isWhole("distill/" + hybrid); });
}

Status Pipeline::judge(const AuditedBudget &budget, const std::vector<Choice> &choices, const std::string &hybrid) {
  const AuditSpec &section = *resolved_.audit;
  Inputs inputs;
  inputs.sections = {"model", "tasks", "model_info"};
  inputs.plans = {"score-relaxed", "logits-teacher"};
  inputs.stages = {"data", "align"};
  if (!hybrid.empty())
    inputs.stages.push_back("distill/" + hybrid);
  inputs.base = inputs.runtime = inputs.arithmetic = true;
  MORPH_ASSIGN_OR_RETURN(auto key, stageKey(inputs, budget.spec));
  const Json list = {{"choices", choices}, {"complete", budget.complete && hybrid.empty()}};
  if (key)
    key->add("choices", list)
        .add("judged on", Json{section.tasks, section.samples, section.textSamples, resolved_.evaluate.batch,
                               resolved_.distill.length, resolved_.distill.textPositions});
  const std::string title = hybrid.empty() ? "judge: " + std::to_string(choices.size()) + " choices of " +
                                                 std::to_string(budget.budget) + " layers"
                                           : "judge " + hybrid + " after distill";
  return runStage(judgeStage(budget.budget, hybrid), title, key,
                  [&](const fs::path &out, const std::string &id) -> Status {
                    MORPH_RETURN_IF_ERROR(writeJson(out / "choices.json", list));
                    MORPH_RETURN_IF_ERROR(writeJson(out / "resolved.json", toJson(budget.spec)));
                    MORPH_ASSIGN_OR_RETURN(Command command,
                                           runtimeCommand("judge", out, id, hybrid,
                                                          {{"score", "score-relaxed"}, {"logits", "logits-teacher"}},
                                                          weights(hybrid), out / "resolved.json"));
                    command.arguments.insert(command.arguments.end(), {"--choices", (out / "choices.json").string()});
                    return runWorkers(command);
                  });
}

Status Pipeline::distillChoices(const AuditedBudget &budget) {
  for (const Choice &choice : toDistill(budget)) {
    const std::string name = nameOf(budget.spec.space, choice);
    if (trains("distill", hasTrained(budget.spec.space, choice))) {
      MORPH_RETURN_IF_ERROR(compileHybrid(name, budget.spec.space, choice));
      MORPH_RETURN_IF_ERROR(train("distill", name));
    }
    MORPH_RETURN_IF_ERROR(judge(budget, {choice}, name));
  }
  return mode_ == Mode::Run ? joinJudged(budget) : Status();
}

Status Pipeline::joinJudged(const AuditedBudget &budget) {
  Json joined;
  Spent onTasks, onText;
  const std::vector<Choice> choices = toDistill(budget);
  for (const Choice &choice : choices) {
    const std::string hybrid = nameOf(budget.spec.space, choice);
    const std::string file = run_.file(judgeStage(budget.budget, hybrid) + "/judged.json").string();
    MORPH_ASSIGN_OR_RETURN(Json part, readJson(file));
    MORPH_RETURN_IF_ERROR(onTasks.add(part.at("cost"), file));
    MORPH_RETURN_IF_ERROR(onText.add(part.at("text_cost"), file));
    // To know the best of all, each has to be distilled.
    if (trains("distill", hasTrained(budget.spec.space, choice))) {
      const std::string summary = run_.file("distill/" + hybrid + "/distill.json").string();
      MORPH_ASSIGN_OR_RETURN(const Json distilled, readJson(summary));
      MORPH_RETURN_IF_ERROR(onTasks.addDistillation(distilled, summary));
    }
    if (joined.is_null()) {
      joined = std::move(part);
      joined["complete"] = budget.complete && choices.size() == budget.choices.size();
      continue;
    }
    // Each hybrid was judged by itself; whoever judges all at once runs the teacher once.
    MORPH_RETURN_IF_ERROR(onTasks.add(part.at("teacher_cost"), file, -1));
    joined["choices"].push_back(part.at("choices").at(0));
  }
  joined["cost"] = onTasks.json();
  joined["text_cost"] = onText.json();
  return writeJson(run_.file(joinedFile(budget.budget)), joined);
}
