// SPDX-License-Identifier: Apache-2.0
// Primitive ops of the forward pass. Shapes: B batch, T positions, S cached positions, C hidden, H heads, G key-value
// heads, D head dimension, N rows, V vocabulary.

#ifndef MORPH_COMPUTE_OPS_TD
#define MORPH_COMPUTE_OPS_TD

include "dialect/MorphBase.td"
include "dialect/MorphInterfaces.td"
include "dialect/MorphKernelTraits.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

class Morph_ComputeOp<string mnemonic, list<Trait> traits = []>
    : Morph_InstructionOp<mnemonic, traits> {
  let assemblyFormat = "operands attr-dict `:` type(operands)";
}
class Morph_DifferentiableOp<string mnemonic, list<Trait> traits = []>
    : Morph_ComputeOp<mnemonic, !listconcat([DeclareOpInterfaceMethods<DifferentiableOpInterface>], traits)>;
// An op that gives its operand `of` another shape.
class Morph_ViewOp<string mnemonic, string of>
    : Morph_DifferentiableOp<mnemonic, [Morph_KernelForm<>, Morph_View]> {
  let viewOf = of;
}
class Morph_UnaryOp<string mnemonic, string text, string scalar, string torch>
    : Morph_DifferentiableOp<mnemonic, [Morph_Elementwise<["x"], [scalar]>]> {
  let summary = text;
  let arguments = (ins Morph_Float:$x);
  let results = (outs Morph_Float:$result);
  let resultShapes = ["=x"];
  let inPlace = ["x"];
  let pyTorch = torch;
}

//===----------------------------------------------------------------------===//
// Embedding, projections, norms
//===----------------------------------------------------------------------===//

def Morph_EmbeddingOp : Morph_DifferentiableOp<"embedding"> {
  let summary = "Rows of a table [V,C] at token ids [B,T]: [B,T,C]";
  let description = "Constraints: embedding_c1 ids is [B,T]; embedding_c2 table is [V,C].";
  let arguments = (ins Morph_Index:$ids, Morph_Half:$table);
  let results = (outs Morph_Float:$result);
  let rules = [HasShape<"ids", "BT", "embedding_c1">, HasShape<"table", "VC", "embedding_c2">];
  let resultShapes = ["BTC"];
  let indices = [Below<"ids", "V">];
}

def Morph_LinearOp : Morph_DifferentiableOp<"linear", [AllElementTypesMatch<["x", "weight"]>, Morph_Rowwise]> {
  let summary = "x [...,I] times weight [O,I] transposed, plus bias [O]: [...,O]";
  let description = [{
    Constraints: linear_c1 weight is [O,I] with I the last dimension of x; linear_c2 bias is [O].
  }];
  let arguments = (ins Morph_Half:$x, Morph_Half:$weight, Optional<Morph_Float>:$bias);
  let results = (outs Morph_Float:$result);
  let rules = [HasShape<"x", "*I", "linear_c1">, HasShape<"weight", "OI", "linear_c1">,
      HasShape<"bias", "O", "linear_c2">];
  let resultShapes = ["*O"];
  let factors = ["x", "weight"];
  let flops = "2 * d.rows() * d('I') * d('O')";
  let assemblyFormat = "$x `,` $weight (`,` $bias^)? attr-dict `:` type($x) `,` type($weight) (`,` type($bias)^)?";
}

def Morph_RmsNormOp
    : Morph_DifferentiableOp<"rms_norm", [Morph_KernelForm<["getLineWidth", "isUniformOperand"]>, Morph_Rowwise]> {
  let summary = "weight * x / sqrt(mean(x^2) + eps) over the last dimension, statistics in fp32";
  let description = [{
    Constraints: rms_norm_c1 weight is [C] with C the last dimension of x; rms_norm_c2 eps is positive.
  }];
  let arguments = (ins Morph_Float:$x, Morph_Float:$weight, F64Attr:$eps);
  let results = (outs Morph_Float:$result);
  let rules = [HasShape<"x", "*C", "rms_norm_c1">, HasShape<"weight", "C", "rms_norm_c1">,
      Positive<"eps", "rms_norm_c2">];
  let resultShapes = ["*C"];
  let inPlace = ["x"];
  let assemblyFormat = "$x `,` $weight `eps` $eps attr-dict `:` type($x) `,` type($weight)";
}

