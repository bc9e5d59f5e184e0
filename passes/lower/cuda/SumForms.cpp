// SPDX-License-Identifier: Apache-2.0
// Sums over elements, rows and lines on GPUs: parts of a fixed size in f32, which one block adds up in f64. Legend: N
// rows, E width of a line.

#include "passes/lower/cuda/ElementForms.h"
#include "runtime/plan/Workspace.h"

#include <limits>

using namespace mlir;
using namespace morph;

static Scalar square(Scalar x) { return x * x; }

/// Launches one block that gives a number, f64, which becomes element 0 of the last pointer.
static void launchOne(DeviceFormCall &call, const std::string &variant, std::vector<plan::LaunchArgument> pointers,
                      const std::vector<plan::SizeFormula> &sizes, llvm::function_ref<Scalar(KernelBuilder &)> build) {
  auto count = static_cast<unsigned>(pointers.size());
  std::string kernel =
      call.define(variant, count, static_cast<unsigned>(sizes.size()), kElementThreads, [&](KernelBuilder &k) {
        Scalar result = k.toSingle(build(k));
        k.onlyIf(k.thread() == 0, [&] { k.store(result, k.pointer(count - 1), k.integer(0)); });
      });
  for (const plan::SizeFormula &size : sizes)
    pointers.push_back(sizeArgument(size));
  call.launch(kernel, {}, kElementThreads, std::move(pointers));
}

static Scalar sumOfParts(KernelBuilder &k, Value parts, Index count) {
  return blockSumInDouble(k, count, [&](Index part) { return k.load(parts, part); });
}

//===----------------------------------------------------------------------===//
// squared_error, weighted_mean, global_norm
//===----------------------------------------------------------------------===//

/// What squared_error divides by: the argument that gives it, parts of a sum or absent, and the number of these parts,
/// or the number itself.
struct Denominator {
  plan::LaunchArgument parts;
  plan::SizeFormula size;
};

static Denominator launchDenominator(DeviceFormCall &call, const plan::TensorType &type, int64_t target) {
  if (call.text("normalize") == "relative")
    return {launchSumParts(call, "target", type, {operandArgument(target)}, [](auto x) { return square(x[0]); }),
            sumParts(type)};
  ArrayRef<plan::Dim> dims(type.shape);
  return {operandArgument(target), productOf(call.text("normalize") == "rows" ? dims.drop_back() : dims)};
}

/// A target of zeros counts as the least positive number, as on CPUs.
static Scalar buildDenominator(KernelBuilder &k, const std::string &normalize, Value parts, Index size) {
  if (normalize != "relative")
    return k.toDouble(size);
  return max(sumOfParts(k, parts, size), static_cast<double>(std::numeric_limits<float>::min()));
}

void morph::squared_errorForm(DeviceFormCall &call) {
  const plan::TensorType &type = call.operandType(0);
  const std::string &normalize = call.text("normalize");
  plan::LaunchArgument squares = launchSumParts(call, "parts", type, {operandArgument(0), operandArgument(1)},
                                                [](auto x) { return square(x[0] - x[1]); });
  Denominator denominator = launchDenominator(call, type, 1);
  launchOne(call, normalize, {squares, denominator.parts, resultArgument(0)}, {sumParts(type), denominator.size},
            [&](KernelBuilder &k) {
              Scalar sum = sumOfParts(k, k.pointer(0), k.size(0));
              return sum / buildDenominator(k, normalize, k.pointer(1), k.size(1));
            });
}

void morph::squared_error_gradForm(DeviceFormCall &call) {
  const plan::TensorType &type = call.operandType(1);
  const std::string &normalize = call.text("normalize");
  Denominator denominator = launchDenominator(call, type, 2);
  plan::LaunchArgument factor = call.takeScratch(plan::constantFormula(4));
  launchOne(call, normalize, {operandArgument(0), denominator.parts, factor}, {denominator.size},
            [&](KernelBuilder &k) {
              Scalar dy = k.toDouble(k.load(k.pointer(0), k.integer(0)));
              return 2 * dy / buildDenominator(k, normalize, k.pointer(1), k.size(0));
            });
  int64_t lanes = lanesOf(type);
  forVectors(call, "", type, lanes, {factor, operandArgument(1), operandArgument(2), resultArgument(0)}, {},
             [&](KernelBuilder &k, EachVector each) {
               Scalar factor = k.load(k.pointer(0), k.integer(0));
               each([&](Index element) {
                 KernelBuilder::Carried result;
                 for (auto [x, target] : llvm::zip_equal(k.loadVector(k.pointer(1), element, lanes),
                                                         k.loadVector(k.pointer(2), element, lanes)))
                   result.push_back(factor * (x - target));
                 k.storeVector(result, k.pointer(3), element);
               });
             });
}

void morph::weighted_meanForm(DeviceFormCall &call) {
  launchOne(call, "", {operandArgument(0), operandArgument(1), resultArgument(0)}, {elementsOf(call.operandType(0))},
            [&](KernelBuilder &k) {
              auto weight = [&](Index row) { return k.load(k.pointer(1), row); };
              Scalar sum =
                  blockSumInDouble(k, k.size(0), [&](Index row) { return weight(row) * k.load(k.pointer(0), row); });
              return sum / blockSumInDouble(k, k.size(0), weight);
            });
}

