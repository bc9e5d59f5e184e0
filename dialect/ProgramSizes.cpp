// SPDX-License-Identifier: Apache-2.0

#include "dialect/ProgramSizes.h"

using namespace mlir;

namespace morph {

const plan::OpRule *findOpRule(Operation *op) {
  if (op->getName().getDialectNamespace() != MorphDialect::getDialectNamespace())
    return nullptr;
  return plan::findOpRule(op->getName().stripDialect().str());
}

SmallVector<ValueRange> operandGroups(Operation *op, const plan::OpRule &rule) {
  // One group at most varies in length, unless the op says how long each is.
  auto segments = dyn_cast_or_null<DenseI32ArrayAttr>(op->getInherentAttr("operandSegmentSizes").value_or(Attribute()));
  SmallVector<ValueRange> groups;
  unsigned next = 0;
  for (auto [index, operand] : llvm::enumerate(rule.operands)) {
    const unsigned size = segments                            ? segments[index]
                          : operand.arity == plan::Arity::One ? 1
                                                              : op->getNumOperands() - (rule.operands.size() - 1);
    groups.push_back(ValueRange(op->getOperands()).slice(next, size));
    next += size;
  }
  return groups;
}

plan::Instruction makeInstruction(Operation *op, const plan::OpRule &rule,
                                  const llvm::DenseMap<Value, int64_t> &numbers) {
  plan::Instruction instruction;
  instruction.op = rule.name;
  instruction.attributes = getTableAttributes(rule, dyn_cast_or_null<DictionaryAttr>(op->getPropertiesAsAttribute()));
  for (auto [group, operand] : llvm::zip_equal(operandGroups(op, rule), rule.operands)) {
    for (Value value : group)
      instruction.operands.push_back(numbers.lookup(value));
    if (operand.arity == plan::Arity::Optional && group.empty())
      instruction.operands.push_back(-1);
    if (operand.arity == plan::Arity::Variadic)
      instruction.attributes[operand.name + "_count"] = static_cast<int64_t>(group.size());
  }
  return instruction;
}

namespace {

class SizeInference {
public:
  LogicalResult run(Block &block) {
    for (Operation &op : block)
      if (failed(infer(&op)))
        return failure();
    return success();
  }

  ProgramSizes sizes;

private:
  LogicalResult infer(Operation *op) {
    if (op->getNumResults() == 0)
      return success();
    if (auto launch = dyn_cast<LaunchOp>(op))
      return inferLaunch(launch);
    if (const plan::OpRule *rule = findOpRule(op))
      return inferByTable(op, *rule);
    if (auto choice = dyn_cast<ChoiceOp>(op)) {
      for (Region &candidate : choice.getBodies())
        if (failed(run(candidate.front())))
          return failure();
      sizes[choice.getResult()] = sizes.lookup(choice.getBodies().front().front().getTerminator()->getOperand(0));
      return success();
    }
    if (isa<TokenMixerOpInterface>(op)) {
      sizes[op->getResult(0)] = sizes.lookup(op->getOperand(0));
      return success();
    }
    for (Value result : op->getResults())
      if (isa<RankedTensorType>(result.getType()))
        sizes[result] = getShape(result.getType());
    return success();
  }

  /// The row space of a launch is that of its first row argument.
  LogicalResult inferLaunch(LaunchOp launch) {
    std::optional<plan::Shape> rows;
    auto leading = [&](Value value) {
      const plan::Shape &shape = sizes[value];
      return plan::Shape(shape.begin(), shape.begin() + cast<RankedTensorType>(value.getType()).getNumDynamicDims());
    };
    for (Value argument : launch.getArguments()) {
      plan::Shape own = leading(argument);
      if (own.empty())
        continue;
      if (rows && *rows != own)
        return launch.emitOpError() << "program_c6: an argument has the rows " << plan::shapeText(own) << ", another "
                                    << plan::shapeText(*rows);
      rows = std::move(own);
    }
    for (Value result : launch.getResults()) {
      plan::Shape shape = getShape(result.getType());
      for (size_t d = 0; rows && d < rows->size() && d < shape.size(); ++d)
        if (plan::isUnknown(shape[d])) // A sum over rows has none.
          shape[d] = (*rows)[d];
      sizes[result] = std::move(shape);
    }
    return success();
  }

  LogicalResult inferByTable(Operation *op, const plan::OpRule &rule) {
    plan::OpArguments arguments;
    const SmallVector<ValueRange> groups = operandGroups(op, rule);
    for (ValueRange group : groups) {
      std::vector<const plan::Shape *> &shapes = arguments.operands.emplace_back();
      for (Value operand : group)
        shapes.push_back(&sizes[operand]);
    }
    const std::map<std::string, plan::Attribute> attributes =
        getTableAttributes(rule, dyn_cast_or_null<DictionaryAttr>(op->getPropertiesAsAttribute()));
    arguments.attributes = &attributes;
    arguments.isProgram = true;
    plan::BoundSizes bound;
    StatusOr<std::vector<plan::Shape>> results = plan::inferShapes(rule, arguments, bound);
    if (!results.ok())
      return op->emitOpError() << "program_c6: " << results.status().message();
    for (auto [result, shape] : llvm::zip_equal(op->getResults(), *results))
      sizes[result] = std::move(shape);
    return success();
  }
};

} // namespace

FailureOr<ProgramSizes> inferProgramSizes(ProgramOp program) {
  SizeInference inference;
  for (auto [argument, names] : llvm::zip_equal(program.getBlock().getArguments(), program.getDimensions())) {
    plan::Shape shape = getShape(argument.getType());
    auto next = cast<ArrayAttr>(names).getAsRange<StringAttr>().begin();
    for (plan::Dim &dim : shape)
      if (plan::isUnknown(dim))
        dim = (*next++).str();
    inference.sizes[argument] = std::move(shape);
  }
  if (failed(inference.run(program.getBlock())))
    return failure();
  return std::move(inference.sizes);
}

} // namespace morph
