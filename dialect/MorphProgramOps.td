// SPDX-License-Identifier: Apache-2.0
// Programs: what the runtime executes.

#ifndef MORPH_PROGRAM_OPS_TD
#define MORPH_PROGRAM_OPS_TD

include "dialect/MorphBase.td"
include "mlir/IR/CommonAttrConstraints.td"
include "mlir/IR/OpAsmInterface.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Morph_SymbolArrayAttr : TypedArrayAttrBase<FlatSymbolRefAttr, "array of symbols">;
def Morph_NamesArrayAttr : TypedArrayAttrBase<StrArrayAttr, "array of arrays of names">;

def Morph_ProgramOp : Morph_Op<"program", [
    IsolatedFromAbove, Symbol, HasParent<"ModelOp">, SingleBlock,
    DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmBlockArgumentNames"]>,
    DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "What the runtime executes: named inputs to named outputs";
  let description = [{
    A program of a model (`align`, `gates`, `distill`, ...) is made by a pass from the model's functions. Every input has
    a name, and a name for each of its dynamic dimensions: B batch, T positions, S cached positions, N rows. A name is
    one size in the whole program; those of other values follow from op to op.
    `trains` lists the weights and gates whose gradients the program gives, or that it updates; `update` names the
    program that does a step with the gradients. Ops that update (`updates` in `MorphBase.td`) write into the memory of
    inputs and of weights that are trained; what gives an input its next value is written where the input lies.

    Constraints: program_c1 every argument has a name of its own; program_c2 the body ends with a `morph.output`;
    program_c3 what is trained are weights and gates of the model; program_c4 an argument names each of its dynamic
    dimensions, by a letter and at most 15 letters or digits; program_c5 arguments are ranked tensors; program_c6 the
    sizes of all values agree by name; program_c7 what an op updates is an argument or a weight that is trained, a view of
    it or what an op before has made of it, and no other operand of the op; program_c8 nothing reads what lies in memory
    that an op has updated since, nor is it an output; program_c9 `update` is another program of the model, with no
    update of its own.

    Example:

    ```mlir
    morph.program @score(%tokens: tensor<?x?xi64> "tokens" [B, T], %rows: tensor<?xi64> "positions" [N])
        trains [@gate.0] update @score_update {
      ...
      morph.output "nll" = %nll : tensor<?xf32>
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, StrArrayAttr:$inputs, Morph_NamesArrayAttr:$dimensions,
      Morph_SymbolArrayAttr:$trained, OptionalAttr<FlatSymbolRefAttr>:$update);
  let regions = (region SizedRegion<1>:$body);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
  let hasRegionVerifier = 1;
  let skipDefaultBuilders = 1;
  let builders = [OpBuilder<(ins "::llvm::StringRef":$name), [{
    $_state.addAttribute(getSymNameAttrName($_state.name), $_builder.getStringAttr(name));
    for (::mlir::StringAttr attribute : {getInputsAttrName($_state.name), getDimensionsAttrName($_state.name),
                                         getTrainedAttrName($_state.name)})
      $_state.addAttribute(attribute, $_builder.getArrayAttr({}));
    $_state.addRegion()->emplaceBlock();
  }]>];
  let extraClassDeclaration = [{
    ::mlir::Block &getBlock() { return getBody().front(); }
    /// The terminator, which lists the outputs.
    ::morph::OutputOp getOutput();
    /// Appends an input; `dimensions` names its dynamic dimensions in order.
    ::mlir::BlockArgument addInput(::llvm::StringRef name, ::mlir::RankedTensorType type,
                                   ::llvm::ArrayRef<::llvm::StringRef> dimensions);
    /// Appends inputs without dynamic dimensions, as fast for thousands of them.
    ::llvm::SmallVector<::mlir::Value> addInputs(
        ::llvm::ArrayRef<std::pair<std::string, ::mlir::RankedTensorType>> inputs);
  }];
}

def Morph_OutputOp : Morph_Op<"output", [Pure, Terminator, HasParent<"ProgramOp">]> {
  let summary = "The results of a program by name";
  let description = "Constraints: output_c1 there is a value, and each has a name of its own.";
  let arguments = (ins StrArrayAttr:$names, Variadic<AnyRankedTensor>:$values);
  let assemblyFormat = "custom<NamedValues>($names, $values, type($values)) attr-dict";
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// The value of a name, or null.
    ::mlir::Value lookup(::llvm::StringRef name);
    void append(::llvm::StringRef name, ::mlir::Value value);
  }];
}

#endif // MORPH_PROGRAM_OPS_TD
