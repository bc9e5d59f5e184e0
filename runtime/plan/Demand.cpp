// SPDX-License-Identifier: Apache-2.0
#include "runtime/plan/Demand.h"

#include "runtime/plan/OpTable.h"

#include <algorithm>

namespace morph::plan {

namespace {

bool isView(const Instruction &instruction) {
  return instruction.op != "launch" && !findOpRule(instruction.op)->viewOf.empty();
}

/// What flows through the instructions of a plan or of a kernel.
class Flow {
public:
  Flow(const Plan &plan, const std::vector<Instruction> &instructions, size_t values)
      : zero(values), needed(values), gates(values), plan_(plan), instructions_(instructions) {}

  std::vector<bool> zero;                       ///< Values that are zero.
  std::vector<bool> needed;                     ///< Values that are read.
  std::vector<const std::vector<bool> *> gates; ///< The zero shares of values that are gates; null for the others.
  std::set<int64_t> given;

  void findZeros() {
    for (const Instruction &instruction : instructions_)
      if (instruction.op == "launch") {
        const Flow body = bodyOf(instruction);
        const Kernel &kernel = *findKernel(plan_, instruction);
        for (size_t r = 0; r < kernel.results.size(); ++r)
          mark(zero, instruction.results[r], body.zero[static_cast<size_t>(kernel.results[r])]);
      } else {
        const bool isZero = makesZeros(instruction);
        for (int64_t result : instruction.results)
          mark(zero, result, isZero);
      }
  }

  /// Marks what the needed values need; `zero` must be known.
  void findNeeded() {
    for (auto i = instructions_.rbegin(); i != instructions_.rend(); ++i)
      if (isNeeded(*i))
        needOperands(*i);
  }

  /// Whether a result is needed that is neither zero nor given, or something is updated.
  bool isNeeded(const Instruction &instruction) const {
    if (instruction.op != "launch" && updatesInPlace(instruction, *findOpRule(instruction.op)))
      return true;
    return std::any_of(instruction.results.begin(), instruction.results.end(), [&](int64_t result) {
      return isMarked(needed, result) && !isMarked(zero, result) && !given.count(result);
    });
  }

private:
  const Plan &plan_;
  const std::vector<Instruction> &instructions_;

  static bool isMarked(const std::vector<bool> &marks, int64_t value) {
    return value >= 0 && marks[static_cast<size_t>(value)];
  }
  static void mark(std::vector<bool> &marks, int64_t value, bool isMarked) {
    if (value >= 0 && isMarked)
      marks[static_cast<size_t>(value)] = true;
  }

  bool isZeroShare(int64_t gate, int64_t candidate) const {
    const std::vector<bool> *shares = gates[static_cast<size_t>(gate)];
    return shares && static_cast<size_t>(candidate) < shares->size() && (*shares)[static_cast<size_t>(candidate)];
  }

  bool makesZeros(const Instruction &instruction) const {
    const OpRule &rule = *findOpRule(instruction.op);
    auto valueOf = [&](const std::string &operand) { return operandValue(instruction, rule, operand); };
    for (const ShareRule &shares : rule.shares)
      if (rule.operandIndex(shares.of) < 0 &&
          isZeroShare(valueOf(shares.gate), std::get<int64_t>(instruction.attributes.at(shares.of))))
        return true;
    auto isZero = [&](const std::string &operand) { return isMarked(zero, valueOf(operand)); };
    return std::any_of(rule.zeroWhere.begin(), rule.zeroWhere.end(), [&](const std::vector<std::string> &names) {
      return std::all_of(names.begin(), names.end(), isZero);
    });
  }

