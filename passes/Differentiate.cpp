// SPDX-License-Identifier: Apache-2.0
// morph-differentiate: the backward of a program by reverse accumulation over the values that depend on trained
// symbols.

#include "passes/Gradients.h"
#include "passes/Passes.h"
#include "passes/Phases.h"
#include "passes/Symbols.h"
#include "runtime/plan/Names.h"

#include "mlir/Transforms/RegionUtils.h"

#include "llvm/ADT/MapVector.h"

namespace morph {
#define GEN_PASS_DEF_DIFFERENTIATEPASS
#include "passes/Passes.h.inc"
} // namespace morph

using namespace mlir;
using namespace morph;

namespace {

constexpr llvm::StringLiteral kLoss = "loss";

/// Where a trained symbol is read: by a `morph.param`, or by an op that has one inside or names the symbol itself.
struct Read {
  StringAttr symbol;
  Operation *reader = nullptr;
};

/// Builds the gradients of one program. The activity analysis is forward: a value is active if it depends on a trained
/// symbol, be it by what the regions of its op use. The backward sweep only enters ops with an active result that a
/// gradient reaches, and asks them only for the gradients of their active operands.
class Differentiation {
public:
  explicit Differentiation(ProgramOp program)
      : program(program), body(program.getBlock()), builder(body.getTerminator()) {}

  LogicalResult run() {
    if (failed(findLoss()) || failed(markActive()) || failed(sweepBack()) || failed(appendResults()))
      return failure();
    placeEarly();
    return success();
  }

private:
  StringRef programName() { return program.getSymName(); }

  LogicalResult findLoss() {
    for (auto name : program.getOutput().getNames().getAsRange<StringAttr>())
      if (name.getValue().starts_with(plan::kGradientPrefix))
        return emitProgramError(program) << "already has an output '" << name.getValue() << "'";
    loss = program.getOutput().lookup(kLoss);
    if (!loss)
      return emitProgramError(program) << "has no output 'loss' to differentiate";
    auto type = dyn_cast<RankedTensorType>(loss.getType());
    if (!type || type.getRank() != 0 || !type.getElementType().isF32())
      return emitProgramError(program) << "has a loss of type " << loss.getType() << ", expected tensor<f32>";
    return success();
  }

  /// A trained symbol on which the results of an op depend; without a reader where there is none.
  Read findSource(Operation &op) const {
    for (StringAttr symbol : readSymbols(&op))
      if (params.contains(symbol))
        return {symbol, &op};
    llvm::SetVector<Value> used(op.operand_begin(), op.operand_end());
    getUsedValuesDefinedAbove(op.getRegions(), used);
    for (Value value : used)
      if (Read read = source.lookup(value); read.reader)
        return read;
    return {};
  }

  /// Finds the params of the trained symbols and what depends on them.
  LogicalResult markActive() {
    for (auto symbol : program.getTrained().getAsRange<FlatSymbolRefAttr>())
      params[symbol.getAttr()] = {};
    for (Operation &op : body.without_terminator()) {
      Read read = findSource(op);
      if (!read.reader)
        continue;
      if (auto param = dyn_cast<ParamOp>(op))
        params[read.symbol].push_back(param);
      for (Value result : op.getResults())
        source[result] = read;
    }
    if (!source.contains(loss)) {
      InFlightDiagnostic error = emitProgramError(program) << "has a loss that depends on no trained symbol";
      error.attachNote(loss.getLoc()) << "the loss is computed here";
      return error;
    }
    return success();
  }

  LogicalResult accumulate(Operation *op, Value value, Value gradient) {
    if (gradient.getType() != value.getType())
      return op->emitOpError() << "builds a gradient of type " << gradient.getType() << " for an operand of type "
                               << value.getType();
    Value &sum = gradients[value];
    sum = sum ? builder.create<AddOp>(op->getLoc(), sum, gradient).getResult() : gradient;
    return success();
  }

  /// Reports an operand that depends on a trained symbol and gets no gradient: without its share the sum is wrong.
  LogicalResult refuseOperand(Operation *op, Value operand) {
    InFlightDiagnostic error = op->emitOpError() << "gives no gradient for an operand that depends on a symbol which "
                                                    "program '"
                                                 << programName() << "' trains";
    error.attachNote(operand.getLoc()) << "the operand";
    noteSource(error, operand);
    return error;
  }

  void noteSource(InFlightDiagnostic &error, Value value) const {
    Read read = source.lookup(value);
    error.attachNote(read.reader->getLoc()) << "@" << read.symbol.getValue() << " is trained and read here";
  }

