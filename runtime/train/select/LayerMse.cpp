// SPDX-License-Identifier: Apache-2.0
// Ranks layers by the error of their aligned linear branch on held-out data: output `layer_loss` of the plan
// `align-forward`.
// The error is normalised as that plan says (align.normalize); with several linear candidates a layer counts its best
// one.

#include "runtime/train/HeldOut.h"
#include "runtime/train/select/Selector.h"

namespace morph {

static StatusOr<Selection> selectLayerMse(const StageContext &context, const SelectionRequest &request) {
  const SelectSpec &section = context.spec.select;
  const AlignSpec &align = context.spec.align;
  BatchStreamOptions data;
  // Sequences one by one: the standard errors are over them.
  data.batch = 1;
  data.length = align.length;
  data.taskFraction = align.taskFraction;
  data.stream = "held-out/layer_mse";
  data.sample.split = Split::Selection;

  MORPH_ASSIGN_OR_RETURN(const auto stream, context.stream(data, align.tasks));
  MORPH_ASSIGN_OR_RETURN(const auto executor, context.executor("align-forward"));
  const HeldOutCheckpoint checkpoint = {context.outPath("checkpoint.layer_mse.safetensors"), context.key,
                                        "select (layer_mse)"};
  MORPH_ASSIGN_OR_RETURN(const HeldOutLoss loss, heldOutLoss(*executor, *stream, section.samples, &checkpoint));
  Selection selection;
  selection.interrupted = loss.interrupted;
  if (loss.interrupted)
    return selection;
  const int64_t branches = static_cast<int64_t>(loss.layerLoss.size());
  if (branches == 0 || branches % request.layers != 0)
    return Status::invalid("layer_mse: the plan 'align-forward' gives " + std::to_string(branches) +
                           " layer losses for a model of " + std::to_string(request.layers) + " layers");
  const int64_t candidates = branches / request.layers;
  const size_t named = 1 + context.spec.linear.candidates.size();
  if (static_cast<int64_t>(named) != candidates)
    return Status::invalid("layer_mse: the plan 'align-forward' has " + std::to_string(candidates) +
                           " candidates a layer, but the spec's 'linear' names " + std::to_string(named));
  for (int64_t layer = 0; layer < request.layers; ++layer) {
    int64_t best = 0;
    for (int64_t c = 1; c < candidates; ++c)
      if (loss.layerLoss[static_cast<size_t>(layer * candidates + c)] <
          loss.layerLoss[static_cast<size_t>(layer * candidates + best)])
        best = c;
    selection.scores.push_back(loss.layerLoss[static_cast<size_t>(layer * candidates + best)]);
    selection.standardErrors.push_back(loss.layerStandardErrors[static_cast<size_t>(layer * candidates + best)]);
    if (candidates > 1)
      selection.chosen.push_back(best);
  }
  selection.kept = largestLayers(selection.scores, {}, request);
  selection.tokens = loss.tokens;
  selection.flops = loss.flops;
  selection.seconds = loss.seconds;
  selection.details["samples"] = section.samples;
  return selection;
}

static const SelectorRegistration registration("layer_mse", "the error of each layer's linear branch", selectLayerMse);

} // namespace morph
