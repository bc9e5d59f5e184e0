// SPDX-License-Identifier: Apache-2.0

#include "tools/morph/Compiler.h"

#include <algorithm>
#include <csignal>

using namespace morph;

namespace {

std::string joinLayers(const std::vector<int64_t> &layers) {
  std::string text;
  for (int64_t layer : layers)
    text += (text.empty() ? "" : ",") + std::to_string(layer);
  return text;
}

} // namespace

Status morph::toStatus(const ProcessResult &result, const Command &command) {
  if (result.ok() || stopSignal())
    return result.ok() ? Status() : Status::failed("");
  if (result.signal) {
    const std::string name = fs::path(command.arguments[0]).filename().string();
    return Status::failed(name + " died from signal " + std::to_string(result.signal) + " (" +
                              strsignal(result.signal) + ")",
                          result.signal == SIGKILL ? "the machine may have run out of memory"
                                                   : "please report it with this command: " + toShell(command));
  }
  return result.exitCode == 2 ? Status::invalid("") : Status::failed("");
}

Status morph::runHelper(const Command &command) {
  MORPH_ASSIGN_OR_RETURN(const ProcessResult result, runProcess(command));
  return toStatus(result, command);
}

std::string morph::programOptions(const Json &resolved, const std::string &program) {
  const Json section = resolved.value(program == "gates" ? "select" : program, Json::object());
  if (program == "align")
    return "normalize=" + section.value("normalize", "relative");
  if (program == "gates")
    return "loss=" + section.value("loss", "kl") + ",target=" + section.value("target", "teacher") +
           ",normalize=" + section.value("normalize", "relative");
  return "train=" + section.value("train", "linear");
}

std::vector<int64_t> morph::layersOfBudget(const Json &resolved) {
  const Json budget = resolved.value("budget", Json::object());
  std::vector<int64_t> kept = budget.value("keep", std::vector<int64_t>());
  const std::vector<int64_t> pinned = budget.value("linear", std::vector<int64_t>());
  auto holds = [](const std::vector<int64_t> &list, int64_t layer) {
    return std::find(list.begin(), list.end(), layer) != list.end();
  };
  const auto full = budget.value("full_layers", size_t(0));
  const int64_t layers = resolved.value("model_info", Json::object()).value("layers", int64_t(0));
  for (int64_t layer = 0; layer < layers && kept.size() < full; ++layer)
    if (!holds(kept, layer) && !holds(pinned, layer))
      kept.push_back(layer);
  std::sort(kept.begin(), kept.end());
  return kept;
}

StatusOr<Json> Compiler::resolve(const fs::path &spec, const std::vector<std::string> &settings,
                                 bool configOnly) const {
  MORPH_ASSIGN_OR_RETURN(const std::string program, tools_.program("morph-translate"));
  Command command{{program, "--spec-to-json", spec.string()}, /*captureOutput=*/true};
  if (configOnly)
    command.arguments.push_back("--config-only");
  for (const std::string &setting : settings)
    command.arguments.push_back("--set=" + setting);
  MORPH_ASSIGN_OR_RETURN(const ProcessResult result, runProcess(command));
  MORPH_RETURN_IF_ERROR(toStatus(result, command));
  return parseJson(result.output, "the output of morph-translate --spec-to-json");
}

Status Compiler::translate(const std::string &name, std::vector<std::string> arguments, const fs::path &output) const {
  MORPH_ASSIGN_OR_RETURN(const std::string program, tools_.program(name));
  const fs::path partial = output.string() + ".partial";
  arguments.insert(arguments.begin(), program);
  arguments.insert(arguments.end(), {"-o", partial.string()});
  Status status = runHelper({std::move(arguments)});
  if (!status.ok()) {
    std::error_code error;
    fs::remove(partial, error);
    return status;
  }
  return morph::rename(partial, output);
}

Status Compiler::importSpec(const fs::path &spec, const std::vector<std::string> &settings, const fs::path &output,
                            bool configOnly) const {
  std::vector<std::string> arguments = {"--import-spec", spec.string()};
  if (configOnly)
    arguments.push_back("--config-only");
  for (const std::string &setting : settings)
    arguments.push_back("--set=" + setting);
  return translate("morph-translate", std::move(arguments), output);
}

Status Compiler::baseConfig(const fs::path &spec, const std::vector<std::string> &settings,
                            const fs::path &output) const {
  std::vector<std::string> arguments = {"--base-config", spec.string()};
  for (const std::string &setting : settings)
    arguments.push_back("--set=" + setting);
  return translate("morph-translate", std::move(arguments), output);
}

Status Compiler::importModel(const fs::path &folder, const fs::path &output) const {
  return translate("morph-translate", {"--import-hf", folder.string()}, output);
}

Status Compiler::pair(const fs::path &input, const Json &linear, const fs::path &output) const {
  std::string candidates = linear.value("backend", "gated_deltanet");
  const std::vector<std::string> further = linear.value("candidates", std::vector<std::string>());
  for (const std::string &candidate : further)
    candidates += "," + candidate;
  // What is neither a candidate nor the window is an option of the backends.
  std::string backendOptions;
  for (const auto &[name, value] : linear.items())
    if (name != "backend" && name != "candidates" && name != "window")
      backendOptions += (backendOptions.empty() ? "" : ",") + name + "=" +
                        (value.is_string() ? value.get<std::string>() : value.dump());
  std::string options = "candidates=" + candidates + " options=" + backendOptions;
  if (const int64_t window = linear.value("window", int64_t(0)))
    options += " window=" + std::to_string(window);
  return translate("morph-opt", {input.string(), "--morph-pair-branches=" + options}, output);
}

Status Compiler::relax(const fs::path &input, const fs::path &output) const {
  return translate("morph-opt", {input.string(), "--morph-relax-gates"}, output);
}

Status Compiler::discretize(const fs::path &input, const fs::path &selection, const fs::path &output) const {
  return translate("morph-opt", {input.string(), "--morph-discretize=selection=\"" + selection.string() + "\""},
                   output);
}

Status Compiler::discretize(const fs::path &input, const std::vector<int64_t> &kept, const fs::path &output) const {
  const std::string option = kept.empty() ? "uniform=0" : "kept=" + joinLayers(kept);
  return translate("morph-opt", {input.string(), "--morph-discretize=" + option}, output);
}

Status Compiler::emitPlan(const fs::path &input, const std::string &program, const std::string &options,
                          const fs::path &output) const {
  std::vector<std::string> arguments = {"--emit-plan", input.string(), "--program=" + program};
  if (!options.empty())
    arguments.push_back("--program-options=" + options);
  return translate("morph-translate", std::move(arguments), output);
}
