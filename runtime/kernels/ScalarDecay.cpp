// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernels/ScalarDecay.h"

#include "runtime/kernels/ChunkLoops.h"
#include "runtime/kernels/ChunkMath.h"

#include <cmath>

namespace morph::chunk {

template <typename T>
ScalarDecay<T>::ScalarDecay(ScratchAllocator &scratch, const plan::LinearAttentionSizes &s)
    : width_(s.width), decay_(scratch.matrix<T>(s.chunk, s.chunk)), factors_(scratch.take<T>(s.chunk)) {}

template <typename T> void ScalarDecay<T>::load(int64_t size, Matrix<const T> g, Matrix<T> fromStart, bool rounds) {
  size_ = decay_.stride = size;
  rounds_ = rounds;
  for (int64_t i = 0; i < size; ++i)
    factors_[i] = std::exp(*g.row(i));
  decayProducts(size, factors_, decay_, fromStart.data);
}

template <typename T> void ScalarDecay<T>::apply(int64_t reads, int64_t writes, bool strict, Matrix<T> scores) const {
  for (int64_t read = 0; read < reads; ++read)
    for (int64_t write = 0; write < writes; ++write)
      applyDecay(size_, decay_, scores.below(read * size_).right(write * size_), strict || read > 0);
}

template <typename T>
void ScalarDecay<T>::scores(int64_t reads, int64_t writes, bool strict, Matrix<const T> l, Matrix<const T> n,
                            Matrix<T> scores) const {
  product(rounds_, false, true, reads * size_, writes * size_, width_, T(1), l, n, T(0), scores);
  apply(reads, writes, strict, scores);
}

template <typename T>
void ScalarDecay<T>::addGradients(int64_t reads, int64_t writes, Matrix<T> d, Matrix<const T> l, Matrix<const T> n,
                                  Matrix<T> dl, Matrix<T> dn) const {
  apply(reads, writes, false, d);
  product(rounds_, false, false, reads * size_, width_, writes * size_, T(1), d, n, T(1), dl);
  product(rounds_, true, false, writes * size_, width_, reads * size_, T(1), d, l, T(1), dn);
}

template class ScalarDecay<float>;
template class ScalarDecay<double>;

} // namespace morph::chunk
