// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernels/ChannelDecay.h"

#include "runtime/kernels/ChannelLoops.h"
#include "runtime/kernels/ChunkMath.h"

#include <algorithm>

namespace morph::chunk {
namespace {

/// Rows of a block on the diagonal that is not halved.
constexpr int64_t kSmallBlock = 8;

/// Calls visit(begin, middle, end) for each block and its halves, the small ones first.
template <typename Visit> void visitHalves(int64_t size, Visit visit) {
  for (int64_t half = kSmallBlock; half < size; half *= 2)
    for (int64_t begin = 0; begin + half < size; begin += 2 * half)
      visit(begin, begin + half, std::min(begin + 2 * half, size));
}

} // namespace

template <typename T>
ChannelDecay<T>::ChannelDecay(ScratchAllocator &scratch, const plan::LinearAttentionSizes &s)
    : width_(s.width), factors_(scratch.matrix<T>(s.chunk, s.width)), toEnd_(scratch.matrix<T>(s.chunk, s.width)),
      level_(scratch.matrix<T>(s.chunk, s.width)), tile_(scratch.matrix<T>(s.chunk, s.width)),
      later_(scratch.matrix<T>(2 * s.chunk, s.width)), earlier_(scratch.matrix<T>(2 * s.chunk, s.width)) {}

template <typename T> void ChannelDecay<T>::load(int64_t size, Matrix<const T> g, Matrix<T> fromStart, bool rounds) {
  size_ = size;
  rounds_ = rounds;
  decayFactors(size, width_, g, factors_);
  decayProductsFrom(0, 0, size, width_, factors_, fromStart);
  decayProductsFrom(0, size, size, width_, factors_, toEnd_);
}

template <typename T>
void ChannelDecay<T>::scale(int64_t sets, int64_t begin, int64_t end, Matrix<const T> x, Matrix<T> to) const {
  for (int64_t set = 0; set < sets; ++set)
    multiplyElements(end - begin, width_, x.below(set * size_ + begin), level_.below(begin),
                     to.below(set * (end - begin)));
}

template <typename T>
void ChannelDecay<T>::scores(int64_t reads, int64_t writes, bool strict, Matrix<const T> l, Matrix<const T> n,
                             Matrix<T> scores) const {
  for (int64_t i = 0; i < reads * size_; ++i)
    std::fill_n(scores.row(i), writes * size_, T(0));
  for (int64_t read = 0; read < reads; ++read)
    for (int64_t write = 0; write < writes; ++write)
      for (int64_t begin = 0; begin < size_; begin += kSmallBlock)
        blockScores(begin, std::min(begin + kSmallBlock, size_), width_, factors_, l.below(read * size_),
                    n.below(write * size_), strict || read > 0, tile_.data,
                    scores.below(read * size_).right(write * size_));
  visitHalves(size_, [&](int64_t begin, int64_t middle, int64_t end) {
    const int64_t first = middle - begin, second = end - middle;
    decayProductsFrom(begin, middle, end, width_, factors_, level_);
    scale(reads, middle, end, l, later_);
    scale(writes, begin, middle, n, earlier_);
    for (int64_t read = 0; read < reads; ++read)
      for (int64_t write = 0; write < writes; ++write)
        product(rounds_, false, true, second, first, width_, T(1), later_.below(read * second),
                earlier_.below(write * first), T(0), scores.below(read * size_ + middle).right(write * size_ + begin));
  });
}

template <typename T>
void ChannelDecay<T>::addGradients(int64_t reads, int64_t writes, Matrix<const T> d, Matrix<const T> l,
                                   Matrix<const T> n, Matrix<T> dl, Matrix<T> dn) const {
  for (int64_t read = 0; read < reads; ++read)
    for (int64_t write = 0; write < writes; ++write)
      for (int64_t begin = 0; begin < size_; begin += kSmallBlock)
        blockGradients(begin, std::min(begin + kSmallBlock, size_), width_, factors_, l.below(read * size_),
                       n.below(write * size_), read > 0, d.below(read * size_).right(write * size_), tile_.data,
                       dl.below(read * size_), dn.below(write * size_));
  visitHalves(size_, [&](int64_t begin, int64_t middle, int64_t end) {
    const int64_t first = middle - begin, second = end - middle;
    decayProductsFrom(begin, middle, end, width_, factors_, level_);
    scale(reads, middle, end, l, later_);
    scale(writes, begin, middle, n, earlier_);
    for (int64_t read = 0; read < reads; ++read) {
      for (int64_t write = 0; write < writes; ++write)
        product(rounds_, false, false, second, width_, first, T(1),
                d.below(read * size_ + middle).right(write * size_ + begin), earlier_.below(write * first),
                T(write > 0), tile_);
      addProducts(second, width_, T(1), tile_, level_.below(middle), dl.below(read * size_ + middle));
    }
    for (int64_t write = 0; write < writes; ++write) {
      for (int64_t read = 0; read < reads; ++read)
        product(rounds_, true, false, first, width_, second, T(1),
                d.below(read * size_ + middle).right(write * size_ + begin), later_.below(read * second), T(read > 0),
                tile_);
      addProducts(first, width_, T(1), tile_, level_.below(begin), dn.below(write * size_ + begin));
    }
  });
}

template class ChannelDecay<float>;
template class ChannelDecay<double>;

} // namespace morph::chunk
