// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/HeldOut.h"

#include "runtime/plan/Cost.h"

#include <cmath>

namespace morph {

MeanAndError meanAndError(const std::vector<double> &values) {
  MeanAndError result;
  if (values.empty())
    return result;
  const double count = static_cast<double>(values.size());
  for (double value : values)
    result.mean += value / count;
  double squares = 0;
  for (double value : values)
    squares += (value - result.mean) * (value - result.mean);
  if (values.size() > 1)
    result.standardError = std::sqrt(squares / (count - 1) / count);
  return result;
}

StatusOr<double> batchFlops(const plan::Plan &plan, const NamedTensors &inputs) {
  std::map<std::string, int64_t> sizes = {{"B", 1}, {"T", 1}, {"N", 0}, {"S", 0}};
  if (auto tokens = inputs.find("tokens"); tokens != inputs.end()) {
    sizes["B"] = tokens->second.size(0);
    sizes["T"] = tokens->second.size(1);
  }
  if (auto positions = inputs.find("positions"); positions != inputs.end())
    sizes["N"] = positions->second.numel();
  MORPH_ASSIGN_OR_RETURN(const plan::Cost cost, plan::estimateCost(plan, sizes));
  return cost.flops;
}

StatusOr<HeldOutLoss> heldOutLoss(Executor &executor, const BatchStream &stream, int64_t batches) {
  std::vector<double> losses;
  std::vector<std::vector<double>> layers;
  HeldOutLoss result;
  for (int64_t i = 0; i < batches; ++i) {
    MORPH_ASSIGN_OR_RETURN(const Batch batch, stream.batch(static_cast<uint64_t>(i)));
    const LoopBatch inputs = loopBatch(batch, executor.plan());
    MORPH_ASSIGN_OR_RETURN(const NamedTensors outputs, executor.run(inputs.inputs));
    auto loss = outputs.find("loss");
    if (loss == outputs.end())
      return Status::invalid("the plan '" + executor.plan().program + "' has no output 'loss'");
    losses.push_back(loss->second.item<double>());
    if (auto found = outputs.find("layer_loss"); found != outputs.end()) {
      const at::Tensor values = found->second.to(at::kDouble).contiguous();
      layers.resize(static_cast<size_t>(values.numel()));
      for (int64_t l = 0; l < values.numel(); ++l)
        layers[static_cast<size_t>(l)].push_back(values.data_ptr<double>()[l]);
    }
    result.tokens += inputs.tokens;
    MORPH_ASSIGN_OR_RETURN(const double flops, batchFlops(executor.plan(), inputs.inputs));
    result.flops += flops;
  }
  const MeanAndError all = meanAndError(losses);
  result.loss = all.mean;
  result.standardError = all.standardError;
  for (const std::vector<double> &values : layers) {
    const MeanAndError layer = meanAndError(values);
    result.layerLoss.push_back(layer.mean);
    result.layerStandardErrors.push_back(layer.standardError);
  }
  return result;
}

} // namespace morph
