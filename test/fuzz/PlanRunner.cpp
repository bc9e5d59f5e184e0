// SPDX-License-Identifier: Apache-2.0
#include "PlanRunner.h"

#include "runtime/plan/Cost.h"
#include "test/plan/WithBf16.h"

#include <ATen/Parallel.h>

namespace morph::fuzz {
namespace {

constexpr double kMaximumBytes = 64 << 20;
constexpr double kMaximumFlops = 1e8;

/// Sizes of inputs small enough for thousands of runs a second, and all different where programs tell them apart.
const std::map<std::string, int64_t> kSizes = {{"B", 2}, {"T", 5}, {"N", 3}, {"S", 4}};

int64_t sizeOf(const plan::Dim &dim) {
  if (const int64_t *size = std::get_if<int64_t>(&dim))
    return *size;
  auto found = kSizes.find(std::get<std::string>(dim));
  return found == kSizes.end() ? 2 : found->second;
}

std::vector<int64_t> sizesOf(const std::vector<plan::Dim> &shape) {
  std::vector<int64_t> sizes;
  for (const plan::Dim &dim : shape)
    sizes.push_back(sizeOf(dim));
  return sizes;
}

/// fp32 values that differ, are not round, and are the same for the same shape.
at::Tensor someValues(const std::vector<int64_t> &sizes) {
  int64_t count = c10::multiply_integers(sizes);
  return at::arange(count, at::kFloat).mul_(0.37f).sin_().view(sizes);
}

double elementsOf(const std::vector<plan::Dim> &shape) {
  double elements = 1;
  for (const plan::Dim &dim : shape)
    elements *= static_cast<double>(sizeOf(dim));
  return elements;
}

bool isSmall(const plan::Plan &plan) {
  std::map<std::string, int64_t> sizes = kSizes;
  double bytes = 0;
  for (const plan::TensorType &value : plan.values)
    for (const plan::Dim &dim : value.shape)
      if (const std::string *name = std::get_if<std::string>(&dim))
        sizes.emplace(*name, 2);
  for (const plan::NamedValue &input : plan.inputs)
    bytes += 8 * elementsOf(plan.values[static_cast<size_t>(input.value)].shape);
  for (int64_t value : plan.weightValues)
    bytes += 8 * elementsOf(plan.values[static_cast<size_t>(value)].shape);
  auto cost = plan::estimateCost(plan, sizes);
  return cost.ok() &&
         bytes + static_cast<double>(cost->inputBytes) + static_cast<double>(cost->arenaBytes) < kMaximumBytes &&
         cost->flops < kMaximumFlops;
}

/// Runs the plan once; `greatest` bounds the indices that it is given.
void runOnce(Executor &executor, int64_t greatest) {
  NamedTensors inputs;
  for (const plan::NamedValue &input : executor.plan().inputs) {
    const plan::TensorType &type = executor.plan().values[static_cast<size_t>(input.value)];
    std::vector<int64_t> sizes = sizesOf(type.shape);
    inputs[input.name] =
        type.dtype == plan::DType::I64
            ? at::arange(c10::multiply_integers(sizes), at::kLong).mul_(7).remainder_(greatest + 1).view(sizes)
            : someValues(sizes).to(executor.precision() == Precision::F64 ? at::kDouble : at::kFloat);
  }
  (void)executor.run(inputs);
}

} // namespace

void runPlan(plan::Plan plan, uint64_t form) {
  static const bool single = (at::set_num_threads(1), true);
  (void)single;
  if (!isSmall(plan))
    return;
  std::map<std::string, at::Tensor> weights;
  for (const plan::Weight &weight : plan.weights) {
    if (!weight.init)
      weights[weight.teacherOf.empty() ? weight.name : weight.teacherOf] = someValues(weight.shape);
    else if (std::vector<int64_t> shape = weight.shape; !weight.init->source.empty()) {
      if (weight.init->kind == "repeat_heads" && !shape.empty())
        shape[0] /= weight.init->times;
      weights.emplace(weight.init->source, someValues(shape));
    }
  }
  const Precision precision = form % 3 == 1 ? Precision::F64 : Precision::F32;
  auto executor = Executor::create(form % 3 == 2 ? withBf16(std::move(plan)) : std::move(plan),
                                   WeightStore::inMemory(std::move(weights)), precision, /*seed=*/0);
  if (!executor.ok())
    return;
  for (int64_t greatest : {0, 1, 1000})
    runOnce(**executor, greatest);
}

} // namespace morph::fuzz
