// SPDX-License-Identifier: Apache-2.0
// morph-add-adapters: low-rank adapters beside frozen matrices (LoRA, arXiv 2106.09685).

#include "passes/Adapters.h"
#include "passes/Passes.h"
#include "passes/Phases.h"
#include "runtime/plan/Names.h"

#include <cmath>

namespace morph {
#define GEN_PASS_DEF_ADDADAPTERSPASS
#include "passes/Passes.h.inc"
} // namespace morph

using namespace mlir;
using namespace morph;

SymbolNames morph::findAdapted(ModelOp model, ArrayRef<std::string> parts, StringRef &unmatched) {
  SymbolNames adapted;
  for (const std::string &part : parts) {
    bool isMatched = false;
    for (auto weight : model.getBody().getOps<WeightOp>()) {
      // Of a linear branch all is trained, and of the teacher nothing.
      const bool isFrozen = !weight.getInit() && !weight.getTeacherOf();
      if (!isFrozen || weight.getType().getShape().size() != 2 || !weight.getSymName().contains(part))
        continue;
      isMatched = true;
      adapted.insert(weight.getSymNameAttr());
    }
    if (!isMatched)
      unmatched = part;
  }
  return adapted;
}

namespace {

struct AddAdaptersPass : public morph::impl::AddAdaptersPassBase<AddAdaptersPass> {
  using AddAdaptersPassBase::AddAdaptersPassBase;

  LogicalResult addTo(ModelOp model, ProgramOp program) {
    const std::vector<std::string> parts(weights.begin(), weights.end());
    StringRef unmatched;
    const SymbolNames adapted = findAdapted(model, parts, unmatched);
    if (!unmatched.empty())
      return emitModelError(model) << "has no matrix of the checkpoint with '" << unmatched << "' in its name, which "
                                   << program.getSymName() << ".adapters ask for";
    // Not silently the router's alone.
    for (auto weight : model.getBody().getOps<WeightOp>())
      for (const std::string &part : parts)
        if (weight.getType().getShape().size() == 3 && !weight.getInit() && weight.getSymName().contains(part))
          return emitModelError(model) << "has the experts '" << weight.getSymName() << "' with '" << part
                                       << "' in their name, and adapters are of matrices alone: name parts that leave "
                                          "them out, as 'q_proj'";
    WeightAdder adder(model);
    SymbolNames trained;
    for (auto symbol : program.getTrained().getAsRange<FlatSymbolRefAttr>())
      if (!adapted.contains(symbol.getAttr()))
        trained.insert(symbol.getAttr());
    for (auto param : llvm::make_early_inc_range(program.getBlock().getOps<ParamOp>()))
      if (StringAttr name = param.getSymbolAttr().getAttr(); adapted.contains(name))
        if (failed(adapt(model, param, name, adder, trained)))
          return failure();
    SmallVector<Attribute> symbols;
    for (StringAttr name : trained)
      symbols.push_back(FlatSymbolRefAttr::get(name));
    program.setTrainedAttr(ArrayAttr::get(program.getContext(), symbols));
    return success();
  }

  /// Each product with the matrix of `param` gets the adapter's beside it.
  LogicalResult adapt(ModelOp model, ParamOp param, StringAttr name, WeightAdder &adder, SymbolNames &trained) {
    auto [stem, suffix] = name.getValue().rsplit('.');
    if (suffix != "weight")
      return emitModelError(model) << "has no module of the matrix '" << name.getValue()
                                   << "', which adapters are asked for: expected a name that ends in '.weight'";
    auto type = cast<RankedTensorType>(param.getType());
    const int64_t outputs = type.getDimSize(0), inputs = type.getDimSize(1);
    if (rank > std::min(outputs, inputs))
      return emitModelError(model) << "has the matrix '" << name.getValue() << "' of " << outputs << " x " << inputs
                                   << ", smaller than the adapters' rank " << rank.getValue();
    OpBuilder builder(param->getContext());
    auto init = [&](InitKind kind, double value) {
      return InitAttr::get(builder.getContext(), kind, StringAttr(), 0, 0, builder.getF64FloatAttr(value),
                           DenseF64ArrayAttr());
    };
    // down's rows as large as those of a new projection, up zero: the model is at first what it was.
    const MixerParameter parameters[] = {
        {(stem + plan::kAdapterDown).str(), {rank, inputs}, init(InitKind::Normal, 1 / std::sqrt(double(inputs)))},
        {(stem + plan::kAdapterUp).str(), {outputs, rank}, init(InitKind::Constant, 0)}};
    Value factors[2];
    builder.setInsertionPointAfter(param);
    for (auto [factor, parameter] : llvm::zip_equal(factors, parameters)) {
      adder.addNew(param.getLoc(), parameter);
      trained.insert(builder.getStringAttr(parameter.name));
      factor = createParam(builder, param.getLoc(), parameter.name, parameter.shape);
    }
    for (Operation *user : llvm::make_early_inc_range(param.getResult().getUsers())) {
      auto product = dyn_cast<LinearOp>(user);
      if (!product || product.getWeight() != param.getResult())
        return emitModelError(model) << "reads the matrix '" << name.getValue()
                                     << "', which adapters are asked for, otherwise than as a projection";
      builder.setInsertionPointAfter(product);
      Value narrow = builder.create<LinearOp>(product.getLoc(), product.getX(), factors[0], Value());
      Value wide = builder.create<LinearOp>(product.getLoc(), narrow, factors[1], Value());
      auto sum = builder.create<AddOp>(product.getLoc(), product.getResult(), wide);
      product.getResult().replaceAllUsesExcept(sum, sum);
    }
    return success();
  }

  void runOnOperation() override {
    ModelOp model = getOperation();
    if (weights.empty())
      return;
    if (rank < 1) {
      emitModelError(model) << "cannot have adapters of rank " << rank.getValue() << ", expected 1 or more";
      return signalPassFailure();
    }
    if (ProgramOp found = findProgram(model, program); found && failed(addTo(model, found)))
      signalPassFailure();
  }
};

} // namespace
