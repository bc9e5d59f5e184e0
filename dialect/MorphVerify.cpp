// SPDX-License-Identifier: Apache-2.0
// Verifiers of the ops that hold a model together, and of uses of its symbols.

#include "dialect/LinearMixers.h"
#include "dialect/MixerBuilder.h"
#include "dialect/MixerExpander.h"
#include "runtime/plan/Pieces.h"
#include "runtime/plan/SizeLimits.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/MathExtras.h"

#include <cmath>

using namespace mlir;
using namespace morph;

//===----------------------------------------------------------------------===//
// Symbols
//===----------------------------------------------------------------------===//

LogicalResult ModelOp::verify() {
  if (int64_t layers = getLayers(); layers < 1 || layers > limits::kLayers)
    return emitOpError() << "model_c1: `layers` is " << layers << ", expected 1 to " << limits::kLayers;
  for (Operation &op : getBody().front())
    if (!isa<WeightOp, GateOp, RopeTableOp, MixerOp, ProgramOp, KernelOp, func::FuncOp>(op)) {
      InFlightDiagnostic diagnostic =
          emitOpError()
          << "model_c2: the body holds weights, gates, rope tables, mixers, functions, programs and kernels, not '"
          << op.getName() << "'";
      diagnostic.attachNote(op.getLoc()) << "this op";
      return diagnostic;
    }
  // Passes walk all of a model, and look its symbols up in it.
  if ((*this)->getParentOfType<ModelOp>())
    return emitOpError() << "model_c3: a model is not within another model";
  for (auto function : getBody().getOps<func::FuncOp>())
    if (!function.isExternal() && !function.getBody().hasOneBlock()) {
      InFlightDiagnostic diagnostic = emitOpError() << "model_c4: a function has more than one block, expected a "
                                                       "straight line";
      diagnostic.attachNote(function.getLoc()) << "this function";
      return diagnostic;
    }
  return success();
}

/// Whether the elements of a shape, none of whose dimensions may be zero, are within the limit.
static bool isWithinElements(ArrayRef<int64_t> shape) {
  int64_t elements = 1;
  return llvm::all_of(shape, [&](int64_t size) {
    return size >= 1 && size <= limits::kDimension && !llvm::MulOverflow(elements, size, elements) &&
           elements <= limits::kWeightElements;
  });
}

/// What can be said of pieces without the checkpoint.
static LogicalResult verifyPieces(WeightOp weight) {
  std::vector<plan::Piece> pieces;
  for (PieceAttr piece : weight.getPieces()->getAsRange<PieceAttr>())
    pieces.push_back({piece.getTensor().str(), piece.getBegin(), piece.getEnd()});
  if (pieces.empty())
    return weight.emitOpError() << "weight_c5: `pieces` is empty, expected one or more";
  if (Status status = plan::checkPieces(weight.getType().getShape().vec(), pieces); !status.ok())
    return weight.emitOpError() << "weight_c5: " << status.message();
  return success();
}

LogicalResult WeightOp::verify() {
  TensorType type = getType();
  Type element = type.getElementType();
  if (!element.isF32() && !element.isF16() && !element.isBF16() && !element.isF64())
    return emitOpError() << "weight_c1: the elements are " << element << ", expected f32, f16, bf16 or f64";
  if (!isWithinElements(type.getShape()))
    return emitOpError() << "weight_c4: the type is " << type << ", expected dimensions of 1 to " << limits::kDimension
                         << " and at most " << limits::kWeightElements << " elements";
  std::optional<InitAttr> init = getInit();
  if (int(init.has_value()) + int(getTeacherOf().has_value()) + int(getPieces().has_value()) > 1)
    return emitOpError()
           << "weight_c2: a weight with `init` is new, one with `teacher_of` is the checkpoint's, one with `pieces` is "
              "made of the checkpoint's; expected at most one of these";
  if (getPieces() && failed(verifyPieces(*this)))
    return failure();
  if (!init)
    return success();
  if (init->getKind() == InitKind::RepeatHeads) {
    int64_t groups = init->getHeads() * init->getTimes();
    if (type.getRank() == 0 || type.getDimSize(0) % groups != 0)
      return emitOpError() << "weight_c3: `init` makes " << groups << " groups of rows (heads " << init->getHeads()
                           << ", times " << init->getTimes() << "), which the first dimension of " << type
                           << " cannot be split into";
  }
  if (init->getKind() == InitKind::Values && type.getNumElements() % init->getValues().size() != 0)
    return emitOpError() << "weight_c3: `init` has " << init->getValues().size()
                         << " values, expected a divisor of the " << type.getNumElements() << " elements of " << type;
  return success();
}

