// SPDX-License-Identifier: Apache-2.0
// Executes a plan, instruction by instruction, and frees every value at its last use.

#ifndef MORPH_RUNTIME_EXEC_EXECUTOR_H
#define MORPH_RUNTIME_EXEC_EXECUTOR_H

#include "runtime/kernels/Kernel.h"
#include "runtime/plan/Residence.h"
#include "runtime/weights/WeightStore.h"

#include <functional>
#include <map>
#include <memory>

namespace morph {

using NamedTensors = std::map<std::string, at::Tensor>;

/// Told of each instruction that has run, by its place in the plan, and the seconds it took.
using InstructionObserver = std::function<void(size_t instruction, double seconds)>;

class Executor {
public:
  ~Executor();
  /// Binds every weight of the plan: trainable ones and gates as fp32 masters (fp64 under F64) of this executor, frozen
  /// ones as views of the store where the dtype allows, cast once otherwise. Weights that the store lacks are made by
  /// their `init` with the run's `seed`. Errors: a weight with neither, a shape that differs, a NaN or infinity (the
  /// weight and the file are named).
  ///
  /// `sharing`, of the same precision, may be null: weights that it holds are read where it holds them, its masters
  /// with their changes, so that a program that measures beside one that trains costs no second copy. A weight is
  /// loaded from the store all the same where the plan trains it and `sharing` does not, or needs it in a wider type.
  static StatusOr<std::unique_ptr<Executor>> create(plan::Plan plan, const WeightStore &store, Precision precision,
                                                    uint64_t seed, const Executor *sharing = nullptr);

  /// Runs the program under no_grad. Inputs by name; outputs by name, gradients as `grad.<weight>`. Errors: a missing
  /// input, a wrong rank, dtype or size, token ids out of range.
  StatusOr<NamedTensors> run(const NamedTensors &inputs);

  /// As `run`, with autograd recording (for the tests' oracle: masters must be set to require grad).
  StatusOr<NamedTensors> runRecording(const NamedTensors &inputs);

  /// The fp32 masters of the trainable weights, by name. Changing a tensor in place changes what the next run reads,
  /// after `mastersChanged`.
  NamedTensors &masters() { return masters_; }
  /// Drops the copies of masters in other dtypes, those that executors share with this one too.
  void mastersChanged();

  /// Times every instruction of later runs. An empty observer ends it.
  void observe(InstructionObserver observer) { observer_ = std::move(observer); }

  const plan::Plan &plan() const { return plan_; }

private:
  /// A weight as instructions read it, held together with the executors that share it.
  struct BoundWeight {
    at::Tensor value;
    at::Tensor half;     ///< Its bf16 copy under BF16, made when first used.
    bool master = false; ///< `value` is one of `masters_`.
  };

  plan::Plan plan_;
  Precision precision_ = Precision::F32;
  NamedTensors masters_;
  std::vector<std::shared_ptr<BoundWeight>> bound_; ///< One a weight.
  std::vector<const Kernel *> kernels_;
  plan::Residence residence_;
  int64_t viewBytes_ = 0; ///< Of the files that bound weights are views of.
  std::unique_ptr<class InputChecker> inputs_;
  InstructionObserver observer_;

  Executor() = default;
  Status prepare();
  Status bindWeights(const WeightStore &store, uint64_t seed, const Executor *sharing);
  /// What this executor has bound to the name, or null.
  std::shared_ptr<BoundWeight> findBound(const std::string &name) const;
  StatusOr<NamedTensors> execute(const NamedTensors &inputs, bool recording);
  void runInstruction(size_t i, const std::vector<std::vector<int64_t>> &shapes, std::vector<at::Tensor> &values,
                      std::vector<at::Tensor> &halves, bool recording);
};

} // namespace morph

#endif // MORPH_RUNTIME_EXEC_EXECUTOR_H
