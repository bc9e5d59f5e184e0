// SPDX-License-Identifier: Apache-2.0
// Ops that only gradients use. `dy` is the gradient of the forward op's result; a result that nobody needs is absent
// where the op has a `needed` flag for it, and unused otherwise.

#ifndef MORPH_GRADIENT_OPS_TD
#define MORPH_GRADIENT_OPS_TD

include "dialect/MorphComputeOps.td"

// Gradients are linear in that of the result.
class Morph_GradientOp<string mnemonic, list<Trait> traits = []> : Morph_ComputeOp<mnemonic, traits> {
  let zeroWhere = [["dy"]];
}

def Morph_OnesOp : Morph_InstructionOp<"ones"> {
  let summary = "A scalar one: the gradient of the loss by itself";
  let results = (outs Morph_Float:$result);
  let resultShapes = [""];
  let assemblyFormat = "attr-dict";
}

def Morph_ReduceToOp : Morph_ComputeOp<"reduce_to", [Morph_KernelForm<["getLineWidth", "sumsRows"]>]> {
  let summary = "x summed over its leading dimensions to the shape of its last `rank` dimensions";
  let description = [{Constraints: reduce_to_c1 rank is from 0 to the rank of x.}];
  let arguments = (ins Morph_Float:$x, I64Attr:$rank);
  let results = (outs Morph_Float:$result);
  let rules = [Last<"x", "rank", "reduce_to_c1">];
  let resultShapes = ["~"];
  let zeroWhere = [["x"]];
  let assemblyFormat = "$x `rank` $rank attr-dict `:` type($x)";
  let hasFolder = 1;
}

def Morph_EmbeddingGradOp : Morph_GradientOp<"embedding_grad"> {
  let summary = "dy [B,T,C] added into the rows `ids` of a zero table [rows,C]";
  let description = [{Constraints: embedding_grad_c1 dy is [B,T,C] and ids [B,T]; embedding_grad_c2 rows is positive
    and within the limit.}];
  let arguments = (ins Morph_Float:$dy, Morph_Index:$ids, I64Attr:$rows);
  let results = (outs Morph_Float:$result);
  let rules = [Range<"rows", "1", kDimension, "embedding_grad_c2">, Size<"V", "rows", "embedding_grad_c2">,
      HasShape<"dy", "BTC", "embedding_grad_c1">, HasShape<"ids", "BT", "embedding_grad_c1">];
  let resultShapes = ["VC"];
  let indices = [Below<"ids", "V">];
  let assemblyFormat = "$dy `,` $ids `rows` $rows attr-dict `:` type($dy) `,` type($ids)";
}

def Morph_LinearInputGradOp : Morph_GradientOp<"linear_input_grad", [AllElementTypesMatch<["dy", "weight"]>]> {
  let summary = "dy [...,O] times weight [O,I]: [...,I]";
  let description = [{Constraints: linear_input_grad_c1 weight is [O,I] with O the last dimension of dy.}];
  let arguments = (ins Morph_Half:$dy, Morph_Half:$weight);
  let results = (outs Morph_Float:$result);
  let rules = [HasShape<"dy", "*O", "linear_input_grad_c1">, HasShape<"weight", "OI", "linear_input_grad_c1">];
  let resultShapes = ["*I"];
  let factors = ["dy", "weight"];
  let flops = "2 * d.rows() * d('I') * d('O')";
}

def Morph_LinearWeightGradOp : Morph_GradientOp<"linear_weight_grad", [AllElementTypesMatch<["dy", "x"]>]> {
  let summary = "dy [...,O] transposed times x [...,I], summed over the leading dimensions: [O,I]";
  let description = [{Constraints: linear_weight_grad_c1 dy and x have the same dimensions but for the last.}];
  let arguments = (ins Morph_Half:$dy, Morph_Half:$x);
  let results = (outs Morph_Float:$result);
  let rules = [HasShape<"dy", "*O", "linear_weight_grad_c1">, HasShape<"x", "*I", "linear_weight_grad_c1">];
  let resultShapes = ["OI"];
  let factors = ["dy", "x"];
  let flops = "2 * d.rows() * d('I') * d('O')";
}

