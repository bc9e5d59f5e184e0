// SPDX-License-Identifier: Apache-2.0
// Constraints between keys that hold without looking at the model, and the defaults that follow from other keys.

#include "dialect/MixerReference.h"
#include "frontends/spec/Schema.h"
#include "frontends/spec/Spec.h"
#include "runtime/base/CacheFolder.h"
#include "runtime/choice/Selectors.h"
#include "runtime/spec/DeviceName.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

#include <algorithm>
#include <cstdlib>

using namespace morph;
using namespace morph::spec;

namespace {

constexpr size_t kMaxName = 100;

/// Names become parts of files' names, those of tasks also of dotted keys.
bool isName(llvm::StringRef name, bool takesDots) {
  auto isAllowed = [&](char c) { return llvm::isAlnum(c) || c == '_' || c == '-' || (takesDots && c == '.'); };
  return !name.empty() && name.size() <= kMaxName && name.front() != '.' && llvm::all_of(name, isAllowed);
}

class Checker {
public:
  Checker(Spec &spec, const SpecOptions &options, Diagnostics &diagnostics)
      : spec_(spec), options_(options), diagnostics_(diagnostics) {}

  void check() {
    checkHeader();
    resolveMixers();
    checkData();
    checkTasks();
    checkStages();
    fillPretrain();
    checkAudit();
  }

private:
  void error(llvm::StringRef path, const llvm::Twine &message, const llvm::Twine &hint = "") const {
    diagnostics_.error(spec_.getPlace(path), message, hint);
  }
  bool isPretrain() const { return spec_.values.getObject("pretrain") != nullptr; }
  size_t getTaskCount() const { return spec_.values.getArray("tasks")->size(); }
  std::string resolvePath(llvm::StringRef path, llvm::StringRef key) const;
  std::string checkUtf8(llvm::StringRef text, llvm::StringRef key) const;
  std::string resolveModel();
  std::string resolveMixer(const std::string &text, llvm::StringRef key) const;
  void resolveMixers();
  bool usesWords() const;

  void checkHeader();
  void checkData();
  void checkTasks();
  void checkTask(const std::string &path);
  void checkQuestions(const std::string &path, llvm::StringRef kind);
  void checkStages();
  /// Of distillation and finetuning: what is trained how, in sequences of which lengths.
  void checkTuning(const std::string &prefix);
  void checkDepths();
  /// Whether one of the tasks that the key names hides what it asks for at depths of such a background.
  bool findHidingTask(const std::string &key, llvm::function_ref<bool(llvm::StringRef)> isBackground);
  void checkTaskNames(llvm::StringRef path);
  /// That a selector of that name can run.
  void checkSelector(const std::string &key, const std::string &text);
  void fillPretrain();
  void checkAudit();

