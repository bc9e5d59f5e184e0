// SPDX-License-Identifier: Apache-2.0
// frequent_words (RULER FWE): the context is a coded text of words in random order whose numbers follow Zipf's law. Of
// n words rank k occurs floor(n k^-a / zeta(a)) times, a = `alpha`, down to the rank that occurs once. The most
// frequent is noise, the first piece of the lexicon's first alphabet ("..." in words, value_tokens[0] in token space),
// the others are keys. Asked are the words of ranks 2 to N + 1, N = `needles`, from the most frequent on: n is so large
// that each occurs more often than the next, and what of the room is left over holds more noise.
//
// RULER (scripts/data/synthetic/freq_words_extraction.py) has a = 2 and N = 3, words of six random letters, and takes
// its answers in any order.

#include "runtime/data/Tasks.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace morph {
namespace {

/// More words than any sample has: no longer text is ever made.
constexpr double kMostWords = 1 << 24;

/// How often ranks 1, 2, ... occur among `words` words, those that occur at all.
std::vector<int64_t> occurrences(int64_t words, double alpha) {
  const double zeta = std::riemann_zeta(alpha);
  std::vector<int64_t> counts;
  for (double rank = 1;; ++rank) {
    const int64_t count = static_cast<int64_t>(static_cast<double>(words) * std::pow(rank, -alpha) / zeta);
    if (count < 1)
      return counts;
    counts.push_back(count);
  }
}

/// The fewest words of which every rank that is asked for occurs more often than the next: where probabilities differ
/// by 1/n, so do the numbers among n words by 1. Of the differences between neighbours the last is the least.
double leastWords(const TaskParameters &parameters) {
  const double zeta = std::riemann_zeta(parameters.alpha), last = static_cast<double>(parameters.needles + 1);
  const double difference = (std::pow(last, -parameters.alpha) - std::pow(last + 1, -parameters.alpha)) / zeta;
  return difference > 0 ? std::ceil(1 / difference - 1e-9) : std::numeric_limits<double>::infinity();
}

/// Occurrences among the most words, but no fewer than the least, whose `cost` is at most `room`; it grows with them.
template <typename Cost> std::vector<int64_t> largest(const TaskParameters &parameters, int64_t room, Cost &&cost) {
  int64_t low = static_cast<int64_t>(leastWords(parameters)), high = low;
  while (cost(occurrences(high, parameters.alpha)) <= room) {
    low = high;
    high *= 2;
  }
  while (low + 1 < high) {
    const int64_t middle = low + (high - low) / 2;
    (cost(occurrences(middle, parameters.alpha)) <= room ? low : high) = middle;
  }
  return occurrences(low, parameters.alpha);
}

class FrequentWordsKind : public TaskKind {
public:
  bool fillsContext() const override { return true; }

  int64_t keysOfSample(const TaskParameters &parameters, const Lexicon &lexicon, int64_t length) const override {
    const int64_t shortest = std::max<int64_t>(1, shortestKey(lexicon));
    const auto cost = [&](const std::vector<int64_t> &counts) {
      int64_t sum = counts[0] * static_cast<int64_t>(noise(lexicon).size());
      for (size_t rank = 1; rank < counts.size(); ++rank)
        sum += counts[rank] * shortest;
      return sum;
    };
    const int64_t room = mostContext(lexicon, parameters.needles, length);
    return static_cast<int64_t>(largest(parameters, room, cost).size()) - 1;
  }

  Status check(const TaskParameters &parameters, const Lexicon &lexicon) const override {
    if (!(parameters.alpha > 1 && parameters.alpha <= 16))
      return Status::invalid("task '" + parameters.name + "': 'alpha' must be above 1 and at most 16");
    if (leastWords(parameters) > kMostWords)
      return Status::invalid("task '" + parameters.name + "': " + std::to_string(parameters.needles) +
                                 " words that each occur more often than the next take a longer text than any",
                             "lower needles or alpha");
    if (noise(lexicon).empty())
      return Status::invalid("task '" + parameters.name + "': its lexicon has no noise",
                             "make it again with kind frequent_words");
    return {};
  }

  Status checkLength(const TaskParameters &parameters, const Lexicon &, int64_t length) const override {
    const std::vector<int64_t> counts = occurrences(static_cast<int64_t>(leastWords(parameters)), parameters.alpha);
    const int64_t least = std::accumulate(counts.begin(), counts.end(), int64_t(0));
    if (least > length)
      return Status::invalid("task '" + parameters.name + "': " + std::to_string(length) +
                                 " tokens have no room for its text, of " + std::to_string(least) + " words at least",
                             "raise length, or lower needles");
    return {};
  }

  TaskPlan plan(const TaskParameters &parameters, const Pool &pool, const Wording &wording, Random &random,
                const SampleRoom &room) const override {
    const std::vector<Piece> &keys = pool.keys();
    const Piece &noiseWord = noise(pool.lexicon());
    const int64_t keyCount = static_cast<int64_t>(keys.size());
    const std::vector<int64_t> words = random.choose(keyCount, keyCount); // That of rank k at k - 2.
    TaskPlan plan;
    askForKeys(plan, pool, wording, {words.begin(), words.begin() + parameters.needles});
    int64_t left = room.tokens - static_cast<int64_t>(plan.question.size());
    for (const Answer &answer : plan.answers)
      left -= static_cast<int64_t>(answer.lead.size() + answer.tokens.size());

    const auto word = [&](size_t rank) -> const Piece & {
      return rank == 0 ? noiseWord : keys[static_cast<size_t>(words[rank - 1])];
    };
    const auto cost = [&](const std::vector<int64_t> &counts) {
      int64_t sum = 0;
      if (counts.size() > keys.size() + 1) // More ranks than a sample of this room has.
        return std::numeric_limits<int64_t>::max();
      for (size_t rank = 0; rank < counts.size(); ++rank)
        sum += counts[rank] * static_cast<int64_t>(word(rank).size());
      return sum;
    };
    std::vector<int64_t> counts = largest(parameters, left, cost);
    if (const int64_t rest = left - cost(counts); rest > 0)
      counts[0] += rest / static_cast<int64_t>(noiseWord.size());
    std::vector<size_t> text;
    for (size_t rank = 0; rank < counts.size(); ++rank)
      text.insert(text.end(), static_cast<size_t>(counts[rank]), rank);
    Piece context;
    const int64_t size = static_cast<int64_t>(text.size());
    for (int64_t i : random.choose(size, size))
      append(context, word(text[static_cast<size_t>(i)]));
    plan.needles.push_back({std::move(context), 0});
    return plan;
  }

private:
  static const Piece &noise(const Lexicon &lexicon) { return lexicon.alphabets[lexicon.value[0]][0]; }
};

} // namespace

void addFrequentWordsKind(TaskKinds &kinds) {
  static const FrequentWordsKind kind;
  kinds["frequent_words"] = &kind;
}

} // namespace morph
