// SPDX-License-Identifier: Apache-2.0
// Ops that only gradients use. `dy` is the gradient of the forward op's result; a result that nobody needs is absent
// where the op has a `needed` flag for it, and unused otherwise.

#ifndef MORPH_GRADIENT_OPS_TD
#define MORPH_GRADIENT_OPS_TD

include "dialect/MorphComputeOps.td"

def Morph_OnesOp : Morph_Op<"ones", [Pure]> {
  let summary = "A scalar one: the gradient of the loss by itself";
  let results = (outs Morph_Float:$result);
  let assemblyFormat = "attr-dict `:` type($result)";
}

def Morph_ReduceToOp : Morph_ComputeOp<"reduce_to"> {
  let summary = "x summed over its leading dimensions to the shape of its last `rank` dimensions";
  let description = [{Constraints: reduce_to_c1 rank is from 0 to the rank of x.}];
  let arguments = (ins Morph_Float:$x, I64Attr:$rank);
  let results = (outs Morph_Float:$result);
  let assemblyFormat = "$x `rank` $rank attr-dict `:` type($x)";
  let hasFolder = 1;
}

def Morph_EmbeddingGradOp : Morph_ComputeOp<"embedding_grad"> {
  let summary = "dy [B,T,C] added into the rows `ids` of a zero table [rows,C]";
  let description = [{Constraints: embedding_grad_c1 dy is [B,T,C] and ids [B,T]; embedding_grad_c2 rows is positive
    and within the limit.}];
  let arguments = (ins Morph_Float:$dy, Morph_Index:$ids, I64Attr:$rows);
  let results = (outs Morph_Float:$result);
  let assemblyFormat = "$dy `,` $ids `rows` $rows attr-dict `:` type($dy) `,` type($ids)";
}

def Morph_LinearInputGradOp : Morph_ComputeOp<"linear_input_grad"> {
  let summary = "dy [...,O] times weight [O,I]: [...,I]";
  let description = [{Constraints: linear_input_grad_c1 weight is [O,I] with O the last dimension of dy.}];
  let arguments = (ins Morph_Float:$dy, Morph_Float:$weight);
  let results = (outs Morph_Float:$result);
}

def Morph_LinearWeightGradOp : Morph_ComputeOp<"linear_weight_grad"> {
  let summary = "dy [...,O] transposed times x [...,I], summed over the leading dimensions: [O,I]";
  let description = [{Constraints: linear_weight_grad_c1 dy and x have the same dimensions but for the last.}];
  let arguments = (ins Morph_Float:$dy, Morph_Float:$x);
  let results = (outs Morph_Float:$result);
}

def Morph_RmsNormInputGradOp : Morph_ComputeOp<"rms_norm_input_grad", [Morph_KernelForm<["getLineWidth", "isUniformOperand"]>]> {
  let summary = "Gradient of rms_norm by x";
  let description = [{
    Constraints: rms_norm_input_grad_c1 x is of the shape of dy and weight [C] with C its last dimension;
    rms_norm_input_grad_c2 eps is positive.
  }];
  let arguments = (ins Morph_Float:$dy, Morph_Float:$x, Morph_Float:$weight, F64Attr:$eps);
  let results = (outs Morph_Float:$result);
  let assemblyFormat = "$dy `,` $x `,` $weight `eps` $eps attr-dict `:` type(operands)";
}

def Morph_RmsNormWeightGradOp : Morph_ComputeOp<"rms_norm_weight_grad"> {
  let summary = "Gradient of rms_norm by its weight";
  let description = [{Constraints: rms_norm_weight_grad_c1 x is of the shape of dy; rms_norm_weight_grad_c2 eps is
    positive.}];
  let arguments = (ins Morph_Float:$dy, Morph_Float:$x, F64Attr:$eps);
  let results = (outs Morph_Float:$result);
  let assemblyFormat = "$dy `,` $x `eps` $eps attr-dict `:` type(operands)";
}

