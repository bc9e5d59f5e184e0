// SPDX-License-Identifier: Apache-2.0
// Mixtures of experts on GPUs. Legend: N rows, E experts, K experts of a row (`active`), C channels, F inner width.
//
// No size of a launch may depend on what the router chose. Rows that chose an expert become a list; the slots of all
// experts follow each other, N K in all, and a block of 64 slots of one expert finds itself by the lists' lengths. What
// blocks write into slots is added up row by row, in the experts' order.

#include "passes/lower/cuda/BlockProducts.h"
#include "passes/lower/cuda/ElementForms.h"

#include <limits>

using namespace mlir;
using namespace morph;

using Carried = KernelBuilder::Carried;

namespace {

/// Rows, columns and depth of a block's products.
constexpr int64_t kExpertsSide = 64;
constexpr int64_t kWarps = 4;

//===----------------------------------------------------------------------===//
// The router: a thread a row
//===----------------------------------------------------------------------===//

/// A row [E] of a thread.
struct RouterRow {
  RouterRow(KernelBuilder &k, Value pointer, Index row, int64_t experts)
      : k(k), pointer(pointer), first(row * experts), experts(experts) {}

  Scalar load(Index expert) const { return k.load(pointer, first + expert); }
  Carried over(ArrayRef<Scalar> start, llvm::function_ref<Carried(Index, ArrayRef<Scalar>)> body) const {
    return k.loop(k.integer(0), k.integer(experts), 1, start, body);
  }
  Scalar logSumExp() const {
    auto greatest = over({k.number(-std::numeric_limits<float>::max())},
                         [&](Index e, ArrayRef<Scalar> before) { return Carried{k.maximum(before[0], load(e))}; });
    auto sum = over({k.number(0)},
                    [&](Index e, ArrayRef<Scalar> before) { return Carried{before[0] + exp(load(e) - greatest[0])}; });
    return greatest[0] + log(sum[0]);
  }

  KernelBuilder &k;
  Value pointer;
  Index first;
  int64_t experts;
};

/// Launches a kernel with a thread a row of the first operand [...,E].
void forRouterRows(DeviceFormCall &call, std::vector<plan::LaunchArgument> pointers,
                   llvm::function_ref<void(KernelBuilder &, Index row, int64_t experts)> build) {
  const plan::TensorType &type = call.operandType(0);
  int64_t experts = staticSize(type, type.shape.size() - 1);
  ArrayRef<plan::Dim> rows = ArrayRef(type.shape).drop_back();
  std::string variant = std::to_string(experts) + "_" + std::to_string(call.integer("count")) +
                        (call.has("normalised") ? "_normalised" : "");
  std::string kernel =
      call.define(variant, static_cast<unsigned>(pointers.size()), /*sizes=*/1, kElementThreads, [&](KernelBuilder &k) {
        Index row = k.block() * kElementThreads + k.thread();
        k.onlyIf(row < k.size(0), [&] { build(k, row, experts); });
      });
  pointers.push_back(sizeArgument(productOf(rows)));
  call.launch(kernel, {productOf(rows, 1, kElementThreads)}, kElementThreads, std::move(pointers));
}

} // namespace

void morph::top_k_softmaxForm(DeviceFormCall &call) {
  forRouterRows(call, {operandArgument(0), resultArgument(0)}, [&](KernelBuilder &k, Index row, int64_t experts) {
    RouterRow x(k, k.pointer(0), row, experts);
    Scalar shift = x.logSumExp(), least = k.number(-std::numeric_limits<float>::max());
    // Round by round the greatest that comes after the one before: of equal ones, the first.
    auto isAfter = [&](Scalar value, Scalar place, Scalar lastValue, Scalar lastPlace) {
      Scalar no = k.number(0), yes = k.number(1);
      Scalar equal = k.select(k.lessOrEqual(value, lastValue), k.select(k.less(lastPlace, place), yes, no), no);
      return k.select(k.less(value, lastValue), yes, equal);
    };
    auto last =
        k.loop(k.integer(0), k.integer(call.integer("count")), 1,
               {k.number(std::numeric_limits<float>::max()), k.number(-1)}, [&](Index, ArrayRef<Scalar> before) {
                 auto found = x.over({least, k.number(0)}, [&](Index e, ArrayRef<Scalar> best) {
                   Scalar value = x.load(e), place = k.toScalar(e);
                   Scalar counts = isAfter(value, place, before[0], before[1]);
                   Value isBetter = k.both(k.less(k.number(0.5), counts), k.less(best[0], value));
                   return Carried{k.select(isBetter, value, best[0]), k.select(isBetter, place, best[1])};
                 });
                 return Carried{found[0], found[1]};
               });
    // What does not come after the last one is kept.
    auto kept = [&](Index e) {
      Scalar value = x.load(e);
      Scalar counts = isAfter(value, k.toScalar(e), last[0], last[1]);
      return k.select(k.less(k.number(0.5), counts), k.number(0), exp(value - shift));
    };
    Scalar whole = k.number(1);
    if (call.has("normalised"))
      whole = x.over({k.number(0)}, [&](Index e, ArrayRef<Scalar> sum) { return Carried{sum[0] + kept(e)}; })[0];
    k.loop(k.integer(0), k.integer(experts), 1, [&](Index e) { k.store(kept(e) / whole, k.pointer(1), x.first + e); });
  });
}

