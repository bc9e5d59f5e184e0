// SPDX-License-Identifier: Apache-2.0
#include "runtime/weights/Initialize.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

namespace morph {
namespace {

plan::Weight weightOf(std::vector<int64_t> shape, plan::Init init) {
  plan::Weight weight;
  weight.name = "w";
  weight.shape = std::move(shape);
  weight.init = std::move(init);
  return weight;
}

at::Tensor valueOf(const plan::Weight &weight, const at::Tensor &source = {}, uint64_t seed = 1) {
  auto value = initialValue(weight, source, seed);
  EXPECT_TRUE(value.ok()) << value.status().message();
  return *value;
}

TEST(InitializeTest, ConstantAndValues) {
  EXPECT_TRUE(at::equal(valueOf(weightOf({2, 3}, {"constant", "", 0, 0, 1.5, {}})), at::full({2, 3}, 1.5)));
  at::Tensor values = valueOf(weightOf({2, 2}, {"values", "", 0, 0, 0, {1, 2, 3, 4}}));
  EXPECT_TRUE(at::equal(values, at::arange(1, 5, at::kFloat).view({2, 2})));
}

TEST(InitializeTest, CopyIsACopyInFp32) {
  at::Tensor source = at::arange(6, at::kFloat).view({2, 3});
  at::Tensor value = valueOf(weightOf({2, 3}, {"copy", "s", 0, 0, 0, {}}), source);
  EXPECT_TRUE(at::equal(value, source));
  EXPECT_NE(value.const_data_ptr(), source.const_data_ptr());
  EXPECT_EQ(valueOf(weightOf({2, 3}, {"copy", "s", 0, 0, 0, {}}), source.to(at::kBFloat16)).scalar_type(), at::kFloat);
}

TEST(InitializeTest, RepeatHeadsRepeatsInPlace) {
  // Two heads of two rows, each repeated three times: rows 0 1, 0 1, 0 1, 2 3, 2 3, 2 3.
  at::Tensor source = at::arange(4, at::kFloat).view({4, 1}).expand({4, 5}).contiguous();
  at::Tensor value = valueOf(weightOf({12, 5}, {"repeat_heads", "s", 2, 3, 0, {}}), source);
  const float expected[] = {0, 1, 0, 1, 0, 1, 2, 3, 2, 3, 2, 3};
  for (int64_t row = 0; row < 12; ++row)
    EXPECT_EQ(value[row][4].item<float>(), expected[row]);
  at::Tensor bias = valueOf(weightOf({4}, {"repeat_heads", "s", 2, 2, 0, {}}), at::arange(2, at::kFloat));
  EXPECT_EQ(bias[1].item<float>(), 0);
  EXPECT_EQ(bias[2].item<float>(), 1);
  at::Tensor once = valueOf(weightOf({4, 5}, {"repeat_heads", "s", 2, 1, 0, {}}), source);
  EXPECT_NE(once.const_data_ptr(), source.const_data_ptr());
}

TEST(InitializeTest, NormalDependsOnSeedAndNameOnly) {
  at::Tensor a = seededNormal({300, 101}, 0.02, 7, "a");
  EXPECT_TRUE(at::equal(a, seededNormal({300, 101}, 0.02, 7, "a")));
  EXPECT_FALSE(at::equal(a, seededNormal({300, 101}, 0.02, 8, "a")));
  EXPECT_FALSE(at::equal(a, seededNormal({300, 101}, 0.02, 7, "b")));
  at::Tensor wide = a.to(at::kDouble);
  EXPECT_NEAR(wide.mean().item<double>(), 0, 0.0005);
  EXPECT_NEAR(wide.std().item<double>(), 0.02, 0.0005);
  EXPECT_NEAR((wide / 0.02).pow(4).mean().item<double>(), 3, 0.15);
  int threads = at::get_num_threads();
  at::set_num_threads(threads == 1 ? 2 : 1);
  EXPECT_TRUE(at::equal(a, seededNormal({300, 101}, 0.02, 7, "a")));
  at::set_num_threads(threads);
}

TEST(InitializeTest, WrongSourcesAreErrors) {
  auto missing = initialValue(weightOf({2}, {"copy", "s", 0, 0, 0, {}}), {}, 1);
  ASSERT_FALSE(missing.ok());
  EXPECT_NE(missing.status().message().find("starts from 's', which no checkpoint has"), std::string::npos);
  auto shape = initialValue(weightOf({2}, {"copy", "s", 0, 0, 0, {}}), at::zeros({3}), 1);
  ASSERT_FALSE(shape.ok());
  EXPECT_NE(shape.status().message().find("which has shape [3]"), std::string::npos) << shape.status().message();
  EXPECT_FALSE(initialValue(weightOf({12, 5}, {"repeat_heads", "s", 2, 3, 0, {}}), at::zeros({5, 5}), 1).ok());
}

} // namespace
} // namespace morph
