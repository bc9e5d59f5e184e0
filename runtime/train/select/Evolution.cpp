// SPDX-License-Identifier: Apache-2.0
// Evolution of choices, steady state (Real et al., "Regularized evolution", arXiv 1802.01548, without its ageing): a
// child of two of the best so far takes of each layer what they agree on and draws the rest; now and then a layer is
// drawn anew. What the space does not allow is put right by the choice that is nearest.

#include "runtime/train/select/ChoiceSearch.h"

#include <algorithm>

namespace morph {

/// Choices that are drawn at random before any is bred, and the best that breed.
static constexpr size_t kPopulation = 16;
/// Of a child's layers, in the mean so many are drawn anew.
static constexpr double kMutations = 1;

static StatusOr<Selection> selectEvolution(SelectorContext &context) {
  const ChoiceSpace &space = context.space;
  return searchChoices(
      context, "select (evolution)", [&](int64_t index, const std::vector<ScoredChoice> &scored) -> StatusOr<Choice> {
        Random random(context.stage.seed, "select/evolution", static_cast<uint64_t>(index));
        std::vector<ScoredChoice> best = scored;
        std::stable_sort(best.begin(), best.end(),
                         [](const ScoredChoice &a, const ScoredChoice &b) { return a.kl < b.kl; });
        best.resize(std::min(best.size(), kPopulation));
        const auto parent = [&]() -> const Choice & {
          // The better of two drawn ones.
          const auto draw = [&] { return static_cast<size_t>(random.uniform() * static_cast<double>(best.size())); };
          return best[std::min(draw(), draw())].choice;
        };
        CandidateTable values = valuesOfFull(space, std::vector<double>(space.layers.size(), 0));
        const bool isBred = scored.size() >= kPopulation;
        const Choice mother = isBred ? parent() : Choice(), father = isBred ? parent() : Choice();
        for (size_t layer = 0; layer < values.size(); ++layer) {
          for (double &value : values[layer])
            value = random.uniform();
          if (!isBred || random.uniform() * static_cast<double>(values.size()) < kMutations)
            continue;
          values[layer][static_cast<size_t>(mother[layer])] += 1;
          values[layer][static_cast<size_t>(father[layer])] += 1;
        }
        return solve(space, values);
      });
}

static const SelectorRegistration registration("evolution", selectEvolution);

} // namespace morph
