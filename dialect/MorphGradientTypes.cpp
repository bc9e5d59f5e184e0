// SPDX-License-Identifier: Apache-2.0
// Result types of the ops that only gradients use, with the constraints on their operands' shapes.

#include "dialect/MorphOps.h"
#include "dialect/ShapeRules.h"
#include "dialect/SizeLimits.h"

using namespace mlir;
using namespace morph;

namespace {
/// An operand and the pattern of its shape.
struct Expected {
  StringRef name;
  Value value;
  StringRef pattern;
};

/// Checks all operands under one label and gives the result's type by its pattern.
LogicalResult inferMatched(ShapeRules &rules, MLIRContext *context, StringRef label, ArrayRef<Expected> operands,
                           StringRef result, SmallVectorImpl<Type> &results) {
  for (const Expected &operand : operands)
    if (operand.value && failed(rules.match(label, operand.name, operand.value, operand.pattern)))
      return failure();
  results.push_back(rules.type(context, result));
  return success();
}
} // namespace

#define INFER(OP)                                                                                                      \
  LogicalResult OP::inferReturnTypes(MLIRContext *context, std::optional<Location> location, OP::Adaptor adaptor,      \
                                     SmallVectorImpl<Type> &results)

INFER(ReduceToOp) {
  ShapeRules rules(location, "reduce_to");
  if (failed(rules.match("reduce_to_c1", "x", adaptor.getX(), "*")))
    return failure();
  ArrayRef<int64_t> shape = cast<RankedTensorType>(adaptor.getX().getType()).getShape();
  int64_t rank = adaptor.getRank();
  if (rank < 0 || rank > int64_t(shape.size()))
    return rules.fail("reduce_to_c1", "rank is " + Twine(rank) + ", expected 0 to " + Twine(shape.size()));
  results.push_back(getTensorType(context, shape.take_back(rank)));
  return success();
}

INFER(EmbeddingGradOp) {
  ShapeRules rules(location, "embedding_grad");
  int64_t rows = adaptor.getRows();
  if (failed(checkSize(rules, "embedding_grad_c2", "rows", rows, limits::kDimension)))
    return failure();
  rules.set('V', rows);
  return inferMatched(rules, context, "embedding_grad_c1",
                      {{"dy", adaptor.getDy(), "BTC"}, {"ids", adaptor.getIds(), "BT"}}, "VC", results);
}

INFER(LinearInputGradOp) {
  ShapeRules rules(location, "linear_input_grad");
  return inferMatched(rules, context, "linear_input_grad_c1",
                      {{"dy", adaptor.getDy(), "*O"}, {"weight", adaptor.getWeight(), "OI"}}, "*I", results);
}

INFER(LinearWeightGradOp) {
  ShapeRules rules(location, "linear_weight_grad");
  return inferMatched(rules, context, "linear_weight_grad_c1",
                      {{"dy", adaptor.getDy(), "*O"}, {"x", adaptor.getX(), "*I"}}, "OI", results);
}

INFER(RmsNormInputGradOp) {
  ShapeRules rules(location, "rms_norm_input_grad");
  if (failed(checkEps(rules, "rms_norm_input_grad_c2", adaptor.getEps())))
    return failure();
  return inferMatched(
      rules, context, "rms_norm_input_grad_c1",
      {{"dy", adaptor.getDy(), "*C"}, {"x", adaptor.getX(), "*C"}, {"weight", adaptor.getWeight(), "C"}}, "*C",
      results);
}

INFER(RmsNormWeightGradOp) {
  ShapeRules rules(location, "rms_norm_weight_grad");
  if (failed(checkEps(rules, "rms_norm_weight_grad_c2", adaptor.getEps())))
    return failure();
  return inferMatched(rules, context, "rms_norm_weight_grad_c1",
                      {{"dy", adaptor.getDy(), "*C"}, {"x", adaptor.getX(), "*C"}}, "C", results);
}

INFER(L2NormGradOp) {
  ShapeRules rules(location, "l2_norm_grad");
  if (failed(checkEps(rules, "l2_norm_grad_c2", adaptor.getEps())))
    return failure();
  return inferMatched(rules, context, "l2_norm_grad_c1", {{"dy", adaptor.getDy(), "*C"}, {"x", adaptor.getX(), "*C"}},
                      "*C", results);
}

INFER(ScatterRowsOp) {
  ShapeRules rules(location, "scatter_rows");
  return inferMatched(
      rules, context, "scatter_rows_c1",
      {{"dy", adaptor.getDy(), "NC"}, {"positions", adaptor.getPositions(), "N"}, {"like", adaptor.getLike(), "BTC"}},
      "BTC", results);
}

INFER(SiluGradOp) {
  ShapeRules rules(location, "silu_grad");
  return inferMatched(rules, context, "silu_grad_c1", {{"dy", adaptor.getDy(), "*"}, {"x", adaptor.getX(), "*"}}, "*",
                      results);
}

INFER(SigmoidGradOp) {
  ShapeRules rules(location, "sigmoid_grad");
  return inferMatched(rules, context, "sigmoid_grad_c1", {{"dy", adaptor.getDy(), "*"}, {"y", adaptor.getY(), "*"}},
                      "*", results);
}

