// SPDX-License-Identifier: Apache-2.0
// The shape rule of every op. Legend: B batch, T positions, S cached positions, C channels, H heads, G key-value heads,
// D head dimension, K and V key and value dimensions, N rows, I and O inputs and outputs, W taps.

#include "runtime/plan/OpTable.h"

#include <functional>

namespace morph::plan {

namespace {

using Shape = std::vector<Dim>;

bool agree(const Dim &a, const Dim &b) {
  const int64_t *x = std::get_if<int64_t>(&a), *y = std::get_if<int64_t>(&b);
  return !x || !y || *x == *y;
}

/// Reads an instruction's operands while collecting the first thing that is wrong.
class Reader {
public:
  Reader(const Plan &plan, const Instruction &instruction, const std::vector<const Shape *> &operands)
      : plan(plan), instruction(instruction), rule(*findOpRule(instruction.op)), operands(operands) {}

  const Plan &plan;
  const Instruction &instruction;
  const OpRule &rule;
  const std::vector<const Shape *> &operands;
  Status error;

  void fail(const std::string &message) {
    if (error.ok())
      error = Status::invalid(message);
  }
  void require(bool condition, const std::string &message) {
    if (!condition)
      fail(message);
  }
  int64_t integer(const char *name) const { return std::get<int64_t>(instruction.attributes.at(name)); }
  const std::string &text(const char *name) const { return std::get<std::string>(instruction.attributes.at(name)); }
  bool has(const char *name) const { return operands[operandPosition(instruction, rule, name)] != nullptr; }

