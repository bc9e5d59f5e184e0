// SPDX-License-Identifier: Apache-2.0
// morph audit: selectors held against each other, and against every choice where that can be.

#include "tools/morph/Commands.h"
#include "tools/morph/Pipeline.h"
#include "tools/morph/Report.h"
#include "tools/morph/RunArguments.h"

#include <algorithm>
#include <cstdio>
#include <memory>

using namespace morph;

namespace {

/// A base model and a seed: what has a run directory of its own.
struct AuditedRun {
  std::string base; ///< The folder's name.
  int64_t seed = 0;
  std::vector<std::string> settings; ///< All of the run's.
  ResolvedSpec resolved;
  std::vector<Variant> variants;
};

} // namespace

/// All bases with all seeds; whatever a spec is refused for is said here.
static StatusOr<std::vector<AuditedRun>> listRuns(const Compiler &compiler, const RunArguments &arguments,
                                                  const ResolvedSpec &resolved) {
  std::vector<AuditedRun> runs;
  std::vector<std::string> bases = resolved.audit->bases;
  if (bases.empty())
    bases.push_back("");
  std::map<std::string, std::string> folders;
  for (const std::string &base : bases) {
    const fs::path folder = (base.empty() ? fs::path(resolved.model.path) : fs::path(base)).lexically_normal();
    const std::string name = (folder.filename().empty() ? folder.parent_path() : folder).filename().string();
    if (!folders.emplace(name, folder.string()).second)
      return Status::invalid("audit.bases: two folders are called '" + name + "' [S26]", "rename one of them");
    for (const int64_t seed : resolved.audit->seeds) {
      AuditedRun &run = runs.emplace_back(AuditedRun{name, seed, arguments.settings, {}, {}});
      run.settings.push_back("seed=" + std::to_string(seed));
      if (!base.empty())
        run.settings.push_back("model.path=" + Json(base).dump());
    }
  }
  for (AuditedRun &run : runs) {
    const auto resolve = [&](const std::vector<std::string> &settings) {
      std::vector<std::string> all = run.settings;
      all.insert(all.end(), settings.begin(), settings.end());
      return compiler.resolve(arguments.spec, all);
    };
    MORPH_ASSIGN_OR_RETURN(run.resolved, resolve({}));
    MORPH_ASSIGN_OR_RETURN(run.variants, auditVariants(run.resolved, resolve));
  }
  return runs;
}

/// The audit's inputs for tools/python/audit.
static Json describe(const ResolvedSpec &resolved, const std::vector<AuditedRun> &runs, std::vector<Json> cells) {
  const AuditSpec &audit = *resolved.audit;
  std::vector<std::string> labels; // A base of more layers has more patterns of uniform.
  for (const AuditedRun &run : runs)
    for (const Variant &variant : run.variants)
      if (std::find(labels.begin(), labels.end(), variant.label) == labels.end())
        labels.push_back(variant.label);
  return {{"version", 1},
          {"name", resolved.name},
          {"confidence", audit.confidence},
          {"resamples", audit.resamples},
          {"seed", resolved.seed},
          {"reference", labels.front()},
          {"selectors", labels},
          {"cells", std::move(cells)}};
}

static Status runAudit(const Toolchain &tools, const RunArguments &arguments, Workers &workers) {
  const Compiler compiler(tools);
  MORPH_ASSIGN_OR_RETURN(const ResolvedSpec whole, compiler.resolve(arguments.spec, arguments.settings));
  if (!whole.audit)
    return Status::invalid(arguments.spec + " has no [audit]", "specs/reference.md says what it holds");
  const fs::path out = arguments.out.empty() ? fs::path(whole.name + ".audit") : fs::path(arguments.out);
  MORPH_ASSIGN_OR_RETURN(const Runtime runtime, askRuntime(tools, whole.model.threads, whole.model.device));
  MORPH_ASSIGN_OR_RETURN(const std::vector<AuditedRun> runs, listRuns(compiler, arguments, whole));
  std::vector<Json> cells;
  for (size_t i = 0; i < runs.size(); ++i) {
    const AuditedRun &audited = runs[i];
    const std::string folder = "runs/" + audited.base + "-seed" + std::to_string(audited.seed);
    std::fprintf(stderr, "morph: audit, run %zu of %zu: base %s, seed %lld\n", i + 1, runs.size(), audited.base.c_str(),
                 static_cast<long long>(audited.seed));
    MORPH_ASSIGN_OR_RETURN(const RunDirectory run, RunDirectory::open(out / folder, audited.resolved, runtime.machine,
                                                                      arguments.spec, arguments.update));
    Pipeline pipeline(tools, run, runtime, fs::absolute(arguments.spec), audited.settings, arguments.force, workers);
    MORPH_ASSIGN_OR_RETURN(Json found, pipeline.audit(audited.variants));
    for (Json &cell : found) {
      cell["base"] = audited.base;
      cell["seed"] = audited.seed;
      cell["measures"] = folder + "/" + cell["measures"].get<std::string>();
      for (auto &[label, file] : cell["selections"].items())
        file = folder + "/" + file.get<std::string>();
      cells.push_back(std::move(cell));
    }
  }
  MORPH_RETURN_IF_ERROR(writeJson(out / "cells.json", describe(whole, runs, std::move(cells))));
  MORPH_ASSIGN_OR_RETURN(const std::string python, tools.python());
  MORPH_ASSIGN_OR_RETURN(const std::string script, tools.script("audit/audit.py"));
  return runHelper({{python, script, "--dir", out.string()}});
}

void morph::addAuditCommand(CLI::App &app, Action &action) {
  auto arguments = std::make_shared<RunArguments>();
  CLI::App *command = app.add_subcommand(
      "audit", "Hold the selectors of a spec's [audit] against each other and against every choice of layers");
  addRunArguments(*command, *arguments, "The audit's folder (default: NAME.audit, NAME the spec's name)");
  command->callback([&action, arguments] {
    action = [arguments](const Toolchain &tools) {
      return runPlaced(tools, *arguments, [&](Workers &workers) { return runAudit(tools, *arguments, workers); });
    };
  });
}
