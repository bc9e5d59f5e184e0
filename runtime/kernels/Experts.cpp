// SPDX-License-Identifier: Apache-2.0
// Mixtures of experts: the router's choice, and its experts on the rows that chose them. Legend: N rows (all leading
// dimensions), E experts, C channels, F inner width, R rows of a block.
//
// An expert's rows go through its products in blocks: gathered, multiplied, added where they came from. Experts follow
// one another and a product takes all threads, so that sums are in one order whatever the threads. Gradients compute
// the inner values again, which would be 2F numbers for each of a row's experts.

#include "runtime/kernels/ExpertLoops.h"
#include "runtime/kernels/Gemm.h"
#include "runtime/kernels/Kernel.h"
#include "runtime/kernels/LossLoops.h"
#include "runtime/kernels/Rows.h"
#include "runtime/kernels/ScratchAllocator.h"
#include "runtime/plan/Scratch.h"

#include <numeric>

namespace morph {

namespace {

/// Writes the positions of the `count` greatest of x [E] into the front of `order` [E], the first of equal ones before.
template <typename T> void findGreatest(const T *x, int64_t experts, int64_t count, int64_t *order) {
  std::iota(order, order + experts, int64_t(0));
  std::partial_sort(order, order + count, order + experts,
                    [&](int64_t a, int64_t b) { return x[a] != x[b] ? x[a] > x[b] : a < b; });
}

void topKSoftmax(const KernelCall &call) {
  const at::Tensor &logits = call.operands[0], &result = call.results[0];
  const int64_t experts = logits.size(-1), rows = logits.numel() / experts, count = call.integer("count");
  const bool normalised = call.flag("normalised");
  withType(logits, [&](auto *type) {
    using T = std::remove_pointer_t<decltype(type)>;
    const T *const x_NE = logits.const_data_ptr<T>();
    T *const y_NE = result.mutable_data_ptr<T>();
    forRows(rows, experts, [&](int64_t begin, int64_t end) {
      std::vector<int64_t> order(static_cast<size_t>(experts));
      for (int64_t n = begin; n < end; ++n) {
        const T *const x = x_NE + n * experts;
        T *const y = y_NE + n * experts;
        findGreatest(x, experts, count, order.data());
        const LogSumExp<T> all = logSumExpRow(x, experts);
        std::fill_n(y, experts, T(0));
        T sum = 0;
        for (int64_t k = 0; k < count; ++k)
          sum += y[order[static_cast<size_t>(k)]] = std::exp(all.logOf(x[order[static_cast<size_t>(k)]]));
        for (int64_t k = 0; normalised && k < count; ++k)
          y[order[static_cast<size_t>(k)]] /= sum;
      }
    });
  });
}
std::vector<at::Tensor> topKSoftmaxReference(const KernelCall &call) {
  const at::Tensor &x = call.operands[0];
  const at::Tensor chosen =
      std::get<1>(x.detach().sort(/*stable=*/true, -1, /*descending=*/true)).narrow(-1, 0, call.integer("count"));
  at::Tensor kept = x.softmax(-1).gather(-1, chosen);
  if (call.flag("normalised"))
    kept = kept / kept.sum(-1, true);
  return {at::zeros_like(x).scatter(-1, chosen, kept)};
}

/// With y = p / Z on the chosen ones S, Z their sum or one: dx = y (dy - sum_S y dy) where normalised, which is zero
/// outside of S; else dx = p (dy [in S] - sum_S p dy), which is not.
void topKSoftmaxGrad(const KernelCall &call) {
  const at::Tensor &gradient = call.operands[0], &logits = call.operands[1], &result = call.operands[2];
  const int64_t experts = logits.size(-1), rows = logits.numel() / experts;
  const bool normalised = call.flag("normalised");
  withType(logits, [&](auto *type) {
    using T = std::remove_pointer_t<decltype(type)>;
    const T *const dy_NE = gradient.const_data_ptr<T>(), *const x_NE = logits.const_data_ptr<T>();
    const T *const y_NE = result.const_data_ptr<T>();
    T *const dx_NE = call.results[0].mutable_data_ptr<T>();
    forRows(rows, experts, [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        const T *const dy = dy_NE + n * experts, *const x = x_NE + n * experts, *const y = y_NE + n * experts;
        T *const dx = dx_NE + n * experts;
        T sum = 0;
        for (int64_t e = 0; e < experts; ++e)
          sum += y[e] * dy[e];
        const LogSumExp<T> all = normalised ? LogSumExp<T>() : logSumExpRow(x, experts);
        for (int64_t e = 0; e < experts; ++e) {
          const T share = normalised ? y[e] : std::exp(all.logOf(x[e]));
          dx[e] = share * ((y[e] != 0 ? dy[e] : T(0)) - sum);
        }
      }
    });
  });
}

//===----------------------------------------------------------------------===//
// Experts
//===----------------------------------------------------------------------===//

plan::DType typeOf(const float *) { return plan::DType::F32; }
plan::DType typeOf(const double *) { return plan::DType::F64; }
plan::DType typeOf(const Bf16 *) { return plan::DType::BF16; }

template <typename T> const T *dataOf(const at::Tensor &x) { return static_cast<const T *>(x.const_data_ptr()); }

/// The operands of experts, after `first` others.
template <typename Sum, typename Factor> struct Experts {
  int64_t rows, experts, width, inner; ///< N, E, C, F.
  const Factor *x_NC, *gateUp_EWC, *down_ECF;
  const Sum *routing_NE;

  Experts(const KernelCall &call, size_t first)
      : x_NC(dataOf<Factor>(call.operands[first])), gateUp_EWC(dataOf<Factor>(call.operands[first + 2])),
        down_ECF(dataOf<Factor>(call.operands[first + 3])), routing_NE(dataOf<Sum>(call.operands[first + 1])) {
    const at::Tensor &down = call.operands[first + 3];
    experts = down.size(0);
    width = down.size(1);
    inner = down.size(2);
    rows = call.operands[first].numel() / width;
    TORCH_CHECK(call.operands[first].size(-1) == width && call.operands[first + 1].numel() == rows * experts,
                "experts: x ", call.operands[first].sizes(), " and routing ", call.operands[first + 1].sizes(),
                " for down ", down.sizes());
  }

  Sum share(int64_t row, int64_t expert) const { return routing_NE[row * experts + expert]; }
  const Factor *gateUp(int64_t expert) const { return gateUp_EWC + expert * 2 * inner * width; }
  const Factor *down(int64_t expert) const { return down_ECF + expert * width * inner; }

  /// c [m,n] = op(a) op(b) on all threads.
  void multiply(int64_t m, int64_t n, int64_t k, const Factor *a, bool transposeA, const Factor *b, bool transposeB,
                Sum *c) const {
    GemmDescription d;
    d.m = m;
    d.n = n;
    d.k = k;
    d.transposeA = transposeA;
    d.transposeB = transposeB;
    d.factors = typeOf(a);
    gemm(d, a, b, nullptr, c, at::get_num_threads());
  }

  /// The rows of `from` [N,C] that `list` [R] names, one after another.
  void gather(const Factor *from, const int64_t *list, int64_t count, Factor *to_RC) const {
    forRows(count, width, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r)
        std::copy_n(from + list[r] * width, width, to_RC + r * width);
    });
  }

  /// Adds the rows of `from_RC`, each times scale(its row of N), to those of `to` [N,C] that `list` [R] names.
  template <typename Scale>
  void scatter(const Sum *from_RC, const int64_t *list, int64_t count, const Scale &scale, Sum *to) const {
    forRows(count, width, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const Sum factor = scale(list[r]), *const from = from_RC + r * width;
        for (int64_t c = 0; c < width; ++c)
          to[list[r] * width + c] += factor * from[c];
      }
    });
  }

  /// Calls body(expert, list, count) for every block of rows that chose an expert, experts in order and rows in theirs.
  template <typename Body> void forBlocks(int64_t *list, const Body &body) const {
    for (int64_t expert = 0; expert < experts; ++expert) {
      int64_t count = 0;
      for (int64_t row = 0; row < rows; ++row) {
        if (share(row, expert) == 0)
          continue;
        list[count++] = row;
        if (count == plan::kExpertRows) {
          body(expert, list, count);
          count = 0;
        }
      }
      if (count > 0)
        body(expert, list, count);
    }
  }
};

