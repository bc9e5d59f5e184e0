// SPDX-License-Identifier: Apache-2.0

#include "tools/morph/Selection.h"

#include <algorithm>

namespace morph {

StatusOr<std::vector<SelectorName>> selectorsOf(const ResolvedSpec &resolved) {
  std::vector<std::string> names = resolved.evaluate.baselines;
  names.insert(names.begin(), resolved.select.method);
  std::vector<SelectorName> selectors;
  for (const std::string &name : names) {
    MORPH_ASSIGN_OR_RETURN(SelectorName selector, parseSelectorName(name));
    selectors.push_back(std::move(selector));
  }
  return selectors;
}

StatusOr<SelectionPrograms> selectionPrograms(const ResolvedSpec &resolved) {
  MORPH_ASSIGN_OR_RETURN(const std::vector<SelectorName> selectors, selectorsOf(resolved));
  SelectionPrograms programs;
  programs.scores = resolved.select.refine;
  for (const SelectorName &selector : selectors) {
    programs.gates |= selector.info->needs == SelectorNeeds::Gates;
    programs.scores |= needsScores(*selector.info);
  }
  return programs;
}

std::string variantOf(std::string method) {
  std::replace(method.begin(), method.end(), ':', '-');
  return method;
}

} // namespace morph
