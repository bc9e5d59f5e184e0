// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/select/ChoiceSearch.h"

#include <algorithm>
#include <set>

namespace morph {

/// So many proposals in a row that were scored before end a search: the space, or what breeding finds in it, is small.
static constexpr int64_t kMostRepeats = 200;

StatusOr<Selection>
searchChoices(SelectorContext &context, const std::string &label,
              const std::function<StatusOr<Choice>(int64_t index, const std::vector<ScoredChoice> &scored)> &propose) {
  MORPH_ASSIGN_OR_RETURN(ChoiceScorer *const scorer, context.scorer());
  const int64_t tokens = context.stage.spec.select.searchTokens, most = tokens / scorer->tokensOfChoice();
  if (most < 1)
    return Status::invalid("select.search_tokens = " + std::to_string(tokens) + " are less than the " +
                               std::to_string(scorer->tokensOfChoice()) + " that one choice takes",
                           "raise it, or lower select.samples");
  scorer->expect(label, most);
  std::vector<ScoredChoice> scored;
  std::set<Choice> seen;
  for (int64_t index = 0, repeats = 0; static_cast<int64_t>(scored.size()) < most && repeats < kMostRepeats; ++index) {
    MORPH_ASSIGN_OR_RETURN(Choice choice, propose(index, scored));
    if (!seen.insert(choice).second) {
      ++repeats;
      continue;
    }
    repeats = 0;
    MORPH_ASSIGN_OR_RETURN(const double kl, scorer->kl(choice));
    scored.push_back({std::move(choice), kl});
  }
  const auto best = std::min_element(scored.begin(), scored.end(),
                                     [](const ScoredChoice &a, const ScoredChoice &b) { return a.kl < b.kl; });
  Selection selection = selectionOfChoice(context.space, best->choice);
  selection.details["choices"] = scored.size();
  return selection;
}

} // namespace morph
