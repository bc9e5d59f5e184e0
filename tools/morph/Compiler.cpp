// SPDX-License-Identifier: Apache-2.0

#include "tools/morph/Compiler.h"

#include "runtime/choice/Solve.h"
#include "runtime/spec/MixerName.h"
#include "tools/morph/Files.h"

#include <algorithm>
#include <cctype>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <set>
#include <sstream>

using namespace morph;

Status morph::toStatus(const ProcessResult &result, const Command &command) {
  if (!result.signal || stopSignal())
    std::fputs(result.errors.c_str(), stderr);
  if (result.ok() || stopSignal())
    return result.ok() ? Status() : Status::failed("");
  if (!result.signal)
    return result.exitCode == 2 ? Status::invalid("") : Status::failed("");
  const std::string name = fs::path(command.arguments[0]).filename().string();
  const std::string message =
      name + " died from signal " + std::to_string(result.signal) + " (" + strsignal(result.signal) + ")";
  if (result.signal == SIGKILL)
    return Status::failed(message, "the machine may have run out of memory");
  // The helper itself may have written its stack there already.
  std::ofstream file(crashFile(), std::ios::app);
  file << "command: " << toShell(command) << "\n" << message << "\n" << result.errors;
  if (!file.flush())
    return Status::failed(message, "please report it with this command: " + toShell(command));
  return Status::failed(message, "please report it with the file " + crashFile() + ": the command and the stack");
}

Status morph::runHelper(const Command &command) {
  MORPH_ASSIGN_OR_RETURN(const ProcessResult result, runProcess(command));
  return toStatus(result, command);
}

std::string morph::programOptions(const ResolvedSpec &resolved, const std::string &program) {
  std::string options = "precision=" + std::string(toWord(resolved.model.precision));
  const auto add = [&](const char *key, const auto &value) {
    std::ostringstream text;
    text.precision(17);
    text << "," << key << "=" << value;
    options += text.str();
  };
  const auto addAdam = [&](const OptimizerSpec &section) {
    add("beta1", section.betas[0]);
    add("beta2", section.betas[1]);
  };
  const auto addAdamW = [&](const auto &section) {
    addAdam(section);
    add("clip", section.clip);
    add("weight_decay", section.weightDecay);
  };
  const auto addTuning = [&](const auto &section) {
    // Entries are of one word each.
    const auto addWords = [&](const char *key, const std::vector<std::string> &entries) {
      std::string words;
      for (std::string entry : entries) {
        entry.erase(std::remove_if(entry.begin(), entry.end(), [](unsigned char c) { return std::isspace(c); }),
                    entry.end());
        words += (words.empty() ? "" : " ") + entry;
      }
      if (!words.empty())
        add(key, words);
    };
    addAdamW(section);
    add("train", toWord(section.train));
    addWords("rates", section.rates);
    addWords("adapters", section.adapters);
    if (!section.adapters.empty())
      add("adapter_rank", section.adapterRank);
  };
  // Programs that read windows; statistics for first values do not need to know.
  if (resolved.data.separateDocuments && program != "calibrate" && program != "decode" && program != "read")
    add("separate", "true");
  if (program == "align") {
    add("normalize", toWord(resolved.align.normalize));
    // Layers that share a limit would depend on each other, and on which of them make a wave.
    add("clip_by", "layer");
    addAdamW(resolved.align);
  } else if (program == "gates") {
    add("loss", toWord(resolved.select.loss));
    add("target", toWord(resolved.select.target));
    add("normalize", toWord(resolved.select.normalize));
    // The pressure is not part of the objective's norm: clipping would weigh one against the other.
    addAdam(resolved.select);
  } else if (program == "distill") {
    addTuning(resolved.distill);
    add("divergence", toWord(resolved.distill.loss));
    add("top", resolved.distill.topTokens);
    if (resolved.distill.streams > 0)
      add("streams", resolved.distill.streams);
  } else if (program == "finetune") {
    addTuning(resolved.finetune);
  } else if (program == "pretrain" && resolved.pretrain) {
    addAdamW(*resolved.pretrain);
  }
  return options;
}

StatusOr<Choice> morph::dearestChoice(const ResolvedSpec &resolved) {
  CandidateTable values;
  for (const std::vector<Candidate> &candidates : resolved.space.layers) {
    const auto layer = static_cast<double>(values.size());
    std::vector<double> &row = values.emplace_back();
    for (const Candidate &candidate : candidates)
      row.push_back(row.empty() ? 1 + layer / 1e6 : candidate.trained ? 1e-7 : 0);
  }
  return solve(resolved.space, values);
}

