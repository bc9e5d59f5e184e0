// SPDX-License-Identifier: Apache-2.0
// What needs the tokenizer: tools/python/morph_data.py as functions.

#ifndef MORPH_TOOLS_MORPH_DATASCRIPT_H
#define MORPH_TOOLS_MORPH_DATASCRIPT_H

#include "runtime/spec/Spec.h"
#include "tools/morph/Files.h"
#include "tools/morph/Toolchain.h"

#include <string>
#include <vector>

namespace morph {

/// Runs the script; what it says of its work.
StatusOr<std::string> runDataScript(const Toolchain &tools, std::vector<std::string> arguments);
/// The files that an entry of `data.text` may read, sorted: a file, all below a folder, those that a pattern stands
/// for.
std::vector<fs::path> filesOfText(const std::string &entry);
/// Writes `text.{tokens,documents,json}` of [data]; what the script says of it.
StatusOr<std::string> writeText(const Toolchain &tools, const ResolvedSpec &resolved, const fs::path &folder);
/// Writes `task-NAME.{tokens,documents,json}` of each task that reads a file (kinds jsonl and qa); what the script says
/// of it.
StatusOr<std::string> writeQuestions(const Toolchain &tools, const ResolvedSpec &resolved, const fs::path &folder);
/// Writes `lexicon-NAME.json` of each synthetic task in words; what the script says of it.
StatusOr<std::string> writeLexicons(const Toolchain &tools, const ResolvedSpec &resolved, const fs::path &folder);

} // namespace morph

#endif // MORPH_TOOLS_MORPH_DATASCRIPT_H
