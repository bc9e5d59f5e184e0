// SPDX-License-Identifier: Apache-2.0
// Executes a plan, instruction by instruction, in memory that is laid out before (runtime/plan/Buffers.h).

#ifndef MORPH_RUNTIME_EXEC_EXECUTOR_H
#define MORPH_RUNTIME_EXEC_EXECUTOR_H

#include "runtime/exec/Arena.h"
#include "runtime/exec/DeviceProgram.h"
#include "runtime/exec/DividedTensors.h"
#include "runtime/kernels/Kernel.h"
#include "runtime/plan/Buffers.h"
#include "runtime/plan/Demand.h"
#include "runtime/plan/Gathers.h"
#include "runtime/weights/WeightStore.h"

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>

namespace morph {

using NamedTensors = std::map<std::string, at::Tensor>;

/// Told of each instruction that has run, by its place in the plan, and the seconds it took.
using InstructionObserver = std::function<void(size_t instruction, double seconds)>;

class Executor {
public:
  ~Executor();
  /// Binds every weight of the plan: trainable ones and gates as fp32 masters (fp64 under F64) of this executor, frozen
  /// ones in the type that the plan gives their value, as views of the store where it has that type. Weights that the
  /// store lacks are made by their `init` with the run's `seed`. Errors: a weight with neither, a shape that differs, a
  /// NaN or infinity (the weight and the file are named).
  ///
  /// `sharing`, of the same precision, may be null: weights that it holds are read where it holds them, its masters
  /// with their changes, and its arena is used, so that a program that measures beside one that trains costs no second
  /// copy. A weight is loaded from the store all the same where the plan trains it and `sharing` does not, or needs it
  /// in another type.
  ///
  /// On another `device` than the CPU (runtime/device/TorchDevice.h) the plan's code for GPUs runs; weights and the
  /// arena are there. Indices are given on the CPU, where they are checked, what is updated on the device, other inputs
  /// on either; outputs are on the device. `sharing` is on the same device.
  ///
  /// With `divided`, of which there are several, each process keeps and reads its part of the frozen weights alone
  /// (runtime/plan/Gathers.h), and a run gathers what it reads: the same results. All processes make the same executors
  /// in the same order. On a GPU such a program is no graph: what is gathered next is agreed upon by the host.
  static StatusOr<std::unique_ptr<Executor>> create(plan::Plan plan, const WeightStore &store, Precision precision,
                                                    uint64_t seed, const Executor *sharing = nullptr,
                                                    at::Device device = at::kCPU,
                                                    std::shared_ptr<DividedTensors> divided = nullptr);
  /// Where values lie.
  at::Device device() const { return device_; }

  /// Runs the program under no_grad. Inputs by name; outputs by name, gradients as `grad.<weight>`: they lie in the
  /// arena, where the next run of this executor, or of one that shares the arena, overwrites them. What the program
  /// updates is written where the input lies, and an output that is an updated input is the tensor that was given. What
  /// the gates leave out is not computed (runtime/plan/Demand.h), nor what only outputs need that are `given`, of an
  /// earlier run on the same inputs. Errors: a missing input, a wrong rank, dtype or size, token ids out of range; an
  /// input that is updated but not contiguous, of the precision's type and alone in its memory; positions that see more
  /// of a ring than it keeps; what is given and no output, or of another shape.
  StatusOr<NamedTensors> run(const NamedTensors &inputs, const NamedTensors &given = {});

  /// As `run`, with autograd recording and tensors of their own, for the tests' oracle: masters must be set to require
  /// grad. Gradients are not among the outputs. Errors: an executor that is not on the CPU.
  StatusOr<NamedTensors> runRecording(const NamedTensors &inputs);

  /// The fp32 masters of the trainable weights, by name. Changing a tensor in place changes what the next run reads.
  NamedTensors &masters() { return masters_; }

  /// Times every instruction of later runs that is computed. An empty observer ends it.
  void observe(InstructionObserver observer) { observer_ = std::move(observer); }

  const plan::Plan &plan() const { return plan_; }

  /// What the last run did of each instruction; empty: everything.
  const std::vector<plan::Step> &steps() const { return steps_; }
  Precision precision() const { return precision_; }

private:
  /// A weight as instructions read it, held together with the executors that share it.
  struct BoundWeight {
    at::Tensor value;
    bool master = false;  ///< `value` is one of `masters_`.
    bool divided = false; ///< `value` is this process' part of the elements, one after the other.
  };
  /// What a run's work that may be a graph depends on beside its layout: where lies what the caller has given, and what
  /// is left out.
  struct GraphKey {
    std::vector<const void *> inputs;
    std::vector<plan::Step> steps;
    bool operator==(const GraphKey &other) const { return inputs == other.inputs && steps == other.steps; }
  };
  /// The memory of runs of some sizes.
  struct Layout {
    std::map<std::string, int64_t> sizes;
    int64_t threads = 1;
    std::vector<std::vector<int64_t>> shapes; ///< Of all values.
    plan::Buffers buffers;
    int64_t generation = -1;        ///< Of the arena for which `values` are.
    std::vector<at::Tensor> values; ///< One a value; undefined where it lies outside the arena.
    std::vector<std::vector<at::Tensor>> results;
    char *memory = nullptr; ///< The arena's.
    std::unique_ptr<DeviceProgram::Prepared> prepared;
    std::vector<at::Tensor> inputs;   ///< On a GPU: where each input lies that is given elsewhere or not updated.
    std::optional<GraphKey> graphKey; ///< Of the last run that could be a graph.
    std::unique_ptr<DeviceProgram::Graph> graph; ///< That run, from its second time on.
  };

