// SPDX-License-Identifier: Apache-2.0
// What a step does with gradients on GPUs, and the little that gradients begin with. All of it goes over elements of
// which each is read and written by one thread, so that results may lie where operands do.

#include "passes/lower/cuda/ElementForms.h"

using namespace mlir;
using namespace morph;

static Scalar loadScalar(KernelBuilder &k, unsigned pointer) { return k.load(k.pointer(pointer), k.integer(0)); }

void morph::accumulateForm(DeviceFormCall &call) {
  const plan::TensorType &type = call.resultType(0);
  int64_t lanes = lanesOf(type);
  forVectors(call, "", type, lanes, {operandArgument(0), operandArgument(1), operandArgument(2), resultArgument(0)}, {},
             [&](KernelBuilder &k, EachVector each) {
               Scalar share = loadScalar(k, 2);
               each([&](Index element) {
                 KernelBuilder::Carried result;
                 for (auto [sum, x] : llvm::zip_equal(k.loadVector(k.pointer(0), element, lanes),
                                                      k.loadVector(k.pointer(1), element, lanes)))
                   result.push_back(sum + share * x);
                 k.storeVector(result, k.pointer(3), element);
               });
             });
}

void morph::clipForm(DeviceFormCall &call) {
  const plan::TensorType &type = call.resultType(0);
  double limit = call.real("limit");
  int64_t lanes = lanesOf(type);
  forVectors(call, exactName(limit), type, lanes, {operandArgument(0), operandArgument(1), resultArgument(0)}, {},
             [&](KernelBuilder &k, EachVector each) {
               Scalar norm = k.toDouble(loadScalar(k, 1));
               Scalar factor = k.toSingle(limit / (norm + 1e-6));
               // Where nothing is to be clipped, nothing moves. A norm that is not a number is no limit, as on CPUs.
               k.onlyIf(k.less(factor, k.number(1)), [&] {
                 each([&](Index element) {
                   KernelBuilder::Carried result;
                   for (Scalar x : k.loadVector(k.pointer(0), element, lanes))
                     result.push_back(x * factor);
                   k.storeVector(result, k.pointer(2), element);
                 });
               });
             });
}

/// 1 - base^step in f64, by the bits of the step, which is below 2^31.
static Scalar oneMinusPower(KernelBuilder &k, double base, Index step) {
  Scalar one = k.toDouble(k.number(1));
  KernelBuilder::Carried power{one, one.constant(base)};
  auto factors = k.loop(k.integer(0), k.integer(31), 1, power, [&](Index bit, ArrayRef<Scalar> before) {
    Value isSet = k.hasBit(step, bit);
    return KernelBuilder::Carried{k.select(isSet, before[0] * before[1], before[0]), before[1] * before[1]};
  });
  return 1 - factors[0];
}

void morph::adamwForm(DeviceFormCall &call) {
  const plan::TensorType &type = call.resultType(0);
  double beta1 = call.real("beta1"), beta2 = call.real("beta2"), epsilon = call.real("epsilon"),
         decay = call.real("weight_decay");
  int64_t lanes = lanesOf(type);
  std::vector<plan::LaunchArgument> pointers;
  for (int64_t operand = 0; operand < 6; ++operand)
    pointers.push_back(operandArgument(operand));
  for (int64_t result = 0; result < 3; ++result)
    pointers.push_back(resultArgument(result));
  std::string name = exactName(beta1) + "_" + exactName(beta2) + "_" + exactName(epsilon) + "_" + exactName(decay);
  forVectors(call, name, type, lanes, std::move(pointers), {}, [&](KernelBuilder &k, EachVector each) {
    // What depends on the rate and the step alone, once a block.
    Value shared = k.shared(3);
    k.onlyIf(k.thread() == 0, [&] {
      Scalar rate = k.toDouble(loadScalar(k, 4));
      Index step = k.loadInteger(k.pointer(5), k.integer(0));
      k.store(k.toSingle(1 - rate * decay), shared, k.integer(0));
      k.store(k.toSingle(rate / oneMinusPower(k, beta1, step)), shared, k.integer(1));
      k.store(k.toSingle(1 / sqrt(oneMinusPower(k, beta2, step))), shared, k.integer(2));
    });
    k.barrier();
    Scalar keep = k.load(shared, k.integer(0)), rate = k.load(shared, k.integer(1)),
           root = k.load(shared, k.integer(2));
    each([&](Index element) {
      auto load = [&](unsigned pointer) { return k.loadVector(k.pointer(pointer), element, lanes); };
      KernelBuilder::Carried p = load(0), g = load(1), m = load(2), v = load(3);
      for (size_t lane = 0; lane < static_cast<size_t>(lanes); ++lane) {
        m[lane] = m[lane] + (1 - beta1) * (g[lane] - m[lane]);
        v[lane] = v[lane] + (1 - beta2) * (g[lane] * g[lane] - v[lane]);
        p[lane] = keep * p[lane] - rate * m[lane] / (sqrt(v[lane]) * root + epsilon);
      }
      k.storeVector(p, k.pointer(6), element);
      k.storeVector(m, k.pointer(7), element);
      k.storeVector(v, k.pointer(8), element);
    });
  });
}

void morph::onesForm(DeviceFormCall &call) {
  std::string kernel = call.define("", /*pointers=*/1, /*sizes=*/0, /*threads=*/32, [&](KernelBuilder &k) {
    k.onlyIf(k.thread() == 0, [&] { k.store(k.number(1), k.pointer(0), k.integer(0)); });
  });
  call.launch(kernel, {}, 32, {resultArgument(0)});
}

/// One thread, because scalars are few: at most so many a launch as its parameters hold.
void morph::stackForm(DeviceFormCall &call) {
  constexpr size_t most = 64;
  size_t count = call.instruction.operands.size();
  for (size_t first = 0; first < count; first += most) {
    size_t here = std::min(most, count - first);
    std::vector<plan::LaunchArgument> arguments;
    for (size_t i = first; i < first + here; ++i)
      arguments.push_back(operandArgument(static_cast<int64_t>(i)));
    arguments.push_back(resultArgument(0));
    arguments.push_back(sizeArgument(plan::constantFormula(static_cast<int64_t>(first))));
    auto pointers = static_cast<unsigned>(here);
    std::string kernel =
        call.define(std::to_string(here), pointers + 1, /*sizes=*/1, /*threads=*/32, [&](KernelBuilder &k) {
          k.onlyIf(k.thread() == 0, [&] {
            for (unsigned i = 0; i < pointers; ++i)
              k.store(loadScalar(k, i), k.pointer(pointers), k.size(0) + i);
          });
        });
    call.launch(kernel, {}, 32, std::move(arguments));
  }
}
