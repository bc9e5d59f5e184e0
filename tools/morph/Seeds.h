// SPDX-License-Identifier: Apache-2.0
// One spec with several seeds, and what its runs say together.

#ifndef MORPH_TOOLS_MORPH_SEEDS_H
#define MORPH_TOOLS_MORPH_SEEDS_H

#include "runtime/base/Json.h"

#include <string>
#include <vector>

namespace morph {

/// "0..4" or "0,2,5", or both: in this order, each once. Errors: no seeds, one alone, one that is there already, what
/// is no number, more than 1000.
StatusOr<std::vector<int64_t>> parseSeeds(const std::string &text);

/// What runs of one spec say together, from their summaries (Summary.h), of which there are two or more: a summary of
/// the same members, so that the same tables print it, with
///   seeds, runs     the seeds, and the runs' folders
///   kept            by model the layers that each seed's keeps
///   evaluation      the rows that all have, with means over seeds. `by_seed` has each seed's. Intervals are over
///                   seeds and samples: each seed draws samples of its own, so the spread of seeds has theirs in it,
///                   and an interval is never narrower than that of all samples together; windows of text and
///                   questions of a file are the same for all: each counts once, with its mean over seeds, and the
///                   two spreads are added.
///   differences     from these rows (Differences.h), their intervals likewise
Json poolSeeds(const std::vector<int64_t> &seeds, const std::vector<Json> &summaries);

} // namespace morph

#endif // MORPH_TOOLS_MORPH_SEEDS_H