def Morph_L2NormOp : Morph_DifferentiableOp<"l2_norm", [Morph_KernelForm<["getLineWidth"]>, Morph_Rowwise]> {
  let summary = "x / sqrt(sum(x^2) + eps) over the last dimension";
  let description = "Constraints: l2_norm_c1 x has a dimension; l2_norm_c2 eps is positive.";
  let arguments = (ins Morph_Float:$x, F64Attr:$eps);
  let results = (outs Morph_Float:$result);
  let rules = [HasShape<"x", "*C", "l2_norm_c1">, Positive<"eps", "l2_norm_c2">];
  let resultShapes = ["*C"];
  let inPlace = ["x"];
  let assemblyFormat = "$x `eps` $eps attr-dict `:` type($x)";
}

//===----------------------------------------------------------------------===//
// Shapes
//===----------------------------------------------------------------------===//

def Morph_SplitHeadsOp : Morph_ViewOp<"split_heads", "x"> {
  let summary = "[B,T,H*D] as [B,T,H,D]";
  let description = "Constraints: split_heads_c1 x is [B,T,E]; split_heads_c2 `heads` divides E.";
  let arguments = (ins Morph_Float:$x, I64Attr:$heads);
  let results = (outs Morph_Float:$result);
  let rules = [HasShape<"x", "BTE", "split_heads_c1">, Size<"H", "heads", "split_heads_c2">,
      Size<"D", "E / H", "split_heads_c2">];
  let resultShapes = ["BTHD"];
  let zeroWhere = [["x"]];
  let assemblyFormat = "$x `heads` $heads attr-dict `:` type($x)";
  let hasFolder = 1;
}

def Morph_MergeHeadsOp : Morph_ViewOp<"merge_heads", "x"> {
  let summary = "[B,T,H,D] as [B,T,H*D]";
  let description = [{
    Constraints: merge_heads_c1 x is [B,T,H,D]; merge_heads_c2 H and D are known, their product within the limit.
  }];
  let arguments = (ins Morph_Float:$x);
  let results = (outs Morph_Float:$result);
  let rules = [HasShape<"x", "BTHD", "merge_heads_c1">, Size<"E", "H * D", "merge_heads_c2">];
  let resultShapes = ["BTE"];
  let zeroWhere = [["x"]];
  let hasFolder = 1;
}

def Morph_ExpandOp : Morph_DifferentiableOp<"expand"> {
  let summary = "x [...] as [...,E]: each element as a row of E equal ones";
  let description = "Constraints: expand_c1 `width` is positive and within the limit.";
  let arguments = (ins Morph_Float:$x, I64Attr:$width);
  let results = (outs Morph_Float:$result);
  let rules = [HasShape<"x", "*", "">, Size<"E", "width", "expand_c1">];
  let resultShapes = ["*E"];
  let zeroWhere = [["x"]];
  let assemblyFormat = "$x `to` $width attr-dict `:` type($x)";
}

def Morph_SumLastOp : Morph_DifferentiableOp<"sum_last"> {
  let summary = "The sums of x [...,E] over its last dimension: [...]";
  let description = "Constraints: sum_last_c1 x has a dimension.";
  let arguments = (ins Morph_Float:$x);
  let results = (outs Morph_Float:$result);
  let rules = [HasShape<"x", "*E", "sum_last_c1">];
  let resultShapes = ["*"];
  let zeroWhere = [["x"]];
}

def Morph_TakeRowsOp : Morph_DifferentiableOp<"take_rows", [Morph_TakesRows]> {
  let summary = "Rows of x [B,T,C] at positions [N] = b*T+t: [N,C]";
  let description = "Constraints: take_rows_c1 x is [B,T,C]; take_rows_c2 positions is [N].";
  let arguments = (ins Morph_Float:$x, Morph_Index:$positions);
  let results = (outs Morph_Float:$result);
  let rules = [HasShape<"x", "BTC", "take_rows_c1">, HasShape<"positions", "N", "take_rows_c2">];
  let resultShapes = ["NC"];
  let indices = [Below<"positions", "BT">];
}

def Morph_LastRowsOp : Morph_ComputeOp<"last_rows", [Morph_TakesRows]> {
  let summary = "The last position of each sequence of x [B,T,C]: [B,C]";
  let description = "Constraints: last_rows_c1 x is [B,T,C].";
  let arguments = (ins Morph_Float:$x);
  let results = (outs Morph_Float:$result);
  let rules = [HasShape<"x", "BTC", "last_rows_c1">];
  let resultShapes = ["BC"];
}