void morph::top_k_softmax_gradForm(DeviceFormCall &call) {
  forRouterRows(call, {operandArgument(0), operandArgument(1), operandArgument(2), resultArgument(0)},
                [&](KernelBuilder &k, Index row, int64_t experts) {
                  RouterRow dy(k, k.pointer(0), row, experts), x(k, k.pointer(1), row, experts),
                      y(k, k.pointer(2), row, experts);
                  bool normalised = call.has("normalised");
                  Scalar sum = y.over({k.number(0)}, [&](Index e, ArrayRef<Scalar> before) {
                    return Carried{fma(y.load(e), dy.load(e), before[0])};
                  })[0];
                  Scalar shift = normalised ? k.number(0) : x.logSumExp();
                  k.loop(k.integer(0), k.integer(experts), 1, [&](Index e) {
                    Scalar result = y.load(e), share = normalised ? result : exp(x.load(e) - shift);
                    Scalar own = k.select(k.less(k.number(0), result), dy.load(e), k.number(0));
                    k.store(share * (own - sum), k.pointer(3), x.first + e);
                  });
                });
}

//===----------------------------------------------------------------------===//
// Slots
//===----------------------------------------------------------------------===//

namespace {

class ExpertsForm {
public:
  /// `first`: the place of x among the operands.
  ExpertsForm(DeviceFormCall &call, size_t first)
      : call(call), first(first), type(call.operandType(first).dtype),
        rows(ArrayRef(call.operandType(first).shape).drop_back()), experts(staticSize(call.operandType(first + 3), 0)),
        width(staticSize(call.operandType(first + 3), 1)), inner(staticSize(call.operandType(first + 3), 2)),
        active(call.integer("active")) {
    launchLists();
  }

  void forward();
  void inputGradient();
  void weightGradient();

private:
  /// A matrix that a tile's rows are read from: of rows [N,columns] by the list, or of slots [N K,columns].
  struct Source {
    plan::LaunchArgument argument;
    int64_t columns;
    bool isOfSlots;
  };

  plan::LaunchArgument operand(size_t place) const { return operandArgument(static_cast<int64_t>(first + place)); }
  plan::LaunchArgument x() const { return operand(0); }
  plan::LaunchArgument routing() const { return operand(1); }
  plan::LaunchArgument gateUp() const { return operand(2); }
  plan::LaunchArgument down() const { return operand(3); }
  plan::SizeFormula rowCount() const { return productOf(rows); }
  plan::SizeFormula slotCount() const { return productOf(rows, active); }
  plan::SizeFormula tileCount() const {
    return sumOf(productOf(rows, active, kExpertsSide), plan::constantFormula(experts));
  }
  static int64_t blocksOf(int64_t size) { return static_cast<int64_t>(llvm::divideCeil(size, kExpertsSide)); }
  /// Scratch for `columns` elements of so many bytes for each slot.
  plan::LaunchArgument takeSlots(int64_t columns, int64_t bytes) {
    return call.takeScratch(productOf(rows, active * columns * bytes, 256, 256));
  }
  plan::LaunchArgument takeFactors(int64_t columns) { return takeSlots(columns, type == plan::DType::BF16 ? 2 : 4); }
  std::string name(const std::string &kind) const {
    std::string text = kind + "_" + plan::dtypeName(type);
    for (int64_t size : {experts, active, width, inner})
      text += "_" + std::to_string(size);
    return text;
  }

