// SPDX-License-Identifier: Apache-2.0
// morph-pair-branches: phase base -> paired.

#include "passes/LinearMixers.h"
#include "passes/Passes.h"
#include "passes/Phases.h"
#include "passes/Symbols.h"

#include "dialect/MixerExpander.h"
#include "dialect/MixerReference.h"
#include "frontends/morph/Mixers.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"

namespace morph {
#define GEN_PASS_DEF_PAIRBRANCHESPASS
#include "passes/Passes.h.inc"
} // namespace morph

using namespace mlir;
using namespace morph;

namespace {

constexpr llvm::StringLiteral kFull = "full";

struct PairBranchesPass : public morph::impl::PairBranchesPassBase<PairBranchesPass> {
  using PairBranchesPassBase::PairBranchesPassBase;

  /// A candidate beside full attention.
  struct Candidate {
    MixerOp mixer;
    DictionaryAttr options;
  };

  LogicalResult readCandidates(ModelOp model) {
    // A pass runs on several models.
    list.clear();
    llvm::StringSet<> seen;
    for (const std::string &text : splitMixerReferences(candidates)) {
      auto fail = [&] { return emitError(model.getLoc()) << "candidate '" << text << "': "; };
      std::string message;
      std::optional<MixerReference> reference = parseMixerReference(text, message);
      if (!reference)
        return fail() << message;
      if (!reference->path.empty())
        return fail() << "files are read by frontends: the model must declare the mixer '" << reference->name << "'";
      if (!seen.insert(reference->name).second)
        return fail() << "'" << reference->name << "' is given twice";
      if (reference->name == kFull)
        return fail() << "'full' is not a candidate: it is what the candidates are paired with";
      FailureOr<Candidate> candidate = readCandidate(model, *reference, fail);
      if (failed(candidate))
        return failure();
      list.push_back(*candidate);
    }
    return success();
  }

  static FailureOr<Candidate> readCandidate(ModelOp model, const MixerReference &reference,
                                            function_ref<InFlightDiagnostic()> fail) {
    MixerOp mixer = declareMixer(model, reference.name);
    if (!mixer) {
      InFlightDiagnostic error = fail() << "neither the model nor Morph has a mixer of that name";
      error.attachNote() << "Morph has " << llvm::join(getBuiltinMixers(), ", ");
      return failure();
    }
    FailureOr<DictionaryAttr> options = makeMixerOptions(mixer, reference, fail);
    if (failed(options))
      return failure();
    return Candidate{mixer, *options};
  }

  LogicalResult pair(WeightAdder &weights, SoftmaxMixerOp mixer) {
    OpBuilder builder(mixer);
    SmallVector<StringRef> names{kFull};
    for (Candidate &candidate : list)
      names.push_back(candidate.mixer.getSymName());
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
    for (auto [index, candidate] : llvm::enumerate(list)) {
      builder.setInsertionPointToEnd(&choice.getBodies()[index + 1].emplaceBlock());
      LinearMixerOp built =
          createLinearMixer(builder, mixer, candidate.mixer, candidate.options,
                            layer + (index == 0 ? ".linear_attn" : "." + candidate.mixer.getSymName().str()));
      builder.create<YieldOp>(mixer.getLoc(), built.getResult());
      // A declaration that does not fit this layer has no weights.
      if (failed(MixerExpander::check(built, /*isNew=*/true)))
        return failure();
      weights.addMixerWeights(cast<TokenMixerOpInterface>(built.getOperation()));
    }
    return success();
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
      if (failed(pair(weights, mixer)))
        return signalPassFailure();
    model.setPhase(Phase::Paired);
  }

  SmallVector<Candidate> list;
};

} // namespace
