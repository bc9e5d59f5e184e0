// SPDX-License-Identifier: Apache-2.0

#include "dialect/ProgramUpdates.h"

#include "dialect/ProgramSizes.h"

using namespace mlir;

namespace morph {

ProgramUpdates::ProgramUpdates() : rules("program_c7", "program_c8") {}

/// Whether an op updates one of its operands. Most programs have none that does.
static bool updatesOperand(Operation *op) {
  const plan::OpRule *rule = findOpRule(op);
  if (!rule || rule->updates.empty())
    return false;
  SmallVector<ValueRange> groups = operandGroups(op, *rule);
  return llvm::any_of(rule->updates, [&](const std::string &operand) {
    return !operand.empty() && !groups[rule->operandIndex(operand)].empty();
  });
}

FailureOr<ProgramUpdates> ProgramUpdates::create(ProgramOp program) {
  ProgramUpdates result;
  auto stopAtUpdate = [](Operation *op) {
    return updatesOperand(op) ? WalkResult::interrupt() : WalkResult::advance();
  };
  if (!program.walk(stopAtUpdate).wasInterrupted())
    return result;
  for (auto symbol : program.getTrained().getAsRange<FlatSymbolRefAttr>())
    result.trained.insert(symbol.getAttr());
  for (BlockArgument argument : program.getBlock().getArguments())
    result.rules.addOutside(result.number(argument), /*mayBeUpdated=*/true);
  if (failed(result.add(program.getBlock())))
    return failure();
  return result;
}

ArrayRef<Operation *> ProgramUpdates::find(Value value) const {
  auto known = numbers.find(value);
  auto found = known == numbers.end() ? updates.end() : updates.find(rules.outsideOf(known->second));
  return found == updates.end() ? ArrayRef<Operation *>() : ArrayRef<Operation *>(found->second);
}

LogicalResult ProgramUpdates::add(Block &block) {
  for (Operation &op : block)
    if (failed(add(&op)))
      return failure();
  return success();
}

void ProgramUpdates::addParam(ParamOp param) {
  StringAttr symbol = param.getSymbolAttr().getAttr();
  auto [weight, isNew] = weights.try_emplace(symbol, numbers.size());
  numbers[param.getResult()] = weight->second;
  if (isNew)
    rules.addOutside(weight->second, /*mayBeUpdated=*/trained.contains(symbol));
}

LogicalResult ProgramUpdates::add(Operation *op) {
  if (auto param = dyn_cast<ParamOp>(op)) {
    addParam(param);
    return success();
  }
  Status status;
  if (const plan::OpRule *rule = findOpRule(op)) {
    plan::Instruction instruction = makeInstruction(op, *rule, numbers);
    for (Value result : op->getResults())
      instruction.results.push_back(number(result));
    status = rules.addInstruction(instruction, *rule);
    for (int64_t value : plan::updatedValues(instruction, *rule))
      if (value >= 0)
        updates[rules.outsideOf(value)].push_back(op);
  } else {
    auto output = dyn_cast<OutputOp>(op);
    for (OpOperand &operand : op->getOpOperands()) {
      unsigned index = operand.getOperandNumber();
      std::string what = output ? "output '" + cast<StringAttr>(output.getNames()[index]).str() + "'"
                                : "operand #" + std::to_string(index);
      if (status.ok())
        status = rules.read(number(operand.get()), what);
    }
  }
  if (!status.ok())
    return op->emitOpError() << status.message();
  for (Region &region : op->getRegions())
    for (Block &inner : region)
      if (failed(add(inner)))
        return failure();
  return success();
}

} // namespace morph
