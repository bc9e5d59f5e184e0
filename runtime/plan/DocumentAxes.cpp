// SPDX-License-Identifier: Apache-2.0
#include "runtime/plan/DocumentAxes.h"

#include "runtime/plan/OpTable.h"

namespace morph::plan {

int64_t findBegins(const Instruction &instruction) {
  const OpRule *rule = findOpRule(instruction.op);
  const int64_t place = rule ? operandPosition(instruction, *rule, "begins") : -1;
  return place >= 0 && instruction.operands[static_cast<size_t>(place)] >= 0 ? place : -1;
}

DocumentAxes documentAxes(const Plan &plan, int64_t begins, int64_t value) {
  DocumentAxes axes;
  if (value < 0)
    return axes;
  const std::vector<Dim> &named = plan.values[static_cast<size_t>(begins)].shape;
  const std::vector<Dim> &dims = plan.values[static_cast<size_t>(value)].shape;
  for (size_t d = 0; d < dims.size(); ++d) {
    if (dims[d] == named[0])
      axes.sequences = static_cast<int64_t>(d);
    else if (dims[d] == named[1])
      axes.positions = static_cast<int64_t>(d);
  }
  return axes;
}

} // namespace morph::plan
