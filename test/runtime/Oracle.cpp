// SPDX-License-Identifier: Apache-2.0
#include "Oracle.h"

#include "runtime/base/TorchGuard.h"
#include "runtime/exec/Bindings.h"
#include "runtime/plan/InferShapes.h"
#include "runtime/plan/Names.h"
#include "runtime/weights/Initialize.h"

#include <c10/core/GradMode.h>

#include <cmath>

namespace morph {

namespace {

bool endsWith(const std::string &text, const std::string &end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

/// Uniform integers below `limit`, functions of the seed and the name.
at::Tensor randomIndices(at::IntArrayRef shape, int64_t limit, uint64_t seed, const std::string &name) {
  at::Tensor normal = seededNormal(shape, 1, seed, name, at::kDouble);
  // The distribution function of the normal makes uniform numbers of them.
  at::Tensor uniform = (at::erf(normal / std::sqrt(2.0)) + 1) / 2;
  return (uniform * static_cast<double>(limit)).floor().clamp(0, static_cast<double>(limit - 1)).to(at::kLong);
}

double largestDifference(const at::Tensor &a, const at::Tensor &b) {
  return a.numel() ? (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>() : 0;
}

} // namespace

NamedTensors randomWeights(const plan::Plan &plan, uint64_t seed) {
  NamedTensors weights;
  for (const plan::Weight &weight : plan.weights) {
    const std::string &name = weight.teacherOf.empty() ? weight.name : weight.teacherOf;
    at::Tensor normal = seededNormal(weight.shape, 1, seed, name, at::kDouble);
    if (weight.gate)
      normal = (at::sigmoid(normal) * 0.8 + 0.1) / static_cast<double>(weight.shape[0]);
    else if (endsWith(name, "norm.weight"))
      normal = 1 + 0.2 * normal;
    else if (endsWith(name, ".decay"))
      normal = -(at::sigmoid(normal) * 0.5 + 0.01);
    else if (normal.dim() == 2 && name.find("embed") == std::string::npos)
      normal = normal / std::sqrt(static_cast<double>(normal.size(1)));
    else
      normal = 0.5 * normal;
    weights[name] = normal;
  }
  return weights;
}

NamedTensors randomInputs(const plan::Plan &plan, const OracleOptions &options) {
  NamedTensors inputs;
  InputChecker checker(plan);
  auto sizeOf = [&](const plan::Dim &dim) {
    auto size = plan::resolveDim(dim, options.sizes);
    TORCH_CHECK(size.ok(), size.status().message());
    return *size;
  };
  for (size_t i = 0; i < plan.inputs.size(); ++i) {
    const plan::TensorType &type = plan.values[static_cast<size_t>(plan.inputs[i].value)];
    const std::string &name = plan.inputs[i].name;
    std::vector<int64_t> shape;
    for (const plan::Dim &dim : type.shape)
      shape.push_back(sizeOf(dim));
    if (name.rfind("grad.", 0) == 0 || name == "share") { // One batch: its gradients are the sums.
      inputs[name] =
          at::full(shape, name == "share" ? 1 : 0, options.precision == Precision::F64 ? at::kDouble : at::kFloat);
      continue;
    }
    if (type.dtype != plan::DType::I64) {
      at::Tensor normal = seededNormal(shape, 1, options.seed, "input." + name, at::kDouble);
      inputs[name] = name == "weights" ? normal.abs() + 0.1 : normal;
      continue;
    }
    if (name == plan::kBegins) { // A document of two positions, then one of what is left.
      inputs[name] = at::full(shape, 2, at::kLong);
      inputs[name].slice(1, 0, 2).fill_(0);
      continue;
    }
    int64_t limit = 1; // Without a range (start, offset): zeros.
    for (const InputChecker::IndexRange &range : checker.ranges())
      if (range.input == i && !range.limit.empty()) {
        limit = 1;
        for (const plan::Dim &dim : range.limit)
          limit *= sizeOf(dim);
      }
    inputs[name] = randomIndices(shape, limit, options.seed, "input." + name);
  }
  return inputs;
}

StatusOr<std::vector<GradientError>> checkGradients(const plan::Plan &plan, const OracleOptions &options) {
  WeightStore store = WeightStore::inMemory(randomWeights(plan, options.seed));
  MORPH_ASSIGN_OR_RETURN(auto executor, Executor::create(plan, store, options.precision, options.seed));
  NamedTensors inputs = randomInputs(plan, options);
  MORPH_ASSIGN_OR_RETURN(NamedTensors own, executor->run(inputs));
  for (auto &[name, tensor] : own)
    tensor = tensor.clone(); // The differences run the program again.
  if (!own.count("loss"))
    return Status::invalid("program '" + plan.program + "' has no output 'loss' to differentiate");

  for (auto &[name, master] : executor->masters())
    master.requires_grad_(true);
  MORPH_ASSIGN_OR_RETURN(NamedTensors recorded, executor->runRecording(inputs));
  return guardTorch("oracle", [&]() -> StatusOr<std::vector<GradientError>> {
    if (largestDifference(recorded["loss"].detach(), own["loss"]) > 1e-4 * (1 + own["loss"].abs().item<double>()))
      return Status::failed("the loss under autograd differs from the plan's own");
    recorded["loss"].backward();
    std::vector<GradientError> errors;
    for (const plan::Weight &weight : plan.weights) {
      if (!weight.trainable)
        continue;
      at::Tensor &master = executor->masters()[weight.name];
      at::Tensor gradient = own["grad." + weight.name];
      at::Tensor expected = master.grad().defined() ? master.grad() : at::zeros_like(master.detach());
      master.requires_grad_(false);
      GradientError error;
      error.weight = weight.name;
      error.largest = expected.abs().max().item<double>();
      // A gradient that is zero but for rounding is measured against one.
      double scale = error.largest > 1e-12 ? error.largest : 1;
      error.autograd = largestDifference(gradient, expected) / scale;

      int64_t checks = options.precision == Precision::F64 ? options.coordinates : 0;
      at::Tensor flat = master.detach().view(-1), flatGradient = gradient.reshape(-1);
      at::Tensor picked = randomIndices({checks}, flat.numel(), options.seed, "coordinate." + weight.name);
      for (int64_t c = 0; c < checks; ++c) {
        int64_t at = picked[c].item<int64_t>();
        double old = flat[at].item<double>(), step = 1e-5, losses[2];
        for (int side = 0; side < 2; ++side) {
          flat[at].fill_(side ? old - step : old + step);
          MORPH_ASSIGN_OR_RETURN(NamedTensors moved, executor->run(inputs));
          losses[side] = moved["loss"].item<double>();
        }
        flat[at].fill_(old);
        double difference = (losses[0] - losses[1]) / (2 * step);
        error.finiteDifference =
            std::max(error.finiteDifference, std::abs(difference - flatGradient[at].item<double>()) / scale);
      }
      errors.push_back(error);
    }
    return errors;
  });
}

} // namespace morph
