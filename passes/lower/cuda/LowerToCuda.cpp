// SPDX-License-Identifier: Apache-2.0
// morph-lower-to-cuda: kernels through linalg to blocks of threads, and those to the LLVM dialect.

#include "passes/lower/cuda/LowerToCuda.h"

#include "passes/lower/Passes.h"
#include "passes/lower/VectorMath.h"

#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/GPUToNVVM/GPUToNVVMPass.h"
#include "mlir/Conversion/LLVMCommon/ConversionTarget.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Conversion/MathToLLVM/MathToLLVM.h"
#include "mlir/Conversion/ReconcileUnrealizedCasts/ReconcileUnrealizedCasts.h"
#include "mlir/Conversion/SCFToControlFlow/SCFToControlFlow.h"
#include "mlir/Conversion/VectorToLLVM/ConvertVectorToLLVMPass.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/GPU/GPUToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/NVVM/NVVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/Instructions.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"

namespace morph {
#define GEN_PASS_DEF_LOWERTOCUDAPASS
#include "passes/lower/Passes.h.inc"
} // namespace morph

using namespace mlir;
using namespace morph;

namespace {
/// As upstream's convert-gpu-to-nvvm, which turns roots and the like into calls of a library that we do without.
struct ConvertToNvvmPass : PassWrapper<ConvertToNvvmPass, OperationPass<gpu::GPUModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(ConvertToNvvmPass)
  StringRef getArgument() const override { return "morph-convert-to-nvvm"; }
  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<LLVM::LLVMDialect, NVVM::NVVMDialect>();
  }

  void runOnOperation() override {
    LLVMTypeConverter converter(&getContext());
    RewritePatternSet patterns(&getContext());
    cf::populateControlFlowToLLVMConversionPatterns(converter, patterns);
    populateGpuToNVVMConversionPatterns(converter, patterns);
    LLVMConversionTarget target(getContext());
    configureGpuToNVVMConversionLegality(target);
    target.addLegalOp<LLVM::SqrtOp, LLVM::FAbsOp>();
    if (failed(applyPartialConversion(getOperation(), target, std::move(patterns))))
      signalPassFailure();
  }
};
} // namespace

void morph::addConversionToNvvm(OpPassManager &manager) {
  OpPassManager &gpu = manager.nest<gpu::GPUModuleOp>();
  gpu.addPass(createConvertSCFToCFPass());
  gpu.addPass(createConvertMathToLLVMPass());
  gpu.addPass(std::make_unique<ConvertToNvvmPass>());
  gpu.addPass(createConvertVectorToLLVMPass());
  gpu.addPass(createArithToLLVMConversionPass());
  gpu.addPass(createCanonicalizerPass());
  gpu.addPass(createReconcileUnrealizedCastsPass());
}

/// Writes transcendental functions in basic operations, as on CPUs.
static LogicalResult expandMath(ModuleOp module) {
  RewritePatternSet patterns(module.getContext());
  populateVectorMath(patterns);
  return applyPatternsAndFoldGreedily(module, std::move(patterns));
}

FailureOr<CudaKernels> morph::buildCudaKernels(MLIRContext *context, ArrayRef<KernelOp> kernels) {
  LinalgKernels linalg = buildLinalg(context, kernels);
  CudaKernels result;
  OpBuilder builder = OpBuilder::atBlockEnd(linalg.module->getBody());
  auto module = builder.create<gpu::GPUModuleOp>(linalg.module->getLoc(), "kernels");
  for (const LinalgKernel &kernel : linalg.kernels) {
    FailureOr<RowBlocks> blocks = lowerToRowBlocks(kernel, module);
    if (failed(blocks))
      return failure();
    result.rows.push_back(*blocks);
  }
  linalg.module->setName("cuda");
  result.module = std::move(linalg.module);
  return result;
}

/// All lanes of a warp come to products and loads of matrices together. LLVM 19 does not know it, and might move one to
/// where its result is used by some.
static void markCollectives(llvm::Module &module) {
  for (llvm::Function &function : module)
    for (llvm::Instruction &instruction : llvm::instructions(function)) {
      auto *call = llvm::dyn_cast<llvm::CallInst>(&instruction);
      llvm::StringRef name = call && call->getCalledFunction() ? call->getCalledFunction()->getName() : "";
      if (name.starts_with("llvm.nvvm.mma.") || name.starts_with("llvm.nvvm.ldmatrix."))
        call->setConvergent();
    }
}

FailureOr<std::string> morph::translateToPtx(ModuleOp module, const plan::DeviceTarget &target) {
  MLIRContext *context = module.getContext();
  PassManager manager(context, ModuleOp::getOperationName());
  addConversionToNvvm(manager);
  if (failed(expandMath(module)) || failed(manager.run(module)))
    return failure();
  DialectRegistry registry;
  registerBuiltinDialectTranslation(registry);
  registerGPUDialectTranslation(registry);
  registerLLVMDialectTranslation(registry);
  registerNVVMDialectTranslation(registry);
  context->appendDialectRegistry(registry);
  llvm::LLVMContext llvmContext;
  auto gpu = *module.getOps<gpu::GPUModuleOp>().begin();
  std::unique_ptr<llvm::Module> code = translateModuleToLLVMIR(gpu, llvmContext, "kernels");
  if (!code)
    return failure();
  markCollectives(*code);
  llvm::Expected<std::string> ptx = makePtx(*code, target);
  if (!ptx)
    return module.emitError() << "kernels cannot be compiled: " << llvm::toString(ptx.takeError());
  return std::move(*ptx);
}

namespace {
struct LowerToCudaPass : public morph::impl::LowerToCudaPassBase<LowerToCudaPass> {
  using LowerToCudaPassBase::LowerToCudaPassBase;

  void runOnOperation() override {
    // From the kernels themselves, which a verifier has checked, and not from linalg that anybody may have written.
    FailureOr<SmallVector<KernelOp>> kernels = getKernelsToLower(getOperation());
    if (failed(kernels))
      return signalPassFailure();
    FailureOr<CudaKernels> cuda = buildCudaKernels(&getContext(), *kernels);
    if (failed(cuda))
      return signalPassFailure();
    ModuleOp module = cuda->module.release();
    getOperation().push_back(module);
    if (failed(expandMath(module)))
      return signalPassFailure();
    if (!toLlvm)
      return;
    OpPassManager manager(ModuleOp::getOperationName());
    addConversionToNvvm(manager);
    if (failed(runPipeline(manager, module)))
      signalPassFailure();
  }

  void getDependentDialects(DialectRegistry &registry) const override {
    LowerToCudaPassBase::getDependentDialects(registry);
    OpPassManager manager(ModuleOp::getOperationName());
    addConversionToNvvm(manager);
    manager.getDependentDialects(registry);
  }
};
} // namespace
