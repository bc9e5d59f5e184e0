// SPDX-License-Identifier: Apache-2.0
#include "runtime/serve/SlotDecoder.h"

#include "runtime/base/Memory.h"
#include "runtime/kernels/Parallel.h"
#include "runtime/plan/Names.h"
#include "runtime/plan/Rings.h"
#include "runtime/plan/Updates.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <limits>

namespace morph {

namespace {

/// Tensors [n,...] of rings, and [...] of what is no ring, in the order of the decoder's states, on the CPU.
class Snapshot : public StateSnapshot {
public:
  int64_t bytes() const override {
    int64_t sum = 0;
    for (const at::Tensor &tensor : tensors)
      sum += static_cast<int64_t>(tensor.nbytes());
    return sum;
  }
  int64_t begin = 0, end = 0;
  std::vector<at::Tensor> tensors;
};

/// Calls body(from, slot, count) for positions [begin, end) of a ring, in pieces that lie one after the other in it.
/// Of more positions than the ring has the last ones count.
template <typename Body> void forRing(int64_t slots, int64_t begin, int64_t end, const Body &body) {
  for (int64_t at = std::max(begin, end - slots), count; at < end; at += count) {
    count = std::min(end - at, slots - at % slots);
    body(at, at % slots, count);
  }
}

std::string inMegabytes(int64_t bytes) { return std::to_string((bytes + 999'999) / 1'000'000) + " MB"; }

} // namespace

StatusOr<std::unique_ptr<SlotDecoder>> SlotDecoder::create(Executor &executor, const Sizes &sizes) {
  std::unique_ptr<SlotDecoder> decoder(new SlotDecoder(executor, sizes));
  MORPH_RETURN_IF_ERROR(decoder->allocate());
  return decoder;
}

Status SlotDecoder::allocate() {
  if (sizes_.slots < 1 || sizes_.context < 1 || sizes_.chunk < 1 || sizes_.chunk > plan::kPrefillChunk)
    return Status::invalid("slots and context must be 1 or more, a chunk from 1 to " +
                           std::to_string(plan::kPrefillChunk) + " tokens");
  const plan::Plan &plan = executor_.plan();
  const std::map<std::string, int64_t> windows = plan::ringWindows(plan);
  const std::vector<bool> updated = plan::updatedInputs(plan);
  for (const plan::NamedValue &output : plan.outputs)
    if (output.name == "logits")
      if (const plan::Dim &last = plan.values[static_cast<size_t>(output.value)].shape.back();
          std::holds_alternative<int64_t>(last))
        vocabulary_ = std::get<int64_t>(last);
  if (vocabulary_ == 0)
    return Status::invalid("the plan '" + plan.program + "' has no output 'logits' of known width");
  if (std::none_of(plan.inputs.begin(), plan.inputs.end(),
                   [](const plan::NamedValue &input) { return input.name == "positions"; }))
    return Status::invalid("the plan '" + plan.program + "' has no input 'positions'",
                           "compile it with --program-options=positions=true");

  // What all slots take is known before any is made; products stay below what a double holds exactly enough.
  std::vector<std::vector<int64_t>> shapes;
  double slotBytes = 0;
  for (size_t i = 0; i < plan.inputs.size(); ++i) {
    const auto &[name, value] = plan.inputs[i];
    if (!plan::hasPrefix(name, plan::kCachePrefix))
      continue;
    const plan::TensorType &type = plan.values[static_cast<size_t>(value)];
    const std::string *batch = type.shape.empty() ? nullptr : std::get_if<std::string>(&type.shape[0]);
    if (!updated[i] || !batch || *batch != "B")
      return Status::invalid("the plan '" + plan.program + "' has a cache '" + name + "' that is not updated [B, ...]");
    State state{name, {}, false};
    std::vector<int64_t> shape = {sizes_.slots};
    double bytes = static_cast<double>(c10::elementSize(scalarType(type.dtype, executor_.precision())));
    for (size_t d = 1; d < type.shape.size(); ++d) {
      if (const std::string *size = std::get_if<std::string>(&type.shape[d])) {
        const auto ring = windows.find(*size);
        if (ring == windows.end() || d != 1)
          return Status::invalid("the plan '" + plan.program + "' has a cache of unknown size '" + *size + "'");
        state.isRing = true;
        shape.push_back(plan::ringSlots(ring->second, sizes_.context));
      } else {
        shape.push_back(std::get<int64_t>(type.shape[d]));
      }
      bytes *= static_cast<double>(shape.back());
    }
    slotBytes += bytes;
    states_.push_back(std::move(state));
    shapes.push_back(std::move(shape));
  }
  const bool onHost = executor_.device().is_cpu();
  const int64_t room = sizes_.memoryLimit > 0 ? sizes_.memoryLimit
                       : onHost               ? static_cast<int64_t>(std::max(0.0, availableMemory()))
                                              : std::numeric_limits<int64_t>::max();
  if (slotBytes * static_cast<double>(sizes_.slots) > static_cast<double>(room)) {
    const auto fitting = static_cast<int64_t>(static_cast<double>(room) / std::max(1.0, slotBytes));
    return Status::invalid(
        std::to_string(sizes_.slots) + " slots of " + std::to_string(sizes_.context) + " positions take " +
            inMegabytes(static_cast<int64_t>(std::min(9e18, slotBytes * static_cast<double>(sizes_.slots)))) + ", " +
            inMegabytes(room) + (sizes_.memoryLimit > 0 ? " are allowed" : " are free"),
        fitting > 0 ? "--slots " + std::to_string(fitting) + " would fit; so may a smaller --context"
                    : "take a smaller --context, or fewer --max-tokens");
  }
  for (size_t i = 0; i < states_.size(); ++i) {
    const auto input = std::find_if(plan.inputs.begin(), plan.inputs.end(),
                                    [&](const auto &candidate) { return candidate.name == states_[i].input; });
    const plan::DType dtype = plan.values[static_cast<size_t>(input->value)].dtype;
    states_[i].memory =
        at::zeros(shapes[i], at::TensorOptions(scalarType(dtype, executor_.precision())).device(executor_.device()));
  }
  return Status();
}

int64_t SlotDecoder::bytes() const {
  int64_t sum = 0;
  for (const State &state : states_)
    sum += static_cast<int64_t>(state.memory.nbytes());
  return sum;
}

Status SlotDecoder::clear(int64_t slot) {
  // What a ring holds of another sequence lies at positions that are written before they are read.
  for (const State &state : states_)
    if (!state.isRing)
      state.memory.select(0, slot).zero_();
  return Status();
}

Status SlotDecoder::run(int64_t first, const at::Tensor &tokens_BT, const at::Tensor &offset_B,
                        const at::Tensor &positions_N) {
  const int64_t count = tokens_BT.size(0);
  NamedTensors inputs = {{"tokens", tokens_BT}, {"positions", positions_N}};
  for (const plan::NamedValue &input : executor_.plan().inputs) {
    if (input.name == "offset")
      inputs["offset"] = offset_B;
    if (input.name == "start")
      inputs["start"] = at::zeros({count}, at::kLong);
  }
  for (const State &state : states_)
    inputs[state.input] = state.memory.narrow(0, first, count);
  MORPH_ASSIGN_OR_RETURN(const NamedTensors outputs, executor_.run(inputs));
  logits_NV = outputs.at("logits").cpu();
  return Status();
}

/// A vector as a tensor of its own.
static at::Tensor tensorOf(const std::vector<int64_t> &values, at::IntArrayRef shape) {
  const at::Tensor tensor = at::empty(shape, at::kLong);
  std::copy(values.begin(), values.end(), tensor.mutable_data_ptr<int64_t>());
  return tensor;
}

Status SlotDecoder::prefill(int64_t slot, int64_t position, const std::vector<int64_t> &tokens, Rows rows) {
  const auto count = static_cast<int64_t>(tokens.size());
  return run(slot, tensorOf(tokens, {1, count}), tensorOf({position}, {1}),
             at::arange(rows == Rows::All ? 0 : count - 1, count, at::kLong));
}

Status SlotDecoder::step(const std::vector<int64_t> &positions, const std::vector<int64_t> &tokens) {
  const auto count = static_cast<int64_t>(tokens.size());
  return run(0, tensorOf(tokens, {count, 1}), tensorOf(positions, {count}), at::arange(count, at::kLong));
}

/// Calls body(row) with the numbers of row `row` of logits, in the type that they have.
template <typename Body> static auto withRow(const at::Tensor &logits_NV, int64_t row, const Body &body) {
  const int64_t begin = row * logits_NV.size(1);
  if (logits_NV.scalar_type() == at::kDouble)
    return body(logits_NV.const_data_ptr<double>() + begin);
  return body(logits_NV.const_data_ptr<float>() + begin);
}

StatusOr<SampledToken> SlotDecoder::sample(int64_t row, const SamplingOptions &options, int64_t index) {
  return withRow(logits_NV, row,
                 [&](const auto *logits) { return sampleToken(logits, logits_NV.size(1), options, index); });
}

StatusOr<std::vector<SampledToken>> SlotDecoder::score(const std::vector<int64_t> &tokens, int64_t likely) {
  const auto count = static_cast<int64_t>(tokens.size());
  std::vector<SampledToken> scores(tokens.size());
  std::vector<Status> statuses(tokens.size());
  parallelTasks(at::get_num_threads(), count, [&](int64_t row, int) {
    const auto i = static_cast<size_t>(row);
    StatusOr<SampledToken> scored = withRow(
        logits_NV, row, [&](const auto *logits) { return scoreToken(logits, logits_NV.size(1), tokens[i], likely); });
    if (scored.ok())
      scores[i] = *std::move(scored);
    else
      statuses[i] = std::move(scored).status();
  });
  for (Status &status : statuses)
    MORPH_RETURN_IF_ERROR(std::move(status));
  return scores;
}

Status SlotDecoder::move(int64_t from, int64_t to, int64_t positions) {
  for (const State &state : states_) {
    const at::Tensor source = state.memory.select(0, from), target = state.memory.select(0, to);
    const int64_t used = state.isRing ? std::min(positions, source.size(0)) : source.dim() == 0 ? 0 : source.size(0);
    if (used > 0)
      target.narrow(0, 0, used).copy_(source.narrow(0, 0, used));
  }
  return Status();
}

StatusOr<std::shared_ptr<const StateSnapshot>> SlotDecoder::save(int64_t slot, int64_t begin, int64_t end) {
  auto snapshot = std::make_shared<Snapshot>();
  snapshot->begin = begin;
  snapshot->end = end;
  for (const State &state : states_) {
    const at::Tensor row = state.memory.select(0, slot);
    if (!state.isRing) {
      snapshot->tensors.push_back(at::empty(row.sizes(), row.options().device(at::kCPU)).copy_(row));
      continue;
    }
    std::vector<int64_t> shape = row.sizes().vec();
    const int64_t first = std::max(begin, end - shape[0]);
    shape[0] = end - first;
    const at::Tensor copy = at::empty(shape, row.options().device(at::kCPU));
    forRing(row.size(0), begin, end, [&](int64_t at, int64_t place, int64_t count) {
      copy.narrow(0, at - first, count).copy_(row.narrow(0, place, count));
    });
    snapshot->tensors.push_back(copy);
  }
  return std::shared_ptr<const StateSnapshot>(std::move(snapshot));
}

Status SlotDecoder::restore(int64_t slot, const std::vector<std::shared_ptr<const StateSnapshot>> &parts) {
  for (size_t i = 0; i < states_.size(); ++i) {
    const at::Tensor row = states_[i].memory.select(0, slot);
    if (!states_[i].isRing) {
      row.copy_(static_cast<const Snapshot &>(*parts.back()).tensors[i]);
      continue;
    }
    for (const auto &part : parts) {
      const Snapshot &snapshot = static_cast<const Snapshot &>(*part);
      const at::Tensor &saved = snapshot.tensors[i];
      forRing(row.size(0), snapshot.begin, snapshot.end, [&](int64_t at, int64_t place, int64_t count) {
        row.narrow(0, place, count).copy_(saved.narrow(0, at - (snapshot.end - saved.size(0)), count));
      });
    }
  }
  return Status();
}

} // namespace morph
