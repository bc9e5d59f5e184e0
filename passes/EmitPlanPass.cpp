// SPDX-License-Identifier: Apache-2.0
// morph-emit-plan: writes a program's plan to a file.

#include "passes/EmitPlan.h"
#include "passes/Passes.h"
#include "passes/lower/cuda/CompileDevice.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/ToolOutputFile.h"

namespace morph {
#define GEN_PASS_DEF_EMITPLANPASS
#include "passes/Passes.h.inc"
} // namespace morph

using namespace mlir;
using namespace morph;

namespace {

struct EmitPlanPass : public morph::impl::EmitPlanPassBase<EmitPlanPass> {
  using EmitPlanPassBase::EmitPlanPassBase;

  void getDependentDialects(DialectRegistry &registry) const override {
    EmitPlanPassBase::getDependentDialects(registry);
    registerDeviceDialects(registry);
  }

  void runOnOperation() override {
    FailureOr<plan::Plan> plan = emitPlan(getOperation(), program);
    if (failed(plan) ||
        (!devices.empty() && failed(compilePlanForDevices(getOperation(), *plan, devices, output,
                                                          everyTile ? DeviceText::EveryTile : DeviceText::Ptx))))
      return signalPassFailure();
    if (Status status = plan::validate(*plan); !status.ok()) {
      emitError(getOperation().getLoc()) << "program '" << program
                                         << "' gives a plan that is not valid: " << status.message();
      return signalPassFailure();
    }
    std::error_code error;
    llvm::ToolOutputFile file(output, error, llvm::sys::fs::OF_Text);
    if (error) {
      emitError(getOperation().getLoc()) << "cannot write plan '" << output << "': " << error.message();
      return signalPassFailure();
    }
    file.os() << plan::printPlan(*plan);
    file.keep();
    markAllAnalysesPreserved();
  }
};

} // namespace
