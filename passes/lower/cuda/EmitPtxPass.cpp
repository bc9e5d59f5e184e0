// SPDX-License-Identifier: Apache-2.0
// morph-emit-ptx: the kernels of a model, compiled for GPUs, in a file.

#include "passes/lower/Passes.h"
#include "passes/lower/cuda/LowerToCuda.h"

#include "mlir/Support/FileUtilities.h"
#include "llvm/Support/ToolOutputFile.h"

namespace morph {
#define GEN_PASS_DEF_EMITPTXPASS
#include "passes/lower/Passes.h.inc"
} // namespace morph

using namespace mlir;
using namespace morph;

namespace {
struct EmitPtxPass : public morph::impl::EmitPtxPassBase<EmitPtxPass> {
  using EmitPtxPassBase::EmitPtxPassBase;

  void runOnOperation() override {
    auto fail = [&](const Twine &message) {
      getOperation().emitError(message);
      return signalPassFailure();
    };
    const plan::DeviceTarget *target = findPtxTarget(chip);
    if (!target)
      return fail(describeUnknownTarget(chip));
    if (output.empty())
      return fail("morph-emit-ptx needs `output`, the file to write");
    FailureOr<CudaKernels> cuda = buildCudaKernels(&getContext(), getKernels(getOperation()));
    if (failed(cuda))
      return signalPassFailure();
    FailureOr<std::string> ptx = translateToPtx(*cuda->module, *target);
    if (failed(ptx))
      return signalPassFailure();
    std::string message;
    std::unique_ptr<llvm::ToolOutputFile> file = openOutputFile(output, &message);
    if (!file)
      return fail(message);
    file->os() << *ptx;
    file->keep();
    markAllAnalysesPreserved();
  }
};
} // namespace
