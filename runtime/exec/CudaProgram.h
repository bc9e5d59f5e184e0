// SPDX-License-Identifier: Apache-2.0
// A plan's code on a CUDA device.

#ifndef MORPH_RUNTIME_EXEC_CUDAPROGRAM_H
#define MORPH_RUNTIME_EXEC_CUDAPROGRAM_H

#include "runtime/device/CudaDevice.h"
#include "runtime/exec/DeviceProgram.h"
#include "runtime/kernels/Documents.h"

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
  /// A graph has the launches of the documents that its first run had.
  bool hasGraphs() const override { return !device_.waits() && !separates_; }
  StatusOr<std::unique_ptr<Graph>> capture(const std::function<Status()> &work) override;
  Status launch(const Graph &graph) override;

private:
  CudaProgram(const plan::Plan &plan, CudaDevice &device, CudaModule module)
      : plan_(plan), device_(device), module_(std::move(module)) {}

  struct Argument {
    plan::LaunchArgument::Kind kind;
    int64_t number; ///< An operand or result, a byte of scratch, or the number itself.
  };
  struct Launch {
    Dim3 grid, block;
    std::vector<Argument> arguments;
  };
  struct Launches;
  struct DriverGraph;

  /// The launches of instruction `i` for some sizes; `document`: which of a window's.
  StatusOr<std::vector<Launch>> launchesOf(size_t i, const std::map<std::string, int64_t> &sizes,
                                           int64_t document) const;
  Status launchAll(size_t i, const std::vector<Launch> &launches, const std::vector<at::Tensor> &operands,
                   const std::vector<at::Tensor> &results, ScratchMemory scratch);
  /// The same for each document of a window with several.
  Status launchByDocument(size_t i, const std::map<std::string, int64_t> &sizes,
                          const std::vector<DocumentSpan> &documents, const std::vector<at::Tensor> &operands,
                          const std::vector<at::Tensor> &results, ScratchMemory scratch);

  const plan::Plan &plan_;
  CudaDevice &device_;
  CudaModule module_;
  std::vector<std::vector<CudaFunction>> functions_; ///< One an instruction and launch.
  std::vector<std::string> names_;                   ///< One an instruction, for errors.
  std::vector<int64_t> begins_;                      ///< One an instruction: plan::findBegins.
  bool separates_ = false;                           ///< Whether one has it.
};

} // namespace morph

#endif // MORPH_RUNTIME_EXEC_CUDAPROGRAM_H
