// SPDX-License-Identifier: Apache-2.0
#include "runtime/plan/OpTable.h"

#include <algorithm>

namespace morph::plan {

namespace {

OperandRule one(const char *name) { return {name, Arity::One, false, false}; }
OperandRule factor(const char *name) { return {name, Arity::One, false, true}; }
OperandRule maybe(const char *name) { return {name, Arity::Optional, false, false}; }
OperandRule many(const char *name) { return {name, Arity::Variadic, false, false}; }
OperandRule index(const char *name) { return {name, Arity::One, true, false}; }
OperandRule maybeIndex(const char *name) { return {name, Arity::Optional, true, false}; }
AttributeRule integer(const char *name) { return {name, AttributeKind::Integer, true}; }
AttributeRule real(const char *name) { return {name, AttributeKind::Real, true}; }
AttributeRule text(const char *name) { return {name, AttributeKind::Text, true}; }
AttributeRule maybeInteger(const char *name) { return {name, AttributeKind::Integer, false}; }
AttributeRule flag(const char *name) { return {name, AttributeKind::Flag, false}; }

std::map<std::string, OpRule> makeTable() {
  const OperandRule x = one("x"), dy = one("dy");
  const std::vector<std::string> result = {"result"};
  std::vector<OpRule> rules = {
      {"embedding", {index("ids"), one("table")}, {}, result},
      {"linear", {factor("x"), factor("weight"), maybe("bias")}, {}, result},
      {"rms_norm", {x, one("weight")}, {real("eps")}, result},
      {"l2_norm", {x}, {real("eps")}, result},
      {"split_heads", {x}, {integer("heads")}, result},
      {"merge_heads", {x}, {}, result},
      {"take_rows", {x, index("positions")}, {}, result},
      {"last_rows", {x}, {}, result},
      {"mask_padding", {x, index("start"), index("offset")}, {}, result},
      {"add", {one("lhs"), one("rhs")}, {}, result},
      {"mul", {one("lhs"), one("rhs")}, {}, result},
      {"scale", {x}, {real("factor")}, result},
      {"exp", {x}, {}, result},
      {"sigmoid", {x}, {}, result},
      {"silu", {x}, {}, result},
      {"softplus", {x}, {}, result},
      {"swiglu", {one("gate"), x}, {}, result},
      {"rope", {x, maybeIndex("offset")}, {text("table"), flag("inverse")}, result},
      {"attention",
       {one("q"), one("k"), one("v"), maybeIndex("start")},
       {real("scale"), maybeInteger("window")},
       result},
      {"concat", {one("past"), x}, {}, result},
      {"linear_attention",
       {one("q"), one("k"), one("v"), many("extras"), maybe("state")},
       {text("kind"), real("scale"), integer("chunk")},
       {"result", "final_state"}},
      {"short_conv", {x, one("weight"), maybe("state")}, {}, {"result", "final_state"}},
      {"blend", {one("gate"), many("candidates")}, {}, result},
      // Losses and measures.
      {"token_nll", {one("logits"), index("targets")}, {}, result},
      {"kl_divergence", {one("teacher"), one("student")}, {}, result},
      {"correct", {one("logits"), index("targets")}, {}, result},
      {"squared_error", {x, one("target")}, {text("normalize")}, result},
      {"weighted_mean", {x, one("weights")}, {}, result},
      {"stack", {many("scalars")}, {}, result},
      // Gradients.
      {"ones", {}, {}, result},
      {"reduce_to", {x}, {integer("rank")}, result},
      {"embedding_grad", {dy, index("ids")}, {integer("rows")}, result},
      {"linear_input_grad", {factor("dy"), factor("weight")}, {}, result},
      {"linear_weight_grad", {factor("dy"), factor("x")}, {}, result},
      {"rms_norm_input_grad", {dy, x, one("weight")}, {real("eps")}, result},
      {"rms_norm_weight_grad", {dy, x}, {real("eps")}, result},
      {"l2_norm_grad", {dy, x}, {real("eps")}, result},
      {"scatter_rows", {dy, index("positions"), one("like")}, {}, result},
      {"silu_grad", {dy, x}, {}, result},
      {"sigmoid_grad", {dy, one("y")}, {}, result},
      {"swiglu_grad", {dy, one("gate"), x}, {}, {"dgate", "dx"}},
      {"blend_gate_grad", {dy, many("candidates")}, {}, result},
      {"blend_candidate_grad", {dy, one("gate")}, {integer("index")}, result},
      {"attention_grad",
       {dy, one("q"), one("k"), one("v"), maybeIndex("start")},
       {real("scale"), maybeInteger("window")},
       {"dq", "dk", "dv"}},
      {"linear_attention_grad",
       {dy, one("q"), one("k"), one("v"), many("extras"), maybe("state")},
       {text("kind"), real("scale"), integer("chunk")},
       {"dq", "dk", "dv", "dextras..."}},
      {"short_conv_grad", {dy, x, one("weight"), maybe("state")}, {}, {"dx", "dweight"}},
      {"token_nll_grad", {dy, one("logits"), index("targets")}, {}, result},
      {"kl_divergence_grad", {dy, one("teacher"), one("student")}, {}, result},
      {"squared_error_grad", {dy, x, one("target")}, {text("normalize")}, result},
      {"weighted_mean_grad", {dy, one("weights")}, {}, result},
  };
  std::map<std::string, OpRule> table;
  for (OpRule &rule : rules) {
    // The sizes of variadic operands are attributes like the others.
    for (const OperandRule &operand : rule.operands)
      if (operand.arity == Arity::Variadic)
        rule.attributes.push_back(integer((operand.name + "_count").c_str()));
    if (rule.results.back() == "dextras...")
      rule.attributes.push_back(maybeInteger("dextras_count"));
    table[rule.name] = rule;
  }
  return table;
}

const std::map<std::string, OpRule> &table() {
  static const std::map<std::string, OpRule> rules = makeTable();
  return rules;
}

int64_t slots(const Instruction &instruction, const OperandRule &operand) {
  return operand.arity == Arity::Variadic ? variadicCount(instruction, operand.name) : 1;
}

} // namespace

const OpRule *findOpRule(const std::string &op) {
  auto found = table().find(op);
  return found == table().end() ? nullptr : &found->second;
}

std::vector<std::string> opNames() {
  std::vector<std::string> names;
  for (const auto &[name, rule] : table())
    names.push_back(name);
  return names;
}

int64_t variadicCount(const Instruction &instruction, const std::string &name) {
  auto found = instruction.attributes.find(name + "_count");
  const int64_t *count = found == instruction.attributes.end() ? nullptr : std::get_if<int64_t>(&found->second);
  // Bounded, so that a hostile count cannot overflow the sums below.
  return count ? std::clamp<int64_t>(*count, 0, 1 << 20) : 0;
}

int64_t operandPosition(const Instruction &instruction, const OpRule &rule, const std::string &name) {
  int64_t position = 0;
  for (const OperandRule &operand : rule.operands) {
    if (operand.name == name)
      return position;
    position += slots(instruction, operand);
  }
  return -1;
}

const OperandRule &operandRuleAt(const Instruction &instruction, const OpRule &rule, size_t position) {
  int64_t end = 0;
  for (const OperandRule &operand : rule.operands) {
    end += slots(instruction, operand);
    if (static_cast<int64_t>(position) < end)
      return operand;
  }
  return rule.operands.back();
}

size_t expectedOperands(const Instruction &instruction, const OpRule &rule) {
  int64_t count = 0;
  for (const OperandRule &operand : rule.operands)
    count += slots(instruction, operand);
  return static_cast<size_t>(count);
}

size_t expectedResults(const Instruction &instruction, const OpRule &rule) {
  if (rule.results.back() == "dextras...")
    return rule.results.size() - 1 + static_cast<size_t>(variadicCount(instruction, "extras"));
  return rule.results.size();
}

std::string shapeText(const std::vector<Dim> &shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) {
    const int64_t *size = std::get_if<int64_t>(&shape[i]);
    text += (i ? "," : "") + (size ? std::to_string(*size) : std::get<std::string>(shape[i]));
  }
  return text + "]";
}

} // namespace morph::plan
