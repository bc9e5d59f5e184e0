// SPDX-License-Identifier: Apache-2.0
// Sizes that follow from several keys: whether tasks fit their lengths (S19), and how much a stage reads (S20).

#include "frontends/spec/Spec.h"
#include "frontends/spec/TaskRoom.h"

#include "llvm/ADT/STLExtras.h"

#include <cmath>

using namespace morph;
using namespace morph::spec;

namespace {

/// Any training that was ever done has fewer tokens; within it every count is exact in 64 bits and in a double.
constexpr double kMaxStageTokens = 1e15;
/// Rows of a batch are numbered in 32 bits by some kernels.
constexpr int64_t kMaxBatchTokens = int64_t(1) << 31;

class SizeChecker {
public:
  SizeChecker(const Spec &spec, Diagnostics &diagnostics) : spec_(spec), diagnostics_(diagnostics) {}

  void check() {
    if (spec_.values.getObject("pretrain")) {
      checkPretrain();
      return;
    }
    for (size_t task = 0; task < spec_.values.getArray("tasks")->size(); ++task) {
      checkEntries(makePath(task), readShape(makePath(task)));
      checkLengths(makePath(task) + ".length", task);
    }
    for (const char *stage : {"align", "distill", "finetune"})
      checkTraining(stage);
    checkSelect();
    checkEvaluate();
  }

private:
  void error(llvm::StringRef path, const llvm::Twine &message, const llvm::Twine &hint = "") {
    diagnostics_.error(spec_.getPlace(path), message, hint);
  }

  static std::string makePath(size_t task) { return "task[" + std::to_string(task) + "]"; }

  TaskShape readShape(const std::string &task) const {
    TaskShape shape;
    shape.kind = spec_.find(task + ".kind")->getAsString().value_or("");
    shape.words = spec_.getString(task + ".space") == "words";
    shape.needles = spec_.getInteger(task + ".needles");
    shape.queries = spec_.getInteger(task + ".queries");
    shape.hops = spec_.getInteger(task + ".hops");
    shape.keyTokens = spec_.getInteger(task + ".key_length");
    shape.repeats = {spec_.getIntegers(task + ".repeats")[0], spec_.getIntegers(task + ".repeats")[1]};
    shape.alpha = spec_.getNumber(task + ".alpha");
    // Digits of a number may be one token.
    bool counted = !shape.words || spec_.getString(task + ".values") == "words";
    shape.valueTokens = counted ? spec_.getInteger(task + ".value_length") : 1;
    return shape;
  }

  /// The tasks that a list names, those there are.
  std::vector<size_t> findTasks(llvm::StringRef list) const {
    std::vector<std::string> names = spec_.getStrings(list);
    std::vector<size_t> found;
    for (size_t task = 0; task < spec_.values.getArray("tasks")->size(); ++task)
      if (llvm::is_contained(names, spec_.getString(makePath(task) + ".name")))
        found.push_back(task);
    return found;
  }

  void checkLength(llvm::StringRef path, int64_t length, const std::string &task, const TaskShape &shape) {
    int64_t needed = getTaskTokens(shape);
    if (needed <= length)
      return;
    error(path,
          "'" + path + "' is " + llvm::Twine(length) + ", but task '" + spec_.getString(task + ".name") +
              "' takes at least " + llvm::Twine(needed) + " tokens for its needles, its question and its answers [S19]",
          shape.kind == "common_words"     ? "raise the length, or lower the task's needles or repeats"
          : shape.kind == "frequent_words" ? "raise the length, or lower the task's needles"
                                           : "raise the length, or lower the task's needles, queries or value_length");
  }

  /// Every length of a list, or of a single value, against a task.
  void checkLengths(const std::string &list, size_t task) {
    for (const auto &[index, length] : llvm::enumerate(spec_.getIntegers(list)))
      checkLength(list + "[" + std::to_string(index) + "]", length, makePath(task), readShape(makePath(task)));
  }

  /// Whether a task has as many keys and values as its samples need.
  void checkEntries(const std::string &task, const TaskShape &shape) {
    if (shape.words)
      return;
    auto check = [&](const std::string &path, int64_t needed, const char *entries) {
      std::vector<int64_t> range = spec_.getIntegers(path);
      if (range.size() == 2 && range[1] - range[0] < needed)
        error(path, "'" + path + "' holds " + llvm::Twine(range[1] - range[0]) + " tokens, but the task needs " +
                        llvm::Twine(needed) + " different " + entries + " [S19]");
    };
    check(task + ".key_tokens", getTaskKeys(shape), "keys");
    check(task + ".value_tokens", getTaskValues(shape), "values");
  }

