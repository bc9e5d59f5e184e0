// SPDX-License-Identifier: Apache-2.0

#include "tools/morph/RunDirectory.h"

#include "runtime/spec/ArchName.h"
#include "tools/morph/StageCache.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <map>
#include <set>
#include <sys/file.h>
#include <tuple>
#include <unistd.h>

using namespace morph;

namespace {

constexpr const char *kResolved = "resolved.json";
constexpr const char *kMachine = "machine.json";
constexpr const char *kTomlSpec = "spec.toml";
constexpr const char *kArchSpec = "spec.morph";
constexpr const char *kLock = ".lock";

/// Whether a key of the spec can be changed without changing any number of the run.
bool changesNothing(const std::string &path) {
  const std::string leaf = path.substr(path.rfind('.') + 1);
  return leaf == "log_every" || leaf == "checkpoint_every" || path == "model.threads" || path == "audit" ||
         path.rfind("audit.", 0) == 0; // Its stages have what they need of it in their keys.
}

/// The constraints of a kind, by what they mean, with the lines that they come from: "budget.full_layers", "'tie
/// 0..1'".
std::map<std::string, std::string> constraintsOf(const Json &space, const char *kind) {
  std::map<std::string, std::string> lines;
  for (Json constraint : space.value(kind, Json::array())) {
    const std::string text = constraint.value("source", Json::object()).value("text", "");
    constraint.erase("source");
    lines.emplace(constraint.dump(),
                  text.rfind("budget.", 0) == 0 ? text.substr(0, text.find(" = ")) : "'" + text + "'");
  }
  return lines;
}

/// What people know of a space is what it was made of.
void compareSpaces(const Json &first, const Json &second, std::set<std::string> &found) {
  if (first.value("layers", Json()) != second.value("layers", Json())) {
    // Costs are the candidates'.
    found.insert("[linear] or the arch's layers");
    return;
  }
  for (const char *kind : {"allowed", "ties", "counts", "budgets"}) {
    const auto before = constraintsOf(first, kind), after = constraintsOf(second, kind);
    for (const auto &[these, others] : {std::tie(before, after), std::tie(after, before)})
      for (const auto &[constraint, line] : these)
        if (!others.count(constraint))
          found.insert(line);
  }
}

void compare(const Json &first, const Json &second, const std::string &path, std::set<std::string> &found) {
  if (first == second)
    return;
  if (path == "space")
    return compareSpaces(first, second, found);
  auto descend = [&](const std::string &name) { return path.empty() ? name : path + "." + name; };
  if (first.is_object() && second.is_object()) {
    std::set<std::string> names;
    for (const auto &[name, value] : first.items())
      names.insert(name);
    for (const auto &[name, value] : second.items())
      names.insert(name);
    for (const std::string &name : names)
      compare(first.value(name, Json()), second.value(name, Json()), descend(name), found);
    return;
  }
  if (first.is_array() && second.is_array() && first.size() == second.size() && !first.empty() &&
      first[0].is_object()) {
    for (size_t i = 0; i < first.size(); ++i)
      compare(first[i], second[i], path + "[" + std::to_string(i) + "]", found);
    return;
  }
  if (!changesNothing(path))
    found.insert(path);
}

/// The error for a folder whose numbers were computed otherwise than they would be here.
Status refuseMachine(const fs::path &path, const Machine &made, const Machine &here) {
  const bool threadsOnly = made.instructionSet == here.instructionSet && made.device == here.device;
  return Status::invalid(
      path.string() + " holds numbers that were computed " + made.differencesFrom(here) +
          "; here they would be computed " + here.differencesFrom(made) + ", and differ in their last bits",
      (threadsOnly ? "go on with --set model.threads=" + std::to_string(made.threads) : "go on where it began") +
          ", name another folder with --out, or give --update to run the stages again here");
}

/// Whether a change of the spec would cost anything that lies in the folder: a whole stage, or a checkpoint of one.
bool holdsWork(const fs::path &root) {
  std::error_code error;
  for (const fs::directory_entry &entry : fs::recursive_directory_iterator(root, error)) {
    const fs::path &path = entry.path();
    if (path.filename().string().rfind("checkpoint.", 0) == 0)
      return true;
    if (path.filename() == "stage.json") {
      const fs::path stage = path.parent_path();
      if (StageFolder(stage.parent_path(), stage.filename().string()).isComplete())
        return true;
    }
  }
  return static_cast<bool>(error);
}

} // namespace

std::vector<std::string> morph::differingKeys(const Json &first, const Json &second) {
  std::set<std::string> found;
  compare(first, second, "", found);
  return {found.begin(), found.end()};
}

RunDirectory::RunDirectory(RunDirectory &&other) noexcept
    : root_(std::move(other.root_)), lock_(other.lock_), isNew_(other.isNew_), resolved_(std::move(other.resolved_)),
      machine_(std::move(other.machine_)) {
  other.lock_ = -1;
}

RunDirectory::~RunDirectory() {
  if (lock_ >= 0)
    ::close(lock_);
}