def Morph_MaskPaddingOp : Morph_ComputeOp<"mask_padding"> {
  let summary = "x [B,T,C] with the positions before start [B] set to zero";
  let description = [{
    The positions of sequence b of `x` are offset[b] and following; `start` counts from position 0.
    Constraints: mask_padding_c1 x is [B,T,C]; mask_padding_c2 start is [B]; mask_padding_c3 offset is [B].
  }];
  let arguments = (ins Morph_Float:$x, Morph_Index:$start, Morph_Index:$offset);
  let results = (outs Morph_Float:$result);
  let rules = [HasShape<"x", "BTC", "mask_padding_c1">, HasShape<"start", "B", "mask_padding_c2">,
      HasShape<"offset", "B", "mask_padding_c3">];
  let resultShapes = ["BTC"];
  let inPlace = ["x"];
  let hasFolder = 1;
}

//===----------------------------------------------------------------------===//
// Elementwise
//===----------------------------------------------------------------------===//

def Morph_AddOp : Morph_DifferentiableOp<"add", [Morph_Elementwise<["lhs", "rhs"], ["lhs + rhs"]>]> {
  let summary = "lhs + rhs, where rhs has lhs's trailing dimensions";
  let description = "Constraints: add_c1 the shape of rhs ends the shape of lhs.";
  let arguments = (ins Morph_Float:$lhs, Morph_Float:$rhs);
  let results = (outs Morph_Float:$result);
  let rules = [Trailing<"rhs", "lhs", "add_c1">];
  let resultShapes = ["=lhs"];
  let inPlace = ["lhs"];
  let zeroWhere = [["lhs", "rhs"]];
}

def Morph_MulOp : Morph_DifferentiableOp<"mul", [Morph_Elementwise<["lhs", "rhs"], ["lhs * rhs"]>]> {
  let summary = "lhs * rhs, where rhs has lhs's trailing dimensions";
  let description = "Constraints: mul_c1 the shape of rhs ends the shape of lhs.";
  let arguments = (ins Morph_Float:$lhs, Morph_Float:$rhs);
  let results = (outs Morph_Float:$result);
  let rules = [Trailing<"rhs", "lhs", "mul_c1">];
  let resultShapes = ["=lhs"];
  let inPlace = ["lhs"];
  let zeroWhere = [["lhs"], ["rhs"]];
}

def Morph_ScaleOp : Morph_DifferentiableOp<"scale", [Morph_Elementwise<["x"], ["factor * x"], "", ["factor"]>]> {
  let summary = "factor * x, with a constant factor";
  let arguments = (ins Morph_Float:$x, F64Attr:$factor);
  let results = (outs Morph_Float:$result);
  let resultShapes = ["=x"];
  let inPlace = ["x"];
  let zeroWhere = [["x"]];
  let assemblyFormat = "$x `by` $factor attr-dict `:` type($x)";
  let hasFolder = 1;
  let hasCanonicalizer = 1;
}

def Morph_OffsetOp : Morph_DifferentiableOp<"offset", [Morph_Elementwise<["x"], ["x + term"], "", ["term"]>]> {
  let summary = "x + term, with a constant term";
  let arguments = (ins Morph_Float:$x, F64Attr:$term);
  let results = (outs Morph_Float:$result);
  let resultShapes = ["=x"];
  let inPlace = ["x"];
  let assemblyFormat = "$x `by` $term attr-dict `:` type($x)";
}

def Morph_CastOp : Morph_DifferentiableOp<"cast", [Morph_KernelForm<>]> {
  let summary = "x as f32 or bf16, rounded to the nearest";
  let description = "Constraints: cast_c1 dtype is one of 'f32', 'bf16'.";
  let arguments = (ins Morph_Half:$x, StrAttr:$dtype);
  let results = (outs Morph_Half:$result);
  let rules = [OneOf<"dtype", "f32|bf16", "cast_c1">];
  let resultShapes = ["=x"];
  let resultType = "dtype";
  let zeroWhere = [["x"]];
  let assemblyFormat = "$x `to` $dtype attr-dict `:` type($x)";
  let hasFolder = 1;
}

def Morph_ExpOp : Morph_UnaryOp<"exp", "e to the x", "exp(x)", "{}.exp()">;
def Morph_LogOp : Morph_UnaryOp<"log", "The natural logarithm of x", "log(x)", "{}.log()">;
def Morph_SigmoidOp : Morph_UnaryOp<"sigmoid", "1 / (1 + exp(-x))", "sigmoid(x)", "{}.sigmoid()">;
// A difference of sigmoids has an absolute error; near zero, where it would be all, tanh's series has none to speak of.
defvar tanhSeries = "x * fma(x * x, fma(x * x, fma(x * x, fma(x * x, fma(x * x, fma(x * x, fma(x * x, -929569.0 / 638512875, "
    # "21844.0 / 6081075), -1382.0 / 155925), 62.0 / 2835), -17.0 / 315), 2.0 / 15), -1.0 / 3), 1)";
