// SPDX-License-Identifier: Apache-2.0

#include "tools/morph/Serving.h"

#include "tools/morph/Costs.h"

#include <algorithm>

using namespace morph;

namespace {

/// Choices that have every candidate of every layer between them; the first is one that can be made.
StatusOr<std::vector<Choice>> coverCandidates(const ResolvedSpec &resolved) {
  MORPH_ASSIGN_OR_RETURN(Choice dearest, dearestChoice(resolved));
  std::vector<Choice> choices = {std::move(dearest)};
  const auto &layers = resolved.space.layers;
  size_t most = 0;
  for (const std::vector<Candidate> &candidates : layers)
    most = std::max(most, candidates.size());
  for (size_t round = 0; round < most; ++round) {
    Choice &choice = choices.emplace_back();
    for (const std::vector<Candidate> &candidates : layers)
      choice.push_back(static_cast<Choice::value_type>(std::min(round, candidates.size() - 1)));
  }
  return choices;
}

} // namespace

StatusOr<Json> morph::findEngines(const Toolchain &tools, const Compiler &compiler, const ResolvedSpec &resolved,
                                  const fs::path &paired, const fs::path &folder) {
  MORPH_ASSIGN_OR_RETURN(const std::string python, tools.python());
  MORPH_ASSIGN_OR_RETURN(const std::string script, tools.script("export/serving.py"));
  MORPH_ASSIGN_OR_RETURN(const std::vector<Choice> choices, coverCandidates(resolved));
  const fs::path base = folder / "serving-base.json"; // As the export has it, with RoPE for `model.context`.
  MORPH_RETURN_IF_ERROR(compiler.folderConfig(resolved.model.path, resolved.model.context, base, /*configOnly=*/true));
  Command command{{python, script, "--base", base.string(), "--folder", resolved.model.path, "--format",
                   toWord(resolved.export_.format)},
                  /*captureOutput=*/true};
  for (size_t i = 0; i < choices.size(); ++i) {
    const fs::path ir = folder / ("serving-" + std::to_string(i) + ".mlir"),
                   mixers = fs::path(ir).replace_extension("json");
    MORPH_RETURN_IF_ERROR(compiler.discretize(paired, resolved.space, choices[i], ir));
    MORPH_RETURN_IF_ERROR(compiler.emitPyTorch(ir, mixers));
    command.arguments.insert(command.arguments.end(), {"--mixers", mixers.string()});
  }
  MORPH_ASSIGN_OR_RETURN(const ProcessResult result, runProcess(command));
  MORPH_RETURN_IF_ERROR(toStatus(result, command));
  return parseJson(result.output, script);
}
