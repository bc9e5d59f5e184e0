// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/Calibrate.h"

#include "runtime/train/HeldOut.h"
#include "runtime/train/Interrupt.h"
#include "runtime/train/Metrics.h"

#include <chrono>
#include <cstdio>
#include <set>

namespace morph {

namespace {

/// "model.layers.3" of "model.layers.3.linear_attn.decay".
std::string layerOfWeight(const std::string &weight) {
  const std::string prefix = "model.layers.";
  if (weight.rfind(prefix, 0) != 0)
    return weight;
  return weight.substr(0, weight.find('.', prefix.size()));
}

StatusOr<Calibration> measure(const StageContext &context, const BatchStream &stream) {
  const auto begin = std::chrono::steady_clock::now();
  MORPH_ASSIGN_OR_RETURN(const auto executor, context.executor("calibrate"));
  const BatchSource source = batchSource(stream, executor->plan());
  Calibration result;
  NamedTensors sums; // Of weights: their shapes are known.
  const plan::Plan &plan = executor->plan();
  for (const plan::NamedValue &output : plan.outputs) {
    std::vector<int64_t> shape;
    for (const plan::Dim &dim : plan.values[static_cast<size_t>(output.value)].shape)
      shape.push_back(std::get<int64_t>(dim));
    sums[output.name] = at::zeros(shape, at::kDouble);
  }
  for (int64_t index = 0; index < context.spec.align.calibration; ++index) {
    MORPH_ASSIGN_OR_RETURN(result.interrupted, context.processes->any(interrupted()));
    if (result.interrupted)
      return result;
    ++result.batches;
    if (!context.processes->owns(index))
      continue;
    MORPH_ASSIGN_OR_RETURN(const LoopBatch batch, source(index));
    MORPH_ASSIGN_OR_RETURN(const NamedTensors outputs, runBatch(*executor, batch));
    for (const auto &[name, output] : outputs) {
      const at::Tensor value = output.cpu();
      if (!at::isfinite(value).all().item<bool>())
        return Status::failed("align: '" + name + "' is calibrated to a value that is not finite, on batch " +
                                  std::to_string(index),
                              "the mixer's declaration must give a finite one of any activations; align.calibration = "
                              "0 keeps the first values that it declares");
      sums.at(name) += value.to(at::kDouble);
    }
    result.tokens += batch.tokens;
    MORPH_ASSIGN_OR_RETURN(const double flops, batchFlops(executor->plan(), batch.inputs, executor->steps()));
    result.flops += flops;
  }
  std::vector<at::Tensor> tensors;
  for (const auto &entry : sums)
    tensors.push_back(entry.second);
  MORPH_RETURN_IF_ERROR(context.processes->allReduce(tensors));
  const auto type = context.precision == Precision::F64 ? at::kDouble : at::kFloat;
  for (const auto &[name, sum] : sums)
    result.values[name] = (sum / static_cast<double>(result.batches)).to(type);
  MORPH_ASSIGN_OR_RETURN(const std::vector<double> cost,
                         context.processes->sum({static_cast<double>(result.tokens), result.flops}));
  result.tokens = static_cast<int64_t>(cost[0]);
  result.flops = cost[1];
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return result;
}

} // namespace

StatusOr<Calibration> calibrate(const StageContext &context, const BatchStream &stream) {
  if (context.spec.align.calibration == 0 || !context.hasPlan("calibrate"))
    return Calibration();
  const std::string path = context.outPath("checkpoint.calibration.safetensors");
  MORPH_ASSIGN_OR_RETURN(std::optional<Checkpoint> saved, readCheckpoint(path, context.key));
  if (saved) {
    Calibration result;
    result.values = std::move(saved->masters);
    result.batches = saved->step;
    result.tokens = saved->tokens;
    result.seconds = saved->seconds;
    MORPH_RETURN_IF_ERROR(readState(path, [&] {
      saved->state.at("flops").get_to(result.flops);
      return Status();
    }));
    return result;
  }
  MORPH_ASSIGN_OR_RETURN(Calibration result, measure(context, stream));
  if (result.interrupted)
    return result;
  if (!context.processes->isLeader())
    return result;
  std::set<std::string> layers;
  for (const auto &entry : result.values)
    layers.insert(layerOfWeight(entry.first));
  std::fprintf(stderr, "align: calibrated %zu weights of %zu layers on %lld batches\n", result.values.size(),
               layers.size(), static_cast<long long>(result.batches));
  MORPH_ASSIGN_OR_RETURN(MetricsFile metrics, MetricsFile::open(context.outPath("metrics.jsonl"), "align", "", -1));
  MORPH_RETURN_IF_ERROR(metrics.append({{"step", 0},
                                        {"tokens", result.tokens},
                                        {"seconds", result.seconds},
                                        {"flops", result.flops},
                                        {"calibrated_weights", result.values.size()},
                                        {"calibrated_layers", layers.size()}}));
  Checkpoint checkpoint;
  checkpoint.step = result.batches;
  checkpoint.tokens = result.tokens;
  checkpoint.seconds = result.seconds;
  checkpoint.fingerprint = context.key;
  checkpoint.state = {{"flops", result.flops}};
  checkpoint.masters = result.values;
  MORPH_RETURN_IF_ERROR(writeCheckpoint(path, checkpoint));
  return result;
}

} // namespace morph
