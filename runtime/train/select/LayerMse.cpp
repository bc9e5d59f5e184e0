// SPDX-License-Identifier: Apache-2.0
// Ranks layers by the error of their aligned linear branch on held-out data: s_i = D_i, the mean over tokens of
// ||H_lin_i - H_full_i||^2 on the teacher's stream, which is what align lowers (FlashMorph's first stage, arXiv
// 2606.30562); output `layer_loss` of the plan `align-forward`. It is normalised as that plan says (align.normalize);
// with several linear candidates a layer counts its best one.

#include "runtime/train/HeldOut.h"
#include "runtime/train/select/Selector.h"

namespace morph {

static StatusOr<Selection> selectLayerMse(SelectorContext &selector) {
  const StageContext &context = selector.stage;
  const ChoiceSpace &space = selector.space;
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
  const int64_t samples = stream->differentSamples(section.samples);
  MORPH_ASSIGN_OR_RETURN(const auto executor, context.executor("align-forward"));
  const HeldOutCheckpoint checkpoint = {context.outPath("checkpoint.layer_mse.safetensors"), context.key,
                                        "select (layer_mse)"};
  MORPH_ASSIGN_OR_RETURN(const HeldOutLoss loss,
                         heldOutLoss(*executor, *stream, samples, &checkpoint, context.processes.get()));
  if (loss.interrupted)
    return Status::interrupted();
  Selection selection;
  // The plan has the layers' candidates in their order, full attention aside.
  size_t branches = 0;
  for (const std::vector<Candidate> &candidates : space.layers)
    branches += candidates.size() - 1;
  if (loss.layerLoss.size() != branches)
    return Status::invalid("layer_mse: the plan 'align-forward' gives " + std::to_string(loss.layerLoss.size()) +
                           " layer losses, but the layers have " + std::to_string(branches) +
                           " candidates beside full attention");
  size_t next = 0;
  for (const std::vector<Candidate> &candidates : space.layers) {
    std::vector<double> &values = selection.values.emplace_back(1, 0.0); // Full attention has no error.
    size_t best = next;
    for (size_t c = 1; c < candidates.size(); ++c, ++next) {
      values.push_back(-loss.layerLoss[next]);
      if (loss.layerLoss[next] < loss.layerLoss[best])
        best = next;
    }
    const bool hasBranch = candidates.size() > 1;
    selection.scores.push_back(hasBranch ? loss.layerLoss[best] : 0);
    selection.standardErrors.push_back(hasBranch ? loss.layerStandardErrors[best] : 0);
  }
  MORPH_ASSIGN_OR_RETURN(selection.choice, solve(space, selection.values));
  selection.cost = {loss.tokens, loss.flops, loss.seconds};
  selection.details["samples"] = samples;
  return selection;
}

static const SelectorRegistration layerMseRegistration("layer_mse", selectLayerMse);

} // namespace morph
