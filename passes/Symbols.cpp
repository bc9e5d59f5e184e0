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

/// Where new weights go: after the last weight, or at the start of the model's body.
static OpBuilder atEndOfWeights(ModelOp model) {
  OpBuilder builder(model.getContext());
  builder.setInsertionPointToStart(&model.getBody().front());
  for (auto weight : model.getBody().getOps<WeightOp>())
    builder.setInsertionPointAfter(weight);
  return builder;
}

/// The element type of the base checkpoint: that of the first weight that comes from it.
static Type checkpointType(ModelOp model) {
  for (auto weight : model.getBody().getOps<WeightOp>())
    if (!weight.getInitAttr())
      return cast<ShapedType>(weight.getType()).getElementType();
  return Float32Type::get(model.getContext());
}

WeightAdder::WeightAdder(ModelOp model)
    : symbols_(model), builder_(atEndOfWeights(model)), checkpointType_(checkpointType(model)) {}

void WeightAdder::add(Location location, StringAttr name, TypeAttr type, InitAttr init, StringAttr teacherOf) {
  symbols_.insert(builder_.create<WeightOp>(location, name, type, init, teacherOf, /*pieces=*/ArrayAttr()));
}

void WeightAdder::addMixerWeights(TokenMixerOpInterface mixer, StringRef teacherPrefix) {
  for (const MixerParameter &parameter : mixer.getInitialParameters()) {
    StringAttr name = builder_.getStringAttr(parameter.name);
    if (symbols_.lookup(name))
      continue;
    // The type in which the hybrid is exported, and evaluated: matrices as the checkpoint's, while decays and norms,
    // which rounding hurts and which take no room, stay fp32.
    bool isNewVector = parameter.init && parameter.shape.size() == 1;
    Type element = isNewVector ? builder_.getF32Type() : checkpointType_;
    StringAttr teacherOf;
    if (StringRef base = parameter.name; !teacherPrefix.empty() && base.consume_front(teacherPrefix))
      teacherOf = builder_.getStringAttr(base);
    add(mixer.getLoc(), name, TypeAttr::get(RankedTensorType::get(parameter.shape, element)), parameter.init,
        teacherOf);
  }
}

void WeightAdder::addNew(Location location, const MixerParameter &parameter) {
  add(location, builder_.getStringAttr(parameter.name),
      TypeAttr::get(RankedTensorType::get(parameter.shape, builder_.getF32Type())), parameter.init, StringAttr());
}

void WeightAdder::addTeacherWeight(StringRef prefix, WeightOp weight) {
  StringAttr name = builder_.getStringAttr(prefix + weight.getSymName());
  if (!symbols_.lookup(name))
    add(weight.getLoc(), name, weight.getTypeAttr(), InitAttr(), weight.getSymNameAttr());
}

bool outlivesReads(Operation *symbol) {
  auto weight = dyn_cast<WeightOp>(symbol);
  return weight && weight.getPieces();
}

void eraseUnreadSymbols(ModelOp model) {
  SymbolNames read = readSymbols(model);
  model.walk([&](LinearMixerOp mixer) { read.insert(mixer.getMixerAttr().getAttr()); });
  for (Operation &op : llvm::make_early_inc_range(model.getBody().front()))
    if (isa<WeightOp, GateOp, MixerOp>(op) && !outlivesReads(&op) && !read.contains(SymbolTable::getSymbolName(&op)))
      op.erase();
}

} // namespace morph
