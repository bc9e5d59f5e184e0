// SPDX-License-Identifier: Apache-2.0
// A plan's instructions on the device where they run. The executor lays out memory, binds weights and inputs, and
// decides what is computed and in which order: the same for all devices. How an instruction is computed, what room
// there is, and what is run again as one, is the device's.

#ifndef MORPH_RUNTIME_EXEC_DEVICEPROGRAM_H
#define MORPH_RUNTIME_EXEC_DEVICEPROGRAM_H

#include "runtime/base/Status.h"
#include "runtime/plan/Plan.h"

#include <ATen/ATen.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

namespace morph {

/// An instruction's scratch.
struct ScratchMemory {
  char *begin = nullptr;
  int64_t bytes = 0;
};

class DeviceProgram {
public:
  virtual ~DeviceProgram() = default;

  /// What a device has found out for runs of some sizes.
  struct Prepared {
    virtual ~Prepared() = default;
  };
  /// For sizes by name, and the shapes of all values. Null where there is nothing to find out.
  virtual StatusOr<std::unique_ptr<Prepared>> prepare(const std::map<std::string, int64_t> & /*sizes*/,
                                                      const std::vector<std::vector<int64_t>> & /*shapes*/) const {
    return std::unique_ptr<Prepared>();
  }

  /// Computes instruction `i` into its results. Optional operands that are absent are undefined. An error is a GPU's
  /// and names program, instruction and layer; the CPU's are thrown, as Torch does.
  virtual Status run(size_t i, const Prepared *prepared, const std::vector<at::Tensor> &operands,
                     const std::vector<at::Tensor> &results, ScratchMemory scratch) = 0;
  /// The seconds that work took which `run` was called for.
  virtual StatusOr<double> secondsOf(const std::function<Status()> &work) = 0;

  /// A device's own memory.
  struct Room {
    std::string device;
    int64_t freeBytes = 0, heldBytes = 0;
  };
  /// Nothing where that is the machine's, which may promise more than it has.
  virtual StatusOr<std::optional<Room>> room() const { return std::optional<Room>(); }

  /// Work that was run once and is run again as one, with the same memory.
  struct Graph {
    virtual ~Graph() = default;
  };
  virtual bool hasGraphs() const { return false; }
  /// Records what `work` would run.
  virtual StatusOr<std::unique_ptr<Graph>> capture(const std::function<Status()> & /*work*/) {
    return Status::failed("the device has no graphs");
  }
  virtual Status launch(const Graph & /*graph*/) { return Status::failed("the device has no graphs"); }

  /// Whether autograd can record.
  virtual bool records() const { return false; }
  /// The results of instruction `i` as autograd's. Nothing where it has no form that autograd records, or no values to
  /// compute it on: gradients have none, nor what is computed of them.
  virtual std::optional<std::vector<at::Tensor>> record(size_t /*i*/, const std::vector<at::Tensor> & /*operands*/) {
    return std::nullopt;
  }
};

} // namespace morph

#endif // MORPH_RUNTIME_EXEC_DEVICEPROGRAM_H
