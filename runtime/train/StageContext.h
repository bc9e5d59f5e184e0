// SPDX-License-Identifier: Apache-2.0
// What every stage gets: the resolved spec, where the run lives, plans by name, weights, and what follows from the keys
// that stages share.

#ifndef MORPH_RUNTIME_TRAIN_STAGECONTEXT_H
#define MORPH_RUNTIME_TRAIN_STAGECONTEXT_H

#include "runtime/data/Batch.h"
#include "runtime/exec/Executor.h"
#include "runtime/spec/Spec.h"
#include "runtime/train/TrainLoop.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace morph {

/// Sets LibTorch's threads. An error for more than four a core, which names their `source`: OpenMP crashes where a
/// thread cannot be made.
Status setThreads(int64_t threads, const std::string &source);

/// How a stage ended when it did not fail.
enum class StageOutcome {
  Done,        ///< Its files are in `out`.
  Interrupted, ///< A checkpoint is in `out`; the same command continues.
};

class StageContext {
public:
  ResolvedSpec spec; ///< All zeros for programs that need none.
  std::string runDir;
  std::string out;     ///< The stage's folder (`DIR/STAGE.partial`).
  std::string key;     ///< Of all that the stage's numbers depend on; a checkpoint of another key is refused.
  std::string variant; ///< distill, finetune, evaluate: which selection ("selected", "uniform").
  /// distill: where its variants keep the teacher's results for each other, and of what these depend on; empty:
  /// nowhere.
  std::string teacherDir, teacherKey;
  /// select: where selectors keep the scores of choices for each other, and of what these depend on; empty: each for
  /// itself.
  std::string choicesDir, choicesKey;
  std::map<std::string, std::string> planPaths;
  std::vector<std::string> weightPaths; ///< The base checkpoint first, then what overrides it.
  NamedTensors firstValues;             ///< Of weights, which override those of the files.

  /// Those that do the stage together. Only the leader writes into `out`.
  std::shared_ptr<Processes> processes = std::make_shared<Processes>();

  Precision precision = Precision::F32; ///< F64: everything in double, for tests.
  at::Device device = at::kCPU;         ///< Where programs run and their weights are.
  bool shards = false;                  ///< The processes divide the frozen weights; the spec may say so, too.

  // From the spec, by `prepare`.
  uint64_t seed = 0;
  int64_t vocabulary = 0; ///< 0: unknown.
  int64_t layers = 0;

  /// Takes seed, threads, device and the model's sizes from the spec; makes `out`; sets LibTorch's threads.
  Status prepare();
  /// Opens the device of that name (runtime/spec/DeviceName.h), of several processes of a machine each the GPU that is
  /// its local rank further. Errors: no such name; "no CUDA device: REASON".
  Status openDevice(const std::string &name);

  bool hasPlan(const std::string &name) const { return planPaths.count(name) != 0; }
  /// The plan given as `--plan name=FILE`; an error that names the flag where it was not.
  StatusOr<plan::Plan> plan(const std::string &name) const;
  /// An executor of that plan on the context's weights; those that `sharing` holds are read there, and frozen ones are
  /// divided among the processes where these shard (Executor::create).
  StatusOr<std::unique_ptr<Executor>> executor(const std::string &name, const Executor *sharing = nullptr) const;
  /// An executor of that plan on the base's weights, whatever overrides them, divided as `executor` divides them: where
  /// nothing does, as `executor` makes it.
  StatusOr<std::unique_ptr<Executor>> baseExecutor(const std::string &name, const Executor *sharing) const;
  /// One on the weights of `store`, which are whole.
  StatusOr<std::unique_ptr<Executor>> executorOf(const std::string &name, const WeightStore &store) const;
  std::string outPath(const std::string &file) const { return out + "/" + file; }
  std::string dataDir() const { return runDir + "/data"; }

  /// The run's general text; null where `DIR/data` has none.
  StatusOr<std::shared_ptr<const TextStore>> text() const;
  /// Task generators by name.
  StatusOr<std::vector<std::shared_ptr<const TaskGenerator>>> tasks(const std::vector<std::string> &names,
                                                                    const std::shared_ptr<const TextStore> &text) const;
  /// Of the text's tokens the share that is in documents too short for the windows of a stream: the largest of all
  /// streams, of copies of the context, too.
  std::shared_ptr<double> unreadShare = std::make_shared<double>(0);

  /// The batches of a stage over `names` and the run's text. The leader says how much of the text they leave out.
  StatusOr<std::unique_ptr<BatchStream>> stream(BatchStreamOptions options,
                                                const std::vector<std::string> &names) const;

  /// The loop of a stage as its section says, with paths and the key. `stage` is the section's name. The division among
  /// processes is the caller's.
  LoopOptions loopOptions(const std::string &stage, const TrainingSpec &section) const;
  /// The same for a section of its own kind: one batch a step.
  LoopOptions loopOptions(const std::string &stage, const OptimizerSpec &section, int64_t steps) const;

private:
  /// The processes that divide frozen weights; null: each has them whole.
  std::shared_ptr<Processes> sharers() const;
  /// Says, and remembers, how much of the text a stream leaves out.
  void noteUnread(const BatchStreamOptions &options, const std::shared_ptr<const TextStore> &text) const;
};

/// The inputs of a program among a batch's tensors (tokens, positions, targets, weights), by the names it has.
LoopBatch loopBatch(const Batch &batch, const plan::Plan &plan);
/// The batches of a stream as these. It refers to both.
BatchSource batchSource(const BatchStream &stream, const plan::Plan &plan);

/// The masters of an executor as tensors of the CPU, to write.
std::map<std::string, at::Tensor> trainedTensors(Executor &executor);

} // namespace morph

#endif // MORPH_RUNTIME_TRAIN_STAGECONTEXT_H
