// SPDX-License-Identifier: Apache-2.0

#include "dialect/MixerExpander.h"

#include "dialect/MixerBuilder.h"
#include "dialect/Rotation.h"
#include "runtime/plan/OpTable.h"
#include "runtime/plan/SizeLimits.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/MathExtras.h"

#include <cmath>

using namespace mlir;
using namespace morph;

/// The largest first value that is written out: elements of `values` of a weight.
static constexpr int64_t kWrittenElements = 1 << 20;

//===----------------------------------------------------------------------===//
// Names and expressions
//===----------------------------------------------------------------------===//

FailureOr<MixerExpander> MixerExpander::create(LinearMixerOp use) {
  auto model = use->getParentOfType<ModelOp>();
  auto declaration =
      model ? dyn_cast_or_null<MixerOp>(SymbolTable::lookupSymbolIn(model, use.getMixerAttr().getAttr())) : MixerOp();
  if (!declaration) {
    use.emitOpError() << "linear_mixer_c6: the model declares no mixer " << use.getMixerAttr();
    return failure();
  }
  MixerExpander expander(use, declaration);
  if (failed(expander.bind()))
    return failure();
  return expander;
}

LogicalResult MixerExpander::check(LinearMixerOp use, bool isNew) {
  FailureOr<MixerExpander> expander = create(use);
  if (failed(expander) || failed(expander->getParameters(isNew)) || failed(expander->checkCopy()))
    return failure();
  Block scratch;
  OpBuilder at(use.getContext());
  at.setInsertionPointToEnd(&scratch);
  return expander->calibrate(at, scratch.addArgument(use.getHidden().getType(), use.getLoc()));
}

InFlightDiagnostic MixerExpander::emitError() {
  InFlightDiagnostic error = use.emitOpError() << "linear_mixer_c9: ";
  if (current)
    error.attachNote(current->getLoc()) << "of " << SymbolRefAttr::get(declaration.getSymNameAttr()) << " here";
  return error;
}

LogicalResult MixerExpander::bindOptions() {
  auto fail = [&](const Twine &message) { return use.emitOpError() << "linear_mixer_c7: " << message; };
  StringRef mixer = declaration.getSymName();
  for (auto option : declaration.getOptions().getAsRange<MixerOptionAttr>()) {
    Attribute given = use.getOptions().get(option.getName());
    if (!given)
      return fail("option '" + option.getName() + "' of '" + mixer + "' is missing");
    std::optional<double> value = option.read(given);
    if (!value) {
      // A value of the wrong kind shows its type.
      bool sameType = isa<TypedAttr>(given) && cast<TypedAttr>(given).getType() == option.getValue().getType();
      std::string text;
      llvm::raw_string_ostream os(text);
      given.print(os, /*elideType=*/sameType);
      return fail("option '" + option.getName() + "' of '" + mixer + "' is " + text + ", expected " +
                  option.describeRanges());
    }
    names[option.getName()] = *value;
  }
  for (NamedAttribute given : use.getOptions())
    if (!declaration.lookupOption(given.getName()))
      return fail("'" + mixer + "' has no option '" + given.getName().getValue() + "'");
  return success();
}

LogicalResult MixerExpander::bind() {
  auto model = use->getParentOfType<ModelOp>();
  names["M"] = static_cast<double>(cast<RankedTensorType>(use.getHidden().getType()).getShape().back());
  names["H"] = static_cast<double>(use.getHeads());
  names["G"] = static_cast<double>(use.getSourceKvHeads());
  names["D"] = static_cast<double>(use.getHeadDim());
  names["base.qkv_bias"] = use.getQkvBias();
  names["base.o_bias"] = use.getOBias();
  names["base.qk_norm"] = use.getQkNormEps().has_value();
  names["base.qk_norm_eps"] = use.getQkNormEps() ? use.getQkNormEps()->convertToDouble() : 0;
  names["base.qk_norm_wide"] = use.getQkNormWide();
  names["base.qk_norm_offset"] = use.getQkNormOffset() ? use.getQkNormOffset()->convertToDouble() : 0;
  names["base.scale"] = use.getSourceScale() ? use.getSourceScale()->convertToDouble()
                                             : 1 / std::sqrt(static_cast<double>(use.getHeadDim()));
  names["base.softcap"] = use.getSourceSoftcap() ? use.getSourceSoftcap()->convertToDouble() : 0;
  names["base.norm_eps"] = use.getNormEps().convertToDouble();
  names["base.layer"] = static_cast<double>(use.getLayer());
  names["base.window"] = static_cast<double>(use.getSourceWindow().value_or(limits::kDimension));
  names["base.layers"] = static_cast<double>(model.getLayers());
  if (failed(bindOptions()))
    return failure();
  for (auto size : declaration.getSizes().getAsRange<FormulaAttr>()) {
    FailureOr<int64_t> value = getSize(size.getText());
    if (failed(value))
      return failure();
    names[size.getName()] = static_cast<double>(*value);
  }
  for (auto condition : declaration.getConditions().getAsRange<FormulaAttr>()) {
    FailureOr<bool> holds = getCondition(condition.getText());
    if (failed(holds))
      return failure();
    if (!*holds)
      return emitError() << "'" << declaration.getSymName() << "' needs " << condition.getText() << ": "
                         << condition.getName();
  }
  return success();
}

