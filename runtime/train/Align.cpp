// SPDX-License-Identifier: Apache-2.0

#include "runtime/base/AtomicFile.h"
#include "runtime/train/HeldOut.h"
#include "runtime/train/Stages.h"

#include <algorithm>

namespace morph {

StatusOr<StageOutcome> runAlign(const StageContext &context) {
  const AlignSpec &section = context.spec.align;
  BatchStreamOptions data;
  data.batch = section.batch;
  data.length = section.length;
  data.taskFraction = section.taskFraction;
  const LoopOptions options = context.loopOptions("align", section);

  data.stream = "align";
  MORPH_ASSIGN_OR_RETURN(const auto stream, context.stream(data, section.tasks));
  data.stream = "held-out/align";
  data.sample.split = Split::Selection;
  MORPH_ASSIGN_OR_RETURN(const auto heldOut, context.stream(data, section.tasks));
  MORPH_ASSIGN_OR_RETURN(const auto executor, context.executor("align"));
  MORPH_ASSIGN_OR_RETURN(const auto forward, context.executor("align-forward", executor.get()));

  const BatchSource source = [&](int64_t index) -> StatusOr<LoopBatch> {
    MORPH_ASSIGN_OR_RETURN(const Batch batch, stream->batch(static_cast<uint64_t>(index)));
    return loopBatch(batch, executor->plan());
  };
  LoopHooks hooks;
  hooks.onLog = [](int64_t, const NamedTensors &outputs, nlohmann::ordered_json &line) {
    auto found = outputs.find("layer_loss");
    if (found == outputs.end())
      return;
    const at::Tensor values = found->second.to(at::kFloat).contiguous();
    line["layer_loss"] = std::vector<float>(values.data_ptr<float>(), values.data_ptr<float>() + values.numel());
  };
  MORPH_ASSIGN_OR_RETURN(const LoopResult result, runTrainLoop(*executor, source, options, hooks));
  if (result.interrupted)
    return StageOutcome::Interrupted;

  const int64_t batches = std::max<int64_t>(1, 8 / data.batch);
  MORPH_ASSIGN_OR_RETURN(const HeldOutLoss loss, heldOutLoss(*forward, *heldOut, batches));
  MORPH_RETURN_IF_ERROR(writeSafetensors(context.outPath("branches.safetensors"), trainedTensors(*executor)));
  const nlohmann::ordered_json summary = {{"steps", result.steps},      {"tokens", result.tokens},
                                          {"seconds", result.seconds},  {"first_loss", result.firstLoss},
                                          {"held_out_loss", loss.loss}, {"held_out_layer_loss", loss.layerLoss}};
  MORPH_RETURN_IF_ERROR(writeFile(context.outPath("align.json"), summary.dump(2) + "\n"));
  return StageOutcome::Done;
}

} // namespace morph
