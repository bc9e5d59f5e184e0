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

/// `[1.0, 0.5]` with every digit: DenseF64ArrayAttr's own printer keeps seven.
def Morph_OptionalF64Array : OptionalParameter<"::mlir::DenseF64ArrayAttr"> {
  let parser = "::morph::parseF64Array($_parser)";
  let printer = "::morph::printF64Array($_printer, $_self)";
}

def Morph_InitAttr : Morph_Attr<"Init", "init"> {
  let summary = "How a weight that no checkpoint holds gets its first value";
  let description = [{
    - `copy`: the value of the weight `source`, of the same shape.
    - `repeat_heads`: `source` holds `heads` groups of rows; each group is repeated `times` times in place, so that
      grouped-query keys and values become one head a query head.
    - `constant`: every element is `value`.
    - `normal`: independent normal draws with standard deviation `value`, seeded by the run's seed and the
      weight's name.
    - `values`: the elements are `values`, in row-major order, repeated until the weight is full.

    Constraints: init_c1 copy and repeat_heads have a source; init_c2 repeat_heads has positive `heads` and `times`
    within the limit; init_c3 constant and normal have a finite value, a normal's is not negative; init_c4 values has
    values, all finite.
  }];
  let parameters = (ins
      EnumParameter<Morph_InitKind>:$kind,
      OptionalParameter<"::mlir::StringAttr">:$source,
      DefaultValuedParameter<"int64_t", "0">:$heads,
      DefaultValuedParameter<"int64_t", "0">:$times,
      OptionalParameter<"::mlir::FloatAttr">:$value,
      Morph_OptionalF64Array:$values);
  let genVerifyDecl = 1;
  let assemblyFormat = "`<` $kind (`,` struct($source, $heads, $times, $value, $values)^)? `>`";
}

def Morph_PieceAttr : Morph_Attr<"Piece", "piece"> {
  let summary = "A tensor of a checkpoint, or some of its rows, whose elements are a part of a weight's";
  let description = [{
    `tensor` is a name in the checkpoint; its rows (of the first dimension) from `begin` up to `end` are taken, all where
    `end` is 0: `#morph.piece<"a.weight">`, `#morph.piece<"a.weight", rows 8 to 12>`.

    Constraints: piece_c1 the tensor's name is not empty; piece_c2 begin is not negative and less than end, or both are 0.
  }];
  let parameters = (ins "::mlir::StringAttr":$tensor, "int64_t":$begin, "int64_t":$end);
  let assemblyFormat = "`<` $tensor `` custom<PieceRows>($begin, $end) `>`";
  let genVerifyDecl = 1;
}
def Morph_PieceArrayAttr : TypedArrayAttrBase<Morph_PieceAttr, "array of pieces">;

def Morph_FormulaAttr : Morph_Attr<"Formula", "formula"> {
  let summary = "A name and an expression of a declared mixer: a size and what it is, a message and its condition";
  let parameters = (ins StringRefParameter<>:$name, StringRefParameter<>:$text);
  let assemblyFormat = "`<` $name `=` $text `>`";
}

def Morph_MixerOptionAttr : Morph_Attr<"MixerOption", "mixer_option"> {
  let summary = "An option of a declared mixer: its name, default and ranges";
  let description = [{
    `value` is a whole number (i64), a number (f64) or a truth value (i1), which says what the option takes. `ranges` are
    pairs of a least and a greatest value; none are given for a truth value.

    Constraints: mixer_option_c1 the name is letters, digits and '_', and not empty; mixer_option_c2 the value is i64, f64
    or i1; mixer_option_c3 the ranges are pairs of finite numbers that rise, and the value lies in one of them.
  }];
  let parameters = (ins StringRefParameter<>:$name, "::mlir::TypedAttr":$value,
      Morph_OptionalF64Array:$ranges);
  let assemblyFormat = "`<` $name `=` $value (`in` $ranges^)? `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// The number that an attribute stands for in expressions; nothing where it is not of the option's kind or not in a
    /// range.
    std::optional<double> read(::mlir::Attribute given) const;
    /// What read() takes: "0 or 2 to 16".
    std::string describeRanges() const;
  }];
}

def Morph_MixerInitAttr : Morph_Attr<"MixerInit", "mixer_init"> {
  let summary = "The first value of a declared mixer's weight";
  let description = [{
    Of `text` copy and repeat_heads make the name of a weight of the layer's full attention, without its prefix, normal a
    standard deviation, values an element: expressions. Constraints: mixer_init_c1 the kind is none but these.
  }];
  let parameters = (ins EnumParameter<Morph_InitKind>:$kind, StringRefParameter<>:$text);
  let assemblyFormat = "`<` $kind `,` $text `>`";
  let genVerifyDecl = 1;
}

#endif // MORPH_ATTRS_TD
