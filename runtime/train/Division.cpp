// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/Division.h"

#include "runtime/plan/Names.h"

#include <algorithm>
#include <set>

namespace morph {

Division::Sums Division::sumsOf(const plan::Plan &plan) {
  // `part` knows how the inputs of batches are divided; the others are the optimizer's.
  for (const plan::NamedValue &input : plan.inputs)
    if (input.name != "tokens" && input.name != "positions" && input.name != "targets" && input.name != "weights" &&
        input.name != plan::kBegins && input.name != plan::kShare && input.name.rfind(plan::kGradientPrefix, 0) != 0)
      return Sums::None;
  std::set<Sums> found;
  for (const plan::Instruction &instruction : plan.instructions) {
    if (instruction.op == "weighted_mean")
      found.insert(Sums::Weights);
    if (instruction.op != "squared_error")
      continue;
    const plan::TensorType &type = plan.values[static_cast<size_t>(instruction.operands[0])];
    if (std::get<std::string>(instruction.attributes.at("normalize")) == "relative")
      found.insert(Sums::Relative);
    else
      found.insert(!type.shape.empty() && type.shape[0] == plan::Dim("N") ? Sums::Rows : Sums::Sequences);
  }
  return found.size() == 1 ? *found.begin() : Sums::None;
}

Division::Division(std::shared_ptr<Processes> processes, const Executor &executor, int64_t accumulate, int64_t batch)
    : processes_(std::move(processes)) {
  const int64_t count = processes_->count();
  if (accumulate % count == 0)
    return;
  if (batch >= count)
    sums_ = sumsOf(executor.plan());
  // A compiled kernel of a GPU asks nobody.
  if (sums_ == Sums::Relative && !executor.device().is_cpu())
    sums_ = Sums::None;
  if (sums_ == Sums::None)
    idle_ = std::max<int64_t>(0, count - accumulate);
}

LoopBatch Division::part(LoopBatch batch, int64_t index) const {
  const at::Tensor tokens = batch.inputs.at("tokens"); // [B,T]
  const int64_t count = processes_->count(), sequences = tokens.size(0), length = tokens.size(1);
  const auto begins = [&](int64_t rank) { return rank * sequences / count; };
  // Positions are in the order of their sequences: those of a part stand together.
  std::vector<int64_t> rows(static_cast<size_t>(count) + 1, 0);
  if (const auto found = batch.inputs.find("positions"); found != batch.inputs.end()) {
    const int64_t *positions = found->second.const_data_ptr<int64_t>();
    const int64_t *end = positions + found->second.numel();
    for (int64_t rank = 0; rank <= count; ++rank)
      rows[static_cast<size_t>(rank)] = std::lower_bound(positions, end, begins(rank) * length) - positions;
    // All run the same instructions where they add up denominators; a part with no row has none to run.
    const bool isEmpty = std::adjacent_find(rows.begin(), rows.end()) != rows.end();
    if (sums_ == Sums::Relative && isEmpty) {
      batch.share = processes_->owns(index) ? 1 : 0;
      return batch;
    }
  }
  const int64_t rank = processes_->rank(), first = begins(rank), own = begins(rank + 1) - first;
  const int64_t firstRow = rows[static_cast<size_t>(rank)], ownRows = rows[static_cast<size_t>(rank) + 1] - firstRow;
  LoopBatch result;
  result.part = "-" + std::to_string(rank + 1) + "of" + std::to_string(count);
  result.tokens = own * length;
  result.flops = batch.flops * static_cast<double>(own) / static_cast<double>(sequences);
  for (const auto &[name, input] : batch.inputs) {
    if (name == "tokens" || name == plan::kBegins)
      result.inputs[name] = input.narrow(0, first, own);
    else if (name == "positions")
      result.inputs[name] = input.narrow(0, firstRow, ownRows) - first * length;
    else // targets, weights: one a row.
      result.inputs[name] = input.narrow(0, firstRow, ownRows).contiguous();
  }
  switch (sums_) {
  case Sums::Sequences:
    result.share = static_cast<double>(own) / static_cast<double>(sequences);
    break;
  case Sums::Rows:
    result.share = static_cast<double>(ownRows) / static_cast<double>(rows.back());
    break;
  case Sums::Weights: {
    const at::Tensor weights = batch.inputs.at("weights").to(at::kDouble);
    result.share = (weights.narrow(0, firstRow, ownRows).sum() / weights.sum()).item<double>();
    break;
  }
  case Sums::None:
  case Sums::Relative: // Its parts have the whole's denominator.
    break;
  }
  return result;
}

BatchSource Division::attachTo(BatchSource source) const {
  if (sums_ == Sums::None)
    return source;
  return [this, source = std::move(source)](int64_t index) -> StatusOr<LoopBatch> {
    MORPH_ASSIGN_OR_RETURN(LoopBatch batch, source(index));
    return part(std::move(batch), index);
  };
}

} // namespace morph
