// SPDX-License-Identifier: Apache-2.0
// What the commands have in common that run stages: their arguments, and the processes that they run in.

#ifndef MORPH_TOOLS_MORPH_RUNARGUMENTS_H
#define MORPH_TOOLS_MORPH_RUNARGUMENTS_H

#include "tools/morph/SpecArguments.h"
#include "tools/morph/Toolchain.h"
#include "tools/morph/Workers.h"

#include <functional>

namespace morph {

struct RunArguments : SpecArguments {
  std::string out;
  bool update = false, force = false;
  int64_t processes = 1;
};

/// Adds those of a spec, --device, --out (described by `out`), --processes, --update and --force. `arguments` must
/// outlive the command.
void addRunArguments(CLI::App &command, RunArguments &arguments, const std::string &out);

/// Calls `run` with the processes of all stages, in the driver that leads; the others of a launcher follow it.
Status runPlaced(const Toolchain &tools, const RunArguments &arguments,
                 const std::function<Status(Workers &workers)> &run);

} // namespace morph

#endif // MORPH_TOOLS_MORPH_RUNARGUMENTS_H
