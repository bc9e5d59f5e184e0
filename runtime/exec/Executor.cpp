// SPDX-License-Identifier: Apache-2.0
#include "runtime/exec/Executor.h"

#include "runtime/base/Memory.h"
#include "runtime/base/TorchGuard.h"
#include "runtime/exec/Bindings.h"
#include "runtime/exec/HeldMemory.h"
#include "runtime/plan/OpTable.h"

#include <c10/core/GradMode.h>

#include <chrono>

namespace morph {

namespace {

/// The 16-bit type of a plan's type, if it is one.
std::optional<at::ScalarType> halfType(plan::DType dtype) {
  if (dtype == plan::DType::BF16)
    return at::kBFloat16;
  if (dtype == plan::DType::F16)
    return at::kHalf;
  return std::nullopt;
}

at::ScalarType workType(Precision precision) { return precision == Precision::F64 ? at::kDouble : at::kFloat; }

} // namespace

Executor::~Executor() { addHeldBytes(-viewBytes_); }

StatusOr<std::unique_ptr<Executor>> Executor::create(plan::Plan plan, const WeightStore &store, Precision precision,
                                                     uint64_t seed, const Executor *sharing) {
  MORPH_RETURN_IF_ERROR(plan::validate(plan));
  keepFreedMemory();
  std::unique_ptr<Executor> executor(new Executor());
  executor->plan_ = std::move(plan);
  executor->precision_ = precision;
  std::string what = "program '" + executor->plan_.program + "'";
  MORPH_RETURN_IF_ERROR(executor->prepare());
  MORPH_RETURN_IF_ERROR(guardTorch(what, [&] { return executor->bindWeights(store, seed, sharing); }));
  return executor;
}

Status Executor::prepare() {
  residence_ = plan::findResidence(plan_);
  for (const plan::Instruction &instruction : plan_.instructions) {
    kernels_.push_back(findKernel(instruction.op));
    if (!kernels_.back())
      return Status::failed("no kernel for op '" + instruction.op + "' is linked into this program");
  }
  inputs_ = std::make_unique<InputChecker>(plan_);
  return Status();
}

std::shared_ptr<Executor::BoundWeight> Executor::findBound(const std::string &name) const {
  for (size_t w = 0; w < plan_.weights.size(); ++w)
    if (plan_.weights[w].name == name)
      return bound_[w];
  return nullptr;
}

Status Executor::bindWeights(const WeightStore &store, uint64_t seed, const Executor *sharing) {
  at::NoGradGuard noGrad;
  at::ScalarType work = workType(precision_);
  for (size_t w = 0; w < plan_.weights.size(); ++w) {
    const plan::Weight &weight = plan_.weights[w];
    if (std::shared_ptr<BoundWeight> shared = sharing ? sharing->findBound(weight.name) : nullptr) {
      const bool master = weight.trainable || weight.gate;
      const bool storedHalf = weight.dtype == plan::DType::BF16;
      const bool wide = shared->value.scalar_type() == work || residence_.onlyFactor[w] ||
                        (residence_.onlyFactorOrTable[w] && storedHalf);
      if (wide && (shared->master || !master) && shared->value.sizes() == at::IntArrayRef(weight.shape)) {
        if (master)
          masters_[weight.name] = shared->value;
        bound_.push_back(std::move(shared));
        continue;
      }
    }
    MORPH_ASSIGN_OR_RETURN(at::Tensor tensor, loadWeight(plan_, weight, store, seed, work));
    // What ships is what is measured: a weight has the type in which it is exported, also where a stage left fp32.
    if (const std::optional<at::ScalarType> half = halfType(weight.dtype); half && !weight.trainable)
      tensor = tensor.to(*half);
    const plan::WeightForm form =
        residence_.formOf(plan_, w, precision_ == Precision::BF16, tensor.scalar_type() == at::kBFloat16);
    switch (form) {
    case plan::WeightForm::Master:
      // A copy of its own, whatever the source.
      tensor = tensor.to(work, /*non_blocking=*/false, /*copy=*/true).contiguous();
      masters_[weight.name] = tensor;
      break;
    case plan::WeightForm::Half:
      tensor = tensor.to(at::kBFloat16).contiguous();
      break;
    case plan::WeightForm::Full:
      tensor = tensor.to(work).contiguous();
      break;
    }
    // A view of a mapped file takes memory like a tensor of its own, once it is read.
    if (!tensor.storage().allocator())
      viewBytes_ += static_cast<int64_t>(tensor.nbytes());
    bound_.push_back(
        std::make_shared<BoundWeight>(BoundWeight{tensor, at::Tensor(), form == plan::WeightForm::Master}));
  }
  addHeldBytes(viewBytes_);
  return Status();
}

void Executor::mastersChanged() {
  for (const std::shared_ptr<BoundWeight> &weight : bound_)
    if (weight->master)
      weight->half = at::Tensor();
}

void Executor::runInstruction(size_t i, const std::vector<std::vector<int64_t>> &shapes,
                              std::vector<at::Tensor> &values, std::vector<at::Tensor> &halves, bool recording) {
  const plan::Instruction &instruction = plan_.instructions[i];
  std::vector<at::Tensor> operands;
  operands.reserve(instruction.operands.size());
  for (size_t o = 0; o < instruction.operands.size(); ++o) {
    if (instruction.operands[o] < 0) {
      operands.emplace_back();
      continue;
    }
    size_t value = static_cast<size_t>(instruction.operands[o]);
    bool half = precision_ == Precision::BF16 && residence_.factors[i][o] && !recording;
    if (!half || (values[value].defined() && values[value].scalar_type() == at::kBFloat16)) {
      operands.push_back(values[value]);
      continue;
    }
    // A factor is rounded once for all products that read it.
    at::Tensor &copy =
        residence_.weightOf[value] >= 0 ? bound_[static_cast<size_t>(residence_.weightOf[value])]->half : halves[value];
    if (!copy.defined())
      copy = values[value].to(at::kBFloat16);
    operands.push_back(copy);
  }

  std::vector<at::Tensor> results;
  try {
    results = (*kernels_[i])(KernelCall{plan_, instruction, precision_, operands});
  } catch (const c10::Error &error) {
    std::string message = error.what_without_backtrace();
    throw std::runtime_error("instruction " + std::to_string(i) + " (" + instruction.op +
                             "): " + message.substr(0, message.find('\n')));
  }
  for (size_t r = 0; r < instruction.results.size(); ++r) {
    size_t value = static_cast<size_t>(instruction.results[r]);
    // What later instructions and the bounds of indices rely on.
    if (results[r].sizes() != at::IntArrayRef(shapes[value]))
      throw std::runtime_error("instruction " + std::to_string(i) + " (" + instruction.op + "): result " +
                               std::to_string(r) + " has another shape than the plan says");
    if (residence_.lifetimes[value].lastFull >= 0 || residence_.lifetimes[value].lastFactor >= 0)
      values[value] = std::move(results[r]);
  }

  for (int64_t operand : instruction.operands) {
    if (operand < 0 || residence_.weightOf[static_cast<size_t>(operand)] >= 0)
      continue;
    size_t value = static_cast<size_t>(operand);
    int64_t now = static_cast<int64_t>(i);
    bool moreFactors = residence_.lifetimes[value].lastFactor > now;
    // What only later products read lives on as its bf16 copy.
    if (residence_.lifetimes[value].lastFull <= now && (!moreFactors || halves[value].defined()))
      values[value] = at::Tensor();
    if (!moreFactors)
      halves[value] = at::Tensor();
  }
}

StatusOr<NamedTensors> Executor::execute(const NamedTensors &inputs, bool recording) {
  return guardTorch("program '" + plan_.program + "'", [&]() -> StatusOr<NamedTensors> {
    at::AutoGradMode mode(recording);
    std::vector<at::Tensor> values(plan_.values.size()), halves(plan_.values.size());
    MORPH_ASSIGN_OR_RETURN(const auto shapes, inputs_->bind(inputs, workType(precision_), values));
    for (size_t w = 0; w < plan_.weights.size(); ++w)
      values[static_cast<size_t>(plan_.weightValues[w])] = bound_[w]->value;
    for (size_t i = 0; i < plan_.instructions.size(); ++i) {
      const auto begin = std::chrono::steady_clock::now();
      runInstruction(i, shapes, values, halves, recording);
      if (observer_)
        observer_(i, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    }
    NamedTensors outputs;
    for (const plan::NamedValue &output : plan_.outputs)
      outputs[output.name] = values[static_cast<size_t>(output.value)];
    return outputs;
  });
}

StatusOr<NamedTensors> Executor::run(const NamedTensors &inputs) { return execute(inputs, false); }

StatusOr<NamedTensors> Executor::runRecording(const NamedTensors &inputs) { return execute(inputs, true); }

} // namespace morph
