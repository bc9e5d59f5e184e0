// SPDX-License-Identifier: Apache-2.0
// Ops that hold a model together: the model, its symbols, its token mixers and the choices between them.

#ifndef MORPH_MODEL_OPS_TD
#define MORPH_MODEL_OPS_TD

include "dialect/MorphAttrs.td"
include "dialect/MorphBase.td"
include "dialect/MorphInterfaces.td"
include "dialect/MorphKernelTraits.td"
include "mlir/IR/OpAsmInterface.td"
include "mlir/IR/RegionKindInterface.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

//===----------------------------------------------------------------------===//
// Symbols
//===----------------------------------------------------------------------===//

def Morph_ModelOp : Morph_Op<"model", [IsolatedFromAbove, SymbolTable, NoTerminator, SingleBlock, NoRegionArguments]> {
  let summary = "A model: its weights, gates, rope tables and functions";
  let description = [{
    `forward` is the model's trunk: token ids [B,T] to the final normalised hidden state [B,T,C]. `head` maps rows of
    hidden state [N,C] to logits [N,V]. Passes add programs.

    Constraints: model_c1 `layers` is from 1 to the limit of runtime/plan/SizeLimits.h, as all sizes are; model_c2 the body
    holds weights, gates, rope tables, mixers, functions, programs
    and kernels; model_c3 it is not within another model; model_c4 its functions
    are straight lines, of one block.

    Example:

    ```mlir
    morph.model @tiny base architecture "llama" layers 1 {
      morph.weight @"model.embed_tokens.weight" : tensor<256x128xbf16>
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, Morph_PhaseAttr:$phase, StrAttr:$architecture, I64Attr:$layers);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$sym_name `` $phase `architecture` $architecture `layers` $layers attr-dict-with-keyword $body";
  let hasVerifier = 1;
}

def Morph_WeightOp : Morph_Op<"weight", [Symbol, HasParent<"ModelOp">]> {
  let summary = "A weight of the model, named as in the checkpoint";
  let description = [{
    A weight without `init` is read from the model's checkpoint under its own name. A weight with `init` is new. A
    weight with `teacher_of` is the frozen value that the base checkpoint has under that name, kept apart because a
    program trains the weight of that name.

    A weight with `pieces` has no tensor of its name in the base checkpoint: its elements are those of the pieces, in
    their order (a projection is some rows of a fused one, stacked experts are a tensor each). What training stores has
    the weight's own name and goes before. Such a weight stays in the model where nothing reads it, for teachers and
    first values are made of it.

    Constraints: weight_c1 the element type is f32, f16, bf16 or f64; weight_c2 a weight is at most one of new, a
    teacher's and of pieces; weight_c3 the initial value fits the shape; weight_c4 its dimensions and the number of its
    elements are positive and within the limits; weight_c5 there is a piece or more, and where all have rows these are
    together the product of the weight's first dimensions.

    Example:

    ```mlir
    morph.weight @"model.layers.0.self_attn.k_proj.weight" : tensor<64x128xbf16>
      pieces [#morph.piece<"model.layers.0.self_attn.qkv_proj.weight", rows 128 to 192>]
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttrOf<AnyStaticShapeTensor>:$type,
      OptionalAttr<Morph_InitAttr>:$init,
      OptionalAttr<StrAttr>:$teacher_of,
      OptionalAttr<Morph_PieceArrayAttr>:$pieces);
  let assemblyFormat = [{
    $sym_name `:` $type (`init` $init^)? (`teacher_of` $teacher_of^)? (`pieces` $pieces^)? attr-dict
  }];
  let hasVerifier = 1;
}

def Morph_GateOp : Morph_Op<"gate", [Symbol, HasParent<"ModelOp">]> {
  let summary = "The gate of one layer's choice";
  let description = [{
    Of N candidates the first N-1 have a gate in [0,1] each; the last candidate's share is one less their sum. With two
    candidates this is FlashMorph's scalar a_l (arXiv 2606.30562). `value` is the initial value.

    Constraints: gate_c1 there are two candidates or more; gate_c2 value has one element fewer than there are
    candidates;
    gate_c3 the values are in [0,1] and so is their sum; gate_c4 the layer is from 0 to the limit.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, I64Attr:$layer, StrArrayAttr:$candidates, DenseF64ArrayAttr:$value);
  let assemblyFormat = "$sym_name `layer` $layer `of` $candidates `value` custom<F64Array>($value) attr-dict";
  let hasVerifier = 1;
}

def Morph_RopeTableOp : Morph_Op<"rope_table", [Symbol, HasParent<"ModelOp">]> {
  let summary = "Inverse frequencies of rotary position embedding, scaling applied";
  let description = [{
    Constraints: rope_table_c1 there is a frequency, and all are positive and finite; rope_table_c2 the attention
    factor is positive and finite.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, DenseF64ArrayAttr:$inverse_frequencies, F64Attr:$attention_factor);
  let assemblyFormat = [{
    $sym_name custom<F64Array>($inverse_frequencies) `attention_factor` $attention_factor attr-dict
  }];
  let hasVerifier = 1;
}

def Morph_ParamOp : Morph_Op<"param", [Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "The value of a weight or gate, as f32, or as bf16 where precision was assigned";
  let description = [{
    Constraints: param_c1 the model has a weight or gate of that name; param_c2 the result has its shape, a gate's
    being [N-1] for N candidates.
  }];
  let arguments = (ins FlatSymbolRefAttr:$symbol);
  let results = (outs Morph_Half:$result);
  let assemblyFormat = "$symbol attr-dict `:` type($result)";
}

//===----------------------------------------------------------------------===//
// Token mixers
//===----------------------------------------------------------------------===//

class Morph_MixerOp<string mnemonic, list<string> methods = []> : Morph_Op<mnemonic, [Pure, SameOperandsAndResultType,
    DeclareOpInterfaceMethods<TokenMixerOpInterface, methods>, DeclareOpInterfaceMethods<SymbolUserOpInterface>]>;

def Morph_SoftmaxMixerOp : Morph_MixerOp<"softmax_mixer"> {
  let summary = "Causal softmax attention of one layer, from normalised hidden state to output projection";
  let description = [{
    Its weights are `<prefix>.{q,k,v,o}_proj.weight`, their biases where `qkv_bias` or `o_bias` is set, and
    `<prefix>.{q,k}_norm.weight` where `qk_norm_eps` is: norms of each head or, with `qk_norm_wide`, of all heads
    together, whose weights are multiplied by after `qk_norm_offset` is added to them. Without a `rope` table nothing is
    rotated. `window` positions at most are seen, the own one included; all where it is absent. `softcap` is that of
    `attention`. The mixer's kind is 'full', or 'sliding_window' where there is a window.

    Constraints: softmax_mixer_c1 hidden is [B,T,C] with C known, and the result of its type; softmax_mixer_c2 layer
    is not negative, heads, kv_heads, head_dim and window positive, all within the limits;
    softmax_mixer_c3 kv_heads divides heads; softmax_mixer_c4 the model has the rope table, of at most head_dim/2
    frequencies; softmax_mixer_c5 the model has the weights, of the right shapes; softmax_mixer_c6 qk_norm, softcap
    and scale are positive and finite, qk_norm_offset finite.
  }];
  let arguments = (ins Morph_Float:$hidden, I64Attr:$layer, StrAttr:$prefix, I64Attr:$heads, I64Attr:$kv_heads,
      I64Attr:$head_dim, OptionalAttr<FlatSymbolRefAttr>:$rope, F64Attr:$scale, UnitAttr:$qkv_bias, UnitAttr:$o_bias,
      OptionalAttr<F64Attr>:$qk_norm_eps, UnitAttr:$qk_norm_wide, OptionalAttr<F64Attr>:$qk_norm_offset,
      OptionalAttr<I64Attr>:$window, OptionalAttr<F64Attr>:$softcap);
  let results = (outs Morph_Float:$result);
  let assemblyFormat = [{
    $hidden `layer` $layer `weights` $prefix `heads` $heads `kv_heads` $kv_heads `head_dim` $head_dim (`rope` $rope^)?
    `scale` $scale (`qkv_bias` $qkv_bias^)? (`o_bias` $o_bias^)? (`qk_norm` $qk_norm_eps^)?
    (`qk_norm_wide` $qk_norm_wide^)? (`qk_norm_offset` $qk_norm_offset^)? (`window` $window^)? (`softcap` $softcap^)?
    attr-dict `:` type($hidden)
  }];
  let hasVerifier = 1;
}

def Morph_LinearMixerOp : Morph_MixerOp<"linear_mixer", ["getInitialParameters"]> {
  let summary = "Linear attention of one layer, from normalised hidden state to output projection";
  let description = [{
    `mixer` is declared by a `morph.mixer`, which gives the weights, their initial values from the layer's full attention
    (`source`), the expansion and the costs. `options` are the declared ones, all present.
    `source_scale` (head_dim^-0.5 where absent), `source_window` and `source_softcap` (none where absent) are what else
    the full attention had: with them and the attributes above, which are the softmax_mixer's, a teacher is rebuilt from
    a hybrid model.

    Constraints: linear_mixer_c1 hidden is [B,T,C] with C known, and the result of its type; linear_mixer_c2 layer is
    not negative, heads, source_kv_heads, head_dim and source_window are positive, all within the limits;
    linear_mixer_c3 source_kv_heads divides heads; linear_mixer_c4 the model has the rope table, of at most head_dim/2
    frequencies; linear_mixer_c5 the model has the weights, of the right shapes; linear_mixer_c6 the
    model declares the mixer; linear_mixer_c7 the options are the declared ones, all in their ranges; linear_mixer_c8
    norm_eps, qk_norm, source_softcap and source_scale are positive and finite, qk_norm_offset finite; linear_mixer_c9 the
    declaration fits the layer: its requirements hold, its sizes are sizes, and its body computes [B,T,C];
    linear_mixer_c10 rotary positions leave no trace in the result but through their differences (`dialect/Rotation.h`).
  }];
  let arguments = (ins Morph_Float:$hidden, FlatSymbolRefAttr:$mixer, I64Attr:$layer, StrAttr:$prefix, StrAttr:$source,
      I64Attr:$heads, I64Attr:$source_kv_heads, I64Attr:$head_dim, OptionalAttr<FlatSymbolRefAttr>:$rope,
      UnitAttr:$qkv_bias, UnitAttr:$o_bias, OptionalAttr<F64Attr>:$qk_norm_eps, UnitAttr:$qk_norm_wide,
      OptionalAttr<F64Attr>:$qk_norm_offset, F64Attr:$norm_eps, DictionaryAttr:$options,
      OptionalAttr<F64Attr>:$source_scale, OptionalAttr<I64Attr>:$source_window, OptionalAttr<F64Attr>:$source_softcap);
  let results = (outs Morph_Float:$result);
  let assemblyFormat = [{
    $mixer $hidden `layer` $layer `weights` $prefix `from` $source `heads` $heads `source_kv_heads` $source_kv_heads
    `head_dim` $head_dim (`rope` $rope^)? (`qkv_bias` $qkv_bias^)? (`o_bias` $o_bias^)? (`qk_norm` $qk_norm_eps^)?
    (`qk_norm_wide` $qk_norm_wide^)? (`qk_norm_offset` $qk_norm_offset^)? `norm_eps` $norm_eps `options` $options
    (`source_scale` $source_scale^)? (`source_window` $source_window^)? (`source_softcap` $source_softcap^)? attr-dict `:` type($hidden)
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Choices and blends
//===----------------------------------------------------------------------===//

def Morph_ChoiceOp : Morph_Op<"choice", [NoRegionArguments, SingleBlock,
    RecursiveMemoryEffects, RecursivelySpeculatable]> {
  let summary = "A layer's candidates for its token mixer, one region each";
  let description = [{
    Phase paired. Every region holds one token mixer and yields its result; the first candidate is the layer's full
    attention and gives the value of the choice until it is relaxed.

    Constraints: choice_c1 there are two candidates or more, of different names, and a region each; choice_c2 every
    region ends with a yield of the result's type; choice_c3 every region holds one token mixer of the choice's layer;
    choice_c4 the first is a softmax_mixer, the others are of the kind their name says; choice_c5 every region yields
    its mixer's result.

    Example:

    ```mlir
    %m = morph.choice layer 0 of ["full", "lightning"] : tensor<?x?x128xf32> {
      %a = morph.softmax_mixer ... : tensor<?x?x128xf32>
      morph.yield %a : tensor<?x?x128xf32>
    }, {
      %b = morph.linear_mixer @lightning ... : tensor<?x?x128xf32>
      morph.yield %b : tensor<?x?x128xf32>
    }
    ```
  }];
  let arguments = (ins I64Attr:$layer, StrArrayAttr:$candidates);
  let results = (outs Morph_Float:$result);
  let regions = (region VariadicRegion<SizedRegion<1>>:$bodies);
  let assemblyFormat = "`layer` $layer `of` $candidates attr-dict `:` type($result) $bodies";
  let hasVerifier = 1;
  let hasRegionVerifier = 1;
}

def Morph_YieldOp : Morph_Op<"yield", [Pure, Terminator, HasParent<"ChoiceOp">]> {
  let summary = "The value of a candidate";
  let arguments = (ins Morph_Float:$value);
  let assemblyFormat = "$value attr-dict `:` type($value)";
}

def Morph_BlendOp : Morph_InstructionOp<"blend", [
    DeclareOpInterfaceMethods<DifferentiableOpInterface>, DeclareOpInterfaceMethods<SymbolUserOpInterface>,
    Morph_KernelForm<["isUniformOperand"]>, Morph_Rowwise]> {
  let summary = "Candidates weighted by a gate";
  let description = [{
    With gate g of N-1 elements and candidates c_0..c_{N-1}: sum_{i<N-1} g_i c_i + (1 - sum_i g_i) c_{N-1}. Phase
    relaxed. The gate says which layer is decided and what the candidates are called.

    Constraints: blend_c1 there are two candidates or more, of one shape; blend_c2 gate is [N-1]; blend_c3 the gate is
    of N candidates, and each candidate that is a token mixer is of its layer and of the kind that it names.
  }];
  let arguments = (ins Morph_Float:$gate, Variadic<Morph_Float>:$candidates);
  let results = (outs Morph_Float:$result);
  let rules = [Range<"#candidates", "2", kDimension, "blend_c1">, HasShape<"candidates", "*", "blend_c1">,
      Size<"G", "#candidates - 1", "blend_c2">, HasShape<"gate", "G", "blend_c2">];
  let resultShapes = ["*"];
  let shares = [Shares<"gate", "candidates">];
  let assemblyFormat = "$gate `of` $candidates attr-dict `:` type($gate) `,` type($candidates)";
  let hasCanonicalizer = 1;
  let extraClassDeclaration = [{
    /// The gate whose value weighs the candidates; null where the weights are computed otherwise.
    ::morph::GateOp lookupGate(::mlir::SymbolTableCollection &symbolTables);
  }];
}

#endif // MORPH_MODEL_OPS_TD
