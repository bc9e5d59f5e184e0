// SPDX-License-Identifier: Apache-2.0
// The end of a run as a table for people and as JSON for programs.

#ifndef MORPH_TOOLS_MORPH_SUMMARY_H
#define MORPH_TOOLS_MORPH_SUMMARY_H

#include "tools/morph/Costs.h"
#include "tools/morph/RunDirectory.h"

#include <string>
#include <vector>

namespace morph {

/// What a finished run has to say, of the stages that are whole and its own (Pipeline::wholeStages). Members: version,
/// run, name, selection, evaluation (rows), differences (Differences.h), baselines (kept layers by name), choices (each
/// layer's candidate, by model), stages (stage, seconds, tokens, flops), data (texts and tasks' files, with what was
/// dropped of them), cache (cacheByContext), hybrid (folder), check (of the manifest). What there is nothing of is left
/// out.
StatusOr<Json> summarize(const RunDirectory &run, const std::vector<std::string> &wholeStages,
                         const std::vector<Json> &stageRecords);

/// The same as tables: answers by task, length, model and stage; perplexity by model and stage; cost by stage; where
/// the hybrid and the report lie. Lengths are never pooled.
std::string printSummary(const Json &summary);

/// What several seeds say together (Seeds.h) as tables: answers, perplexity, and the layers that each seed keeps.
std::string printSeeds(const Json &pooled);
/// "0.875 [.719 .950]", from the members `value` and `interval` (null: none) of `part`; "-" where it has no value.
std::string formatWithInterval(const Json &part, const char *value, const char *interval, int digits = 3,
                               bool sign = false, double (*transform)(double) = nullptr);
/// "512", or "512 at 0.5" for needles at a given depth: the length of an evaluation's row.
std::string formatLength(const Json &row);

} // namespace morph

#endif // MORPH_TOOLS_MORPH_SUMMARY_H
