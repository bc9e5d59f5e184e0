// SPDX-License-Identifier: Apache-2.0
#include "runtime/data/Pool.h"

#include <algorithm>
#include <set>

namespace morph {
namespace {

/// Fewer entries than this are no pool to draw from.
constexpr int64_t kLeastEntries = 8;
/// Draws that look for the values of each split, and for keys of several parts.
constexpr int64_t kDraws = 256;

Piece drawAnyValue(const Lexicon &lexicon, Random &random) {
  Piece value;
  for (size_t part : lexicon.value) {
    const std::vector<Piece> &alphabet = lexicon.alphabets[part];
    const Piece &piece = alphabet[static_cast<size_t>(random.below(static_cast<int64_t>(alphabet.size())))];
    value.insert(value.end(), piece.begin(), piece.end());
  }
  return value;
}

/// The keys that have `parts` (indices into the lexicon's) but for any other in place `place`: one for each.
std::vector<Piece> nearKeys(const Lexicon &lexicon, const std::vector<int64_t> &parts, int64_t place) {
  std::vector<Piece> keys;
  for (const Piece &other : lexicon.keys) {
    Piece &key = keys.emplace_back();
    for (int64_t i = 0; i < lexicon.keyParts; ++i) {
      const Piece &part = i == place ? other : lexicon.keys[static_cast<size_t>(parts[i])];
      key.insert(key.end(), part.begin(), part.end());
    }
  }
  return keys;
}

/// Keys of random parts that differ in one random place.
std::vector<Piece> drawAllNearKeys(const Lexicon &lexicon, Random &random) {
  std::vector<int64_t> parts;
  for (int64_t i = 0; i < lexicon.keyParts; ++i)
    parts.push_back(random.below(static_cast<int64_t>(lexicon.keys.size())));
  return nearKeys(lexicon, parts, random.below(lexicon.keyParts));
}

/// Whether the keys of each split run out: of listed ones or, where they have several parts, of drawn ones.
bool keysRunOut(const Lexicon &lexicon, int64_t keysOfSample) {
  std::array<int64_t, 3> found = {};
  if (lexicon.keyParts == 1) {
    for (const Piece &key : lexicon.keys)
      ++found[static_cast<size_t>(splitOf(key))];
    return *std::min_element(found.begin(), found.end()) < std::max(kLeastEntries, 2 * keysOfSample);
  }
  Random random(0, "keys of each split", 0);
  for (int64_t i = 0; i < kDraws; ++i) {
    std::array<int64_t, 3> count = {};
    for (const Piece &key : drawAllNearKeys(lexicon, random))
      ++count[static_cast<size_t>(splitOf(key))];
    for (size_t split = 0; split < count.size(); ++split)
      found[split] += count[split] >= keysOfSample;
  }
  return 8 * *std::min_element(found.begin(), found.end()) < kDraws;
}

} // namespace

Sharing sharingOf(const Lexicon &lexicon, int64_t keysOfSample) {
  Sharing sharing;
  // Without keys there is nothing to share.
  sharing.keys = !lexicon.keys.empty() && keysRunOut(lexicon, keysOfSample);

  std::array<std::set<uint64_t>, 3> values; // By hash: values may be long.
  Random random(0, "values of each split", 0);
  for (int64_t i = 0; i < kDraws; ++i) {
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
    : lexicon_(std::move(lexicon)), split_(split), sharedKeys_(sharing.keys), sharedValues_(sharing.values) {
  for (const Piece &key : lexicon_->keys)
    if (sharing.keys || lexicon_->keyParts > 1 || splitOf(key) == split)
      keys_.push_back(key);
  wordings_ = &lexicon_->wordings[static_cast<size_t>(sharing.wordings ? Split::Training : split)];
}

Piece Pool::drawValue(Random &random) const {
  Piece value = drawAnyValue(*lexicon_, random);
  while (!sharedValues_ && splitOf(value) != split_)
    value = drawAnyValue(*lexicon_, random);
  return value;
}

std::vector<Piece> Pool::drawNearKeys(int64_t count, Random &random) const {
  std::vector<Piece> keys;
  while (static_cast<int64_t>(keys.size()) < count) {
    keys.clear();
    for (Piece &key : drawAllNearKeys(*lexicon_, random))
      if (sharedKeys_ || splitOf(key) == split_)
        keys.push_back(std::move(key));
  }
  std::vector<Piece> chosen;
  for (int64_t index : random.choose(count, static_cast<int64_t>(keys.size())))
    chosen.push_back(keys[static_cast<size_t>(index)]);
  return chosen;
}

} // namespace morph
