// SPDX-License-Identifier: Apache-2.0
// common_words (RULER CWE): the context is a list of words in random order, numbered in words ("1. apple 2. lamp ..."),
// in token space of keys alone. N = `needles` words are common and stand there `repeats`[0] times, every other
// `repeats`[1] times: of these there are as many as there is room for, and the last of them is there fewer times where
// its whole number has no room. Asked are the N common words, in the order in which each first stands in the list: all
// are as frequent, and the question says that this is the order.
//
// RULER (scripts/data/synthetic/common_words_extraction.py) has N = 10 and `repeats` 30 and 3, below 4096 tokens 6 and
// 1, an example before the list, and takes its answers in any order.

#include "runtime/data/Tasks.h"

#include <algorithm>

namespace morph {
namespace {

/// A longer list than any sample: nothing of that size is ever made.
constexpr int64_t kMostItems = 1 << 24;

/// What items of a list cost in one wording.
class Items {
public:
  Items(const Lexicon &lexicon, const Wording &wording) : numbers_(lexicon.alphabets[lexicon.value[0]]) {
    for (const TemplatePart &part : wording.needle) {
      fixed_ += static_cast<int64_t>(part.tokens.size());
      isNumbered_ |= part.slot == "value";
    }
  }

  /// How many items there are numbers for.
  int64_t most() const { return isNumbered_ ? static_cast<int64_t>(numbers_.size()) : kMostItems; }
  /// What stands in the place of the number of item `index`, from 0 on.
  const Piece &number(int64_t index) const {
    static const Piece none;
    return isNumbered_ ? numbers_[static_cast<size_t>(index)] : none;
  }
  /// Tokens of the `count` items behind the first `before`, of words of `tokens` tokens.
  int64_t cost(int64_t before, int64_t count, int64_t tokens) const {
    int64_t sum = count * (fixed_ + tokens);
    if (isNumbered_)
      for (int64_t i = before; i < before + count; ++i)
        sum += static_cast<int64_t>(number(i).size());
    return sum;
  }
  /// As many items of words of `tokens` tokens as `room` tokens can hold, which `most` may bound.
  int64_t holding(int64_t room, int64_t tokens) const {
    if (!isNumbered_)
      return std::min(most(), room / std::max<int64_t>(1, fixed_ + tokens));
    int64_t count = 0;
    for (; count < most(); ++count) {
      room -= cost(count, 1, tokens);
      if (room < 0)
        break;
    }
    return count;
  }

private:
  const std::vector<Piece> &numbers_;
  int64_t fixed_ = 0;
  bool isNumbered_ = false;
};

/// The least list: all common words, and one other.
int64_t leastItems(const TaskParameters &parameters) {
  return parameters.needles * parameters.repeats[0] + parameters.repeats[1];
}

/// Calls `see` with the items of each wording.
template <typename Function> void forEachWording(const Lexicon &lexicon, Function &&see) {
  for (const std::vector<Wording> &wordings : lexicon.wordings)
    for (const Wording &wording : wordings)
      see(Items(lexicon, wording));
}

class CommonWordsKind : public TaskKind {
public:
  bool fillsContext() const override { return true; }

  int64_t keysOfSample(const TaskParameters &parameters, const Lexicon &lexicon, int64_t length) const override {
    int64_t items = leastItems(parameters);
    const int64_t room = mostContext(lexicon, parameters.needles, length), shortest = shortestKey(lexicon);
    forEachWording(lexicon, [&](const Items &wording) { items = std::max(items, wording.holding(room, shortest)); });
    const int64_t others = items - parameters.needles * parameters.repeats[0];
    return parameters.needles + (others + parameters.repeats[1] - 1) / parameters.repeats[1];
  }