def Morph_RmsNormInputGradOp
    : Morph_GradientOp<"rms_norm_input_grad", [Morph_KernelForm<["getLineWidth", "isUniformOperand"]>]> {
  let summary = "Gradient of rms_norm by x";
  let description = [{
    Constraints: rms_norm_input_grad_c1 x is of the shape of dy and weight [C] with C its last dimension;
    rms_norm_input_grad_c2 eps is positive.
  }];
  let arguments = (ins Morph_Float:$dy, Morph_Float:$x, Morph_Float:$weight, F64Attr:$eps);
  let results = (outs Morph_Float:$result);
  let rules = [Positive<"eps", "rms_norm_input_grad_c2">, HasShape<"dy", "*C", "rms_norm_input_grad_c1">,
      HasShape<"x", "*C", "rms_norm_input_grad_c1">, HasShape<"weight", "C", "rms_norm_input_grad_c1">];
  let resultShapes = ["*C"];
  let inPlace = ["dy", "x"];
  let assemblyFormat = "$dy `,` $x `,` $weight `eps` $eps attr-dict `:` type(operands)";
}

def Morph_RmsNormWeightGradOp
    : Morph_GradientOp<"rms_norm_weight_grad", [Morph_KernelForm<["getLineWidth", "sumsRows"]>]> {
  let summary = "Gradient of rms_norm by its weight";
  let description = [{Constraints: rms_norm_weight_grad_c1 x is of the shape of dy; rms_norm_weight_grad_c2 eps is
    positive.}];
  let arguments = (ins Morph_Float:$dy, Morph_Float:$x, F64Attr:$eps);
  let results = (outs Morph_Float:$result);
  let rules = [Positive<"eps", "rms_norm_weight_grad_c2">, HasShape<"dy", "*C", "rms_norm_weight_grad_c1">,
      HasShape<"x", "*C", "rms_norm_weight_grad_c1">];
  let resultShapes = ["C"];
  let assemblyFormat = "$dy `,` $x `eps` $eps attr-dict `:` type(operands)";
}

def Morph_L2NormGradOp : Morph_GradientOp<"l2_norm_grad", [Morph_KernelForm<["getLineWidth"]>]> {
  let summary = "Gradient of l2_norm";
  let description = [{Constraints: l2_norm_grad_c1 x is of the shape of dy; l2_norm_grad_c2 eps is positive.}];
  let arguments = (ins Morph_Float:$dy, Morph_Float:$x, F64Attr:$eps);
  let results = (outs Morph_Float:$result);
  let rules = [Positive<"eps", "l2_norm_grad_c2">, HasShape<"dy", "*C", "l2_norm_grad_c1">,
      HasShape<"x", "*C", "l2_norm_grad_c1">];
  let resultShapes = ["*C"];
  let inPlace = ["dy", "x"];
  let assemblyFormat = "$dy `,` $x `eps` $eps attr-dict `:` type(operands)";
}

def Morph_ScatterRowsOp : Morph_GradientOp<"scatter_rows"> {
  let summary = "dy [N,C] added into a zero tensor of the shape of `like` [B,T,C] at positions [N]";
  let description = [{Constraints: scatter_rows_c1 dy is [N,C], positions [N] and like [B,T,C].}];
  let arguments = (ins Morph_Float:$dy, Morph_Index:$positions, Morph_Float:$like);
  let results = (outs Morph_Float:$result);
  let rules = [HasShape<"dy", "NC", "scatter_rows_c1">, HasShape<"positions", "N", "scatter_rows_c1">,
      HasShape<"like", "BTC", "scatter_rows_c1">];
  let resultShapes = ["BTC"];
  let indices = [Below<"positions", "BT">];
}

// The gradient of an elementwise op of one operand: an expression of dy and x.
class Morph_UnaryGradOp<string mnemonic, string text, string scalar, string setup = "">
    : Morph_GradientOp<mnemonic, [SameTypeOperands, Morph_Elementwise<["dy", "x"], [scalar], setup>]> {
  let summary = text;
  let arguments = (ins Morph_Float:$dy, Morph_Float:$x);
  let results = (outs Morph_Float:$result);
  let rules = [HasShape<"dy", "*", "">, HasShape<"x", "*", "">];
  let resultShapes = ["*"];
  let inPlace = ["dy", "x"];
}

def Morph_SigmoidGradOp : Morph_UnaryGradOp<"sigmoid_grad", "dy * x * (1 - x), x what sigmoid gave", "dy * x * (1 - x)">;
def Morph_SiluGradOp : Morph_UnaryGradOp<"silu_grad", "dy * silu'(x)", "dy * s * fma(x, 1 - s, 1)",
    "auto s = sigmoid(x);">;
