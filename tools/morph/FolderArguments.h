// SPDX-License-Identifier: Apache-2.0
// The arguments of the commands that run a Hugging Face folder, and its programs.

#ifndef MORPH_TOOLS_MORPH_FOLDERARGUMENTS_H
#define MORPH_TOOLS_MORPH_FOLDERARGUMENTS_H

#include "tools/morph/Files.h"
#include "tools/morph/Toolchain.h"

#include <CLI/CLI.hpp>

#include <string>
#include <vector>

namespace morph {

struct FolderArguments {
  std::string model, device = "cpu", precision = "fp32";
};

/// Adds MODEL, --device and --precision to a command. `arguments` must outlive it.
void addFolderArguments(CLI::App &command, FolderArguments &arguments);

/// The plan of one program of the folder's model, written into `output`, and where it runs and its weights lie, as
/// arguments of morph-run. `options` are the program's own, beside its precision: "positions=true".
StatusOr<std::vector<std::string>> compileFolder(const Toolchain &tools, const FolderArguments &arguments,
                                                 const std::string &program, const std::string &options,
                                                 const fs::path &output);

/// How tokens are drawn.
struct SamplingArguments {
  double temperature = 0, topP = 1;
  int64_t seed = 0;
  /// As arguments of the programs that draw.
  std::vector<std::string> flags() const;
};

/// Adds --temperature, --top-p and --seed to a command. `arguments` must outlive it.
void addSamplingArguments(CLI::App &command, SamplingArguments &arguments);

} // namespace morph

#endif // MORPH_TOOLS_MORPH_FOLDERARGUMENTS_H
