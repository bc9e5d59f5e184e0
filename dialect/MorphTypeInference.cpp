// SPDX-License-Identifier: Apache-2.0
// Result types of the forward ops and the losses, with the constraints on their operands' shapes.

#include "dialect/MorphOps.h"
#include "dialect/ShapeRules.h"
#include "dialect/SizeLimits.h"
#include "dialect/backends/LinearAttentionBackend.h"

#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace morph;

namespace {
/// The type of an op whose rhs has the trailing dimensions of its lhs.
LogicalResult inferTrailing(const ShapeRules &rules, StringRef label, Value lhs, Value rhs,
                            SmallVectorImpl<Type> &results) {
  if (failed(rules.matchAny(label, "lhs", lhs)) || failed(rules.matchAny(label, "rhs", rhs)))
    return failure();
  auto lhsType = cast<RankedTensorType>(lhs.getType()), rhsType = cast<RankedTensorType>(rhs.getType());
  ArrayRef<int64_t> lhsShape = lhsType.getShape(), rhsShape = rhsType.getShape();
  bool fits = rhsShape.size() <= lhsShape.size();
  if (fits)
    for (auto [left, right] : llvm::zip(lhsShape.take_back(rhsShape.size()), rhsShape))
      fits &= ShapedType::isDynamic(left) || ShapedType::isDynamic(right) || left == right;
  if (!fits) {
    std::string text;
    llvm::raw_string_ostream(text) << "rhs is " << rhsType << ", expected the trailing dimensions of lhs (" << lhsType
                                   << ")";
    return rules.fail(label, text);
  }
  results.push_back(lhsType);
  return success();
}

/// The type of an elementwise op of one operand, which ODS constrains.
LogicalResult inferUnary(Value x, SmallVectorImpl<Type> &results) {
  results.push_back(x.getType());
  return success();
}
} // namespace

LogicalResult morph::checkEps(const ShapeRules &rules, StringRef label, const llvm::APFloat &eps) {
  if (eps.convertToDouble() > 0 && eps.isFinite())
    return success();
  SmallString<16> text;
  eps.toString(text);
  return rules.fail(label, "eps is " + text + ", expected a positive finite number");
}

LogicalResult morph::checkSize(const ShapeRules &rules, StringRef label, StringRef name, int64_t size, int64_t limit) {
  if (size >= 1 && size <= limit)
    return success();
  return rules.fail(label, name + " is " + Twine(size) + ", expected 1 to " + Twine(limit));
}

#define INFER(OP)                                                                                                      \
  LogicalResult OP::inferReturnTypes(MLIRContext *context, std::optional<Location> location, OP::Adaptor adaptor,      \
                                     SmallVectorImpl<Type> &results)

//===----------------------------------------------------------------------===//
// Embedding, projections, norms
//===----------------------------------------------------------------------===//

INFER(EmbeddingOp) {
  ShapeRules rules(location, "embedding");
  if (failed(rules.match("embedding_c1", "ids", adaptor.getIds(), "BT")) ||
      failed(rules.match("embedding_c2", "table", adaptor.getTable(), "VC")))
    return failure();
  results.push_back(rules.type(context, "BTC"));
  return success();
}

INFER(LinearOp) {
  ShapeRules rules(location, "linear");
  if (failed(rules.match("linear_c1", "x", adaptor.getX(), "*I")) ||
      failed(rules.match("linear_c1", "weight", adaptor.getWeight(), "OI")) ||
      (adaptor.getBias() && failed(rules.match("linear_c2", "bias", adaptor.getBias(), "O"))))
    return failure();
  results.push_back(rules.type(context, "*O"));
  return success();
}

INFER(RmsNormOp) {
  ShapeRules rules(location, "rms_norm");
  if (failed(rules.match("rms_norm_c1", "x", adaptor.getX(), "*C")) ||
      failed(rules.match("rms_norm_c1", "weight", adaptor.getWeight(), "C")))
    return failure();
  if (failed(checkEps(rules, "rms_norm_c2", adaptor.getEps())))
    return failure();
  results.push_back(rules.type(context, "*C"));
  return success();
}

INFER(L2NormOp) {
  ShapeRules rules(location, "l2_norm");
  if (failed(rules.match("l2_norm_c1", "x", adaptor.getX(), "*C")))
    return failure();
  if (failed(checkEps(rules, "l2_norm_c2", adaptor.getEps())))
    return failure();
  results.push_back(rules.type(context, "*C"));
  return success();
}

