// SPDX-License-Identifier: Apache-2.0
// morph diff: what differs between two runs. It reads and locks nothing: a run may go on meanwhile.

#include "tools/morph/Commands.h"
#include "tools/morph/Differences.h"
#include "tools/morph/Report.h"
#include "tools/morph/RunDirectory.h"
#include "tools/morph/Summary.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <set>

using namespace morph;

namespace {

struct DiffArguments {
  std::string first, second;
  bool json = false;
};

/// What a run directory has to compare; selection and evaluation are null where it has not come so far.
struct Run {
  Json resolved;
  Machine machine;
  Json selection, evaluation;
};

StatusOr<Run> readRun(const fs::path &path) {
  std::error_code error;
  if (!fs::exists(path / "resolved.json", error))
    return Status::invalid(path.string() + " is not a run directory (it has no resolved.json)",
                           "'morph run SPEC --out DIR' makes one");
  Run run;
  MORPH_ASSIGN_OR_RETURN(run.resolved, readJson((path / "resolved.json").string()));
  MORPH_ASSIGN_OR_RETURN(run.machine, readMachine(path / "machine.json"));
  for (const auto &[name, value] :
       {std::pair("selection.json", &run.selection), std::pair("evaluation.json", &run.evaluation)})
    if (fs::exists(path / name, error)) {
      MORPH_ASSIGN_OR_RETURN(*value, readJson((path / name).string()));
    }
  return run;
}

/// The value of one of differingKeys; null where the spec says nothing of it. A line of an arch has its words for a
/// value, and so have budgets; the space's layers have their candidates.
Json valueOf(const Json &resolved, const std::string &key) {
  const Json space = resolved.value("space", Json::object());
  if (key[0] == '[') {
    std::set<std::string> references;
    for (const Json &layer : space.value("layers", Json::array()))
      for (const Json &candidate : layer)
        if (const std::string reference = candidate.value("reference", ""); !reference.empty())
          references.insert(reference);
    return references;
  }
  for (const char *kind : {"allowed", "ties", "counts", "budgets"})
    for (const Json &constraint : space.value(kind, Json::array())) {
      const std::string text = constraint.value("source", Json::object()).value("text", "");
      if (text.rfind(key + " = ", 0) == 0)
        return text.substr(key.size() + 3);
      if ("'" + text + "'" == key)
        return text;
    }
  std::string pointer = "/" + key;
  for (char &c : pointer)
    c = c == '.' || c == '[' ? '/' : c;
  pointer.erase(std::remove(pointer.begin(), pointer.end(), ']'), pointer.end());
  const Json::json_pointer at(pointer);
  return resolved.contains(at) ? resolved[at] : Json();
}

/// Whether both runs evaluate on the same samples, for all that their specs say.
bool haveSameSamples(const std::vector<std::string> &keys) {
  return std::none_of(keys.begin(), keys.end(), [](const std::string &key) {
    for (const char *part : {"seed", "tasks", "data", "model.path", "evaluate"})
      if (key.rfind(part, 0) == 0 && key != "evaluate.baselines")
        return true;
    return false;
  });
}

Json compareRuns(const Run &first, const Run &second) {
  const std::vector<std::string> keys = differingKeys(first.resolved, second.resolved);
  Json report = {{"spec", Json::array()}, {"machine", Json()}, {"selection", Json()}};
  for (const std::string &key : keys)
    report["spec"].push_back(
        {{"key", key}, {"first", valueOf(first.resolved, key)}, {"second", valueOf(second.resolved, key)}});
  if (first.machine != second.machine)
    report["machine"] = {{"first", first.machine.differencesFrom(second.machine)},
                         {"second", second.machine.differencesFrom(first.machine)}};
  const auto choiceOf = [](const Json &selection) {
    return selection.is_object() ? Json({{"method", selection.value("method", "")},
                                         {"kept", selection.value("kept", Json::array())},
                                         {"choice", selection.value("choice", Json::array())}})
                                 : Json();
  };
  if (const Json a = choiceOf(first.selection), b = choiceOf(second.selection); a != b)
    report["selection"] = {{"first", a}, {"second", b}};
  const auto rowsOf = [](const Json &evaluation) { return evaluation.is_array() ? evaluation : Json::array(); };
  report["same_samples"] = haveSameSamples(keys);
  report["results"] =
      differencesBetween(rowsOf(first.evaluation), rowsOf(second.evaluation), report["same_samples"].get<bool>());
  return report;
}

std::string describeValue(const Json &value) {
  return value.is_null() ? "-" : value.is_string() ? value.get<std::string>() : value.dump();
}

/// "7 8 (gates)", and the layers' mixers where only these differ.
std::string describeSelection(const Json &selection, const Json &other) {
  if (selection.is_null())
    return "-";
  std::string text =
      formatLayers(selection["kept"].get<std::vector<int64_t>>()) + " (" + selection["method"].get<std::string>() + ")";
  if (other.is_object() && other["kept"] == selection["kept"] && other["choice"].size() == selection["choice"].size())
    for (size_t layer = 0; layer < selection["choice"].size(); ++layer)
      if (selection["choice"][layer] != other["choice"][layer])
        text += ", " + std::to_string(layer) + ": " + selection["choice"][layer].get<std::string>();
  return text;
}

std::string print(const Json &report, const std::string &first, const std::string &second) {
  std::string text;
  if (!report["spec"].empty()) {
    Table table({"spec", first, second}, /*left=*/3);
    for (const Json &line : report["spec"])
      table.add({line["key"], describeValue(line["first"]), describeValue(line["second"])});
    text += table.print() + "\n";
  }
  Table made({"", first, second}, /*left=*/3);
  bool differs = false;
  if (const Json machine = report["machine"]; machine.is_object()) {
    made.add({"machine", machine["first"], machine["second"]});
    differs = true;
  }
  if (const Json selection = report["selection"]; selection.is_object()) {
    made.add({"kept layers", describeSelection(selection["first"], selection["second"]),
              describeSelection(selection["second"], selection["first"])});
    differs = true;
  }
  if (differs)
    text += made.print() + "\n";
  if (!report["results"].empty()) {
    Table table({"task", "length", "model", "after", "measure", first, second, "difference"}, /*left=*/5);
    for (const Json &line : report["results"]) {
      const bool isLoss = line["measure"] == "cross_entropy";
      const auto value = [&](const Json &part) {
        return formatWithInterval(part, "value", "interval", isLoss ? 2 : 3, false,
                                  isLoss ? static_cast<double (*)(double)>(std::exp) : nullptr);
      };
      std::string measure = line["measure"];
      std::replace(measure.begin(), measure.end(), '_', '-');
      table.add({line["task"], formatLength(line), line["model"],
                 line["model"] == "teacher" ? "-" : describeValue(line["after"]), isLoss ? "perplexity" : measure,
                 value(line["first"]), value(line["second"]),
                 formatWithInterval(line, "difference", "interval", 3, true)});
    }
    text += table.print() + "\nIntervals of 95 %. difference: " + second + " less " + first +
            ", paired by sample; of a perplexity in nats a token.\n";
    if (!report["same_samples"])
      text += "The specs ask for other samples, so that none are paired.\n";
  }
  return text.empty() ? "The runs have the same spec, machine, kept layers and results.\n" : text;
}

Status diff(const DiffArguments &arguments) {
  MORPH_ASSIGN_OR_RETURN(const Run first, readRun(arguments.first));
  MORPH_ASSIGN_OR_RETURN(const Run second, readRun(arguments.second));
  const Json report = compareRuns(first, second);
  std::printf("%s", arguments.json ? (report.dump(2) + "\n").c_str()
                                   : print(report, arguments.first, arguments.second).c_str());
  return Status();
}

} // namespace

void morph::addDiffCommand(CLI::App &app, Action &action) {
  auto arguments = std::make_shared<DiffArguments>();
  CLI::App *command =
      app.add_subcommand("diff", "Print what differs between two runs: spec, machine, kept layers, results");
  command->add_option("FIRST", arguments->first, "A run directory")->required();
  command->add_option("SECOND", arguments->second, "Another one")->required();
  command->add_flag("--json", arguments->json, "Print JSON");
  command->callback([&action, arguments] { action = [arguments](const Toolchain &) { return diff(*arguments); }; });
}