FailureOr<double> MixerExpander::getNumber(StringRef text) {
  FailureOr<Expression> expression = parse(text);
  return failed(expression) ? FailureOr<double>(failure()) : getNumber(*expression, {});
}

FailureOr<Expression> MixerExpander::parse(StringRef text) {
  TextError error;
  if (std::optional<Expression> expression = parseExpression(text, error))
    return std::move(*expression);
  emitError() << "'" << text << "': " << error.message;
  return failure();
}

FailureOr<double> MixerExpander::getNumber(const Expression &expression, const llvm::StringMap<double> &indices) {
  auto lookup = [&](StringRef name) -> std::optional<double> {
    if (auto found = indices.find(name); found != indices.end())
      return found->second;
    auto found = names.find(name);
    return found == names.end() ? std::nullopt : std::optional(found->second);
  };
  TextError error;
  if (std::optional<double> value = evaluateNumber(expression, lookup, error))
    return *value;
  emitError() << "'" << printExpression(expression) << "': " << error.message;
  return failure();
}

FailureOr<int64_t> MixerExpander::getSize(StringRef text) {
  auto lookup = [&](StringRef name) -> std::optional<int64_t> {
    auto found = names.find(name);
    if (found == names.end() || found->second != std::floor(found->second))
      return std::nullopt;
    return static_cast<int64_t>(found->second);
  };
  FailureOr<Expression> expression = parse(text);
  if (failed(expression))
    return failure();
  TextError error;
  if (std::optional<int64_t> value = evaluateSize(*expression, lookup, error))
    return *value;
  emitError() << "size '" << text << "': " << error.message;
  return failure();
}

FailureOr<bool> MixerExpander::getCondition(StringRef expression) {
  FailureOr<double> value = getNumber(expression);
  if (failed(value))
    return failure();
  return *value != 0;
}

FailureOr<SmallVector<int64_t>> MixerExpander::getSizes(ArrayAttr texts) {
  SmallVector<int64_t> sizes;
  for (auto text : texts.getAsRange<StringAttr>()) {
    FailureOr<int64_t> size = getSize(text);
    if (failed(size))
      return failure();
    sizes.push_back(*size);
  }
  return sizes;
}

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

LogicalResult MixerExpander::checkSource(MixerWeightOp weight, ArrayRef<int64_t> shape, int64_t times) {
  AttentionShape attention;
  attention.hidden = cast<RankedTensorType>(use.getHidden().getType()).getShape().back();
  attention.heads = use.getHeads();
  attention.kvHeads = use.getSourceKvHeads();
  attention.headDim = use.getHeadDim();
  attention.qkvBias = use.getQkvBias();
  attention.outputBias = use.getOBias();
  attention.isNormed = use.getQkNormEps().has_value();
  attention.isWide = use.getQkNormWide();
  StringRef name = weight.getInit().getText();
  for (MixerParameter &source : makeAttentionParameters(use.getSource(), attention)) {
    if (source.name != (use.getSource() + "." + name).str())
      continue;
    source.shape.front() *= times;
    if (ArrayRef<int64_t>(source.shape) == shape)
      return success();
    return emitError() << "'" << weight.getName() << "' is " << getTensorType(use.getContext(), shape)
                       << ", but its first values, of '" << name << "', are "
                       << getTensorType(use.getContext(), source.shape);
  }
  return emitError() << "'" << weight.getName() << "' starts as '" << name
                     << "', which the layer's full attention does not have";
}

