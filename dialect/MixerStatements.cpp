// SPDX-License-Identifier: Apache-2.0
// The ops of a declared mixer's body: their verifiers, and how each is written in primitive ops.

#include "dialect/MixerExpander.h"
#include "dialect/WeightNames.h"

#include "runtime/plan/OpTable.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace morph;

using Expanded = FailureOr<SmallVector<Value>>;

/// One value, or the failure that was met on the way to it.
template <typename T> static Expanded single(FailureOr<T> value) {
  if (failed(value))
    return failure();
  if constexpr (std::is_same_v<T, Value>)
    return SmallVector<Value>{*value};
  else
    return SmallVector<Value>{(*value)->getResult(0)};
}

static RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

Expanded MixerWeightOp::expandStatement(MixerExpander &expander, ValueRange) {
  return single(expander.getWeight(*this));
}

Expanded MixerIfOp::expandStatement(MixerExpander &expander, ValueRange) {
  FailureOr<bool> holds = expander.getCondition(getCondition());
  if (failed(holds))
    return failure();
  return expander.copyBlock(*holds ? getWhole() : getOtherwise());
}

/// An op of operands and one number, which was evaluated.
template <typename OpTy, typename Number, typename... Operands>
static Expanded createWithNumber(MixerExpander &expander, FailureOr<Number> number, Operands... operands) {
  if (failed(number))
    return failure();
  if constexpr (std::is_same_v<Number, double>)
    return single(expander.create<OpTy>(operands..., llvm::APFloat(*number)));
  else
    return single(expander.create<OpTy>(operands..., *number));
}

Expanded MixerSplitOp::expandStatement(MixerExpander &expander, ValueRange operands) {
  return createWithNumber<SplitHeadsOp>(expander, expander.getSize(getHeads()), operands[0]);
}

Expanded MixerMergeOp::expandStatement(MixerExpander &expander, ValueRange operands) {
  return single(expander.create<MergeHeadsOp>(operands[0]));
}

Expanded MixerScaleOp::expandStatement(MixerExpander &expander, ValueRange operands) {
  return createWithNumber<ScaleOp>(expander, expander.getNumber(getFactor()), operands[0]);
}

Expanded MixerOffsetOp::expandStatement(MixerExpander &expander, ValueRange operands) {
  return createWithNumber<OffsetOp>(expander, expander.getNumber(getTerm()), operands[0]);
}

Expanded MixerExpandOp::expandStatement(MixerExpander &expander, ValueRange operands) {
  return createWithNumber<ExpandOp>(expander, expander.getSize(getWidth()), operands[0]);
}

Expanded MixerL2NormOp::expandStatement(MixerExpander &expander, ValueRange operands) {
  return createWithNumber<L2NormOp>(expander, expander.getNumber(getEps()), operands[0]);
}

Expanded MixerNormOp::expandStatement(MixerExpander &expander, ValueRange operands) {
  return createWithNumber<RmsNormOp>(expander, expander.getNumber(getEps()), operands[0], operands[1]);
}

Expanded MixerRopeOp::expandStatement(MixerExpander &expander, ValueRange operands) {
  if (!expander.getUse().getRope())
    return SmallVector<Value>{operands[0]};
  return single(
      expander.create<RopeOp>(operands[0], expander.getOffset(), expander.getUse().getRopeAttr(), UnitAttr()));
}

Expanded MixerConvOp::expandStatement(MixerExpander &expander, ValueRange operands) {
  RankedTensorType type = typeOf(operands[0]);
  bool hasHeads = type.getRank() == 4;
  Value x = operands[0];
  if (hasHeads) {
    FailureOr<MergeHeadsOp> merged = expander.create<MergeHeadsOp>(x);
    if (failed(merged))
      return failure();
    x = *merged;
  }
  // What padding leaves in the state would be seen by the first real positions.
  FailureOr<Value> masked = expander.maskPadding(x);
  if (failed(masked))
    return failure();
  ArrayRef<int64_t> filter = typeOf(operands[1]).getShape();
  if (filter.size() != 3 || filter[2] < 2)
    return expander.emitError() << "a filter is " << operands[1].getType() << ", expected [C,1,W] with W of 2 or more";
  FailureOr<Value> state =
      expander.getState(getState(), getTensorType(getContext(), {type.getDimSize(0), filter[2] - 1, filter[0]}));
  if (failed(state))
    return failure();
  FailureOr<ShortConvOp> convolved = expander.create<ShortConvOp>(*masked, operands[1], *state, /*begins=*/Value());
  if (failed(convolved))
    return failure();
  expander.setState(convolved->getFinalState());
  if (!hasHeads)
    return SmallVector<Value>{convolved->getResult()};
  return single(expander.create<SplitHeadsOp>(convolved->getResult(), type.getDimSize(2)));
}

