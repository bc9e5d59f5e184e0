// SPDX-License-Identifier: Apache-2.0
// The `morph` dialect record and the base classes that its ops, attributes and types share.

#ifndef MORPH_BASE_TD
#define MORPH_BASE_TD

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpBase.td"
include "mlir/Interfaces/InferTypeOpInterface.td"

def Morph_Dialect : Dialect {
  let name = "morph";
  let cppNamespace = "::morph";
  let summary = "Models that turn from full attention into hybrids with linear attention";
  let description = [{
    A `morph.model` is a symbol table of weights, gates and functions over builtin tensors. It passes through the
    phases *base* (every token mixer is full attention), *paired* (every mixer is a choice between candidates),
    *relaxed* (choices are blends weighted by gates) and *hybrid* (one mixer a layer is left). Program functions
    (`align`, `gates`, `distill`, ...) are made from the model's functions by passes and are what the runtime executes.

    A program is a function of a model with the attribute `morph.program`, its name; `morph.trainable` lists the symbols
    that it trains. `morph.name` names its arguments and results for the runtime, `morph.dims` the dynamic dimensions of
    an argument.

    Constraints: program_c1 `morph.program` is a string, at a function of a model; program_c2 the function has a body,
    one block that ends with a return; program_c3 `morph.trainable` is an array of symbols, at a program; program_c4
    `morph.name` is a string; program_c5 `morph.dims` is an array of strings.

    Activations are f32 in the IR whatever the checkpoint's dtype: the precision of products is a policy of the
    runtime. Batch, sequence and row dimensions are dynamic.
  }];
  let useDefaultAttributePrinterParser = 1;
  let dependentDialects = ["::mlir::func::FuncDialect"];
  let hasOperationAttrVerify = 1;
  let hasRegionArgAttrVerify = 1;
  let hasRegionResultAttrVerify = 1;
  let extraClassDeclaration = "void registerMorphAttributes();";
}

class Morph_Op<string mnemonic, list<Trait> traits = []> : Op<Morph_Dialect, mnemonic, traits>;

// MLIR's InferTypeOpAdaptor with the number of operands checked before the adaptor reads them.
def Morph_InferTypes : TraitList<[
  DeclareOpInterfaceMethods<InferTypeOpInterface>,
  NativeOpTrait<"InferTypeOpAdaptor", [], [{
    static ::llvm::LogicalResult inferReturnTypes(::mlir::MLIRContext *context, std::optional<::mlir::Location> location,
        Adaptor adaptor, ::llvm::SmallVectorImpl<::mlir::Type> &inferredReturnTypes);
  }], [{
    ::llvm::LogicalResult $cppClass::inferReturnTypes(::mlir::MLIRContext *context,
        std::optional<::mlir::Location> location, ::mlir::ValueRange operands, ::mlir::DictionaryAttr attributes,
        ::mlir::OpaqueProperties properties, ::mlir::RegionRange regions,
        ::llvm::SmallVectorImpl<::mlir::Type> &inferredReturnTypes) {
      if (failed(::morph::checkOperandCount<$cppClass>(location, operands.size())))
        return ::mlir::failure();
      return $cppClass::inferReturnTypes(context, location, Adaptor(operands, attributes, properties, regions),
                                         inferredReturnTypes);
    }
  }]>
]>;

class Morph_Attr<string name, string attrMnemonic, list<Trait> traits = []> : AttrDef<Morph_Dialect, name, traits> {
  let mnemonic = attrMnemonic;
}

// Constraints that a type or an attribute cannot say have a label, `<op>_c<n>`: it is written at the op's definition,
// in the error that reports it and in the test that breaks it (test/dialect/labels.py checks the three).
def Morph_Float : RankedTensorOf<[F32]>;
def Morph_Index : RankedTensorOf<[I64]>;

#endif // MORPH_BASE_TD
