// SPDX-License-Identifier: Apache-2.0
// From a program in primitive ops to a plan for the runtime.

#include "passes/EmitPlan.h"

#include "dialect/KernelRows.h"
#include "dialect/ProgramSizes.h"
#include "dialect/ProgramUpdates.h"
#include "passes/Phases.h"
#include "passes/Pipelines.h"
#include "passes/Symbols.h"
#include "runtime/plan/Names.h"

#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;

namespace morph {
namespace {

class PlanEmitter {
public:
  PlanEmitter(ModelOp model, ProgramOp program) : model(model), program(program) {}

  FailureOr<plan::Plan> emit() {
    plan.model = model.getSymName().str();
    plan.program = program.getSymName().str();
    FailureOr<ProgramSizes> inferred = inferProgramSizes(program);
    if (failed(inferred))
      return failure();
    sizes = std::move(*inferred);
    FailureOr<ProgramUpdates> found = ProgramUpdates::create(program);
    if (failed(found))
      return failure();
    updates.emplace(std::move(*found));
    if (failed(emitInputs()) || failed(emitWeights()))
      return failure();
    for (Operation &op : program.getBlock().without_terminator())
      if (!isa<ParamOp>(op) && failed(emitInstruction(&op)))
        return failure();
    for (auto [name, value] :
         llvm::zip(program.getOutput().getNames().getAsRange<StringAttr>(), program.getOutput().getValues()))
      plan.outputs.push_back({name.str(), numbers.lookup(value)});
    if (program.getUpdate()) {
      FailureOr<plan::Plan> update = PlanEmitter(model, findProgram(model, *program.getUpdate())).emit();
      if (failed(update))
        return failure();
      plan.update = std::make_shared<const plan::Plan>(std::move(*update));
    }
    return std::move(plan);
  }

private:
  LogicalResult emitInputs();
  LogicalResult emitWeights();
  LogicalResult emitInstruction(Operation *op);
  LogicalResult emitLaunch(LaunchOp launch);
  LogicalResult emitRopeTable(Operation *op, FlatSymbolRefAttr name);
  FailureOr<plan::Weight> makeWeight(Operation *symbol);
  std::vector<plan::Piece> piecesOf(StringRef weight);

  /// Gives `value` the next number.
  FailureOr<int64_t> define(Value value);

