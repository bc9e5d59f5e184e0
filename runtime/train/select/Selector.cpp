// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/select/Selector.h"

#include "runtime/base/AtomicFile.h"
#include "runtime/spec/SpaceVisitors.h"
#include "runtime/train/Stages.h"
#include "runtime/train/select/SwapSearch.h"

namespace morph {

namespace {
struct RegisteredSelector {
  Selector select;
  SpaceCheck check;
};
} // namespace

static std::map<std::string, RegisteredSelector> &registry() {
  static std::map<std::string, RegisteredSelector> selectors;
  return selectors;
}

SelectorRegistration::SelectorRegistration(const std::string &name, Selector selector, SpaceCheck check) {
  registry()[name] = {std::move(selector), std::move(check)};
}

const Selector &findSelector(const SelectorInfo &info) { return registry().at(info.name).select; }

Status checkSelectors(const ResolvedSpec &spec) {
  std::vector<std::string> names = spec.evaluate.baselines;
  names.push_back(spec.select.method);
  for (const std::string &name : names) {
    MORPH_ASSIGN_OR_RETURN(const SelectorName selector, parseSelectorName(name));
    if (const SpaceCheck &check = registry().at(selector.info->name).check)
      MORPH_RETURN_IF_ERROR(check(spec.space));
  }
  return Status();
}

StatusOr<ChoiceScorer *> SelectorContext::scorer(ScoredData data) {
  std::unique_ptr<ChoiceScorer> &scorer = scorers_[data];
  if (!scorer) {
    const Executor *sharing = nullptr;
    for (const auto &[other, made] : scorers_)
      sharing = made ? &made->executor() : sharing;
    const SelectSpec &section = stage.spec.select;
    ScoredSamples samples{"select/score/text", {}, Split::Selection, section.samples, section.batch};
    if (data == ScoredData::Tasks) {
      samples.stream = "select/score";
      samples.tasks = section.tasks;
      samples.taskFraction = section.taskFraction;
    }
    MORPH_ASSIGN_OR_RETURN(scorer, ChoiceScorer::create(stage, space, samples, sharing));
  }
  return scorer.get();
}

Status SelectorContext::flush() const {
  for (const auto &[data, scorer] : scorers_)
    if (scorer)
      MORPH_RETURN_IF_ERROR(scorer->flush());
  return Status();
}

MeasureCost SelectorContext::scorersCost() const {
  MeasureCost cost;
  for (const auto &[data, scorer] : scorers_)
    if (scorer)
      cost += scorer->cost();
  return cost;
}

CandidateTable valuesOfFull(const ChoiceSpace &space, const std::vector<double> &scores) {
  CandidateTable values;
  for (size_t layer = 0; layer < space.layers.size(); ++layer) {
    values.emplace_back(space.layers[layer].size(), 0.0);
    values.back().front() = scores[layer];
  }
  return values;
}

StatusOr<Selection> selectionOfScores(const ChoiceSpace &space, std::vector<double> scores) {
  Selection selection;
  selection.scores = std::move(scores);
  selection.values = valuesOfFull(space, selection.scores);
  MORPH_ASSIGN_OR_RETURN(selection.choice, solve(space, selection.values));
  return selection;
}

Selection selectionOfChoice(const ChoiceSpace &space, Choice choice) {
  Selection selection;
  for (size_t layer = 0; layer < choice.size(); ++layer) {
    selection.scores.push_back(choice[layer] == 0 ? 1 : 0);
    selection.values.emplace_back(space.layers[layer].size(), 0.0)[static_cast<size_t>(choice[layer])] = 1;
  }
  selection.choice = std::move(choice);
  return selection;
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
  nlohmann::ordered_json json = {
      {"version", 1},
      {"method", method},
      {"layers", space.layerCount()},
      {"budget", kept.size()},
      {"kept", kept},
      {"choice", candidateNames(space, selection.choice)},
      {"scores", selection.scores},
      {"cost",
       {{"tokens", selection.cost.tokens}, {"flops", selection.cost.flops}, {"seconds", selection.cost.seconds}}},
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

/// Ends a selection by exchanges of candidates that lower the KL.
static Status refine(SelectorContext &context, Selection &selection) {
  MORPH_ASSIGN_OR_RETURN(ChoiceScorer *const scorer, context.scorer());
  MORPH_ASSIGN_OR_RETURN(const SwapResult result,
                         searchSwaps(
                             selection.choice, selection.values, context.space, selection.reach,
                             context.stage.spec.select.refineErrors, scorer->sampleCount(),
                             [&](const Choice &choice, int64_t samples) -> StatusOr<std::vector<double>> {
                               MORPH_ASSIGN_OR_RETURN(ChoiceScores scores, scorer->scores(choice, samples));
                               return std::move(scores.kl);
                             },
                             [&](int64_t exchanges) { scorer->expect("select (refine)", exchanges); }));
  selection.details["refine"] = {{"choice_before", selection.choice},
                                 {"objective_before", result.firstObjective},
                                 {"objective_after", result.objective},
                                 {"gain", result.gain},
                                 {"gain_standard_error", result.gainStandardError},
                                 {"evaluations", result.evaluations},
                                 {"samples", result.samples},
                                 {"swaps", result.swaps}};
  selection.choice = result.choice;
  return Status();
}

StatusOr<Selection> choose(SelectorContext &context, const SelectorName &name) {
  MORPH_ASSIGN_OR_RETURN(Selection selection, findSelector(*name.info)(context));
  if (name.refines)
    MORPH_RETURN_IF_ERROR(refine(context, selection));
  MORPH_RETURN_IF_ERROR(context.flush());
  selection.cost += context.scorersCost();
  return selection;
}

StatusOr<StageOutcome> runSelect(const StageContext &context) {
  const std::string method = context.spec.select.method;
  StatusOr<SelectorName> name = parseSelectorName(method);
  if (!name.ok())
    return std::move(name).status().withContext("select.method");
  const ChoiceSpace &space = context.spec.space;
  if (space.layerCount() != context.layers)
    return Status::invalid("the spec's space of choices has " + std::to_string(space.layerCount()) +
                           " layers, but the model has " + std::to_string(context.layers));
  SelectorContext selector(context, space, name->option);
  const StatusOr<Selection> selection = choose(selector, *name);
  if (selection.status().code() == StatusCode::Interrupted)
    return StageOutcome::Interrupted;
  MORPH_RETURN_IF_ERROR(selection.status());
  if (!context.processes->isLeader())
    return StageOutcome::Done;
  const nlohmann::ordered_json json = selectionJson(*selection, space, method, context.seed);
  MORPH_RETURN_IF_ERROR(writeFile(context.outPath("selection.json"), json.dump(2) + "\n"));
  return StageOutcome::Done;
}

} // namespace morph
