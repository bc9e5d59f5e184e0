// SPDX-License-Identifier: Apache-2.0
// The products of a single query's attention: some heads, one row each, with the keys and values that they share. Keys
// and values are read once, a vector of them for all heads, as such products wait for memory. Every product has one
// order of sums whatever the count of heads and keys. Compiled for several vector units.

#ifndef MORPH_RUNTIME_KERNELS_DECODELOOPS_H
#define MORPH_RUNTIME_KERNELS_DECODELOOPS_H

#include "runtime/kernels/Bf16.h"
#include "runtime/kernels/Matrix.h"

#include <cstdint>

namespace morph {

/// x [heads,n] = q [heads,width] times the transpose of keys [n,width].
void scoreKeys(Matrix<const float> q, Matrix<const float> keys, Matrix<float> x, int64_t heads, int64_t n,
               int64_t width);
void scoreKeys(Matrix<const float> q, Matrix<const Bf16> keys, Matrix<float> x, int64_t heads, int64_t n,
               int64_t width);
void scoreKeys(Matrix<const double> q, Matrix<const double> keys, Matrix<double> x, int64_t heads, int64_t n,
               int64_t width);

/// o [heads,width] += shares [heads,n] times values [n,width].
void addValues(Matrix<const float> shares, Matrix<const float> values, Matrix<float> o, int64_t heads, int64_t n,
               int64_t width);
void addValues(Matrix<const float> shares, Matrix<const Bf16> values, Matrix<float> o, int64_t heads, int64_t n,
               int64_t width);
void addValues(Matrix<const double> shares, Matrix<const double> values, Matrix<double> o, int64_t heads, int64_t n,
               int64_t width);

} // namespace morph

#endif // MORPH_RUNTIME_KERNELS_DECODELOOPS_H
