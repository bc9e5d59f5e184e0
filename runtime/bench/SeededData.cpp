// SPDX-License-Identifier: Apache-2.0

#include "runtime/bench/SeededData.h"

#include "runtime/exec/Bindings.h"
#include "runtime/plan/InferShapes.h"
#include "runtime/plan/Names.h"
#include "runtime/plan/Rings.h"
#include "runtime/weights/Initialize.h"

#include <cmath>

namespace morph {

std::map<std::string, at::Tensor> seededWeights(const plan::Plan &model, uint64_t seed) {
  std::map<std::string, at::Tensor> weights;
  for (const plan::Weight &weight : model.weights) {
    const bool matrix = weight.shape.size() > 1;
    const double deviation = matrix ? 1 / std::sqrt(static_cast<double>(weight.shape.back())) : 0.1;
    at::Tensor values = seededNormal(weight.shape, deviation, seed, weight.name);
    if (!matrix)
      values += 1;
    weights[weight.name] =
        values.to(weight.dtype == plan::DType::F16 ? at::kHalf : scalarType(weight.dtype, Precision::F32));
  }
  return weights;
}

std::map<std::string, int64_t> RunSizes::bound(const plan::Plan &plan) const {
  return plan::withRings({{"B", batch}, {"T", length}, {"N", batch * positions}}, plan, context + length);
}

/// Even draws below `limit`. A float64 holds more digits than any vocabulary needs.
static at::Tensor seededIndices(at::IntArrayRef shape, int64_t limit, uint64_t seed, const std::string &name) {
  // The distribution function of a normal draw is an even one.
  const at::Tensor normal = seededNormal(shape, 1, seed, name, at::kDouble);
  const at::Tensor even = (1 + at::erf(normal / std::sqrt(2.0))) / 2;
  return (even * static_cast<double>(limit)).floor().clamp(0, static_cast<double>(limit - 1)).to(at::kLong);
}

/// The rows b * T + t before each sequence's last token.
static at::Tensor answerPositions(const RunSizes &sizes) {
  const at::Tensor begin = at::arange(sizes.batch, at::kLong) * sizes.length;
  const at::Tensor within = at::arange(sizes.length - 1 - sizes.positions, sizes.length - 1, at::kLong);
  return (begin.unsqueeze(1) + within).flatten().contiguous();
}

StatusOr<NamedTensors> seededInputs(const plan::Plan &plan, const RunSizes &sizes, uint64_t seed) {
  if (sizes.positions > sizes.length - 1 && sizes.positions > 0)
    return Status::invalid("a sequence of " + std::to_string(sizes.length) + " tokens has no " +
                           std::to_string(sizes.positions) + " positions with a token after them");
  const std::map<std::string, int64_t> bound = sizes.bound(plan);
  MORPH_ASSIGN_OR_RETURN(const auto shapes, plan::resolveShapes(plan, bound));
  std::map<size_t, int64_t> limits; // Of inputs that are indices.
  const InputChecker checker(plan);
  for (const InputChecker::IndexRange &range : checker.ranges()) {
    int64_t limit = range.limit.empty() ? kPositionLimit : 1;
    for (const plan::Dim &dim : range.limit) {
      MORPH_ASSIGN_OR_RETURN(const int64_t size, plan::resolveDim(dim, bound));
      limit *= size;
    }
    const auto [known, added] = limits.emplace(range.input, limit);
    known->second = std::min(known->second, limit);
  }
  NamedTensors inputs;
  for (size_t i = 0; i < plan.inputs.size(); ++i) {
    const std::string &name = plan.inputs[i].name;
    const size_t value = static_cast<size_t>(plan.inputs[i].value);
    const std::vector<int64_t> &shape = shapes[value];
    if (name == "tokens" || name == "targets")
      inputs[name] = seededIndices(shape, limits.at(i), seed, name);
    else if (name == "positions")
      inputs[name] = answerPositions(sizes);
    else if (name == "weights")
      inputs[name] = at::full(shape, 1.0 / static_cast<double>(std::max<int64_t>(1, shape[0])), at::kFloat);
    else if (name == "offset")
      inputs[name] = at::full(shape, sizes.context, at::kLong);
    else if (name == "start" || name == plan::kBegins)
      inputs[name] = at::zeros(shape, at::kLong);
    else if (plan::hasPrefix(name, plan::kCachePrefix))
      inputs[name] = seededNormal(shape, 1, seed, name).to(scalarType(plan.values[value].dtype, Precision::F32));
    else if (name != plan::kShare && !plan::hasPrefix(name, plan::kGradientPrefix)) // Those are the optimizer's.
      return Status::failed("program '" + plan.program + "' has the input '" + name + "', which is not known here");
  }
  return inputs;
}

} // namespace morph
