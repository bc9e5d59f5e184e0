// SPDX-License-Identifier: Apache-2.0
#include "runtime/exec/Executor.h"

#include "runtime/base/Memory.h"
#include "runtime/base/TorchGuard.h"
#include "runtime/exec/Bindings.h"
#include "runtime/plan/OpTable.h"

#include <c10/core/GradMode.h>

#include <limits>

namespace morph {

namespace {

constexpr int64_t kForEver = std::numeric_limits<int64_t>::max();

at::ScalarType workType(Precision precision) { return precision == Precision::F64 ? at::kDouble : at::kFloat; }

} // namespace

Executor::~Executor() = default;

StatusOr<std::unique_ptr<Executor>> Executor::create(plan::Plan plan, const WeightStore &store, Precision precision,
                                                     uint64_t seed) {
  MORPH_RETURN_IF_ERROR(plan::validate(plan));
  keepFreedMemory();
  std::unique_ptr<Executor> executor(new Executor());
  executor->plan_ = std::move(plan);
  executor->precision_ = precision;
  std::string what = "program '" + executor->plan_.program + "'";
  MORPH_RETURN_IF_ERROR(executor->prepare());
  MORPH_RETURN_IF_ERROR(guardTorch(what, [&] { return executor->bindWeights(store, seed); }));
  return executor;
}

Status Executor::prepare() {
  lifetimes_.assign(plan_.values.size(), Lifetime());
  weightOf_.assign(plan_.values.size(), -1);
  for (size_t w = 0; w < plan_.weights.size(); ++w)
    weightOf_[static_cast<size_t>(plan_.weightValues[w])] = static_cast<int64_t>(w);
  for (size_t i = 0; i < plan_.instructions.size(); ++i) {
    const plan::Instruction &instruction = plan_.instructions[i];
    const plan::OpRule &rule = *plan::findOpRule(instruction.op);
    kernels_.push_back(findKernel(instruction.op));
    if (!kernels_.back())
      return Status::failed("no kernel for op '" + instruction.op + "' is linked into this program");
    std::vector<bool> &factors = factors_.emplace_back();
    for (size_t o = 0; o < instruction.operands.size(); ++o) {
      factors.push_back(plan::operandRuleAt(instruction, rule, o).product);
      if (instruction.operands[o] < 0)
        continue;
      Lifetime &lifetime = lifetimes_[static_cast<size_t>(instruction.operands[o])];
      (factors.back() ? lifetime.lastFactor : lifetime.lastFull) = static_cast<int64_t>(i);
    }
  }
  for (const plan::NamedValue &output : plan_.outputs)
    lifetimes_[static_cast<size_t>(output.value)].lastFull = kForEver;
  inputs_ = std::make_unique<InputChecker>(plan_);
  return Status();
}

Status Executor::bindWeights(const WeightStore &store, uint64_t seed) {
  at::NoGradGuard noGrad;
  at::ScalarType work = workType(precision_);
  // A value that only products and embeddings read may stay in bf16; one that only products read is rounded at once.
  std::vector<bool> others(plan_.values.size(), false), tables(plan_.values.size(), false);
  for (size_t i = 0; i < plan_.instructions.size(); ++i)
    for (size_t o = 0; o < plan_.instructions[i].operands.size(); ++o)
      if (int64_t value = plan_.instructions[i].operands[o]; value >= 0 && !factors_[i][o]) {
        bool table = plan_.instructions[i].op == "embedding" && o == 1;
        (table ? tables : others)[static_cast<size_t>(value)] = true;
      }
  for (const plan::NamedValue &output : plan_.outputs)
    others[static_cast<size_t>(output.value)] = true;

  halves_.resize(plan_.weights.size());
  for (size_t w = 0; w < plan_.weights.size(); ++w) {
    const plan::Weight &weight = plan_.weights[w];
    size_t value = static_cast<size_t>(plan_.weightValues[w]);
    MORPH_ASSIGN_OR_RETURN(at::Tensor tensor, loadWeight(plan_, weight, store, seed, work));
    if (weight.trainable || weight.gate) {
      // A copy of its own, whatever the source: the optimizer writes it.
      tensor = tensor.to(work, /*non_blocking=*/false, /*copy=*/true).contiguous();
      masters_[weight.name] = tensor;
    } else if (precision_ == Precision::BF16 && !others[value] &&
               (tensor.scalar_type() == at::kBFloat16 || !tables[value])) {
      tensor = tensor.to(at::kBFloat16).contiguous();
    } else {
      tensor = tensor.to(work).contiguous();
    }
    bound_.push_back(tensor);
  }
  return Status();
}

void Executor::mastersChanged() {
  for (size_t w = 0; w < plan_.weights.size(); ++w)
    if (plan_.weights[w].trainable || plan_.weights[w].gate)
      halves_[w] = at::Tensor();
}

void Executor::runInstruction(size_t i, std::vector<at::Tensor> &values, std::vector<at::Tensor> &halves,
                              bool recording) {
  const plan::Instruction &instruction = plan_.instructions[i];
  std::vector<at::Tensor> operands;
  operands.reserve(instruction.operands.size());
  for (size_t o = 0; o < instruction.operands.size(); ++o) {
    if (instruction.operands[o] < 0) {
      operands.emplace_back();
      continue;
    }
    size_t value = static_cast<size_t>(instruction.operands[o]);
    bool half = precision_ == Precision::BF16 && factors_[i][o] && !recording;
    if (!half || (values[value].defined() && values[value].scalar_type() == at::kBFloat16)) {
      operands.push_back(values[value]);
      continue;
    }
    // A factor is rounded once for all products that read it.
    at::Tensor &copy = weightOf_[value] >= 0 ? halves_[static_cast<size_t>(weightOf_[value])] : halves[value];
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
    if (lifetimes_[value].lastFull >= 0 || lifetimes_[value].lastFactor >= 0)
      values[value] = std::move(results[r]);
  }

  for (int64_t operand : instruction.operands) {
    if (operand < 0 || weightOf_[static_cast<size_t>(operand)] >= 0)
      continue;
    size_t value = static_cast<size_t>(operand);
    int64_t now = static_cast<int64_t>(i);
    bool moreFactors = lifetimes_[value].lastFactor > now;
    // What only later products read lives on as its bf16 copy.
    if (lifetimes_[value].lastFull <= now && (!moreFactors || halves[value].defined()))
      values[value] = at::Tensor();
    if (!moreFactors)
      halves[value] = at::Tensor();
  }
}

StatusOr<NamedTensors> Executor::execute(const NamedTensors &inputs, bool recording) {
  return guardTorch("program '" + plan_.program + "'", [&]() -> StatusOr<NamedTensors> {
    at::AutoGradMode mode(recording);
    std::vector<at::Tensor> values(plan_.values.size()), halves(plan_.values.size());
    MORPH_RETURN_IF_ERROR(inputs_->bind(inputs, workType(precision_), values));
    for (size_t w = 0; w < plan_.weights.size(); ++w)
      values[static_cast<size_t>(plan_.weightValues[w])] = bound_[w];
    for (size_t i = 0; i < plan_.instructions.size(); ++i)
      runInstruction(i, values, halves, recording);
    NamedTensors outputs;
    for (const plan::NamedValue &output : plan_.outputs)
      outputs[output.name] = values[static_cast<size_t>(output.value)];
    return outputs;
  });
}

StatusOr<NamedTensors> Executor::run(const NamedTensors &inputs) { return execute(inputs, false); }

StatusOr<NamedTensors> Executor::runRecording(const NamedTensors &inputs) { return execute(inputs, true); }

} // namespace morph
