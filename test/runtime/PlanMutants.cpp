// SPDX-License-Identifier: Apache-2.0
#include "PlanMutants.h"

#include "runtime/plan/InferShapes.h"
#include "runtime/plan/Updates.h"
#include "test/fuzz/PlanRunner.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <random>

namespace morph {

namespace {

/// Draws for one mutant.
class Draws {
public:
  explicit Draws(uint64_t seed) : engine(seed * 0x9e3779b97f4a7c15 + 1) {}
  int64_t below(int64_t limit) {
    return limit <= 0 ? 0 : static_cast<int64_t>(engine() % static_cast<uint64_t>(limit));
  }
  bool oneIn(int64_t count) { return below(count) == 0; }
  template <typename T> const T &of(const std::vector<T> &items) {
    return items[static_cast<size_t>(below(items.size()))];
  }

private:
  std::mt19937_64 engine;
};

plan::Dim randomDim(Draws &draws) {
  static const std::vector<std::string> names = {"B", "T", "S", "N", "Z"};
  if (draws.oneIn(2))
    return draws.of(names);
  return draws.of(std::vector<int64_t>{1, 1, 2, 3, 4, 6, 8, 11});
}

plan::Attribute randomAttribute(const plan::AttributeRule &rule, const plan::Plan &plan, Draws &draws) {
  switch (rule.kind) {
  case plan::AttributeKind::Flag:
    return true;
  case plan::AttributeKind::Integer:
    return draws.of(std::vector<int64_t>{0, 1, 1, 1, 2, 2, 3, 4, 8, -1, 64, 1 << 16, INT64_MAX, INT64_MIN});
  case plan::AttributeKind::Real:
    return draws.of(std::vector<double>{0, 1, 1e-6, 0.5, -1, 3e38, -3e38, 1e-45});
  case plan::AttributeKind::Text:
    break;
  }
  static const std::vector<std::string> kinds = {"mean", "rows", "relative"}, types = {"f32", "bf16"};
  if (rule.name == "normalize")
    return draws.of(kinds);
  if (rule.name == "kernel" && !plan.kernels.empty())
    return draws.of(plan.kernels).name;
  if (rule.name == "dtype")
    return draws.of(types);
  return plan.ropeTables.empty() ? std::string("rope") : plan.ropeTables.begin()->first;
}

/// Builds the mutant instruction by instruction, so that every value that it names is there.
class Rebuilder {
public:
  Rebuilder(const plan::Plan &old, Draws &draws) : old(old), draws(draws), numbers(old.values.size(), -1) {}

  plan::Plan run() {
    plan.model = old.model;
    plan.program = old.program;
    plan.ropeTables = old.ropeTables;
    plan.kernels = old.kernels;
    for (const plan::NamedValue &input : old.inputs) {
      plan.inputs.push_back({input.name, define(input.value)});
      updates.addOutside(plan.inputs.back().value, true);
    }
    for (size_t i = 0; i < old.weights.size(); ++i) {
      plan.weights.push_back(old.weights[i]);
      plan.weightValues.push_back(define(old.weightValues[i]));
      updates.addOutside(plan.weightValues.back(), false);
    }
    for (const plan::Instruction &instruction : old.instructions)
      addInstruction(instruction);
    for (const plan::NamedValue &output : old.outputs)
      if (output.name.rfind("grad.", 0) != 0)
        plan.outputs.push_back(
            {output.name, number(output.value, [](plan::DType type) { return type != plan::DType::I64; })});
    plan.outputs.erase(std::remove_if(plan.outputs.begin(), plan.outputs.end(),
                                      [&](const plan::NamedValue &output) { return !isThere(output.value); }),
                       plan.outputs.end());
    int64_t last = static_cast<int64_t>(plan.values.size()) - 1;
    while (last > 0 && !isThere(last))
      --last;
    plan.outputs.push_back({"last", last});
    addGradients();
    return std::move(plan);
  }

private:
  const plan::Plan &old;
  Draws &draws;
  plan::Plan plan;
  plan::UpdateRules updates;
  std::vector<int64_t> numbers; ///< New numbers of old values.

  /// Whether nothing has updated the memory in which a value lies.
  bool isThere(int64_t value) const { return updates.read(value, "").ok(); }

  int64_t define(int64_t value) {
    plan.values.push_back(old.values[static_cast<size_t>(value)]);
    return numbers[static_cast<size_t>(value)] = static_cast<int64_t>(plan.values.size()) - 1;
  }

