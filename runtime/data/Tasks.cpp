// SPDX-License-Identifier: Apache-2.0
#include "runtime/data/Tasks.h"

namespace morph {

static const TaskKinds &taskKinds() {
  static const TaskKinds kinds = [] {
    TaskKinds all;
    addRecallKinds(all);
    addMultiValueKind(all);
    addVariableTrackingKind(all);
    addTwoHopKind(all);
    addCountingKind(all);
    addNearKeysKind(all);
    addInductionKind(all);
    return all;
  }();
  return kinds;
}

const TaskKind *findTaskKind(const std::string &name) {
  auto found = taskKinds().find(name);
  return found == taskKinds().end() ? nullptr : found->second;
}

std::vector<std::string> taskKindNames() {
  std::vector<std::string> names;
  for (const auto &[name, kind] : taskKinds())
    names.push_back(name);
  return names;
}

Piece fill(const Template &parts, const std::map<std::string, Piece> &slots) {
  Piece tokens;
  for (const TemplatePart &part : parts)
    append(tokens, part.slot.empty() ? part.tokens : slots.at(part.slot));
  return tokens;
}

void append(Piece &to, const Piece &tokens) { to.insert(to.end(), tokens.begin(), tokens.end()); }

double drawDepth(const TaskParameters &parameters, Random &random) {
  int64_t candidate = random.below(parameters.depthCandidates);
  double share = parameters.depthCandidates > 1
                     ? static_cast<double>(candidate) / static_cast<double>(parameters.depthCandidates - 1)
                     : 0.5;
  return parameters.depthLow + (parameters.depthHigh - parameters.depthLow) * share;
}

Status checkQueries(const TaskParameters &parameters) {
  if (parameters.queries > parameters.needles)
    return Status::invalid("task '" + parameters.name + "': 'queries' is " + std::to_string(parameters.queries) +
                           ", more than its " + std::to_string(parameters.needles) + " needles");
  return {};
}

Status checkLinks(const TaskParameters &parameters, const Lexicon &lexicon, const std::string &kind) {
  for (const std::vector<Wording> &wordings : lexicon.wordings)
    for (const Wording &wording : wordings)
      if (wording.link.empty())
        return Status::invalid("task '" + parameters.name + "': its lexicon has no 'link'",
                               "make the lexicon again with kind " + kind);
  return {};
}

void ask(TaskPlan &plan, const Pool &pool, const Wording &wording, const std::vector<int64_t> &keys,
         std::vector<Answer> answers) {
  plan.question =
      fill(wording.question,
           {{"key", pool.keys()[keys[0]]}, {"keys", joinKeys(pool, keys)}, {"value", answers.front().tokens}});
  for (size_t i = 0; i < answers.size(); ++i) {
    if (i > 0)
      answers[i].lead = pool.lexicon().answerJoin;
    append(answers[i].lead, fill(wording.lead, {{"key", pool.keys()[keys[i]]}, {"value", {}}}));
  }
  plan.answers = std::move(answers);
}

Piece joinKeys(const Pool &pool, const std::vector<int64_t> &keys) {
  Piece tokens;
  for (size_t i = 0; i < keys.size(); ++i) {
    if (i > 0)
      append(tokens, pool.lexicon().keyJoin);
    append(tokens, pool.keys()[static_cast<size_t>(keys[i])]);
  }
  return tokens;
}

} // namespace morph
