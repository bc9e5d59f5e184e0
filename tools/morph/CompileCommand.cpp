// SPDX-License-Identifier: Apache-2.0
// morph compile: a spec's programs for GPUs, to be run where no compiler is.

#include "runtime/plan/DeviceModel.h"
#include "runtime/plan/DeviceTargets.h"
#include "tools/morph/Commands.h"
#include "tools/morph/SpecPlans.h"

#include <cstdio>
#include <memory>

using namespace morph;

namespace {

struct CompileArguments : SpecArguments {
  std::vector<std::string> devices;
  std::string output;
};

Status compileSpec(const Toolchain &tools, const CompileArguments &arguments) {
  std::string target;
  for (const std::string &device : arguments.devices) {
    const StatusOr<plan::DeviceModel> model = plan::findDeviceModel(device);
    target += (target.empty() ? "" : ",") + (model.ok() ? model->target : device);
  }
  const Compiler compiler(tools, target);
  MORPH_ASSIGN_OR_RETURN(const ResolvedSpec resolved,
                         compiler.resolve(arguments.spec, arguments.settings, /*configOnly=*/true));
  std::error_code error;
  const fs::path folder = arguments.output;
  if (fs::exists(folder, error) && !fs::is_empty(folder, error))
    return Status::invalid("'" + arguments.output + "' is there and not empty", "name another folder with --out");
  // Whole or not at all.
  MORPH_ASSIGN_OR_RETURN(TemporaryFolder made, TemporaryFolder::createFor(folder));
  MORPH_ASSIGN_OR_RETURN(const SpecPlans plans,
                         emitSpecPlans(compiler, arguments, resolved, variantsOf(resolved), made.path()));
  MORPH_RETURN_IF_ERROR(made.keepAs(folder));
  for (const auto &[name, file] : plans.files)
    std::printf("%s\n", (folder / file.filename()).c_str());
  return Status();
}

} // namespace

void morph::addCompileCommand(CLI::App &app, Action &action) {
  auto arguments = std::make_shared<CompileArguments>();
  CLI::App *command = app.add_subcommand("compile", "Write a spec's programs and their kernels for GPUs into a folder");
  addSpecArguments(*command, *arguments);
  std::vector<std::string> targets = plan::deviceNames();
  for (const plan::DeviceTarget &target : plan::kDeviceTargets)
    targets.push_back(target.name);
  command
      ->add_option("--device", arguments->devices,
                   "The GPU or its generation, or several with commas; later ones run it, too")
      ->delimiter(',')
      ->check(CLI::IsMember(targets))
      ->required();
  command->add_option("--out", arguments->output, "The folder to make: plans, IR and PTX")->required();
  command->callback([&action, arguments] {
    action = [arguments](const Toolchain &tools) { return compileSpec(tools, *arguments); };
  });
}
