// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernels/ChunkLoops.h"
#include "runtime/kernels/Bf16.h"
#include "runtime/kernels/Vectorize.h"

namespace morph::chunk {
namespace {

/// Forward substitution within the block of rows [begin, end).
template <typename T>
MORPH_INLINE void lowerBlock(int64_t begin, int64_t end, int64_t n, Matrix<T> m, const T *beta, Matrix<T> e,
                             Matrix<T> u) {
  for (int64_t i = begin; i < end; ++i) {
    T *__restrict ei = e.row(i);
    T *__restrict ui = u.row(i);
    for (int64_t j = begin; j < i; ++j) {
      const T factor = m.row(i)[j];
      const T *__restrict uj = u.row(j);
      for (int64_t l = 0; l < n; ++l)
        ei[l] -= factor * uj[l];
    }
    for (int64_t l = 0; l < n; ++l)
      ui[l] = beta[i] * ei[l];
  }
}

/// Back substitution with the transposed matrix within the block of rows [begin, end).
template <typename T>
MORPH_INLINE void upperBlock(int64_t begin, int64_t end, int64_t n, Matrix<T> m, const T *beta, Matrix<T> r,
                             Matrix<T> x) {
  for (int64_t j = end - 1; j >= begin; --j) {
    T *__restrict rj = r.row(j);
    T *__restrict xj = x.row(j);
    for (int64_t i = j + 1; i < end; ++i) {
      const T factor = m.row(i)[j];
      const T *__restrict xi = x.row(i);
      for (int64_t l = 0; l < n; ++l)
        rj[l] -= factor * xi[l];
    }
    for (int64_t l = 0; l < n; ++l)
      xj[l] = beta[j] * rj[l];
  }
}

template <typename T> MORPH_INLINE void decayProductsOf(int64_t c, const T *factors, Matrix<T> decay, T *fromStart) {
  T total = 1;
  for (int64_t i = 0; i < c; ++i) {
    T *__restrict row = decay.row(i);
    const T *__restrict above = decay.row(i > 0 ? i - 1 : 0);
    const T factor = factors[i];
    for (int64_t j = 0; j < i; ++j)
      row[j] = flushed(above[j] * factor);
    row[i] = 1;
    for (int64_t j = i + 1; j < c; ++j)
      row[j] = 0;
    total = flushed(total * factor);
    fromStart[i] = total;
  }
}

template <typename T> MORPH_INLINE void applyDecayOf(int64_t c, Matrix<const T> decay, Matrix<T> x, bool strict) {
  for (int64_t i = 0; i < c; ++i) {
    const T *__restrict d = decay.row(i);
    T *__restrict row = x.row(i);
    const int64_t end = strict ? i : i + 1;
    for (int64_t j = 0; j < end; ++j)
      row[j] *= d[j];
    // Set, not multiplied by zero: what overflowed here does not matter.
    for (int64_t j = end; j < c; ++j)
      row[j] = 0;
  }
}

template <typename T>
MORPH_INLINE void scaleRowsOf(int64_t rows, int64_t n, const T *factors, T factor, Matrix<const T> from, Matrix<T> to) {
  for (int64_t i = 0; i < rows; ++i) {
    const T *source = from.row(i);
    T *target = to.row(i);
    const T f = factors ? factors[i] : factor;
#pragma omp simd
    for (int64_t l = 0; l < n; ++l)
      target[l] = f * source[l];
  }
}

template <typename T>
MORPH_INLINE void addRowsOf(int64_t rows, int64_t n, Matrix<const T> a, Matrix<const T> b, Matrix<T> to) {
  for (int64_t i = 0; i < rows; ++i) {
    const T *x = a.row(i), *y = b.row(i);
    T *target = to.row(i);
#pragma omp simd
    for (int64_t l = 0; l < n; ++l)
      target[l] = x[l] + y[l];
  }
}

template <typename T>
MORPH_INLINE void addRowDotsOf(int64_t rows, int64_t n, T sign, Matrix<const T> a, Matrix<const T> b, T *sums) {
  for (int64_t i = 0; i < rows; ++i) {
    const T *x = a.row(i), *y = b.row(i);
    T sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t l = 0; l < n; ++l)
      sum += x[l] * y[l];
    sums[i] += sign * sum;
  }
}

template <typename T>
MORPH_INLINE void stateProductsOf(int64_t rows, int64_t n, Matrix<const T> s, const T *k, const T *q, T *__restrict x,
                                  T *__restrict y) {
  for (int64_t l = 0; l < n; ++l)
    x[l] = y[l] = 0;
  for (int64_t i = 0; i < rows; ++i) {
    const T *__restrict row = s.row(i);
    const T ki = k[i], qi = q[i];
    for (int64_t l = 0; l < n; ++l) {
      x[l] += ki * row[l];
      y[l] += qi * row[l];
    }
  }
}

template <typename T>
MORPH_INLINE void decayAndAddOf(int64_t rows, int64_t n, const T *factors, int64_t step, const T *k,
                                const T *__restrict u, Matrix<T> s) {
  for (int64_t i = 0; i < rows; ++i) {
    T *__restrict row = s.row(i);
    const T factor = factors[i * step], ki = k[i];
    for (int64_t l = 0; l < n; ++l)
      row[l] = factor * row[l] + ki * u[l];
  }
}

template <typename T>
MORPH_INLINE void decayAndAddTwoOf(int64_t rows, int64_t n, const T *factors, int64_t step, const T *a,
                                   const T *__restrict w, const T *k, const T *__restrict u, Matrix<T> s) {
  for (int64_t i = 0; i < rows; ++i) {
    T *__restrict row = s.row(i);
    const T factor = factors[i * step], ai = a[i], ki = k[i];
    for (int64_t l = 0; l < n; ++l)
      row[l] = factor * row[l] + ai * w[l] + ki * u[l];
  }
}

} // namespace

