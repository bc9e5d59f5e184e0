// SPDX-License-Identifier: Apache-2.0
// induction: N random sequences of L + v tokens (`key_length` and `value_length`), all drawn from `value_tokens`:
// nothing but repetition tells where a sequence begins or that it goes on. `queries` of them are begun again at the
// end, in random order: the question is a sequence's first L tokens, the answer its other v. How long the gap is,
// `depth` and the length say. Token space alone. There is one answer: the first L tokens of a sequence are found at no
// other place of it, of another or across two neighbours (ids of the background are the user's: they must not be
// values).

#include "runtime/data/Tasks.h"

#include <algorithm>
#include <cmath>

namespace morph {
namespace {

/// Draws of all sequences before two equal beginnings are let be. `check` asks for so many values that a draw fails
/// with at most 1 - 1/e: all fail in one of 10^50 samples.
constexpr int kTries = 256;

class InductionKind : public TaskKind {
public:
  int64_t keysOfSample(const TaskParameters &, const Lexicon &, int64_t) const override { return 0; }

  Status check(const TaskParameters &parameters, const Lexicon &lexicon) const override {
    if (!lexicon.keys.empty())
      return Status::invalid("task '" + parameters.name + "': induction needs space \"tokens\"");
    MORPH_RETURN_IF_ERROR(checkQueries(parameters));
    // Places at which a beginning may be met: inside the sequences, and across two neighbours.
    const double needles = static_cast<double>(parameters.needles), length = static_cast<double>(parameters.keyLength);
    const double places = needles * static_cast<double>(lexicon.value.size() + 1) + needles * needles * (length - 1);
    const double values = static_cast<double>(lexicon.alphabets[0].size());
    if (values < 2 || needles * places > std::pow(values, length) * (1 + 1e-9))
      return Status::invalid("task '" + parameters.name + "': " + std::to_string(parameters.needles) +
                                 " sequences of " + std::to_string(lexicon.alphabets[0].size()) +
                                 " different values are told apart by no " + std::to_string(parameters.keyLength) +
                                 " tokens",
                             "raise key_length, lower needles, or give more value_tokens");
    return {};
  }

  TaskPlan plan(const TaskParameters &parameters, const Pool &pool, const Wording &, Random &random,
                const SampleRoom &room) const override {
    TaskPlan plan;
    std::vector<Piece> beginnings, values;
    for (int attempt = 0; attempt < kTries; ++attempt) {
      beginnings.clear();
      values.clear();
      for (int64_t i = 0; i < parameters.needles; ++i) {
        beginnings.push_back(drawBeginning(parameters, pool, random));
        values.push_back(pool.drawValue(random));
      }
      if (areClear(beginnings, values))
        break;
    }
    for (int64_t i = 0; i < parameters.needles; ++i)
      plan.needles.push_back({join(beginnings[i], values[i]), drawDepth(parameters, random)});
    for (int64_t i : random.choose(parameters.queries, parameters.needles)) {
      if (room.depth)
        plan.needles[i].depth = *room.depth;
      plan.answers.push_back({beginnings[i], values[i], static_cast<size_t>(i)});
    }
    return plan;
  }

private:
  static Piece join(const Piece &a, const Piece &b) {
    Piece both = a;
    append(both, b);
    return both;
  }

  static Piece drawBeginning(const TaskParameters &parameters, const Pool &pool, Random &random) {
    const std::vector<Piece> &alphabet = pool.lexicon().alphabets[0];
    Piece tokens;
    for (int64_t i = 0; i < parameters.keyLength; ++i)
      append(tokens, alphabet[static_cast<size_t>(random.below(static_cast<int64_t>(alphabet.size())))]);
    return tokens;
  }

  /// Whether each beginning is met once in all sequences, whichever two stand side by side. A sequence is longer than a
  /// beginning, so none reaches over more than two.
  static bool areClear(const std::vector<Piece> &beginnings, const std::vector<Piece> &values) {
    for (size_t own = 0; own < beginnings.size(); ++own)
      for (size_t left = 0; left < beginnings.size(); ++left)
        for (size_t right = 0; right < beginnings.size(); ++right) {
          const Piece &sought = beginnings[own];
          const Piece first = join(beginnings[left], values[left]), both = join(first, beginnings[right]);
          // The beginning of the right one is its own place, looked at when it is the left one.
          for (auto at = std::search(both.begin(), both.end() - 1, sought.begin(), sought.end()); at != both.end() - 1;
               at = std::search(at + 1, both.end() - 1, sought.begin(), sought.end()))
            if (left != own || at != both.begin())
              return false;
        }
    return true;
  }
};

} // namespace

void addInductionKind(TaskKinds &kinds) {
  static const InductionKind kind;
  kinds["induction"] = &kind;
}

} // namespace morph
