// SPDX-License-Identifier: Apache-2.0
// Linear attention with a fixed decay for each head (lightning attention, RetNet's retention). Extra: log_decay [H],
// the logarithm of the decay, not positive. A head's state S [K,V], with q scaled by `scale`:
//
//   S <- e^g S + k v^T;  o = S^T q
//
// A chunk of C positions with the state S at its start, e_i = e^{g (i+1)}, G_ij = e^{g (i-j)} (j <= i):
//
//   A = G * (Q K^T)      O = diag(e) Q S + A V      S' = e_C S + (diag(G_C) K)^T V
//
// The backward keeps each chunk's starting state and walks the chunks in reverse with R, the gradient of S':
//
//   dV = A^T dO + diag(G_C) K R                     dQ = diag(e) dO S^T + (G * dO V^T) K
//   dK = diag(G_C) V R^T + (G * dO V^T)^T Q         R <- e_C R + (diag(e) Q)^T dO
//
// The gradient of the running sum of g at i is q_i . dq_i - k_i . dk_i, plus <R, S'> for a chunk's last i.

#include "runtime/kernels/ChunkMath.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>

namespace morph {
namespace {

constexpr const char *kKind = "fixed_decay";

struct Shape {
  explicit Shape(const LinearAttentionInputs &x)
      : batch(x.q_BTHK.size(0)), length(x.q_BTHK.size(1)), heads(x.q_BTHK.size(2)), width(x.q_BTHK.size(3)),
        valueWidth(x.v_BTHV.size(3)), chunk(x.chunk), chunks((length + chunk - 1) / chunk) {}
  int64_t batch, length, heads, width, valueWidth, chunk, chunks;
};

/// One head's decays, and the scaled queries, keys and A of its current chunk.
template <typename T> struct Chunk {
  Chunk(Scratch<T> &scratch, int64_t c, int64_t width)
      : q(scratch.matrix(c, width)), k(scratch.matrix(c, width)), scaledK(scratch.matrix(c, width)),
        a(scratch.matrix(c, c)), decay(scratch.matrix(c, c)), factors(scratch.take(c)), fromStart(scratch.take(c)),
        capacity(c) {}
  static int64_t scratchSize(int64_t c, int64_t width) {
    using S = Scratch<T>;
    return 3 * S::size(c * width) + 2 * S::size(c * c) + 2 * S::size(c);
  }
  void setDecay(T logDecay) {
    std::fill(factors, factors + capacity, std::exp(logDecay));
    chunk::decayProducts(capacity, factors, decay, fromStart);
  }
  /// Loads `c` positions from `begin`; A only where `queries`.
  void load(Matrix<T> queryRows, Matrix<T> keyRows, int64_t begin, int64_t c, int64_t width, T scale, bool queries) {
    size = c;
    chunk::scaleAll(c, width, T(1), keyRows.below(begin), k);
    chunk::scaleRows(c, width, toEnd(), k, scaledK);
    if (!queries)
      return;
    chunk::scaleAll(c, width, scale, queryRows.below(begin), q);
    a.stride = c;
    multiply(false, true, c, c, width, T(1), q, k, T(0), a);
    chunk::applyDecay(c, decay, a, false);
  }
  const T *toEnd() const { return decay.row(size - 1); }
  T whole() const { return fromStart[size - 1]; }

  int64_t size = 0;
  Matrix<T> q, k, scaledK, a, decay;
  T *factors, *fromStart;
  int64_t capacity;
};

template <typename T> LinearAttentionResult forwardOf(const LinearAttentionInputs &x) {
  const Shape s(x);
  LinearAttentionResult result{at::empty_like(x.v_BTHV), x.state_BHKV};
  const int64_t n = s.valueWidth;
  at::parallel_for(0, s.batch * s.heads, 1, [&](int64_t first, int64_t last) {
    Scratch<T> scratch(Chunk<T>::scratchSize(s.chunk, s.width));
    Chunk<T> c(scratch, s.chunk, s.width);
    for (int64_t index = first; index < last; ++index) {
      const int64_t b = index / s.heads, h = index % s.heads;
      const Matrix<T> q = headMatrix<T>(x.q_BTHK, b, h), k = headMatrix<T>(x.k_BTHK, b, h),
                      v = headMatrix<T>(x.v_BTHV, b, h), o = headMatrix<T>(result.o_BTHV, b, h);
      const Matrix<T> state{result.state_BHKV.data_ptr<T>() + index * s.width * n, n};
      c.setDecay(x.extras[0].data_ptr<T>()[h]);
      for (int64_t begin = 0; begin < s.length; begin += s.chunk) {
        const int64_t size = std::min(s.chunk, s.length - begin);
        c.load(q, k, begin, size, s.width, T(x.scale), true);
        multiply(false, false, size, n, s.width, T(1), c.q, state, T(0), o.below(begin));
        chunk::scaleRows(size, n, c.fromStart, o.below(begin), o.below(begin));
        multiply(false, false, size, n, size, T(1), c.a, v.below(begin), T(1), o.below(begin));
        multiply(true, false, s.width, n, size, T(1), c.scaledK, v.below(begin), c.whole(), state);
      }
    }
  });
  return result;
}

template <typename T> LinearAttentionGradients backwardOf(const LinearAttentionInputs &x, const at::Tensor &do_BTHV) {
  const Shape s(x);
  LinearAttentionGradients result{at::empty_like(x.q_BTHK), at::empty_like(x.k_BTHK), at::empty_like(x.v_BTHV), {}};
  const at::Tensor decayGradients_BH = at::empty({s.batch, s.heads}, x.q_BTHK.options());
  const int64_t n = s.valueWidth, width = s.width, stateSize = width * n;
  using S = Scratch<T>;
  const int64_t scratchSize = Chunk<T>::scratchSize(s.chunk, width) + S::size((s.chunks + 1) * stateSize) +
                              S::size(s.chunk * s.chunk) + S::size(s.chunk * n) + 2 * S::size(s.chunk * width) +
                              S::size(stateSize) + S::size(s.chunk);
  at::parallel_for(0, s.batch * s.heads, 1, [&](int64_t first, int64_t last) {
    S scratch(scratchSize);
    Chunk<T> c(scratch, s.chunk, width);
    const Matrix<T> states = scratch.matrix(s.chunks + 1, stateSize), scaledDo = scratch.matrix(s.chunk, n);
    Matrix<T> da = scratch.matrix(s.chunk, s.chunk);
    const Matrix<T> dqs = scratch.matrix(s.chunk, width), dks = scratch.matrix(s.chunk, width),
                    r = scratch.matrix(width, n);
    T *const sums = scratch.take(s.chunk);
    for (int64_t index = first; index < last; ++index) {
      const int64_t b = index / s.heads, h = index % s.heads;
      const Matrix<T> q = headMatrix<T>(x.q_BTHK, b, h), k = headMatrix<T>(x.k_BTHK, b, h),
                      v = headMatrix<T>(x.v_BTHV, b, h), dO = headMatrix<T>(do_BTHV, b, h),
                      dq = headMatrix<T>(result.dq_BTHK, b, h), dk = headMatrix<T>(result.dk_BTHK, b, h),
                      dv = headMatrix<T>(result.dv_BTHV, b, h);
      auto stateAt = [&](int64_t number) { return Matrix<T>{states.row(number), n}; };
      c.setDecay(x.extras[0].data_ptr<T>()[h]);

      const T *initial = x.state_BHKV.data_ptr<T>() + index * stateSize;
      std::copy(initial, initial + stateSize, states.data);
      for (int64_t number = 0; number < s.chunks; ++number) {
        const int64_t begin = number * s.chunk, size = std::min(s.chunk, s.length - begin);
        c.load(q, k, begin, size, width, T(x.scale), false);
        std::copy(states.row(number), states.row(number) + stateSize, states.row(number + 1));
        multiply(true, false, width, n, size, T(1), c.scaledK, v.below(begin), c.whole(), stateAt(number + 1));
      }

      std::fill(r.data, r.data + stateSize, T(0));
      T decayGradient = 0;
      for (int64_t number = s.chunks - 1; number >= 0; --number) {
        const int64_t begin = number * s.chunk, size = std::min(s.chunk, s.length - begin);
        c.load(q, k, begin, size, width, T(x.scale), true);
        multiply(false, false, size, n, width, T(1), c.scaledK, r, T(0), dv.below(begin));
        multiply(true, false, size, n, size, T(1), c.a, dO.below(begin), T(1), dv.below(begin));
        da.stride = size;
        multiply(false, true, size, size, n, T(1), dO.below(begin), v.below(begin), T(0), da);
        chunk::applyDecay(size, c.decay, da, false);
        multiply(false, true, size, width, n, T(1), dO.below(begin), stateAt(number), T(0), dqs);
        chunk::scaleRows(size, width, c.fromStart, dqs, dqs);
        multiply(false, false, size, width, size, T(1), da, c.k, T(1), dqs);
        multiply(false, true, size, width, n, T(1), v.below(begin), r, T(0), dks);
        chunk::scaleRows(size, width, c.toEnd(), dks, dks);
        multiply(true, false, size, width, size, T(1), da, c.q, T(1), dks);

        std::fill(sums, sums + size, T(0));
        chunk::addRowDots(size, width, T(1), c.q, dqs, sums);
        chunk::addRowDots(size, width, T(-1), c.k, dks, sums);
        chunk::addRowDots(1, stateSize, T(1), r, stateAt(number + 1), sums + size - 1);
        T running = 0;
        for (int64_t i = size - 1; i >= 0; --i) {
          running += sums[i];
          decayGradient += running;
        }
        chunk::scaleAll(size, width, T(x.scale), dqs, dq.below(begin));
        chunk::scaleAll(size, width, T(1), dks, dk.below(begin));
        chunk::scaleRows(size, n, c.fromStart, dO.below(begin), scaledDo);
        multiply(true, false, width, n, size, T(1), c.q, scaledDo, c.whole(), r);
      }
      decayGradients_BH.data_ptr<T>()[index] = decayGradient;
    }
  });
  result.dextras.push_back(decayGradients_BH.sum(0));
  return result;
}

class FixedDecay : public LinearAttentionKernel {
public:
  LinearAttentionResult forward(const LinearAttentionInputs &inputs) const override {
    if (chunk::recorded(inputs))
      return recurrent(inputs);
    const LinearAttentionInputs x = checked(inputs);
    return x.q_BTHK.scalar_type() == at::kDouble ? forwardOf<double>(x) : forwardOf<float>(x);
  }

