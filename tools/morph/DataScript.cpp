// SPDX-License-Identifier: Apache-2.0

#include "tools/morph/DataScript.h"

#include "tools/morph/Compiler.h"

#include <glob.h>

#include <algorithm>
#include <iterator>

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

std::vector<fs::path> morph::filesOfText(const std::string &entry) {
  std::vector<fs::path> files;
  std::error_code error;
  if (fs::is_directory(entry, error)) {
    for (fs::recursive_directory_iterator it(entry, error), end; !error && it != end; it.increment(error))
      if (std::error_code ignored; it->is_regular_file(ignored))
        files.push_back(it->path());
  } else if (fs::exists(entry, error)) {
    files.push_back(entry);
  } else {
    glob_t found{};
    // A folder that the pattern matches is not read (tools/python/data/sources.py).
    if (::glob(entry.c_str(), 0, nullptr, &found) == 0)
      std::copy_if(found.gl_pathv, found.gl_pathv + found.gl_pathc, std::back_inserter(files), [](const char *path) {
        std::error_code ignored;
        return fs::is_regular_file(path, ignored);
      });
    ::globfree(&found);
  }
  std::sort(files.begin(), files.end());
  return files;
}

StatusOr<std::string> morph::writeText(const Toolchain &tools, const ResolvedSpec &resolved, const fs::path &folder) {
  const DataSpec &data = resolved.data;
  if (data.text.empty())
    return std::string();
  std::vector<std::string> arguments = {"tokenize",
                                        "--tokenizer",
                                        data.tokenizer,
                                        "--out",
                                        folder.string(),
                                        "--holdout",
                                        Json(data.holdout).dump(),
                                        "--vocab",
                                        std::to_string(resolved.modelInfo.vocab)};
  // In one word: a separator or a field may begin with a dash.
  arguments.push_back("--separator=" + data.separator);
  for (const std::string &field : data.fields)
    arguments.push_back("--field=" + field);
  if (!data.weights.empty())
    arguments.push_back("--weight");
  for (double weight : data.weights)
    arguments.push_back(Json(weight).dump());
  arguments.push_back("--text");
  arguments.insert(arguments.end(), data.text.begin(), data.text.end());
  return runDataScript(tools, std::move(arguments));
}

StatusOr<std::string> morph::writeQuestions(const Toolchain &tools, const ResolvedSpec &resolved,
                                            const fs::path &folder) {
  std::vector<std::string> arguments = {"questions", "--tokenizer", resolved.data.tokenizer, "--vocab",
                                        std::to_string(resolved.modelInfo.vocab)};
  const size_t before = arguments.size();
  for (const TaskSpec &task : resolved.tasks)
    if (task.path)
      arguments.insert(arguments.end(),
                       {"--task", toJson(task).dump(), "--out", (folder / ("task-" + task.name)).string()});
  if (arguments.size() == before)
    return std::string();
  return runDataScript(tools, std::move(arguments));
}

StatusOr<std::string> morph::writeLexicons(const Toolchain &tools, const ResolvedSpec &resolved,
                                           const fs::path &folder) {
  std::vector<std::string> arguments = {"lexicon", "--tokenizer", resolved.data.tokenizer, "--seed",
                                        std::to_string(resolved.seed)};
  const size_t before = arguments.size();
  for (const TaskSpec &task : resolved.tasks)
    if (task.space == TaskSpec::Space::Words && !task.path)
      arguments.insert(arguments.end(), {"--task", toJson(task).dump(), "--out",
                                         (folder / ("lexicon-" + task.name + ".json")).string()});
  if (arguments.size() == before)
    return std::string();
  return runDataScript(tools, std::move(arguments));
}
