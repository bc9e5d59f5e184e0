// SPDX-License-Identifier: Apache-2.0
// How ops that can be in a kernel are written in linalg.

#ifndef MORPH_KERNEL_TRAITS_TD
#define MORPH_KERNEL_TRAITS_TD

include "dialect/MorphInterfaces.td"
include "mlir/IR/OpBase.td"

class Morph_ElementwiseBody<string body> : NativeOpTrait<"Elementwise", [], "",
    "::llvm::SmallVector<::mlir::Value> $cppClass::lowerToLinalg(::mlir::OpBuilder &builder, "
    "::mlir::ValueRange operands) {\n"
    "  auto body = [&](::llvm::ArrayRef<::morph::Scalar> in) -> ::llvm::SmallVector<::morph::Scalar> {\n"
    "    " # body # "\n  };\n"
    "  return ::morph::buildElementwise(builder, getLoc(), operands, body);\n"
    "}\n"> {
  let cppNamespace = "::morph::OpTrait";
}

// An elementwise op: the names of its operands, one expression of C++ a result over them (`dialect/Scalar.h` has what
// may be in it), statements before, and the names of the real attributes that they read. It is all that a kernel needs to
// know of the op, and tools/morph-tblgen makes the reference in ATen functions of it.
class Morph_Elementwise<list<string> operands, list<string> results, string statements = "", list<string> reals = []>
    : TraitList<[
  DeclareOpInterfaceMethods<KernelOpInterface>, Morph_Rowwise,
  Morph_ElementwiseBody<
    !interleave(!foreach(i, !range(!size(operands)),
                         "[[maybe_unused]] ::morph::Scalar " # operands[i] # " = in[" # i # "]; "), "")
    # !interleave(!foreach(real, reals, "const double " # real # " = getProperties()." # real
                                        # ".getValueAsDouble(); "), "")
    # statements # " return {" # !interleave(results, ", ") # "};">
]> {
  list<string> operandNames = operands;
  list<string> expressions = results;
  string before = statements;
  list<string> realNames = reals;
}

// An op whose linalg form is written in dialect/KernelForms.cpp. `overridden` names the interface's methods with a
// default that the op gives as well.
class Morph_KernelForm<list<string> overridden = []>
    : DeclareOpInterfaceMethods<KernelOpInterface, overridden>;

#endif // MORPH_KERNEL_TRAITS_TD
