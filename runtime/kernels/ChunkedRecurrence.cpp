// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernels/ChunkedRecurrence.h"

#include "runtime/kernels/ChunkLoops.h"
#include "runtime/kernels/ChunkMath.h"
#include "runtime/kernels/Parallel.h"
#include "runtime/kernels/ScratchAllocator.h"
#include "runtime/kernels/SmallProducts.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <type_traits>

namespace morph {
namespace {

using plan::kValueColumns;
using plan::LinearAttentionSizes;

/// A product of a recurrence (SmallProducts.h).
template <typename T, typename... Arguments>
void product(const RecurrenceProblem<T> &p, bool transposeA, bool transposeB, Arguments... arguments) {
  if constexpr (std::is_same_v<T, float>)
    if (p.rounds)
      return multiplyRounded(transposeA, transposeB, arguments...);
  multiply(transposeA, transposeB, arguments...);
}

/// One head's operands.
template <typename T> struct Head {
  Head(const RecurrenceProblem<T> &p, int64_t index)
      : b(index / p.sizes.heads), h(index % p.sizes.heads), q(of(p.q, p.sizes.width, p)), k(of(p.k, p.sizes.width, p)),
        v(of(p.v, p.sizes.valueWidth, p)),
        g(p.beta ? of(p.g, 1, p) : Matrix<const T>{p.g + h, 0}), // A stride of 0: the same decay everywhere.
        beta(p.beta ? of(p.beta, 1, p) : Matrix<const T>{nullptr, 0}) {}
  template <typename U> Matrix<U> of(U *x, int64_t width, const RecurrenceProblem<T> &p) const {
    return headOf(x, b, h, p.sizes.length, p.sizes.heads, width);
  }
  int64_t b, h;
  Matrix<const T> q, k, v, g, beta;
};

/// What a head keeps of its chunks between the steps.
template <typename T> struct Kept {
  Kept(ScratchAllocator scratch, const LinearAttentionSizes &s, bool gradient)
      : fh(scratch.matrix<T>(s.length, s.valueWidth + s.width)), fromStart(scratch.take<T>(s.length)),
        toEnd(scratch.take<T>(s.length)), states(scratch.take<T>((s.chunks() + 1) * s.width * s.valueWidth)) {
    if (gradient) {
      pz = scratch.matrix<T>(s.length, s.valueWidth + s.width);
      rs = scratch.take<T>((s.chunks() + 1) * s.width * s.valueWidth);
    }
  }
  Matrix<T> fh;         ///< [F | H], then [E | H].
  T *fromStart, *toEnd; ///< e and G_C of each chunk.
  T *states;            ///< At the chunks' starts, and after the last one.
  Matrix<T> pz{};       ///< [P | Z], then [W | Z]; without beta nothing.
  T *rs = nullptr;      ///< R at the chunks' ends; the first one stands at 1.
};

/// The chunk that a thread works on. Q (scaled) and K lie one below the other, as do A and M, so that one product
/// serves both.
template <typename T> struct Chunk {
  Chunk(ScratchAllocator scratch, const LinearAttentionSizes &s, bool gradient)
      : s(s), qk(scratch.matrix<T>(2 * s.chunk, s.width)), am(scratch.matrix<T>(2 * s.chunk, s.chunk)),
        decay(scratch.matrix<T>(s.chunk, s.chunk)), factors(scratch.take<T>(s.chunk)),
        fromStart(scratch.take<T>(s.chunk)), beta(scratch.take<T>(s.chunk)),
        x(scratch.matrix<T>(s.chunk, s.width + s.valueWidth)), y(scratch.matrix<T>(s.chunk, s.width + s.valueWidth)) {
    if (gradient) {
      dox = scratch.matrix<T>(2 * s.chunk, s.valueWidth);
      u = scratch.matrix<T>(s.chunk, s.valueWidth);
      scaled = scratch.matrix<T>(s.chunk, s.valueWidth);
      dam = scratch.matrix<T>(2 * s.chunk, s.chunk);
      dqk = scratch.matrix<T>(2 * s.chunk, s.width);
      dkMinus = scratch.matrix<T>(s.chunk, s.width);
      sums = scratch.take<T>(s.chunk);
    }
  }

  /// Loads chunk `number` of a head and computes the decays, and A and M where needed.
  void load(const RecurrenceProblem<T> &p, const Head<T> &head, int64_t number, bool needA, bool needM) {
    begin = number * s.chunk;
    size = std::min(s.chunk, s.length - begin);
    for (int64_t i = 0; i < size; ++i) {
      std::copy(head.k.row(begin + i), head.k.row(begin + i) + s.width, qk.row(size + i));
      factors[i] = std::exp(*head.g.row(begin + i));
      beta[i] = p.beta ? *head.beta.row(begin + i) : T(1);
    }
    am.stride = decay.stride = size;
    chunk::decayProducts(size, factors, decay, fromStart);
    if (needA)
      chunk::scaleAll(size, s.width, p.scale, head.q.below(begin), qk);
    if (needA && needM)
      product(p, false, true, 2 * size, size, s.width, T(1), qk, keys(), T(0), am);
    else if (needA)
      product(p, false, true, size, size, s.width, T(1), qk, keys(), T(0), am);
    else if (needM)
      product(p, false, true, size, size, s.width, T(1), keys(), keys(), T(0), m());
    if (needA)
      chunk::applyDecay(size, decay, am, false);
    if (needM)
      chunk::applyDecay(size, decay, m(), true);
  }
  Matrix<T> keys() const { return qk.below(size); }
  Matrix<T> m() const { return am.below(size); }
  /// The decay from position i to the chunk's end.
  const T *toEnd() const { return decay.row(size - 1); }

  /// [F | H] of a loaded chunk, and its decays, to what the head keeps.
  void solveForward(const Head<T> &head, Kept<T> &kept) {
    std::copy(fromStart, fromStart + size, kept.fromStart + begin);
    std::copy(toEnd(), toEnd() + size, kept.toEnd + begin);
    if (!head.beta.data)
      return;
    const int64_t n = s.valueWidth;
    const Matrix<T> fh = kept.fh.below(begin);
    chunk::scaleAll(size, n, T(1), head.v.below(begin), fh);
    chunk::scaleRows(size, s.width, fromStart, keys(), fh.right(n));
    chunk::solveLower(size, n + s.width, m(), beta, fh, x);
  }
  /// [P | Z] of a loaded chunk.
  void solveBackward(const RecurrenceProblem<T> &p, const Head<T> &head, Matrix<const T> dO, Kept<T> &kept) {
    if (!head.beta.data)
      return;
    const int64_t n = s.valueWidth;
    const Matrix<T> pz = kept.pz.below(begin);
    product(p, true, false, size, n, size, T(1), am, dO.below(begin), T(0), pz);
    chunk::scaleRows(size, s.width, toEnd(), keys(), pz.right(n));
    chunk::solveUpper(size, n + s.width, m(), beta, pz, x);
  }

  const LinearAttentionSizes &s;
  int64_t begin = 0, size = 0;
  Matrix<T> qk, am, decay;
  T *factors, *fromStart, *beta;
  Matrix<T> x, y;
  Matrix<T> dox{}, u{}, scaled{}, dam{}, dqk{}, dkMinus{};
  T *sums = nullptr;
};

template <typename T> class Recurrence {
public:
  Recurrence(const RecurrenceProblem<T> &p, int threads, void *workspace, bool gradient)
      : p_(p), s_(p.sizes), threads_(insideTasks() ? 1 : threads), gradient_(gradient),
        workspace_(static_cast<char *>(workspace)), chunkBytes_(plan::detail::chunkScratch(s_, sizeof(T), gradient)),
        headBytes_(plan::detail::headScratch(s_, sizeof(T), gradient)), headMemory_(workspace_ + threads * chunkBytes_),
        whole_(plan::headsSuffice(s_, threads_)),
        decaySums_(reinterpret_cast<T *>(
            headMemory_ + (plan::headsSuffice(s_, threads) ? threads : s_.batch * s_.heads) * headBytes_)) {}

  void forward(T *o, T *stateAfter) {
    if (s_.length == 1)
      return step(o, stateAfter);
    const int64_t heads = s_.batch * s_.heads, chunks = s_.chunks();
    if (whole_) {
      parallelTasks(threads_, heads, [&](int64_t index, int thread) {
        const Head<T> head(p_, index);
        Kept<T> kept = keptOf(thread);
        Chunk<T> c = chunkOf(thread);
        start(index, kept.states);
        for (int64_t number = 0; number < chunks; ++number) {
          c.load(p_, head, number, true, p_.beta != nullptr);
          c.solveForward(head, kept);
          advanceAll(head, kept, number, c.x);
          outputs(head, kept, kept.states, c, o);
        }
        finish(index, kept, stateAfter);
      });
      return;
    }
    parallelTasks(threads_, heads * chunks, [&](int64_t task, int thread) {
      const Head<T> head(p_, task / chunks);
      Kept<T> kept = keptOf(task / chunks);
      Chunk<T> c = chunkOf(thread);
      c.load(p_, head, task % chunks, false, p_.beta != nullptr);
      c.solveForward(head, kept);
    });
    passForward();
    parallelTasks(threads_, heads * chunks, [&](int64_t task, int thread) {
      const Head<T> head(p_, task / chunks);
      Kept<T> kept = keptOf(task / chunks);
      Chunk<T> c = chunkOf(thread);
      c.load(p_, head, task % chunks, true, false);
      outputs(head, kept, kept.states, c, o);
    });
    for (int64_t index = 0; index < heads; ++index) {
      Kept<T> kept = keptOf(index);
      finish(index, kept, stateAfter);
    }
  }

  void backward(const T *dO, const RecurrenceGradients<T> &gradients) {
    const int64_t heads = s_.batch * s_.heads, chunks = s_.chunks(), stateSize = s_.width * s_.valueWidth;
    if (whole_) {
      parallelTasks(threads_, heads, [&](int64_t index, int thread) {
        const Head<T> head(p_, index);
        const Matrix<const T> dy = head.of(dO, s_.valueWidth, p_);
        Kept<T> kept = keptOf(thread);
        Chunk<T> c = chunkOf(thread);
        start(index, kept.states);
        for (int64_t number = 0; number < chunks; ++number) {
          c.load(p_, head, number, false, p_.beta != nullptr);
          c.solveForward(head, kept);
          advanceAll(head, kept, number, c.x);
        }
        std::fill_n(kept.rs + chunks * stateSize, stateSize, T(0));
        for (int64_t number = chunks - 1; number >= 0; --number) {
          c.load(p_, head, number, true, p_.beta != nullptr);
          c.solveBackward(p_, head, dy, kept);
          for (int64_t l = 0; l < s_.valueWidth; l += kValueColumns)
            retreat(head, dy, kept, number, l, c.x, c.y);
          chunkGradients(head, index, dy, kept, number, c, gradients);
        }
      });
    } else {
      parallelTasks(threads_, heads * chunks, [&](int64_t task, int thread) {
        const Head<T> head(p_, task / chunks);
        Kept<T> kept = keptOf(task / chunks);
        Chunk<T> c = chunkOf(thread);
        c.load(p_, head, task % chunks, p_.beta != nullptr, p_.beta != nullptr);
        c.solveForward(head, kept);
        c.solveBackward(p_, head, head.of(dO, s_.valueWidth, p_), kept);
      });
      passForward();
      passBackward(dO);
      parallelTasks(threads_, heads * chunks, [&](int64_t task, int thread) {
        const Head<T> head(p_, task / chunks);
        Kept<T> kept = keptOf(task / chunks);
        Chunk<T> c = chunkOf(thread);
        c.load(p_, head, task % chunks, true, p_.beta != nullptr);
        chunkGradients(head, task / chunks, head.of(dO, s_.valueWidth, p_), kept, task % chunks, c, gradients);
      });
    }
    if (!p_.beta)
      for (int64_t index = 0; index < heads; ++index) {
        T sum = 0;
        for (int64_t number = chunks - 1; number >= 0; --number)
          sum += decaySums_[index * chunks + number];
        gradients.dg[index] = sum;
      }
  }

private:
  /// One position, as in decoding: the recurrence itself, in place. With d = e^g, o = S'^T q is d S^T q + (k . q) u, so
  /// that S is read once for both products, and once to become S'.
  void step(T *o, T *stateAfter) const {
    const int64_t n = s_.valueWidth, size = s_.width * n;
    parallelTasks(threads_, s_.batch * s_.heads, [&](int64_t index, int thread) {
      const Head<T> head(p_, index);
      const Matrix<T> state{stateAfter + index * size, n};
      if (p_.state != stateAfter)
        start(index, state.data);
      const T *const q = head.q.data, *const k = head.k.data, *const v = head.v.data;
      T *const out = head.of(o, n, p_).data, *const u = chunkOf(thread).x.data;
      chunk::stateProducts(s_.width, n, state, k, q, u, out);
      const T decay = std::exp(*head.g.data), both = std::inner_product(k, k + s_.width, q, T(0));
      for (int64_t l = 0; l < n; ++l) {
        u[l] = p_.beta ? *head.beta.data * (v[l] - decay * u[l]) : v[l];
        out[l] = p_.scale * (decay * out[l] + both * u[l]);
      }
      chunk::decayAndAdd(s_.width, n, decay, k, u, state);
    });
  }

  Chunk<T> chunkOf(int thread) const { return {ScratchAllocator(workspace_ + thread * chunkBytes_), s_, gradient_}; }
  /// Of a thread where heads are whole, else of a head.
  Kept<T> keptOf(int64_t which) const { return {ScratchAllocator(headMemory_ + which * headBytes_), s_, gradient_}; }
  Matrix<T> stateAt(T *states, int64_t number) const {
    return {states + number * s_.width * s_.valueWidth, s_.valueWidth};
  }

  void start(int64_t index, T *state) const {
    const int64_t size = s_.width * s_.valueWidth;
    if (p_.state)
      std::copy_n(p_.state + index * size, size, state);
    else
      std::fill_n(state, size, T(0));
  }
  void finish(int64_t index, const Kept<T> &kept, T *stateAfter) const {
    const int64_t size = s_.width * s_.valueWidth, chunks = s_.chunks();
    std::copy_n(kept.states + chunks * size, size, stateAfter + index * size);
  }

  /// E and the next state, for the columns of values from `l`; `scratch` is [C, kValueColumns].
  void advance(const Head<T> &head, Kept<T> &kept, int64_t number, int64_t l, Matrix<T> scratch) const {
    const int64_t begin = number * s_.chunk, size = std::min(s_.chunk, s_.length - begin),
                  columns = std::min(kValueColumns, s_.valueWidth - l);
    const Matrix<T> from = stateAt(kept.states, number).right(l), to = stateAt(kept.states, number + 1).right(l);
    const Matrix<T> e = kept.fh.below(begin).right(l), h = kept.fh.below(begin).right(s_.valueWidth);
    const Matrix<T> u{scratch.data, columns};
    const T *toEnd = kept.toEnd + begin;
    if (p_.beta) {
      product(p_, false, false, size, columns, s_.width, T(-1), h, from, T(1), e);
      chunk::scaleRows(size, columns, toEnd, e, u);
      for (int64_t i = 0; i < size; ++i)
        chunk::scaleAll(1, columns, *head.beta.row(begin + i), u.below(i), u.below(i));
    } else {
      chunk::scaleRows(size, columns, toEnd, head.v.below(begin).right(l), u);
    }
    chunk::scaleAll(s_.width, columns, kept.fromStart[begin + size - 1], from, to);
    product(p_, true, false, s_.width, columns, size, T(1), head.k.below(begin), u, T(1), to);
  }

  void advanceAll(const Head<T> &head, Kept<T> &kept, int64_t number, Matrix<T> scratch) const {
    for (int64_t l = 0; l < s_.valueWidth; l += kValueColumns)
      advance(head, kept, number, l, scratch);
  }

  /// W and the R before, for the columns of values from `l`.
  void retreat(const Head<T> &head, Matrix<const T> dO, Kept<T> &kept, int64_t number, int64_t l, Matrix<T> x,
               Matrix<T> y) const {
    const int64_t begin = number * s_.chunk, size = std::min(s_.chunk, s_.length - begin),
                  columns = std::min(kValueColumns, s_.valueWidth - l);
    const Matrix<T> from = stateAt(kept.rs, number + 1).right(l), to = stateAt(kept.rs, number).right(l);
    const Matrix<T> dy{x.data, columns}, wx{y.data, columns};
    const T *fromStart = kept.fromStart + begin;
    chunk::scaleAll(s_.width, columns, fromStart[size - 1], from, to);
    chunk::scaleRows(size, columns, fromStart, dO.below(begin).right(l), dy);
    product(p_, true, false, s_.width, columns, size, p_.scale, head.q.below(begin), dy, T(1), to);
    if (!p_.beta)
      return;
    const Matrix<T> w = kept.pz.below(begin).right(l), z = kept.pz.below(begin).right(s_.valueWidth);
    product(p_, false, false, size, columns, s_.width, T(1), z, from, T(1), w);
    chunk::scaleRows(size, columns, fromStart, w, wx);
    for (int64_t i = 0; i < size; ++i)
      chunk::scaleAll(1, columns, *head.beta.row(begin + i), wx.below(i), wx.below(i));
    product(p_, true, false, s_.width, columns, size, T(-1), head.k.below(begin), wx, T(1), to);
  }

  /// All chunks in order, for all heads and blocks of columns.
  void passForward() const {
    const int64_t blocks = plan::blocksOf(s_.valueWidth, kValueColumns);
    for (int64_t index = 0; index < s_.batch * s_.heads; ++index) {
      Kept<T> kept = keptOf(index);
      start(index, kept.states);
    }
    parallelTasks(threads_, s_.batch * s_.heads * blocks, [&](int64_t task, int thread) {
      const Head<T> head(p_, task / blocks);
      Kept<T> kept = keptOf(task / blocks);
      for (int64_t number = 0; number < s_.chunks(); ++number)
        advance(head, kept, number, task % blocks * kValueColumns, chunkOf(thread).x);
    });
  }
  void passBackward(const T *dO) const {
    const int64_t blocks = plan::blocksOf(s_.valueWidth, kValueColumns), stateSize = s_.width * s_.valueWidth;
    for (int64_t index = 0; index < s_.batch * s_.heads; ++index)
      std::fill_n(keptOf(index).rs + s_.chunks() * stateSize, stateSize, T(0));
    parallelTasks(threads_, s_.batch * s_.heads * blocks, [&](int64_t task, int thread) {
      const Head<T> head(p_, task / blocks);
      Kept<T> kept = keptOf(task / blocks);
      const Chunk<T> c = chunkOf(thread);
      for (int64_t number = s_.chunks() - 1; number >= 0; --number)
        retreat(head, head.of(dO, s_.valueWidth, p_), kept, number, task % blocks * kValueColumns, c.x, c.y);
    });
  }

  /// O of a loaded chunk.
  void outputs(const Head<T> &head, const Kept<T> &kept, T *states, Chunk<T> &c, T *o) const {
    const int64_t n = s_.valueWidth;
    const Matrix<T> out = head.of(o, n, p_).below(c.begin), state = stateAt(states, c.begin / s_.chunk);
    product(p_, false, false, c.size, n, s_.width, T(1), c.qk, state, T(0), out);
    chunk::scaleRows(c.size, n, c.fromStart, out, out);
    if (p_.beta) {
      const Matrix<T> u{c.y.data, n};
      chunk::scaleRows(c.size, n, c.beta, kept.fh.below(c.begin), u);
      product(p_, false, false, c.size, n, c.size, T(1), c.am, u, T(1), out);
    } else {
      product(p_, false, false, c.size, n, c.size, T(1), c.am, head.v.below(c.begin), T(1), out);
    }
  }

  /// The gradients of a loaded chunk.
  void chunkGradients(const Head<T> &head, int64_t index, Matrix<const T> dO, const Kept<T> &kept, int64_t number,
                      Chunk<T> &c, const RecurrenceGradients<T> &to) const {
    const int64_t begin = c.begin, size = c.size, n = s_.valueWidth, width = s_.width;
    const bool delta = p_.beta != nullptr;
    // Rows of dO, and with beta of -X below them: one product serves both.
    const int64_t rows = delta ? 2 * size : size;
    const Matrix<T> state = stateAt(kept.states, number), r = stateAt(kept.rs, number + 1);
    const Matrix<T> dq = head.of(to.dq, width, p_), dk = head.of(to.dk, width, p_), dv = head.of(to.dv, n, p_);
    chunk::scaleAll(size, n, T(1), dO.below(begin), c.dox);
    Matrix<const T> u = head.v.below(begin);
    if (delta) {
      const Matrix<T> e = kept.fh.below(begin), w = kept.pz.below(begin), minusX = c.dox.below(size);
      chunk::scaleRows(size, n, c.beta, e, c.u);
      u = c.u;
      chunk::scaleRows(size, n, c.beta, w, dv.below(begin));
      chunk::scaleAll(size, n, T(-1), dv.below(begin), minusX);
      std::fill(c.sums, c.sums + size, T(0));
      chunk::addRowDots(size, n, T(1), w, e, c.sums);
      const Matrix<T> dbeta = head.of(to.dbeta, 1, p_);
      for (int64_t i = 0; i < size; ++i)
        *dbeta.row(begin + i) = c.sums[i];
    } else {
      product(p_, false, false, size, n, width, T(1), c.keys(), r, T(0), c.scaled);
      chunk::scaleRows(size, n, c.toEnd(), c.scaled, dv.below(begin));
      product(p_, true, false, size, n, size, T(1), c.am, c.dox, T(1), dv.below(begin));
    }
    chunk::scaleRows(size, n, c.toEnd(), u, c.scaled);

    c.dam.stride = size;
    product(p_, false, true, rows, size, n, T(1), c.dox, u, T(0), c.dam);
    chunk::applyDecay(size, c.decay, c.dam, false);
    product(p_, false, true, rows, width, n, T(1), c.dox, state, T(0), c.dqk);
    chunk::scaleRows(size, width, c.fromStart, c.dqk, c.dqk);
    if (delta) {
      chunk::applyDecay(size, c.decay, c.dam.below(size), true);
      chunk::scaleRows(size, width, c.fromStart, c.dqk.below(size), c.dqk.below(size));
    }
    product(p_, false, false, rows, width, size, T(1), c.dam, c.keys(), T(1), c.dqk);
    product(p_, false, true, size, width, n, T(1), c.scaled, r, T(0), c.dkMinus);
    product(p_, true, false, size, width, rows, T(1), c.dam, c.qk, T(1), c.dkMinus);

    std::fill(c.sums, c.sums + size, T(0));
    chunk::addRowDots(size, width, T(1), c.qk, c.dqk, c.sums);
    if (delta)
      chunk::addRowDots(size, width, T(1), c.keys(), c.dqk.below(size), c.sums);
    chunk::addRowDots(size, width, T(-1), c.keys(), c.dkMinus, c.sums);
    chunk::addRowDots(1, width * n, T(1), r, stateAt(kept.states, number + 1), c.sums + size - 1);
    T running = 0, all = 0;
    for (int64_t i = size - 1; i >= 0; --i) {
      running += c.sums[i];
      all += running;
      if (delta)
        *head.of(to.dg, 1, p_).row(begin + i) = running;
    }
    if (!delta)
      decaySums_[index * s_.chunks() + number] = all;
    chunk::scaleAll(size, width, p_.scale, c.dqk, dq.below(begin));
    if (delta)
      chunk::addRows(size, width, c.dqk.below(size), c.dkMinus, dk.below(begin));
    else
      chunk::scaleAll(size, width, T(1), c.dkMinus, dk.below(begin));
  }

  const RecurrenceProblem<T> &p_;
  const LinearAttentionSizes &s_;
  int threads_;
  bool gradient_;
  char *workspace_;
  int64_t chunkBytes_, headBytes_;
  char *headMemory_;
  bool whole_;
  T *decaySums_; ///< [B,H,chunks]: what a chunk adds to the gradient of a head's decay.
};

} // namespace

template <typename T>
void recurrenceForward(const RecurrenceProblem<T> &problem, T *o, T *stateAfter, int threads, void *workspace) {
  Recurrence<T>(problem, threads, workspace, false).forward(o, stateAfter);
}

template <typename T>
void recurrenceBackward(const RecurrenceProblem<T> &problem, const T *dO, const RecurrenceGradients<T> &gradients,
                        int threads, void *workspace) {
  Recurrence<T>(problem, threads, workspace, true).backward(dO, gradients);
}

template void recurrenceForward<float>(const RecurrenceProblem<float> &, float *, float *, int, void *);
template void recurrenceForward<double>(const RecurrenceProblem<double> &, double *, double *, int, void *);
template void recurrenceBackward<float>(const RecurrenceProblem<float> &, const float *,
                                        const RecurrenceGradients<float> &, int, void *);
template void recurrenceBackward<double>(const RecurrenceProblem<double> &, const double *,
                                         const RecurrenceGradients<double> &, int, void *);

} // namespace morph
