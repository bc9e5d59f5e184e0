// SPDX-License-Identifier: Apache-2.0
// morph-build-update: what a step does with gradients, clipping and AdamW, as a program.

#include "passes/Gradients.h"
#include "passes/Passes.h"
#include "passes/Phases.h"
#include "runtime/plan/Names.h"

#include "llvm/ADT/MapVector.h"

#include <cmath>
#include <limits>

namespace morph {
#define GEN_PASS_DEF_BUILDUPDATEPASS
#include "passes/Passes.h.inc"
} // namespace morph

using namespace mlir;
using namespace morph;

namespace {

/// torch.optim.AdamW's.
constexpr double kEpsilon = 1e-8;
constexpr double kMostFactor = 1e6;

/// The layers of weights and gates; those of no layer are not in it.
llvm::DenseMap<StringAttr, int64_t> findLayers(ModelOp model) {
  llvm::DenseMap<StringAttr, int64_t> layers;
  for (auto gate : model.getBody().getOps<GateOp>())
    layers[gate.getSymNameAttr()] = gate.getLayer();
  model.walk([&](TokenMixerOpInterface mixer) {
    for (const MixerParameter &parameter : mixer.getMixerParameters())
      layers.try_emplace(StringAttr::get(model.getContext(), parameter.name), mixer.getMixerLayer());
  });
  return layers;
}

/// Weights that have a rate of their own, by a part of their names.
struct RateGroup {
  StringRef part;
  double factor;
  Value rate = {};
  bool isUsed = false;
};

struct BuildUpdatePass : public morph::impl::BuildUpdatePassBase<BuildUpdatePass> {
  using BuildUpdatePassBase::BuildUpdatePassBase;

  /// A trained weight or gate, its gradient and its moments.
  struct Trained {
    StringRef name;
    Value parameter, gradient, first, second;
  };

  LogicalResult build(ModelOp model, ProgramOp program) {
    OpBuilder builder(model.getContext());
    builder.setInsertionPointAfter(program);
    std::string name = (program.getSymName() + "_update").str();
    if (SymbolTable::lookupSymbolIn(model, name))
      return emitModelError(model) << "already has a symbol @" << name;
    auto update = builder.create<ProgramOp>(program.getLoc(), name);
    update.setTrainedAttr(program.getTrained());
    builder.setInsertionPointToStart(&update.getBlock());

    SymbolTable symbols(model);
    SmallVector<std::pair<std::string, RankedTensorType>> inputs = {
        {plan::kRate, RankedTensorType::get({}, builder.getF32Type())},
        {plan::kStep, RankedTensorType::get({}, builder.getI64Type())}};
    for (auto symbol : program.getTrained().getAsRange<FlatSymbolRefAttr>())
      for (StringRef prefix : {plan::kGradientPrefix, plan::kFirstMomentPrefix, plan::kSecondMomentPrefix})
        inputs.emplace_back((prefix + symbol.getValue()).str(), getParamType(symbols.lookup(symbol.getValue())));
    SmallVector<Value> arguments = update.addInputs(inputs);
    FailureOr<SmallVector<RateGroup>> groups = parseRates(model);
    if (failed(groups))
      return failure();
    Value step = arguments[1];
    SmallVector<Trained> trained;
    for (auto [index, symbol] : llvm::enumerate(program.getTrained().getAsRange<FlatSymbolRefAttr>())) {
      ArrayRef<Value> own = ArrayRef(arguments).slice(2 + 3 * index, 3);
      Value parameter = builder.create<ParamOp>(update.getLoc(), own[0].getType(), symbol);
      trained.push_back({symbol.getValue(), parameter, own[0], own[1], own[2]});
    }

    for (RateGroup &group : *groups)
      group.rate = builder.create<ScaleOp>(update.getLoc(), arguments[0], builder.getF64FloatAttr(group.factor));
    auto findRate = [&](StringRef weight) {
      Value rate = arguments[0];
      for (RateGroup &group : *groups)
        if (weight.contains(group.part)) {
          group.isUsed = true;
          rate = group.rate;
        }
      return rate;
    };

    SmallVector<Attribute> names = {builder.getStringAttr(plan::kNorm)};
    SmallVector<Value> outputs = {clipGradients(builder, model, trained)};
    for (Trained &weight : trained) {
      // What is no matrix is a norm, a bias, a gate or a decay rate.
      bool decays = cast<RankedTensorType>(weight.parameter.getType()).getRank() >= 2;
      auto adamw = builder.create<AdamwOp>(weight.parameter.getLoc(), weight.parameter, weight.gradient, weight.first,
                                           weight.second, findRate(weight.name), step, builder.getF64FloatAttr(beta1),
                                           builder.getF64FloatAttr(beta2), builder.getF64FloatAttr(kEpsilon),
                                           builder.getF64FloatAttr(decays ? weightDecay : 0.0));
      for (auto [prefix, value] : {std::pair(plan::kFirstMomentPrefix, adamw.getNextFirst()),
                                   std::pair(plan::kSecondMomentPrefix, adamw.getNextSecond())}) {
        names.push_back(builder.getStringAttr(prefix + weight.name));
        outputs.push_back(value);
      }
    }
    builder.create<OutputOp>(update.getLoc(), builder.getArrayAttr(names), outputs);
    for (const RateGroup &group : *groups)
      if (!group.isUsed)
        return emitProgramError(program) << "trains no weight with '" << group.part << "' in its name, for which "
                                         << program.getSymName() << ".rates has a rate: frozen ones are trained by "
                                         << program.getSymName() << ".train = \"all\", and beside them their adapters";
    program.setUpdateAttr(FlatSymbolRefAttr::get(update.getSymNameAttr()));
    return success();
  }

