// SPDX-License-Identifier: Apache-2.0
// The contracts of every registered linear-attention backend. A backend joins by an entry in `extrasOf`.
// The formulas are those of peers.md section 6 and of each kernel's own head comment.

#include "runtime/kernels/LinearAttention.h"
#include "runtime/kernels/SmallProducts.h"
#include "test/runtime/RunKernel.h"

#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>

#include <gtest/gtest.h>

namespace morph {
namespace {

constexpr double kScale = 0.35;

struct Sizes {
  int64_t batch = 2, length = 65, heads = 3, width = 8, valueWidth = 6;
};

/// Random extras of a backend: one case a backend, by the meaning of its operands.
std::vector<at::Tensor> extrasOf(const std::string &kind, const Sizes &s, const at::TensorOptions &options) {
  const std::vector<int64_t> shape = {s.batch, s.length, s.heads};
  if (kind == "gated_delta_rule")
    return {-at::rand(shape, options) * 0.7, at::rand(shape, options) * 0.9 + 0.05};
  if (kind == "fixed_decay")
    return {-at::rand({s.heads}, options) * 0.5 - 0.01};
  TORCH_CHECK(false, "the test knows no extras of the backend '", kind, "': add a case to extrasOf");
}

/// Whether an extra has a position dimension, [B,T,...].
bool isSequence(const at::Tensor &extra) { return extra.dim() >= 3; }

LinearAttentionInputs inputsOf(const std::string &kind, const Sizes &s, at::ScalarType type, bool withState) {
  const at::TensorOptions options = at::TensorOptions(type);
  auto normalized = [&](int64_t width) {
    const at::Tensor x = at::randn({s.batch, s.length, s.heads, width}, options);
    return x / (x.norm(2, -1, true) + 1e-6);
  };
  LinearAttentionInputs inputs;
  inputs.q_BTHK = normalized(s.width);
  inputs.k_BTHK = normalized(s.width);
  inputs.v_BTHV = at::randn({s.batch, s.length, s.heads, s.valueWidth}, options);
  inputs.extras = extrasOf(kind, s, options);
  if (withState)
    inputs.state_BHKV = at::randn({s.batch, s.heads, s.width, s.valueWidth}, options);
  inputs.scale = kScale;
  return inputs;
}

LinearAttentionInputs slice(const LinearAttentionInputs &inputs, int64_t begin, int64_t end) {
  LinearAttentionInputs part = inputs;
  part.q_BTHK = inputs.q_BTHK.slice(1, begin, end);
  part.k_BTHK = inputs.k_BTHK.slice(1, begin, end);
  part.v_BTHV = inputs.v_BTHV.slice(1, begin, end);
  for (at::Tensor &extra : part.extras)
    if (isSequence(extra))
      extra = extra.slice(1, begin, end);
  return part;
}

LinearAttentionInputs cast(const LinearAttentionInputs &inputs, at::ScalarType type) {
  LinearAttentionInputs result = inputs;
  result.q_BTHK = inputs.q_BTHK.to(type);
  result.k_BTHK = inputs.k_BTHK.to(type);
  result.v_BTHV = inputs.v_BTHV.to(type);
  for (at::Tensor &extra : result.extras)
    extra = extra.to(type);
  if (inputs.state_BHKV.defined())
    result.state_BHKV = inputs.state_BHKV.to(type);
  return result;
}

/// Largest difference relative to the largest element of the expected tensor.
double distance(const at::Tensor &actual, const at::Tensor &expected) {
  EXPECT_EQ(actual.sizes(), expected.sizes());
  if (expected.numel() == 0)
    return 0;
  const at::Tensor wide = expected.to(at::kDouble);
  const double scale = std::max(wide.abs().max().item<double>(), 1e-3);
  const double error = (actual.to(at::kDouble) - wide).abs().max().item<double>() / scale;
  return std::isfinite(error) ? error : 1e30;
}

void expectClose(const LinearAttentionResult &actual, const LinearAttentionResult &expected, double tolerance) {
  EXPECT_LT(distance(actual.o_BTHV, expected.o_BTHV), tolerance);
  EXPECT_LT(distance(actual.state_BHKV, expected.state_BHKV), tolerance);
}

LinearAttentionGradients gradientsByAutograd(const LinearAttentionKernel &kernel, const LinearAttentionInputs &inputs,
                                             const at::Tensor &dO) {
  c10::AutoGradMode enable(true);
  LinearAttentionInputs leaves = inputs;
  auto leaf = [](at::Tensor &x) { x = x.detach().clone().requires_grad_(true); };
  leaf(leaves.q_BTHK);
  leaf(leaves.k_BTHK);
  leaf(leaves.v_BTHV);
  for (at::Tensor &extra : leaves.extras)
    leaf(extra);
  kernel.recurrent(leaves).o_BTHV.backward(dO);
  LinearAttentionGradients result{leaves.q_BTHK.grad(), leaves.k_BTHK.grad(), leaves.v_BTHV.grad(), {}};
  for (const at::Tensor &extra : leaves.extras)
    result.dextras.push_back(extra.grad());
  return result;
}

std::vector<at::Tensor> flat(const LinearAttentionGradients &gradients) {
  std::vector<at::Tensor> all = {gradients.dq_BTHK, gradients.dk_BTHK, gradients.dv_BTHV};
  all.insert(all.end(), gradients.dextras.begin(), gradients.dextras.end());
  return all;
}

class LinearAttentionContract : public testing::TestWithParam<std::string> {
protected:
  void SetUp() override { at::manual_seed(7); }
  const LinearAttentionKernel &kernel() const { return *findLinearAttention(GetParam()); }
};

TEST_P(LinearAttentionContract, ChunkedIsRecurrent) {
  for (int64_t length : {1, 5, 64, 65, 200})
    for (bool withState : {false, true}) {
      Sizes sizes;
      sizes.length = length;
      LinearAttentionInputs inputs = inputsOf(GetParam(), sizes, at::kDouble, withState);
      const LinearAttentionResult expected = kernel().recurrent(inputs);
      for (int64_t chunk : {1, 3, 16, 64, 100}) {
        SCOPED_TRACE(testing::Message() << "length " << length << " chunk " << chunk << " state " << withState);
        inputs.chunk = chunk;
        expectClose(kernel().forward(inputs), expected, 1e-12);
        expectClose(kernel().forward(cast(inputs, at::kFloat)), expected, 2e-5);
      }
    }
}

TEST_P(LinearAttentionContract, FullWidthInFp32) {
  Sizes sizes{1, 300, 2, 64, 64};
  LinearAttentionInputs inputs = inputsOf(GetParam(), sizes, at::kDouble, false);
  const LinearAttentionResult expected = kernel().recurrent(inputs);
  expectClose(kernel().forward(inputs), expected, 1e-12);
  expectClose(kernel().forward(cast(inputs, at::kFloat)), expected, 1e-5);
}

TEST_P(LinearAttentionContract, SplitIsWhole) {
  const Sizes sizes;
  LinearAttentionInputs inputs = inputsOf(GetParam(), sizes, at::kDouble, true);
  inputs.chunk = 16;
  const LinearAttentionResult whole = kernel().forward(inputs);
  for (int64_t at : {0, 1, 15, 16, 17, 40, 64, 65}) {
    SCOPED_TRACE(testing::Message() << "split at " << at);
    const LinearAttentionResult first = kernel().forward(slice(inputs, 0, at));
    LinearAttentionInputs rest = slice(inputs, at, sizes.length);
    rest.state_BHKV = first.state_BHKV;
    const LinearAttentionResult second = kernel().forward(rest);
    expectClose({at::cat({first.o_BTHV, second.o_BTHV}, 1), second.state_BHKV}, whole, 1e-12);
  }
}

TEST_P(LinearAttentionContract, SingleStepsAreWhole) {
  Sizes sizes;
  sizes.length = 20;
  const LinearAttentionInputs inputs = inputsOf(GetParam(), sizes, at::kFloat, false);
  const LinearAttentionResult whole = kernel().recurrent(cast(inputs, at::kDouble));
  LinearAttentionResult steps;
  std::vector<at::Tensor> outputs;
  for (int64_t t = 0; t < sizes.length; ++t) {
    LinearAttentionInputs step = slice(inputs, t, t + 1);
    step.state_BHKV = steps.state_BHKV;
    steps = kernel().forward(step);
    outputs.push_back(steps.o_BTHV);
  }
  steps.o_BTHV = at::cat(outputs, 1);
  expectClose(steps, whole, 1e-5);
}

TEST_P(LinearAttentionContract, LeftPaddingIsNone) {
  const Sizes sizes;
  LinearAttentionInputs inputs = inputsOf(GetParam(), sizes, at::kDouble, false);
  inputs.chunk = 16;
  const LinearAttentionResult expected = kernel().forward(inputs);
  for (int64_t padding : {1, 16, 37}) {
    SCOPED_TRACE(testing::Message() << "padding " << padding);
    // The mixer's input is zero there, so q, k and v are; what the extras become is the projections' affair.
    auto padded = [&](const at::Tensor &x, double value) {
      std::vector<int64_t> shape = x.sizes().vec();
      shape[1] = padding;
      return at::cat({at::full(shape, value, x.options()), x}, 1);
    };
    LinearAttentionInputs longer = inputs;
    longer.q_BTHK = padded(inputs.q_BTHK, 0);
    longer.k_BTHK = padded(inputs.k_BTHK, 0);
    longer.v_BTHV = padded(inputs.v_BTHV, 0);
    for (at::Tensor &extra : longer.extras)
      if (isSequence(extra))
        extra = padded(extra, 0.5);
    const LinearAttentionResult result = kernel().forward(longer);
    EXPECT_EQ(result.o_BTHV.slice(1, 0, padding).abs().max().item<double>(), 0);
    expectClose({result.o_BTHV.slice(1, padding), result.state_BHKV}, expected, 1e-12);
  }
}

TEST_P(LinearAttentionContract, BackwardIsAutogradOfRecurrent) {
  for (int64_t length : {1, 5, 64, 65})
    for (bool withState : {false, true}) {
      Sizes sizes;
      sizes.length = length;
      LinearAttentionInputs inputs = inputsOf(GetParam(), sizes, at::kDouble, withState);
      const at::Tensor dO = at::randn(inputs.v_BTHV.sizes(), inputs.v_BTHV.options());
      const std::vector<at::Tensor> expected = flat(gradientsByAutograd(kernel(), inputs, dO));
      for (int64_t chunk : {1, 3, 16, 64, 100}) {
        inputs.chunk = chunk;
        const std::vector<at::Tensor> wide = flat(kernel().backward(inputs, dO));
        const std::vector<at::Tensor> narrow = flat(kernel().backward(cast(inputs, at::kFloat), dO.to(at::kFloat)));
        ASSERT_EQ(wide.size(), expected.size());
        for (size_t i = 0; i < expected.size(); ++i) {
          SCOPED_TRACE(testing::Message()
                       << "length " << length << " chunk " << chunk << " state " << withState << " operand " << i);
          EXPECT_LT(distance(wide[i], expected[i]), 1e-10);
          EXPECT_LT(distance(narrow[i], expected[i]), 1e-4);
        }
      }
    }
}

TEST_P(LinearAttentionContract, BackwardIsFiniteDifference) {
  Sizes sizes{1, 21, 2, 5, 4};
  LinearAttentionInputs inputs = inputsOf(GetParam(), sizes, at::kDouble, true);
  inputs.chunk = 8;
  const at::Tensor dO = at::randn(inputs.v_BTHV.sizes(), inputs.v_BTHV.options());
  const std::vector<at::Tensor> gradients = flat(kernel().backward(inputs, dO));
  constexpr double kStep = 1e-5;
  for (size_t i = 0; i < gradients.size(); ++i) {
    SCOPED_TRACE(testing::Message() << "operand " << i);
    // A random direction tests every element at once.
    const at::Tensor direction = at::randn(gradients[i].sizes(), gradients[i].options());
    auto lossAt = [&](double step) {
      LinearAttentionInputs moved = inputs;
      at::Tensor *operands[] = {&moved.q_BTHK, &moved.k_BTHK, &moved.v_BTHV};
      at::Tensor &operand = i < 3 ? *operands[i] : moved.extras[i - 3];
      operand = operand + step * direction;
      return (kernel().forward(moved).o_BTHV * dO).sum().item<double>();
    };
    const double expected = (lossAt(kStep) - lossAt(-kStep)) / (2 * kStep);
    const double actual = (gradients[i] * direction).sum().item<double>();
    EXPECT_NEAR(actual, expected, 1e-6 * std::max(1.0, std::abs(expected)));
  }
}

TEST_P(LinearAttentionContract, DefaultBackwardIsBackward) {
  const Sizes sizes;
  const LinearAttentionInputs inputs = inputsOf(GetParam(), sizes, at::kDouble, true);
  const at::Tensor dO = at::randn(inputs.v_BTHV.sizes(), inputs.v_BTHV.options());
  const std::vector<at::Tensor> own = flat(kernel().backward(inputs, dO));
  c10::InferenceMode inference;
  const std::vector<at::Tensor> byAutograd = flat(kernel().LinearAttentionKernel::backward(inputs, dO));
  ASSERT_EQ(own.size(), byAutograd.size());
  for (size_t i = 0; i < own.size(); ++i)
    EXPECT_LT(distance(own[i], byAutograd[i]), 1e-10);
}

TEST_P(LinearAttentionContract, ForwardIsDifferentiable) {
  const Sizes sizes;
  LinearAttentionInputs inputs = inputsOf(GetParam(), sizes, at::kDouble, false);
  const at::Tensor dO = at::randn(inputs.v_BTHV.sizes(), inputs.v_BTHV.options());
  const LinearAttentionGradients expected = kernel().backward(inputs, dO);
  inputs.v_BTHV.requires_grad_(true);
  kernel().forward(inputs).o_BTHV.backward(dO);
  EXPECT_LT(distance(inputs.v_BTHV.grad(), expected.dv_BTHV), 1e-10);
}

TEST_P(LinearAttentionContract, SameBitsEveryTimeAndOperandsUntouched) {
  Sizes sizes{2, 130, 3, 64, 64};
  const LinearAttentionInputs inputs = inputsOf(GetParam(), sizes, at::kFloat, true);
  const LinearAttentionInputs before = cast(cast(inputs, at::kDouble), at::kFloat);
  const at::Tensor dO = at::randn(inputs.v_BTHV.sizes());
  const LinearAttentionResult first = kernel().forward(inputs);
  const std::vector<at::Tensor> firstGradients = flat(kernel().backward(inputs, dO));
  for (int repeat = 0; repeat < 3; ++repeat) {
    const at::Tensor moved = at::empty({repeat * 1000 + 1}); // Other addresses for the scratch memory.
    const LinearAttentionResult again = kernel().forward(inputs);
    EXPECT_TRUE(at::equal(again.o_BTHV, first.o_BTHV));
    EXPECT_TRUE(at::equal(again.state_BHKV, first.state_BHKV));
    const std::vector<at::Tensor> gradients = flat(kernel().backward(inputs, dO));
    for (size_t i = 0; i < gradients.size(); ++i)
      EXPECT_TRUE(at::equal(gradients[i], firstGradients[i]));
  }
  EXPECT_TRUE(at::equal(inputs.q_BTHK, before.q_BTHK));
  EXPECT_TRUE(at::equal(inputs.k_BTHK, before.k_BTHK));
  EXPECT_TRUE(at::equal(inputs.v_BTHV, before.v_BTHV));
  EXPECT_TRUE(at::equal(inputs.state_BHKV, before.state_BHKV));
}

TEST_P(LinearAttentionContract, StrongDecayStaysFinite) {
  const Sizes sizes;
  LinearAttentionInputs inputs = inputsOf(GetParam(), sizes, at::kDouble, true);
  inputs.extras[0] = at::full_like(inputs.extras[0], -60.0);
  const LinearAttentionResult expected = kernel().recurrent(inputs);
  expectClose(kernel().forward(cast(inputs, at::kFloat)), expected, 1e-5);
  const at::Tensor dO = at::randn(inputs.v_BTHV.sizes(), at::kFloat);
  for (const at::Tensor &gradient : flat(kernel().backward(cast(inputs, at::kFloat), dO)))
    EXPECT_TRUE(at::isfinite(gradient).all().item<bool>());
}

TEST_P(LinearAttentionContract, StridedOperandsAreRead) {
  const Sizes sizes;
  const LinearAttentionInputs inputs = inputsOf(GetParam(), sizes, at::kDouble, true);
  LinearAttentionInputs strided = inputs;
  auto transposed = [](at::Tensor &x) { x = x.transpose(1, 2).contiguous().transpose(1, 2); };
  transposed(strided.q_BTHK);
  transposed(strided.k_BTHK);
  transposed(strided.v_BTHV);
  expectClose(kernel().forward(strided), kernel().forward(inputs), 1e-15);
}

TEST_P(LinearAttentionContract, OpsCallTheKernel) {
  const Sizes sizes;
  const LinearAttentionInputs inputs = inputsOf(GetParam(), sizes, at::kFloat, false);
  std::vector<at::Tensor> operands = {inputs.q_BTHK, inputs.k_BTHK, inputs.v_BTHV};
  operands.insert(operands.end(), inputs.extras.begin(), inputs.extras.end());
  operands.push_back({});
  const std::map<std::string, plan::Attribute> attributes = {
      {"kind", GetParam()}, {"scale", kScale}, {"chunk", int64_t{64}}};
  const std::vector<at::Tensor> results = runKernel("linear_attention", operands, attributes);
  ASSERT_EQ(results.size(), 2u);
  const LinearAttentionResult expected = kernel().forward(inputs);
  EXPECT_TRUE(at::equal(results[0], expected.o_BTHV));
  EXPECT_TRUE(at::equal(results[1], expected.state_BHKV));

  const at::Tensor dO = at::randn(inputs.v_BTHV.sizes());
  operands.insert(operands.begin(), dO);
  const std::vector<at::Tensor> gradients = runKernel("linear_attention_grad", operands, attributes);
  const std::vector<at::Tensor> expectedGradients = flat(kernel().backward(inputs, dO));
  ASSERT_EQ(gradients.size(), expectedGradients.size());
  for (size_t i = 0; i < gradients.size(); ++i)
    EXPECT_TRUE(at::equal(gradients[i], expectedGradients[i]));
}

// Factors within the products are rounded where that is faster, else only q, k and v: sums and states stay fp32.
TEST_P(LinearAttentionContract, RoundedFactorsAreClose) {
  for (const Sizes &sizes : {Sizes{2, 200, 3, 64, 64}, Sizes{1, 130, 2, 32, 48}, Sizes{1, 1, 2, 16, 16}}) {
    LinearAttentionInputs inputs = inputsOf(GetParam(), sizes, at::kFloat, true);
    for (at::Tensor *x : {&inputs.q_BTHK, &inputs.k_BTHK, &inputs.v_BTHV})
      *x = x->to(at::kBFloat16);
    const at::Tensor dO = at::randn(inputs.v_BTHV.sizes()).to(at::kBFloat16);
    std::vector<at::Tensor> operands = {inputs.q_BTHK, inputs.k_BTHK, inputs.v_BTHV};
    operands.insert(operands.end(), inputs.extras.begin(), inputs.extras.end());
    operands.push_back(inputs.state_BHKV.clone()); // The final state is written in its place.
    const std::map<std::string, plan::Attribute> attributes = {
        {"kind", GetParam()}, {"scale", kScale}, {"chunk", int64_t{64}}};
    const LinearAttentionInputs wide = cast(inputs, at::kDouble);
    const bool rounds = hasFastRoundedMultiply();
    const std::vector<at::Tensor> results = runKernel("linear_attention", operands, attributes);
    EXPECT_EQ(results[0].scalar_type(), at::kFloat);
    // A single step is no product of matrices.
    expectClose({results[0], results[1]}, kernel().recurrent(wide), rounds && sizes.length > 1 ? 1e-2 : 1e-5);
    operands.back() = inputs.state_BHKV;
    operands.insert(operands.begin(), dO);
    const std::vector<at::Tensor> gradients = runKernel("linear_attention_grad", operands, attributes),
                                  expected = flat(gradientsByAutograd(kernel(), wide, dO.to(at::kDouble)));
    ASSERT_EQ(gradients.size(), expected.size());
    for (size_t i = 0; i < gradients.size(); ++i) {
      SCOPED_TRACE(testing::Message() << "operand " << i << " of length " << sizes.length);
      EXPECT_EQ(gradients[i].scalar_type(), at::kFloat);
      // Gradients of decays are small differences of sums of rounded terms.
      EXPECT_LT(distance(gradients[i], expected[i]), !rounds ? 1e-4 : i == 3 ? 5e-2 : 2e-2);
    }
  }
}

TEST_P(LinearAttentionContract, WrongShapesAreRefused) {
  const Sizes sizes;
  LinearAttentionInputs inputs = inputsOf(GetParam(), sizes, at::kFloat, false);
  inputs.state_BHKV = at::zeros({1, 1, 2, 2});
  EXPECT_THROW(kernel().forward(inputs), c10::Error);
  inputs = inputsOf(GetParam(), sizes, at::kFloat, false);
  inputs.extras.pop_back();
  EXPECT_THROW(kernel().forward(inputs), c10::Error);
}

INSTANTIATE_TEST_SUITE_P(Registered, LinearAttentionContract, testing::ValuesIn(linearAttentionKinds()),
                         [](const auto &info) { return info.param; });

TEST(GatedDeltaRuleTest, FullBetaNoDecayRecallsTheLastValueOfAKey) {
  // beta = 1, g = 0 and orthonormal keys: the state maps each key to the last value written under it.
  const int64_t width = 8, length = 24;
  LinearAttentionInputs inputs;
  const at::Tensor keys = at::eye(width, at::kDouble).repeat({3, 1});
  inputs.k_BTHK = keys.view({1, length, 1, width});
  inputs.q_BTHK = inputs.k_BTHK;
  inputs.v_BTHV = at::randn({1, length, 1, 5}, at::kDouble);
  inputs.extras = {at::zeros({1, length, 1}, at::kDouble), at::ones({1, length, 1}, at::kDouble)};
  const LinearAttentionResult result = findLinearAttention("gated_delta_rule")->forward(inputs);
  EXPECT_LT(distance(result.o_BTHV, inputs.v_BTHV), 1e-12);
  EXPECT_LT(distance(result.state_BHKV[0][0], inputs.v_BTHV[0].slice(0, length - width).select(1, 0)), 1e-12);
}

TEST(GatedDeltaRuleTest, ZeroBetaWritesNothing) {
  Sizes sizes;
  LinearAttentionInputs inputs = inputsOf("gated_delta_rule", sizes, at::kDouble, true);
  inputs.extras[0].zero_();
  inputs.extras[1].zero_();
  const LinearAttentionResult result = findLinearAttention("gated_delta_rule")->forward(inputs);
  EXPECT_TRUE(at::equal(result.state_BHKV, inputs.state_BHKV));
  const at::Tensor expected = kScale * at::einsum("bthk,bhkv->bthv", {inputs.q_BTHK, inputs.state_BHKV});
  EXPECT_LT(distance(result.o_BTHV, expected), 1e-12);
}

TEST(FixedDecayTest, IsTheDecayedSumOfScores) {
  Sizes sizes;
  const LinearAttentionInputs inputs = inputsOf("fixed_decay", sizes, at::kDouble, false);
  const at::Tensor positions = at::arange(sizes.length, at::kDouble);
  const at::Tensor ages = positions.unsqueeze(1) - positions.unsqueeze(0);
  const at::Tensor decays = (inputs.extras[0].view({-1, 1, 1}) * ages).exp().tril();
  const at::Tensor scores = at::einsum("bthk,bshk->bhts", {inputs.q_BTHK, inputs.k_BTHK}) * decays * kScale;
  const at::Tensor expected = at::einsum("bhts,bshv->bthv", {scores, inputs.v_BTHV});
  EXPECT_LT(distance(findLinearAttention("fixed_decay")->forward(inputs).o_BTHV, expected), 1e-12);
}

TEST(LinearAttentionOpTest, UnknownKindIsRefusedByName) {
  const at::Tensor x = at::zeros({1, 1, 1, 1});
  try {
    runKernel("linear_attention", {x, x, x, {}},
              {{"kind", std::string("delta_net")}, {"scale", 1.0}, {"chunk", int64_t{64}}});
    FAIL() << "expected an error";
  } catch (const c10::Error &error) {
    EXPECT_NE(std::string(error.what()).find("'delta_net'; known are 'fixed_decay', 'gated_delta_rule'"),
              std::string::npos);
  }
}

} // namespace
} // namespace morph
