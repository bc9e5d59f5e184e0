// SPDX-License-Identifier: Apache-2.0

#include "tools/morph/Selection.h"

#include "runtime/choice/Solve.h"
#include "tools/morph/Compiler.h"

#include <algorithm>

namespace morph {

static Variant makeVariant(std::string name, const std::string &method, const ResolvedSpec &resolved) {
  Variant variant{std::move(name), method, resolved, "gates"};
  variant.spec.select.method = method;
  return variant;
}

std::vector<Variant> variantsOf(const ResolvedSpec &resolved) {
  std::vector<Variant> variants;
  for (const std::string &baseline : resolved.evaluate.baselines)
    variants.push_back(makeVariant(fileNameOf(baseline), baseline, resolved));
  variants.push_back(makeVariant("selected", resolved.select.method, resolved));
  return variants;
}

/// Sets how many of all layers keep full attention, where the space says that.
static Status setFullLayers(int64_t layers, ChoiceSpace &space) {
  bool found = false;
  for (CandidateCount &count : space.counts)
    if (count.candidate == kFullAttention && count.least == count.most &&
        static_cast<int64_t>(count.layers.size()) == space.layerCount()) {
      count.source = {"audit.budgets " + std::to_string(layers), ""};
      count.least = count.most = layers;
      found = true;
    }
  return found ? Status()
               : Status::invalid("audit.budgets are numbers of layers that keep full attention, and the spec's budget "
                                 "asks for no such number [S26]",
                                 "give 'full_layers' in [budget], or leave 'budgets' out");
}

/// Uniform with the offsets that are possible: each kept layer stands for at most so many.
static std::vector<std::string> everyUniform(int64_t layers, int64_t full) {
  std::vector<std::string> methods;
  for (int64_t offset = 0; full > 0 && offset < (layers + full - 1) / full; ++offset)
    methods.push_back("uniform:" + std::to_string(offset));
  methods.emplace_back("uniform:middle");
  return methods;
}

StatusOr<std::vector<Variant>>
auditVariants(const ResolvedSpec &resolved,
              const std::function<StatusOr<ResolvedSpec>(const std::vector<std::string> &settings)> &resolve) {
  std::vector<Variant> selectors;
  for (const std::string &name : resolved.audit->selectors)
    if (name != "exhaustive") // The best of all choices as they are judged, which is there anyhow.
      selectors.push_back(makeVariant(fileNameOf(name), name, resolved));
  for (const AuditVariantSpec &variant : resolved.audit->variant) {
    MORPH_ASSIGN_OR_RETURN(const ResolvedSpec spec, resolve(variant.settings));
    Variant made = makeVariant(fileNameOf(variant.name), spec.select.method, spec);
    made.label = variant.name;
    if (programOptions(spec, "gates") != programOptions(resolved, "gates"))
      made.plans = "gates-" + made.name;
    selectors.push_back(std::move(made));
  }
  std::vector<int64_t> budgets = resolved.audit->budgets;
  if (budgets.empty())
    budgets.push_back(-1);
  std::vector<Variant> variants;
  for (const int64_t budget : budgets)
    for (const Variant &selector : selectors) {
      Variant variant = selector;
      if (budget >= 0)
        MORPH_RETURN_IF_ERROR(setFullLayers(budget, variant.spec.space));
      MORPH_ASSIGN_OR_RETURN(const Choice dearest, dearestChoice(variant.spec));
      variant.budget = static_cast<int64_t>(fullLayers(dearest).size());
      std::vector<std::string> methods = {variant.spec.select.method};
      if (selector.label == kEveryUniform)
        methods = everyUniform(resolved.space.layerCount(), variant.budget);
      for (const std::string &method : methods) {
        Variant &made = variants.emplace_back(variant);
        made.spec.select.method = method;
        if (selector.label == kEveryUniform) {
          made.label = method;
          made.name = fileNameOf(method);
        }
        made.name += "-" + std::to_string(variant.budget);
      }
    }
  return variants;
}

StatusOr<SelectionPrograms> selectionPrograms(const std::vector<Variant> &variants) {
  SelectionPrograms programs;
  for (const Variant &variant : variants) {
    MORPH_ASSIGN_OR_RETURN(const SelectorName selector, parseSelectorName(variant.spec.select.method));
    if (selector.info->needs == SelectorNeeds::Gates)
      programs.gates.emplace(variant.plans, &variant);
    programs.scores |= needsScores(selector);
  }
  return programs;
}

std::string fileNameOf(std::string selector) {
  std::replace(selector.begin(), selector.end(), ':', '-');
  return selector;
}

} // namespace morph