//===----------------------------------------------------------------------===//
// Shapes
//===----------------------------------------------------------------------===//

INFER(SplitHeadsOp) {
  ShapeRules rules(location, "split_heads");
  if (failed(rules.match("split_heads_c1", "x", adaptor.getX(), "BTE")))
    return failure();
  int64_t heads = adaptor.getHeads(), width = rules.get('E');
  if (heads <= 0 || ShapedType::isDynamic(width) || width % heads != 0)
    return rules.fail("split_heads_c2", "the last dimension of x (" +
                                            (ShapedType::isDynamic(width) ? Twine("?") : Twine(width)) +
                                            ") cannot be split into " + Twine(heads) + " heads");
  rules.set('H', heads);
  rules.set('D', width / heads);
  results.push_back(rules.type(context, "BTHD"));
  return success();
}

INFER(MergeHeadsOp) {
  ShapeRules rules(location, "merge_heads");
  if (failed(rules.match("merge_heads_c1", "x", adaptor.getX(), "BTHD")))
    return failure();
  if (ShapedType::isDynamic(rules.get('H')) || ShapedType::isDynamic(rules.get('D')))
    return rules.fail("merge_heads_c2", "the last two dimensions of x must be known");
  int64_t width = rules.get('H') * rules.get('D'); // Of 31 bits each.
  if (failed(checkSize(rules, "merge_heads_c2", "H*D", width, limits::kDimension)))
    return failure();
  rules.set('E', width);
  results.push_back(rules.type(context, "BTE"));
  return success();
}

INFER(TakeRowsOp) {
  ShapeRules rules(location, "take_rows");
  if (failed(rules.match("take_rows_c1", "x", adaptor.getX(), "BTC")) ||
      failed(rules.match("take_rows_c2", "positions", adaptor.getPositions(), "N")))
    return failure();
  results.push_back(rules.type(context, "NC"));
  return success();
}

INFER(LastRowsOp) {
  ShapeRules rules(location, "last_rows");
  if (failed(rules.match("last_rows_c1", "x", adaptor.getX(), "BTC")))
    return failure();
  results.push_back(rules.type(context, "BC"));
  return success();
}

INFER(MaskPaddingOp) {
  ShapeRules rules(location, "mask_padding");
  if (failed(rules.match("mask_padding_c1", "x", adaptor.getX(), "BTC")) ||
      failed(rules.match("mask_padding_c2", "start", adaptor.getStart(), "B")) ||
      failed(rules.match("mask_padding_c3", "offset", adaptor.getOffset(), "")))
    return failure();
  results.push_back(adaptor.getX().getType());
  return success();
}

//===----------------------------------------------------------------------===//
// Elementwise
//===----------------------------------------------------------------------===//

INFER(AddOp) {
  return inferTrailing(ShapeRules(location, "add"), "add_c1", adaptor.getLhs(), adaptor.getRhs(), results);
}

INFER(MulOp) {
  return inferTrailing(ShapeRules(location, "mul"), "mul_c1", adaptor.getLhs(), adaptor.getRhs(), results);
}

INFER(ScaleOp) { return inferUnary(adaptor.getX(), results); }
INFER(ExpOp) { return inferUnary(adaptor.getX(), results); }
INFER(SigmoidOp) { return inferUnary(adaptor.getX(), results); }
INFER(SiluOp) { return inferUnary(adaptor.getX(), results); }
INFER(SoftplusOp) { return inferUnary(adaptor.getX(), results); }
INFER(SwigluOp) { return inferUnary(adaptor.getX(), results); }

//===----------------------------------------------------------------------===//
// Token mixing
//===----------------------------------------------------------------------===//

INFER(RopeOp) {
  ShapeRules rules(location, "rope");
  if (failed(rules.match("rope_c1", "x", adaptor.getX(), "BTHD")) ||
      (adaptor.getOffset() && failed(rules.match("rope_c2", "offset", adaptor.getOffset(), ""))))
    return failure();
  results.push_back(rules.type(context, "BTHD"));
  return success();
}

