// SPDX-License-Identifier: Apache-2.0
// The contracts of linear_attention, for every choice of its operands: chunked = position by position, split = whole,
// left padding of zero keys = none, gradients = autograd's and finite differences, kept = found again. The formulas are
// those of the op (dialect/MorphComputeOps.td); named recurrences of the literature are tests of their own below.

#include "runtime/kernels/SmallProducts.h"
#include "test/runtime/RunKernel.h"

#include <c10/core/GradMode.h>

#include <gtest/gtest.h>

namespace morph {
namespace {

constexpr double kScale = 0.35, kEps = 1;

struct Sizes {
  int64_t batch = 2, length = 65, heads = 4, width = 8, valueWidth = 6;
};

/// Which operands there are.
struct Variant {
  std::string decay;  ///< An operand, or "none".
  std::string update; ///< "add", "delta" or "free".
  bool normalised = false, bonus = false, grouped = false;
};

std::string nameOf(const Variant &v) {
  return v.decay + "_" + v.update + (v.normalised ? "_normalised" : "") + (v.bonus ? "_bonus" : "") +
         (v.grouped ? "_grouped" : "");
}

/// The operands in the op's order; the attributes.
enum Operand { kQ, kK, kV, kHeadDecay, kDecay, kChannelDecay, kBeta, kWrite, kErase, kBonus, kState, kOperands };
using Operands = std::vector<at::Tensor>;
struct Call {
  Operands x = Operands(kOperands);
  int64_t chunk = 64;
  double scale = kScale, normaliser = 0;

