// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernels/ChunkedRecurrence.h"

#include "runtime/kernels/Parallel.h"
#include "runtime/kernels/RecurrenceChunk.h"

#include <numeric>

namespace morph {
namespace {

using plan::kValueColumns;

/// The forms of the recurrence that compile to loops of their own. `channels`: these decay each by itself.
template <typename T, StateUpdate update, bool channels> class Recurrence {
  using Chunk = morph::Chunk<T, update, channels>;
  static constexpr bool isDelta = update == StateUpdate::Delta, solves = update != StateUpdate::Add;
  static constexpr int64_t kReads = Chunk::kReads, kWrites = Chunk::kWrites;

public:
  Recurrence(const RecurrenceProblem<T> &p, int threads, ScratchAllocator scratch, bool gradient)
      : p_(p), s_(p.sizes), threads_(insideTasks() ? 1 : threads), gradient_(gradient),
        findsStates_(!gradient || !p.states), findsWritten_(!gradient || !p.written),
        chunkBytes_(plan::detail::chunkScratch(s_, sizeof(T), gradient)),
        headBytes_(plan::detail::headScratch(s_, sizeof(T), gradient)),
        chunkMemory_(scratch.take<char>(threads * chunkBytes_)),
        headMemory_(scratch.take<char>((plan::headsSuffice(s_, threads) ? threads : s_.batch * s_.heads) * headBytes_)),
        whole_(plan::headsSuffice(s_, threads_)),
        decaySums_(gradient ? scratch.take<T>(s_.batch * s_.heads * s_.chunks()) : nullptr) {}

  void forward(T *o, T *stateAfter) {
    if (s_.length == 1 && !p_.states && !p_.written)
      return step(o, stateAfter);
    const int64_t heads = s_.batch * s_.heads, chunks = s_.chunks();
    if (whole_) {
      parallelTasks(threads_, heads, [&](int64_t index, int thread) {
        const Head<T> head(p_, index);
        Kept<T> kept = keptOf(thread, index);
        Chunk c = chunkOf(thread);
        start(index, kept);
        for (int64_t number = 0; number < chunks; ++number) {
          c.load(p_, head, number, true, solves);
          solve(head, kept, c);
          advance(head, kept, number, c);
          outputs(head, kept, c, o);
        }
        finish(index, kept, stateAfter);
      });
      return;
    }
    parallelTasks(threads_, heads * chunks, [&](int64_t task, int thread) {
      const Head<T> head(p_, task / chunks);
      Kept<T> kept = keptOf(task / chunks, task / chunks);
      Chunk c = chunkOf(thread);
      c.load(p_, head, task % chunks, false, solves);
      solve(head, kept, c);
    });
    passForward();
    parallelTasks(threads_, heads * chunks, [&](int64_t task, int thread) {
      const Head<T> head(p_, task / chunks);
      Kept<T> kept = keptOf(task / chunks, task / chunks);
      Chunk c = chunkOf(thread);
      c.load(p_, head, task % chunks, true, false);
      outputs(head, kept, c, o);
    });
    for (int64_t index = 0; index < heads; ++index) {
      Kept<T> kept = keptOf(index, index);
      finish(index, kept, stateAfter);
    }
  }

  void backward(const T *dO, const RecurrenceGradients<T> &gradients) {
    const int64_t heads = s_.batch * s_.heads, chunks = s_.chunks(), stateSize = s_.width * s_.valueWidth;
    if (whole_) {
      parallelTasks(threads_, heads, [&](int64_t index, int thread) {
        const Head<T> head(p_, index);
        const Matrix<const T> dy = head.of(dO, s_.valueWidth);
        Kept<T> kept = keptOf(thread, index);
        Chunk c = chunkOf(thread);
        if (findsStates_) {
          start(index, kept);
          for (int64_t number = 0; number < chunks; ++number) {
            c.load(p_, head, number, false, solves && findsWritten_);
            solve(head, kept, c);
            advance(head, kept, number, c);
          }
        }
        std::fill_n(kept.rs + chunks * stateSize, stateSize, T(0));
        for (int64_t number = chunks - 1; number >= 0; --number) {
          c.load(p_, head, number, true, solves);
          if (!findsStates_) {
            solve(head, kept, c);
            advance(head, kept, number, c);
          }
          c.solveBackward(p_, dy, kept);
          for (int64_t l = 0; l < s_.valueWidth; l += kValueColumns)
            retreat(head, dy, kept, number, l, c);
          chunkGradients(head, index, dy, kept, number, c, gradients);
        }
      });
    } else {
      parallelTasks(threads_, heads * chunks, [&](int64_t task, int thread) {
        const Head<T> head(p_, task / chunks);
        Kept<T> kept = keptOf(task / chunks, task / chunks);
        Chunk c = chunkOf(thread);
        c.load(p_, head, task % chunks, solves, solves);
        solve(head, kept, c);
        if (!findsStates_)
          advance(head, kept, task % chunks, c);
        c.solveBackward(p_, head.of(dO, s_.valueWidth), kept);
      });
      if (findsStates_)
        passForward();
      passBackward(dO);
      parallelTasks(threads_, heads * chunks, [&](int64_t task, int thread) {
        const Head<T> head(p_, task / chunks);
        Kept<T> kept = keptOf(task / chunks, task / chunks);
        Chunk c = chunkOf(thread);
        c.load(p_, head, task % chunks, true, solves);
        chunkGradients(head, task / chunks, head.of(dO, s_.valueWidth), kept, task % chunks, c, gradients);
      });
    }
    if (gradients.dHeadDecay)
      sumHeadDecays(gradients.dHeadDecay);
  }

private:
  /// One position, as in decoding: the recurrence itself, in place. Where all channels decay by d, o = S'^T q is
  /// d S^T q + (a . q) w + (k . q) v, so that S is read once for both products, and once to become S'; else the decays
  /// go to what S is multiplied by.
  void step(T *o, T *stateAfter) const {
    const int64_t n = s_.valueWidth, width = s_.width, size = width * n;
    parallelTasks(threads_, s_.batch * s_.heads, [&](int64_t index, int thread) {
      const Head<T> head(p_, index);
      const Matrix<T> state{stateAfter + index * size, n};
      if (p_.state != stateAfter)
        copyStart(index, state.data);
      Chunk c = chunkOf(thread);
      const T *q = head.q.data, *const k = head.k.data, *const v = head.v.data;
      const T *read = update == StateUpdate::Free ? head.erase.data : k, *query = q;
      const T *factors = c.fromStart.data;
      T decay = 1;
      if constexpr (channels) {
        chunk::decayFactors(1, width, head.g, c.fromStart);
        T *const scaled = c.rows.data;
        for (int64_t i = 0; i < width; ++i) {
          scaled[i] = factors[i] * read[i];
          scaled[width + i] = factors[i] * q[i];
        }
        read = scaled;
        query = scaled + width;
      } else {
        decay = *c.fromStart.data = std::exp(*head.g.data);
      }
      T *const out = head.of(o, n).data, *const u = c.x.data;
      chunk::stateProducts(width, n, state, read, query, u, out);
      auto withQuery = [&](const T *x) { return std::inner_product(x, x + width, q, T(0)); };
      const T both = withQuery(k);
      if constexpr (update == StateUpdate::Free) {
        const T writes = withQuery(head.write.data);
        for (int64_t l = 0; l < n; ++l) {
          u[l] *= decay;
          out[l] = p_.scale * (decay * out[l] + writes * u[l] + both * v[l]);
        }
        chunk::decayAndAddTwo(width, n, factors, channels, head.write.data, u, k, v, state);
      } else {
        for (int64_t l = 0; l < n; ++l) {
          u[l] = isDelta ? *head.beta.data * (v[l] - decay * u[l]) : v[l];
          out[l] = p_.scale * (decay * out[l] + both * u[l]);
        }
        chunk::decayAndAdd(width, n, factors, channels, k, u, state);
      }
    });
  }

  Chunk chunkOf(int thread) const {
    return {ScratchAllocator(chunkMemory_ + thread * chunkBytes_, chunkBytes_), s_, gradient_};
  }
  /// Of head `index`, in the memory of a thread where heads are whole, else of the head.
  Kept<T> keptOf(int64_t which, int64_t index) const {
    return {ScratchAllocator(headMemory_ + which * headBytes_, headBytes_), p_, index, gradient_};
  }
  /// The state before chunk `number`, or after the last one.
  Matrix<T> stateAt(const Kept<T> &kept, int64_t number) const {
    return {number < s_.chunks() ? kept.states + number * s_.width * s_.valueWidth : kept.last, s_.valueWidth};
  }
  /// R before chunk `number`.
  Matrix<T> gradientAt(const Kept<T> &kept, int64_t number) const {
    return {kept.rs + number * s_.width * s_.valueWidth, s_.valueWidth};
  }

  void start(int64_t index, const Kept<T> &kept) const { copyStart(index, stateAt(kept, 0).data); }
  void copyStart(int64_t index, T *state) const {
    const int64_t size = s_.width * s_.valueWidth;
    if (p_.state)
      std::copy_n(p_.state + index * size, size, state);
    else
      std::fill_n(state, size, T(0));
  }
  void finish(int64_t index, const Kept<T> &kept, T *stateAfter) const {
    const int64_t size = s_.width * s_.valueWidth;
    std::copy_n(kept.last, size, stateAfter + index * size);
  }

  /// A product (SmallProducts.h).
  template <typename... Arguments> void product(bool transposeA, bool transposeB, Arguments... arguments) const {
    chunk::product(p_.rounds, transposeA, transposeB, arguments...);
  }

  /// `to` = e_{C-1} `from` of states or their gradients, and for the columns of a block alone.
  void decayState(const Kept<T> &kept, int64_t last, int64_t columns, Matrix<const T> from, Matrix<T> to) const {
    const T *decays = kept.fromStart.row(last);
    if constexpr (channels)
      chunk::scaleRows(s_.width, columns, decays, from, to);
    else
      chunk::scaleAll(s_.width, columns, *decays, from, to);
  }

  /// state += factor (decays * keys)^T values for `size` rows, [size,K] and [size,columns]; with `beta` [size] values
  /// are multiplied by it. A decay for all channels goes to the values, which are fewer.
  void addToState(int64_t size, int64_t columns, T factor, const T *decays, Matrix<const T> keys,
                  Matrix<const T> values, Matrix<const T> beta, Chunk &c, Matrix<T> state) const {
    const Matrix<T> scaled{c.x.data, columns};
    if constexpr (channels) {
      const Matrix<T> rows{c.y.data, s_.width};
      chunk::multiplyElements(size, s_.width, {decays, s_.width}, keys, rows);
      keys = rows;
    } else {
      chunk::scaleRows(size, columns, decays, values, scaled);
      values = scaled;
    }
    if (beta.data) {
      for (int64_t i = 0; i < size; ++i)
        chunk::scaleAll(1, columns, *beta.row(i), values.below(i), scaled.below(i));
      values = scaled;
    }
    product(true, false, s_.width, columns, size, factor, keys, values, T(1), state);
  }

  /// What of a loaded chunk does not depend on the state.
  void solve(const Head<T> &head, Kept<T> &kept, Chunk &c) const {
    c.keepDecays(kept);
    if (findsWritten_)
      c.solveForward(p_, head, kept);
  }

  /// W, or E, and the next state, for the columns of values from `l`; what the problem has of them stays.
  void advance(const Head<T> &head, Kept<T> &kept, int64_t number, int64_t l, Chunk &c) const {
    const int64_t begin = number * s_.chunk, size = std::min(s_.chunk, s_.length - begin),
                  columns = std::min(kValueColumns, s_.valueWidth - l);
    const Matrix<T> from = stateAt(kept, number).right(l), w = kept.w.below(begin).right(l);
    const Matrix<const T> keys = head.k.below(begin), values = head.v.below(begin).right(l), none{};
    if (findsWritten_) {
      const Matrix<T> f = kept.fh.below(begin).right(l), h = kept.fh.below(begin).right(s_.valueWidth);
      if constexpr (solves)
        product(false, false, size, columns, s_.width, T(isDelta ? -1 : 1), h, from, T(1), f);
      if (p_.written)
        chunk::scaleAll(size, columns, T(1), solves ? Matrix<const T>(f) : values, w);
    }
    if (!findsStates_)
      return;
    const Matrix<T> to = stateAt(kept, number + 1).right(l);
    const T *toEnd = kept.toEnd.row(begin);
    decayState(kept, begin + size - 1, columns, from, to);
    if constexpr (update == StateUpdate::Free)
      addToState(size, columns, 1, toEnd, head.write.below(begin), w, none, c, to);
    if constexpr (isDelta)
      addToState(size, columns, 1, toEnd, keys, w, head.beta.below(begin), c, to);
    else
      addToState(size, columns, 1, toEnd, keys, values, none, c, to);
  }

  void advance(const Head<T> &head, Kept<T> &kept, int64_t number, Chunk &c) const {
    for (int64_t l = 0; l < s_.valueWidth; l += kValueColumns)
      advance(head, kept, number, l, c);
  }

  /// Y, or P + Z R, and the R before, for the columns of values from `l`.
  void retreat(const Head<T> &head, Matrix<const T> dO, Kept<T> &kept, int64_t number, int64_t l, Chunk &c) const {
    const int64_t begin = number * s_.chunk, size = std::min(s_.chunk, s_.length - begin),
                  columns = std::min(kValueColumns, s_.valueWidth - l);
    const Matrix<T> from = gradientAt(kept, number + 1).right(l), to = gradientAt(kept, number).right(l);
    const Matrix<const T> none{};
    const T *fromStart = kept.fromStart.row(begin);
    decayState(kept, begin + size - 1, columns, from, to);
    addToState(size, columns, p_.scale, fromStart, head.q.below(begin), dO.below(begin).right(l), none, c, to);
    if constexpr (solves) {
      const Matrix<T> y = kept.yz.below(begin).right(l), z = kept.yz.below(begin).right(s_.valueWidth);
      product(false, false, size, columns, s_.width, T(1), z, from, T(1), y);
      addToState(size, columns, isDelta ? -1 : 1, fromStart, (isDelta ? head.k : head.erase).below(begin), y,
                 isDelta ? head.beta.below(begin) : none, c, to);
    }
  }

  /// All chunks in order, for all heads and blocks of columns.
  void passForward() const {
    const int64_t blocks = plan::blocksOf(s_.valueWidth, kValueColumns);
    for (int64_t index = 0; index < s_.batch * s_.heads; ++index) {
      start(index, keptOf(index, index));
    }
    parallelTasks(threads_, s_.batch * s_.heads * blocks, [&](int64_t task, int thread) {
      const Head<T> head(p_, task / blocks);
      Kept<T> kept = keptOf(task / blocks, task / blocks);
      Chunk c = chunkOf(thread);
      for (int64_t number = 0; number < s_.chunks(); ++number)
        advance(head, kept, number, task % blocks * kValueColumns, c);
    });
  }
  void passBackward(const T *dO) const {
    const int64_t blocks = plan::blocksOf(s_.valueWidth, kValueColumns), stateSize = s_.width * s_.valueWidth;
    for (int64_t index = 0; index < s_.batch * s_.heads; ++index)
      std::fill_n(keptOf(index, index).rs + s_.chunks() * stateSize, stateSize, T(0));
    parallelTasks(threads_, s_.batch * s_.heads * blocks, [&](int64_t task, int thread) {
      const Head<T> head(p_, task / blocks);
      Kept<T> kept = keptOf(task / blocks, task / blocks);
      Chunk c = chunkOf(thread);
      for (int64_t number = s_.chunks() - 1; number >= 0; --number)
        retreat(head, head.of(dO, s_.valueWidth), kept, number, task % blocks * kValueColumns, c);
    });
  }

  /// O of a loaded chunk.
  void outputs(const Head<T> &head, const Kept<T> &kept, Chunk &c, T *o) const {
    const int64_t n = s_.valueWidth;
    const Matrix<T> out = head.of(o, n).below(c.begin), state = stateAt(kept, c.begin / s_.chunk);
    if constexpr (channels) {
      const Matrix<T> queries{c.y.data, s_.width};
      decayRows<true>(c.size, s_.width, c.fromStart, c.rows, queries);
      product(false, false, c.size, n, s_.width, T(1), queries, state, T(0), out);
    } else {
      product(false, false, c.size, n, s_.width, T(1), c.rows, state, T(0), out);
      decayRows<false>(c.size, n, c.fromStart, out, out);
    }
    Matrix<const T> values = head.v.below(c.begin);
    if constexpr (isDelta) {
      const Matrix<T> u{c.y.data, n};
      chunk::scaleRows(c.size, n, c.beta, kept.w.below(c.begin), u);
      values = u;
    }
    if constexpr (update == StateUpdate::Free)
      product(false, false, c.size, n, c.size, T(1), c.scores, kept.w.below(c.begin), T(1), out);
    product(false, false, c.size, n, c.size, T(1), c.scores.right((kWrites - 1) * c.size), values, T(1), out);
  }

  /// The gradients of a loaded chunk.
  void chunkGradients(const Head<T> &head, int64_t index, Matrix<const T> dO, const Kept<T> &kept, int64_t number,
                      Chunk &c, const RecurrenceGradients<T> &to) const {
    const int64_t begin = c.begin, size = c.size, n = s_.valueWidth, width = s_.width;
    const Matrix<T> state = stateAt(kept, number), r = gradientAt(kept, number + 1);
    const Matrix<T> w = kept.w.below(begin), y = kept.yz.below(begin), dv = head.of(to.dv, n).below(begin);

    // U, and dL = [dO; Y].
    Matrix<const T> u[kWrites];
    u[kWrites - 1] = head.v.below(begin);
    chunk::scaleAll(size, n, T(1), dO.below(begin), c.dl);
    if constexpr (isDelta) {
      chunk::scaleRows(size, n, c.beta, w, c.u);
      u[0] = c.u;
      chunk::scaleRows(size, n, c.beta, y, dv);
      chunk::scaleAll(size, n, T(-1), dv, c.dl.below(size));
      const Matrix<T> dBeta = head.of(to.dBeta, 1).below(begin);
      T *const sums = c.dDecays.data;
      std::fill_n(sums, size, T(0));
      chunk::addRowDots(size, n, T(1), y, w, sums);
      for (int64_t i = 0; i < size; ++i)
        *dBeta.row(i) = sums[i];
    } else {
      if constexpr (update == StateUpdate::Free) {
        u[0] = w;
        chunk::scaleAll(size, n, T(1), y, c.dl.below(size));
      }
      if constexpr (channels) {
        const Matrix<T> keys{c.y.data, width};
        decayRows<true>(size, width, c.toEnd(), c.keys(), keys);
        product(false, false, size, n, width, T(1), keys, r, T(0), dv);
      } else {
        product(false, false, size, n, width, T(1), c.keys(), r, T(0), c.scaled);
        decayRows<false>(size, n, c.toEnd(), c.scaled, dv);
      }
      product(true, false, size, n, kReads * size, T(1), c.scores.right((kWrites - 1) * size), c.dl, T(1), dv);
    }

    // dL and dN: first by the states, then within the chunk.
    product(false, true, kReads * size, width, n, T(1), c.dl, state, T(0), c.dReads);
    for (int64_t read = 0; read < kReads; ++read)
      decayRows<channels>(size, width, c.fromStart, c.dReads.below(read * size), c.dReads.below(read * size));
    for (int64_t write = 0; write < kWrites; ++write) {
      const Matrix<T> dWrites = c.dWrites.below(write * size);
      product(false, true, kReads * size, size, n, T(1), c.dl, u[write], T(0), c.dScores.right(write * size));
      if constexpr (channels) {
        product(false, true, size, width, n, T(1), u[write], r, T(0), dWrites);
        decayRows<true>(size, width, c.toEnd(), dWrites, dWrites);
      } else {
        decayRows<false>(size, n, c.toEnd(), u[write], c.scaled);
        product(false, true, size, width, n, T(1), c.scaled, r, T(0), dWrites);
      }
    }
    c.decays.addGradients(kReads, kWrites, c.dScores, c.rows, c.written(), c.dReads, c.dWrites);

    decayGradients(head, index, stateAt(kept, number + 1), r, c, to);
    chunk::scaleAll(size, width, p_.scale, c.dReads, head.of(to.dq, width).below(begin));
    const Matrix<T> dk = head.of(to.dk, width).below(begin), dKeys = c.dWrites.below((kWrites - 1) * size);
    if constexpr (isDelta)
      chunk::addRows(size, width, c.dReads.below(size), dKeys, dk);
    else
      chunk::scaleAll(size, width, T(1), dKeys, dk);
    if constexpr (update == StateUpdate::Free) {
      chunk::scaleAll(size, width, T(1), c.dWrites, head.of(to.dWrite, width).below(begin));
      chunk::scaleAll(size, width, T(1), c.dReads.below(size), head.of(to.dErase, width).below(begin));
    }
  }

  /// dg of a chunk whose dL and dN are known, from the state after it and R, which is zero behind the last chunk.
  void decayGradients(const Head<T> &head, int64_t index, Matrix<const T> after, Matrix<const T> r, Chunk &c,
                      const RecurrenceGradients<T> &to) const {
    const int64_t size = c.size, n = s_.valueWidth, width = s_.width;
    if (!to.dHeadDecay && !to.dDecay && !to.dChannelDecay)
      return;
    const bool isLast = c.begin + size == s_.length;
    const Matrix<T> dc = c.dDecays;
    std::fill_n(dc.data, size * s_.decays(), T(0));
    auto add = [&](T sign, Matrix<const T> rows, Matrix<const T> gradients) {
      if constexpr (channels)
        chunk::addProducts(size, width, sign, rows, gradients, dc);
      else
        chunk::addRowDots(size, width, sign, rows, gradients, dc.data);
    };
    for (int64_t read = 0; read < kReads; ++read)
      add(1, c.rows.below(read * size), c.dReads.below(read * size));
    for (int64_t write = 0; write < kWrites; ++write)
      add(-1, c.written().below(write * size), c.dWrites.below(write * size));
    if constexpr (channels) {
      if (!isLast)
        chunk::addRowDots(width, n, T(1), r, after, dc.row(size - 1));
      const Matrix<T> dg = head.of(to.dChannelDecay, width).below(c.begin);
      for (int64_t i = size - 1; i >= 0; --i) {
        if (i < size - 1)
          chunk::addRows(1, width, dc.below(i + 1), dc.below(i), dc.below(i));
        std::copy_n(dc.row(i), width, dg.row(i));
      }
    } else {
      if (!isLast)
        chunk::addRowDots(1, width * n, T(1), r, after, dc.row(size - 1));
      T running = 0, all = 0;
      for (int64_t i = size - 1; i >= 0; --i) {
        running += *dc.row(i);
        all += running;
        if (to.dDecay)
          *head.of(to.dDecay, 1).row(c.begin + i) = running;
      }
      decaySums_[index * s_.chunks() + c.begin / s_.chunk] = all;
    }
  }

  /// What the chunks add to the gradients of the heads' decays, in order.
  void sumHeadDecays(T *to) const {
    std::fill_n(to, s_.heads, T(0));
    for (int64_t index = 0; index < s_.batch * s_.heads; ++index) {
      T sum = 0;
      for (int64_t number = s_.chunks() - 1; number >= 0; --number)
        sum += decaySums_[index * s_.chunks() + number];
      to[index % s_.heads] += sum;
    }
  }

  const RecurrenceProblem<T> &p_;
  const LinearAttentionSizes &s_;
  int threads_;
  bool gradient_;
  bool findsStates_, findsWritten_; ///< Or the problem has them.
  int64_t chunkBytes_, headBytes_;
  char *chunkMemory_, *headMemory_;
  bool whole_;
  T *decaySums_; ///< [B,H,chunks]: what a chunk adds to the gradient of a head's decay.
};

/// Calls `run` with the recurrence of the problem's form.
template <typename T, typename Run>
void withRecurrence(const RecurrenceProblem<T> &p, int threads, ScratchAllocator scratch, bool gradient, Run run) {
  auto withUpdate = [&](auto channels) {
    constexpr bool each = decltype(channels)::value;
    switch (p.sizes.update) {
    case StateUpdate::Add:
      return run(Recurrence<T, StateUpdate::Add, each>(p, threads, scratch, gradient));
    case StateUpdate::Delta:
      return run(Recurrence<T, StateUpdate::Delta, each>(p, threads, scratch, gradient));
    case StateUpdate::Free:
      return run(Recurrence<T, StateUpdate::Free, each>(p, threads, scratch, gradient));
    }
  };
  if (p.sizes.channelDecay)
    withUpdate(std::true_type());
  else
    withUpdate(std::false_type());
}

} // namespace

template <typename T>
void recurrenceForward(const RecurrenceProblem<T> &problem, T *o, T *stateAfter, int threads,
                       ScratchAllocator scratch) {
  withRecurrence(problem, threads, scratch, false, [&](auto recurrence) { recurrence.forward(o, stateAfter); });
}

template <typename T>
void recurrenceBackward(const RecurrenceProblem<T> &problem, const T *dO, const RecurrenceGradients<T> &gradients,
                        int threads, ScratchAllocator scratch) {
  withRecurrence(problem, threads, scratch, true, [&](auto recurrence) { recurrence.backward(dO, gradients); });
}

template void recurrenceForward<float>(const RecurrenceProblem<float> &, float *, float *, int, ScratchAllocator);
template void recurrenceForward<double>(const RecurrenceProblem<double> &, double *, double *, int, ScratchAllocator);
template void recurrenceBackward<float>(const RecurrenceProblem<float> &, const float *,
                                        const RecurrenceGradients<float> &, int, ScratchAllocator);
template void recurrenceBackward<double>(const RecurrenceProblem<double> &, const double *,
                                         const RecurrenceGradients<double> &, int, ScratchAllocator);

} // namespace morph
