// SPDX-License-Identifier: Apache-2.0
#include "passes/lower/cuda/DeviceForms.h"

#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace morph;

DeviceForm morph::findDeviceForm(StringRef op) {
  static const llvm::StringMap<DeviceForm> forms{
#define DEVICE_FORM(op) {#op, op##Form},
#include "passes/lower/cuda/DeviceForms.def"
#undef DEVICE_FORM
  };
  DeviceForm form = forms.lookup(op);
  return !form && isElementwise(op) ? elementwiseForm : form;
}

plan::SizeFormula morph::productOf(ArrayRef<plan::Dim> dims, int64_t scale, int64_t per, int64_t times) {
  plan::SizeTerm term{times, scale, {}, per};
  for (const plan::Dim &dim : dims)
    if (const auto *name = std::get_if<std::string>(&dim))
      term.of.push_back(*name);
    else
      term.scale *= std::get<int64_t>(dim);
  if (term.of.empty())
    return plan::constantFormula(times * static_cast<int64_t>(llvm::divideCeil(term.scale, per)));
  return {term};
}

plan::SizeFormula morph::sumOf(plan::SizeFormula a, const plan::SizeFormula &b) {
  auto isConstant = [](const plan::SizeTerm &term) { return term.of.empty() && term.scale == 1 && term.per == 1; };
  for (const plan::SizeTerm &term : b) {
    auto constant = isConstant(term) ? llvm::find_if(a, isConstant) : a.end();
    if (constant == a.end())
      a.push_back(term);
    else
      constant->times += term.times;
  }
  return a;
}

std::string DeviceFormCall::define(const std::string &variant, unsigned pointers, unsigned sizes, int64_t threads,
                                   llvm::function_ref<void(KernelBuilder &)> build) {
  std::string name = instruction.op + (variant.empty() ? "" : "_" + variant);
  if (!SymbolTable::lookupSymbolIn(module, name)) {
    KernelBuilder kernel(module, name, pointers, sizes, threads);
    build(kernel);
  }
  return name;
}

KernelTile DeviceFormCall::pickTile(const std::string &kind, int64_t width, ArrayRef<KernelTile> tiles,
                                    llvm::function_ref<TileWork(const KernelTile &)> work,
                                    llvm::function_ref<std::string(const KernelTile &)> build) {
  TileCosts costs(target);
  auto textOf = [&](const KernelTile &tile) {
    return llvm::formatv("{0} {1} {2} {3} {4}", kind, width, tile.rows, tile.columns, tile.warps).str();
  };
  KernelTile best = tiles.front();
  double least = std::numeric_limits<double>::infinity();
  for (const KernelTile &tile : tiles) {
    TileWork of = work(tile);
    if (double cost = costs.cost(kind, width, tile, of); cost < .99 * least) {
      least = cost;
      best = tile;
    }
    if (hasEveryTile && of.blockBytes <= kBlockSharedBytes)
      emitRemark(module.getLoc()) << "kernel " << build(tile) << " has tile " << textOf(tile) << ": "
                                  << costs.resident(kind, width, tile, of.blockBytes) << " blocks, "
                                  << llvm::formatv("{0:f1}",
                                                   1e6 * costs.clocks(kind, width, tile, of) / costs.clockRate())
                                  << " us";
  }
  if (!hasEveryTile)
    return best;
  emitRemark(module.getLoc()) << "picks tile " << textOf(best);
  // What the table is of does not depend on the table.
  return tiles.front();
}

std::string DeviceFormCall::defineSumOfParts(int64_t elements) {
  constexpr int64_t threads = 128;
  return define("parts_" + std::to_string(elements), /*pointers=*/2, /*sizes=*/1, threads, [&](KernelBuilder &k) {
    Index element = k.block() * threads + k.thread();
    k.onlyIf(element < elements, [&] {
      auto sum = k.loop(k.integer(0), k.size(0), 1, {k.number(0)}, [&](Index part, ArrayRef<Scalar> sums) {
        return KernelBuilder::Carried{sums[0] + k.load(k.pointer(0), part * elements + element)};
      });
      k.store(sum[0], k.pointer(1), element);
    });
  });
}

void DeviceFormCall::launch(const std::string &kernel, std::array<plan::SizeFormula, 3> grid, int64_t threads,
                            std::vector<plan::LaunchArgument> arguments, int64_t sharedBytes) {
  for (plan::SizeFormula &size : grid)
    if (size.empty())
      size = plan::constantFormula(1);
  code.launches.push_back({kernel, std::move(grid), threads, sharedBytes, std::move(arguments)});
}

plan::LaunchArgument DeviceFormCall::takeScratch(const plan::SizeFormula &bytes) {
  plan::LaunchArgument argument{plan::LaunchArgument::Kind::Scratch, 0, code.scratchBytes};
  if (argument.size.empty())
    argument.size = plan::constantFormula(0);
  code.scratchBytes = sumOf(std::move(code.scratchBytes), bytes);
  return argument;
}
