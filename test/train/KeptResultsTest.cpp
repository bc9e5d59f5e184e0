// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/KeptResults.h"
#include "runtime/weights/Safetensors.h"
#include "test/train/TrainTesting.h"

#include <algorithm>
#include <fstream>

namespace morph {
namespace {

/// The regression with its product as an output that can be kept.
std::unique_ptr<Executor> executorOf(double weight) {
  plan::Plan plan = regressionPlan();
  plan.outputs.push_back({"product", 3});
  const WeightStore store = WeightStore::inMemory({{"w", at::full({2, 3}, weight)}});
  return *Executor::create(std::move(plan), store, Precision::F32, 0);
}

/// The loss of a batch whose product is kept, and whether it was computed.
struct Seen {
  double loss = 0;
  bool computed = false;
};

/// Runs batch `index`; with a weight that differs from the one before, a result that was kept shows in the loss.
Seen see(KeptResults &kept, int64_t index, double weight, const std::string &stream = "train") {
  const auto executor = executorOf(weight);
  const auto batch = kept.attachTo(regressionBatch, stream)(index);
  EXPECT_TRUE(batch.ok()) << batch.status().message();
  const auto outputs = runBatch(*executor, *batch);
  EXPECT_TRUE(outputs.ok()) << outputs.status().message();
  EXPECT_EQ(outputs->count("product"), 0u) << "the loop would copy it";
  const std::vector<plan::Step> &steps = executor->steps();
  return {outputs->at("loss").item<double>(), steps.empty() || steps[0] == plan::Step::Run};
}

/// Changes the last byte of a file, which is of its tensor.
void damage(const std::string &path) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(-1, std::ios::end);
  const char last = static_cast<char>(file.get());
  file.seekp(-1, std::ios::end);
  file.put(static_cast<char>(last ^ 1));
}

TEST(KeptResults, AreGivenToTheNextRunOnTheSameBatch) {
  TemporaryFolder folder;
  KeptResults kept(folder.file("kept"), "key", {"product"});
  const Seen first = see(kept, 0, 1), second = see(kept, 0, 2), other = see(kept, 1, 2);
  EXPECT_TRUE(first.computed);
  EXPECT_FALSE(second.computed);
  EXPECT_EQ(second.loss, first.loss);
  EXPECT_TRUE(other.computed);
  // Batches of another stream are others, whatever their numbers.
  EXPECT_TRUE(see(kept, 0, 2, "held-out").computed);
  kept.forget("product");
  EXPECT_TRUE(see(kept, 0, 3).computed);
}

TEST(KeptResults, OutliveTheProcess) {
  TemporaryFolder folder;
  KeptResults before(folder.path(), "key", {"product"});
  const Seen first = see(before, 0, 1);
  KeptResults after(folder.path(), "key", {"product"});
  const Seen second = see(after, 0, 2);
  EXPECT_FALSE(second.computed);
  EXPECT_EQ(second.loss, first.loss);
}

TEST(KeptResults, OfOtherInputsAreMadeAnew) {
  TemporaryFolder folder;
  KeptResults before(folder.path(), "key", {"product"});
  see(before, 0, 1);
  KeptResults otherKey(folder.path(), "other key", {"product"});
  const Seen fresh = see(otherKey, 0, 2);
  EXPECT_TRUE(fresh.computed);
  // It has replaced what was there.
  const Seen again = see(otherKey, 0, 3);
  EXPECT_FALSE(again.computed);
  EXPECT_EQ(again.loss, fresh.loss);

  const std::string zero = folder.file("product/train-0.safetensors"), one = folder.file("product/train-1.safetensors");
  std::filesystem::copy_file(zero, one);
  EXPECT_TRUE(see(otherKey, 1, 2).computed) << "the result of another batch was taken";
}

TEST(KeptResults, ThatAreDamagedAreMadeAnew) {
  TemporaryFolder folder;
  const std::string file = folder.file("product/train-0.safetensors");
  const std::vector<std::function<void()>> ways = {
      [&] { damage(file); },
      [&] { std::filesystem::resize_file(file, std::filesystem::file_size(file) - 4); },
      [&] { std::ofstream(file) << "no safetensors"; },
      [&] { EXPECT_TRUE(writeSafetensors(file, {{"product", at::ones({8, 2})}}).ok()); },
      [&] { EXPECT_TRUE(writeSafetensors(file, {{"other", at::ones({8, 2})}}, {{"morph_kept", ""}}).ok()); },
  };
  for (size_t way = 0; way < ways.size(); ++way) {
    SCOPED_TRACE(way);
    KeptResults before(folder.path(), "key", {"product"});
    const double expected = see(before, 0, 1).loss;
    ways[way]();
    KeptResults after(folder.path(), "key", {"product"});
    const Seen seen = see(after, 0, 1);
    EXPECT_TRUE(seen.computed);
    EXPECT_EQ(seen.loss, expected);
    EXPECT_FALSE(see(after, 0, 2).computed) << "it was not kept again";
  }
}

TEST(KeptResults, OfAnOutputThatThePlanHasNotAreAnError) {
  TemporaryFolder folder;
  KeptResults kept(folder.path(), "", {"nothing"});
  const auto executor = executorOf(1);
  const auto outputs = runBatch(*executor, *kept.attachTo(regressionBatch, "train")(0));
  ASSERT_FALSE(outputs.ok());
  EXPECT_NE(outputs.status().message().find("has no output 'nothing'"), std::string::npos);
}

TEST(KeptResults, OfAnotherShapeAreAnErrorOfTheRun) {
  const auto executor = executorOf(1);
  const auto outputs = executor->run(regressionBatch(0)->inputs, {{"product", at::ones({8, 1})}});
  ASSERT_FALSE(outputs.ok());
  EXPECT_NE(outputs.status().message().find("is given an output 'product' of another shape"), std::string::npos);
}

TEST(KeptResults, ThatCannotBeWrittenAreAnError) {
  TemporaryFolder folder;
  std::ofstream(folder.file("product")) << "a file where the folder should be";
  KeptResults kept(folder.path(), "", {"product"});
  const auto executor = executorOf(1);
  const auto outputs = runBatch(*executor, *kept.attachTo(regressionBatch, "train")(0));
  ASSERT_FALSE(outputs.ok());
  EXPECT_NE(outputs.status().message().find("cannot make the folder"), std::string::npos);
}

} // namespace
} // namespace morph
