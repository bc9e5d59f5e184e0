// SPDX-License-Identifier: Apache-2.0
// What an instruction is on a GPU: a form an op, by the table DeviceForms.def.

#ifndef MORPH_PASSES_LOWER_CUDA_DEVICEFORMS_H
#define MORPH_PASSES_LOWER_CUDA_DEVICEFORMS_H

#include "passes/lower/cuda/KernelBuilder.h"
#include "passes/lower/cuda/TileCosts.h"
#include "runtime/plan/OpTable.h"

namespace morph {

/// An instruction of a plan, and the module that its kernels go into.
class DeviceFormCall {
public:
  DeviceFormCall(const plan::Plan &plan, const plan::Instruction &instruction, mlir::gpu::GPUModuleOp module,
                 const plan::DeviceTarget &target, bool hasEveryTile, plan::InstructionCode &code)
      : plan(plan), instruction(instruction), module(module), target(target), hasEveryTile(hasEveryTile),
        rule(*plan::findOpRule(instruction.op)), code(code) {}

  const plan::Plan &plan;
  const plan::Instruction &instruction;
  mlir::gpu::GPUModuleOp module;
  const plan::DeviceTarget &target;
  bool hasEveryTile; ///< Kernels are built for every tile that one is picked of, for TileAnswers.def.
  const plan::OpRule &rule;
  plan::InstructionCode &code;

  bool hasOperand(size_t operand) const {
    return operand < instruction.operands.size() && instruction.operands[operand] >= 0;
  }
  const plan::TensorType &operandType(size_t operand) const {
    return plan.values[static_cast<size_t>(instruction.operands[operand])];
  }
  const plan::TensorType &resultType(size_t result) const {
    return plan.values[static_cast<size_t>(instruction.results[result])];
  }
  double real(const std::string &name) const { return std::get<double>(instruction.attributes.at(name)); }
  int64_t integer(const std::string &name) const { return std::get<int64_t>(instruction.attributes.at(name)); }
  bool has(const std::string &name) const { return instruction.attributes.count(name) != 0; }
  const std::string &text(const std::string &name) const {
    return std::get<std::string>(instruction.attributes.at(name));
  }

  /// A kernel of this name is built once a module: `variant` says what else it depends on. Returns the entry's name.
  std::string define(const std::string &variant, unsigned pointers, unsigned sizes, int64_t threads,
                     llvm::function_ref<void(KernelBuilder &)> build);

  /// The best of some tiles by TileCosts: of those within a hundredth, and where the table knows none, the first.
  /// `build` builds the kernel of a tile and returns its name.
  KernelTile pickTile(const std::string &kind, int64_t width, llvm::ArrayRef<KernelTile> tiles,
                      llvm::function_ref<TileWork(const KernelTile &)> work,
                      llvm::function_ref<std::string(const KernelTile &)> build);

  /// A kernel of blocks of 128 threads, one an element, that adds up the parts of sums in their order: of the parts
  /// [n,elements], the sums and n.
  std::string defineSumOfParts(int64_t elements);
  /// Adds a launch to the instruction's code; `sharedBytes` of dynamic shared memory.
  void launch(const std::string &kernel, std::array<plan::SizeFormula, 3> grid, int64_t threads,
              std::vector<plan::LaunchArgument> arguments, int64_t sharedBytes = 0);
  /// Room in the instruction's scratch; the argument that gives its address.
  plan::LaunchArgument takeScratch(const plan::SizeFormula &bytes);
};

inline plan::LaunchArgument operandArgument(int64_t index) { return {plan::LaunchArgument::Kind::Operand, index, {}}; }
inline plan::LaunchArgument resultArgument(int64_t index) { return {plan::LaunchArgument::Kind::Result, index, {}}; }
inline plan::LaunchArgument sizeArgument(plan::SizeFormula size) {
  return {plan::LaunchArgument::Kind::Size, 0, std::move(size)};
}

/// times * ceil(scale * (the product of `dims`) / per).
plan::SizeFormula productOf(llvm::ArrayRef<plan::Dim> dims, int64_t scale = 1, int64_t per = 1, int64_t times = 1);
/// Constant terms become one, so that a sum of very many stays short.
plan::SizeFormula sumOf(plan::SizeFormula a, const plan::SizeFormula &b);
inline plan::SizeFormula elementsOf(const plan::TensorType &type, int64_t per = 1) {
  return productOf(type.shape, 1, per);
}
/// Bytes of scratch for `elements` of fp32 for each element of the dimensions, aligned as scratch is.
inline plan::SizeFormula scratchOf(llvm::ArrayRef<plan::Dim> dims, int64_t elements) {
  return productOf(dims, 4 * elements, 256, 256);
}
/// A dimension that does not depend on a run.
inline int64_t staticSize(const plan::TensorType &type, size_t dimension) {
  return std::get<int64_t>(type.shape[dimension]);
}

using DeviceForm = void (*)(DeviceFormCall &);

// <op>Form: a new form is a line in the table.
#define DEVICE_FORM(op) void op##Form(DeviceFormCall &call);
#include "passes/lower/cuda/DeviceForms.def"
#undef DEVICE_FORM

/// The form of ops whose expressions the op table has: those of isElementwise.
void elementwiseForm(DeviceFormCall &call);
bool isElementwise(llvm::StringRef op);

/// The form of an op, or null.
DeviceForm findDeviceForm(llvm::StringRef op);

} // namespace morph

#endif // MORPH_PASSES_LOWER_CUDA_DEVICEFORMS_H
