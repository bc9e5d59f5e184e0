// SPDX-License-Identifier: Apache-2.0
// morph-pair-branches: phase base -> paired.

#include "passes/Passes.h"
#include "passes/Phases.h"
#include "passes/Symbols.h"

#include "dialect/backends/LinearAttentionBackend.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"

#include <cmath>

namespace morph {
#define GEN_PASS_DEF_PAIRBRANCHESPASS
#include "passes/Passes.h.inc"
} // namespace morph

using namespace mlir;
using namespace morph;

namespace {

constexpr llvm::StringLiteral kFull = "full";
constexpr llvm::StringLiteral kSlidingWindow = "sliding_window";

/// The eps of the norm that makes a mixer's input: the one that the linear branch's output norm takes over.
FloatAttr inputNormEps(SoftmaxMixerOp mixer) {
  if (auto norm = mixer.getHidden().getDefiningOp<RmsNormOp>())
    return norm.getEpsAttr();
  return FloatAttr::get(Float64Type::get(mixer.getContext()), 1e-6);
}

struct PairBranchesPass : public morph::impl::PairBranchesPassBase<PairBranchesPass> {
  using PairBranchesPassBase::PairBranchesPassBase;

  LogicalResult readCandidates(ModelOp model) {
    kinds.assign(candidates.begin(), candidates.end());
    if (kinds.empty())
      kinds.push_back("gated_deltanet");
    llvm::StringSet<> seen;
    for (const std::string &kind : kinds) {
      if (!seen.insert(kind).second)
        return emitError(model.getLoc()) << "candidate '" << kind << "' is given twice";
      if (kind == kFull)
        return emitError(model.getLoc()) << "'full' is not a candidate: it is what the candidates are paired with";
      if (kind == kSlidingWindow) {
        if (window <= 0)
          return emitError(model.getLoc())
                 << "candidate 'sliding_window' needs the option window, a positive number of "
                    "positions, but it is "
                 << window.getValue();
        continue;
      }
      if (!getLinearAttentionBackend(kind)) {
        InFlightDiagnostic error = emitError(model.getLoc()) << "no linear-attention backend is named '" << kind << "'";
        error.attachNote() << "candidates are sliding_window and the backends "
                           << llvm::join(getLinearAttentionKinds(), ", ");
        return error;
      }
    }
    return readOptions(model);
  }

  /// Tools may give the options of all backends; one that no candidate has must then be at its default.
  static bool isDefaultElsewhere(StringRef key, int64_t number) {
    return llvm::any_of(getLinearAttentionBackends(), [&](const auto &backend) {
      return llvm::any_of(backend->getOptions(), [&](const LinearMixerOption &option) {
        return option.name == key && option.defaultValue == number;
      });
    });
  }

  /// Spreads the option list over the linear candidates that know each option, and fills in the defaults.
  LogicalResult readOptions(ModelOp model) {
    Builder builder(model.getContext());
    llvm::StringMap<NamedAttrList> given;
    for (const std::string &text : backendOptions) {
      auto [key, value] = StringRef(text).split('=');
      int64_t number;
      if (value.getAsInteger(10, number))
        return emitError(model.getLoc()) << "backend option '" << text << "' is not key=number";
      bool known = false;
      for (const std::string &kind : kinds) {
        const LinearAttentionBackend *backend = getLinearAttentionBackend(kind);
        if (!backend || llvm::none_of(backend->getOptions(),
                                      [&, key = key](const LinearMixerOption &option) { return option.name == key; }))
          continue;
        given[kind].set(key, builder.getI64IntegerAttr(number));
        known = true;
      }
      if (!known && !isDefaultElsewhere(key, number))
        return emitError(model.getLoc()) << "no candidate has an option '" << key << "' (given as '" << text << "')";
    }
    for (const std::string &kind : kinds) {
      if (kind == kSlidingWindow)
        continue;
      FailureOr<DictionaryAttr> options = linearMixerOptions(kind, given[kind].getDictionary(model.getContext()),
                                                             [&] { return emitError(model.getLoc()); });
      if (failed(options))
        return failure();
      dictionaries[kind] = *options;
    }
    return success();
  }

