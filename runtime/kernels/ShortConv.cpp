// SPDX-License-Identifier: Apache-2.0
// short_conv and short_conv_grad: the causal depthwise convolution before linear attention, with the last inputs as its
// state. y_t = sum_w weight_w * x_{t - W + 1 + w}, position by position in the channels' order of memory.
// Shapes: B batch, T positions, C channels, W taps.

#include "runtime/kernels/Kernel.h"
#include "runtime/kernels/Rows.h"
#include "runtime/kernels/ScratchAllocator.h"
#include "runtime/kernels/Vectorize.h"

#include <ATen/Parallel.h>

namespace morph {
namespace {

/// The state (zero where absent) followed by x: [B,W-1+T,C].
at::Tensor extended(const at::Tensor &x_BTC, const at::Tensor &state, int64_t taps) {
  if (state.defined()) {
    TORCH_CHECK(state.dim() == 3 && state.size(0) == x_BTC.size(0) && state.size(1) == taps - 1 &&
                    state.size(2) == x_BTC.size(2),
                "short_conv: expected a state [B,W-1,C] for x ", x_BTC.sizes(), " and ", taps, " taps, but got ",
                state.sizes());
    return at::cat({state, x_BTC}, 1);
  }
  return at::constant_pad_nd(x_BTC, {0, 0, taps - 1, 0});
}

/// The taps as rows [W,C] of the weight [C,1,W].
at::Tensor tapRows(const at::Tensor &weight_C1W) { return weight_C1W.squeeze(1).t().contiguous(); }

std::vector<at::Tensor> shortConvReference(const KernelCall &call) {
  const at::Tensor &x_BTC = call.operands[0], &weight_C1W = call.operands[1];
  const int64_t length = x_BTC.size(1), taps = weight_C1W.size(2);
  const at::Tensor inputs = extended(x_BTC, call.operands[2], taps), rows_WC = tapRows(weight_C1W);
  at::Tensor y_BTC = inputs.narrow(1, 0, length) * rows_WC[0];
  for (int64_t tap = 1; tap < taps; ++tap)
    y_BTC.addcmul_(inputs.narrow(1, tap, length), rows_WC[tap]);
  return {y_BTC, inputs.narrow(1, length, taps - 1)};
}

/// y += x * z
template <typename T> MORPH_INLINE void addProductsOf(int64_t n, const T *x, const T *z, T *__restrict y) {
  for (int64_t l = 0; l < n; ++l)
    y[l] += x[l] * z[l];
}
MORPH_VECTORIZE void addProducts(int64_t n, const float *x, const float *z, float *y) { addProductsOf(n, x, z, y); }
void addProducts(int64_t n, const double *x, const double *z, double *y) { addProductsOf(n, x, z, y); }

/// `rows` [W,C] are the taps; `state` may be null. The final state may be the state itself.
template <typename T>
void convolve(at::IntArrayRef sizes_BTC, int64_t taps, const T *x, const T *rows, const T *state, T *y, T *final) {
  const int64_t batch = sizes_BTC[0], length = sizes_BTC[1], channels = sizes_BTC[2], before = taps - 1;
  // Input `t` of a sequence, from those of the state on; null where there is none.
  auto inputOf = [&](int64_t b, int64_t t) -> const T * {
    if (t >= before)
      return x + (b * length + t - before) * channels;
    return state ? state + (b * before + t) * channels : nullptr;
  };
  forRows(batch * length, taps * channels, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      std::fill_n(y + row * channels, channels, T(0));
      for (int64_t tap = 0; tap < taps; ++tap)
        if (const T *input = inputOf(row / length, row % length + tap))
          addProducts(channels, input, rows + tap * channels, y + row * channels);
    }
  });
  // In place each row takes a later one.
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t t = 0; t < before; ++t) {
      T *const to = final + (b * before + t) * channels;
      if (const T *input = inputOf(b, length + t))
        std::copy_n(input, channels, to);
      else
        std::fill_n(to, channels, T(0));
    }
}

/// The taps as rows [W,C] of the weight [C,1,W], in `rows`.
template <typename T> void fillTapRows(const at::Tensor &weight_C1W, T *rows) {
  const int64_t channels = weight_C1W.size(0), taps = weight_C1W.size(2);
  const T *const weight = weight_C1W.const_data_ptr<T>();
  for (int64_t tap = 0; tap < taps; ++tap)
    for (int64_t c = 0; c < channels; ++c)
      rows[tap * channels + c] = weight[c * taps + tap];
}

