// SPDX-License-Identifier: Apache-2.0
#include "passes/lower/cuda/ElementForms.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/bit.h"

#include <numeric>

using namespace mlir;
using namespace morph;

/// Elements of a block of forVectors.
static constexpr int64_t kPiece = 4 * kElementThreads * kVector;

std::string morph::exactName(double number) { return llvm::utohexstr(llvm::bit_cast<uint64_t>(number)); }

int64_t morph::lanesOf(int64_t width) { return std::gcd(width, kVector); }

int64_t morph::lanesOf(const plan::TensorType &type) {
  int64_t width = 1;
  for (const plan::Dim &dim : type.shape)
    if (const auto *number = std::get_if<int64_t>(&dim))
      width *= *number;
  return lanesOf(width);
}

int64_t morph::staticElements(const plan::TensorType &type, size_t first) {
  int64_t elements = 1;
  for (size_t d = first; d < type.shape.size(); ++d)
    elements *= staticSize(type, d);
  return elements;
}

static std::vector<plan::LaunchArgument> withSizes(std::vector<plan::LaunchArgument> pointers, plan::SizeFormula count,
                                                   std::vector<plan::SizeFormula> sizes) {
  pointers.push_back(sizeArgument(std::move(count)));
  for (plan::SizeFormula &size : sizes)
    pointers.push_back(sizeArgument(std::move(size)));
  return pointers;
}

void morph::forElements(DeviceFormCall &call, const std::string &variant, std::vector<plan::LaunchArgument> pointers,
                        std::vector<plan::SizeFormula> sizes,
                        llvm::function_ref<void(KernelBuilder &, Index element)> build) {
  auto count = static_cast<unsigned>(pointers.size());
  std::string kernel =
      call.define(variant, count, static_cast<unsigned>(sizes.size()) + 1, kElementThreads, [&](KernelBuilder &k) {
        Index element = k.block() * kElementThreads + k.thread();
        k.onlyIf(element < k.size(0), [&] { build(k, element); });
      });
  const plan::TensorType &type = call.resultType(0);
  call.launch(kernel, {elementsOf(type, kElementThreads)}, kElementThreads,
              withSizes(std::move(pointers), elementsOf(type), std::move(sizes)));
}

void morph::forVectors(DeviceFormCall &call, const std::string &variant, const plan::TensorType &type, int64_t lanes,
                       std::vector<plan::LaunchArgument> pointers, std::vector<plan::SizeFormula> sizes,
                       llvm::function_ref<void(KernelBuilder &, EachVector each)> build) {
  auto count = static_cast<unsigned>(pointers.size());
  std::string name = (variant.empty() ? "" : variant + "_") + std::to_string(lanes);
  std::string kernel =
      call.define(name, count, static_cast<unsigned>(sizes.size()) + 1, kElementThreads, [&](KernelBuilder &k) {
        build(k, [&](llvm::function_ref<void(Index)> body) {
          Index first = k.block() * kPiece;
          k.loop(first + k.thread() * lanes, min(first + kPiece, k.size(0)), kElementThreads * lanes, body);
        });
      });
  call.launch(kernel, {elementsOf(type, kPiece)}, kElementThreads,
              withSizes(std::move(pointers), elementsOf(type), std::move(sizes)));
}

plan::LaunchArgument morph::launchSumParts(DeviceFormCall &call, const std::string &variant,
                                           const plan::TensorType &type, std::vector<plan::LaunchArgument> operands,
                                           llvm::function_ref<Scalar(ArrayRef<Scalar>)> body) {
  int64_t lanes = lanesOf(type);
  auto count = static_cast<unsigned>(operands.size());
  std::string kernel = call.define(
      variant + "_" + std::to_string(lanes), count + 1, /*sizes=*/1, kElementThreads, [&](KernelBuilder &k) {
        Index first = k.block() * kSumPart;
        auto sums = k.loop(first + k.thread() * lanes, min(first + kSumPart, k.size(0)), kElementThreads * lanes,
                           {k.number(0)}, [&](Index element, ArrayRef<Scalar> carried) {
                             SmallVector<KernelBuilder::Carried> vectors;
                             for (unsigned operand = 0; operand < count; ++operand)
                               vectors.push_back(k.loadVector(k.pointer(operand), element, lanes));
                             Scalar sum = carried[0];
                             for (int64_t lane = 0; lane < lanes; ++lane) {
                               SmallVector<Scalar> numbers;
                               for (const KernelBuilder::Carried &vector : vectors)
                                 numbers.push_back(vector[static_cast<size_t>(lane)]);
                               sum = sum + body(numbers);
                             }
                             return KernelBuilder::Carried{sum};
                           });
        Scalar sum = k.blockSum(sums[0]);
        k.onlyIf(k.thread() == 0, [&] { k.store(sum, k.pointer(count), k.block()); });
      });
  plan::LaunchArgument parts = call.takeScratch(productOf(type.shape, 1, kSumPart, 4));
  operands.push_back(parts);
  operands.push_back(sizeArgument(elementsOf(type)));
  call.launch(kernel, {sumParts(type)}, kElementThreads, std::move(operands));
  return parts;
}

Scalar morph::blockSumInDouble(KernelBuilder &k, Index count, llvm::function_ref<Scalar(Index)> body) {
  auto sums =
      k.loop(k.thread(), count, kElementThreads, {k.toDouble(k.number(0))}, [&](Index i, ArrayRef<Scalar> carried) {
        return KernelBuilder::Carried{carried[0] + k.toDouble(body(i))};
      });
  return k.blockSum(sums[0]);
}

Scalar morph::sumOverWarps(KernelBuilder &k, Scalar value) {
  constexpr int64_t warp = 32;
  Value memory = k.shared(kElementThreads);
  k.store(value, memory, k.thread());
  k.barrier();
  Index lane = k.thread() % warp;
  Scalar total = k.load(memory, lane);
  for (int64_t other = warp; other < kElementThreads; other += warp)
    total = total + k.load(memory, lane + other);
  return total;
}
