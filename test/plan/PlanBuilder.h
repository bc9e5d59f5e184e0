// SPDX-License-Identifier: Apache-2.0
// Builds plans for tests, shapes inferred.

#ifndef MORPH_TEST_PLAN_PLANBUILDER_H
#define MORPH_TEST_PLAN_PLANBUILDER_H

#include "runtime/plan/InferShapes.h"

#include <gtest/gtest.h>

namespace morph {

class PlanBuilder {
public:
  plan::Plan plan;

  explicit PlanBuilder(const std::string &program = "test") {
    plan.model = "model";
    plan.program = program;
  }
  /// Goes on with a plan.
  explicit PlanBuilder(plan::Plan plan) : plan(std::move(plan)) {}

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
  /// Optional operands at the end may be left out.
  std::vector<int64_t> ops(const std::string &op, std::vector<int64_t> operands,
                           const std::map<std::string, plan::Attribute> &attributes = {}) {
    const std::vector<plan::OperandRule> &rules = plan::findOpRule(op)->operands;
    while (operands.size() < rules.size() && rules.back().arity == plan::Arity::Optional)
      operands.push_back(-1);
    plan::Instruction instruction{op, operands, {}, attributes};
    plan::BoundSizes sizes;
    auto results = plan::inferResults(plan, instruction, sizes);
    EXPECT_TRUE(results.ok()) << op << ": " << results.status().message();
    for (const plan::TensorType &type : *results)
      instruction.results.push_back(define(type.shape, type.dtype));
    plan.instructions.push_back(instruction);
    return instruction.results;
  }
  /// Adds the kernel and launches it.
  std::vector<int64_t> launch(const plan::Kernel &kernel, const std::vector<int64_t> &operands) {
    plan.kernels.push_back(kernel);
    return ops("launch", operands,
               {{"kernel", kernel.name}, {"arguments_count", static_cast<int64_t>(operands.size())}});
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

struct UpdateSettings {
  double clip = 0; ///< 0: not.
  double beta1 = 0.9, beta2 = 0.999, weightDecay = 0;
};

/// The plan with what the compiler makes of its gradients: sums in its inputs, and the program of a step.
inline plan::Plan withUpdate(plan::Plan plan, const UpdateSettings &settings = {}) {
  PlanBuilder b(std::move(plan)), step(b.plan.program + "_update");
  const int64_t share = b.input("share", {});
  for (plan::NamedValue &output : b.plan.outputs)
    if (output.name.rfind("grad.", 0) == 0) {
      const int64_t sum = b.input(output.name, b.plan.values[static_cast<size_t>(output.value)].shape);
      output.value = b.op("accumulate", {sum, output.value, share});
    }
  const int64_t rate = step.input("rate", {}), number = step.input("step", {}, plan::DType::I64);
  std::vector<int64_t> gradients, parameters;
  for (const plan::Weight &weight : b.plan.weights)
    if (weight.trainable) {
      const std::vector<plan::Dim> shape(weight.shape.begin(), weight.shape.end());
      gradients.push_back(step.input("grad." + weight.name, shape));
      parameters.push_back(step.weight(weight.name, weight.shape, true));
    }
  const int64_t norm = step.op("global_norm", gradients, {{"tensors_count", static_cast<int64_t>(gradients.size())}});
  step.output("norm", norm);
  for (size_t i = 0; i < gradients.size(); ++i) {
    const plan::Weight weight = step.plan.weights[i];
    const std::vector<plan::Dim> shape(weight.shape.begin(), weight.shape.end());
    const int64_t first = step.input("exp_avg." + weight.name, shape);
    const int64_t second = step.input("exp_avg_sq." + weight.name, shape);
    const int64_t gradient =
        settings.clip > 0 ? step.op("clip", {gradients[i], norm}, {{"limit", settings.clip}}) : gradients[i];
    const std::vector<int64_t> results = step.ops("adamw", {parameters[i], gradient, first, second, rate, number},
                                                  {{"beta1", settings.beta1},
                                                   {"beta2", settings.beta2},
                                                   {"epsilon", 1e-8},
                                                   {"weight_decay", shape.size() >= 2 ? settings.weightDecay : 0}});
    step.output("exp_avg." + weight.name, results[1]);
    step.output("exp_avg_sq." + weight.name, results[2]);
  }
  b.plan.update = std::make_shared<const plan::Plan>(std::move(step.plan));
  return b.plan;
}

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

/// A plan that has every op, with gradients that mean nothing: what validation and execution are tried on.
inline plan::Plan everyOpPlan() {
  PlanBuilder b("test");
  using plan::Dim;
  using Attributes = std::map<std::string, plan::Attribute>;
  Dim batch = std::string("B"), length = std::string("T"), rows = std::string("N");
  b.plan.ropeTables["rope"] = {{1, 0.1}, 1};
  const Attributes eps = {{"eps", 1e-5}}, heads = {{"heads", int64_t(2)}}, mean = {{"normalize", std::string("mean")}};
  const Attributes window = {{"scale", 0.5}, {"window", int64_t(5)}}, two = {{"candidates_count", int64_t(2)}};
  const Attributes rule = {{"scale", 0.5}, {"chunk", int64_t(2)}};
  Attributes keeps = rule;
  keeps["keep_states"] = keeps["keep_written"] = true;
  const Attributes normalised = {{"scale", 0.5}, {"chunk", int64_t(2)}, {"normaliser", 1.0}};

  int64_t tokens = b.input("tokens", {batch, length}, plan::DType::I64);
  int64_t positions = b.input("positions", {rows}, plan::DType::I64);
  int64_t targets = b.input("targets", {rows}, plan::DType::I64);
  int64_t start = b.input("start", {batch}, plan::DType::I64);
  int64_t offset = b.input("offset", {batch}, plan::DType::I64);
  int64_t weights = b.input("weights", {rows});
  int64_t teacher = b.input("teacher_logits", {rows, Dim(int64_t(11))});
  int64_t table = b.weight("embed.weight", {11, 8}, true), norm = b.weight("norm.weight", {8});
  int64_t matrix = b.weight("proj.weight", {8, 8}), bias = b.weight("proj.bias", {8});
  int64_t head = b.weight("head.weight", {11, 8}, true), narrow = b.weight("narrow.weight", {2, 8});
  int64_t taps = b.weight("conv.weight", {8, 1, 3}), gate = b.weight("gate", {1});

  int64_t x = b.op("mask_padding", {b.op("embedding", {tokens, table}), start, offset});
  int64_t h = b.op("l2_norm", {b.op("rms_norm", {x, norm}, eps)}, eps);
  int64_t y = b.op("split_heads", {b.op("linear", {h, matrix, bias})}, heads);
  int64_t q = b.op("rope", {y, offset}, {{"table", std::string("rope")}});
  const int64_t ring =
      b.op("cache_write", {b.input("cache", {batch, Dim(int64_t(16)), Dim(int64_t(2)), Dim(int64_t(4))}), q, offset});
  int64_t attended = b.op("merge_heads", {b.op("attention", {q, ring, ring, start, offset}, window)});
  int64_t half = b.op("cast", {h}, {{"dtype", std::string("bf16")}});
  int64_t conv = b.ops("short_conv", {b.op("cast", {half}, {{"dtype", std::string("f32")}}), taps, -1})[0];
  int64_t g = b.op("linear", {conv, narrow, -1});
  int64_t decay = b.op("scale", {b.op("softplus", {g})}, {{"factor", -1.0}}), beta = b.op("sigmoid", {g});
  // The delta rule; and all other operands that go together, with q and k that heads share.
  std::vector<int64_t> linear = b.ops("linear_attention", {q, q, y, -1, decay, -1, beta, -1, -1, -1, -1}, keeps);
  const int64_t shared =
      b.op("split_heads", {b.op("sigmoid", {b.op("linear", {h, b.weight("shared.weight", {4, 8}), -1})})},
           {{"heads", int64_t(1)}});
  const int64_t channels = b.op("scale", {b.op("softplus", {y})}, {{"factor", -1.0}}),
                bonus = b.weight("bonus", {2, 4});
  const std::vector<int64_t> free = {shared, shared, y, -1, -1, channels, -1, q, y, bonus, -1};
  std::vector<int64_t> ofFree = b.ops("linear_attention", free, normalised);
  int64_t merged = b.op("merge_heads", {b.op("add", {linear[0], ofFree[0]})});
  int64_t mixed = b.op("add", {x, b.op("blend", {gate, attended, merged}, two)});
  plan::Kernel kernel{"add_silu", 2, {}, 2, {}, {3}, {0}};
  kernel.values.assign(4, {{Dim(std::string("R0")), Dim(std::string("R1")), Dim(int64_t(8))}, plan::DType::F32});
  kernel.instructions = {{"add", {0, 1}, {2}, {}}, {"silu", {2}, {3}, {}}};
  mixed = b.launch(kernel, {mixed, h})[0];
  int64_t product = b.op("mul", {b.op("silu", {mixed}), b.op("exp", {h})});
  int64_t out = b.op("swiglu", {product, mixed});
  const Attributes single = {{"active", int64_t(1)}}, router = {{"count", int64_t(1)}, {"normalised", true}};
  const int64_t choices = b.op("linear", {out, narrow, -1}), routing = b.op("top_k_softmax", {choices}, router);
  const int64_t gateUp = b.weight("gate_up", {2, 6, 8}), down = b.weight("down", {2, 8, 3});
  out = b.op("add", {out, b.op("experts", {out, routing, gateUp, down}, single)});
  int64_t taken = b.op("take_rows", {out, positions}), logits = b.op("linear", {taken, head, -1});
  int64_t loss = b.op("weighted_mean", {b.op("token_nll", {logits, targets}), weights});
  int64_t kl = b.op("weighted_mean", {b.op("kl_divergence", {teacher, logits}), weights});
  int64_t top = b.op("keep_top", {teacher}, {{"count", int64_t(3)}});
  int64_t reverse = b.op("weighted_mean", {b.op("reverse_kl_divergence", {top, logits}), weights});
  int64_t distance = b.op("squared_error", {attended, merged}, mean);

  int64_t one = b.op("ones", {}), dnll = b.op("weighted_mean_grad", {one, weights});
  int64_t dlogits = b.op("token_nll_grad", {dnll, logits, targets});
  int64_t dkl = b.op("kl_divergence_grad", {dnll, teacher, logits});
  int64_t dreverse = b.op("reverse_kl_divergence_grad", {dnll, top, logits});
  int64_t dout = b.op("scatter_rows", {b.op("linear_input_grad", {dlogits, head}), positions, out});
  int64_t dheads = b.op("split_heads", {dout}, heads);
  std::vector<int64_t> leaves = {
      b.op("last_rows", {out}), b.op("correct", {logits, targets}), dkl, dreverse, reverse, linear[1], ofFree[1], ring};
  auto keep = [&](const std::vector<int64_t> &values) { leaves.insert(leaves.end(), values.begin(), values.end()); };
  plan::Kernel sums{"silu_reduce_to", 2, {}, 1, {}, {1, 2}, {0, -1}};
  sums.values = {kernel.values[0], kernel.values[0], {{Dim(int64_t(8))}, plan::DType::F32}};
  sums.instructions = {{"silu", {0}, {1}, {}}, {"reduce_to", {1}, {2}, {{"rank", int64_t(1)}}}};
  keep(b.launch(sums, {dout}));
  for (const std::string &op : plan::opNames())
    if (const plan::OpRule &rule = *plan::findOpRule(op); rule.elementwise && rule.attributes.empty()) {
      const std::vector<int64_t> operands = {dout, product, mixed};
      keep(b.ops(op, {operands.begin(), operands.begin() + static_cast<int>(rule.operands.size())}));
    }
  keep(b.ops("sum_last", {b.op("expand", {b.op("offset", {dout}, {{"term", 0.5}})}, {{"width", int64_t(3)}})}));
  keep(b.ops("position_mean", {out}));
  keep(b.ops("attention_distance", {q, y}, window));
  keep(b.ops("rms_norm_input_grad", {dout, x, norm}, eps));
  keep(b.ops("rms_norm_weight_grad", {dout, x}, eps));
  keep(b.ops("l2_norm_grad", {dout, x}, eps));
  keep(b.ops("reduce_to", {dout}, {{"rank", int64_t(1)}}));
  keep(b.ops("blend_gate_grad", {dout, attended, merged}, two));
  keep(b.ops("blend_candidate_grad", {dout, gate}, {{"index", int64_t(0)}}));
  keep(b.ops("squared_error_grad", {one, attended, merged}, mean));
  Attributes keepsSums = window;
  keepsSums["keep_lse"] = true;
  const std::vector<int64_t> kept = b.ops("attention", {q, q, q, start, -1}, keepsSums);
  keep(b.ops("attention_grad", {dheads, q, q, q, start, kept[0], kept[1]}, window));
  keep(b.ops("attention_grad", {dheads, q, q, q, start, -1, -1}, window));
  Attributes capped = window;
  capped["softcap"] = 0.5;
  keep(b.ops("attention", {q, q, q, -1, -1}, capped));
  keep(b.ops("attention_grad", {dheads, q, q, q, -1, -1, -1}, capped));
  keep(b.ops("attention_distance", {q, y}, capped));
  keep(b.ops("linear_attention_grad", {dheads, linear[2], linear[3], q, q, y, -1, decay, -1, beta, -1, -1, -1, -1},
             rule));
  std::vector<int64_t> ofGradient = {dheads, -1, -1};
  ofGradient.insert(ofGradient.end(), free.begin(), free.end());
  keep(b.ops("linear_attention_grad", ofGradient, normalised));
  keep(b.ops("short_conv_grad", {dout, h, taps, -1}));
  // Windows of several documents.
  const int64_t begins = b.input("begins", {batch, length}, plan::DType::I64);
  keep(b.ops("attention", {q, q, q, -1, -1, begins}, window));
  keep(b.ops("attention_grad", {dheads, q, q, q, -1, -1, -1, begins}, window));
  keep(b.ops("linear_attention", {q, q, y, -1, decay, -1, beta, -1, -1, -1, -1, begins}, rule));
  keep(b.ops("linear_attention_grad", {dheads, -1, -1, q, q, y, -1, decay, -1, beta, -1, -1, -1, -1, begins}, rule));
  keep(b.ops("short_conv", {h, taps, -1, begins}));
  keep(b.ops("short_conv_grad", {dout, h, taps, -1, begins}));
  const std::vector<int64_t> drouting = b.ops("experts_input_grad", {dout, product, routing, gateUp, down}, single);
  keep({drouting[0], b.op("top_k_softmax_grad", {drouting[1], choices, routing}, router)});
  keep(b.ops("experts_weight_grad", {dout, product, routing, gateUp, down}, single));
  b.output("loss", b.op("stack", {loss, kl, distance}, {{"scalars_count", int64_t(3)}}));
  for (size_t i = 0; i < leaves.size(); ++i)
    b.output("leaf." + std::to_string(i), leaves[i]);
  const int64_t dtable = b.op("embedding_grad", {dout, tokens}, {{"rows", int64_t(11)}});
  const int64_t dmatrix = b.op("linear_weight_grad", {dlogits, taken});
  b.output("grad.embed.weight", dtable);
  b.output("grad.head.weight", dmatrix);

  const int64_t totalNorm = b.op("global_norm", {dtable, dmatrix}, {{"tensors_count", int64_t(2)}});
  const int64_t rate = b.input("rate", {}), step = b.input("step", {}, plan::DType::I64);
  auto state = [&](const char *name) { return b.input(name, {Dim(int64_t(11)), Dim(int64_t(8))}); };
  const int64_t sum = b.op("accumulate", {state("sum"), dtable, rate});
  const int64_t clipped = b.op("clip", {sum, totalNorm}, {{"limit", 1.0}});
  const std::vector<int64_t> updated =
      b.ops("adamw", {state("parameter"), clipped, state("exp_avg"), state("exp_avg_sq"), rate, step},
            {{"beta1", 0.9}, {"beta2", 0.999}, {"epsilon", 1e-8}, {"weight_decay", 0.1}});
  for (size_t i = 0; i < updated.size(); ++i)
    b.output("updated." + std::to_string(i), updated[i]);
  return b.plan;
}

} // namespace morph

#endif // MORPH_TEST_PLAN_PLANBUILDER_H