bool morph::hasTrained(const ChoiceSpace &space, const Choice &choice) {
  for (size_t layer = 0; layer < choice.size(); ++layer)
    if (space.layers[layer][static_cast<size_t>(choice[layer])].trained)
      return true;
  return false;
}

/// "mine(rank=8)" of "mine.morph:mine(rank = 8)": mixers of files are in the model, under their names.
static std::string passReference(const Candidate &candidate) {
  const MixerWords words = splitMixer(candidate.reference);
  std::string text = words.name + words.options;
  text.erase(std::remove(text.begin(), text.end(), ' '), text.end());
  return text;
}

/// The option of morph-pair-branches: lists for ranges of layers, "gla;8-9:kda,retnet".
static std::string candidatesOption(const ChoiceSpace &space) {
  std::string option;
  for (size_t first = 0; first < space.layers.size();) {
    const auto listOf = [&](size_t layer) {
      std::string list;
      for (size_t c = 1; c < space.layers[layer].size(); ++c)
        list += (c == 1 ? "" : ",") + passReference(space.layers[layer][c]);
      return list;
    };
    const std::string list = listOf(first);
    size_t end = first + 1;
    while (end < space.layers.size() && listOf(end) == list)
      ++end;
    if (first == 0 && end == space.layers.size())
      return list.empty() ? "0-" + std::to_string(end - 1) + ":" : list;
    option += (option.empty() ? "" : ";") + std::to_string(first) + "-" + std::to_string(end - 1) + ":" + list;
    first = end;
  }
  return option;
}

StatusOr<ResolvedSpec> Compiler::resolve(const fs::path &spec, const std::vector<std::string> &settings,
                                         bool configOnly, bool withoutTimes) const {
  MORPH_ASSIGN_OR_RETURN(const std::string program, tools_.program("morph-translate"));
  Command command{{program, "--spec-to-json", spec.string()}, /*captureOutput=*/true, /*captureErrors=*/true};
  if (configOnly)
    command.arguments.push_back("--config-only");
  if (withoutTimes)
    command.arguments.push_back("--without-times");
  for (const std::string &setting : settings)
    command.arguments.push_back("--set=" + setting);
  MORPH_ASSIGN_OR_RETURN(const ProcessResult result, runProcess(command));
  MORPH_RETURN_IF_ERROR(toStatus(result, command));
  const std::string where = "the output of morph-translate --spec-to-json";
  MORPH_ASSIGN_OR_RETURN(const Json json, parseJson(result.output, where));
  return readSpec(json, where);
}

StatusOr<Json> Compiler::mixers(const fs::path &model, int64_t context) const {
  MORPH_ASSIGN_OR_RETURN(const std::string program, tools_.program("morph-translate"));
  Command command{{program, "--mixers", "--context=" + std::to_string(context)},
                  /*captureOutput=*/true,
                  /*captureErrors=*/true};
  if (!model.empty())
    command.arguments.push_back(model.string());
  MORPH_ASSIGN_OR_RETURN(const ProcessResult result, runProcess(command));
  MORPH_RETURN_IF_ERROR(toStatus(result, command));
  return parseJson(result.output, "the output of morph-translate --mixers");
}

StatusOr<Json> Compiler::explain(const std::string &label) const {
  MORPH_ASSIGN_OR_RETURN(const std::string program, tools_.program("morph-translate"));
  const Command command{{program, "--explain", "--", label}, /*captureOutput=*/true, /*captureErrors=*/true};
  MORPH_ASSIGN_OR_RETURN(const ProcessResult result, runProcess(command));
  MORPH_RETURN_IF_ERROR(toStatus(result, command));
  return parseJson(result.output, "the output of morph-translate --explain");
}

Status Compiler::formatMixers(const fs::path &file, const fs::path &output) const {
  return translate("morph-translate", {"--format-morph", file.string()}, output);
}

/// What a compiler says of IR that the driver has made, which nobody has written and which may be gone: without its
/// places and excerpts, as the driver's own words.
static std::string withoutPlaces(const std::string &errors, const fs::path &made) {
  std::istringstream lines(errors);
  std::string text;
  bool isOfMade = false;
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind(made.string() + ":", 0) == 0) {
      isOfMade = true;
      const size_t kind = line.find(": ", made.string().size());
      text += "morph" + (kind == std::string::npos ? line.substr(made.string().size()) : line.substr(kind)) + "\n";
    } else if (!isOfMade || line.empty() || line[0] != ' ') {
      isOfMade = false;
      text += line + "\n";
    }
  }
  return text;
}

