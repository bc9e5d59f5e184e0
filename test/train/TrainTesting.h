// SPDX-License-Identifier: Apache-2.0
// What the tests of runtime/train share: a folder that goes away, and a program small enough to write by hand.

#ifndef MORPH_TEST_TRAIN_TRAINTESTING_H
#define MORPH_TEST_TRAIN_TRAINTESTING_H

#include "runtime/data/Random.h"
#include "runtime/exec/Executor.h"
#include "runtime/train/TrainLoop.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <unistd.h>

namespace morph {

/// A fresh folder, removed at the end.
class TemporaryFolder {
public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "morph-train-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  std::string file(const std::string &name) const { return path_ + "/" + name; }
  const std::string &path() const { return path_; }

private:
  std::string path_;
};

/// The text of a file; empty where there is none.
std::string fileText(const std::string &path);

/// Linear regression as a plan: x [N,3], y [N,2]; loss = mean (x w^T - y)^2 of the weight w [2,3], and its gradient.
plan::Plan regressionPlan();

/// An executor of it with w = 0, and an update that clips at norm 1.
std::unique_ptr<Executor> regressionExecutor();

/// Batch `index`: x drawn, y = x times a fixed matrix plus noise.
StatusOr<LoopBatch> regressionBatch(int64_t index);

} // namespace morph

#endif // MORPH_TEST_TRAIN_TRAINTESTING_H
