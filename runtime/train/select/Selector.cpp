// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/select/Selector.h"

#include "runtime/base/AtomicFile.h"
#include "runtime/spec/SpaceVisitors.h"
#include "runtime/train/Stages.h"

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

CandidateTable valuesOfFull(const ChoiceSpace &space, const std::vector<double> &scores) {
  CandidateTable values;
  for (size_t layer = 0; layer < space.layers.size(); ++layer) {
    values.emplace_back(space.layers[layer].size(), 0.0);
    values.back().front() = scores[layer];
  }
  return values;
}

StatusOr<int64_t> fullLayerCount(const ChoiceSpace &space) {
  for (const CandidateCount &count : space.counts)
    if (count.candidate == kFullAttention && count.least == count.most &&
        static_cast<int64_t>(count.layers.size()) == space.layerCount())
      return count.most;
  MORPH_ASSIGN_OR_RETURN(const Choice choice,
                         solve(space, valuesOfFull(space, std::vector<double>(space.layers.size(), 1))));
  return static_cast<int64_t>(fullLayers(choice).size());
}

nlohmann::ordered_json selectionJson(const Selection &selection, const ChoiceSpace &space, const std::string &method,
                                     uint64_t seed) {
  const std::vector<int64_t> kept = fullLayers(selection.choice);
  std::vector<std::string> names;
  for (size_t layer = 0; layer < selection.choice.size(); ++layer)
    names.push_back(space.layers[layer][static_cast<size_t>(selection.choice[layer])].name);
  nlohmann::ordered_json json = {
      {"version", 1},
      {"method", method},
      {"layers", space.layerCount()},
      {"budget", kept.size()},
      {"kept", kept},
      {"choice", names},
      {"scores", selection.scores},
      {"cost", {{"tokens", selection.tokens}, {"flops", selection.flops}, {"seconds", selection.seconds}}},
      {"seed", seed}};
  if (!selection.standardErrors.empty())
    json["standard_errors"] = selection.standardErrors;
  if (!selection.drift.empty())
    json["drift"] = selection.drift;
  if (!selection.details.empty())
    json["details"] = selection.details;
  json["values"] = selection.values;
  json["space"] = detail::writeSection(space);
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
  const ChoiceSpace &space = context.spec.space;
  if (space.layerCount() != context.layers)
    return Status::invalid("the spec's space of choices has " + std::to_string(space.layerCount()) +
                           " layers, but the model has " + std::to_string(context.layers));
  MORPH_ASSIGN_OR_RETURN(const Selection selection, (*selector)(context, space));
  if (selection.interrupted)
    return StageOutcome::Interrupted;
  if (!context.processes->isLeader())
    return StageOutcome::Done;
  const nlohmann::ordered_json json = selectionJson(selection, space, method, context.seed);
  MORPH_RETURN_IF_ERROR(writeFile(context.outPath("selection.json"), json.dump(2) + "\n"));
  return StageOutcome::Done;
}

} // namespace morph
