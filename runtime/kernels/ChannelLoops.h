// SPDX-License-Identifier: Apache-2.0
// The plain loops of a chunk whose channels decay each by itself, compiled for several vector units: see
// ChannelDecay.h. Factors a [rows,n] are decays of positions and channels, from 0 to 1; products of them too small to
// matter are zero, as subnormal numbers are slow.

#ifndef MORPH_RUNTIME_KERNELS_CHANNELLOOPS_H
#define MORPH_RUNTIME_KERNELS_CHANNELLOOPS_H

#include "runtime/kernels/Matrix.h"

#include <cstdint>

namespace morph::chunk {

/// to [rows,n] = e^g for g not positive.
void decayFactors(int64_t rows, int64_t n, Matrix<const float> g, Matrix<float> to);
void decayFactors(int64_t rows, int64_t n, Matrix<const double> g, Matrix<double> to);

/// Products of factors from row `middle` outwards: row j < middle of `to` is a_{j+1} ... a_{middle-1}, row i >= middle
/// is a_middle ... a_i, for the rows [begin, end). The product of both is what decays from j to i.
void decayProductsFrom(int64_t begin, int64_t middle, int64_t end, int64_t n, Matrix<const float> a, Matrix<float> to);
void decayProductsFrom(int64_t begin, int64_t middle, int64_t end, int64_t n, Matrix<const double> a,
                       Matrix<double> to);

/// to [rows,n] = x * y, elementwise; `to` may be one of them.
void multiplyElements(int64_t rows, int64_t n, Matrix<const float> x, Matrix<const float> y, Matrix<float> to);
void multiplyElements(int64_t rows, int64_t n, Matrix<const double> x, Matrix<const double> y, Matrix<double> to);

/// to [rows,n] += sign * x * y, elementwise.
void addProducts(int64_t rows, int64_t n, float sign, Matrix<const float> x, Matrix<const float> y, Matrix<float> to);
void addProducts(int64_t rows, int64_t n, double sign, Matrix<const double> x, Matrix<const double> y,
                 Matrix<double> to);

/// scores_ij = sum_c l_ic n_jc (a_{j+1} ... a_i)_c for the rows i and j of [begin, end) with j < i, and, unless
/// `strict`, j = i. `products` is scratch of n numbers.
void blockScores(int64_t begin, int64_t end, int64_t n, Matrix<const float> a, Matrix<const float> l,
                 Matrix<const float> r, bool strict, float *products, Matrix<float> scores);
void blockScores(int64_t begin, int64_t end, int64_t n, Matrix<const double> a, Matrix<const double> l,
                 Matrix<const double> r, bool strict, double *products, Matrix<double> scores);

/// What these scores' gradients `d` add to those of l and r.
void blockGradients(int64_t begin, int64_t end, int64_t n, Matrix<const float> a, Matrix<const float> l,
                    Matrix<const float> r, bool strict, Matrix<const float> d, float *products, Matrix<float> dl,
                    Matrix<float> dr);
void blockGradients(int64_t begin, int64_t end, int64_t n, Matrix<const double> a, Matrix<const double> l,
                    Matrix<const double> r, bool strict, Matrix<const double> d, double *products, Matrix<double> dl,
                    Matrix<double> dr);

} // namespace morph::chunk

#endif // MORPH_RUNTIME_KERNELS_CHANNELLOOPS_H
