// SPDX-License-Identifier: Apache-2.0
// morph-verify-phase: the contract of each phase, checked.

#include "passes/Passes.h"
#include "passes/Phases.h"
#include "passes/Symbols.h"

namespace morph {
#define GEN_PASS_DEF_VERIFYPHASEPASS
#include "passes/Passes.h.inc"
} // namespace morph

using namespace mlir;
using namespace morph;

namespace {

struct VerifyPhasePass : public morph::impl::VerifyPhasePassBase<VerifyPhasePass> {
  using VerifyPhasePassBase::VerifyPhasePassBase;

  /// The pass that removes an op which `phase` may not hold, or that is missing before it can.
  static StringRef culprit(Operation *op, Phase phase) {
    if (isa<BlendOp, GateOp>(op))
      return phase == Phase::Hybrid ? "morph-discretize removes it" : "only morph-relax-gates makes it";
    if (isa<ChoiceOp>(op))
      return phase == Phase::Base      ? "only morph-pair-branches makes it"
             : phase == Phase::Relaxed ? "morph-relax-gates turns it into a blend"
                                       : "morph-discretize removes it";
    return "only morph-pair-branches makes it";
  }

  LogicalResult refuse(Operation *op, Phase phase) {
    InFlightDiagnostic error = op->emitOpError() << "is not allowed in phase " << stringifyPhase(phase);
    error.attachNote() << culprit(op, phase);
    return error;
  }

  static bool allowed(Operation *op, Phase phase) {
    if (isa<ChoiceOp>(op))
      return phase == Phase::Paired;
    if (isa<BlendOp, GateOp>(op))
      return phase == Phase::Relaxed;
    if (isa<LinearMixerOp>(op))
      return phase != Phase::Base;
    return true;
  }

  /// The layer that `op` decides in `phase`, or -1 where it decides none. A blend's layer is its gate's, as for
  /// morph-discretize; that its candidates are of that layer is the blend's own constraint.
  static FailureOr<int64_t> decidedLayer(Operation *op, Phase phase, SymbolTableCollection &symbolTables) {
    if (auto choice = dyn_cast<ChoiceOp>(op))
      return int64_t(choice.getLayer());
    if (auto blend = dyn_cast<BlendOp>(op)) {
      GateOp gate = blend.lookupGate(symbolTables);
      if (!gate)
        return refuseUngated(blend);
      for (Value candidate : blend.getCandidates())
        if (!candidate.getDefiningOp<TokenMixerOpInterface>())
          return blend.emitOpError() << "has a candidate that is no token mixer";
      return int64_t(gate.getLayer());
    }
    auto mixer = dyn_cast<TokenMixerOpInterface>(op);
    return mixer && !isCandidate(op) ? mixer.getMixerLayer() : int64_t(-1);
  }

  /// Whether a mixer is one of several that may stand in its layer: a layer without candidates has its mixer alone.
  static bool isCandidate(Operation *mixer) {
    return isa<ChoiceOp>(mixer->getParentOp()) ||
           llvm::any_of(mixer->getUsers(), [](Operation *user) { return isa<BlendOp>(user); });
  }

  static StringRef decider(Phase phase) {
    return phase == Phase::Paired ? "choice" : phase == Phase::Relaxed ? "blend" : "token mixer";
  }

  /// Every op is of the phase, and every layer is decided exactly once.
  LogicalResult verifyLayers(ModelOp model, Phase phase) {
    SmallVector<Operation *> deciders(model.getLayers());
    SymbolTableCollection symbolTables;
    for (func::FuncOp function : model.getBody().getOps<func::FuncOp>()) {
      WalkResult result = function.walk<WalkOrder::PreOrder>([&](Operation *op) -> WalkResult {
        if (!allowed(op, phase))
          return refuse(op, phase);
        if (isa<LinearMixerOp>(op) && phase == Phase::Paired && !isa<ChoiceOp>(op->getParentOp())) {
          InFlightDiagnostic error = op->emitOpError() << "is outside of a choice in phase paired";
          error.attachNote() << "morph-pair-branches puts candidates into a choice";
          return error;
        }
        FailureOr<int64_t> decided = decidedLayer(op, phase, symbolTables);
        if (failed(decided))
          return failure();
        int64_t layer = *decided;
        if (layer < 0)
          return success();
        if (layer >= static_cast<int64_t>(deciders.size()))
          return op->emitOpError() << "is of layer " << layer << ", but the model has " << deciders.size() << " layers";
        if (Operation *other = deciders[layer]) {
          InFlightDiagnostic error = op->emitOpError() << "is the second " << decider(phase) << " of layer " << layer;
          error.attachNote(other->getLoc()) << "the first is here";
          error.attachNote() << passThatMakes(phase) << " leaves one a layer";
          return error;
        }
        deciders[layer] = op;
        return success();
      });
      if (result.wasInterrupted())
        return failure();
    }
    for (auto [layer, op] : llvm::enumerate(deciders))
      if (!op) {
        InFlightDiagnostic error = emitModelError(model) << "has no " << decider(phase) << " for layer " << layer;
        error.attachNote() << passThatMakes(phase) << " makes one a layer in phase " << stringifyPhase(phase);
        return error;
      }
    return success();
  }

  /// Gates belong to the relaxed phase, and each is read by its layer's blend.
  LogicalResult verifySymbols(ModelOp model, Phase phase) {
    SymbolNames read = readSymbols(model);
    for (Operation &op : model.getBody().front()) {
      if (isa<GateOp>(op) && !allowed(&op, phase))
        return refuse(&op, phase);
      if (!isa<GateOp, WeightOp>(op) || outlivesReads(&op) || read.contains(SymbolTable::getSymbolName(&op)))
        continue;
      InFlightDiagnostic error = op.emitOpError() << "is read by nothing in phase " << stringifyPhase(phase);
      if (phase == Phase::Hybrid)
        error.attachNote() << "morph-discretize removes what the hybrid does not read";
      return error;
    }
    return success();
  }

  void runOnOperation() override {
    ModelOp model = getOperation();
    Phase phaseToCheck = model.getPhase();
    if (!phase.empty()) {
      std::optional<Phase> asked = symbolizePhase(phase);
      if (!asked) {
        (void)checkOption(model, "phase", phase, {"base", "paired", "relaxed", "hybrid"});
        return signalPassFailure();
      }
      phaseToCheck = *asked;
      if (failed(requirePhase(model, {phaseToCheck}, getArgument())))
        return signalPassFailure();
    }
    if (failed(verifyLayers(model, phaseToCheck)) || failed(verifySymbols(model, phaseToCheck)))
      return signalPassFailure();
    markAllAnalysesPreserved();
  }
};

} // namespace
