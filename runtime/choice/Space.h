// SPDX-License-Identifier: Apache-2.0
// What may stand in each layer of a hybrid: candidates, constraints between layers, and budgets. The compiler makes it
// of a spec's [linear] and [budget] or of an `arch` declaration; selectors choose in it. Neither MLIR nor Torch.

#ifndef MORPH_RUNTIME_CHOICE_SPACE_H
#define MORPH_RUNTIME_CHOICE_SPACE_H

#include "runtime/base/Status.h"

#include <cstdint>
#include <string>
#include <vector>

namespace morph {

/// The name of the first candidate of every layer.
inline constexpr const char *kFullAttention = "full";

/// A token mixer that a layer may take.
struct Candidate {
  std::string name;      ///< "full", "kda"; the second kda of a layer is "kda_2".
  std::string reference; ///< With options and file, as specs write it: "kda(chunk = 16)"; empty for "full".
  bool trained = false;  ///< It has weights that align and distil train; not "full", nor what has none.
};

/// The line of a spec that a constraint comes from, for messages.
struct ConstraintSource {
  std::string text;  ///< "budget.full_layers = 2"
  std::string place; ///< "spec.toml:12:15"; may be empty.
};

/// These layers take one of these candidates.
struct AllowedCandidates {
  ConstraintSource source;
  std::vector<int64_t> layers;
  std::vector<std::string> candidates;
};

/// These layers, which have the same candidates, all take the same one.
struct TiedLayers {
  ConstraintSource source;
  std::vector<int64_t> layers;
};

/// From `least` to `most` of these layers take the candidate.
struct CandidateCount {
  ConstraintSource source;
  std::vector<int64_t> layers;
  std::string candidate;
  int64_t least = 0, most = 0;
};

/// The costs of all layers' candidates sum to at most `limit`. Whole numbers, so that sums are exact in any order.
struct CostBudget {
  ConstraintSource source;
  std::string measure;                     ///< "cache_bytes", "decode_seconds".
  std::string unit;                        ///< Of the numbers here: "bytes", "picoseconds".
  int64_t context = 0;                     ///< Tokens at which the costs hold.
  int64_t limit = 0;                       ///< What is left for the mixers.
  std::vector<std::vector<int64_t>> costs; ///< By layer and candidate.
};

struct ChoiceSpace {
  std::vector<std::vector<Candidate>> layers; ///< A layer's candidates, the first one being "full".
  std::vector<AllowedCandidates> allowed;
  std::vector<TiedLayers> ties;
  std::vector<CandidateCount> counts;
  std::vector<CostBudget> budgets;

  int64_t layerCount() const { return static_cast<int64_t>(layers.size()); }
  /// By layer and candidate: whether every `allowed` has it, of this layer and of those that are tied to it.
  std::vector<std::vector<bool>> allowedMask() const;
};

/// The candidate of each layer, by its number.
using Choice = std::vector<int64_t>;

/// The layers that keep full attention, rising.
std::vector<int64_t> fullLayers(const Choice &choice);

/// Full attention in every layer, whatever the space allows.
Choice fullChoice(const ChoiceSpace &space);

/// Each layer's first allowed candidate beside full attention; full attention where nothing else is allowed. Pins and
/// ties hold, counts and budgets need not.
Choice linearChoice(const ChoiceSpace &space);

/// The candidates of each layer that are compared one by one: full attention, pinned or not, and of the others those
/// that are allowed, or the first where none is. So each layer with others has a score, and of what pins forbid nothing
/// is measured that no score needs.
std::vector<std::vector<int64_t>> comparedCandidates(const ChoiceSpace &space);

/// The name of each layer's candidate.
std::vector<std::string> candidateNames(const ChoiceSpace &space, const Choice &choice);

/// Layers that take the same candidate, each layer in one group; groups by their first layers.
std::vector<std::vector<size_t>> tiedGroups(const ChoiceSpace &space);

/// Every layer of `layers` has full attention and these candidates; exactly `full` of them keep full attention.
ChoiceSpace makePlainSpace(int64_t layers, const std::vector<std::string> &candidates, int64_t full);

/// What a space holds: candidates, layers and names of constraints, costs.
size_t sizeOf(const ChoiceSpace &space);
inline constexpr size_t kMaxSpaceSize = 100'000;

/// Whether the space makes sense: candidates with names of their own in every layer, constraints about layers and
/// candidates that there are, ties of layers alike, costs of 0 or more for all candidates, within the limits of sizes.
Status checkSpace(const ChoiceSpace &space);

} // namespace morph

#endif // MORPH_RUNTIME_CHOICE_SPACE_H