  LinearAttentionGradients backward(const LinearAttentionInputs &inputs, const at::Tensor &do_BTHV) const override {
    const LinearAttentionInputs x = checked(inputs);
    const at::Tensor dO = do_BTHV.to(x.q_BTHK.scalar_type()).contiguous();
    return x.q_BTHK.scalar_type() == at::kDouble ? backwardOf<double>(x, dO) : backwardOf<float>(x, dO);
  }

  LinearAttentionResult recurrent(const LinearAttentionInputs &inputs) const override {
    const LinearAttentionInputs x = checked(inputs);
    const at::Tensor decay = x.extras[0].exp().unsqueeze(-1).unsqueeze(-1);
    at::Tensor state = inputs.state_BHKV.defined() ? inputs.state_BHKV.to(x.q_BTHK.scalar_type()) : x.state_BHKV;
    std::vector<at::Tensor> outputs;
    for (int64_t t = 0; t < x.q_BTHK.size(1); ++t) {
      const at::Tensor q = x.q_BTHK.select(1, t) * x.scale, k = x.k_BTHK.select(1, t), v = x.v_BTHV.select(1, t);
      state = decay * state + k.unsqueeze(-1) * v.unsqueeze(-2);
      outputs.push_back((state * q.unsqueeze(-1)).sum(-2));
    }
    return {outputs.empty() ? at::empty_like(x.v_BTHV) : at::stack(outputs, 1), state};
  }

private:
  static LinearAttentionInputs checked(const LinearAttentionInputs &inputs) {
    LinearAttentionInputs x = chunk::prepare(kKind, inputs);
    TORCH_CHECK(x.extras.size() == 1 && x.extras[0].dim() == 1 && x.extras[0].size(0) == x.q_BTHK.size(2),
                "linear_attention '", kKind, "': expected the extra log_decay [H], for q ", x.q_BTHK.sizes());
    return x;
  }
};

const LinearAttentionRegistration registration(kKind, std::make_unique<FixedDecay>());

} // namespace
} // namespace morph
