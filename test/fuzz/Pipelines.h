// SPDX-License-Identifier: Apache-2.0
// Every pass and pipeline on one module, for targets whose inputs are modules.

#ifndef MORPH_TEST_FUZZ_PIPELINES_H
#define MORPH_TEST_FUZZ_PIPELINES_H

#include "FuzzContext.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/PassManager.h"

#include <memory>
#include <string>
#include <vector>

namespace morph::fuzz {

/// Pipelines over one context after another.
class Pipelines {
public:
  Pipelines();
  ~Pipelines();

  /// The context for the next module.
  mlir::MLIRContext &context();
  /// Runs pipeline `number` (of any size; it wraps around) and, where it made a program, emits the program's plan. A
  /// plan that is emitted and not valid is an error of ours: the process aborts.
  void run(mlir::ModuleOp module, unsigned number);

private:
  struct Entry {
    std::string program; ///< Emitted after the pipeline; empty: none.
    std::unique_ptr<mlir::PassManager> manager;
  };
  void make();

  FuzzContext context_;
  std::vector<Entry> entries_;
  std::unique_ptr<class MemoryFile> selection_;
};

} // namespace morph::fuzz

#endif // MORPH_TEST_FUZZ_PIPELINES_H