LogicalResult GateOp::verify() {
  size_t candidates = getCandidates().size();
  if (candidates < 2)
    return emitOpError() << "gate_c1: got " << candidates << " candidates, expected two or more";
  ArrayRef<double> value = getValue();
  if (value.size() + 1 != candidates)
    return emitOpError() << "gate_c2: `value` has " << value.size() << " elements, expected " << candidates - 1
                         << ", one fewer than the candidates";
  double sum = 0;
  for (double share : value) {
    if (!(share >= 0 && share <= 1))
      return emitOpError() << "gate_c3: a share is " << share << ", expected 0 to 1";
    sum += share;
  }
  // Shares that are rounded sums of tenths are as good as exact ones.
  if (sum > 1 + 1e-9)
    return emitOpError() << "gate_c3: the shares sum to " << sum << ", expected 1 at most";
  if (int64_t layer = getLayer(); layer < 0 || layer >= limits::kLayers)
    return emitOpError() << "gate_c4: the layer is " << layer << ", expected 0 to " << limits::kLayers - 1;
  return success();
}

LogicalResult RopeTableOp::verify() {
  if (getInverseFrequencies().empty())
    return emitOpError() << "rope_table_c1: got no frequency, expected one or more";
  for (auto [index, frequency] : llvm::enumerate(getInverseFrequencies()))
    if (!(frequency > 0) || !std::isfinite(frequency))
      return emitOpError() << "rope_table_c1: frequency " << index << " is " << frequency
                           << ", expected a positive finite number";
  double factor = getAttentionFactor().convertToDouble();
  if (!(factor > 0) || !std::isfinite(factor))
    return emitOpError() << "rope_table_c2: the attention factor is " << factor
                         << ", expected a positive finite number";
  return success();
}

LogicalResult ParamOp::verifySymbolUses(SymbolTableCollection &symbolTables) {
  Operation *symbol = symbolTables.lookupNearestSymbolFrom(*this, getSymbolAttr().getAttr());
  auto weight = dyn_cast_or_null<WeightOp>(symbol);
  auto gate = dyn_cast_or_null<GateOp>(symbol);
  if (!weight && !gate) {
    InFlightDiagnostic diagnostic = emitOpError() << "param_c1: the model has no weight or gate " << getSymbolAttr();
    if (symbol)
      diagnostic.attachNote(symbol->getLoc()) << getSymbolAttr() << " is this";
    return diagnostic;
  }
  SmallVector<int64_t> shape;
  if (weight)
    shape.assign(weight.getType().getShape().begin(), weight.getType().getShape().end());
  else
    shape.push_back(gate.getValue().size());
  RankedTensorType expected = getTensorType(getContext(), shape);
  if (cast<RankedTensorType>(getResult().getType()).getShape() == expected.getShape())
    return success();
  InFlightDiagnostic diagnostic = emitOpError()
                                  << "param_c2: the result is " << getResult().getType() << ", expected " << expected;
  diagnostic.attachNote(symbol->getLoc()) << getSymbolAttr() << " is defined here";
  return diagnostic;
}

LogicalResult RopeOp::verifySymbolUses(SymbolTableCollection &symbolTables) {
  int64_t headDim = cast<RankedTensorType>(getX().getType()).getShape().back();
  if (ShapedType::isDynamic(headDim))
    headDim = std::numeric_limits<int64_t>::max();
  return verifyRopeTable(*this, "rope_c3", "rope_c4", getTableAttr(), headDim, symbolTables);
}

//===----------------------------------------------------------------------===//
// Token mixers
//===----------------------------------------------------------------------===//

namespace {
/// A size of a mixer by its name, with its limits.
struct MixerSize {
  StringRef name;
  int64_t value;
  int64_t minimum;
  int64_t maximum;
};

/// The labels of the constraints that both mixers have.
struct MixerLabels {
  StringRef hidden, sizes, groups, numbers;
};
} // namespace

