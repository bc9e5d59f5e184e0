// SPDX-License-Identifier: Apache-2.0
// How much room a synthetic task needs: what of runtime/data's generators can be known before there is a tokenizer.

#ifndef MORPH_FRONTENDS_SPEC_TASKROOM_H
#define MORPH_FRONTENDS_SPEC_TASKROOM_H

#include "llvm/ADT/StringRef.h"

#include <array>
#include <cstdint>

namespace morph::spec {

/// What of a [[task]] section decides how long its samples are.
struct TaskShape {
  llvm::StringRef kind;
  bool words = false;      ///< Space "words": the lengths of texts in tokens are not known yet.
  int64_t needles = 1;     ///< Of variable_tracking and two_hop: chains; of counting: marks; of common_words and
                           ///< frequent_words: words asked for.
  int64_t queries = 1;     ///< Of kinds that do not ask for all they hide.
  int64_t hops = 2;        ///< Of variable_tracking: assignments of a chain; of two_hop: needles of a chain.
  int64_t keyTokens = 2;   ///< Of near_keys: tokens of a key; of induction: those that ask for a sequence.
  int64_t valueTokens = 1; ///< Of space "tokens"; in words a value's words, 1 for numbers.
  std::array<int64_t, 2> repeats = {30, 3}; ///< Of common_words: how often a word stands there that is asked for, and
                                            ///< any other.
  double alpha = 2;                         ///< Of frequent_words: the exponent of Zipf's law.
};

/// Tokens of a sample without background, of common_words and frequent_words of the shortest. Exact in space "tokens",
/// as runtime/data/tasks lays samples out; in words a lower bound: each key, each word of a value and each text around
/// them is one token at least, tokenizers split more. test/data/Inputs/task-room.json holds the generators to it.
int64_t getTaskTokens(const TaskShape &task);

/// How many different keys a sample has, of common_words and frequent_words the shortest; of near_keys: tokens in which
/// its keys differ.
int64_t getTaskKeys(const TaskShape &task);

/// How many different values a sample needs so that its answers are clear: `counting` has a value for each number of
/// marks, and `induction` so many that of its sequences' beginnings fewer than one in a sample occurs a second time;
/// `frequent_words` its noise and what asks; 1 of the other kinds.
int64_t getTaskValues(const TaskShape &task);

/// The `queries` of a task whose needles are all asked for.
int64_t getAllQueries(const TaskShape &task);

} // namespace morph::spec

#endif // MORPH_FRONTENDS_SPEC_TASKROOM_H
