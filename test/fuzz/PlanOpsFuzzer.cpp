// SPDX-License-Identifier: Apache-2.0
// Plans made from bytes op by op, so that every input reaches the kernels: operands are any values that the op's shape
// rule takes, however odd together.

#include "PlanRunner.h"

#include "runtime/plan/InferShapes.h"
#include "runtime/plan/Updates.h"

using namespace morph;

namespace {

using plan::Dim;

/// The input as a stream of choices; zeros after its end.
class Choices {
public:
  Choices(const uint8_t *data, size_t size) : next_(data), end_(data + size) {}
  size_t below(size_t bound) { return next_ == end_ ? 0 : *next_++ % bound; }
  template <typename List> const auto &pick(const List &list) { return list[below(std::size(list))]; }
  bool empty() const { return next_ == end_; }

private:
  const uint8_t *next_, *end_;
};

class PlanMaker {
public:
  explicit PlanMaker(Choices choices) : choices(choices) {
    plan.model = "model";
    plan.program = "fuzz";
    plan.ropeTables["rope"] = {{1.0, 0.5}, 1.0};
    // x + x by rows of 4.
    plan::Kernel twice{"twice", 2, {}, 1, {}, {1}, {0}};
    twice.values.assign(2, {{name("R0"), name("R1"), Dim(int64_t(4))}, plan::DType::F32});
    twice.instructions = {{"add", {0, 0}, {1}, {}}};
    plan.kernels.push_back(std::move(twice));
  }

  plan::Plan make() {
    addInput("tokens", {name("B"), name("T")}, plan::DType::I64);
    addInput("positions", {name("N")}, plan::DType::I64);
    addInput("start", {name("B")}, plan::DType::I64);
    addInput("offset", {name("B")}, plan::DType::I64);
    for (size_t count = 2 + choices.below(6); count > 0; --count)
      addFloat();
    for (size_t count = 1 + choices.below(8); count > 0 && !choices.empty(); --count)
      addInstruction();
    for (int64_t value = 0; value < static_cast<int64_t>(plan.values.size()); ++value)
      if (plan.values[static_cast<size_t>(value)].dtype != plan::DType::I64 && updates.read(value, "").ok())
        plan.outputs.push_back({"v" + std::to_string(value), value});
    return std::move(plan);
  }

private:
  Choices choices;
  plan::Plan plan;
  plan::UpdateRules updates;

  static Dim name(const char *text) { return Dim(std::string(text)); }

  int64_t define(std::vector<Dim> shape, plan::DType dtype) {
    plan.values.push_back({std::move(shape), dtype});
    return static_cast<int64_t>(plan.values.size()) - 1;
  }
  void addInput(const std::string &called, std::vector<Dim> shape, plan::DType dtype) {
    plan.inputs.push_back({called, define(std::move(shape), dtype)});
    updates.addOutside(plan.inputs.back().value, true);
  }

  /// A float input, or a weight where all sizes are numbers.
  void addFloat() {
    const Dim dims[] = {name("B"),       name("T"),       name("N"),       name("S"),       Dim(int64_t(1)),
                        Dim(int64_t(2)), Dim(int64_t(4)), Dim(int64_t(8)), Dim(int64_t(3)), name("M")};
    const std::vector<Dim> menu[] = {
        {dims[0], dims[1], dims[6]},
        {dims[0], dims[1], dims[7]},
        {dims[0], dims[1], dims[5], dims[6]},
        {dims[0], dims[9], dims[5], dims[6]},
        {dims[2], dims[7]},
        {dims[6]},
        {dims[7]},
        {dims[7], dims[6]},
        {dims[6], dims[6]},
        {dims[4]},
        {dims[5]},
        {},
        {dims[2]},
        {dims[0], dims[1]},
        {dims[0], dims[5], dims[6], dims[6]},
        {dims[0], dims[1], dims[5]},
        {dims[6], dims[4], dims[8]},
        {dims[0], dims[3], dims[5], dims[6]},
    };
    std::vector<Dim> shape;
    if (choices.below(4))
      shape = choices.pick(menu);
    else
      for (size_t rank = choices.below(5); rank > 0; --rank)
        shape.push_back(choices.pick(dims));
    std::string called = "x" + std::to_string(plan.values.size());
    plan::Weight weight;
    for (const Dim &dim : shape)
      if (const int64_t *size = std::get_if<int64_t>(&dim))
        weight.shape.push_back(*size);
    if (shape.empty() || weight.shape.size() < shape.size() || choices.below(2))
      return addInput(called, shape, plan::DType::F32);
    weight.name = called;
    plan.weights.push_back(weight);
    plan.weightValues.push_back(define(shape, plan::DType::F32));
    updates.addOutside(plan.weightValues.back(), false);
  }

