// SPDX-License-Identifier: Apache-2.0
// Views, gathers and scatters. Legend: B batch, T positions, H heads, D head dimension, N rows, C channels.

#include "runtime/kernels/Kernel.h"

namespace morph {

namespace {

std::vector<at::Tensor> splitHeads(const KernelCall &call) {
  const at::Tensor &x = call.operands[0];
  int64_t heads = call.integer("heads");
  return {x.reshape({x.size(0), x.size(1), heads, x.size(2) / heads})};
}

std::vector<at::Tensor> mergeHeads(const KernelCall &call) {
  const at::Tensor &x = call.operands[0];
  return {x.reshape({x.size(0), x.size(1), x.size(2) * x.size(3)})};
}

void takeRows(const KernelCall &call) {
  const at::Tensor &x_BTC = call.operands[0];
  at::Tensor result = call.results[0];
  at::index_select_out(result, x_BTC.view({-1, x_BTC.size(2)}), 0, call.operands[1]);
}
std::vector<at::Tensor> takeRowsReference(const KernelCall &call) {
  const at::Tensor &x_BTC = call.operands[0];
  return {at::index_select(x_BTC.reshape({-1, x_BTC.size(2)}), 0, call.operands[1])};
}

void scatterRows(const KernelCall &call) {
  const at::Tensor result = call.results[0].view({-1, call.results[0].size(2)});
  result.zero_();
  result.index_add_(0, call.operands[1], call.operands[0]);
}

std::vector<at::Tensor> lastRows(const KernelCall &call) {
  const at::Tensor &x_BTC = call.operands[0];
  return {x_BTC.select(1, x_BTC.size(1) - 1)};
}

std::vector<at::Tensor> maskPadding(const KernelCall &call) {
  const at::Tensor &x_BTC = call.operands[0], &start_B = call.operands[1];
  int64_t offset = call.operands[2].item<int64_t>();
  if (start_B.max().item<int64_t>() <= offset)
    return {x_BTC};
  at::Tensor position_T = at::arange(offset, offset + x_BTC.size(1), at::kLong);
  at::Tensor padding_BT1 = (position_T.unsqueeze(0) < start_B.unsqueeze(1)).unsqueeze(-1);
  return {at::masked_fill(x_BTC, padding_BT1, 0)};
}

void concat(const KernelCall &call) {
  at::Tensor result = call.results[0];
  at::cat_out(result, {call.operands[0], call.operands[1]}, 1);
}
std::vector<at::Tensor> concatReference(const KernelCall &call) {
  return {at::cat({call.operands[0], call.operands[1]}, 1)};
}

std::vector<at::Tensor> reduceTo(const KernelCall &call) {
  const at::Tensor &x = call.operands[0];
  int64_t leading = x.dim() - call.integer("rank");
  if (leading <= 0)
    return {x};
  std::vector<int64_t> dims(static_cast<size_t>(leading));
  for (int64_t d = 0; d < leading; ++d)
    dims[static_cast<size_t>(d)] = d;
  return {x.sum(dims)};
}

std::vector<at::Tensor> stack(const KernelCall &call) { return {at::stack(call.operands)}; }

const KernelRegistration splitHeadsRegistration("split_heads", {runByCopy<splitHeads>, splitHeads});
const KernelRegistration mergeHeadsRegistration("merge_heads", {runByCopy<mergeHeads>, mergeHeads});
const KernelRegistration takeRowsRegistration("take_rows", {takeRows, takeRowsReference});
const KernelRegistration scatterRowsRegistration("scatter_rows", {scatterRows});
const KernelRegistration lastRowsRegistration("last_rows", {runByCopy<lastRows>, lastRows});
const KernelRegistration maskPaddingRegistration("mask_padding", {runByCopy<maskPadding>, maskPadding});
const KernelRegistration concatRegistration("concat", {concat, concatReference});
const KernelRegistration reduceToRegistration("reduce_to", {runByCopy<reduceTo>, reduceTo});
const KernelRegistration stackRegistration("stack", {runByCopy<stack>, stack});

} // namespace

} // namespace morph
