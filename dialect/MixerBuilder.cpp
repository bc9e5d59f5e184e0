// SPDX-License-Identifier: Apache-2.0

#include "dialect/MixerBuilder.h"

using namespace mlir;
using namespace morph;

Value MixerBuilder::param(StringRef suffix, ArrayRef<int64_t> shape) {
  return createParam(builder, location, prefix + "." + suffix.str(), shape);
}

Value MixerBuilder::project(Value x, StringRef suffix, int64_t outputs, bool hasBias) {
  int64_t inputs = cast<RankedTensorType>(x.getType()).getShape().back();
  Value weight = param((suffix + ".weight").str(), {outputs, inputs});
  Value bias = hasBias ? param((suffix + ".bias").str(), {outputs}) : Value();
  return builder.create<LinearOp>(location, x, weight, bias);
}

Value MixerBuilder::rmsNorm(Value x, StringRef suffix, double eps, double offset) {
  Value weight = param((suffix + ".weight").str(), {cast<RankedTensorType>(x.getType()).getShape().back()});
  if (offset != 0)
    weight = builder.create<OffsetOp>(location, weight, llvm::APFloat(offset));
  return builder.create<RmsNormOp>(location, x, weight, llvm::APFloat(eps));
}

Value MixerBuilder::splitHeads(Value x, int64_t heads) { return builder.create<SplitHeadsOp>(location, x, heads); }

Value MixerBuilder::mergeHeads(Value x) { return builder.create<MergeHeadsOp>(location, x); }

Value MixerBuilder::l2Norm(Value x, double eps) { return builder.create<L2NormOp>(location, x, llvm::APFloat(eps)); }

Value MixerBuilder::scale(Value x, double factor) {
  return builder.create<ScaleOp>(location, x, llvm::APFloat(factor));
}

MixerParameter morph::makeParameter(StringRef prefix, StringRef suffix, ArrayRef<int64_t> shape, InitAttr init) {
  MixerParameter parameter;
  parameter.name = (prefix + "." + suffix).str();
  parameter.shape.assign(shape.begin(), shape.end());
  parameter.init = init;
  return parameter;
}

SmallVector<MixerParameter> morph::makeAttentionParameters(StringRef prefix, const AttentionShape &shape) {
  int64_t qWidth = shape.heads * shape.headDim, kvWidth = shape.kvHeads * shape.headDim;
  SmallVector<MixerParameter> parameters;
  auto add = [&](StringRef suffix, ArrayRef<int64_t> sizes) {
    parameters.push_back(makeParameter(prefix, suffix, sizes));
  };
  add("q_proj.weight", {qWidth, shape.hidden});
  add("k_proj.weight", {kvWidth, shape.hidden});
  add("v_proj.weight", {kvWidth, shape.hidden});
  if (shape.qkvBias) {
    add("q_proj.bias", {qWidth});
    add("k_proj.bias", {kvWidth});
    add("v_proj.bias", {kvWidth});
  }
  if (shape.isNormed) {
    add("q_norm.weight", {shape.isWide ? qWidth : shape.headDim});
    add("k_norm.weight", {shape.isWide ? kvWidth : shape.headDim});
  }
  add("o_proj.weight", {shape.hidden, qWidth});
  if (shape.outputBias)
    add("o_proj.bias", {shape.hidden});
  return parameters;
}

LogicalResult morph::verifyMixerWeights(Operation *mixer, StringRef label, ArrayRef<MixerParameter> parameters,
                                        SymbolTableCollection &symbolTables) {
  for (const MixerParameter &parameter : parameters) {
    Operation *symbol =
        symbolTables.lookupNearestSymbolFrom(mixer, StringAttr::get(mixer->getContext(), parameter.name));
    RankedTensorType expected = getTensorType(mixer->getContext(), parameter.shape);
    if (!symbol)
      return mixer->emitOpError() << label << ": the model has no weight '" << parameter.name << "', expected one of "
                                  << expected;
    auto weight = dyn_cast<WeightOp>(symbol);
    if (!weight || weight.getType().getShape() != expected.getShape()) {
      InFlightDiagnostic diagnostic = mixer->emitOpError() << label << ": '" << parameter.name
                                                           << "' must be a weight of the shape of " << expected;
      diagnostic.attachNote(symbol->getLoc()) << "it is defined here";
      return diagnostic;
    }
  }
  return success();
}

LogicalResult morph::verifyRopeTable(Operation *user, StringRef label, StringRef lengthLabel, FlatSymbolRefAttr table,
                                     int64_t headDim, SymbolTableCollection &symbolTables) {
  Operation *symbol = symbolTables.lookupNearestSymbolFrom(user, table.getAttr());
  auto ropeTable = dyn_cast_or_null<RopeTableOp>(symbol);
  if (!ropeTable) {
    InFlightDiagnostic diagnostic = user->emitOpError() << label << ": the model has no rope table " << table;
    if (symbol)
      diagnostic.attachNote(symbol->getLoc()) << table << " is this";
    return diagnostic;
  }
  int64_t rotated = 2 * int64_t(ropeTable.getInverseFrequencies().size());
  if (rotated <= headDim)
    return success();
  InFlightDiagnostic diagnostic = user->emitOpError() << lengthLabel << ": rope table " << table << " turns " << rotated
                                                      << " elements, but a head has " << headDim;
  diagnostic.attachNote(ropeTable.getLoc()) << "the table is defined here";
  return diagnostic;
}