def Morph_GeluTanhGradOp : Morph_UnaryGradOp<"gelu_tanh_grad", "dy * gelu_tanh'(x)",
    !strconcat("dy * fma(s * sigmoid(-u), ", geluSlope, " * x * fma(square, 3 * 0.044715, 1), s)"),
    !strconcat("auto square = x * x; auto u = ", geluSlope, " * x * fma(square, 0.044715, 1); auto s = sigmoid(u);")>;

def Morph_QuickGeluGradOp : Morph_UnaryGradOp<"quick_gelu_grad", "dy * quick_gelu'(x)",
    "dy * s * fma(1.702 * x, 1 - s, 1)", "auto s = sigmoid(1.702 * x);">;

def Morph_SwigluGradOp : Morph_GradientOp<"swiglu_grad", [SameTypeOperands, Morph_Elementwise<["dy", "gate", "x"],
    ["dy * x * s * fma(gate, 1 - s, 1)", "dy * gate * s"], "auto s = sigmoid(gate);">]> {
  let summary = "Gradients of swiglu by gate and by x";
  let arguments = (ins Morph_Float:$dy, Morph_Float:$gate, Morph_Float:$x);
  let results = (outs Morph_Float:$dgate, Morph_Float:$dx);
  let rules = [HasShape<"dy", "*", "">, HasShape<"gate", "*", "">, HasShape<"x", "*", "">];
  let resultShapes = ["*", "*"];
  let inPlace = ["dy", "gate"];
}

def Morph_BlendGateGradOp
    : Morph_GradientOp<"blend_gate_grad", [Morph_KernelForm<["getLineWidth", "sumsRows"]>]> {
  let summary = "Gradient of blend by its gate: element i is the inner product of dy and c_i - c_{N-1}";
  let description = [{Constraints: blend_gate_grad_c1 there are two candidates or more, of the shape of dy.}];
  let arguments = (ins Morph_Float:$dy, Variadic<Morph_Float>:$candidates);
  let results = (outs Morph_Float:$result);
  let rules = [Range<"#candidates", "2", kDimension, "blend_gate_grad_c1">,
      HasShape<"dy", "*", "blend_gate_grad_c1">, HasShape<"candidates", "*", "blend_gate_grad_c1">,
      Size<"G", "#candidates - 1", "blend_gate_grad_c1">];
  let resultShapes = ["G"];
}

def Morph_BlendCandidateGradOp : Morph_GradientOp<"blend_candidate_grad", [Morph_KernelForm<["isUniformOperand"]>]> {
  let summary = "Gradient of blend by candidate `index`: dy times its share";
  let description = [{Constraints: blend_candidate_grad_c1 gate is [N-1] and index from 0 to N-1.}];
  let arguments = (ins Morph_Float:$dy, Morph_Float:$gate, I64Attr:$index);
  let results = (outs Morph_Float:$result);
  let rules = [HasShape<"dy", "*", "blend_candidate_grad_c1">, HasShape<"gate", "G", "blend_candidate_grad_c1">,
      Range<"index", "0", "G", "blend_candidate_grad_c1">];
  let resultShapes = ["*"];
  let inPlace = ["dy"];
  let shares = [Shares<"gate", "index">];
  let assemblyFormat = "$dy `,` $gate `index` $index attr-dict `:` type(operands)";
}