  Status check(const TaskParameters &parameters, const Lexicon &lexicon) const override {
    const auto &[often, seldom] = parameters.repeats;
    if (!(often > seldom && seldom >= 1 && often <= 65536))
      return Status::invalid("task '" + parameters.name +
                             "': 'repeats' must be two numbers in 1..65536, and fall: a common word stands there more "
                             "often than others");
    const int64_t least = leastItems(parameters);
    int64_t most = kMostItems;
    forEachWording(lexicon, [&](const Items &wording) { most = std::min(most, wording.most()); });
    if (least > most)
      return Status::invalid("task '" + parameters.name + "': its list has " + std::to_string(least) +
                                 " words at least, and there are numbers for " + std::to_string(most),
                             "lower needles or repeats");
    return {};
  }

  Status checkLength(const TaskParameters &parameters, const Lexicon &lexicon, int64_t length) const override {
    const int64_t room = mostContext(lexicon, parameters.needles, length), shortest = shortestKey(lexicon);
    Status status;
    if (leastItems(parameters) > length)
      return Status::invalid("task '" + parameters.name + "': " + std::to_string(length) +
                                 " tokens have no room for its list, of " + std::to_string(leastItems(parameters)) +
                                 " words at least",
                             "raise length, or lower needles or repeats");
    forEachWording(lexicon, [&](const Items &wording) {
      if (wording.holding(room, shortest) == wording.most() && wording.cost(0, wording.most(), shortest) < room)
        status = Status::invalid("task '" + parameters.name + "': there are numbers for lists of " +
                                     std::to_string(wording.most()) + " words, and " + std::to_string(length) +
                                     " tokens hold longer ones",
                                 "add this length to the task's own: its lexicon is made for the longest of them");
    });
    return status;
  }

  TaskPlan plan(const TaskParameters &parameters, const Pool &pool, const Wording &wording, Random &random,
                const SampleRoom &room) const override {
    const Items items(pool.lexicon(), wording);
    const std::vector<Piece> &keys = pool.keys();
    const int64_t keyCount = static_cast<int64_t>(keys.size()), common = parameters.needles;
    const std::vector<int64_t> words = random.choose(keyCount, keyCount); // The first are the common ones.
    TaskPlan plan;
    askForKeys(plan, pool, wording, {words.begin(), words.begin() + common});
    int64_t left = room.tokens - static_cast<int64_t>(plan.question.size());
    for (const Answer &answer : plan.answers)
      left -= static_cast<int64_t>(answer.lead.size() + answer.tokens.size());

    std::vector<int64_t> list;
    for (int64_t word = 0; word < keyCount; ++word) {
      const int64_t before = static_cast<int64_t>(list.size());
      const int64_t tokens = static_cast<int64_t>(keys[static_cast<size_t>(words[word])].size());
      const int64_t wanted = parameters.repeats[word < common ? 0 : 1];
      int64_t times = std::min(wanted, items.most() - before);
      // The least is there in any room: the generator has seen that it fits.
      if (word > common)
        while (times > 0 && items.cost(before, times, tokens) > left)
          --times;
      list.insert(list.end(), static_cast<size_t>(times), words[word]);
      left -= items.cost(before, times, tokens);
      if (times < wanted)
        break;
    }

    Piece context;
    std::vector<bool> isCommon(keys.size());
    for (int64_t word = 0; word < common; ++word)
      isCommon[static_cast<size_t>(words[word])] = true;
    std::vector<int64_t> asked;
    const int64_t size = static_cast<int64_t>(list.size());
    const std::vector<int64_t> order = random.choose(size, size);
    for (int64_t i = 0; i < size; ++i) {
      const int64_t word = list[static_cast<size_t>(order[i])];
      append(context, fill(wording.needle, {{"key", keys[static_cast<size_t>(word)]}, {"value", items.number(i)}}));
      if (isCommon[static_cast<size_t>(word)]) {
        isCommon[static_cast<size_t>(word)] = false;
        asked.push_back(word);
      }
    }
    plan.needles.push_back({std::move(context), 0});
    askForKeys(plan, pool, wording, asked);
    return plan;
  }
};

} // namespace

void addCommonWordsKind(TaskKinds &kinds) {
  static const CommonWordsKind kind;
  kinds["common_words"] = &kind;
}

} // namespace morph
