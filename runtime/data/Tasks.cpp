// SPDX-License-Identifier: Apache-2.0
#include "runtime/data/Tasks.h"

#include <algorithm>

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
    addCommonWordsKind(all);
    addFrequentWordsKind(all);
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

static const std::map<std::string, Piece> &emptySlots() {
  static const std::map<std::string, Piece> slots = {{"key", {}}, {"keys", {}}, {"value", {}}};
  return slots;
}

void askForKeys(TaskPlan &plan, const Pool &pool, const Wording &wording, const std::vector<int64_t> &keys) {
  plan.question = fill(wording.question, emptySlots());
  plan.answers.clear();
  for (int64_t key : keys)
    plan.answers.push_back({plan.answers.empty() ? fill(wording.lead, emptySlots()) : pool.lexicon().listJoin,
                            pool.keys()[static_cast<size_t>(key)], 0});
}

int64_t mostContext(const Lexicon &lexicon, int64_t asked, int64_t length) {
  int64_t around = length;
  for (const std::vector<Wording> &wordings : lexicon.wordings)
    for (const Wording &wording : wordings)
      around = std::min(around, static_cast<int64_t>(fill(wording.prefix, {}).size() +
                                                     fill(wording.question, emptySlots()).size() +
                                                     fill(wording.lead, emptySlots()).size()));
  const int64_t answers = asked * shortestKey(lexicon) + (asked - 1) * static_cast<int64_t>(lexicon.listJoin.size());
  return std::max<int64_t>(0, length - around - answers);
}

int64_t shortestKey(const Lexicon &lexicon) {
  size_t shortest = lexicon.keys.empty() ? 0 : lexicon.keys[0].size();
  for (const Piece &key : lexicon.keys)
    shortest = std::min(shortest, key.size());
  return static_cast<int64_t>(shortest);
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