def Morph_AttentionGradOp : Morph_GradientOp<"attention_grad",
    [AttrSizedOperandSegments, AllElementTypesMatch<["dy", "q", "k", "v"]>]> {
  let summary = "Gradients of attention by q, k and v";
  let description = [{
    `out` is attention's result and `lse` what it has kept beside it; where they are absent, they are found again, to the
    same bits.
    Constraints: attention_grad_c1 dy is of the shape of q; attention_grad_c2 k and v are [B,S,G,D] and start [B];
    attention_grad_c3 G divides H; attention_grad_c4 window is positive and within the limit; attention_grad_c5 out is of
    the shape of q and lse [B,H,T]; attention_grad_c6 out and lse come together; attention_grad_c7 softcap is positive;
    attention_grad_c8 begins is [B,T], and T is S; attention_grad_c9 begins comes without start; attention_grad_c10 scale
    is positive.
  }];
  let arguments = (ins Morph_Half:$dy, Morph_Half:$q, Morph_Half:$k, Morph_Half:$v, Optional<Morph_Index>:$start,
      Optional<Morph_Float>:$out, Optional<Morph_Float>:$lse, Optional<Morph_Index>:$begins, F64Attr:$scale,
      OptionalAttr<I64Attr>:$window, OptionalAttr<F64Attr>:$softcap);
  let results = (outs Morph_Float:$dq, Morph_Float:$dk, Morph_Float:$dv);
  let rules = [HasShape<"dy", "BTHD", "attention_grad_c1">, HasShape<"q", "BTHD", "attention_grad_c1">,
      HasShape<"k", "BSGD", "attention_grad_c2">, HasShape<"v", "BSGD", "attention_grad_c2">,
      HasShape<"start", "B", "attention_grad_c2">, Divides<"G", "H", "attention_grad_c3">,
      Range<"window", "1", kDimension, "attention_grad_c4">, HasShape<"out", "BTHD", "attention_grad_c5">,
      HasShape<"lse", "BHT", "attention_grad_c5">, Together<"out|lse", "attention_grad_c6">,
      Positive<"softcap", "attention_grad_c7">, HasShape<"begins", "BT", "attention_grad_c8">,
      HasShape<"begins", "BS", "attention_grad_c8">, AtMostOne<"start|begins", "attention_grad_c9">,
      Positive<"scale", "attention_grad_c10">];
  let resultShapes = ["BTHD", "BSGD", "BSGD"];
  let factors = ["dy", "q", "k", "v"];
  let mixesTokens = 1;
  let flops = [{
    (d.has("lse") ? 10 : 14) * d('B') * d('H') * d('D') * attentionPairs(d('T'), d('S'), d.integer("window", d('S')))
  }];
  let scratch = "attentionGradScratch(d)";
  let assemblyFormat = [{
    $dy `,` $q `,` $k `,` $v (`start` $start^)? (`out` $out^)? (`lse` $lse^)? (`begins` $begins^)? `scale` $scale
    (`window` $window^)? (`softcap` $softcap^)? attr-dict `:` type($dy) `,` type($q) `,` type($k) `,` type($v)
    (`,` type($start)^)? (`out` type($out)^)? (`lse` type($lse)^)? (`begins` type($begins)^)?
  }];
}

def Morph_LinearAttentionGradOp : Morph_GradientOp<"linear_attention_grad",
    [AttrSizedOperandSegments, AllElementTypesMatch<["dy", "q", "k", "v"]>]> {
  let summary = "Gradients of linear_attention by its operands but the state, for a zero gradient of the final state";
  let description = [{
    After dq, dk and dv the gradients of those other operands that are present, in their order. `states` and `written` are
    what linear_attention has kept; where they are absent, they are found again, to the same bits.
    Constraints: linear_attention_grad_c1 dy is [B,T,H,V] and the rest as in linear_attention; linear_attention_grad_c2
    states is [B,H,N,K,W], N being the number of chunks; linear_attention_grad_c3 written is [B,T,H,W].
  }];
  let arguments = !con((ins Morph_Half:$dy, Optional<Morph_Float>:$states, Optional<Morph_Float>:$written),
      linearAttentionOperands);
  let results = (outs Morph_Float:$dq, Morph_Float:$dk, Morph_Float:$dv, Variadic<Morph_Float>:$dterms);
  let rules = !listconcat(linearAttentionRules, [HasShape<"dy", "BTHV", "linear_attention_grad_c1">,
      HasShape<"states", "BHNKW", "linear_attention_grad_c2">, HasShape<"written", "BTHW", "linear_attention_grad_c3">]);
  let resultShapes = ["BTGK", "BTGK", "BTHV", "=head_decay|decay|channel_decay|beta|write|erase|bonus"];
  let factors = ["dy", "q", "k", "v"];
  let mixesTokens = 1;
  let flops = "linearAttentionGradFlops(d)";
  let scratch = "linearAttentionGradScratch(d)";
  let assemblyFormat = [{
    $dy `,` $q `,` $k `,` $v (`head_decay` $head_decay^)? (`decay` $decay^)? (`channel_decay` $channel_decay^)?
    (`beta` $beta^)? (`write` $write^)? (`erase` $erase^)? (`bonus` $bonus^)? (`state` $state^)?
    (`begins` $begins^)? (`states` $states^)? (`written` $written^)? `scale` $scale
    `chunk` $chunk (`normaliser` $normaliser^)? attr-dict `:` type($dy) `,` type($q) `,` type($k) `,` type($v)
    (`head_decay` type($head_decay)^)? (`decay` type($decay)^)? (`channel_decay` type($channel_decay)^)?
    (`beta` type($beta)^)? (`write` type($write)^)? (`erase` type($erase)^)? (`bonus` type($bonus)^)?
    (`state` type($state)^)? (`begins` type($begins)^)? (`states` type($states)^)? (`written` type($written)^)?
  }];
}

