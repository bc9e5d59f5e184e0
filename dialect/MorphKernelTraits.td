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
// may be in it), and statements before. This is all that a kernel needs to know of the op.
class Morph_Elementwise<list<string> operands, list<string> results, string statements = ""> : TraitList<[
  DeclareOpInterfaceMethods<KernelOpInterface>,
  Morph_ElementwiseBody<
    !interleave(!foreach(i, !range(!size(operands)),
                         "[[maybe_unused]] ::morph::Scalar " # operands[i] # " = in[" # i # "]; "), "")
    # statements # " return {" # !interleave(results, ", ") # "};">
]>;

// An op whose linalg form is written in dialect/KernelForms.cpp. `overridden` names the interface's methods with a
// default that the op gives as well.
class Morph_KernelForm<list<string> overridden = []>
    : DeclareOpInterfaceMethods<KernelOpInterface, overridden>;

#endif // MORPH_KERNEL_TRAITS_TD
