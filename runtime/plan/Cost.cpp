// SPDX-License-Identifier: Apache-2.0
#include "runtime/plan/Cost.h"

#include "runtime/plan/OpTable.h"

#include <algorithm>

namespace morph::plan {

namespace {

using Sizes = std::vector<int64_t>;

double product(const Sizes &shape, size_t begin = 0) {
  double elements = 1;
  for (size_t i = begin; i < shape.size(); ++i)
    elements *= static_cast<double>(shape[i]);
  return elements;
}

/// Pairs of a query and a key that causal attention of T queries over S keys computes.
double attentionPairs(int64_t queries, int64_t keys, int64_t window) {
  double pairs = 0;
  for (int64_t t = 0; t < queries; ++t)
    pairs += static_cast<double>(std::min(keys - queries + t + 1, window));
  return pairs;
}

class CostModel {
public:
  CostModel(const Plan &plan, const Instruction &instruction, const std::vector<Sizes> &shapes)
      : instruction(instruction), rule(*findOpRule(instruction.op)), shapes(shapes) {
    (void)plan;
  }

  double flops() const {
    const std::string &op = instruction.op;
    if (isProduct())
      return productFlops();
    if (op == "attention")
      return attention(4);
    if (op == "attention_grad")
      return attention(10);
    if (op == "linear_attention")
      return linearAttention();
    if (op == "linear_attention_grad")
      return 2.5 * linearAttention();
    if (op == "short_conv")
      return 2 * product(shape("x")) * static_cast<double>(shape("weight")[2]);
    if (op == "short_conv_grad")
      return 4 * product(shape("x")) * static_cast<double>(shape("weight")[2]);
    // Reading and writing cost more than the arithmetic here: some operations an element.
    double elements = 0;
    for (int64_t result : instruction.results)
      elements += product(shapes[static_cast<size_t>(result)]);
    for (const char *large : {"x", "logits", "student"})
      if (operandPosition(instruction, rule, large) >= 0)
        elements = std::max(elements, product(shape(large)));
    return 4 * elements;
  }

  bool isProduct() const {
    return instruction.op == "linear" || instruction.op == "linear_input_grad" ||
           instruction.op == "linear_weight_grad";
  }

private:
  const Instruction &instruction;
  const OpRule &rule;
  const std::vector<Sizes> &shapes;

  const Sizes &shape(const char *name) const {
    return shapes[static_cast<size_t>(
        instruction.operands[static_cast<size_t>(operandPosition(instruction, rule, name))])];
  }

  double productFlops() const {
    const Sizes &rows = shape(instruction.op == "linear" ? "x" : "dy");
    if (instruction.op == "linear_weight_grad")
      return 2 * product(rows) * static_cast<double>(shape("x").back());
    const Sizes &weight = shape("weight");
    return 2 * product(rows) / static_cast<double>(rows.back()) * product(weight);
  }

  double attention(double factor) const {
    const Sizes &q = shape("q"), &k = shape("k");
    auto found = instruction.attributes.find("window");
    int64_t window = found == instruction.attributes.end() ? k[1] : std::get<int64_t>(found->second);
    return factor * static_cast<double>(q[0] * q[2] * q[3]) * attentionPairs(q[1], k[1], window);
  }

