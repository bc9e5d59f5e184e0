// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernels/LinearAttentionTerms.h"

#include "runtime/kernels/Matrix.h"
#include "runtime/kernels/Parallel.h"

#include <algorithm>

namespace morph {
namespace {

using plan::LinearAttentionSizes;

/// Lines that are worth a thread.
constexpr int64_t kGrain = 256;

/// Calls visit(line) for all lines [B,T,H] of values.
template <typename Visit> void visitLines(const LinearAttentionSizes &s, int threads, Visit visit) {
  parallelRanges(threads, s.batch * s.length * s.heads, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t line = begin; line < end; ++line)
      visit(line);
  });
}

/// The line of q and k [B,T,G,K] that a line of values has.
int64_t sharedLine(const LinearAttentionSizes &s, int64_t line) {
  return line / s.heads * s.groups + line % s.heads / (s.heads / s.groups);
}

/// sum_c bonus_c q_c k_c
template <typename T> T bonusOf(int64_t width, const T *bonus, const T *q, const T *k) {
  T sum = 0;
  for (int64_t c = 0; c < width; ++c)
    sum += bonus[c] * q[c] * k[c];
  return sum;
}

} // namespace

template <typename T> void appendOnes(const LinearAttentionSizes &s, const T *v, T *values, int threads) {
  const int64_t width = s.valueWidth - 1;
  visitLines(s, threads, [&](int64_t line) {
    std::copy_n(v + line * width, width, values + line * s.valueWidth);
    values[line * s.valueWidth + width] = 1;
  });
}

template <typename T> void normalise(const LinearAttentionSizes &s, double eps, const T *sums, T *o, int threads) {
  const int64_t width = s.valueWidth - 1;
  visitLines(s, threads, [&](int64_t line) {
    const T *sum = sums + line * s.valueWidth;
    for (int64_t l = 0; l < width; ++l)
      o[line * width + l] = sum[l] / (sum[width] + T(eps));
  });
}

template <typename T>
void normaliseGradient(const LinearAttentionSizes &s, double eps, const T *sums, const T *dO, T *dSums, int threads) {
  const int64_t width = s.valueWidth - 1;
  visitLines(s, threads, [&](int64_t line) {
    const T *sum = sums + line * s.valueWidth, *d = dO + line * width;
    T *const dSum = dSums + line * s.valueWidth;
    const T inverse = 1 / (sum[width] + T(eps));
    T products = 0;
    for (int64_t l = 0; l < width; ++l) {
      dSum[l] = d[l] * inverse;
      products += dSum[l] * sum[l];
    }
    dSum[width] = -products * inverse;
  });
}

template <typename T> void dropOnes(const LinearAttentionSizes &s, const T *dValues, T *dv, int threads) {
  const int64_t width = s.valueWidth - 1;
  visitLines(s, threads, [&](int64_t line) { std::copy_n(dValues + line * s.valueWidth, width, dv + line * width); });
}

template <typename T> void addBonus(const RecurrenceProblem<T> &p, const T *bonus, T *o, int threads) {
  const LinearAttentionSizes &s = p.sizes;
  visitLines(s, threads, [&](int64_t line) {
    const int64_t shared = sharedLine(s, line) * s.width;
    const T weight = p.scale * bonusOf(s.width, bonus + line % s.heads * s.width, p.q + shared, p.k + shared);
    for (int64_t l = line * s.valueWidth; l < (line + 1) * s.valueWidth; ++l)
      o[l] += weight * p.v[l];
  });
}

template <typename T>
void addBonusGradients(const RecurrenceProblem<T> &p, const T *bonus, const T *dO, const RecurrenceGradients<T> &to,
                       T *dBonus, int threads) {
  const LinearAttentionSizes &s = p.sizes;
  parallelTasks(threads, s.heads, [&](int64_t head, int) {
    const T *const factors = bonus + head * s.width;
    T *const dFactors = dBonus + head * s.width;
    std::fill_n(dFactors, s.width, T(0));
    for (int64_t line = head; line < s.batch * s.length * s.heads; line += s.heads) {
      const T *q = p.q + sharedLine(s, line) * s.width, *k = p.k + sharedLine(s, line) * s.width;
      const T weight = p.scale * bonusOf(s.width, factors, q, k);
      T dWeight = 0;
      for (int64_t l = line * s.valueWidth; l < (line + 1) * s.valueWidth; ++l) {
        dWeight += dO[l] * p.v[l];
        to.dv[l] += weight * dO[l];
      }
      dWeight *= p.scale;
      T *const dq = to.dq + line * s.width, *const dk = to.dk + line * s.width;
      for (int64_t c = 0; c < s.width; ++c) {
        dq[c] += dWeight * factors[c] * k[c];
        dk[c] += dWeight * factors[c] * q[c];
        dFactors[c] += dWeight * q[c] * k[c];
      }
    }
  });
}

template <typename T> void sumGroups(const LinearAttentionSizes &s, const T *x, T *to, int threads) {
  const int64_t heads = s.heads / s.groups;
  parallelRanges(threads, s.batch * s.length * s.groups, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t line = begin; line < end; ++line)
      for (int64_t head = 0; head < heads; ++head)
        for (int64_t c = 0; c < s.width; ++c) {
          const T value = x[(line * heads + head) * s.width + c];
          to[line * s.width + c] = head == 0 ? value : to[line * s.width + c] + value;
        }
  });
}

#define MORPH_TERMS(T)                                                                                                 \
  template void appendOnes<T>(const LinearAttentionSizes &, const T *, T *, int);                                      \
  template void normalise<T>(const LinearAttentionSizes &, double, const T *, T *, int);                               \
  template void normaliseGradient<T>(const LinearAttentionSizes &, double, const T *, const T *, T *, int);            \
  template void dropOnes<T>(const LinearAttentionSizes &, const T *, T *, int);                                        \
  template void addBonus<T>(const RecurrenceProblem<T> &, const T *, T *, int);                                        \
  template void addBonusGradients<T>(const RecurrenceProblem<T> &, const T *, const T *,                               \
                                     const RecurrenceGradients<T> &, T *, int);                                        \
  template void sumGroups<T>(const LinearAttentionSizes &, const T *, T *, int);
MORPH_TERMS(float)
MORPH_TERMS(double)
#undef MORPH_TERMS

} // namespace morph
