// SPDX-License-Identifier: Apache-2.0
// attention and attention_grad: causal grouped-query softmax attention with a window, left padding and a cache. A task
// is a block of queries of one head with the range of keys that it sees: its products with these keys stay in cache,
// and keys that nobody in the block sees cost nothing.
//
// Nothing is saved for the gradient. With whole rows at hand it needs five products and no forward: from the products
// S = Q K^T the shares P = softmax(scale S), from dP = dO V^T
//
//   dS = scale P * (dP - rowsum(P * dP)),  dQ = dS K,  dK = dS^T Q,  dV = P^T dO.
//
// Products are bf16 with fp32 accumulation under Precision::BF16 where LibTorch has them, softmax fp32. A single query
// (decoding) stays in fp32, as converting a whole cache would cost more than the products; the query heads of a group
// are then the rows of its block, so that its keys are read once.
// Shapes: B batch, T queries, S keys, H query heads, G key-value heads, R = H / G, D head dimension.

#include "runtime/kernels/AttentionLoops.h"
#include "runtime/kernels/Kernel.h"
#include "runtime/kernels/Rows.h"
#include "runtime/kernels/SmallProducts.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <limits>
#include <type_traits>

namespace morph {
namespace {

struct Problem {
  at::Tensor q_BTHD, k_BSGD, v_BSGD, start_B;
  double scale = 1;
  int64_t window = 0;               ///< 0: none.
  at::ScalarType type = at::kFloat; ///< Of the products' operands.

  int64_t batch() const { return q_BTHD.size(0); }
  int64_t queries() const { return q_BTHD.size(1); }
  int64_t heads() const { return q_BTHD.size(2); }
  int64_t width() const { return q_BTHD.size(3); }
  int64_t keys() const { return k_BSGD.size(1); }
  int64_t group() const { return q_BTHD.size(2) / k_BSGD.size(2); }
  int64_t start(int64_t b) const { return start_B.defined() ? start_B.data_ptr<int64_t>()[b] : 0; }
};

Problem problemOf(const KernelCall &call, size_t first) {
  Problem p;
  p.q_BTHD = call.operands[first];
  p.k_BSGD = call.operands[first + 1];
  p.v_BSGD = call.operands[first + 2];
  if (call.operands[first + 3].defined())
    p.start_B = call.operands[first + 3].to(at::kLong).contiguous();
  p.scale = call.number("scale");
  if (call.flag("window"))
    p.window = call.integer("window");
  const at::Tensor &q = p.q_BTHD, &k = p.k_BSGD;
  TORCH_CHECK(q.dim() == 4 && k.dim() == 4 && k.sizes() == p.v_BSGD.sizes() && q.size(0) == k.size(0) &&
                  q.size(3) == k.size(3) && q.size(1) <= k.size(1) && k.size(2) > 0 && q.size(2) % k.size(2) == 0,
              call.instruction.op,
              ": expected q [B,T,H,D] and k, v [B,S,G,D] with T <= S and H a multiple of G, but got ", q.sizes(), ", ",
              k.sizes(), " and ", p.v_BSGD.sizes());
  TORCH_CHECK(!p.start_B.defined() || (p.start_B.dim() == 1 && p.start_B.size(0) == q.size(0)), call.instruction.op,
              ": expected start [B] for a batch of ", q.size(0), ", but got ", p.start_B.sizes());
  if (q.scalar_type() == at::kDouble)
    p.type = at::kDouble;
  else if (call.flag("half") && q.size(1) > 1 && hasBf16Multiply())
    p.type = at::kBFloat16;
  return p;
}

/// The plain definition in ATen functions: what autograd records.
at::Tensor attendByAten(const Problem &p) {
  const at::Tensor query_T1 = at::arange(p.keys() - p.queries(), p.keys(), at::kLong).unsqueeze(1);
  const at::Tensor key_S = at::arange(p.keys(), at::kLong);
  at::Tensor visible = key_S <= query_T1;
  if (p.window > 0)
    visible = visible.logical_and(key_S > query_T1 - p.window);
  if (p.start_B.defined())
    visible = visible.logical_and(key_S >= p.start_B.view({-1, 1, 1, 1}));
  const at::Tensor k_BHSD = p.k_BSGD.repeat_interleave(p.group(), 2).transpose(1, 2),
                   v_BHSD = p.v_BSGD.repeat_interleave(p.group(), 2).transpose(1, 2);
  const at::Tensor scores_BHTS = at::matmul(p.q_BTHD.transpose(1, 2), k_BHSD.transpose(2, 3)) * p.scale;
  // A finite floor and a second masking: a row that sees no key gives zero, not the mean of all values.
  const double floor = std::numeric_limits<float>::lowest();
  const at::Tensor shares_BHTS = at::softmax(scores_BHTS.masked_fill(visible.logical_not(), floor), -1) * visible;
  return at::matmul(shares_BHTS, v_BHSD).transpose(1, 2);
}

/// The rows of one task: queries whose positions grow by `step` from `position`, and the keys [firstKey, lastKey) that
/// any of them sees.
struct Block {
  Block(const Problem &p, int64_t b, int64_t position, int64_t step, int64_t rows)
      : rows(rows), position(position), step(step), window(p.window), start(std::max<int64_t>(0, p.start(b))) {
    lastKey = position + (rows - 1) * step + 1;
    firstKey = std::min(firstVisible(0), lastKey);
  }
  int64_t firstVisible(int64_t row) const {
    return window > 0 ? std::max(start, position + row * step - window + 1) : start;
  }
  int64_t keys() const { return lastKey - firstKey; }
  /// Row `row`'s visible keys, counted from firstKey.
  int64_t first(int64_t row) const { return std::min(firstVisible(row), lastKey) - firstKey; }
  int64_t last(int64_t row) const { return position + row * step + 1 - firstKey; }

