// SPDX-License-Identifier: Apache-2.0
// morph-discretize: phase paired or relaxed -> hybrid.

#include "passes/Passes.h"
#include "passes/Phases.h"
#include "passes/Selection.h"
#include "passes/Symbols.h"

#include <cmath>

namespace morph {
#define GEN_PASS_DEF_DISCRETIZEPASS
#include "passes/Passes.h.inc"
} // namespace morph

using namespace mlir;
using namespace morph;

namespace {

struct DiscretizePass : public morph::impl::DiscretizePassBase<DiscretizePass> {
  using DiscretizePassBase::DiscretizePassBase;

  /// The value of an Expected, or an error at the model.
  template <typename T> FailureOr<T> take(llvm::Expected<T> value) {
    if (value)
      return *value;
    return emitError(getOperation().getLoc()) << llvm::toString(value.takeError());
  }

  LogicalResult checkOptions(ModelOp model) {
    // -1 stands for an option that is not given; no other number below zero has a meaning.
    for (auto [name, layers] : {std::pair("uniform", uniform.getValue()), std::pair("budget", budget.getValue())})
      if (layers < -1)
        return emitError(model.getLoc()) << "option " << name << " is " << layers << ", expected a number of layers";
    if (!(ratio == -1 || (ratio >= 0 && ratio <= 1)))
      return emitError(model.getLoc()) << "option ratio is " << ratio << ", expected a share between 0 and 1";
    int sources = !kept.empty() + (uniform >= 0) + !selection.empty();
    if (sources != 1)
      return emitError(model.getLoc())
             << "discretizing needs exactly one of the options kept, uniform and selection, not " << sources;
    bool hasBudget = budget >= 0, hasRatio = ratio >= 0;
    if ((hasBudget || hasRatio) && selection.empty())
      return emitError(model.getLoc()) << "option " << (hasBudget ? "budget" : "ratio")
                                       << " ranks layers by scores, which only option selection gives";
    if (hasBudget && hasRatio)
      return emitError(model.getLoc()) << "options budget and ratio are both given, expected one";
    int64_t layers = model.getLayers();
    if (uniform > layers || budget > layers)
      return emitModelError(model) << "is asked to keep " << std::max<int64_t>(uniform, budget) << " layers, but has "
                                   << layers;
    return success();
  }

  /// Sets `keptLayers` and `chosenKinds` from the options and the selection file.
  LogicalResult select(ModelOp model) {
    int64_t layers = model.getLayers();
    FailureOr<SmallVector<int64_t>> pinnedFull = take(checkLayers(keep, layers, "option keep"));
    FailureOr<SmallVector<int64_t>> pinnedLinear = take(checkLayers(linear, layers, "option linear"));
    if (failed(pinnedFull) || failed(pinnedLinear))
      return failure();
    for (int64_t layer : *pinnedFull)
      if (llvm::is_contained(*pinnedLinear, layer))
        return emitError(model.getLoc()) << "layer " << layer << " is pinned by both keep and linear";

    FailureOr<SmallVector<int64_t>> result;
    if (uniform >= 0)
      result = uniformLayers(layers, uniform);
    else if (!kept.empty())
      result = take(checkLayers(kept, layers, "option kept"));
    else
      result = selectByFile(layers, *pinnedFull, *pinnedLinear);
    if (failed(result))
      return failure();
    keptLayers = *result;
    for (int64_t layer : *pinnedFull)
      if (!llvm::is_contained(keptLayers, layer))
        return emitError(model.getLoc()) << "layer " << layer
                                         << " is pinned by keep, but the selection does not keep it";
    for (int64_t layer : *pinnedLinear)
      if (llvm::is_contained(keptLayers, layer))
        return emitError(model.getLoc()) << "layer " << layer << " is pinned by linear, but the selection keeps it";
    return success();
  }

  FailureOr<SmallVector<int64_t>> selectByFile(int64_t layers, ArrayRef<int64_t> pinnedFull,
                                               ArrayRef<int64_t> pinnedLinear) {
    FailureOr<SelectionFile> file = take(readSelectionFile(selection, layers));
    if (failed(file))
      return failure();
    chosenKinds = file->chosen;
    int64_t asked = budget >= 0 ? budget : ratio >= 0 ? std::llround(ratio * layers) : -1;
    if (asked < 0 && file->kept)
      return *file->kept;
    if (asked < 0)
      asked = file->budget.value_or(-1);
    if (asked < 0 || !file->scores)
      return emitError(getOperation().getLoc())
             << "selection file '" << selection << "' has no "
             << (asked < 0 ? "'kept', and no budget is given there or as an option" : "'scores' to rank the layers by");
    return take(largestScores(*file->scores, asked, pinnedFull, pinnedLinear));
  }