/// The constraints of both mixers on their input, sizes, heads and numbers. Every number in `positives` that is there
/// must be positive.
static LogicalResult verifyMixer(Operation *op, const MixerLabels &labels, ArrayRef<MixerSize> sizes, int64_t heads,
                                 int64_t kvHeads, ArrayRef<std::pair<StringRef, std::optional<APFloat>>> positives,
                                 std::optional<APFloat> qkNormOffset) {
  auto type = cast<RankedTensorType>(op->getOperand(0).getType());
  if (type.getRank() != 3 || type.isDynamicDim(2) || type.getDimSize(2) < 1 ||
      llvm::any_of(type.getShape(), [](int64_t size) { return size > limits::kDimension; }))
    return op->emitOpError() << labels.hidden << ": hidden is " << type << ", expected [B,T,C] with a known C";
  if (op->getResult(0).getType() != type)
    return op->emitOpError() << labels.hidden << ": the result is " << op->getResult(0).getType()
                             << ", expected hidden's " << type;
  for (const MixerSize &size : sizes)
    if (size.value < size.minimum || size.value > size.maximum)
      return op->emitOpError() << labels.sizes << ": " << size.name << " is " << size.value << ", expected "
                               << size.minimum << " to " << size.maximum;
  if (heads % kvHeads != 0)
    return op->emitOpError() << labels.groups << ": " << heads << " heads are not a multiple of " << kvHeads
                             << " key-value heads";
  for (const auto &[name, number] : positives)
    if (number && !(number->convertToDouble() > 0 && number->isFinite()))
      return op->emitOpError() << labels.numbers << ": " << name << " is " << number->convertToDouble()
                               << ", expected a positive finite number";
  if (qkNormOffset && !qkNormOffset->isFinite())
    return op->emitOpError() << labels.numbers << ": qk_norm_offset is " << qkNormOffset->convertToDouble()
                             << ", expected a finite number";
  return success();
}

LogicalResult SoftmaxMixerOp::verify() {
  int64_t heads = getHeads(), kvHeads = getKvHeads();
  return verifyMixer(*this, {"softmax_mixer_c1", "softmax_mixer_c2", "softmax_mixer_c3", "softmax_mixer_c6"},
                     {{"the layer", int64_t(getLayer()), 0, limits::kLayers - 1},
                      {"heads", heads, 1, limits::kHeads},
                      {"kv_heads", kvHeads, 1, limits::kHeads},
                      {"head_dim", int64_t(getHeadDim()), 1, limits::kHeadDim},
                      {"window", int64_t(getWindow().value_or(1)), 1, limits::kDimension}},
                     heads, kvHeads,
                     {{"qk_norm", getQkNormEps()}, {"softcap", getSoftcap()}, {"the scale", getScale()}},
                     getQkNormOffset());
}

LogicalResult SoftmaxMixerOp::verifySymbolUses(SymbolTableCollection &symbolTables) {
  if (getRope() &&
      failed(verifyRopeTable(*this, "softmax_mixer_c4", "softmax_mixer_c4", getRopeAttr(), getHeadDim(), symbolTables)))
    return failure();
  return verifyMixerWeights(*this, "softmax_mixer_c5", getMixerParameters(), symbolTables);
}

LogicalResult LinearMixerOp::verify() {
  int64_t heads = getHeads(), kvHeads = getSourceKvHeads();
  if (failed(verifyMixer(*this, {"linear_mixer_c1", "linear_mixer_c2", "linear_mixer_c3", "linear_mixer_c8"},
                         {{"the layer", int64_t(getLayer()), 0, limits::kLayers - 1},
                          {"heads", heads, 1, limits::kHeads},
                          {"source_kv_heads", kvHeads, 1, limits::kHeads},
                          {"head_dim", int64_t(getHeadDim()), 1, limits::kHeadDim},
                          {"source_window", int64_t(getSourceWindow().value_or(1)), 1, limits::kDimension}},
                         heads, kvHeads,
                         {{"norm_eps", getNormEps()},
                          {"qk_norm", getQkNormEps()},
                          {"source_softcap", getSourceSoftcap()},
                          {"the scale", getSourceScale()}},
                         getQkNormOffset())))
    return failure();
  return success();
}

LogicalResult LinearMixerOp::verifySymbolUses(SymbolTableCollection &symbolTables) {
  if (getRope() &&
      failed(verifyRopeTable(*this, "linear_mixer_c4", "linear_mixer_c4", getRopeAttr(), getHeadDim(), symbolTables)))
    return failure();
  if (failed(MixerExpander::check(*this)))
    return failure();
  return verifyMixerWeights(*this, "linear_mixer_c5", getMixerParameters(), symbolTables);
}

//===----------------------------------------------------------------------===//
// Choices
//===----------------------------------------------------------------------===//

LogicalResult ChoiceOp::verify() {
  auto names = llvm::map_to_vector(getCandidates().getAsRange<StringAttr>(), [](StringAttr name) { return name; });
  if (names.size() < 2)
    return emitOpError() << "choice_c1: got " << names.size() << " candidates, expected two or more";
  for (size_t i = 0; i < names.size(); ++i)
    if (llvm::is_contained(ArrayRef(names).take_front(i), names[i]))
      return emitOpError() << "choice_c1: candidate " << names[i] << " is there twice";
  if (names.size() != getBodies().size())
    return emitOpError() << "choice_c1: got " << names.size() << " candidates and " << getBodies().size()
                         << " regions, expected a region each";
  return success();
}

