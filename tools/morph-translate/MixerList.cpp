// SPDX-License-Identifier: Apache-2.0

#include "MixerList.h"

#include "dialect/LinearMixers.h"
#include "dialect/MixerExpander.h"
#include "dialect/MixerReference.h"
#include "frontends/morph/Mixers.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/OwningOpRef.h"

#include <set>

using namespace mlir;
using namespace morph;

static llvm::json::Array describeOptions(MixerOp mixer) {
  llvm::json::Array options;
  for (auto option : mixer.getOptions().getAsRange<MixerOptionAttr>()) {
    llvm::json::Array ranges;
    if (option.getRanges())
      for (double bound : option.getRanges().asArrayRef())
        ranges.push_back(bound);
    options.push_back(llvm::json::Object{
        {"name", option.getName()}, {"default", optionToJson(option.getValue())}, {"ranges", std::move(ranges)}});
  }
  return options;
}

/// What the mixer costs in the place of a layer's full attention.
static void addCosts(llvm::json::Object &entry, SoftmaxMixerOp softmax, MixerOp mixer, int64_t context) {
  OpBuilder builder(softmax);
  MixerReference defaults{"", mixer.getSymName().str(), {}};
  FailureOr<DictionaryAttr> options = makeMixerOptions(mixer, defaults, [&] { return mixer.emitOpError(); });
  LinearMixerOp built = createLinearMixer(builder, softmax, mixer, *options, "candidate");
  std::string message;
  LogicalResult fits = success();
  {
    ScopedDiagnosticHandler handler(mixer.getContext(), [&](Diagnostic &diagnostic) {
      message = diagnostic.str();
      return success();
    });
    fits = MixerExpander::check(built);
  }
  if (failed(fits)) {
    entry["error"] = message;
  } else {
    auto interface = cast<TokenMixerOpInterface>(built.getOperation());
    int64_t parameters = 0;
    for (const MixerParameter &parameter : interface.getMixerParameters())
      parameters += ShapedType::getNumElements(parameter.shape);
    entry["parameters"] = parameters;
    entry["state_bytes"] = interface.getMixerCacheBytes(context, /*elementBytes=*/2);
    entry["flops_per_token"] = interface.getMixerFlops(1, context);
  }
  built.erase();
}

llvm::json::Value morph::makeMixerList(ModelOp model, int64_t context) {
  // The mixers are declared in a copy.
  OwningOpRef<ModelOp> copy(model.clone());
  SoftmaxMixerOp softmax;
  copy->walk([&](SoftmaxMixerOp mixer) {
    softmax = mixer;
    return WalkResult::interrupt();
  });
  std::set<std::string> names(getBuiltinMixers().begin(), getBuiltinMixers().end());
  for (auto declared : copy->getBody().getOps<MixerOp>())
    names.insert(declared.getSymName().str());
  llvm::json::Array list;
  for (const std::string &name : names) {
    MixerOp mixer = declareMixer(*copy, name);
    if (!mixer)
      continue;
    llvm::json::Object entry{{"name", name},
                             {"doc", mixer.getDoc()},
                             {"options", describeOptions(mixer)},
                             {"declaration", digestDeclaration(mixer)}};
    if (softmax)
      addCosts(entry, softmax, mixer, context);
    list.push_back(std::move(entry));
  }
  return list;
}
