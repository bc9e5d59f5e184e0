// SPDX-License-Identifier: Apache-2.0
// short_conv and short_conv_grad: the causal depthwise convolution before linear attention, with the last inputs as its
// state. y_t = sum_w weight_w * x_{t - W + 1 + w}, position by position in the channels' order of memory.
// Shapes: B batch, T positions, C channels, W taps.

#include "runtime/kernels/Kernel.h"

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

std::vector<at::Tensor> shortConv(const KernelCall &call) {
  const at::Tensor &x_BTC = call.operands[0], &weight_C1W = call.operands[1];
  const int64_t length = x_BTC.size(1), taps = weight_C1W.size(2);
  const at::Tensor inputs = extended(x_BTC, call.operands[2], taps), rows_WC = tapRows(weight_C1W);
  at::Tensor y_BTC = inputs.narrow(1, 0, length) * rows_WC[0];
  for (int64_t tap = 1; tap < taps; ++tap)
    y_BTC.addcmul_(inputs.narrow(1, tap, length), rows_WC[tap]);
  return {y_BTC, inputs.narrow(1, length, taps - 1).clone()};
}

std::vector<at::Tensor> shortConvGrad(const KernelCall &call) {
  const at::Tensor &dy_BTC = call.operands[0], &x_BTC = call.operands[1], &weight_C1W = call.operands[2];
  const int64_t length = x_BTC.size(1), taps = weight_C1W.size(2);
  const at::Tensor inputs = extended(x_BTC, call.operands[3], taps), rows_WC = tapRows(weight_C1W);
  // dx_t = sum_w weight_w * dy_{t + W - 1 - w}, zero after the end.
  at::Tensor dx_BTC = dy_BTC * rows_WC[taps - 1];
  const at::Tensor dweight_C1W = at::empty_like(weight_C1W);
  for (int64_t tap = 0; tap < taps; ++tap) {
    const int64_t ahead = taps - 1 - tap;
    if (ahead > 0 && ahead < length)
      dx_BTC.narrow(1, 0, length - ahead).addcmul_(dy_BTC.narrow(1, ahead, length - ahead), rows_WC[tap]);
    dweight_C1W.select(2, tap).squeeze(1).copy_((dy_BTC * inputs.narrow(1, tap, length)).sum(at::IntArrayRef{0, 1}));
  }
  return {dx_BTC, dweight_C1W};
}

const KernelRegistration forwardRegistration("short_conv", shortConv);
const KernelRegistration backwardRegistration("short_conv_grad", shortConvGrad);

} // namespace
} // namespace morph
