// SPDX-License-Identifier: Apache-2.0

#include "tools/morph/SpecArguments.h"

void morph::addSpecArguments(CLI::App &command, SpecArguments &arguments) {
  command
      .add_option("SPEC", arguments.spec,
                  "The spec: a TOML file, or a .morph file with an arch, FILE:NAME of several (specs/README.md)")
      ->required();
  command.add_option("--set", arguments.settings, "Override a key of the spec: KEY=VALUE")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  command
      .add_option_function<std::string>(
          "--memory-limit",
          [&arguments](const std::string &value) { arguments.settings.push_back("model.memory_limit=" + value); },
          "Memory that a stage may take, in GB: the key model.memory_limit")
      ->type_name("GB");
}

void morph::addDeviceArgument(CLI::App &command, std::string &device) {
  command.add_option("--device", device, "Where the program runs: cpu, cuda or cuda:N")->capture_default_str();
}
