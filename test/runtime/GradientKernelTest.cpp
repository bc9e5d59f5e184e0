// SPDX-License-Identifier: Apache-2.0
// Gradient kernels (of elementwise ops: ElementwiseKernelTest.cpp) against autograd of their forward kernels and
// against central differences, in fp64; and against themselves in fp64 when run in fp32.

#include "RunKernel.h"

#include "runtime/weights/Initialize.h"

#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

namespace morph {
namespace {

using Tensors = std::vector<at::Tensor>;

/// How the gradient of one operand of a forward op is computed by kernels from dy and the operands.
struct GradientCase {
  std::string name, op;
  Tensors operands;
  Attributes attributes;
  size_t operand; ///< The operand whose gradient is checked.
  std::function<at::Tensor(const at::Tensor &dy, const Tensors &operands)> gradient;
};

at::Tensor normal(at::IntArrayRef shape, const std::string &name) {
  return seededNormal(shape, 1, 3, name, at::kDouble);
}

std::vector<GradientCase> gradientCases() {
  at::Tensor x = normal({2, 5, 8}, "x"), y = normal({2, 5, 8}, "y"), weight = normal({7, 8}, "weight");
  at::Tensor scale = normal({8}, "scale"), heads = normal({2, 5, 2, 8}, "heads"), table = normal({6, 8}, "table");
  at::Tensor ids = at::tensor({0, 4, 2, 2, 1, 0, 5, 5, 5, 1}, at::kLong).view({2, 5});
  at::Tensor positions = at::tensor({5, 0, 3, 3}, at::kLong), targets = at::tensor({0, 9, 3, 3}, at::kLong);
  at::Tensor logits = normal({4, 10}, "logits") * 2, teacher = normal({4, 10}, "teacher") * 2;
  at::Tensor rowWeights = normal({4}, "weights").abs(), losses = normal({4}, "losses");
  at::Tensor gate1 = at::tensor({0.3}, at::kDouble), gate2 = at::tensor({0.3, 0.5}, at::kDouble);
  at::Tensor z = normal({2, 5, 8}, "z"), long1 = normal({100, 24}, "long"), longScale = normal({24}, "longScale");
  Attributes eps = {{"eps", 1e-2}};

  // The gradient kernel `op` on dy and the operands of the given numbers; result number `result`.
  auto kernel = [](std::string op, std::vector<size_t> picks, Attributes attributes = {}, size_t result = 0) {
    return [=](const at::Tensor &dy, const Tensors &operands) {
      Tensors all = {dy};
      for (size_t pick : picks)
        all.push_back(operands[pick]);
      return runKernel(op, all, attributes)[result];
    };
  };
  const Attributes three = {{"count", int64_t(3)}}, threeNormalised = {{"count", int64_t(3)}, {"normalised", true}};
  const Attributes active = {{"active", int64_t(2)}};
  auto router = [](Attributes attributes) {
    return [=](const at::Tensor &dy, const Tensors &operands) {
      const at::Tensor y = runKernel("top_k_softmax", {operands[0]}, attributes)[0];
      return runKernel("top_k_softmax_grad", {dy, operands[0], y}, attributes)[0];
    };
  };
  // All shares are there, for those of zero have no gradient; and more rows than a block of them.
  const at::Tensor gateUp = normal({3, 12, 8}, "gateUp") * 0.5, down = normal({3, 8, 6}, "down") * 0.5;
  const Tensors moe = {x, normal({2, 5, 3}, "routing"), gateUp, down};
  const Tensors manyRows = {normal({300, 8}, "many"), normal({300, 3}, "manyRouting") * 0.1, gateUp, down};
  std::vector<GradientCase> all = {
      {"LinearInput", "linear", {x, weight, at::Tensor()}, {}, 0, kernel("linear_input_grad", {1})},
      {"LinearWeight", "linear", {x, weight, at::Tensor()}, {}, 1, kernel("linear_weight_grad", {0})},
      {"LinearBias",
       "linear",
       {x, weight, weight.select(1, 0).contiguous()},
       {},
       2,
       kernel("reduce_to", {}, {{"rank", int64_t(1)}})},
      {"Embedding", "embedding", {ids, table}, {}, 1, kernel("embedding_grad", {0}, {{"rows", int64_t(6)}})},
      {"RmsNormInput", "rms_norm", {x, scale}, eps, 0, kernel("rms_norm_input_grad", {0, 1}, eps)},
      {"RmsNormWeight", "rms_norm", {x, scale}, eps, 1, kernel("rms_norm_weight_grad", {0}, eps)},
      {"RmsNormWeightManyRows", "rms_norm", {long1, longScale}, eps, 1, kernel("rms_norm_weight_grad", {0}, eps)},
      {"L2Norm", "l2_norm", {heads}, eps, 0, kernel("l2_norm_grad", {0}, eps)},
      {"Expand", "expand", {x}, {{"width", int64_t(3)}}, 0, kernel("sum_last", {})},
      {"SumLast", "sum_last", {heads}, {}, 0, kernel("expand", {}, {{"width", int64_t(8)}})},
      {"TakeRows", "take_rows", {x, positions}, {}, 0, kernel("scatter_rows", {1, 0})},
      {"BlendGate", "blend", {gate1, x, y}, {}, 0, kernel("blend_gate_grad", {1, 2})},
      {"BlendGateThree", "blend", {gate2, x, y, z}, {}, 0, kernel("blend_gate_grad", {1, 2, 3})},
      {"BlendFirst", "blend", {gate1, x, y}, {}, 1, kernel("blend_candidate_grad", {0}, {{"index", int64_t(0)}})},
      {"BlendSecondOfThree",
       "blend",
       {gate2, x, y, z},
       {},
       2,
       kernel("blend_candidate_grad", {0}, {{"index", int64_t(1)}})},
      {"BlendLastOfThree",
       "blend",
       {gate2, x, y, z},
       {},
       3,
       kernel("blend_candidate_grad", {0}, {{"index", int64_t(2)}})},
      {"TokenNll", "token_nll", {logits, targets}, {}, 0, kernel("token_nll_grad", {0, 1})},
      {"KlDivergence", "kl_divergence", {teacher, logits}, {}, 1, kernel("kl_divergence_grad", {0, 1})},
      {"ReverseKlDivergence",
       "reverse_kl_divergence",
       {teacher, logits},
       {},
       1,
       kernel("reverse_kl_divergence_grad", {0, 1})},
      {"WeightedMean", "weighted_mean", {losses, rowWeights}, {}, 0, kernel("weighted_mean_grad", {1})},
      {"TopKSoftmax", "top_k_softmax", {logits}, three, 0, router(three)},
      {"TopKSoftmaxNormalised", "top_k_softmax", {logits}, threeNormalised, 0, router(threeNormalised)},
      {"ExpertsX", "experts", moe, active, 0, kernel("experts_input_grad", {0, 1, 2, 3}, active)},
      {"ExpertsRouting", "experts", moe, active, 1, kernel("experts_input_grad", {0, 1, 2, 3}, active, 1)},
      {"ExpertsGateUp", "experts", moe, active, 2, kernel("experts_weight_grad", {0, 1, 2, 3}, active)},
      {"ExpertsDown", "experts", moe, active, 3, kernel("experts_weight_grad", {0, 1, 2, 3}, active, 1)},
      {"ExpertsGateUpManyRows", "experts", manyRows, active, 2, kernel("experts_weight_grad", {0, 1, 2, 3}, active)},
      {"ExpertsXManyRows", "experts", manyRows, active, 0, kernel("experts_input_grad", {0, 1, 2, 3}, active)},
      {"Rope",
       "rope",
       {heads, at::full({2}, 3, at::kLong)},
       {{"table", std::string("rope")}},
       0,
       [](const at::Tensor &dy, const Tensors &operands) {
         return runKernel("rope", {dy, operands[1]}, {{"table", std::string("rope")}, {"inverse", true}})[0];
       }},
  };
  for (const char *normalize : {"mean", "rows", "relative"}) {
    Attributes attributes = {{"normalize", std::string(normalize)}};
    all.push_back({std::string("SquaredError_") + normalize,
                   "squared_error",
                   {x, y},
                   attributes,
                   0,
                   kernel("squared_error_grad", {0, 1}, attributes)});
  }
  return all;
}

double largestError(const at::Tensor &a, const at::Tensor &b) {
  EXPECT_EQ(a.sizes(), b.sizes());
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

class GradientKernel : public testing::TestWithParam<GradientCase> {};

TEST_P(GradientKernel, AgreesWithAutogradAndDifferences) {
  const GradientCase &test = GetParam();
  auto forward = [&](const Tensors &operands, bool record) {
    return runKernel(test.op, operands, test.attributes, record)[0];
  };
  at::Tensor dy = normal(forward(test.operands, false).sizes(), "dy");
  at::Tensor gradient = test.gradient(dy, test.operands);

  Tensors recorded = test.operands;
  recorded[test.operand] = recorded[test.operand].clone().requires_grad_(true);
  {
    c10::AutoGradMode record(true);
    (forward(recorded, true) * dy).sum().backward();
  }
  at::Tensor expected = recorded[test.operand].grad();
  double size = expected.abs().max().item<double>();
  ASSERT_GT(size, 0);
  EXPECT_LT(largestError(gradient, expected), 1e-11 * std::max(size, 1.0));

  // The fast path of the forward kernel must have this derivative too.
  at::Tensor flat = gradient.reshape(-1);
  for (int64_t at = 0; at < flat.numel(); at += 1 + flat.numel() / 7) {
    double sides[2];
    for (int side = 0; side < 2; ++side) {
      Tensors moved = test.operands;
      moved[test.operand] = moved[test.operand].clone();
      moved[test.operand].view(-1)[at].add_(side ? -1e-6 : 1e-6);
      sides[side] = (forward(moved, false) * dy).sum().item<double>();
    }
    EXPECT_NEAR((sides[0] - sides[1]) / 2e-6, flat[at].item<double>(), 2e-7 * std::max(size, 1.0));
  }

  Tensors narrow = test.operands;
  for (at::Tensor &operand : narrow)
    if (operand.defined() && operand.scalar_type() == at::kDouble)
      operand = operand.to(at::kFloat);
  at::Tensor single = test.gradient(dy.to(at::kFloat), narrow);
  EXPECT_EQ(single.scalar_type(), at::kFloat);
  EXPECT_LT(largestError(single, gradient), 1e-5 * std::max(size, 1.0));
}

INSTANTIATE_TEST_SUITE_P(All, GradientKernel, testing::ValuesIn(gradientCases()),
                         [](const auto &info) { return info.param.name; });

TEST(GradientKernelTest, TargetsAndTeachersGetNoGradient) {
  c10::AutoGradMode record(true);
  at::Tensor a = normal({4, 6}, "a").requires_grad_(true), b = normal({4, 6}, "b").requires_grad_(true);
  runKernel("kl_divergence", {a, b}, {}, true)[0].sum().backward();
  EXPECT_FALSE(a.grad().defined());
  at::Tensor c = normal({4, 6}, "a").requires_grad_(true);
  runKernel("squared_error", {b, c}, {{"normalize", std::string("relative")}}, true)[0].backward();
  EXPECT_FALSE(c.grad().defined());
}

TEST(GradientKernelTest, AnExpertsShareOfZeroHasNoGradient) {
  const at::Tensor x = normal({2, 8}, "x"), gateUp = normal({2, 12, 8}, "gateUp"), down = normal({2, 8, 6}, "down");
  const at::Tensor routing = at::tensor({0.5, 0.0, 0.0, 0.0}, at::kDouble).view({2, 2}), dy = at::ones_like(x);
  const Tensors operands = {dy, x, routing, gateUp, down};
  const Tensors inputs = runKernel("experts_input_grad", operands, {{"active", int64_t(1)}});
  EXPECT_NE(inputs[1][0][0].item<double>(), 0);
  EXPECT_EQ(inputs[1].abs().sum().item<double>(), inputs[1][0][0].abs().item<double>());
  EXPECT_EQ(inputs[0][1].abs().sum().item<double>(), 0);
  for (const at::Tensor &gradient : runKernel("experts_weight_grad", operands, {{"active", int64_t(1)}})) {
    EXPECT_GT(gradient[0].abs().sum().item<double>(), 0);
    EXPECT_EQ(gradient[1].abs().sum().item<double>(), 0);
  }
}

TEST(GradientKernelTest, AZeroTargetGivesFiniteGradients) {
  at::Tensor x = at::ones({3, 4}), target = at::zeros({3, 4});
  Attributes relative = {{"normalize", std::string("relative")}};
  at::Tensor dx = runKernel("squared_error_grad", {at::zeros({}), x, target}, relative)[0];
  EXPECT_TRUE(at::isfinite(dx).all().item<bool>());
}

} // namespace
} // namespace morph
