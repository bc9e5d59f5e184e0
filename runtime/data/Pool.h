// SPDX-License-Identifier: Apache-2.0
// The keys, values and wordings of one split of a lexicon.

#ifndef MORPH_RUNTIME_DATA_POOL_H
#define MORPH_RUNTIME_DATA_POOL_H

#include "runtime/data/Lexicon.h"
#include "runtime/data/Random.h"

#include <memory>

namespace morph {

/// What of a lexicon has too few entries to be divided: all splits draw from all of it.
struct Sharing {
  bool keys = false, values = false, wordings = false;
};

/// Keys are divided where every split gets twice as many as a sample takes (`keysOfSample`), and at least 8; keys of
/// several parts where one draw in eight finds as many for each split; values where draws find at least 8 different
/// ones for every split; wordings where the lexicon has some for each.
Sharing sharingOf(const Lexicon &lexicon, int64_t keysOfSample);

/// What the samples of one split are written with.
class Pool {
public:
  Pool() = default;
  Pool(std::shared_ptr<const Lexicon> lexicon, Split split, const Sharing &sharing);

  const Lexicon &lexicon() const { return *lexicon_; }
  /// The keys of this split; all of the lexicon's where keys have several parts.
  const std::vector<Piece> &keys() const { return keys_; }
  const std::vector<Wording> &wordings() const { return *wordings_; }
  /// A value of this split. Values are not listed but drawn until one belongs; one draw in four does.
  Piece drawValue(Random &random) const;
  /// `count` keys of the lexicon's `keyParts` parts and of this split that agree in all parts but one, the same one in
  /// all of them, in random order. `count` is at most the `keysOfSample` that sharingOf was asked with.
  std::vector<Piece> drawNearKeys(int64_t count, Random &random) const;

private:
  std::shared_ptr<const Lexicon> lexicon_;
  Split split_ = Split::Training;
  bool sharedKeys_ = false, sharedValues_ = false;
  std::vector<Piece> keys_;
  const std::vector<Wording> *wordings_ = nullptr;
};

} // namespace morph

#endif // MORPH_RUNTIME_DATA_POOL_H
