// SPDX-License-Identifier: Apache-2.0
// attention and attention_grad against the plain definition in fp64: every way through the kernel (whole, blocks,
// single), grouped queries, windows, left padding and rings.

#include "runtime/kernels/SmallProducts.h"
#include "test/runtime/RunKernel.h"

#include <c10/core/InferenceMode.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <ostream>

namespace morph {
namespace {

struct Case {
  std::string name;
  int64_t batch, queries, keys, heads, kvHeads, width, window;
  std::vector<int64_t> start;
  double softcap = 0;
};

const std::vector<Case> kCases = {
    {"Plain", 2, 33, 33, 4, 4, 16, 0, {}},
    {"Grouped", 2, 70, 70, 6, 2, 8, 0, {}},
    {"OneKeyHead", 1, 40, 40, 3, 1, 64, 0, {}},
    {"Window", 2, 70, 70, 4, 2, 8, 9, {}},
    {"WindowOverBlocks", 1, 600, 600, 2, 1, 8, 100, {}},
    {"WindowOfOne", 1, 20, 20, 2, 2, 8, 1, {}},
    {"WindowWiderThanAll", 1, 20, 20, 2, 2, 8, 50, {}},
    {"Start", 3, 50, 50, 4, 2, 8, 0, {0, 7, 49}},
    {"StartOverBlocks", 2, 300, 300, 2, 1, 8, 0, {280, 3}},
    {"StartBeyondAll", 2, 10, 10, 2, 1, 8, 0, {10, 0}},
    {"StartAndWindow", 2, 50, 50, 4, 2, 8, 11, {20, 1}},
    {"Cache", 2, 13, 40, 4, 2, 8, 0, {}},
    {"CacheStartWindow", 2, 13, 40, 4, 2, 8, 30, {5, 33}},
    {"Decode", 2, 1, 77, 6, 2, 16, 0, {}},
    {"DecodeStart", 3, 1, 77, 6, 2, 16, 0, {0, 50, 77}},
    {"DecodeWindow", 2, 1, 77, 4, 4, 16, 12, {}},
    {"DecodeStartWindow", 2, 1, 77, 4, 2, 16, 12, {70, 3}},
    {"DecodeWide", 1, 1, 1300, 10, 2, 64, 0, {}},
    {"DecodeOddWidth", 2, 1, 67, 4, 1, 37, 0, {}},
    {"DecodeOneHeadEach", 1, 1, 600, 7, 7, 20, 0, {}},
    {"First", 2, 1, 1, 4, 2, 8, 0, {}},
    {"Softcap", 2, 33, 33, 4, 2, 16, 0, {}, 1.5},
    {"SoftcapTight", 1, 40, 40, 2, 2, 8, 0, {}, 0.2},
    {"SoftcapWide", 1, 40, 40, 2, 1, 8, 0, {}, 50},
    {"SoftcapOverBlocks", 1, 600, 600, 2, 1, 8, 100, {}, 1.5},
    {"SoftcapStartWindow", 2, 50, 50, 4, 2, 8, 11, {20, 1}, 1.5},
    {"SoftcapStartBeyondAll", 2, 10, 10, 2, 1, 8, 0, {10, 0}, 1.5},
    {"SoftcapCache", 2, 13, 40, 4, 2, 8, 30, {5, 33}, 1.5},
    {"SoftcapDecode", 2, 1, 77, 6, 2, 16, 0, {}, 1.5},
    {"SoftcapDecodeWide", 1, 1, 1300, 10, 2, 64, 0, {}, 3},
    {"SoftcapDecodeStartWindow", 2, 1, 77, 4, 2, 16, 12, {70, 3}, 1.5},
};

void PrintTo(const Case &c, std::ostream *out) { *out << c.name; }

/// Which keys a query sees, as the case says: [B or 1,1,T,S].
at::Tensor visibleKeys(const Case &c) {
  const at::Tensor query = at::arange(c.keys - c.queries, c.keys, at::kLong).view({1, 1, -1, 1});
  const at::Tensor key = at::arange(c.keys, at::kLong).view({1, 1, 1, -1});
  at::Tensor visible = key <= query;
  if (c.window > 0)
    visible = visible.logical_and(key > query - c.window);
  if (!c.start.empty())
    visible = visible.logical_and(key >= at::tensor(c.start, at::kLong).view({-1, 1, 1, 1}));
  return visible;
}

at::Tensor scoresOf(const Case &c, const at::Tensor &q, const at::Tensor &k, double scale) {
  const at::Tensor scores = at::einsum("bthd,bshd->bhts", {q, k.repeat_interleave(c.heads / c.kvHeads, 2)}) * scale;
  return c.softcap > 0 ? c.softcap * at::tanh(scores / c.softcap) : scores;
}

at::Tensor naive(const Case &c, const at::Tensor &q, const at::Tensor &k, const at::Tensor &v, double scale) {
  const at::Tensor visible = visibleKeys(c);
  const at::Tensor values = v.repeat_interleave(c.heads / c.kvHeads, 2);
  const at::Tensor scores = scoresOf(c, q, k, scale).masked_fill(visible.logical_not(), -1e300);
  const at::Tensor shares = at::softmax(scores, -1) * visible;
  return at::einsum("bhts,bshd->bthd", {shares, values});
}

/// The logarithms of the rows' sums [B,H,T]; infinity where a row sees no key.
at::Tensor logSums(const Case &c, const at::Tensor &q, const at::Tensor &k, double scale) {
  const at::Tensor visible = visibleKeys(c);
  const at::Tensor sums = at::logsumexp(scoresOf(c, q, k, scale).masked_fill(visible.logical_not(), -1e300), -1);
  return sums.masked_fill(visible.any(-1).logical_not(), std::numeric_limits<double>::infinity());
}

class AttentionTest : public testing::TestWithParam<Case> {
protected:
  void SetUp() override {
    at::manual_seed(11);
    const Case &c = GetParam();
    q = at::randn({c.batch, c.queries, c.heads, c.width}, at::kDouble);
    k = at::randn({c.batch, c.keys, c.kvHeads, c.width}, at::kDouble);
    v = at::randn({c.batch, c.keys, c.kvHeads, c.width}, at::kDouble);
    dy = at::randn(q.sizes(), at::kDouble);
    scale = 1.3 / std::sqrt(static_cast<double>(c.width));
    attributes = {{"scale", scale}};
    if (c.window > 0)
      attributes["window"] = c.window;
    if (c.softcap > 0)
      attributes["softcap"] = c.softcap;
    if (!c.start.empty())
      start = at::tensor(c.start, at::kLong);
  }
  at::Tensor forward(at::ScalarType type) const {
    return runKernel("attention", {q.to(type), k.to(type), v.to(type), start, {}}, attributes)[0];
  }
  /// The keys that any query sees, but for padding.
  static int64_t keysSeen() {
    const Case &c = GetParam();
    const int64_t before = c.keys - c.queries;
    return c.queries + (c.window > 0 ? std::min(before, c.window - 1) : before);
  }
  /// Of keys or values the last that fit into a ring; what is not written is not a number.
  static at::Tensor ringOf(const at::Tensor &x, int64_t slots) {
    std::vector<int64_t> shape = x.sizes().vec();
    shape[1] = slots;
    const at::Tensor ring = at::full(shape, std::nan(""), x.options());
    for (int64_t position = 0; position < x.size(1); ++position)
      ring.select(1, position % slots).copy_(x.select(1, position));
    return ring;
  }
  at::Tensor onRing(at::ScalarType type, int64_t slots, bool reference = false) const {
    const at::Tensor offset = at::full({q.size(0)}, GetParam().keys - GetParam().queries, at::kLong);
    return runKernel("attention", {q.to(type), ringOf(k.to(type), slots), ringOf(v.to(type), slots), start, offset},
                     attributes, reference)[0];
  }
  /// The result, and the logarithms of its rows' sums.
  std::vector<at::Tensor> keptOf(at::ScalarType type, bool reference = false) const {
    auto keeps = attributes;
    keeps["keep_lse"] = true;
    return runKernel("attention", {q.to(type), k.to(type), v.to(type), start, {}}, keeps, reference);
  }
  /// With what the forward has kept, or without.
  std::vector<at::Tensor> backward(at::ScalarType type, const std::vector<at::Tensor> &kept = {{}, {}}) const {
    return runKernel("attention_grad", {dy.to(type), q.to(type), k.to(type), v.to(type), start, kept[0], kept[1]},
                     attributes);
  }
  /// What factors of bf16 are.
  void round() {
    for (at::Tensor *x : {&q, &k, &v, &dy})
      *x = x->to(at::kBFloat16).to(at::kDouble);
  }
  static void expectClose(const at::Tensor &actual, const at::Tensor &expected, double tolerance) {
    ASSERT_EQ(actual.sizes(), expected.sizes());
    // Gradients through a softmax over one key are zero but for rounding of terms of size one.
    const double scale = std::max(0.1, expected.abs().max().item<double>());
    const double error = (actual.to(at::kDouble) - expected).abs().max().item<double>() / scale;
    EXPECT_TRUE(std::isfinite(error));
    EXPECT_LT(error, tolerance);
  }

