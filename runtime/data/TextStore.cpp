// SPDX-License-Identifier: Apache-2.0
#include "runtime/data/TextStore.h"

#include "runtime/base/Json.h"
#include "runtime/data/Random.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <set>

namespace morph {

/// Tokens of the shortest part of a document: one that is seen, and one that is predicted.
static constexpr int64_t kLeastPart = 2;

StatusOr<std::shared_ptr<const TextStore>> TextStore::open(const std::string &dir, int64_t vocabulary) {
  std::string where = dir + "/text.json";
  MORPH_ASSIGN_OR_RETURN(Json json, readJson(where));
  MORPH_ASSIGN_OR_RETURN(std::string dtypeName, jsonGet<std::string>(json, "dtype", where));
  MORPH_ASSIGN_OR_RETURN(int64_t count, jsonGet<int64_t>(json, "count", where));
  MORPH_ASSIGN_OR_RETURN(int64_t number, jsonGet<int64_t>(json, "documents", where));
  MORPH_ASSIGN_OR_RETURN(double holdout, jsonGet<double>(json, "holdout", where));
  auto dtype = parseTokenDType(dtypeName);
  if (!dtype.ok())
    return std::move(dtype).status().withContext(where);
  MORPH_ASSIGN_OR_RETURN(auto file, TokenFile::open(dir + "/text.tokens", *dtype, vocabulary));
  if (file->size() != count)
    return Status::invalid(where + ": 'count' is " + std::to_string(count) + ", but " + file->path() + " has " +
                               std::to_string(file->size()) + " tokens",
                           "the two files are of one run of the tokenising step; run it again");
  MORPH_ASSIGN_OR_RETURN(const std::vector<int64_t> offsets, readOffsets(dir + "/text.documents", number));
  auto documents = file->documentsAt(offsets);
  if (!documents.ok())
    return std::move(documents).status().withContext(where);
  std::vector<TextSource> sources;
  if (json.contains("sources") && json["sources"].is_array())
    for (const Json &source : json["sources"]) {
      if (!source.is_object() || !source.contains("weight"))
        continue;
      MORPH_ASSIGN_OR_RETURN(const int64_t count, jsonGet<int64_t>(source, "documents", where));
      MORPH_ASSIGN_OR_RETURN(const double weight, jsonGet<double>(source, "weight", where));
      sources.push_back({count, weight});
    }
  auto store = create(std::move(file), *std::move(documents), holdout, std::move(sources));
  if (!store.ok())
    return std::move(store).status().withContext(where);
  return store;
}

StatusOr<std::shared_ptr<const TextStore>> TextStore::create(std::shared_ptr<const TokenFile> file,
                                                             std::vector<TokenSpan> documents, double holdout,
                                                             std::vector<TextSource> sources) {
  if (!(holdout >= 0 && holdout < 1))
    return Status::invalid("text '" + file->path() + "': 'holdout' must be in [0, 1), not " + std::to_string(holdout));
  int64_t remaining = static_cast<int64_t>(documents.size());
  for (const TextSource &source : sources) {
    if (source.documents < 1 || source.documents > remaining || !(source.weight > 0) || !std::isfinite(source.weight))
      return Status::invalid("text '" + file->path() +
                             "': a source must have one or more of the documents and a weight above 0");
    remaining -= source.documents;
  }
  if (!sources.empty() && remaining != 0)
    return Status::invalid("text '" + file->path() + "': " + std::to_string(remaining) +
                           " documents are of no source, but others have weights");
  std::shared_ptr<TextStore> store(new TextStore);
  store->sources_ = std::move(sources);
  // Whole documents are held out where there are so many more than before.
  const auto heldOf = [&](int64_t shortDocuments) {
    return static_cast<int64_t>(std::floor(static_cast<double>(shortDocuments) * holdout + 1e-9));
  };
  int64_t shortDocuments = 0;
  for (TokenSpan document : documents) {
    if (document.begin < 0 || document.begin > document.end || document.end > file->size())
      return Status::invalid("text '" + file->path() + "': a document [" + std::to_string(document.begin) + ", " +
                             std::to_string(document.end) + ") lies outside of its " + std::to_string(file->size()) +
                             " tokens");
    int64_t held = static_cast<int64_t>(std::floor(holdout * static_cast<double>(document.size())));
    int64_t trained = document.end - held, evaluated = document.end - (held + 1) / 2;
    if (held < 2 * kLeastPart) { // In the parts of its tail nothing could be predicted.
      const int64_t number = heldOf(shortDocuments);
      shortDocuments += document.size() >= kLeastPart;
      const bool isHeld = heldOf(shortDocuments) > number;
      trained = isHeld ? document.begin : document.end;
      evaluated = isHeld && number % 2 == 0 ? document.begin : document.end;
    }
    store->spans_[static_cast<size_t>(Split::Training)].push_back({document.begin, trained});
    store->spans_[static_cast<size_t>(Split::Selection)].push_back({trained, evaluated});
    store->spans_[static_cast<size_t>(Split::Evaluation)].push_back({evaluated, document.end});
  }
  store->file_ = std::move(file);
  if (store->tokenCount(Split::Training) == 0)
    return Status::invalid("text '" + store->file_->path() + "': there is no document to train on");
  return std::shared_ptr<const TextStore>(std::move(store));
}

int64_t TextStore::tokenCount(Split split) const { return tokensIn(all(), split); }

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

int64_t TextStore::startsIn(Range range, int64_t length, Split split) const {
  int64_t starts = 0;
  for (size_t i = range.first; i < range.last; ++i)
    starts += std::max<int64_t>(0, spans(split)[i].size() - length + 1);
  return starts;
}

int64_t TextStore::tokensIn(Range range, Split split) const {
  int64_t count = 0;
  for (size_t i = range.first; i < range.last; ++i)
    count += spans(split)[i].size();
  return count;
}

TextStore::Range TextStore::drawSource(uint64_t seed, uint64_t index, int64_t length, Split split) const {
  if (sources_.empty())
    return all();
  std::vector<Range> ranges;
  std::vector<double> shares(sources_.size()), joinedShares(sources_.size());
  double sum = 0, joinedSum = 0;
  size_t first = 0;
  for (size_t i = 0; i < sources_.size(); ++i) {
    ranges.push_back({first, first + static_cast<size_t>(sources_[i].documents)});
    first = ranges.back().last;
    sum += shares[i] = length > 0 && startsIn(ranges[i], length, split) > 0 ? sources_[i].weight : 0;
    joinedSum += joinedShares[i] = tokensIn(ranges[i], split) > 0 ? sources_[i].weight : 0;
  }
  if (sum == 0) {
    shares = joinedShares;
    sum = joinedSum;
  }
  double place = Random(seed, "source", index).uniform() * sum;
  size_t drawn = ranges.size();
  for (size_t i = 0; i < ranges.size(); ++i) {
    if (shares[i] == 0)
      continue;
    drawn = i; // The last one, too, where rounding leaves something over.
    if (place < shares[i])
      break;
    place -= shares[i];
  }
  return drawn < ranges.size() ? ranges[drawn] : all();
}

TokenSpan TextStore::windowSpan(uint64_t seed, uint64_t index, int64_t length, Split split) const {
  assert(length > 0);
  const Range range = drawSource(seed, index, length, split);
  const int64_t starts = startsIn(range, length, split);
  if (starts == 0)
    return {};
  int64_t start = Random(seed, "text", index).below(starts);
  for (size_t i = range.first; i < range.last; ++i) {
    const TokenSpan span = spans(split)[i];
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
  const Range range = drawSource(seed, index, length, split);
  return joined(Random(seed, "text", index).below(tokensIn(range, split)), length, split, range).tokens;
}

TextWindow TextStore::packedWindow(uint64_t seed, uint64_t index, int64_t length, Split split) const {
  if (tokenCount(split) == 0)
    split = Split::Training;
  const Range range = drawSource(seed, index, /*length=*/0, split);
  return joined(Random(seed, "text", index).below(tokensIn(range, split)), length, split, range);
}

double TextStore::unreadShare(int64_t length, Split split) const {
  int64_t unread = 0;
  for (TokenSpan span : spans(split))
    unread += span.size() < length ? span.size() : 0;
  const int64_t all = tokenCount(split);
  return unread < all ? static_cast<double>(unread) / static_cast<double>(all) : 0;
}

TextWindow TextStore::joined(int64_t start, int64_t length, Split split, Range range) const {
  TextWindow window;
  window.tokens.reserve(static_cast<size_t>(length));
  window.begins.reserve(static_cast<size_t>(length));
  while (static_cast<int64_t>(window.tokens.size()) < length)
    for (size_t number = range.first; number < range.last; ++number) {
      const TokenSpan span = spans(split)[number];
      int64_t skip = std::min(start, span.size());
      start -= skip;
      const auto begin = static_cast<int64_t>(window.tokens.size());
      int64_t take = std::min<int64_t>(span.size() - skip, length - begin);
      for (int64_t i = 0; i < take; ++i)
        window.tokens.push_back((*file_)[span.begin + skip + i]);
      window.begins.resize(window.tokens.size(), begin);
    }
  return window;
}

std::vector<TextWindow> TextStore::evaluationWindows(int64_t length, int64_t maxTokens, bool isPacked) const {
  assert(length > 0);
  std::vector<TextWindow> windows;
  int64_t inside = 0, total = tokenCount(Split::Evaluation);
  for (TokenSpan span : spans(Split::Evaluation))
    inside += isPacked ? 0 : span.size() / length;
  int64_t available = inside > 0 ? inside : total / length;
  // A short text still gives one window: all of it.
  if (available == 0 && total > 1) {
    windows.push_back(joined(0, total, Split::Evaluation, all()));
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
        windows.push_back(joined(number * length, length, Split::Evaluation, all()));
        ++taken;
      }
    windows.erase(std::remove_if(windows.begin(), windows.end(),
                                 [](const TextWindow &window) {
                                   return std::set<int64_t>(window.begins.begin(), window.begins.end()).size() ==
                                          window.begins.size();
                                 }),
                  windows.end());
    return windows;
  }
  for (TokenSpan span : spans(Split::Evaluation))
    for (int64_t i = 0; i < span.size() / length; ++i, ++number)
      if (isTaken()) {
        windows.push_back({file_->tokens({span.begin + i * length, span.begin + (i + 1) * length}),
                           std::vector<int64_t>(static_cast<size_t>(length), 0)});
        ++taken;
      }
  return windows;
}

} // namespace morph
