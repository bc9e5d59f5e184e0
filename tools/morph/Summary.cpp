// SPDX-License-Identifier: Apache-2.0

#include "tools/morph/Summary.h"

#include "tools/morph/Differences.h"
#include "tools/morph/Report.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <set>

using namespace morph;

namespace {

/// ".862", "-.05", "1.000": a share without the zero before its point.
std::string shortNumber(double value) {
  std::string text = formatFixed(value, 3);
  if (const size_t zero = text.find("0."); zero != std::string::npos && zero <= 1 && (zero == 0 || text[0] == '-'))
    text.erase(zero, 1);
  return text;
}

/// The entry of `differences` that belongs to a row, that of the baseline which does best there; null where there is
/// none.
Json findDifference(const Json &differences, const Json &row, const std::string &measure) {
  if (row.value("model", "") != "selected")
    return Json();
  // Of answers more is better, of nats fewer.
  const double sign = measure == "cross_entropy" ? -1 : 1;
  Json best;
  for (const Json &entry : differences) {
    bool same = entry.value("measure", "") == measure;
    for (const char *key : {"after", "task", "length", "depth"})
      same = same && entry.value(key, Json()) == row.value(key, Json());
    if (same && (best.is_null() || sign * entry.value("difference", 0.0) < sign * best.value("difference", 0.0)))
      best = entry;
  }
  return best;
}

/// What the selected hybrid is compared with: the baseline's name, of several "the best"; empty where there is none.
std::string baselineOf(const Json &differences) {
  std::set<std::string> names;
  for (const Json &entry : differences)
    names.insert(entry.value("baseline", ""));
  return names.empty() ? "" : names.size() > 1 ? "the best" : *names.begin();
}

/// A difference with its interval, and of which of several baselines it is.
std::string formatDifference(const Json &difference, const std::string &baseline) {
  if (difference.is_null())
    return "";
  const std::string name = difference.value("baseline", "");
  return formatWithInterval(difference, "difference", "interval", 3, true) + (name == baseline ? "" : " " + name);
}

std::string stageOf(const Json &row) { return row.value("model", "") == "teacher" ? "-" : row.value("after", ""); }

/// Answers: one line a task, length and model.
std::string answersTable(const Json &rows, const Json &differences) {
  const std::string baseline = baselineOf(differences);
  std::vector<std::string> header = {"task", "length", "model", "after", "generated", "teacher-forced", "tokens"};
  if (!baseline.empty())
    header.push_back("over " + baseline);
  Table table(header, /*left=*/4);
  std::vector<std::pair<std::string, std::string>> cells; // Task and length, in the order of the rows.
  std::set<std::string> shared;
  for (const Json &row : rows) {
    const std::pair<std::string, std::string> cell = {row.value("task", ""), formatLength(row)};
    if (cell.first != "text" && std::find(cells.begin(), cells.end(), cell) == cells.end())
      cells.push_back(cell);
    std::string names;
    for (const Json &name : row.value("shared", Json::array()))
      names += (names.empty() ? "" : ", ") + name.get<std::string>();
    if (!names.empty())
      shared.insert(names + " (" + cell.first + ")");
  }
  if (cells.empty())
    return "";
  std::string lastTask;
  bool ofGenerated = false, ofForced = false; // What there are differences of.
  for (const auto &[task, length] : cells) {
    bool first = true;
    for (const Json &row : rows) {
      if (row.value("task", "") != task || formatLength(row) != length)
        continue;
      const Json forced = row.value("teacher_forced", Json()), generated = row.value("generated", Json());
      std::vector<std::string> line = {task == lastTask ? "" : task,
                                       first ? length : "",
                                       row.value("model", ""),
                                       stageOf(row),
                                       formatWithInterval(generated, "answers", "interval"),
                                       formatWithInterval(forced, "answers", "interval"),
                                       formatWithInterval(forced, "tokens", "")};
      if (!baseline.empty()) {
        const Json difference =
            findDifference(differences, row, generated.is_object() ? "generated" : "teacher_forced");
        (generated.is_object() ? ofGenerated : ofForced) |= !difference.is_null();
        line.push_back(formatDifference(difference, baseline));
      }
      table.add(line);
      lastTask = task;
      first = false;
    }
  }
  std::string text = "Answers right in every token, with intervals of 95 %. generated: the model's own greedy tokens.\n"
                     "teacher-forced: each token predicted after the true ones; tokens: the share of these.\n";
  if (ofGenerated || ofForced)
    text += "over " + baseline + (baseline == "the best" ? " of the baselines" : "") +
            ": difference of the share that is " +
            (!ofForced      ? "generated"
             : !ofGenerated ? "teacher-forced"
                            : "generated (teacher-forced where none is)") +
            ", paired by sample.\n";
  text += "\n" + table.print();
  if (!shared.empty()) {
    text += "\n  In common to the samples of training, selection and evaluation:";
    for (const std::string &line : shared)
      text += (line == *shared.begin() ? " " : "; ") + line;
    text += "\n";
  }
  return text + "\n";
}

/// The models: which layers each keeps, and its perplexity.
std::string modelsTable(const Json &rows, const Json &differences,
                        const std::function<std::string(const std::string &)> &keptOf) {
  const std::string baseline = baselineOf(differences);
  Json texts = Json::array();
  std::vector<std::pair<std::string, std::string>> models;
  for (const Json &row : rows) {
    if (row.value("task", "") == "text")
      texts.push_back(row);
    const std::pair<std::string, std::string> model = {row.value("model", ""), stageOf(row)};
    if (std::find(models.begin(), models.end(), model) == models.end())
      models.push_back(model);
  }
  std::vector<std::string> header = {"model", "after", "kept"};
  if (!texts.empty())
    header.push_back("perplexity");
  if (!texts.empty() && !baseline.empty())
    header.push_back("nats over " + baseline);
  Table table(header, /*left=*/3);
  for (const auto &[model, after] : models) {
    std::vector<std::string> line = {model, after, keptOf(model)};
    for (const Json &row : texts)
      if (row.value("model", "") == model && stageOf(row) == after) {
        line.push_back(formatWithInterval(row, "cross_entropy", "cross_entropy_interval", 2, false, std::exp));
        if (!baseline.empty())
          line.push_back(formatDifference(findDifference(differences, row, "cross_entropy"), baseline));
      }
    line.resize(header.size());
    table.add(line);
  }
  std::string text = "Layers with softmax attention";
  if (!texts.empty())
    text += "; perplexity on text that no other stage reads, in windows of " + formatLength(texts[0]) + " tokens";
  return text + "\n\n" + table.print() + "\n";
}

/// A line for each of several kinds of layers beside those with full attention: "sliding_window in 0 1 3". Of one kind
/// the spec has told.
std::string describeOthers(const Json &selection) {
  std::map<std::string, std::vector<int64_t>> layers;
  const Json choice = selection.value("choice", Json::array());
  for (size_t layer = 0; layer < choice.size(); ++layer)
    if (choice[layer] != "full")
      layers[choice[layer].get<std::string>()].push_back(static_cast<int64_t>(layer));
  std::string text;
  for (const auto &[name, list] : layers)
    if (layers.size() > 1)
      text += name + " in " + formatLayers(list) + "\n";
  return text;
}

double costNumber(const Json &record, const char *name) {
  return record.contains(name) && record[name].is_number() ? record[name].get<double>() : 0;
}

/// What the comparison with transformers found (check_export.py), in brackets.
std::string describeCheck(const Json &check) {
  auto largest = [&](const char *member) {
    double value = 0;
    for (const auto &[way, difference] : check.at(member).items()) {
      if (!difference.is_number()) // One of the two gave no number.
        return std::string("nan");
      value = std::max(value, difference.get<double>());
    }
    char number[32];
    std::snprintf(number, sizeof number, "%.1e", value);
    return std::string(number);
  };
  const std::string verdict = check.value("verdict", "");
  if (verdict == "agreement")
    return " (log-probabilities agree with transformers to " + largest("fp32") + ")";
  if (verdict == "rounding")
    return " (log-probabilities agree with transformers to " + largest("fp64") + " in fp64; fp32 rounds by " +
           largest("noise") + ")";
  if (check.contains("loading"))
    return " (transformers loads something else than it holds)";
  return " (log-probabilities DIFFER from transformers by " + largest("fp32") + ")";
}

/// What the data stage read: members `texts` (path, documents, tokens, dropped) and `tasks` (name, path, rows, dropped
/// and long, those of the rows that no length of the task holds).
StatusOr<Json> readSources(const RunDirectory &run) {
  std::error_code error;
  Json data = {{"texts", Json::array()}, {"tasks", Json::array()}};
  if (const fs::path text = run.file("data/text.json"); fs::exists(text, error)) {
    MORPH_ASSIGN_OR_RETURN(const Json content, readJson(text.string()));
    data["texts"] = content.value("sources", Json::array());
  }
  for (const TaskSpec &task : run.resolved().tasks)
    if (const fs::path file = run.file("data/task-" + task.name + ".json"); fs::exists(file, error)) {
      MORPH_ASSIGN_OR_RETURN(const Json content, readJson(file.string()));
      data["tasks"].push_back({{"name", task.name}});
      for (const char *name : {"path", "rows", "dropped", "long"})
        data["tasks"].back()[name] = content.value(name, Json());
    }
  return data;
}

} // namespace

