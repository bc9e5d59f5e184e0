// SPDX-License-Identifier: Apache-2.0
// The best choice in a space, exactly: the multiple-choice knapsack with several budgets, counts and ties.

#ifndef MORPH_RUNTIME_CHOICE_SOLVE_H
#define MORPH_RUNTIME_CHOICE_SOLVE_H

#include "runtime/choice/Space.h"

namespace morph {

/// A number for every layer's candidates.
using CandidateTable = std::vector<std::vector<double>>;

/// The choice of largest sum of `values` that satisfies all constraints of the space; of several the one of largest sum
/// of `tieBreak` (may be empty), then the one that keeps full attention in lower layers. Values are compared to 2^-40
/// of the largest, so that their sums are exact in any order.
///
/// A dynamic programme over the layers (tied ones as one): a state is what counts and budgets have used, of which only
/// the best value is kept, and none that another state of the same counts beats in value at no higher costs (Kellerer,
/// Pferschy and Pisinger, Knapsack Problems, 2004, sections 11.5 and 6.2).
///
/// Errors: nothing satisfies the constraints, which names the smallest set of them that exclude each other
/// (findConflict); more than four million states or some seconds of work, which only layers of very different costs
/// make, and very many constraints that overlap.
StatusOr<Choice> solve(const ChoiceSpace &space, const CandidateTable &values, const CandidateTable &tieBreak = {});

/// Whether a choice satisfies every constraint.
bool satisfies(const ChoiceSpace &space, const Choice &choice);

/// Whether some choice satisfies every constraint. Errors: more states or work than `solve` takes.
StatusOr<bool> isPossible(const ChoiceSpace &space);

/// Sources of constraints that cannot all hold, though all but any one of them can; empty where all can hold. Where it
/// takes more than some seconds to tell which are needed, more of them.
StatusOr<std::vector<ConstraintSource>> findConflict(const ChoiceSpace &space);

/// The error for a conflict: "budget.full_layers = 2 (spec.toml:3:15) and ... exclude each other".
Status conflictError(const std::vector<ConstraintSource> &conflict);

/// What a layer's distribution over its candidates says that each is worth: the share of the candidates that cost no
/// more, its own included. So a costlier candidate is never worth less, and with two candidates the difference is the
/// share of full attention. A candidate costs no more than another where neither a budget nor full attention says so.
CandidateTable valuesOfShares(const ChoiceSpace &space, const CandidateTable &shares);

} // namespace morph

#endif // MORPH_RUNTIME_CHOICE_SOLVE_H
