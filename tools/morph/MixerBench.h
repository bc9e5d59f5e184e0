// SPDX-License-Identifier: Apache-2.0
// morph bench mixers: what a layer of each mixer costs a decoded token on this machine, as the table that budgets of
// decode_seconds go by.

#ifndef MORPH_TOOLS_MORPH_MIXERBENCH_H
#define MORPH_TOOLS_MORPH_MIXERBENCH_H

#include "tools/morph/Commands.h"

namespace morph {

/// Adds `mixers` to `bench`.
void addMixerBench(CLI::App &bench, Action &action);

} // namespace morph

#endif // MORPH_TOOLS_MORPH_MIXERBENCH_H
