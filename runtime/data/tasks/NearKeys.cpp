// SPDX-License-Identifier: Apache-2.0
// near_keys: mqar with near-duplicate keys. A key is `key_length` tokens; the N keys of a sample agree in all of them
// but one, whose place is drawn for each sample, so that no part of a key tells what the whole does. Each has a value
// of its own, and all are asked in random order. Token space alone: with L = 3, needles `a b c value...` and `a d c
// value...`, question `a b c`, answer `value...`. All keys of a sample are different, so there is one answer.

#include "runtime/data/Tasks.h"

namespace morph {
namespace {

class NearKeysKind : public TaskKind {
public:
  int64_t keysOfSample(const TaskParameters &parameters, const Lexicon &, int64_t) const override {
    return parameters.needles;
  }

  Status check(const TaskParameters &parameters, const Lexicon &lexicon) const override {
    if (lexicon.keyParts < 2)
      return Status::invalid("task '" + parameters.name +
                             "': near_keys needs space \"tokens\" and a 'key_length' of 2 or "
                             "more");
    return {};
  }

  TaskPlan plan(const TaskParameters &parameters, const Pool &pool, const Wording &wording, Random &random,
                const SampleRoom &room) const override {
    TaskPlan plan;
    const std::vector<Piece> keys = pool.drawNearKeys(parameters.needles, random);
    std::vector<Piece> values;
    for (const Piece &key : keys) {
      values.push_back(pool.drawValue(random));
      plan.needles.push_back({fill(wording.needle, {{"key", key}, {"value", values.back()}}),
                              room.depth ? *room.depth : drawDepth(parameters, random)});
    }
    for (int64_t i : random.choose(parameters.needles, parameters.needles))
      plan.answers.push_back(
          {fill(wording.lead, {{"key", keys[i]}, {"value", {}}}), values[i], static_cast<size_t>(i)});
    return plan;
  }
};

} // namespace

void addNearKeysKind(TaskKinds &kinds) {
  static const NearKeysKind kind;
  kinds["near_keys"] = &kind;
}

} // namespace morph