LogicalResult morph::checkGroups(const ShapeRules &rules, StringRef label) {
  int64_t heads = rules.get('H'), groups = rules.get('G');
  if (!ShapedType::isDynamic(heads) && !ShapedType::isDynamic(groups) && groups != 0 && heads % groups == 0)
    return success();
  return rules.fail(label, "the heads of q (" + Twine(heads) + ") must be a multiple of the heads of k and v (" +
                               Twine(groups) + ")");
}

INFER(AttentionOp) {
  ShapeRules rules(location, "attention");
  if (failed(rules.match("attention_c1", "q", adaptor.getQ(), "BTHD")) ||
      failed(rules.match("attention_c2", "k", adaptor.getK(), "BSGD")) ||
      failed(rules.match("attention_c3", "v", adaptor.getV(), "BSGD")))
    return failure();
  if (failed(checkGroups(rules, "attention_c4")))
    return failure();
  if (adaptor.getStart() && failed(rules.match("attention_c5", "start", adaptor.getStart(), "B")))
    return failure();
  if (failed(checkSize(rules, "attention_c6", "window", adaptor.getWindow().value_or(1), limits::kDimension)))
    return failure();
  results.push_back(rules.type(context, "BTHD"));
  return success();
}

INFER(ConcatOp) {
  ShapeRules rules(location, "concat");
  if (failed(rules.matchAny("concat_c1", "past", adaptor.getPast())) ||
      failed(rules.matchAny("concat_c2", "x", adaptor.getX())))
    return failure();
  auto past = cast<RankedTensorType>(adaptor.getPast().getType());
  auto added = cast<RankedTensorType>(adaptor.getX().getType());
  if (past.getRank() < 2)
    return rules.fail("concat_c1", "past needs two dimensions or more");
  SmallVector<int64_t> shape(past.getShape());
  bool fits = added.getRank() == past.getRank();
  for (int64_t i = 0; fits && i < past.getRank(); ++i) {
    int64_t size = added.getDimSize(i);
    bool isDynamic = ShapedType::isDynamic(size) || ShapedType::isDynamic(shape[i]);
    if (i == 1)
      shape[i] = isDynamic ? ShapedType::kDynamic : shape[i] + size;
    else if (ShapedType::isDynamic(shape[i]))
      shape[i] = size;
    else
      fits = isDynamic || shape[i] == size;
  }
  if (!fits) {
    std::string text;
    llvm::raw_string_ostream(text) << "x is " << added << ", expected the dimensions of past (" << past
                                   << ") but for the second";
    return rules.fail("concat_c2", text);
  }
  results.push_back(getTensorType(context, shape));
  return success();
}

LogicalResult morph::matchLinearAttention(ShapeRules &rules, StringRef kind, Value q, Value k, Value v,
                                          ValueRange extras, Value state) {
  if (failed(rules.match("linear_attention_c1", "q", q, "BTHK")) ||
      failed(rules.match("linear_attention_c2", "k", k, "BTHK")) ||
      failed(rules.match("linear_attention_c3", "v", v, "BTHV")))
    return failure();
  std::optional<ArrayRef<LinearAttentionKernelOperand>> operands = getLinearAttentionKernel(kind);
  if (!operands)
    return rules.fail("linear_attention_c4", "no backend has a kernel '" + kind +
                                                 "'; there are: " + llvm::join(getLinearAttentionKernelNames(), ", "));
  if (operands->size() != extras.size())
    return rules.fail("linear_attention_c5", "kernel '" + kind + "' takes " + Twine(operands->size()) +
                                                 " further operands, got " + Twine(extras.size()));
  for (auto [operand, extra] : llvm::zip_equal(*operands, extras))
    if (failed(rules.match("linear_attention_c5", operand.name, extra, operand.shape)))
      return failure();
  if (state && failed(rules.match("linear_attention_c6", "state", state, "BHKV")))
    return failure();
  return success();
}

INFER(LinearAttentionOp) {
  ShapeRules rules(location, "linear_attention");
  if (failed(matchLinearAttention(rules, adaptor.getKind(), adaptor.getQ(), adaptor.getK(), adaptor.getV(),
                                  adaptor.getExtras(), adaptor.getState())))
    return failure();
  if (failed(checkSize(rules, "linear_attention_c7", "chunk", adaptor.getChunk(), limits::kChunk)))
    return failure();
  results.push_back(rules.type(context, "BTHV"));
  results.push_back(rules.type(context, "BHKV"));
  return success();
}