  void needOperands(const Instruction &instruction) {
    if (instruction.op == "launch") {
      Flow body = bodyOf(instruction);
      // All of a kernel is computed, also what is zero.
      std::fill(body.zero.begin(), body.zero.end(), false);
      const Kernel &kernel = *findKernel(plan_, instruction);
      for (size_t r = 0; r < kernel.results.size(); ++r)
        mark(body.needed, kernel.results[r], isMarked(needed, instruction.results[r]));
      body.findNeeded();
      for (size_t a = 0; a < instruction.operands.size(); ++a)
        mark(needed, instruction.operands[a], body.needed[a]);
      return;
    }
    const OpRule &rule = *findOpRule(instruction.op);
    std::vector<bool> isLeftOut(instruction.operands.size());
    for (const ShareRule &shares : rule.shares)
      if (rule.operandIndex(shares.of) >= 0) {
        const int64_t gate = operandValue(instruction, rule, shares.gate),
                      first = operandPosition(instruction, rule, shares.of);
        for (int64_t i = 0; i < variadicCount(instruction, shares.of); ++i)
          isLeftOut[static_cast<size_t>(first + i)] = isZeroShare(gate, i);
      }
    for (size_t o = 0; o < instruction.operands.size(); ++o)
      mark(needed, instruction.operands[o], !isLeftOut[o]);
  }

  /// The flow of a launched kernel, with its zeros.
  Flow bodyOf(const Instruction &launch) const {
    const Kernel &kernel = *findKernel(plan_, launch);
    Flow body(plan_, kernel.instructions, kernel.values.size());
    for (size_t a = 0; a < launch.operands.size(); ++a) {
      body.zero[a] = isMarked(zero, launch.operands[a]);
      body.gates[a] = gates[static_cast<size_t>(launch.operands[a])];
    }
    body.findZeros();
    return body;
  }
};

} // namespace

std::vector<bool> zeroShares(const std::vector<double> &gate) {
  std::vector<bool> zero;
  for (double share : gate)
    zero.push_back(share == 0);
  const auto zeros = std::count(gate.begin(), gate.end(), 0.0), ones = std::count(gate.begin(), gate.end(), 1.0);
  zero.push_back(ones == 1 && zeros + 1 == static_cast<int64_t>(gate.size()));
  return zero;
}

std::vector<Step> planSteps(const Plan &plan, const ZeroShares &zero, const std::set<int64_t> &given) {
  Flow flow(plan, plan.instructions, plan.values.size());
  flow.given = given;
  for (const Instruction &instruction : plan.instructions)
    if (isView(instruction)) // Costs nothing, and has no memory of its own.
      flow.given.erase(instruction.results[0]);
  for (size_t w = 0; w < plan.weights.size(); ++w)
    if (!zero[w].empty())
      flow.gates[static_cast<size_t>(plan.weightValues[w])] = &zero[w];
  flow.findZeros();
  for (const NamedValue &output : plan.outputs)
    flow.needed[static_cast<size_t>(output.value)] = true;
  flow.findNeeded();

  // What runs reads all of its operands, also those that count for nothing.
  std::vector<bool> read(plan.values.size());
  for (const NamedValue &output : plan.outputs)
    read[static_cast<size_t>(output.value)] = true;
  std::vector<Step> steps(plan.instructions.size(), Step::Run);
  for (size_t i = plan.instructions.size(); i-- > 0;) {
    const Instruction &instruction = plan.instructions[i];
    const bool isRead = std::any_of(instruction.results.begin(), instruction.results.end(),
                                    [&](int64_t result) { return read[static_cast<size_t>(result)]; });
    const bool isGiven = std::any_of(instruction.results.begin(), instruction.results.end(),
                                     [&](int64_t result) { return flow.given.count(result) != 0; });
    if (!isView(instruction) && !flow.isNeeded(instruction))
      steps[i] = !isRead ? Step::Skip : isGiven ? Step::Given : Step::Zero;
    if (steps[i] == Step::Run && (isRead || !isView(instruction)))
      for (int64_t operand : instruction.operands)
        if (operand >= 0)
          read[static_cast<size_t>(operand)] = true;
  }
  return steps;
}

} // namespace morph::plan