def Morph_TopKSoftmaxGradOp : Morph_GradientOp<"top_k_softmax_grad"> {
  let summary = "Gradient of top_k_softmax, whose result was y";
  let description = [{
    Constraints: top_k_softmax_grad_c1 dy, x and y are of one shape; top_k_softmax_grad_c2 count is from 1 to E.
  }];
  let arguments = (ins Morph_Float:$dy, Morph_Float:$x, Morph_Float:$y, I64Attr:$count, UnitAttr:$normalised);
  let results = (outs Morph_Float:$result);
  let rules = [HasShape<"dy", "*E", "top_k_softmax_grad_c1">, HasShape<"x", "*E", "top_k_softmax_grad_c1">,
      HasShape<"y", "*E", "top_k_softmax_grad_c1">, Range<"count", "1", "E", "top_k_softmax_grad_c2">];
  let resultShapes = ["*E"];
  let assemblyFormat = "$dy `,` $x `,` $y `count` $count (`normalised` $normalised^)? attr-dict `:` type(operands)";
}

// Both gradients compute g and u again: what they need of the forward pass is its operands alone.
class Morph_ExpertsGradOp<string mnemonic>
    : Morph_GradientOp<mnemonic, [AllElementTypesMatch<["dy", "x", "gate_up", "down"]>]> {
  let arguments = !con((ins Morph_Half:$dy), expertsOperands);
  let factors = ["dy", "x", "gate_up", "down"];
  let assemblyFormat = [{
    $dy `,` $x `,` $routing `,` $gate_up `,` $down `active` $active attr-dict
    `:` type($dy) `,` type($x) `,` type($routing) `,` type($gate_up) `,` type($down)
  }];
}
def Morph_ExpertsInputGradOp : Morph_ExpertsGradOp<"experts_input_grad"> {
  let summary = "Gradients of experts by x and routing";
  let description = "Constraints: experts_input_grad_c1 dy is of the shape of x; the rest as in experts.";
  let results = (outs Morph_Float:$dx, Morph_Float:$drouting);
  let rules = !listconcat(expertsRules, [HasShape<"dy", "*C", "experts_input_grad_c1">]);
  let resultShapes = ["*C", "*E"];
  let flops = !strconcat("10 * ", expertsProducts);
  let scratch = "expertsInputGradScratch(d)";
}
def Morph_ExpertsWeightGradOp : Morph_ExpertsGradOp<"experts_weight_grad"> {
  let summary = "Gradients of experts by gate_up and down";
  let description = "Constraints: experts_weight_grad_c1 dy is of the shape of x; the rest as in experts.";
  let results = (outs Morph_Float:$dgate_up, Morph_Float:$ddown);
  let rules = !listconcat(expertsRules, [HasShape<"dy", "*C", "experts_weight_grad_c1">]);
  let resultShapes = ["EWC", "ECF"];
  let flops = !strconcat("12 * ", expertsProducts);
  let scratch = "expertsWeightGradScratch(d)";
}

def Morph_ShortConvGradOp : Morph_GradientOp<"short_conv_grad", [AttrSizedOperandSegments]> {
  let summary = "Gradients of short_conv by x and weight, for a zero gradient of the final state";
  let description = [{Constraints: short_conv_grad_c1 dy is of the shape of x and the rest as in short_conv.}];
  let arguments = (ins Morph_Float:$dy, Morph_Float:$x, Morph_Float:$weight, Optional<Morph_Float>:$state,
      Optional<Morph_Index>:$begins);
  let results = (outs Morph_Float:$dx, Morph_Float:$dweight);
  let rules = [HasShape<"x", "BTC", "short_conv_c1">, HasShape<"weight", "C1W", "short_conv_c2">,
      Range<"W", "2", kDimension, "short_conv_c2">, Size<"P", "W - 1", "short_conv_c2">,
      HasShape<"state", "BPC", "short_conv_c3">, HasShape<"begins", "BT", "short_conv_c4">,
      AtMostOne<"state|begins", "short_conv_c5">, HasShape<"dy", "BTC", "short_conv_grad_c1">];
  let resultShapes = ["BTC", "C1W"];
  let mixesTokens = 1;
  let flops = "4 * d('B') * d('T') * d('C') * d('W')";
  let scratch = "alignedBytes(2 * d('C') * d('W') * d.sumBytes())"; // The taps as rows, and their gradients.
  let assemblyFormat = [{
    $dy `,` $x `,` $weight (`state` $state^)? (`begins` $begins^)? attr-dict
    `:` type($dy) `,` type($x) `,` type($weight) (`state` type($state)^)? (`begins` type($begins)^)?
  }];
}