  at::Tensor q, k, v, dy, start;
  double scale = 1;
  std::map<std::string, plan::Attribute> attributes;
};

TEST_P(AttentionTest, ForwardIsTheDefinition) {
  const at::Tensor expected = naive(GetParam(), q, k, v, scale);
  expectClose(forward(at::kDouble), expected, 1e-12);
  expectClose(forward(at::kFloat), expected, 1e-5);
  // What is rounded within, shares and their gradients, is where bf16 products are fast.
  round();
  const at::Tensor low = forward(at::kBFloat16);
  EXPECT_EQ(low.scalar_type(), at::kFloat);
  expectClose(low, naive(GetParam(), q, k, v, scale), multipliesBf16() ? 1e-2 : 1e-5);
}

TEST_P(AttentionTest, RingsThatHoldWhatIsSeenGiveTheSame) {
  const at::Tensor expected = naive(GetParam(), q, k, v, scale);
  const int64_t seen = keysSeen();
  for (int64_t slots : {seen, seen + 1, (seen + 127) / 128 * 128, GetParam().keys, 2 * GetParam().keys + 3}) {
    if (slots < seen)
      continue;
    SCOPED_TRACE(testing::Message() << slots << " slots of " << seen);
    expectClose(onRing(at::kDouble, slots), expected, 1e-12);
    expectClose(onRing(at::kFloat, slots), expected, 1e-5);
    expectClose(onRing(at::kBFloat16, slots), expected, 3e-2);
    expectClose(onRing(at::kDouble, slots, /*reference=*/true), expected, 1e-12);
    expectClose(onRing(at::kBFloat16, slots, /*reference=*/true), expected, 3e-2);
  }
  if (seen > 1) {
    EXPECT_THROW(onRing(at::kFloat, seen - 1), c10::Error);
  }
}

TEST_P(AttentionTest, EachSequenceHasItsOwnPositions) {
  // The second sequence is some positions behind the first, and gives what it gives alone.
  const int64_t last = GetParam().keys - GetParam().queries, slots = GetParam().keys + 3;
  at::Tensor offset = at::full({q.size(0)}, last, at::kLong);
  for (int64_t b = 1; b < q.size(0); ++b)
    offset[b] = std::max<int64_t>(0, last - 5 * b);
  for (at::ScalarType type : {at::kDouble, at::kFloat, at::kBFloat16})
    for (bool reference : {false, true}) {
      SCOPED_TRACE(testing::Message() << type << (reference ? ", reference" : ""));
      const at::Tensor keys = ringOf(k.to(type), slots), values = ringOf(v.to(type), slots);
      auto attend = [&](int64_t b, int64_t count) {
        auto of = [&](const at::Tensor &x) { return x.defined() ? x.narrow(0, b, count).contiguous() : x; };
        return runKernel("attention", {of(q.to(type)), of(keys), of(values), of(start), of(offset)}, attributes,
                         reference)[0];
      };
      const at::Tensor together = attend(0, q.size(0));
      for (int64_t b = 0; b < q.size(0); ++b) {
        const at::Tensor alone = attend(b, 1);
        EXPECT_LT((together.narrow(0, b, 1) - alone).abs().max().item<double>(), reference ? 1e-5 : 1e-12);
      }
    }
}

TEST_P(AttentionTest, BackwardIsAutogradOfTheDefinition) {
  const at::Tensor leaves[] = {q.clone().requires_grad_(true), k.clone().requires_grad_(true),
                               v.clone().requires_grad_(true)};
  naive(GetParam(), leaves[0], leaves[1], leaves[2], scale).backward(dy);
  // The executor may run in inference mode.
  c10::InferenceMode inference;
  const std::vector<at::Tensor> wide = backward(at::kDouble), single = backward(at::kFloat),
                                low = backward(at::kBFloat16);
  ASSERT_EQ(wide.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    SCOPED_TRACE(testing::Message() << "operand " << i);
    expectClose(wide[i], leaves[i].grad(), 1e-11);
    expectClose(single[i], leaves[i].grad(), 2e-5);
    expectClose(low[i], leaves[i].grad(), 6e-2);
    EXPECT_EQ(low[i].scalar_type(), at::kFloat);
  }
}

TEST_P(AttentionTest, WhatIsKeptChangesNoBits) {
  const Case &c = GetParam();
  const at::Tensor expected = logSums(c, q, k, scale);
  for (at::ScalarType type : {at::kDouble, at::kFloat, at::kBFloat16}) {
    SCOPED_TRACE(testing::Message() << type);
    const std::vector<at::Tensor> kept = keptOf(type);
    ASSERT_EQ(kept.size(), 2u);
    EXPECT_TRUE(at::equal(kept[0], forward(type)));
    ASSERT_EQ(kept[1].sizes(), expected.sizes());
    const double tolerance = type == at::kDouble ? 1e-12 : type == at::kFloat ? 1e-5 : 3e-2;
    EXPECT_TRUE(at::allclose(kept[1].to(at::kDouble), expected, tolerance, tolerance));
    if (type == at::kDouble) {
      EXPECT_TRUE(at::allclose(keptOf(type, /*reference=*/true)[1], expected, tolerance, tolerance));
    }
    const std::vector<at::Tensor> found = backward(type), read = backward(type, kept);
    for (size_t i = 0; i < 3; ++i)
      EXPECT_TRUE(at::equal(found[i], read[i])) << "operand " << i;
  }
}

TEST_P(AttentionTest, ForwardIsDifferentiable) {
  const at::Tensor expected = backward(at::kDouble)[2];
  v.requires_grad_(true);
  forward(at::kDouble).backward(dy);
  expectClose(v.grad(), expected, 1e-11);
}

TEST_P(AttentionTest, SameBitsEveryTime) {
  const at::Tensor first = forward(at::kBFloat16);
  EXPECT_TRUE(at::equal(first, forward(at::kBFloat16)));
  const std::vector<at::Tensor> gradients = backward(at::kFloat), again = backward(at::kFloat);
  for (size_t i = 0; i < 3; ++i)
    EXPECT_TRUE(at::equal(gradients[i], again[i]));
}

INSTANTIATE_TEST_SUITE_P(Cases, AttentionTest, testing::ValuesIn(kCases),
                         [](const auto &info) { return info.param.name; });

TEST(AttentionDistanceTest, IsTheDefinitionAndTheSameBitsOnAnyThreads) {
  at::manual_seed(5);
  const int before = at::get_num_threads();
  // Less than a block of queries; several of queries, and of keys.
  for (int64_t length : {1, 23, 330})
    for (int64_t groups : {1, 2, 4})
      for (int64_t window : {0, 1, 9, 300})
        for (double softcap : {0, 2}) {
          SCOPED_TRACE(testing::Message() << length << " positions, " << groups << " groups, window " << window
                                          << ", softcap " << softcap);
          const at::Tensor q = at::randn({2, length, 4, 8}, at::kDouble),
                           k = at::randn({2, length, groups, 8}, at::kDouble);
          std::map<std::string, plan::Attribute> attributes = {{"scale", 0.9}};
          if (window > 0)
            attributes["window"] = window;
          if (softcap > 0)
            attributes["softcap"] = softcap;
          const at::Tensor position = at::arange(length, at::kDouble), back = position.unsqueeze(1) - position;
          at::Tensor visible = back >= 0;
          if (window > 0)
            visible = visible.logical_and(back < window);
          at::Tensor scores = at::einsum("bthd,bshd->bhts", {q, k.repeat_interleave(4 / groups, 2)}) * 0.9;
          if (softcap > 0)
            scores = softcap * at::tanh(scores / softcap);
          const at::Tensor shares = at::softmax(scores.masked_fill(visible.logical_not(), -1e300), -1);
          const at::Tensor expected = (shares * back).sum(-1).mean(at::IntArrayRef{0, 2});
          const at::Tensor wide = runKernel("attention_distance", {q, k}, attributes)[0];
          EXPECT_TRUE(at::allclose(wide, expected, 1e-11, 1e-11)) << wide << expected;
          at::set_num_threads(1);
          const at::Tensor single =
              runKernel("attention_distance", {q.to(at::kFloat), k.to(at::kFloat)}, attributes)[0];
          EXPECT_TRUE(at::allclose(single.to(at::kDouble), expected, 1e-5, 1e-5)) << single << expected;
          at::set_num_threads(3);
          EXPECT_TRUE(
              at::equal(runKernel("attention_distance", {q.to(at::kFloat), k.to(at::kFloat)}, attributes)[0], single));
          at::set_num_threads(before);
        }
}

/// Queries that see keys 0 to 23, as many as there are or the last one alone, of which something is no number.
struct Damage {
  std::string name;
  void (*make)(at::Tensor &q, at::Tensor &k);
  /// Whether the query at a position gives numbers, with a softcap or without.
  bool (*isNumber)(int64_t position, bool isCapped);
};

/// Key 5 has an infinity by which all products with it are infinite.
void makeInfinite(at::Tensor &q, at::Tensor &k, double sign) {
  q.select(3, 3).abs_();
  k.select(1, 5).select(2, 3).fill_(sign * std::numeric_limits<double>::infinity());
}

const std::vector<Damage> kDamages = {
    {"Key", [](at::Tensor &, at::Tensor &k) { k.select(1, 5).fill_(std::nan("")); },
     [](int64_t position, bool) { return position < 5; }},
    {"Query",
     [](at::Tensor &q, at::Tensor &) { q.select(1, std::min<int64_t>(20, q.size(1) - 1)).fill_(std::nan("")); },
     [](int64_t position, bool) { return position != 20; }},
    // Infinity less infinity is no number; a cap of it is one.
    {"Infinite", [](at::Tensor &q, at::Tensor &k) { makeInfinite(q, k, 1); },
     [](int64_t position, bool isCapped) { return isCapped || position < 5; }},
    // Which is no key at all.
    {"NegativeInfinite", [](at::Tensor &q, at::Tensor &k) { makeInfinite(q, k, -1); },
     [](int64_t, bool) { return true; }},
};

TEST(AttentionNumbersTest, WhatIsNoNumberIsNoneInEachPrecision) {
  at::manual_seed(7);
  for (const Damage &damage : kDamages)
    for (int64_t queries : {1, 24})
      for (double softcap : {0.0, 1.5}) {
        SCOPED_TRACE(testing::Message() << damage.name << ", " << queries << " queries, softcap " << softcap);
        std::map<std::string, plan::Attribute> attributes = {{"scale", 0.3}};
        if (softcap > 0)
          attributes["softcap"] = softcap;
        auto keeps = attributes;
        keeps["keep_lse"] = true;
        // Numbers that bf16 has, so that all products have the signs of fp64's.
        auto drawn = [](at::IntArrayRef shape) { return at::randn(shape, at::kBFloat16).to(at::kDouble); };
        at::Tensor q = drawn({1, queries, 2, 16}), k = drawn({1, 24, 1, 16}), v = drawn({1, 24, 1, 16}),
                   dy = drawn({1, queries, 2, 16});
        damage.make(q, k);
        auto forward = [&](at::ScalarType type) {
          return runKernel("attention", {q.to(type), k.to(type), v.to(type), {}, {}}, keeps);
        };
        const std::vector<at::Tensor> wide = forward(at::kDouble);
        const bool isLast = damage.name == "Query" && queries == 1; // Its one query is the one.
        for (int64_t t = 0; t < queries; ++t) {
          const at::Tensor isNan = at::isnan(wide[0].select(1, t));
          const bool isNumber = !isLast && damage.isNumber(24 - queries + t, softcap > 0);
          EXPECT_TRUE(isNumber ? !isNan.any().item<bool>() : isNan.all().item<bool>()) << "query " << t;
        }
        for (at::ScalarType type : {at::kFloat, at::kBFloat16}) {
          const std::vector<at::Tensor> narrow = forward(type);
          EXPECT_TRUE(at::equal(at::isnan(narrow[0]), at::isnan(wide[0]))) << type;
          EXPECT_TRUE(at::equal(at::isnan(narrow[1]), at::isnan(wide[1]))) << type << ", the sums' logarithms";
        }
        // A share of zero times an infinite key is none in one precision, and infinite in another.
        if (damage.name == "Infinite" || damage.name == "NegativeInfinite")
          continue;
        auto backward = [&](at::ScalarType type) {
          return runKernel("attention_grad", {dy.to(type), q.to(type), k.to(type), v.to(type), {}, {}, {}}, attributes);
        };
        const std::vector<at::Tensor> wideGradients = backward(at::kDouble), gradients = backward(at::kFloat);
        for (size_t i = 0; i < 3; ++i)
          EXPECT_TRUE(at::equal(at::isnan(gradients[i]), at::isnan(wideGradients[i]))) << "operand " << i;
      }
}

TEST(AttentionErrorTest, ShapesAreNamed) {
  const at::Tensor q = at::zeros({1, 4, 3, 8}), k = at::zeros({1, 4, 2, 8});
  EXPECT_THROW(runKernel("attention", {q, k, k, {}, {}}, {{"scale", 1.0}}), c10::Error);
  EXPECT_THROW(runKernel("attention", {q, q.slice(1, 0, 2), q.slice(1, 0, 2), {}, {}}, {{"scale", 1.0}}), c10::Error);
  EXPECT_THROW(runKernel("attention", {q, q, q, at::zeros({2}, at::kLong), {}}, {{"scale", 1.0}}), c10::Error);
}

} // namespace
} // namespace morph