def Morph_TanhOp : Morph_UnaryOp<"tanh", "(exp(x) - exp(-x)) / (exp(x) + exp(-x))",
    !strconcat("selectBelow(abs(x), 0.125, ", tanhSeries, ", sigmoid(2 * x) - sigmoid(-2 * x))"), "{}.tanh()">;
def Morph_SiluOp : Morph_UnaryOp<"silu", "x * sigmoid(x)", "x * sigmoid(x)", "F.silu({})">;
// (1 + tanh(u)) / 2 is sigmoid(2 u), and 2 sqrt(2 / pi) the slope of 2 u at 0.
defvar geluSlope = "1.5957691216057308";
def Morph_GeluTanhOp : Morph_UnaryOp<"gelu_tanh", "x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)))",
    !strconcat("x * sigmoid(", geluSlope, " * x * fma(x * x, 0.044715, 1))"), "F.gelu({}, approximate=\"tanh\")">;
def Morph_QuickGeluOp : Morph_UnaryOp<"quick_gelu", "x * sigmoid(1.702 * x)", "x * sigmoid(1.702 * x)", "quick_gelu({})">;
def Morph_SoftplusOp : Morph_UnaryOp<"softplus", "log(1 + exp(x))",
    "max(x, 0) + log1p(exp(-abs(x)))", "F.softplus({})">;

def Morph_SwigluOp : Morph_DifferentiableOp<"swiglu", [SameTypeOperands,
    Morph_Elementwise<["gate", "x"], ["gate * sigmoid(gate) * x"]>]> {
  let summary = "silu(gate) * x";
  let arguments = (ins Morph_Float:$gate, Morph_Float:$x);
  let results = (outs Morph_Float:$result);
  let rules = [HasShape<"gate", "*", "">, HasShape<"x", "*", "">];
  let resultShapes = ["*"];
  let inPlace = ["gate", "x"];
  let assemblyFormat = "$gate `,` $x attr-dict `:` type($x)";
}

//===----------------------------------------------------------------------===//
// Mixtures of experts
//===----------------------------------------------------------------------===//

def Morph_TopKSoftmaxOp : Morph_DifferentiableOp<"top_k_softmax", [Morph_Rowwise]> {
  let summary = "softmax of x [...,E] over its last dimension, whose `count` greatest are kept and the others zero";
  let description = [{
    The router of a mixture of experts (arXiv 2101.03961): x are its logits, the result how much each expert takes part.
    With `normalised` what is kept is divided by its sum. Of equal logits the first are kept.
    Constraints: top_k_softmax_c1 x has a dimension; top_k_softmax_c2 count is from 1 to E.
  }];
  let arguments = (ins Morph_Float:$x, I64Attr:$count, UnitAttr:$normalised);
  let results = (outs Morph_Float:$result);
  let rules = [HasShape<"x", "*E", "top_k_softmax_c1">, Range<"count", "1", "E", "top_k_softmax_c2">];
  let resultShapes = ["*E"];
  let assemblyFormat = "$x `count` $count (`normalised` $normalised^)? attr-dict `:` type($x)";
}

// The operands of a mixture of experts, and their rules, as its gradients have them.
defvar expertsOperands = (ins Morph_Half:$x, Morph_Float:$routing, Morph_Half:$gate_up, Morph_Half:$down,
    I64Attr:$active);
defvar expertsRules = [HasShape<"x", "*C", "experts_c1">, HasShape<"routing", "*E", "experts_c2">,
    HasShape<"down", "ECF", "experts_c3">, Size<"W", "2 * F", "experts_c4">, HasShape<"gate_up", "EWC", "experts_c4">,
    Range<"active", "1", "E", "experts_c5">];
// Products of a row with its experts' matrices: 3 C F of them for each.
defvar expertsProducts = "d.rows() * static_cast<double>(d.integer(\"active\", 1)) * d('C') * d('F')";

