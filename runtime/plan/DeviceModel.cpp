// SPDX-License-Identifier: Apache-2.0
#include "runtime/plan/DeviceModel.h"

#include "runtime/plan/Cost.h"
#include "runtime/plan/InferShapes.h"
#include "runtime/plan/OpSizes.h"

#include <algorithm>
#include <numeric>

namespace morph::plan {

namespace {

struct DataSheet {
  const char *key, *name, *target;
  double gigabytes, bandwidth, tensor, single;
};

constexpr DataSheet kSheets[] = {
#define MORPH_DEVICE(key, name, target, memory, bandwidth, tensor, single, multiprocessors, clock, shared)             \
  {#key, name, target, memory, bandwidth, tensor, single},
#include "runtime/plan/Devices.def"
#undef MORPH_DEVICE
};

/// Seconds of one instruction.
class InstructionTime {
public:
  InstructionTime(const Plan &plan, const Instruction &instruction, const std::vector<std::vector<int64_t>> &shapes)
      : plan(plan), instruction(instruction), rule(*findOpRule(instruction.op)), shapes(shapes) {}

  bool isView() const { return !rule.viewOf.empty(); }

  /// What it reads and writes once each.
  double bytes() const {
    const std::vector<int64_t> updated = updatedValues(instruction, rule);
    double results = 0, operands = 0, updates = 0;
    for (size_t r = 0; r < instruction.results.size(); ++r)
      (r < updated.size() && updated[r] >= 0 ? updates : results) += bytesOf(instruction.results[r]);
    for (int64_t operand : instruction.operands)
      if (operand >= 0 && std::find(updated.begin(), updated.end(), operand) == updated.end())
        operands += bytesOf(operand);
    // Rows that are picked out of a table.
    if (instruction.op == "embedding" || instruction.op == "take_rows" || instruction.op == "last_rows")
      return 2 * results;
    // What is updated is read and written where something comes in: all of a weight, a few places of a cache.
    return results + operands + 2 * std::min(updates, operands * static_cast<double>(instruction.results.size()));
  }

  double flopsPerSecond(const DeviceModel &device) const {
    const bool isHalf = std::any_of(instruction.operands.begin(), instruction.operands.end(), [&](int64_t operand) {
      return operand >= 0 && plan.values[static_cast<size_t>(operand)].dtype == DType::BF16;
    });
    const double products = isHalf ? device.halfProducts : device.floatProducts;
    if (instruction.op == "linear_attention" || instruction.op == "linear_attention_grad")
      return DeviceShares::kLinearAttention * products;
    if (instruction.op == "attention" || instruction.op == "attention_grad")
      return DeviceShares::kAttention * products;
    return isProduct() ? products : 0;
  }

  bool isProduct() const {
    return instruction.op != "launch" && matrixProduct(OpSizes<int64_t>(plan, instruction, shapes)).has_value();
  }

private:
  double bytesOf(int64_t value) const {
    const std::vector<int64_t> &shape = shapes[static_cast<size_t>(value)];
    return std::accumulate(shape.begin(), shape.end(),
                           static_cast<double>(elementBytes(plan.values[static_cast<size_t>(value)].dtype, RunMode())),
                           [](double product, int64_t size) { return product * static_cast<double>(size); });
  }

  const Plan &plan;
  const Instruction &instruction;
  const OpRule &rule;
  const std::vector<std::vector<int64_t>> &shapes;
};

} // namespace

std::vector<std::string> deviceNames() {
  std::vector<std::string> names;
  for (const DataSheet &sheet : kSheets)
    names.push_back(sheet.key);
  return names;
}

StatusOr<DeviceModel> findDeviceModel(const std::string &name) {
  std::string known;
  for (const DataSheet &sheet : kSheets) {
    if (name == sheet.key) {
      DeviceModel model;
      model.name = sheet.name;
      model.target = sheet.target;
      model.memoryBytes = 1e9 * sheet.gigabytes;
      model.rowBytes = 1e9 * sheet.bandwidth * DeviceShares::kCopy * DeviceShares::kRows;
      model.halfProducts = 1e12 * sheet.tensor * DeviceShares::kProducts;
      model.floatProducts = 1e12 * sheet.single * DeviceShares::kProducts;
      return model;
    }
    known += (known.empty() ? "" : ", ") + std::string(sheet.key);
  }
  return Status::invalid("there is no device '" + name + "'", "known are " + known);
}

StatusOr<std::vector<double>> instructionSeconds(const Plan &plan, const std::map<std::string, int64_t> &sizes,
                                                 const DeviceModel &device) {
  MORPH_ASSIGN_OR_RETURN(const std::vector<std::vector<int64_t>> shapes, resolveShapes(plan, sizes));
  MORPH_ASSIGN_OR_RETURN(const std::vector<double> flops, instructionFlops(plan, sizes));
  std::vector<double> seconds;
  for (size_t i = 0; i < plan.instructions.size(); ++i) {
    const InstructionTime time(plan, plan.instructions[i], shapes);
    if (time.isView()) {
      seconds.push_back(0);
      continue;
    }
    const double speed = time.flopsPerSecond(device);
    // A product has no launches of ours.
    const size_t launches =
        plan.devices.empty() || time.isProduct() ? 1 : plan.devices.back().instructions[i].launches.size();
    seconds.push_back(std::max({static_cast<double>(launches) * DeviceShares::kLaunchSeconds,
                                time.bytes() / device.rowBytes, speed > 0 ? flops[i] / speed : 0.0}));
  }
  return seconds;
}

} // namespace morph::plan
