// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/Optimizer.h"

#include "runtime/exec/HeldMemory.h"
#include "test/plan/PlanBuilder.h"

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

/// A program that gives its input `g` as the gradient of `p`; and, with `norm`, as that of a vector.
plan::Plan givenGradients(const UpdateSettings &settings, bool norm = false) {
  PlanBuilder b("given");
  const int64_t g = b.input("g", {int64_t(2), int64_t(2)}), p = b.weight("p", {2, 2}, true);
  b.output("loss", b.op("squared_error", {p, g}, {{"normalize", std::string("mean")}}));
  b.output("grad.p", g);
  if (norm) {
    b.weight("norm", {2}, true);
    b.output("grad.norm", b.op("reduce_to", {g}, {{"rank", int64_t(1)}}));
  }
  return withUpdate(b.plan, settings);
}

UpdateSettings tableSettings(double clip = 0) {
  UpdateSettings settings;
  settings.clip = clip;
  settings.beta2 = 0.98;
  settings.weightDecay = 0.05;
  return settings;
}

std::unique_ptr<Executor> executorOf(const plan::Plan &plan, const NamedTensors &weights) {
  auto executor = Executor::create(plan, WeightStore::inMemory(weights), Precision::F32, 0);
  EXPECT_TRUE(executor.ok()) << executor.status().message();
  return *std::move(executor);
}

NamedTensors tableGradient(int step) {
  at::Tensor gradient = at::empty({2, 2});
  for (int e = 0; e < 4; ++e)
    gradient.data_ptr<float>()[e] = static_cast<float>(((step * 7 + e * 3) % 11 - 5) * 0.25 * (e == 2 ? 2 : 1));
  return {{"g", gradient}};
}

NamedTensors tableStart() {
  at::Tensor p = at::empty({2, 2});
  const float values[] = {0.5f, -1.25f, 2.0f, 0.125f};
  std::copy(values, values + 4, p.data_ptr<float>());
  return {{"p", p}};
}

double takeStep(Optimizer &optimizer, const NamedTensors &gradient, double rate) {
  EXPECT_TRUE(optimizer.addBatch(gradient, 1).ok());
  const StatusOr<at::Tensor> norm = optimizer.step(rate);
  EXPECT_TRUE(norm.ok()) << norm.status().message();
  return norm->item<double>();
}

TEST(Optimizer, TakesPyTorchsSteps) {
  const auto executor = executorOf(givenGradients(tableSettings(/*clip=*/1)), tableStart());
  Optimizer optimizer = *Optimizer::create(*executor);
  for (int step = 0; step < 10; ++step) {
    EXPECT_NEAR(takeStep(optimizer, tableGradient(step), 1e-2 * (step + 1) / 10), pytorchSteps[step][4], 1e-6);
    for (int e = 0; e < 4; ++e)
      EXPECT_NEAR(executor->masters()["p"].data_ptr<float>()[e], pytorchSteps[step][e], 3e-7)
          << "step " << step << " element " << e;
  }
}

TEST(Optimizer, ContinuesFromItsState) {
  const plan::Plan plan = givenGradients(tableSettings());
  const auto straight = executorOf(plan, tableStart()), resumed = executorOf(plan, tableStart());
  Optimizer one = *Optimizer::create(*straight), two = *Optimizer::create(*resumed);
  for (int step = 0; step < 8; ++step)
    takeStep(one, tableGradient(step), 1e-2);
  for (int step = 0; step < 5; ++step)
    takeStep(two, tableGradient(step), 1e-2);
  Optimizer three = *Optimizer::create(*resumed);
  ASSERT_TRUE(three.restore(*two.state()).ok());
  for (int step = 5; step < 8; ++step)
    takeStep(three, tableGradient(step), 1e-2);
  EXPECT_TRUE(at::equal(straight->masters()["p"], resumed->masters()["p"]));
}

TEST(Optimizer, RefusesAStateThatIsNotItsOwn) {
  const auto executor = executorOf(givenGradients(tableSettings()), tableStart());
  Optimizer optimizer = *Optimizer::create(*executor);
  NamedTensors state = *optimizer.state();
  state["exp_avg.p"] = at::zeros({3});
  EXPECT_EQ(optimizer.restore(state).message(), "checkpoint: the moments of 'p' are missing or have another shape");
  state = *optimizer.state();
  state.erase("step");
  EXPECT_EQ(optimizer.restore(state).message(), "checkpoint: the number of steps is missing");
}

TEST(Optimizer, NeedsAnUpdate) {
  plan::Plan plan = givenGradients(tableSettings());
  plan.update = nullptr;
  const auto executor = executorOf(plan, tableStart());
  const auto optimizer = Optimizer::create(*executor);
  ASSERT_FALSE(optimizer.ok());
  EXPECT_EQ(optimizer.status().message(), "the plan 'given' gives gradients, but has no update that trains by them");
}

TEST(Optimizer, DecaysMatricesOnly) {
  UpdateSettings settings;
  settings.weightDecay = 0.5;
  const auto executor =
      executorOf(givenGradients(settings, /*norm=*/true), {{"p", at::ones({2, 2})}, {"norm", at::ones({2})}});
  Optimizer optimizer = *Optimizer::create(*executor);
  takeStep(optimizer, {{"g", at::zeros({2, 2})}}, 0.1);
  EXPECT_NEAR(executor->masters()["p"][0][0].item<float>(), 0.95, 1e-6);
  EXPECT_EQ(executor->masters()["norm"][0].item<float>(), 1);
}

TEST(Optimizer, AveragesItsBatches) {
  const auto executor = executorOf(givenGradients(tableSettings()), tableStart());
  Optimizer optimizer = *Optimizer::create(*executor);
  const NamedTensors a = tableGradient(0), b = tableGradient(1);
  ASSERT_TRUE(optimizer.addBatch(a, 0.5).ok());
  ASSERT_TRUE(optimizer.addBatch(b, 0.5).ok());
  EXPECT_TRUE(at::equal(optimizer.gradients().at("p"), (a.at("g") + b.at("g")) / 2));
  ASSERT_TRUE(optimizer.step(0.1).ok());
  EXPECT_TRUE(at::equal(optimizer.gradients().at("p"), at::zeros({2, 2})));
}

TEST(Optimizer, AStepAllocatesNothing) {
  const auto executor = executorOf(givenGradients(tableSettings(/*clip=*/1)), tableStart());
  Optimizer optimizer = *Optimizer::create(*executor);
  const NamedTensors gradient = tableGradient(0);
  takeStep(optimizer, gradient, 0.1); // Lays out the memory.
  countHeldMemory();
  const int64_t before = allocationCount();
  takeStep(optimizer, gradient, 0.1);
  EXPECT_EQ(allocationCount(), before);
}

} // namespace
} // namespace morph