Expanded MixerRecurrenceOp::expandStatement(MixerExpander &expander, ValueRange operands) {
  Adaptor given(operands, (*this)->getAttrDictionary(), getProperties(), {});
  FailureOr<double> scale = expander.getNumber(getScale());
  FailureOr<int64_t> chunk = expander.getSize(getChunk());
  FailureOr<double> normaliser = getNormaliser() ? expander.getNumber(*getNormaliser()) : FailureOr<double>(0.0);
  if (failed(scale) || failed(chunk) || failed(normaliser))
    return failure();
  if (typeOf(given.getQ()).getRank() != 4 || typeOf(given.getV()).getRank() != 4)
    return expander.emitError() << "q, k and v have heads";
  // A key of zero adds nothing to the state, and takes nothing from it while it is zero.
  FailureOr<Value> k = expander.maskPadding(given.getK());
  if (failed(k))
    return failure();
  ArrayRef<int64_t> v = typeOf(given.getV()).getShape();
  FailureOr<Value> state = expander.getState(
      getState(),
      getTensorType(getContext(), {v[0], v[2], typeOf(given.getQ()).getDimSize(3), v[3] + (getNormaliser() ? 1 : 0)}));
  if (failed(state))
    return failure();
  Value decay = given.getDecay();
  int64_t rank = decay ? typeOf(decay).getRank() : 0;
  auto decayOfRank = [&](int64_t expected) { return rank == expected ? decay : Value(); };
  Builder attributes(getContext());
  FailureOr<LinearAttentionOp> attention = expander.create<LinearAttentionOp>(
      given.getQ(), *k, given.getV(), decayOfRank(1), decayOfRank(3), decayOfRank(4), given.getBeta(), given.getWrite(),
      given.getErase(), given.getBonus(), *state, /*begins=*/Value(), attributes.getF64FloatAttr(*scale),
      attributes.getI64IntegerAttr(*chunk), getNormaliser() ? attributes.getF64FloatAttr(*normaliser) : FloatAttr(),
      /*keep_states=*/UnitAttr(), /*keep_written=*/UnitAttr());
  if (failed(attention))
    return failure();
  expander.setState(attention->getFinalState());
  return SmallVector<Value>{attention->getResult()};
}

namespace {
/// What softmax attention is of beside its operands; what is not there is null.
struct AttentionNumbers {
  FloatAttr scale;
  IntegerAttr window;
  FloatAttr softcap;
};
} // namespace

/// Those of a statement, whose expressions are evaluated; a softcap of 0 is none. The op that they are of refuses what
/// it does not take, as a scale that is not positive.
template <typename StatementOp>
static FailureOr<AttentionNumbers> getAttentionNumbers(MixerExpander &expander, StatementOp op) {
  FailureOr<double> scale = expander.getNumber(op.getScale());
  FailureOr<int64_t> window = op.getWindow() ? expander.getSize(*op.getWindow()) : FailureOr<int64_t>(0);
  FailureOr<double> softcap = op.getSoftcap() ? expander.getNumber(*op.getSoftcap()) : FailureOr<double>(0.0);
  if (failed(scale) || failed(window) || failed(softcap))
    return failure();
  Builder attributes(op.getContext());
  return AttentionNumbers{attributes.getF64FloatAttr(*scale),
                          op.getWindow() ? attributes.getI64IntegerAttr(*window) : IntegerAttr(),
                          *softcap != 0 ? attributes.getF64FloatAttr(*softcap) : FloatAttr()};
}

Expanded MixerAttentionOp::expandStatement(MixerExpander &expander, ValueRange operands) {
  FailureOr<AttentionNumbers> numbers = getAttentionNumbers(expander, *this);
  if (failed(numbers))
    return failure();
  Value k = operands[1], v = operands[2], ringOffset;
  if (typeOf(k).getRank() != 4 || typeOf(v).getRank() != 4)
    return expander.emitError() << "k and v have heads";
  for (auto [value, name] : {std::pair(&k, getKeyState()), std::pair(&v, getValueState())}) {
    ArrayRef<int64_t> shape = typeOf(*value).getShape();
    RankedTensorType ring = getTensorType(getContext(), {shape[0], ShapedType::kDynamic, shape[2], shape[3]});
    FailureOr<Value> state = expander.getState(name, ring, numbers->window ? numbers->window.getInt() : 0);
    if (failed(state))
      return failure();
    if (!*state)
      continue;
    ringOffset = expander.getOffset();
    FailureOr<CacheWriteOp> written = expander.create<CacheWriteOp>(*state, *value, ringOffset);
    if (failed(written))
      return failure();
    *value = written->getResult();
    expander.setState(*value);
  }
  FailureOr<AttentionOp> attention =
      expander.create<AttentionOp>(operands[0], k, v, expander.getStart(), ringOffset, /*begins=*/Value(),
                                   numbers->scale, numbers->window, numbers->softcap, /*keep_lse=*/UnitAttr());
  if (failed(attention))
    return failure();
  return SmallVector<Value>{attention->getResult()};
}

