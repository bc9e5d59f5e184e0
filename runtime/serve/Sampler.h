// SPDX-License-Identifier: Apache-2.0
// What a row of logits says of tokens: the next one, the one way of `morph generate`, `chat` and `serve`, and how
// likely each is.

#ifndef MORPH_RUNTIME_SERVE_SAMPLER_H
#define MORPH_RUNTIME_SERVE_SAMPLER_H

#include "runtime/base/Status.h"

#include <cstdint>
#include <vector>

namespace morph {

/// The most of the likeliest tokens that are told beside one: vLLM's own limit (`max_logprobs` of its ModelConfig),
/// above the five of OpenAI.
inline constexpr int64_t kMostLikely = 20;

struct SamplingOptions {
  double temperature = 0; ///< 0: the most likely token. Logits are divided by it.
  double topP = 1;        ///< Of the tokens in falling order, those that reach this share of the probability.
  uint64_t seed = 0;
  int64_t likely = 0; ///< How many of the likeliest tokens are told beside each.

  /// The limits of what may be asked for: temperature of [0, 100], top_p of (0, 1], likely of [0, kMostLikely].
  Status check() const;
};

struct LikelyToken {
  int64_t token = 0;
  double logProbability = 0; ///< Of the model's own distribution, whatever temperature and top_p are. Natural.
};

struct SampledToken : LikelyToken {
  std::vector<LikelyToken> likely; ///< The likeliest tokens in falling order, of equal ones the first before.
};

/// Token `index` (of those that are generated, from 0) of a row of `count` logits: of equal ones the first. What is
/// drawn is a function of (seed, index) and of the row, so that it depends neither on the batch nor on other requests.
/// Errors: logits without a greatest number (NaN, or all minus infinity).
StatusOr<SampledToken> sampleToken(const float *logits, int64_t count, const SamplingOptions &options, int64_t index);
StatusOr<SampledToken> sampleToken(const double *logits, int64_t count, const SamplingOptions &options, int64_t index);

/// The same of a token that is there already: how likely the row has it, and the `likely` likeliest ones.
StatusOr<SampledToken> scoreToken(const float *logits, int64_t count, int64_t token, int64_t likely);
StatusOr<SampledToken> scoreToken(const double *logits, int64_t count, int64_t token, int64_t likely);

} // namespace morph

#endif // MORPH_RUNTIME_SERVE_SAMPLER_H
