// SPDX-License-Identifier: Apache-2.0
// Small files, written whole or not at all.

#ifndef MORPH_RUNTIME_TRAIN_FILEIO_H
#define MORPH_RUNTIME_TRAIN_FILEIO_H

#include "runtime/base/Status.h"

#include <string>

namespace morph {

/// Writes under a temporary name beside `path`, syncs and renames. Errors name the path and the system's reason.
Status writeTextAtomic(const std::string &path, const std::string &text);

} // namespace morph

#endif // MORPH_RUNTIME_TRAIN_FILEIO_H
