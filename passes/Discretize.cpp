// SPDX-License-Identifier: Apache-2.0
// morph-discretize: phase paired or relaxed -> hybrid.

#include "passes/Passes.h"
#include "passes/Phases.h"
#include "passes/Selection.h"
#include "passes/Symbols.h"

#include "runtime/choice/Solve.h"

#include "llvm/ADT/StringExtras.h"

#include <cmath>
#include <numeric>

namespace morph {
#define GEN_PASS_DEF_DISCRETIZEPASS
#include "passes/Passes.h.inc"
} // namespace morph

using namespace mlir;
using namespace morph;

namespace {

/// A choice or a blend, whose candidates have names.
struct Decision {
  Operation *op = nullptr; ///< Null for a layer that has its mixer alone.
  ArrayAttr candidates;
};

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
                                       << " is for the values of a selection, which only option selection gives";
    if (hasBudget && hasRatio)
      return emitError(model.getLoc()) << "options budget and ratio are both given, expected one";
    int64_t layers = model.getLayers();
    if (uniform > layers || budget > layers)
      return emitModelError(model) << "is asked to keep " << std::max<int64_t>(uniform, budget) << " layers, but has "
                                   << layers;
    return success();
  }

  /// Finds what each layer has to decide.
  LogicalResult collect(ModelOp model) {
    decisions.assign(model.getLayers(), Decision());
    SymbolTableCollection symbolTables;
    auto add = [&](Operation *op, Operation *names, int64_t layer, ArrayAttr candidates) -> LogicalResult {
      if (layer >= static_cast<int64_t>(decisions.size()))
        return names->emitOpError() << "is of layer " << layer << ", but the model has " << decisions.size()
                                    << " layers";
      if (Operation *other = decisions[layer].op) {
        InFlightDiagnostic error = op->emitOpError() << "is the second to decide layer " << layer;
        error.attachNote(other->getLoc()) << "the first is here";
        return error;
      }
      decisions[layer] = {op, candidates};
      return success();
    };
    for (func::FuncOp function : model.getBody().getOps<func::FuncOp>()) {
      WalkResult result = function.walk([&](Operation *op) -> WalkResult {
        if (auto choice = dyn_cast<ChoiceOp>(op))
          return add(op, op, choice.getLayer(), choice.getCandidates());
        auto blend = dyn_cast<BlendOp>(op);
        if (!blend)
          return success();
        GateOp gate = blend.lookupGate(symbolTables);
        if (!gate)
          return refuseUngated(blend);
        return add(op, gate, gate.getLayer(), gate.getCandidates());
      });
      if (result.wasInterrupted())
        return failure();
    }
    return success();
  }

  SmallVector<StringRef> namesOf(int64_t layer) const {
    SmallVector<StringRef> names;
    if (decisions[layer].op)
      llvm::append_range(names, decisions[layer].candidates.getAsValueRange<StringAttr>());
    return names;
  }

  /// Sets `choice` from kept layers; the others take the option `candidate`, or their first one.
  LogicalResult keepLayers(ArrayRef<int64_t> layers) {
    for (auto [layer, decision] : llvm::enumerate(decisions)) {
      if (!decision.op || llvm::is_contained(layers, static_cast<int64_t>(layer)))
        continue;
      FailureOr<int64_t> index = candidate.empty() ? FailureOr<int64_t>(1) : findCandidate(layer, candidate);
      if (failed(index))
        return failure();
      choice[layer] = *index;
    }
    return success();
  }

  FailureOr<int64_t> findCandidate(int64_t layer, StringRef name) {
    SmallVector<StringRef> names = namesOf(layer);
    if (name == kFullAttention && names.empty())
      return int64_t(0);
    if (const auto *found = llvm::find(names, name); found != names.end())
      return static_cast<int64_t>(found - names.begin());
    Operation *op = decisions[layer].op;
    InFlightDiagnostic error = (op ? op->emitOpError() : emitModelError(getOperation()))
                               << "of layer " << layer << " has no candidate '" << name << "'";
    if (op)
      error.attachNote() << "its candidates are " << decisions[layer].candidates;
    return error;
  }

  /// Sets `choice` from the options and the selection file.
  LogicalResult select(ModelOp model) {
    int64_t layers = model.getLayers();
    choice.assign(layers, 0);
    FailureOr<SmallVector<int64_t>> pinnedFull = take(checkLayers(keep, layers, "option keep"));
    FailureOr<SmallVector<int64_t>> pinnedLinear = take(checkLayers(linear, layers, "option linear"));
    if (failed(pinnedFull) || failed(pinnedLinear))
      return failure();
    for (int64_t layer : *pinnedFull)
      if (llvm::is_contained(*pinnedLinear, layer))
        return emitError(model.getLoc()) << "layer " << layer << " is pinned by both keep and linear";

    LogicalResult result = success();
    if (uniform >= 0) {
      result = keepLayers(uniformLayers(layers, uniform));
    } else if (!kept.empty()) {
      FailureOr<SmallVector<int64_t>> list = take(checkLayers(kept, layers, "option kept"));
      result = failed(list) ? failure() : keepLayers(*list);
    } else {
      result = selectByFile(model, *pinnedFull, *pinnedLinear);
    }
    if (failed(result))
      return failure();
    for (int64_t layer : *pinnedFull)
      if (choice[layer] != 0)
        return emitError(model.getLoc()) << "layer " << layer
                                         << " is pinned by keep, but the selection does not keep it";
    for (int64_t layer : *pinnedLinear)
      if (choice[layer] == 0)
        return emitError(model.getLoc()) << "layer " << layer << " is pinned by linear, but the selection keeps it";
    return success();
  }

  LogicalResult selectByFile(ModelOp model, ArrayRef<int64_t> pinnedFull, ArrayRef<int64_t> pinnedLinear) {
    int64_t layers = model.getLayers();
    FailureOr<SelectionFile> file = take(readSelectionFile(selection, layers));
    if (failed(file))
      return failure();
    int64_t asked = budget >= 0 ? budget : ratio >= 0 ? std::llround(ratio * layers) : -1;
    if (asked < 0 && !file->choice.empty()) {
      for (auto [layer, name] : llvm::enumerate(file->choice)) {
        FailureOr<int64_t> index = findCandidate(layer, name);
        if (failed(index))
          return failure();
        choice[layer] = *index;
      }
      return success();
    }
    if (asked < 0 && file->kept)
      return keepLayers(*file->kept);
    if (asked < 0)
      asked = file->budget.value_or(-1);
    if ((asked < 0 && !file->space) || file->values.empty())
      return emitError(model.getLoc()) << "selection file '" << selection << "' has no "
                                       << (file->values.empty()
                                               ? "'values', 'gates' or 'scores' to choose by"
                                               : "'choice' or 'kept', and no budget is given there or as an option");
    return solveFor(model, *file, asked, pinnedFull, pinnedLinear);
  }

  /// The best choice by the file's values.
  LogicalResult solveFor(ModelOp model, const SelectionFile &file, int64_t asked, ArrayRef<int64_t> pinnedFull,
                         ArrayRef<int64_t> pinnedLinear) {
    int64_t layers = model.getLayers();
    FailureOr<ChoiceSpace> space = makeSpace(file, asked);
    if (failed(space))
      return failure();
    auto all = llvm::to_vector(llvm::seq<int64_t>(0, layers));
    if (asked >= 0)
      space->counts.push_back({{"the budget of " + std::to_string(asked) + " layers", ""},
                               {all.begin(), all.end()},
                               kFullAttention,
                               asked,
                               asked});
    if (!pinnedFull.empty())
      space->allowed.push_back({{"option keep", ""}, {pinnedFull.begin(), pinnedFull.end()}, {kFullAttention}});
    for (int64_t layer : pinnedLinear) {
      AllowedCandidates others{{"option linear", ""}, {layer}, {}};
      SmallVector<StringRef> names = namesOf(layer);
      for (size_t index = 1; index < names.size(); ++index)
        others.candidates.push_back(names[index].str());
      space->allowed.push_back(std::move(others));
    }
    CandidateTable values;
    for (auto [layer, row] : llvm::enumerate(file.values)) {
      const size_t count = space->layers[layer].size();
      // A score is full attention's; shares are of all candidates but the last.
      const size_t expected = file.kind == SelectionFile::Values::Scores   ? 1
                              : file.kind == SelectionFile::Values::Shares ? std::max<size_t>(count - 1, 1)
                                                                           : count;
      if (row.size() != expected)
        return emitError(model.getLoc()) << "selection file '" << selection << "' has " << row.size()
                                         << " values for layer " << layer << ", which has " << count << " candidates";
      std::vector<double> &numbers = values.emplace_back(row.begin(), row.end());
      if (file.kind == SelectionFile::Values::Shares && count > 1)
        numbers.push_back(1 - std::accumulate(row.begin(), row.end(), 0.0));
      numbers.resize(count);
      if (!candidate.empty() && file.kind == SelectionFile::Values::Scores && count > 1) {
        // Of scores the option says which candidate the others are.
        FailureOr<int64_t> index = findCandidate(layer, candidate);
        if (failed(index))
          return failure();
        space->allowed.push_back(
            {{"option candidate", ""}, {static_cast<int64_t>(layer)}, {kFullAttention, candidate}});
      }
    }
    CandidateTable ties;
    if (file.kind == SelectionFile::Values::Shares) {
      ties = values;
      values = valuesOfShares(*space, values);
    }
    StatusOr<Choice> solved = solve(*space, values, ties);
    if (!solved.ok())
      return emitError(model.getLoc()) << solved.status().message();
    choice = *solved;
    return success();
  }

  /// The file's space, which must be of this model's candidates, without its number of layers where another is asked
  /// for; else one with nothing but the candidates.
  FailureOr<ChoiceSpace> makeSpace(const SelectionFile &file, int64_t asked) {
    ChoiceSpace space;
    for (int64_t layer = 0; layer < static_cast<int64_t>(decisions.size()); ++layer) {
      std::vector<Candidate> &candidates = space.layers.emplace_back();
      candidates.push_back({kFullAttention, ""});
      SmallVector<StringRef> names = namesOf(layer);
      for (size_t index = 1; index < names.size(); ++index)
        candidates.push_back({names[index].str(), ""});
    }
    if (!file.space)
      return space;
    auto isSame = [](const Candidate &a, const Candidate &b) { return a.name == b.name; };
    for (auto [layer, own, other] : llvm::enumerate(space.layers, file.space->layers))
      if (!std::equal(own.begin(), own.end(), other.begin(), other.end(), isSame))
        return emitError(getOperation().getLoc()) << "the space of selection file '" << selection
                                                  << "' has other candidates in layer " << layer << " than the model";
    space = *file.space;
    if (asked >= 0)
      llvm::erase_if(space.counts, [&](const CandidateCount &count) {
        return count.candidate == kFullAttention && count.layers.size() == space.layers.size();
      });
    return space;
  }

  static void discretize(ChoiceOp choice, int64_t index) {
    Block &body = choice.getBodies()[index].front();
    Operation *yield = body.getTerminator();
    choice.replaceAllUsesWith(yield->getOperand(0));
    yield->erase();
    choice->getBlock()->getOperations().splice(Block::iterator(choice), body.getOperations());
    choice.erase();
  }

  static void discretize(BlendOp blend, int64_t index) {
    // A candidate may stand there twice.
    llvm::SetVector<Operation *> unused;
    unused.insert(blend.getGate().getDefiningOp());
    for (Value value : blend.getCandidates())
      if (auto mixer = value.getDefiningOp<TokenMixerOpInterface>())
        unused.insert(mixer);
    blend.replaceAllUsesWith(blend.getCandidates()[index]);
    blend.erase();
    for (Operation *op : unused)
      if (op->use_empty())
        op->erase();
  }

  LogicalResult run(ModelOp model) {
    if (failed(requirePhase(model, {Phase::Paired, Phase::Relaxed}, getArgument())) || failed(checkOptions(model)) ||
        failed(collect(model)) || failed(select(model)))
      return failure();
    for (auto [decision, index] : llvm::zip_equal(decisions, choice)) {
      if (auto op = dyn_cast_or_null<ChoiceOp>(decision.op))
        discretize(op, index);
      else if (auto blend = dyn_cast_or_null<BlendOp>(decision.op))
        discretize(blend, index);
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

  SmallVector<Decision> decisions; ///< By layer.
  Choice choice;
};

} // namespace
