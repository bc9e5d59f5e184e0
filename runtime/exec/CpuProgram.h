// SPDX-License-Identifier: Apache-2.0
// A plan's instructions on the CPU: kernels of ops (runtime/kernels), and those that were compiled for the plan.

#ifndef MORPH_RUNTIME_EXEC_CPUPROGRAM_H
#define MORPH_RUNTIME_EXEC_CPUPROGRAM_H

#include "runtime/exec/DeviceProgram.h"
#include "runtime/exec/KernelLibrary.h"
#include "runtime/kernels/Kernel.h"

namespace morph {

class Executor;

class CpuProgram : public DeviceProgram {
public:
  /// Finds the kernels of a validated plan, which must live as long as this. Compiled ones that are not at hand are
  /// interpreted, with a warning when the first one is. Errors: an op without a kernel.
  static StatusOr<std::unique_ptr<CpuProgram>> create(const plan::Plan &plan, Precision precision);
  ~CpuProgram() override;

  Status run(size_t i, const Prepared *prepared, const std::vector<at::Tensor> &operands,
             const std::vector<at::Tensor> &results, ScratchMemory scratch) override;
  StatusOr<double> secondsOf(const std::function<Status()> &work) override;

  bool records() const override { return true; }
  std::optional<std::vector<at::Tensor>> record(size_t i, const std::vector<at::Tensor> &operands) override;

private:
  /// A launched kernel: compiled, or interpreted.
  struct Launched {
    const plan::Kernel *kernel = nullptr;
    KernelFunction function = nullptr;
    std::unique_ptr<Executor> body; ///< Of its instructions, once it has been interpreted.
  };

  CpuProgram(const plan::Plan &plan, Precision precision) : plan_(plan), precision_(precision) {}
  void loadCompiled();
  /// Runs a compiled kernel into `results`; `scratch` is for the parts of its sums over rows.
  static void launch(const Launched &launched, const std::vector<at::Tensor> &operands,
                     const std::vector<at::Tensor> &results, char *scratch);
  /// Interprets a kernel; the results have tensors of their own. Throws as Torch does.
  std::vector<at::Tensor> interpret(Launched &launched, const std::vector<at::Tensor> &operands, bool recording);

  const plan::Plan &plan_;
  Precision precision_;
  KernelLibrary library_;
  std::string notCompiled_;             ///< Why kernels are interpreted, until that is told.
  std::vector<const Kernel *> kernels_; ///< One an instruction; null: it launches one of the plan's.
  std::vector<int64_t> begins_;         ///< One an instruction: the place of its operand `begins`, or -1.
  std::vector<Launched> launched_;      ///< One a kernel of the plan.
  std::vector<int64_t> launches_;       ///< One an instruction: which of these it launches, or -1.
};

} // namespace morph

#endif // MORPH_RUNTIME_EXEC_CPUPROGRAM_H
