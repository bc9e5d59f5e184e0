// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/select/Selector.h"

#include "runtime/base/AtomicFile.h"
#include "runtime/spec/MixerName.h"
#include "runtime/train/Stages.h"

#include <algorithm>
#include <numeric>
#include <tuple>

namespace morph {

namespace {
struct Entry {
  std::string summary;
  Selector selector;
};
} // namespace

static std::map<std::string, Entry> &registry() {
  static std::map<std::string, Entry> entries;
  return entries;
}

SelectorRegistration::SelectorRegistration(const std::string &name, const std::string &summary, Selector selector) {
  registry()[name] = {summary, std::move(selector)};
}

const Selector *findSelector(const std::string &name) {
  auto found = registry().find(name);
  return found == registry().end() ? nullptr : &found->second.selector;
}

std::vector<std::string> selectorNames() {
  std::vector<std::string> names;
  for (const auto &entry : registry())
    names.push_back(entry.first);
  return names;
}

StatusOr<SelectionRequest> readSelectionRequest(const BudgetSpec &budget, int64_t layers) {
  SelectionRequest request;
  request.layers = layers;
  request.budget = budget.fullLayers;
  request.keep = budget.keep;
  request.linear = budget.linear;
  for (std::vector<int64_t> *list : {&request.keep, &request.linear}) {
    std::sort(list->begin(), list->end());
    list->erase(std::unique(list->begin(), list->end()), list->end());
    for (int64_t layer : *list)
      if (layer < 0 || layer >= layers)
        return Status::invalid("budget: layer " + std::to_string(layer) + " is pinned, but the model has layers 0 to " +
                               std::to_string(layers - 1));
  }
  for (int64_t layer : request.keep)
    if (std::binary_search(request.linear.begin(), request.linear.end(), layer))
      return Status::invalid("budget: layer " + std::to_string(layer) + " is in both 'keep' and 'linear'");
  const int64_t most = layers - static_cast<int64_t>(request.linear.size());
  if (static_cast<int64_t>(request.keep.size()) > request.budget || request.budget > most)
    return Status::invalid("budget: " + std::to_string(request.budget) + " full layers cannot be met with " +
                               std::to_string(request.keep.size()) + " pinned full and " +
                               std::to_string(request.linear.size()) + " pinned linear of " + std::to_string(layers),
                           "change budget.full_layers, budget.keep or budget.linear");
  return request;
}

std::vector<int64_t> largestLayers(const std::vector<double> &scores, const std::vector<double> &tieBreak,
                                   const SelectionRequest &request) {
  std::vector<int64_t> order(static_cast<size_t>(request.layers));
  std::iota(order.begin(), order.end(), 0);
  const auto rank = [&](int64_t layer) {
    const bool keep = std::binary_search(request.keep.begin(), request.keep.end(), layer);
    const bool linear = std::binary_search(request.linear.begin(), request.linear.end(), layer);
    const size_t i = static_cast<size_t>(layer);
    return std::make_tuple(keep ? 1 : linear ? -1 : 0, scores[i], tieBreak.empty() ? 0.0 : tieBreak[i]);
  };
  // Stable: what is equal stays in the order of the layers.
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return rank(a) > rank(b); });
  order.resize(static_cast<size_t>(request.budget));
  std::sort(order.begin(), order.end());
  return order;
}

nlohmann::ordered_json selectionJson(const Selection &selection, const SelectionRequest &request,
                                     const std::string &method, uint64_t seed, const std::vector<std::string> &kinds) {
  nlohmann::ordered_json json = {
      {"version", 1},
      {"method", method},
      {"layers", request.layers},
      {"budget", request.budget},
      {"kept", selection.kept},
      {"scores", selection.scores},
      {"cost", {{"tokens", selection.tokens}, {"flops", selection.flops}, {"seconds", selection.seconds}}},
      {"seed", seed}};
  if (!selection.standardErrors.empty())
    json["standard_errors"] = selection.standardErrors;
  if (!selection.drift.empty())
    json["drift"] = selection.drift;
  for (int64_t candidate : selection.chosen)
    json["chosen"].push_back(kinds.at(static_cast<size_t>(candidate)));
  if (!selection.details.empty())
    json["details"] = selection.details;
  return json;
}

StatusOr<StageOutcome> runSelect(const StageContext &context) {
  const std::string method = toWord(context.spec.select.method);
  const Selector *selector = findSelector(method);
  if (!selector) {
    std::string known;
    for (const auto &[name, entry] : registry())
      known += (known.empty() ? "" : "; ") + name + " (" + entry.summary + ")";
    return Status::invalid("select.method: there is no selector '" + method + "'", "the selectors are: " + known);
  }
  MORPH_ASSIGN_OR_RETURN(const SelectionRequest request, readSelectionRequest(context.spec.budget, context.layers));
  MORPH_ASSIGN_OR_RETURN(const Selection selection, (*selector)(context, request));
  if (selection.interrupted)
    return StageOutcome::Interrupted;
  std::vector<std::string> kinds = {mixerName(context.spec.linear.backend)};
  for (const std::string &candidate : context.spec.linear.candidates)
    kinds.push_back(mixerName(candidate));
  for (int64_t candidate : selection.chosen)
    if (candidate >= static_cast<int64_t>(kinds.size()))
      return Status::invalid("select: the plan has more candidates a layer than the " + std::to_string(kinds.size()) +
                             " that the spec's 'linear' names");
  const nlohmann::ordered_json json = selectionJson(selection, request, method, context.seed, kinds);
  MORPH_RETURN_IF_ERROR(writeFile(context.outPath("selection.json"), json.dump(2) + "\n"));
  return StageOutcome::Done;
}

} // namespace morph
