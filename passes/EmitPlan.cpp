// SPDX-License-Identifier: Apache-2.0
// From a program in primitive ops to a plan for the runtime.

#include "passes/EmitPlan.h"
#include "passes/Phases.h"
#include "passes/Symbols.h"

#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace morph {
namespace {

using Dims = std::vector<plan::Dim>;

class PlanEmitter {
public:
  PlanEmitter(ModelOp model, func::FuncOp function) : model(model), function(function) {}

  FailureOr<plan::Plan> emit(StringRef program) {
    plan.model = model.getSymName().str();
    plan.program = program.str();
    Block &body = function.getBody().front();
    if (failed(emitInputs(body)) || failed(emitWeights()))
      return failure();
    for (Operation &op : body.without_terminator())
      if (!isa<ParamOp>(op) && failed(emitInstruction(&op)))
        return failure();
    if (failed(emitOutputs(body.getTerminator())))
      return failure();
    return std::move(plan);
  }

private:
  LogicalResult emitInputs(Block &body);
  LogicalResult emitWeights();
  LogicalResult emitInstruction(Operation *op);
  LogicalResult emitAttributes(Operation *op, plan::Instruction &instruction);
  LogicalResult emitOutputs(Operation *terminator);
  LogicalResult emitRopeTable(RopeOp rope);
  FailureOr<plan::Weight> makeWeight(Operation *symbol);

  /// Gives `value` the next number.
  FailureOr<int64_t> define(Value value, Dims dims);
  /// The dims of a result: its static sizes, and the names that flow in from the operands.
  FailureOr<Dims> resultDims(Operation *op, unsigned result);
  void pushOperands(OperandRange operands, bool optional, plan::Instruction &instruction);