/// Calls function(Experts) of the types of a call whose operands of experts come after `first` others.
template <typename Function> void withExperts(const KernelCall &call, size_t first, const Function &function) {
  switch (call.operands[first].scalar_type()) {
  case at::kDouble:
    return function(Experts<double, double>(call, first), double(), double());
  case at::kBFloat16:
    return function(Experts<float, Bf16>(call, first), float(), Bf16());
  default:
    return function(Experts<float, float>(call, first), float(), float());
  }
}

/// y_n = sum over e of r_ne down_e a_ne, a = silu(g) u.
void experts(const KernelCall &call) {
  withExperts(call, 0, [&](const auto &moe, auto sum, auto factor) {
    using Sum = decltype(sum);
    using Factor = decltype(factor);
    const int64_t block = std::min(moe.rows, plan::kExpertRows), width = moe.width, inner = moe.inner;
    ScratchAllocator scratch = call.scratch;
    int64_t *const list = scratch.take<int64_t>(block);
    Factor *const x_RC = scratch.take<Factor>(block * width), *const a_RF = scratch.take<Factor>(block * inner);
    Sum *const h_RW = scratch.take<Sum>(block * 2 * inner), *const z_RC = scratch.take<Sum>(block * width);
    Sum *const y_NC = static_cast<Sum *>(call.results[0].mutable_data_ptr());
    std::fill_n(y_NC, moe.rows * width, Sum(0));
    moe.forBlocks(list, [&](int64_t expert, const int64_t *rows, int64_t count) {
      moe.gather(moe.x_NC, rows, count, x_RC);
      moe.multiply(count, 2 * inner, width, x_RC, false, moe.gateUp(expert), true, h_RW);
      forRows(count, inner, [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r)
          gatedRow(h_RW + r * 2 * inner, Sum(1), inner, a_RF + r * inner);
      });
      moe.multiply(count, width, inner, a_RF, false, moe.down(expert), true, z_RC);
      moe.scatter(z_RC, rows, count, [&](int64_t row) { return moe.share(row, expert); }, y_NC);
    });
  });
}

