// SPDX-License-Identifier: Apache-2.0
// The next token from logits: the one way of `morph generate`, `chat` and `serve`.

#ifndef MORPH_RUNTIME_SERVE_SAMPLER_H
#define MORPH_RUNTIME_SERVE_SAMPLER_H

#include "runtime/base/Status.h"

#include <cstdint>
#include <vector>

namespace morph {

struct SamplingOptions {
  double temperature = 0; ///< 0: the most likely token. Logits are divided by it.
  double topP = 1;        ///< Of the tokens in falling order, those that reach this share of the probability.
  uint64_t seed = 0;

  /// The limits of what may be asked for: temperature of [0, 100], top_p of (0, 1].
  Status check() const;
};

struct SampledToken {
  int64_t token = 0;
  double logProbability = 0; ///< Of the model's own distribution, whatever temperature and top_p are. Natural.
};

/// Token `index` (of those that are generated, from 0) of a row of `count` logits: of equal ones the first. What is
/// drawn is a function of (seed, index) and of the row, so that it depends neither on the batch nor on other requests.
/// Errors: logits without a greatest number (NaN, or all minus infinity).
StatusOr<SampledToken> sampleToken(const float *logits, int64_t count, const SamplingOptions &options, int64_t index);
StatusOr<SampledToken> sampleToken(const double *logits, int64_t count, const SamplingOptions &options, int64_t index);

} // namespace morph

#endif // MORPH_RUNTIME_SERVE_SAMPLER_H
