// SPDX-License-Identifier: Apache-2.0
// MLIR's opt tool with the morph dialect, its passes and its pipelines.

#include "dialect/MorphDialect.h"
#include "passes/Passes.h"
#include "passes/Pipelines.h"
#include "passes/lower/Passes.h"
#include "tools/Containment.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/Extensions/InlinerExtension.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/DialectRegistry.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/Support/CommandLine.h"

/// Hides the options that LLVM's shared library registers when it is loaded, which are about code generation; --help
/// shows those of the opt tool and its passes, --help-hidden all.
static void hideCodeGenerationOptions() {
  for (auto &[name, option] : llvm::cl::getRegisteredOptions())
    if (name != "help" && name != "help-hidden" && name != "version" &&
        option->getOptionHiddenFlag() == llvm::cl::NotHidden)
      option->setHiddenFlag(llvm::cl::Hidden);
}

int main(int argc, char **argv) {
  hideCodeGenerationOptions();
  mlir::DialectRegistry registry;
  registry.insert<morph::MorphDialect, mlir::func::FuncDialect, mlir::arith::ArithDialect>();
  // What kernels are lowered through.
  registry.insert<mlir::linalg::LinalgDialect, mlir::tensor::TensorDialect, mlir::math::MathDialect,
                  mlir::scf::SCFDialect, mlir::vector::VectorDialect, mlir::LLVM::LLVMDialect>();
  mlir::func::registerInlinerExtension(registry);

  morph::registerPasses();
  morph::registerPipelines();
  morph::registerMorphLowerPasses();
  // Of MLIR's own passes those that make sense on models.
  mlir::registerCanonicalizerPass();
  mlir::registerCSEPass();
  mlir::registerInlinerPass();
  mlir::registerPrintIRPass();
  mlir::registerStripDebugInfoPass();
  mlir::registerSymbolDCEPass();

  return morph::runContained("morph-opt", [&]() -> int {
    return mlir::failed(mlir::MlirOptMain(argc, argv, "Optimizer of morph models\n", registry));
  });
}
