// SPDX-License-Identifier: Apache-2.0
// Declared token mixers: `morph.mixer` and the ops that only its body has, whose sizes and numbers are expressions of
// named ones. Shapes: B batch, T positions, and what the declaration names.

#ifndef MORPH_MIXER_OPS_TD
#define MORPH_MIXER_OPS_TD

include "dialect/MorphAttrs.td"
include "dialect/MorphBase.td"
include "dialect/MorphInterfaces.td"
include "mlir/IR/OpAsmInterface.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Morph_FormulaArrayAttr : TypedArrayAttrBase<Morph_FormulaAttr, "array of formulas">;
def Morph_OptionArrayAttr : TypedArrayAttrBase<Morph_MixerOptionAttr, "array of options">;

def Morph_MixerOp : Morph_Op<"mixer", [IsolatedFromAbove, Symbol, HasParent<"ModelOp">, SingleBlock]> {
  let summary = "A declared token mixer: its weights, its computation, and from them everything else";
  let description = [{
    The body computes, of a layer's normalised hidden state x [B,T,M], what the mixer adds to the residual stream
    [B,T,M]. It holds ops of the op table, on tensors whose sizes are not known yet, and the `mixer_` ops, whose numbers
    are expressions (`dialect/Expression.h`) of

    - sizes: M hidden, H heads, G key-value heads and D head dimension of the layer's full attention, and `sizes`, each
      of which may use those before it;
    - `options`, which a `linear_mixer` gives values to;
    - facts of the layer: `base.qkv_bias`, `base.o_bias`, `base.qk_norm`, `base.qk_norm_wide` (1 or 0), `base.norm_eps`,
      `base.qk_norm_eps`, `base.qk_norm_offset`, `base.scale`, `base.softcap` (0 where there is none), `base.layer`,
      `base.layers`, `base.window` (the positions that full attention sees, or the limit).

    A `linear_mixer` is written in primitive ops by copying the body with values for all of these: the weights, the
    states of decoding, the operations and the bytes of a mixer all follow from its body, and so does what left padding
    must not touch: convolutions mask their inputs, recurrences their keys.

    `requires` are conditions, each with what to say where it does not hold.

    Constraints: mixer_c1 options have names and values of their own; mixer_c2 the body takes x and ends with a
    `mixer_yield` of the result, both [B,T,M]; mixer_c3 the body holds `mixer_` ops and ops of the op table with one result
    that neither update nor name a table and, outside of a `mixer_calibrate`, leave every position's rows its own: those
    that compute rows, views, `expand`, and `sum_last` but of three dimensions, which would make rows of positions;
    mixer_c4 weights have names of their own, and stand outside of other ops' regions.

    Example:

    ```mlir
    morph.mixer @plain doc "linear attention" options [#morph.mixer_option<"chunk" = 64 : i64 in [1.0, 1024.0]>] sizes []
        requires [] {
    ^bb0(%x: tensor<?x?x?xf32>):
      %w = morph.mixer_weight "v_proj.weight" ["H * D", "M"] indices ["", ""] init <copy, "v_proj.weight"> : tensor<?x?xf32>
      %p = morph.linear %x, %w : tensor<?x?x?xf32>, tensor<?x?xf32>
      %v = morph.mixer_split %p by "H" : tensor<?x?x?xf32> to tensor<?x?x?x?xf32>
      %o = morph.mixer_recurrence %v, %v, %v state "state" scale "D ^ -0.5" chunk "chunk" : ...
      ...
      morph.mixer_yield %y : tensor<?x?x?xf32>
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, StrAttr:$doc, Morph_OptionArrayAttr:$options,
      Morph_FormulaArrayAttr:$sizes, Morph_FormulaArrayAttr:$conditions);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    $sym_name `doc` $doc `options` $options `sizes` $sizes `requires` $conditions attr-dict-with-keyword $body
  }];
  let hasVerifier = 1;
  let hasRegionVerifier = 1;
  let extraClassDeclaration = [{
    ::mlir::BlockArgument getHidden() { return getBody().front().getArgument(0); }
    /// The option of a name; null where there is none.
    ::morph::MixerOptionAttr lookupOption(::llvm::StringRef name);
  }];
}

class Morph_MixerStatementOp<string mnemonic, list<Trait> traits> : Morph_Op<"mixer_" # mnemonic,
    !listconcat([DeclareOpInterfaceMethods<MixerStatementOpInterface>], traits)> {
  let arguments = (ins);
}
class Morph_MixerBodyOp<string mnemonic, list<Trait> traits = []>
    : Morph_MixerStatementOp<mnemonic, !listconcat([Pure], traits)>;

def Morph_MixerWeightOp : Morph_MixerBodyOp<"weight"> {
  let summary = "A weight of the mixer, of a shape and with a first value";
  let description = [{
    `sizes` are expressions. `indices` has a name for the index along each dimension, "" where the first value does not
    depend on it. Where `condition` is false, the mixer has no such weight, and nothing that is computed reads it.

    `init`: <copy, "q_proj.weight"> is the value of that weight of the layer's full attention, <repeat_heads, ...> the
    same with each key-value head repeated to one a head, <normal, "0.02"> normal draws of that deviation, <values, ...>
    an expression of sizes, options and indices.

    Constraints: mixer_weight_c1 the type has a dimension a size, none known, and as many indices; mixer_weight_c2 the
    name is letters, digits, '_' and '.', and not empty; mixer_weight_c3 no part of it is an attribute that all modules of
    PyTorch have.
  }];
  let arguments = (ins StrAttr:$name, StrArrayAttr:$sizes, StrArrayAttr:$indices, Morph_MixerInitAttr:$init,
      OptionalAttr<StrAttr>:$condition, UnitAttr:$frozen);
  let results = (outs Morph_Float:$result);
  let assemblyFormat = [{
    $name $sizes `indices` $indices `init` $init (`if` $condition^)? (`frozen` $frozen^)? attr-dict `:` type($result)
  }];
  let hasVerifier = 1;
}

def Morph_MixerIfOp : Morph_MixerStatementOp<"if", [NoRegionArguments, RecursiveMemoryEffects]> {
  let summary = "One of two computations, by a condition that is known when the mixer is copied";
  let description = [{
    Constraints: mixer_if_c1 both regions end with a `mixer_yield` of the results' types.
  }];
  let arguments = (ins StrAttr:$condition);
  let results = (outs Variadic<Morph_Float>:$results);
  let regions = (region SizedRegion<1>:$whole, SizedRegion<1>:$otherwise);
  let assemblyFormat = "$condition (`:` type($results)^)? attr-dict-with-keyword $whole `else` $otherwise";
  let hasRegionVerifier = 1;
}

def Morph_MixerYieldOp : Morph_Op<"mixer_yield", [Pure, Terminator, ParentOneOf<["MixerOp", "MixerIfOp", "MixerCalibrateOp"]>]> {
  let summary = "What a mixer, one side of a mixer_if, or a mixer_calibrate computes";
  let arguments = (ins Variadic<Morph_Float>:$values);
  let assemblyFormat = "($values^ `:` type($values))? attr-dict";
}

def Morph_MixerSplitOp : Morph_MixerBodyOp<"split"> {
  let summary = "x [B,T,E] as heads [B,T,N,E/N]";
  let description = "Constraints: mixer_split_c1 operand and result have three dimensions and four.";
  let arguments = (ins Morph_Float:$x, StrAttr:$heads);
  let results = (outs Morph_Float:$result);
  let assemblyFormat = "$x `by` $heads attr-dict `:` type($x) `to` type($result)";
  let hasVerifier = 1;
}

def Morph_MixerMergeOp : Morph_MixerBodyOp<"merge"> {
  let summary = "x [B,T,N,E/N] as [B,T,E]";
  let description = "Constraints: mixer_merge_c1 operand and result have four dimensions and three.";
  let arguments = (ins Morph_Float:$x);
  let results = (outs Morph_Float:$result);
  let assemblyFormat = "$x attr-dict `:` type($x) `to` type($result)";
  let hasVerifier = 1;
}

def Morph_MixerExpandOp : Morph_MixerBodyOp<"expand"> {
  let summary = "x [...] as [...,E]: each element as a row of E equal ones";
  let description = "Constraints: mixer_expand_c1 the result has a dimension more than the operand.";
  let arguments = (ins Morph_Float:$x, StrAttr:$width);
  let results = (outs Morph_Float:$result);
  let assemblyFormat = "$x `to` $width attr-dict `:` type($x) `to` type($result)";
  let hasVerifier = 1;
}

def Morph_MixerScaleOp : Morph_MixerBodyOp<"scale", [SameOperandsAndResultType]> {
  let summary = "x multiplied by an expression";
  let arguments = (ins Morph_Float:$x, StrAttr:$factor);
  let results = (outs Morph_Float:$result);
  let assemblyFormat = "$x `by` $factor attr-dict `:` type($x)";
}

def Morph_MixerOffsetOp : Morph_MixerBodyOp<"offset", [SameOperandsAndResultType]> {
  let summary = "x plus an expression";
  let arguments = (ins Morph_Float:$x, StrAttr:$term);
  let results = (outs Morph_Float:$result);
  let assemblyFormat = "$x `by` $term attr-dict `:` type($x)";
}

def Morph_MixerNormOp : Morph_MixerBodyOp<"norm", [AllTypesMatch<["x", "result"]>]> {
  let summary = "rms_norm of x with a weight";
  let arguments = (ins Morph_Float:$x, Morph_Float:$weight, StrAttr:$eps);
  let results = (outs Morph_Float:$result);
  let assemblyFormat = "$x `,` $weight `eps` $eps attr-dict `:` type($x) `,` type($weight)";
}

def Morph_MixerL2NormOp : Morph_MixerBodyOp<"l2_norm", [SameOperandsAndResultType]> {
  let summary = "l2_norm of x";
  let arguments = (ins Morph_Float:$x, StrAttr:$eps);
  let results = (outs Morph_Float:$result);
  let assemblyFormat = "$x `eps` $eps attr-dict `:` type($x)";
}

def Morph_MixerConvOp : Morph_MixerBodyOp<"conv", [AllTypesMatch<["x", "result"]>]> {
  let summary = "short_conv of all channels of x, whose last inputs are a state of decoding";
  let description = [{
    x is [B,T,C], or [B,T,N,C/N], the filter [C,1,W]. The state is `state`.
    Constraints: mixer_conv_c1 `state` is a name, and no other state of the mixer has it.
  }];
  let arguments = (ins Morph_Float:$x, Morph_Float:$filter, StrAttr:$state);
  let results = (outs Morph_Float:$result);
  let assemblyFormat = "$x `,` $filter `state` $state attr-dict `:` type($x) `,` type($filter)";
  let hasVerifier = 1;
}

def Morph_MixerRopeOp : Morph_MixerBodyOp<"rope", [SameOperandsAndResultType]> {
  let summary = "Rotary position embedding of x [B,T,H,D] by the layer's table; x itself in a layer without one";
  let arguments = (ins Morph_Float:$x);
  let results = (outs Morph_Float:$result);
  let assemblyFormat = "$x attr-dict `:` type($x)";
}

def Morph_MixerRecurrenceOp : Morph_MixerBodyOp<"recurrence", [AttrSizedOperandSegments, AllTypesMatch<["v", "result"]>]> {
  let summary = "linear_attention of q, k, v, whose state is a state of decoding";
  let description = [{
    The operands are those of `linear_attention`; `decay` is its head_decay, decay or channel_decay by its number of
    dimensions: 1, 3 or 4. Constraints: mixer_recurrence_c1 decay has 1, 3 or 4 dimensions; mixer_recurrence_c2 `state`
    is a name, and no other state of the mixer has it.
  }];
  let arguments = (ins Morph_Float:$q, Morph_Float:$k, Morph_Float:$v, Optional<Morph_Float>:$decay,
      Optional<Morph_Float>:$beta, Optional<Morph_Float>:$write, Optional<Morph_Float>:$erase,
      Optional<Morph_Float>:$bonus, StrAttr:$state, StrAttr:$scale, StrAttr:$chunk, OptionalAttr<StrAttr>:$normaliser);
  let results = (outs Morph_Float:$result);
  let assemblyFormat = [{
    $q `,` $k `,` $v (`decay` $decay^)? (`beta` $beta^)? (`write` $write^)? (`erase` $erase^)? (`bonus` $bonus^)?
    `state` $state `scale` $scale `chunk` $chunk (`normaliser` $normaliser^)? attr-dict `:` type($q) `,` type($k) `,`
    type($v) (`decay` type($decay)^)? (`beta` type($beta)^)? (`write` type($write)^)? (`erase` type($erase)^)?
    (`bonus` type($bonus)^)?
  }];
  let hasVerifier = 1;
}

def Morph_MixerAttentionOp : Morph_MixerBodyOp<"attention", [AllTypesMatch<["q", "result"]>]> {
  let summary = "Causal softmax attention of q, k, v, whose keys and values are rings of decoding";
  let description = [{
    A `softcap` of 0 is none. Constraints: mixer_attention_c1 the states are names, and no other states of the mixer have
    them.
  }];
  let arguments = (ins Morph_Float:$q, Morph_Float:$k, Morph_Float:$v, StrAttr:$key_state, StrAttr:$value_state,
      StrAttr:$scale, OptionalAttr<StrAttr>:$window, OptionalAttr<StrAttr>:$softcap);
  let results = (outs Morph_Float:$result);
  let assemblyFormat = [{
    $q `,` $k `,` $v `states` $key_state $value_state `scale` $scale (`window` $window^)? (`softcap` $softcap^)? attr-dict
    `:` type($q) `,` type($k) `,` type($v)
  }];
  let hasVerifier = 1;
}

def Morph_MixerCalibrateOp : Morph_MixerStatementOp<"calibrate", [NoRegionArguments, SingleBlock]> {
  let summary = "A weight's first value, from the activations that it will see";
  let description = [{
    The region computes it of what stands before the op; what it computes nobody else sees. The mixer's copies have
    nothing of it: `morph-build-calibrate` makes a program of the regions, which is run before the first step of training
    and gives `weight` its value. There alone may a mixer have ops that mix tokens, of one result: `position_mean`,
    `attention_distance`.

    Constraints: mixer_calibrate_c1 the region ends with a `mixer_yield` of one value with as many dimensions as the
    weight has; mixer_calibrate_c2 the mixer has the weight, and calibrates it at this one place.

    ```mlir
    morph.mixer_calibrate "decay" {
      %m = morph.position_mean %g : tensor<?x?x?xf32>
      morph.mixer_yield %m : tensor<?xf32>
    }
    ```
  }];
  let arguments = (ins StrAttr:$weight);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$weight attr-dict-with-keyword $body";
}

def Morph_MixerAttentionDistanceOp : Morph_MixerBodyOp<"attention_distance"> {
  let summary = "attention_distance of q and k, within a mixer_calibrate";
  let description = [{
    A `softcap` of 0 is none. Constraints: mixer_attention_distance_c1 it stands in a mixer_calibrate, and its result has
    one dimension.
  }];
  let arguments = (ins Morph_Float:$q, Morph_Float:$k, StrAttr:$scale, OptionalAttr<StrAttr>:$window,
      OptionalAttr<StrAttr>:$softcap);
  let results = (outs Morph_Float:$result);
  let assemblyFormat = [{
    $q `,` $k `scale` $scale (`window` $window^)? (`softcap` $softcap^)? attr-dict `:` type($q) `,` type($k) `to`
    type($result)
  }];
  let hasVerifier = 1;
}

#endif // MORPH_MIXER_OPS_TD