  void checkAmount(llvm::StringRef path, int64_t batch, int64_t length, double batches) {
    if (batch * length > kMaxBatchTokens)
      error(path, "a batch has " + llvm::Twine(batch) + " sequences of " + llvm::Twine(length) +
                      " tokens, expected at most 2^31 tokens [S20]");
    else if (double(batch * length) * batches > kMaxStageTokens)
      error(path,
            "the stage has " + printNumber(double(batch * length) * batches) + " tokens, expected at most 10^15 [S20]");
  }

  void checkTraining(const std::string &stage) {
    int64_t steps = spec_.getInteger(stage + ".steps"), length = spec_.getInteger(stage + ".length");
    if (steps == 0)
      return;
    checkAmount(stage + ".batch", spec_.getInteger(stage + ".batch"), length,
                double(steps) * double(spec_.getInteger(stage + ".accumulate")));
    for (size_t task : findTasks(stage + ".tasks")) {
      checkLength(stage + ".length", length, makePath(task), readShape(makePath(task)));
      if (stage != "align" && spec_.getNumber(stage + ".task_fraction") > 0) // It has one length; text has no least.
        for (auto [index, shorter] : llvm::enumerate(spec_.getIntegers(stage + ".lengths")))
          checkLength(stage + ".lengths[" + std::to_string(index) + "]", shorter, makePath(task),
                      readShape(makePath(task)));
    }
  }

  void checkSelect() {
    int64_t longest = 0;
    for (size_t task : findTasks("select.tasks"))
      for (int64_t length : spec_.getIntegers(makePath(task) + ".length"))
        longest = std::max(longest, length);
    checkAmount("select.batch", spec_.getInteger("select.batch"), longest,
                double(spec_.getInteger("select.steps")) * double(spec_.getInteger("select.accumulate")));
  }

  void checkEvaluate() {
    std::vector<int64_t> lengths = spec_.getIntegers("evaluate.lengths");
    double sequences = 0;
    int64_t longest = 0;
    for (size_t task : findTasks("evaluate.tasks")) {
      checkLengths("evaluate.lengths", task);
      std::vector<int64_t> own = lengths.empty() ? spec_.getIntegers(makePath(task) + ".length") : lengths;
      sequences += double(own.size());
      for (int64_t length : own)
        longest = std::max(longest, length);
    }
    int64_t batch = spec_.getInteger("evaluate.batch");
    size_t depths = std::max<size_t>(1, spec_.find("evaluate.depths")->getAsArray()->size());
    double batches = std::ceil(double(spec_.getInteger("evaluate.samples")) / double(batch));
    checkAmount("evaluate.batch", batch, longest, sequences * double(depths) * batches);
    checkAmount("evaluate.batch", batch, spec_.getInteger("evaluate.perplexity_length"), 1);
  }

  /// Phases of pretraining have lengths of their own, and may have needles, all of which are asked for.
  void checkPretrain() {
    const llvm::json::Array &phases = *spec_.values.getObject("pretrain")->getArray("phase");
    for (size_t phase = 0; phase < phases.size(); ++phase) {
      std::string path = "pretrain.phase[" + std::to_string(phase) + "]";
      int64_t length = spec_.getInteger(path + ".length");
      checkAmount(path + ".batch", spec_.getInteger(path + ".batch"), length,
                  double(spec_.getInteger(path + ".steps_max")));
      for (size_t task : findTasks(path + ".tasks")) {
        TaskShape shape = readShape(makePath(task));
        if (spec_.isGiven(path + ".needles")) {
          shape.needles = spec_.getInteger(path + ".needles");
          shape.queries = getAllQueries(shape);
        }
        checkEntries(makePath(task), shape);
        checkLength(path + ".length", length, makePath(task), shape);
      }
    }
  }

  const Spec &spec_;
  Diagnostics &diagnostics_;
};

} // namespace

void morph::spec::checkSizes(const Spec &spec, Diagnostics &diagnostics) { SizeChecker(spec, diagnostics).check(); }
