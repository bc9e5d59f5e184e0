// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernels/ChunkMath.h"

#include "runtime/kernels/ChunkLoops.h"
#include "runtime/kernels/SmallProducts.h"

#include <algorithm>

namespace morph::chunk {
namespace {

/// Rows that are solved by loops; the others' part comes by products.
constexpr int64_t kBlock = 16;

template <typename T>
void solveLowerBlocked(int64_t c, int64_t n, Matrix<T> m, const T *beta, Matrix<T> e, Matrix<T> u) {
  for (int64_t begin = 0; begin < c; begin += kBlock) {
    const int64_t end = std::min(c, begin + kBlock);
    if (begin > 0)
      multiply(false, false, end - begin, n, begin, T(-1), m.below(begin), u, T(1), e.below(begin));
    solveLowerBlock(begin, end, n, m, beta, e, u);
  }
}

template <typename T>
void solveUpperBlocked(int64_t c, int64_t n, Matrix<T> m, const T *beta, Matrix<T> r, Matrix<T> x) {
  for (int64_t begin = (c - 1) / kBlock * kBlock; begin >= 0; begin -= kBlock) {
    const int64_t end = std::min(c, begin + kBlock);
    if (end < c)
      multiply(true, false, end - begin, n, c - end, T(-1), m.below(end).right(begin), x.below(end), T(1),
               r.below(begin));
    solveUpperBlock(begin, end, n, m, beta, r, x);
  }
}

} // namespace

void solveLower(int64_t c, int64_t n, Matrix<float> m, const float *beta, Matrix<float> e, Matrix<float> u) {
  solveLowerBlocked(c, n, m, beta, e, u);
}
void solveLower(int64_t c, int64_t n, Matrix<double> m, const double *beta, Matrix<double> e, Matrix<double> u) {
  solveLowerBlocked(c, n, m, beta, e, u);
}
void solveUpper(int64_t c, int64_t n, Matrix<float> m, const float *beta, Matrix<float> r, Matrix<float> x) {
  solveUpperBlocked(c, n, m, beta, r, x);
}
void solveUpper(int64_t c, int64_t n, Matrix<double> m, const double *beta, Matrix<double> r, Matrix<double> x) {
  solveUpperBlocked(c, n, m, beta, r, x);
}

} // namespace morph::chunk
