// SPDX-License-Identifier: Apache-2.0
// Continuous batching: requests join and leave between steps. Knows neither HTTP nor JSON nor tensors.

#ifndef MORPH_RUNTIME_SERVE_SCHEDULER_H
#define MORPH_RUNTIME_SERVE_SCHEDULER_H

#include "runtime/serve/PrefixCache.h"
#include "runtime/serve/SequenceModel.h"

#include <deque>
#include <functional>
#include <optional>
#include <string>

namespace morph {

struct GenerationRequest {
  std::string id; ///< Of the requests that are not finished no two have the same.
  std::vector<int64_t> tokens;
  int64_t maxTokens = 64; ///< New tokens at most; 0 only where the prompt is scored.
  SamplingOptions sampling;
  std::vector<int64_t> eos; ///< Stop after one of these, which is given out.
  /// Its states after the prompt, and after the last token but one, go into the prefix cache, too: what begins there is
  /// the same but for rounding.
  bool keepsEnd = false;
  /// Every token of the prompt but the first is given out with its log-probability after those before it. All of the
  /// prompt is computed then, of which no kept prefix has logits; requests without it have logits of the last token
  /// alone.
  bool scoresPrompt = false;
};

enum class FinishReason { Stop, Length, Cancelled };

/// What happens to a request: tokens of its prompt where they are scored, tokens, then the end or an error.
struct GenerationEvent {
  enum class Kind { PromptToken, Token, Finish, Error };
  Kind kind = Kind::Token;
  std::string id;
  SampledToken sample;                      ///< PromptToken, Token.
  bool isFirst = false;                     ///< PromptToken, Token: nothing was said of the request before.
  FinishReason reason = FinishReason::Stop; ///< Finish.
  int64_t promptTokens = 0;                 ///< Finish: of the prompt.
  int64_t cachedTokens = 0;                 ///< Finish, and where isFirst: of these how many were not computed.
  int64_t tokens = 0;                       ///< Finish: that were generated.
  Status error;                             ///< Error.
};

/// Counts since the start, but for what is running, queued or kept now.
struct SchedulerStats {
  int64_t running = 0, queued = 0; ///< Running: in slots, one whose prompt is read included.
  int64_t requests = 0, promptTokens = 0, cachedTokens = 0, tokens = 0, steps = 0, chunks = 0;
  int64_t cacheBytes = 0, cacheEntries = 0;
};

class Scheduler {
public:
  using Emit = std::function<void(const GenerationEvent &)>;

  /// `model` outlives the scheduler. `prefixBytes`: what the prefix cache may take.
  Scheduler(SequenceModel &model, int64_t prefixBytes, Emit emit);

  /// Puts a request at the queue's end. What the model cannot do is an error event: no token, ids outside the
  /// vocabulary, more tokens than a slot has room for, an id that is taken.
  void add(GenerationRequest request);
  /// Ends a request wherever it is; one that is not known is over already, which is no error.
  void cancel(const std::string &id);
  bool isIdle() const { return queue_.empty() && !reading_ && active_.empty(); }

  /// A chunk of the first prompt that is not read yet, if a slot is free, and a step of all sequences that have been.
  /// An error is the model's own and ends all.
  Status turn();

  SchedulerStats stats() const;

private:
  struct Sequence {
    GenerationRequest request;              ///< Its tokens are prompt and generated ones.
    int64_t promptLength = 0, position = 0; ///< Tokens of the prompt; tokens that the states have.
    int64_t cached = 0;
    bool isTold = false; ///< A token of it was given out.
    int64_t generated() const { return static_cast<int64_t>(request.tokens.size()) - promptLength; }
  };

  Status check(const GenerationRequest &request) const;
  bool isKnown(const std::string &id) const;
  Status readChunk();
  /// Gives out what the last chunk's rows, from position `begin` on, say of the prompt's tokens; false where that is an
  /// error, which ends the request.
  bool scoreChunk(Sequence &sequence, int64_t begin);
  Status step();
  /// Takes the next token of a row; true where the sequence goes on.
  bool takeToken(Sequence &sequence, int64_t row);
  /// Gives out a token of the prompt, or the next one.
  void tell(Sequence &sequence, GenerationEvent::Kind kind, SampledToken sample);
  void finish(const Sequence &sequence, FinishReason reason);
  void fail(const std::string &id, Status error);
  /// Ends what is in slot i: the last sequence takes its place.
  Status leave(size_t i);
  /// Keeps a snapshot of all that the sequence's states have.
  Status keep(const Sequence &sequence, int64_t slot);

  SequenceModel &model_;
  PrefixCache cache_;
  Emit emit_;
  std::deque<Sequence> queue_;
  std::optional<Sequence> reading_; ///< Its prompt is read, in slot readingSlot_.
  int64_t readingSlot_ = 0;
  std::vector<Sequence> active_; ///< In slots 0, 1, ...
  SchedulerStats stats_;
};

} // namespace morph

#endif // MORPH_RUNTIME_SERVE_SCHEDULER_H