Expanded MixerCalibrateOp::expandStatement(MixerExpander &expander, ValueRange) {
  if (failed(expander.addCalibration(*this)))
    return failure();
  return SmallVector<Value>();
}

Expanded MixerAttentionDistanceOp::expandStatement(MixerExpander &expander, ValueRange operands) {
  FailureOr<AttentionNumbers> numbers = getAttentionNumbers(expander, *this);
  if (failed(numbers))
    return failure();
  return single(expander.create<AttentionDistanceOp>(operands[0], operands[1], numbers->scale, numbers->window,
                                                     numbers->softcap));
}

//===----------------------------------------------------------------------===//
// Verifiers
//===----------------------------------------------------------------------===//

/// Letters, digits, '_' and, where `dots`, '.'; not empty.
static bool isName(StringRef name, bool dots) {
  return !name.empty() &&
         llvm::all_of(name, [&](char c) { return llvm::isAlnum(c) || c == '_' || (dots && c == '.'); });
}

LogicalResult MixerWeightOp::verify() {
  RankedTensorType type = typeOf(getResult());
  if (getSizes().empty() || static_cast<size_t>(type.getRank()) != getSizes().size() ||
      type.getNumDynamicDims() != type.getRank() || getIndices().size() != getSizes().size())
    return emitOpError() << "mixer_weight_c1: the type is " << type << " with sizes " << getSizes() << " and indices "
                         << getIndices() << ", expected an unknown dimension and an index a size";
  if (!isName(getName(), /*dots=*/true))
    return emitOpError() << "mixer_weight_c2: the name is '" << getName() << "', expected letters, digits, '_' and '.'";
  if (StringRef part = findModuleAttribute(getName()); !part.empty())
    return emitOpError() << "mixer_weight_c3: the name is '" << getName() << "', but '" << part
                         << "' is an attribute of PyTorch's modules";
  return success();
}

LogicalResult MixerIfOp::verifyRegions() {
  for (Region *region : {&getWhole(), &getOtherwise()}) {
    auto yield = dyn_cast<MixerYieldOp>(region->front().getTerminator());
    if (!yield || yield.getOperandTypes() != getResultTypes())
      return emitOpError() << "mixer_if_c1: a region does not end with a mixer_yield of " << getResultTypes();
  }
  return success();
}

LogicalResult MixerSplitOp::verify() {
  if (typeOf(getX()).getRank() != 3 || typeOf(getResult()).getRank() != 4)
    return emitOpError() << "mixer_split_c1: " << getX().getType() << " to " << getResult().getType()
                         << ", expected three dimensions and four";
  return success();
}

LogicalResult MixerMergeOp::verify() {
  if (typeOf(getX()).getRank() != 4 || typeOf(getResult()).getRank() != 3)
    return emitOpError() << "mixer_merge_c1: " << getX().getType() << " to " << getResult().getType()
                         << ", expected four dimensions and three";
  return success();
}

LogicalResult MixerExpandOp::verify() {
  if (typeOf(getResult()).getRank() != typeOf(getX()).getRank() + 1)
    return emitOpError() << "mixer_expand_c1: " << getX().getType() << " to " << getResult().getType()
                         << ", expected a dimension more";
  return success();
}

LogicalResult MixerAttentionDistanceOp::verify() {
  if (!(*this)->getParentOfType<MixerCalibrateOp>() || typeOf(getResult()).getRank() != 1)
    return emitOpError() << "mixer_attention_distance_c1: it gives " << getResult().getType()
                         << ", expected one dimension, within a mixer_calibrate";
  return success();
}

LogicalResult MixerAttentionOp::verify() {
  if (!isName(getKeyState(), /*dots=*/false) || !isName(getValueState(), /*dots=*/false))
    return emitOpError() << "mixer_attention_c1: the states are '" << getKeyState() << "' and '" << getValueState()
                         << "', expected names";
  return success();
}

LogicalResult MixerConvOp::verify() {
  if (!isName(getState(), /*dots=*/false))
    return emitOpError() << "mixer_conv_c1: the state is '" << getState() << "', expected a name";
  return success();
}

