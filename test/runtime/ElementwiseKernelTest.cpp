// SPDX-License-Identifier: Apache-2.0
// The interpreted form of every elementwise op against its definition: as it runs and as autograd records it, in fp32
// and fp64, and its derivatives.

#include "RunKernel.h"
#include "test/kernels/ElementwiseCases.h"

#include "runtime/weights/Initialize.h"

#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <set>

namespace morph {
namespace {

using Tensors = std::vector<at::Tensor>;

Tensors makeOperands(const ElementwiseCase &test) {
  Tensors operands;
  for (char letter : test.operands)
    operands.push_back(seededNormal(letter == 'w' ? at::IntArrayRef({33}) : at::IntArrayRef({4, 33}), 3, 3,
                                    test.op + std::to_string(operands.size()), at::kDouble));
  // Where a piecewise op has its corner.
  operands[0].view(-1)[0] = 0;
  for (size_t i = 0; i < operands.size(); ++i)
    if (test.operands[i] == 'p')
      operands[i].exp_();
  return operands;
}

Tensors converted(const Tensors &tensors, at::ScalarType type) {
  Tensors result;
  for (const at::Tensor &tensor : tensors)
    result.push_back(tensor.to(type));
  return result;
}

double largest(const at::Tensor &tensor) { return tensor.abs().max().item<double>(); }

TEST(ElementwiseKernelTest, EveryElementwiseOpHasACase) {
  std::set<std::string> cases;
  for (const ElementwiseCase &test : elementwiseCases())
    cases.insert(test.op);
  for (const std::string &op : plan::opNames())
    EXPECT_EQ(plan::findOpRule(op)->elementwise, cases.count(op) == 1) << op;
}

TEST(ElementwiseKernelTest, AgreesWithItsDefinition) {
  for (const ElementwiseCase &test : elementwiseCases())
    for (at::ScalarType type : {at::kFloat, at::kDouble})
      for (bool isReference : {false, true}) {
        const Tensors operands = converted(makeOperands(test), type), before = converted(operands, at::kDouble);
        const Tensors expected = test.definition(before);
        const Tensors results = runKernel(test.op, operands, test.attributes, isReference);
        ASSERT_EQ(results.size(), expected.size()) << test.op;
        for (size_t i = 0; i < results.size(); ++i) {
          EXPECT_EQ(results[i].scalar_type(), type) << test.op;
          EXPECT_LE(largest(results[i].to(at::kDouble) - expected[i]),
                    (type == at::kFloat ? 1e-6 : 1e-14) * largest(expected[i]))
              << test.op << " " << test.operands << " result " << i;
        }
        for (size_t i = 0; i < operands.size(); ++i)
          EXPECT_TRUE(at::equal(operands[i].to(at::kDouble), before[i])) << test.op << " wrote operand " << i;
      }
}

/// The gradients of the sum of all results by all operands.
Tensors differentiate(const Tensors &operands, const std::function<Tensors(const Tensors &)> &function) {
  c10::AutoGradMode record(true);
  Tensors inputs;
  for (const at::Tensor &operand : operands)
    inputs.push_back(operand.detach().clone().requires_grad_(true));
  at::Tensor sum = at::zeros({}, at::kDouble);
  for (const at::Tensor &result : function(inputs))
    sum = sum + result.sum();
  sum.backward();
  Tensors gradients;
  for (const at::Tensor &input : inputs)
    gradients.push_back(input.grad());
  return gradients;
}

// runRecording is the oracle of the compiler's gradients: a reference must have the derivatives of what it computes.
TEST(ElementwiseKernelTest, ReferencesHaveTheDerivativesOfTheirDefinitions) {
  for (const ElementwiseCase &test : elementwiseCases()) {
    if (!findKernel(test.op)->reference)
      continue;
    const Tensors operands = makeOperands(test);
    const Tensors expected = differentiate(operands, test.definition);
    const Tensors gradients = differentiate(
        operands, [&](const Tensors &in) { return runKernel(test.op, in, test.attributes, /*reference=*/true); });
    for (size_t i = 0; i < expected.size(); ++i)
      EXPECT_LE(largest(gradients[i] - expected[i]), 1e-12 * (1 + largest(expected[i])))
          << test.op << " " << test.operands << " operand " << i;
  }
}

TEST(ElementwiseKernelTest, DerivativesStandLargeNumbers) {
  const at::Tensor x = at::tensor({-1e4, -800.0, -100.0, 100.0, 800.0, 1e4}, at::kDouble);
  for (const char *op : {"sigmoid", "silu", "softplus", "gelu_tanh"}) {
    const at::Tensor slope = differentiate({x}, [&](const Tensors &in) { return runKernel(op, in, {}, true); })[0];
    EXPECT_TRUE(at::isfinite(slope).all().item<bool>()) << op << ": " << slope;
  }
}

} // namespace
} // namespace morph