  /// The shape of an operand, which must have `rank` dimensions (any number of them from `atLeast` where rank is -1). A
  /// wrong one is replaced by names, so that what follows can index it.
  Shape get(const char *name, int64_t rank, int64_t atLeast = 0, int64_t nth = 0) {
    const Shape *shape = operands[operandPosition(instruction, rule, name) + nth];
    bool fits = shape && (rank < 0 ? static_cast<int64_t>(shape->size()) >= atLeast
                                   : static_cast<int64_t>(shape->size()) == rank);
    if (fits)
      return *shape;
    fail("operand '" + std::string(name) + "' " + (shape ? "has shape " + shapeText(*shape) : "is absent") +
         ", expected " + (rank < 0 ? "at least " + std::to_string(atLeast) : std::to_string(rank)) + " dimensions");
    return Shape(static_cast<size_t>(rank < 0 ? atLeast : rank), Dim(std::string("?")));
  }
  void same(const char *name, const Shape &shape, const Shape &expected) {
    bool equal = shape.size() == expected.size();
    for (size_t i = 0; equal && i < shape.size(); ++i)
      equal = agree(shape[i], expected[i]);
    require(equal,
            "operand '" + std::string(name) + "' has shape " + shapeText(shape) + ", expected " + shapeText(expected));
  }
  Shape getLike(const char *name, const Shape &expected, int64_t nth = 0) {
    Shape shape = get(name, static_cast<int64_t>(expected.size()), 0, nth);
    same(name, shape, expected);
    return shape;
  }
};

Shape withLast(Shape shape, const Dim &last) {
  shape.back() = last;
  return shape;
}

Dim sum(const Dim &a, const Dim &b) {
  const int64_t *x = std::get_if<int64_t>(&a), *y = std::get_if<int64_t>(&b);
  if (x && y)
    return Dim(*x + *y);
  auto name = [](const Dim &dim) {
    const int64_t *size = std::get_if<int64_t>(&dim);
    return size ? std::to_string(*size) : std::get<std::string>(dim);
  };
  return Dim(name(a) + "+" + name(b));
}

using Shapes = std::vector<Shape>;
using Rule = std::function<Shapes(Reader &)>;

Shapes linear(Reader &r) {
  Shape x = r.get("x", -1, 1), weight = r.get("weight", 2);
  r.same("weight", weight, {weight[0], x.back()});
  if (r.has("bias"))
    r.getLike("bias", {weight[0]});
  return {withLast(x, weight[0])};
}

Shapes binary(Reader &r) {
  Shape lhs = r.get("lhs", -1), rhs = r.get("rhs", -1);
  if (rhs.size() > lhs.size())
    r.fail("operand 'rhs' has shape " + shapeText(rhs) + ", expected the trailing dimensions of " + shapeText(lhs));
  else
    r.same("rhs", rhs, Shape(lhs.end() - static_cast<int64_t>(rhs.size()), lhs.end()));
  return {lhs};
}

Shapes splitHeads(Reader &r) {
  Shape x = r.get("x", 3);
  int64_t heads = r.integer("heads");
  const int64_t *width = std::get_if<int64_t>(&x[2]);
  bool fits = width && heads > 0 && *width % heads == 0;
  r.require(fits, "operand 'x' has shape " + shapeText(x) + ", which does not split into " + std::to_string(heads) +
                      " heads");
  return {{x[0], x[1], Dim(heads), Dim(fits ? *width / heads : 1)}};
}

Shapes mergeHeads(Reader &r) {
  Shape x = r.get("x", 4);
  const int64_t *heads = std::get_if<int64_t>(&x[2]), *width = std::get_if<int64_t>(&x[3]);
  r.require(heads && width, "operand 'x' has shape " + shapeText(x) + ", expected known heads and head dimension");
  return {{x[0], x[1], Dim(heads && width ? *heads * *width : 1)}};
}

Shapes rope(Reader &r) {
  Shape x = r.get("x", 4);
  if (r.has("offset"))
    r.get("offset", 0);
  auto table = r.plan.ropeTables.find(r.text("table"));
  if (table == r.plan.ropeTables.end()) {
    r.fail("the plan has no rope table '" + r.text("table") + "'");
    return {x};
  }
  const int64_t *width = std::get_if<int64_t>(&x[3]);
  r.require(width && 2 * static_cast<int64_t>(table->second.inverseFrequencies.size()) <= *width,
            "operand 'x' has shape " + shapeText(x) + ", expected at least " +
                std::to_string(2 * table->second.inverseFrequencies.size()) + " elements a head for table '" +
                r.text("table") + "'");
  return {x};
}

void attentionOperands(Reader &r, Shape &q, Shape &k, Shape &v) {
  q = r.get("q", 4);
  k = r.get("k", 4);
  v = r.get("v", 4);
  r.same("k", k, {q[0], k[1], k[2], q[3]});
  r.same("v", v, k);
  const int64_t *heads = std::get_if<int64_t>(&q[2]), *groups = std::get_if<int64_t>(&k[2]);
  r.require(heads && groups && *groups > 0 && *heads % *groups == 0,
            "operand 'q' has shape " + shapeText(q) + ", expected a multiple of the heads of 'k' " + shapeText(k));
  if (r.has("start"))
    r.getLike("start", {q[0]});
  auto window = r.instruction.attributes.find("window");
  r.require(window == r.instruction.attributes.end() || std::get<int64_t>(window->second) > 0,
            "attribute 'window' must be positive");
}

Shapes attention(Reader &r) {
  Shape q, k, v;
  attentionOperands(r, q, k, v);
  return {q};
}

Shapes attentionGrad(Reader &r) {
  Shape q, k, v;
  attentionOperands(r, q, k, v);
  r.getLike("dy", q);
  return {q, k, v};
}

void linearAttentionOperands(Reader &r, Shape &q, Shape &v, Shape &state) {
  q = r.get("q", 4);
  r.getLike("k", q);
  v = r.get("v", 4);
  r.same("v", v, {q[0], q[1], q[2], v[3]});
  state = {q[0], q[2], q[3], v[3]};
  if (r.has("state"))
    r.getLike("state", state);
  for (int64_t i = 0; i < variadicCount(r.instruction, "extras"); ++i)
    r.get("extras", -1, 0, i);
  r.require(r.integer("chunk") > 0 && r.integer("chunk") <= 1 << 16, "attribute 'chunk' must be from 1 to 65536");
}

Shapes linearAttention(Reader &r) {
  Shape q, v, state;
  linearAttentionOperands(r, q, v, state);
  return {v, state};
}

Shapes linearAttentionGrad(Reader &r) {
  Shape q, v, state;
  linearAttentionOperands(r, q, v, state);
  r.getLike("dy", v);
  Shapes results = {q, q, v};
  for (int64_t i = 0; i < variadicCount(r.instruction, "extras"); ++i)
    results.push_back(r.get("extras", -1, 0, i));
  return results;
}

void shortConvOperands(Reader &r, Shape &x, Shape &weight, Shape &state) {
  x = r.get("x", 3);
  weight = r.get("weight", 3);
  r.same("weight", weight, {x[2], Dim(int64_t(1)), weight[2]});
  const int64_t *taps = std::get_if<int64_t>(&weight[2]);
  r.require(taps != nullptr, "operand 'weight' must have known sizes");
  state = {x[0], Dim(taps ? *taps - 1 : 0), x[2]};
  if (r.has("state"))
    r.getLike("state", state);
}

Shapes shortConv(Reader &r) {
  Shape x, weight, state;
  shortConvOperands(r, x, weight, state);
  return {x, state};
}

Shapes shortConvGrad(Reader &r) {
  Shape x, weight, state;
  shortConvOperands(r, x, weight, state);
  r.getLike("dy", x);
  return {x, weight};
}

Shape candidates(Reader &r, int64_t &count) {
  count = variadicCount(r.instruction, "candidates");
  if (count < 2) {
    r.fail("expected at least two candidates");
    return {};
  }
  Shape first = r.get("candidates", -1);
  for (int64_t i = 1; i < count; ++i)
    r.getLike("candidates", first, i);
  return first;
}

Shapes blend(Reader &r) {
  int64_t count = 0;
  Shape first = candidates(r, count);
  r.getLike("gate", {Dim(count - 1)});
  return {first};
}

Shapes blendGateGrad(Reader &r) {
  int64_t count = 0;
  Shape first = candidates(r, count);
  r.getLike("dy", first);
  return {{Dim(count - 1)}};
}

Shapes blendCandidateGrad(Reader &r) {
  Shape dy = r.get("dy", -1), gate = r.get("gate", 1);
  const int64_t *gates = std::get_if<int64_t>(&gate[0]);
  r.require(gates && r.integer("index") >= 0 && r.integer("index") <= *gates,
            "attribute 'index' names no candidate of a gate of shape " + shapeText(gate));
  return {dy};
}

Shapes rowLoss(Reader &r) {
  Shape logits = r.get("logits", 2);
  r.getLike("targets", {logits[0]});
  return {{logits[0]}};
}

void normalizeKind(Reader &r) {
  const std::string &kind = r.text("normalize");
  r.require(kind == "mean" || kind == "rows" || kind == "relative",
            "attribute 'normalize' is '" + kind + "', expected mean, rows or relative");
}

Shapes stack(Reader &r) {
  int64_t count = variadicCount(r.instruction, "scalars");
  r.require(count > 0, "expected at least one scalar");
  for (int64_t i = 0; i < count; ++i)
    r.get("scalars", 0, 0, i);
  return {{Dim(count)}};
}

Shapes reduceTo(Reader &r) {
  Shape x = r.get("x", -1);
  int64_t rank = r.integer("rank");
  if (rank < 0 || rank > static_cast<int64_t>(x.size())) {
    r.fail("attribute 'rank' is " + std::to_string(rank) + ", expected 0 to " + std::to_string(x.size()));
    return {x};
  }
  return {Shape(x.end() - rank, x.end())};
}

/// All listed operands have the shape of the first, which is also that of each result.
Rule alike(std::vector<const char *> names, size_t results = 1) {
  return [names, results](Reader &r) {
    Shape first = r.get(names[0], -1);
    for (size_t i = 1; i < names.size(); ++i)
      r.getLike(names[i], first);
    return Shapes(results, first);
  };
}

const std::map<std::string, Rule> &rules() {
  static const std::map<std::string, Rule> table = {
      {"embedding",
       [](Reader &r) -> Shapes {
         Shape ids = r.get("ids", -1), table = r.get("table", 2);
         ids.push_back(table[1]);
         return {ids};
       }},
      {"linear", linear},
      {"rms_norm",
       [](Reader &r) -> Shapes {
         Shape x = r.get("x", -1, 1);
         r.getLike("weight", {x.back()});
         return {x};
       }},
      {"l2_norm", [](Reader &r) -> Shapes { return {r.get("x", -1, 1)}; }},
      {"split_heads", splitHeads},
      {"merge_heads", mergeHeads},
      {"take_rows",
       [](Reader &r) -> Shapes {
         Shape x = r.get("x", 3), positions = r.get("positions", 1);
         return {{positions[0], x[2]}};
       }},
      {"last_rows",
       [](Reader &r) -> Shapes {
         Shape x = r.get("x", 3);
         return {{x[0], x[2]}};
       }},
      {"mask_padding",
       [](Reader &r) -> Shapes {
         Shape x = r.get("x", 3);
         r.getLike("start", {x[0]});
         r.get("offset", 0);
         return {x};
       }},
      {"add", binary},
      {"mul", binary},
      {"scale", alike({"x"})},
      {"exp", alike({"x"})},
      {"sigmoid", alike({"x"})},
      {"silu", alike({"x"})},
      {"softplus", alike({"x"})},
      {"swiglu", alike({"gate", "x"})},
      {"rope", rope},
      {"attention", attention},
      {"attention_grad", attentionGrad},
      {"concat",
       [](Reader &r) -> Shapes {
         Shape past = r.get("past", -1, 2), x = r.get("x", static_cast<int64_t>(past.size()));
         Shape expected = past;
         expected[1] = x[1];
         r.same("x", x, expected);
         expected[1] = sum(past[1], x[1]);
         return {expected};
       }},
      {"linear_attention", linearAttention},
      {"linear_attention_grad", linearAttentionGrad},
      {"short_conv", shortConv},
      {"short_conv_grad", shortConvGrad},
      {"blend", blend},
      {"blend_gate_grad", blendGateGrad},
      {"blend_candidate_grad", blendCandidateGrad},
      {"token_nll", rowLoss},
      {"correct", rowLoss},
      {"kl_divergence",
       [](Reader &r) -> Shapes {
         Shape teacher = r.get("teacher", 2);
         r.getLike("student", teacher);
         return {{teacher[0]}};
       }},
      {"squared_error",
       [](Reader &r) -> Shapes {
         r.getLike("target", r.get("x", -1, 1));
         normalizeKind(r);
         return {{}};
       }},
      {"weighted_mean",
       [](Reader &r) -> Shapes {
         r.getLike("weights", r.get("x", 1));
         return {{}};
       }},
      {"stack", stack},
      {"ones", [](Reader &) -> Shapes { return {{}}; }},
      {"reduce_to", reduceTo},
      {"embedding_grad",
       [](Reader &r) -> Shapes {
         Shape ids = r.get("ids", -1), dy = r.get("dy", static_cast<int64_t>(ids.size()) + 1);
         r.same("ids", ids, Shape(dy.begin(), dy.end() - 1));
         r.require(r.integer("rows") > 0 && r.integer("rows") < int64_t(1) << 40, "attribute 'rows' is out of range");
         return {{Dim(r.integer("rows")), dy.back()}};
       }},
      {"linear_input_grad",
       [](Reader &r) -> Shapes {
         Shape dy = r.get("dy", -1, 1), weight = r.get("weight", 2);
         r.same("weight", weight, {dy.back(), weight[1]});
         return {withLast(dy, weight[1])};
       }},
      {"linear_weight_grad",
       [](Reader &r) -> Shapes {
         Shape dy = r.get("dy", -1, 1), x = r.get("x", static_cast<int64_t>(dy.size()), 1);
         r.same("x", x, withLast(dy, x.back()));
         return {{dy.back(), x.back()}};
       }},
      {"rms_norm_input_grad",
       [](Reader &r) -> Shapes {
         Shape x = r.get("x", -1, 1);
         r.getLike("dy", x);
         r.getLike("weight", {x.back()});
         return {x};
       }},
      {"rms_norm_weight_grad",
       [](Reader &r) -> Shapes {
         Shape x = r.get("x", -1, 1);
         r.getLike("dy", x);
         return {{x.back()}};
       }},
      {"l2_norm_grad",
       [](Reader &r) -> Shapes {
         Shape x = r.get("x", -1, 1);
         r.getLike("dy", x);
         return {x};
       }},
      {"scatter_rows",
       [](Reader &r) -> Shapes {
         Shape like = r.get("like", 3), positions = r.get("positions", 1);
         r.getLike("dy", {positions[0], like[2]});
         return {like};
       }},
      {"silu_grad", alike({"dy", "x"})},
      {"sigmoid_grad", alike({"dy", "y"})},
      {"swiglu_grad", alike({"dy", "gate", "x"}, 2)},
      {"token_nll_grad",
       [](Reader &r) -> Shapes {
         Shape logits = r.get("logits", 2);
         r.getLike("targets", {logits[0]});
         r.getLike("dy", {logits[0]});
         return {logits};
       }},
      {"kl_divergence_grad",
       [](Reader &r) -> Shapes {
         Shape teacher = r.get("teacher", 2);
         r.getLike("student", teacher);
         r.getLike("dy", {teacher[0]});
         return {teacher};
       }},
      {"squared_error_grad",
       [](Reader &r) -> Shapes {
         Shape x = r.get("x", -1, 1);
         r.getLike("target", x);
         r.get("dy", 0);
         normalizeKind(r);
         return {x};
       }},
      {"weighted_mean_grad",
       [](Reader &r) -> Shapes {
         r.get("dy", 0);
         return {r.get("weights", 1)};
       }},
  };
  return table;
}

} // namespace

StatusOr<std::vector<std::vector<Dim>>> inferShapes(const Plan &plan, const Instruction &instruction,
                                                    const std::vector<const std::vector<Dim> *> &operands) {
  auto rule = rules().find(instruction.op);
  if (rule == rules().end())
    return Status::invalid("no shape rule for this op");
  Reader reader(plan, instruction, operands);
  std::vector<std::vector<Dim>> shapes = rule->second(reader);
  if (!reader.error.ok())
    return reader.error;
  return shapes;
}

} // namespace morph::plan
