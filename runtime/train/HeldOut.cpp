// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/HeldOut.h"

#include "runtime/base/Intervals.h"
#include "runtime/plan/Cost.h"
#include "runtime/train/Interrupt.h"
#include "runtime/train/Progress.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <limits>
#include <map>
#include <memory>
#include <utility>

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

double studentFactor(size_t count) {
  return count < 2 ? std::numeric_limits<double>::infinity() : studentQuantile(count - 1);
}

StatusOr<double> batchFlops(const plan::Plan &plan, const NamedTensors &inputs, const std::vector<plan::Step> &steps) {
  std::map<std::string, int64_t> sizes = {{"B", 1}, {"T", 1}, {"N", 0}};
  if (auto tokens = inputs.find("tokens"); tokens != inputs.end()) {
    sizes["B"] = tokens->second.size(0);
    sizes["T"] = tokens->second.size(1);
  }
  if (auto positions = inputs.find("positions"); positions != inputs.end())
    sizes["N"] = positions->second.numel();
  MORPH_ASSIGN_OR_RETURN(const std::vector<double> flops, plan::instructionFlops(plan, sizes));
  double sum = 0;
  for (size_t i = 0; i < flops.size(); ++i)
    if (steps.empty() || steps[i] == plan::Step::Run)
      sum += flops[i];
  return sum;
}

BatchSource countingFlops(BatchSource source, const plan::Plan &plan) {
  using Sizes = std::pair<int64_t, int64_t>; // Tokens and positions.
  return [source = std::move(source), &plan,
          known = std::make_shared<std::map<Sizes, double>>()](int64_t index) -> StatusOr<LoopBatch> {
    MORPH_ASSIGN_OR_RETURN(LoopBatch batch, source(index));
    const auto positions = batch.inputs.find("positions");
    auto [entry, isNew] = known->insert(
        {{batch.inputs.at("tokens").numel(), positions == batch.inputs.end() ? 0 : positions->second.numel()}, 0});
    if (isNew) {
      MORPH_ASSIGN_OR_RETURN(entry->second, batchFlops(plan, batch.inputs));
    }
    batch.flops = entry->second;
    return batch;
  };
}

MeanAndError pairedDifference(const std::vector<double> &values, const std::vector<double> &reference) {
  std::vector<double> differences;
  for (size_t i = 0; i < values.size(); ++i)
    differences.push_back(values[i] - reference.at(i));
  return meanAndError(differences);
}

namespace {

/// What is known of each batch, and what it took.
struct Measured {
  std::vector<double> losses;
  std::vector<std::vector<double>> layers; ///< [batch][element of layer_loss]
  int64_t tokens = 0;
  double flops = 0, seconds = 0;

  Status read(const HeldOutCheckpoint &file);
  Status write(const HeldOutCheckpoint &file) const;
};

} // namespace

Status Measured::read(const HeldOutCheckpoint &file) {
  MORPH_ASSIGN_OR_RETURN(const std::optional<Checkpoint> saved, readCheckpoint(file.path, file.fingerprint));
  if (!saved)
    return Status();
  MORPH_RETURN_IF_ERROR(readState(file.path, [&] {
    losses = saved->state.value("losses", losses);
    layers = saved->state.value("layers", layers);
    flops = saved->state.value("flops", 0.0);
    return Status();
  }));
  tokens = saved->tokens;
  seconds = saved->seconds;
  const auto isOdd = [&](const std::vector<double> &batch) { return batch.size() != layers.front().size(); };
  const bool isDamaged = losses.size() != layers.size() || std::any_of(layers.begin(), layers.end(), isOdd);
  return isDamaged ? Status::failed("'" + file.path + "' is damaged") : Status();
}

Status Measured::write(const HeldOutCheckpoint &file) const {
  Checkpoint checkpoint;
  checkpoint.step = static_cast<int64_t>(losses.size());
  checkpoint.tokens = tokens;
  checkpoint.seconds = seconds;
  checkpoint.fingerprint = file.fingerprint;
  checkpoint.state = {{"losses", losses}, {"layers", layers}, {"flops", flops}};
  return writeCheckpoint(file.path, checkpoint);
}

StatusOr<HeldOutLoss> heldOutLoss(Executor &executor, const BatchStream &stream, int64_t batches,
                                  const HeldOutCheckpoint *checkpoint, Processes *processes) {
  return heldOutLoss(executor, batchSource(stream, executor.plan()), batches, checkpoint, processes);
}

