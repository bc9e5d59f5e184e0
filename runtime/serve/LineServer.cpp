// SPDX-License-Identifier: Apache-2.0
#include "runtime/serve/LineServer.h"

#include "runtime/base/Json.h"

#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>

namespace morph {
namespace {

/// The longest id: those of a front are short.
constexpr size_t kMaximumId = 128;

/// Lines of a descriptor, which a thread of its own reads.
class LineReader {
public:
  explicit LineReader(int input) : thread_(read, input, state_) {}
  /// The thread waits in read(2): who ends before the input does ends the process.
  ~LineReader() { thread_.detach(); }
  LineReader(const LineReader &) = delete;

  /// The lines so far. Waits for one where `waits`; `ended` is whether no more will come.
  std::vector<std::string> take(bool waits, bool &ended) {
    std::unique_lock<std::mutex> lock(state_->mutex);
    if (waits)
      state_->changed.wait(lock, [&] { return state_->ended || !state_->lines.empty(); });
    ended = state_->ended;
    return std::move(state_->lines);
  }
  Status status() const {
    const std::lock_guard<std::mutex> lock(state_->mutex);
    return state_->status;
  }

private:
  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    std::vector<std::string> lines;
    Status status;
    bool ended = false;
  };

  static void read(int input, const std::shared_ptr<State> &state) {
    std::string rest;
    std::vector<char> block(size_t(1) << 16);
    Status status;
    for (;;) {
      const ssize_t count = ::read(input, block.data(), block.size());
      if (count < 0 && errno == EINTR)
        continue;
      if (count <= 0) {
        if (count < 0)
          status = Status::failed(std::string("cannot read the requests: ") + std::strerror(errno));
        break;
      }
      std::vector<std::string> lines;
      for (const char *at = block.data(), *const end = at + count; at < end;) {
        const char *const newline = std::find(at, end, '\n');
        rest.append(at, newline);
        at = newline;
        if (at == end)
          break;
        ++at;
        lines.push_back(std::move(rest));
        rest.clear();
      }
      const std::lock_guard<std::mutex> lock(state->mutex);
      for (std::string &line : lines)
        state->lines.push_back(std::move(line));
      state->changed.notify_one();
      if (rest.size() > kMaximumLine) {
        status = Status::invalid("a request has more than " + std::to_string(kMaximumLine) + " bytes");
        break;
      }
    }
    const std::lock_guard<std::mutex> lock(state->mutex);
    if (!rest.empty() && status.ok())
      state->lines.push_back(std::move(rest));
    state->status = status;
    state->ended = true;
    state->changed.notify_one();
  }

  std::shared_ptr<State> state_ = std::make_shared<State>();
  std::thread thread_;
};

StatusOr<std::string> idOf(const Json &json, const char *member) {
  MORPH_ASSIGN_OR_RETURN(std::string id, jsonGet<std::string>(json, member, "request"));
  if (id.empty() || id.size() > kMaximumId)
    return Status::invalid(std::string("request: '") + member + "' must have 1 to " + std::to_string(kMaximumId) +
                           " bytes");
  return id;
}

StatusOr<GenerationRequest> requestOf(const Json &json) {
  GenerationRequest request;
  const std::string where = "request";
  MORPH_ASSIGN_OR_RETURN(request.id, idOf(json, "id"));
  MORPH_ASSIGN_OR_RETURN(request.tokens, jsonGet<std::vector<int64_t>>(json, "tokens", where));
  MORPH_ASSIGN_OR_RETURN(request.maxTokens, jsonGetOr<int64_t>(json, "max_tokens", request.maxTokens, where));
  MORPH_ASSIGN_OR_RETURN(request.sampling.temperature, jsonGetOr<double>(json, "temperature", 0, where));
  MORPH_ASSIGN_OR_RETURN(request.sampling.topP, jsonGetOr<double>(json, "top_p", 1, where));
  MORPH_ASSIGN_OR_RETURN(const int64_t seed, jsonGetOr<int64_t>(json, "seed", 0, where));
  request.sampling.seed = static_cast<uint64_t>(seed);
  MORPH_ASSIGN_OR_RETURN(request.eos, jsonGetOr<std::vector<int64_t>>(json, "eos", {}, where));
  MORPH_ASSIGN_OR_RETURN(request.keepsEnd, jsonGetOr<bool>(json, "keep_end", false, where));
  MORPH_ASSIGN_OR_RETURN(request.sampling.likely, jsonGetOr<int64_t>(json, "top_logprobs", 0, where));
  MORPH_ASSIGN_OR_RETURN(request.scoresPrompt, jsonGetOr<bool>(json, "prompt_logprobs", false, where));
  return request;
}

Json statsOf(const SchedulerStats &stats) {
  return {{"running", stats.running},
          {"queued", stats.queued},
          {"requests", stats.requests},
          {"prompt_tokens", stats.promptTokens},
          {"cached_tokens", stats.cachedTokens},
          {"tokens", stats.tokens},
          {"steps", stats.steps},
          {"chunks", stats.chunks},
          {"cache_bytes", stats.cacheBytes},
          {"cache_entries", stats.cacheEntries}};
}

const char *toWord(FinishReason reason) {
  switch (reason) {
  case FinishReason::Stop:
    return "stop";
  case FinishReason::Length:
    return "length";
  case FinishReason::Cancelled:
    return "cancelled";
  }
  return "";
}

} // namespace

