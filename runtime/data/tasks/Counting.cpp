// SPDX-License-Identifier: Apache-2.0
// counting: N marks, each a key alone, of Q = `queries` keys that are asked and one that is not. Every asked key occurs
// at least once; of the divisions of N marks among the keys each is equally likely (of one asked key each number from 1
// to N). Asked is each of the Q keys, in random order, and the answer is how often it occurs: n is answered by piece n
// - 1 of the lexicon's first alphabet, in token space the id value_tokens[0] + n - 1, in words the number's digits.
// `value_length` has no meaning. The numbers are the same in every split, and every evaluation says so.

#include "runtime/data/Tasks.h"

#include <algorithm>

namespace morph {
namespace {

class CountingKind : public TaskKind {
public:
  int64_t keysOfSample(const TaskParameters &parameters, const Lexicon &, int64_t) const override {
    return parameters.queries + 1;
  }
  int64_t allQueries(const TaskParameters &parameters) const override {
    // As many queries as marks would leave nothing to count.
    return std::min(parameters.queries, parameters.needles);
  }
  bool sharesValues() const override { return true; }

  Status check(const TaskParameters &parameters, const Lexicon &lexicon) const override {
    MORPH_RETURN_IF_ERROR(checkQueries(parameters));
    const std::vector<Piece> &numbers = lexicon.alphabets[lexicon.value[0]];
    if (static_cast<int64_t>(numbers.size()) < parameters.needles)
      return Status::invalid("task '" + parameters.name + "': it counts up to " + std::to_string(parameters.needles) +
                                 " and there are " + std::to_string(numbers.size()) + " values",
                             "lower needles, or give more value_tokens");
    return {};
  }

  TaskPlan plan(const TaskParameters &parameters, const Pool &pool, const Wording &wording, Random &random,
                const SampleRoom &room) const override {
    TaskPlan plan;
    const int64_t asked = parameters.queries, free = parameters.needles - asked;
    const std::vector<int64_t> keys = random.choose(asked + 1, static_cast<int64_t>(pool.keys().size()));
    // Bars among the marks that are free to be of any key: stars and bars draws divisions evenly.
    std::vector<int64_t> bars = random.choose(asked, free + asked);
    std::sort(bars.begin(), bars.end());
    std::vector<int64_t> counts;
    for (int64_t i = 0; i < asked; ++i)
      counts.push_back(1 + bars[i] - (i == 0 ? -1 : bars[i - 1]) - 1);
    counts.push_back(free + asked - bars.back() - 1);

    std::vector<Needle> marks;
    std::vector<size_t> keyOf;
    for (size_t key = 0; key < counts.size(); ++key)
      for (int64_t i = 0; i < counts[key]; ++i) {
        const Piece &tokens = pool.keys()[keys[key]];
        marks.push_back(
            {fill(wording.needle, {{"key", tokens}, {"value", {}}}),
             room.depth && static_cast<int64_t>(key) < asked ? *room.depth : drawDepth(parameters, random)});
        keyOf.push_back(key);
      }
    // Marks of equal depth keep the plan's order, which must not tell how they are divided.
    std::vector<size_t> markOf(counts.size());
    for (int64_t mark : random.choose(parameters.needles, parameters.needles)) {
      markOf[keyOf[mark]] = plan.needles.size();
      plan.needles.push_back(std::move(marks[mark]));
    }
    const std::vector<Piece> &numbers = pool.lexicon().alphabets[pool.lexicon().value[0]];
    std::vector<Answer> answers;
    for (int64_t i = 0; i < asked; ++i)
      answers.push_back({{}, numbers[counts[i] - 1], markOf[i]});
    // Keys are in random order already.
    ask(plan, pool, wording, {keys.begin(), keys.begin() + asked}, std::move(answers));
    return plan;
  }
};

} // namespace

void addCountingKind(TaskKinds &kinds) {
  static const CountingKind kind;
  kinds["counting"] = &kind;
}

} // namespace morph
