// SPDX-License-Identifier: Apache-2.0
// Views, gathers and scatters. Legend: B batch, T positions, H heads, D head dimension, N rows, C channels.

#include "runtime/kernels/Bf16.h"
#include "runtime/kernels/Kernel.h"
#include "runtime/kernels/Rows.h"

#include <algorithm>

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

std::vector<at::Tensor> expand(const KernelCall &call) {
  std::vector<int64_t> shape = call.operands[0].sizes().vec();
  shape.push_back(call.integer("width"));
  return {call.operands[0].unsqueeze(-1).expand(shape)};
}

void sumLast(const KernelCall &call) {
  at::Tensor result = call.results[0];
  at::sum_out(result, call.operands[0], at::IntArrayRef{-1});
}
std::vector<at::Tensor> sumLastReference(const KernelCall &call) { return {call.operands[0].sum(-1)}; }

/// Of each element the sum over rows in their order, in double.
void positionMean(const KernelCall &call) {
  const at::Tensor &x = call.operands[0];
  const int64_t rows = x.size(0) * x.size(1), width = call.results[0].numel();
  withType(call.results[0], [&](auto *type) {
    using T = std::remove_pointer_t<decltype(type)>;
    const T *const in = x.const_data_ptr<T>();
    T *const out = call.results[0].mutable_data_ptr<T>();
    forRows(width, rows, [&](int64_t begin, int64_t end) {
      std::vector<double> sums(static_cast<size_t>(end - begin));
      for (int64_t row = 0; row < rows; ++row)
        for (int64_t i = begin; i < end; ++i)
          sums[static_cast<size_t>(i - begin)] += static_cast<double>(in[row * width + i]);
      for (int64_t i = begin; i < end; ++i)
        out[i] = static_cast<T>(sums[static_cast<size_t>(i - begin)] / static_cast<double>(std::max<int64_t>(1, rows)));
    });
  });
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

void maskPadding(const KernelCall &call) {
  const at::Tensor &x_BTC = call.operands[0];
  const int64_t *const start_B = call.operands[1].const_data_ptr<int64_t>();
  const int64_t *const offset_B = call.operands[2].const_data_ptr<int64_t>();
  if (call.results[0].const_data_ptr() != x_BTC.const_data_ptr())
    call.results[0].copy_(x_BTC);
  for (int64_t b = 0; b < x_BTC.size(0); ++b)
    if (const int64_t padding = std::clamp<int64_t>(start_B[b] - offset_B[b], 0, x_BTC.size(1)); padding > 0)
      call.results[0].select(0, b).narrow(0, 0, padding).zero_();
}
std::vector<at::Tensor> maskPaddingReference(const KernelCall &call) {
  const at::Tensor &x_BTC = call.operands[0], &start_B = call.operands[1], &offset_B = call.operands[2];
  const at::Tensor position_BT = offset_B.unsqueeze(1) + at::arange(x_BTC.size(1), at::kLong);
  return {at::masked_fill(x_BTC, (position_BT < start_B.unsqueeze(1)).unsqueeze(-1), 0)};
}

/// Rows of x [B,T,...] into the ring [B,S,...]: that of position p into slot p mod S.
template <typename From, typename To, typename Round>
void writeRows(const at::Tensor &ring, const at::Tensor &x, const int64_t *offset_B, const Round &round) {
  const int64_t slots = ring.size(1), positions = x.size(1), rows = x.size(0) * positions,
                width = rows == 0 ? 0 : x.numel() / rows;
  const From *const from = static_cast<const From *>(x.const_data_ptr());
  To *const to = static_cast<To *>(ring.mutable_data_ptr());
  forRows(rows, width, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t b = row / positions, slot = (offset_B[b] + row % positions) % slots;
      std::transform(from + row * width, from + (row + 1) * width, to + (b * slots + slot) * width, round);
    }
  });
}

void writeRing(const at::Tensor &ring, const KernelCall &call) {
  const at::Tensor x = call.operands[1].contiguous();
  const int64_t *const offset_B = call.operands[2].const_data_ptr<int64_t>();
  TORCH_CHECK(x.size(1) <= ring.size(1), "cache_write: ", x.size(1), " positions for a ring of ", ring.size(1));
  TORCH_CHECK(std::all_of(offset_B, offset_B + x.size(0), [](int64_t offset) { return offset >= 0; }),
              "cache_write: a negative position");
  if (ring.scalar_type() == at::kBFloat16)
    writeRows<float, Bf16>(ring, x, offset_B, [](float value) { return roundToBf16(value); });
  else
    withType(ring, [&](auto *type) {
      using T = std::remove_pointer_t<decltype(type)>;
      writeRows<T, T>(ring, x, offset_B, [](T value) { return value; });
    });
}
void cacheWrite(const KernelCall &call) { writeRing(call.results[0], call); }
std::vector<at::Tensor> cacheWriteReference(const KernelCall &call) {
  const at::Tensor ring = call.operands[0].clone();
  writeRing(ring, call);
  return {ring};
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

std::vector<at::Tensor> stackReference(const KernelCall &call) { return {at::stack(call.operands)}; }
void stack(const KernelCall &call) {
  withType(call.results[0], [&](auto *type) {
    using T = std::remove_pointer_t<decltype(type)>;
    T *out = call.results[0].mutable_data_ptr<T>();
    for (const at::Tensor &scalar : call.operands)
      *out++ = *scalar.const_data_ptr<T>();
  });
}

const KernelRegistration splitHeadsRegistration("split_heads", {runByCopy<splitHeads>, splitHeads});
const KernelRegistration mergeHeadsRegistration("merge_heads", {runByCopy<mergeHeads>, mergeHeads});
const KernelRegistration expandRegistration("expand", {runByCopy<expand>, expand});
const KernelRegistration sumLastRegistration("sum_last", {sumLast, sumLastReference});
const KernelRegistration positionMeanRegistration("position_mean", {positionMean});
const KernelRegistration takeRowsRegistration("take_rows", {takeRows, takeRowsReference});
const KernelRegistration scatterRowsRegistration("scatter_rows", {scatterRows});
const KernelRegistration lastRowsRegistration("last_rows", {runByCopy<lastRows>, lastRows});
const KernelRegistration maskPaddingRegistration("mask_padding", {maskPadding, maskPaddingReference});
const KernelRegistration cacheWriteRegistration("cache_write", {cacheWrite, cacheWriteReference});
const KernelRegistration reduceToRegistration("reduce_to", {runByCopy<reduceTo>, reduceTo});
const KernelRegistration stackRegistration("stack", {stack, stackReference});

} // namespace

} // namespace morph