  /// The new number of an old value; one of the values that there are, of a type that `takes`, where it has none.
  int64_t number(int64_t value, const std::function<bool(plan::DType)> &takes) {
    auto fits = [&](int64_t known) { return takes(plan.values[static_cast<size_t>(known)].dtype); };
    int64_t known =
        value >= 0 && value < static_cast<int64_t>(numbers.size()) ? numbers[static_cast<size_t>(value)] : -1;
    if (known >= 0 && fits(known))
      return known;
    for (int tries = 0; tries < 20; ++tries)
      if (int64_t other = draws.below(plan.values.size()); fits(other))
        return other;
    return 0;
  }

  void addInstruction(plan::Instruction instruction) {
    const plan::OpRule &rule = *plan::findOpRule(instruction.op);
    std::vector<int64_t> results = instruction.results;
    instruction.operands.resize(plan::expectedOperands(instruction, rule), -2);
    std::optional<plan::DType> factors;
    for (size_t i = 0; i < instruction.operands.size(); ++i) {
      const plan::OperandRule &operand = plan::operandRuleAt(instruction, rule, i);
      int64_t &value = instruction.operands[i];
      if (plan.values.empty())
        return;
      value = value == -1 && operand.arity == plan::Arity::Optional ? -1 : number(value, [&](plan::DType type) {
        if (operand.index || type == plan::DType::I64)
          return operand.index == (type == plan::DType::I64);
        return type == plan::DType::F32 ? factors != plan::DType::BF16 || !operand.factor
                                        : operand.half && (!operand.factor || factors != plan::DType::F32);
      });
      if (operand.factor)
        factors = plan.values[static_cast<size_t>(value)].dtype;
    }
    plan::BoundSizes sizes;
    auto inferred = plan::inferResults(plan, instruction, sizes);
    if (!inferred.ok())
      return; // What read its results reads something else.
    plan::UpdateRules after = updates;
    instruction.results.clear();
    for (size_t i = 0; i < inferred->size(); ++i)
      instruction.results.push_back(static_cast<int64_t>(plan.values.size() + i));
    if (!after.addInstruction(instruction, rule).ok())
      return;
    updates = std::move(after);
    instruction.results.clear();
    for (size_t i = 0; i < inferred->size(); ++i) {
      plan.values.push_back((*inferred)[i]);
      instruction.results.push_back(static_cast<int64_t>(plan.values.size()) - 1);
      if (i < results.size() && results[i] >= 0)
        numbers[static_cast<size_t>(results[i])] = instruction.results.back();
    }
    plan.instructions.push_back(std::move(instruction));
  }