Status Compiler::translate(const std::string &name, std::vector<std::string> arguments, const fs::path &output,
                           const fs::path &made) const {
  MORPH_ASSIGN_OR_RETURN(const std::string program, tools_.program(name));
  const fs::path partial = output.string() + ".partial";
  arguments.insert(arguments.begin(), program);
  arguments.insert(arguments.end(), {"-o", partial.string()});
  // Compilers say what they have to say at once, so their errors can wait for how they end.
  const Command command{std::move(arguments), /*captureOutput=*/false, /*captureErrors=*/true};
  MORPH_ASSIGN_OR_RETURN(ProcessResult result, runProcess(command));
  if (!made.empty())
    result.errors = withoutPlaces(result.errors, made);
  Status status = toStatus(result, command);
  if (!status.ok()) {
    std::error_code error;
    fs::remove(partial, error);
    return status;
  }
  return renamePath(partial.string(), output.string());
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

Status Compiler::folderConfig(const fs::path &folder, std::optional<int64_t> positions, const fs::path &output,
                              bool configOnly) const {
  std::vector<std::string> arguments = {"--base-config", folder.string()};
  if (configOnly)
    arguments.push_back("--config-only");
  if (positions)
    arguments.push_back("--positions=" + std::to_string(*positions));
  return translate("morph-translate", std::move(arguments), output);
}

Status Compiler::importModel(const fs::path &folder, const std::string &name, const fs::path &output, bool configOnly,
                             const ChoiceSpace &space, std::optional<int64_t> positions) const {
  std::vector<std::string> arguments = {"--import-hf", folder.string()};
  if (positions)
    arguments.push_back("--positions=" + std::to_string(*positions));
  if (configOnly)
    arguments.push_back("--config-only");
  if (!name.empty())
    arguments.push_back("--name=" + name);
  // The options are the pairing's.
  std::set<std::string> files;
  for (const std::vector<Candidate> &candidates : space.layers)
    for (const Candidate &candidate : candidates)
      if (const MixerWords mixer = splitMixer(candidate.reference); !mixer.file.empty())
        files.insert(mixer.file + ":" + mixer.name);
  for (const std::string &file : files)
    arguments.push_back("--declare=" + file);
  return translate("morph-translate", std::move(arguments), output);
}

Status Compiler::changePhase(const fs::path &input, const std::string &from, const std::string &pass,
                             const std::string &to, const fs::path &output) const {
  const std::string check = "--morph-verify-phase=phase=";
  return translate("morph-opt", {input.string(), check + from, pass, check + to}, output, input);
}

Status Compiler::pair(const fs::path &input, const ChoiceSpace &space, const fs::path &output) const {
  return changePhase(input, "base", "--morph-pair-branches=candidates=" + candidatesOption(space), "paired", output);
}

Status Compiler::relax(const fs::path &input, const fs::path &output) const {
  return changePhase(input, "paired", "--morph-relax-gates", "relaxed", output);
}

Status Compiler::discretize(const fs::path &input, const fs::path &selection, const fs::path &output) const {
  return changePhase(input, "paired", "--morph-discretize=selection=\"" + selection.string() + "\"", "hybrid", output);
}

Status Compiler::discretize(const fs::path &input, const ChoiceSpace &space, const Choice &choice,
                            const fs::path &output) const {
  Json names = Json::array();
  for (size_t layer = 0; layer < choice.size(); ++layer)
    names.push_back(space.layers[layer][static_cast<size_t>(choice[layer])].name);
  const fs::path selection = output.string() + ".selection.json";
  MORPH_RETURN_IF_ERROR(
      writeJson(selection, {{"version", 1}, {"layers", choice.size()}, {"choice", std::move(names)}}));
  return discretize(input, selection, output);
}

Status Compiler::emitPlan(const fs::path &input, const std::string &program, const std::string &options,
                          const fs::path &output) const {
  std::vector<std::string> arguments = {"--emit-plan", input.string(), "--program=" + program};
  if (!options.empty())
    arguments.push_back("--program-options=" + options);
  if (!target_.empty())
    arguments.push_back("--device=" + target_);
  if (!makesCode_)
    arguments.push_back("--without-code");
  return translate("morph-translate", std::move(arguments), output, input);
}

StatusOr<bool> Compiler::emitCalibration(const fs::path &input, const std::string &options,
                                         const fs::path &output) const {
  MORPH_RETURN_IF_ERROR(emitPlan(input, "calibrate", options, output));
  MORPH_ASSIGN_OR_RETURN(const std::string text, readTextFile(output.string()));
  if (text != "null\n")
    return true;
  MORPH_RETURN_IF_ERROR(removeAll(output));
  return false;
}

Status Compiler::emitPyTorch(const fs::path &input, const fs::path &output) const {
  return translate("morph-translate", {"--emit-pytorch", input.string()}, output);
}
