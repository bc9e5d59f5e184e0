// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/Optimizer.h"

#include "runtime/plan/Names.h"
#include "runtime/plan/UpdatePart.h"

#include <c10/util/accumulate.h>

#include <algorithm>

namespace morph {

static const char *const momentPrefixes[] = {plan::kFirstMomentPrefix, plan::kSecondMomentPrefix};

static int64_t elementsOf(const plan::Weight &weight) { return c10::multiply_integers(weight.shape); }

/// With what is left free after a gradient, so that the next one begins where kernels like it.
static int64_t alignedElements(const plan::Weight &weight) { return (elementsOf(weight) + 63) / 64 * 64; }

/// Divides the weights of an update among `count` processes, each the lightest so far when its turn comes: the largest
/// weights first, so that all have about as many elements.
static std::map<std::string, int64_t> divideWeights(const plan::Plan &update, int64_t count) {
  std::vector<std::pair<int64_t, std::string>> sizes;
  for (const plan::Weight &weight : update.weights)
    sizes.emplace_back(-elementsOf(weight), weight.name);
  std::sort(sizes.begin(), sizes.end());
  std::vector<int64_t> loads(static_cast<size_t>(count), 0);
  std::map<std::string, int64_t> owners;
  for (const auto &[size, name] : sizes) {
    const auto lightest = std::min_element(loads.begin(), loads.end());
    *lightest -= size;
    owners[name] = lightest - loads.begin();
  }
  return owners;
}

StatusOr<Optimizer> Optimizer::create(Executor &executor, std::shared_ptr<Processes> processes) {
  const plan::Plan &plan = executor.plan();
  if (!plan.update)
    return Status::invalid("the plan '" + plan.program + "' gives gradients, but has no update that trains by them",
                           "plans of programs that train have one: emit it again");
  Optimizer optimizer;
  optimizer.executor_ = &executor;
  optimizer.processes_ = std::move(processes);
  optimizer.owners_ = divideWeights(*plan.update, optimizer.processes_->count());
  plan::Plan part = optimizer.processes_->isAlone()
                        ? *plan.update
                        : plan::updatePart(*plan.update, [&](const std::string &name) { return optimizer.owns(name); });
  MORPH_ASSIGN_OR_RETURN(optimizer.update_,
                         Executor::create(std::move(part), WeightStore::inMemory({}), executor.precision(), /*seed=*/0,
                                          &executor, executor.device()));
  const auto type = executor.precision() == Precision::F64 ? at::kDouble : at::kFloat;
  const at::TensorOptions options = at::TensorOptions(type).device(executor.device());
  // Gradients lie together, so that they are cleared, added up and read as one.
  int64_t elements = 0;
  for (const plan::Weight &weight : plan.update->weights)
    elements += alignedElements(weight);
  optimizer.allGradients_ = at::zeros({elements}, options);
  elements = 0;
  for (const plan::Weight &weight : plan.update->weights) {
    const at::Tensor gradient = optimizer.allGradients_.narrow(0, elements, elementsOf(weight)).view(weight.shape);
    elements += alignedElements(weight);
    optimizer.gradients_[weight.name] = optimizer.inputs_[plan::kGradientPrefix + weight.name] = gradient;
    if (optimizer.owns(weight.name))
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

StatusOr<at::Tensor> Optimizer::step(double rate) {
  inputs_[plan::kRate].fill_(rate);
  inputs_[plan::kStep].fill_(++steps_);
  MORPH_ASSIGN_OR_RETURN(const NamedTensors outputs, update_->run(inputs_));
  allGradients_.zero_();
  for (int64_t owner = 0; !processes_->isAlone() && owner < processes_->count(); ++owner) {
    std::vector<at::Tensor> masters;
    for (const auto &[name, master] : executor_->masters())
      if (const auto found = owners_.find(name); found != owners_.end() && found->second == owner)
        masters.push_back(master);
    MORPH_RETURN_IF_ERROR(processes_->broadcast(masters, owner));
  }
  return outputs.at(plan::kNorm);
}

Status Optimizer::sumGradients() { return processes_->allReduce(allGradients_); }

StatusOr<NamedTensors> Optimizer::state() const {
  NamedTensors state;
  for (const auto &[name, gradient] : gradients_)
    for (const char *prefix : momentPrefixes) {
      const bool isHere = owns(name);
      at::Tensor moment = isHere ? inputs_.at(prefix + name).cpu() : at::empty_like(gradient, at::kCPU);
      // The leader's own need not travel; every process takes part in what does.
      if (owners_.at(name) != 0)
        MORPH_RETURN_IF_ERROR(processes_->broadcast({moment}, owners_.at(name)));
      if (isHere || processes_->isLeader())
        state[prefix + name] = std::move(moment);
    }
  state["step"] = at::full({1}, steps_, at::kLong);
  return state;
}

Status Optimizer::restore(const NamedTensors &state) {
  for (const auto &entry : gradients_) {
    if (!owns(entry.first))
      continue;
    for (const char *prefix : momentPrefixes) {
      at::Tensor &moment = inputs_.at(prefix + entry.first);
      auto found = state.find(prefix + entry.first);
      if (found == state.end() || found->second.sizes() != moment.sizes())
        return Status::failed("checkpoint: the moments of '" + entry.first + "' are missing or have another shape");
      moment.copy_(found->second);
    }
  }
  auto steps = state.find("step");
  if (steps == state.end() || steps->second.scalar_type() != at::kLong || steps->second.numel() != 1)
    return Status::failed("checkpoint: the number of steps is missing");
  steps_ = steps->second.item<int64_t>();
  return Status();
}

} // namespace morph