FailureOr<InitAttr> MixerExpander::getInit(MixerWeightOp weight, ArrayRef<int64_t> shape) {
  MLIRContext *context = use.getContext();
  Builder attributes(context);
  MixerInitAttr init = weight.getInit();
  auto source = [&] { return attributes.getStringAttr(use.getSource() + "." + init.getText()); };
  auto single = [&](InitKind kind, double value) {
    return InitAttr::get(context, kind, nullptr, 0, 0, attributes.getF64FloatAttr(value), nullptr);
  };
  if (init.getKind() == InitKind::Copy || init.getKind() == InitKind::RepeatHeads) {
    int64_t groups = use.getSourceKvHeads(), times = use.getHeads() / groups;
    // The norm of a head is that of all heads.
    const bool isOfOneHead = StringRef(init.getText()).ends_with("_norm.weight") && !use.getQkNormWide();
    if (init.getKind() == InitKind::Copy || isOfOneHead)
      times = 1;
    if (failed(checkSource(weight, shape, times)))
      return failure();
    if (times == 1)
      return InitAttr::get(context, InitKind::Copy, source(), 0, 0, nullptr, nullptr);
    return InitAttr::get(context, InitKind::RepeatHeads, source(), groups, times, nullptr, nullptr);
  }
  if (init.getKind() == InitKind::Normal) {
    FailureOr<double> deviation = getNumber(init.getText());
    if (failed(deviation))
      return failure();
    if (*deviation < 0)
      return emitError() << "the standard deviation of '" << weight.getName() << "' is " << *deviation
                         << ", expected no negative number";
    return single(InitKind::Normal, *deviation);
  }

  FailureOr<Expression> formula = parse(init.getText());
  if (failed(formula))
    return failure();
  // Along dimensions without an index all elements are the same; the last ones that have one are written out.
  auto indices = weight.getIndices().getAsRange<StringAttr>();
  auto first = llvm::find_if(indices, [](StringAttr index) { return !index.empty(); });
  size_t outer = static_cast<size_t>(std::distance(indices.begin(), first));
  llvm::StringMap<double> values;
  if (outer == shape.size()) {
    FailureOr<double> value = getNumber(*formula, values);
    return failed(value) ? FailureOr<InitAttr>(failure()) : single(InitKind::Constant, *value);
  }
  int64_t count = 1;
  for (int64_t size : shape.drop_front(outer))
    if (llvm::MulOverflow(count, size, count) || count > kWrittenElements)
      return emitError() << "the first value of '" << weight.getName() << "' has more than " << kWrittenElements
                         << " elements, expected fewer: give it fewer indices";
  SmallVector<double> elements;
  elements.reserve(static_cast<size_t>(count));
  for (int64_t element = 0; element < count; ++element) {
    int64_t rest = element;
    for (size_t dimension = shape.size(); dimension-- > outer;) {
      if (auto index = cast<StringAttr>(weight.getIndices()[dimension]); !index.empty())
        values[index] = static_cast<double>(rest % shape[dimension]);
      rest /= shape[dimension];
    }
    FailureOr<double> value = getNumber(*formula, values);
    if (failed(value))
      return failure();
    elements.push_back(*value);
  }
  return InitAttr::get(context, InitKind::Values, nullptr, 0, 0, nullptr, DenseF64ArrayAttr::get(context, elements));
}

FailureOr<bool> MixerExpander::hasWeight(MixerWeightOp weight) {
  return weight.getCondition() ? getCondition(*weight.getCondition()) : FailureOr<bool>(true);
}

FailureOr<SmallVector<MixerParameter>> MixerExpander::getParameters(bool withFirstValues) {
  SmallVector<MixerParameter> parameters;
  for (auto weight : declaration.getBody().front().getOps<MixerWeightOp>()) {
    current = weight;
    FailureOr<bool> exists = hasWeight(weight);
    if (failed(exists))
      return failure();
    if (!*exists)
      continue;
    FailureOr<SmallVector<int64_t>> shape = getSizes(weight.getSizes());
    if (failed(shape))
      return failure();
    int64_t elements = 1;
    for (int64_t size : *shape)
      if (llvm::MulOverflow(elements, size, elements) || elements > limits::kWeightElements)
        return emitError() << "'" << weight.getName() << "' has more than " << limits::kWeightElements << " elements";
    MixerParameter parameter = makeParameter(use.getPrefix(), weight.getName(), *shape);
    parameter.trainable = !weight.getFrozen();
    if (withFirstValues) {
      FailureOr<InitAttr> init = getInit(weight, *shape);
      if (failed(init))
        return failure();
      parameter.init = *init;
    }
    parameters.push_back(std::move(parameter));
  }
  current = nullptr;
  return parameters;
}

