// SPDX-License-Identifier: Apache-2.0
#include "passes/lower/RowKernel.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace morph;

//===----------------------------------------------------------------------===//
// Analysis
//===----------------------------------------------------------------------===//

bool RowKernel::isTotal(linalg::GenericOp op) const {
  return llvm::none_of(op.getDpsInputOperands(), [&](OpOperand *operand) {
    Value root = rootOf(operand->get());
    return !isUniformTensor(root) && kinds.lookup(root) == RowKind::Row;
  });
}

int64_t RowKernel::placeOfTotal(linalg::GenericOp op) {
  // The map of the result says it; a scalar's says nothing.
  AffineMap place = op.getIndexingMapsArray().back();
  return place.getNumResults() == 0 ? 0 : cast<AffineConstantExpr>(place.getResult(0)).getValue();
}

void RowKernel::analyse(linalg::GenericOp op) {
  bool isRowSum = isUniformTensor(op.getResult(0)), isLineSum = !isRowSum && op.getNumReductionLoops() > 0;
  bool hasRow = false, hasLine = false;
  int phase = 0;
  for (OpOperand *operand : op.getDpsInputOperands()) {
    Value root = rootOf(operand->get());
    if (isUniformTensor(root))
      continue;
    (kinds.lookup(root) == RowKind::Row ? hasRow : hasLine) = true;
    phase = std::max(phase, phaseOf(root));
  }
  RowKind kind = isRowSum ? RowKind::Sum : isLineSum || (hasLine && !hasRow) ? RowKind::Line : RowKind::Row;
  steps.push_back({op, kind, isLineSum, phase});
  for (Value result : op.getResults()) {
    kinds[result] = kind;
    phases[result] = isLineSum ? phase + 1 : phase;
  }
  // Sums that are added to one after the other are in the same memory.
  if (Value start = op.getDpsInits()[0]; isRowSum && start.getDefiningOp<linalg::GenericOp>())
    roots[op.getResult(0)] = rootOf(start);
  passes = std::max(passes, phase + 1);
}

FailureOr<RowKernel> RowKernel::analyse(const LinalgKernel &kernel) {
  RowKernel result(kernel);
  func::FuncOp source = kernel.function;
  for (BlockArgument argument : source.getArguments())
    result.kinds[argument] = RowKind::Row;
  for (Operation &op : source.getBody().front()) {
    if (auto generic = dyn_cast<linalg::GenericOp>(op)) {
      result.analyse(generic);
    } else if (isa<tensor::ExpandShapeOp, tensor::CollapseShapeOp>(op)) {
      result.roots[op.getResult(0)] = result.rootOf(op.getOperand(0));
    } else if (auto back = dyn_cast<func::ReturnOp>(op)) {
      for (Value value : back.getOperands())
        result.returned.push_back(result.rootOf(value));
    } else if (isa<tensor::EmptyOp, tensor::DimOp, linalg::FillOp>(op)) {
      continue; // The shapes are those of the buffers; sums start at zero.
    } else if (op.getNumRegions() == 0 && op.getNumResults() == 1 && op.getResult(0).getType().isIntOrIndexOrFloat()) {
      result.prologue.push_back(&op);
    } else {
      return op.emitError("is not of a kernel's linalg form");
    }
  }
  // A row that nothing cuts is one line, of elements that do not depend on each other.
  for (RowStep &step : result.steps)
    for (OpOperand *operand : step.op.getDpsInputOperands()) {
      Value root = result.rootOf(operand->get());
      if (root.getDefiningOp() && result.kindOf(root) == RowKind::Row && result.phaseOf(root) < step.phase &&
          !llvm::is_contained(result.returned, root))
        result.temporaries.insert(root);
    }
  return result;
}

//===----------------------------------------------------------------------===//
// Bodies
//===----------------------------------------------------------------------===//

/// A product and the sum that it is a term of, rounded once; null where there is nothing to contract.
static Value contract(OpBuilder &builder, Location location, Operation &op, const IRMapping &mapping) {
  if (!isa<arith::AddFOp, arith::SubFOp>(op))
    return {};
  auto product = [&](unsigned index) {
    auto mul = op.getOperand(index).getDefiningOp<arith::MulFOp>();
    return mul && mul->getBlock() == op.getBlock() && mul->hasOneUse() ? mul : arith::MulFOp();
  };
  auto negate = [&](Value value) { return builder.create<arith::NegFOp>(location, value).getResult(); };
  bool isDifference = isa<arith::SubFOp>(op);
  if (arith::MulFOp mul = product(0)) {
    Value c = mapping.lookup(op.getOperand(1));
    return builder.create<math::FmaOp>(location, mapping.lookup(mul.getLhs()), mapping.lookup(mul.getRhs()),
                                       isDifference ? negate(c) : c);
  }
  if (arith::MulFOp mul = product(1)) {
    Value a = mapping.lookup(mul.getLhs());
    return builder.create<math::FmaOp>(location, isDifference ? negate(a) : a, mapping.lookup(mul.getRhs()),
                                       mapping.lookup(op.getOperand(0)));
  }
  return {};
}

SmallVector<Value> morph::buildRowBody(OpBuilder &builder, Location location, linalg::GenericOp op,
                                       ArrayRef<Value> arguments, const IRMapping &scalars, int64_t lanes) {
  auto vectorOf = [&](Type element) { return VectorType::get(lanes, element); };
  auto widen = [&](Value scalar) -> Value {
    return lanes == 0 ? scalar : builder.create<vector::BroadcastOp>(location, vectorOf(scalar.getType()), scalar);
  };
  Block &body = op.getRegion().front();
  IRMapping mapping;
  for (auto [parameter, argument] : llvm::zip(body.getArguments(), arguments))
    mapping.map(parameter, argument);
  for (Operation &inner : body.without_terminator()) {
    // Scalars from outside of the body are the same for all elements.
    for (Value operand : inner.getOperands())
      if (!mapping.contains(operand))
        mapping.map(operand, widen(scalars.lookup(operand)));
    if (auto constant = dyn_cast<arith::ConstantOp>(inner); constant && lanes > 0) {
      auto value = DenseElementsAttr::get(cast<ShapedType>(vectorOf(constant.getType())), constant.getValue());
      mapping.map(constant.getResult(), builder.create<arith::ConstantOp>(location, value).getResult());
      continue;
    }
    if (Value fused = contract(builder, location, inner, mapping)) {
      mapping.map(inner.getResult(0), fused);
      continue;
    }
    Operation *clone = builder.clone(inner, mapping);
    if (lanes > 0)
      for (Value result : clone->getResults())
        result.setType(vectorOf(result.getType()));
  }
  SmallVector<Value> results;
  for (Value value : body.getTerminator()->getOperands()) {
    if (!mapping.contains(value))
      mapping.map(value, widen(scalars.lookup(value)));
    results.push_back(mapping.lookup(value));
  }
  return results;
}