  /// A tile of 64 slots of one expert, as a kernel's blocks find theirs. Pointers of such kernels begin with counts and
  /// lists, sizes with N and N K.
  struct Tile {
    Index expert, begin, count, slot;
  };
  /// Calls `body` where there is a tile for the block.
  void findTile(KernelBuilder &k, llvm::function_ref<void(const Tile &)> body) const;
  /// Where row `row` of a tile is read in a source, and whether there is one.
  BlockProducts::Row rowOf(KernelBuilder &k, const Tile &tile, Index row, int64_t columns, bool isOfSlots) const;
  /// The row of the data that a row of a tile is.
  Index dataRow(KernelBuilder &k, const Tile &tile, Index row) const;
  std::vector<plan::LaunchArgument> tileArguments(std::vector<plan::LaunchArgument> further) const;

  void launchLists();
  /// One where a row chose an expert, else zero: of the operand `routing` as the first pointer. What is not a number
  /// counts as chosen, and its row becomes none.
  Scalar isChosen(KernelBuilder &k, Index row, Index expert) const {
    Scalar share = k.load(k.pointer(0), row * experts + expert), zero = k.number(0);
    return k.select(k.both(k.lessOrEqual(share, zero), k.lessOrEqual(zero, share)), zero, k.number(1));
  }
  /// a = silu(g) u of each slot; with dy also dh, the gradient of g and u, the row's parts of the share's gradient, and
  /// a times the share.
  void launchHidden(plan::LaunchArgument a);
  void launchHiddenGradient(plan::LaunchArgument a, plan::LaunchArgument dh, plan::LaunchArgument parts);
  /// z[slot, columns] = from [slot, depth] times an expert's matrix of the operand `matrix`: as it is [depth,columns],
  /// or transposed.
  void launchProduct(const std::string &kind, plan::LaunchArgument from, plan::LaunchArgument matrix, int64_t depth,
                     int64_t columns, bool isTransposed, plan::LaunchArgument z);
  /// result[row] = the sum over the row's slots of z, `isShared` times their shares.
  void launchCombine(const std::string &kind, plan::LaunchArgument z, bool isShared, int64_t result);
  void launchShares(plan::LaunchArgument parts, int64_t result);
  /// result[e] = the sum over the slots of e of left^T right.
  void launchOuter(const std::string &kind, const Source &left, const Source &right, int64_t result);

