// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/Optimizer.h"

#include "runtime/plan/Names.h"

namespace morph {

static const char *const momentPrefixes[] = {plan::kFirstMomentPrefix, plan::kSecondMomentPrefix};

StatusOr<Optimizer> Optimizer::create(Executor &executor) {
  const plan::Plan &plan = executor.plan();
  if (!plan.update)
    return Status::invalid("the plan '" + plan.program + "' gives gradients, but has no update that trains by them",
                           "plans of programs that train have one: emit it again");
  Optimizer optimizer;
  optimizer.executor_ = &executor;
  MORPH_ASSIGN_OR_RETURN(optimizer.update_,
                         Executor::create(*plan.update, WeightStore::inMemory({}), executor.precision(), /*seed=*/0,
                                          &executor, executor.device()));
  const auto type = executor.precision() == Precision::F64 ? at::kDouble : at::kFloat;
  const at::TensorOptions options = at::TensorOptions(type).device(executor.device());
  for (const plan::Weight &weight : plan.update->weights) {
    const at::Tensor gradient = at::zeros(weight.shape, options);
    optimizer.gradients_[weight.name] = optimizer.inputs_[plan::kGradientPrefix + weight.name] = gradient;
    for (const char *prefix : momentPrefixes)
      optimizer.inputs_[prefix + weight.name] = at::zeros(weight.shape, options);
  }
  optimizer.inputs_[plan::kRate] = at::zeros({}, type);
  optimizer.inputs_[plan::kStep] = at::zeros({}, at::kLong);
  optimizer.share_ = at::zeros({}, type);
  return optimizer;
}

StatusOr<NamedTensors> Optimizer::addBatch(NamedTensors inputs, double share, const NamedTensors &given) {
  share_.fill_(share);
  inputs[plan::kShare] = share_;
  for (const auto &[name, gradient] : gradients_)
    inputs[plan::kGradientPrefix + name] = gradient;
  return executor_->run(inputs, given);
}

StatusOr<double> Optimizer::step(double rate) {
  inputs_[plan::kRate].fill_(rate);
  inputs_[plan::kStep].fill_(++steps_);
  MORPH_ASSIGN_OR_RETURN(const NamedTensors outputs, update_->run(inputs_));
  for (auto &entry : gradients_)
    entry.second.zero_();
  return outputs.at(plan::kNorm).item<double>();
}

NamedTensors Optimizer::state() const {
  NamedTensors state;
  for (const auto &entry : gradients_)
    for (const char *prefix : momentPrefixes)
      state[prefix + entry.first] = inputs_.at(prefix + entry.first);
  state["step"] = at::full({1}, steps_, at::kLong);
  return state;
}

Status Optimizer::restore(const NamedTensors &state) {
  for (const auto &entry : gradients_)
    for (const char *prefix : momentPrefixes) {
      at::Tensor &moment = inputs_.at(prefix + entry.first);
      auto found = state.find(prefix + entry.first);
      if (found == state.end() || found->second.sizes() != moment.sizes())
        return Status::failed("checkpoint: the moments of '" + entry.first + "' are missing or have another shape");
      moment.copy_(found->second);
    }
  auto steps = state.find("step");
  if (steps == state.end() || steps->second.scalar_type() != at::kLong || steps->second.numel() != 1)
    return Status::failed("checkpoint: the number of steps is missing");
  steps_ = steps->second.item<int64_t>();
  return Status();
}

} // namespace morph
