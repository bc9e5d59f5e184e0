// SPDX-License-Identifier: Apache-2.0
#include "dialect/KernelRows.h"

#include "dialect/MorphOps.h"
#include "runtime/plan/SizeLimits.h"

#include "llvm/Support/MathExtras.h"

#include <numeric>

using namespace mlir;
using namespace morph;

/// The product of sizes that are positive, up to the limit of one dimension.
static std::optional<int64_t> countElements(ArrayRef<int64_t> shape) {
  int64_t elements = 1;
  for (int64_t size : shape)
    if (size < 1 || llvm::MulOverflow(elements, size, elements) || elements > limits::kDimension)
      return std::nullopt;
  return elements;
}

bool morph::isUniform(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor && countElements(tensor.getShape());
}

std::optional<int64_t> morph::getRowElements(Type type, int64_t rows) {
  if (countLeadingDynamic(type) != rows)
    return std::nullopt;
  return countElements(cast<RankedTensorType>(type).getShape().drop_front(rows));
}

std::optional<int64_t> morph::countLeadingDynamic(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor)
    return std::nullopt;
  ArrayRef<int64_t> fixed = tensor.getShape().drop_while(ShapedType::isDynamic);
  if (llvm::any_of(fixed, ShapedType::isDynamic))
    return std::nullopt;
  return tensor.getRank() - fixed.size();
}

/// Whether a uniform operand has the trailing dimensions of a row.
static bool isTrailing(Type operand, Type row, int64_t rows) {
  ArrayRef<int64_t> shape = cast<RankedTensorType>(operand).getShape();
  ArrayRef<int64_t> inner = cast<RankedTensorType>(row).getShape().drop_front(rows);
  return shape.size() <= inner.size() && shape == inner.take_back(shape.size());
}

Type morph::getRowType(Operation *op) {
  return cast<KernelOpInterface>(op).sumsRows() ? op->getOperand(0).getType() : op->getResult(0).getType();
}

bool morph::isRowSum(Value value) {
  auto kernelOp = value.getDefiningOp<KernelOpInterface>();
  return kernelOp && kernelOp.sumsRows();
}

std::string morph::explainNotRowwise(Operation *op, int64_t rows) {
  auto kernelOp = dyn_cast<KernelOpInterface>(op);
  if (!kernelOp)
    return "has no row-wise form";
  for (Type type : op->getResultTypes())
    if (kernelOp.sumsRows() ? !isUniform(type) : !getRowElements(type, rows))
      return kernelOp.sumsRows() ? "has a result that is not uniform" : "has a result that is no row value";
  for (auto [index, type] : llvm::enumerate(op->getOperandTypes())) {
    std::string operand = "has an operand " + std::to_string(index) + " that is ";
    if (kernelOp.isUniformOperand(index)) {
      if (!isUniform(type))
        return operand + "not uniform";
    } else if (!getRowElements(type, rows)) {
      // Elementwise ops broadcast, to the shape of their first operand.
      if (index == 0 || !op->hasTrait<morph::OpTrait::Elementwise>() || !isUniform(type) ||
          !isTrailing(type, op->getResult(0).getType(), rows))
        return operand + "no row value";
    }
  }
  return "";
}

bool KernelLines::join(Operation *op) {
  KernelLines joined = *this;
  auto kernelOp = cast<KernelOpInterface>(op);
  if (int64_t width = kernelOp.getLineWidth()) {
    if (width < 0 || (sum && sum != width))
      return false;
    joined.sum = width;
  }
  for (auto [index, type] : llvm::enumerate(op->getOperandTypes()))
    if (isUniform(type) && !kernelOp.isUniformOperand(index))
      if (int64_t elements = *countElements(cast<RankedTensorType>(type).getShape()); elements > 1)
        joined.uniform = std::gcd(joined.uniform, elements);
  // Lines take turns over sums, too.
  if (kernelOp.sumsRows() && !kernelOp.getLineWidth())
    joined.uniform =
        std::gcd(joined.uniform, *countElements(cast<RankedTensorType>(op->getResult(0).getType()).getShape()));
  if (joined.sum && joined.uniform % joined.sum != 0)
    return false;
  *this = joined;
  return true;
}

SmallVector<std::pair<unsigned, unsigned>> morph::findInPlace(KernelOp kernel) {
  // The pass in which a value's elements are there; of an argument, the last one that reads it.
  llvm::DenseMap<Value, int64_t> written, read;
  llvm::DenseMap<Value, Value> roots;
  auto rootOf = [&](Value value) { return roots.count(value) ? roots[value] : value; };
  for (Operation &op : kernel.getBody().front().without_terminator()) {
    auto kernelOp = cast<KernelOpInterface>(op);
    if (op.hasTrait<OpTrait::View>()) {
      roots[op.getResult(0)] = rootOf(op.getOperand(0));
      continue;
    }
    int64_t pass = 0;
    for (Value operand : op.getOperands())
      pass = std::max(pass, written.lookup(rootOf(operand)));
    // An op that sums over a line reads it once more with the sum.
    pass += kernelOp.getLineWidth() ? 1 : 0;
    for (Value operand : op.getOperands())
      read[rootOf(operand)] = std::max(read.lookup(rootOf(operand)), pass);
    for (Value result : op.getResults())
      written[result] = pass;
  }
  // An argument that suits a result of an early pass suits those of later ones, too: where the early ones choose first,
  // no choice takes a place that another one needed.
  SmallVector<std::pair<unsigned, unsigned>> pairs;
  SmallVector<std::pair<int64_t, unsigned>> results;
  for (auto [index, value] : llvm::enumerate(kernel.getReturned()))
    if (!isRowSum(value))
      results.push_back({written.lookup(rootOf(value)), index});
  llvm::sort(results);
  SmallVector<BlockArgument> free(
      llvm::make_filter_range(llvm::reverse(kernel.getBody().getArguments()),
                              [](BlockArgument argument) { return !isUniform(argument.getType()); }));
  for (auto [pass, index] : results) {
    Type element = getElementTypeOrSelf(kernel.getReturned()[index].getType());
    BlockArgument *found = llvm::find_if(free, [&, pass = pass](BlockArgument argument) {
      return getElementTypeOrSelf(argument.getType()) == element && read.lookup(argument) <= pass;
    });
    if (found == free.end())
      continue;
    pairs.push_back({index, found->getArgNumber()});
    free.erase(found);
  }
  llvm::sort(pairs);
  return pairs;
}
