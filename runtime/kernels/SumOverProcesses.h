// SPDX-License-Identifier: Apache-2.0
// What a loss divides by, where several processes have a part of the batch each.

#ifndef MORPH_RUNTIME_KERNELS_SUMOVERPROCESSES_H
#define MORPH_RUNTIME_KERNELS_SUMOVERPROCESSES_H

#include <functional>
#include <utility>

namespace morph {

/// While one lives, `squared_error` with normalize "relative" divides in this thread by the sum of all processes'
/// squares, so that the results of parts add up to those of the whole batch. All processes run the same instructions.
class SumOverProcesses {
public:
  /// `sum` adds up a number over processes. It throws where that fails.
  explicit SumOverProcesses(std::function<double(double)> sum) : sum_(std::move(sum)), outer_(current()) {
    current() = this;
  }
  ~SumOverProcesses() { current() = outer_; }
  SumOverProcesses(const SumOverProcesses &) = delete;
  SumOverProcesses &operator=(const SumOverProcesses &) = delete;

  /// The sum of `value` over the processes that share the batch of this thread; `value` where one has it all.
  static double of(double value) { return current() ? current()->sum_(value) : value; }

private:
  static SumOverProcesses *&current() {
    static thread_local SumOverProcesses *scope = nullptr;
    return scope;
  }

  std::function<double(double)> sum_;
  SumOverProcesses *outer_;
};

} // namespace morph

#endif // MORPH_RUNTIME_KERNELS_SUMOVERPROCESSES_H
