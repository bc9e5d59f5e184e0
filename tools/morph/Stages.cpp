// SPDX-License-Identifier: Apache-2.0
// What each stage of a run is: its inputs, its key, and the program that does it.

#include "tools/morph/Pipeline.h"

#include "tools/morph/DataScript.h"
#include "tools/morph/Report.h"

#include <algorithm>
#include <cstdio>

using namespace morph;

namespace {

/// "80 steps of 1 x 1024 tokens".
std::string describeSteps(const TrainingSpec &section) {
  return std::to_string(section.steps) + " steps of " + std::to_string(section.batch * section.accumulate) + " x " +
         std::to_string(section.length) + " tokens";
}

/// The files of a folder for whose names `isWanted` holds, in a fixed order.
std::vector<fs::path> filesIn(const fs::path &folder, const std::function<bool(const fs::path &name)> &isWanted) {
  std::vector<fs::path> files;
  std::error_code error;
  for (const fs::directory_entry &entry : fs::directory_iterator(folder, error))
    if (std::error_code ignored; entry.is_regular_file(ignored) && isWanted(entry.path().filename()))
      files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

/// What a base model computes by.
bool isOfModel(const fs::path &name) { return name == "config.json" || name.extension() == ".safetensors"; }

/// What transformers may read of a folder to make tokens of text: the tokenizer, its vocabulary, templates, and the
/// type of the model.
bool isOfTokenizer(const fs::path &name) {
  static const std::set<std::string> names = {"config.json",
                                              "tokenizer.json",
                                              "tokenizer_config.json",
                                              "special_tokens_map.json",
                                              "added_tokens.json",
                                              "chat_template.json",
                                              "vocab.json",
                                              "vocab.txt",
                                              "merges.txt"};
  return names.count(name.string()) != 0 || name.extension() == ".jinja" || name.extension() == ".model";
}

/// What an export copies of the base beside its tokenizer.
bool isOfExport(const fs::path &name) { return name == "generation_config.json" || name == "LICENSE"; }

/// The files of a tokenizer: of a folder, or of the folder in which `path`, a file, lies.
std::vector<fs::path> tokenizerFiles(const fs::path &path) {
  std::error_code error;
  if (path.empty() || fs::is_directory(path, error))
    return filesIn(path, isOfTokenizer);
  return filesIn(fs::absolute(path, error).parent_path(),
                 [&](const fs::path &name) { return isOfTokenizer(name) || name == path.filename(); });
}

/// The name of the plan that computes what the plan `name` does, without gradients.
std::string forwardPlan(const std::string &name) { return "forward-" + name; }

/// Takes out of a space which lines of the spec say what: moving a line changes nothing.
void removeSources(Json &space) {
  for (const char *list : {"allowed", "ties", "counts", "budgets"})
    for (Json &constraint : space.at(list))
      constraint.erase("source");
}

} // namespace

fs::path Pipeline::baseFolder() const {
  if (resolved_.pretrain)
    return run_.file("base");
  return resolved_.model.path;
}

std::string Pipeline::selectionStage(const std::string &variant) const {
  return goal_ == Goal::Audit ? "select/" + variant : variant == "selected" ? "select" : "baselines/" + variant;
}

fs::path Pipeline::selectionFile(const std::string &variant) const {
  return run_.file(selectionStage(variant) + "/selection.json");
}

bool Pipeline::trains(const std::string &stage, bool hasLinear) const {
  const bool distills = stage == "distill";
  const auto train = distills ? resolved_.distill.train : resolved_.finetune.train;
  return trainingSection(stage).steps > 0 && (hasLinear || train != DistillSpec::Train::Linear);
}

const TrainingSpec &Pipeline::trainingSection(const std::string &stage) const {
  return stage == "distill" ? static_cast<const TrainingSpec &>(resolved_.distill) : resolved_.finetune;
}

StatusOr<Choice> Pipeline::choiceOf(const Variant &variant) const {
  const std::string file = selectionFile(variant.name).string();
  MORPH_ASSIGN_OR_RETURN(const Json selection, readJson(file));
  MORPH_ASSIGN_OR_RETURN(const auto names, jsonGet<std::vector<std::string>>(selection, "choice", file));
  Choice choice;
  for (const std::vector<Candidate> &candidates : variant.spec.space.layers) {
    const auto found = std::find_if(candidates.begin(), candidates.end(), [&](const Candidate &candidate) {
      return choice.size() < names.size() && candidate.name == names[choice.size()];
    });
    if (found == candidates.end())
      return Status::failed(file + " is not of this spec's space of choices", "remove the folder, and run again");
    choice.push_back(found - candidates.begin());
  }
  return choice;
}

std::vector<fs::path> Pipeline::weights(const std::string &variant) const {
  std::vector<fs::path> paths = {baseFolder()};
  if (variant == "teacher")
    return paths;
  paths.push_back(run_.file("align/branches.safetensors"));
  for (const std::string stage : {"distill/", "finetune/"})
    if (keys_.count(stage + variant))
      paths.push_back(run_.file(stage + variant + "/weights.safetensors"));
  return paths;
}

StatusOr<Command> Pipeline::runtimeCommand(const std::string &stage, const fs::path &out, const std::string &key,
                                           const std::string &variant,
                                           const std::vector<std::pair<std::string, std::string>> &plans,
                                           const std::vector<fs::path> &weights, const fs::path &spec) const {
  MORPH_ASSIGN_OR_RETURN(const std::string program, tools_.program("morph-run"));
  Command command{
      {program, stage, "--spec", spec.string(), "--run", run_.root().string(), "--out", out.string(), "--key", key}};
  for (const auto &[name, file] : plans)
    command.arguments.insert(command.arguments.end(), {"--plan", name + "=" + planFile(file).string()});
  for (const fs::path &path : weights)
    command.arguments.insert(command.arguments.end(), {"--weights", path.string()});
  if (!variant.empty())
    command.arguments.insert(command.arguments.end(), {"--variant", variant});
  if (sharded_.count(stage))
    command.arguments.emplace_back("--shard");
  return command;
}

Status Pipeline::runWorkers(const Command &command) {
  Command own = command;
  // The machine's threads are for all of them.
  if (workers_.count() > 1 && workers_.areChildren() && resolved_.model.threads == 0)
    own.arguments.insert(
        own.arguments.end(),
        {"--threads", std::to_string(std::max<int64_t>(1, run_.machine().threads / workers_.count()))});
  MORPH_ASSIGN_OR_RETURN(const ProcessResult result, workers_.run(own));
  return toStatus(result, own);
}

StatusOr<std::optional<StageKey>> Pipeline::stageKey(const Inputs &inputs, const ResolvedSpec &spec) {
  StageKey key;
  for (const std::string &stage : inputs.stages) {
    if (missing_.count(stage))
      return std::optional<StageKey>();
    if (const auto found = keys_.find(stage); found != keys_.end())
      key.add("stage " + stage, found->second);
  }
  const Json resolved = toJson(spec);
  key.add("seed", resolved.at("seed"));
  for (const std::string &section : inputs.sections) {
    Json slice = resolved.value(section, Json());
    if (slice.is_object())
      for (const char *name : {"log_every", "checkpoint_every"})
        slice.erase(name);
    // How many threads and which GPU that is in the end stands in the machine's record, what the limit has led to in
    // the plans. Where weights lie changes no bit.
    if (section == "model")
      for (const char *name : {"threads", "device", "memory_limit", "shard"})
        slice.erase(name);
    if (section == "space")
      removeSources(slice);
    // Which hybrids are evaluated changes the numbers of none.
    if (section == "evaluate")
      slice.erase("baselines");
    key.add("spec " + section, slice);
  }
  auto addFile = [&](const std::string &name, const fs::path &file) -> Status {
    MORPH_ASSIGN_OR_RETURN(const std::string digest, hashes_.of(file));
    key.add(name, digest);
    return Status();
  };
  for (const std::string &plan : inputs.plans)
    MORPH_RETURN_IF_ERROR(addFile("plan " + plan, planFile(plan)));
  if (inputs.base && !resolved_.pretrain)
    for (const fs::path &file : filesIn(baseFolder(), isOfModel))
      MORPH_RETURN_IF_ERROR(addFile("base " + file.filename().string(), file));
  for (const fs::path &file : inputs.files)
    MORPH_RETURN_IF_ERROR(addFile("file " + file.string(), file));
  if (inputs.runtime) {
    MORPH_ASSIGN_OR_RETURN(const std::string program, tools_.program("morph-run"));
    MORPH_RETURN_IF_ERROR(addFile("program morph-run", program));
  }
  if (inputs.arithmetic)
    key.add("libtorch", runtime_.libtorch).add("machine", run_.machine().toJson());
  for (const std::string &script : inputs.scripts) {
    MORPH_ASSIGN_OR_RETURN(const std::string file, tools_.script(script));
    MORPH_RETURN_IF_ERROR(addFile("script " + script, file));
  }
  for (const std::string &package : inputs.packages)
    key.add("package " + package, tools_.packageVersion(package));
  return std::optional<StageKey>(std::move(key));
}

StatusOr<std::vector<std::string>> Pipeline::emitTraining(const ResolvedSpec &spec, const std::string &ir,
                                                          const std::string &program, const std::string &name) {
  MORPH_ASSIGN_OR_RETURN(const TrainingPlans made,
                         emitTrainingPlans(compiler_, spec, this->ir(ir), program, run_.file("plans"), name));
  std::vector<std::string> names;
  for (const TrainingPlan &plan : made.plans) {
    names.push_back(plan.name);
    MORPH_RETURN_IF_ERROR(
        compiler_.emitPlan(this->ir(ir), program, plan.options + ",gradients=false", planFile(forwardPlan(plan.name))));
  }
  return names;
}

Status Pipeline::compileBase() {
  // Without them nothing is made, and what a whole run has left stays.
  for (const char *program : {"morph-translate", "morph-opt"})
    MORPH_RETURN_IF_ERROR(tools_.program(program).status());
  std::fprintf(stderr, "morph: compiling %s\n", resolved_.name.c_str());
  for (const char *folder : {"ir", "plans"}) {
    // What another spec left there must not pass for this one's.
    MORPH_RETURN_IF_ERROR(removeAll(run_.file(folder)));
    MORPH_RETURN_IF_ERROR(makeFolder(run_.file(folder)));
  }
  MORPH_RETURN_IF_ERROR(resolved_.pretrain
                            ? compiler_.importSpec(spec_, settings_, ir("base"))
                            : compiler_.importModel(baseFolder(), resolved_.name, ir("base"),
                                                    /*configOnly=*/false, resolved_.space, resolved_.model.context));
  for (const char *program : {"score", "decode"})
    MORPH_RETURN_IF_ERROR(compiler_.emitPlan(ir("base"), program, programOptions(resolved_, program),
                                             planFile(std::string(program) + "-teacher")));
  if (resolved_.pretrain)
    return emitTrainingPlans(compiler_, resolved_, ir("base"), "pretrain", run_.file("plans"), "pretrain").status();
  MORPH_RETURN_IF_ERROR(compiler_.pair(ir("base"), resolved_.space, ir("paired")));
  MORPH_RETURN_IF_ERROR(compiler_.relax(ir("paired"), ir("relaxed")));
  MORPH_ASSIGN_OR_RETURN(waves_, emitTraining(resolved_, "paired", "align", "align"));
  if (waves_.size() > 1) // A selector measures all layers at once.
    MORPH_RETURN_IF_ERROR(compiler_.emitPlan(ir("paired"), "align",
                                             programOptions(resolved_, "align") + ",gradients=false",
                                             planFile(forwardPlan("align"))));
  if (resolved_.align.calibration > 0) {
    MORPH_ASSIGN_OR_RETURN(calibrates_, compiler_.emitCalibration(ir("paired"), programOptions(resolved_, "calibrate"),
                                                                  planFile("calibrate")));
  }
  MORPH_ASSIGN_OR_RETURN(const SelectionPrograms programs, selectionPrograms(variants_));
  for (const auto &[name, variant] : programs.gates)
    MORPH_RETURN_IF_ERROR(emitTraining(variant->spec, "relaxed", "gates", name).status());
  if (programs.scores || goal_ == Goal::Audit) {
    MORPH_RETURN_IF_ERROR(compiler_.emitPlan(ir("relaxed"), "score", programOptions(resolved_, "score") + ",kl=true",
                                             planFile("score-relaxed")));
    MORPH_RETURN_IF_ERROR(
        compiler_.emitPlan(ir("base"), "logits", programOptions(resolved_, "logits"), planFile("logits-teacher")));
  }
  // A hybrid of the budget's size, for the estimates of memory and disk.
  MORPH_ASSIGN_OR_RETURN(const Choice choice, dearestChoice(resolved_));
  MORPH_RETURN_IF_ERROR(compiler_.discretize(ir("paired"), resolved_.space, choice, ir("hybrid-estimate")));
  for (const std::string stage : {"distill", "finetune"})
    if (trains(stage, hasTrained(resolved_.space, choice)))
      MORPH_RETURN_IF_ERROR(emitTrainingPlans(compiler_.withoutCode(), resolved_, ir("hybrid-estimate"), stage,
                                              run_.file("plans"), stage + "-estimate")
                                .status());
  return Status();
}

Status Pipeline::compileHybrid(const std::string &variant, const ChoiceSpace &space, const Choice &choice) {
  if (!compiled_.insert(variant).second)
    return Status();
  const std::string name = variant == "selected" ? "hybrid" : "hybrid-" + variant;
  MORPH_RETURN_IF_ERROR(compiler_.discretize(ir("paired"), space, choice, ir(name)));
  const bool linear = hasTrained(space, choice);
  if (trains("distill", linear))
    MORPH_RETURN_IF_ERROR(emitTraining(resolved_, name, "distill", "distill-" + variant).status());
  if (goal_ == Goal::Audit) // It is judged as a choice in the relaxed model.
    return Status();
  for (const char *program : {"score", "decode"})
    MORPH_RETURN_IF_ERROR(compiler_.emitPlan(ir(name), program, programOptions(resolved_, program),
                                             planFile(std::string(program) + "-" + variant)));
  if (trains("finetune", linear))
    MORPH_RETURN_IF_ERROR(
        emitTrainingPlans(compiler_, resolved_, ir(name), "finetune", run_.file("plans"), "finetune-" + variant)
            .status());
  if (variant != "selected")
    return Status();
  // What the export is compared with is fp32 whatever the run's precision: rounded factors would hide its faults.
  for (const char *program : {"logits", "decode"})
    MORPH_RETURN_IF_ERROR(compiler_.emitPlan(ir(name), program, "", planFile(std::string(program) + "-check")));
  MORPH_RETURN_IF_ERROR(compiler_.folderConfig(baseFolder(), resolved_.model.context, planFile("base-config")));
  return compiler_.emitPyTorch(ir(name), planFile("mixers-selected"));
}

Status Pipeline::data() {
  const DataSpec &section = resolved_.data;
  Inputs inputs;
  inputs.sections = {"data", "tasks", "model_info"};
  inputs.scripts = {"morph_data.py",  "morph_lexicon.py",  "data/files.py",     "data/sources.py",
                    "data/tokens.py", "data/questions.py", "data/paragraphs.py"};
  inputs.packages = {"tokenizers", "transformers", "jinja2", "numpy", "pyarrow", "zstandard"};
  std::vector<std::string> entries = section.text;
  for (const TaskSpec &task : resolved_.tasks)
    if (task.path)
      entries.push_back(*task.path);
  for (const std::string &entry : entries)
    for (const fs::path &file : filesOfText(entry))
      inputs.files.push_back(file);
  for (const fs::path &file : tokenizerFiles(section.tokenizer))
    inputs.files.push_back(file);
  MORPH_ASSIGN_OR_RETURN(const auto key, stageKey(inputs));
  return runStage("data", "data: texts and tasks to tokens", key,
                  [&](const fs::path &out, const std::string &) -> Status {
                    // What the script says of its work goes to standard error, like everything that is not a result.
                    for (const auto write : {writeLexicons, writeQuestions, writeText}) {
                      MORPH_ASSIGN_OR_RETURN(const std::string words, write(tools_, resolved_, out));
                      std::fputs(words.c_str(), stderr);
                    }
                    return Status();
                  });
}

Status Pipeline::align() {
  Inputs inputs;
  inputs.sections = {"align", "model"};
  std::vector<std::pair<std::string, std::string>> plans;
  for (const std::string &wave : waves_)
    plans.insert(plans.end(), {{wave, wave}, {wave + "-forward", forwardPlan(wave)}});
  if (calibrates_)
    plans.push_back({"calibrate", "calibrate"});
  for (const auto &[name, file] : plans)
    inputs.plans.push_back(file);
  inputs.stages = {"data"};
  inputs.base = inputs.runtime = inputs.arithmetic = true;
  MORPH_ASSIGN_OR_RETURN(const auto key, stageKey(inputs));
  std::string title = "align: every layer's linear branch, " + describeSteps(resolved_.align);
  if (waves_.size() > 1)
    title += ", in " + std::to_string(waves_.size()) + " waves of layers";
  if (resolved_.align.steps == 0) {
    // The stages after it still read the branches, with the values that they start from.
    if (mode_ == Mode::Run)
      printNote("the linear branches are not aligned: the spec gives stage align no steps");
    title.clear();
  }
  return runStage("align", title, key, [&](const fs::path &out, const std::string &id) -> Status {
    MORPH_ASSIGN_OR_RETURN(const Command command,
                           runtimeCommand("align", out, id, "", plans, weights("teacher"), run_.file("resolved.json")));
    return runWorkers(command);
  });
}

Status Pipeline::select(const Variant &variant) {
  const bool selected = variant.name == "selected";
  const std::string folder = selectionStage(variant.name);
  if (isWhole(folder)) // One that measures nothing has chosen before.
    return Status();
  const SelectSpec &section = variant.spec.select;
  MORPH_ASSIGN_OR_RETURN(const SelectorName selector, parseSelectorName(section.method));
  std::vector<std::pair<std::string, std::string>> plans;
  if (selector.info->needs == SelectorNeeds::Alignment)
    plans = {{"align-forward", forwardPlan("align")}};
  if (selector.info->needs == SelectorNeeds::Gates)
    plans = {{"gates", variant.plans}, {"gates-forward", forwardPlan(variant.plans)}};
  if (needsScores(selector))
    plans.insert(plans.end(), {{"score", "score-relaxed"}, {"logits", "logits-teacher"}});
  if (distilsAlone(selector))
    MORPH_RETURN_IF_ERROR(distillAlone(variant.spec.space));
  Inputs inputs;
  inputs.runtime = true;
  if (plans.empty()) {
    // A choice that looks at no weights depends on the budget alone, and on what names it.
    inputs.sections = {"space", "model_info"};
    if (selector.info->name == "fixed")
      inputs.sections.push_back("select");
  } else {
    inputs.sections = {"select", "space", "model", "tasks"};
    for (const auto &[name, file] : plans)
      inputs.plans.push_back(file);
    inputs.stages = {"data", "align"};
    if (distilsAlone(selector))
      for (const std::vector<size_t> &group : tiedGroups(variant.spec.space))
        inputs.stages.push_back(aloneStage(group.front()));
    inputs.base = inputs.arithmetic = true;
  }
  if (selector.info->name == "fixed" && section.from)
    inputs.files.push_back(*section.from);
  MORPH_ASSIGN_OR_RETURN(auto key, stageKey(inputs, variant.spec));
  if (key)
    key->add("method", section.method);
  if (key && (section.taskFraction < 1 || scoresText(*selector.info))) // Windows as distillation sees them.
    key->add("text", std::to_string(resolved_.distill.length) + " " + std::to_string(resolved_.distill.textPositions));
  std::string title = "select" +
                      (goal_ == Goal::Audit ? ", " + std::to_string(variant.budget) + " layers"
                       : selected           ? ""
                                            : " (baseline)") +
                      ": " + variant.label;
  if (selector.info->needs == SelectorNeeds::Gates)
    title += ", " + std::to_string(section.steps) + " steps";
  return runStage(folder, title, key, [&](const fs::path &out, const std::string &id) -> Status {
    compiled_.erase(variant.name);
    const fs::path file = selected ? run_.file("resolved.json") : out / "resolved.json";
    if (!selected)
      MORPH_RETURN_IF_ERROR(writeJson(file, toJson(variant.spec)));
    std::vector<fs::path> files;
    if (!plans.empty())
      files = {baseFolder(), run_.file("align/branches.safetensors")};
    MORPH_ASSIGN_OR_RETURN(Command command,
                           runtimeCommand("select", out, id, selected ? "" : variant.name, plans, files, file));
    if (needsScores(selector)) {
      MORPH_ASSIGN_OR_RETURN(const std::vector<std::string> more, choicesArguments(variant));
      command.arguments.insert(command.arguments.end(), more.begin(), more.end());
    }
    return runWorkers(command);
  });
}

Status Pipeline::selectUnmeasured() {
  for (const Variant &variant : variants_) {
    if (goal_ == Goal::Selection && variant.name != "selected")
      continue;
    MORPH_ASSIGN_OR_RETURN(const SelectorName selector, parseSelectorName(variant.spec.select.method));
    if (selector.info->needs == SelectorNeeds::Nothing && !needsScores(selector))
      MORPH_RETURN_IF_ERROR(select(variant));
  }
  return Status();
}

Status Pipeline::distillAlone(const ChoiceSpace &space) {
  for (const std::vector<size_t> &group : tiedGroups(space)) {
    const std::string name = fs::path(aloneStage(group.front())).filename().string();
    if (compiled_.insert(name).second) {
      Choice choice = linearChoice(space);
      for (const size_t layer : group)
        choice[layer] = 0;
      if (!trains("distill", hasTrained(space, choice)))
        return Status::invalid("selector 'kl:trained' has nothing to distil: no layer has weights of its own");
      MORPH_RETURN_IF_ERROR(compiler_.discretize(ir("paired"), space, choice, ir("hybrid-" + name)));
      MORPH_RETURN_IF_ERROR(emitTraining(resolved_, "hybrid-" + name, "distill", "distill-" + name).status());
    }
    MORPH_RETURN_IF_ERROR(train("distill", name));
  }
  return Status();
}

StatusOr<std::vector<std::string>> Pipeline::choicesArguments(const Variant &variant) {
  const SelectSpec &section = variant.spec.select;
  Inputs inputs;
  inputs.sections = {"model", "tasks", "model_info"};
  inputs.plans = {"score-relaxed", "logits-teacher"};
  inputs.stages = {"data", "align"};
  inputs.base = inputs.runtime = inputs.arithmetic = true;
  MORPH_ASSIGN_OR_RETURN(auto key, stageKey(inputs, variant.spec));
  key->add("scored on", Json{section.tasks, section.taskFraction, section.samples, section.batch,
                             resolved_.distill.length, resolved_.distill.textPositions});
  const std::string id = key->value();
  // Of each key a folder: a variant may score on samples of its own.
  const fs::path folder = choicesFolder() / id.substr(0, 16);
  MORPH_RETURN_IF_ERROR(makeFolder(folder));
  return std::vector<std::string>{"--choices", folder.string(), "--choices-key", id};
}

StatusOr<std::vector<std::string>> Pipeline::teacherArguments(const std::string &variant) {
  std::error_code error;
  // The last variant reads what there is, and writes for nobody.
  const bool isLast = !trained_.empty() && variant == trained_.back();
  if (isLast && (trained_.size() == 1 || !fs::exists(teacherFolder(), error)))
    return std::vector<std::string>();
  Inputs inputs;
  inputs.sections = {"distill", "model", "tasks"};
  inputs.stages = {"data"};
  inputs.base = inputs.runtime = inputs.arithmetic = true;
  // Plans differ by variant, so the compiler stands for what of them is the teacher.
  MORPH_ASSIGN_OR_RETURN(const std::string translator, tools_.program("morph-translate"));
  inputs.files = {translator};
  MORPH_ASSIGN_OR_RETURN(const auto key, stageKey(inputs));
  return std::vector<std::string>{"--teacher", teacherFolder().string(), "--teacher-key", key->value()};
}

Status Pipeline::train(const std::string &stage, const std::string &variant) {
  const std::string folder = stage + "/" + variant, plan = stage + "-" + variant;
  std::vector<std::pair<std::string, std::string>> plans = {{stage, plan}};
  if (stage == "distill")
    plans.push_back({"distill-forward", forwardPlan(plan)});
  Inputs inputs;
  inputs.sections = {stage, "model", "tasks"};
  for (const auto &[name, file] : plans) // The selection's part in the numbers is in the plans.
    inputs.plans.push_back(file);
  inputs.stages = {"data", "align", "distill/" + variant};
  inputs.base = inputs.runtime = inputs.arithmetic = true;
  MORPH_ASSIGN_OR_RETURN(const auto key, stageKey(inputs));
  const std::string title = stage + " " + variant + ": " + describeSteps(trainingSection(stage));
  return runStage(folder, title, key, [&](const fs::path &out, const std::string &id) -> Status {
    MORPH_ASSIGN_OR_RETURN(
        Command command, runtimeCommand(stage, out, id, variant, plans, weights(variant), run_.file("resolved.json")));
    if (stage == "distill") {
      MORPH_ASSIGN_OR_RETURN(const std::vector<std::string> more, teacherArguments(variant));
      command.arguments.insert(command.arguments.end(), more.begin(), more.end());
    }
    return runWorkers(command);
  });
}

Status Pipeline::evaluate(const std::string &model, const std::string &after) {
  const std::string folder = "evaluate/" + model + (model == "teacher" ? "" : "-" + after);
  Inputs inputs;
  inputs.sections = {"evaluate", "model", "tasks"};
  inputs.plans = {"score-" + model, "decode-" + model};
  inputs.stages = {"data", "base"};
  inputs.base = inputs.runtime = inputs.arithmetic = true;
  if (model != "teacher") {
    inputs.stages.push_back("align");
    if (after != "selection")
      inputs.stages.push_back("distill/" + model);
    if (after == "finetune")
      inputs.stages.push_back("finetune/" + model);
  }
  MORPH_ASSIGN_OR_RETURN(const auto key, stageKey(inputs));
  const std::string title = "evaluate " + model + (model == "teacher" ? "" : " after " + after);
  return runStage(folder, title, key, [&](const fs::path &out, const std::string &id) -> Status {
    MORPH_ASSIGN_OR_RETURN(Command command, runtimeCommand("evaluate", out, id, model,
                                                           {{"score", "score-" + model}, {"decode", "decode-" + model}},
                                                           weights(model), run_.file("resolved.json")));
    command.arguments.insert(command.arguments.end(), {"--model-name", model, "--after", after});
    return runWorkers(command);
  });
}

Status Pipeline::pretrain() {
  Inputs training;
  training.sections = {"pretrain", "model", "tasks"};
  training.plans = {"pretrain", "score-teacher"};
  training.stages = {"data"};
  training.runtime = training.arithmetic = true;
  MORPH_ASSIGN_OR_RETURN(const auto trainingKey, stageKey(training));
  MORPH_RETURN_IF_ERROR(runStage("pretrain", "pretrain: a base model from nothing", trainingKey,
                                 [&](const fs::path &out, const std::string &id) -> Status {
                                   MORPH_ASSIGN_OR_RETURN(
                                       const Command command,
                                       runtimeCommand("pretrain", out, id, "",
                                                      {{"pretrain", "pretrain"}, {"score", "score-teacher"}}, {},
                                                      run_.file("resolved.json")));
                                   return runWorkers(command);
                                 }));
  MORPH_ASSIGN_OR_RETURN(const std::string translator, tools_.program("morph-translate"));
  Inputs inputs;
  inputs.sections = {"pretrain", "data"};
  inputs.stages = {"pretrain"};
  inputs.files = {translator}; // It writes config.json.
  MORPH_ASSIGN_OR_RETURN(const auto key, stageKey(inputs));
  return runStage("base", "base: the model as a Hugging Face folder", key,
                  [&](const fs::path &out, const std::string &) -> Status {
                    MORPH_RETURN_IF_ERROR(compiler_.baseConfig(spec_, settings_, out / "config.json"));
                    MORPH_RETURN_IF_ERROR(copyFile(run_.file("pretrain/model.safetensors"), out / "model.safetensors"));
                    const fs::path tokenizer = resolved_.data.tokenizer;
                    std::error_code error;
                    for (const char *name : {"tokenizer.json", "tokenizer_config.json"})
                      if (!tokenizer.empty() && fs::exists(tokenizer / name, error))
                        MORPH_RETURN_IF_ERROR(copyFile(tokenizer / name, out / name));
                    return Status();
                  });
}

Status Pipeline::exportHybrid() {
  Inputs inputs;
  inputs.plans = {"decode-selected", "mixers-selected", "base-config"};
  inputs.stages = {"align", "select", "distill/selected", "finetune/selected"};
  inputs.base = true;
  inputs.files = filesIn(baseFolder(), [](const fs::path &name) { return isOfTokenizer(name) || isOfExport(name); });
  inputs.scripts = {"export/morph_export.py", "export/modeling_morph.py", "export/configuration_morph.py",
                    "export/engines.py", "export/other_tokens.py"};
  MORPH_ASSIGN_OR_RETURN(const fs::path targets, tools_.script("export/targets/__init__.py"));
  std::error_code error;
  for (const fs::directory_entry &file : fs::directory_iterator(targets.parent_path(), error))
    if (file.path().extension() == ".py")
      inputs.scripts.push_back("export/targets/" + file.path().filename().string());
  inputs.packages = {"torch", "safetensors", "transformers"};
  MORPH_ASSIGN_OR_RETURN(auto key, stageKey(inputs));
  if (key)
    key->add("export.format", std::string(toWord(resolved_.export_.format)));
  MORPH_RETURN_IF_ERROR(runStage(
      "hybrid",
      std::string("export: a Hugging Face folder") + (resolved_.export_.check ? ", compared with transformers" : ""),
      key, [&](const fs::path &out, const std::string &) -> Status {
        // Its verdict stands in the manifest of the folder that is replaced.
        MORPH_RETURN_IF_ERROR(removeAll(run_.file("check")));
        MORPH_ASSIGN_OR_RETURN(const std::string python, tools_.python());
        MORPH_ASSIGN_OR_RETURN(const std::string writer, tools_.script("export/morph_export.py"));
        Command command{{python, writer, "--base", baseFolder().string(), "--config", planFile("base-config").string(),
                         "--run", run_.root().string(), "--mixers", planFile("mixers-selected").string(), "--selection",
                         selectionFile("selected").string(), "--plan", planFile("decode-selected").string(), "--format",
                         toWord(resolved_.export_.format), "--out", out.string()}};
        const std::vector<fs::path> files = weights("selected");
        for (size_t i = 1; i < files.size(); ++i)
          command.arguments.insert(command.arguments.end(), {"--weights", files[i].string()});
        return runHelper(command);
      }));
  return resolved_.export_.check ? checkHybrid() : Status();
}

/// A stage of its own: whatever it finds, the folder that a whole run has made stays.
Status Pipeline::checkHybrid() {
  Inputs inputs;
  inputs.sections = {"export"};
  inputs.plans = {"logits-check", "decode-check"};
  inputs.stages = {"data", "hybrid"};
  inputs.runtime = true;
  inputs.scripts = {"export/check_export.py"};
  inputs.packages = {"torch", "transformers"};
  MORPH_ASSIGN_OR_RETURN(const auto key, stageKey(inputs));
  return runStage("check", "", key, [&](const fs::path &, const std::string &) -> Status {
    MORPH_ASSIGN_OR_RETURN(const std::string python, tools_.python());
    MORPH_ASSIGN_OR_RETURN(const std::string checker, tools_.script("export/check_export.py"));
    MORPH_ASSIGN_OR_RETURN(const std::string runtime, tools_.program("morph-run"));
    Command command{{python, checker, "--folder", run_.file("hybrid").string(), "--data", run_.file("data").string(),
                     "--morph-run", runtime, "--logits-plan", planFile("logits-check").string(), "--decode-plan",
                     planFile("decode-check").string(), "--tolerance", Json(resolved_.export_.tolerance).dump()}};
    for (const fs::path &file : weights("selected"))
      command.arguments.insert(command.arguments.end(), {"--weights", file.string()});
    MORPH_RETURN_IF_ERROR(runHelper(command));
    // The verdict is in the hybrid's manifest, which must outlast the record that there was one.
    return syncTree(run_.file("hybrid").string());
  });
}