std::string morph::formatWithInterval(const Json &part, const char *value, const char *interval, int digits, bool sign,
                                      double (*transform)(double)) {
  if (!part.is_object() || !part.contains(value) || !part[value].is_number())
    return "-";
  const auto number = [&](double x) { return transform ? transform(x) : x; };
  std::string text = formatFixed(number(part[value].get<double>()), digits);
  if (sign && text[0] != '-')
    text.insert(0, "+");
  const Json limits = part.value(interval, Json());
  if (!limits.is_array() || limits.size() != 2)
    return text;
  const double low = number(limits[0].get<double>()), high = number(limits[1].get<double>());
  return text + " [" + (digits == 3 ? shortNumber(low) : formatFixed(low, digits)) + " " +
         (digits == 3 ? shortNumber(high) : formatFixed(high, digits)) + "]";
}

std::string morph::formatLength(const Json &row) {
  std::string text = std::to_string(row.value("length", int64_t(0)));
  if (row.value("depth", Json()).is_number())
    text += " at " + formatFixed(row["depth"].get<double>(), 2);
  return text;
}

StatusOr<Json> morph::summarize(const RunDirectory &run, const std::vector<std::string> &wholeStages,
                                const std::vector<Json> &stageRecords) {
  std::error_code error;
  auto isWhole = [&](const std::string &stage) {
    return std::find(wholeStages.begin(), wholeStages.end(), stage) != wholeStages.end();
  };
  Json summary = {{"version", 1}, {"run", run.root().string()}, {"name", run.resolved().name}};
  for (const char *name : {"selection", "evaluation"}) {
    const fs::path file = run.file(std::string(name) + ".json");
    if (!fs::exists(file, error))
      continue;
    MORPH_ASSIGN_OR_RETURN(summary[name], readJson(file.string()));
  }
  if (isWhole("data")) {
    MORPH_ASSIGN_OR_RETURN(summary["data"], readSources(run));
  }
  summary["differences"] = pairedDifferences(summary.value("evaluation", Json::array()));
  const std::string baselines = "baselines/";
  for (const std::string &stage : wholeStages) {
    if (stage.rfind(baselines, 0) != 0)
      continue;
    MORPH_ASSIGN_OR_RETURN(const Json selection, readJson(run.file(stage + "/selection.json").string()));
    const std::string name = stage.substr(baselines.size());
    summary["baselines"][name] = selection.value("kept", Json::array());
    summary["choices"][name] = selection.value("choice", Json::array());
  }
  if (summary.contains("selection"))
    summary["choices"]["selected"] = summary["selection"].value("choice", Json::array());
  if (const fs::path full = run.file("plans/decode-teacher.json"), hybrid = run.file("plans/decode-selected.json");
      isWhole("select") && fs::exists(full, error) && fs::exists(hybrid, error)) {
    MORPH_ASSIGN_OR_RETURN(const plan::Plan fullPlan, plan::readPlan(full.string()));
    MORPH_ASSIGN_OR_RETURN(const plan::Plan hybridPlan, plan::readPlan(hybrid.string()));
    summary["cache"] = cacheByContext(fullPlan, hybridPlan, 1024);
  }
  // FLOPs of stages that do not count their own: those a token of its plan, from the estimate.
  PlanFiles plans;
  for (const auto &[program, file] : {std::pair<std::string, std::string>{"align", "align"},
                                      {"gates", "gates"},
                                      {"pretrain", "pretrain"},
                                      {"distill", "distill-selected"},
                                      {"finetune", "finetune-selected"}})
    if (fs::exists(run.file("plans/" + file + ".json"), error))
      plans[program] = run.file("plans/" + file + ".json");
  for (int wave = 1; fs::exists(run.file("plans/align-" + std::to_string(wave) + ".json"), error); ++wave)
    plans["align-" + std::to_string(wave)] = run.file("plans/align-" + std::to_string(wave) + ".json");
  std::map<std::string, double> flopsPerToken;
  if (auto costs = estimateStages(run.resolved(), plans, {variantsOf(run.resolved()).back()}); costs.ok())
    for (const StageCost &cost : *costs)
      if (cost.tokens > 0)
        flopsPerToken[cost.stage] = cost.flops / cost.tokens;
  summary["stages"] = Json::array();
  for (const Json &record : stageRecords) {
    Json line = {{"stage", record.value("stage", "")}, {"seconds", costNumber(record, "seconds")}};
    const std::string kind = line["stage"].get<std::string>();
    const double tokens = costNumber(record, "tokens");
    double flops = costNumber(record, "flops");
    if (flops == 0)
      if (const auto found = flopsPerToken.find(kind.substr(0, kind.find('/'))); found != flopsPerToken.end())
        flops = tokens * found->second;
    line["tokens"] = tokens;
    line["flops"] = flops;
    for (const char *name : {"memory_bytes", "unread_share"})
      if (record.contains(name))
        line[name] = record[name];
    summary["stages"].push_back(line);
  }
  for (const char *folder : {"hybrid", "base"})
    if (isWhole(folder))
      summary[folder] = run.file(folder).string();
  if (isWhole("hybrid")) {
    MORPH_ASSIGN_OR_RETURN(const Json content, readJson(run.file("hybrid/conversion_manifest.json").string()));
    summary["check"] = content.value("check", Json());
  }
  return summary;
}