  ModelOp model;
  func::FuncOp function;
  plan::Plan plan;
  llvm::DenseMap<Value, int64_t> numbers;
};

FailureOr<plan::DType> planType(Type element, Operation *op) {
  if (element.isF32())
    return plan::DType::F32;
  if (element.isF16())
    return plan::DType::F16;
  if (element.isBF16())
    return plan::DType::BF16;
  if (element.isF64())
    return plan::DType::F64;
  if (element.isInteger(64))
    return plan::DType::I64;
  return op->emitOpError() << "has element type " << element << ", which plans do not have";
}

FailureOr<int64_t> PlanEmitter::define(Value value, Dims dims) {
  Operation *op = value.getDefiningOp() ? value.getDefiningOp() : function.getOperation();
  FailureOr<plan::DType> dtype = planType(cast<RankedTensorType>(value.getType()).getElementType(), op);
  if (failed(dtype))
    return failure();
  int64_t number = plan.values.size();
  plan.values.push_back({std::move(dims), *dtype});
  numbers[value] = number;
  return number;
}

LogicalResult PlanEmitter::emitInputs(Block &body) {
  for (BlockArgument argument : body.getArguments()) {
    unsigned index = argument.getArgNumber();
    auto name = function.getArgAttrOfType<StringAttr>(index, kNameAttr);
    if (!name)
      return emitFunctionError(function) << "has an argument #" << index << " without attribute " << kNameAttr;
    auto type = dyn_cast<RankedTensorType>(argument.getType());
    if (!type)
      return emitFunctionError(function) << "has an argument '" << name.getValue() << "' that is no ranked tensor";
    auto dimNames = function.getArgAttrOfType<ArrayAttr>(index, kDimsAttr);
    int64_t given = dimNames ? dimNames.size() : 0;
    if (given != type.getNumDynamicDims()) {
      return emitFunctionError(function) << "has an argument '" << name.getValue() << "' with "
                                         << type.getNumDynamicDims() << " dynamic dimensions, but " << kDimsAttr
                                         << " names " << given;
    }
    Dims dims(type.getShape().begin(), type.getShape().end());
    unsigned next = 0;
    for (plan::Dim &dim : dims) {
      if (!ShapedType::isDynamic(std::get<int64_t>(dim)))
        continue;
      auto dimName = dyn_cast<StringAttr>(dimNames[next++]);
      if (!dimName)
        return emitFunctionError(function)
               << "has an argument '" << name.getValue() << "' with a name in " << kDimsAttr << " that is no string";
      dim.emplace<std::string>(dimName.str());
    }
    FailureOr<int64_t> number = define(argument, std::move(dims));
    if (failed(number))
      return failure();
    plan.inputs.push_back({name.str(), *number});
  }
  return success();
}

plan::Init makeInit(InitAttr init) {
  plan::Init result;
  result.kind = stringifyInitKind(init.getKind()).str();
  if (init.getSource())
    result.source = init.getSource().str();
  result.heads = init.getHeads();
  result.times = init.getTimes();
  if (init.getValue())
    result.value = init.getValue().getValueAsDouble();
  if (init.getValues())
    result.values = init.getValues().asArrayRef().vec();
  return result;
}

FailureOr<plan::Weight> PlanEmitter::makeWeight(Operation *symbol) {
  plan::Weight weight;
  weight.name = SymbolTable::getSymbolName(symbol).str();
  if (auto gate = dyn_cast<GateOp>(symbol)) {
    weight.gate = true;
    weight.layer = gate.getLayer();
    weight.shape = {static_cast<int64_t>(gate.getValue().size())};
    plan::Init init;
    init.kind = "values";
    init.values = gate.getValue().vec();
    weight.init = init;
    return weight;
  }
  auto op = cast<WeightOp>(symbol);
  auto type = cast<RankedTensorType>(op.getType());
  FailureOr<plan::DType> dtype = planType(type.getElementType(), symbol);
  if (failed(dtype))
    return failure();
  weight.dtype = *dtype;
  weight.shape = type.getShape().vec();
  if (op.getInitAttr())
    weight.init = makeInit(op.getInitAttr());
  if (std::optional<StringRef> teacherOf = op.getTeacherOf())
    weight.teacherOf = teacherOf->str();
  return weight;
}

LogicalResult PlanEmitter::emitWeights() {
  llvm::DenseMap<StringAttr, SmallVector<ParamOp, 1>> params;
  for (auto param : function.getBody().getOps<ParamOp>())
    params[param.getSymbolAttr().getAttr()].push_back(param);
  llvm::StringSet<> outputs;
  for (unsigned index = 0; index < function.getNumResults(); ++index)
    if (auto name = function.getResultAttrOfType<StringAttr>(index, kNameAttr))
      outputs.insert(name.getValue());

  for (Operation &symbol : model.getBody().front()) {
    if (!isa<WeightOp, GateOp>(symbol))
      continue;
    auto reads = params.find(SymbolTable::getSymbolName(&symbol));
    if (reads == params.end())
      continue;
    FailureOr<plan::Weight> weight = makeWeight(&symbol);
    if (failed(weight))
      return failure();
    weight->trainable = outputs.contains("grad." + weight->name);
    FailureOr<int64_t> number =
        define(reads->second.front().getResult(), Dims(weight->shape.begin(), weight->shape.end()));
    if (failed(number))
      return failure();
    for (ParamOp param : reads->second)
      numbers[param.getResult()] = *number;
    plan.weights.push_back(std::move(*weight));
    plan.weightValues.push_back(*number);
  }
  return success();
}

/// The operand from which dynamic dimension `dim` of a result takes its name, and the dimension there. Most ops keep
/// the leading dimensions of their first operand.
std::pair<Value, int64_t> dimSource(Operation *op, unsigned result, int64_t dim) {
  return llvm::TypeSwitch<Operation *, std::pair<Value, int64_t>>(op)
      .Case([&](TakeRowsOp take) { return std::pair(Value(take.getPositions()), dim); })
      .Case([&](ScatterRowsOp scatter) { return std::pair(Value(scatter.getLike()), dim); })
      .Case([&](AttentionGradOp grad) {
        return std::pair(Value(result == 0 ? grad.getQ() : result == 1 ? grad.getK() : grad.getV()), dim);
      })
      .Case([&](WeightedMeanGradOp grad) { return std::pair(Value(grad.getWeights()), dim); })
      .Case([&](SquaredErrorGradOp grad) { return std::pair(Value(grad.getX()), dim); })
      .Case([&](BlendOp blend) { return std::pair(Value(blend.getCandidates().front()), dim); })
      .Case([&](ReduceToOp reduce) {
        return std::pair(Value(reduce.getX()),
                         dim + reduce.getX().getType().getRank() - static_cast<int64_t>(reduce.getRank()));
      })
      .Default([&](Operation *) { return std::pair(op->getNumOperands() ? op->getOperand(0) : Value(), dim); });
}

FailureOr<Dims> PlanEmitter::resultDims(Operation *op, unsigned result) {
  auto type = dyn_cast<RankedTensorType>(op->getResult(result).getType());
  if (!type)
    return op->emitOpError() << "result #" << result << " is no ranked tensor";
  Dims dims(type.getShape().begin(), type.getShape().end());
  for (auto [dim, size] : llvm::enumerate(type.getShape())) {
    if (!ShapedType::isDynamic(size))
      continue;
    auto [source, sourceDim] = dimSource(op, result, dim);
    const Dims *from = source && numbers.contains(source) ? &plan.values[numbers.lookup(source)].shape : nullptr;
    const std::string *name = from && sourceDim < static_cast<int64_t>(from->size())
                                  ? std::get_if<std::string>(&(*from)[sourceDim])
                                  : nullptr;
    if (!name)
      return op->emitOpError() << "has a dynamic dimension #" << dim << " of result #" << result
                               << " that no input of the program names";
    dims[dim].emplace<std::string>(isa<ConcatOp>(op) && dim == 1 ? *name + "+T" : *name);
  }
  return dims;
}

void PlanEmitter::pushOperands(OperandRange operands, bool optional, plan::Instruction &instruction) {
  for (Value operand : operands)
    instruction.operands.push_back(numbers.lookup(operand));
  if (optional && operands.empty())
    instruction.operands.push_back(-1);
}

/// Calls `push(operands, optional)` for each operand of the op's definition in order, and `count(name, size)` for each
/// variadic one.
void forEachOperandGroup(Operation *op, llvm::function_ref<void(OperandRange, bool)> push,
                         llvm::function_ref<void(StringRef, size_t)> count) {
  auto withOptional = [&](auto concrete, unsigned groups, unsigned optional) {
    for (unsigned group = 0; group < groups; ++group)
      push(concrete.getODSOperands(group), group == optional);
  };
  llvm::TypeSwitch<Operation *>(op)
      .Case([&](LinearOp linear) { withOptional(linear, 3, 2); })
      .Case([&](RopeOp rope) { withOptional(rope, 2, 1); })
      .Case([&](AttentionOp attention) { withOptional(attention, 4, 3); })
      .Case([&](AttentionGradOp attention) { withOptional(attention, 5, 4); })
      .Case([&](ShortConvOp conv) { withOptional(conv, 3, 2); })
      .Case([&](ShortConvGradOp conv) { withOptional(conv, 4, 3); })
      .Case([&](LinearAttentionOp linear) {
        withOptional(linear, 5, 4);
        count("extras_count", linear.getExtras().size());
      })
      .Case([&](LinearAttentionGradOp linear) {
        withOptional(linear, 6, 5);
        count("extras_count", linear.getExtras().size());
      })
      .Case<BlendOp, BlendGateGradOp>([&](auto blend) {
        push(op->getOperands(), false);
        count("candidates_count", blend.getCandidates().size());
      })
      .Case([&](StackOp stack) {
        push(op->getOperands(), false);
        count("scalars_count", stack.getScalars().size());
      })
      .Default([&](Operation *) { push(op->getOperands(), false); });
}

LogicalResult PlanEmitter::emitRopeTable(RopeOp rope) {
  if (plan.ropeTables.count(rope.getTable().str()))
    return success();
  auto table = dyn_cast_or_null<RopeTableOp>(SymbolTable::lookupSymbolIn(model, rope.getTableAttr()));
  if (!table)
    return rope.emitOpError() << "refers to @" << rope.getTable() << ", which is no rope table of the model";
  plan.ropeTables[rope.getTable().str()] = {table.getInverseFrequencies().vec(),
                                            table.getAttentionFactor().convertToDouble()};
  return success();
}

LogicalResult PlanEmitter::emitAttributes(Operation *op, plan::Instruction &instruction) {
  for (StringAttr name : op->getName().getAttributeNames()) {
    std::optional<Attribute> attribute = op->getInherentAttr(name);
    if (!attribute || !*attribute || isa<DenseI32ArrayAttr>(*attribute))
      continue; // Absent, or the sizes of operand groups, which the operands show.
    plan::Attribute &slot = instruction.attributes[name.str()];
    if (isa<UnitAttr>(*attribute))
      slot = true;
    else if (auto boolean = dyn_cast<BoolAttr>(*attribute))
      slot = boolean.getValue();
    else if (auto integer = dyn_cast<IntegerAttr>(*attribute))
      slot = integer.getInt();
    else if (auto number = dyn_cast<FloatAttr>(*attribute))
      slot = number.getValueAsDouble();
    else if (auto text = dyn_cast<StringAttr>(*attribute))
      slot = text.str();
    else if (auto symbol = dyn_cast<FlatSymbolRefAttr>(*attribute))
      slot = symbol.getValue().str();
    else
      return op->emitOpError() << "has attribute " << name << " = " << *attribute << ", which plans cannot hold";
  }
  return success();
}

LogicalResult PlanEmitter::emitInstruction(Operation *op) {
  if (op->getName().getDialectNamespace() != MorphDialect::getDialectNamespace() || op->getNumRegions() != 0 ||
      isa<TokenMixerOpInterface>(op)) {
    InFlightDiagnostic error = op->emitOpError() << "is no instruction of plans";
    if (isa<TokenMixerOpInterface>(op))
      error.attachNote() << "morph-expand-mixers writes token mixers in primitive ops";
    return error;
  }
  if (auto rope = dyn_cast<RopeOp>(op); rope && failed(emitRopeTable(rope)))
    return failure();
  plan::Instruction instruction;
  instruction.op = op->getName().stripDialect().str();
  forEachOperandGroup(
      op, [&](OperandRange operands, bool optional) { pushOperands(operands, optional, instruction); },
      [&](StringRef name, size_t size) { instruction.attributes[name.str()] = static_cast<int64_t>(size); });
  if (failed(emitAttributes(op, instruction)))
    return failure();
  for (OpResult result : op->getResults()) {
    FailureOr<Dims> dims = resultDims(op, result.getResultNumber());
    if (failed(dims))
      return failure();
    FailureOr<int64_t> number = define(result, std::move(*dims));
    if (failed(number))
      return failure();
    instruction.results.push_back(*number);
  }
  plan.instructions.push_back(std::move(instruction));
  return success();
}

LogicalResult PlanEmitter::emitOutputs(Operation *terminator) {
  for (OpOperand &operand : terminator->getOpOperands()) {
    auto name = function.getResultAttrOfType<StringAttr>(operand.getOperandNumber(), kNameAttr);
    if (!name)
      return emitFunctionError(function) << "has a result #" << operand.getOperandNumber() << " without attribute "
                                         << kNameAttr;
    plan.outputs.push_back({name.str(), numbers.lookup(operand.get())});
  }
  return success();
}

} // namespace

FailureOr<plan::Plan> emitPlan(ModelOp model, StringRef program) {
  func::FuncOp function = findProgram(model, program);
  if (!function) {
    InFlightDiagnostic error = emitModelError(model) << "has no program '" << program << "'";
    error.attachNote() << "morph-build-" << program << " would make it";
    return error;
  }
  return PlanEmitter(model, function).emit(program);
}

} // namespace morph