def Morph_L2NormGradOp : Morph_ComputeOp<"l2_norm_grad", [Morph_KernelForm<["getLineWidth"]>]> {
  let summary = "Gradient of l2_norm";
  let description = [{Constraints: l2_norm_grad_c1 x is of the shape of dy; l2_norm_grad_c2 eps is positive.}];
  let arguments = (ins Morph_Float:$dy, Morph_Float:$x, F64Attr:$eps);
  let results = (outs Morph_Float:$result);
  let assemblyFormat = "$dy `,` $x `eps` $eps attr-dict `:` type(operands)";
}

def Morph_ScatterRowsOp : Morph_ComputeOp<"scatter_rows"> {
  let summary = "dy [N,C] added into a zero tensor of the shape of `like` [B,T,C] at positions [N]";
  let description = [{Constraints: scatter_rows_c1 dy is [N,C], positions [N] and like [B,T,C].}];
  let arguments = (ins Morph_Float:$dy, Morph_Index:$positions, Morph_Float:$like);
  let results = (outs Morph_Float:$result);
}

def Morph_SiluGradOp : Morph_ComputeOp<"silu_grad", [Morph_Elementwise<["dy", "x"],
    ["dy * s * fma(x, 1 - s, 1)"], "Scalar s = sigmoid(x);">]> {
  let summary = "dy * silu'(x)";
  let description = [{Constraints: silu_grad_c1 x is of the shape of dy.}];
  let arguments = (ins Morph_Float:$dy, Morph_Float:$x);
  let results = (outs Morph_Float:$result);
}

def Morph_SigmoidGradOp : Morph_ComputeOp<"sigmoid_grad", [Morph_Elementwise<["dy", "y"], ["dy * y * (1 - y)"]>]> {
  let summary = "dy * y * (1 - y), y the sigmoid";
  let description = [{Constraints: sigmoid_grad_c1 y is of the shape of dy.}];
  let arguments = (ins Morph_Float:$dy, Morph_Float:$y);
  let results = (outs Morph_Float:$result);
}

def Morph_SwigluGradOp : Morph_ComputeOp<"swiglu_grad", [Morph_Elementwise<["dy", "gate", "x"],
    ["dy * x * s * fma(gate, 1 - s, 1)", "dy * gate * s"], "Scalar s = sigmoid(gate);">]> {
  let summary = "Gradients of swiglu by gate and by x";
  let description = [{Constraints: swiglu_grad_c1 gate and x are of the shape of dy.}];
  let arguments = (ins Morph_Float:$dy, Morph_Float:$gate, Morph_Float:$x);
  let results = (outs Morph_Float:$dgate, Morph_Float:$dx);
}

def Morph_BlendGateGradOp : Morph_ComputeOp<"blend_gate_grad"> {
  let summary = "Gradient of blend by its gate: element i is the inner product of dy and c_i - c_{N-1}";
  let description = [{Constraints: blend_gate_grad_c1 there are two candidates or more, of the shape of dy.}];
  let arguments = (ins Morph_Float:$dy, Variadic<Morph_Float>:$candidates);
  let results = (outs Morph_Float:$result);
}

def Morph_BlendCandidateGradOp : Morph_ComputeOp<"blend_candidate_grad", [Morph_KernelForm<["isUniformOperand"]>]> {
  let summary = "Gradient of blend by candidate `index`: dy times its share";
  let description = [{Constraints: blend_candidate_grad_c1 gate is [N-1] and index from 0 to N-1.}];
  let arguments = (ins Morph_Float:$dy, Morph_Float:$gate, I64Attr:$index);
  let results = (outs Morph_Float:$result);
  let assemblyFormat = "$dy `,` $gate `index` $index attr-dict `:` type(operands)";
}

def Morph_AttentionGradOp : Morph_ComputeOp<"attention_grad"> {
  let summary = "Gradients of attention by q, k and v";
  let description = [{
    Constraints: attention_grad_c1 dy is of the shape of q; attention_grad_c2 k and v are [B,S,G,D] and start [B];
    attention_grad_c3 G divides H; attention_grad_c4 window is positive and within the limit.
  }];
  let arguments = (ins Morph_Float:$dy, Morph_Float:$q, Morph_Float:$k, Morph_Float:$v, Optional<Morph_Index>:$start,
      F64Attr:$scale, OptionalAttr<I64Attr>:$window);
  let results = (outs Morph_Float:$dq, Morph_Float:$dk, Morph_Float:$dv);
  let assemblyFormat = [{
    $dy `,` $q `,` $k `,` $v (`start` $start^)? `scale` $scale (`window` $window^)? attr-dict
    `:` type($dy) `,` type($q) `,` type($k) `,` type($v) (`,` type($start)^)?
  }];
}