INFER(SwigluGradOp) {
  ShapeRules rules(location, "swiglu_grad");
  if (failed(inferMatched(rules, context, "swiglu_grad_c1",
                          {{"dy", adaptor.getDy(), "*"}, {"gate", adaptor.getGate(), "*"}, {"x", adaptor.getX(), "*"}},
                          "*", results)))
    return failure();
  results.push_back(results.back());
  return success();
}

INFER(BlendGateGradOp) {
  ShapeRules rules(location, "blend_gate_grad");
  if (adaptor.getCandidates().size() < 2)
    return rules.fail("blend_gate_grad_c1",
                      "got " + Twine(adaptor.getCandidates().size()) + " candidates, expected two or more");
  SmallVector<Expected> operands = {{"dy", adaptor.getDy(), "*"}};
  for (Value candidate : adaptor.getCandidates())
    operands.push_back({"candidate", candidate, "*"});
  rules.set('N', adaptor.getCandidates().size() - 1);
  return inferMatched(rules, context, "blend_gate_grad_c1", operands, "N", results);
}

INFER(BlendCandidateGradOp) {
  ShapeRules rules(location, "blend_candidate_grad");
  if (failed(inferMatched(rules, context, "blend_candidate_grad_c1",
                          {{"dy", adaptor.getDy(), "*"}, {"gate", adaptor.getGate(), "N"}}, "*", results)))
    return failure();
  int64_t index = adaptor.getIndex(), gates = rules.get('N');
  if (index < 0 || (!ShapedType::isDynamic(gates) && index > gates))
    return rules.fail("blend_candidate_grad_c1",
                      "index is " + Twine(index) + ", expected 0 to " + Twine(gates) + ", the gate's elements");
  return success();
}

INFER(AttentionGradOp) {
  ShapeRules rules(location, "attention_grad");
  if (failed(inferMatched(rules, context, "attention_grad_c1",
                          {{"dy", adaptor.getDy(), "BTHD"}, {"q", adaptor.getQ(), "BTHD"}}, "BTHD", results)) ||
      failed(inferMatched(
          rules, context, "attention_grad_c2",
          {{"k", adaptor.getK(), "BSGD"}, {"v", adaptor.getV(), "BSGD"}, {"start", adaptor.getStart(), "B"}}, "BSGD",
          results)) ||
      failed(checkGroups(rules, "attention_grad_c3")) ||
      failed(checkSize(rules, "attention_grad_c4", "window", adaptor.getWindow().value_or(1), limits::kDimension)))
    return failure();
  results.push_back(results.back());
  return success();
}

INFER(LinearAttentionGradOp) {
  ShapeRules rules(location, "linear_attention_grad");
  if (failed(matchLinearAttention(rules, adaptor.getKind(), adaptor.getQ(), adaptor.getK(), adaptor.getV(),
                                  adaptor.getExtras(), adaptor.getState())) ||
      failed(rules.match("linear_attention_grad_c1", "dy", adaptor.getDy(), "BTHV")) ||
      failed(checkSize(rules, "linear_attention_grad_c2", "chunk", adaptor.getChunk(), limits::kChunk)))
    return failure();
  results.push_back(rules.type(context, "BTHK"));
  results.push_back(rules.type(context, "BTHK"));
  results.push_back(rules.type(context, "BTHV"));
  for (Value extra : adaptor.getExtras())
    results.push_back(extra.getType());
  return success();
}

INFER(ShortConvGradOp) {
  ShapeRules rules(location, "short_conv_grad");
  if (failed(matchShortConv(rules, adaptor.getX(), adaptor.getWeight(), adaptor.getState())) ||
      failed(rules.match("short_conv_grad_c1", "dy", adaptor.getDy(), "BTC")))
    return failure();
  results.push_back(rules.type(context, "BTC"));
  results.push_back(rules.type(context, "C1W"));
  return success();
}

INFER(TokenNllGradOp) {
  ShapeRules rules(location, "token_nll_grad");
  return inferMatched(
      rules, context, "token_nll_grad_c1",
      {{"dy", adaptor.getDy(), "N"}, {"logits", adaptor.getLogits(), "NV"}, {"targets", adaptor.getTargets(), "N"}},
      "NV", results);
}

INFER(KlDivergenceGradOp) {
  ShapeRules rules(location, "kl_divergence_grad");
  return inferMatched(
      rules, context, "kl_divergence_grad_c1",
      {{"dy", adaptor.getDy(), "N"}, {"teacher", adaptor.getTeacher(), "NV"}, {"student", adaptor.getStudent(), "NV"}},
      "NV", results);
}

INFER(SquaredErrorGradOp) {
  ShapeRules rules(location, "squared_error_grad");
  if (failed(
          inferMatched(rules, context, "squared_error_grad_c1",
                       {{"dy", adaptor.getDy(), ""}, {"x", adaptor.getX(), "*"}, {"target", adaptor.getTarget(), "*"}},
                       "*", results)))
    return failure();
  return checkNormalize(rules, "squared_error_grad_c2", adaptor.getNormalize());
}

INFER(WeightedMeanGradOp) {
  ShapeRules rules(location, "weighted_mean_grad");
  return inferMatched(rules, context, "weighted_mean_grad_c1",
                      {{"dy", adaptor.getDy(), ""}, {"weights", adaptor.getWeights(), "N"}}, "N", results);
}

#undef INFER