  plan::Attribute attribute(const plan::AttributeRule &rule) {
    const int64_t integers[] = {1, 2, 0, 3, 4, 8, 16, -1, 1 << 16, int64_t(1) << 31, int64_t(1) << 62};
    const double reals[] = {1e-5, 1, 0, 0.5, -1, 1e30};
    const std::string texts[] = {"rope", "relative", "mean", "rows", "bf16", "f32", "twice", "none"};
    switch (rule.kind) {
    case plan::AttributeKind::Flag:
      return true;
    case plan::AttributeKind::Integer:
      return choices.pick(integers);
    case plan::AttributeKind::Real:
      return choices.pick(reals);
    case plan::AttributeKind::Text:
      return choices.pick(texts);
    }
    return false;
  }

  int64_t operand(const plan::OperandRule &rule) {
    std::vector<int64_t> fitting;
    for (size_t value = 0; value < plan.values.size(); ++value) {
      const plan::DType type = plan.values[value].dtype;
      if (rule.index ? type == plan::DType::I64 : type == plan::DType::F32 || (rule.half && type == plan::DType::BF16))
        fitting.push_back(static_cast<int64_t>(value));
    }
    return choices.pick(fitting);
  }

  void addInstruction() {
    static const std::vector<std::string> ops = plan::opNames();
    const plan::OpRule &rule = *plan::findOpRule(choices.pick(ops));
    for (int attempt = 0; attempt < 32 && !choices.empty(); ++attempt) {
      plan::Instruction instruction;
      instruction.op = rule.name;
      for (const plan::AttributeRule &one : rule.attributes)
        if (one.required || choices.below(2))
          instruction.attributes[one.name] = attribute(one);
      for (const plan::OperandRule &one : rule.operands)
        if (one.arity == plan::Arity::Variadic)
          instruction.attributes[one.name + "_count"] = static_cast<int64_t>(choices.below(4));
      size_t slots = plan::expectedOperands(instruction, rule);
      for (size_t i = 0; i < slots; ++i) {
        const plan::OperandRule &one = plan::operandRuleAt(instruction, rule, i);
        bool absent = one.arity == plan::Arity::Optional && choices.below(2);
        instruction.operands.push_back(absent ? -1 : operand(one));
      }
      plan::BoundSizes sizes;
      auto results = plan::inferResults(plan, instruction, sizes);
      if (!results.ok())
        continue;
      for (size_t i = 0; i < results->size(); ++i)
        instruction.results.push_back(static_cast<int64_t>(plan.values.size() + i));
      plan::UpdateRules after = updates;
      if (!after.addInstruction(instruction, rule).ok())
        continue;
      updates = std::move(after);
      for (plan::TensorType &type : *results)
        define(std::move(type.shape), type.dtype);
      plan.instructions.push_back(std::move(instruction));
      return;
    }
  }
};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  plan::Plan plan = PlanMaker(Choices(data, size)).make();
  if (plan::validate(plan).ok())
    fuzz::runPlan(std::move(plan), size);
  return 0;
}
