// SPDX-License-Identifier: Apache-2.0
// Builds plans for tests, shapes inferred.

#ifndef MORPH_TEST_PLAN_PLANBUILDER_H
#define MORPH_TEST_PLAN_PLANBUILDER_H

#include "runtime/plan/OpTable.h"

#include <gtest/gtest.h>

namespace morph {

class PlanBuilder {
public:
  plan::Plan plan;

  explicit PlanBuilder(const std::string &program = "test") {
    plan.model = "model";
    plan.program = program;
  }

  int64_t input(const std::string &name, std::vector<plan::Dim> shape, plan::DType dtype = plan::DType::F32) {
    int64_t value = define(std::move(shape), dtype);
    plan.inputs.push_back({name, value});
    return value;
  }
  int64_t weight(const std::string &name, const std::vector<int64_t> &shape, bool trainable = false,
                 plan::DType dtype = plan::DType::F32) {
    plan::Weight weight;
    weight.name = name;
    weight.shape = shape;
    weight.dtype = dtype;
    weight.trainable = trainable;
    int64_t value = define(std::vector<plan::Dim>(shape.begin(), shape.end()), plan::DType::F32);
    plan.weights.push_back(weight);
    plan.weightValues.push_back(value);
    return value;
  }
  std::vector<int64_t> ops(const std::string &op, const std::vector<int64_t> &operands,
                           const std::map<std::string, plan::Attribute> &attributes = {}) {
    plan::Instruction instruction{op, operands, {}, attributes};
    std::vector<const std::vector<plan::Dim> *> shapes;
    for (int64_t operand : operands)
      shapes.push_back(operand < 0 ? nullptr : &plan.values[static_cast<size_t>(operand)].shape);
    auto results = plan::inferShapes(plan, instruction, shapes);
    EXPECT_TRUE(results.ok()) << op << ": " << results.status().message();
    for (auto &shape : *results)
      instruction.results.push_back(define(shape, plan::DType::F32));
    plan.instructions.push_back(instruction);
    return instruction.results;
  }
  int64_t op(const std::string &op, const std::vector<int64_t> &operands,
             const std::map<std::string, plan::Attribute> &attributes = {}) {
    return ops(op, operands, attributes)[0];
  }
  void output(const std::string &name, int64_t value) { plan.outputs.push_back({name, value}); }

private:
  int64_t define(std::vector<plan::Dim> shape, plan::DType dtype) {
    plan.values.push_back({std::move(shape), dtype});
    return static_cast<int64_t>(plan.values.size()) - 1;
  }
};

/// A two-matrix language model with a trained norm and a trained matrix: embedding, rms_norm, linear, residual, rows,
/// head, KL to logits given as an input; its gradients are written out as the compiler would.
inline plan::Plan smallTrainingPlan() {
  PlanBuilder b("distill");
  using plan::Dim;
  Dim batch = std::string("B"), length = std::string("T"), rows = std::string("N");
  int64_t tokens = b.input("tokens", {batch, length}, plan::DType::I64);
  int64_t positions = b.input("positions", {rows}, plan::DType::I64);
  int64_t weights = b.input("weights", {rows});
  int64_t teacher = b.input("teacher_logits", {rows, Dim(int64_t(11))});
  int64_t table = b.weight("embed.weight", {11, 6});
  int64_t norm = b.weight("norm.weight", {6}, true);
  int64_t matrix = b.weight("proj.weight", {6, 6}, true);
  int64_t head = b.weight("head.weight", {11, 6});
  std::map<std::string, plan::Attribute> eps = {{"eps", 1e-5}};
  int64_t x = b.op("embedding", {tokens, table});
  int64_t h = b.op("rms_norm", {x, norm}, eps);
  int64_t y = b.op("linear", {h, matrix, -1});
  int64_t s = b.op("add", {x, y});
  int64_t taken = b.op("take_rows", {s, positions});
  int64_t logits = b.op("linear", {taken, head, -1});
  int64_t kl = b.op("kl_divergence", {teacher, logits});
  int64_t loss = b.op("weighted_mean", {kl, weights});
  int64_t dkl = b.op("weighted_mean_grad", {b.op("ones", {}), weights});
  int64_t dlogits = b.op("kl_divergence_grad", {dkl, teacher, logits});
  int64_t dtaken = b.op("linear_input_grad", {dlogits, head});
  int64_t ds = b.op("scatter_rows", {dtaken, positions, s});
  int64_t dmatrix = b.op("linear_weight_grad", {ds, h});
  int64_t dh = b.op("linear_input_grad", {ds, matrix});
  int64_t dnorm = b.op("rms_norm_weight_grad", {dh, x}, eps);
  b.output("loss", loss);
  b.output("grad.norm.weight", dnorm);
  b.output("grad.proj.weight", dmatrix);
  return b.plan;
}

} // namespace morph

#endif // MORPH_TEST_PLAN_PLANBUILDER_H
