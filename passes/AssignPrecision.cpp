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
      if (auto write = dyn_cast<CacheWriteOp>(op))
        holdHalf(write);
    }
    for (Value value : values)
      assign(value);
  }

private:
  ProgramOp program;
  ModelOp model;
  SymbolTable symbols;

  /// A ring of keys or values, an input that attention alone reads, holds bf16: half the bytes of a long context.
  static void holdHalf(CacheWriteOp write) {
    bool isRing = isa<BlockArgument>(write.getCache()) && write.getCache().hasOneUse() &&
                  llvm::all_of(write.getResult().getUsers(), llvm::IsaPred<AttentionOp, OutputOp>);
    if (!isRing)
      return;
    for (Value ring : {write.getCache(), write.getResult()})
      ring.setType(cast<RankedTensorType>(ring.getType()).clone(BFloat16Type::get(write.getContext())));
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
