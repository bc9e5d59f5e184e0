// SPDX-License-Identifier: Apache-2.0
#include "runtime/plan/Cost.h"

#include "runtime/plan/OpTable.h"
#include "runtime/plan/Residence.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

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
  // The first query sees `first` keys, each later one more, until the window is full.
  double first = static_cast<double>(keys - queries + 1), count = static_cast<double>(queries);
  double growing = std::clamp(static_cast<double>(window) - first, 0.0, count);
  return growing * first + growing * (growing - 1) / 2 + (count - growing) * static_cast<double>(window);
}

class CostModel {
public:
  CostModel(const Instruction &instruction, const std::vector<Sizes> &shapes)
      : instruction(instruction), rule(*findOpRule(instruction.op)), shapes(shapes) {}

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

  /// Bytes that the kernel holds beside operands and results while it runs.
  double scratchBytes(const RunMode &mode, bool tableIsHalf) const {
    const std::string &op = instruction.op;
    if (op == "attention" || op == "attention_grad")
      return attentionScratch(mode, op == "attention_grad");
    if (op == "linear_attention" || op == "linear_attention_grad")
      return linearAttentionScratch(mode, op == "linear_attention_grad");
    if (op == "embedding" && tableIsHalf) // Rows come in the table's type first.
      return 2 * product(shapes[static_cast<size_t>(instruction.results[0])]);
    if (op == "short_conv" || op == "short_conv_grad") {
      // x behind its state.
      const Sizes &x = shape("x");
      return 4 * static_cast<double>(x[0] * (x[1] + shape("weight")[2] - 1) * x[2]);
    }
    return 0;
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

  /// Blocks of at most 64 queries of a head against all keys, a block a thread; under bf16 copies of the operands.
  double attentionScratch(const RunMode &mode, bool gradient) const {
    const Sizes &q = shape("q"), &k = shape("k");
    const bool halves = mode.halves && q[1] > 1, grouped = q[2] != k[2];
    const double queries = product(q), keys = product(k);
    const double rows = static_cast<double>(q[1] == 1 ? q[2] / k[2] : std::min<int64_t>(64, q[1]));
    const double tasks = static_cast<double>(q[0] * q[2]);
    const double threads = std::min(static_cast<double>(mode.threads), tasks);
    double bytes = threads * rows * static_cast<double>(k[1]) * (halves ? 6 : 4) * (gradient ? 2 : 1);
    if (halves)
      bytes += 2 * (queries * (gradient ? 2 : 1) + 2 * keys);
    // A query head has key and value gradients of its own before they are summed.
    if (gradient && grouped)
      bytes += 2 * 4 * keys * static_cast<double>(q[2] / k[2]);
    return bytes;
  }

  /// A head a thread: a chunk's products, and for the gradient every chunk's state and values.
  double linearAttentionScratch(const RunMode &mode, bool gradient) const {
    const Sizes &k = shape("k"), &v = shape("v");
    const double length = static_cast<double>(k[1]), keys = static_cast<double>(k[3]),
                 values = static_cast<double>(v[3]), heads = static_cast<double>(k[0] * k[2]);
    const double chunk = static_cast<double>(std::min(std::get<int64_t>(instruction.attributes.at("chunk")), k[1]));
    double elements = 2 * chunk * keys + 3 * chunk * chunk + 4 * chunk * values;
    if (gradient)
      elements += (std::ceil(length / chunk) + 2) * keys * values + length * values + chunk * values +
                  2 * chunk * chunk + 3 * chunk * keys;
    const double states = gradient ? heads * keys * values : 0; // The state that the forward starts from.
    return 4 * (std::min(static_cast<double>(mode.threads), heads) * elements + states);
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

/// a + b, or the greatest number where that overflows: far above what any machine has.
int64_t add(int64_t a, int64_t b) {
  int64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum) ? std::numeric_limits<int64_t>::max() : sum;
}

/// Results that are views of their first operand and take no memory of their own.
bool isView(const std::string &op) { return op == "split_heads" || op == "merge_heads"; }

/// What a run holds, value by value, as Executor::runInstruction holds it.
class Holdings {
public:
  Holdings(const Plan &plan, const Residence &residence, const RunMode &mode)
      : plan(plan), residence(residence), mode(mode), storageOf(plan.values.size(), -1), halves(plan.values.size(), 0) {
  }

  void addInput(int64_t value, double bytes) { hold(value, bytes); }

  /// Makes the bf16 copies that an instruction's factors need.
  void beforeInstruction(size_t i, const std::vector<Sizes> &shapes) {
    const Instruction &instruction = plan.instructions[i];
    for (size_t o = 0; mode.halves && o < instruction.operands.size(); ++o) {
      const int64_t value = instruction.operands[o];
      if (value < 0 || !residence.factors[i][o] || halves[static_cast<size_t>(value)] > 0)
        continue;
      const int64_t weight = residence.weightOf[static_cast<size_t>(value)];
      if (weight >= 0 && formOf(weight) == WeightForm::Half)
        continue;
      const double bytes = 2 * product(shapes[static_cast<size_t>(value)]);
      halves[static_cast<size_t>(value)] = bytes;
      alive += bytes;
      if (weight >= 0)
        weightHalves += bytes;
    }
  }

  /// A result: of its own, or a view of an operand.
  void addResult(int64_t value, double bytes, int64_t viewOf) {
    if (viewOf < 0 || storageOf[static_cast<size_t>(viewOf)] < 0)
      return hold(value, bytes);
    storageOf[static_cast<size_t>(value)] = storageOf[static_cast<size_t>(viewOf)];
    ++users[static_cast<size_t>(storageOf[static_cast<size_t>(value)])];
  }

  /// Frees what no later instruction reads.
  void afterInstruction(size_t i) {
    const Instruction &instruction = plan.instructions[i];
    const int64_t now = static_cast<int64_t>(i);
    for (int64_t result : instruction.results) {
      const Lifetime &lifetime = residence.lifetimes[static_cast<size_t>(result)];
      if (lifetime.lastFull < 0 && lifetime.lastFactor < 0)
        release(result);
    }
    for (int64_t operand : instruction.operands) {
      if (operand < 0 || residence.weightOf[static_cast<size_t>(operand)] >= 0)
        continue;
      const Lifetime &lifetime = residence.lifetimes[static_cast<size_t>(operand)];
      const bool moreFactors = lifetime.lastFactor > now;
      double &half = halves[static_cast<size_t>(operand)];
      if (lifetime.lastFull <= now && (!moreFactors || half > 0))
        release(operand);
      if (!moreFactors)
        alive -= std::exchange(half, 0);
    }
  }

  WeightForm formOf(int64_t weight) const {
    const bool storedHalf = plan.weights[static_cast<size_t>(weight)].dtype == DType::BF16;
    return residence.formOf(plan, static_cast<size_t>(weight), mode.halves, storedHalf);
  }

  double alive = 0;
  double weightHalves = 0; ///< Of alive: bf16 copies of weights, which stay.

private:
  const Plan &plan;
  const Residence &residence;
  const RunMode &mode;
  std::vector<int64_t> storageOf; ///< One a value, -1 where it holds nothing.
  std::vector<double> halves;     ///< Bytes of a value's bf16 copy.
  std::vector<double> bytesOf;    ///< One a storage.
  std::vector<int64_t> users;     ///< Values that hold it.

  void hold(int64_t value, double bytes) {
    storageOf[static_cast<size_t>(value)] = static_cast<int64_t>(bytesOf.size());
    bytesOf.push_back(bytes);
    users.push_back(1);
    alive += bytes;
  }
  void release(int64_t value) {
    const int64_t storage = std::exchange(storageOf[static_cast<size_t>(value)], -1);
    if (storage >= 0 && --users[static_cast<size_t>(storage)] == 0)
      alive -= bytesOf[static_cast<size_t>(storage)];
  }
};

} // namespace

StatusOr<Cost> estimateCost(const Plan &plan, const std::map<std::string, int64_t> &sizes, const RunMode &mode) {
  MORPH_RETURN_IF_ERROR(validate(plan));
  MORPH_ASSIGN_OR_RETURN(const std::vector<Sizes> shapes, resolveShapes(plan, sizes));

  const Residence residence = findResidence(plan);
  Holdings holdings(plan, residence, mode);
  Cost cost;
  for (const NamedValue &input : plan.inputs) {
    const size_t value = static_cast<size_t>(input.value);
    holdings.addInput(input.value, (plan.values[value].dtype == DType::I64 ? 8 : 4) * product(shapes[value]));
  }
  for (size_t w = 0; w < plan.weights.size(); ++w) {
    const int64_t elements = static_cast<int64_t>(product(shapes[static_cast<size_t>(plan.weightValues[w])]));
    const WeightForm form = holdings.formOf(static_cast<int64_t>(w));
    cost.boundBytes = add(cost.boundBytes, elements * (form == WeightForm::Half ? 2 : 4));
    if (plan.weights[w].trainable)
      cost.trainable = add(cost.trainable, elements);
    if (form == WeightForm::Master) {
      cost.masterBytes = add(cost.masterBytes, 4 * elements);
      cost.largestMaster = std::max(cost.largestMaster, 4 * elements);
    }
  }

  double most = holdings.alive;
  for (size_t i = 0; i < plan.instructions.size(); ++i) {
    const Instruction &instruction = plan.instructions[i];
    holdings.beforeInstruction(i, shapes);
    for (int64_t result : instruction.results)
      holdings.addResult(result, 4 * product(shapes[static_cast<size_t>(result)]),
                         isView(instruction.op) ? instruction.operands[0] : -1);
    const CostModel model(instruction, shapes);
    bool tableIsHalf = false;
    if (instruction.op == "embedding")
      if (const int64_t weight = residence.weightOf[static_cast<size_t>(instruction.operands[1])]; weight >= 0)
        tableIsHalf = holdings.formOf(weight) == WeightForm::Half;
    most = std::max(most, holdings.alive + model.scratchBytes(mode, tableIsHalf));
    const double flops = model.flops();
    cost.flops += flops;
    if (model.isProduct())
      cost.productFlops += flops;
    holdings.afterInstruction(i);
  }
  cost.runBytes = static_cast<int64_t>(std::min(most, 0x1p62));
  cost.halfBytes = static_cast<int64_t>(std::min(holdings.weightHalves, 0x1p62));
  for (const NamedValue &output : plan.outputs)
    cost.outputBytes =
        add(cost.outputBytes, 4 * static_cast<int64_t>(product(shapes[static_cast<size_t>(output.value)])));
  return cost;
}

double trainingBytes(const Cost &cost, bool accumulates, bool moments) {
  const double masters = static_cast<double>(cost.masterBytes), bound = static_cast<double>(cost.boundBytes);
  const double run =
      bound + (moments ? 2 * masters : 0) + (accumulates ? masters : 0) + static_cast<double>(cost.runBytes);
  const double update = bound + static_cast<double>(cost.halfBytes + cost.outputBytes) + 3 * masters +
                        static_cast<double>(cost.largestMaster);
  return std::max(run, update);
}

double cacheBytes(const Plan &decode, int64_t context) {
  double bytes = 0;
  for (const NamedValue &input : decode.inputs) {
    if (input.name.rfind("cache.", 0) != 0)
      continue;
    double elements = 4;
    for (const Dim &dim : decode.values[static_cast<size_t>(input.value)].shape) {
      if (const int64_t *size = std::get_if<int64_t>(&dim))
        elements *= static_cast<double>(*size);
      else if (std::get<std::string>(dim) == "S")
        elements *= static_cast<double>(context);
    }
    bytes += elements;
  }
  return bytes;
}

} // namespace morph::plan
