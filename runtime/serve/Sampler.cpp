// SPDX-License-Identifier: Apache-2.0
#include "runtime/serve/Sampler.h"

#include "runtime/data/Random.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace morph {

Status SamplingOptions::check() const {
  if (!(temperature >= 0 && temperature <= 100))
    return Status::invalid("temperature " + std::to_string(temperature) + " is not from 0 to 100");
  if (!(topP > 0 && topP <= 1))
    return Status::invalid("top_p " + std::to_string(topP) + " is not above 0 and at most 1");
  if (likely < 0 || likely > kMostLikely)
    return Status::invalid("top_logprobs " + std::to_string(likely) + " is not from 0 to " +
                           std::to_string(kMostLikely));
  return Status();
}

namespace {

/// A token of the nucleus (Holtzman et al., The Curious Case of Neural Text Degeneration, 2020): the fewest tokens in
/// falling order of probability whose sum reaches top_p.
template <typename T>
int64_t draw(const T *logits, int64_t count, const SamplingOptions &options, int64_t index, double most) {
  std::vector<double> share(static_cast<size_t>(count));
  double total = 0;
  for (int64_t i = 0; i < count; ++i)
    total += share[static_cast<size_t>(i)] = std::exp((static_cast<double>(logits[i]) - most) / options.temperature);
  Random random(options.seed, "sample", static_cast<uint64_t>(index));
  const double at = random.uniform();
  std::vector<int64_t> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  if (options.topP == 1) {
    double sum = 0;
    for (int64_t token : order)
      if ((sum += share[static_cast<size_t>(token)]) > at * total)
        return token;
    // Rounding has kept the sum below the total: the last token that has a share.
    while (order.size() > 1 && share[static_cast<size_t>(order.back())] == 0)
      order.pop_back();
    return order.back();
  }
  // Only as much is sorted as the nucleus has.
  auto before = [&](int64_t a, int64_t b) {
    const double x = share[static_cast<size_t>(a)], y = share[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  };
  size_t sorted = 0, nucleus = 0;
  double kept = 0;
  while (nucleus < order.size() && kept < options.topP * total) {
    if (nucleus == sorted) {
      sorted = std::min(order.size(), std::max<size_t>(64, 4 * sorted));
      std::partial_sort(order.begin() + static_cast<ptrdiff_t>(nucleus), order.begin() + static_cast<ptrdiff_t>(sorted),
                        order.end(), before);
    }
    kept += share[static_cast<size_t>(order[nucleus++])];
  }
  double sum = 0;
  for (size_t i = 0; i + 1 < nucleus; ++i)
    if ((sum += share[static_cast<size_t>(order[i])]) > at * kept)
      return order[i];
  return order[nucleus - 1];
}

/// A row's greatest logit and the logarithm of what the exponentials of all are of its own: log-softmax in two parts.
struct Row {
  int64_t best = 0;
  double most = 0, logTotal = 0;
};

template <typename T> StatusOr<Row> readRow(const T *logits, int64_t count) {
  Row row;
  row.best = std::max_element(logits, logits + count) - logits;
  row.most = static_cast<double>(logits[row.best]);
  double total = 0;
  for (int64_t i = 0; i < count; ++i)
    total += std::exp(static_cast<double>(logits[i]) - row.most);
  if (!std::isfinite(row.most) || !std::isfinite(total))
    return Status::failed("the model's logits are not finite");
  row.logTotal = std::log(total);
  return row;
}

/// The places of the greatest `most` logits, in falling order. They are few: each is put where it belongs among those
/// so far.
template <typename T> std::vector<int64_t> findGreatest(const T *logits, int64_t count, int64_t most) {
  std::vector<int64_t> found;
  for (int64_t i = 0; i < count && most > 0; ++i) {
    const bool isFull = static_cast<int64_t>(found.size()) == most;
    if (isFull && !(logits[i] > logits[found.back()]))
      continue;
    if (isFull)
      found.pop_back();
    found.insert(
        std::upper_bound(found.begin(), found.end(), i, [&](int64_t a, int64_t b) { return logits[a] > logits[b]; }),
        i);
  }
  return found;
}

template <typename T>
SampledToken describe(const T *logits, int64_t count, const Row &row, int64_t token, int64_t likely) {
  auto logProbability = [&](int64_t i) { return static_cast<double>(logits[i]) - row.most - row.logTotal; };
  SampledToken described;
  described.token = token;
  described.logProbability = logProbability(token);
  for (int64_t i : findGreatest(logits, count, likely))
    described.likely.push_back({i, logProbability(i)});
  return described;
}

template <typename T>
StatusOr<SampledToken> sampleOf(const T *logits, int64_t count, const SamplingOptions &options, int64_t index) {
  MORPH_ASSIGN_OR_RETURN(const Row row, readRow(logits, count));
  const int64_t token = options.temperature == 0 ? row.best : draw(logits, count, options, index, row.most);
  return describe(logits, count, row, token, options.likely);
}

template <typename T> StatusOr<SampledToken> scoreOf(const T *logits, int64_t count, int64_t token, int64_t likely) {
  MORPH_ASSIGN_OR_RETURN(const Row row, readRow(logits, count));
  return describe(logits, count, row, token, likely);
}

} // namespace

StatusOr<SampledToken> sampleToken(const float *logits, int64_t count, const SamplingOptions &options, int64_t index) {
  return sampleOf(logits, count, options, index);
}
StatusOr<SampledToken> sampleToken(const double *logits, int64_t count, const SamplingOptions &options, int64_t index) {
  return sampleOf(logits, count, options, index);
}
StatusOr<SampledToken> scoreToken(const float *logits, int64_t count, int64_t token, int64_t likely) {
  return scoreOf(logits, count, token, likely);
}
StatusOr<SampledToken> scoreToken(const double *logits, int64_t count, int64_t token, int64_t likely) {
  return scoreOf(logits, count, token, likely);
}

} // namespace morph
