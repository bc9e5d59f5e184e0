// SPDX-License-Identifier: Apache-2.0

#include "tools/morph/RunArguments.h"

#include "runtime/base/Json.h"

using namespace morph;

void morph::addRunArguments(CLI::App &command, RunArguments &arguments, const std::string &out) {
  addSpecArguments(command, arguments);
  command
      .add_option_function<std::string>(
          "--device",
          [&arguments](const std::string &value) {
            arguments.settings.push_back("model.device=" + Json(value).dump());
          },
          "cpu, cuda or cuda:N: the key model.device")
      ->type_name("NAME");
  command.add_option("--out", arguments.out, out);
  command
      .add_option("--processes", arguments.processes,
                  "Processes of this machine that share each stage (default: 1, or those that torchrun, Slurm or MPI "
                  "has started)")
      ->check(CLI::Range(int64_t(1), int64_t(256)));
  command.add_flag("--update", arguments.update,
                   "The directory may belong to another spec or machine: run the changed stages again");
  command.add_flag("--force", arguments.force, "Run even where memory or disk look too small for it");
}

Status morph::runPlaced(const Toolchain &tools, const RunArguments &arguments,
                        const std::function<Status(Workers &workers)> &run) {
  MORPH_ASSIGN_OR_RETURN(const Place place, findPlace());
  if (place.count > 1 && arguments.processes > 1)
    return Status::invalid(place.launcher + " has started " + std::to_string(place.count) +
                               " processes: --processes is for those that one call of morph starts itself",
                           "leave --processes out");
  if (!place.isLeader())
    return followLeader(tools, place);
  MORPH_ASSIGN_OR_RETURN(const auto workers, Workers::gather(place, arguments.processes));
  const Status status = run(*workers);
  workers->setExitCode(status.exitCode());
  return status;
}
