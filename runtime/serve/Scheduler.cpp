// SPDX-License-Identifier: Apache-2.0
#include "runtime/serve/Scheduler.h"

#include <algorithm>
#include <utility>

namespace morph {

Scheduler::Scheduler(SequenceModel &model, int64_t prefixBytes, Emit emit)
    : model_(model), cache_(prefixBytes), emit_(std::move(emit)) {}

Status Scheduler::check(const GenerationRequest &request) const {
  MORPH_RETURN_IF_ERROR(request.sampling.check());
  const auto length = static_cast<int64_t>(request.tokens.size());
  if (request.tokens.empty())
    return Status::invalid("the prompt has no token");
  for (int64_t token : request.tokens)
    if (token < 0 || token >= model_.vocabulary())
      return Status::invalid("token " + std::to_string(token) + " is none of the model's " +
                             std::to_string(model_.vocabulary()));
  if (request.maxTokens < (request.scoresPrompt ? 0 : 1))
    return Status::invalid("max_tokens must be 1 or more, or 0 with prompt_logprobs");
  if (length > model_.context() || request.maxTokens > model_.context() - length)
    return Status::invalid("the prompt has " + std::to_string(length) + " tokens and asks for " +
                               std::to_string(request.maxTokens) + " more, a context has " +
                               std::to_string(model_.context()),
                           "ask for fewer tokens, or give a larger --context");
  if (isKnown(request.id))
    return Status::invalid("a request with this id is running");
  return Status();
}

bool Scheduler::isKnown(const std::string &id) const {
  auto isIt = [&](const Sequence &sequence) { return sequence.request.id == id; };
  return std::any_of(queue_.begin(), queue_.end(), isIt) || (reading_ && isIt(*reading_)) ||
         std::any_of(active_.begin(), active_.end(), isIt);
}

void Scheduler::add(GenerationRequest request) {
  if (Status status = check(request); !status.ok())
    return fail(request.id, std::move(status));
  ++stats_.requests;
  Sequence sequence;
  sequence.promptLength = static_cast<int64_t>(request.tokens.size());
  sequence.request = std::move(request);
  queue_.push_back(std::move(sequence));
}

void Scheduler::cancel(const std::string &id) {
  auto isIt = [&](const Sequence &sequence) { return sequence.request.id == id; };
  if (auto found = std::find_if(queue_.begin(), queue_.end(), isIt); found != queue_.end()) {
    finish(*found, FinishReason::Cancelled);
    queue_.erase(found);
  } else if (reading_ && isIt(*reading_)) {
    finish(*reading_, FinishReason::Cancelled);
    reading_.reset();
  } else if (auto active = std::find_if(active_.begin(), active_.end(), isIt); active != active_.end()) {
    finish(*active, FinishReason::Cancelled);
    // A copy of rows: it does not fail for what a request holds.
    (void)leave(static_cast<size_t>(active - active_.begin())).ok();
  }
}

void Scheduler::finish(const Sequence &sequence, FinishReason reason) {
  GenerationEvent event;
  event.kind = GenerationEvent::Kind::Finish;
  event.id = sequence.request.id;
  event.reason = reason;
  event.promptTokens = sequence.promptLength;
  event.cachedTokens = sequence.cached;
  event.tokens = sequence.generated();
  emit_(event);
}

void Scheduler::fail(const std::string &id, Status error) {
  GenerationEvent event;
  event.kind = GenerationEvent::Kind::Error;
  event.id = id;
  event.error = std::move(error);
  emit_(event);
}

Status Scheduler::leave(size_t i) {
  const size_t last = active_.size() - 1;
  if (i != last) {
    MORPH_RETURN_IF_ERROR(model_.move(static_cast<int64_t>(last), static_cast<int64_t>(i), active_[last].position));
    active_[i] = std::move(active_[last]);
  }
  active_.pop_back();
  return Status();
}

Status Scheduler::keep(const Sequence &sequence, int64_t slot) {
  const int64_t begin = cache_.beginOf(sequence.request.tokens, sequence.position);
  if (begin < 0)
    return Status();
  MORPH_ASSIGN_OR_RETURN(auto snapshot, model_.save(slot, begin, sequence.position));
  cache_.insert(sequence.request.tokens, begin, sequence.position, std::move(snapshot));
  return Status();
}

void Scheduler::tell(Sequence &sequence, GenerationEvent::Kind kind, SampledToken sample) {
  GenerationEvent event;
  event.kind = kind;
  event.id = sequence.request.id;
  event.sample = std::move(sample);
  event.isFirst = !std::exchange(sequence.isTold, true);
  event.cachedTokens = sequence.cached;
  emit_(event);
}

bool Scheduler::scoreChunk(Sequence &sequence, int64_t begin) {
  // The row of a token scores the one after it; that of the prompt's last has none.
  const auto &tokens = sequence.request.tokens;
  const int64_t end = std::min(sequence.position + 1, sequence.promptLength);
  StatusOr<std::vector<SampledToken>> scores =
      model_.score({tokens.begin() + begin + 1, tokens.begin() + end}, sequence.request.sampling.likely);
  if (!scores.ok()) {
    fail(sequence.request.id, std::move(scores).status());
    return false;
  }
  for (SampledToken &score : *scores)
    tell(sequence, GenerationEvent::Kind::PromptToken, std::move(score));
  return true;
}

bool Scheduler::takeToken(Sequence &sequence, int64_t row) {
  StatusOr<SampledToken> sample = model_.sample(row, sequence.request.sampling, sequence.generated());
  if (!sample.ok()) {
    fail(sequence.request.id, std::move(sample).status());
    return false;
  }
  const int64_t token = sample->token;
  tell(sequence, GenerationEvent::Kind::Token, *std::move(sample));
  ++stats_.tokens;
  sequence.request.tokens.push_back(token);
  const std::vector<int64_t> &eos = sequence.request.eos;
  if (std::find(eos.begin(), eos.end(), token) != eos.end()) {
    finish(sequence, FinishReason::Stop);
    return false;
  }
  if (sequence.generated() == sequence.request.maxTokens) {
    finish(sequence, FinishReason::Length);
    return false;
  }
  return true;
}

Status Scheduler::readChunk() {
  if (!reading_) {
    const auto free = static_cast<int64_t>(active_.size());
    if (queue_.empty() || free == model_.slots())
      return Status();
    reading_ = std::move(queue_.front());
    queue_.pop_front();
    readingSlot_ = free;
    // The last token is computed in any case, and all that are scored: logits are no states.
    const PrefixCache::Found found =
        cache_.find(reading_->request.tokens, reading_->request.scoresPrompt ? 0 : reading_->promptLength - 1);
    MORPH_RETURN_IF_ERROR(found.length > 0 ? model_.restore(readingSlot_, found.parts) : model_.clear(readingSlot_));
    reading_->position = reading_->cached = found.length;
    stats_.promptTokens += reading_->promptLength;
    stats_.cachedTokens += found.length;
  }
  // Chunks end at multiples of their length, wherever the first one begins: so do kept prefixes.
  Sequence &sequence = *reading_;
  const int64_t begin = sequence.position,
                end = std::min(sequence.promptLength, begin - begin % model_.chunk() + model_.chunk());
  const auto &tokens = sequence.request.tokens;
  const bool scores = sequence.request.scoresPrompt;
  MORPH_RETURN_IF_ERROR(model_.prefill(readingSlot_, begin, {tokens.begin() + begin, tokens.begin() + end},
                                       scores ? SequenceModel::Rows::All : SequenceModel::Rows::Last));
  ++stats_.chunks;
  sequence.position = end;
  // From another place the chunks that follow would be cut elsewhere, and have other bits.
  if (end % model_.chunk() == 0 || sequence.request.keepsEnd)
    MORPH_RETURN_IF_ERROR(keep(sequence, readingSlot_));
  const bool goesOn = !scores || scoreChunk(sequence, begin);
  if (goesOn && end < sequence.promptLength)
    return Status();
  if (goesOn && sequence.request.maxTokens == 0)
    finish(sequence, FinishReason::Length);
  else if (goesOn && takeToken(sequence, scores ? end - begin - 1 : 0)) {
    const auto slot = static_cast<int64_t>(active_.size());
    if (slot != readingSlot_) // Others have left in the meantime.
      MORPH_RETURN_IF_ERROR(model_.move(readingSlot_, slot, sequence.position));
    active_.push_back(std::move(sequence));
  }
  reading_.reset();
  return Status();
}

Status Scheduler::step() {
  if (active_.empty())
    return Status();
  std::vector<int64_t> positions, tokens;
  for (const Sequence &sequence : active_) {
    positions.push_back(sequence.position);
    tokens.push_back(sequence.request.tokens.back());
  }
  MORPH_RETURN_IF_ERROR(model_.step(positions, tokens));
  ++stats_.steps;
  // Rows of the last step's logits are slots as they were; those that end leave from the last one on, so that what
  // takes a place has been looked at.
  std::vector<bool> goesOn;
  for (size_t i = 0; i < active_.size(); ++i) {
    ++active_[i].position;
    goesOn.push_back(takeToken(active_[i], static_cast<int64_t>(i)));
  }
  for (size_t i = active_.size(); i-- > 0;) {
    if (goesOn[i])
      continue;
    if (active_[i].request.keepsEnd)
      MORPH_RETURN_IF_ERROR(keep(active_[i], static_cast<int64_t>(i)));
    MORPH_RETURN_IF_ERROR(leave(i));
  }
  return Status();
}

Status Scheduler::turn() {
  MORPH_RETURN_IF_ERROR(readChunk());
  return step();
}

SchedulerStats Scheduler::stats() const {
  SchedulerStats stats = stats_;
  stats.running = static_cast<int64_t>(active_.size()) + (reading_ ? 1 : 0);
  stats.queued = static_cast<int64_t>(queue_.size());
  stats.cacheBytes = cache_.bytes();
  stats.cacheEntries = cache_.entries();
  return stats;
}

} // namespace morph