std::string morph::printSeeds(const Json &pooled) {
  const auto seeds = pooled["seeds"].get<std::vector<int64_t>>();
  std::string text = "\n" + pooled.value("name", "") + ", seeds " + formatLayers(seeds) +
                     ": means over them; intervals are over seeds and samples.\n\n";
  const Json rows = pooled.value("evaluation", Json::array()), differences = pooled.value("differences", Json::array());
  text += answersTable(rows, differences);
  // Each seed has layers of its own: the models' table has those that all keep.
  const Json kept = pooled.value("kept", Json::object());
  text += modelsTable(rows, differences, [&](const std::string &model) -> std::string {
    if (model == "teacher")
      return "all";
    const Json lists = kept.value(model, Json::array());
    const bool isOne = std::all_of(lists.begin(), lists.end(), [&](const Json &list) { return list == lists.front(); });
    return lists.empty() ? "" : isOne ? formatLayers(lists.front().get<std::vector<int64_t>>()) : "by seed, below";
  });
  std::vector<std::string> header = {"seed"};
  for (const auto &[model, lists] : kept.items())
    header.push_back(model);
  Table table(header, /*left=*/header.size());
  for (size_t s = 0; s < seeds.size(); ++s) {
    std::vector<std::string> line = {std::to_string(seeds[s])};
    for (const auto &[model, lists] : kept.items())
      line.push_back(s < lists.size() ? formatLayers(lists[s].get<std::vector<int64_t>>()) : "");
    table.add(line);
  }
  text += "Layers with softmax attention by seed\n\n" + table.print();
  if (pooled.contains("report"))
    text += "\nThe report: " + formatPath(pooled["report"].get<std::string>()) + "\n";
  return text;
}

