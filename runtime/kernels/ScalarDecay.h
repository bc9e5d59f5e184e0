// SPDX-License-Identifier: Apache-2.0
// The products X:Y within a chunk (ChunkedRecurrence.h) all of whose channels decay alike: plain matrix products, times
// what decays from row j to row i. The interface is ChannelDecay's.

#ifndef MORPH_RUNTIME_KERNELS_SCALARDECAY_H
#define MORPH_RUNTIME_KERNELS_SCALARDECAY_H

#include "runtime/kernels/Matrix.h"
#include "runtime/kernels/ScratchAllocator.h"

#include <cstdint>

namespace morph::chunk {

/// The decays of one chunk. Scratch: a matrix [C,C] and C numbers.
template <typename T> class ScalarDecay {
public:
  ScalarDecay(ScratchAllocator &scratch, const plan::LinearAttentionSizes &sizes);

  /// Takes the decays e^g of g [size,1]; `fromStart` [size,1] becomes their running products.
  void load(int64_t size, Matrix<const T> g, Matrix<T> fromStart, bool rounds);
  /// [size,1]: what decays from each row to the chunk's end.
  Matrix<const T> toEnd() const { return {decay_.row(size_ - 1), 1}; }

  /// The scores of `reads` sets of `size` rows l, one below the other, by `writes` sets of rows n, beside each other.
  /// Zero above the diagonal of each block, and on it too but for the first set of l, and for that where `strict`.
  void scores(int64_t reads, int64_t writes, bool strict, Matrix<const T> l, Matrix<const T> n, Matrix<T> scores) const;

  /// Adds to the gradients of l and n what comes of `d`, the gradients of these scores with the first set of l not
  /// strict. `d` is multiplied by the decays.
  void addGradients(int64_t reads, int64_t writes, Matrix<T> d, Matrix<const T> l, Matrix<const T> n, Matrix<T> dl,
                    Matrix<T> dn) const;

private:
  void apply(int64_t reads, int64_t writes, bool strict, Matrix<T> scores) const;

  int64_t width_, size_ = 0;
  bool rounds_ = false;
  Matrix<T> decay_; ///< G
  T *factors_;
};

} // namespace morph::chunk

#endif // MORPH_RUNTIME_KERNELS_SCALARDECAY_H
