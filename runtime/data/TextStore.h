// SPDX-License-Identifier: Apache-2.0
// General text for training and for perplexity: windows of documents, drawn by (seed, index). Of each document the tail
// is never trained on: its first half is for selection and probes, its second for the evaluation. Of documents whose
// tail is too short to be divided as large a share is held out whole, evenly spread, in turn for the evaluation and for
// selection.

#ifndef MORPH_RUNTIME_DATA_TEXTSTORE_H
#define MORPH_RUNTIME_DATA_TEXTSTORE_H

#include "runtime/data/Split.h"
#include "runtime/data/TokenFile.h"

#include <memory>
#include <string>
#include <vector>

namespace morph {

/// Consecutive documents of one source, and the share of it in the windows that are drawn.
struct TextSource {
  int64_t documents = 0;
  double weight = 1;
};

/// Consecutive tokens, and of each the place in the window where its document begins: 0 for one that began before it.
struct TextWindow {
  std::vector<int64_t> tokens, begins;
};

class TextStore {
public:
  /// Opens `<dir>/text.tokens` and `<dir>/text.documents` (begin offsets) with `<dir>/text.json`
  /// (tools/python/morph_data.py tokenize): keys dtype, count, documents (their number), holdout (fraction), and
  /// sources, each with documents and, where windows are drawn by shares, weight. All are checked as untrusted input;
  /// ids against `vocabulary` > 0.
  static StatusOr<std::shared_ptr<const TextStore>> open(const std::string &dir, int64_t vocabulary = 0);
  /// A store over an open file. `holdout` in [0, 1) is the tail fraction of each document that is not trained on, half
  /// of it for selection and the very end for evaluation, or the share of short documents that are held out whole.
  /// `sources`: all documents in order; without them every window is as likely as any other.
  static StatusOr<std::shared_ptr<const TextStore>> create(std::shared_ptr<const TokenFile> file,
                                                           std::vector<TokenSpan> documents, double holdout,
                                                           std::vector<TextSource> sources = {});

  int64_t tokenCount(Split split) const;
  int64_t documentCount() const { return static_cast<int64_t>(spans(Split::Training).size()); }
  /// The longest document part, in tokens.
  int64_t longest(Split split) const;
  /// An error where no document's part has `length` tokens: for stages that must train on true long contexts.
  Status checkInsideDocuments(int64_t length, Split split = Split::Training) const;

  /// `length` tokens. Where at least one document's part is that long the window lies inside one document, every
  /// possible window being equally likely; otherwise it runs over consecutive parts, joined in order and starting again
  /// after the last. With sources one of them is drawn before, by its share among those that have a part as long (among
  /// all, where none has). A split without text gives windows of the training part. length > 0.
  std::vector<int64_t> window(uint64_t seed, uint64_t index, int64_t length, Split split = Split::Training) const;

  /// `length` tokens from any place on, each as likely as another, over consecutive parts as `window` joins them,
  /// whether or not there are longer ones: so that all text is read. length > 0.
  TextWindow packedWindow(uint64_t seed, uint64_t index, int64_t length, Split split = Split::Training) const;

  /// Which share of the tokens `window` never reads, being of documents that are shorter than `length`: 0 where none is
  /// as long.
  double unreadShare(int64_t length, Split split = Split::Training) const;

  /// Where `window` reads, when it lies inside a document; else an empty span.
  TokenSpan windowSpan(uint64_t seed, uint64_t index, int64_t length, Split split = Split::Training) const;

  /// Windows for perplexity: the parts for evaluation cut one after another into `length` tokens, each window inside
  /// one document (joined over documents where none is long enough). With `maxTokens` > 0 at most that many tokens, the
  /// windows spread evenly over the whole part. Empty where nothing is held out. With `isPacked` they are joined over
  /// all documents, and each has two tokens of one document.
  std::vector<TextWindow> evaluationWindows(int64_t length, int64_t maxTokens = 0, bool isPacked = false) const;

private:
  TextStore() = default;
  const std::vector<TokenSpan> &spans(Split split) const { return spans_[static_cast<size_t>(split)]; }
  /// Documents [first, last).
  struct Range {
    size_t first, last;
  };
  Range all() const { return {0, spans_[0].size()}; }
  /// `length` 0: sources whose windows are joined.
  Range drawSource(uint64_t seed, uint64_t index, int64_t length, Split split) const;
  int64_t startsIn(Range range, int64_t length, Split split) const;
  int64_t tokensIn(Range range, Split split) const;
  TextWindow joined(int64_t start, int64_t length, Split split, Range range) const;

  std::shared_ptr<const TokenFile> file_;
  std::array<std::vector<TokenSpan>, 3> spans_; ///< By split one a document; may be empty spans.
  std::vector<TextSource> sources_;             ///< None: windows are drawn of all documents alike.
};

} // namespace morph

#endif // MORPH_RUNTIME_DATA_TEXTSTORE_H
