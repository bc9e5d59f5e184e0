// SPDX-License-Identifier: Apache-2.0
// morph track: a run's metrics for TensorBoard and Weights & Biases.

#include "tools/morph/Commands.h"
#include "tools/morph/Compiler.h"

#include <memory>

using namespace morph;

namespace {

struct TrackArguments {
  std::string run, tensorboard, wandb;
  std::string project = "morph";
};

Status track(const Toolchain &tools, const TrackArguments &arguments) {
  if (arguments.tensorboard.empty() && arguments.wandb.empty())
    return Status::invalid("nothing to write", "give --tensorboard DIR, --wandb DIR or both");
  MORPH_ASSIGN_OR_RETURN(const std::string python, tools.python());
  MORPH_ASSIGN_OR_RETURN(const std::string script, tools.script("tracking/tracking.py"));
  Command command{{python, script, arguments.run, "--project", arguments.project}};
  for (const auto &[option, folder] : {std::pair{"--tensorboard", arguments.tensorboard}, {"--wandb", arguments.wandb}})
    if (!folder.empty())
      command.arguments.insert(command.arguments.end(), {option, folder});
  return runHelper(command);
}

} // namespace

void morph::addTrackCommand(CLI::App &app, Action &action) {
  auto arguments = std::make_shared<TrackArguments>();
  CLI::App *command =
      app.add_subcommand("track", "Write a run's metrics as TensorBoard's and Weights & Biases' own files");
  command->add_option("RUN", arguments->run, "The run's folder")->required();
  command->add_option("--tensorboard", arguments->tensorboard, "Where event files go: DIR/<run>/<stage>");
  command->add_option("--wandb", arguments->wandb, "Where an offline run goes, for `wandb sync`: DIR/<run>");
  command->add_option("--project", arguments->project, "Weights & Biases' project (default: morph)");
  command->callback(
      [&action, arguments] { action = [arguments](const Toolchain &tools) { return track(tools, *arguments); }; });
}
