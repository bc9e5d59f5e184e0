// SPDX-License-Identifier: Apache-2.0
// What the files under tasks/ share. Each defines kinds and offers them by a function that Tasks.cpp lists.

#ifndef MORPH_RUNTIME_DATA_TASKS_H
#define MORPH_RUNTIME_DATA_TASKS_H

#include "runtime/data/Retrieval.h"

#include <map>

namespace morph {

/// Kinds by name.
using TaskKinds = std::map<std::string, const TaskKind *>;

/// Adds a file's kinds.
void addRecallKinds(TaskKinds &kinds);
void addMultiValueKind(TaskKinds &kinds);
void addVariableTrackingKind(TaskKinds &kinds);
void addTwoHopKind(TaskKinds &kinds);
void addCountingKind(TaskKinds &kinds);
void addNearKeysKind(TaskKinds &kinds);
void addInductionKind(TaskKinds &kinds);
void addCommonWordsKind(TaskKinds &kinds);
void addFrequentWordsKind(TaskKinds &kinds);

/// The tokens of a template with its slots filled; every slot that occurs must be given.
Piece fill(const Template &parts, const std::map<std::string, Piece> &slots);

/// Adds tokens at the end of a piece.
void append(Piece &to, const Piece &tokens);

/// A depth among the task's candidates between its lowest and highest.
double drawDepth(const TaskParameters &parameters, Random &random);

/// An error where a task asks for more needles than it has.
Status checkQueries(const TaskParameters &parameters);

/// An error where a wording has no link: its lexicon was made for another kind.
Status checkLinks(const TaskParameters &parameters, const Lexicon &lexicon, const std::string &kind);

/// Asks for `keys` (indices into the pool's), in this order: the question, and of each of `answers` what leads to it.
void ask(TaskPlan &plan, const Pool &pool, const Wording &wording, const std::vector<int64_t> &keys,
         std::vector<Answer> answers);

/// Asks for `keys` (indices into the pool's) themselves, in this order: the question, and the keys as answers to one
/// lead. Slots of question and lead stay empty. They take as many tokens in any other order.
void askForKeys(TaskPlan &plan, const Pool &pool, const Wording &wording, const std::vector<int64_t> &keys);

/// The most tokens that the context of a sample of `length` tokens can have where askForKeys asks for `asked` keys.
int64_t mostContext(const Lexicon &lexicon, int64_t asked, int64_t length);

/// Tokens of the shortest key.
int64_t shortestKey(const Lexicon &lexicon);

/// All `keys` (indices into the pool's) with keyJoin between them.
Piece joinKeys(const Pool &pool, const std::vector<int64_t> &keys);

} // namespace morph

#endif // MORPH_RUNTIME_DATA_TASKS_H