  plan::Plan plan_;
  Precision precision_ = Precision::F32;
  at::Device device_ = at::kCPU;
  std::unique_ptr<DeviceProgram> program_;
  bool poisons_ = false;
  NamedTensors masters_;
  std::vector<std::shared_ptr<BoundWeight>> bound_; ///< One a weight.
  std::vector<int64_t> viewed_;               ///< One an instruction: the value that its result is a view of, or -1.
  std::vector<std::vector<int64_t>> updated_; ///< One an instruction: the values that its results update, or -1.
  std::shared_ptr<Arena> arena_;
  std::list<Layout> layouts_; ///< The most recent first.
  int64_t viewBytes_ = 0;     ///< Of the files that bound weights are views of.
  std::shared_ptr<DividedTensors> divided_;
  plan::Gathers gathers_;                            ///< Of weights that are divided.
  std::vector<int64_t> groups_;                      ///< Numbers of their groups.
  std::shared_ptr<DividedTensors::Buffer> gathered_; ///< That of `sharing`, too. Null where nothing is divided.
  std::unique_ptr<class InputChecker> inputs_;
  InstructionObserver observer_;
  std::vector<plan::Step> steps_; ///< Of the last run, which had these shares and given values.
  plan::ZeroShares zero_;
  std::set<int64_t> given_;

  Executor() = default;
  void prepare();
  Status bindWeights(const WeightStore &store, uint64_t seed, const Executor *sharing);
  /// What this executor has bound to a weight of another plan's name and shape, or null.
  std::shared_ptr<BoundWeight> findBound(const plan::Weight &weight) const;
  /// What `sharing` holds of weight `w` as this executor reads it, or null.
  std::shared_ptr<BoundWeight> findShared(size_t w, const Executor *sharing, bool dividable) const;
  /// The error of a device that has no room for the weights that are not shared: what they take, before one is read.
  Status checkRoomForWeights(const Executor *sharing, const std::vector<bool> &dividable) const;
  /// Makes known to the others which weights are divided.
  Status divideWeights(const Executor *sharing);
  /// Brings the weights that instruction `i` reads, where they do not lie in `gathered_`; `group` is that whose weights
  /// and their views are among `values`.
  Status gather(size_t i, std::vector<at::Tensor> &values, const Layout &layout, int64_t &group);
  StatusOr<std::vector<std::vector<int64_t>>> shapesOf(const std::map<std::string, int64_t> &sizes) const;
  StatusOr<Layout *> layoutOf(const std::map<std::string, int64_t> &sizes);
  /// What a device holds of inputs beside the arena (Layout::inputs).
  int64_t heldInputBytes(const std::vector<std::vector<int64_t>> &shapes) const;
  /// The error of a device that has no room for a layout's arena and inputs: what takes the memory, and the length that
  /// fits.
  Status checkRoom(const Layout &layout) const;
  Status explainNoRoom(const DeviceProgram::Room &room, const std::map<std::string, int64_t> &sizes,
                       int64_t bytes) const;
  at::ScalarType typeOf(int64_t value) const;
  /// A value that leaves the executor: it keeps the memory alive that it lies in.
  at::Tensor outputOf(int64_t value, const at::Tensor &tensor, const Layout *layout) const;
  StatusOr<NamedTensors> execute(const NamedTensors &inputs, const NamedTensors &given, bool recording);
  /// Runs all instructions; `layout` is null where autograd records.
  Status runInstructions(std::vector<at::Tensor> &values, Layout *layout, const std::map<int64_t, at::Tensor> &given);
  /// The same where a device has graphs: what is run for the second time becomes one, whose launch is one call.
  Status runGraph(std::vector<at::Tensor> &values, Layout &layout);
  /// The results of instruction `i` where a graph leaves them: in the layout, or where the caller's memory is updated.
  void findResults(size_t i, std::vector<at::Tensor> &values, const Layout &layout) const;
  /// Finds what a run needs.
  void findSteps(const std::map<int64_t, at::Tensor> &given);
  /// Fills the results of instruction `i`, which is not computed, where they are read.
  void fill(size_t i, plan::Step step, std::vector<at::Tensor> &values, const Layout &layout,
            const std::map<int64_t, at::Tensor> &given) const;
  /// Runs instruction `i` on `values`, which get its results: in the layout's memory, or tensors of their own where
  /// there is no layout. An error is a GPU's, and names the program and the instruction; the CPU's are thrown.
  Status runInstruction(size_t i, std::vector<at::Tensor> &values, Layout *layout);
  /// Fills what ends with instruction `i` with NaN.
  void poison(size_t i, const Layout &layout) const;
};

} // namespace morph

#endif // MORPH_RUNTIME_EXEC_EXECUTOR_H