  /// The number of the candidate that stays in `layer`.
  FailureOr<unsigned> candidateOf(Operation *op, int64_t layer, ArrayAttr candidates) {
    if (llvm::is_contained(keptLayers, layer))
      return 0u;
    StringRef kind = candidate;
    if (!chosenKinds.empty())
      kind = chosenKinds[layer];
    if (kind.empty())
      return 1u;
    for (auto [index, name] : llvm::enumerate(candidates.getAsValueRange<StringAttr>()))
      if (name == kind && index > 0)
        return static_cast<unsigned>(index);
    InFlightDiagnostic error = op->emitOpError()
                               << "of layer " << layer << " has no candidate '" << kind << "' beside full attention";
    error.attachNote() << "its candidates are " << candidates;
    return error;
  }

  LogicalResult discretize(ChoiceOp choice) {
    FailureOr<unsigned> index = candidateOf(choice, choice.getLayer(), choice.getCandidates());
    if (failed(index))
      return failure();
    Block &body = choice.getBodies()[*index].front();
    Operation *yield = body.getTerminator();
    choice.replaceAllUsesWith(yield->getOperand(0));
    yield->erase();
    choice->getBlock()->getOperations().splice(Block::iterator(choice), body.getOperations());
    choice.erase();
    return success();
  }

  LogicalResult discretize(ModelOp model, BlendOp blend, SymbolTableCollection &symbolTables) {
    GateOp gate = blend.lookupGate(symbolTables);
    if (!gate)
      return refuseUngated(blend);
    if (gate.getLayer() >= static_cast<uint64_t>(model.getLayers()))
      return gate.emitOpError() << "is of layer " << gate.getLayer() << ", but the model has " << model.getLayers()
                                << " layers";
    FailureOr<unsigned> index = candidateOf(blend, gate.getLayer(), gate.getCandidates());
    if (failed(index))
      return failure();
    // A candidate may stand there twice.
    llvm::SetVector<Operation *> unused;
    unused.insert(blend.getGate().getDefiningOp());
    for (Value value : blend.getCandidates())
      if (auto mixer = value.getDefiningOp<TokenMixerOpInterface>())
        unused.insert(mixer);
    blend.replaceAllUsesWith(blend.getCandidates()[*index]);
    blend.erase();
    for (Operation *op : unused)
      if (op->use_empty())
        op->erase();
    return success();
  }

  LogicalResult run(ModelOp model) {
    if (failed(requirePhase(model, {Phase::Paired, Phase::Relaxed}, getArgument())) || failed(checkOptions(model)) ||
        failed(select(model)))
      return failure();
    SmallVector<Operation *> decisions;
    for (func::FuncOp function : model.getBody().getOps<func::FuncOp>())
      function.walk([&](Operation *op) {
        if (isa<ChoiceOp, BlendOp>(op))
          decisions.push_back(op);
      });
    SymbolTableCollection symbolTables;
    for (Operation *op : decisions) {
      auto choice = dyn_cast<ChoiceOp>(op);
      if (choice && choice.getLayer() >= static_cast<uint64_t>(model.getLayers()))
        return choice.emitOpError() << "is of layer " << choice.getLayer() << ", but the model has "
                                    << model.getLayers() << " layers";
      if (failed(choice ? discretize(choice) : discretize(model, cast<BlendOp>(op), symbolTables)))
        return failure();
    }
    // Programs were built from the phase that ends here, and may read gates.
    for (auto program : llvm::make_early_inc_range(model.getBody().getOps<ProgramOp>()))
      program.erase();
    eraseUnreadSymbols(model);
    model.setPhase(Phase::Hybrid);
    return success();
  }

  void runOnOperation() override {
    if (failed(run(getOperation())))
      signalPassFailure();
  }

  SmallVector<int64_t> keptLayers;
  SmallVector<std::string> chosenKinds;
};

} // namespace