def Morph_ExpertsOp : Morph_DifferentiableOp<"experts", [AllElementTypesMatch<["x", "gate_up", "down"]>,
    Morph_Rowwise]> {
  let summary = "A mixture of experts on x [...,C]: the sum over e of routing_e * down_e (silu(g) * u), g and u gate_up_e x";
  let description = [{
    gate_up_e is [2F,C], its first F rows give g and the others u; down_e is [C,F]. Experts of which routing [...,E] is
    exactly zero are left out, and so are their gradients: what is left out stands not in the result, whatever it would
    be. `active` is how many shares of a row are not zero at most, which is for the program to keep (as a top_k_softmax of
    that count does): costs count by it, and a GPU's kernel has places for so many.
    Constraints: experts_c1 x is [...,C]; experts_c2 routing is [...,E] with the leading dimensions of x; experts_c3 down
    is [E,C,F]; experts_c4 gate_up is [E,2F,C]; experts_c5 active is from 1 to E.
  }];
  let arguments = expertsOperands;
  let results = (outs Morph_Float:$result);
  let rules = expertsRules;
  let resultShapes = ["*C"];
  let factors = ["x", "gate_up", "down"];
  let zeroWhere = [["x"], ["routing"]];
  let flops = !strconcat("6 * ", expertsProducts);
  let scratch = "expertsScratch(d)";
  let assemblyFormat = [{
    $x `,` $routing `,` $gate_up `,` $down `active` $active attr-dict
    `:` type($x) `,` type($routing) `,` type($gate_up) `,` type($down)
  }];
}

//===----------------------------------------------------------------------===//
// Token mixing
//===----------------------------------------------------------------------===//

def Morph_RopeOp : Morph_DifferentiableOp<"rope", [DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "Rotary position embedding of x [B,T,H,D], rotate-half";
  let description = [{
    The first 2*F of the D elements are rotated, F the table's length; sine and cosine are multiplied by the table's
    attention factor. Position t of sequence b has index offset[b] + t (offset 0 where absent). With `inverse` the
    rotation is transposed, which is its gradient.
    Constraints: rope_c1 x is [B,T,H,D]; rope_c2 offset is [B]; rope_c3 the model has a rope table of that name;
    rope_c4 2*F is at most D.
  }];
  let arguments = (ins Morph_Float:$x, Optional<Morph_Index>:$offset, FlatSymbolRefAttr:$table, UnitAttr:$inverse);
  let results = (outs Morph_Float:$result);
  let rules = [HasShape<"x", "BTHD", "rope_c1">, HasShape<"offset", "B", "rope_c2">, Table<"table", "D", "rope_c4">];
  let resultShapes = ["BTHD"];
  let inPlace = ["x"];
  let zeroWhere = [["x"]];
  let scratch = "d.threads() * ropeWorkspace(d.frequencies(), d.sumBytes())";
  let assemblyFormat = [{
    $x (`offset` $offset^)? `table` $table (`inverse` $inverse^)? attr-dict `:` type($x) (`,` type($offset)^)?
  }];
  let hasFolder = 1;
}

def Morph_AttentionOp : Morph_DifferentiableOp<"attention",
    [AttrSizedOperandSegments, AllElementTypesMatch<["q", "k", "v"]>]> {
  let summary = "Causal grouped-query softmax attention of q [B,T,H,D] on k, v [B,S,G,D]: [B,T,H,D]";
  let description = [{
    Query t has position S - T + t and sees the keys of positions not later, not before start [B] (0 where absent), and,
    with a `window`, of the last `window` positions, its own included. A row that sees no key gives zero.

    With `offset` query t of sequence b has position offset[b] + t, and k and v are rings (`cache_write`): the key of
    position p lies in slot p mod S. When the program runs, S is at least the window and the T - 1 positions after it,
    or, where that is less or there is no window, offset[b] + T for every b.

    With `begins` [B,T] the window of a sequence holds several documents: query t sees no key before begins[b,t], where its
    document begins. Positions of a document stand together, T is S, and there is neither start nor offset
    (morph-separate-documents).

    A score is scale * product or, with a `softcap` c, c * tanh(scale * product / c), which lies within -c and c.

    With `keep_lse` there is a second result for attention_grad, which finds it again otherwise: [B,H,T], the logarithm of
    the sum of exp(score) over the keys that a query sees, infinity where it sees none. morph-keep-states asks
    for it.
    Constraints: attention_c1 q is [B,T,H,D]; attention_c2 k is [B,S,G,D]; attention_c3 v is [B,S,G,D]; attention_c4
    G divides H; attention_c5 start is [B]; attention_c6 window is positive and within the limit; attention_c7 offset is
    [B]; attention_c8 softcap is positive; attention_c9 begins is [B,T], and T is S; attention_c10 begins comes without
    start and offset; attention_c11 scale is positive.
  }];
  let arguments = (ins Morph_Half:$q, Morph_Half:$k, Morph_Half:$v, Optional<Morph_Index>:$start,
      Optional<Morph_Index>:$offset, Optional<Morph_Index>:$begins, F64Attr:$scale, OptionalAttr<I64Attr>:$window, OptionalAttr<F64Attr>:$softcap,
      UnitAttr:$keep_lse);
  let results = (outs Morph_Float:$result, Variadic<Morph_Float>:$kept);
  let rules = [HasShape<"q", "BTHD", "attention_c1">, HasShape<"k", "BSGD", "attention_c2">,
      HasShape<"v", "BSGD", "attention_c3">, Divides<"G", "H", "attention_c4">,
      HasShape<"start", "B", "attention_c5">, Range<"window", "1", kDimension, "attention_c6">,
      HasShape<"offset", "B", "attention_c7">, Positive<"softcap", "attention_c8">,
      HasShape<"begins", "BT", "attention_c9">, HasShape<"begins", "BS", "attention_c9">,
      AtMostOne<"start|begins", "attention_c10">, AtMostOne<"offset|begins", "attention_c10">,
      Positive<"scale", "attention_c11">];
  let resultShapes = ["BTHD", "?keep_lse=BHT"];
  let factors = ["q", "k", "v"];
  let rings = [Ring<"k", "offset", "window">, Ring<"v", "offset", "window">];
  let mixesTokens = 1;
  let flops = [{ 4 * d('B') * d('H') * d('D') * attentionPairs(d('T'), d('S'), d.integer("window", d('S'))) }];
  let scratch = "attentionScratch(d)";
  let assemblyFormat = [{
    $q `,` $k `,` $v (`start` $start^)? (`offset` $offset^)? (`begins` $begins^)? `scale` $scale (`window` $window^)?
    (`softcap` $softcap^)? (`keep_lse` $keep_lse^)? attr-dict `:` type($q) `,` type($k) `,` type($v)
    (`start` type($start)^)? (`offset` type($offset)^)? (`begins` type($begins)^)?
  }];
}