std::string morph::printSummary(const Json &summary) {
  std::string text = "\n";
  const Json selection = summary.value("selection", Json::object());
  if (!selection.empty()) {
    const std::vector<int64_t> kept = selection.value("kept", std::vector<int64_t>());
    text += "Full attention stays in " + std::to_string(kept.size()) + " of " +
            std::to_string(selection.value("layers", int64_t(0))) + " layers: " + formatLayers(kept) + " (" +
            selection.value("method", "") + ")\n" + describeOthers(selection) + "\n";
  }
  const Json rows = summary.value("evaluation", Json::array());
  if (!rows.empty()) {
    const Json differences = summary.value("differences", Json::array());
    text += answersTable(rows, differences);
    text += modelsTable(rows, differences, [&](const std::string &model) -> std::string {
      if (model == "teacher")
        return "all";
      return formatLayers(model == "selected"
                              ? selection.value("kept", std::vector<int64_t>())
                              : summary.value("baselines", Json::object()).value(model, std::vector<int64_t>()));
    });
  }
  Table costs({"stage", "tokens", "FLOPs", "time"});
  double total = 0;
  for (const Json &stage : summary.value("stages", Json::array())) {
    const double tokens = costNumber(stage, "tokens"), flops = costNumber(stage, "flops");
    total += costNumber(stage, "seconds");
    costs.add({stage.value("stage", ""), tokens > 0 ? formatCount(tokens) : "-", flops > 0 ? formatCount(flops) : "-",
               formatDuration(costNumber(stage, "seconds"))});
  }
  costs.add({"all", "", "", formatDuration(total)});
  text += costs.print() + "\n";
  if (summary.contains("hybrid")) {
    text += "The hybrid: " + formatPath(summary["hybrid"].get<std::string>());
    if (const Json check = summary.value("check", Json()); check.is_object())
      text += describeCheck(check);
    text += "\n";
  }
  if (summary.contains("base"))
    text += "The base model: " + formatPath(summary["base"].get<std::string>()) + "\n";
  if (summary.contains("report"))
    text += "The report: " + formatPath(summary["report"].get<std::string>()) + "\n";
  return text;
}
