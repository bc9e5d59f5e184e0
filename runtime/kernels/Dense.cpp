// SPDX-License-Identifier: Apache-2.0
// Embedding and matrix products. Legend: R rows (all leading dimensions), I and O inputs and outputs, V vocabulary, C
// channels.

#include "runtime/kernels/Gemm.h"
#include "runtime/kernels/Kernel.h"
#include "runtime/kernels/Rows.h"

namespace morph {

namespace {

/// A matrix as Gemm takes it: rows of contiguous elements, perhaps of the transpose.
struct Factor {
  at::Tensor tensor;
  bool transpose = false;
};

/// x [...,C] as rows [R,C] of the type of products.
Factor rowsOf(const at::Tensor &x, at::ScalarType type) {
  return {x.reshape({-1, x.size(-1)}).to(type).contiguous(), false};
}
Factor transposed(Factor factor) { return {factor.tensor, !factor.transpose}; }

plan::DType typeOf(const at::Tensor &x) {
  return x.scalar_type() == at::kDouble     ? plan::DType::F64
         : x.scalar_type() == at::kBFloat16 ? plan::DType::BF16
                                            : plan::DType::F32;
}

/// What the factors of a product are under a precision, for a result that follows x.
at::ScalarType factorType(const at::Tensor &x, Precision precision) {
  if (precision == Precision::BF16)
    return at::kBFloat16;
  return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

/// a times b, fp32 (fp64 for fp64 factors), with the bias [N] where defined: a [M,K], b [K,N].
at::Tensor multiply(const Factor &a, const Factor &b, const at::Tensor &bias = {}) {
  GemmDescription d;
  d.m = a.tensor.size(a.transpose ? 1 : 0);
  d.k = a.tensor.size(a.transpose ? 0 : 1);
  d.n = b.tensor.size(b.transpose ? 0 : 1);
  TORCH_CHECK(b.tensor.size(b.transpose ? 1 : 0) == d.k, "product of factors that do not fit: ", a.tensor.sizes(),
              " and ", b.tensor.sizes());
  d.transposeA = a.transpose;
  d.transposeB = b.transpose;
  d.a = d.b = typeOf(a.tensor);
  d.c = d.a == plan::DType::F64 ? plan::DType::F64 : plan::DType::F32;
  const at::ScalarType sums = d.c == plan::DType::F64 ? at::kDouble : at::kFloat;
  const at::Tensor c = at::empty({d.m, d.n}, sums);
  Epilogue epilogue;
  const at::Tensor added = bias.defined() ? bias.to(sums).contiguous() : bias;
  if (added.defined())
    epilogue.bias = added.const_data_ptr();
  gemm(d, a.tensor.const_data_ptr(), b.tensor.const_data_ptr(), c.mutable_data_ptr(), epilogue, at::get_num_threads());
  return c;
}

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
  const at::Tensor &x = call.operands[0], &weight_OI = call.operands[1], &bias = call.operands[2];
  if (recording()) {
    at::Tensor y = product(x, weight_OI, call.precision);
    return {bias.defined() ? at::add(y, bias) : y};
  }
  const at::ScalarType type = factorType(x, call.precision);
  return {multiply(rowsOf(x, type), transposed(rowsOf(weight_OI, type)), bias)
              .view(withLast(x.sizes(), weight_OI.size(0)))};
}

std::vector<at::Tensor> linearInputGrad(const KernelCall &call) {
  const at::Tensor &dy = call.operands[0], &weight_OI = call.operands[1];
  const at::ScalarType type = factorType(dy, call.precision);
  return {multiply(rowsOf(dy, type), rowsOf(weight_OI, type)).view(withLast(dy.sizes(), weight_OI.size(1)))};
}

std::vector<at::Tensor> linearWeightGrad(const KernelCall &call) {
  const at::Tensor &dy = call.operands[0], &x = call.operands[1];
  const at::ScalarType type = factorType(dy, call.precision);
  return {multiply(transposed(rowsOf(dy, type)), rowsOf(x, type))};
}

const KernelRegistration embeddingRegistration("embedding", embedding);
const KernelRegistration embeddingGradRegistration("embedding_grad", embeddingGrad);
const KernelRegistration linearRegistration("linear", linear);
const KernelRegistration linearInputGradRegistration("linear_input_grad", linearInputGrad);
const KernelRegistration linearWeightGradRegistration("linear_weight_grad", linearWeightGrad);

} // namespace

at::Tensor product(const at::Tensor &x, const at::Tensor &weight, Precision precision) {
  const at::ScalarType type = factorType(x, precision);
  if (recording())
    return at::linear(x.to(type), weight.to(type)).to(type == at::kBFloat16 ? at::kFloat : type);
  return multiply(rowsOf(x, type), transposed(rowsOf(weight, type))).view(withLast(x.sizes(), weight.size(0)));
}

} // namespace morph