def Morph_TokenNllGradOp : Morph_GradientOp<"token_nll_grad"> {
  let summary = "dy [N] * (softmax(logits) - onehot(targets)): [N,V]";
  let description = [{Constraints: token_nll_grad_c1 dy is [N], logits [N,V] and targets [N].}];
  let arguments = (ins Morph_Float:$dy, Morph_Float:$logits, Morph_Index:$targets);
  let results = (outs Morph_Float:$result);
  let rules = [HasShape<"dy", "N", "token_nll_grad_c1">, HasShape<"logits", "NV", "token_nll_grad_c1">,
      HasShape<"targets", "N", "token_nll_grad_c1">];
  let resultShapes = ["NV"];
  let inPlace = ["logits"];
  let indices = [Below<"targets", "V">];
}

def Morph_KlDivergenceGradOp : Morph_GradientOp<"kl_divergence_grad"> {
  let summary = "dy [N] * (softmax(student) - softmax(teacher)): [N,V]";
  let description = [{Constraints: kl_divergence_grad_c1 dy is [N], teacher and student [N,V].}];
  let arguments = (ins Morph_Float:$dy, Morph_Float:$teacher, Morph_Float:$student);
  let results = (outs Morph_Float:$result);
  let rules = [HasShape<"dy", "N", "kl_divergence_grad_c1">, HasShape<"teacher", "NV", "kl_divergence_grad_c1">,
      HasShape<"student", "NV", "kl_divergence_grad_c1">];
  let resultShapes = ["NV"];
  let inPlace = ["student"];
}

def Morph_ReverseKlDivergenceGradOp : Morph_GradientOp<"reverse_kl_divergence_grad"> {
  let summary = "Gradient of reverse_kl_divergence by the student's logits";
  let description = [{Constraints: reverse_kl_divergence_grad_c1 dy is [N], teacher and student [N,V].}];
  let arguments = (ins Morph_Float:$dy, Morph_Float:$teacher, Morph_Float:$student);
  let results = (outs Morph_Float:$result);
  let rules = [HasShape<"dy", "N", "reverse_kl_divergence_grad_c1">, HasShape<"teacher", "NV", "reverse_kl_divergence_grad_c1">,
      HasShape<"student", "NV", "reverse_kl_divergence_grad_c1">];
  let resultShapes = ["NV"];
  let inPlace = ["student"];
}

def Morph_SquaredErrorGradOp : Morph_GradientOp<"squared_error_grad"> {
  let summary = "Gradient of squared_error by x, dy a scalar";
  let description = [{
    Constraints: squared_error_grad_c1 dy is a scalar and x of the shape of target; squared_error_grad_c2 normalize
    is as in squared_error.
  }];
  let arguments = (ins Morph_Float:$dy, Morph_Float:$x, Morph_Float:$target, StrAttr:$normalize);
  let results = (outs Morph_Float:$result);
  let rules = [HasShape<"dy", "", "squared_error_grad_c1">, HasShape<"x", "*", "squared_error_grad_c1">,
      HasShape<"target", "*", "squared_error_grad_c1">,
      OneOf<"normalize", "mean|rows|relative", "squared_error_grad_c2">];
  let resultShapes = ["*"];
  let inPlace = ["x"];
  let assemblyFormat = "$dy `,` $x `,` $target `normalize` $normalize attr-dict `:` type(operands)";
}

def Morph_WeightedMeanGradOp : Morph_GradientOp<"weighted_mean_grad"> {
  let summary = "dy (a scalar) * weights / sum(weights): [N]";
  let description = [{Constraints: weighted_mean_grad_c1 dy is a scalar and weights [N].}];
  let arguments = (ins Morph_Float:$dy, Morph_Float:$weights);
  let results = (outs Morph_Float:$result);
  let rules = [HasShape<"dy", "", "weighted_mean_grad_c1">, HasShape<"weights", "N", "weighted_mean_grad_c1">];
  let resultShapes = ["N"];
  let inPlace = ["weights"];
}

#endif // MORPH_GRADIENT_OPS_TD