//===----------------------------------------------------------------------===//
// Statistics: what first values of weights are made of (morph.mixer_calibrate). No gradient flows through them.
//===----------------------------------------------------------------------===//

def Morph_PositionMeanOp : Morph_ComputeOp<"position_mean"> {
  let summary = "The mean of x [B,T,...] over batch and positions: [...]";
  let description = "Constraints: position_mean_c1 x has two dimensions or more.";
  let arguments = (ins Morph_Float:$x);
  let results = (outs Morph_Float:$result);
  let rules = [HasShape<"x", "BT~", "position_mean_c1">];
  let resultShapes = ["~"];
  let zeroWhere = [["x"]];
  let mixesTokens = 1;
}

def Morph_AttentionDistanceOp : Morph_ComputeOp<"attention_distance"> {
  let summary = "How far back the heads of a causal attention of q [B,T,H,D] on k [B,T,G,D] look: [H]";
  let description = [{
    The mean over batch and queries i of the sum over keys j of p_ij (i - j), where p are the shares of `attention`, with
    its `scale`, `window` and `softcap`. Sums are taken in the same order whatever the threads.
    Constraints: attention_distance_c1 q is [B,T,H,D]; attention_distance_c2 k is [B,T,G,D]; attention_distance_c3 G
    divides H; attention_distance_c4 window is positive and within the limit; attention_distance_c5 scale is positive;
    attention_distance_c6 softcap is positive.
  }];
  let arguments = (ins Morph_Float:$q, Morph_Float:$k, F64Attr:$scale, OptionalAttr<I64Attr>:$window,
      OptionalAttr<F64Attr>:$softcap);
  let results = (outs Morph_Float:$result);
  let rules = [HasShape<"q", "BTHD", "attention_distance_c1">, HasShape<"k", "BTGD", "attention_distance_c2">,
      Divides<"G", "H", "attention_distance_c3">, Range<"window", "1", kDimension, "attention_distance_c4">,
      Positive<"scale", "attention_distance_c5">, Positive<"softcap", "attention_distance_c6">];
  let resultShapes = ["H"];
  let mixesTokens = 1;
  let flops = [{ 2 * d('B') * d('H') * d('D') * attentionPairs(d('T'), d('T'), d.integer("window", d('T'))) }];
  let scratch = "attentionDistanceScratch(d)";
  let assemblyFormat = [{
    $q `,` $k `scale` $scale (`window` $window^)? (`softcap` $softcap^)? attr-dict `:` type($q) `,` type($k)
  }];
}