def Morph_LinearAttentionGradOp : Morph_ComputeOp<"linear_attention_grad", [AttrSizedOperandSegments]> {
  let summary = "Gradients of linear_attention by q, k, v and the extras, for a zero gradient of the final state";
  let description = [{Constraints: linear_attention_grad_c1 dy is [B,T,H,V] and the rest as in linear_attention;
    linear_attention_grad_c2 chunk is positive and within the limit.}];
  let arguments = (ins StrAttr:$kind, Morph_Float:$dy, Morph_Float:$q, Morph_Float:$k, Morph_Float:$v,
      Variadic<Morph_Float>:$extras, Optional<Morph_Float>:$state, F64Attr:$scale, I64Attr:$chunk);
  let results = (outs Morph_Float:$dq, Morph_Float:$dk, Morph_Float:$dv, Variadic<Morph_Float>:$dextras);
  let assemblyFormat = [{
    $kind $dy `,` $q `,` $k `,` $v (`with` $extras^)? (`state` $state^)? `scale` $scale `chunk` $chunk attr-dict
    `:` type($dy) `,` type($q) `,` type($k) `,` type($v) (`with` type($extras)^)? (`state` type($state)^)?
  }];
}

def Morph_ShortConvGradOp : Morph_ComputeOp<"short_conv_grad"> {
  let summary = "Gradients of short_conv by x and weight, for a zero gradient of the final state";
  let description = [{Constraints: short_conv_grad_c1 dy is of the shape of x and the rest as in short_conv.}];
  let arguments = (ins Morph_Float:$dy, Morph_Float:$x, Morph_Float:$weight, Optional<Morph_Float>:$state);
  let results = (outs Morph_Float:$dx, Morph_Float:$dweight);
  let assemblyFormat = [{
    $dy `,` $x `,` $weight (`state` $state^)? attr-dict
    `:` type($dy) `,` type($x) `,` type($weight) (`,` type($state)^)?
  }];
}

def Morph_TokenNllGradOp : Morph_ComputeOp<"token_nll_grad"> {
  let summary = "dy [N] * (softmax(logits) - onehot(targets)): [N,V]";
  let description = [{Constraints: token_nll_grad_c1 dy is [N], logits [N,V] and targets [N].}];
  let arguments = (ins Morph_Float:$dy, Morph_Float:$logits, Morph_Index:$targets);
  let results = (outs Morph_Float:$result);
}

def Morph_KlDivergenceGradOp : Morph_ComputeOp<"kl_divergence_grad"> {
  let summary = "dy [N] * (softmax(student) - softmax(teacher)): [N,V]";
  let description = [{Constraints: kl_divergence_grad_c1 dy is [N], teacher and student [N,V].}];
  let arguments = (ins Morph_Float:$dy, Morph_Float:$teacher, Morph_Float:$student);
  let results = (outs Morph_Float:$result);
}

def Morph_SquaredErrorGradOp : Morph_ComputeOp<"squared_error_grad"> {
  let summary = "Gradient of squared_error by x, dy a scalar";
  let description = [{
    Constraints: squared_error_grad_c1 dy is a scalar and x of the shape of target; squared_error_grad_c2 normalize
    is as in squared_error.
  }];
  let arguments = (ins Morph_Float:$dy, Morph_Float:$x, Morph_Float:$target, StrAttr:$normalize);
  let results = (outs Morph_Float:$result);
  let assemblyFormat = "$dy `,` $x `,` $target `normalize` $normalize attr-dict `:` type(operands)";
}

def Morph_WeightedMeanGradOp : Morph_ComputeOp<"weighted_mean_grad"> {
  let summary = "dy (a scalar) * weights / sum(weights): [N]";
  let description = [{Constraints: weighted_mean_grad_c1 dy is a scalar and weights [N].}];
  let arguments = (ins Morph_Float:$dy, Morph_Float:$weights);
  let results = (outs Morph_Float:$result);
}

#endif // MORPH_GRADIENT_OPS_TD
