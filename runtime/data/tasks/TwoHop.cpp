// SPDX-License-Identifier: Apache-2.0
// two_hop: N chains of `hops` needles (two unless said otherwise). The value of each needle is the key of the next, and
// the last holds the chain's value. `queries` chains are asked in random order, each by its first key; the answer is
// the chain's value. Between them, in token space with H = 2: needles `a b` and `b value...`, question `a`, answer
// `value...`. All keys of a sample are different, so there is one answer. Each needle has a depth of its own, so the
// second may well come before the first.

#include "runtime/data/Tasks.h"

namespace morph {
namespace {

class TwoHopKind : public TaskKind {
public:
  int64_t keysOfSample(const TaskParameters &parameters, const Lexicon &, int64_t) const override {
    return parameters.needles * parameters.hops;
  }

  Status check(const TaskParameters &parameters, const Lexicon &lexicon) const override {
    if (parameters.hops < 2)
      return Status::invalid("task '" + parameters.name +
                             "': a chain of two_hop has two needles or more, and 'hops' is " +
                             std::to_string(parameters.hops));
    MORPH_RETURN_IF_ERROR(checkQueries(parameters));
    return checkLinks(parameters, lexicon, "two_hop");
  }

  TaskPlan plan(const TaskParameters &parameters, const Pool &pool, const Wording &wording, Random &random,
                const SampleRoom &room) const override {
    TaskPlan plan;
    const std::vector<int64_t> keys =
        random.choose(parameters.needles * parameters.hops, static_cast<int64_t>(pool.keys().size()));
    const std::vector<int64_t> asked = random.choose(parameters.queries, parameters.needles);
    std::vector<bool> isAsked(static_cast<size_t>(parameters.needles));
    for (int64_t chain : asked)
      isAsked[chain] = true;
    std::vector<Piece> values;
    std::vector<Needle> needles;
    for (int64_t chain = 0; chain < parameters.needles; ++chain) {
      values.push_back(pool.drawValue(random));
      for (int64_t i = 0; i < parameters.hops; ++i) {
        const Piece &key = pool.keys()[keys[chain * parameters.hops + i]];
        Piece tokens =
            i + 1 < parameters.hops
                ? fill(wording.link, {{"key", key}, {"source", pool.keys()[keys[chain * parameters.hops + i + 1]]}})
                : fill(wording.needle, {{"key", key}, {"value", values.back()}});
        needles.push_back(
            {std::move(tokens), room.depth && isAsked[chain] ? *room.depth : drawDepth(parameters, random)});
      }
    }
    // Needles of equal depth keep the plan's order: it is random, or without background no chain would be turned round.
    std::vector<size_t> place(needles.size());
    for (int64_t needle : random.choose(static_cast<int64_t>(needles.size()), static_cast<int64_t>(needles.size()))) {
      place[needle] = plan.needles.size();
      plan.needles.push_back(std::move(needles[needle]));
    }
    std::vector<int64_t> askedKeys;
    std::vector<Answer> answers;
    for (int64_t chain : asked) {
      askedKeys.push_back(keys[chain * parameters.hops]);
      answers.push_back({{}, values[chain], place[(chain + 1) * parameters.hops - 1]});
    }
    ask(plan, pool, wording, askedKeys, std::move(answers));
    return plan;
  }
};

} // namespace

void addTwoHopKind(TaskKinds &kinds) {
  static const TwoHopKind kind;
  kinds["two_hop"] = &kind;
}

} // namespace morph
