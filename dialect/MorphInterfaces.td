// SPDX-License-Identifier: Apache-2.0
// Op interfaces: what passes ask of a token mixer, how an op is differentiated, and how it is written in a kernel. Op
// traits: what depends on which rows.

#ifndef MORPH_INTERFACES_TD
#define MORPH_INTERFACES_TD

include "mlir/IR/OpBase.td"

def TokenMixerOpInterface : OpInterface<"TokenMixerOpInterface"> {
  let cppNamespace = "::morph";
  let description = [{
    A token mixer: the op of a layer that lets positions see each other. It names its weights by a prefix, knows how
    they start from the full attention it may replace, what it costs, and how it is written in primitive ops.
  }];
  let methods = [
    InterfaceMethod<"The layer's index, from 0.", "int64_t", "getMixerLayer">,
    InterfaceMethod<"The name by which specs and selections call this kind of mixer ('full', 'gated_deltanet', ...).",
        "::llvm::StringRef", "getMixerKind">,
    InterfaceMethod<"The prefix of the mixer's weights' names, without the final dot.",
        "::llvm::StringRef", "getWeightPrefix">,
    InterfaceMethod<"The mixer's weights: name (prefix included), shape, and whether they are ever trained.",
        "::llvm::SmallVector<::morph::MixerParameter>", "getMixerParameters">,
    InterfaceMethod<[{The same with the first values of weights that no checkpoint holds. Of a declared mixer they can be
        long to work out, and are asked for once.}],
        "::llvm::SmallVector<::morph::MixerParameter>", "getInitialParameters", (ins), "",
        "return $_op.getMixerParameters();">,
    InterfaceMethod<[{The mixer's state between steps of decoding: name suffix and type, in order. A full attention's
        key and value caches grow with the context; a linear attention's states do not.}],
        "::llvm::SmallVector<::morph::MixerState>", "getMixerStates">,
    InterfaceMethod<[{Builds the mixer from primitive ops at the builder's insertion point.}],
        "::morph::MixerExpansion", "expandMixer",
        (ins "::mlir::OpBuilder &":$builder, "const ::morph::MixerInputs &":$inputs)>,
    InterfaceMethod<[{Floating-point operations to mix `tokens` new positions of one sequence whose context, the new
        positions included, is `context` tokens long.}],
        "double", "getMixerFlops", (ins "int64_t":$tokens, "int64_t":$context)>,
    InterfaceMethod<[{Bytes of cache or state for one sequence at a context length, with `elementBytes` a cached key or
        value element; recurrent states are fp32 whatever it is.}],
        "int64_t", "getMixerCacheBytes", (ins "int64_t":$context, "int64_t":$elementBytes)>,
  ];
}

def MixerStatementOpInterface : OpInterface<"MixerStatementOpInterface"> {
  let cppNamespace = "::morph";
  let description = [{
    An op of a declared mixer's body with sizes or numbers that are expressions, or with a state of decoding.
  }];
  let methods = [
    InterfaceMethod<[{Builds the op in primitive ops, of operands that are built already (null: a weight that the mixer
        does not have), and returns a value a result. Fails after an error has been reported.}],
        "::llvm::FailureOr<::llvm::SmallVector<::mlir::Value>>", "expandStatement",
        (ins "::morph::MixerExpander &":$expander, "::mlir::ValueRange":$operands)>,
  ];
}

def DifferentiableOpInterface : OpInterface<"DifferentiableOpInterface"> {
  let cppNamespace = "::morph";
  let description = [{
    An op with a vector-Jacobian product. An op without it blocks no gradient that is not asked for: differentiating
    through it is an error that names the op.
  }];
  let methods = [
    InterfaceMethod<[{Builds the gradients of the operands that are `needed` (one flag an operand), given those of the
        results (null where no gradient reaches a result; at least one is not null). Returns one value an operand, null
        where it is not needed or where the op's documentation says that it gets no gradient. Gradients that are not
        needed must not be computed. An empty list where there is no gradient, after an error has been reported.}],
        "::llvm::SmallVector<::mlir::Value>", "buildGradients",
        (ins "::mlir::OpBuilder &":$builder, "::mlir::ValueRange":$resultGradients,
             "::llvm::ArrayRef<bool>":$needed)>,
  ];
}

def KernelOpInterface : OpInterface<"KernelOpInterface"> {
  let cppNamespace = "::morph";
  let description = [{
    An op that can be in a `morph.kernel`: it computes each row of its results from the same row of its operands and
    from uniform values, or it sums over the rows. A row is what the static dimensions that follow the dynamic ones
    span.
  }];
  let methods = [
    InterfaceMethod<[{The op in linalg on tensors. `operands` are the op's, the dynamic leading dimensions of each made
        one: a row operand [?,...], a uniform operand as it is. So are the results. The elements of reductions are added
        in an order that the target chooses, the same for all rows.}],
        "::llvm::SmallVector<::mlir::Value>", "lowerToLinalg",
        (ins "::mlir::OpBuilder &":$builder, "::mlir::ValueRange":$operands)>,
    InterfaceMethod<[{Elements of the lines that the op sums over, the last dimension of its rows; 0 where no element of
        a result depends on another element.}],
        "int64_t", "getLineWidth", (ins), "", "return 0;">,
    InterfaceMethod<[{Whether the result is a sum over all rows: uniform, and read by no op of the kernel. Operand 0 is
        a row. Without lines of its own, elements of a row are added to those of the result, which is as its last
        dimensions.}],
        "bool", "sumsRows", (ins), "", "return false;">,
    InterfaceMethod<[{Whether operand `index` is the same for all rows and of any shape. Other operands are rows, or, in
        an elementwise op, have the trailing dimensions of its rows.}],
        "bool", "isUniformOperand", (ins "unsigned":$index), "", "return false;">,
  ];
}

/// Rows are what the last dimension spans. Row i of each result depends on row i of those operands alone that have as
/// many dimensions as the result; other operands are the same for all rows, but that a term of an elementwise op may have
/// rows of its own.
def Morph_Rowwise : NativeOpTrait<"Rowwise"> { let cppNamespace = "::morph::OpTrait"; }
/// The result is rows of operand 0 [B,T,C], as they are; which ones, and how many, depends on the other operands and on B
/// and T alone.
def Morph_TakesRows : NativeOpTrait<"TakesRows"> { let cppNamespace = "::morph::OpTrait"; }

/// The op only gives its operand another shape: it costs nothing outside of a kernel.
def Morph_View : NativeOpTrait<"View"> { let cppNamespace = "::morph::OpTrait"; }

#endif // MORPH_INTERFACES_TD
