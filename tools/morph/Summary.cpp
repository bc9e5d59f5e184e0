// SPDX-License-Identifier: Apache-2.0

#include "tools/morph/Summary.h"

#include "tools/morph/Report.h"

#include <algorithm>
#include <cmath>
#include <map>

using namespace morph;

namespace {

/// Means over all rows of one model, stage and task; each row weighs as many samples as it has.
struct Cell {
  double samples = 0, accuracy = 0, variance = 0, tokenAccuracy = 0, tokenSamples = 0;
  double perplexity = 0;

  void add(const Json &row) {
    const double count = row.value("samples", 1.0);
    const double error = row.value("standard_error", 0.0);
    samples += count;
    accuracy += count * row.value("accuracy", 0.0);
    variance += count * count * error * error;
    if (row.contains("token_accuracy") && row["token_accuracy"].is_number()) {
      tokenSamples += count;
      tokenAccuracy += count * row["token_accuracy"].get<double>();
    }
    if (row.contains("perplexity") && row["perplexity"].is_number())
      perplexity = row["perplexity"];
  }
};

/// The evaluation's rows by (model, after), in their order, and by task.
struct Evaluation {
  std::vector<std::pair<std::string, std::string>> models;
  std::vector<std::string> tasks;
  std::map<std::pair<std::string, std::string>, std::map<std::string, Cell>> cells;

  explicit Evaluation(const Json &rows) {
    for (const Json &row : rows) {
      const std::pair<std::string, std::string> model = {row.value("model", ""), row.value("after", "")};
      const std::string task = row.value("task", "");
      if (!cells.count(model))
        models.push_back(model);
      if (task != "text" && std::find(tasks.begin(), tasks.end(), task) == tasks.end())
        tasks.push_back(task);
      cells[model][task].add(row);
    }
  }
};

std::string shortFraction(double value) { return formatFixed(value, 3); }

std::string formatCell(const Cell &cell) {
  if (cell.samples == 0)
    return "-";
  return shortFraction(cell.accuracy / cell.samples) + " ±" +
         formatFixed(std::sqrt(cell.variance) / cell.samples, 3).substr(1);
}

double costNumber(const Json &record, const char *name) {
  return record.contains(name) && record[name].is_number() ? record[name].get<double>() : 0;
}

} // namespace

StatusOr<Json> morph::summarize(const RunDirectory &run, const std::vector<std::string> &wholeStages,
                                const std::vector<Json> &stageRecords) {
  std::error_code error;
  auto isWhole = [&](const std::string &stage) {
    return std::find(wholeStages.begin(), wholeStages.end(), stage) != wholeStages.end();
  };
  Json summary = {{"run", run.root().string()}, {"name", run.resolved().name}};
  for (const char *name : {"selection", "evaluation"}) {
    const fs::path file = run.file(std::string(name) + ".json");
    if (!fs::exists(file, error))
      continue;
    MORPH_ASSIGN_OR_RETURN(summary[name], readJson(file.string()));
  }
  const std::string baselines = "baselines/";
  for (const std::string &stage : wholeStages) {
    if (stage.rfind(baselines, 0) != 0)
      continue;
    MORPH_ASSIGN_OR_RETURN(const Json selection, readJson(run.file(stage + "/selection.json").string()));
    summary["baselines"][stage.substr(baselines.size())] = selection.value("kept", Json::array());
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
  std::map<std::string, double> flopsPerToken;
  if (auto costs = estimateStages(run.resolved(), plans, 1); costs.ok())
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
    if (record.contains("memory_bytes"))
      line["memory_bytes"] = record["memory_bytes"];
    summary["stages"].push_back(line);
  }
  for (const char *folder : {"hybrid", "base"})
    if (isWhole(folder))
      summary[folder] = run.file(folder).string();
  if (isWhole("hybrid")) {
    MORPH_ASSIGN_OR_RETURN(const Json content, readJson(run.file("hybrid/conversion_manifest.json").string()));
    summary["max_logit_difference"] = content.value("max_logit_difference", Json());
  }
  return summary;
}

std::string morph::printSummary(const Json &summary) {
  std::string text = "\n";
  const Json selection = summary.value("selection", Json::object());
  if (!selection.empty()) {
    const std::vector<int64_t> kept = selection.value("kept", std::vector<int64_t>());
    text += "Full attention stays in " + std::to_string(kept.size()) + " of " +
            std::to_string(selection.value("layers", int64_t(0))) + " layers: " + formatLayers(kept) + " (" +
            selection.value("method", "") + ")\n\n";
  }
  const Evaluation evaluation(summary.value("evaluation", Json::array()));
  if (!evaluation.models.empty()) {
    bool hasTokens = false, hasText = false;
    for (const auto &[model, cells] : evaluation.cells)
      for (const auto &[task, cell] : cells) {
        hasTokens |= task != "text" && cell.tokenSamples > 0;
        hasText |= task == "text";
      }
    std::vector<std::string> header = {"model", "after", "kept"};
    for (const std::string &task : evaluation.tasks) {
      header.push_back(task);
      if (hasTokens)
        header.push_back("tokens");
    }
    if (hasText)
      header.push_back("perplexity");
    Table table(header, /*left=*/3);
    for (const auto &model : evaluation.models) {
      const bool teacher = model.first == "teacher";
      std::string kept = "all";
      if (model.first == "selected")
        kept = formatLayers(selection.value("kept", std::vector<int64_t>()));
      else if (!teacher)
        kept = formatLayers(summary.value("baselines", Json::object()).value(model.first, std::vector<int64_t>()));
      std::vector<std::string> row = {model.first, teacher ? "-" : model.second, kept};
      const auto &cells = evaluation.cells.at(model);
      for (const std::string &task : evaluation.tasks) {
        const auto found = cells.find(task);
        const Cell cell = found == cells.end() ? Cell() : found->second;
        row.push_back(formatCell(cell));
        if (hasTokens)
          row.push_back(cell.tokenSamples ? shortFraction(cell.tokenAccuracy / cell.tokenSamples) : "-");
      }
      if (hasText) {
        const auto found = cells.find("text");
        row.push_back(found == cells.end() || found->second.perplexity == 0 ? "-"
                                                                            : formatFixed(found->second.perplexity, 2));
      }
      table.add(row);
    }
    text += "Recall: share of answers that are right in every token, with its standard error" +
            std::string(hasTokens ? "; tokens: share of the answers' tokens" : "") + "\n\n" + table.print() + "\n";
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
    text += "The hybrid: " + summary["hybrid"].get<std::string>();
    if (summary.value("max_logit_difference", Json()).is_number()) {
      char number[32];
      std::snprintf(number, sizeof number, "%.1e", summary["max_logit_difference"].get<double>());
      text += " (logits agree with transformers to " + std::string(number) + ")";
    }
    text += "\n";
  }
  if (summary.contains("base"))
    text += "The base model: " + summary["base"].get<std::string>() + "\n";
  return text;
}
