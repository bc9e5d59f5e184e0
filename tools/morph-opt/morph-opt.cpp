// SPDX-License-Identifier: Apache-2.0
// MLIR's opt tool with the morph dialect, its passes and its pipelines.

#include "dialect/MorphDialect.h"
#include "passes/Passes.h"
#include "passes/Pipelines.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/Extensions/InlinerExtension.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/DialectRegistry.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/CrashRecoveryContext.h"
#include "llvm/Support/Signals.h"
#include "llvm/Support/raw_ostream.h"

#include <csignal>
#include <cstdlib>

/// Hides the options that LLVM's shared library registers when it is loaded, which are about code generation; --help
/// shows those of the opt tool and its passes, --help-hidden all.
static void hideCodeGenerationOptions() {
  for (auto &[name, option] : llvm::cl::getRegisteredOptions())
    if (name != "help" && name != "help-hidden" && name != "version" &&
        option->getOptionHiddenFlag() == llvm::cl::NotHidden)
      option->setHiddenFlag(llvm::cl::Hidden);
}

/// Runs MLIR's opt tool and returns its exit status. A crash is reported in a line and is a failure like others.
///
/// MLIR 19 has one that any text can cause and nothing here can prevent: a value that is used before it is defined in a
/// nested region, followed by a syntax error in that region. The parser frees the region first and the use after it
/// (test/tools/morph-opt-crash.test has the text, few lines).
static int runContained(int argc, char **argv, mlir::DialectRegistry &registry) {
  // LLVM installs its signal handlers once; those of the recovery must come after them.
  llvm::sys::PrintStackTraceOnErrorSignal(argv[0]);
  llvm::CrashRecoveryContext::Enable();
  // Text that nests too deep for the parser overflows the stack: the handler needs the other one, which LLVM has made.
  struct sigaction action;
  sigaction(SIGSEGV, nullptr, &action);
  action.sa_flags |= SA_ONSTACK;
  sigaction(SIGSEGV, &action, nullptr);
  int status = 1;
  llvm::CrashRecoveryContext recovery;
  auto run = [&] { status = mlir::failed(mlir::MlirOptMain(argc, argv, "Optimizer of morph models\n", registry)); };
  if (recovery.RunSafely(run))
    return status;
  llvm::errs() << "morph-opt: error: broke off by a fault of its own (status " << recovery.RetCode
               << "); errors above this line come first, and no output was written\n";
  llvm::sys::RunInterruptHandlers(); // Removes output files that were begun.
  std::_Exit(1);
}

int main(int argc, char **argv) {
  hideCodeGenerationOptions();
  mlir::DialectRegistry registry;
  registry.insert<morph::MorphDialect, mlir::func::FuncDialect, mlir::arith::ArithDialect>();
  mlir::func::registerInlinerExtension(registry);

  morph::registerPasses();
  morph::registerPipelines();
  // Of MLIR's own passes those that make sense on models.
  mlir::registerCanonicalizerPass();
  mlir::registerCSEPass();
  mlir::registerInlinerPass();
  mlir::registerPrintIRPass();
  mlir::registerStripDebugInfoPass();
  mlir::registerSymbolDCEPass();

  return runContained(argc, argv, registry);
}
