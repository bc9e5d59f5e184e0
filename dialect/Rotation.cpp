// SPDX-License-Identifier: Apache-2.0

#include "dialect/Rotation.h"

#include "dialect/MorphOps.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace morph;

namespace {

/// What moving all positions does to a value.
enum class Turn {
  None, ///< Nothing.
  Once, ///< Each head's row is turned by R(p).
  Lost, ///< Something else.
};

class RotationAnalysis {
public:
  Operation *run(Block &block, Value result) {
    for (Operation &op : block) {
      Turn turn = getTurn(&op);
      for (Value value : op.getResults())
        turns[value] = turn;
      if (turn != Turn::Lost)
        continue;
      // The first to blame, not what reads from it.
      Operation *&cause = causes[&op];
      cause = &op;
      for (Value operand : op.getOperands())
        if (Operation *source = operand.getDefiningOp(); source && causes.count(source))
          cause = causes.lookup(source);
    }
    Operation *source = result.getDefiningOp();
    if (turnOf(result) == Turn::None)
      return nullptr;
    return causes.count(source) ? causes.lookup(source) : source;
  }

private:
  Turn turnOf(Value value) const { return value ? turns.lookup(value) : Turn::None; }
  bool areAll(ValueRange values, Turn turn) const {
    return llvm::all_of(values, [&](Value value) { return turnOf(value) == turn; });
  }
  /// The same for all elements of each row's last dimension.
  static bool isRowScalar(Value value) {
    ArrayRef<int64_t> shape = cast<RankedTensorType>(value.getType()).getShape();
    return value.getDefiningOp<ExpandOp>() || shape.empty() || shape.back() == 1;
  }

  Turn getTurn(Operation *op) const {
    if (isa<RopeOp>(op))
      return areAll(op->getOperands(), Turn::None) ? Turn::Once : Turn::Lost;
    if (areAll(op->getOperands(), Turn::None))
      return Turn::None;
    if (llvm::any_of(op->getOperands(), [&](Value operand) { return turnOf(operand) == Turn::Lost; }))
      return Turn::Lost;
    return llvm::TypeSwitch<Operation *, Turn>(op)
        .Case<ScaleOp, CastOp, L2NormOp, MaskPaddingOp, MergeHeadsOp>(
            [&](Operation *) { return turnOf(op->getOperand(0)); })
        // Of heads that were merged, the same heads again.
        .Case([&](SplitHeadsOp split) {
          auto merged = getMerged(split.getX());
          return merged && merged.getX().getType() == split.getType() ? turnOf(split.getX()) : Turn::Lost;
        })
        .Case([&](AddOp) { return areAll(op->getOperands(), Turn::Once) ? Turn::Once : Turn::Lost; })
        .Case([&](MulOp mul) {
          for (auto [turned, factor] : {std::pair(mul.getLhs(), mul.getRhs()), std::pair(mul.getRhs(), mul.getLhs())})
            if (turnOf(turned) == Turn::Once && turnOf(factor) == Turn::None && isRowScalar(factor))
              return Turn::Once;
          return Turn::Lost;
        })
        .Case([&](AttentionOp attention) {
          return turnOf(attention.getQ()) == turnOf(attention.getK()) ? turnOf(attention.getV()) : Turn::Lost;
        })
        .Case([&](LinearAttentionOp attention) { return getTurn(attention); })
        .Default(Turn::Lost);
  }

  /// The merge of heads that a value is, masked or not.
  static MergeHeadsOp getMerged(Value value) {
    while (auto mask = value.getDefiningOp<MaskPaddingOp>())
      value = mask.getX();
    return value.getDefiningOp<MergeHeadsOp>();
  }

  Turn getTurn(LinearAttentionOp attention) const {
    Turn key = turnOf(attention.getK());
    SmallVector<Value> alike{attention.getQ()}, plain;
    for (Value value : {attention.getWrite(), attention.getErase()})
      if (value)
        alike.push_back(value);
    for (Value value : {attention.getHeadDecay(), attention.getDecay(), attention.getChannelDecay(),
                        attention.getBeta(), attention.getBonus(), attention.getState()})
      if (value)
        plain.push_back(value);
    bool differs = key == Turn::Once && (attention.getChannelDecay() || attention.getBonus());
    return !differs && areAll(alike, key) && areAll(plain, Turn::None) ? turnOf(attention.getV()) : Turn::Lost;
  }

  DenseMap<Value, Turn> turns; ///< None where absent.
  DenseMap<Operation *, Operation *> causes;
};

} // namespace

Operation *morph::findLostRotation(Block &block, Value result) { return RotationAnalysis().run(block, result); }
