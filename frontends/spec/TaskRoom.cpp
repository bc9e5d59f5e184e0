// SPDX-License-Identifier: Apache-2.0

#include "frontends/spec/TaskRoom.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

using namespace morph::spec;

/// More words than a sample can have.
constexpr double kMostWords = 1 << 24;

/// How often each rank that is there at all occurs in the shortest text of frequent_words, in which each word that is
/// asked for occurs more often than the next: as runtime/data/tasks/FrequentWords.cpp counts. Nothing where that is a
/// longer text than any.
static std::vector<int64_t> countShortest(const TaskShape &task) {
  const double zeta = std::riemann_zeta(task.alpha), last = double(task.needles + 1);
  const double difference = (std::pow(last, -task.alpha) - std::pow(last + 1, -task.alpha)) / zeta;
  const double words = std::ceil(1 / difference - 1e-9);
  std::vector<int64_t> counts;
  if (!(words <= kMostWords))
    return counts;
  for (double rank = 1;; ++rank) {
    const int64_t count = int64_t(words * std::pow(rank, -task.alpha) / zeta);
    if (count < 1)
      return counts;
    counts.push_back(count);
  }
}

int64_t morph::spec::getTaskTokens(const TaskShape &task) {
  // Tokens around a needle's key and value, and of the prefix and the question.
  const int64_t text = task.words ? 1 : 0;
  const int64_t needle = text + 1 + task.valueTokens;
  if (task.kind == "jsonl" || task.kind == "qa") // Its questions are read later.
    return 2;
  if (task.kind == "common_words") {
    // In words an item is its number, a point and the word; in tokens the question is one.
    const int64_t items = task.needles * task.repeats[0] + task.repeats[1];
    return (task.words ? 2 + 3 * items : items + 1) + task.needles;
  }
  if (task.kind == "frequent_words") {
    const std::vector<int64_t> counts = countShortest(task);
    const int64_t words =
        counts.empty() ? int64_t(kMostWords) : std::accumulate(counts.begin(), counts.end(), int64_t(0));
    return (task.words ? 2 : 1) + words + task.needles;
  }
  if (task.kind == "variable_tracking") {
    // A chain sets a key to the value, and each further key to the one before; the answer repeats the value and names
    // the keys.
    const int64_t chain = needle + (task.hops - 1) * (text + 2);
    return 2 * text + task.needles * chain + task.valueTokens + task.hops;
  }
  if (task.kind == "niah_multi_value")
    return 2 * text + task.needles * needle + 1 + task.needles * task.valueTokens;
  if (task.kind == "two_hop") {
    // Each needle of a chain gives the key of the next, the last the value.
    const int64_t chain = (task.hops - 1) * (text + 2) + needle;
    return 2 * text + task.needles * chain + task.queries * (1 + task.valueTokens);
  }
  if (task.kind == "counting") // A mark is its key, a number one token.
    return 2 * text + task.needles * (text + 1) + task.queries * 2;
  if (task.kind == "near_keys")
    return 2 * task.needles * (task.keyTokens + task.valueTokens);
  if (task.kind == "induction")
    return (task.needles + task.queries) * (task.keyTokens + task.valueTokens);
  const bool asksAll = task.kind == "passkeys" || task.kind == "mqar";
  const int64_t asked = asksAll ? task.needles : task.queries;
  return 2 * text + task.needles * needle + asked * (1 + task.valueTokens);
}

int64_t morph::spec::getTaskKeys(const TaskShape &task) {
  if (task.kind == "niah_multi_value")
    return 1;
  if (task.kind == "counting")
    return task.queries + 1;
  if (task.kind == "induction")
    return 0;
  if (task.kind == "common_words") // And another one.
    return task.needles + 1;
  if (task.kind == "frequent_words")
    return std::max<int64_t>(task.needles, int64_t(countShortest(task).size()) - 1);
  return task.kind == "variable_tracking" || task.kind == "two_hop" ? task.needles * task.hops : task.needles;
}

int64_t morph::spec::getTaskValues(const TaskShape &task) {
  if (task.kind == "counting")
    return task.needles;
  if (task.kind == "frequent_words")
    return 2;
  if (task.kind != "induction")
    return 1;
  // Each of the N beginnings of L tokens may be met at N (v + 1) places inside the sequences and N^2 (L - 1) across two
  // neighbours, at one in A^L of them for A values.
  const double needles = double(task.needles), length = double(task.keyTokens);
  const double places = needles * (needles * double(task.valueTokens + 1) + needles * needles * (length - 1));
  return std::max<int64_t>(2, std::llround(std::ceil(std::pow(places, 1 / length) - 1e-9)));
}

int64_t morph::spec::getAllQueries(const TaskShape &task) {
  if (task.kind == "variable_tracking" || task.kind == "niah_multi_value")
    return 1;
  // All marks that are counted: as many queries as marks would leave nothing to count.
  return task.kind == "counting" ? std::min(task.queries, task.needles) : task.needles;
}
