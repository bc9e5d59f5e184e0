// SPDX-License-Identifier: Apache-2.0
#include "runtime/plan/Rings.h"

#include "runtime/plan/OpTable.h"

namespace morph::plan {

std::map<std::string, int64_t> ringWindows(const Plan &plan) {
  std::map<std::string, int64_t> windows;
  for (const Instruction &instruction : plan.instructions) {
    const OpRule &rule = *findOpRule(instruction.op);
    for (const RingRule &ring : rule.rings) {
      const size_t value = static_cast<size_t>(operandValue(instruction, rule, ring.ring));
      const std::string *slots = std::get_if<std::string>(&plan.values[value].shape[1]);
      if (operandValue(instruction, rule, ring.offset) < 0 || !slots)
        continue;
      auto found = instruction.attributes.find(ring.window);
      const int64_t window = found == instruction.attributes.end() ? 0 : std::get<int64_t>(found->second);
      // What has the slots of several windows has room for the largest.
      auto [known, isNew] = windows.emplace(*slots, window);
      if (!isNew)
        known->second = known->second == 0 || window == 0 ? 0 : std::max(known->second, window);
    }
  }
  return windows;
}

int64_t ringSlots(int64_t window, int64_t positions) {
  return window == 0 ? positions : std::min(positions, window + kPrefillChunk - 1);
}

std::map<std::string, int64_t> withRings(std::map<std::string, int64_t> sizes, const Plan &plan, int64_t positions) {
  for (const auto &[name, window] : ringWindows(plan))
    sizes[name] = ringSlots(window, positions);
  return sizes;
}

} // namespace morph::plan
