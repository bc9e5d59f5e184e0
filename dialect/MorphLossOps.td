// SPDX-License-Identifier: Apache-2.0
// Losses and measures. Rows are the positions that are read, [N,...]; scalars are tensor<f32>.

#ifndef MORPH_LOSS_OPS_TD
#define MORPH_LOSS_OPS_TD

include "dialect/MorphComputeOps.td"

def Morph_TokenNllOp : Morph_DifferentiableOp<"token_nll"> {
  let summary = "-log softmax(logits [N,V]) at targets [N]: nats a row [N]";
  let description = [{Constraints: token_nll_c1 logits is [N,V]; token_nll_c2 targets is [N].}];
  let arguments = (ins Morph_Float:$logits, Morph_Index:$targets);
  let results = (outs Morph_Float:$result);
  let rules = [HasShape<"logits", "NV", "token_nll_c1">, HasShape<"targets", "N", "token_nll_c2">];
  let resultShapes = ["N"];
  let indices = [Below<"targets", "V">];
}

def Morph_KlDivergenceOp : Morph_DifferentiableOp<"kl_divergence"> {
  let summary = "KL(softmax(teacher) || softmax(student)) a row [N], logits [N,V]";
  let description = [{
    The teacher gets no gradient.
    Constraints: kl_divergence_c1 teacher and student are [N,V].
  }];
  let arguments = (ins Morph_Float:$teacher, Morph_Float:$student);
  let results = (outs Morph_Float:$result);
  let rules = [HasShape<"teacher", "NV", "kl_divergence_c1">, HasShape<"student", "NV", "kl_divergence_c1">];
  let resultShapes = ["N"];
}

def Morph_ReverseKlDivergenceOp : Morph_DifferentiableOp<"reverse_kl_divergence"> {
  let summary = "KL(softmax(student) || softmax(teacher)) a row [N], logits [N,V]";
  let description = [{
    It asks the student to say nothing that the teacher would not, where kl_divergence asks it to say all that the teacher
    would (MiniLLM, arXiv 2306.08543). The teacher gets no gradient.
    Constraints: reverse_kl_divergence_c1 teacher and student are [N,V].
  }];
  let arguments = (ins Morph_Float:$teacher, Morph_Float:$student);
  let results = (outs Morph_Float:$result);
  let rules = [HasShape<"teacher", "NV", "reverse_kl_divergence_c1">,
      HasShape<"student", "NV", "reverse_kl_divergence_c1">];
  let resultShapes = ["N"];
}

def Morph_KeepTopOp : Morph_ComputeOp<"keep_top"> {
  let summary = "Logits [N,V] of which a row's `count` greatest are kept, and the others are nothing in its softmax";
  let description = [{
    The others, but those that equal the last one kept, become 200 less than the greatest: a share below 1e-86.
    Constraints: keep_top_c1 logits is [N,V]; keep_top_c2 count is from 1 to V.
  }];
  let arguments = (ins Morph_Float:$logits, I64Attr:$count);
  let results = (outs Morph_Float:$result);
  let rules = [HasShape<"logits", "NV", "keep_top_c1">, Range<"count", "1", "V", "keep_top_c2">];
  let resultShapes = ["NV"];
  let assemblyFormat = "$logits `count` $count attr-dict `:` type($logits)";
}

def Morph_CorrectOp : Morph_ComputeOp<"correct"> {
  let summary = "1 where the largest logit of the row is the target's, else 0: [N]";
  let description = [{Constraints: correct_c1 logits is [N,V] and targets [N].}];
  let arguments = (ins Morph_Float:$logits, Morph_Index:$targets);
  let results = (outs Morph_Float:$result);
  let rules = [HasShape<"logits", "NV", "correct_c1">, HasShape<"targets", "N", "correct_c1">];
  let resultShapes = ["N"];
  let indices = [Below<"targets", "V">];
}

def Morph_SquaredErrorOp : Morph_DifferentiableOp<"squared_error", [SameTypeOperands]> {
  let summary = "A scalar squared distance of x to target";
  let description = [{
    `normalize`: `mean` divides the sum of squares by the number of elements, `rows` by the number of rows (elements
    over the last dimension), `relative` by the sum of squares of the target. The target gets no gradient.
    Constraints: squared_error_c1 normalize is one of 'mean', 'rows', 'relative'.
  }];
  let arguments = (ins Morph_Float:$x, Morph_Float:$target, StrAttr:$normalize);
  let results = (outs Morph_Float:$result);
  let rules = [HasShape<"x", "*", "">, HasShape<"target", "*", "">,
      OneOf<"normalize", "mean|rows|relative", "squared_error_c1">];
  let resultShapes = [""];
  let assemblyFormat = "$x `,` $target `normalize` $normalize attr-dict `:` type($x)";
}

def Morph_WeightedMeanOp : Morph_DifferentiableOp<"weighted_mean"> {
  let summary = "sum(weights * x) / sum(weights) of x [N], a scalar";
  let description = [{
    The weights get no gradient.
    Constraints: weighted_mean_c1 x and weights are [N].
  }];
  let arguments = (ins Morph_Float:$x, Morph_Float:$weights);
  let results = (outs Morph_Float:$result);
  let rules = [HasShape<"x", "N", "weighted_mean_c1">, HasShape<"weights", "N", "weighted_mean_c1">];
  let resultShapes = [""];
}

def Morph_StackOp : Morph_ComputeOp<"stack", [SameTypeOperands]> {
  let summary = "Scalars as a vector";
  let description = [{Constraints: stack_c1 there is one operand or more, all scalars.}];
  let arguments = (ins Variadic<Morph_Float>:$scalars);
  let results = (outs Morph_Float:$result);
  let rules = [Range<"#scalars", "1", kDimension, "stack_c1">, HasShape<"scalars", "", "stack_c1">,
      Size<"N", "#scalars", "stack_c1">];
  let resultShapes = ["N"];
}

#endif // MORPH_LOSS_OPS_TD
