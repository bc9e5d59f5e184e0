// SPDX-License-Identifier: Apache-2.0
// What goes into a program: weights from a store, and checked inputs.

#ifndef MORPH_RUNTIME_EXEC_BINDINGS_H
#define MORPH_RUNTIME_EXEC_BINDINGS_H

#include "runtime/exec/Executor.h"
#include "runtime/plan/OpTable.h"

#include <set>
#include <tuple>

namespace morph {

/// One of `count` equal parts of a tensor's elements (runtime/plan/Gathers.h).
struct Part {
  int64_t index = 0, count = 1;
};

/// The first value of one weight of a plan: the store's tensor (the base checkpoint's for `teacher_of`), else made by
/// its `init` in `dtype`. The result may be a read-only view of a mapped file. Of several parts it is one, in one
/// dimension and filled up with zeros, and no more than that is read of a file. Errors: no source, another shape, a
/// value that is not finite; the weight and its file are named.
StatusOr<at::Tensor> loadWeight(const plan::Plan &plan, const plan::Weight &weight, const WeightStore &store,
                                uint64_t seed, at::ScalarType dtype, const Part &part = Part());

/// Positions, offsets and starts are below this, so that sums of them and of sizes cannot overflow.
inline constexpr int64_t kPositionLimit = int64_t(1) << 31;

/// Checks a program's inputs against the plan: presence, rank, dtype, sizes that agree, indices in range, rings that
/// have room.
class InputChecker {
public:
  explicit InputChecker(const plan::Plan &plan);
  /// The program's sizes by name, as the inputs give them. Errors name the input: missing, another dtype, rank or size.
  StatusOr<std::map<std::string, int64_t>> sizesOf(const NamedTensors &inputs) const;
  /// Puts the inputs into `values` by value number, in their types; those that are updated lie where they were given.
  /// On a GPU the others are copied to where `held` has them, one an input, made where they are not there yet; null: to
  /// new tensors. `sizes` are those of `sizesOf`, for which resolveShapes has found no value too large. Errors name the
  /// input: an index out of range, or indices that are not on the CPU; one that is updated and not on the device,
  /// contiguous, of its type and alone in its memory; positions that see more of a ring than it keeps. A size that is
  /// larger than an op lets it be is an error, too.
  Status bind(const NamedTensors &inputs, const std::map<std::string, int64_t> &sizes, Precision precision,
              at::Device device, std::vector<at::Tensor> *held, std::vector<at::Tensor> &values) const;

  /// What indices of an input may be: 0 to the product of `limit` less one, or below kPositionLimit where it is empty.
  struct IndexRange {
    size_t input = 0;
    std::vector<plan::Dim> limit;
  };
  const std::vector<IndexRange> &ranges() const { return ranges_; }

private:
  const plan::Plan &plan_;
  std::vector<IndexRange> ranges_;
  std::vector<bool> updated_;  ///< One an input: the program writes where it lies.
  std::vector<bool> isOnHost_; ///< One an input: it is not brought to the device, because the host reads it.
  /// What ops ask of sizes: a constraint of the op table, AtMost, and its two sizes.
  std::set<std::tuple<const plan::ShapeRule *, plan::Dim, plan::Dim>> sizeLimits_;
  /// Rings that are read: the input that has the first new position, the number of these, slots, and the window or 0.
  std::set<std::tuple<size_t, plan::Dim, plan::Dim, int64_t>> rings_;

  /// An updated input must be given as the program takes it, and no other may lie where it is written.
  Status checkUpdated(const NamedTensors &inputs, Precision precision, at::Device device) const;
  void addRings(const plan::Instruction &instruction);
  /// No kernel on a GPU looks: there a ring that is too small would give what later positions have written.
  Status checkRings(const NamedTensors &inputs, const std::map<std::string, int64_t> &sizes) const;
};

} // namespace morph

#endif // MORPH_RUNTIME_EXEC_BINDINGS_H
