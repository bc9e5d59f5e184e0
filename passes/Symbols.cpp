// SPDX-License-Identifier: Apache-2.0
// Which weights and gates a piece of IR reads, and adding and removing them.

#include "passes/Symbols.h"

using namespace mlir;

namespace morph {

SymbolNames readSymbols(Operation *scope) {
  SymbolNames names;
  scope->walk([&](Operation *op) {
    if (auto param = dyn_cast<ParamOp>(op))
      names.insert(param.getSymbolAttr().getAttr());
    if (auto mixer = dyn_cast<TokenMixerOpInterface>(op))
      for (const MixerParameter &parameter : mixer.getMixerParameters())
        names.insert(StringAttr::get(op->getContext(), parameter.name));
  });
  return names;
}

SymbolNames trainableSymbols(ModelOp model, const SymbolNames &names) {
  SymbolNames constants;
  model.walk([&](TokenMixerOpInterface mixer) {
    for (const MixerParameter &parameter : mixer.getMixerParameters())
      if (!parameter.trainable)
        constants.insert(StringAttr::get(model.getContext(), parameter.name));
  });
  SymbolNames trainable;
  for (StringAttr name : names)
    if (!constants.contains(name))
      trainable.insert(name);
  return trainable;
}

SymbolNames linearSymbols(Region &scope) {
  SymbolNames names;
  scope.walk([&](LinearMixerOp mixer) {
    for (const MixerParameter &parameter : mixer.getMixerParameters())
      if (parameter.trainable)
        names.insert(StringAttr::get(mixer.getContext(), parameter.name));
  });
  return names;
}

/// The op after which new weights go: the last weight, or null to start the model's body.
static Operation *lastWeight(ModelOp model) {
  Operation *last = nullptr;
  for (auto weight : model.getBody().getOps<WeightOp>())
    last = weight;
  return last;
}

static OpBuilder atEndOfWeights(ModelOp model) {
  OpBuilder builder(model.getContext());
  if (Operation *last = lastWeight(model))
    builder.setInsertionPointAfter(last);
  else
    builder.setInsertionPointToStart(&model.getBody().front());
  return builder;
}

/// The element type of the base checkpoint: that of the first weight that comes from it.
static Type checkpointType(ModelOp model) {
  for (auto weight : model.getBody().getOps<WeightOp>())
    if (!weight.getInitAttr())
      return cast<ShapedType>(weight.getType()).getElementType();
  return Float32Type::get(model.getContext());
}

void addMixerWeights(ModelOp model, TokenMixerOpInterface mixer, StringRef teacherPrefix) {
  OpBuilder builder = atEndOfWeights(model);
  Type ofCheckpoint = checkpointType(model);
  for (const MixerParameter &parameter : mixer.getMixerParameters()) {
    if (SymbolTable::lookupSymbolIn(model, builder.getStringAttr(parameter.name)))
      continue;
    // The type in which the hybrid is exported, and evaluated: matrices as the checkpoint's, while decays and norms,
    // which rounding hurts and which take no room, stay fp32.
    bool isNewVector = parameter.init && parameter.shape.size() == 1;
    Type element = isNewVector ? builder.getF32Type() : ofCheckpoint;
    StringAttr teacherOf;
    if (StringRef base = parameter.name; !teacherPrefix.empty() && base.consume_front(teacherPrefix))
      teacherOf = builder.getStringAttr(base);
    builder.create<WeightOp>(mixer.getLoc(), builder.getStringAttr(parameter.name),
                             TypeAttr::get(RankedTensorType::get(parameter.shape, element)), parameter.init, teacherOf);
  }
}

void addTeacherWeight(ModelOp model, StringRef prefix, WeightOp weight) {
  OpBuilder builder = atEndOfWeights(model);
  StringAttr name = builder.getStringAttr(prefix + weight.getSymName());
  if (SymbolTable::lookupSymbolIn(model, name))
    return;
  builder.create<WeightOp>(weight.getLoc(), name, weight.getTypeAttr(), InitAttr(), weight.getSymNameAttr());
}

void eraseUnreadSymbols(ModelOp model) {
  SymbolNames read = readSymbols(model);
  for (Operation &op : llvm::make_early_inc_range(model.getBody().front()))
    if (isa<WeightOp, GateOp>(op) && !read.contains(SymbolTable::getSymbolName(&op)))
      op.erase();
}

} // namespace morph