void shortConv(const KernelCall &call) {
  const at::Tensor &x_BTC = call.operands[0], &weight_C1W = call.operands[1], &state = call.operands[2];
  const int64_t taps = weight_C1W.size(2);
  withType(x_BTC, [&](auto *null) {
    using T = std::remove_pointer_t<decltype(null)>;
    ScratchAllocator scratch = call.scratch;
    T *const rows = scratch.take<T>(taps * weight_C1W.size(0));
    fillTapRows(weight_C1W, rows);
    convolve<T>(x_BTC.sizes(), taps, x_BTC.const_data_ptr<T>(), rows,
                state.defined() ? state.const_data_ptr<T>() : nullptr, call.results[0].mutable_data_ptr<T>(),
                call.results[1].mutable_data_ptr<T>());
  });
}

/// sums_l += sum_t a_{t,l} * b_{t,l} over `count` rows of `stride` elements, for the first `n` of each row.
template <typename T>
MORPH_INLINE void addColumnDotsOf(int64_t count, int64_t stride, int64_t n, const T *a, const T *b, T *sums) {
  for (int64_t t = 0; t < count; ++t) {
    const T *__restrict x = a + t * stride;
    const T *__restrict y = b + t * stride;
    T *__restrict to = sums;
    for (int64_t l = 0; l < n; ++l)
      to[l] += x[l] * y[l];
  }
}
MORPH_VECTORIZE void addColumnDots(int64_t count, int64_t stride, int64_t n, const float *a, const float *b,
                                   float *sums) {
  addColumnDotsOf(count, stride, n, a, b, sums);
}
void addColumnDots(int64_t count, int64_t stride, int64_t n, const double *a, const double *b, double *sums) {
  addColumnDotsOf(count, stride, n, a, b, sums);
}

/// The weight's gradient as rows [W,C], in `sums`: blocks of channels in parallel, positions in order. `state` may be
/// null.
template <typename T>
void sumTapRows(at::IntArrayRef sizes_BTC, int64_t taps, const T *dy, const T *x, const T *state, T *sums) {
  const int64_t batch = sizes_BTC[0], length = sizes_BTC[1], channels = sizes_BTC[2], before = taps - 1;
  constexpr int64_t kChannels = 64;
  parallelTasks(at::get_num_threads(), (channels + kChannels - 1) / kChannels, [&](int64_t block, int) {
    const int64_t first = block * kChannels, count = std::min(channels - first, kChannels);
    for (int64_t tap = 0; tap < taps; ++tap) {
      T *const sum = sums + tap * channels + first;
      std::fill_n(sum, count, T(0));
      const int64_t shift = before - tap; // Positions from an input to its output.
      for (int64_t b = 0; b < batch; ++b) {
        const T *const outputs = dy + b * length * channels + first;
        if (state)
          addColumnDots(std::min(shift, length), channels, count, outputs,
                        state + (b * before + tap) * channels + first, sum);
        if (shift < length)
          addColumnDots(length - shift, channels, count, outputs + shift * channels, x + b * length * channels + first,
                        sum);
      }
    }
  });
}

/// dx_t = sum_w weight_w * dy_{t + W - 1 - w}, zero after the end. `rows` [W,C] are the taps.
template <typename T> void convolveBack(at::IntArrayRef sizes_BTC, int64_t taps, const T *dy, const T *rows, T *dx) {
  const int64_t length = sizes_BTC[1], channels = sizes_BTC[2];
  forRows(sizes_BTC[0] * length, taps * channels, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      T *const to = dx + row * channels;
      std::fill_n(to, channels, T(0));
      for (int64_t ahead = 0; ahead < taps && row % length + ahead < length; ++ahead)
        addProducts(channels, dy + (row + ahead) * channels, rows + (taps - 1 - ahead) * channels, to);
    }
  });
}

void shortConvGrad(const KernelCall &call) {
  const at::Tensor &dy_BTC = call.operands[0], &x_BTC = call.operands[1], &weight_C1W = call.operands[2];
  const at::Tensor &state = call.operands[3];
  const int64_t channels = x_BTC.size(2), taps = weight_C1W.size(2);
  withType(x_BTC, [&](auto *null) {
    using T = std::remove_pointer_t<decltype(null)>;
    const T *const dy = dy_BTC.const_data_ptr<T>();
    ScratchAllocator scratch = call.scratch;
    T *const rows = scratch.take<T>(2 * taps * channels), *const sums = rows + taps * channels;
    fillTapRows(weight_C1W, rows);
    convolveBack<T>(x_BTC.sizes(), taps, dy, rows, call.results[0].mutable_data_ptr<T>());
    sumTapRows<T>(x_BTC.sizes(), taps, dy, x_BTC.const_data_ptr<T>(),
                  state.defined() ? state.const_data_ptr<T>() : nullptr, sums);
    T *const dweight = call.results[1].mutable_data_ptr<T>();
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t tap = 0; tap < taps; ++tap)
        dweight[c * taps + tap] = sums[tap * channels + c];
  });
}

const KernelRegistration forwardRegistration("short_conv", {shortConv, shortConvReference});
const KernelRegistration backwardRegistration("short_conv_grad", {shortConvGrad});

} // namespace
} // namespace morph