/// What a batch gives: its loss, its tokens, its operations, and the elements of `layer_loss`.
static StatusOr<std::vector<double>> measureBatch(Executor &executor, const BatchSource &source, int64_t index) {
  MORPH_ASSIGN_OR_RETURN(const LoopBatch batch, source(index));
  MORPH_ASSIGN_OR_RETURN(const NamedTensors outputs, runBatch(executor, batch));
  auto loss = outputs.find("loss");
  if (loss == outputs.end())
    return Status::invalid("the plan '" + executor.plan().program + "' has no output 'loss'");
  const double value = loss->second.item<double>();
  if (!std::isfinite(value))
    return Status::failed("the loss of program '" + executor.plan().program + "' on held-out batch " +
                          std::to_string(index) + " is not finite");
  MORPH_ASSIGN_OR_RETURN(const double flops, batchFlops(executor.plan(), batch.inputs, executor.steps()));
  std::vector<double> result = {value, static_cast<double>(batch.tokens), flops};
  if (auto found = outputs.find("layer_loss"); found != outputs.end()) {
    const at::Tensor values = found->second.to(at::kCPU, at::kDouble).contiguous();
    result.insert(result.end(), values.data_ptr<double>(), values.data_ptr<double>() + values.numel());
  }
  return result;
}

StatusOr<HeldOutLoss> heldOutLoss(Executor &executor, const BatchSource &source, int64_t batches,
                                  const HeldOutCheckpoint *checkpoint, Processes *processes) {
  Processes alone;
  Processes &together = processes ? *processes : alone;
  Measured measured;
  if (checkpoint)
    MORPH_RETURN_IF_ERROR(measured.read(*checkpoint));
  std::optional<Progress> progress;
  const int64_t tokensBefore = measured.tokens;
  if (checkpoint)
    progress.emplace(checkpoint->label, batches, static_cast<int64_t>(measured.losses.size()), "batch");
  HeldOutLoss result;
  while (static_cast<int64_t>(measured.losses.size()) < batches) {
    MORPH_ASSIGN_OR_RETURN(const bool stops, together.any(checkpoint && interrupted()));
    if (stops) {
      progress->finish();
      std::fprintf(stderr, "%s: stopped after batch %zu of %lld; run again to continue\n", checkpoint->label.c_str(),
                   measured.losses.size(), static_cast<long long>(batches));
      result.interrupted = true;
      return result;
    }
    const auto begin = std::chrono::steady_clock::now();
    // A batch each.
    const auto first = static_cast<int64_t>(measured.losses.size()),
               count = std::min(together.count(), batches - first);
    std::vector<std::vector<double>> own;
    if (together.rank() < count) {
      MORPH_ASSIGN_OR_RETURN(own.emplace_back(), measureBatch(executor, source, first + together.rank()));
    }
    MORPH_ASSIGN_OR_RETURN(const auto results, together.collect(own, 1, count));
    for (const std::vector<double> &batch : results) {
      measured.losses.push_back(batch[0]);
      measured.tokens += static_cast<int64_t>(batch[1]);
      measured.flops += batch[2];
      measured.layers.emplace_back(batch.begin() + 3, batch.end());
    }
    measured.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    if (!checkpoint)
      continue;
    if (together.isLeader())
      MORPH_RETURN_IF_ERROR(measured.write(*checkpoint));
    progress->update(static_cast<int64_t>(measured.losses.size()), measured.tokens - tokensBefore, "",
                     measured.losses.size() % 10 == 0);
  }
  const MeanAndError all = meanAndError(measured.losses);
  result.losses = measured.losses;
  result.loss = all.mean;
  result.standardError = all.standardError;
  for (size_t l = 0; !measured.layers.empty() && l < measured.layers[0].size(); ++l) {
    std::vector<double> values;
    for (const std::vector<double> &batch : measured.layers)
      values.push_back(batch[l]);
    const MeanAndError layer = meanAndError(values);
    result.layerLoss.push_back(layer.mean);
    result.layerStandardErrors.push_back(layer.standardError);
  }
  result.tokens = measured.tokens;
  result.flops = measured.flops;
  result.seconds = measured.seconds;
  return result;
}

} // namespace morph
