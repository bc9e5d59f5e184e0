// SPDX-License-Identifier: Apache-2.0
// Text of a `.morph` file to its syntax tree.

#ifndef MORPH_FRONTENDS_MORPH_PARSER_H
#define MORPH_FRONTENDS_MORPH_PARSER_H

#include "frontends/morph/Ast.h"

namespace morph::language {

/// Limits of a file, which is untrusted.
constexpr uint64_t kMaxFileBytes = 1 << 20;
constexpr size_t kMaxDeclarations = 64;
constexpr size_t kMaxStatements = 1000; ///< Of a declaration.
constexpr size_t kMaxNesting = 64;      ///< Of `if`.
constexpr size_t kMaxOptions = 64;
constexpr size_t kMaxRank = 4;        ///< Sizes of a weight.
constexpr size_t kMaxCandidates = 63; ///< Of a layer, beside full attention.

/// Errors after which the rest of a file is neither read nor checked.
constexpr unsigned kMaxErrors = 100;

/// Parses a text that `diagnostics` has taken in. All errors that are found are reported; after one, parsing goes on at
/// the next line. Nothing is returned where there was any.
std::optional<File> parseFile(llvm::StringRef text, Diagnostics &diagnostics);

/// The same for editors: of a text with errors, what is left of it without the lines that have them.
File parsePartly(llvm::StringRef text, Diagnostics &diagnostics);

} // namespace morph::language

#endif // MORPH_FRONTENDS_MORPH_PARSER_H
