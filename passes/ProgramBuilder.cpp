// SPDX-License-Identifier: Apache-2.0
// The common part of the passes that build programs.

#include "passes/ProgramBuilder.h"

using namespace mlir;

namespace morph {

/// The model's function `name` with one argument of rank `argumentRank` and one result of rank `resultRank`.
static func::FuncOp findFunction(ModelOp model, StringRef name, int64_t argumentRank, int64_t resultRank) {
  auto function = dyn_cast_or_null<func::FuncOp>(SymbolTable::lookupSymbolIn(model, name));
  if (!function) {
    emitModelError(model) << "has no function @" << name << ", of which programs are made";
    return nullptr;
  }
  auto isTensor = [](Type type, int64_t rank) {
    auto tensor = dyn_cast<RankedTensorType>(type);
    return tensor && tensor.getRank() == rank;
  };
  FunctionType type = function.getFunctionType();
  if (!function.getBody().hasOneBlock() || type.getNumInputs() != 1 || type.getNumResults() != 1 ||
      !isTensor(type.getInput(0), argumentRank) || !isTensor(type.getResult(0), resultRank)) {
    emitFunctionError(function) << "has type " << type << ", expected one block from a tensor of rank " << argumentRank
                                << " to a tensor of rank " << resultRank;
    return nullptr;
  }
  return function;
}

FailureOr<ProgramBuilder> ProgramBuilder::create(ModelOp model, StringRef program) {
  func::FuncOp forward = findFunction(model, "forward", 2, 3);
  func::FuncOp head = findFunction(model, "head", 2, 2);
  if (!forward || !head)
    return failure();
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
  function_ = builder_.create<func::FuncOp>(forward.getLoc(), program, builder_.getFunctionType({}, {}));
  function_->setAttr(kProgramAttr, builder_.getStringAttr(program));
  builder_.setInsertionPointToStart(function_.addEntryBlock());
}

Value ProgramBuilder::addInput(StringRef name, RankedTensorType type, ArrayRef<StringRef> dims) {
  SmallVector<NamedAttribute> attributes{builder_.getNamedAttr(kNameAttr, builder_.getStringAttr(name))};
  if (!dims.empty())
    attributes.push_back(builder_.getNamedAttr(kDimsAttr, builder_.getStrArrayAttr(dims)));
  inputAttrs_.push_back(builder_.getDictionaryAttr(attributes));
  return function_.getBody().addArgument(type, loc());
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
  outputAttrs_.push_back(builder_.getDictionaryAttr(builder_.getNamedAttr(kNameAttr, builder_.getStringAttr(name))));
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
FailureOr<Value> ProgramBuilder::copyForward(Value tokens) {
  IRMapping mapping;
  return copyForward(tokens, mapping, copyAsItIs);
}

FailureOr<Value> ProgramBuilder::copyHead(Value rows, OpRewrite rewrite) {
  IRMapping mapping;
  return copyFunction(head_, rows, mapping, rewrite);
}
FailureOr<Value> ProgramBuilder::copyHead(Value rows) { return copyHead(rows, copyAsItIs); }

Value ProgramBuilder::mean(ArrayRef<Value> scalars) {
  Value sum = scalars.front();
  for (Value scalar : scalars.drop_front())
    sum = builder_.create<AddOp>(loc(), sum, scalar);
  return builder_.create<ScaleOp>(loc(), sum, builder_.getF64FloatAttr(1.0 / scalars.size()));
}

void ProgramBuilder::finish(const SymbolNames &trainable) {
  builder_.create<func::ReturnOp>(loc(), outputs_);
  Block &body = function_.getBody().front();
  function_.setFunctionType(builder_.getFunctionType(llvm::to_vector(body.getArgumentTypes()),
                                                     llvm::to_vector(ValueRange(outputs_).getTypes())));
  function_.setAllArgAttrs(inputAttrs_);
  function_.setAllResultAttrs(outputAttrs_);
  if (trainable.empty())
    return;
  SmallVector<Attribute> symbols;
  for (StringAttr name : trainable)
    symbols.push_back(FlatSymbolRefAttr::get(name));
  function_->setAttr(kTrainableAttr, builder_.getArrayAttr(symbols));
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

AddOp findResidual(Value mixed) {
  AddOp residual;
  for (Operation *user : mixed.getUsers()) {
    auto add = dyn_cast<AddOp>(user);
    if (!add || residual) {
      residual = nullptr;
      break;
    }
    residual = add;
  }
  if (!residual)
    mixed.getDefiningOp()->emitOpError() << "is not used by exactly one residual addition";
  return residual;
}

} // namespace morph
