// SPDX-License-Identifier: Apache-2.0
// The token pieces that retrieval tasks are written with. A words-space lexicon is made by tools/python/morph_data.py
// with the model's tokenizer and chat template; a token-space lexicon is made here from ranges of ids. Generators see
// no difference between the two.

#ifndef MORPH_RUNTIME_DATA_LEXICON_H
#define MORPH_RUNTIME_DATA_LEXICON_H

#include "runtime/base/Status.h"
#include "runtime/data/Split.h"
#include "runtime/spec/Spec.h"

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace morph {

using Piece = std::vector<int64_t>;

/// Fixed tokens, or a place that the generator fills: "key" or "value", "source" (of a link: the key that a key is set
/// to), "keys" (all asked keys, `keyJoin` between them).
struct TemplatePart {
  Piece tokens;
  std::string slot;
};
using Template = std::vector<TemplatePart>;

/// One way to write a task. A sample is: prefix, context (background with needles and links inserted), question, then
/// for each answer its lead and the answer's tokens, the lexicon's `answerJoin` between answers.
struct Wording {
  Template prefix, needle, link, question, lead;
};

/// What samples are made of, before it is divided into splits (Pool.h).
struct Lexicon {
  int64_t vocabulary = 0;  ///< Every id is below it.
  std::vector<Piece> keys; ///< Of induction in token space none.
  int64_t keyParts = 1;    ///< More (near_keys): a key is so many of `keys`, and as a whole of one split.
  /// What values are made of: value part i is a piece of `alphabets[value[i]]`, all combinations being values. Digits
  /// of a number, words of a phrase; or one alphabet of whole values, where their tokens do not come apart.
  std::vector<std::vector<Piece>> alphabets;
  std::vector<size_t> value;
  std::array<std::vector<Wording>, 3> wordings; ///< By split; none for selection and evaluation: they share.
  Piece keyJoin;                                ///< Between keys of the slot "keys".
  Piece answerJoin;                             ///< Between an answer and the next lead.
  Piece listJoin;                       ///< Between answers that share one lead (multi-value, variable tracking).
  Piece repeat;                         ///< The sentence of the background "repeat".
  int64_t noiseBegin = 0, noiseEnd = 0; ///< Ids of the background "noise"; empty range: none.
  std::vector<bool> breakAfter;         ///< By id: text may be interrupted after this token. Empty: anywhere.
};

/// Checks a lexicon from a file (format "morph-lexicon", version 2): every key's type, ids in [0, vocabulary), known
/// slots, nothing empty that a generator needs, no entry twice in `keys` or an alphabet. `where` names the file in
/// errors.
StatusOr<Lexicon> parseLexicon(const std::string &text, const std::string &where);
StatusOr<Lexicon> readLexicon(const std::string &path);

/// A token-space lexicon from a task's `key_tokens`, `value_tokens`, `noise_tokens` ([first, last_exclusive]),
/// `value_length`, `key_length` and `kind`: a needle is `key value` (for counting `key`), a link `key source`, a
/// question nothing, a lead the key (for variable_tracking the value). Of common_words and frequent_words a needle is
/// `key`, the question the last id of `value_tokens`, a lead nothing. It has this one wording. `vocabulary` bounds the
/// ranges.
StatusOr<Lexicon> tokenLexicon(const TaskSpec &task, int64_t vocabulary);

} // namespace morph

#endif // MORPH_RUNTIME_DATA_LEXICON_H
