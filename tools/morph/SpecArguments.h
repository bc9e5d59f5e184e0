// SPDX-License-Identifier: Apache-2.0
// The arguments of the commands that read a spec.

#ifndef MORPH_TOOLS_MORPH_SPECARGUMENTS_H
#define MORPH_TOOLS_MORPH_SPECARGUMENTS_H

#include <CLI/CLI.hpp>

#include <string>
#include <vector>

namespace morph {

struct SpecArguments {
  std::string spec;
  std::vector<std::string> settings; ///< "key=value", what `--memory-limit` sets included.
};

/// Adds SPEC, --set and --memory-limit to a command. `arguments` must outlive it.
void addSpecArguments(CLI::App &command, SpecArguments &arguments);

/// Adds --device to a command that reads none: where its program runs.
void addDeviceArgument(CLI::App &command, std::string &device);

} // namespace morph

#endif // MORPH_TOOLS_MORPH_SPECARGUMENTS_H