MORPH_VECTORIZE void solveLowerBlock(int64_t begin, int64_t end, int64_t n, Matrix<float> m, const float *beta,
                                     Matrix<float> e, Matrix<float> u) {
  lowerBlock<float>(begin, end, n, m, beta, e, u);
}
MORPH_VECTORIZE void solveUpperBlock(int64_t begin, int64_t end, int64_t n, Matrix<float> m, const float *beta,
                                     Matrix<float> r, Matrix<float> x) {
  upperBlock<float>(begin, end, n, m, beta, r, x);
}
void solveLowerBlock(int64_t begin, int64_t end, int64_t n, Matrix<double> m, const double *beta, Matrix<double> e,
                     Matrix<double> u) {
  lowerBlock<double>(begin, end, n, m, beta, e, u);
}
void solveUpperBlock(int64_t begin, int64_t end, int64_t n, Matrix<double> m, const double *beta, Matrix<double> r,
                     Matrix<double> x) {
  upperBlock<double>(begin, end, n, m, beta, r, x);
}
MORPH_VECTORIZE void decayProducts(int64_t c, const float *factors, Matrix<float> decay, float *fromStart) {
  decayProductsOf(c, factors, decay, fromStart);
}
void decayProducts(int64_t c, const double *factors, Matrix<double> decay, double *fromStart) {
  decayProductsOf(c, factors, decay, fromStart);
}
MORPH_VECTORIZE void applyDecay(int64_t c, Matrix<const float> decay, Matrix<float> x, bool strict) {
  applyDecayOf<float>(c, decay, x, strict);
}
void applyDecay(int64_t c, Matrix<const double> decay, Matrix<double> x, bool strict) {
  applyDecayOf<double>(c, decay, x, strict);
}
MORPH_VECTORIZE void scaleRows(int64_t rows, int64_t n, const float *factors, Matrix<const float> from,
                               Matrix<float> to) {
  scaleRowsOf<float>(rows, n, factors, 0, from, to);
}
void scaleRows(int64_t rows, int64_t n, const double *factors, Matrix<const double> from, Matrix<double> to) {
  scaleRowsOf<double>(rows, n, factors, 0, from, to);
}
MORPH_VECTORIZE void scaleAll(int64_t rows, int64_t n, float factor, Matrix<const float> from, Matrix<float> to) {
  scaleRowsOf<float>(rows, n, nullptr, factor, from, to);
}
void scaleAll(int64_t rows, int64_t n, double factor, Matrix<const double> from, Matrix<double> to) {
  scaleRowsOf<double>(rows, n, nullptr, factor, from, to);
}
MORPH_VECTORIZE void roundAll(int64_t rows, int64_t n, Matrix<float> x) {
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < n; ++j)
      x.row(i)[j] = widen(roundToBf16(x.row(i)[j]));
}
MORPH_VECTORIZE void addRows(int64_t rows, int64_t n, Matrix<const float> a, Matrix<const float> b, Matrix<float> to) {
  addRowsOf<float>(rows, n, a, b, to);
}
void addRows(int64_t rows, int64_t n, Matrix<const double> a, Matrix<const double> b, Matrix<double> to) {
  addRowsOf<double>(rows, n, a, b, to);
}
MORPH_VECTORIZE void addRowDots(int64_t rows, int64_t n, float sign, Matrix<const float> a, Matrix<const float> b,
                                float *sums) {
  addRowDotsOf<float>(rows, n, sign, a, b, sums);
}
void addRowDots(int64_t rows, int64_t n, double sign, Matrix<const double> a, Matrix<const double> b, double *sums) {
  addRowDotsOf<double>(rows, n, sign, a, b, sums);
}
MORPH_VECTORIZE void stateProducts(int64_t rows, int64_t n, Matrix<const float> s, const float *k, const float *q,
                                   float *x, float *y) {
  stateProductsOf<float>(rows, n, s, k, q, x, y);
}
void stateProducts(int64_t rows, int64_t n, Matrix<const double> s, const double *k, const double *q, double *x,
                   double *y) {
  stateProductsOf<double>(rows, n, s, k, q, x, y);
}
MORPH_VECTORIZE void decayAndAdd(int64_t rows, int64_t n, const float *factors, int64_t step, const float *k,
                                 const float *u, Matrix<float> s) {
  decayAndAddOf<float>(rows, n, factors, step, k, u, s);
}
void decayAndAdd(int64_t rows, int64_t n, const double *factors, int64_t step, const double *k, const double *u,
                 Matrix<double> s) {
  decayAndAddOf<double>(rows, n, factors, step, k, u, s);
}
MORPH_VECTORIZE void decayAndAddTwo(int64_t rows, int64_t n, const float *factors, int64_t step, const float *a,
                                    const float *w, const float *k, const float *u, Matrix<float> s) {
  decayAndAddTwoOf<float>(rows, n, factors, step, a, w, k, u, s);
}
void decayAndAddTwo(int64_t rows, int64_t n, const double *factors, int64_t step, const double *a, const double *w,
                    const double *k, const double *u, Matrix<double> s) {
  decayAndAddTwoOf<double>(rows, n, factors, step, a, w, k, u, s);
}

} // namespace morph::chunk
