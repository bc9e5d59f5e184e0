// SPDX-License-Identifier: Apache-2.0
// States of prefixes that requests have in common, so that they are computed once.

#ifndef MORPH_RUNTIME_SERVE_PREFIXCACHE_H
#define MORPH_RUNTIME_SERVE_PREFIXCACHE_H

#include "runtime/serve/SequenceModel.h"

#include <list>
#include <unordered_map>

namespace morph {

/// A tree of snapshots: each holds what came after its parent, so that a prompt of n tokens costs memory of n positions
/// wherever it was cut. The least recently used go first, and a parent never before its children: whatever is kept can
/// be restored.
class PrefixCache {
public:
  /// Keeps at most so many bytes; 0: nothing.
  explicit PrefixCache(int64_t limit) : limit_(limit) {}

  /// A kept prefix: its length and the snapshots that make it.
  struct Found {
    int64_t length = 0;
    std::vector<std::shared_ptr<const StateSnapshot>> parts;
  };
  /// The longest kept prefix of `tokens` of at most `most` tokens; length 0 where there is none. It becomes the most
  /// recently used one.
  Found find(const std::vector<int64_t> &tokens, int64_t most);
  /// Where a snapshot of the first `length` tokens would begin: the end of the longest kept prefix that is shorter.
  /// -1 where this very prefix is kept, or nothing is kept at all.
  int64_t beginOf(const std::vector<int64_t> &tokens, int64_t length);
  /// Keeps a snapshot of tokens [begin, length), `begin` being what beginOf has said. One larger than the limit is not
  /// kept.
  void insert(const std::vector<int64_t> &tokens, int64_t begin, int64_t length,
              std::shared_ptr<const StateSnapshot> snapshot);

  int64_t bytes() const { return bytes_; }
  int64_t entries() const { return static_cast<int64_t>(entries_.size()); }

private:
  struct Entry {
    uint64_t hash = 0;
    Entry *parent = nullptr;
    int64_t length = 0;          ///< Of the prefix.
    std::vector<int64_t> tokens; ///< Those after the parent's.
    std::shared_ptr<const StateSnapshot> snapshot;
    int64_t bytes() const { return snapshot->bytes() + static_cast<int64_t>(tokens.size() * sizeof(int64_t)); }
  };
  /// Whether `entry` is a prefix of the tokens: hashes alone may be the same by accident, or by design.
  static bool matches(const Entry &entry, const std::vector<int64_t> &tokens);
  /// The entry of the longest prefix of at most `most` tokens, or null.
  Entry *longest(const std::vector<int64_t> &tokens, int64_t most);
  /// Moves an entry and those before it to the front, the first of all foremost.
  void touch(Entry *entry);

  int64_t limit_, bytes_ = 0;
  std::list<Entry> entries_; ///< The most recently used first.
  std::unordered_map<uint64_t, std::list<Entry>::iterator> byHash_;
};

} // namespace morph

#endif // MORPH_RUNTIME_SERVE_PREFIXCACHE_H
