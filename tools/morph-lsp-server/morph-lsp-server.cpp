// SPDX-License-Identifier: Apache-2.0
// MLIR's language server with the morph dialect: definitions, hovers and errors in an editor.

#include "dialect/MorphDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/DialectRegistry.h"
#include "mlir/Tools/mlir-lsp-server/MlirLspServerMain.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  registry.insert<morph::MorphDialect, mlir::func::FuncDialect, mlir::arith::ArithDialect>();
  return mlir::failed(mlir::MlirLspServerMain(argc, argv, registry)) ? 1 : 0;
}
