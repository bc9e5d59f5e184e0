// SPDX-License-Identifier: Apache-2.0
// The language server of `.morph` files, specs and MLIR with the morph dialect, on standard input and output.

#include "dialect/MorphDialect.h"
#include "tools/morph-lsp-server/Server.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/DialectRegistry.h"
#include "mlir/Tools/mlir-lsp-server/MlirLspServerMain.h"

#include "llvm/Support/raw_ostream.h"

#include <csignal>
#include <unistd.h>

static constexpr llvm::StringLiteral kUsage =
    "usage: morph-lsp-server            serves an editor on standard input and output: .morph, spec TOML, .mlir\n"
    "       morph-lsp-server --mlir ... MLIR's server alone, with its own options\n";

int main(int argc, char **argv) {
  llvm::StringRef option = argc > 1 ? argv[1] : "";
  if (option == "--mlir") {
    mlir::DialectRegistry registry;
    registry.insert<morph::MorphDialect, mlir::func::FuncDialect, mlir::arith::ArithDialect>();
    return mlir::failed(mlir::MlirLspServerMain(argc - 1, argv + 1, registry)) ? 1 : 0;
  }
  // Some editors pass --stdio to every server.
  if (argc > 2 || (argc == 2 && option != "--stdio")) {
    bool asked = option == "--help" || option == "-h";
    (asked ? llvm::outs() : llvm::errs()) << kUsage;
    return asked ? 0 : 2;
  }
  // A client that is gone shows at the end of the input.
  std::signal(SIGPIPE, SIG_IGN);
  morph::lsp::Channel client(STDIN_FILENO, STDOUT_FILENO);
  return morph::lsp::Server(client).run();
}
