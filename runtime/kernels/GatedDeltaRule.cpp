// SPDX-License-Identifier: Apache-2.0
// The gated delta rule (Gated DeltaNet). Extras: g [B,T,H], the logarithm of the decay, and beta [B,T,H]. A head's
// state S [K,V], with q scaled by `scale`:
//
//   S <- e^g S;  u = beta (v - S^T k);  S <- S + k u^T;  o = S^T q
//
// A chunk of C positions with the state S at its start, a_i = e^{g_i}, e_i = a_0...a_i, G_ij = a_{j+1}...a_i (j <= i):
//
//   A = G * (Q K^T), j <= i        M = G * (K K^T), j < i
//   E = V - diag(e) K S - M U      U = diag(beta) E        a triangular solve
//   O = diag(e) Q S + A U          S' = e_C S + (diag(G_C) K)^T U
//
// (* elementwise). The backward repeats the forward, keeping each chunk's starting state and E, and then walks the
// chunks in reverse with R, the gradient of S'. From dO and R:
//
//   dU = A^T dO + diag(G_C) K R               X = diag(beta) W,  (I + diag(beta) M)^T W = dU
//   dV = X,  dbeta_i = W_i . E_i              dA = dO U^T,  dM = -X U^T
//   dQ  = diag(e) dO S^T + (G * dA) K         dK+ = -diag(e) X S^T + (G * dM) K
//   dK- = diag(G_C) U R^T + (G * dA)^T Q + (G * dM)^T K
//   dK = dK+ + dK-                            R <- e_C R + (diag(e) Q)^T dO - (diag(e) K)^T X
//
// With c_i = g_0 + ... + g_i, every term of dQ and dK+ carries e^{c_i} and every term of dK- carries e^{-c_i}, so that
// dc_i = q_i . dq_i + k_i . (dk+_i - dk-_i), plus <R, S'> for the last i; dg is its reversed running sum.

#include "runtime/kernels/ChunkMath.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>

