// SPDX-License-Identifier: Apache-2.0
#include "runtime/serve/PrefixCache.h"

#include <algorithm>

namespace morph {

/// A polynomial of the tokens modulo 2^64, mixed: hash of n tokens from that of n - 1.
static uint64_t hashNext(uint64_t hash, int64_t token) {
  hash = (hash ^ static_cast<uint64_t>(token)) * 0x9e3779b97f4a7c15u;
  return hash ^ (hash >> 29);
}

static uint64_t hashOf(const std::vector<int64_t> &tokens, int64_t length) {
  uint64_t hash = 1;
  for (int64_t i = 0; i < length; ++i)
    hash = hashNext(hash, tokens[static_cast<size_t>(i)]);
  return hash;
}

bool PrefixCache::matches(const Entry &entry, const std::vector<int64_t> &tokens) {
  for (const Entry *part = &entry; part; part = part->parent) {
    const auto begin = tokens.begin() + (part->length - static_cast<int64_t>(part->tokens.size()));
    if (!std::equal(part->tokens.begin(), part->tokens.end(), begin))
      return false;
  }
  return true;
}

PrefixCache::Entry *PrefixCache::longest(const std::vector<int64_t> &tokens, int64_t most) {
  if (entries_.empty())
    return nullptr;
  most = std::min(most, static_cast<int64_t>(tokens.size()));
  Entry *found = nullptr;
  uint64_t hash = 1;
  for (int64_t length = 1; length <= most; ++length) {
    hash = hashNext(hash, tokens[static_cast<size_t>(length - 1)]);
    const auto entry = byHash_.find(hash);
    if (entry != byHash_.end() && entry->second->length == length && matches(*entry->second, tokens))
      found = &*entry->second;
  }
  return found;
}

void PrefixCache::touch(Entry *entry) {
  for (; entry; entry = entry->parent)
    entries_.splice(entries_.begin(), entries_, byHash_.at(entry->hash));
}

PrefixCache::Found PrefixCache::find(const std::vector<int64_t> &tokens, int64_t most) {
  Found found;
  Entry *const entry = longest(tokens, most);
  if (!entry)
    return found;
  touch(entry);
  found.length = entry->length;
  for (const Entry *part = entry; part; part = part->parent)
    found.parts.push_back(part->snapshot);
  std::reverse(found.parts.begin(), found.parts.end());
  return found;
}

int64_t PrefixCache::beginOf(const std::vector<int64_t> &tokens, int64_t length) {
  if (limit_ == 0)
    return -1;
  Entry *const entry = longest(tokens, length);
  if (!entry)
    return 0;
  touch(entry);
  return entry->length == length ? -1 : entry->length;
}

void PrefixCache::insert(const std::vector<int64_t> &tokens, int64_t begin, int64_t length,
                         std::shared_ptr<const StateSnapshot> snapshot) {
  Entry *const parent = begin == 0 ? nullptr : longest(tokens, begin);
  if (begin > 0 && (!parent || parent->length != begin))
    return;
  Entry entry;
  entry.hash = hashOf(tokens, length);
  entry.parent = parent;
  entry.length = length;
  entry.tokens.assign(tokens.begin() + begin, tokens.begin() + length);
  entry.snapshot = std::move(snapshot);
  int64_t bytes = entry.bytes(); // With those that must stay for it.
  for (const Entry *part = parent; part; part = part->parent)
    bytes += part->bytes();
  // Another prefix of the same hash stays: it may have children.
  if (bytes > limit_ || byHash_.count(entry.hash))
    return;
  bytes_ += entry.bytes();
  entries_.push_front(std::move(entry));
  byHash_[entries_.front().hash] = entries_.begin();
  touch(&entries_.front());
  while (bytes_ > limit_) {
    bytes_ -= entries_.back().bytes();
    byHash_.erase(entries_.back().hash);
    entries_.pop_back();
  }
}

} // namespace morph
