// SPDX-License-Identifier: Apache-2.0
// Elementwise ops that stand alone on GPUs (scalars, decay rates), a thread an element. A form has a plan's
// instruction, and no op whose body of the dialect could be built; so it has the expressions of the records by the ops'
// names, as CPUs' reference has them: morph-tblgen makes one file of templates for both worlds, which knows neither.

#include "passes/lower/cuda/ElementForms.h"

using namespace mlir;
using namespace morph;

namespace {
using Expressions = SmallVector<Scalar> (*)(const DeviceFormCall &, ArrayRef<Scalar>);

/// What the constructors of the records ask for attributes.
struct KernelCall {
  const DeviceFormCall &call;
  double number(const std::string &name) const { return call.real(name); }
};

template <typename Op, size_t... operands>
SmallVector<Scalar> apply(const Op &op, ArrayRef<Scalar> in, std::index_sequence<operands...>) {
  auto results = op(in[operands]...);
  return SmallVector<Scalar>(results.begin(), results.end());
}
template <typename Op> SmallVector<Scalar> runElements(const DeviceFormCall &call, ArrayRef<Scalar> in) {
  return apply(Op(KernelCall{call}), in, std::make_index_sequence<Op::operands>());
}
/// The second form of a record is of use to CPUs alone.
template <typename Op> constexpr Expressions recordElements = nullptr;

llvm::StringMap<Expressions> &expressionsByOp() {
  static llvm::StringMap<Expressions> map;
  return map;
}
struct KernelRegistration {
  KernelRegistration(StringRef op, std::initializer_list<Expressions> forms) { expressionsByOp()[op] = *forms.begin(); }
};

#include "runtime/kernels/ElementwiseReferences.inc"
} // namespace

bool morph::isElementwise(StringRef op) { return expressionsByOp().contains(op); }

/// Operands that are not of the result's shape have its last dimensions.
void morph::elementwiseForm(DeviceFormCall &call) {
  Expressions expressions = expressionsByOp().lookup(call.instruction.op);
  size_t operands = call.instruction.operands.size(), results = call.instruction.results.size();
  std::string variant;
  for (const auto &[name, attribute] : call.instruction.attributes)
    if (const auto *number = std::get_if<double>(&attribute))
      variant += "_" + exactName(*number);
  std::vector<plan::LaunchArgument> pointers;
  std::vector<plan::SizeFormula> sizes;
  SmallVector<bool> isWhole;
  for (size_t operand = 0; operand < operands; ++operand) {
    pointers.push_back(operandArgument(static_cast<int64_t>(operand)));
    sizes.push_back(elementsOf(call.operandType(operand)));
    isWhole.push_back(call.operandType(operand).shape == call.resultType(0).shape);
    variant += isWhole.back() ? "w" : "l";
  }
  for (size_t result = 0; result < results; ++result)
    pointers.push_back(resultArgument(static_cast<int64_t>(result)));
  forElements(call, variant, std::move(pointers), std::move(sizes), [&](KernelBuilder &k, Index element) {
    SmallVector<Scalar> in;
    for (unsigned operand = 0; operand < operands; ++operand)
      in.push_back(k.load(k.pointer(operand), isWhole[operand] ? element : element % k.size(operand + 1)));
    for (auto [result, value] : llvm::enumerate(expressions(call, in)))
      k.store(value, k.pointer(static_cast<unsigned>(operands + result)), element);
  });
}

void morph::castForm(DeviceFormCall &call) {
  plan::DType from = call.operandType(0).dtype, to = call.resultType(0).dtype;
  forElements(call, std::string(plan::dtypeName(from)) + "_" + plan::dtypeName(to),
              {operandArgument(0), resultArgument(0)}, {}, [&](KernelBuilder &k, Index element) {
                k.store(k.load(k.pointer(0), element, from), k.pointer(1), element, to);
              });
}