  Attributes attributes() const {
    Attributes result = {{"scale", scale}, {"chunk", chunk}};
    if (normaliser)
      result["normaliser"] = normaliser;
    return result;
  }
};

/// Output and final state.
struct Result {
  at::Tensor o, state;
};

Result chunked(const Call &call) {
  const Operands results = runKernel("linear_attention", call.x, call.attributes());
  return {results[0], results[1]};
}
Result recurrent(const Call &call) {
  const Operands results = runKernel("linear_attention", call.x, call.attributes(), /*reference=*/true);
  return {results[0], results[1]};
}
Operands gradients(const Call &call, const at::Tensor &dO, const at::Tensor &states = {},
                   const at::Tensor &written = {}) {
  Operands operands = {dO, states, written};
  operands.insert(operands.end(), call.x.begin(), call.x.end());
  return runKernel("linear_attention_grad", operands, call.attributes());
}
/// Those of the reference, by LibTorch.
Operands gradientsByAutograd(const Call &call, const at::Tensor &dO) {
  c10::AutoGradMode enable(true);
  Call leaves = call;
  for (int i = 0; i < kState; ++i)
    if (at::Tensor &x = leaves.x[i]; x.defined())
      x = x.detach().clone().requires_grad_(true);
  recurrent(leaves).o.backward(dO);
  Operands result;
  for (int i = 0; i < kState; ++i)
    if (leaves.x[i].defined())
      result.push_back(leaves.x[i].grad());
  return result;
}

/// Applies `change` to the operands that are there and have a position dimension, [B,T,...].
template <typename Change> Call changed(const Call &call, Change change) {
  Call result = call;
  for (int i = 0; i < kState; ++i)
    if (i != kHeadDecay && i != kBonus && call.x[i].defined())
      result.x[i] = change(call.x[i], i);
  return result;
}
Call slice(const Call &call, int64_t begin, int64_t end) {
  return changed(call, [&](const at::Tensor &x, int) { return x.slice(1, begin, end); });
}
Call cast(const Call &call, at::ScalarType type) {
  Call result = call;
  for (at::Tensor &x : result.x)
    if (x.defined())
      x = x.to(type);
  return result;
}

/// Random operands of a variant; with a normaliser q and k are positive, as what makes them is, so that no quotient is
/// of numbers near zero.
Call randomCall(const Variant &variant, const Sizes &s, bool withState, at::ScalarType type = at::kDouble) {
  const at::TensorOptions options = at::TensorOptions(at::kDouble);
  auto lines = [&](int64_t heads, int64_t width) {
    const at::Tensor x = at::randn({s.batch, s.length, heads, width}, options);
    return x / (x.norm(2, -1, true) + 1e-6);
  };
  const int64_t groups = variant.grouped ? s.heads / 2 : s.heads, columns = s.valueWidth + variant.normalised;
  Call call;
  call.x[kQ] = lines(groups, s.width);
  call.x[kK] = lines(groups, s.width);
  call.x[kV] = at::randn({s.batch, s.length, s.heads, s.valueWidth}, options);
  if (variant.decay == "head_decay")
    call.x[kHeadDecay] = -at::rand({s.heads}, options) * 0.5 - 0.01;
  if (variant.decay == "decay")
    call.x[kDecay] = -at::rand({s.batch, s.length, s.heads}, options) * 0.7;
  if (variant.decay == "channel_decay")
    call.x[kChannelDecay] = -at::rand({s.batch, s.length, s.heads, s.width}, options) * 0.7;
  if (variant.update == "delta")
    call.x[kBeta] = at::rand({s.batch, s.length, s.heads}, options) * 0.9 + 0.05;
  if (variant.update == "free") {
    call.x[kErase] = lines(s.heads, s.width);
    call.x[kWrite] = -0.6 * call.x[kErase] + 0.2 * lines(s.heads, s.width);
  }
  if (variant.bonus)
    call.x[kBonus] = at::rand({s.heads, s.width}, options);
  if (withState)
    call.x[kState] = at::randn({s.batch, s.heads, s.width, columns}, options);
  if (variant.normalised) {
    call.normaliser = kEps;
    for (int i : {kQ, kK, kState})
      if (call.x[i].defined())
        call.x[i] = call.x[i].abs();
  }
  return cast(call, type);
}

/// Largest difference relative to the largest element of the expected tensor, which is taken to be `least` at least.
double distance(const at::Tensor &actual, const at::Tensor &expected, double least = 1e-3) {
  EXPECT_EQ(actual.sizes(), expected.sizes());
  if (expected.numel() == 0)
    return 0;
  const at::Tensor wide = expected.to(at::kDouble);
  const double scale = std::max(wide.abs().max().item<double>(), least);
  const double error = (actual.to(at::kDouble) - wide).abs().max().item<double>() / scale;
  return std::isfinite(error) ? error : 1e30;
}
void expectClose(const Result &actual, const Result &expected, double tolerance) {
  EXPECT_LT(distance(actual.o, expected.o), tolerance);
  EXPECT_LT(distance(actual.state, expected.state), tolerance);
}
/// Of gradients in fp32 and less. That of a decay is a small difference of sums of terms of order one.
void expectClose(const Call &call, const Operands &actual, const Operands &expected, double tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  const bool decays = call.x[kHeadDecay].defined() || call.x[kDecay].defined() || call.x[kChannelDecay].defined();
  for (size_t i = 0; i < actual.size(); ++i) {
    const bool ofDecay = decays && i == 3;
    EXPECT_LT(distance(actual[i], expected[i], ofDecay ? 0.1 : 1e-3), ofDecay ? 4 * tolerance : tolerance)
        << "gradient " << i;
  }
}

/// A test for each way to change the state, of all decays and terms.
class LinearAttention : public testing::TestWithParam<const char *> {
protected:
  void SetUp() override {
    at::manual_seed(7);
    // Their number changes no bit (ThreadsTest), and small tasks wait for threads where other tests run.
    at::set_num_threads(1);
  }
  void TearDown() override { roundFactors(false); }
  /// Calls test(variant) for all of them.
  template <typename Test> static void forAll(Test test) {
    for (const char *decay : {"none", "head_decay", "decay", "channel_decay"})
      for (int terms = 0; terms < 8; ++terms) {
        const Variant variant{decay, GetParam(), (terms & 1) != 0, (terms & 2) != 0, (terms & 4) != 0};
        SCOPED_TRACE(nameOf(variant));
        test(variant);
      }
  }
};
INSTANTIATE_TEST_SUITE_P(Updates, LinearAttention, testing::Values("add", "delta", "free"),
                         [](const auto &info) { return std::string(info.param); });

TEST_P(LinearAttention, ChunkedIsRecurrent) {
  forAll([](const Variant &variant) {
    for (int64_t length : {1, 5, 64, 130})
      for (bool withState : {false, true}) {
        Sizes sizes;
        sizes.length = length;
        Call call = randomCall(variant, sizes, withState);
        const Result expected = recurrent(call);
        for (int64_t chunk : {1, 3, 16, 64, 100}) {
          SCOPED_TRACE(testing::Message() << "length " << length << " chunk " << chunk << " state " << withState);
          call.chunk = chunk;
          expectClose(chunked(call), expected, 1e-12);
          expectClose(chunked(cast(call, at::kFloat)), expected, 1e-5);
        }
      }
  });
}

TEST_P(LinearAttention, SplitIsWhole) {
  forAll([](const Variant &variant) {
    const Sizes sizes;
    Call call = randomCall(variant, sizes, true);
    call.chunk = 16;
    const Result whole = chunked(call);
    for (int64_t at : {0, 1, 15, 16, 17, 40, 64, 65}) {
      SCOPED_TRACE(testing::Message() << "split at " << at);
      const Result first = chunked(slice(call, 0, at));
      Call rest = slice(call, at, sizes.length);
      rest.x[kState] = first.state;
      const Result second = chunked(rest);
      expectClose(Result{at::cat({first.o, second.o}, 1), second.state}, whole, 1e-12);
    }
  });
}

TEST_P(LinearAttention, SingleStepsAreWhole) {
  forAll([](const Variant &variant) {
    Sizes sizes;
    sizes.length = 20;
    const Call call = randomCall(variant, sizes, false, at::kFloat);
    at::Tensor state;
    Operands outputs;
    for (int64_t t = 0; t < sizes.length; ++t) {
      Call step = slice(call, t, t + 1);
      step.x[kState] = state;
      const Result result = chunked(step);
      outputs.push_back(result.o);
      state = result.state;
    }
    expectClose(Result{at::cat(outputs, 1), state}, recurrent(cast(call, at::kDouble)), 1e-5);
  });
}

// A zero key leaves a zero state zero, whatever the other operands are.
TEST_P(LinearAttention, LeftPaddingIsNone) {
  forAll([](const Variant &variant) {
    const Sizes sizes;
    Call call = randomCall(variant, sizes, false);
    call.chunk = 16;
    const Result expected = chunked(call);
    for (int64_t padding : {1, 16, 37}) {
      SCOPED_TRACE(testing::Message() << "padding " << padding);
      const Call longer = changed(call, [&](const at::Tensor &x, int operand) {
        std::vector<int64_t> shape = x.sizes().vec();
        shape[1] = padding;
        const double value = operand == kK ? 0 : operand == kDecay || operand == kChannelDecay ? -0.5 : 0.5;
        return at::cat({at::full(shape, value, x.options()), x}, 1);
      });
      const Result result = chunked(longer);
      EXPECT_EQ(result.o.slice(1, 0, padding).abs().max().item<double>(), 0);
      expectClose(Result{result.o.slice(1, padding), result.state}, expected, 1e-12);
    }
  });
}

TEST_P(LinearAttention, BackwardIsAutogradOfRecurrent) {
  forAll([](const Variant &variant) {
    for (int64_t length : {1, 5, 65})
      for (bool withState : {false, true}) {
        Sizes sizes;
        sizes.length = length;
        Call call = randomCall(variant, sizes, withState);
        const at::Tensor dO = at::randn(call.x[kV].sizes(), call.x[kV].options());
        const Operands expected = gradientsByAutograd(call, dO);
        for (int64_t chunk : {1, 3, 16, 64}) {
          SCOPED_TRACE(testing::Message() << "length " << length << " chunk " << chunk << " state " << withState);
          call.chunk = chunk;
          expectClose(call, gradients(call, dO), expected, 1e-10);
          expectClose(call, gradients(cast(call, at::kFloat), dO.to(at::kFloat)), expected, 1e-4);
        }
      }
  });
}

// What the forward keeps is what the reference has, and the forward and the backward are the same bits with it.
TEST_P(LinearAttention, KeptIsFoundAgain) {
  forAll([](const Variant &variant) {
    for (at::ScalarType type : {at::kDouble, at::kFloat, at::kBFloat16})
      for (int64_t length : {0, 1, 5, 70}) {
        SCOPED_TRACE(testing::Message() << type << " length " << length);
        const Sizes sizes{1, length, 2, 8, 6};
        Call call = randomCall(variant, sizes, /*withState=*/length != 5);
        call.chunk = 16;
        for (int i : {kQ, kK, kV})
          call.x[i] = call.x[i].to(type);
        if (type != at::kDouble)
          for (int i = kHeadDecay; i < kOperands; ++i)
            if (call.x[i].defined())
              call.x[i] = call.x[i].to(at::kFloat);
        const at::Tensor dO = at::randn(call.x[kV].sizes()).to(type);
        Attributes keeping = call.attributes();
        keeping["keep_states"] = keeping["keep_written"] = true;
        const Operands kept = runKernel("linear_attention", call.x, keeping);
        const Operands expected = runKernel("linear_attention", call.x, keeping, /*reference=*/true);
        ASSERT_EQ(kept.size(), 4U);
        // A single position is computed otherwise where nothing is kept.
        const Result plain = chunked(call);
        EXPECT_TRUE(length == 1 || (at::equal(plain.o, kept[0]) && at::equal(plain.state, kept[1])));
        const double tolerance = type == at::kDouble ? 1e-12 : type == at::kFloat ? 1e-5 : 4e-2;
        for (int i : {2, 3})
          EXPECT_LT(distance(kept[static_cast<size_t>(i)], expected[static_cast<size_t>(i)]), tolerance) << i;
        const Operands found = gradients(call, dO);
        for (const Operands &given : {Operands{kept[2], {}}, Operands{{}, kept[3]}, Operands{kept[2], kept[3]}}) {
          const Operands actual = gradients(call, dO, given[0], given[1]);
          ASSERT_EQ(actual.size(), found.size());
          for (size_t i = 0; i < found.size(); ++i)
            EXPECT_TRUE(at::equal(actual[i], found[i]))
                << "gradient " << i << " states " << given[0].defined() << " written " << given[1].defined();
        }
      }
  });
}

TEST_P(LinearAttention, BackwardIsFiniteDifference) {
  forAll([](const Variant &variant) {
    const Sizes sizes{1, 21, 2, 5, 4};
    Call call = randomCall(variant, sizes, true);
    call.chunk = 8;
    const at::Tensor dO = at::randn(call.x[kV].sizes(), call.x[kV].options());
    const Operands actual = gradients(call, dO);
    constexpr double kStep = 1e-5;
    size_t next = 0;
    for (int i = 0; i < kState; ++i) {
      if (!call.x[i].defined())
        continue;
      SCOPED_TRACE(testing::Message() << "operand " << i);
      // A random direction tests every element at once.
      const at::Tensor direction = at::randn(call.x[i].sizes(), call.x[i].options());
      auto lossAt = [&](double step) {
        Call moved = call;
        moved.x[i] = call.x[i] + step * direction;
        return (chunked(moved).o * dO).sum().item<double>();
      };
      const double expected = (lossAt(kStep) - lossAt(-kStep)) / (2 * kStep);
      EXPECT_NEAR((actual[next++] * direction).sum().item<double>(), expected,
                  1e-6 * std::max(1.0, std::abs(expected)));
    }
  });
}

TEST_P(LinearAttention, SameBitsEveryTimeAndOperandsUntouched) {
  forAll([](const Variant &variant) {
    const Sizes sizes{2, 130, 4, 24, 16};
    const Call call = randomCall(variant, sizes, true, at::kFloat), before = cast(cast(call, at::kDouble), at::kFloat);
    const at::Tensor dO = at::randn(call.x[kV].sizes());
    const Result first = chunked(call);
    const Operands firstGradients = gradients(call, dO);
    for (int repeat = 0; repeat < 2; ++repeat) {
      const at::Tensor moved = at::empty({repeat * 1000 + 1}); // Other addresses for the scratch memory.
      const Result again = chunked(call);
      EXPECT_TRUE(at::equal(again.o, first.o));
      EXPECT_TRUE(at::equal(again.state, first.state));
      const Operands againGradients = gradients(call, dO);
      for (size_t i = 0; i < againGradients.size(); ++i)
        EXPECT_TRUE(at::equal(againGradients[i], firstGradients[i]));
    }
    for (int i = 0; i < kOperands; ++i)
      EXPECT_TRUE(!call.x[i].defined() || at::equal(call.x[i], before.x[i]));
  });
}

// Decays from none to e^-20 a position, beside each other: nothing overflows and nothing is lost.
TEST_P(LinearAttention, StrongDecayIsExact) {
  forAll([](const Variant &variant) {
    if (variant.decay == "none")
      return;
    const Sizes sizes;
    Call call = randomCall(variant, sizes, true);
    for (int i : {kHeadDecay, kDecay, kChannelDecay})
      if (at::Tensor &g = call.x[i]; g.defined()) {
        const at::Tensor draw = at::rand_like(g);
        g = at::where(draw < 0.3, at::zeros_like(g),
                      at::where(draw < 0.6, at::full_like(g, -20), -20 * at::rand_like(g)));
      }
    const at::Tensor dO = at::randn(call.x[kV].sizes(), at::kDouble);
    const Operands expected = gradientsByAutograd(call, dO);
    for (int64_t chunk : {16, 64}) {
      call.chunk = chunk;
      expectClose(chunked(cast(call, at::kFloat)), recurrent(call), 1e-5);
      expectClose(call, gradients(call, dO), expected, 1e-10);
      expectClose(call, gradients(cast(call, at::kFloat), dO.to(at::kFloat)), expected, 1e-4);
    }
    for (int i : {kHeadDecay, kDecay, kChannelDecay})
      if (call.x[i].defined())
        call.x[i].fill_(-200);
    expectClose(chunked(cast(call, at::kFloat)), recurrent(call), 1e-5);
    for (const at::Tensor &gradient : gradients(cast(call, at::kFloat), dO.to(at::kFloat)))
      EXPECT_TRUE(at::isfinite(gradient).all().item<bool>());
  });
}

// Factors within the products are rounded where that is faster, else only q, k and v: sums and states stay fp32.
TEST_P(LinearAttention, RoundedFactorsAreClose) {
  for (bool everywhere : {false, true}) {
    roundFactors(everywhere);
    forAll([](const Variant &variant) {
      for (const Sizes &sizes : {Sizes{2, 70, 4, 32, 32}, Sizes{1, 40, 2, 32, 48}, Sizes{8, 1, 4, 16, 16}}) {
        SCOPED_TRACE(testing::Message() << "length " << sizes.length);
        Call call = randomCall(variant, sizes, true, at::kFloat);
        call.chunk = 32;
        for (int i : {kQ, kK, kV})
          call.x[i] = call.x[i].to(at::kBFloat16);
        const at::Tensor dO = at::randn(call.x[kV].sizes()).to(at::kBFloat16);
        const Call wide = cast(call, at::kDouble);
        const bool rounds = roundsFactors();
        const Result result = chunked(call);
        EXPECT_EQ(result.o.scalar_type(), at::kFloat);
        // A single step is no product of matrices.
        expectClose(result, recurrent(wide), rounds && sizes.length > 1 ? (variant.normalised ? 3e-2 : 1e-2) : 1e-5);
        const Operands actual = gradients(call, dO), expected = gradientsByAutograd(wide, dO.to(at::kDouble));
        for (const at::Tensor &gradient : actual)
          EXPECT_EQ(gradient.scalar_type(), at::kFloat);
        expectClose(call, actual, expected, !rounds ? 1e-4 : variant.normalised ? 4e-2 : 2e-2);
      }
    });
  }
}

//===--- Recurrences by their names ------------------------------------------------------------------------------===//

TEST(LinearAttentionRules, BetaOfUpToTwoIsExact) {
  at::manual_seed(3);
  for (const char *decay : {"none", "decay", "channel_decay"}) {
    Call call = randomCall({decay, "delta"}, {}, true);
    call.x[kBeta] = at::rand_like(call.x[kBeta]) * 2;
    const Result expected = recurrent(call);
    expectClose(chunked(call), expected, 1e-12);
    expectClose(chunked(cast(call, at::kFloat)), expected, 1e-5);
  }
}

TEST(LinearAttentionRules, FullBetaNoDecayRecallsTheLastValueOfAKey) {
  // beta = 1 and orthonormal keys: the state maps each key to the last value written under it.
  const int64_t width = 8, length = 24;
  Call call;
  call.scale = 1;
  call.x[kK] = at::eye(width, at::kDouble).repeat({3, 1}).view({1, length, 1, width});
  call.x[kQ] = call.x[kK];
  call.x[kV] = at::randn({1, length, 1, 5}, at::kDouble);
  call.x[kBeta] = at::ones({1, length, 1}, at::kDouble);
  const Result result = chunked(call);
  EXPECT_LT(distance(result.o, call.x[kV]), 1e-12);
  EXPECT_LT(distance(result.state[0][0], call.x[kV][0].slice(0, length - width).select(1, 0)), 1e-12);
}

TEST(LinearAttentionRules, ZeroBetaWritesNothing) {
  Call call = randomCall({"none", "delta"}, {}, true);
  call.x[kBeta].zero_();
  const Result result = chunked(call);
  EXPECT_TRUE(at::equal(result.state, call.x[kState]));
  const at::Tensor expected = kScale * at::einsum("bthk,bhkv->bthv", {call.x[kQ], call.x[kState]});
  EXPECT_LT(distance(result.o, expected), 1e-12);
}

TEST(LinearAttentionRules, HeadDecayIsTheDecayedSumOfScores) {
  const Sizes sizes;
  const Call call = randomCall({"head_decay", "add"}, sizes, false);
  const at::Tensor positions = at::arange(sizes.length, at::kDouble);
  const at::Tensor ages = positions.unsqueeze(1) - positions.unsqueeze(0);
  const at::Tensor decays = (call.x[kHeadDecay].view({-1, 1, 1}) * ages).exp().tril();
  const at::Tensor scores = at::einsum("bthk,bshk->bhts", {call.x[kQ], call.x[kK]}) * decays * kScale;
  EXPECT_LT(distance(chunked(call).o, at::einsum("bhts,bshv->bthv", {scores, call.x[kV]})), 1e-12);
}

TEST(LinearAttentionRules, NormalisedIsTheMeanOfValuesByScores) {
  const Sizes sizes;
  const Call call = randomCall({"none", "add", /*normalised=*/true}, sizes, false);
  const at::Tensor scores = kScale * at::einsum("bthk,bshk->bhts", {call.x[kQ], call.x[kK]}).tril();
  const at::Tensor expected = at::einsum("bhts,bshv->bthv", {scores / (scores.sum(-1, true) + kEps), call.x[kV]});
  const Result result = chunked(call);
  EXPECT_LT(distance(result.o, expected), 1e-12);
  // The last column of the state is the sum of the keys.
  EXPECT_LT(distance(result.state.select(3, sizes.valueWidth), call.x[kK].sum(1)), 1e-12);
}

TEST(LinearAttentionRules, BonusCountsAPositionItself) {
  const Call plain = randomCall({"channel_decay", "free"}, {}, true);
  Call call = plain;
  call.x[kBonus] = at::randn({4, 8}, at::kDouble);
  const at::Tensor own = (call.x[kBonus] * call.x[kQ] * call.x[kK]).sum(-1, true) * call.x[kV] * kScale;
  EXPECT_LT(distance(chunked(call).o, chunked(plain).o + own), 1e-12);
}

// The delta rule is a = -beta k, b = k and beta v (RWKV7 and Gated DeltaNet are one family).
TEST(LinearAttentionRules, DeltaIsOneOfFree) {
  const Call delta = randomCall({"channel_decay", "delta"}, {}, true);
  Call free = delta;
  const at::Tensor beta = delta.x[kBeta].unsqueeze(-1);
  free.x[kBeta] = at::Tensor();
  free.x[kErase] = delta.x[kK];
  free.x[kWrite] = -beta * delta.x[kK];
  free.x[kV] = beta * delta.x[kV];
  expectClose(chunked(free), chunked(delta), 1e-12);
}

TEST(LinearAttentionRules, EqualChannelDecaysAreADecay) {
  for (const char *update : {"add", "delta", "free"}) {
    const Call one = randomCall({"decay", update}, {}, true);
    Call each = one;
    each.x[kDecay] = at::Tensor();
    each.x[kChannelDecay] = one.x[kDecay].unsqueeze(-1).expand({2, 65, 4, 8});
    expectClose(chunked(each), chunked(one), 1e-12);
  }
}

TEST(LinearAttentionRules, ContradictingOperandsAreRefused) {
  auto violates = [](const Call &call, const std::string &label) {
    try {
      chunked(call);
      ADD_FAILURE() << "expected " << label;
    } catch (const c10::Error &error) {
      EXPECT_NE(std::string(error.what()).find(label), std::string::npos) << error.what();
    }
  };
  Call call = randomCall({"decay", "free"}, {}, false);
  call.x[kErase] = at::Tensor();
  violates(call, "linear_attention_c8: there is 'write', expected all or none of 'write' and 'erase'");
  call = randomCall({"decay", "free"}, {}, false);
  call.x[kBeta] = call.x[kDecay].exp();
  violates(call, "linear_attention_c8: there is 'beta' and 'write', expected one at most of 'beta' and 'write'");
  call.x[kHeadDecay] = at::zeros({4}, at::kDouble);
  violates(call, "linear_attention_c6");
  call = randomCall({"none", "add"}, {}, true);
  call.normaliser = kEps;
  violates(call, "linear_attention_c10");
}

} // namespace
} // namespace morph
