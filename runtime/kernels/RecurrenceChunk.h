// SPDX-License-Identifier: Apache-2.0
// One chunk of ChunkedRecurrence and what it works on: a head's operands, what the head keeps between the steps, and
// what is computed of a chunk alone. Letters are those of ChunkedRecurrence.h.

#ifndef MORPH_RUNTIME_KERNELS_RECURRENCECHUNK_H
#define MORPH_RUNTIME_KERNELS_RECURRENCECHUNK_H

#include "runtime/kernels/ChannelDecay.h"
#include "runtime/kernels/ChannelLoops.h"
#include "runtime/kernels/ChunkLoops.h"
#include "runtime/kernels/ChunkMath.h"
#include "runtime/kernels/ChunkedRecurrence.h"
#include "runtime/kernels/ScalarDecay.h"
#include "runtime/kernels/ScratchAllocator.h"

#include <algorithm>
#include <type_traits>

namespace morph {

using plan::LinearAttentionSizes;
using plan::StateUpdate;

/// One head's operands; those that the problem has not are null.
template <typename T> struct Head {
  Head(const RecurrenceProblem<T> &p, int64_t index)
      : sizes(p.sizes), b(index / p.sizes.heads), h(index % p.sizes.heads), q(shared(p.q)), k(shared(p.k)),
        v(of(p.v, p.sizes.valueWidth)), beta(of(p.beta, 1)), write(of(p.write, p.sizes.width)),
        erase(of(p.erase, p.sizes.width)) {
    // A stride of 0: the same decay everywhere.
    static constexpr T none = 0;
    g = p.channelDecay ? of(p.channelDecay, p.sizes.width)
        : p.decay      ? of(p.decay, 1)
                       : Matrix<const T>{p.headDecay ? p.headDecay + h : &none, 0};
  }
  template <typename U> Matrix<U> of(U *x, int64_t width) const {
    return x ? headOf(x, b, h, sizes.length, sizes.heads, width) : Matrix<U>{};
  }

  const LinearAttentionSizes &sizes;
  int64_t b, h;
  Matrix<const T> q, k, v, beta, write, erase, g;

private:
  /// Of what the heads of a group share.
  Matrix<const T> shared(const T *x) const {
    return headOf(x, b, h / (sizes.heads / sizes.groups), sizes.length, sizes.groups, sizes.width);
  }
};

/// What a head keeps of its chunks between the steps.
template <typename T> struct Kept {
  Kept(ScratchAllocator scratch, const RecurrenceProblem<T> &p, int64_t index, bool gradient)
      : fh(scratch.matrix<T>(p.sizes.length, p.sizes.valueWidth + p.sizes.width)),
        fromStart(scratch.matrix<T>(p.sizes.length, p.sizes.decays())),
        toEnd(scratch.matrix<T>(p.sizes.length, p.sizes.decays())) {
    const LinearAttentionSizes &s = p.sizes;
    const int64_t before = s.chunks() * s.width * s.valueWidth;
    w = p.written ? Head<T>(p, index).of(p.written, s.valueWidth) : fh;
    states = p.states ? p.states + index * before : scratch.take<T>(before);
    last = scratch.take<T>(s.width * s.valueWidth);
    if (gradient) {
      yz = scratch.matrix<T>(s.length, s.valueWidth + s.width);
      rs = scratch.take<T>((s.chunks() + 1) * s.width * s.valueWidth);
    }
  }
  Matrix<T> fh; ///< [F | H], then [W | H], of the delta rule [E | H]. Without reads before writes nothing.
  Matrix<T> fromStart, toEnd; ///< e and f of each chunk: [T,1], or [T,K] where channels decay each by itself.
  Matrix<T> w;                ///< W or E: where they are in [F | H], or where the problem has them.
  T *states, *last;           ///< At the chunks' starts, and after the last one.
  Matrix<T> yz{};             ///< [P | Z], then [Y | Z], of the delta rule with P + Z R for Y.
  T *rs = nullptr;            ///< R at the chunks' ends; the first one stands at 1.
};

/// Rows x [rows,n] scaled by decays: one a row, or one a channel.
template <bool channels, typename T>
void decayRows(int64_t rows, int64_t n, Matrix<const chunk::Same<T>> decays, Matrix<const chunk::Same<T>> x,
               Matrix<T> to) {
  if constexpr (channels)
    chunk::multiplyElements(rows, n, decays, x, to);
  else
    chunk::scaleRows(rows, n, decays.data, x, to);
}

/// The chunk that a thread works on. `channels`: whether these decay each by itself. Rows that read, L, and rows that
/// are written, N, lie one below the other, as do their scores, so that one product serves all: [Q; K] where K is
/// written (and of the delta rule read), else [Q; B; A; K].
template <typename T, StateUpdate update, bool channels> struct Chunk {
  static constexpr bool isDelta = update == StateUpdate::Delta;
  static constexpr int64_t kReads = update == StateUpdate::Add ? 1 : 2, kWrites = update == StateUpdate::Free ? 2 : 1;

  Chunk(ScratchAllocator scratch, const LinearAttentionSizes &s, bool gradient)
      : s(s), rows(scratch.matrix<T>(2 * kWrites * s.chunk, s.width)),
        scores(scratch.matrix<T>(kReads * s.chunk, kWrites * s.chunk)), beta(scratch.take<T>(s.chunk)),
        x(scratch.matrix<T>(s.chunk, s.width + s.valueWidth)), y(scratch.matrix<T>(s.chunk, s.width + s.valueWidth)),
        fromStart(scratch.matrix<T>(s.chunk, s.decays())), decays(scratch, s) {
    if (gradient) {
      dl = scratch.matrix<T>(kReads * s.chunk, s.valueWidth);
      u = scratch.matrix<T>(s.chunk, s.valueWidth);
      scaled = scratch.matrix<T>(s.chunk, s.valueWidth);
      dScores = scratch.matrix<T>(kReads * s.chunk, kWrites * s.chunk);
      dReads = scratch.matrix<T>(kReads * s.chunk, s.width);
      dWrites = scratch.matrix<T>(kWrites * s.chunk, s.width);
      dDecays = scratch.matrix<T>(s.chunk, s.decays());
    }
  }

  /// Loads chunk `number` of a head and computes the decays, and the scores of Q and of B where needed.
  void load(const RecurrenceProblem<T> &p, const Head<T> &head, int64_t number, bool needQ, bool needB) {
    begin = number * s.chunk;
    size = std::min(s.chunk, s.length - begin);
    copy(head.k, keys());
    if constexpr (update == StateUpdate::Free) {
      copy(head.erase, erased());
      copy(head.write, written());
    }
    for (int64_t i = 0; i < size; ++i)
      beta[i] = isDelta ? *head.beta.row(begin + i) : T(-1); // Of Free: I - M_a is I + M_a diag(-1).
    scores.stride = dScores.stride = kWrites * size;
    decays.load(size, head.g.below(begin), fromStart, p.rounds);
    if (needQ)
      chunk::scaleAll(size, s.width, p.scale, head.q.below(begin), rows);
    // Products would round them, and the gradients of decays are differences of such products and of theirs.
    if constexpr (std::is_same_v<T, float>)
      if (needQ && p.rounds)
        chunk::roundAll(size, s.width, rows);
    const int64_t first = needQ ? 0 : 1, count = int64_t(needQ) + int64_t(needB);
    if (count > 0)
      decays.scores(count, kWrites, first > 0, rows.below(first * size), written(), scores.below(first * size));
  }

  Matrix<T> erased() const { return rows.below(size); }
  Matrix<T> written() const { return rows.below(kWrites * size); }
  Matrix<T> keys() const { return rows.below((2 * kWrites - 1) * size); }
  /// The scores of B, or of the keys that are read.
  Matrix<T> m() const { return scores.below(size); }
  Matrix<const T> toEnd() const { return decays.toEnd(); }

  /// The decays of a loaded chunk to what the head keeps.
  void keepDecays(Kept<T> &kept) const {
    chunk::scaleAll(1, size * s.decays(), T(1), fromStart, kept.fromStart.below(begin));
    chunk::scaleAll(1, size * s.decays(), T(1), toEnd(), kept.toEnd.below(begin));
  }
  /// [F | H] of a loaded chunk to what the head keeps.
  void solveForward(const RecurrenceProblem<T> &p, const Head<T> &head, Kept<T> &kept) {
    if constexpr (update != StateUpdate::Add) {
      const int64_t n = s.valueWidth;
      const Matrix<T> fh = kept.fh.below(begin);
      if constexpr (isDelta)
        chunk::scaleAll(size, n, T(1), head.v.below(begin), fh);
      else
        chunk::product(p.rounds, false, false, size, n, size, T(1), m().right(size), head.v.below(begin), T(0), fh);
      decayRows<channels>(size, s.width, fromStart, erased(), fh.right(n));
      chunk::solveLower(size, n + s.width, m(), beta, fh, x);
    }
  }
  /// [P | Z] of a loaded chunk.
  void solveBackward(const RecurrenceProblem<T> &p, Matrix<const T> dO, Kept<T> &kept) {
    if constexpr (update != StateUpdate::Add) {
      const int64_t n = s.valueWidth;
      const Matrix<T> yz = kept.yz.below(begin);
      chunk::product(p.rounds, true, false, size, n, size, T(1), scores, dO.below(begin), T(0), yz);
      decayRows<channels>(size, s.width, toEnd(), written(), yz.right(n));
      chunk::solveUpper(size, n + s.width, m(), beta, yz, x);
    }
  }

  const LinearAttentionSizes &s;
  int64_t begin = 0, size = 0;
  Matrix<T> rows, scores;
  T *beta;
  Matrix<T> x, y; ///< Scratch of the steps.
  Matrix<T> fromStart;
  std::conditional_t<channels, chunk::ChannelDecay<T>, chunk::ScalarDecay<T>> decays;
  Matrix<T> dl{}, u{}, scaled{}, dScores{}, dReads{}, dWrites{}, dDecays{};

private:
  void copy(Matrix<const T> from, Matrix<T> to) const {
    for (int64_t i = 0; i < size; ++i)
      std::copy_n(from.row(begin + i), s.width, to.row(i));
  }
};

} // namespace morph

#endif // MORPH_RUNTIME_KERNELS_RECURRENCECHUNK_H
