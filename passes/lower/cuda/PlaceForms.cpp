// SPDX-License-Identifier: Apache-2.0
// Ops that put rows and elements into places on GPUs. Legend: B batch, T positions, S slots of a ring, N rows, C
// channels, V rows of a table, E width.

#include "passes/lower/cuda/ElementForms.h"

using namespace mlir;
using namespace morph;

void morph::mask_paddingForm(DeviceFormCall &call) {
  const plan::TensorType &x = call.operandType(0);
  int64_t width = staticSize(x, 2), lanes = lanesOf(width);
  forVectors(call, std::to_string(width), x, lanes,
             {operandArgument(0), operandArgument(1), operandArgument(2), resultArgument(0)}, {productOf(x.shape[1])},
             [&](KernelBuilder &k, EachVector each) {
               each([&](Index element) {
                 Index row = element / width, batch = row / k.size(1);
                 Index start = k.loadInteger(k.pointer(1), batch), offset = k.loadInteger(k.pointer(2), batch);
                 Value isPadding = row % k.size(1) + offset < start;
                 KernelBuilder::Carried result;
                 for (Scalar number : k.loadVector(k.pointer(0), element, lanes))
                   result.push_back(k.select(isPadding, k.number(0), number));
                 k.storeVector(result, k.pointer(3), element);
               });
             });
}

void morph::expandForm(DeviceFormCall &call) {
  int64_t width = call.integer("width"), lanes = lanesOf(width);
  forVectors(call, std::to_string(width), call.resultType(0), lanes, {operandArgument(0), resultArgument(0)}, {},
             [&](KernelBuilder &k, EachVector each) {
               each([&](Index element) {
                 Scalar number = k.load(k.pointer(0), element / width);
                 k.storeVector(KernelBuilder::Carried(static_cast<size_t>(lanes), number), k.pointer(1), element);
               });
             });
}

/// The result lies where the ring does: what x does not reach stays.
void morph::cache_writeForm(DeviceFormCall &call) {
  const plan::TensorType &ring = call.resultType(0), &x = call.operandType(1);
  int64_t width = staticElements(ring, 2), lanes = lanesOf(width);
  forVectors(call, std::string(plan::dtypeName(ring.dtype)) + "_" + std::to_string(width), x, lanes,
             {operandArgument(1), operandArgument(2), resultArgument(0)},
             {productOf(x.shape[1]), productOf(ring.shape[1])}, [&](KernelBuilder &k, EachVector each) {
               Index positions = k.size(1), slots = k.size(2);
               each([&](Index element) {
                 Index row = element / width, batch = row / positions;
                 Index slot = (k.loadInteger(k.pointer(1), batch) + row % positions) % slots;
                 k.storeVector(k.loadVector(k.pointer(0), element, lanes), k.pointer(2),
                               (batch * slots + slot) * width + element % width, ring.dtype);
               });
             });
}

//===----------------------------------------------------------------------===//
// Rows added into a zero result
//===----------------------------------------------------------------------===//

/// Rows of `dy` [N,C] added into those of the result, at `places` [N], in the order of N. First each place's rows
/// become a chain: of a row, the next one of the same place, and how many the chain has that begins with it; 0 where
/// the row is not the place's first. Then a block adds up a chain. The first step compares all pairs of places, which
/// is little beside a pass over the result as long as there are not very many rows; numbers of rows go through f32, and
/// are below 2^24.
static void addRows(DeviceFormCall &call, int64_t dy, int64_t places, ArrayRef<plan::Dim> rows, int64_t width) {
  const plan::TensorType &type = call.resultType(0);
  int64_t lanes = lanesOf(width);
  forVectors(call, "zero", type, lanes, {resultArgument(0)}, {}, [&](KernelBuilder &k, EachVector each) {
    each([&](Index element) {
      k.storeVector(KernelBuilder::Carried(static_cast<size_t>(lanes), k.number(0)), k.pointer(0), element);
    });
  });
  plan::LaunchArgument next = call.takeScratch(productOf(rows, 1, 1, 8)),
                       lengths = call.takeScratch(productOf(rows, 1, 1, 8));
  std::string chains = call.define("chains", /*pointers=*/3, /*sizes=*/1, kElementThreads, [&](KernelBuilder &k) {
    Index row = k.block(), place = k.loadInteger(k.pointer(0), row);
    Scalar zero = k.number(0), one = k.number(1), end = -k.toScalar(k.size(0));
    auto found =
        k.loop(k.thread(), k.size(0), kElementThreads, {zero, end, zero}, [&](Index other, ArrayRef<Scalar> before) {
          Value isSame = k.loadInteger(k.pointer(0), other) == place;
          Value isEarlier = k.both(isSame, other < row), isLater = k.both(isSame, row < other);
          return KernelBuilder::Carried{k.select(isEarlier, one, before[0]),
                                        k.maximum(before[1], k.select(isLater, -k.toScalar(other), end)),
                                        before[2] + k.select(isLater, one, zero)};
        });
    Scalar hasEarlier = k.blockMax(found[0]), following = k.blockMax(found[1]), later = k.blockSum(found[2]);
    k.onlyIf(k.thread() == 0, [&] {
      k.storeInteger(k.toInteger(-following), k.pointer(1), row);
      k.storeInteger(k.toInteger((1 - hasEarlier) * (1 + later)), k.pointer(2), row);
    });
  });
  plan::SizeFormula count = productOf(rows);
  call.launch(chains, {count}, kElementThreads, {operandArgument(places), next, lengths, sizeArgument(count)});
  std::string sums =
      call.define("rows_" + std::to_string(width), /*pointers=*/5, /*sizes=*/0, kElementThreads, [&](KernelBuilder &k) {
        Index row = k.block(), channel = (k.block(1) * kElementThreads + k.thread()) * lanes;
        Index length = k.loadInteger(k.pointer(3), row);
        k.onlyIf(k.both(channel < width, k.integer(0) < length), [&] {
          KernelBuilder::Carried start(static_cast<size_t>(lanes), k.number(0));
          start.push_back(k.scalar(row.get()));
          auto sums = k.loop(k.integer(0), length, 1, start, [&](Index, ArrayRef<Scalar> before) {
            Index at = k.wrap(before.back().get());
            KernelBuilder::Carried after;
            for (auto [sum, x] :
                 llvm::zip_equal(before.drop_back(), k.loadVector(k.pointer(0), at * width + channel, lanes)))
              after.push_back(sum + x);
            after.push_back(k.scalar(k.loadInteger(k.pointer(2), at).get()));
            return after;
          });
          sums.pop_back();
          k.storeVector(sums, k.pointer(4), k.loadInteger(k.pointer(1), row) * width + channel);
        });
      });
  call.launch(sums, {count, plan::constantFormula((width + kElementThreads * lanes - 1) / (kElementThreads * lanes))},
              kElementThreads, {operandArgument(dy), operandArgument(places), next, lengths, resultArgument(0)});
}

void morph::scatter_rowsForm(DeviceFormCall &call) {
  addRows(call, 0, 1, call.operandType(1).shape, staticSize(call.operandType(0), 1));
}

void morph::embedding_gradForm(DeviceFormCall &call) {
  addRows(call, 0, 1, call.operandType(1).shape, staticSize(call.operandType(0), 2));
}
