// SPDX-License-Identifier: Apache-2.0
// Kernels: what a program computes row by row, compiled as one function.

#ifndef MORPH_KERNEL_OPS_TD
#define MORPH_KERNEL_OPS_TD

include "dialect/MorphComputeOps.td"
include "mlir/IR/SymbolInterfaces.td"

def Morph_KernelOp : Morph_Op<"kernel", [IsolatedFromAbove, Symbol, SingleBlock, HasParent<"ModelOp">]> {
  let summary = "Ops that share a row space, compiled as one function of the rows";
  let description = [{
    The first `rows` dimensions of a *row value* are dynamic and span the row space, the others are static and span a
    row; a *uniform* value is static and the same for all rows. Each row of the results depends on that row of the
    arguments alone, but for *sums over rows*, which are uniform. The body is the reference form: a runtime without
    compiled code interprets it.

    Constraints: kernel_c1 `rows` is from 1 to 4; kernel_c2 the body ends with a `morph.return`; kernel_c3 every
    value is a row value or uniform, of positive sizes within the limits; kernel_c4 every op can be in a kernel;
    kernel_c5 every op has row values as results, or uniform ones if it sums over rows, and row values or uniform ones
    as operands where it takes them;
    kernel_c6 all row values have the same number of elements a row; kernel_c7 the ops that sum over lines have lines of
    one known width, of which the elements of a uniform operand of an elementwise op, if it has several, are a multiple;
    kernel_c8 the results are values of the body's ops, each once; kernel_c9 no op reads a sum over rows.

    Example:

    ```mlir
    morph.kernel @add_rms_norm rows 2 (%x: tensor<?x?x16xf32>, %y: tensor<?x?x16xf32>, %w: tensor<16xf32>) {
      %0 = morph.add %x, %y : tensor<?x?x16xf32>, tensor<?x?x16xf32>
      %1 = morph.rms_norm %0, %w eps 1.000000e-05 : tensor<?x?x16xf32>, tensor<16xf32>
      morph.return %0, %1 : tensor<?x?x16xf32>, tensor<?x?x16xf32>
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, I64Attr:$rows);
  let regions = (region SizedRegion<1>:$body);
  let hasCustomAssemblyFormat = 1;
  let hasRegionVerifier = 1;
  let extraClassDeclaration = [{
    /// The values that the kernel returns.
    ::mlir::ValueRange getReturned();
    /// Elements of a row, the same for all row values.
    int64_t getRowElements();
  }];
}

def Morph_ReturnOp : Morph_Op<"return", [Pure, Terminator, HasParent<"KernelOp">]> {
  let summary = "The results of a kernel";
  let arguments = (ins Variadic<Morph_Half>:$results);
  let assemblyFormat = "attr-dict ($results^ `:` type($results))?";
}

def Morph_LaunchOp : Morph_Op<"launch", [Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "The results of a kernel on all rows of its operands";
  let description = [{
    Constraints: launch_c1 the model has a kernel of that name; launch_c2 the operands are of the types of its
    arguments; launch_c3 the results are of its results' types.
  }];
  let arguments = (ins FlatSymbolRefAttr:$kernel, Variadic<Morph_Half>:$arguments);
  let results = (outs Variadic<Morph_Half>:$results);
  let assemblyFormat = "$kernel `(` $arguments `)` attr-dict `:` functional-type($arguments, $results)";
}

#endif // MORPH_KERNEL_OPS_TD