namespace morph {
namespace {

constexpr const char *kKind = "gated_delta_rule";

/// One chunk's decays and products. Q (scaled) and K lie one below the other, as do A and M, so that one product serves
/// both.
template <typename T> struct Chunk {
  Chunk(Scratch<T> &scratch, int64_t c, int64_t width)
      : qk(scratch.matrix(2 * c, width)), am(scratch.matrix(2 * c, c)), decay(scratch.matrix(c, c)),
        factors(scratch.take(c)), fromStart(scratch.take(c)), beta(scratch.take(c)) {}
  static int64_t scratchSize(int64_t c, int64_t width) {
    using S = Scratch<T>;
    return S::size(2 * c * width) + S::size(2 * c * c) + S::size(c * c) + 3 * S::size(c);
  }

  /// Loads `c` positions from `begin` and computes the decays and M, and A too where `queries`.
  void load(Matrix<T> q, Matrix<T> k, Matrix<T> g, Matrix<T> betas, int64_t begin, int64_t c, int64_t width, T scale,
            bool queries) {
    size = c;
    for (int64_t i = 0; i < c; ++i) {
      std::copy(k.row(begin + i), k.row(begin + i) + width, qk.row(c + i));
      factors[i] = std::exp(*g.row(begin + i));
      beta[i] = *betas.row(begin + i);
    }
    if (queries)
      chunk::scaleAll(c, width, scale, q.below(begin), qk);
    am.stride = decay.stride = c;
    chunk::decayProducts(c, factors, decay, fromStart);
    if (queries)
      multiply(false, true, 2 * c, c, width, T(1), qk, keys(), T(0), am);
    else
      multiply(false, true, c, c, width, T(1), keys(), keys(), T(0), m());
    if (queries)
      chunk::applyDecay(c, decay, am, false);
    chunk::applyDecay(c, decay, m(), true);
  }
  Matrix<T> keys() const { return qk.below(size); }
  Matrix<T> m() const { return am.below(size); }
  /// The decay from position i to the chunk's end.
  const T *toEnd() const { return decay.row(size - 1); }
  T whole() const { return fromStart[size - 1]; }

  int64_t size = 0;
  Matrix<T> qk, am, decay;
  T *factors, *fromStart, *beta;
};

struct Shape {
  explicit Shape(const LinearAttentionInputs &x)
      : batch(x.q_BTHK.size(0)), length(x.q_BTHK.size(1)), heads(x.q_BTHK.size(2)), width(x.q_BTHK.size(3)),
        valueWidth(x.v_BTHV.size(3)), chunk(x.chunk), chunks((length + chunk - 1) / chunk) {}
  int64_t batch, length, heads, width, valueWidth, chunk, chunks;
};

template <typename T> Matrix<T> scalars(const at::Tensor &x_BTH, int64_t b, int64_t h) {
  return {elementAt<T>(x_BTH, b * x_BTH.size(1) * x_BTH.size(2) + h), x_BTH.size(2)};
}

/// E (in `e`) and U of a loaded chunk; `e` holds K S on entry.
template <typename T> void solve(const Chunk<T> &x, Matrix<T> v, int64_t n, Matrix<T> e, Matrix<T> u) {
  chunk::subtractScaled(x.size, n, v, x.fromStart, e);
  chunk::solveLower(x.size, n, x.m(), x.beta, e, u);
}

/// S <- S' of a loaded chunk; `scaled` is scratch of U's size.
template <typename T>
void advance(const Chunk<T> &x, int64_t width, int64_t n, Matrix<T> u, Matrix<T> scaled, Matrix<T> from, Matrix<T> to) {
  chunk::scaleRows(x.size, n, x.toEnd(), u, scaled);
  T beta = x.whole();
  if (from.data != to.data) {
    chunk::scaleAll(1, width * n, beta, from, to);
    beta = 1;
  }
  multiply(true, false, width, n, x.size, T(1), x.keys(), scaled, beta, to);
}

template <typename T> LinearAttentionResult forwardOf(const LinearAttentionInputs &x) {
  const Shape s(x);
  LinearAttentionResult result{at::empty_like(x.v_BTHV), x.state_BHKV};
  const int64_t n = s.valueWidth;
  const int64_t scratchSize =
      Chunk<T>::scratchSize(s.chunk, s.width) + Scratch<T>::size(2 * s.chunk * n) + 2 * Scratch<T>::size(s.chunk * n);
  at::parallel_for(0, s.batch * s.heads, 1, [&](int64_t first, int64_t last) {
    Scratch<T> scratch(scratchSize);
    Chunk<T> c(scratch, s.chunk, s.width);
    Matrix<T> fromState = scratch.matrix(2 * s.chunk, n), u = scratch.matrix(s.chunk, n),
              scaled = scratch.matrix(s.chunk, n);
    for (int64_t index = first; index < last; ++index) {
      const int64_t b = index / s.heads, h = index % s.heads;
      const Matrix<T> q = headMatrix<T>(x.q_BTHK, b, h), k = headMatrix<T>(x.k_BTHK, b, h),
                      v = headMatrix<T>(x.v_BTHV, b, h), o = headMatrix<T>(result.o_BTHV, b, h),
                      g = scalars<T>(x.extras[0], b, h), beta = scalars<T>(x.extras[1], b, h);
      const Matrix<T> state{result.state_BHKV.data_ptr<T>() + index * s.width * n, n};
      for (int64_t begin = 0; begin < s.length; begin += s.chunk) {
        const int64_t size = std::min(s.chunk, s.length - begin);
        c.load(q, k, g, beta, begin, size, s.width, T(x.scale), true);
        multiply(false, false, 2 * size, n, s.width, T(1), c.qk, state, T(0), fromState);
        solve(c, v.below(begin), n, fromState.below(size), u);
        chunk::scaleRows(size, n, c.fromStart, fromState, o.below(begin));
        multiply(false, false, size, n, size, T(1), c.am, u, T(1), o.below(begin));
        advance(c, s.width, n, u, scaled, state, state);
      }
    }
  });
  return result;
}

template <typename T> LinearAttentionGradients backwardOf(const LinearAttentionInputs &x, const at::Tensor &do_BTHV) {
  const Shape s(x);
  LinearAttentionGradients result{at::empty_like(x.q_BTHK),
                                  at::empty_like(x.k_BTHK),
                                  at::empty_like(x.v_BTHV),
                                  {at::empty_like(x.extras[0]), at::empty_like(x.extras[1])}};
  const int64_t n = s.valueWidth, width = s.width, stateSize = width * n;
  using S = Scratch<T>;
  const int64_t scratchSize = Chunk<T>::scratchSize(s.chunk, width) + S::size((s.chunks + 1) * stateSize) +
                              S::size(s.length * n) + S::size(2 * s.chunk * n) + 3 * S::size(s.chunk * n) +
                              S::size(2 * s.chunk * s.chunk) + S::size(2 * s.chunk * width) + S::size(s.chunk * width) +
                              S::size(stateSize) + S::size(s.chunk);
  at::parallel_for(0, s.batch * s.heads, 1, [&](int64_t first, int64_t last) {
    S scratch(scratchSize);
    Chunk<T> c(scratch, s.chunk, width);
    const Matrix<T> states = scratch.matrix(s.chunks + 1, stateSize), es = scratch.matrix(s.length, n);
    const Matrix<T> dox = scratch.matrix(2 * s.chunk, n); // dO, and below it -X
    const Matrix<T> u = scratch.matrix(s.chunk, n), scaled = scratch.matrix(s.chunk, n), w = scratch.matrix(s.chunk, n);
    Matrix<T> dam = scratch.matrix(2 * s.chunk, s.chunk);     // G * dA, and below it G * dM
    const Matrix<T> dqk = scratch.matrix(2 * s.chunk, width); // dQ, and below it dK+
    const Matrix<T> dkMinus = scratch.matrix(s.chunk, width), r = scratch.matrix(width, n);
    T *const sums = scratch.take(s.chunk);
    for (int64_t index = first; index < last; ++index) {
      const int64_t b = index / s.heads, h = index % s.heads;
      const Matrix<T> q = headMatrix<T>(x.q_BTHK, b, h), k = headMatrix<T>(x.k_BTHK, b, h),
                      v = headMatrix<T>(x.v_BTHV, b, h), g = scalars<T>(x.extras[0], b, h),
                      beta = scalars<T>(x.extras[1], b, h), dO = headMatrix<T>(do_BTHV, b, h),
                      dq = headMatrix<T>(result.dq_BTHK, b, h), dk = headMatrix<T>(result.dk_BTHK, b, h),
                      dv = headMatrix<T>(result.dv_BTHV, b, h), dg = scalars<T>(result.dextras[0], b, h),
                      dbeta = scalars<T>(result.dextras[1], b, h);
      auto stateAt = [&](int64_t number) { return Matrix<T>{states.row(number), n}; };

      const T *initial = x.state_BHKV.data_ptr<T>() + index * stateSize;
      std::copy(initial, initial + stateSize, states.data);
      for (int64_t number = 0; number < s.chunks; ++number) {
        const int64_t begin = number * s.chunk, size = std::min(s.chunk, s.length - begin);
        c.load(q, k, g, beta, begin, size, width, T(x.scale), false);
        multiply(false, false, size, n, width, T(1), c.keys(), stateAt(number), T(0), es.below(begin));
        solve(c, v.below(begin), n, es.below(begin), u);
        advance(c, width, n, u, scaled, stateAt(number), stateAt(number + 1));
      }

      std::fill(r.data, r.data + stateSize, T(0));
      for (int64_t number = s.chunks - 1; number >= 0; --number) {
        const int64_t begin = number * s.chunk, size = std::min(s.chunk, s.length - begin);
        const Matrix<T> state = stateAt(number), e = es.below(begin), minusX = dox.below(size);
        c.load(q, k, g, beta, begin, size, width, T(x.scale), true);

        // dU, in w; U and U with its decay to the chunk's end; dO beside the queries.
        multiply(false, false, size, n, width, T(1), c.keys(), r, T(0), w);
        chunk::scaleRows(size, n, c.toEnd(), w, w);
        chunk::scaleRows(size, n, c.beta, e, u);
        chunk::scaleRows(size, n, c.toEnd(), u, scaled);
        chunk::scaleAll(size, n, T(1), dO.below(begin), dox);
        multiply(true, false, size, n, size, T(1), c.am, dox, T(1), w);
        chunk::solveUpper(size, n, c.m(), c.beta, w, minusX);
        chunk::scaleAll(size, n, T(1), minusX, dv.below(begin));
        chunk::scaleAll(size, n, T(-1), minusX, minusX);
        std::fill(sums, sums + size, T(0));
        chunk::addRowDots(size, n, T(1), w, e, sums);
        for (int64_t i = 0; i < size; ++i)
          *dbeta.row(begin + i) = sums[i];

        dam.stride = size;
        multiply(false, true, 2 * size, size, n, T(1), dox, u, T(0), dam);
        chunk::applyDecay(size, c.decay, dam, false);
        chunk::applyDecay(size, c.decay, dam.below(size), true);
        multiply(false, true, 2 * size, width, n, T(1), dox, state, T(0), dqk);
        chunk::scaleRows(size, width, c.fromStart, dqk, dqk);
        chunk::scaleRows(size, width, c.fromStart, dqk.below(size), dqk.below(size));
        multiply(false, false, 2 * size, width, size, T(1), dam, c.keys(), T(1), dqk);
        multiply(false, true, size, width, n, T(1), scaled, r, T(0), dkMinus);
        multiply(true, false, size, width, 2 * size, T(1), dam, c.qk, T(1), dkMinus);

        std::fill(sums, sums + size, T(0));
        chunk::addRowDots(size, width, T(1), c.qk, dqk, sums);
        chunk::addRowDots(size, width, T(1), c.keys(), dqk.below(size), sums);
        chunk::addRowDots(size, width, T(-1), c.keys(), dkMinus, sums);
        chunk::addRowDots(1, stateSize, T(1), r, stateAt(number + 1), sums + size - 1);
        T running = 0;
        for (int64_t i = size - 1; i >= 0; --i) {
          running += sums[i];
          *dg.row(begin + i) = running;
        }
        chunk::scaleAll(size, width, T(x.scale), dqk, dq.below(begin));
        chunk::addRows(size, width, dqk.below(size), dkMinus, dk.below(begin));
        chunk::scaleRows(size, n, c.fromStart, dox, dox);
        chunk::scaleRows(size, n, c.fromStart, minusX, minusX);
        multiply(true, false, width, n, 2 * size, T(1), c.qk, dox, c.whole(), r);
      }
    }
  });
  return result;
}

class GatedDeltaRule : public LinearAttentionKernel {
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
    const at::Tensor decays = x.extras[0].exp();
    at::Tensor state = inputs.state_BHKV.defined() ? inputs.state_BHKV.to(x.q_BTHK.scalar_type()) : x.state_BHKV;
    std::vector<at::Tensor> outputs;
    for (int64_t t = 0; t < x.q_BTHK.size(1); ++t) {
      const at::Tensor q = x.q_BTHK.select(1, t) * x.scale, k = x.k_BTHK.select(1, t), v = x.v_BTHV.select(1, t);
      const at::Tensor decay = decays.select(1, t).unsqueeze(-1).unsqueeze(-1);
      const at::Tensor beta = x.extras[1].select(1, t).unsqueeze(-1);
      state = decay * state;
      const at::Tensor u = beta * (v - (state * k.unsqueeze(-1)).sum(-2));
      state = state + k.unsqueeze(-1) * u.unsqueeze(-2);
      outputs.push_back((state * q.unsqueeze(-1)).sum(-2));
    }
    return {outputs.empty() ? at::empty_like(x.v_BTHV) : at::stack(outputs, 1), state};
  }

private:
  static LinearAttentionInputs checked(const LinearAttentionInputs &inputs) {
    LinearAttentionInputs x = chunk::prepare(kKind, inputs);
    TORCH_CHECK(x.extras.size() == 2 && x.extras[0].sizes() == x.q_BTHK.sizes().slice(0, 3) &&
                    x.extras[1].sizes() == x.q_BTHK.sizes().slice(0, 3),
                "linear_attention '", kKind, "': expected the extras g and beta, both [B,T,H], for q ",
                x.q_BTHK.sizes());
    return x;
  }
};

const LinearAttentionRegistration registration(kKind, std::make_unique<GatedDeltaRule>());

} // namespace
} // namespace morph
