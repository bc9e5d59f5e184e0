// SPDX-License-Identifier: Apache-2.0
// Evolution of choices, steady state (Real et al., "Regularized evolution", arXiv 1802.01548, without its ageing): a
// child of two of the best so far takes of each layer what they agree on and draws the rest; every other child
// exchanges a layer that is kept for one that is not. What the space does not allow is put right by the choice that is
// nearest: argmax over the space of the sum over layers of u + [mother has it] + [father has it], u uniform in [0, 1).

#include "runtime/train/select/ChoiceSearch.h"

#include <algorithm>
#include <array>

namespace morph {

/// Choices that are drawn at random before any is bred, and the best that breed.
static constexpr size_t kPopulation = 16;
/// The share of children that exchange two layers.
static constexpr double kExchanges = 0.5;

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
          if (!isBred)
            continue;
          values[layer][static_cast<size_t>(mother[layer])] += 1;
          values[layer][static_cast<size_t>(father[layer])] += 1;
        }
        if (isBred && random.uniform() < kExchanges) {
          std::array<std::vector<size_t>, 2> layers; // Those that the mother keeps, and the others.
          for (size_t layer = 0; layer < values.size(); ++layer)
            layers[mother[layer] == 0 ? 0 : 1].push_back(layer);
          // More than what agreeing parents and draws give.
          for (const auto &[list, shift] : {std::pair(layers[0], -4.0), std::pair(layers[1], 4.0)})
            if (!list.empty())
              values[list[static_cast<size_t>(random.uniform() * static_cast<double>(list.size()))]][0] += shift;
        }
        return solve(space, values);
      });
}

static const SelectorRegistration evolutionRegistration("evolution", selectEvolution);

} // namespace morph