/// One block, because rows are few; a thread writes the rows that it alone reads after the sum.
void morph::weighted_mean_gradForm(DeviceFormCall &call) {
  std::string kernel = call.define("", /*pointers=*/3, /*sizes=*/1, kElementThreads, [&](KernelBuilder &k) {
    auto weight = [&](Index row) { return k.load(k.pointer(1), row); };
    Scalar sum = blockSumInDouble(k, k.size(0), weight);
    Scalar factor = k.toDouble(k.load(k.pointer(0), k.integer(0))) / sum;
    k.loop(k.thread(), k.size(0), kElementThreads,
           [&](Index row) { k.store(k.toSingle(k.toDouble(weight(row)) * factor), k.pointer(2), row); });
  });
  call.launch(
      kernel, {}, kElementThreads,
      {operandArgument(0), operandArgument(1), resultArgument(0), sizeArgument(elementsOf(call.operandType(1)))});
}

void morph::global_normForm(DeviceFormCall &call) {
  std::optional<plan::LaunchArgument> first;
  plan::SizeFormula count = plan::constantFormula(0);
  for (size_t i = 0; i < call.instruction.operands.size(); ++i) {
    const plan::TensorType &type = call.operandType(i);
    plan::LaunchArgument parts = launchSumParts(call, "parts", type, {operandArgument(static_cast<int64_t>(i))},
                                                [](auto x) { return square(x[0]); });
    if (!first)
      first = parts;
    count = sumOf(std::move(count), sumParts(type));
  }
  launchOne(call, "", {*first, resultArgument(0)}, {count},
            [&](KernelBuilder &k) { return sqrt(sumOfParts(k, k.pointer(0), k.size(0))); });
}

//===----------------------------------------------------------------------===//
// Rows and lines
//===----------------------------------------------------------------------===//

/// The sum, or the mean, over the first dimensions of x: a thread an element of the result, on parts of rows.
static void launchRowSum(DeviceFormCall &call, size_t leading, bool isMean) {
  ArrayRef<plan::Dim> shape(call.operandType(0).shape);
  ArrayRef<plan::Dim> rowDims = shape.take_front(leading), widthDims = shape.drop_front(leading);
  plan::SizeFormula rows = productOf(rowDims), width = productOf(widthDims);
  // At least the parts times the width, which no term says.
  plan::LaunchArgument parts =
      call.takeScratch(sumOf(productOf(shape, 1, plan::kRowBlock, 4), productOf(widthDims, 1, 1, 4)));
  std::string kernel = call.define("parts", /*pointers=*/2, /*sizes=*/2, kElementThreads, [&](KernelBuilder &k) {
    Index element = k.block(1) * kElementThreads + k.thread(), row = k.block() * plan::kRowBlock;
    k.onlyIf(element < k.size(1), [&] {
      auto sum =
          k.loop(row, min(row + plan::kRowBlock, k.size(0)), 1, {k.number(0)}, [&](Index row, ArrayRef<Scalar> before) {
            return KernelBuilder::Carried{before[0] + k.load(k.pointer(0), row * k.size(1) + element)};
          });
      k.store(sum[0], k.pointer(1), k.block() * k.size(1) + element);
    });
  });
  call.launch(kernel, {productOf(rowDims, 1, plan::kRowBlock), productOf(widthDims, 1, kElementThreads)},
              kElementThreads, {operandArgument(0), parts, sizeArgument(rows), sizeArgument(width)});
  forElements(call, "", {parts, resultArgument(0)}, {rows}, [&](KernelBuilder &k, Index element) {
    Index rows = k.size(1);
    auto sum = k.loop(k.integer(0), (rows + (plan::kRowBlock - 1)) / plan::kRowBlock, 1, {k.toDouble(k.number(0))},
                      [&](Index part, ArrayRef<Scalar> before) {
                        Scalar next = k.load(k.pointer(0), part * k.size(0) + element);
                        return KernelBuilder::Carried{before[0] + k.toDouble(next)};
                      });
    Scalar result = isMean ? sum[0] / k.toDouble(max(rows, rows.constant(1))) : sum[0];
    k.store(k.toSingle(result), k.pointer(1), element);
  });
}

void morph::reduce_toForm(DeviceFormCall &call) {
  size_t rank = call.operandType(0).shape.size();
  launchRowSum(call, rank - static_cast<size_t>(call.integer("rank")), /*isMean=*/false);
}

void morph::position_meanForm(DeviceFormCall &call) { launchRowSum(call, 2, /*isMean=*/true); }

/// A warp a line.
void morph::sum_lastForm(DeviceFormCall &call) {
  constexpr int64_t warp = 32, lines = kElementThreads / warp;
  ArrayRef<plan::Dim> shape(call.operandType(0).shape);
  int64_t width = staticSize(call.operandType(0), shape.size() - 1), lanes = lanesOf(width);
  std::string kernel =
      call.define(std::to_string(width), /*pointers=*/2, /*sizes=*/1, kElementThreads, [&](KernelBuilder &k) {
        Index line = k.block() * lines + k.thread() / warp, lane = k.thread() % warp;
        k.onlyIf(line < k.size(0), [&] {
          auto sums = k.loop(lane * lanes, k.integer(width), warp * lanes, {k.number(0)},
                             [&](Index place, ArrayRef<Scalar> before) {
                               Scalar sum = before[0];
                               for (Scalar x : k.loadVector(k.pointer(0), line * width + place, lanes))
                                 sum = sum + x;
                               return KernelBuilder::Carried{sum};
                             });
          Scalar sum = k.laneSum(sums[0], warp);
          k.onlyIf(lane == 0, [&] { k.store(sum, k.pointer(1), line); });
        });
      });
  call.launch(kernel, {productOf(shape.drop_back(), 1, lines)}, kElementThreads,
              {operandArgument(0), resultArgument(0), sizeArgument(productOf(shape.drop_back()))});
}
