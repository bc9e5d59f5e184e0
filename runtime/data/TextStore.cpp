// SPDX-License-Identifier: Apache-2.0
#include "runtime/data/TextStore.h"

#include "runtime/base/Json.h"
#include "runtime/data/Random.h"

#include <algorithm>
#include <cassert>
#include <cmath>

namespace morph {

StatusOr<std::shared_ptr<const TextStore>> TextStore::open(const std::string &dir, int64_t vocabulary) {
  std::string where = dir + "/text.json";
  MORPH_ASSIGN_OR_RETURN(Json json, readJson(where));
  MORPH_ASSIGN_OR_RETURN(std::string dtypeName, jsonGet<std::string>(json, "dtype", where));
  MORPH_ASSIGN_OR_RETURN(int64_t count, jsonGet<int64_t>(json, "count", where));
  MORPH_ASSIGN_OR_RETURN(std::vector<int64_t> offsets, jsonGet<std::vector<int64_t>>(json, "documents", where));
  MORPH_ASSIGN_OR_RETURN(double holdout, jsonGet<double>(json, "holdout", where));
  auto dtype = parseTokenDType(dtypeName);
  if (!dtype.ok())
    return std::move(dtype).status().withContext(where);
  MORPH_ASSIGN_OR_RETURN(auto file, TokenFile::open(dir + "/text.tokens", *dtype, vocabulary));
  if (file->size() != count)
    return Status::invalid(where + ": 'count' is " + std::to_string(count) + ", but " + file->path() + " has " +
                               std::to_string(file->size()) + " tokens",
                           "the two files are of one run of the tokenising step; run it again");
  auto documents = file->documentsAt(offsets);
  if (!documents.ok())
    return std::move(documents).status().withContext(where);
  return create(std::move(file), *std::move(documents), holdout);
}

StatusOr<std::shared_ptr<const TextStore>> TextStore::create(std::shared_ptr<const TokenFile> file,
                                                             std::vector<TokenSpan> documents, double holdout) {
  if (!(holdout >= 0 && holdout < 1))
    return Status::invalid("text '" + file->path() + "': 'holdout' must be in [0, 1), not " + std::to_string(holdout));
  std::shared_ptr<TextStore> store(new TextStore);
  for (TokenSpan document : documents) {
    if (document.begin < 0 || document.begin > document.end || document.end > file->size())
      return Status::invalid("text '" + file->path() + "': a document [" + std::to_string(document.begin) + ", " +
                             std::to_string(document.end) + ") lies outside of its " + std::to_string(file->size()) +
                             " tokens");
    int64_t held = static_cast<int64_t>(std::floor(holdout * static_cast<double>(document.size())));
    int64_t trained = document.end - held, evaluated = document.end - (held + 1) / 2;
    store->spans_[static_cast<size_t>(Split::Training)].push_back({document.begin, trained});
    store->spans_[static_cast<size_t>(Split::Selection)].push_back({trained, evaluated});
    store->spans_[static_cast<size_t>(Split::Evaluation)].push_back({evaluated, document.end});
  }
  store->file_ = std::move(file);
  if (store->tokenCount(Split::Training) == 0)
    return Status::invalid("text '" + store->file_->path() + "': there is no document to train on");
  return std::shared_ptr<const TextStore>(std::move(store));
}

int64_t TextStore::tokenCount(Split split) const {
  int64_t count = 0;
  for (TokenSpan span : spans(split))
    count += span.size();
  return count;
}

int64_t TextStore::longest(Split split) const {
  int64_t longest = 0;
  for (TokenSpan span : spans(split))
    longest = std::max(longest, span.size());
  return longest;
}

Status TextStore::checkInsideDocuments(int64_t length, Split split) const {
  if (longest(split) >= length)
    return {};
  return Status::invalid("text '" + file_->path() + "': no document has " + std::to_string(length) + " tokens for " +
                             splitName(split) + "; the longest has " + std::to_string(longest(split)),
                         "add longer documents to data.text, or ask for shorter sequences");
}

TokenSpan TextStore::windowSpan(uint64_t seed, uint64_t index, int64_t length, Split split) const {
  assert(length > 0);
  int64_t starts = 0;
  for (TokenSpan span : spans(split))
    starts += std::max<int64_t>(0, span.size() - length + 1);
  if (starts == 0)
    return {};
  int64_t start = Random(seed, "text", index).below(starts);
  for (TokenSpan span : spans(split)) {
    int64_t here = std::max<int64_t>(0, span.size() - length + 1);
    if (start < here)
      return {span.begin + start, span.begin + start + length};
    start -= here;
  }
  return {};
}

std::vector<int64_t> TextStore::window(uint64_t seed, uint64_t index, int64_t length, Split split) const {
  // Text with nothing held out still has to give a background to samples of every split.
  if (tokenCount(split) == 0)
    split = Split::Training;
  TokenSpan span = windowSpan(seed, index, length, split);
  if (span.size() > 0)
    return file_->tokens(span);
  return joined(Random(seed, "text", index).below(tokenCount(split)), length, split);
}

std::vector<int64_t> TextStore::joined(int64_t start, int64_t length, Split split) const {
  std::vector<int64_t> result;
  result.reserve(length);
  while (static_cast<int64_t>(result.size()) < length)
    for (TokenSpan span : spans(split)) {
      int64_t skip = std::min(start, span.size());
      start -= skip;
      int64_t take = std::min<int64_t>(span.size() - skip, length - static_cast<int64_t>(result.size()));
      for (int64_t i = 0; i < take; ++i)
        result.push_back((*file_)[span.begin + skip + i]);
    }
  return result;
}

std::vector<std::vector<int64_t>> TextStore::evaluationWindows(int64_t length, int64_t maxTokens) const {
  assert(length > 0);
  std::vector<std::vector<int64_t>> windows;
  int64_t inside = 0, total = tokenCount(Split::Evaluation);
  for (TokenSpan span : spans(Split::Evaluation))
    inside += span.size() / length;
  int64_t available = inside > 0 ? inside : total / length;
  // A short text still gives one window: all of it.
  if (available == 0 && total > 1) {
    windows.push_back(joined(0, total, Split::Evaluation));
    return windows;
  }
  int64_t wanted = available;
  if (maxTokens > 0)
    wanted = std::min(available, std::max<int64_t>(1, maxTokens / length));
  int64_t number = 0, taken = 0;
  // Window `number` of `available` is taken when it is the next of `wanted` evenly spaced ones.
  auto isTaken = [&] { return taken < wanted && number == taken * available / wanted; };
  if (inside == 0) {
    for (; number < available; ++number)
      if (isTaken()) {
        windows.push_back(joined(number * length, length, Split::Evaluation));
        ++taken;
      }
    return windows;
  }
  for (TokenSpan span : spans(Split::Evaluation))
    for (int64_t i = 0; i < span.size() / length; ++i, ++number)
      if (isTaken()) {
        windows.push_back(file_->tokens({span.begin + i * length, span.begin + (i + 1) * length}));
        ++taken;
      }
  return windows;
}

} // namespace morph