LogicalResult ChoiceOp::verifyRegions() {
  for (auto [index, name, region] : llvm::enumerate(getCandidates().getAsRange<StringAttr>(), getBodies())) {
    auto yield = dyn_cast<YieldOp>(region.front().back());
    if (!yield || yield.getValue().getType() != getResult().getType()) {
      InFlightDiagnostic diagnostic = emitOpError()
                                      << "choice_c2: candidate " << name << " does not end with a 'morph.yield' of "
                                      << getResult().getType();
      diagnostic.attachNote(region.front().back().getLoc()) << "it ends here";
      return diagnostic;
    }
    SmallVector<TokenMixerOpInterface> mixers;
    region.walk([&](TokenMixerOpInterface mixer) { mixers.push_back(mixer); });
    if (mixers.size() != 1) {
      InFlightDiagnostic diagnostic = emitOpError() << "choice_c3: candidate " << name << " holds " << mixers.size()
                                                    << " token mixers, expected one";
      for (TokenMixerOpInterface mixer : mixers)
        diagnostic.attachNote(mixer.getLoc()) << "a token mixer";
      return diagnostic;
    }
    TokenMixerOpInterface mixer = mixers.front();
    if (mixer.getMixerLayer() != int64_t(getLayer())) {
      InFlightDiagnostic diagnostic = emitOpError()
                                      << "choice_c3: candidate " << name << " is a mixer of layer "
                                      << mixer.getMixerLayer() << ", expected layer " << int64_t(getLayer());
      diagnostic.attachNote(mixer.getLoc()) << "this mixer";
      return diagnostic;
    }
    bool fits = index == 0 ? isa<SoftmaxMixerOp>(mixer.getOperation())
                           : isCandidateOfKind(name.getValue(), mixer.getMixerKind());
    if (!fits) {
      InFlightDiagnostic diagnostic = emitOpError() << "choice_c4: candidate " << name << " is a mixer of kind '"
                                                    << mixer.getMixerKind() << "'";
      diagnostic.attachNote(mixer.getLoc())
          << (index == 0 ? "the first candidate must be the layer's softmax attention" : "this mixer");
      return diagnostic;
    }
    if (yield.getValue() != mixer->getResult(0)) {
      InFlightDiagnostic diagnostic = emitOpError()
                                      << "choice_c5: candidate " << name << " yields another value than its mixer's";
      diagnostic.attachNote(yield.getLoc()) << "it is yielded here";
      diagnostic.attachNote(mixer.getLoc()) << "this mixer";
      return diagnostic;
    }
  }
  return success();
}

GateOp BlendOp::lookupGate(SymbolTableCollection &symbolTables) {
  auto param = getGate().getDefiningOp<ParamOp>();
  return param ? symbolTables.lookupNearestSymbolFrom<GateOp>(param, param.getSymbolAttr().getAttr()) : GateOp();
}

LogicalResult BlendOp::verifySymbolUses(SymbolTableCollection &symbolTables) {
  GateOp gate = lookupGate(symbolTables);
  if (!gate)
    return success();
  auto fail = [&](const Twine &message, Operation *op) -> InFlightDiagnostic {
    InFlightDiagnostic diagnostic = emitOpError() << "blend_c3: " << message;
    diagnostic.attachNote(gate.getLoc()) << "the gate @" << gate.getSymName() << " of layer "
                                         << int64_t(gate.getLayer());
    if (op)
      diagnostic.attachNote(op->getLoc()) << "the candidate";
    return diagnostic;
  };
  if (gate.getCandidates().size() != getCandidates().size())
    return fail("got " + Twine(getCandidates().size()) + " candidates, but the gate weighs " +
                    Twine(gate.getCandidates().size()),
                nullptr);
  // In programs whose mixers are expanded nothing says whose layer a candidate is.
  auto names = gate.getCandidates().getAsValueRange<StringAttr>();
  for (auto [index, value, name] : llvm::enumerate(getCandidates(), names)) {
    auto mixer = value.getDefiningOp<TokenMixerOpInterface>();
    if (!mixer)
      continue;
    if (mixer.getMixerLayer() != int64_t(gate.getLayer()))
      return fail("candidate '" + name + "' is a mixer of layer " + Twine(mixer.getMixerLayer()) +
                      ", but its gate is of layer " + Twine(int64_t(gate.getLayer())),
                  mixer);
    if (index == 0 ? !isa<SoftmaxMixerOp>(mixer.getOperation()) : !isCandidateOfKind(name, mixer.getMixerKind()))
      return fail("candidate '" + name + "' is a mixer of kind '" + mixer.getMixerKind() + "'", mixer);
  }
  return success();
}
