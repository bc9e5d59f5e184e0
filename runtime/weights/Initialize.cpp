// SPDX-License-Identifier: Apache-2.0
#include "runtime/weights/Initialize.h"

#include "runtime/kernels/Parallel.h"
#include "runtime/plan/InferShapes.h"

#include <ATen/Parallel.h>

#include <cmath>

namespace morph {

namespace {

/// The mixing function of SplitMix64 (Steele, Lea, Flood 2014): a bijection whose outputs on consecutive numbers pass
/// statistical tests, so that draws can be made in any order.
uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

uint64_t hashName(const std::string &name) {
  uint64_t hash = 0xcbf29ce484222325; // FNV-1a
  for (unsigned char c : name)
    hash = (hash ^ c) * 0x100000001b3;
  return hash;
}

std::string sizesText(at::IntArrayRef sizes) {
  return plan::shapeText(std::vector<plan::Dim>(sizes.begin(), sizes.end()));
}

} // namespace

at::Tensor seededNormal(at::IntArrayRef shape, double deviation, uint64_t seed, const std::string &name,
                        at::ScalarType dtype) {
  at::Tensor values = at::empty(shape, at::kDouble);
  double *out = values.mutable_data_ptr<double>();
  uint64_t key = mix(mix(seed) ^ hashName(name));
  int64_t count = values.numel();
  // Box and Muller: two uniform draws make two normal ones.
  parallelRanges(at::get_num_threads(), (count + 1) / 2, 4096, [&](int64_t begin, int64_t end) {
    for (int64_t pair = begin; pair < end; ++pair) {
      uint64_t index = static_cast<uint64_t>(pair) * 2;
      double u = static_cast<double>((mix(key + index) >> 11) + 1) * 0x1p-53;
      double angle = static_cast<double>(mix(key + index + 1) >> 11) * 0x1p-53 * 2 * M_PI;
      double radius = deviation * std::sqrt(-2 * std::log(u));
      out[2 * pair] = radius * std::cos(angle);
      if (2 * pair + 1 < count)
        out[2 * pair + 1] = radius * std::sin(angle);
    }
  });
  return values.to(dtype);
}

StatusOr<at::Tensor> initialValue(const plan::Weight &weight, const at::Tensor &source, uint64_t seed,
                                  at::ScalarType dtype) {
  const plan::Init &init = *weight.init;
  at::IntArrayRef shape = weight.shape;
  auto options = at::TensorOptions(dtype);
  if (init.kind == "constant")
    return at::full(shape, init.value, options);
  if (init.kind == "normal")
    return seededNormal(shape, init.value, seed, weight.name, dtype);
  if (init.kind == "values") {
    // Repeated until the weight is full; plan validation has seen that they divide it.
    at::Tensor values = at::tensor(at::ArrayRef<double>(init.values), at::kDouble);
    int64_t times = c10::multiply_integers(shape) / values.numel();
    return values.repeat({times}).view(shape).to(dtype);
  }

  if (!source.defined())
    return Status::invalid("weight '" + weight.name + "' starts from '" + init.source + "', which no checkpoint has");
  if (init.kind == "copy") {
    if (source.sizes() != shape)
      return Status::invalid("weight '" + weight.name + "' of shape " + sizesText(shape) + " starts from '" +
                             init.source + "', which has shape " + sizesText(source.sizes()));
    return source.to(dtype, /*non_blocking=*/false, /*copy=*/true);
  }
  if (init.kind == "repeat_heads") {
    std::vector<int64_t> expected = shape.vec();
    if (!expected.empty())
      expected[0] /= init.times;
    if (source.sizes() != at::IntArrayRef(expected) || expected.empty() || expected[0] % init.heads != 0)
      return Status::invalid("weight '" + weight.name + "' of shape " + sizesText(shape) + " repeats the heads of '" +
                             init.source + "' " + std::to_string(init.times) + " times, which has shape " +
                             sizesText(source.sizes()));
    int64_t rows = expected[0] / init.heads;
    at::Tensor groups = source.to(dtype).reshape({init.heads, 1, rows, -1});
    // A copy even for one repetition: the source may be a view of a file.
    return groups.expand({init.heads, init.times, rows, groups.size(3)})
        .clone(at::MemoryFormat::Contiguous)
        .view(shape);
  }
  return Status::invalid("weight '" + weight.name + "' has the unknown init '" + init.kind + "'");
}

} // namespace morph
