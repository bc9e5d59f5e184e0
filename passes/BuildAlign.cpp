// SPDX-License-Identifier: Apache-2.0
// morph-build-align: each linear candidate against its layer's full attention, in the teacher's forward.

#include "passes/Passes.h"
#include "passes/ProgramBuilder.h"

namespace morph {
#define GEN_PASS_DEF_BUILDALIGNPASS
#include "passes/Passes.h.inc"
} // namespace morph

using namespace mlir;
using namespace morph;

namespace {

/// The layers of a wave, both included.
struct LayerRange {
  uint64_t first = 0, last = UINT64_MAX;
  bool contains(uint64_t layer) const { return first <= layer && layer <= last; }
  /// Whether a layer begins the wave or the next one; the model's first layer begins nothing.
  bool isBorder(uint64_t layer) const { return layer > 0 && (layer == first || layer == last + 1); }
};

/// Parses "4-7"; an empty text is all layers.
FailureOr<LayerRange> parseLayers(ModelOp model, StringRef text) {
  LayerRange layers;
  if (text.empty())
    return layers;
  auto [first, last] = text.split('-');
  if (first.getAsInteger(10, layers.first) || last.getAsInteger(10, layers.last) || layers.first > layers.last ||
      layers.last >= static_cast<uint64_t>(model.getLayers()))
    return emitModelError(model) << "option 'layers' is '" << text << "', expected FIRST-LAST within 0-"
                                 << model.getLayers() - 1;
  return layers;
}

struct BuildAlignPass : public morph::impl::BuildAlignPassBase<BuildAlignPass> {
  using BuildAlignPassBase::BuildAlignPassBase;

  LogicalResult build(ModelOp model) {
    if (failed(requirePhase(model, {Phase::Paired}, getArgument())) ||
        failed(checkOption(model, "normalize", normalize, {"relative", "mean", "rows"})))
      return failure();
    FailureOr<LayerRange> wave = parseLayers(model, layers);
    if (failed(wave))
      return failure();
    FailureOr<ProgramBuilder> program = ProgramBuilder::create(model, "align");
    if (failed(program))
      return failure();
    OpBuilder &builder = program->builder();
    Value tokens = program->addTokens();

    SmallVector<Value> losses, aligned; // Of all candidates; of those with weights to align.
    size_t numAligned = 0;              // In all layers.
    SymbolNames trained;
    auto measure = [&](Operation *op, IRMapping &mapping) -> FailureOr<Value> {
      auto choice = dyn_cast<ChoiceOp>(op);
      if (!choice)
        return Value();
      // A wave begins where the one before it ends, on the same data.
      if (wave->isBorder(choice.getLayer()) &&
          failed(program->addStream(choice.getLayer(), choice.getResult(), mapping)))
        return failure();
      Value full = program->copyCandidate(choice, 0, mapping);
      for (unsigned candidate = 1; candidate < choice.getBodies().size(); ++candidate) {
        SymbolNames weights = linearSymbols(choice.getBodies()[candidate]);
        numAligned += !weights.empty();
        if (!wave->contains(choice.getLayer()))
          continue;
        Value mixed = program->copyCandidate(choice, candidate, mapping);
        losses.push_back(
            builder.create<SquaredErrorOp>(choice.getLoc(), mixed, full, builder.getStringAttr(normalize)));
        if (weights.empty())
          continue; // Its error is told, but there is nothing to align.
        aligned.push_back(losses.back());
        trained.insert(weights.begin(), weights.end());
      }
      return full;
    };
    IRMapping mapping;
    if (failed(program->copyForward(tokens, mapping, measure)))
      return failure();
    if (aligned.empty())
      return emitModelError(model) << "has no candidate with weights to align"
                                   << (layers.empty() ? "" : " in these layers");
    program->addOutput("loss", program->mean(aligned, numAligned));
    program->addOutput("layer_loss", builder.create<StackOp>(program->loc(), losses));
    program->finish(trained);
    return success();
  }

  void runOnOperation() override {
    if (failed(build(getOperation())))
      signalPassFailure();
  }
};

} // namespace