StatusOr<RunDirectory> RunDirectory::lockFolder(const fs::path &path) {
  const fs::path name = path / kLock;
  const int lock = ::open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (lock < 0)
    return Status::failed("cannot write into " + path.string() + ": " + std::strerror(errno),
                          "--out names where the run directory goes");
  if (::flock(lock, LOCK_EX | LOCK_NB) != 0) {
    ::close(lock);
    return Status::failed("another morph works in " + path.string(), "wait for it, or name another folder with --out");
  }
  return RunDirectory(path, lock);
}

StatusOr<RunDirectory> RunDirectory::open(const fs::path &path, const ResolvedSpec &spec, const Machine &machine,
                                          const fs::path &specFile, bool update) {
  const Json resolved = toJson(spec);
  std::error_code error;
  if (fs::exists(path, error) && !fs::is_directory(path, error))
    return Status::invalid(path.string() + " is a file, expected a folder for the run", "name another one with --out");
  bool known = false;
  if (fs::exists(path / kResolved, error)) {
    MORPH_ASSIGN_OR_RETURN(const Json before, readJson((path / kResolved).string()));
    const std::vector<std::string> keys = differingKeys(before, resolved);
    known = keys.empty();
    MORPH_ASSIGN_OR_RETURN(const Machine made, readMachine(path / kMachine));
    const bool loses = (!known || made != machine) && !update && holdsWork(path);
    if (!known && loses) {
      std::string names;
      for (size_t i = 0; i < keys.size() && i < 8; ++i)
        names += (i ? ", " : "") + keys[i];
      if (keys.size() > 8)
        names += " and " + std::to_string(keys.size() - 8) + " more";
      return Status::invalid(path.string() + " belongs to another spec; these keys differ: " + names,
                             "name another folder with --out, or give --update to run the changed stages again here");
    }
    if (loses)
      return refuseMachine(path, made, machine);
    known &= made == machine;
  } else if (fs::exists(path, error)) {
    for (const fs::directory_entry &entry : fs::directory_iterator(path, error))
      if (entry.path().filename() != kLock)
        return Status::invalid(path.string() + " is not empty and not a run directory", "name another one with --out");
  }
  const bool isNew = !fs::exists(path, error);
  MORPH_RETURN_IF_ERROR(makeFolder(path));
  MORPH_ASSIGN_OR_RETURN(RunDirectory run, lockFolder(fs::absolute(path)));
  const bool isBegun = fs::exists(run.file(kResolved), error);
  run.isNew_ = isNew && !isBegun;
  run.resolved_ = spec;
  run.machine_ = machine;
  if (Status status = run.begin(specFile, known); !status.ok()) {
    // A folder with some of a run's files and no resolved.json would be refused as something else's.
    for (const char *name : {"ir", "plans", kTomlSpec, kArchSpec, kMachine})
      if (!isBegun)
        (void)removeAll(run.file(name));
    run.removeIfNew();
    return status;
  }
  return run;
}

Status RunDirectory::begin(const fs::path &specFile, bool known) const {
  for (const char *folder : {"ir", "plans"})
    MORPH_RETURN_IF_ERROR(makeFolder(file(folder)));
  const Json resolved = toJson(resolved_);
  if (!known) {
    // For people: the text that the run was made of, and of an arch the file, whose recipe is in resolved.json.
    const std::string text = specFile.string();
    const std::string_view arch = archFile(text);
    MORPH_RETURN_IF_ERROR(
        copyFile(arch.empty() ? specFile : fs::path(arch), file(arch.empty() ? kTomlSpec : kArchSpec)));
    MORPH_RETURN_IF_ERROR(removeAll(file(arch.empty() ? kArchSpec : kTomlSpec))); // The spec before it was the other.
    MORPH_RETURN_IF_ERROR(writeJson(file(kMachine), machine_.toJson()));
  } else {
    MORPH_ASSIGN_OR_RETURN(const Json before, readJson(file(kResolved).string()));
    if (before == resolved)
      return Status();
  }
  // Last, because it says that the folder belongs to the spec.
  return writeJson(file(kResolved), resolved);
}

void RunDirectory::removeIfNew() const {
  std::error_code error;
  if (isNew_)
    fs::remove_all(root_, error);
}

StatusOr<RunDirectory> RunDirectory::reopen(const fs::path &path) {
  std::error_code error;
  if (!fs::exists(path / kResolved, error))
    return Status::invalid(path.string() + " is not a run directory (it has no " + kResolved + ")",
                           "'morph run SPEC --out DIR' makes one");
  const std::string file = (path / kResolved).string();
  MORPH_ASSIGN_OR_RETURN(const Json json, readJson(file));
  MORPH_ASSIGN_OR_RETURN(ResolvedSpec resolved, readSpec(json, file));
  MORPH_ASSIGN_OR_RETURN(Machine machine, readMachine(path / kMachine));
  MORPH_ASSIGN_OR_RETURN(RunDirectory run, lockFolder(fs::absolute(path)));
  run.resolved_ = std::move(resolved);
  run.machine_ = std::move(machine);
  return run;
}
