// SPDX-License-Identifier: Apache-2.0
// What a step of training does with gradients: sums over batches, clipping, AdamW. All of it in place.

#ifndef MORPH_UPDATE_OPS_TD
#define MORPH_UPDATE_OPS_TD

include "dialect/MorphComputeOps.td"

def Morph_AccumulateOp : Morph_ComputeOp<"accumulate"> {
  let summary = "sum + share * x: the sum, in place";
  let description = [{
    Of a step of n batches the share of each is 1/n, so that the sum of gradients becomes their mean.
    Constraints: accumulate_c1 sum and x have one shape; accumulate_c2 share is a scalar.
  }];
  let arguments = (ins Morph_Float:$sum, Morph_Float:$x, Morph_Float:$share);
  let results = (outs Morph_Float:$result);
  let rules = [HasShape<"sum", "*", "accumulate_c1">, HasShape<"x", "*", "accumulate_c1">,
      HasShape<"share", "", "accumulate_c2">];
  let resultShapes = ["*"];
  let updates = ["sum"];
  let flops = "2 * d.rows()";
}

def Morph_GlobalNormOp : Morph_ComputeOp<"global_norm"> {
  let summary = "The 2-norm of all elements of all tensors, a scalar";
  let description = [{
    The squares are added up in double, in the order of blocks that do not depend on the threads.
    Constraints: global_norm_c1 there is one tensor or more.
  }];
  let arguments = (ins Variadic<Morph_Float>:$tensors);
  let results = (outs Morph_Float:$result);
  let rules = [Range<"#tensors", "1", kDimension, "global_norm_c1">];
  let resultShapes = [""];
}

def Morph_ClipOp : Morph_ComputeOp<"clip"> {
  let summary = "x * min(1, limit / (norm + 1e-6)): x, in place";
  let description = [{
    `norm` is that of all gradients that share the limit: torch.nn.utils.clip_grad_norm_.
    Constraints: clip_c1 norm is a scalar; clip_c2 limit is a positive finite number.
  }];
  let arguments = (ins Morph_Float:$x, Morph_Float:$norm, F64Attr:$limit);
  let results = (outs Morph_Float:$result);
  let rules = [HasShape<"x", "*", "">, HasShape<"norm", "", "clip_c1">, Positive<"limit", "clip_c2">];
  let resultShapes = ["*"];
  let updates = ["x"];
  let flops = "d.rows()";
  let assemblyFormat = "$x `,` $norm `limit` $limit attr-dict `:` type($x) `,` type($norm)";
}

def Morph_AdamwOp : Morph_ComputeOp<"adamw"> {
  let summary = "A step of AdamW: the parameter and its two moments, in place";
  let description = [{
    With p the parameter, g its gradient, m and v the moments, r the rate and t the step, counted from 1:

        p <- p - r * weight_decay * p
        m <- m + (1 - beta1) (g - m)
        v <- beta2 v + (1 - beta2) g g
        p <- p - r / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + epsilon)

    as torch.optim.AdamW has it (Loshchilov and Hutter 2019, arXiv 1711.05101, algorithm 2).
    Constraints: adamw_c1 gradient and moments have the parameter's shape; adamw_c2 rate and step are scalars; adamw_c3
    epsilon is a positive finite number; adamw_c4 beta1 and beta2 are from 0 to less than 1, weight_decay is finite and
    not negative.
  }];
  let arguments = (ins Morph_Float:$parameter, Morph_Float:$gradient, Morph_Float:$first, Morph_Float:$second,
      Morph_Float:$rate, Morph_Index:$step, F64Attr:$beta1, F64Attr:$beta2, F64Attr:$epsilon, F64Attr:$weight_decay);
  let results = (outs Morph_Float:$next_parameter, Morph_Float:$next_first, Morph_Float:$next_second);
  let rules = [HasShape<"parameter", "*", "adamw_c1">, HasShape<"gradient", "*", "adamw_c1">,
      HasShape<"first", "*", "adamw_c1">, HasShape<"second", "*", "adamw_c1">, HasShape<"rate", "", "adamw_c2">,
      HasShape<"step", "", "adamw_c2">, Positive<"epsilon", "adamw_c3">, Real<"beta1", "0", "1", "adamw_c4">,
      Real<"beta2", "0", "1", "adamw_c4">, Real<"weight_decay", "0", "", "adamw_c4">];
  let resultShapes = ["*", "*", "*"];
  let updates = ["parameter", "first", "second"];
  let flops = "14 * d.rows()";
}

#endif // MORPH_UPDATE_OPS_TD
