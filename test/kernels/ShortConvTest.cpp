// SPDX-License-Identifier: Apache-2.0
// short_conv and short_conv_grad against conv1d and its autograd; the state makes a split sequence the whole.

#include "test/runtime/RunKernel.h"

#include <gtest/gtest.h>

namespace morph {
namespace {

at::Tensor naive(const at::Tensor &x_BTC, const at::Tensor &weight_C1W, const at::Tensor &state) {
  const int64_t taps = weight_C1W.size(2);
  at::Tensor inputs = state.defined()
                          ? at::cat({state, x_BTC}, 1)
                          : at::cat({at::zeros({x_BTC.size(0), taps - 1, x_BTC.size(2)}, x_BTC.options()), x_BTC}, 1);
  return at::conv1d(inputs.transpose(1, 2), weight_C1W, {}, at::IntArrayRef(1), at::IntArrayRef(0), at::IntArrayRef(1),
                    x_BTC.size(2))
      .transpose(1, 2);
}

double distanceTo(const at::Tensor &actual, const at::Tensor &expected) {
  EXPECT_EQ(actual.sizes(), expected.sizes());
  return expected.numel() == 0 ? 0 : (actual.to(at::kDouble) - expected).abs().max().item<double>();
}

TEST(ShortConvTest, IsConv1dAndItsAutograd) {
  at::manual_seed(3);
  for (int64_t taps : {2, 4})
    for (int64_t length : {1, 2, 3, 4, 17})
      for (bool withState : {false, true}) {
        SCOPED_TRACE(testing::Message() << "taps " << taps << " length " << length << " state " << withState);
        const int64_t batch = 2, channels = 6;
        const at::Tensor x = at::randn({batch, length, channels}, at::kDouble);
        const at::Tensor weight = at::randn({channels, 1, taps}, at::kDouble);
        at::Tensor state;
        if (withState)
          state = at::randn({batch, taps - 1, channels}, at::kDouble);
        const at::Tensor dy = at::randn(x.sizes(), at::kDouble);
        const at::Tensor xLeaf = x.clone().requires_grad_(true), weightLeaf = weight.clone().requires_grad_(true);
        const at::Tensor expected = naive(xLeaf, weightLeaf, state);
        expected.backward(dy);

        const std::vector<at::Tensor> wide = runKernel("short_conv", {x, weight, state});
        EXPECT_LT(distanceTo(wide[0], expected.detach()), 1e-12);
        EXPECT_EQ(wide[1].sizes(), at::IntArrayRef({batch, taps - 1, channels}));
        const std::vector<at::Tensor> gradients = runKernel("short_conv_grad", {dy, x, weight, state});
        EXPECT_LT(distanceTo(gradients[0], xLeaf.grad()), 1e-12);
        EXPECT_LT(distanceTo(gradients[1], weightLeaf.grad()), 1e-12);

        auto single = [](const at::Tensor &t) { return t.defined() ? t.to(at::kFloat) : t; };
        EXPECT_LT(
            distanceTo(runKernel("short_conv", {single(x), single(weight), single(state)}, {})[0], expected.detach()),
            1e-5);
        const std::vector<at::Tensor> narrow =
            runKernel("short_conv_grad", {single(dy), single(x), single(weight), single(state)}, {});
        EXPECT_LT(distanceTo(narrow[0], xLeaf.grad()), 1e-5);
        EXPECT_LT(distanceTo(narrow[1], weightLeaf.grad()), 5e-5);
      }
}

TEST(ShortConvTest, SplitIsWhole) {
  at::manual_seed(4);
  const int64_t length = 11, taps = 4;
  const at::Tensor x = at::randn({2, length, 5}), weight = at::randn({5, 1, taps});
  const std::vector<at::Tensor> whole = runKernel("short_conv", {x, weight, {}}, {});
  for (int64_t at = 1; at < length; ++at) {
    const std::vector<at::Tensor> first = runKernel("short_conv", {x.slice(1, 0, at), weight, {}}, {});
    const std::vector<at::Tensor> second = runKernel("short_conv", {x.slice(1, at), weight, first[1]}, {});
    EXPECT_TRUE(at::allclose(at::cat({first[0], second[0]}, 1), whole[0], 1e-6, 1e-6));
    EXPECT_TRUE(at::equal(second[1], whole[1]));
  }
}

TEST(ShortConvTest, LeftPaddingIsNone) {
  at::manual_seed(5);
  const at::Tensor x = at::randn({2, 9, 5}), weight = at::randn({5, 1, 4});
  const std::vector<at::Tensor> plain = runKernel("short_conv", {x, weight, {}}, {});
  const std::vector<at::Tensor> padded =
      runKernel("short_conv", {at::constant_pad_nd(x, {0, 0, 6, 0}), weight, {}}, {});
  EXPECT_TRUE(at::equal(padded[0].slice(1, 6), plain[0]));
  EXPECT_TRUE(at::equal(padded[1], plain[1]));
}

TEST(ShortConvTest, ForwardIsDifferentiable) {
  at::manual_seed(6);
  const at::Tensor x = at::randn({1, 7, 3}, at::kDouble),
                   weight = at::randn({3, 1, 4}, at::kDouble).requires_grad_(true);
  const at::Tensor dy = at::randn(x.sizes(), at::kDouble);
  runKernel("short_conv", {x, weight, {}})[0].backward(dy);
  const at::Tensor expected = runKernel("short_conv_grad", {dy, x, weight.detach(), {}})[1];
  EXPECT_LT(distanceTo(weight.grad(), expected), 1e-12);
}

} // namespace
} // namespace morph
