// SPDX-License-Identifier: Apache-2.0
// The products X:Y within a chunk whose channels decay each by itself: sum_c x_ic y_jc (a_{j+1} ... a_i)_c for j <= i,
// and their gradients. e_i / e_j is no product of a factor of i and one of j that both stay in range: e_j may be zero.
// So the chunk is halved, and halved again: between a block's second half (rows i) and its first (rows j), what decays
// from j to i is what decays from j to the end of the first half times what decays from there to i, both at most 1, and
// the block is a plain matrix product of scaled rows. Small blocks on the diagonal take the sum as it is. This is exact
// for decays of any strength, as secondary chunking is in GLA (arXiv 2312.06635, section 4.3), whose reference points
// it generalises.

#ifndef MORPH_RUNTIME_KERNELS_CHANNELDECAY_H
#define MORPH_RUNTIME_KERNELS_CHANNELDECAY_H

#include "runtime/kernels/Matrix.h"
#include "runtime/kernels/ScratchAllocator.h"

#include <cstdint>

namespace morph::chunk {

/// The decays of one chunk. Scratch: four matrices [C,K] and two [2 C,K].
template <typename T> class ChannelDecay {
public:
  ChannelDecay(ScratchAllocator &scratch, const plan::LinearAttentionSizes &sizes);

  /// Takes the decays e^g of g [size,K]; `fromStart` [size,K] becomes their running products.
  void load(int64_t size, Matrix<const T> g, Matrix<T> fromStart, bool rounds);
  /// [size,K]: what decays from each row to the chunk's end.
  Matrix<const T> toEnd() const { return toEnd_; }

  /// The scores of `reads` sets of `size` rows l, one below the other, by `writes` sets of rows n, beside each other.
  /// Zero above the diagonal of each block, and on it too but for the first set of l, and for that where `strict`.
  void scores(int64_t reads, int64_t writes, bool strict, Matrix<const T> l, Matrix<const T> n, Matrix<T> scores) const;

  /// Adds to the gradients of l and n what comes of `d`, the gradients of these scores with the first set of l not
  /// strict. What `d` has where scores are zero is not read.
  void addGradients(int64_t reads, int64_t writes, Matrix<const T> d, Matrix<const T> l, Matrix<const T> n,
                    Matrix<T> dl, Matrix<T> dn) const;

private:
  /// The rows [begin, end) of `sets` sets x, scaled by what decays between them and the middle of the block.
  void scale(int64_t sets, int64_t begin, int64_t end, Matrix<const T> x, Matrix<T> to) const;

  int64_t width_, size_ = 0;
  bool rounds_ = false;
  Matrix<T> factors_, toEnd_;
  Matrix<T> level_;           ///< What decays between a row and the middle of its block.
  Matrix<T> tile_;            ///< A product that is yet to be scaled.
  Matrix<T> later_, earlier_; ///< Scaled rows of l and n.
};

} // namespace morph::chunk

#endif // MORPH_RUNTIME_KERNELS_CHANNELDECAY_H
