// SPDX-License-Identifier: Apache-2.0
// morph-compile-kernels: the kernels of a model as a file.

#include "dialect/KernelRows.h"
#include "passes/lower/CompileKernels.h"
#include "passes/lower/KernelToLinalg.h"
#include "passes/lower/Passes.h"

#include "mlir/Support/FileUtilities.h"
#include "llvm/Support/ToolOutputFile.h"

namespace morph {
#define GEN_PASS_DEF_COMPILEKERNELSPASS
#include "passes/lower/Passes.h.inc"
} // namespace morph

using namespace mlir;
using namespace morph;

namespace {
struct CompileKernelsPass : public morph::impl::CompileKernelsPassBase<CompileKernelsPass> {
  using CompileKernelsPassBase::CompileKernelsPassBase;

  void runOnOperation() override {
    if (output.empty()) {
      getOperation().emitError("morph-compile-kernels needs `output`, the shared object to write");
      return signalPassFailure();
    }
    SmallVector<KernelOp> kernels = getKernels(getOperation());
    KernelCompileOptions options;
    options.origin = origin;
    if (!cache)
      options.folders.clear();
    FailureOr<KernelObject> object = compileKernels(kernels, options);
    if (failed(object))
      return signalPassFailure();
    std::string message;
    std::unique_ptr<llvm::ToolOutputFile> file = openOutputFile(output, &message);
    if (!file) {
      getOperation().emitError() << message;
      return signalPassFailure();
    }
    file->os() << object->bytes;
    file->keep();
    if (!hash)
      return;
    llvm::outs() << "// kernels " << object->hash << "\n";
    for (KernelOp kernel : kernels) {
      llvm::outs() << "// in place, result=argument: @" << kernel.getSymName();
      for (auto [result, argument] : findInPlace(kernel))
        llvm::outs() << " " << result << "=" << argument;
      llvm::outs() << "\n";
    }
  }
};
} // namespace
