// SPDX-License-Identifier: Apache-2.0
// morph-kernel-to-linalg: each op of a kernel in its linalg form.

#include "passes/lower/KernelToLinalg.h"

#include "dialect/KernelRows.h"
#include "passes/lower/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"

namespace morph {
#define GEN_PASS_DEF_KERNELTOLINALGPASS
#include "passes/lower/Passes.h.inc"
} // namespace morph

using namespace mlir;
using namespace morph;

/// A row value's type with one dimension for the row space; a uniform value's own.
static Type collapseRows(Type type, int64_t rows) {
  auto tensor = cast<RankedTensorType>(type);
  if (isUniform(tensor))
    return tensor;
  SmallVector<int64_t> shape(tensor.getShape().drop_front(rows));
  shape.insert(shape.begin(), ShapedType::kDynamic);
  return RankedTensorType::get(shape, tensor.getElementType());
}

static LinalgKernel buildFunction(OpBuilder &builder, KernelOp kernel) {
  int64_t rows = kernel.getRows();
  Block &body = kernel.getBody().front();
  SmallVector<Type> arguments, results;
  for (Type type : body.getArgumentTypes())
    arguments.push_back(collapseRows(type, rows));
  for (Type type : kernel.getReturned().getTypes())
    results.push_back(collapseRows(type, rows));
  auto function =
      builder.create<func::FuncOp>(kernel.getLoc(), kernel.getSymName(), builder.getFunctionType(arguments, results));
  KernelLines lines;
  for (Operation &op : body.without_terminator())
    lines.join(&op);

  Block &entry = *function.addEntryBlock();
  OpBuilder inner = OpBuilder::atBlockEnd(&entry);
  IRMapping mapping;
  mapping.map(body.getArguments(), entry.getArguments());
  for (Operation &op : body.without_terminator()) {
    SmallVector<Value> operands;
    for (Value operand : op.getOperands())
      operands.push_back(mapping.lookup(operand));
    mapping.map(op.getResults(), cast<KernelOpInterface>(op).lowerToLinalg(inner, operands));
  }
  SmallVector<Value> returned;
  for (Value value : kernel.getReturned())
    returned.push_back(mapping.lookup(value));
  inner.create<func::ReturnOp>(kernel.getLoc(), returned);
  return {function, kernel.getRowElements(), lines.getWidth()};
}

SmallVector<KernelOp> morph::getKernels(ModuleOp module) {
  SmallVector<KernelOp> kernels;
  module.walk([&](KernelOp kernel) { kernels.push_back(kernel); });
  return kernels;
}

FailureOr<SmallVector<KernelOp>> morph::getKernelsToLower(ModuleOp module) {
  SmallVector<KernelOp> kernels = getKernels(module);
  if (kernels.empty())
    return module.emitError("has no `morph.kernel` to lower: morph-form-kernels makes them");
  return kernels;
}

LinalgKernels morph::buildLinalg(MLIRContext *context, ArrayRef<KernelOp> kernels) {
  LinalgKernels linalg;
  linalg.module = ModuleOp::create(UnknownLoc::get(context), "kernels");
  OpBuilder builder = OpBuilder::atBlockEnd(linalg.module->getBody());
  for (KernelOp kernel : kernels)
    linalg.kernels.push_back(buildFunction(builder, kernel));
  return linalg;
}

namespace {
struct KernelToLinalgPass : public morph::impl::KernelToLinalgPassBase<KernelToLinalgPass> {
  using KernelToLinalgPassBase::KernelToLinalgPassBase;

  void runOnOperation() override {
    getOperation().getBody()->push_back(buildLinalg(&getContext(), getKernels(getOperation())).module.release());
  }
};
} // namespace