StatusOr<GenerationRequest> parseGenerationRequest(const std::string &line) {
  MORPH_ASSIGN_OR_RETURN(const Json json, parseJson(line, "request"));
  return requestOf(json);
}

std::string toLine(const GenerationEvent &event) {
  nlohmann::ordered_json line = {{"id", event.id}};
  switch (event.kind) {
  case GenerationEvent::Kind::PromptToken:
  case GenerationEvent::Kind::Token:
    line[event.kind == GenerationEvent::Kind::Token ? "token" : "prompt_token"] = event.sample.token;
    line["logprob"] = event.sample.logProbability;
    for (const LikelyToken &likely : event.sample.likely)
      line["top"].push_back({likely.token, likely.logProbability});
    if (event.isFirst)
      line["cached_tokens"] = event.cachedTokens;
    break;
  case GenerationEvent::Kind::Finish:
    line["finish"] = toWord(event.reason);
    line["prompt_tokens"] = event.promptTokens;
    line["cached_tokens"] = event.cachedTokens;
    line["tokens"] = event.tokens;
    break;
  case GenerationEvent::Kind::Error:
    line["error"] = event.error.message();
    line["hint"] = event.error.hint();
    line["kind"] = event.error.code() == StatusCode::InvalidInput ? "invalid" : "failed";
    break;
  }
  return line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

Status serveLines(SequenceModel &model, int64_t prefixBytes, int64_t slotBytes, int input, std::FILE *output) {
  std::string answers;
  Scheduler scheduler(model, prefixBytes, [&](const GenerationEvent &event) { answers += toLine(event); });
  auto flush = [&] {
    const bool written =
        std::fwrite(answers.data(), 1, answers.size(), output) == answers.size() && std::fflush(output) == 0;
    answers.clear();
    return written;
  };
  auto answer = [&](const Json &json) { answers += json.dump() + "\n"; };
  answer({{"ready",
           {{"slots", model.slots()},
            {"context", model.context()},
            {"vocabulary", model.vocabulary()},
            {"slot_bytes", slotBytes}}}});
  auto take = [&](const std::string &line) -> Status {
    if (line.find_first_not_of(" \t\r") == std::string::npos)
      return Status();
    MORPH_ASSIGN_OR_RETURN(const Json json, parseJson(line, "request"));
    if (json.is_object() && json.contains("stats")) {
      answer({{"stats", statsOf(scheduler.stats())}});
      return Status();
    }
    if (json.is_object() && json.contains("cancel")) {
      MORPH_ASSIGN_OR_RETURN(const std::string id, idOf(json, "cancel"));
      scheduler.cancel(id);
      return Status();
    }
    // What is wrong in a request that has an id is that request's error, else nobody's.
    MORPH_ASSIGN_OR_RETURN(const std::string id, idOf(json, "id"));
    StatusOr<GenerationRequest> request = requestOf(json);
    if (request.ok()) {
      scheduler.add(*std::move(request));
      return Status();
    }
    GenerationEvent event;
    event.kind = GenerationEvent::Kind::Error;
    event.id = id;
    event.error = request.status();
    answers += toLine(event);
    return Status();
  };

  LineReader reader(input);
  bool ended = false;
  while (flush() && !(ended && scheduler.isIdle())) {
    for (const std::string &line : reader.take(/*waits=*/scheduler.isIdle() && !ended, ended))
      MORPH_RETURN_IF_ERROR(take(line));
    if (ended)
      MORPH_RETURN_IF_ERROR(reader.status());
    MORPH_RETURN_IF_ERROR(scheduler.turn());
  }
  return Status();
}

} // namespace morph
