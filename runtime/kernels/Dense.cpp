// SPDX-License-Identifier: Apache-2.0
// Embedding and matrix products. Legend: R rows (all leading dimensions), I and O inputs and outputs, V vocabulary, C
// channels.

#include "runtime/kernels/Gemm.h"
#include "runtime/kernels/Kernel.h"
#include "runtime/kernels/Rows.h"

#include <ATen/Parallel.h>

#include <algorithm>

namespace morph {

namespace {

/// x [...,C] as rows [R,C].
at::Tensor rowsOf(const at::Tensor &x) { return x.view({-1, x.size(-1)}); }

plan::DType typeOf(const at::Tensor &x) {
  return x.scalar_type() == at::kDouble     ? plan::DType::F64
         : x.scalar_type() == at::kBFloat16 ? plan::DType::BF16
                                            : plan::DType::F32;
}

/// The rows of a factor, transposed or not.
struct Factor {
  at::Tensor rows;
  bool transpose = false;
};

/// c [M,N] = a b, plus the bias [N] where defined: a [M,K], b [K,N].
void multiply(const KernelCall &call, const Factor &a, const Factor &b, const at::Tensor &bias = {}) {
  const at::Tensor c = rowsOf(call.results[0]);
  GemmDescription d;
  d.m = a.rows.size(a.transpose ? 1 : 0);
  d.k = a.rows.size(a.transpose ? 0 : 1);
  d.n = b.rows.size(b.transpose ? 0 : 1);
  TORCH_CHECK(b.rows.size(b.transpose ? 1 : 0) == d.k && a.rows.scalar_type() == b.rows.scalar_type(),
              "product of factors that do not fit: ", a.rows.sizes(), " of ", a.rows.scalar_type(), " and ",
              b.rows.sizes(), " of ", b.rows.scalar_type());
  d.transposeA = a.transpose;
  d.transposeB = b.transpose;
  d.factors = typeOf(a.rows);
  gemm(d, a.rows.const_data_ptr(), b.rows.const_data_ptr(), bias.defined() ? bias.const_data_ptr() : nullptr,
       c.mutable_data_ptr(), at::get_num_threads());
}

template <typename From, typename To>
void gatherRows(const From *table, const int64_t *ids, int64_t count, int64_t width, To *rows) {
  forRows(count, width, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row)
      std::copy_n(table + ids[row] * width, width, rows + row * width);
  });
}

void embedding(const KernelCall &call) {
  const at::Tensor &ids = call.operands[0], &table = call.operands[1], &result = call.results[0];
  const int64_t *const id = ids.const_data_ptr<int64_t>();
  const int64_t count = ids.numel(), width = table.size(1);
  withType(result, [&](auto *type) {
    using T = std::remove_pointer_t<decltype(type)>;
    T *const rows = result.mutable_data_ptr<T>();
    if (table.scalar_type() == at::kBFloat16)
      gatherRows(table.const_data_ptr<at::BFloat16>(), id, count, width, rows);
    else
      gatherRows(table.const_data_ptr<T>(), id, count, width, rows);
  });
}
std::vector<at::Tensor> embeddingReference(const KernelCall &call) {
  const at::Tensor rows = at::embedding(call.operands[1], call.operands[0]);
  return {rows.scalar_type() == at::kDouble ? rows : rows.to(at::kFloat)};
}

void embeddingGrad(const KernelCall &call) {
  const at::Tensor &table = call.results[0];
  table.zero_();
  table.index_add_(0, call.operands[1].view({-1}), rowsOf(call.operands[0]));
}

void linear(const KernelCall &call) {
  multiply(call, {rowsOf(call.operands[0])}, {call.operands[1], true}, call.operands[2]);
}
std::vector<at::Tensor> linearReference(const KernelCall &call) {
  at::Tensor y = at::linear(call.operands[0], call.operands[1]);
  if (y.scalar_type() == at::kBFloat16)
    y = y.to(at::kFloat);
  return {call.operands[2].defined() ? at::add(y, call.operands[2]) : y};
}

void linearInputGrad(const KernelCall &call) { multiply(call, {rowsOf(call.operands[0])}, {call.operands[1]}); }

void linearWeightGrad(const KernelCall &call) {
  multiply(call, {rowsOf(call.operands[0]), true}, {rowsOf(call.operands[1])});
}

const KernelRegistration embeddingRegistration("embedding", {embedding, embeddingReference});
const KernelRegistration embeddingGradRegistration("embedding_grad", {embeddingGrad});
const KernelRegistration linearRegistration("linear", {linear, linearReference});
const KernelRegistration linearInputGradRegistration("linear_input_grad", {linearInputGrad});
const KernelRegistration linearWeightGradRegistration("linear_weight_grad", {linearWeightGrad});

} // namespace

} // namespace morph