FailureOr<Value> MixerExpander::getWeight(MixerWeightOp weight) {
  FailureOr<bool> exists = hasWeight(weight);
  if (failed(exists))
    return failure();
  if (!*exists)
    return Value();
  FailureOr<SmallVector<int64_t>> shape = getSizes(weight.getSizes());
  if (failed(shape))
    return failure();
  return createParam(*builder, getLoc(), (use.getPrefix() + "." + weight.getName()).str(), *shape);
}

//===----------------------------------------------------------------------===//
// Copies of the body
//===----------------------------------------------------------------------===//

LogicalResult MixerExpander::inferTypes(Operation *op) {
  auto *interface = op->getName().getInterface<InferTypeOpInterface>();
  SmallVector<Type> types;
  // An op that does not fit says so itself; the diagnostic is completed with where it comes from.
  std::string message;
  LogicalResult inferred = success();
  {
    ScopedDiagnosticHandler handler(op->getContext(), [&](Diagnostic &diagnostic) {
      message = diagnostic.str();
      return success();
    });
    inferred =
        interface->inferReturnTypes(op->getContext(), op->getLoc(), op->getOperands(), op->getRawDictionaryAttrs(),
                                    op->getPropertiesStorage(), op->getRegions(), types);
  }
  if (failed(inferred)) {
    op->erase();
    return emitError() << message;
  }
  for (auto [result, type] : llvm::zip_equal(op->getResults(), types))
    result.setType(type);
  return success();
}

FailureOr<Value> MixerExpander::maskPadding(Value x) {
  if (!inputs->start)
    return x;
  auto type = cast<RankedTensorType>(x.getType());
  bool hasHeads = type.getRank() == 4;
  if (hasHeads) {
    FailureOr<MergeHeadsOp> merged = create<MergeHeadsOp>(x);
    if (failed(merged))
      return failure();
    x = *merged;
  }
  FailureOr<MaskPaddingOp> masked = create<MaskPaddingOp>(x, inputs->start, inputs->offset);
  if (failed(masked))
    return failure();
  if (!hasHeads)
    return masked->getResult();
  FailureOr<SplitHeadsOp> split = create<SplitHeadsOp>(masked->getResult(), type.getDimSize(2));
  return failed(split) ? FailureOr<Value>(failure()) : split->getResult();
}

FailureOr<Value> MixerExpander::getState(StringRef name, RankedTensorType type, int64_t window) {
  if (llvm::any_of(states, [&](const MixerState &state) { return state.name == name; }))
    return emitError() << "the state '" << name << "' is there twice";
  states.push_back({name.str(), type, window});
  if (inputs->states.empty())
    return Value();
  assert(states.size() <= inputs->states.size() && "getStates counts them the same way");
  return inputs->states[states.size() - 1];
}

void MixerExpander::setState(Value next) { nextStates.push_back(next); }

FailureOr<SmallVector<Value>> MixerExpander::copyBlock(Region &region) {
  for (Operation &op : region.front().without_terminator()) {
    current = &op;
    SmallVector<Value> operands = llvm::map_to_vector(op.getOperands(), [&](Value v) { return mapping.lookup(v); });
    if (llvm::is_contained(operands, Value()))
      return emitError() << "'" << op.getName() << "' reads a weight that the mixer does not have";
    if (auto statement = dyn_cast<MixerStatementOpInterface>(op)) {
      FailureOr<SmallVector<Value>> results = statement.expandStatement(*this, operands);
      if (failed(results))
        return failure();
      for (auto [before, after] : llvm::zip_equal(op.getResults(), *results))
        mapping.map(before, after);
      continue;
    }
    Operation *copy = builder->clone(op, mapping);
    copy->setLoc(getLoc());
    if (failed(inferTypes(copy)))
      return failure();
  }
  SmallVector<Value> yielded;
  for (Value value : region.front().getTerminator()->getOperands()) {
    yielded.push_back(mapping.lookup(value));
    if (!yielded.back())
      return emitError() << "a weight that the mixer does not have is yielded";
  }
  return yielded;
}

