// SPDX-License-Identifier: Apache-2.0
#include "runtime/data/Pool.h"

#include <algorithm>
#include <set>

namespace morph {
namespace {

/// Fewer entries than this are no pool to draw from.
constexpr int64_t kLeastEntries = 8;
/// Draws that look for the values of each split.
constexpr uint64_t kDraws = 256;

Piece drawAnyValue(const Lexicon &lexicon, Random &random) {
  Piece value;
  for (size_t part : lexicon.value) {
    const std::vector<Piece> &alphabet = lexicon.alphabets[part];
    const Piece &piece = alphabet[static_cast<size_t>(random.below(static_cast<int64_t>(alphabet.size())))];
    value.insert(value.end(), piece.begin(), piece.end());
  }
  return value;
}

} // namespace

Sharing sharingOf(const Lexicon &lexicon, int64_t keysOfSample) {
  Sharing sharing;
  std::array<int64_t, 3> keys = {};
  for (const Piece &key : lexicon.keys)
    ++keys[static_cast<size_t>(splitOf(key))];
  sharing.keys = *std::min_element(keys.begin(), keys.end()) < std::max(kLeastEntries, 2 * keysOfSample);

  std::array<std::set<uint64_t>, 3> values; // By hash: values may be long.
  Random random(0, "values of each split", 0);
  for (uint64_t i = 0; i < kDraws; ++i) {
    uint64_t hash = hashTokens(drawAnyValue(lexicon, random));
    values[static_cast<size_t>(splitOf(hash))].insert(hash);
  }
  for (const std::set<uint64_t> &found : values)
    sharing.values |= static_cast<int64_t>(found.size()) < kLeastEntries;

  for (Split split : kSplits)
    sharing.wordings |= lexicon.wordings[static_cast<size_t>(split)].empty();
  return sharing;
}

Pool::Pool(std::shared_ptr<const Lexicon> lexicon, Split split, const Sharing &sharing)
    : lexicon_(std::move(lexicon)), split_(split), sharedValues_(sharing.values) {
  for (const Piece &key : lexicon_->keys)
    if (sharing.keys || splitOf(key) == split)
      keys_.push_back(key);
  wordings_ = &lexicon_->wordings[static_cast<size_t>(sharing.wordings ? Split::Training : split)];
}

Piece Pool::drawValue(Random &random) const {
  Piece value = drawAnyValue(*lexicon_, random);
  while (!sharedValues_ && splitOf(value) != split_)
    value = drawAnyValue(*lexicon_, random);
  return value;
}

} // namespace morph
