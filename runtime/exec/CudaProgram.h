// SPDX-License-Identifier: Apache-2.0
// A plan's code on a CUDA device.

#ifndef MORPH_RUNTIME_EXEC_CUDAPROGRAM_H
#define MORPH_RUNTIME_EXEC_CUDAPROGRAM_H

#include "runtime/device/CudaDevice.h"
#include "runtime/exec/DeviceProgram.h"

namespace morph {

class CudaProgram : public DeviceProgram {
public:
  /// Loads the latest code of a validated plan that `device` runs. The plan must live as long as this, and keeps that
  /// code alone. Errors: the plan has no code for GPUs, or for later ones than `device` is; the PTX is not there, or
  /// refused by the driver; it lacks a kernel.
  static StatusOr<std::unique_ptr<CudaProgram>> create(plan::Plan &plan, CudaDevice &device);

  /// What the launches and products of all instructions are.
  StatusOr<std::unique_ptr<Prepared>> prepare(const std::map<std::string, int64_t> &sizes,
                                              const std::vector<std::vector<int64_t>> &shapes) const override;
  /// Puts instruction `i` on the device's stream.
  Status run(size_t i, const Prepared *prepared, const std::vector<at::Tensor> &operands,
             const std::vector<at::Tensor> &results, ScratchMemory scratch) override;
  StatusOr<double> secondsOf(const std::function<Status()> &work) override { return device_.secondsOf(work); }
  StatusOr<std::optional<Room>> room() const override;

  /// Not where every call waits: a graph is one launch, whose error would name no instruction.
  bool hasGraphs() const override { return !device_.waits(); }
  StatusOr<std::unique_ptr<Graph>> capture(const std::function<Status()> &work) override;
  Status launch(const Graph &graph) override;

private:
  CudaProgram(const plan::Plan &plan, CudaDevice &device, CudaModule module)
      : plan_(plan), device_(device), module_(std::move(module)) {}

  struct Launches;
  struct DriverGraph;

  const plan::Plan &plan_;
  CudaDevice &device_;
  CudaModule module_;
  std::vector<std::vector<CudaFunction>> functions_; ///< One an instruction and launch.
  std::vector<std::string> names_;                   ///< One an instruction, for errors.
};

} // namespace morph

#endif // MORPH_RUNTIME_EXEC_CUDAPROGRAM_H
