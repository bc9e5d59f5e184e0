// SPDX-License-Identifier: Apache-2.0
#include "runtime/weights/WeightStore.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace morph {
namespace {

namespace fs = std::filesystem;

class WeightStoreTest : public testing::Test {
protected:
  fs::path folder = fs::path(testing::TempDir()) /
                    ("morph-" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
  void SetUp() override { fs::create_directories(folder); }
  void TearDown() override { fs::remove_all(folder); }
  void write(const std::string &name, const std::map<std::string, at::Tensor> &tensors) {
    ASSERT_TRUE(writeSafetensors((folder / name).string(), tensors).ok());
  }
  void index(const std::string &text) { std::ofstream(folder / "model.safetensors.index.json") << text; }
  std::string errorOf(const std::vector<std::string> &paths) {
    auto store = WeightStore::open(paths);
    return store.ok() ? "opened" : store.status().message();
  }
};

TEST_F(WeightStoreTest, LaterFilesOverrideTheBase) {
  write("model.safetensors", {{"a", at::zeros({2})}, {"b", at::zeros({2})}});
  write("trained.safetensors", {{"a", at::ones({2})}});
  auto store = WeightStore::open({folder.string(), (folder / "trained.safetensors").string()});
  ASSERT_TRUE(store.ok()) << store.status().message();
  EXPECT_EQ(store->find("a")[0].item<float>(), 1);
  EXPECT_EQ(store->findBase("a")[0].item<float>(), 0);
  EXPECT_EQ(store->find("b")[0].item<float>(), 0);
  EXPECT_FALSE(store->find("c").defined());
  EXPECT_EQ(fs::path(store->fileOf("a")).filename(), "trained.safetensors");
  EXPECT_EQ(store->names(), (std::vector<std::string>{"a", "b"}));
}

TEST_F(WeightStoreTest, ShardsAreOneCheckpoint) {
  write("one.safetensors", {{"a", at::zeros({2})}});
  write("two.safetensors", {{"b", at::ones({3})}});
  index(R"({"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})");
  auto store = WeightStore::open({folder.string()});
  ASSERT_TRUE(store.ok()) << store.status().message();
  EXPECT_EQ(store->findBase("b").numel(), 3);
}

TEST_F(WeightStoreTest, BadIndicesAreRefused) {
  EXPECT_NE(errorOf({folder.string()}).find("no weights in"), std::string::npos);
  write("one.safetensors", {{"a", at::zeros({2})}});
  write("two.safetensors", {{"a", at::ones({3})}, {"b", at::ones({3})}});
  for (const auto &[text, message] : std::vector<std::pair<const char *, const char *>>{
           {R"({"weight_map":{"a":"../one.safetensors"}})", "not a plain file name"},
           {R"({"weight_map":{"a":"/etc/passwd"}})", "not a plain file name"},
           {R"({"weight_map":{"a":".."}})", "not a plain file name"},
           {R"({"weight_map":{"a":7}})", "not a plain file name"},
           {R"({"weight_map":{"c":"one.safetensors"}})", "'c' is not in 'one.safetensors'"},
           {R"({"weight_map":{"a":"three.safetensors"}})", "No such file"},
           {R"({"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})", "'a' is in both"},
           {R"({"weight_map":[]})", "must be an object"},
           {"[]", "must be an object"},
           {"{", "malformed JSON"}}) {
    index(text);
    EXPECT_NE(errorOf({folder.string()}).find(message), std::string::npos) << errorOf({folder.string()});
  }
}

} // namespace
} // namespace morph