FailureOr<MixerExpansion> MixerExpander::expand(OpBuilder &at, const MixerInputs &given) {
  builder = &at;
  inputs = &given;
  mapping.clear();
  states.clear();
  nextStates.clear();
  mapping.map(declaration.getHidden(), given.hidden);
  FailureOr<SmallVector<Value>> yielded = copyBlock(declaration.getBody());
  current = nullptr;
  if (failed(yielded))
    return failure();
  MixerExpansion expansion;
  expansion.hidden = yielded->front();
  if (expansion.hidden.getType() != given.hidden.getType())
    return emitError() << "'" << declaration.getSymName() << "' gives " << expansion.hidden.getType() << ", expected "
                       << given.hidden.getType();
  if (!given.states.empty())
    expansion.states = nextStates;
  return expansion;
}

FailureOr<SmallVector<std::pair<std::string, Value>>> MixerExpander::calibrate(OpBuilder &at, Value hidden) {
  calibrations.clear();
  // A copy of the body costs time, which most declarations need not take.
  if (declaration.getBody().walk([](MixerCalibrateOp) { return WalkResult::interrupt(); }).wasInterrupted()) {
    MixerInputs given;
    given.hidden = hidden;
    calibrates = true;
    FailureOr<MixerExpansion> expansion = expand(at, given);
    calibrates = false;
    if (failed(expansion))
      return failure();
  }
  return calibrations;
}

LogicalResult MixerExpander::addCalibration(MixerCalibrateOp op) {
  if (!calibrates)
    return success();
  for (auto weight : declaration.getBody().getOps<MixerWeightOp>()) {
    if (weight.getName() != op.getWeight())
      continue;
    FailureOr<bool> exists = hasWeight(weight);
    if (failed(exists))
      return failure();
    if (!*exists)
      return emitError() << "it calibrates a weight that the mixer does not have";
    FailureOr<SmallVector<int64_t>> shape = getSizes(weight.getSizes());
    FailureOr<SmallVector<Value>> value = copyBlock(op.getBody());
    current = op;
    if (failed(shape) || failed(value))
      return failure();
    if (auto type = cast<RankedTensorType>(value->front().getType()); type.getShape() != ArrayRef(*shape))
      return emitError() << "'" << op.getWeight() << "' is calibrated to " << type << ", expected "
                         << getTensorType(op.getContext(), *shape);
    calibrations.emplace_back((use.getPrefix() + "." + op.getWeight()).str(), value->front());
  }
  return success();
}

FailureOr<Value> MixerExpander::expandDecoding(Block &scratch) {
  OpBuilder at(use.getContext());
  at.setInsertionPointToEnd(&scratch);
  MixerInputs decoding;
  decoding.hidden = scratch.addArgument(use.getHidden().getType(), use.getLoc());
  RankedTensorType ofRows = getIndexTensorType(use.getContext(), {ShapedType::kDynamic});
  decoding.start = scratch.addArgument(ofRows, use.getLoc());
  decoding.offset = scratch.addArgument(ofRows, use.getLoc());
  FailureOr<MixerExpansion> expansion = expand(at, decoding);
  return failed(expansion) ? FailureOr<Value>(failure()) : expansion->hidden;
}

FailureOr<SmallVector<MixerState>> MixerExpander::getStates() {
  Block scratch;
  if (failed(expandDecoding(scratch)))
    return failure();
  return states;
}

LogicalResult MixerExpander::checkCopy() {
  Block scratch;
  // So that what a copied op is to blame for is said of the statement that it comes from.
  locatesStatements = true;
  FailureOr<Value> result = expandDecoding(scratch);
  locatesStatements = false;
  if (failed(result))
    return failure();
  Operation *lost = findLostRotation(scratch, *result);
  if (!lost)
    return success();
  InFlightDiagnostic error = use.emitOpError()
                             << "linear_mixer_c10: the result depends on how far a row is padded: "
                             << "'rope' must stand last before attention, or before a recurrence without a decay a "
                                "channel and without bonus, whose q, k, write and erase all have it";
  error.attachNote(lost->getLoc()) << "of " << SymbolRefAttr::get(declaration.getSymNameAttr()) << " here";
  return error;
}
