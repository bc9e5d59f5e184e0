// SPDX-License-Identifier: Apache-2.0
// Verifiers of the ops that hold a model together, and of uses of its symbols.

#include "dialect/MixerBuilder.h"
#include "dialect/backends/LinearAttentionBackend.h"

#include "llvm/ADT/StringExtras.h"

#include <cmath>

using namespace mlir;
using namespace morph;

//===----------------------------------------------------------------------===//
// Symbols
//===----------------------------------------------------------------------===//

LogicalResult ModelOp::verify() {
  if (int64_t(getLayers()) <= 0)
    return emitOpError() << "model_c1: `layers` is " << int64_t(getLayers()) << ", expected a positive number";
  for (Operation &op : getBody().front())
    if (!isa<WeightOp, GateOp, RopeTableOp, func::FuncOp>(op)) {
      InFlightDiagnostic diagnostic = emitOpError()
                                      << "model_c2: the body holds weights, gates, rope tables and functions, not '"
                                      << op.getName() << "'";
      diagnostic.attachNote(op.getLoc()) << "this op";
      return diagnostic;
    }
  return success();
}

LogicalResult WeightOp::verify() {
  TensorType type = getType();
  Type element = type.getElementType();
  if (!element.isF32() && !element.isF16() && !element.isBF16() && !element.isF64())
    return emitOpError() << "weight_c1: the elements are " << element << ", expected f32, f16, bf16 or f64";
  std::optional<InitAttr> init = getInit();
  if (init && getTeacherOf())
    return emitOpError()
           << "weight_c2: a weight with `init` is new, one with `teacher_of` is the checkpoint's; expected "
              "at most one of the two";
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
  if (getResult().getType() == expected)
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

/// The constraints of both mixers on their input, counts and heads, one label each; `counts` are names with values that
/// must be positive.
static LogicalResult verifyMixer(Operation *op, std::array<StringRef, 3> labels, Value hidden, int64_t layer,
                                 ArrayRef<std::pair<StringRef, int64_t>> counts, int64_t heads, int64_t kvHeads) {
  auto type = cast<RankedTensorType>(hidden.getType());
  if (type.getRank() != 3 || type.isDynamicDim(2))
    return op->emitOpError() << labels[0] << ": hidden is " << type << ", expected [B,T,C] with a known C";
  if (layer < 0)
    return op->emitOpError() << labels[1] << ": the layer is " << layer << ", expected 0 or more";
  for (auto [name, count] : counts)
    if (count <= 0)
      return op->emitOpError() << labels[1] << ": " << name << " is " << count << ", expected a positive number";
  if (heads % kvHeads != 0)
    return op->emitOpError() << labels[2] << ": " << heads << " heads are not a multiple of " << kvHeads
                             << " key-value heads";
  return success();
}

LogicalResult SoftmaxMixerOp::verify() {
  int64_t heads = getHeads(), kvHeads = getKvHeads(), headDim = getHeadDim(), window = getWindow().value_or(1);
  return verifyMixer(*this, {"softmax_mixer_c1", "softmax_mixer_c2", "softmax_mixer_c3"}, getHidden(), getLayer(),
                     {{"heads", heads}, {"kv_heads", kvHeads}, {"head_dim", headDim}, {"window", window}}, heads,
                     kvHeads);
}

LogicalResult SoftmaxMixerOp::verifySymbolUses(SymbolTableCollection &symbolTables) {
  if (failed(verifyRopeTable(*this, "softmax_mixer_c4", "softmax_mixer_c4", getRopeAttr(), getHeadDim(), symbolTables)))
    return failure();
  return verifyMixerWeights(*this, "softmax_mixer_c5", getMixerParameters(), symbolTables);
}

LogicalResult LinearMixerOp::verify() {
  int64_t heads = getHeads(), kvHeads = getSourceKvHeads(), headDim = getHeadDim();
  if (failed(verifyMixer(*this, {"linear_mixer_c1", "linear_mixer_c2", "linear_mixer_c3"}, getHidden(), getLayer(),
                         {{"heads", heads}, {"source_kv_heads", kvHeads}, {"head_dim", headDim}}, heads, kvHeads)))
    return failure();
  if (!getLinearAttentionBackend(getKind()))
    return emitOpError() << "linear_mixer_c6: unknown linear attention '" << getKind()
                         << "'; there are: " << llvm::join(getLinearAttentionKinds(), ", ");
  auto emit = [&] { return emitOpError() << "linear_mixer_c7: "; };
  FailureOr<DictionaryAttr> complete = linearMixerOptions(getKind(), getOptions(), emit);
  if (failed(complete))
    return failure();
  if (*complete != getOptions())
    return emit() << "options is " << getOptions() << ", expected all of the backend's: " << *complete;
  return success();
}

LogicalResult LinearMixerOp::verifySymbolUses(SymbolTableCollection &symbolTables) {
  if (failed(verifyRopeTable(*this, "linear_mixer_c4", "linear_mixer_c4", getRopeAttr(), getHeadDim(), symbolTables)))
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

  for (auto [index, name, region] : llvm::enumerate(names, getBodies())) {
    auto yield = dyn_cast<YieldOp>(region.front().back());
    if (!yield || yield.getValue().getType() != getResult().getType()) {
      InFlightDiagnostic diagnostic = emitOpError()
                                      << "choice_c2: candidate " << name << " does not end with a 'morph.yield' of "
                                      << getResult().getType();
      diagnostic.attachNote(region.front().back().getLoc()) << "it ends here";
      return diagnostic;
    }
    auto mixers = llvm::to_vector(region.front().getOps<TokenMixerOpInterface>());
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
    bool fits = index == 0 ? isa<SoftmaxMixerOp>(mixer.getOperation()) : mixer.getMixerKind() == name.getValue();
    if (!fits) {
      InFlightDiagnostic diagnostic = emitOpError() << "choice_c4: candidate " << name << " is a mixer of kind '"
                                                    << mixer.getMixerKind() << "'";
      diagnostic.attachNote(mixer.getLoc())
          << (index == 0 ? "the first candidate must be the layer's softmax attention" : "this mixer");
      return diagnostic;
    }
  }
  return success();
}
