// SPDX-License-Identifier: Apache-2.0
#include "runtime/train/Adapters.h"

#include "runtime/exec/Bindings.h"
#include "runtime/plan/Names.h"

#include <algorithm>
#include <string_view>

namespace morph {

namespace {

/// The module of the adapter whose `down` this is; empty for other names.
std::string moduleOf(const std::string &name) {
  const std::string_view suffix = plan::kAdapterDown;
  if (name.size() <= suffix.size() || name.compare(name.size() - suffix.size(), suffix.size(), suffix) != 0)
    return "";
  return name.substr(0, name.size() - suffix.size());
}

} // namespace

StatusOr<std::map<std::string, at::Tensor>> mergedWeights(const StageContext &context, Executor &executor) {
  std::map<std::string, at::Tensor> trained = trainedTensors(executor), merged;
  WeightStore store;
  for (const auto &[name, tensor] : trained) {
    const std::string module = moduleOf(name);
    if (module.empty()) {
      merged.emplace(name, tensor);
      continue;
    }
    if (store.names().empty()) {
      MORPH_ASSIGN_OR_RETURN(store, WeightStore::open(context.weightPaths));
      store.add(context.firstValues);
    }
    const plan::Plan &plan = executor.plan();
    const auto weight = std::find_if(plan.weights.begin(), plan.weights.end(),
                                     [&](const plan::Weight &each) { return each.name == module + ".weight"; });
    const auto up = trained.find(module + plan::kAdapterUp);
    if (weight == plan.weights.end() || up == trained.end())
      return Status::invalid("the plan '" + plan.program + "' has an adapter of '" + module +
                             ".weight', but not that weight, or half of the adapter");
    MORPH_ASSIGN_OR_RETURN(const at::Tensor frozen,
                           loadWeight(plan, *weight, store, context.seed, tensor.scalar_type()));
    merged[weight->name] = frozen.to(tensor.scalar_type()) + at::matmul(up->second, tensor);
  }
  // What is left of adapters is their other half.
  for (const auto &[name, tensor] : trained)
    if (const std::string module = moduleOf(name); !module.empty())
      merged.erase(module + plan::kAdapterUp);
  return merged;
}

} // namespace morph
