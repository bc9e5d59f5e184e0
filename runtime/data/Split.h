// SPDX-License-Identifier: Apache-2.0
// Three disjoint parts of everything that samples are made of: text, keys, values and wordings.

#ifndef MORPH_RUNTIME_DATA_SPLIT_H
#define MORPH_RUNTIME_DATA_SPLIT_H

#include "runtime/data/Random.h"

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace morph {

/// Who reads a part.
enum class Split {
  Training,   ///< Steps of align, distill, finetune and pretrain.
  Selection,  ///< Selectors, and the probes of training stages on held-out data.
  Evaluation, ///< The evaluation alone: no other stage has seen it.
};

inline constexpr std::array<Split, 3> kSplits = {Split::Training, Split::Selection, Split::Evaluation};

/// "training", "selection", "evaluation".
constexpr const char *splitName(Split split) {
  return split == Split::Training ? "training" : split == Split::Selection ? "selection" : "evaluation";
}

inline uint64_t hashTokens(const std::vector<int64_t> &tokens) {
  uint64_t hash = Random::streamSeed(tokens.size(), "tokens");
  for (int64_t token : tokens)
    hash = Random::streamSeed(hash ^ static_cast<uint64_t>(token), "token");
  return hash;
}

/// The split of a key or a value, by the hash of its tokens: half are for training, a quarter each for selection and
/// evaluation. It depends on nothing else, so that an answer is in the same split in every task and run.
inline Split splitOf(uint64_t hash) {
  constexpr std::array<Split, 4> quarters = {Split::Training, Split::Training, Split::Selection, Split::Evaluation};
  return quarters[hash % 4];
}
inline Split splitOf(const std::vector<int64_t> &tokens) { return splitOf(hashTokens(tokens)); }

} // namespace morph

#endif // MORPH_RUNTIME_DATA_SPLIT_H
