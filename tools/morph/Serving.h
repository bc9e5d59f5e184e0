// SPDX-License-Identifier: Apache-2.0
// Which programs can load the hybrids of a spec, known before any of them is made.

#ifndef MORPH_TOOLS_MORPH_SERVING_H
#define MORPH_TOOLS_MORPH_SERVING_H

#include "runtime/spec/Spec.h"
#include "tools/morph/Compiler.h"

namespace morph {

/// What tools/python/export/serving.py says of every hybrid that the spec may choose: `format`, `class`, and of each
/// program `engine`, `class`, `prevented` and `warnings`. `paired` is the model's IR of that phase; files are made in
/// `folder`. An error (exit code 2) where export.format asks for a class of stock transformers and there is none.
StatusOr<Json> findEngines(const Toolchain &tools, const Compiler &compiler, const ResolvedSpec &resolved,
                           const fs::path &paired, const fs::path &folder);

} // namespace morph

#endif // MORPH_TOOLS_MORPH_SERVING_H