  DeviceFormCall &call;
  size_t first;
  plan::DType type;
  ArrayRef<plan::Dim> rows;
  int64_t experts, width, inner, active;
  plan::LaunchArgument counts, lists, slotsOfRow, expertsOfRow;
};

/// Counts and lists of the experts' rows, each expert a block; then each row's experts and slots.
void ExpertsForm::launchLists() {
  counts = call.takeScratch(plan::constantFormula(static_cast<int64_t>(llvm::divideCeil(8 * experts, 256)) * 256));
  lists = call.takeScratch(productOf(rows, 8 * experts, 256, 256));
  plan::LaunchArgument places = call.takeScratch(productOf(rows, 8 * experts, 256, 256));
  slotsOfRow = takeSlots(1, 8);
  expertsOfRow = takeSlots(1, 8);
  std::string listing = call.define(name("lists"), /*pointers=*/4, /*sizes=*/1, kElementThreads, [&](KernelBuilder &k) {
    Value own = k.shared(kElementThreads);
    Index expert = k.block(), count = k.size(0), each = (count + (kElementThreads - 1)) / kElementThreads;
    Index begin = min(k.thread() * each, count), end = min(begin + each, count);
    auto counted = k.loop(begin, end, 1, {k.number(0)},
                          [&](Index row, ArrayRef<Scalar> sum) { return Carried{sum[0] + isChosen(k, row, expert)}; });
    k.store(counted[0], own, k.thread());
    k.barrier();
    auto before = k.loop(k.integer(0), k.thread(), 1, {k.number(0)},
                         [&](Index thread, ArrayRef<Scalar> sum) { return Carried{sum[0] + k.load(own, thread)}; });
    k.onlyIf(k.thread() == kElementThreads - 1,
             [&] { k.storeInteger(k.toInteger(before[0] + counted[0]), k.pointer(1), expert); });
    k.loop(begin, end, 1, {before[0]}, [&](Index row, ArrayRef<Scalar> place) {
      Scalar chosen = isChosen(k, row, expert);
      k.onlyIf(k.less(k.number(0.5), chosen), [&] {
        Index at = k.toInteger(place[0]);
        k.storeInteger(row, k.pointer(2), expert * count + at);
        k.storeInteger(at, k.pointer(3), row * experts + expert);
      });
      return Carried{place[0] + chosen};
    });
  });
  call.launch(listing, {plan::constantFormula(experts)}, kElementThreads,
              {routing(), counts, lists, places, sizeArgument(rowCount())});
  std::string placing = call.define(name("slots"), /*pointers=*/5, /*sizes=*/1, kElementThreads, [&](KernelBuilder &k) {
    Index row = k.block() * kElementThreads + k.thread();
    k.onlyIf(row < k.size(0), [&] {
      // How many experts it has, and the first slot of the expert.
      Carried start = {k.number(0), k.scalar(k.integer(0).get())};
      auto found = k.loop(k.integer(0), k.integer(experts), 1, start, [&](Index expert, ArrayRef<Scalar> state) {
        Scalar chosen = isChosen(k, row, expert);
        Index number = k.toInteger(state[0]), slot = k.wrap(state[1].get());
        k.onlyIf(k.both(k.less(k.number(0.5), chosen), number < active), [&] {
          Index place = k.loadInteger(k.pointer(2), row * experts + expert), at = row * active + number;
          k.storeInteger(slot + place, k.pointer(3), at);
          k.storeInteger(expert, k.pointer(4), at);
        });
        Index next = slot + k.loadInteger(k.pointer(1), expert);
        return Carried{state[0] + chosen, k.scalar(next.get())};
      });
      k.loop(min(k.toInteger(found[0]), k.integer(active)), k.integer(active), 1,
             [&](Index number) { k.storeInteger(k.integer(-1), k.pointer(4), row * active + number); });
    });
  });
  call.launch(placing, {productOf(rows, 1, kElementThreads)}, kElementThreads,
              {routing(), counts, places, slotsOfRow, expertsOfRow, sizeArgument(rowCount())});
}

/// The first slot of an expert: the lengths of the lists before.
static Index firstSlot(KernelBuilder &k, Value counts, Index expert) {
  auto sum = k.loop(k.integer(0), expert, 1, {k.scalar(k.integer(0).get())}, [&](Index e, ArrayRef<Scalar> before) {
    return Carried{k.scalar((k.wrap(before[0].get()) + k.loadInteger(counts, e)).get())};
  });
  return k.wrap(sum[0].get());
}

void ExpertsForm::findTile(KernelBuilder &k, llvm::function_ref<void(const Tile &)> body) const {
  auto carry = [&](Index index) { return k.scalar(index.get()); };
  Index none = k.integer(0), block = k.block();
  // Tiles and slots before an expert; of the expert whose the block is: its number, tile and first slot.
  auto found = k.loop(
      k.integer(0), k.integer(experts), 1,
      {carry(none), carry(none), carry(k.integer(experts)), carry(none), carry(none)},
      [&](Index expert, ArrayRef<Scalar> state) {
        Index tiles = k.wrap(state[0].get()), slots = k.wrap(state[1].get());
        Index count = k.loadInteger(k.pointer(0), expert), own = (count + (kExpertsSide - 1)) / kExpertsSide;
        Index after = tiles + own;
        Value isHere = k.both(tiles <= block, block < after);
        return Carried{carry(after), carry(slots + count), carry(k.select(isHere, expert, k.wrap(state[2].get()))),
                       carry(k.select(isHere, block - tiles, k.wrap(state[3].get()))),
                       carry(k.select(isHere, slots, k.wrap(state[4].get())))};
      });
  Index expert = k.wrap(found[2].get()), begin = k.wrap(found[3].get()) * kExpertsSide;
  k.onlyIf(expert < experts,
           [&] { body({expert, begin, k.loadInteger(k.pointer(0), expert), k.wrap(found[4].get()) + begin}); });
}

Index ExpertsForm::dataRow(KernelBuilder &k, const Tile &tile, Index row) const {
  return k.loadInteger(k.pointer(1), tile.expert * k.size(0) + min(tile.begin + row, tile.count - 1));
}

BlockProducts::Row ExpertsForm::rowOf(KernelBuilder &k, const Tile &tile, Index row, int64_t columns,
                                      bool isOfSlots) const {
  // More chosen experts than `active` have no slots.
  Index slot = tile.slot + row;
  Value isThere = k.both(tile.begin + row < tile.count, slot < k.size(1));
  Index from = isOfSlots ? min(slot, k.size(1) - 1) : dataRow(k, tile, row);
  return {from * columns, isThere};
}

std::vector<plan::LaunchArgument> ExpertsForm::tileArguments(std::vector<plan::LaunchArgument> further) const {
  std::vector<plan::LaunchArgument> arguments = {counts, lists};
  arguments.insert(arguments.end(), further.begin(), further.end());
  arguments.push_back(sizeArgument(rowCount()));
  arguments.push_back(sizeArgument(slotCount()));
  return arguments;
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

void ExpertsForm::launchHidden(plan::LaunchArgument a) {
  BlockProducts p(type, kWarps);
  SharedMatrix tile = p.take(kExpertsSide, kExpertsSide), gate = p.take(kExpertsSide, kExpertsSide),
               up = p.take(kExpertsSide, kExpertsSide);
  std::string kernel = call.define(name("hidden"), /*pointers=*/5, /*sizes=*/2, p.threads(), [&](KernelBuilder &k) {
    p.begin(k);
    findTile(k, [&](const Tile &slots) {
      Index column = k.block(1) * kExpertsSide, matrix = slots.expert * (2 * inner * width);
      Carried start = p.zeros(kExpertsSide, kExpertsSide);
      const size_t each = start.size();
      start.append(p.zeros(kExpertsSide, kExpertsSide));
      auto sums =
          k.loop(k.integer(0), k.integer(width), kExpertsSide, start, [&](Index depth, ArrayRef<Scalar> before) {
            k.barrier();
            p.fill(tile, k.pointer(2), type, width, depth,
                   [&](Index row) { return rowOf(k, slots, row, width, false); });
            for (auto [to, offset] : {std::pair(&gate, int64_t(0)), std::pair(&up, inner)})
              p.fill(*to, k.pointer(3), type, width, depth, [&, offset = offset](Index row) {
                return BlockProducts::Row(matrix + (column + row + offset) * width, column + row < inner);
              });
            p.finishFills();
            k.barrier();
            Carried after =
                p.product(kExpertsSide, kExpertsSide, kExpertsSide, tile, ~Factor(gate), before.take_front(each));
            after.append(
                p.product(kExpertsSide, kExpertsSide, kExpertsSide, tile, ~Factor(up), before.drop_front(each)));
            return after;
          });
      p.visit(kExpertsSide, kExpertsSide, [&](size_t number, Index row, Index at) {
        auto [place, isThere] = rowOf(k, slots, row, inner, true);
        for (int64_t lane = 0; lane < 2; ++lane) {
          Scalar g = sums[number + static_cast<size_t>(lane)], u = sums[each + number + static_cast<size_t>(lane)];
          Index channel = column + at + lane;
          k.onlyIf(k.both(isThere, channel < inner),
                   [&, place = place] { k.store(g * sigmoid(g) * u, k.pointer(4), place + channel, type); });
        }
      });
    });
  });
  call.launch(kernel, {tileCount(), plan::constantFormula(blocksOf(inner))}, p.threads(),
              tileArguments({x(), gateUp(), a}), p.sharedBytes());
}

void ExpertsForm::launchHiddenGradient(plan::LaunchArgument a, plan::LaunchArgument dh, plan::LaunchArgument parts) {
  BlockProducts p(type, kWarps);
  SharedMatrix tile = p.take(kExpertsSide, kExpertsSide), gate = p.take(kExpertsSide, kExpertsSide),
               up = p.take(kExpertsSide, kExpertsSide), gradient = p.take(kExpertsSide, kExpertsSide),
               back = p.take(kExpertsSide, kExpertsSide);
  std::string kernel = call.define(name("hidden"), /*pointers=*/10, /*sizes=*/2, p.threads(), [&](KernelBuilder &k) {
    p.begin(k);
    findTile(k, [&](const Tile &slots) {
      Index column = k.block(1) * kExpertsSide, matrix = slots.expert * (2 * inner * width),
            downwards = slots.expert * (width * inner);
      Carried start;
      for (int sum = 0; sum < 3; ++sum)
        start.append(p.zeros(kExpertsSide, kExpertsSide));
      const size_t each = start.size() / 3;
      auto sums =
          k.loop(k.integer(0), k.integer(width), kExpertsSide, start, [&](Index depth, ArrayRef<Scalar> before) {
            k.barrier();
            for (auto [to, pointer] : {std::pair(&tile, 2), std::pair(&gradient, 5)})
              p.fill(*to, k.pointer(pointer), type, width, depth,
                     [&](Index row) { return rowOf(k, slots, row, width, false); });
            for (auto [to, offset] : {std::pair(&gate, int64_t(0)), std::pair(&up, inner)})
              p.fill(*to, k.pointer(3), type, width, depth, [&, offset = offset](Index row) {
                return BlockProducts::Row(matrix + (column + row + offset) * width, column + row < inner);
              });
            p.fill(back, k.pointer(4), type, inner, column, [&](Index row) {
              return BlockProducts::Row(downwards + (depth + row) * inner, depth + row < width);
            });
            p.finishFills();
            k.barrier();
            Carried after =
                p.product(kExpertsSide, kExpertsSide, kExpertsSide, tile, ~Factor(gate), before.take_front(each));
            after.append(
                p.product(kExpertsSide, kExpertsSide, kExpertsSide, tile, ~Factor(up), before.slice(each, each)));
            after.append(p.product(kExpertsSide, kExpertsSide, kExpertsSide, gradient, back, before.take_back(each)));
            return after;
          });
      p.visitRows(kExpertsSide, kExpertsSide, [&](Index row, ArrayRef<size_t> numbers) {
        auto [ofA, isThere] = rowOf(k, slots, row, inner, true);
        Scalar share = k.load(k.pointer(6), dataRow(k, slots, row) * experts + slots.expert), sum = k.number(0);
        for (size_t number : numbers)
          for (int64_t lane = 0; lane < 2; ++lane) {
            const size_t at = number + static_cast<size_t>(lane);
            Index channel = column + p.columnOf(kExpertsSide, kExpertsSide, number) + lane;
            Scalar g = sums[at], u = sums[each + at], da = sums[2 * each + at], s = sigmoid(g), own = g * s * u;
            sum = fma(own, da, sum);
            Scalar scaled = share * da;
            k.onlyIf(k.both(isThere, channel < inner), [&, ofA = ofA] {
              k.store(share * own, k.pointer(7), ofA + channel, type);
              k.store(scaled * u * s * fma(g, 1 - s, k.number(1)), k.pointer(8), ofA * 2 + channel, type);
              k.store(scaled * g * s, k.pointer(8), ofA * 2 + channel + inner, type);
            });
          }
        Scalar total = p.rowSum(sum);
        Value isFirst = p.columnOf(kExpertsSide, kExpertsSide, numbers.front()) == 0;
        Index slot = min(slots.slot + row, k.size(1) - 1);
        k.onlyIf(k.both(isThere, isFirst), [&] { k.store(total, k.pointer(9), slot * blocksOf(inner) + k.block(1)); });
      });
    });
  });
  call.launch(kernel, {tileCount(), plan::constantFormula(blocksOf(inner))}, p.threads(),
              tileArguments({x(), gateUp(), down(), operandArgument(0), routing(), a, dh, parts}), p.sharedBytes());
}

void ExpertsForm::launchProduct(const std::string &kind, plan::LaunchArgument from, plan::LaunchArgument matrix,
                                int64_t depth, int64_t columns, bool isTransposed, plan::LaunchArgument z) {
  BlockProducts p(type, kWarps);
  SharedMatrix tile = p.take(kExpertsSide, kExpertsSide), weights = p.take(kExpertsSide, kExpertsSide);
  std::string kernel = call.define(name(kind), /*pointers=*/5, /*sizes=*/2, p.threads(), [&](KernelBuilder &k) {
    p.begin(k);
    findTile(k, [&](const Tile &slots) {
      Index column = k.block(1) * kExpertsSide, first = slots.expert * (depth * columns);
      auto sums = k.loop(
          k.integer(0), k.integer(depth), kExpertsSide, p.zeros(kExpertsSide, kExpertsSide),
          [&](Index at, ArrayRef<Scalar> before) {
            k.barrier();
            p.fill(tile, k.pointer(2), type, depth, at, [&](Index row) { return rowOf(k, slots, row, depth, true); });
            if (isTransposed)
              p.fill(weights, k.pointer(3), type, depth, at, [&](Index row) {
                return BlockProducts::Row(first + (column + row) * depth, column + row < columns);
              });
            else
              p.fill(weights, k.pointer(3), type, columns, column,
                     [&](Index row) { return BlockProducts::Row(first + (at + row) * columns, at + row < depth); });
            p.finishFills();
            k.barrier();
            return p.product(kExpertsSide, kExpertsSide, kExpertsSide, tile, Factor(weights, isTransposed), before);
          });
      p.visit(kExpertsSide, kExpertsSide, [&](size_t number, Index row, Index at) {
        auto [place, isThere] = rowOf(k, slots, row, columns, true);
        for (int64_t lane = 0; lane < 2; ++lane) {
          Index channel = column + at + lane;
          k.onlyIf(k.both(isThere, channel < columns), [&, place = place] {
            k.store(sums[number + static_cast<size_t>(lane)], k.pointer(4), place + channel);
          });
        }
      });
    });
  });
  call.launch(kernel, {tileCount(), plan::constantFormula(blocksOf(columns))}, p.threads(),
              tileArguments({from, matrix, z}), p.sharedBytes());
}

void ExpertsForm::launchCombine(const std::string &kind, plan::LaunchArgument z, bool isShared, int64_t result) {
  const int64_t lanes = lanesOf(width);
  std::string kernel = call.define(name(kind), /*pointers=*/5, /*sizes=*/1, kElementThreads, [&](KernelBuilder &k) {
    Index row = k.block(), channel = (k.block(1) * kElementThreads + k.thread()) * lanes;
    k.onlyIf(channel < width, [&] {
      Carried start(static_cast<size_t>(lanes), k.number(0));
      auto sums = k.loop(k.integer(0), k.integer(active), 1, start, [&](Index number, ArrayRef<Scalar> before) {
        Index place = row * active + number, expert = k.loadInteger(k.pointer(1), place);
        return k.choose(
            expert < 0, [&] { return Carried(before); },
            [&] {
              Index slot = min(k.loadInteger(k.pointer(0), place), k.size(0) - 1);
              Scalar share = isShared ? k.load(k.pointer(2), row * experts + expert) : k.number(1);
              Carried after;
              for (auto [sum, value] :
                   llvm::zip_equal(before, k.loadVector(k.pointer(3), slot * width + channel, lanes)))
                after.push_back(fma(share, value, sum));
              return after;
            });
      });
      k.storeVector(sums, k.pointer(4), row * width + channel);
    });
  });
  call.launch(
      kernel,
      {rowCount(), plan::constantFormula(static_cast<int64_t>(llvm::divideCeil(width, kElementThreads * lanes)))},
      kElementThreads, {slotsOfRow, expertsOfRow, routing(), z, resultArgument(result), sizeArgument(slotCount())});
}

void ExpertsForm::launchShares(plan::LaunchArgument parts, int64_t result) {
  const int64_t each = blocksOf(inner);
  std::string zero = call.define(name("zero"), /*pointers=*/1, /*sizes=*/1, kElementThreads, [&](KernelBuilder &k) {
    Index element = k.block() * kElementThreads + k.thread();
    k.onlyIf(element < k.size(0), [&] { k.store(k.number(0), k.pointer(0), element); });
  });
  call.launch(zero, {productOf(rows, experts, kElementThreads)}, kElementThreads,
              {resultArgument(result), sizeArgument(productOf(rows, experts))});
  std::string kernel = call.define(name("shares"), /*pointers=*/4, /*sizes=*/1, kElementThreads, [&](KernelBuilder &k) {
    Index place = k.block() * kElementThreads + k.thread();
    k.onlyIf(place < k.size(0), [&] {
      Index expert = k.loadInteger(k.pointer(1), place);
      k.onlyOne(
          expert < 0, [&] {},
          [&] {
            Index slot = min(k.loadInteger(k.pointer(0), place), k.size(0) - 1);
            auto sum =
                k.loop(k.integer(0), k.integer(each), 1, {k.number(0)}, [&](Index part, ArrayRef<Scalar> before) {
                  return Carried{before[0] + k.load(k.pointer(2), slot * each + part)};
                });
            k.store(sum[0], k.pointer(3), place / active * experts + expert);
          });
    });
  });
  call.launch(kernel, {productOf(rows, active, kElementThreads)}, kElementThreads,
              {slotsOfRow, expertsOfRow, parts, resultArgument(result), sizeArgument(slotCount())});
}

void ExpertsForm::launchOuter(const std::string &kind, const Source &left, const Source &right, int64_t result) {
  BlockProducts p(type, kWarps);
  SharedMatrix ofLeft = p.take(kExpertsSide, kExpertsSide), ofRight = p.take(kExpertsSide, kExpertsSide);
  std::string kernel = call.define(name(kind), /*pointers=*/5, /*sizes=*/2, p.threads(), [&](KernelBuilder &k) {
    p.begin(k);
    Index expert = k.block(), down = k.block(1) * kExpertsSide, across = k.block(2) * kExpertsSide;
    Index count = k.loadInteger(k.pointer(0), expert), slot = firstSlot(k, k.pointer(0), expert);
    auto sums = k.loop(k.integer(0), count, kExpertsSide, p.zeros(kExpertsSide, kExpertsSide),
                       [&](Index begin, ArrayRef<Scalar> before) {
                         const Tile slots{expert, begin, count, slot + begin};
                         k.barrier();
                         for (auto [to, from, pointer, column] :
                              {std::tuple(&ofLeft, &left, 2, down), std::tuple(&ofRight, &right, 3, across)})
                           p.fill(*to, k.pointer(pointer), type, from->columns, column, [&, from = from](Index row) {
                             return rowOf(k, slots, row, from->columns, from->isOfSlots);
                           });
                         p.finishFills();
                         k.barrier();
                         return p.product(kExpertsSide, kExpertsSide, kExpertsSide, ~Factor(ofLeft), ofRight, before);
                       });
    p.visit(kExpertsSide, kExpertsSide, [&](size_t number, Index row, Index at) {
      for (int64_t lane = 0; lane < 2; ++lane) {
        Index column = across + at + lane;
        Value isThere = k.both(down + row < left.columns, column < right.columns);
        k.onlyIf(isThere, [&] {
          k.store(sums[number + static_cast<size_t>(lane)], k.pointer(4),
                  (expert * left.columns + down + row) * right.columns + column);
        });
      }
    });
  });
  call.launch(kernel,
              {plan::constantFormula(experts), plan::constantFormula(blocksOf(left.columns)),
               plan::constantFormula(blocksOf(right.columns))},
              p.threads(), tileArguments({left.argument, right.argument, resultArgument(result)}), p.sharedBytes());
}

//===----------------------------------------------------------------------===//
// The op and its gradients
//===----------------------------------------------------------------------===//

void ExpertsForm::forward() {
  plan::LaunchArgument a = takeFactors(inner), z = takeSlots(width, 4);
  launchHidden(a);
  launchProduct("down", a, down(), inner, width, /*isTransposed=*/true, z);
  launchCombine("combine", z, /*isShared=*/true, 0);
}

void ExpertsForm::inputGradient() {
  plan::LaunchArgument a = takeFactors(inner), dh = takeFactors(2 * inner), parts = takeSlots(blocksOf(inner), 4),
                       z = takeSlots(width, 4);
  launchHiddenGradient(a, dh, parts);
  launchProduct("back", dh, gateUp(), 2 * inner, width, /*isTransposed=*/false, z);
  launchCombine("combine", z, /*isShared=*/false, 0); // The share is in dh.
  launchShares(parts, 1);
}

void ExpertsForm::weightGradient() {
  plan::LaunchArgument a = takeFactors(inner), dh = takeFactors(2 * inner), parts = takeSlots(blocksOf(inner), 4);
  launchHiddenGradient(a, dh, parts);
  launchOuter("gate_up", {dh, 2 * inner, true}, {x(), width, false}, 0);
  launchOuter("down", {operandArgument(0), width, false}, {a, inner, true}, 1);
}

} // namespace

void morph::expertsForm(DeviceFormCall &call) { ExpertsForm(call, 0).forward(); }
void morph::experts_input_gradForm(DeviceFormCall &call) { ExpertsForm(call, 1).inputGradient(); }
void morph::experts_weight_gradForm(DeviceFormCall &call) { ExpertsForm(call, 1).weightGradient(); }
