// SPDX-License-Identifier: Apache-2.0

#include "tools/morph/Pipeline.h"

#include "tools/morph/Report.h"

#include <chrono>
#include <cstdio>

using namespace morph;

namespace {

double secondsSince(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// What morph-run takes beside its tensors: LibTorch's code and data, the heap's slack.
constexpr double kProgramBytes = 300e6;

} // namespace

std::vector<std::string> Pipeline::variants() const {
  std::vector<std::string> names = resolved_.evaluate.baselines;
  names.push_back("selected");
  return names;
}

size_t Pipeline::countStages(Until until) const {
  if (resolved_.pretrain)
    return 4; // data, pretrain, base, evaluate
  // data, align (where it has steps), select
  const size_t first = resolved_.align.steps > 0 ? 3 : 2;
  if (until == Until::Select)
    return first;
  const size_t trained = (resolved_.distill.steps > 0) + (resolved_.finetune.steps > 0);
  const size_t all = variants().size();
  // Those; the teacher's evaluation; each variant's selection, trainings and evaluations; export.
  return first + 1 + (all - 1) + all * (1 + 2 * trained) + 1;
}

Status Pipeline::runStage(const std::string &folder, const std::string &title, const StageKey &stageKey,
                          const Body &body) {
  const std::string key = StageKey(stageKey).finish();
  const StageFolder stage(run_.root(), folder);
  const bool counted = !title.empty();
  const std::string number = "[" + std::to_string(records_.size() + 1) + "/" + std::to_string(stages_) + "] ";
  Json record;
  if (std::optional<Json> finished = stage.finished(key)) {
    record = *finished;
    if (counted)
      std::fprintf(stderr, "%s%s: done before (%s)\n", number.c_str(), title.c_str(),
                   formatDuration(record.value("seconds", 0.0)).c_str());
  } else {
    MORPH_ASSIGN_OR_RETURN(const double before, stage.begin(key));
    if (counted)
      std::fprintf(stderr, "%s%s%s\n", number.c_str(), title.c_str(), before > 0 ? " (continued)" : "");
    const auto begin = std::chrono::steady_clock::now();
    const Status status = body(stage.partialPath());
    const double seconds = before + secondsSince(begin);
    if (!status.ok() || stopSignal()) {
      // Best effort: the disk may be full, which must not hide the error.
      (void)stage.pause(key, seconds);
      if (stopSignal())
        return Status::failed("");
      if (status.message().empty()) {
        // The stage's program has said what is wrong; its kind of exit code stays.
        const std::string message = "stage '" + folder + "' failed; the reason stands above";
        return status.code() == StatusCode::InvalidInput
                   ? Status::invalid(message)
                   : Status::failed(message, "the same command continues with this stage");
      }
      return Status(status).withContext("stage '" + folder + "'");
    }
    record = {{"seconds", seconds}};
    std::error_code error;
    // What the runtime says of the stage: tokens and FLOPs, and time without the interruptions.
    for (const char *file : {"align.json", "distill.json", "finetune.json", "stats.json", "selection.json"}) {
      if (!fs::exists(stage.partialPath() / file, error))
        continue;
      MORPH_ASSIGN_OR_RETURN(const Json summary, readJson((stage.partialPath() / file).string()));
      const Json &cost = summary.contains("cost") ? summary["cost"] : summary;
      for (const char *name : {"tokens", "flops", "seconds"})
        if (cost.contains(name) && cost[name].is_number())
          record[name] = cost[name];
    }
    // The most that its tensors held, in the part that was run last.
    if (const fs::path memory = stage.partialPath() / "memory.json"; fs::exists(memory, error)) {
      MORPH_ASSIGN_OR_RETURN(const Json content, readJson(memory.string()));
      MORPH_ASSIGN_OR_RETURN(record["memory_bytes"], jsonGet<int64_t>(content, "peak_bytes", memory.string()));
    }
    if (const fs::path rows = stage.partialPath() / "rows.json"; fs::exists(rows, error)) {
      MORPH_ASSIGN_OR_RETURN(const Json evaluation, readJson(rows.string()));
      double tokens = 0;
      for (const Json &row : evaluation)
        tokens += row.value("samples", 0.0) * row.value("length", 0.0);
      record["tokens"] = tokens;
    }
    MORPH_RETURN_IF_ERROR(stage.commit(key, record));
    record["now"] = true;
  }
  record["stage"] = folder;
  keys_[folder] = key;
  if (counted)
    records_.push_back(record);
  return Status();
}

/// IR and plans of the base, and what can be known to fail before the first step.
Status Pipeline::prepare() {
  MORPH_RETURN_IF_ERROR(compileBase());
  return preflight();
}

bool Pipeline::isWhole(const std::string &stage) const {
  auto whole = [&](const std::string &folder) {
    std::error_code error;
    return fs::exists(run_.file(folder) / "stage.json", error);
  };
  const bool evaluation = stage == "evaluate";
  if (!evaluation && stage != "distill" && stage != "finetune")
    return whole(stage);
  if (evaluation && !whole("evaluate/teacher"))
    return false;
  if (resolved_.pretrain)
    return true;
  for (const std::string &variant : variants()) {
    const StatusOr<bool> linear = hasLinear(variant);
    if (!linear.ok() || (evaluation && !whole("evaluate/" + variant + "-selection")))
      return false;
    for (const std::string training : {"distill", "finetune"})
      if ((evaluation || stage == training) && trains(training, *linear) &&
          !whole(evaluation ? "evaluate/" + variant + "-" + training : stage + "/" + variant))
        return false;
  }
  return true;
}

Status Pipeline::refuse(const std::string &message, const std::string &hint) const {
  if (!force_)
    return Status::failed(message, hint);
  printNote(message + "; --force runs it all the same");
  return Status();
}

Status Pipeline::preflight() {
  PlanFiles plans;
  for (const char *program : {"pretrain", "align", "gates"})
    plans[program] = planFile(program);
  plans["score"] = planFile("score-teacher");
  // Which layers are kept is not known yet; any choice of the budget's size costs the same.
  for (const char *program : {"distill", "finetune"})
    plans[program] = planFile(std::string(program) + "-estimate");
  std::error_code error;
  for (auto it = plans.begin(); it != plans.end();)
    it = fs::exists(it->second, error) ? std::next(it) : plans.erase(it);
  MORPH_ASSIGN_OR_RETURN(const std::vector<StageCost> costs,
                         estimateStages(resolved_, plans, static_cast<int64_t>(variants().size())));

  double disk = 0, checkpoint = 0;
  const double memory = availableMemory();
  for (const StageCost &cost : costs) {
    // A stage that is whole needs no more room.
    if (isWhole(cost.stage))
      continue;
    if (cost.memoryBytes + kProgramBytes > memory)
      MORPH_RETURN_IF_ERROR(
          refuse("stage '" + cost.stage + "' needs about " + formatBytes(cost.memoryBytes + kProgramBytes) +
                     " of memory, and " + formatBytes(memory) + " are free",
                 "lower " + cost.stage + ".batch or the lengths, set model.precision=\"bf16\", or give --force"));
    disk += cost.diskBytes;
    checkpoint = std::max(checkpoint, cost.checkpointBytes);
  }
  // While a checkpoint is replaced there are two.
  disk += 2 * checkpoint;
  if (!fs::exists(run_.file("hybrid/stage.json"), error) && !resolved_.model.path.empty())
    for (const fs::directory_entry &entry : fs::directory_iterator(baseFolder(), error))
      if (entry.is_regular_file(error))
        disk += static_cast<double>(entry.file_size(error));
  const double available = availableDisk(run_.root());
  if (disk > available)
    MORPH_RETURN_IF_ERROR(refuse("the run needs about " + formatBytes(disk) + " of disk in " + run_.root().string() +
                                     ", and " + formatBytes(available) + " are free",
                                 "free some space, name a folder on another disk with --out, or give --force"));
  // Every weight is looked at before the first step; later runs in the folder have the stages' own checks.
  if (resolved_.pretrain || fs::exists(run_.file("align/stage.json"), error))
    return Status();
  MORPH_ASSIGN_OR_RETURN(const std::string program, tools_.program("morph-run"));
  return runHelper({{program, "check", "--plan", "score=" + planFile("score-teacher").string(), "--weights",
                     baseFolder().string()}});
}

/// Tasks can be checked once they are tokens, which is before the first step still.
Status Pipeline::checkTasks() {
  std::error_code error;
  if (resolved_.pretrain || fs::exists(run_.file("align/stage.json"), error))
    return Status();
  MORPH_ASSIGN_OR_RETURN(const std::string program, tools_.program("morph-run"));
  return runHelper({{program, "check", "--spec", run_.file("resolved.json").string(), "--run", run_.root().string()}});
}

Status Pipeline::mergeEvaluation() {
  Json rows = Json::array();
  for (const std::string &folder : evaluated_) {
    MORPH_ASSIGN_OR_RETURN(const Json part, readJson(run_.file(folder + "/rows.json").string()));
    for (const Json &row : part.is_object() ? part.value("rows", Json::array()) : part)
      rows.push_back(row);
  }
  return writeJson(run_.file("evaluation.json"), rows);
}

Status Pipeline::execute(Until until) {
  stages_ = countStages(until);
  if (Status status = prepare(); !status.ok()) {
    run_.removeIfNew();
    return status;
  }
  MORPH_RETURN_IF_ERROR(data());
  if (Status status = checkTasks(); !status.ok()) {
    run_.removeIfNew();
    return status;
  }
  if (resolved_.pretrain) {
    MORPH_RETURN_IF_ERROR(pretrain());
    MORPH_RETURN_IF_ERROR(evaluate("teacher", "selection"));
    return mergeEvaluation();
  }
  MORPH_RETURN_IF_ERROR(align());
  MORPH_RETURN_IF_ERROR(select("selected"));
  MORPH_RETURN_IF_ERROR(copyFile(run_.file("select/selection.json"), run_.file("selection.json")));
  if (until == Until::Select)
    return Status();

  MORPH_RETURN_IF_ERROR(evaluate("teacher", "selection"));
  for (const std::string &variant : variants()) {
    if (variant != "selected")
      MORPH_RETURN_IF_ERROR(select(variant));
    MORPH_RETURN_IF_ERROR(compileHybrid(variant));
    MORPH_RETURN_IF_ERROR(evaluate(variant, "selection"));
  }
  for (const char *stage : {"distill", "finetune"}) {
    if (trainingSection(stage).steps == 0)
      continue;
    for (const std::string &variant : variants()) {
      MORPH_ASSIGN_OR_RETURN(const bool linear, hasLinear(variant));
      if (!trains(stage, linear)) {
        printNote("no layer of '" + variant + "' has linear attention: " + stage + " has nothing to train");
        stages_ -= 2;
        continue;
      }
      MORPH_RETURN_IF_ERROR(train(stage, variant));
      MORPH_RETURN_IF_ERROR(evaluate(variant, stage));
    }
  }
  MORPH_RETURN_IF_ERROR(mergeEvaluation());
  return exportHybrid();
}

Status Pipeline::exportOnly() {
  std::error_code error;
  if (!fs::exists(run_.file("selection.json"), error))
    return Status::invalid(run_.root().string() + " has no selection.json yet",
                           "'morph run' makes it; export comes after it");
  stages_ = 1;
  // Keys of the stages that the export builds on, as they are.
  for (const std::string folder : {"align", "select", "distill/selected", "finetune/selected"})
    if (fs::exists(run_.file(folder) / "stage.json", error)) {
      MORPH_ASSIGN_OR_RETURN(const Json record, readJson((run_.file(folder) / "stage.json").string()));
      keys_[folder] = record.value("key", "");
    }
  MORPH_RETURN_IF_ERROR(compileHybrid("selected"));
  return exportHybrid();
}
