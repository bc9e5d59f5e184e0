// SPDX-License-Identifier: Apache-2.0
// A `.morph` file in the one layout that all have.

#ifndef MORPH_FRONTENDS_MORPH_FORMAT_H
#define MORPH_FRONTENDS_MORPH_FORMAT_H

#include "frontends/morph/Ast.h"

namespace morph::language {

/// The text of a file: two blanks a level, lines of at most 120 columns where they can be broken, comments and single
/// blank lines kept; comments within a statement stand before it. The text has the file's meaning, and formatting it
/// again changes nothing.
std::string formatFile(const File &file);

} // namespace morph::language

#endif // MORPH_FRONTENDS_MORPH_FORMAT_H