/// The experts one by one on all rows, each times its share.
std::vector<at::Tensor> expertsReference(const KernelCall &call) {
  const at::Tensor &x = call.operands[0], &routing = call.operands[1];
  const at::ScalarType type = routing.scalar_type();
  const int64_t inner = call.operands[3].size(2);
  at::Tensor y = at::zeros(x.sizes(), routing.options());
  for (int64_t e = 0; e < routing.size(-1); ++e) {
    const at::Tensor h = at::linear(x, call.operands[2].select(0, e)).to(type);
    const at::Tensor a = at::silu(h.narrow(-1, 0, inner)) * h.narrow(-1, inner, inner);
    y = y + routing.narrow(-1, e, 1) * at::linear(a.to(x.scalar_type()), call.operands[3].select(0, e)).to(type);
  }
  return {y};
}

/// dx_n = sum over e of gate_up_e^T d(g,u), for da = r_ne down_e^T dy; drouting_ne = a_ne . down_e^T dy_n.
void expertsInputGrad(const KernelCall &call) {
  withExperts(call, 1, [&](const auto &moe, auto sum, auto factor) {
    using Sum = decltype(sum);
    using Factor = decltype(factor);
    const int64_t block = std::min(moe.rows, plan::kExpertRows), width = moe.width, inner = moe.inner;
    ScratchAllocator scratch = call.scratch;
    int64_t *const list = scratch.take<int64_t>(block);
    Factor *const x_RC = scratch.take<Factor>(block * width), *const dh_RW = scratch.take<Factor>(block * 2 * inner);
    Sum *const h_RW = scratch.take<Sum>(block * 2 * inner), *const da_RF = scratch.take<Sum>(block * inner);
    Sum *const z_RC = scratch.take<Sum>(block * width);
    const Factor *const dy_NC = dataOf<Factor>(call.operands[0]);
    Sum *const dx_NC = static_cast<Sum *>(call.results[0].mutable_data_ptr());
    Sum *const drouting_NE = static_cast<Sum *>(call.results[1].mutable_data_ptr());
    std::fill_n(dx_NC, moe.rows * width, Sum(0));
    std::fill_n(drouting_NE, moe.rows * moe.experts, Sum(0));
    moe.forBlocks(list, [&](int64_t expert, const int64_t *rows, int64_t count) {
      moe.gather(moe.x_NC, rows, count, x_RC);
      moe.multiply(count, 2 * inner, width, x_RC, false, moe.gateUp(expert), true, h_RW);
      moe.gather(dy_NC, rows, count, x_RC);
      moe.multiply(count, inner, width, x_RC, false, moe.down(expert), false, da_RF);
      forRows(count, inner, [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r)
          drouting_NE[rows[r] * moe.experts + expert] = gatedGradRow(
              h_RW + r * 2 * inner, da_RF + r * inner, moe.share(rows[r], expert), inner, dh_RW + r * 2 * inner);
      });
      moe.multiply(count, width, 2 * inner, dh_RW, false, moe.gateUp(expert), false, z_RC);
      moe.scatter(z_RC, rows, count, [](int64_t) { return Sum(1); }, dx_NC);
    });
  });
}