LogicalResult MixerRecurrenceOp::verify() {
  if (getDecay() && !llvm::is_contained({1, 3, 4}, typeOf(getDecay()).getRank()))
    return emitOpError() << "mixer_recurrence_c1: decay is " << getDecay().getType()
                         << ", expected 1, 3 or 4 dimensions";
  if (!isName(getState(), /*dots=*/false))
    return emitOpError() << "mixer_recurrence_c2: the state is '" << getState() << "', expected a name";
  return success();
}

MixerOptionAttr MixerOp::lookupOption(StringRef name) {
  for (auto option : getOptions().getAsRange<MixerOptionAttr>())
    if (option.getName() == name)
      return option;
  return {};
}

/// Whether the body of a mixer may have an op that it copies as it is: one that leaves every position's rows its own.
/// Where weights are calibrated nothing is decoded, nor sees a position what is later: there tokens may be mixed.
static bool isCopied(Operation &op) {
  const plan::OpRule *rule = plan::findOpRule(op.getName().stripDialect().str());
  if (!rule || op.getName().getDialectNamespace() != MorphDialect::getDialectNamespace() || op.getNumResults() != 1 ||
      !rule->updates.empty() || isa<SymbolUserOpInterface>(op))
    return false;
  if (op.getParentOfType<MixerCalibrateOp>())
    return true;
  // Of [B,T,E] it would make rows of positions, over which norms go.
  if (auto sum = dyn_cast<SumLastOp>(op))
    return typeOf(sum.getX()).getRank() != 3;
  return op.hasTrait<morph::OpTrait::Rowwise>() || op.hasTrait<morph::OpTrait::View>() || isa<ExpandOp>(op);
}

LogicalResult MixerOp::verify() {
  llvm::StringSet<> names;
  for (StringRef size : {"M", "H", "G", "D"})
    names.insert(size);
  for (auto option : getOptions().getAsRange<MixerOptionAttr>())
    if (!names.insert(option.getName()).second)
      return emitOpError() << "mixer_c1: the option '" << option.getName() << "' is there twice, or is a size";
  for (auto size : getSizes().getAsRange<FormulaAttr>())
    if (!isName(size.getName(), /*dots=*/false) || !names.insert(size.getName()).second)
      return emitOpError() << "mixer_c1: the size '" << size.getName() << "' is there twice, or is no name";
  Block &body = getBody().front();
  RankedTensorType hidden = getTensorType(getContext(), SmallVector<int64_t>(3, ShapedType::kDynamic));
  if (body.getNumArguments() != 1 || body.getArgument(0).getType() != hidden)
    return emitOpError() << "mixer_c2: the body does not take one argument of " << hidden;
  return success();
}

LogicalResult MixerOp::verifyRegions() {
  auto yield = dyn_cast<MixerYieldOp>(getBody().front().getTerminator());
  if (!yield || yield.getNumOperands() != 1 || yield.getOperand(0).getType() != getHidden().getType())
    return emitOpError() << "mixer_c2: the body does not end with a mixer_yield of " << getHidden().getType();
  llvm::StringMap<int64_t> weights; // Ranks.
  llvm::StringSet<> calibrated;
  WalkResult walked = getBody().walk([&](Operation *op) {
    if (auto weight = dyn_cast<MixerWeightOp>(op)) {
      if (weight->getParentOp() != getOperation() ||
          !weights.try_emplace(weight.getName(), typeOf(weight).getRank()).second) {
        weight.emitOpError() << "mixer_c4: the weight '" << weight.getName()
                             << "' is there twice, or within another op";
        return WalkResult::interrupt();
      }
      return WalkResult::advance();
    }
    if (auto calibrate = dyn_cast<MixerCalibrateOp>(op)) {
      auto weight = weights.find(calibrate.getWeight());
      if (weight == weights.end() || !calibrated.insert(calibrate.getWeight()).second) {
        calibrate.emitOpError() << "mixer_calibrate_c2: no weight '" << calibrate.getWeight()
                                << "' stands before, or it is calibrated twice";
        return WalkResult::interrupt();
      }
      auto yield = dyn_cast<MixerYieldOp>(calibrate.getBody().front().getTerminator());
      if (!yield || yield.getNumOperands() != 1 || typeOf(yield.getOperand(0)).getRank() != weight->second) {
        calibrate.emitOpError() << "mixer_calibrate_c1: the region does not end with a mixer_yield of one value of "
                                << weight->second << " dimensions";
        return WalkResult::interrupt();
      }
      return WalkResult::advance();
    }
    if (!isa<MixerStatementOpInterface, MixerYieldOp>(op) && !isCopied(*op)) {
      op->emitOpError() << "mixer_c3: the body of a mixer cannot have this op";
      return WalkResult::interrupt();
    }
    return WalkResult::advance();
  });
  return failure(walked.wasInterrupted());
}
