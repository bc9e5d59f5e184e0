// SPDX-License-Identifier: Apache-2.0
// An MLIRContext for many inputs.

#ifndef MORPH_TEST_FUZZ_FUZZCONTEXT_H
#define MORPH_TEST_FUZZ_FUZZCONTEXT_H

#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"

#include <functional>
#include <optional>

namespace morph::fuzz {

/// A context without threads whose diagnostics go nowhere. It is made again now and then, since it keeps every type,
/// attribute and name it has ever seen.
class FuzzContext {
public:
  /// `load` prepares each new context.
  explicit FuzzContext(std::function<void(mlir::MLIRContext &)> load) : load_(std::move(load)) {}

  /// The context for one input.
  mlir::MLIRContext &get() {
    if (renewsNext()) {
      context_.emplace(mlir::MLIRContext::Threading::DISABLED);
      load_(*context_);
      context_->getDiagEngine().registerHandler([](mlir::Diagnostic &) { return mlir::success(); });
    }
    ++uses_;
    return *context_;
  }
  /// Whether the next get() makes a new context, so that whatever refers to this one must go before.
  bool renewsNext() const { return uses_ % 1000 == 0; }
  mlir::MLIRContext &current() { return *context_; }

private:
  std::function<void(mlir::MLIRContext &)> load_;
  std::optional<mlir::MLIRContext> context_;
  unsigned uses_ = 0;
};

} // namespace morph::fuzz

#endif // MORPH_TEST_FUZZ_FUZZCONTEXT_H