/// dgate_up_e = sum over rows of d(g,u) x^T; ddown_e = sum over rows of dy (r a)^T.
void expertsWeightGrad(const KernelCall &call) {
  withExperts(call, 1, [&](const auto &moe, auto sum, auto factor) {
    using Sum = decltype(sum);
    using Factor = decltype(factor);
    const int64_t block = std::min(moe.rows, plan::kExpertRows), width = moe.width, inner = moe.inner;
    ScratchAllocator scratch = call.scratch;
    int64_t *const list = scratch.take<int64_t>(block);
    Factor *const x_RC = scratch.take<Factor>(block * width), *const dy_RC = scratch.take<Factor>(block * width);
    Factor *const a_RF = scratch.take<Factor>(block * inner), *const dh_RW = scratch.take<Factor>(block * 2 * inner);
    Sum *const h_RW = scratch.take<Sum>(block * 2 * inner), *const da_RF = scratch.take<Sum>(block * inner);
    Sum *const part = scratch.take<Sum>(2 * inner * width);
    const Factor *const dy_NC = dataOf<Factor>(call.operands[0]);
    Sum *const dgateUp_EWC = static_cast<Sum *>(call.results[0].mutable_data_ptr());
    Sum *const ddown_ECF = static_cast<Sum *>(call.results[1].mutable_data_ptr());
    std::fill_n(dgateUp_EWC, moe.experts * 2 * inner * width, Sum(0));
    std::fill_n(ddown_ECF, moe.experts * width * inner, Sum(0));
    auto add = [&](Sum *to, int64_t count) {
      forRows(count, 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i)
          to[i] += part[i];
      });
    };
    moe.forBlocks(list, [&](int64_t expert, const int64_t *rows, int64_t count) {
      moe.gather(moe.x_NC, rows, count, x_RC);
      moe.gather(dy_NC, rows, count, dy_RC);
      moe.multiply(count, 2 * inner, width, x_RC, false, moe.gateUp(expert), true, h_RW);
      moe.multiply(count, inner, width, dy_RC, false, moe.down(expert), false, da_RF);
      forRows(count, inner, [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r) {
          const Sum share = moe.share(rows[r], expert);
          gatedRow(h_RW + r * 2 * inner, share, inner, a_RF + r * inner);
          gatedGradRow(h_RW + r * 2 * inner, da_RF + r * inner, share, inner, dh_RW + r * 2 * inner);
        }
      });
      moe.multiply(2 * inner, width, count, dh_RW, true, x_RC, false, part);
      add(dgateUp_EWC + expert * 2 * inner * width, 2 * inner * width);
      moe.multiply(width, inner, count, dy_RC, true, a_RF, false, part);
      add(ddown_ECF + expert * width * inner, width * inner);
    });
  });
}

const KernelRegistration topKSoftmaxRegistration("top_k_softmax", {topKSoftmax, topKSoftmaxReference});
const KernelRegistration topKSoftmaxGradRegistration("top_k_softmax_grad", {topKSoftmaxGrad});
const KernelRegistration expertsRegistration("experts", {experts, expertsReference});
const KernelRegistration expertsInputGradRegistration("experts_input_grad", {expertsInputGrad});
const KernelRegistration expertsWeightGradRegistration("experts_weight_grad", {expertsWeightGrad});

} // namespace

} // namespace morph