  /// A trainable weight keeps a gradient of its shape or is frozen.
  void addGradients() {
    for (size_t i = 0; i < plan.weights.size(); ++i) {
      plan::Weight &weight = plan.weights[i];
      const auto &shape = plan.values[static_cast<size_t>(plan.weightValues[i])].shape;
      std::vector<int64_t> fitting;
      for (size_t value = 0; value < plan.values.size(); ++value)
        if (plan.values[value].shape == shape && plan.values[value].dtype == plan::DType::F32 &&
            isThere(static_cast<int64_t>(value)))
          fitting.push_back(static_cast<int64_t>(value));
      weight.trainable = weight.trainable && weight.teacherOf.empty() && !fitting.empty();
      if (weight.trainable)
        plan.outputs.push_back({"grad." + weight.name, draws.of(fitting)});
    }
  }
};

void changeOnce(plan::Plan &plan, Draws &draws) {
  auto anyValue = [&] { return draws.below(plan.values.size()); };
  plan::Instruction *instruction = plan.instructions.empty()
                                       ? nullptr
                                       : &plan.instructions[static_cast<size_t>(draws.below(plan.instructions.size()))];
  switch (draws.below(instruction ? 9 : 3)) {
  case 0: { // A size of an input.
    if (plan.inputs.empty())
      return;
    auto &shape = plan.values[static_cast<size_t>(draws.of(plan.inputs).value)].shape;
    if (draws.oneIn(6) || shape.empty())
      shape.push_back(randomDim(draws));
    else if (draws.oneIn(6))
      shape.pop_back();
    else
      shape[static_cast<size_t>(draws.below(shape.size()))] = randomDim(draws);
    return;
  }
  case 1: { // A size of a weight.
    if (plan.weights.empty())
      return;
    size_t i = static_cast<size_t>(draws.below(plan.weights.size()));
    std::vector<int64_t> &shape = plan.weights[i].shape;
    if (shape.empty() || draws.oneIn(6))
      shape.push_back(draws.below(4) + 1);
    else
      shape[static_cast<size_t>(draws.below(shape.size()))] = draws.below(8) + 1;
    plan.weights[i].init.reset();
    plan.weights[i].gate = false;
    plan.weights[i].layer = -1;
    plan.values[static_cast<size_t>(plan.weightValues[i])].shape.assign(shape.begin(), shape.end());
    return;
  }
  case 2: { // How a weight begins.
    if (plan.weights.empty())
      return;
    plan::Weight &weight = plan.weights[static_cast<size_t>(draws.below(plan.weights.size()))];
    static const std::vector<std::string> kinds = {"copy", "repeat_heads", "constant", "normal", "values"};
    weight.teacherOf.clear();
    weight.init = plan::Init{draws.of(kinds), draws.of(plan.weights).name,         draws.below(4),
                             draws.below(4),  static_cast<double>(draws.below(3)), {}};
    if (weight.init->kind == "values")
      weight.init->values.assign(static_cast<size_t>(draws.below(4)), 0.25);
    return;
  }
  case 3: // Another operand.
    if (!instruction->operands.empty())
      instruction->operands[static_cast<size_t>(draws.below(instruction->operands.size()))] =
          draws.oneIn(4) ? -1 : anyValue();
    return;
  case 4: // The same operand twice.
    if (!instruction->operands.empty())
      instruction->operands[static_cast<size_t>(draws.below(instruction->operands.size()))] =
          draws.of(instruction->operands);
    return;
  case 5: { // An attribute.
    const plan::OpRule &rule = *plan::findOpRule(instruction->op);
    if (rule.attributes.empty())
      return;
    const plan::AttributeRule &attribute = draws.of(rule.attributes);
    if (!attribute.required && draws.oneIn(2))
      instruction->attributes.erase(attribute.name);
    else
      instruction->attributes[attribute.name] = randomAttribute(attribute, plan, draws);
    return;
  }
  case 6:
  case 7: { // Another op, in the place of this one or beside it.
    static const std::vector<std::string> names = plan::opNames();
    plan::Instruction made{draws.of(names), instruction->operands, {}, {}};
    const plan::OpRule &rule = *plan::findOpRule(made.op);
    for (const plan::AttributeRule &attribute : rule.attributes) {
      plan::Attribute value = randomAttribute(attribute, plan, draws);
      if (attribute.name.size() > 6 && attribute.name.rfind("_count") == attribute.name.size() - 6)
        value = draws.below(4);
      if (attribute.required || draws.oneIn(3))
        made.attributes[attribute.name] = value;
    }
    std::shuffle(made.operands.begin(), made.operands.end(), std::mt19937_64(draws.below(1 << 30)));
    made.operands.resize(plan::expectedOperands(made, rule));
    for (int64_t &operand : made.operands)
      if (draws.oneIn(2))
        operand = draws.oneIn(5) ? -1 : anyValue();
    if (draws.oneIn(2))
      made.results = instruction->results;
    *instruction = std::move(made);
    return;
  }
  default: // Another place, or a second time.
    size_t from = static_cast<size_t>(instruction - plan.instructions.data());
    plan::Instruction copy = *instruction;
    if (draws.oneIn(2))
      plan.instructions.erase(plan.instructions.begin() + static_cast<int64_t>(from));
    plan.instructions.insert(plan.instructions.begin() + draws.below(plan.instructions.size() + 1), std::move(copy));
    return;
  }
}

} // namespace

plan::Plan mutatePlan(const plan::Plan &plan, uint64_t seed) {
  Draws draws(seed);
  plan::Plan changed = plan;
  for (int64_t changes = 1 + draws.below(6); changes > 0; --changes)
    changeOnce(changed, draws);
  return Rebuilder(changed, draws).run();
}

bool runMutant(const plan::Plan &plan, uint64_t seed) {
  auto parsed = plan::parsePlan(plan::printPlan(mutatePlan(plan, seed)), "mutant");
  if (!parsed.ok())
    return false;
  fuzz::runPlan(*std::move(parsed), seed);
  return true;
}

} // namespace morph