LogicalResult morph::matchShortConv(ShapeRules &rules, Value x, Value weight, Value state) {
  if (failed(rules.match("short_conv_c1", "x", x, "BTC")) ||
      failed(rules.match("short_conv_c2", "weight", weight, "C1W")))
    return failure();
  int64_t width = rules.get('W');
  if (ShapedType::isDynamic(width) || width < 2)
    return rules.fail("short_conv_c2", "the convolution's width must be known and at least 2");
  // The state's length is checked as a dimension of its own.
  rules.set('P', width - 1, "W-1");
  if (state && failed(rules.match("short_conv_c3", "state", state, "BPC")))
    return failure();
  return success();
}

INFER(ShortConvOp) {
  ShapeRules rules(location, "short_conv");
  if (failed(matchShortConv(rules, adaptor.getX(), adaptor.getWeight(), adaptor.getState())))
    return failure();
  results.push_back(rules.type(context, "BTC"));
  results.push_back(rules.type(context, "BPC"));
  return success();
}

//===----------------------------------------------------------------------===//
// Blends
//===----------------------------------------------------------------------===//

INFER(BlendOp) {
  ShapeRules rules(location, "blend");
  if (adaptor.getCandidates().size() < 2)
    return rules.fail("blend_c1", "got " + Twine(adaptor.getCandidates().size()) + " candidates, expected two or more");
  for (auto [index, candidate] : llvm::enumerate(adaptor.getCandidates()))
    if (failed(rules.match("blend_c1", ("candidate " + Twine(index)).str(), candidate, "*")))
      return failure();
  rules.set('N', adaptor.getCandidates().size() - 1, "one less than the candidates");
  if (failed(rules.match("blend_c2", "gate", adaptor.getGate(), "N")))
    return failure();
  results.push_back(rules.type(context, "*"));
  return success();
}

//===----------------------------------------------------------------------===//
// Losses and measures
//===----------------------------------------------------------------------===//

INFER(TokenNllOp) {
  ShapeRules rules(location, "token_nll");
  if (failed(rules.match("token_nll_c1", "logits", adaptor.getLogits(), "NV")) ||
      failed(rules.match("token_nll_c2", "targets", adaptor.getTargets(), "N")))
    return failure();
  results.push_back(rules.type(context, "N"));
  return success();
}

INFER(KlDivergenceOp) {
  ShapeRules rules(location, "kl_divergence");
  if (failed(rules.match("kl_divergence_c1", "teacher", adaptor.getTeacher(), "NV")) ||
      failed(rules.match("kl_divergence_c1", "student", adaptor.getStudent(), "NV")))
    return failure();
  results.push_back(rules.type(context, "N"));
  return success();
}

INFER(CorrectOp) {
  ShapeRules rules(location, "correct");
  if (failed(rules.match("correct_c1", "logits", adaptor.getLogits(), "NV")) ||
      failed(rules.match("correct_c1", "targets", adaptor.getTargets(), "N")))
    return failure();
  results.push_back(rules.type(context, "N"));
  return success();
}

LogicalResult morph::checkNormalize(const ShapeRules &rules, StringRef label, StringRef normalize) {
  if (normalize == "mean" || normalize == "rows" || normalize == "relative")
    return success();
  return rules.fail(label, "normalize is '" + normalize + "', expected 'mean', 'rows' or 'relative'");
}

INFER(SquaredErrorOp) {
  results.push_back(getTensorType(context, {}));
  return checkNormalize(ShapeRules(location, "squared_error"), "squared_error_c1", adaptor.getNormalize());
}

INFER(WeightedMeanOp) {
  ShapeRules rules(location, "weighted_mean");
  if (failed(rules.match("weighted_mean_c1", "x", adaptor.getX(), "N")) ||
      failed(rules.match("weighted_mean_c1", "weights", adaptor.getWeights(), "N")))
    return failure();
  results.push_back(getTensorType(context, {}));
  return success();
}

INFER(StackOp) {
  ShapeRules rules(location, "stack");
  if (adaptor.getScalars().empty())
    return rules.fail("stack_c1", "got no operand, expected one or more");
  for (Value scalar : adaptor.getScalars())
    if (failed(rules.match("stack_c1", "operand", scalar, "")))
      return failure();
  results.push_back(getTensorType(context, {int64_t(adaptor.getScalars().size())}));
  return success();
}

#undef INFER
