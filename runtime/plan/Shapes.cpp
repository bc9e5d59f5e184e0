// SPDX-License-Identifier: Apache-2.0
// The shape rule of every op. Legend: B batch, T positions, S cached positions, C channels, H heads, G key-value heads,
// D head dimension, K and V key and value dimensions, N rows, I and O inputs and outputs, W taps.

#include "runtime/plan/OpTable.h"

#include <algorithm>
#include <charconv>
#include <functional>

namespace morph::plan {

namespace {

using Shape = std::vector<Dim>;

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
    require(shape == expected,
            "operand '" + std::string(name) + "' has shape " + shapeText(shape) + ", expected " + shapeText(expected));
  }
  Shape getLike(const char *name, const Shape &expected, int64_t nth = 0) {
    Shape shape = get(name, static_cast<int64_t>(expected.size()), 0, nth);
    same(name, shape, expected);
    return shape;
  }
  /// Dimensions `from` and following of an operand must be numbers: kernels divide by them, and they bound indices.
  void known(const char *name, const Shape &shape, size_t from) {
    for (size_t i = from; i < shape.size(); ++i)
      require(std::holds_alternative<int64_t>(shape[i]),
              "operand '" + std::string(name) + "' has shape " + shapeText(shape) +
                  ", expected numbers from its dimension " + std::to_string(from) + " on");
  }
  /// An operand of at least one dimension whose last one is a number.
  Shape rows(const char *name, int64_t rank = -1) {
    Shape shape = get(name, rank, 1);
    known(name, shape, shape.size() - 1);
    return shape;
  }
  void notNegative(const char *name) {
    require(std::get<double>(instruction.attributes.at(name)) >= 0,
            "attribute '" + std::string(name) + "' must not be negative");
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
  Shape x = r.rows("x"), weight = r.rows("weight", 2);
  r.known("weight", weight, 0);
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
  r.known("x", x, 2);
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
  r.known("q", q, 2);
  r.same("k", k, {q[0], k[1], k[2], q[3]});
  r.same("v", v, k);
  const int64_t *heads = std::get_if<int64_t>(&q[2]), *groups = std::get_if<int64_t>(&k[2]);
  r.require(heads && groups && *groups > 0 && *heads % *groups == 0,
            "operand 'q' has shape " + shapeText(q) + ", expected a multiple of the heads of 'k' " + shapeText(k));
  if (r.has("start"))
    r.getLike("start", {q[0]});
  auto window = r.instruction.attributes.find("window");
  if (window != r.instruction.attributes.end())
    r.require(r.integer("window") > 0 && r.integer("window") <= kMaximumElements,
              "attribute 'window' must be from 1 to " + std::to_string(kMaximumElements));
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
  r.known("q", q, 2);
  r.getLike("k", q);
  v = r.rows("v", 4);
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
  auto count = r.instruction.attributes.find("dextras_count");
  r.require(count == r.instruction.attributes.end() ||
                r.integer("dextras_count") == variadicCount(r.instruction, "extras"),
            "attribute 'dextras_count' must be that of 'extras'");
  r.getLike("dy", v);
  Shapes results = {q, q, v};
  for (int64_t i = 0; i < variadicCount(r.instruction, "extras"); ++i)
    results.push_back(r.get("extras", -1, 0, i));
  return results;
}

void shortConvOperands(Reader &r, Shape &x, Shape &weight, Shape &state) {
  x = r.rows("x", 3);
  weight = r.rows("weight", 3);
  r.same("weight", weight, {x[2], Dim(int64_t(1)), weight[2]});
  const int64_t *taps = std::get_if<int64_t>(&weight[2]);
  r.require(!taps || *taps > 1, "operand 'weight' has shape " + shapeText(weight) + ", expected two taps or more");
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
  Shape logits = r.rows("logits", 2);
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
         r.known("table", table, 0);
         ids.push_back(table[1]);
         return {ids};
       }},
      {"linear", linear},
      {"rms_norm",
       [](Reader &r) -> Shapes {
         Shape x = r.rows("x");
         r.getLike("weight", {x.back()});
         r.notNegative("eps");
         return {x};
       }},
      {"l2_norm",
       [](Reader &r) -> Shapes {
         r.notNegative("eps");
         return {r.rows("x")};
       }},
      {"split_heads", splitHeads},
      {"merge_heads", mergeHeads},
      {"take_rows",
       [](Reader &r) -> Shapes {
         Shape x = r.rows("x", 3), positions = r.get("positions", 1);
         return {{positions[0], x[2]}};
       }},
      {"last_rows",
       [](Reader &r) -> Shapes {
         Shape x = r.rows("x", 3);
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
         Shape teacher = r.rows("teacher", 2);
         r.getLike("student", teacher);
         return {{teacher[0]}};
       }},
      {"squared_error",
       [](Reader &r) -> Shapes {
         r.getLike("target", r.rows("x"));
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
         Shape ids = r.get("ids", -1), dy = r.rows("dy", static_cast<int64_t>(ids.size()) + 1);
         r.same("ids", ids, Shape(dy.begin(), dy.end() - 1));
         r.require(r.integer("rows") > 0 && r.integer("rows") < kMaximumElements, "attribute 'rows' is out of range");
         return {{Dim(r.integer("rows")), dy.back()}};
       }},
      {"linear_input_grad",
       [](Reader &r) -> Shapes {
         Shape dy = r.rows("dy"), weight = r.rows("weight", 2);
         r.same("weight", weight, {dy.back(), weight[1]});
         return {withLast(dy, weight[1])};
       }},
      {"linear_weight_grad",
       [](Reader &r) -> Shapes {
         Shape dy = r.rows("dy"), x = r.rows("x", static_cast<int64_t>(dy.size()));
         r.same("x", x, withLast(dy, x.back()));
         return {{dy.back(), x.back()}};
       }},
      {"rms_norm_input_grad",
       [](Reader &r) -> Shapes {
         Shape x = r.rows("x");
         r.getLike("dy", x);
         r.getLike("weight", {x.back()});
         r.notNegative("eps");
         return {x};
       }},
      {"rms_norm_weight_grad",
       [](Reader &r) -> Shapes {
         Shape x = r.rows("x");
         r.getLike("dy", x);
         r.notNegative("eps");
         return {{x.back()}};
       }},
      {"l2_norm_grad",
       [](Reader &r) -> Shapes {
         Shape x = r.rows("x");
         r.getLike("dy", x);
         r.notNegative("eps");
         return {x};
       }},
      {"scatter_rows",
       [](Reader &r) -> Shapes {
         Shape like = r.rows("like", 3), positions = r.get("positions", 1);
         r.getLike("dy", {positions[0], like[2]});
         return {like};
       }},
      {"silu_grad", alike({"dy", "x"})},
      {"sigmoid_grad", alike({"dy", "y"})},
      {"swiglu_grad", alike({"dy", "gate", "x"}, 2)},
      {"token_nll_grad",
       [](Reader &r) -> Shapes {
         Shape logits = r.rows("logits", 2);
         r.getLike("targets", {logits[0]});
         r.getLike("dy", {logits[0]});
         return {logits};
       }},
      {"kl_divergence_grad",
       [](Reader &r) -> Shapes {
         Shape teacher = r.rows("teacher", 2);
         r.getLike("student", teacher);
         r.getLike("dy", {teacher[0]});
         return {teacher};
       }},
      {"squared_error_grad",
       [](Reader &r) -> Shapes {
         Shape x = r.rows("x");
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

StatusOr<int64_t> resolveDim(const Dim &dim, const std::map<std::string, int64_t> &sizes) {
  if (const int64_t *size = std::get_if<int64_t>(&dim))
    return *size;
  // A name, or a sum of names and numbers as `concat` makes them ("S+T").
  const std::string &name = std::get<std::string>(dim);
  int64_t total = 0;
  for (size_t begin = 0; begin <= name.size();) {
    size_t end = std::min(name.find('+', begin), name.size());
    std::string part = name.substr(begin, end - begin);
    begin = end + 1;
    int64_t size = 0;
    if (auto bound = sizes.find(part); bound != sizes.end())
      size = bound->second;
    else if (auto [last, error] = std::from_chars(part.data(), part.data() + part.size(), size);
             error != std::errc() || last != part.data() + part.size())
      return Status::invalid("the size '" + part + "' is not given");
    if (size < 0 || size > kMaximumElements - total)
      return Status::invalid("the size '" + name + "' is out of range: " + part + " is " + std::to_string(size));
    total += size;
  }
  return total;
}

StatusOr<std::vector<std::vector<int64_t>>> resolveShapes(const Plan &plan,
                                                          const std::map<std::string, int64_t> &sizes) {
  std::map<std::string, int64_t> known; // Every name is worked out once.
  std::vector<std::vector<int64_t>> shapes(plan.values.size());
  for (size_t value = 0; value < shapes.size(); ++value) {
    int64_t elements = 1;
    for (const Dim &dim : plan.values[value].shape) {
      const std::string *name = std::get_if<std::string>(&dim);
      auto found = name ? known.find(*name) : known.end();
      int64_t size = 0;
      if (found != known.end()) {
        size = found->second;
      } else {
        MORPH_ASSIGN_OR_RETURN(size, resolveDim(dim, sizes));
        if (name)
          known[*name] = size;
      }
      // A size of 0 does not make the others small: strides are computed from them all the same.
      if (elements > kMaximumElements / std::max<int64_t>(size, 1))
        return Status::invalid("value " + std::to_string(value) + " of shape " + shapeText(plan.values[value].shape) +
                                   " has more elements than can be addressed",
                               "use a smaller batch or length");
      elements *= std::max<int64_t>(size, 1);
      shapes[value].push_back(size);
    }
  }
  return shapes;
}

} // namespace morph::plan
