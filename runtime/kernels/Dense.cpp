// SPDX-License-Identifier: Apache-2.0
// Embedding and matrix products. Legend: R rows (all leading dimensions), I and O inputs and outputs, V vocabulary, C
// channels.

#include "runtime/kernels/Bf16Gemm.h"
#include "runtime/kernels/Kernel.h"

namespace morph {

namespace {

at::Tensor rowsOf(const at::Tensor &x) { return x.reshape({-1, x.size(-1)}); }

bool isHalf(const at::Tensor &x) { return x.scalar_type() == at::kBFloat16; }

/// c = a b of matrices that may be transposed views; sums in fp32 (fp64 for fp64).
void productInto(const at::Tensor &a, const at::Tensor &b, at::Tensor c) {
  if (isHalf(a))
    c.copy_(bf16Product(a, b));
  else
    at::mm_out(c, a, b);
}

void embedding(const KernelCall &call) {
  const at::Tensor &table = call.operands[1], ids = call.operands[0].view({-1});
  at::Tensor rows = rowsOf(call.results[0]);
  if (table.scalar_type() == rows.scalar_type())
    at::index_select_out(rows, table, 0, ids);
  else
    rows.copy_(at::index_select(table, 0, ids));
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
  const at::Tensor y_RO = rowsOf(call.results[0]);
  productInto(rowsOf(call.operands[0]), call.operands[1].t(), y_RO);
  if (call.operands[2].defined())
    y_RO.add_(call.operands[2]);
}
std::vector<at::Tensor> linearReference(const KernelCall &call) {
  at::Tensor y = at::linear(call.operands[0], call.operands[1]);
  if (isHalf(y))
    y = y.to(at::kFloat);
  return {call.operands[2].defined() ? at::add(y, call.operands[2]) : y};
}

void linearInputGrad(const KernelCall &call) {
  productInto(rowsOf(call.operands[0]), call.operands[1], rowsOf(call.results[0]));
}

void linearWeightGrad(const KernelCall &call) {
  productInto(rowsOf(call.operands[0]).t(), rowsOf(call.operands[1]), call.results[0]);
}

const KernelRegistration embeddingRegistration("embedding", {embedding, embeddingReference});
const KernelRegistration embeddingGradRegistration("embedding_grad", {embeddingGrad});
const KernelRegistration linearRegistration("linear", {linear, linearReference});
const KernelRegistration linearInputGradRegistration("linear_input_grad", {linearInputGrad});
const KernelRegistration linearWeightGradRegistration("linear_weight_grad", {linearWeightGrad});

} // namespace

} // namespace morph