  int64_t rows, position, step, window, start, firstKey, lastKey;
};

/// Queries a block. More make better products and more wasted ones above the diagonal.
constexpr int64_t kRows = 64;

template <typename T> void fillRows(Matrix<T> x, int64_t rows, int64_t width) {
  for (int64_t i = 0; i < rows; ++i)
    std::fill(x.row(i), x.row(i) + width, T(0));
}

/// The output rows of a block. E is the products' operand type, T their result's. `shares` may be `scores`.
template <typename E, typename T>
void forwardBlock(const Problem &p, const Block &block, Matrix<E> q, Matrix<E> k, Matrix<E> v, Matrix<T> o, T *scores,
                  E *shares, T *sums) {
  const int64_t n = block.keys(), width = p.width();
  if (n == 0) {
    fillRows(o, block.rows, width);
    return;
  }
  const Matrix<T> s{scores, n};
  const Matrix<E> e{shares, n};
  multiply(false, true, block.rows, n, width, T(1), q, k.below(block.firstKey), T(0), s);
  for (int64_t i = 0; i < block.rows; ++i)
    sums[i] = exponentials(s.row(i), e.row(i), block.first(i), block.last(i), n, T(p.scale));
  multiply(false, false, block.rows, width, n, T(1), e, v.below(block.firstKey), T(0), o);
  for (int64_t i = 0; i < block.rows; ++i) {
    if (sums[i] != 0)
      scaleRow(o.row(i), width, T(1) / sums[i]);
    else
      std::fill(o.row(i), o.row(i) + width, T(0));
  }
}

template <typename E, typename T> at::Tensor attend(const Problem &p) {
  const at::Tensor q = p.q_BTHD.to(p.type).contiguous(), k = p.k_BSGD.to(p.type).contiguous(),
                   v = p.v_BSGD.to(p.type).contiguous();
  const at::Tensor o = at::empty(q.sizes(), at::TensorOptions(c10::CppTypeToScalarType<T>::value));
  const int64_t heads = p.heads(), group = p.group(), width = p.width(), past = p.keys() - p.queries();
  const bool single = p.queries() == 1;
  const int64_t blocks = single ? 1 : (p.queries() + kRows - 1) / kRows;
  const int64_t columns = single ? heads / group : heads;
  const int64_t rows = single ? group : std::min(kRows, p.queries());
  constexpr bool same = std::is_same_v<E, T>;
  at::parallel_for(0, p.batch() * columns * blocks, 1, [&](int64_t first, int64_t last) {
    using ScratchE = Scratch<E>;
    Scratch<T> scratch(Scratch<T>::size(rows * p.keys()) + Scratch<T>::size(rows));
    ScratchE rounded(same ? 0 : ScratchE::size(rows * p.keys()));
    T *scores = scratch.take(rows * p.keys()), *sums = scratch.take(rows);
    E *shares;
    if constexpr (same)
      shares = scores;
    else
      shares = rounded.take(rows * p.keys());
    for (int64_t index = first; index < last; ++index) {
      const int64_t b = index / (columns * blocks), column = index / blocks % columns, number = index % blocks;
      if (single) {
        const Matrix<E> qs{q.data_ptr<E>() + (b * heads + column * group) * width, width};
        const Matrix<T> os{o.data_ptr<T>() + (b * heads + column * group) * width, width};
        forwardBlock<E, T>(p, Block(p, b, past, 0, group), qs, headMatrix<E>(k, b, column), headMatrix<E>(v, b, column),
                           os, scores, shares, sums);
        continue;
      }
      // A head's blocks from both ends in turn: any stretch of tasks then has its share of the long ones.
      const int64_t begin = kRows * (number % 2 ? blocks - 1 - number / 2 : number / 2);
      const Block block(p, b, past + begin, 1, std::min(kRows, p.queries() - begin));
      forwardBlock<E, T>(p, block, headMatrix<E>(q, b, column).below(begin), headMatrix<E>(k, b, column / group),
                         headMatrix<E>(v, b, column / group), headMatrix<T>(o, b, column).below(begin), scores, shares,
                         sums);
    }
  });
  return o;
}

/// Scratch of a block's gradient.
template <typename E, typename T> struct GradientBuffers {
  explicit GradientBuffers(int64_t elements)
      : wide(2 * Scratch<T>::size(elements)), narrow(2 * Scratch<E>::size(std::is_same_v<E, T> ? 0 : elements)),
        scores(wide.take(elements)), dshares(wide.take(elements)) {
    if constexpr (std::is_same_v<E, T>) {
      shares = scores;
      dscores = dshares;
    } else {
      shares = narrow.take(elements);
      dscores = narrow.take(elements);
    }
  }
  Scratch<T> wide;
  Scratch<E> narrow;
  T *scores, *dshares;
  E *shares, *dscores;
};

/// Writes a block's dq, and adds to dk and dv.
template <typename E, typename T>
void backwardBlock(const Problem &p, const Block &block, Matrix<E> dO, Matrix<E> q, Matrix<E> k, Matrix<E> v,
                   Matrix<T> dq, Matrix<T> dk, Matrix<T> dv, GradientBuffers<E, T> &buffers) {
  const int64_t n = block.keys(), width = p.width(), at = block.firstKey;
  if (n == 0) {
    fillRows(dq, block.rows, width);
    return;
  }
  const Matrix<T> s{buffers.scores, n}, dp{buffers.dshares, n};
  const Matrix<E> shares{buffers.shares, n}, ds{buffers.dscores, n};
  multiply(false, true, block.rows, n, width, T(1), q, k.below(at), T(0), s);
  multiply(false, true, block.rows, n, width, T(1), dO, v.below(at), T(0), dp);
  for (int64_t i = 0; i < block.rows; ++i) {
    const T sum = exponentials(s.row(i), s.row(i), block.first(i), block.last(i), n, T(p.scale));
    softmaxGradient(s.row(i), dp.row(i), shares.row(i), ds.row(i), n, sum != 0 ? T(1) / sum : T(0), T(p.scale));
  }
  multiply(false, false, block.rows, width, n, T(1), ds, k.below(at), T(0), dq);
  multiply(true, false, n, width, block.rows, T(1), ds, q, T(1), dk.below(at));
  multiply(true, false, n, width, block.rows, T(1), shares, dO, T(1), dv.below(at));
}

template <typename E, typename T> std::vector<at::Tensor> attendGradient(const Problem &p, const at::Tensor &dy_BTHD) {
  const at::Tensor q = p.q_BTHD.to(p.type).contiguous(), k = p.k_BSGD.to(p.type).contiguous(),
                   v = p.v_BSGD.to(p.type).contiguous(), dO = dy_BTHD.to(p.type).contiguous();
  const at::TensorOptions options(c10::CppTypeToScalarType<T>::value);
  const int64_t heads = p.heads(), group = p.group(), width = p.width(), past = p.keys() - p.queries();
  const at::Tensor dq = at::empty(q.sizes(), options);
  // A head adds to its own copy; the copies of a group are summed in a fixed order afterwards.
  const at::Tensor dk = at::zeros({p.batch(), p.keys(), heads, width}, options), dv = at::zeros_like(dk);
  const int64_t rows = std::min(kRows, p.queries());
  at::parallel_for(0, p.batch() * heads, 1, [&](int64_t first, int64_t last) {
    GradientBuffers<E, T> buffers(rows * p.keys());
    for (int64_t index = first; index < last; ++index) {
      const int64_t b = index / heads, h = index % heads;
      for (int64_t begin = 0; begin < p.queries(); begin += kRows) {
        const Block block(p, b, past + begin, 1, std::min(kRows, p.queries() - begin));
        backwardBlock<E, T>(p, block, headMatrix<E>(dO, b, h).below(begin), headMatrix<E>(q, b, h).below(begin),
                            headMatrix<E>(k, b, h / group), headMatrix<E>(v, b, h / group),
                            headMatrix<T>(dq, b, h).below(begin), headMatrix<T>(dk, b, h), headMatrix<T>(dv, b, h),
                            buffers);
      }
    }
  });
  if (group == 1)
    return {dq, dk, dv};
  const std::vector<int64_t> grouped = {p.batch(), p.keys(), heads / group, group, width};
  return {dq, dk.view(grouped).sum(3), dv.view(grouped).sum(3)};
}

std::vector<at::Tensor> attention(const KernelCall &call) {
  const Problem p = problemOf(call, 0);
  if (p.q_BTHD.numel() == 0)
    return {at::zeros_like(p.q_BTHD)};
  if (recording() && (p.q_BTHD.requires_grad() || p.k_BSGD.requires_grad() || p.v_BSGD.requires_grad()))
    return {attendByAten(p)};
  if (p.type == at::kDouble)
    return {attend<double, double>(p)};
  return {p.type == at::kBFloat16 ? attend<at::BFloat16, float>(p) : attend<float, float>(p)};
}

std::vector<at::Tensor> attentionGrad(const KernelCall &call) {
  const Problem p = problemOf(call, 1);
  const at::Tensor &dy_BTHD = call.operands[0];
  if (p.q_BTHD.numel() == 0)
    return {at::zeros_like(p.q_BTHD), at::zeros_like(p.k_BSGD), at::zeros_like(p.v_BSGD)};
  if (p.type == at::kDouble)
    return attendGradient<double, double>(p, dy_BTHD);
  return p.type == at::kBFloat16 ? attendGradient<at::BFloat16, float>(p, dy_BTHD)
                                 : attendGradient<float, float>(p, dy_BTHD);
}

const KernelRegistration forwardRegistration("attention", {runByCopy<attention>, attention});
const KernelRegistration backwardRegistration("attention_grad", {runByCopy<attentionGrad>});

} // namespace
} // namespace morph
