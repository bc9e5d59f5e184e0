// SPDX-License-Identifier: Apache-2.0
// The common part of the passes that build programs.

#include "passes/ProgramBuilder.h"

using namespace mlir;

namespace morph {

/// The model's function `name`, which takes one tensor and gives one; null with an error where it has no such type.
/// `fits` checks the types, `expected` says what they are.
static func::FuncOp findFunction(ModelOp model, StringRef name,
                                 function_ref<bool(RankedTensorType, RankedTensorType)> fits, StringRef expected) {
  auto function = dyn_cast_or_null<func::FuncOp>(SymbolTable::lookupSymbolIn(model, name));
  if (!function) {
    emitModelError(model) << "has no function @" << name << ", of which programs are made";
    return nullptr;
  }
  FunctionType type = function.getFunctionType();
  auto input = type.getNumInputs() == 1 ? dyn_cast<RankedTensorType>(type.getInput(0)) : RankedTensorType();
  auto result = type.getNumResults() == 1 ? dyn_cast<RankedTensorType>(type.getResult(0)) : RankedTensorType();
  if (hasStraightBody(function) && input && result && fits(input, result))
    return function;
  emitFunctionError(function) << "has type " << type << ", expected a body and " << expected;
  return nullptr;
}

/// Whether all dimensions of a tensor are dynamic but, with `hasKnownLast`, the last.
static bool isTensorOf(RankedTensorType type, int64_t rank, bool hasKnownLast) {
  ArrayRef<int64_t> shape = type.getShape();
  return type.getRank() == rank && ShapedType::isDynamic(shape.back()) != hasKnownLast &&
         llvm::all_of(shape.drop_back(), ShapedType::isDynamic);
}

FailureOr<ProgramBuilder> ProgramBuilder::create(ModelOp model, StringRef program) {
  auto isForward = [](RankedTensorType input, RankedTensorType result) {
    return input.getElementType().isInteger(64) && isTensorOf(input, 2, false) && result.getElementType().isF32() &&
           isTensorOf(result, 3, true);
  };
  auto isHead = [](RankedTensorType input, RankedTensorType result) {
    return input.getElementType().isF32() && isTensorOf(input, 2, true) && result.getElementType().isF32() &&
           isTensorOf(result, 2, true);
  };
  func::FuncOp forward =
      findFunction(model, "forward", isForward, "(tensor<?x?xi64>) -> tensor<?x?xCxf32> with a known C");
  func::FuncOp head = findFunction(model, "head", isHead, "(tensor<?xCxf32>) -> tensor<?xVxf32> with known C and V");
  if (!forward || !head)
    return failure();
  auto hidden = cast<RankedTensorType>(forward.getFunctionType().getResult(0));
  auto rows = cast<RankedTensorType>(head.getFunctionType().getInput(0));
  if (hidden.getDimSize(2) != rows.getDimSize(1))
    return emitFunctionError(head) << "takes rows of " << rows.getDimSize(1) << " elements, but @forward gives "
                                   << hidden.getDimSize(2);
  if (Operation *other = SymbolTable::lookupSymbolIn(model, program)) {
    InFlightDiagnostic error = emitModelError(model) << "already has a symbol @" << program;
    error.attachNote(other->getLoc()) << "declared here";
    return error;
  }
  return ProgramBuilder(model, forward, head, program);
}

ProgramBuilder::ProgramBuilder(ModelOp model, func::FuncOp forward, func::FuncOp head, StringRef program)
    : model_(model), forward_(forward), head_(head), builder_(model.getContext()) {
  builder_.setInsertionPointToEnd(&model.getBody().front());
  program_ = builder_.create<ProgramOp>(forward.getLoc(), program);
  builder_.setInsertionPointToStart(&program_.getBlock());
}

Value ProgramBuilder::addInput(StringRef name, RankedTensorType type, ArrayRef<StringRef> dims) {
  return program_.addInput(name, type, dims);
}

Value ProgramBuilder::addTokens() {
  return addInput("tokens", cast<RankedTensorType>(forward_.getFunctionType().getInput(0)), {"B", "T"});
}

static RankedTensorType rowsOf(Type element) { return RankedTensorType::get({ShapedType::kDynamic}, element); }

Value ProgramBuilder::addPositions() { return addInput("positions", rowsOf(builder_.getI64Type()), {"N"}); }
Value ProgramBuilder::addTargets() { return addInput("targets", rowsOf(builder_.getI64Type()), {"N"}); }
Value ProgramBuilder::addWeights() { return addInput("weights", rowsOf(builder_.getF32Type()), {"N"}); }

void ProgramBuilder::addOutput(StringRef name, Value value) {
  outputs_.push_back(value);
  outputNames_.push_back(builder_.getStringAttr(name));
}

LogicalResult ProgramBuilder::addStream(uint64_t layer, Value mixed, const IRMapping &mapping) {
  FailureOr<Residual> residual = findResidual(mixed);
  if (failed(residual))
    return failure();
  addOutput("stream." + std::to_string(layer), mapping.lookup(residual->stream));
  return success();
}

Value ProgramBuilder::copyCandidate(ChoiceOp choice, unsigned candidate, IRMapping &mapping) {
  Block &body = choice.getBodies()[candidate].front();
  for (Operation &op : body.without_terminator())
    builder_.clone(op, mapping);
  return mapping.lookupOrDefault(body.getTerminator()->getOperand(0));
}

FailureOr<Value> ProgramBuilder::copyFunction(func::FuncOp function, Value argument, IRMapping &mapping,
                                              OpRewrite rewrite) {
  Block &body = function.getBody().front();
  mapping.map(body.getArgument(0), argument);
  for (Operation &op : body.without_terminator()) {
    FailureOr<Value> replacement = rewrite(&op, mapping);
    if (failed(replacement))
      return failure();
    if (auto choice = dyn_cast<ChoiceOp>(op); choice && !*replacement)
      replacement = copyCandidate(choice, 0, mapping);
    if (*replacement)
      mapping.map(op.getResult(0), *replacement);
    else
      builder_.clone(op, mapping);
  }
  return mapping.lookup(body.getTerminator()->getOperand(0));
}

static FailureOr<Value> copyAsItIs(Operation *, IRMapping &) { return Value(); }

FailureOr<Value> ProgramBuilder::copyForward(Value tokens, IRMapping &mapping, OpRewrite rewrite) {
  return copyFunction(forward_, tokens, mapping, rewrite);
}
FailureOr<Value> ProgramBuilder::copyForward(Value tokens, IRMapping &mapping) {
  return copyForward(tokens, mapping, copyAsItIs);
}
FailureOr<Value> ProgramBuilder::copyForward(Value tokens) {
  IRMapping mapping;
  return copyForward(tokens, mapping);
}

FailureOr<Value> ProgramBuilder::copyHead(Value rows, OpRewrite rewrite) {
  IRMapping mapping;
  return copyFunction(head_, rows, mapping, rewrite);
}
FailureOr<Value> ProgramBuilder::copyHead(Value rows) { return copyHead(rows, copyAsItIs); }

Value ProgramBuilder::rowsAt(Value state, Value positions) {
  OpBuilder::InsertionGuard guard(builder_);
  builder_.setInsertionPointAfterValue(state);
  return builder_.create<TakeRowsOp>(loc(), state, positions);
}

Value ProgramBuilder::mean(ArrayRef<Value> scalars, size_t count) {
  Value sum = scalars.front();
  for (Value scalar : scalars.drop_front())
    sum = builder_.create<AddOp>(loc(), sum, scalar);
  return builder_.create<ScaleOp>(loc(), sum, builder_.getF64FloatAttr(1.0 / count));
}

void ProgramBuilder::finish(const SymbolNames &trainable) {
  builder_.create<OutputOp>(loc(), builder_.getArrayAttr(outputNames_), outputs_);
  SmallVector<Attribute> symbols;
  for (StringAttr name : trainable)
    symbols.push_back(FlatSymbolRefAttr::get(name));
  program_.setTrainedAttr(builder_.getArrayAttr(symbols));
}

FailureOr<Value> addCrossEntropy(ProgramBuilder &program) {
  OpBuilder &builder = program.builder();
  Value tokens = program.addTokens(), positions = program.addPositions();
  Value targets = program.addTargets(), weights = program.addWeights();
  FailureOr<Value> hidden = program.copyForward(tokens);
  if (failed(hidden))
    return failure();
  FailureOr<Value> logits = program.copyHead(builder.create<TakeRowsOp>(program.loc(), *hidden, positions));
  if (failed(logits))
    return failure();
  Value nll = builder.create<TokenNllOp>(program.loc(), *logits, targets);
  return builder.create<WeightedMeanOp>(program.loc(), nll, weights).getResult();
}

FailureOr<Residual> findResidual(Value mixed) {
  Residual residual;
  Value value = mixed;
  while (value.hasOneUse()) {
    Operation *user = *value.getUsers().begin();
    // Where one side is broadcast, it is no residual stream.
    if (auto add = dyn_cast<AddOp>(user); add && add.getLhs().getType() == add.getRhs().getType()) {
      residual.add = add;
      residual.stream = add.getLhs() == value ? add.getRhs() : add.getLhs();
      return residual;
    }
    if (user->getNumResults() != 1 || user->getResult(0).getType() != value.getType())
      break;
    residual.behind.push_back(user);
    value = user->getResult(0);
  }
  return mixed.getDefiningOp()->emitOpError() << "is not used by exactly one residual addition";
}

} // namespace morph