  /// Per head and chunk of c positions: the scores among queries and keys and among keys (2 c^2 K each), the triangular
  /// solve and the scores' product with the values (c^2 V each, halves are skipped), three products with the state
  /// (2 c K V each).
  double linearAttention() const {
    const Sizes &k = shape("k"), &v = shape("v");
    double chunk = static_cast<double>(std::min(std::get<int64_t>(instruction.attributes.at("chunk")), k[1]));
    double keys = static_cast<double>(k[3]), values = static_cast<double>(v[3]);
    double aPosition = 4 * chunk * keys + 2 * chunk * values + 6 * keys * values;
    return static_cast<double>(k[0] * k[1] * k[2]) * aPosition;
  }
};

int64_t dtypeBytes(DType dtype) {
  switch (dtype) {
  case DType::F16:
  case DType::BF16:
    return 2;
  case DType::F32:
    return 4;
  case DType::F64:
  case DType::I64:
    return 8;
  }
  return 4;
}

/// Results that are views of their first operand and take no memory of their own.
bool isView(const std::string &op) { return op == "split_heads" || op == "merge_heads"; }

} // namespace

StatusOr<Cost> estimateCost(const Plan &plan, const std::map<std::string, int64_t> &sizes) {
  MORPH_RETURN_IF_ERROR(validate(plan));
  std::vector<std::vector<Dim>> dims(plan.values.size());
  std::vector<Sizes> shapes(plan.values.size());
  auto fix = [&](int64_t value, std::vector<Dim> shape, const std::string &what) -> Status {
    for (Dim &dim : shape) {
      if (const std::string *name = std::get_if<std::string>(&dim)) {
        auto found = sizes.find(*name);
        if (found == sizes.end())
          return Status::invalid("the size '" + *name + "' of " + what + " is not given");
        if (found->second < 0 || found->second > int64_t(1) << 40)
          return Status::invalid("the size '" + *name + "' is out of range");
        dim = found->second;
      }
      shapes[static_cast<size_t>(value)].push_back(std::get<int64_t>(dim));
    }
    dims[static_cast<size_t>(value)] = std::move(shape);
    return Status();
  };

  Cost cost;
  for (const NamedValue &input : plan.inputs)
    MORPH_RETURN_IF_ERROR(
        fix(input.value, plan.values[static_cast<size_t>(input.value)].shape, "input '" + input.name + "'"));
  for (size_t i = 0; i < plan.weights.size(); ++i) {
    int64_t value = plan.weightValues[i];
    MORPH_RETURN_IF_ERROR(fix(value, plan.values[static_cast<size_t>(value)].shape, "a weight"));
    int64_t elements = static_cast<int64_t>(product(shapes[static_cast<size_t>(value)]));
    cost.weightBytes += elements * dtypeBytes(plan.weights[i].dtype);
    if (plan.weights[i].trainable) {
      cost.trainable += elements;
      cost.masterBytes += 4 * elements;
    }
  }

  // The last instruction that uses each value; outputs live to the end. A view keeps its source alive.
  std::vector<size_t> root(plan.values.size()), last(plan.values.size(), 0);
  for (size_t v = 0; v < root.size(); ++v)
    root[v] = v;
  for (size_t i = 0; i < plan.instructions.size(); ++i) {
    const Instruction &instruction = plan.instructions[i];
    if (isView(instruction.op))
      root[static_cast<size_t>(instruction.results[0])] = root[static_cast<size_t>(instruction.operands[0])];
    for (int64_t operand : instruction.operands)
      if (operand >= 0)
        last[root[static_cast<size_t>(operand)]] = i;
    for (int64_t result : instruction.results)
      last[root[static_cast<size_t>(result)]] = std::max(last[root[static_cast<size_t>(result)]], i);
  }
  std::vector<bool> kept(plan.values.size(), false);
  for (const NamedValue &output : plan.outputs)
    kept[root[static_cast<size_t>(output.value)]] = true;
  for (int64_t value : plan.weightValues)
    kept[static_cast<size_t>(value)] = true;

  int64_t alive = 0;
  for (size_t i = 0; i < plan.instructions.size(); ++i) {
    const Instruction &instruction = plan.instructions[i];
    std::vector<const std::vector<Dim> *> operands;
    for (int64_t operand : instruction.operands)
      operands.push_back(operand < 0 ? nullptr : &dims[static_cast<size_t>(operand)]);
    auto results = inferShapes(plan, instruction, operands);
    if (!results.ok())
      return Status(results.status()).withContext("instruction " + std::to_string(i) + " (" + instruction.op + ")");
    std::vector<size_t> dead;
    for (size_t r = 0; r < instruction.results.size(); ++r) {
      size_t value = static_cast<size_t>(instruction.results[r]);
      MORPH_RETURN_IF_ERROR(fix(instruction.results[r], (*results)[r], "a result"));
      if (root[value] != value)
        continue;
      alive += 4 * static_cast<int64_t>(product(shapes[value]));
      if (last[value] == i && !kept[value])
        dead.push_back(value);
    }
    cost.peakBytes = std::max(cost.peakBytes, alive);
    CostModel model(plan, instruction, shapes);
    double flops = model.flops();
    cost.flops += flops;
    if (model.isProduct())
      cost.productFlops += flops;
    for (int64_t operand : instruction.operands) {
      if (operand < 0)
        continue;
      size_t value = root[static_cast<size_t>(operand)];
      bool input = false;
      for (const NamedValue &named : plan.inputs)
        input |= static_cast<size_t>(named.value) == value;
      if (last[value] == i && !kept[value] && !input && std::find(dead.begin(), dead.end(), value) == dead.end())
        dead.push_back(value);
    }
    for (size_t value : dead)
      alive -= 4 * static_cast<int64_t>(product(shapes[value]));
  }
  return cost;
}

} // namespace morph::plan
