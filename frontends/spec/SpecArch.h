// SPDX-License-Identifier: Apache-2.0
// The `arch` of a spec: of the file that it names, or the one that its [linear] and [budget] are short for.

#ifndef MORPH_FRONTENDS_SPEC_SPECARCH_H
#define MORPH_FRONTENDS_SPEC_SPECARCH_H

#include "frontends/morph/Ast.h"
#include "frontends/spec/Spec.h"

namespace morph::spec {

/// The file and the name, which may be empty, in a reference to an arch.
std::pair<llvm::StringRef, llvm::StringRef> splitArchReference(llvm::StringRef reference);

/// An arch of a `.morph` file: `FILE`, which has one, or `FILE:NAME`. Files that it names are relative to its folder;
/// its mixers of the same file become references to that file. Nothing after an error; `usedAt` is where it is named.
std::optional<language::Arch> readArchFile(llvm::StringRef reference, SourceRange usedAt, Diagnostics &diagnostics);

/// The same of a text that is, or will be, at that path; `name` may be empty.
std::optional<language::Arch> readArchText(llvm::StringRef path, llvm::StringRef name, llvm::StringRef text,
                                           SourceRange usedAt, Diagnostics &diagnostics);

/// Makes the path `arch` of a spec absolute, and returns it.
std::string resolveArch(Spec &spec, const Diagnostics &diagnostics);

/// Takes the base model of an arch into a spec that does not name one. Reports keys that say what the arch says.
void mergeArch(Spec &spec, const language::Arch &arch, Diagnostics &diagnostics);

/// What the spec's [linear] and [budget] say. Its lines have the places of their values. A spec that ends with its base
/// needs no budget: all layers stay as they are.
language::Arch makeArch(const Spec &spec);

} // namespace morph::spec

#endif // MORPH_FRONTENDS_SPEC_SPECARCH_H