def Morph_CacheWriteOp : Morph_ComputeOp<"cache_write"> {
  let summary = "The ring cache [B,S,...] with x [B,T,...] at positions offset[b], offset[b]+1, ...: the cache, in place";
  let description = [{
    Position p lies in slot p mod S, so that the ring keeps the last S positions. x is rounded to the ring's element type.
    Constraints: cache_write_c1 cache has two dimensions or more; cache_write_c2 x has the cache's dimensions but for
    the second; cache_write_c3 offset is [B]; cache_write_c4 T is at most S, also when the program runs.
  }];
  let arguments = (ins Morph_Half:$cache, Morph_Float:$x, Morph_Index:$offset);
  let results = (outs Morph_Half:$result);
  let rules = [HasShape<"cache", "BS~", "cache_write_c1">, HasShape<"x", "BT~", "cache_write_c2">,
      HasShape<"offset", "B", "cache_write_c3">, AtMost<"T", "S", "cache_write_c4">];
  let resultShapes = ["BS~"];
  let updates = ["cache"];
  let flops = "d('B') * d('T')"; // Moves alone.
  let assemblyFormat = "$cache `,` $x `offset` $offset attr-dict `:` type($cache) `,` type($x) `,` type($offset)";
}

// The operands of the recurrence, and their rules, as linear_attention and its gradient have them.
defvar linearAttentionOperands = (ins Morph_Half:$q, Morph_Half:$k, Morph_Half:$v, Optional<Morph_Float>:$head_decay,
    Optional<Morph_Float>:$decay, Optional<Morph_Float>:$channel_decay, Optional<Morph_Float>:$beta,
    Optional<Morph_Float>:$write, Optional<Morph_Float>:$erase, Optional<Morph_Float>:$bonus,
    Optional<Morph_Float>:$state, Optional<Morph_Index>:$begins, F64Attr:$scale, I64Attr:$chunk,
    OptionalAttr<F64Attr>:$normaliser);
defvar linearAttentionRules = [HasShape<"q", "BTGK", "linear_attention_c1">,
    HasShape<"k", "BTGK", "linear_attention_c2">, HasShape<"v", "BTHV", "linear_attention_c3">,
    Divides<"G", "H", "linear_attention_c4">, HasShape<"head_decay", "H", "linear_attention_c5">,
    HasShape<"decay", "BTH", "linear_attention_c5">, HasShape<"channel_decay", "BTHK", "linear_attention_c5">,
    AtMostOne<"head_decay|decay|channel_decay", "linear_attention_c6">, HasShape<"beta", "BTH", "linear_attention_c7">,
    HasShape<"write", "BTHK", "linear_attention_c7">, HasShape<"erase", "BTHK", "linear_attention_c7">,
    Together<"write|erase", "linear_attention_c8">, AtMostOne<"beta|write", "linear_attention_c8">,
    HasShape<"bonus", "HK", "linear_attention_c9">, Size<"W", "V + ?normaliser", "linear_attention_c10">,
    HasShape<"state", "BHKW", "linear_attention_c10">, Range<"chunk", "1", kChunk, "linear_attention_c11">,
    Positive<"normaliser", "linear_attention_c12">, HasShape<"begins", "BT", "linear_attention_c13">,
    AtMostOne<"state|begins", "linear_attention_c14">, Size<"N", "T // chunk", "">];

