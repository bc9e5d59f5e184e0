// SPDX-License-Identifier: Apache-2.0
// Embedding and matrix products. Legend: R rows (all leading dimensions), I and O inputs and outputs, V vocabulary, C
// channels.

#include "runtime/kernels/Bf16Gemm.h"
#include "runtime/kernels/Kernel.h"
#include "runtime/kernels/Rows.h"

namespace morph {

namespace {

at::Tensor rowsOf(const at::Tensor &x) { return x.reshape({-1, x.size(-1)}); }

at::Tensor half(const at::Tensor &x) { return x.to(at::kBFloat16); }

std::vector<int64_t> withLast(at::IntArrayRef sizes, int64_t last) {
  std::vector<int64_t> result = sizes.vec();
  result.back() = last;
  return result;
}

std::vector<at::Tensor> embedding(const KernelCall &call) {
  at::Tensor rows = at::embedding(call.operands[1], call.operands[0]);
  return {rows.scalar_type() == at::kDouble ? rows : rows.to(at::kFloat)};
}

std::vector<at::Tensor> embeddingGrad(const KernelCall &call) {
  return {at::embedding_dense_backward(call.operands[0], call.operands[1], call.integer("rows"), /*padding_idx=*/-1,
                                       /*scale_grad_by_freq=*/false)};
}

std::vector<at::Tensor> linear(const KernelCall &call) {
  at::Tensor y = product(call.operands[0], call.operands[1], call.precision);
  if (!call.operands[2].defined())
    return {y};
  // The product is a tensor of its own: without autograd the bias can be added in place.
  return {recording() ? at::add(y, call.operands[2]) : y.add_(call.operands[2])};
}

std::vector<at::Tensor> linearInputGrad(const KernelCall &call) {
  const at::Tensor &dy = call.operands[0], &weight_OI = call.operands[1];
  if (call.precision != Precision::BF16)
    return {at::matmul(dy, weight_OI.to(dy.scalar_type()))};
  return {bf16Product(half(rowsOf(dy)), half(weight_OI)).view(withLast(dy.sizes(), weight_OI.size(1)))};
}

std::vector<at::Tensor> linearWeightGrad(const KernelCall &call) {
  at::Tensor dy_RO = rowsOf(call.operands[0]), x_RI = rowsOf(call.operands[1]);
  if (call.precision != Precision::BF16)
    return {at::mm(dy_RO.t(), x_RI)};
  return {bf16Product(half(dy_RO).t(), half(x_RI))};
}

const KernelRegistration embeddingRegistration("embedding", embedding);
const KernelRegistration embeddingGradRegistration("embedding_grad", embeddingGrad);
const KernelRegistration linearRegistration("linear", linear);
const KernelRegistration linearInputGradRegistration("linear_input_grad", linearInputGrad);
const KernelRegistration linearWeightGradRegistration("linear_weight_grad", linearWeightGrad);

} // namespace

at::Tensor product(const at::Tensor &x, const at::Tensor &weight, Precision precision) {
  if (precision != Precision::BF16)
    return at::linear(x, weight.to(x.scalar_type()));
  if (recording())
    return at::linear(half(x), half(weight)).to(at::kFloat);
  return bf16Product(half(rowsOf(x)), half(weight).t()).view(withLast(x.sizes(), weight.size(0)));
}

} // namespace morph