  ModelOp model;
  ProgramOp program;
  plan::Plan plan;
  ProgramSizes sizes;
  std::optional<ProgramUpdates> updates;
  llvm::DenseMap<Value, int64_t> numbers;
  llvm::StringMap<ArrayAttr> piecesByWeight;
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

FailureOr<int64_t> PlanEmitter::define(Value value) {
  Operation *op = value.getDefiningOp() ? value.getDefiningOp() : program.getOperation();
  FailureOr<plan::DType> dtype = planType(cast<RankedTensorType>(value.getType()).getElementType(), op);
  if (failed(dtype))
    return failure();
  int64_t number = plan.values.size();
  plan.values.push_back({sizes.lookup(value), *dtype});
  numbers[value] = number;
  return number;
}

LogicalResult PlanEmitter::emitInputs() {
  for (auto [argument, name] :
       llvm::zip(program.getBlock().getArguments(), program.getInputs().getAsRange<StringAttr>())) {
    FailureOr<int64_t> number = define(argument);
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

/// What the checkpoint has in the place of a weight of the model; nothing where it has the weight itself.
std::vector<plan::Piece> PlanEmitter::piecesOf(StringRef weight) {
  std::vector<plan::Piece> pieces;
  if (ArrayAttr given = piecesByWeight.lookup(weight))
    for (PieceAttr piece : given.getAsRange<PieceAttr>())
      pieces.push_back({piece.getTensor().str(), piece.getBegin(), piece.getEnd()});
  return pieces;
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
  if (op.getInitAttr()) {
    weight.init = makeInit(op.getInitAttr());
    weight.init->pieces = piecesOf(weight.init->source);
  }
  if (std::optional<StringRef> teacherOf = op.getTeacherOf())
    weight.teacherOf = teacherOf->str();
  weight.pieces = piecesOf(weight.teacherOf.empty() ? weight.name : weight.teacherOf);
  return weight;
}

LogicalResult PlanEmitter::emitWeights() {
  llvm::DenseMap<StringAttr, SmallVector<ParamOp, 1>> params;
  for (auto param : program.getBlock().getOps<ParamOp>())
    params[param.getSymbolAttr().getAttr()].push_back(param);
  llvm::StringSet<> outputs;
  for (auto name : program.getOutput().getNames().getAsRange<StringAttr>())
    outputs.insert(name.getValue());

  for (auto weight : model.getBody().getOps<WeightOp>())
    if (weight.getPieces())
      piecesByWeight[weight.getSymName()] = *weight.getPieces();
  for (Operation &symbol : model.getBody().front()) {
    if (!isa<WeightOp, GateOp>(symbol))
      continue;
    auto reads = params.find(SymbolTable::getSymbolName(&symbol));
    if (reads == params.end())
      continue;
    FailureOr<plan::Weight> weight = makeWeight(&symbol);
    if (failed(weight))
      return failure();
    weight->trainable = outputs.contains(plan::kGradientPrefix + weight->name) ||
                        !updates->find(reads->second.front().getResult()).empty();
    FailureOr<int64_t> number = define(reads->second.front().getResult());
    if (failed(number))
      return failure();
    for (ParamOp param : reads->second)
      numbers[param.getResult()] = *number;
    plan.weights.push_back(std::move(*weight));
    plan.weightValues.push_back(*number);
  }
  return success();
}

LogicalResult PlanEmitter::emitRopeTable(Operation *op, FlatSymbolRefAttr name) {
  if (plan.ropeTables.count(name.getValue().str()))
    return success();
  auto table = dyn_cast_or_null<RopeTableOp>(SymbolTable::lookupSymbolIn(model, name));
  if (!table)
    return op->emitOpError() << "refers to " << name << ", which is no rope table of the model";
  plan.ropeTables[name.getValue().str()] = {table.getInverseFrequencies().vec(),
                                            table.getAttentionFactor().convertToDouble()};
  return success();
}

/// A kernel, its row space named "R0", "R1", ...
FailureOr<plan::Kernel> makeKernel(KernelOp op) {
  plan::Kernel kernel;
  kernel.name = op.getSymName().str();
  kernel.rows = op.getRows();
  llvm::DenseMap<Value, int64_t> numbers;
  auto define = [&](Value value) -> LogicalResult {
    FailureOr<plan::DType> dtype = planType(getElementTypeOrSelf(value.getType()), op);
    if (failed(dtype))
      return failure();
    plan::Shape shape = getShape(value.getType());
    for (auto [index, dim] : llvm::enumerate(shape))
      if (plan::isUnknown(dim))
        dim = "R" + std::to_string(index);
    numbers[value] = kernel.values.size();
    kernel.values.push_back({std::move(shape), *dtype});
    return success();
  };
  Block &body = op.getBody().front();
  kernel.arguments = body.getNumArguments();
  for (Value argument : body.getArguments())
    if (failed(define(argument)))
      return failure();
  for (Operation &inner : body.without_terminator()) {
    const plan::OpRule *rule = findOpRule(&inner);
    if (!rule)
      return inner.emitOpError() << "is no instruction of plans";
    plan::Instruction instruction = makeInstruction(&inner, *rule, numbers);
    for (Value result : inner.getResults()) {
      if (failed(define(result)))
        return failure();
      instruction.results.push_back(numbers.lookup(result));
    }
    kernel.instructions.push_back(std::move(instruction));
  }
  for (Value result : op.getReturned())
    kernel.results.push_back(numbers.lookup(result));
  kernel.inPlace.assign(kernel.results.size(), -1);
  for (auto [result, argument] : findInPlace(op))
    kernel.inPlace[result] = argument;
  return kernel;
}

LogicalResult PlanEmitter::emitLaunch(LaunchOp launch) {
  plan::Instruction instruction;
  instruction.op = "launch";
  instruction.attributes["kernel"] = launch.getKernel().str();
  instruction.attributes["arguments_count"] = static_cast<int64_t>(launch.getArguments().size());
  if (!plan::findKernel(plan, instruction)) {
    auto kernel = cast<KernelOp>(SymbolTable::lookupSymbolIn(model, launch.getKernelAttr()));
    FailureOr<plan::Kernel> made = makeKernel(kernel);
    if (failed(made))
      return failure();
    plan.kernels.push_back(std::move(*made));
  }
  for (Value argument : launch.getArguments())
    instruction.operands.push_back(numbers.lookup(argument));
  for (Value result : launch.getResults()) {
    FailureOr<int64_t> number = define(result);
    if (failed(number))
      return failure();
    instruction.results.push_back(*number);
  }
  plan.instructions.push_back(std::move(instruction));
  return success();
}

LogicalResult PlanEmitter::emitInstruction(Operation *op) {
  if (auto launch = dyn_cast<LaunchOp>(op))
    return emitLaunch(launch);
  const plan::OpRule *rule = findOpRule(op);
  if (!rule) {
    InFlightDiagnostic error = op->emitOpError() << "is no instruction of plans";
    if (isa<TokenMixerOpInterface>(op))
      error.attachNote() << "morph-expand-mixers writes token mixers in primitive ops";
    return error;
  }
  for (const plan::ShapeRule &constraint : rule->rules)
    if (constraint.kind == plan::RuleKind::Table &&
        failed(emitRopeTable(op, op->getAttrOfType<FlatSymbolRefAttr>(constraint.first))))
      return failure();
  plan::Instruction instruction = makeInstruction(op, *rule, numbers);
  for (Value result : op->getResults()) {
    FailureOr<int64_t> number = define(result);
    if (failed(number))
      return failure();
    instruction.results.push_back(*number);
  }
  plan.instructions.push_back(std::move(instruction));
  return success();
}

} // namespace

FailureOr<plan::Plan> emitPlan(ModelOp model, StringRef program) {
  ProgramOp op = findProgram(model, program);
  if (!op) {
    InFlightDiagnostic error = emitModelError(model) << "has no program '" << program << "'";
    if (llvm::is_contained(programNames(), program))
      error.attachNote() << "morph-build-" << program << " would make it";
    else if (program.consume_back("_update") && findProgram(model, program))
      error.attachNote() << "morph-build-update=program=" << program << " would make it";
    return error;
  }
  return PlanEmitter(model, op).emit();
}

} // namespace morph