  /// Builds candidate `kind` of a mixer at the builder's insertion point.
  Value buildCandidate(OpBuilder &builder, SoftmaxMixerOp mixer, StringRef kind, StringRef prefix) {
    int64_t ownWindow = mixer.getWindow().value_or(0);
    if (kind == kSlidingWindow) {
      auto narrow = cast<SoftmaxMixerOp>(builder.clone(*mixer));
      narrow.setWindowAttr(builder.getI64IntegerAttr(ownWindow ? std::min<int64_t>(ownWindow, window) : window));
      narrow.setSourceWindowAttr(builder.getI64IntegerAttr(ownWindow));
      return narrow.getResult();
    }
    OperationState state(mixer.getLoc(), LinearMixerOp::getOperationName());
    FloatAttr scale;
    if (mixer.getScale().convertToDouble() != 1.0 / std::sqrt(static_cast<double>(mixer.getHeadDim())))
      scale = mixer.getScaleAttr();
    LinearMixerOp::build(builder, state, mixer.getType(), mixer.getHidden(), builder.getStringAttr(kind),
                         mixer.getLayerAttr(), builder.getStringAttr(prefix), mixer.getPrefixAttr(),
                         mixer.getHeadsAttr(), mixer.getKvHeadsAttr(), mixer.getHeadDimAttr(), mixer.getRopeAttr(),
                         mixer.getQkvBiasAttr(), mixer.getOBiasAttr(), mixer.getQkNormEpsAttr(), inputNormEps(mixer),
                         dictionaries.lookup(kind), scale, mixer.getWindowAttr());
    return builder.create(state)->getResult(0);
  }

  void pair(WeightAdder &weights, SoftmaxMixerOp mixer) {
    OpBuilder builder(mixer);
    SmallVector<StringRef> names{kFull};
    names.append(kinds.begin(), kinds.end());
    OperationState state(mixer.getLoc(), ChoiceOp::getOperationName());
    ChoiceOp::build(builder, state, mixer.getType(), mixer.getLayerAttr(), builder.getStrArrayAttr(names),
                    /*bodiesCount=*/names.size());
    auto choice = cast<ChoiceOp>(builder.create(state));
    mixer.replaceAllUsesWith(choice.getResult());
    Block &full = choice.getBodies().front().emplaceBlock();
    mixer->moveBefore(&full, full.end());
    builder.setInsertionPointToEnd(&full);
    builder.create<YieldOp>(mixer.getLoc(), mixer.getResult());

    std::string layer = "model.layers." + std::to_string(mixer.getLayer());
    bool first = true;
    for (auto [index, kind] : llvm::enumerate(kinds)) {
      builder.setInsertionPointToEnd(&choice.getBodies()[index + 1].emplaceBlock());
      bool linear = kind != kSlidingWindow;
      Value value = buildCandidate(builder, mixer, kind, layer + (linear && first ? ".linear_attn" : "." + kind));
      builder.create<YieldOp>(mixer.getLoc(), value);
      if (linear)
        weights.addMixerWeights(cast<TokenMixerOpInterface>(value.getDefiningOp()));
      first &= !linear;
    }
  }

  void runOnOperation() override {
    ModelOp model = getOperation();
    if (failed(requirePhase(model, {Phase::Base}, getArgument())) || failed(readCandidates(model)))
      return signalPassFailure();
    SmallVector<SoftmaxMixerOp> mixers;
    for (func::FuncOp function : model.getBody().getOps<func::FuncOp>())
      function.walk([&](SoftmaxMixerOp mixer) { mixers.push_back(mixer); });
    WeightAdder weights(model);
    for (SoftmaxMixerOp mixer : mixers)
      pair(weights, mixer);
    model.setPhase(Phase::Paired);
  }

  SmallVector<std::string> kinds;
  llvm::StringMap<DictionaryAttr> dictionaries;
};

} // namespace
