// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernels/ChannelLoops.h"
#include "runtime/kernels/Vectorize.h"

namespace morph::chunk {
namespace {

template <typename T> MORPH_INLINE void decayFactorsOf(int64_t rows, int64_t n, Matrix<const T> g, Matrix<T> to) {
  for (int64_t i = 0; i < rows; ++i) {
    const T *__restrict source = g.row(i);
    T *__restrict target = to.row(i);
    for (int64_t l = 0; l < n; ++l)
      target[l] = flushed(fastExp(source[l]));
  }
}

template <typename T>
MORPH_INLINE void decayProductsFromOf(int64_t begin, int64_t middle, int64_t end, int64_t n, Matrix<const T> a,
                                      Matrix<T> to) {
  for (int64_t j = middle - 1; j >= begin; --j) {
    T *row = to.row(j);
    const T *later = to.row(j + 1), *factor = a.row(j + 1);
    if (j == middle - 1) {
      for (int64_t l = 0; l < n; ++l)
        row[l] = 1;
      continue;
    }
#pragma omp simd
    for (int64_t l = 0; l < n; ++l)
      row[l] = flushed(later[l] * factor[l]);
  }
  for (int64_t i = middle; i < end; ++i) {
    T *row = to.row(i);
    const T *factor = a.row(i), *earlier = i > middle ? to.row(i - 1) : nullptr;
    if (!earlier) {
      for (int64_t l = 0; l < n; ++l)
        row[l] = factor[l];
      continue;
    }
#pragma omp simd
    for (int64_t l = 0; l < n; ++l)
      row[l] = flushed(earlier[l] * factor[l]);
  }
}

template <typename T>
MORPH_INLINE void multiplyElementsOf(int64_t rows, int64_t n, Matrix<const T> x, Matrix<const T> y, Matrix<T> to) {
  for (int64_t i = 0; i < rows; ++i) {
    const T *a = x.row(i), *b = y.row(i);
    T *target = to.row(i);
#pragma omp simd
    for (int64_t l = 0; l < n; ++l)
      target[l] = a[l] * b[l];
  }
}

template <typename T>
MORPH_INLINE void addProductsOf(int64_t rows, int64_t n, T sign, Matrix<const T> x, Matrix<const T> y, Matrix<T> to) {
  for (int64_t i = 0; i < rows; ++i) {
    const T *__restrict a = x.row(i);
    const T *__restrict b = y.row(i);
    T *__restrict target = to.row(i);
    for (int64_t l = 0; l < n; ++l)
      target[l] += sign * a[l] * b[l];
  }
}

/// One more factor for what decays from a row to the next ones.
template <typename T> MORPH_INLINE void decayOnce(int64_t n, const T *__restrict factor, T *__restrict products) {
  for (int64_t c = 0; c < n; ++c)
    products[c] = flushed(products[c] * factor[c]);
}

template <typename T>
MORPH_INLINE void blockScoresOf(int64_t begin, int64_t end, int64_t n, Matrix<const T> a, Matrix<const T> l,
                                Matrix<const T> r, bool strict, T *__restrict products, Matrix<T> scores) {
  for (int64_t j = begin; j < end; ++j) {
    const T *__restrict rj = r.row(j);
    for (int64_t c = 0; c < n; ++c)
      products[c] = 1;
    for (int64_t i = strict ? j + 1 : j; i < end; ++i) {
      const T *__restrict li = l.row(i);
      if (i > j)
        decayOnce(n, a.row(i), products);
      T sum = 0;
#pragma omp simd reduction(+ : sum)
      for (int64_t c = 0; c < n; ++c)
        sum += li[c] * (rj[c] * products[c]);
      scores.row(i)[j] = sum;
    }
  }
}

template <typename T>
MORPH_INLINE void blockGradientsOf(int64_t begin, int64_t end, int64_t n, Matrix<const T> a, Matrix<const T> l,
                                   Matrix<const T> r, bool strict, Matrix<const T> d, T *__restrict products,
                                   Matrix<T> dl, Matrix<T> dr) {
  for (int64_t j = begin; j < end; ++j) {
    const T *__restrict rj = r.row(j);
    T *__restrict drj = dr.row(j);
    for (int64_t c = 0; c < n; ++c)
      products[c] = 1;
    for (int64_t i = strict ? j + 1 : j; i < end; ++i) {
      const T *__restrict li = l.row(i);
      T *__restrict dli = dl.row(i);
      if (i > j)
        decayOnce(n, a.row(i), products);
      const T weight = d.row(i)[j];
      for (int64_t c = 0; c < n; ++c) {
        const T w = weight * products[c];
        dli[c] += w * rj[c];
        drj[c] += w * li[c];
      }
    }
  }
}

} // namespace

MORPH_VECTORIZE void decayFactors(int64_t rows, int64_t n, Matrix<const float> g, Matrix<float> to) {
  decayFactorsOf<float>(rows, n, g, to);
}
void decayFactors(int64_t rows, int64_t n, Matrix<const double> g, Matrix<double> to) {
  decayFactorsOf<double>(rows, n, g, to);
}
MORPH_VECTORIZE void decayProductsFrom(int64_t begin, int64_t middle, int64_t end, int64_t n, Matrix<const float> a,
                                       Matrix<float> to) {
  decayProductsFromOf<float>(begin, middle, end, n, a, to);
}
void decayProductsFrom(int64_t begin, int64_t middle, int64_t end, int64_t n, Matrix<const double> a,
                       Matrix<double> to) {
  decayProductsFromOf<double>(begin, middle, end, n, a, to);
}
MORPH_VECTORIZE void multiplyElements(int64_t rows, int64_t n, Matrix<const float> x, Matrix<const float> y,
                                      Matrix<float> to) {
  multiplyElementsOf<float>(rows, n, x, y, to);
}
void multiplyElements(int64_t rows, int64_t n, Matrix<const double> x, Matrix<const double> y, Matrix<double> to) {
  multiplyElementsOf<double>(rows, n, x, y, to);
}
MORPH_VECTORIZE void addProducts(int64_t rows, int64_t n, float sign, Matrix<const float> x, Matrix<const float> y,
                                 Matrix<float> to) {
  addProductsOf<float>(rows, n, sign, x, y, to);
}
void addProducts(int64_t rows, int64_t n, double sign, Matrix<const double> x, Matrix<const double> y,
                 Matrix<double> to) {
  addProductsOf<double>(rows, n, sign, x, y, to);
}
MORPH_VECTORIZE void blockScores(int64_t begin, int64_t end, int64_t n, Matrix<const float> a, Matrix<const float> l,
                                 Matrix<const float> r, bool strict, float *products, Matrix<float> scores) {
  blockScoresOf<float>(begin, end, n, a, l, r, strict, products, scores);
}
void blockScores(int64_t begin, int64_t end, int64_t n, Matrix<const double> a, Matrix<const double> l,
                 Matrix<const double> r, bool strict, double *products, Matrix<double> scores) {
  blockScoresOf<double>(begin, end, n, a, l, r, strict, products, scores);
}
MORPH_VECTORIZE void blockGradients(int64_t begin, int64_t end, int64_t n, Matrix<const float> a, Matrix<const float> l,
                                    Matrix<const float> r, bool strict, Matrix<const float> d, float *products,
                                    Matrix<float> dl, Matrix<float> dr) {
  blockGradientsOf<float>(begin, end, n, a, l, r, strict, d, products, dl, dr);
}
void blockGradients(int64_t begin, int64_t end, int64_t n, Matrix<const double> a, Matrix<const double> l,
                    Matrix<const double> r, bool strict, Matrix<const double> d, double *products, Matrix<double> dl,
                    Matrix<double> dr) {
  blockGradientsOf<double>(begin, end, n, a, l, r, strict, d, products, dl, dr);
}

} // namespace morph::chunk
