// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernels/ChunkMath.h"

#include <c10/core/GradMode.h>

#include <algorithm>

namespace morph::chunk {
namespace {

/// Rows that are solved by loops; the others' part comes by products.
constexpr int64_t kBlock = 16;

template <typename T>
void solveLowerBlocked(int64_t c, int64_t n, Matrix<T> m, const T *beta, Matrix<T> e, Matrix<T> u) {
  for (int64_t begin = 0; begin < c; begin += kBlock) {
    const int64_t end = std::min(c, begin + kBlock);
    if (begin > 0)
      multiply(false, false, end - begin, n, begin, T(-1), m.below(begin), u, T(1), e.below(begin));
    solveLowerBlock(begin, end, n, m, beta, e, u);
  }
}

template <typename T>
void solveUpperBlocked(int64_t c, int64_t n, Matrix<T> m, const T *beta, Matrix<T> r, Matrix<T> x) {
  for (int64_t begin = (c - 1) / kBlock * kBlock; begin >= 0; begin -= kBlock) {
    const int64_t end = std::min(c, begin + kBlock);
    if (end < c)
      multiply(true, false, end - begin, n, c - end, T(-1), m.below(end).right(begin), x.below(end), T(1),
               r.below(begin));
    solveUpperBlock(begin, end, n, m, beta, r, x);
  }
}

} // namespace

void solveLower(int64_t c, int64_t n, Matrix<float> m, const float *beta, Matrix<float> e, Matrix<float> u) {
  solveLowerBlocked(c, n, m, beta, e, u);
}
void solveLower(int64_t c, int64_t n, Matrix<double> m, const double *beta, Matrix<double> e, Matrix<double> u) {
  solveLowerBlocked(c, n, m, beta, e, u);
}
void solveUpper(int64_t c, int64_t n, Matrix<float> m, const float *beta, Matrix<float> r, Matrix<float> x) {
  solveUpperBlocked(c, n, m, beta, r, x);
}
void solveUpper(int64_t c, int64_t n, Matrix<double> m, const double *beta, Matrix<double> r, Matrix<double> x) {
  solveUpperBlocked(c, n, m, beta, r, x);
}

LinearAttentionInputs prepare(const char *kind, const LinearAttentionInputs &inputs) {
  const at::Tensor &q = inputs.q_BTHK, &k = inputs.k_BTHK, &v = inputs.v_BTHV;
  TORCH_CHECK(q.dim() == 4 && q.sizes() == k.sizes() && v.dim() == 4 && v.sizes().slice(0, 3) == q.sizes().slice(0, 3),
              "linear_attention '", kind, "': expected q, k [B,T,H,K] and v [B,T,H,V], but got ", q.sizes(), ", ",
              k.sizes(), " and ", v.sizes());
  TORCH_CHECK(inputs.chunk > 0, "linear_attention '", kind, "': expected a positive chunk, but got ", inputs.chunk);
  const at::ScalarType type = q.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  LinearAttentionInputs result;
  result.q_BTHK = q.to(type).contiguous();
  result.k_BTHK = k.to(type).contiguous();
  result.v_BTHV = v.to(type).contiguous();
  for (const at::Tensor &extra : inputs.extras)
    result.extras.push_back(extra.to(type).contiguous());
  const std::vector<int64_t> shape = {q.size(0), q.size(2), q.size(3), v.size(3)};
  if (inputs.state_BHKV.defined()) {
    TORCH_CHECK(inputs.state_BHKV.sizes() == at::IntArrayRef(shape), "linear_attention '", kind,
                "': expected a state of shape ", at::IntArrayRef(shape), ", but got ", inputs.state_BHKV.sizes());
    result.state_BHKV = at::empty(shape, result.q_BTHK.options()).copy_(inputs.state_BHKV);
  } else {
    result.state_BHKV = at::zeros(shape, result.q_BTHK.options());
  }
  result.scale = inputs.scale;
  result.chunk = std::max<int64_t>(1, std::min(inputs.chunk, q.size(1)));
  return result;
}

bool recorded(const LinearAttentionInputs &inputs) {
  if (!c10::GradMode::is_enabled())
    return false;
  bool any = inputs.q_BTHK.requires_grad() || inputs.k_BTHK.requires_grad() || inputs.v_BTHV.requires_grad() ||
             (inputs.state_BHKV.defined() && inputs.state_BHKV.requires_grad());
  for (const at::Tensor &extra : inputs.extras)
    any = any || extra.requires_grad();
  return any;
}

} // namespace morph::chunk
