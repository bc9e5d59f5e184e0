// SPDX-License-Identifier: Apache-2.0

#include "tools/morph/Pipeline.h"

#include "runtime/base/Memory.h"
#include "tools/morph/HtmlReport.h"
#include "tools/morph/Report.h"
#include "tools/morph/Serving.h"

#include <algorithm>
#include <chrono>
#include <cstdio>

using namespace morph;

namespace {

double secondsSince(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// What morph-run takes beside its tensors: LibTorch's code and data, the heap's slack.
constexpr double kProgramBytes = 300e6;

/// What is wrong with what lies in a stage's folder; empty where nothing lies there.
std::string describeDifference(const StageFolder &stage, const StageKey &key) {
  if (const std::vector<std::string> changed = stage.changedInputs(key); !changed.empty())
    return "was made from other inputs: " + joinNames(changed);
  if (const std::vector<std::string> damaged = stage.damagedFiles(); !damaged.empty())
    return "has lost files, or parts of them: " + joinNames(damaged);
  return "";
}

} // namespace

size_t Pipeline::countStages() const {
  if (resolved_.pretrain)
    return 4; // data, pretrain, base, evaluate
  // data, align (where it has steps), select
  size_t first = resolved_.align.steps > 0 ? 3 : 2;
  if (std::any_of(variants_.begin(), variants_.end(), [](const Variant &variant) {
        const auto selector = parseSelectorName(variant.spec.select.method);
        return selector.ok() && distilsAlone(*selector);
      }))
    first += tiedGroups(resolved_.space).size();
  if (goal_ == Goal::Selection)
    return first;
  if (goal_ == Goal::Audit) { // What is distilled is known once it is chosen.
    std::set<int64_t> budgets;
    for (const Variant &variant : variants_)
      budgets.insert(variant.budget);
    return first - 1 + variants_.size() + budgets.size();
  }
  const size_t trained = (resolved_.distill.steps > 0) + (resolved_.finetune.steps > 0);
  const size_t all = variants_.size();
  // Those; the teacher's evaluation; each variant's selection, trainings and evaluations; export.
  return first + 1 + (all - 1) + all * (1 + 2 * trained) + 1;
}

Status Pipeline::runStage(const std::string &folder, const std::string &title, const std::optional<StageKey> &key,
                          const Body &body) {
  const StageFolder stage(run_.root(), folder);
  std::optional<Json> finished;
  if (key) {
    MORPH_ASSIGN_OR_RETURN(finished, stage.finished(*key));
  }
  if (mode_ == Mode::Look) {
    if (finished) {
      keys_[folder] = key->value();
      whole_.push_back(folder);
    } else {
      missing_[folder] = key ? describeDifference(stage, *key) : "";
    }
    return Status();
  }
  const bool counted = !title.empty();
  const std::string number = "[" + std::to_string(records_.size() + 1) + "/" + std::to_string(stages_) + "] ";
  Json record;
  if (finished) {
    record = *finished;
    if (counted)
      std::fprintf(stderr, "%s%s: done before (%s)\n", number.c_str(), title.c_str(),
                   formatDuration(record.value("seconds", 0.0)).c_str());
  } else {
    // What later stages made before is of other inputs from now on.
    MORPH_RETURN_IF_ERROR(publish());
    const std::string difference = describeDifference(stage, *key);
    MORPH_ASSIGN_OR_RETURN(const double before, stage.begin(*key));
    if (counted)
      std::fprintf(stderr, "%s%s%s\n", number.c_str(), title.c_str(), before > 0 ? " (continued)" : "");
    if (!difference.empty())
      printNote("what lies in " + folder + "/ " + difference);
    const auto begin = std::chrono::steady_clock::now();
    const Status status = body(stage.partialPath(), key->value());
    const double seconds = before + secondsSince(begin);
    if (!status.ok() || stopSignal()) {
      // Best effort: the disk may be full, which must not hide the error.
      (void)stage.pause(*key, seconds);
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
    // The most that its tensors held, in the part that was run last, and the share of the text that it does not read.
    if (const fs::path facts = stage.partialPath() / "facts.json"; fs::exists(facts, error)) {
      MORPH_ASSIGN_OR_RETURN(const Json content, readJson(facts.string()));
      MORPH_ASSIGN_OR_RETURN(record["memory_bytes"], jsonGet<int64_t>(content, "peak_bytes", facts.string()));
      MORPH_ASSIGN_OR_RETURN(record["unread_share"], jsonGet<double>(content, "unread_share", facts.string()));
    }
    if (const fs::path rows = stage.partialPath() / "rows.json"; fs::exists(rows, error)) {
      MORPH_ASSIGN_OR_RETURN(const Json evaluation, readJson(rows.string()));
      double tokens = 0;
      for (const Json &row : evaluation) {
        double samples = row.value("samples", 0.0);
        for (const char *measure : {"teacher_forced", "generated"})
          samples += row.value(measure, Json::object()).value("samples", 0.0);
        tokens += samples * row.value("length", 0.0);
      }
      record["tokens"] = tokens;
    }
    MORPH_RETURN_IF_ERROR(stage.commit(*key, record));
    record["now"] = true;
  }
  record["stage"] = folder;
  keys_[folder] = key->value();
  missing_.erase(folder);
  whole_.push_back(folder);
  if (counted)
    records_.push_back(record);
  return Status();
}

/// IR and plans of the base, which stages are whole, and what can be known to fail before the first step.
Status Pipeline::prepare() {
  MORPH_RETURN_IF_ERROR(compileBase());
  MORPH_RETURN_IF_ERROR(walk(Mode::Look));
  MORPH_RETURN_IF_ERROR(hashes_.save());
  return preflight();
}

bool Pipeline::isStageWhole(const std::string &stage) const {
  const bool evaluation = stage == "evaluate";
  if (stage == "select") {
    return std::all_of(variants_.begin(), variants_.end(),
                       [&](const Variant &variant) { return isWhole(selectionStage(variant.name)); });
  }
  if (goal_ == Goal::Audit && (stage == "judge" || stage == "distill"))
    return isAuditWhole(stage);
  if (!evaluation && stage != "distill" && stage != "finetune")
    return isWhole(stage);
  if (evaluation && !isWhole("evaluate/teacher"))
    return false;
  if (resolved_.pretrain)
    return true;
  for (const Variant &variant : variants_) {
    if (!isWhole(selectionStage(variant.name)))
      return false;
    const StatusOr<Choice> choice = choiceOf(variant);
    if (!choice.ok() || (evaluation && !isWhole("evaluate/" + variant.name + "-selection")))
      return false;
    for (const std::string training : {"distill", "finetune"})
      if ((evaluation || stage == training) && trains(training, hasTrained(variant.spec.space, *choice)) &&
          !isWhole(evaluation ? "evaluate/" + variant.name + "-" + training : stage + "/" + variant.name))
        return false;
  }
  return true;
}

Status Pipeline::refuse(Status error) const {
  if (!force_)
    return error;
  printNote(error.message() + "; --force runs it all the same");
  return Status();
}

Status Pipeline::preflight() {
  if (goal_ == Goal::Hybrid && !resolved_.pretrain && resolved_.export_.format == ExportSpec::Format::Native) {
    MORPH_ASSIGN_OR_RETURN(const TemporaryFolder folder, TemporaryFolder::create());
    MORPH_RETURN_IF_ERROR(findEngines(tools_, compiler_, resolved_, ir("paired"), folder.path()).status());
  }
  PlanFiles plans;
  for (const char *program : {"pretrain", "calibrate", "gates", "score-relaxed"})
    plans[program] = planFile(program);
  for (const std::string &wave : waves_)
    plans[wave] = planFile(wave);
  const bool audits = goal_ == Goal::Audit;
  if (audits)
    plans["judge"] = planFile("score-relaxed");
  // Which layers are kept is not known yet; the estimate is of the dearest choice.
  plans["distill"] = planFile("distill-estimate");
  if (!audits) {
    plans["finetune"] = planFile("finetune-estimate");
    plans["score"] = planFile("score-teacher");
    plans["decode-full"] = planFile("decode-teacher");
  }
  std::error_code error;
  for (auto it = plans.begin(); it != plans.end();)
    it = fs::exists(it->second, error) ? std::next(it) : plans.erase(it);
  MORPH_ASSIGN_OR_RETURN(std::vector<StageCost> costs, estimateStages(resolved_, plans, variants_));

  double disk = 0, working = 0;
  const auto deviceMemory = static_cast<double>(runtime_.deviceBytes);
  const double memory = deviceMemory > 0 ? deviceMemory : availableMemory();
  // Each process on this machine has the weights and its part of the values; each has a GPU of its own, or all the only
  // one.
  const int64_t sharing = runtime_.devices > 1 || !workers_.areChildren() ? 1 : workers_.count();
  for (StageCost &cost : costs) {
    // A stage that is whole needs no more room.
    if (isStageWhole(cost.stage))
      continue;
    const double most = memory / static_cast<double>(sharing) - kProgramBytes;
    if (divideAmong(resolved_, workers_.count(), most, cost) && sharded_.insert(cost.stage).second &&
        !resolved_.model.shard)
      printNote("stage '" + cost.stage + "': the frozen weights are divided among the " +
                std::to_string(workers_.count()) + " processes, as all of them do not fit in each");
    const std::string less = howToShrink(resolved_, cost);
    if (const std::string excess = explainExcess(resolved_, cost); !excess.empty())
      MORPH_RETURN_IF_ERROR(refuse(Status::invalid(excess, less + ", or raise model.memory_limit")));
    const double needed = static_cast<double>(sharing) * (cost.memory.bytes + kProgramBytes);
    if (needed > memory)
      MORPH_RETURN_IF_ERROR(refuse(Status::failed(
          "stage '" + cost.stage + "' needs about " + formatBytes(needed) + " of memory" +
              (sharing > 1 ? " in " + std::to_string(sharing) + " processes" : "") + ", and " + formatBytes(memory) +
              (deviceMemory > 0 ? " are in the GPU" : " are free"),
          "give --memory-limit, " + less + (sharing > 1 ? ", take fewer --processes" : "") + ", or give --force")));
    disk += cost.diskBytes;
    // While a checkpoint is replaced there are two.
    working = std::max(working, 2 * cost.checkpointBytes + cost.keptBytes);
  }
  disk += working;
  if (!audits && !isWhole("hybrid") && !resolved_.model.path.empty())
    for (const fs::directory_entry &entry : fs::directory_iterator(baseFolder(), error))
      if (entry.is_regular_file(error))
        disk += static_cast<double>(entry.file_size(error));
  const double available = availableDisk(run_.root());
  if (disk > available)
    MORPH_RETURN_IF_ERROR(
        refuse(Status::failed("the run needs about " + formatBytes(disk) + " of disk in " + run_.root().string() +
                                  ", and " + formatBytes(available) + " are free",
                              "free some space, name a folder on another disk with --out, or give --force")));
  // Every weight is looked at before the first step; later runs in the folder have the stages' own checks.
  if (resolved_.pretrain || isWhole("align"))
    return Status();
  MORPH_ASSIGN_OR_RETURN(const std::string program, tools_.program("morph-run"));
  return runHelper({{program, "check", "--plan", "score=" + planFile("score-teacher").string(), "--weights",
                     baseFolder().string()}});
}

/// Tasks can be checked once they are tokens, which is before the first step still.
Status Pipeline::checkTasks() {
  MORPH_ASSIGN_OR_RETURN(const std::string program, tools_.program("morph-run"));
  return runHelper({{program, "check", "--spec", run_.file("resolved.json").string(), "--run", run_.root().string()}});
}

Status Pipeline::publish() const {
  auto put = [&](const char *name, const std::optional<std::string> &text) -> Status {
    const fs::path file = run_.file(name);
    std::error_code error;
    if (!text)
      return removeAll(file);
    // A file that says the same stays as it is.
    if (fs::exists(file, error))
      if (const StatusOr<std::string> before = readTextFile(file.string()); before.ok() && *before == *text)
        return Status();
    return writeFile(file.string(), *text);
  };
  std::optional<std::string> selection, metrics;
  Json rows = Json::array();
  for (const std::string &stage : whole_) {
    std::error_code error;
    if (stage == "select") {
      MORPH_ASSIGN_OR_RETURN(selection, readTextFile(selectionFile("selected").string()));
    }
    if (stage.rfind("evaluate/", 0) == 0) {
      MORPH_ASSIGN_OR_RETURN(const Json part, readJson(run_.file(stage + "/rows.json").string()));
      rows.insert(rows.end(), part.begin(), part.end());
    }
    if (const fs::path file = run_.file(stage + "/metrics.jsonl"); fs::exists(file, error)) {
      MORPH_ASSIGN_OR_RETURN(const std::string lines, readTextFile(file.string()));
      metrics = metrics.value_or("") + lines;
    }
  }
  MORPH_RETURN_IF_ERROR(put("selection.json", selection));
  MORPH_RETURN_IF_ERROR(put("metrics.jsonl", metrics));
  // Of the run as it was; they are written anew at its end.
  for (const char *name : {kSummaryFile, kReportFile})
    MORPH_RETURN_IF_ERROR(put(name, std::nullopt));
  return put("evaluation.json", rows.empty() ? std::nullopt : std::optional(rows.dump(2) + "\n"));
}

Status Pipeline::execute(Goal goal) {
  goal_ = goal;
  stages_ = countStages();
  if (Status status = prepare(); !status.ok()) {
    run_.removeIfNew();
    return status;
  }
  MORPH_RETURN_IF_ERROR(walk(Mode::Run));
  // Selectors may have distilled, too.
  MORPH_RETURN_IF_ERROR(removeAll(teacherFolder()));
  return publish();
}

Status Pipeline::walk(Mode mode) {
  const bool alignWasWhole = isWhole("align");
  mode_ = mode;
  keys_.clear();
  whole_.clear();
  missing_.clear();
  records_.clear();
  trained_.clear();
  audited_.clear();
  MORPH_RETURN_IF_ERROR(data());
  if (mode_ == Mode::Run && !resolved_.pretrain && !alignWasWhole)
    if (Status status = checkTasks(); !status.ok()) {
      run_.removeIfNew();
      return status;
    }
  if (resolved_.pretrain) {
    MORPH_RETURN_IF_ERROR(pretrain());
    return evaluate("teacher", "selection");
  }
  // A choice that looks at no weights is made before any are trained: so is its error.
  MORPH_RETURN_IF_ERROR(selectUnmeasured());
  MORPH_RETURN_IF_ERROR(align());
  return goal_ == Goal::Audit ? walkAudit() : walkRun();
}

Status Pipeline::walkRun() {
  MORPH_RETURN_IF_ERROR(select(variants_.back()));
  if (goal_ == Goal::Selection)
    mode_ = Mode::Look;
  MORPH_RETURN_IF_ERROR(evaluate("teacher", "selection"));
  // A variant without a selection has nothing to look at yet.
  std::vector<std::pair<const Variant *, Choice>> chosen;
  for (const Variant &variant : variants_) {
    trained_.push_back(variant.name);
    if (variant.name != "selected")
      MORPH_RETURN_IF_ERROR(select(variant));
    if (!isWhole(selectionStage(variant.name)))
      continue;
    MORPH_ASSIGN_OR_RETURN(Choice choice, choiceOf(variant));
    MORPH_RETURN_IF_ERROR(compileHybrid(variant.name, variant.spec.space, choice));
    MORPH_RETURN_IF_ERROR(evaluate(variant.name, "selection"));
    chosen.push_back({&variant, std::move(choice)});
  }
  if (mode_ == Mode::Run)
    MORPH_RETURN_IF_ERROR(removeAll(choicesFolder()));
  for (const char *stage : {"distill", "finetune"}) {
    const bool isAsked = trainingSection(stage).steps > 0;
    for (const auto &[variant, choice] : chosen) {
      if (!isAsked)
        continue;
      if (trains(stage, hasTrained(variant->spec.space, choice))) {
        MORPH_RETURN_IF_ERROR(train(stage, variant->name));
        MORPH_RETURN_IF_ERROR(evaluate(variant->name, stage));
      } else if (mode_ == Mode::Run) {
        printNote(
            "no layer of '" + variant->name + "' has linear attention: " + stage +
            " has nothing to train (a lower budget, or linear.windows for layers with windows, would change that)");
        stages_ -= 2;
      }
    }
    if (mode_ == Mode::Run)
      MORPH_RETURN_IF_ERROR(removeAll(teacherFolder()));
  }
  return isWhole("select") ? exportHybrid() : Status();
}

Status Pipeline::exportOnly() {
  if (resolved_.pretrain)
    return Status::invalid(run_.root().string() + " is a run that makes a base model; it has no hybrid");
  MORPH_RETURN_IF_ERROR(compileBase());
  MORPH_RETURN_IF_ERROR(walk(Mode::Look));
  for (const std::string stage : {"data", "align", "select", "distill/selected", "finetune/selected"})
    if (const auto found = missing_.find(stage); found != missing_.end())
      return Status::invalid("stage '" + stage + "' of " + run_.root().string() +
                                 (found->second.empty() ? " is not made yet" : " " + found->second),
                             "'morph run' makes it; export comes after it");
  MORPH_RETURN_IF_ERROR(hashes_.save());
  stages_ = 1;
  mode_ = Mode::Run;
  records_.clear();
  return exportHybrid();
}
