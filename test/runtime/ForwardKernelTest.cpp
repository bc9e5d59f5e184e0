// SPDX-License-Identifier: Apache-2.0
// Forward kernels against a float64 reference written another way (of elementwise ops: ElementwiseKernelTest.cpp); the
// path that autograd records and the fast path must both agree with it, in fp32 and in fp64.

#include "RunKernel.h"

#include "runtime/kernels/Vectorize.h"

#include <gtest/gtest.h>

namespace morph {
namespace {

at::Tensor drawn(at::IntArrayRef shape, int64_t salt = 0) {
  at::Tensor values = at::arange(at::empty(shape).numel(), at::kDouble);
  // Irrational steps give numbers without a pattern, in [-2, 2], the same on every run.
  return (at::sin(values * 12.9898 + static_cast<double>(salt) * 78.233) * 43758.5453).frac().mul(2).view(shape);
}

struct ForwardCase {
  std::string name, op;
  std::vector<at::Tensor> operands; ///< Floats in fp64.
  Attributes attributes;
  at::Tensor expected;
  double tolerance = 1e-5; ///< In fp32, relative to the largest element.
};

at::Tensor ropeReference(const at::Tensor &x, const std::vector<int64_t> &offsets, bool inverse) {
  const double frequencies[] = {1, 0.3, 0.02};
  at::Tensor y = x.clone();
  for (int64_t b = 0; b < x.size(0); ++b)
    for (int64_t t = 0; t < x.size(1); ++t)
      for (int64_t i = 0; i < 3; ++i) {
        double angle = static_cast<double>(offsets[static_cast<size_t>(b)] + t) * frequencies[i] * (inverse ? -1 : 1);
        at::Tensor low = x[b][t].select(1, i), high = x[b][t].select(1, 3 + i);
        y[b][t].select(1, i).copy_(1.1 * (low * std::cos(angle) - high * std::sin(angle)));
        y[b][t].select(1, 3 + i).copy_(1.1 * (low * std::sin(angle) + high * std::cos(angle)));
      }
  return y;
}

/// The share of each expert [N,E]: the two greatest of each row of p, the rest zero; `sum`: divided by theirs.
at::Tensor twoGreatest(const at::Tensor &p, bool normalised) {
  at::Tensor y = at::zeros_like(p);
  for (int64_t n = 0; n < p.size(0); ++n) {
    const at::Tensor order = p[n].argsort(-1, /*descending=*/true).narrow(0, 0, 2), kept = p[n].index({order});
    y[n].index_put_({order}, normalised ? kept / kept.sum() : kept);
  }
  return y;
}

/// Rows of x without all but their `count` greatest elements.
at::Tensor keepTop(const at::Tensor &x, int64_t count) {
  const at::Tensor order = std::get<0>(x.sort(-1, /*descending=*/true));
  return at::where(x.lt(order.narrow(-1, count - 1, 1)), order.narrow(-1, 0, 1) - 200, x);
}

/// Every expert on every row, one einsum each.
at::Tensor expertsReference(const at::Tensor &x, const at::Tensor &routing, const at::Tensor &gateUp,
                            const at::Tensor &down) {
  const std::vector<at::Tensor> h = at::einsum("...c,ewc->...ew", {x, gateUp}).chunk(2, -1);
  return at::einsum("...ef,ecf,...e->...c", {h[0] / (1 + (-h[0]).exp()) * h[1], down, routing});
}

std::vector<ForwardCase> cases() {
  at::Tensor x = drawn({2, 3, 8}), wide = drawn({4, 1000}, 3), other = drawn({4, 1000}, 4) * 3;
  at::Tensor ids = at::tensor({0, 4, 2, 2, 1, 0}, at::kLong).view({2, 3});
  at::Tensor positions = at::tensor({5, 0, 3, 3}, at::kLong), targets = at::tensor({0, 999, 17, 500}, at::kLong);
  at::Tensor table = drawn({5, 8}, 1), weight = drawn({7, 8}, 2), bias = drawn({7}, 5), scale = drawn({8}, 6);
  at::Tensor heads = drawn({2, 3, 2, 8}, 7), offset = at::tensor({5, 2}, at::kLong);
  at::Tensor p = wide.softmax(1), q = other.softmax(1), rowWeights = drawn({4}, 8).abs();
  at::Tensor padded = x.clone();
  padded[0].narrow(0, 0, 2).zero_(); // Start 7 with offset 5.
  padded[1].narrow(0, 0, 1).zero_(); // Start 3 with offset 2.
  // Position 8 lies in slot 3, position 1 in slot 1.
  at::Tensor ring = drawn({2, 5, 2, 8}, 9), wrapped = ring.clone();
  for (int64_t t = 0; t < 3; ++t) {
    wrapped[0][(8 + t) % 5].copy_(heads[0][t]);
    wrapped[1][1 + t].copy_(heads[1][t]);
  }
  at::Tensor gate1 = at::tensor({0.3}, at::kDouble), gate2 = at::tensor({0.3, 0.5}, at::kDouble);
  Attributes eps = {{"eps", 1e-5}};
  at::Tensor mean = x.pow(2).sum(-1, true) / 8;
  // More rows than a block has; the first expert has them all, the last one none.
  at::Tensor many = drawn({2, 301, 8}, 10), gateUp = drawn({5, 12, 8}, 11), down = drawn({5, 8, 6}, 12);
  at::Tensor routing = twoGreatest(drawn({602, 5}, 13), false).view({2, 301, 5});
  routing.select(2, 0).fill_(0.25);
  routing.select(2, 4).zero_();
  at::Tensor ties = at::tensor({1.0, 3.0, 3.0, 3.0, 0.0}, at::kDouble).view({1, 5});
  return {
      {"Embedding", "embedding", {ids, table}, {}, table.index({ids})},
      {"Linear", "linear", {x, weight, at::Tensor()}, {}, at::einsum("bti,oi->bto", {x, weight})},
      {"LinearBias", "linear", {x, weight, bias}, {}, at::einsum("bti,oi->bto", {x, weight}) + bias},
      {"RmsNorm", "rms_norm", {x, scale}, eps, x / (mean + 1e-5).sqrt() * scale},
      {"L2Norm", "l2_norm", {heads}, eps, heads / (heads.pow(2).sum(-1, true) + 1e-5).sqrt()},
      {"SplitHeads", "split_heads", {x}, {{"heads", int64_t(4)}}, x.view({2, 3, 4, 2})},
      {"MergeHeads", "merge_heads", {heads.transpose(1, 2).contiguous().transpose(1, 2)}, {}, heads.view({2, 3, 16})},
      {"Expand", "expand", {x}, {{"width", int64_t(3)}}, at::stack({x, x, x}, -1)},
      {"SumLast", "sum_last", {heads}, {}, at::einsum("bthd->bth", {heads})},
      {"PositionMean", "position_mean", {heads}, {}, heads.sum(0).sum(0) / 6},
      {"PositionMeanOfNumbers", "position_mean", {x.select(2, 0)}, {}, x.select(2, 0).sum() / 6},
      {"TakeRows", "take_rows", {x, positions}, {}, at::stack({x[1][2], x[0][0], x[1][0], x[1][0]})},
      {"LastRows", "last_rows", {x}, {}, at::stack({x[0][2], x[1][2]})},
      {"MaskPadding", "mask_padding", {x, at::tensor({7, 3}, at::kLong), offset}, {}, padded},
      {"MaskNothing", "mask_padding", {x, at::tensor({0, 2}, at::kLong), offset}, {}, x},
      {"AddScalar", "add", {x, at::full({}, 2.0, at::kDouble)}, {}, x + 2},
      {"TopKSoftmax", "top_k_softmax", {wide}, {{"count", int64_t(2)}}, twoGreatest(p, false)},
      {"TopKSoftmaxNormalised",
       "top_k_softmax",
       {wide},
       {{"count", int64_t(2)}, {"normalised", true}},
       twoGreatest(p, true)},
      {"TopKSoftmaxTies",
       "top_k_softmax",
       {ties},
       {{"count", int64_t(2)}, {"normalised", true}},
       at::tensor({0.0, 0.5, 0.5, 0.0, 0.0}, at::kDouble).view({1, 5})},
      {"Experts",
       "experts",
       {many, routing, gateUp, down},
       {{"active", int64_t(3)}},
       expertsReference(many, routing, gateUp, down)},
      {"ExpertsOfOneRow",
       "experts",
       {many[0].narrow(0, 0, 1), routing[0].narrow(0, 0, 1), gateUp, down},
       {{"active", int64_t(3)}},
       expertsReference(many[0].narrow(0, 0, 1), routing[0].narrow(0, 0, 1), gateUp, down)},
      {"Rope", "rope", {heads, at::Tensor()}, {{"table", std::string("rope")}}, ropeReference(heads, {0, 0}, false)},
      {"RopeOffset", "rope", {heads, offset}, {{"table", std::string("rope")}}, ropeReference(heads, {5, 2}, false)},
      {"RopeInverse",
       "rope",
       {heads, offset},
       {{"table", std::string("rope")}, {"inverse", true}},
       ropeReference(heads, {5, 2}, true)},
      {"CacheWrite", "cache_write", {ring, heads, at::tensor({8, 1}, at::kLong)}, {}, wrapped},
      {"CacheWriteAll",
       "cache_write",
       {heads, ring.narrow(1, 0, 3), at::tensor({6, 3}, at::kLong)},
       {},
       ring.narrow(1, 0, 3)},
      {"Accumulate", "accumulate", {x, x.flip(0), at::full({}, 0.25, at::kDouble)}, {}, x + 0.25 * x.flip(0)},
      {"GlobalNorm",
       "global_norm",
       {x, wide, scale},
       {},
       (x.pow(2).sum() + wide.pow(2).sum() + scale.pow(2).sum()).sqrt()},
      {"Clip", "clip", {x, at::full({}, 4.0, at::kDouble)}, {{"limit", 0.5}}, x * (0.5 / 4.000001)},
      {"ClipNothing", "clip", {x, at::full({}, 4.0, at::kDouble)}, {{"limit", 5.0}}, x},
      {"AdamW",
       "adamw",
       {x, x.flip(0), x.flip(1) * 0.1, x.pow(2), at::full({}, 0.01, at::kDouble), at::full({}, 3, at::kLong)},
       {{"beta1", 0.9}, {"beta2", 0.98}, {"epsilon", 1e-8}, {"weight_decay", 0.5}},
       x * 0.995 - 0.01 * ((0.9 * 0.1 * x.flip(1) + 0.1 * x.flip(0)) / (1 - 0.9 * 0.9 * 0.9)) /
                       (((0.98 * x.pow(2) + 0.02 * x.flip(0).pow(2)) / (1 - 0.98 * 0.98 * 0.98)).sqrt() + 1e-8)},
      {"Blend", "blend", {gate1, x, x.flip(0)}, {}, 0.3 * x + 0.7 * x.flip(0)},
      {"BlendThree", "blend", {gate2, x, x.flip(0), x.flip(1)}, {}, 0.3 * x + 0.5 * x.flip(0) + 0.2 * x.flip(1)},
      {"TokenNll", "token_nll", {wide, targets}, {}, -p.log().gather(1, targets.unsqueeze(1)).squeeze(1)},
      {"KlDivergence", "kl_divergence", {wide, other}, {}, (p * (p.log() - q.log())).sum(1)},
      {"ReverseKlDivergence", "reverse_kl_divergence", {wide, other}, {}, (q * (q.log() - p.log())).sum(1)},
      {"KeepTop", "keep_top", {wide}, {{"count", int64_t(3)}}, keepTop(wide, 3)},
      {"KeepTopTies", "keep_top", {ties}, {{"count", int64_t(2)}}, keepTop(ties, 3)},
      {"KeepTopAll", "keep_top", {ties}, {{"count", int64_t(5)}}, ties},
      {"Correct",
       "correct",
       {wide, at::stack({wide[0].argmax(), wide[1].argmin(), wide[2].argmax(), wide[3].argmin()})},
       {},
       at::tensor({1.0, 0.0, 1.0, 0.0}, at::kDouble)},
      {"SquaredErrorMean",
       "squared_error",
       {wide, other},
       {{"normalize", std::string("mean")}},
       (wide - other).pow(2).mean()},
      {"SquaredErrorRows",
       "squared_error",
       {wide, other},
       {{"normalize", std::string("rows")}},
       (wide - other).pow(2).sum() / 4},
      {"SquaredErrorRelative",
       "squared_error",
       {wide, other},
       {{"normalize", std::string("relative")}},
       (wide - other).pow(2).sum() / other.pow(2).sum()},
      {"WeightedMean",
       "weighted_mean",
       {drawn({4}), rowWeights},
       {},
       (drawn({4}) * rowWeights).sum() / rowWeights.sum()},
      {"Stack", "stack", {bias[0], bias[1], bias[2]}, {}, bias.narrow(0, 0, 3)},
      {"Ones", "ones", {}, {}, at::ones({}, at::kDouble)},
      {"ReduceTo", "reduce_to", {heads}, {{"rank", int64_t(2)}}, heads.sum(at::IntArrayRef({0, 1}))},
      {"ReduceToScalar", "reduce_to", {heads}, {{"rank", int64_t(0)}}, heads.sum()},
      {"ScatterRows",
       "scatter_rows",
       {at::ones({4, 8}, at::kDouble), positions, x},
       {},
       at::tensor({1.0, 0.0, 0.0, 2.0, 0.0, 1.0}, at::kDouble).view({2, 3, 1}).expand({2, 3, 8})},
      {"EmbeddingGrad",
       "embedding_grad",
       {at::ones({2, 3, 4}, at::kDouble), ids},
       {{"rows", int64_t(6)}},
       at::tensor({2.0, 1.0, 2.0, 0.0, 1.0, 0.0}, at::kDouble).view({6, 1}).expand({6, 4})},
  };
}

double relativeError(const at::Tensor &a, const at::Tensor &b) {
  EXPECT_EQ(a.sizes(), b.sizes());
  return (a.to(at::kDouble) - b).abs().max().item<double>() / std::max(b.abs().max().item<double>(), 1e-30);
}

TEST(ForwardKernelTest, AgreesWithTheReference) {
  for (const ForwardCase &test : cases())
    for (const bool wide : {true, false})
      for (bool record : {false, true}) {
        SCOPED_TRACE(test.name + (record ? " recorded" : "") + (wide ? " fp64" : " fp32"));
        std::vector<at::Tensor> operands, before;
        for (const at::Tensor &operand : test.operands) {
          bool real = operand.defined() && operand.scalar_type() == at::kDouble;
          operands.push_back(real && !wide ? operand.to(at::kFloat) : operand);
          before.push_back(operand.defined() ? operands.back().clone() : operand);
        }
        at::Tensor result = runKernel(test.op, operands, test.attributes, record)[0];
        if (!operands.empty()) {
          EXPECT_EQ(result.scalar_type(), wide ? at::kDouble : at::kFloat);
        }
        EXPECT_LT(relativeError(result, test.expected), wide ? 1e-12 : test.tolerance);
        for (size_t i = 0; i < operands.size(); ++i) {
          bool same = !operands[i].defined() || at::equal(operands[i], before[i]);
          EXPECT_TRUE(same) << "operand " << i << " was written";
        }
      }
}

TEST(ForwardKernelTest, Bf16ProductsRoundOnlyTheirFactors) {
  at::Tensor x = drawn({3, 5, 64}).to(at::kFloat), weight = drawn({33, 64}, 1).to(at::kFloat);
  auto rounded = [](const at::Tensor &t) { return t.to(at::kBFloat16).to(at::kDouble); };
  at::Tensor expected = at::matmul(rounded(x), rounded(weight).t());
  auto half = [](const at::Tensor &t) { return runKernel("cast", {t}, {{"dtype", std::string("bf16")}})[0]; };
  at::Tensor y = runKernel("linear", {half(x), half(weight), at::Tensor()})[0];
  EXPECT_EQ(y.scalar_type(), at::kFloat);
  EXPECT_LT(relativeError(y, expected), 8e-3); // ATen's own bf16 product rounds its result.
  at::Tensor dx = runKernel("linear_input_grad", {half(y), half(weight)})[0];
  EXPECT_LT(relativeError(dx, at::matmul(rounded(y), rounded(weight))), 8e-3);
  at::Tensor dw = runKernel("linear_weight_grad", {half(y), half(x)})[0];
  EXPECT_LT(relativeError(dw, at::matmul(rounded(y).reshape({15, 33}).t(), rounded(x).reshape({15, 64}))), 8e-3);
}

TEST(ForwardKernelTest, Bf16ExpertsRoundOnlyTheirFactors) {
  at::Tensor x = drawn({40, 64}).to(at::kBFloat16), routing = twoGreatest(drawn({40, 4}, 1), true).to(at::kFloat);
  at::Tensor gateUp = (drawn({4, 96, 64}, 2) / 8).to(at::kBFloat16), down = drawn({4, 64, 48}, 3).to(at::kBFloat16);
  auto wide = [](const at::Tensor &t) { return t.to(at::kDouble); };
  at::Tensor y = runKernel("experts", {x, routing, gateUp, down}, {{"active", int64_t(2)}})[0];
  EXPECT_EQ(y.scalar_type(), at::kFloat);
  EXPECT_LT(relativeError(y, expertsReference(wide(x), wide(routing), wide(gateUp), wide(down))), 8e-3);
}

TEST(ForwardKernelTest, ExpertsThatNobodyChoseAreNotRead) {
  at::Tensor x = drawn({3, 8}), gateUp = drawn({2, 12, 8}, 1), down = drawn({2, 8, 6}, 2);
  at::Tensor routing = at::tensor({1.0, 0.0}, at::kDouble).repeat({3, 1});
  gateUp[1].fill_(std::nan(""));
  const at::Tensor y = runKernel("experts", {x, routing, gateUp, down}, {{"active", int64_t(1)}})[0];
  EXPECT_TRUE(at::isfinite(y).all().item<bool>());
}

TEST(ForwardKernelTest, Bf16TablesGiveFp32Rows) {
  at::Tensor table = drawn({5, 8}).to(at::kBFloat16);
  at::Tensor rows = runKernel("embedding", {at::tensor({1, 3}, at::kLong).view({1, 2}), table})[0];
  EXPECT_EQ(rows.scalar_type(), at::kFloat);
  EXPECT_TRUE(at::equal(rows[0][1], table[3].to(at::kFloat)));
}

TEST(ForwardKernelTest, AGateAtItsEndGivesTheCandidateItself) {
  at::Tensor a = drawn({64}).to(at::kFloat), b = drawn({64}, 1).to(at::kFloat);
  EXPECT_TRUE(at::equal(runKernel("blend", {at::ones({1}), a, b})[0], a));
  EXPECT_TRUE(at::equal(runKernel("blend", {at::zeros({1}), a, b})[0], b));
}

TEST(ForwardKernelTest, LossesStandLargeLogits) {
  at::Tensor logits = at::tensor({1000.0f, -1000.0f, 0.0f}, at::kFloat).view({1, 3});
  at::Tensor target = at::tensor({1}, at::kLong);
  EXPECT_FLOAT_EQ(runKernel("token_nll", {logits, target})[0].item<float>(), 2000);
  EXPECT_FLOAT_EQ(runKernel("kl_divergence", {logits, logits})[0].item<float>(), 0);
  EXPECT_TRUE(at::isfinite(runKernel("kl_divergence", {logits, -logits})[0]).all().item<bool>());
  EXPECT_TRUE(at::isfinite(runKernel("reverse_kl_divergence", {logits, -logits})[0]).all().item<bool>());
}

TEST(ForwardKernelTest, LossesDoNotDependOnTheHeightOfLogits) {
  // Numbers of a grid, which with an offset are exact: a row has the softmax of another one at any height.
  const at::Tensor x = (drawn({4, 512}, 5) * 3072).round() / 1024, targets = at::tensor({0, 511, 17, 500}, at::kLong);
  const at::Tensor low = x.to(at::kFloat), ones = at::ones({4});
  for (double offset : {100.0, 1000.0}) {
    SCOPED_TRACE(offset);
    const at::Tensor high = (x + offset).to(at::kFloat);
    EXPECT_TRUE(at::equal(high.to(at::kDouble), x + offset));
    EXPECT_TRUE(at::equal(runKernel("token_nll", {high, targets})[0], runKernel("token_nll", {low, targets})[0]));
    for (const char *op : {"kl_divergence", "reverse_kl_divergence"})
      for (const auto &[teacher, student] : {std::pair(low, high), std::pair(high, low)}) {
        const at::Tensor kl = runKernel(op, {teacher, student})[0],
                         gradient = runKernel(std::string(op) + "_grad", {ones, teacher, student})[0];
        EXPECT_GE(kl.min().item<float>(), -1e-7f) << op;
        EXPECT_LT(kl.abs().max().item<float>(), 1e-6f) << op;
        EXPECT_LT(gradient.abs().max().item<float>(), 1e-7f) << op;
      }
  }
}

TEST(ForwardKernelTest, WhatKeepTopLeavesOutWeighsNothing) {
  at::Tensor teacher = drawn({2, 50000}, 1).to(at::kFloat), student = drawn({2, 50000}, 2).to(at::kFloat);
  at::Tensor kl =
      runKernel("kl_divergence", {runKernel("keep_top", {teacher}, {{"count", int64_t(5)}})[0], student})[0];
  const auto [top, places] = teacher.to(at::kDouble).topk(5);
  at::Tensor p = top.log_softmax(-1), q = student.to(at::kDouble).log_softmax(-1).gather(-1, places);
  EXPECT_LT(relativeError(kl, (p.exp() * (p - q)).sum(-1)), 1e-5);
}

TEST(ForwardKernelTest, FastExpIsGoodTo2e7) {
  double worst = 0;
  for (double x = -79; x < 79; x += 0.00137) {
    double value = static_cast<double>(fastExp(static_cast<float>(x)));
    double expected = std::exp(static_cast<double>(static_cast<float>(x)));
    worst = std::max(worst, std::abs(value - expected) / expected);
  }
  EXPECT_LT(worst, 2e-7);
  EXPECT_LT(fastExp(-1e30f), 1e-34f);
  EXPECT_GT(fastExp(1e30f), 1e34f);
  EXPECT_TRUE(std::isnan(fastExp(std::nanf(""))) && std::isnan(fastSigmoid(std::nanf(""))));
}

} // namespace
} // namespace morph