  LogicalResult differentiate(Operation *op) {
    SmallVector<Value> resultGradients;
    for (Value result : op->getResults())
      resultGradients.push_back(gradients.lookup(result));
    if (llvm::none_of(resultGradients, [](Value gradient) { return static_cast<bool>(gradient); }) ||
        !source.contains(op->getResult(0)))
      return success();
    auto differentiable = dyn_cast<DifferentiableOpInterface>(op);
    if (!differentiable) {
      InFlightDiagnostic error = op->emitOpError()
                                 << "has no gradient, but lies between a trained symbol and the loss of program '"
                                 << programName() << "'";
      noteSource(error, op->getResult(0));
      if (isa<TokenMixerOpInterface>(op))
        error.attachNote() << "morph-expand-mixers writes token mixers in ops that have one";
      return error;
    }
    SmallVector<bool> needed;
    for (Value operand : op->getOperands())
      needed.push_back(source.contains(operand));
    SmallVector<Value> operandGradients = differentiable.buildGradients(builder, resultGradients, needed);
    if (operandGradients.size() != needed.size())
      return operandGradients.empty()
                 ? failure()
                 : LogicalResult(op->emitOpError() << "builds " << operandGradients.size() << " gradients for "
                                                   << needed.size() << " operands");
    for (auto [operand, gradient, isNeeded] : llvm::zip_equal(op->getOperands(), operandGradients, needed))
      if (isNeeded && (gradient ? failed(accumulate(op, operand, gradient)) : failed(refuseOperand(op, operand))))
        return failure();
    return success();
  }

  LogicalResult sweepBack() {
    SmallVector<Operation *> forward;
    for (Operation &op : body.without_terminator())
      forward.push_back(&op);
    numForward = forward.size();
    gradients[loss] = builder.create<OnesOp>(loss.getLoc());
    for (int64_t index = numForward - 1; index >= 0; --index) {
      if (isa<ParamOp>(forward[index]))
        continue;
      Operation *last = body.getTerminator()->getPrevNode();
      if (failed(differentiate(forward[index])))
        return failure();
      for (Operation *op = last->getNextNode(); op != body.getTerminator(); op = op->getNextNode())
        origin[op] = index;
    }
    return success();
  }

  LogicalResult appendResults() {
    SmallVector<Value> sums;
    SmallVector<Attribute> names(program.getOutput().getNames().getValue());
    for (auto &[symbol, reads] : params) {
      Value sum;
      for (ParamOp param : reads)
        if (Value gradient = gradients.lookup(param.getResult()))
          sum = sum ? builder.create<AddOp>(param.getLoc(), sum, gradient).getResult() : gradient;
      if (!sum) {
        InFlightDiagnostic error = emitProgramError(program)
                                   << "trains @" << symbol.getValue() << ", on which its loss does not depend";
        if (!reads.empty())
          error.attachNote(reads.front().getLoc()) << "it is read here";
        return error;
      }
      names.push_back(builder.getStringAttr(plan::kGradientPrefix + symbol.getValue()));
      sums.push_back(sum);
    }
    OutputOp output = program.getOutput(); // All at once: each call makes the whole list anew.
    output.getValuesMutable().append(sums);
    output.setNamesAttr(builder.getArrayAttr(names));
    return success();
  }

  static bool isScalarOp(Operation *op) {
    return llvm::all_of(op->getOperandTypes(), [](Type type) { return cast<RankedTensorType>(type).getRank() == 0; });
  }

  /// Moves each gradient op to just after the last of the ops that it needs and the op that it is the gradient of,
  /// keeping the order of those with the same place, so that a value of the forward lives no longer than it must. Ops
  /// on scalars go as early as they can: they hold nothing, and a layer's own loss need not wait for the mean of all.
  void placeEarly() {
    llvm::DenseMap<Operation *, int64_t> place;
    llvm::MapVector<int64_t, SmallVector<Operation *>> moved;
    SmallVector<Operation *> forward;
    for (auto [index, op] : llvm::enumerate(body.without_terminator())) {
      if (index < numForward) {
        place[&op] = index;
        forward.push_back(&op);
        continue;
      }
      auto from = origin.find(&op);
      int64_t last = from == origin.end() || isScalarOp(&op) ? -1 : from->second;
      for (Value operand : op.getOperands())
        if (Operation *definition = operand.getDefiningOp())
          last = std::max(last, place.lookup(definition));
      place[&op] = last;
      moved[last].push_back(&op);
    }
    for (auto &[index, ops] : moved) {
      Operation *after = index < 0 ? nullptr : forward[index];
      for (Operation *op : ops) {
        if (after)
          op->moveAfter(after);
        else
          op->moveBefore(&body, body.begin());
        after = op;
      }
    }
  }

  ProgramOp program;
  Block &body;
  OpBuilder builder;
  Value loss;
  size_t numForward = 0;
  llvm::MapVector<StringAttr, SmallVector<ParamOp, 1>> params;
  llvm::DenseMap<Value, Read> source; ///< What each active value depends on, for error messages.
  llvm::DenseMap<Value, Value> gradients;
  llvm::DenseMap<Operation *, int64_t> origin; ///< The number of the forward op that a gradient op belongs to.
};

struct DifferentiatePass : public morph::impl::DifferentiatePassBase<DifferentiatePass> {
  using DifferentiatePassBase::DifferentiatePassBase;

  void runOnOperation() override {
    if (failed(forTrainingPrograms(getOperation(), program,
                                   [](ProgramOp program) { return Differentiation(program).run(); })))
      signalPassFailure();
  }
};

} // namespace
