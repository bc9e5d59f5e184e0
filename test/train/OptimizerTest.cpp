// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/Optimizer.h"

#include <gtest/gtest.h>

namespace morph {
namespace {

// Ten steps of PyTorch 2.11, each with the gradient's norm before clipping:
//   p = torch.tensor([[0.5, -1.25], [2.0, 0.125]], requires_grad=True)
//   opt = torch.optim.AdamW([p], lr=1e-2, betas=(.9, .98), eps=1e-8, weight_decay=0.05, foreach=False)
//   for step in range(10):
//       g = [((step * 7 + e * 3) % 11 - 5) * 0.25 * (2 if e == 2 else 1) for e in range(4)]
//       p.grad = torch.tensor(g).view(2, 2)
//       norm = torch.nn.utils.clip_grad_norm_([p], 1.0)
//       opt.param_groups[0]["lr"] = 1e-2 * (step + 1) / 10
//       opt.step()
constexpr double pytorchSteps[10][5] = {
    {0.500975013, -1.24893749, 1.99889994, 0.123993747, 1.75},
    {0.501705229, -1.24960148, 1.99960613, 0.122634746, 2.01556444},
    {0.503035367, -1.25062275, 1.99861073, 0.122538649, 2.3048861},
    {0.502409756, -1.25018799, 1.99744797, 0.121190652, 1.63935959},
    {0.50145483, -1.25098646, 1.9979378, 0.12012092, 2.2638464},
    {0.501464367, -1.25176585, 1.99689007, 0.120999664, 2.09165001},
    {0.499727517, -1.25031936, 1.99641395, 0.120822422, 1.58113885},
    {0.497946829, -1.2497915, 1.99775219, 0.121317416, 2.65753651},
    {0.497896492, -1.24870634, 1.99775255, 0.119486824, 1.9039433},
    {0.496428877, -1.24516749, 1.99892986, 0.117143162, 1.78535712},
};

AdamWOptions tableOptions() {
  AdamWOptions options;
  options.beta2 = 0.98;
  options.weightDecay = 0.05;
  return options;
}

NamedTensors tableGradient(int step) {
  at::Tensor gradient = at::empty({2, 2});
  for (int e = 0; e < 4; ++e)
    gradient.data_ptr<float>()[e] = static_cast<float>(((step * 7 + e * 3) % 11 - 5) * 0.25 * (e == 2 ? 2 : 1));
  return {{"p", gradient}};
}

NamedTensors tableStart() {
  at::Tensor p = at::empty({2, 2});
  const float values[] = {0.5f, -1.25f, 2.0f, 0.125f};
  std::copy(values, values + 4, p.data_ptr<float>());
  return {{"p", p}};
}

TEST(AdamW, TakesPyTorchsSteps) {
  NamedTensors parameters = tableStart();
  AdamW optimizer(tableOptions());
  for (int step = 0; step < 10; ++step) {
    NamedTensors gradients = tableGradient(step);
    EXPECT_NEAR(clipByGlobalNorm(gradients, 1.0), pytorchSteps[step][4], 1e-6);
    ASSERT_TRUE(optimizer.step(parameters, gradients, 1e-2 * (step + 1) / 10).ok());
    for (int e = 0; e < 4; ++e)
      EXPECT_NEAR(parameters["p"].data_ptr<float>()[e], pytorchSteps[step][e], 3e-7)
          << "step " << step << " element " << e;
  }
}

TEST(AdamW, ContinuesFromItsState) {
  NamedTensors straight = tableStart(), resumed = tableStart();
  AdamW one(tableOptions()), two(tableOptions()), three(tableOptions());
  for (int step = 0; step < 8; ++step)
    ASSERT_TRUE(one.step(straight, tableGradient(step), 1e-2).ok());
  for (int step = 0; step < 5; ++step)
    ASSERT_TRUE(two.step(resumed, tableGradient(step), 1e-2).ok());
  ASSERT_TRUE(three.restore(two.state(), resumed).ok());
  for (int step = 5; step < 8; ++step)
    ASSERT_TRUE(three.step(resumed, tableGradient(step), 1e-2).ok());
  EXPECT_TRUE(at::equal(straight["p"], resumed["p"]));
}

TEST(AdamW, DecaysMatricesOnly) {
  AdamWOptions options;
  options.weightDecay = 0.5;
  NamedTensors parameters = {{"matrix", at::ones({2, 2})}, {"norm", at::ones({2})}};
  NamedTensors gradients = {{"matrix", at::zeros({2, 2})}, {"norm", at::zeros({2})}};
  AdamW optimizer(options);
  ASSERT_TRUE(optimizer.step(parameters, gradients, 0.1).ok());
  EXPECT_NEAR(parameters["matrix"][0][0].item<float>(), 0.95, 1e-6);
  EXPECT_EQ(parameters["norm"][0].item<float>(), 1);
}

TEST(AdamW, RefusesAGradientOfNothing) {
  NamedTensors parameters = {{"p", at::ones({2})}};
  AdamW optimizer{AdamWOptions()};
  EXPECT_FALSE(optimizer.step(parameters, {{"q", at::ones({2})}}, 0.1).ok());
  EXPECT_FALSE(optimizer.step(parameters, {{"p", at::ones({3})}}, 0.1).ok());
}

TEST(ClipByGlobalNorm, LeavesSmallGradientsAlone) {
  NamedTensors gradients = {{"a", at::full({1}, 0.3)}, {"b", at::full({1}, 0.4)}};
  EXPECT_NEAR(clipByGlobalNorm(gradients, 1), 0.5, 1e-6);
  EXPECT_FLOAT_EQ(gradients["a"].item<float>(), 0.3f);
  EXPECT_NEAR(clipByGlobalNorm(gradients, 0.25), 0.5, 1e-6);
  EXPECT_NEAR(globalNorm(gradients), 0.25, 1e-6);
}

} // namespace
} // namespace morph
