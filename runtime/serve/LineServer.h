// SPDX-License-Identifier: Apache-2.0
// The scheduler behind lines of JSON: `morph-run serve`, which the HTTP front (tools/python/serve) and `morph chat`
// start.
//
// Requests, a line each:
//   {"id": "a", "tokens": [1, 2], "max_tokens": 16, "temperature": 0, "top_p": 1, "seed": 0, "eos": [2],
//    "keep_end": true, "top_logprobs": 2, "prompt_logprobs": true}
//                                              all but id and tokens may be left out
//   {"cancel": "a"}
//   {"stats": true}
// Answers:
//   {"ready": {"slots": 8, "context": 2048, "vocabulary": 50257, "slot_bytes": 123}}    once, before anything else
//   {"id": "a", "prompt_token": 2, "logprob": -1.5, "top": [[7, -0.25], [2, -1.5]]}
//                                              with prompt_logprobs each but the first; "top" with top_logprobs
//   {"id": "a", "token": 7, "logprob": -0.25, "top": [[7, -0.25], [2, -1.5]]}
//                                              the first of both has "cached_tokens", too: of the prompt, not computed
//   {"id": "a", "finish": "stop" | "length" | "cancelled", "prompt_tokens": 2, "cached_tokens": 0, "tokens": 1}
//   {"id": "a", "error": "...", "hint": "...", "kind": "invalid" | "failed"}
//                                              invalid: what is asked for; failed: the model
//   {"stats": {...}}                           SchedulerStats
// At the end of the input what is running is finished, then the program ends.

#ifndef MORPH_RUNTIME_SERVE_LINESERVER_H
#define MORPH_RUNTIME_SERVE_LINESERVER_H

#include "runtime/serve/Scheduler.h"

#include <cstdio>

namespace morph {

/// The longest line that is read, in bytes.
inline constexpr size_t kMaximumLine = size_t(64) << 20;

/// Parses a line of a request that generates. Errors name the member.
StatusOr<GenerationRequest> parseGenerationRequest(const std::string &line);
/// The line of an event, with the end of line.
std::string toLine(const GenerationEvent &event);

/// Serves the lines of descriptor `input` to `output` until the input ends, or the output is closed. Errors: the
/// model's own; a line that is no JSON object, or too long. `slotBytes` is told.
Status serveLines(SequenceModel &model, int64_t prefixBytes, int64_t slotBytes, int input, std::FILE *output);

} // namespace morph

#endif // MORPH_RUNTIME_SERVE_LINESERVER_H
