// SPDX-License-Identifier: Apache-2.0
// morph-assign-precision: casts that say which values of a program are bf16.

#include "dialect/ProgramSizes.h"
#include "passes/Passes.h"
#include "passes/Phases.h"

namespace morph {
#define GEN_PASS_DEF_ASSIGNPRECISIONPASS
#include "passes/Passes.h.inc"
} // namespace morph

using namespace mlir;
using namespace morph;

namespace {

/// How an operand reads its value.
enum class Read { Factor, Half, Full };

Read findRead(OpOperand &use) {
  Operation *op = use.getOwner();
  const plan::OpRule *rule = findOpRule(op);
  if (!rule)
    return Read::Full;
  unsigned next = 0;
  for (auto [group, operand] : llvm::zip_equal(operandGroups(op, *rule), rule->operands)) {
    next += group.size();
    if (use.getOperandNumber() < next)
      return operand.factor ? Read::Factor : operand.half ? Read::Half : Read::Full;
  }
  return Read::Full;
}

class PrecisionAssigner {
public:
  explicit PrecisionAssigner(ProgramOp program)
      : program(program), model(program->getParentOfType<ModelOp>()), symbols(model) {}

  void run() {
    // Uses are changed while ops are walked: what is cast is collected first.
    SmallVector<Value> values(program.getBlock().getArguments());
    for (Operation &op : program.getBlock()) {
      values.append(op.result_begin(), op.result_end());
      holdHalf(&op);
    }
    for (Value value : values)
      assign(value);
  }

private:
  ProgramOp program;
  ModelOp model;
  SymbolTable symbols;

  /// An input that an op updates and may hold bf16, and whose next value products alone read, holds bf16: rings of keys
  /// and values, half the bytes of a long context.
  static void holdHalf(Operation *op) {
    const plan::OpRule *rule = findOpRule(op);
    if (!rule)
      return;
    for (auto [next, name] : llvm::zip(op->getResults(), rule->updates)) {
      const int64_t index = name.empty() ? -1 : rule->operandIndex(name);
      if (index < 0 || !rule->operands[index].half)
        continue;
      ValueRange group = operandGroups(op, *rule)[index];
      const bool isHeld = !group.empty() && isa<BlockArgument>(group.front()) && group.front().hasOneUse() &&
                          llvm::all_of(next.getUses(), [](OpOperand &use) {
                            return isa<OutputOp>(use.getOwner()) || findRead(use) == Read::Factor;
                          });
      if (!isHeld)
        continue;
      for (Value value : {group.front(), Value(next)})
        value.setType(cast<RankedTensorType>(value.getType()).clone(BFloat16Type::get(op->getContext())));
    }
  }

  void assign(Value value) {
    auto type = dyn_cast<RankedTensorType>(value.getType());
    if (!type || !type.getElementType().isF32())
      return;
    SmallVector<OpOperand *> factors;
    bool onlyFactors = true, onlyHalves = true;
    for (OpOperand &use : value.getUses()) {
      Read read = findRead(use);
      if (read == Read::Factor)
        factors.push_back(&use);
      onlyFactors &= read == Read::Factor;
      onlyHalves &= read != Read::Full;
    }
    if (factors.empty())
      return;
    if (auto param = value.getDefiningOp<ParamOp>(); param && holdsHalf(param, onlyFactors, onlyHalves)) {
      value.setType(type.clone(BFloat16Type::get(type.getContext())));
      return;
    }
    // A value that products alone read is rounded where it is made, so that its fp32 form need not live on; another one
    // is rounded once, before the first product.
    OpBuilder builder(program.getContext());
    Operation *definition = value.getDefiningOp();
    if (onlyFactors && definition) {
      builder.setInsertionPointAfter(definition);
    } else {
      Operation *first = factors.front()->getOwner();
      for (OpOperand *factor : factors)
        if (factor->getOwner()->isBeforeInBlock(first))
          first = factor->getOwner();
      builder.setInsertionPoint(first);
    }
    Value rounded = builder.create<CastOp>(value.getLoc(), value, builder.getStringAttr("bf16"));
    for (OpOperand *factor : factors)
      factor->set(rounded);
  }

  /// Whether a frozen weight is held in bf16: products alone read it, or embeddings too where the checkpoint has bf16.
  /// A table that the checkpoint has in fp32 is not rounded for embeddings. Masters are fp32.
  bool holdsHalf(ParamOp param, bool onlyFactors, bool onlyHalves) {
    auto weight = symbols.lookup<WeightOp>(param.getSymbolAttr().getAttr());
    if (!weight || llvm::is_contained(program.getTrained(), param.getSymbolAttr()))
      return false;
    return onlyFactors || (onlyHalves && weight.getType().getElementType().isBF16());
  }
};

struct AssignPrecisionPass : public morph::impl::AssignPrecisionPassBase<AssignPrecisionPass> {
  using AssignPrecisionPassBase::AssignPrecisionPassBase;

  void runOnOperation() override {
    if (failed(checkOption(getOperation(), "products", products, {"fp32", "bf16"})))
      return signalPassFailure();
    if (products == "bf16")
      for (auto program : getOperation().getBody().getOps<ProgramOp>())
        PrecisionAssigner(program).run();
  }
};

} // namespace
