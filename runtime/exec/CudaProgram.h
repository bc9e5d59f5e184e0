// SPDX-License-Identifier: Apache-2.0
// A plan's code on a CUDA device.

#ifndef MORPH_RUNTIME_EXEC_CUDAPROGRAM_H
#define MORPH_RUNTIME_EXEC_CUDAPROGRAM_H

#include "runtime/device/CudaDevice.h"
#include "runtime/plan/Plan.h"

#include <ATen/ATen.h>

#include <array>
#include <memory>
#include <vector>

namespace morph {

class CudaProgram {
public:
  /// Loads the code of a validated plan, which must live as long as this. Errors: the plan has no code for GPUs, or for
  /// a later one than `device` is; the PTX is not there, or refused by the driver; it lacks a kernel.
  static StatusOr<std::unique_ptr<CudaProgram>> create(const plan::Plan &plan, CudaDevice &device);

  /// What the launches and products of all instructions are for sizes by name, and the shapes of all values.
  struct Launches;
  struct FreeLaunches {
    void operator()(Launches *launches) const;
  };
  using LaunchesPtr = std::unique_ptr<Launches, FreeLaunches>;
  StatusOr<LaunchesPtr> prepare(const std::map<std::string, int64_t> &sizes,
                                const std::vector<std::vector<int64_t>> &shapes) const;

  /// Puts instruction `i` on the device's stream. Optional operands that are absent are undefined; `scratch` is the
  /// instruction's. Errors name the program, the instruction and its layer.
  Status run(size_t i, const Launches &launches, const std::vector<at::Tensor> &operands,
             const std::vector<at::Tensor> &results, CudaSpan scratch) const;

private:
  CudaProgram(const plan::Plan &plan, CudaDevice &device, CudaModule module)
      : plan_(plan), device_(device), module_(std::move(module)) {}

  const plan::Plan &plan_;
  CudaDevice &device_;
  CudaModule module_;
  std::vector<std::vector<CudaFunction>> functions_; ///< One an instruction and launch.
  std::vector<std::string> names_;                   ///< One an instruction, for errors.
};

} // namespace morph

#endif // MORPH_RUNTIME_EXEC_CUDAPROGRAM_H