def Morph_LinearAttentionOp : Morph_DifferentiableOp<"linear_attention",
    [AttrSizedOperandSegments, AllElementTypesMatch<["q", "k", "v"]>]> {
  let summary = "A gated linear recurrence on q, k [B,T,G,K] and v [B,T,H,V]: output [B,T,H,V] and final state";
  let description = [{
    Linear attention: RetNet, lightning attention, GLA, HGRN2, Mamba2, (gated) DeltaNet, KDA, RWKV7 and others are
    choices of operands. A head has the state S [K,V], zero before the first position or `state`. Position t with its
    q, k and v does

        S <- D S + a (b^T D S) + k v^T,  o = scale * (S^T q + (sum_c bonus_c q_c k_c) v)

    D is the diagonal matrix of the decays, whose natural logarithms, not positive, are `head_decay` [H], `decay` [B,T,H]
    or `channel_decay` [B,T,H,K]; without one of them it is one. a and b are `write` and `erase` [B,T,H,K]; without them
    there is no such term. The delta rule has `beta` [B,T,H] instead: S <- D S + k u^T with u = beta (v - (D S)^T k).
    `bonus` is [H,K], zero where absent. Head h has q and k of group h / (H / G).

    With a `normaliser` v has a further column of ones: W is V + 1, the last column of S sums up the keys, and the other
    elements of o are divided by its last one plus `normaliser`. Otherwise W is V. The final state [B,H,K,W] is written in
    the place of `state`. Computed in chunks of `chunk` positions; the result does not depend on it but for rounding. A
    position with a zero k does nothing to a zero state.

    With `begins` [B,T] the window of a sequence holds several documents, that of position t beginning at begins[b,t]: S is
    zero before each, and the final state is the last one's (morph-separate-documents).

    For linear_attention_grad, which finds them again otherwise, there are two more results: with `keep_states` the states
    [B,H,N,K,W] at the starts of the N chunks, with `keep_written` [B,T,H,W] what a position adds under its key or vector:
    v - (D S)^T k of the delta rule, b^T D S of `write`, else v (with its column of ones). morph-keep-states asks for them.
    Constraints: linear_attention_c1 q is [B,T,G,K]; linear_attention_c2 k is [B,T,G,K]; linear_attention_c3 v is
    [B,T,H,V]; linear_attention_c4 G divides H; linear_attention_c5 head_decay is [H], decay [B,T,H], channel_decay
    [B,T,H,K]; linear_attention_c6 there is one decay at most; linear_attention_c7 beta is [B,T,H], write and erase
    are [B,T,H,K]; linear_attention_c8 write and erase come together and without beta; linear_attention_c9 bonus is
    [H,K]; linear_attention_c10 state is [B,H,K,W]; linear_attention_c11 chunk is positive and within the limit;
    linear_attention_c12 normaliser is positive; linear_attention_c13 begins is [B,T]; linear_attention_c14 begins comes
    without state.
  }];
  let arguments = !con(linearAttentionOperands, (ins UnitAttr:$keep_states, UnitAttr:$keep_written));
  let results = (outs Morph_Float:$result, Morph_Float:$final_state, Variadic<Morph_Float>:$kept);
  let rules = linearAttentionRules;
  let resultShapes = ["BTHV", "BHKW", "?keep_states=BHNKW|?keep_written=BTHW"];
  let factors = ["q", "k", "v"];
  let updates = ["", "state", ""];
  let mixesTokens = 1;
  let flops = "linearAttentionFlops(d)";
  let scratch = "linearAttentionScratch(d)";
  let assemblyFormat = [{
    $q `,` $k `,` $v (`head_decay` $head_decay^)? (`decay` $decay^)? (`channel_decay` $channel_decay^)? (`beta` $beta^)?
    (`write` $write^)? (`erase` $erase^)? (`bonus` $bonus^)? (`state` $state^)? (`begins` $begins^)? `scale` $scale `chunk` $chunk
    (`normaliser` $normaliser^)? (`keep_states` $keep_states^)? (`keep_written` $keep_written^)?
    attr-dict `:` type($q) `,` type($k) `,` type($v)
    (`head_decay` type($head_decay)^)? (`decay` type($decay)^)? (`channel_decay` type($channel_decay)^)?
    (`beta` type($beta)^)? (`write` type($write)^)? (`erase` type($erase)^)? (`bonus` type($bonus)^)?
    (`state` type($state)^)? (`begins` type($begins)^)?
  }];
}

def Morph_ShortConvOp : Morph_DifferentiableOp<"short_conv", [AttrSizedOperandSegments]> {
  let summary = "Causal depthwise convolution of x [B,T,C] with weight [C,1,W]: output [B,T,C] and final state";
  let description = [{
    `state` [B,W-1,C] holds the inputs before the first position (zero where absent); the final state is the last W-1
    inputs, in the place of `state`. With `begins` [B,T] the window of a sequence holds several documents, that of position
    t beginning at begins[b,t]; nothing before that is an input of its.
    Constraints: short_conv_c1 x is [B,T,C]; short_conv_c2 weight is [C,1,W] with W at least 2; short_conv_c3 state is
    [B,W-1,C]; short_conv_c4 begins is [B,T]; short_conv_c5 begins comes without state.
  }];
  let arguments = (ins Morph_Float:$x, Morph_Float:$weight, Optional<Morph_Float>:$state, Optional<Morph_Index>:$begins);
  let results = (outs Morph_Float:$result, Morph_Float:$final_state);
  let rules = [HasShape<"x", "BTC", "short_conv_c1">, HasShape<"weight", "C1W", "short_conv_c2">,
      Range<"W", "2", kDimension, "short_conv_c2">, Size<"P", "W - 1", "short_conv_c2">,
      HasShape<"state", "BPC", "short_conv_c3">, HasShape<"begins", "BT", "short_conv_c4">,
      AtMostOne<"state|begins", "short_conv_c5">];
  let resultShapes = ["BTC", "BPC"];
  let updates = ["", "state"];
  let mixesTokens = 1;
  let flops = "2 * d('B') * d('T') * d('C') * d('W')";
  let scratch = "alignedBytes(d('C') * d('W') * d.sumBytes())"; // The taps as rows.
  let assemblyFormat = [{
    $x `,` $weight (`state` $state^)? (`begins` $begins^)? attr-dict `:` type($x) `,` type($weight)
    (`state` type($state)^)? (`begins` type($begins)^)?
  }];
}

#endif // MORPH_COMPUTE_OPS_TD
