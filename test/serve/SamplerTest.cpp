// SPDX-License-Identifier: Apache-2.0
#include "runtime/serve/Sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>

namespace morph {
namespace {

const std::vector<float> kLogits = {std::log(0.1f), std::log(0.4f), std::log(0.2f), std::log(0.3f)};

std::map<int64_t, double> sharesOf(SamplingOptions options, int draws = 20'000) {
  std::map<int64_t, double> shares;
  for (int i = 0; i < draws; ++i) {
    auto sample = sampleToken(kLogits.data(), 4, options, i);
    EXPECT_TRUE(sample.ok());
    EXPECT_NEAR(sample->logProbability, kLogits[static_cast<size_t>(sample->token)], 1e-6);
    shares[sample->token] += 1.0 / draws;
  }
  return shares;
}

TEST(Sampler, TemperatureZeroTakesTheMostLikelyAndOfEqualOnesTheFirst) {
  EXPECT_EQ(sampleToken(kLogits.data(), 4, {}, 0)->token, 1);
  const std::vector<double> equal = {-1, 2, 2, 0};
  EXPECT_EQ(sampleToken(equal.data(), 4, {}, 0)->token, 1);
}

TEST(Sampler, DrawsWithTheProbabilities) {
  SamplingOptions options{1, 1, 5};
  std::map<int64_t, double> shares = sharesOf(options);
  for (const auto &[token, share] : std::map<int64_t, double>{{0, .1}, {1, .4}, {2, .2}, {3, .3}})
    EXPECT_NEAR(shares[token], share, .015) << token;
  // p^(1/t), normalised: at one half .01, .16, .04, .09 of .3.
  options.temperature = .5;
  shares = sharesOf(options);
  EXPECT_NEAR(shares[1], .16 / .3, .015);
  EXPECT_NEAR(shares[0], .01 / .3, .015);
}

TEST(Sampler, TopPIsTheFewestTokensThatReachIt) {
  std::map<int64_t, double> shares = sharesOf({1, .65, 5}); // .4 and .3.
  EXPECT_EQ(shares.size(), 2u);
  EXPECT_NEAR(shares[1], .4 / .7, .015);
  EXPECT_NEAR(shares[3], .3 / .7, .015);
  EXPECT_EQ(sharesOf({1, 1e-9, 5}, 100).size(), 1u);
  // Of many tokens, too, of which only some are sorted: 1000 equal ones of which 300 are kept.
  const std::vector<double> flat(1000, 0);
  int64_t most = 0;
  for (int i = 0; i < 3000; ++i)
    most = std::max(most, sampleToken(flat.data(), 1000, {1, .2995, 5}, i)->token);
  EXPECT_EQ(most, 299);
}

TEST(Sampler, IsAFunctionOfSeedAndIndex) {
  auto drawn = [](uint64_t seed) {
    std::vector<int64_t> tokens;
    for (int i = 0; i < 50; ++i)
      tokens.push_back(sampleToken(kLogits.data(), 4, {1, 1, seed}, i)->token);
    return tokens;
  };
  EXPECT_EQ(drawn(1), drawn(1));
  EXPECT_NE(drawn(1), drawn(2));
}

TEST(Sampler, TinyTemperaturesAndImpossibleTokens) {
  const float none = -std::numeric_limits<float>::infinity();
  const std::vector<float> logits = {none, 3, none, 2};
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(sampleToken(logits.data(), 4, {1e-30, 1, 1}, i)->token, 1);
    EXPECT_EQ(sampleToken(logits.data(), 4, {100, 1, 1}, i)->token % 2, 1);
  }
}

TEST(Sampler, RefusesWhatHasNoGreatestNumber) {
  const float nan = std::nanf(""), none = -std::numeric_limits<float>::infinity();
  for (const std::vector<float> &logits :
       {std::vector<float>{0, nan, 1}, {nan, 0, 1}, {none, none, none}, {0, -none, 1}})
    for (double temperature : {0., 1.})
      EXPECT_EQ(sampleToken(logits.data(), 3, {temperature, 1, 0}, 0).status().message(),
                "the model's logits are not finite");
}

TEST(Sampler, TellsTheLikeliestInFallingOrder) {
  SamplingOptions options;
  options.likely = 3;
  const SampledToken sample = *sampleToken(kLogits.data(), 4, options, 0);
  ASSERT_EQ(sample.likely.size(), 3u);
  for (const auto &[place, token] : std::map<size_t, int64_t>{{0, 1}, {1, 3}, {2, 2}}) {
    EXPECT_EQ(sample.likely[place].token, token);
    EXPECT_NEAR(sample.likely[place].logProbability, kLogits[static_cast<size_t>(token)], 1e-6);
  }
  // Whatever is drawn, and however: they are the model's own.
  options = {5, .5, 1, 3};
  EXPECT_NEAR(sampleToken(kLogits.data(), 4, options, 0)->likely[0].logProbability, std::log(.4), 1e-6);
  // All there are, and of equal ones the first before.
  const std::vector<double> equal = {0, 1, 1, 0};
  std::vector<int64_t> order;
  const SampledToken all = *scoreToken(equal.data(), 4, 3, 20);
  for (const LikelyToken &likely : all.likely)
    order.push_back(likely.token);
  EXPECT_EQ(order, (std::vector<int64_t>{1, 2, 0, 3}));
  EXPECT_EQ(scoreToken(equal.data(), 4, 3, 1)->likely.at(0).token, 1);
}

TEST(Sampler, ScoresATokenByTheSameLogarithms) {
  for (int64_t token = 0; token < 4; ++token) {
    const SampledToken score = *scoreToken(kLogits.data(), 4, token, 0);
    EXPECT_EQ(score.token, token);
    EXPECT_NEAR(score.logProbability, kLogits[static_cast<size_t>(token)], 1e-6);
    EXPECT_TRUE(score.likely.empty());
  }
  // Far from zero, too, where exponentials by themselves would overflow.
  const std::vector<double> far = {1000, 999};
  EXPECT_NEAR(scoreToken(far.data(), 2, 1, 0)->logProbability, -1 - std::log1p(std::exp(-1)), 1e-12);
  const float nan = std::nanf("");
  EXPECT_EQ(scoreToken(&nan, 1, 0, 0).status().message(), "the model's logits are not finite");
}

TEST(Sampler, OptionsHaveLimits) {
  for (int64_t likely : {int64_t(-1), kMostLikely + 1})
    EXPECT_FALSE((SamplingOptions{1, 1, 0, likely}.check().ok()));
  EXPECT_TRUE((SamplingOptions{1, 1, 0, kMostLikely}.check().ok()));
  EXPECT_TRUE((SamplingOptions{2, .5, 0}.check().ok()));
  for (double temperature : {-.1, 101., std::nan("")})
    EXPECT_FALSE((SamplingOptions{temperature, 1, 0}.check().ok()));
  for (double topP : {0., -1., 1.1, std::nan("")})
    EXPECT_FALSE((SamplingOptions{1, topP, 0}.check().ok()));
}

} // namespace
} // namespace morph
