// SPDX-License-Identifier: Apache-2.0
// A `.morph` file in an editor.

#ifndef MORPH_FRONTENDS_MORPH_LANGUAGESERVICE_H
#define MORPH_FRONTENDS_MORPH_LANGUAGESERVICE_H

#include "frontends/LanguageService.h"

#include <functional>
#include <memory>

namespace morph::language {

/// What is wrong with the archs of a file at a path that has this text, which has no errors in itself.
using ArchCheck = std::function<std::vector<Problem>(llvm::StringRef path, llvm::StringRef text)>;

/// The service of a file at a path, which paths in it are relative to; empty where it has none yet. Answers about a
/// text with errors come from the lines without; where that leaves no mixer, from an earlier text that had one there.
/// `checkArchs` knows their models, which nothing here does.
std::unique_ptr<LanguageService> makeLanguageService(llvm::StringRef path, ArchCheck checkArchs = nullptr);

} // namespace morph::language

#endif // MORPH_FRONTENDS_MORPH_LANGUAGESERVICE_H