  FailureOr<SmallVector<RateGroup>> parseRates(ModelOp model) {
    SmallVector<RateGroup> groups;
    for (const std::string &entry : rates) {
      auto [part, text] = StringRef(entry).rsplit('=');
      double factor = 0;
      if (part.empty() || text.getAsDouble(factor) || !(factor > 0 && factor <= kMostFactor))
        return emitModelError(model) << "cannot be trained with the rate '" << entry
                                     << "', expected PART=FACTOR with a factor above 0";
      groups.push_back({part, factor});
    }
    return groups;
  }

  /// A weight's or a gate's type in a program.
  static RankedTensorType getParamType(Operation *symbol) {
    auto f32 = Float32Type::get(symbol->getContext());
    if (auto gate = dyn_cast<GateOp>(symbol))
      return RankedTensorType::get({static_cast<int64_t>(gate.getValue().size())}, f32);
    return RankedTensorType::get(cast<RankedTensorType>(cast<WeightOp>(symbol).getType()).getShape(), f32);
  }

  /// Clips by groups; returns the norm of all gradients before.
  Value clipGradients(OpBuilder &builder, ModelOp model, MutableArrayRef<Trained> trained) {
    llvm::MapVector<int64_t, SmallVector<Trained *>> groups;
    llvm::DenseMap<StringAttr, int64_t> layers;
    if (clipBy == "layer")
      layers = findLayers(model);
    for (Trained &weight : trained) {
      auto layer = layers.find(builder.getStringAttr(weight.name));
      groups[layer == layers.end() ? -1 : layer->second].push_back(&weight);
    }
    // With an equal part each, the norm of all gradients is within the limit, too.
    double limit = clipBy == "layer" ? clip / std::sqrt(double(std::max<int64_t>(1, model.getLayers()))) : double(clip);
    SmallVector<Value> norms;
    for (auto &[layer, group] : groups) {
      SmallVector<Value> gradients;
      for (Trained *weight : group)
        gradients.push_back(weight->gradient);
      Value norm = norms.emplace_back(builder.create<GlobalNormOp>(model.getLoc(), gradients));
      if (limit == 0)
        continue;
      for (Trained *weight : group)
        weight->gradient =
            builder.create<ClipOp>(model.getLoc(), weight->gradient, norm, builder.getF64FloatAttr(limit)).getResult();
    }
    return norms.size() == 1 ? norms.front() : builder.create<GlobalNormOp>(model.getLoc(), norms).getResult();
  }

  void runOnOperation() override {
    ModelOp model = getOperation();
    constexpr double any = std::numeric_limits<double>::infinity();
    if (failed(checkOption(model, "clip", clip, any)) ||
        failed(checkOption(model, "clip_by", clipBy, {"all", "layer"})) ||
        failed(checkOption(model, "beta1", beta1, 1)) || failed(checkOption(model, "beta2", beta2, 1)) ||
        failed(checkOption(model, "weight_decay", weightDecay, any)) ||
        failed(forTrainingPrograms(model, program, [&](ProgramOp program) { return build(model, program); })))
      signalPassFailure();
  }
};

} // namespace
