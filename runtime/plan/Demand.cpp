// SPDX-License-Identifier: Apache-2.0
#include "runtime/plan/Demand.h"

#include "runtime/plan/OpTable.h"

#include <algorithm>
#include <map>

namespace morph::plan {

namespace {

/// Zeros that an op keeps zero. An op that is not here and is no gradient may make anything of them.
enum class Zeros {
  OfAll, ///< Its result is zero where all of its operands are.
  OfAny, ///< Where one of them is.
};
const std::map<std::string, Zeros> kKeepZeros = {
    {"add", Zeros::OfAll},  {"cast", Zeros::OfAll},  {"mul", Zeros::OfAny},         {"reduce_to", Zeros::OfAny},
    {"rope", Zeros::OfAny}, {"scale", Zeros::OfAny}, {"split_heads", Zeros::OfAny}, {"merge_heads", Zeros::OfAny},
};

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
    const std::vector<int64_t> &operands = instruction.operands;
    auto isZero = [&](int64_t operand) { return isMarked(zero, operand); };
    if (instruction.op == "blend_candidate_grad" &&
        isZeroShare(operands[1], std::get<int64_t>(instruction.attributes.at("index"))))
      return true;
    // Gradients are linear in that of the result.
    if (const int64_t dy = operandPosition(instruction, *findOpRule(instruction.op), "dy"); dy >= 0)
      return isZero(operands[static_cast<size_t>(dy)]);
    auto found = kKeepZeros.find(instruction.op);
    if (found == kKeepZeros.end())
      return false;
    return found->second == Zeros::OfAll ? std::all_of(operands.begin(), operands.end(), isZero)
                                         : std::any_of(operands.begin(), operands.end(), isZero);
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
    for (size_t o = 0; o < instruction.operands.size(); ++o) {
      const bool isLeftOut =
          instruction.op == "blend" && o > 0 && isZeroShare(instruction.operands[0], static_cast<int64_t>(o) - 1);
      mark(needed, instruction.operands[o], !isLeftOut);
    }
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
