// SPDX-License-Identifier: Apache-2.0
// morph-lower-to-cpu: kernels through linalg to vector loops, and those to the LLVM dialect.

#include "passes/lower/Passes.h"
#include "passes/lower/RowLoops.h"
#include "passes/lower/VectorMath.h"

#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/MathToLLVM/MathToLLVM.h"
#include "mlir/Conversion/ReconcileUnrealizedCasts/ReconcileUnrealizedCasts.h"
#include "mlir/Conversion/SCFToControlFlow/SCFToControlFlow.h"
#include "mlir/Conversion/VectorToLLVM/ConvertVectorToLLVMPass.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace morph {
#define GEN_PASS_DEF_LOWERTOCPUPASS
#include "passes/lower/Passes.h.inc"
} // namespace morph

using namespace mlir;
using namespace morph;

void morph::addConversionToLlvm(OpPassManager &manager) {
  manager.addPass(createConvertSCFToCFPass());
  manager.addPass(createConvertVectorToLLVMPass());
  manager.addPass(createConvertMathToLLVMPass());
  manager.addPass(createArithToLLVMConversionPass());
  manager.addPass(createConvertControlFlowToLLVMPass());
  manager.addPass(createReconcileUnrealizedCastsPass());
}

FailureOr<OwningOpRef<ModuleOp>> morph::buildRowLoops(MLIRContext *context, ArrayRef<KernelOp> kernels) {
  LinalgKernels linalg = buildLinalg(context, kernels);
  for (const LinalgKernel &kernel : linalg.kernels)
    if (failed(lowerToRowLoops(kernel)))
      return failure();
  // Transcendental functions as polynomials on vectors; bf16 by integer operations, the same on all machines.
  RewritePatternSet patterns(context);
  populateVectorMath(patterns);
  arith::populateExpandBFloat16Patterns(patterns);
  if (failed(applyPatternsAndFoldGreedily(*linalg.module, std::move(patterns))))
    return failure();
  return std::move(linalg.module);
}

namespace {
struct LowerToCpuPass : public morph::impl::LowerToCpuPassBase<LowerToCpuPass> {
  using LowerToCpuPassBase::LowerToCpuPassBase;

  void runOnOperation() override {
    // From the kernels themselves, which a verifier has checked, and not from linalg that anybody may have written.
    FailureOr<SmallVector<KernelOp>> kernels = getKernelsToLower(getOperation());
    if (failed(kernels))
      return signalPassFailure();
    FailureOr<OwningOpRef<ModuleOp>> loops = buildRowLoops(&getContext(), *kernels);
    if (failed(loops))
      return signalPassFailure();
    ModuleOp module = loops->release();
    getOperation().push_back(module);
    if (!toLlvm)
      return;
    OpPassManager manager(ModuleOp::getOperationName());
    addConversionToLlvm(manager);
    if (failed(runPipeline(manager, module)))
      signalPassFailure();
  }

  void getDependentDialects(DialectRegistry &registry) const override {
    LowerToCpuPassBase::getDependentDialects(registry);
    OpPassManager manager(ModuleOp::getOperationName());
    addConversionToLlvm(manager);
    manager.getDependentDialects(registry);
  }
};
} // namespace
