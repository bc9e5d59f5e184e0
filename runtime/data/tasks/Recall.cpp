// SPDX-License-Identifier: Apache-2.0
// Tasks of keyed needles: N different keys, each with a value of its own, of which Q are asked in random order. They
// differ in how many are asked, and in the words of their lexicon.
//   passkeys          all keys asked (the gate data of FlashMorph, after DuoAttention: 10 passkeys of 32 words)
//   niah_single       one key (RULER S-1, S-2, S-3 by the kind of value and background)
//   niah_multi_key    several keys, one asked (RULER MK)
//   niah_multi_query  several keys, several asked (RULER MQ)
//   mqar              multi-query associative recall (Zoology): all keys asked

#include "runtime/data/Tasks.h"

namespace morph {
namespace {

class RecallKind : public TaskKind {
public:
  explicit RecallKind(bool asksAll) : asksAll_(asksAll) {}

  int64_t keysOfSample(const TaskParameters &parameters, const Lexicon &, int64_t) const override {
    return parameters.needles;
  }

  Status check(const TaskParameters &parameters, const Lexicon &) const override {
    return asksAll_ ? Status() : checkQueries(parameters);
  }

  TaskPlan plan(const TaskParameters &parameters, const Pool &pool, const Wording &wording, Random &random,
                const SampleRoom &room) const override {
    TaskPlan plan;
    std::vector<int64_t> keys = random.choose(parameters.needles, static_cast<int64_t>(pool.keys().size()));
    std::vector<int64_t> asked = random.choose(asksAll_ ? parameters.needles : parameters.queries, parameters.needles);
    std::vector<Piece> values;
    for (int64_t key : keys) {
      values.push_back(pool.drawValue(random));
      plan.needles.push_back(
          {fill(wording.needle, {{"key", pool.keys()[key]}, {"value", values.back()}}), drawDepth(parameters, random)});
    }
    std::vector<int64_t> askedKeys;
    std::vector<Answer> answers;
    for (int64_t needle : asked) {
      if (room.depth)
        plan.needles[needle].depth = *room.depth;
      askedKeys.push_back(keys[needle]);
      answers.push_back({{}, values[needle], static_cast<size_t>(needle)});
    }
    ask(plan, pool, wording, askedKeys, std::move(answers));
    return plan;
  }

private:
  bool asksAll_; ///< Instead of `queries` needles.
};

} // namespace

void addRecallKinds(TaskKinds &kinds) {
  static const RecallKind all(true), some(false);
  kinds["passkeys"] = &all;
  kinds["niah_single"] = &some;
  kinds["niah_multi_key"] = &some;
  kinds["niah_multi_query"] = &some;
  kinds["mqar"] = &all;
}

} // namespace morph
