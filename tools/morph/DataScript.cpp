// SPDX-License-Identifier: Apache-2.0

#include "tools/morph/DataScript.h"

#include "tools/morph/Compiler.h"

using namespace morph;

StatusOr<std::string> morph::runDataScript(const Toolchain &tools, std::vector<std::string> arguments) {
  MORPH_ASSIGN_OR_RETURN(const std::string python, tools.python());
  MORPH_ASSIGN_OR_RETURN(const std::string script, tools.script("morph_data.py"));
  arguments.insert(arguments.begin(), {python, script});
  const Command command{std::move(arguments), /*captureOutput=*/true};
  MORPH_ASSIGN_OR_RETURN(ProcessResult result, runProcess(command));
  MORPH_RETURN_IF_ERROR(toStatus(result, command));
  return std::move(result.output);
}

StatusOr<std::string> morph::writeLexicons(const Toolchain &tools, const ResolvedSpec &resolved,
                                           const fs::path &folder) {
  std::vector<std::string> arguments = {"lexicon", "--tokenizer", resolved.data.tokenizer, "--seed",
                                        std::to_string(resolved.seed)};
  const size_t before = arguments.size();
  for (const TaskSpec &task : resolved.tasks)
    if (task.space == TaskSpec::Space::Words)
      arguments.insert(arguments.end(), {"--task", toJson(task).dump(), "--out",
                                         (folder / ("lexicon-" + task.name + ".json")).string()});
  if (arguments.size() == before)
    return std::string();
  return runDataScript(tools, std::move(arguments));
}
