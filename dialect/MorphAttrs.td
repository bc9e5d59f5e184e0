// SPDX-License-Identifier: Apache-2.0
// Enumerations and attributes of the `morph` dialect.

#ifndef MORPH_ATTRS_TD
#define MORPH_ATTRS_TD

include "dialect/MorphBase.td"

def Morph_Phase : I32EnumAttr<"Phase", "the phase of a model's IR", [
    I32EnumAttrCase<"Base", 0, "base">,
    I32EnumAttrCase<"Paired", 1, "paired">,
    I32EnumAttrCase<"Relaxed", 2, "relaxed">,
    I32EnumAttrCase<"Hybrid", 3, "hybrid">]> {
  let cppNamespace = "::morph";
  let genSpecializedAttr = 0;
}
def Morph_PhaseAttr : EnumAttr<Morph_Dialect, Morph_Phase, "phase">;

def Morph_InitKind : I32EnumAttr<"InitKind", "how a new weight gets its first value", [
    I32EnumAttrCase<"Copy", 0, "copy">,
    I32EnumAttrCase<"RepeatHeads", 1, "repeat_heads">,
    I32EnumAttrCase<"Constant", 2, "constant">,
    I32EnumAttrCase<"Normal", 3, "normal">,
    I32EnumAttrCase<"Values", 4, "values">]> {
  let cppNamespace = "::morph";
  let genSpecializedAttr = 0;
}
def Morph_InitKindAttr : EnumAttr<Morph_Dialect, Morph_InitKind, "init_kind">;

def Morph_InitAttr : Morph_Attr<"Init", "init"> {
  let summary = "How a weight that no checkpoint holds gets its first value";
  let description = [{
    - `copy`: the value of the weight `source`, of the same shape.
    - `repeat_heads`: `source` holds `heads` groups of rows; each group is repeated `times` times in place, so that
      grouped-query keys and values become one head a query head.
    - `constant`: every element is `value`.
    - `normal`: independent normal draws with standard deviation `value`, seeded by the run's seed and the weight's name.
    - `values`: the elements are `values`, in row-major order.
  }];
  let parameters = (ins
      EnumParameter<Morph_InitKind>:$kind,
      OptionalParameter<"::mlir::StringAttr">:$source,
      DefaultValuedParameter<"int64_t", "0">:$heads,
      DefaultValuedParameter<"int64_t", "0">:$times,
      OptionalParameter<"::mlir::FloatAttr">:$value,
      OptionalParameter<"::mlir::DenseF64ArrayAttr">:$values);
  let assemblyFormat = "`<` $kind (`,` struct($source, $heads, $times, $value, $values)^)? `>`";
}

#endif // MORPH_ATTRS_TD