  Spec &spec_;
  const SpecOptions &options_;
  Diagnostics &diagnostics_;
};

/// Paths of a file are relative to its folder, paths of the command line to the current one; `cache:` is where
/// tools/fetch-model puts models.
std::string Checker::resolvePath(llvm::StringRef path, llvm::StringRef key) const {
  llvm::SmallString<256> resolved;
  if (path.consume_front("cache:")) {
    resolved = cacheFolder();
  } else if (llvm::StringRef text = diagnostics_.getTextName(spec_.getPlace(key));
             !llvm::sys::path::is_absolute(path) && text != "--set")
    resolved = llvm::sys::path::parent_path(text);
  llvm::sys::path::append(resolved, path);
  llvm::sys::fs::make_absolute(resolved);
  llvm::sys::path::remove_dots(resolved, /*remove_dot_dot=*/true);
  return checkUtf8(resolved, key);
}

/// A path of the system, which may hold any bytes, as the text that the resolved spec needs.
std::string Checker::checkUtf8(llvm::StringRef text, llvm::StringRef key) const {
  if (llvm::json::isUTF8(text))
    return text.str();
  error(key, "the path '" + text + "' is not UTF-8 [S7]", "rename its folders and files");
  return "";
}

bool Checker::usesWords() const {
  for (const llvm::json::Value &task : *spec_.values.getArray("tasks"))
    if (task.getAsObject()->getString("space") == "words")
      return true;
  return false;
}

/// The models that tools/fetch-model brings.
constexpr llvm::StringLiteral kFetchedModels[] = {
#include "frontends/FetchedModels.inc"
};

/// `model.path` as an absolute path; empty after an error that says how to get a fetched model.
std::string Checker::resolveModel() {
  std::string given = spec_.getString("model.path"), folder = resolvePath(given, "model.path");
  llvm::StringRef name = given;
  if (!name.consume_front("cache:models/") || llvm::sys::fs::exists(folder))
    return folder;
  error("model.path", "there is no folder '" + folder + "' [S2]",
        llvm::is_contained(kFetchedModels, name)
            ? ("run tools/fetch-model " + name).str()
            : "'tools/fetch-model --help' lists the models that it brings; put others there yourself");
  return "";
}

void Checker::checkHeader() {
  int64_t version = spec_.getInteger("version");
  if (version != 1)
    error("version", "'version' is " + llvm::Twine(version) + ", expected 1 [S1]",
          version > 1 ? "the spec is for a newer Morph" : "");
  if (!spec_.isGiven("name"))
    spec_.values["name"] = checkUtf8(llvm::sys::path::stem(spec_.path), "name");
  else if (std::string name = spec_.getString("name"); !isName(name, /*takesDots=*/true))
    error("name", "'" + name + "' is no name for a run [S21]",
          "a name has 1 to " + llvm::Twine(kMaxName) + " letters, digits, '_', '-' and '.', which is not the first");

  if (std::string device = spec_.getString("model.device"); !parseDeviceName(device))
    error("model.device", "'" + device + "' is no device [S23]", kDeviceNames);

  bool hasPath = spec_.isGiven("model.path");
  if (hasPath && isPretrain())
    error("model.path", "'model.path' and [pretrain] are both given [S2]",
          "a base is either read from a folder or made by [pretrain]");
  else if (!hasPath && !isPretrain())
    error("model.path", "'model.path' is missing [S2]",
          "name the Hugging Face folder of the base model: path = \"models/base\" in [model]");
  else
    (*spec_.getTable("model"))["path"] = hasPath ? resolveModel() : "";
}

/// Files of mixers as absolute paths. What does not name a mixer is reported when the model is there.
std::string Checker::resolveMixer(const std::string &text, llvm::StringRef key) const {
  if (llvm::StringRef(text).ends_with(".morph"))
    return resolvePath(text, key);
  std::string message;
  std::optional<MixerReference> reference = parseMixerReference(text, message);
  if (!reference || reference->path.empty())
    return text;
  reference->path = resolvePath(reference->path, key);
  return printMixerReference(*reference);
}

void Checker::resolveMixers() {
  llvm::json::Object &linear = *spec_.getTable("linear");
  linear["backend"] = resolveMixer(spec_.getString("linear.backend"), "linear.backend");
  llvm::json::Array candidates;
  for (const auto &[index, text] : llvm::enumerate(spec_.getStrings("linear.candidates")))
    candidates.push_back(resolveMixer(text, "linear.candidates[" + std::to_string(index) + "]"));
  linear["candidates"] = std::move(candidates);
  if (spec_.isGiven("budget.costs"))
    (*spec_.getTable("budget"))["costs"] = resolvePath(spec_.getString("budget.costs"), "budget.costs");
}

/// The text of Debian's package: what tools/package has packed of it, else where Debian puts it.
static std::string packagedText() {
  if (const char *folder = std::getenv("MORPH_SOURCE_DIR"))
    if (std::string packed = std::string(folder) + "/specs/texts/jargon.txt.gz"; llvm::sys::fs::exists(packed))
      return packed;
  return "/usr/share/doc/jargon-text/jargon.txt.gz";
}

void Checker::checkData() {
  std::vector<std::string> files = spec_.getStrings("data.text");
  llvm::json::Array resolved;
  for (const auto &[index, file] : llvm::enumerate(files)) {
    std::string key = "data.text[" + std::to_string(index) + "]";
    llvm::StringRef package = file;
    std::string path;
    if (package.consume_front("package:")) {
      if (package != "jargon-text") {
        error(key, "unknown text package '" + package + "' [S7]", "known is package:jargon-text");
        continue;
      }
      path = packagedText();
    } else {
      path = resolvePath(file, key);
    }
    // What a pattern stands for is looked up with the files' contents, by tools/python/data.
    bool isPattern = llvm::StringRef(file).find_first_of("*?[") != llvm::StringRef::npos;
    if (!options_.configOnly && !isPattern && !llvm::sys::fs::is_regular_file(path) &&
        !llvm::sys::fs::is_directory(path))
      error(key, "there is no file '" + path + "' [S7]",
            package.data() != file.data() ? "tools/setup installs the package " + package.str() : "");
    resolved.push_back(path);
  }
  llvm::json::Object &data = *spec_.getTable("data");
  data["text"] = std::move(resolved);
  size_t weights = data.getArray("weights")->size();
  if (weights != 0 && weights != files.size())
    error("data.weights",
          "'data.weights' has " + llvm::Twine(weights) + " numbers, but 'data.text' " + llvm::Twine(files.size()) +
              " entries [S29]",
          "give each entry one, or leave the key out");
  if (data.getArray("fields")->empty())
    error("data.fields", "'data.fields' is empty [S29]", "name the field of a row that holds text");
  if (spec_.getString("data.separator").empty())
    error("data.separator", "'data.separator' is empty [S18]", "without the key a form feed divides documents");

  std::string folder = spec_.getString("model.path");
  bool given = spec_.isGiven("data.tokenizer");
  std::string tokenizer = given ? resolvePath(spec_.getString("data.tokenizer"), "data.tokenizer") : folder;
  data["tokenizer"] = tokenizer;
  bool needed = given || (!folder.empty() && (usesWords() || !files.empty()));
  if (!needed || options_.configOnly || tokenizer.empty())
    return;
  llvm::SmallString<256> file(tokenizer);
  if (llvm::sys::fs::is_directory(file))
    llvm::sys::path::append(file, "tokenizer.json");
  // A wrong model folder has an error of its own.
  bool folderMissing = !given && !llvm::sys::fs::exists(tokenizer);
  if (!folderMissing && !llvm::sys::fs::is_regular_file(file))
    error(given ? "data.tokenizer" : "model.path", "there is no tokenizer '" + file + "' [S7]",
          given ? "" : "texts and tasks in words need one; name it with 'tokenizer' in [data]");
}

void Checker::checkTasks() {
  llvm::StringMap<std::string> seen;
  for (size_t i = 0; i < getTaskCount(); ++i) {
    std::string path = "task[" + std::to_string(i) + "]";
    std::string name = spec_.getString(path + ".name");
    if (!isName(name, /*takesDots=*/false))
      error(path + ".name", "'" + name + "' is no name for a task [S8]",
            "a name has 1 to " + llvm::Twine(kMaxName) + " letters, digits, '_' and '-'");
    else if (name == "text")
      error(path + ".name", "'text' is what tables call general text, and no name for a task [S8]");
    else if (!seen.try_emplace(name, path).second)
      error(path + ".name", "the task '" + name + "' is there already [S8]");
    checkTask(path);
  }
}

/// Whether a task's samples are the task throughout: what it asks for lies at no depth of a background.
static bool fillsContext(llvm::StringRef kind) { return kind == "common_words" || kind == "frequent_words"; }

/// Whether a task reads its questions from a file.
static bool readsQuestions(llvm::StringRef kind) { return kind == "jsonl" || kind == "qa"; }

void Checker::checkTask(const std::string &path) {
  llvm::json::Object &task = *spec_.getTable(path);
  bool tokens = task.getString("space") == "tokens";
  if (!task.get("value_length"))
    task["value_length"] = tokens ? 1 : 7;
  if (task.getArray("length")->empty())
    error(path + ".length", "'" + path + ".length' is empty [S9]");

  std::string kind = spec_.getString(path + ".kind");
  int64_t needles = spec_.getInteger(path + ".needles"), queries = spec_.getInteger(path + ".queries");
  bool asksOnce = kind == "niah_multi_value" || kind == "variable_tracking";
  bool asksAll = kind == "passkeys" || kind == "mqar" || kind == "near_keys" || fillsContext(kind);
  if (asksOnce && queries != 1)
    error(path + ".queries",
          "'" + path + ".queries' is " + llvm::Twine(queries) + ", but " + kind + " asks for one key [S10]");
  else if (!asksAll && queries > needles)
    error(path + ".queries",
          "'" + path + ".queries' is " + llvm::Twine(queries) + ", more than its " + llvm::Twine(needles) +
              " needles [S10]",
          "raise 'needles'");

  bool tokensOnly = kind == "near_keys" || kind == "induction";
  if (tokensOnly && !tokens)
    error(path + ".kind", "a task of kind " + kind + " is in token ids, not in words [S28]", "space = \"tokens\"");
  if (kind == "two_hop" && spec_.getInteger(path + ".hops") < 2)
    error(path + ".hops", "'" + path + ".hops' is 1, but a chain of two_hop has two needles or more [S28]");
  if (kind == "near_keys" && spec_.getInteger(path + ".key_length") < 2)
    error(path + ".key_length",
          "'" + path + ".key_length' is 1, but keys that nearly agree have two tokens or more [S28]");

  const llvm::json::Array &depth = *task.getArray("depth");
  if (*depth[0].getAsNumber() > *depth[1].getAsNumber())
    error(path + ".depth", "'" + path + ".depth' falls: the first is the least [S11]");

  const llvm::json::Array &repeats = *task.getArray("repeats");
  if (*repeats[0].getAsInteger() <= *repeats[1].getAsInteger())
    error(path + ".repeats", "'" + path + ".repeats' does not fall: the first is of the words that are asked for [S37]",
          "repeats = [30, 3]");

  if (readsQuestions(kind)) {
    checkQuestions(path, kind);
    return;
  }
  for (llvm::StringRef key : {"path", "prompt", "answer"})
    if (std::string given = path + "." + key.str(); spec_.isGiven(given))
      error(given, "a task of kind " + kind + " makes its questions and reads none [S30]",
            "kind = \"jsonl\" reads a file");
  if (fillsContext(kind)) {
    for (llvm::StringRef key : {"background", "depth"})
      if (std::string given = path + "." + key.str(); spec_.isGiven(given))
        error(given, "the words of a task of kind " + kind + " are all of its context, without '" + key + "' [S12]",
              "leave it out");
    return;
  }
  std::string background = spec_.getString(path + ".background");
  if (background == "text" && spec_.getStrings("data.text").empty() && !options_.configOnly)
    error(path + ".background",
          "the background of task '" + spec_.getString(path + ".name") + "' is text, but [data] names none [S12]",
          "give 'text' in [data], or background = \"noise\" or \"repeat\"");
  if (tokens && background != "text" && task.getArray("noise_tokens")->empty())
    error(path + ".noise_tokens", "background '" + background + "' in token space needs 'noise_tokens' [S12]",
          "noise_tokens = [first, last + 1]");
}

void Checker::checkQuestions(const std::string &path, llvm::StringRef kind) {
  bool isRows = kind == "jsonl";
  if (spec_.getString(path + ".space") == "tokens")
    error(path + ".space", "a task of kind " + kind + " is in words [S30]", "leave 'space' out");
  for (llvm::StringRef key : {"needles", "queries", "hops", "keys", "key_length", "values", "value_length", "repeats",
                              "alpha", "depth", "background", "key_tokens", "value_tokens", "noise_tokens"})
    if (std::string given = path + "." + key.str(); spec_.isGiven(given))
      error(given, "a task of kind " + kind + " reads its questions, and makes none of '" + key + "' [S30]",
            "leave it out");
  for (llvm::StringRef key : {"prompt", "answer"})
    if (std::string given = path + "." + key.str(); !isRows && spec_.isGiven(given))
      error(given, "the fields of a task of kind " + kind + " are those of SQuAD and HotpotQA [S30]", "leave it out");
  if (!spec_.isGiven(path + ".path")) {
    error(path + ".kind", "a task of kind " + kind + " needs a 'path' [S30]",
          isRows ? "name the file of your questions, a JSON object with 'prompt' and 'answer' a line"
                 : "name a JSON file of SQuAD or HotpotQA");
    return;
  }
  std::string file = resolvePath(spec_.getString(path + ".path"), path + ".path");
  if (!options_.configOnly && !llvm::sys::fs::is_regular_file(file))
    error(path + ".path", "there is no file '" + file + "' [S7]");
  (*spec_.getTable(path))["path"] = file;
}

void Checker::checkTaskNames(llvm::StringRef path) {
  llvm::SmallVector<std::string> owned;
  for (size_t i = 0; i < getTaskCount(); ++i)
    owned.push_back(spec_.getString("task[" + std::to_string(i) + "].name"));
  llvm::SmallVector<llvm::StringRef> names(owned.begin(), owned.end());
  for (const auto &[index, name] : llvm::enumerate(spec_.getStrings(path))) {
    if (llvm::is_contained(names, name))
      continue;
    llvm::StringRef nearest = findNearest(name, names);
    error((path + "[" + llvm::Twine(index) + "]").str(), "there is no task '" + name + "' [S14]",
          !nearest.empty() ? "did you mean '" + nearest.str() + "'?"
          : names.empty()  ? std::string("a task is a section [[task]] with this name")
                           : "tasks of this spec: " + llvm::join(names, ", "));
  }
}

void Checker::checkDepths() {
  if (spec_.find("evaluate.depths")->getAsArray()->empty() || spec_.getStrings("evaluate.tasks").empty())
    return;
  if (!findHidingTask("evaluate.tasks", [](llvm::StringRef) { return true; }))
    error("evaluate.depths", "no task of 'evaluate.tasks' asks for what lies at a depth [S36]",
          "leave it out, or name a task of needles");
}

bool Checker::findHidingTask(const std::string &key, llvm::function_ref<bool(llvm::StringRef)> isBackground) {
  const std::vector<std::string> names = spec_.getStrings(key);
  for (size_t i = 0; i < getTaskCount(); ++i) {
    const std::string path = "task[" + std::to_string(i) + "]", kind = spec_.getString(path + ".kind");
    if (llvm::is_contained(names, spec_.getString(path + ".name")) && !fillsContext(kind) && !readsQuestions(kind) &&
        isBackground(spec_.getString(path + ".background")))
      return true;
  }
  return false;
}

/// Whether a part of weights' names can be handed on: options of programs are words with commas and spaces between.
static bool isNamePart(llvm::StringRef part) {
  return !part.empty() && part.find_first_of(" \t\n\r,='\"") == llvm::StringRef::npos;
}

void Checker::checkTuning(const std::string &prefix) {
  auto place = [&](llvm::StringRef key, size_t index) {
    return prefix + key.str() + "[" + std::to_string(index) + "]";
  };
  std::vector<std::string> rates = spec_.getStrings(prefix + "rates");
  for (auto [index, entry] : llvm::enumerate(rates)) {
    auto [part, text] = llvm::StringRef(entry).split('=');
    double factor = 0;
    if (!isNamePart(part.trim()) || text.trim().getAsDouble(factor) || !(factor > 0 && factor <= 1e6))
      error(place("rates", index), "'" + entry + "' is no rate of some weights [S32]",
            "expected a part of their names and a factor above 0: \"mlp = 0.1\"");
  }
  for (auto [index, part] : llvm::enumerate(spec_.getStrings(prefix + "adapters")))
    if (!isNamePart(part))
      error(place("adapters", index), "'" + part + "' is no part of a weight's name [S33]",
            "expected words like \"q_proj\" or \"mlp\"");
  for (auto [index, length] : llvm::enumerate(spec_.getIntegers(prefix + "lengths")))
    if (length > spec_.getInteger(prefix + "length"))
      error(place("lengths", index),
            "a length of " + llvm::Twine(length) + " is above '" + prefix + "length', " +
                llvm::Twine(spec_.getInteger(prefix + "length")) + " [S34]",
            "'" + prefix + "length' is the longest, that of held-out data");
  if (prefix == "distill." && spec_.getInteger("distill.top_tokens") > 0 && spec_.getString("distill.loss") != "kl")
    error("distill.top_tokens",
          "likeliest tokens are the teacher's, and 'distill.loss' is '" + spec_.getString("distill.loss") + "' [S35]",
          "leave 'top_tokens' out, or give loss = \"kl\"");
  if (prefix == "distill." && spec_.getNumber("distill.text_weight") > 0 &&
      !findHidingTask("distill.tasks", [](llvm::StringRef background) { return background == "text"; }))
    error("distill.text_weight", "no task of 'distill.tasks' hides its needles in text [S38]",
          "leave it out, or name a task with background = \"text\"");
}

void Checker::checkStages() {
  bool hasText = !spec_.getStrings("data.text").empty() || options_.configOnly;
  for (llvm::StringRef stage : {"align", "distill", "finetune"}) {
    llvm::json::Object &table = *spec_.getTable(stage);
    std::string prefix = stage.str() + ".";
    if (!table.get("lr_end"))
      table["lr_end"] = spec_.getNumber(prefix + "lr");
    checkTaskNames(prefix + "tasks");
    int64_t steps = spec_.getInteger(prefix + "steps");
    if (stage == "distill" && !table.get("eval_every"))
      table["eval_every"] = std::max<int64_t>(1, (steps + 3) / 4);
    if (steps == 0)
      continue;
    bool hasTasks = !table.getArray("tasks")->empty();
    if (!hasText && !hasTasks)
      error(prefix + "tasks", "stage '" + stage + "' has neither text nor tasks [S14]",
            "give 'text' in [data] or 'tasks' in [" + stage.str() + "]");
    else if (!hasText && spec_.getNumber(prefix + "task_fraction") < 1)
      error(prefix + "task_fraction", "stage '" + stage + "' mixes text with its tasks, but [data] names none [S14]",
            "give 'text' in [data], or task_fraction = 1");
    if (stage != "align")
      checkTuning(prefix);
    if (spec_.getInteger(prefix + "warmup") > steps)
      error(prefix + "warmup",
            "'" + prefix + "warmup' is longer than the stage's " + llvm::Twine(steps) + " steps [S17]");
  }

  llvm::json::Object &select = *spec_.getTable("select");
  if (!select.get("lr_end"))
    select["lr_end"] = spec_.getNumber("select.lr");
  checkTaskNames("select.tasks");
  if (!hasText && !select.getArray("tasks")->empty() && spec_.getNumber("select.task_fraction") < 1)
    error("select.task_fraction", "stage 'select' mixes text with its tasks, but [data] names none [S14]",
          "give 'text' in [data], or task_fraction = 1");
  checkSelector("select.method", spec_.getString("select.method"));
  for (const auto &[index, name] : llvm::enumerate(spec_.getStrings("evaluate.baselines")))
    checkSelector(("evaluate.baselines[" + llvm::Twine(index) + "]").str(), name);
  if (spec_.isGiven("select.from"))
    select["from"] = resolvePath(spec_.getString("select.from"), "select.from");
  if (spec_.getString("select.target") == "local" && spec_.getString("select.loss") != "layers")
    error("select.target", "'select.target' local goes with loss \"layers\" only, not with \"" +
                               spec_.getString("select.loss") + "\" [S16]");
  if (spec_.getInteger("select.warmup") > spec_.getInteger("select.steps"))
    error("select.warmup", "'select.warmup' is longer than the stage's steps [S17]");

  llvm::json::Object &evaluate = *spec_.getTable("evaluate");
  if (!spec_.isGiven("evaluate.tasks"))
    evaluate["tasks"] = llvm::json::Array(*select.getArray("tasks"));
  else
    checkTaskNames("evaluate.tasks");
  if (!evaluate.get("lengths"))
    evaluate["lengths"] = llvm::json::Array();
  checkDepths();
}

void Checker::checkSelector(const std::string &key, const std::string &text) {
  morph::StatusOr<morph::SelectorName> name = morph::parseSelectorName(text);
  if (!name.ok()) {
    llvm::SmallVector<llvm::StringRef> names;
    for (const morph::SelectorInfo &info : morph::selectors())
      names.push_back(info.name);
    llvm::StringRef nearest = findNearest(llvm::StringRef(text).split(':').first, names);
    error(key, name.status().message() + " [S24]",
          nearest.empty() || llvm::is_contained(names, llvm::StringRef(text).split(':').first)
              ? name.status().hint()
              : "did you mean '" + nearest.str() + "'?");
    return;
  }
  const morph::SelectorInfo &info = *name->info;
  if (isPretrain())
    return;
  const bool measuresTasks =
      name->refines || (info.needs != morph::SelectorNeeds::Nothing && info.needs != morph::SelectorNeeds::Text);
  if (measuresTasks && spec_.getStrings("select.tasks").empty())
    error("select.tasks", "'select.tasks' is empty, but selector '" + text + "' needs tasks [S14]",
          "name the tasks whose answers decide, or take method = \"uniform\"");
  if (info.needs == morph::SelectorNeeds::Gates && spec_.getInteger("select.steps") == 0)
    error("select.steps", "'select.steps' is 0, but selector 'gates' trains them for at least one step [S17]");
  if (morph::scoresText(info) && spec_.getStrings("data.text").empty() && !options_.configOnly)
    error(key, "selector '" + info.name + "' measures on text, but [data] names none [S14]", "give 'text' in [data]");
  if (morph::distilsAlone(*name)) {
    const bool hasSteps = spec_.getInteger("distill.steps") > 0;
    if (!hasSteps || (!spec_.getStrings("distill.tasks").empty() && spec_.getNumber("distill.task_fraction") == 1))
      error(key,
            "selector '" + text + "' distils models and measures them on text, but [distill] has no " +
                (hasSteps ? "text" : "steps") + " [S24]",
            hasSteps ? "give distill.task_fraction less than 1" : "give 'steps' in [distill], or take 'kl'");
  }
  if (info.name == "fixed" && spec_.getTable("select")->getArray("layers")->empty() == !spec_.isGiven("select.from"))
    error(key, "selector 'fixed' needs one of 'select.layers' and 'select.from' [S25]",
          "layers = [0, 7] in [select], or from = \"RUN/select/selection.json\"");
}

void Checker::checkAudit() {
  llvm::json::Object *audit = spec_.getTable("audit");
  if (!audit)
    return;
  if (isPretrain())
    error("audit", "[audit] judges choices of layers, and [pretrain] makes a base model [S26]",
          "make the base first, and name its folder by 'bases' in [audit]");
  llvm::json::Array &variants = *audit->getArray("variant");
  const std::vector<std::string> selectors = spec_.getStrings("audit.selectors");
  // The best choice is no selector's, and has a line of its own.
  const char *const best = "exhaustive";
  if (variants.empty() && llvm::all_of(selectors, [&](const std::string &name) { return name == best; }))
    error("audit", "[audit] names no selector [S26]",
          "selectors = [\"gates\", \"uniform\"]; 'morph selectors' lists them");
  for (const auto &[index, name] : llvm::enumerate(selectors))
    if (name != morph::kEveryUniform)
      checkSelector(("audit.selectors[" + llvm::Twine(index) + "]").str(), name);
  for (const auto &[index, base] : llvm::enumerate(*audit->getArray("bases"))) {
    const std::string key = ("audit.bases[" + llvm::Twine(index) + "]").str();
    base = resolvePath(*base.getAsString(), key);
    if (!llvm::sys::fs::is_directory(*base.getAsString()))
      error(key, "there is no folder '" + *base.getAsString() + "' [S26]");
  }
  if (!spec_.isGiven("audit.seeds"))
    (*audit)["seeds"] = llvm::json::Array{spec_.getInteger("seed")};
  if (!spec_.isGiven("audit.tasks"))
    (*audit)["tasks"] = llvm::json::Array(*spec_.getTable("evaluate")->getArray("tasks"));
  checkTaskNames("audit.tasks");
  if (audit->getArray("tasks")->empty())
    error("audit", "[audit] has no task to judge choices on [S14]", "name one by 'tasks' in [audit]");
  if (spec_.getInteger("audit.text_samples") > 0 && spec_.getStrings("data.text").empty() && !options_.configOnly)
    error("audit.text_samples", "choices are judged on text, but [data] names none [S14]", "give 'text' in [data]");
  if (spec_.getString("audit.distill") != "none" && spec_.getInteger("distill.steps") == 0)
    error("audit.distill", "choices are judged after distillation, but the spec has no [distill] [S26]",
          "give 'steps' in [distill]");
  // What selectors choose lies in files, whose names have no colons.
  const auto fileNameOf = [](std::string name) {
    std::replace(name.begin(), name.end(), ':', '-');
    return name;
  };
  llvm::StringMap<std::string> names; // By those of files.
  names[best] = best;
  for (const std::string &name : selectors)
    names[fileNameOf(name)] = name;
  for (size_t i = 0; i < variants.size(); ++i) {
    const std::string key = "audit.variant[" + std::to_string(i) + "].";
    const std::string name = spec_.getString(key + "name");
    std::string letters = fileNameOf(name);
    const auto entry = names.try_emplace(letters, name);
    const std::string &owner = entry.first->second;
    std::replace(letters.begin(), letters.end(), '+', '-');
    if (!isName(letters, /*takesDots=*/true))
      error(key + "name", "'" + name + "' is no name for a variant [S27]",
            "a name has letters, digits, '_', '-', '.', ':' and '+'");
    if (!entry.second && owner == name)
      error(key + "name", "'" + name + "' is the name of another selector of [audit] [S27]");
    else if (!entry.second)
      error(key + "name", "'" + name + "' and '" + owner + "' of [audit] would have the same files [S27]",
            "give one of them another name; in those of files ':' is '-'");
    else if (llvm::StringRef(name).starts_with("uniform")) // Tables have the best of these.
      error(key + "name", "'" + name + "' begins as evenly spaced patterns of layers are called [S27]",
            "give it another name");
    for (const auto &[index, setting] : llvm::enumerate(spec_.getStrings(key + "settings")))
      if (llvm::StringRef text = setting; !text.starts_with("select.") || !text.contains('='))
        error(key + "settings[" + std::to_string(index) + "]", "'" + setting + "' does not set a key of [select] [S27]",
              "\"select.loss=ce\"");
  }
}

void Checker::fillPretrain() {
  llvm::json::Object *pretrain = spec_.getTable("pretrain");
  if (!pretrain)
    return;
  if (!pretrain->get("lr_end"))
    (*pretrain)["lr_end"] = spec_.getNumber("pretrain.lr");
  checkTaskNames("pretrain.tasks");
  if (pretrain->getArray("tasks")->empty()) {
    error("pretrain.tasks", "'pretrain.tasks' is empty [S14]", "name the tasks whose answers are learnt");
    return;
  }
  if (!pretrain->getObject("base"))
    error("pretrain", "[pretrain] has no [pretrain.base] [S2]", "give the shape of the base in [pretrain.base]");
  llvm::json::Array &phases = *pretrain->getArray("phase");
  if (phases.empty())
    error("pretrain", "[pretrain] has no [[pretrain.phase]]", "give at least one step of the curriculum");

  for (size_t phase = 0; phase < phases.size(); ++phase) {
    const std::string tasks = "pretrain.phase[" + std::to_string(phase) + "].tasks";
    if (!spec_.isGiven(tasks)) {
      (*phases[phase].getAsObject())["tasks"] = llvm::json::Array(*pretrain->getArray("tasks"));
      continue;
    }
    checkTaskNames(tasks);
    if (spec_.getStrings(tasks).empty())
      error(tasks, "'" + tasks + "' is empty [S14]", "name the tasks whose answers are learnt");
  }
}

} // namespace

bool morph::spec::checkBeforeModel(Spec &spec, const SpecOptions &options, Diagnostics &diagnostics) {
  unsigned before = diagnostics.getErrorCount();
  Checker(spec, options, diagnostics).check();
  checkSizes(spec, diagnostics);
  return diagnostics.getErrorCount() == before;
}
