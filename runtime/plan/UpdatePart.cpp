// SPDX-License-Identifier: Apache-2.0

#include "runtime/plan/UpdatePart.h"

#include "runtime/plan/Names.h"

#include <set>

namespace morph::plan {

Plan updatePart(const Plan &update, const std::function<bool(const std::string &weight)> &owns) {
  std::set<int64_t> needed, owned;
  for (const NamedValue &output : update.outputs)
    if (output.name == kNorm)
      needed.insert(output.value);
  for (size_t i = 0; i < update.weights.size(); ++i)
    if (owns(update.weights[i].name))
      owned.insert(update.weightValues[i]);
  // From the end: what nothing reads that is kept goes.
  std::vector<bool> kept(update.instructions.size(), false);
  for (size_t i = update.instructions.size(); i-- > 0;) {
    const Instruction &instruction = update.instructions[i];
    for (int64_t result : instruction.results)
      kept[i] = kept[i] || needed.count(result);
    for (int64_t operand : instruction.operands)
      kept[i] = kept[i] || owned.count(operand);
    if (kept[i])
      needed.insert(instruction.operands.begin(), instruction.operands.end());
  }

  Plan part;
  part.model = update.model;
  part.program = update.program;
  part.kernels = update.kernels;
  part.kernelObject = update.kernelObject;
  std::vector<int64_t> numbers(update.values.size(), -1); // Of the values that stay, in the part.
  const auto define = [&](int64_t value) {
    numbers[static_cast<size_t>(value)] = static_cast<int64_t>(part.values.size());
    part.values.push_back(update.values[static_cast<size_t>(value)]);
    return numbers[static_cast<size_t>(value)];
  };
  const auto rename = [&](int64_t value) { return value < 0 ? value : numbers[static_cast<size_t>(value)]; };
  for (const NamedValue &input : update.inputs)
    if (needed.count(input.value) || input.name == kRate || input.name == kStep)
      part.inputs.push_back({input.name, define(input.value)});
  for (size_t i = 0; i < update.weights.size(); ++i)
    if (needed.count(update.weightValues[i])) {
      part.weights.push_back(update.weights[i]);
      part.weightValues.push_back(define(update.weightValues[i]));
    }
  part.devices = update.devices;
  for (DeviceCode &code : part.devices)
    code.instructions.clear();
  for (size_t i = 0; i < update.instructions.size(); ++i) {
    if (!kept[i])
      continue;
    Instruction &instruction = part.instructions.emplace_back(update.instructions[i]);
    for (int64_t &operand : instruction.operands)
      operand = rename(operand);
    for (int64_t &result : instruction.results)
      result = define(result);
    for (size_t d = 0; d < part.devices.size(); ++d)
      part.devices[d].instructions.push_back(update.devices[d].instructions[i]);
  }
  for (const NamedValue &output : update.outputs)
    if (const int64_t value = rename(output.value); value >= 0)
      part.outputs.push_back({output.name, value});
  return part;
}

} // namespace morph::plan
