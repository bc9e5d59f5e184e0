// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernels/GemmLoops.h"

#include "runtime/kernels/Lanes.h"

namespace morph {
namespace {

template <typename T> MORPH_INLINE void addRowOf(const T *bias, T *y, int64_t n) {
  for (int64_t j = 0; j < n; ++j)
    y[j] += bias[j];
}

/// One row of b after the other: memory is read as a single stream, which the processor sees coming. Four sums hide the
/// latency of an addition.
template <typename E>
MORPH_INLINE void rowTimesRowsOf(const E *a, const E *b, int64_t stride, float *y, int64_t n, int64_t k) {
  constexpr int64_t pair = 2 * kLanes;
  for (int64_t j = 0; j < n; ++j, b += stride) {
    Lanes sums[4] = {};
    int64_t p = 0;
    for (; p + 2 * pair <= k; p += 2 * pair) {
      const LanePair x = loadPair(a + p), y0 = loadPair(b + p), z = loadPair(a + p + pair), y1 = loadPair(b + p + pair);
      sums[0] += x.first * y0.first;
      sums[1] += x.second * y0.second;
      sums[2] += z.first * y1.first;
      sums[3] += z.second * y1.second;
    }
    float sum = sumOf((sums[0] + sums[1]) + (sums[2] + sums[3]));
    for (; p < k; ++p)
      sum += widen(a[p]) * widen(b[p]);
    y[j] = sum;
  }
}

} // namespace

MORPH_VECTORIZE void addRow(const float *bias, float *y, int64_t n) { addRowOf(bias, y, n); }
void addRow(const double *bias, double *y, int64_t n) { addRowOf(bias, y, n); }

MORPH_VECTORIZE void rowTimesRows(const float *a, const float *b, int64_t stride, float *y, int64_t n, int64_t k) {
  rowTimesRowsOf(a, b, stride, y, n, k);
}
void rowTimesRows(const double *a, const double *b, int64_t stride, double *y, int64_t n, int64_t k) {
  for (int64_t j = 0; j < n; ++j) {
    y[j] = 0;
    for (int64_t p = 0; p < k; ++p)
      y[j] += a[p] * b[j * stride + p];
  }
}
MORPH_VECTORIZE void rowTimesRows(const Bf16 *a, const Bf16 *b, int64_t stride, float *y, int64_t n, int64_t k) {
  rowTimesRowsOf(a, b, stride, y, n, k);
}

MORPH_VECTORIZE void widenRows(Matrix<const Bf16> x, Matrix<float> y, int64_t rows, int64_t columns) {
  for (int64_t i = 0; i < rows; ++i) {
    const Bf16 *const from = x.row(i);
    float *const to = y.row(i);
    for (int64_t j = 0; j < columns; ++j)
      to[j] = widen(from[j]);
  }
}

} // namespace morph
