// SPDX-License-Identifier: Apache-2.0
// A `.morph` file in an editor.

#ifndef MORPH_FRONTENDS_MORPH_LANGUAGESERVICE_H
#define MORPH_FRONTENDS_MORPH_LANGUAGESERVICE_H

#include "frontends/LanguageService.h"

#include <memory>

namespace morph::language {

/// Answers about a text with errors come from the lines without; where that leaves no mixer, from an earlier text that
/// had one there.
std::unique_ptr<LanguageService> makeLanguageService();

/// A mixer's declaration by name in a text: its name. Nothing where there is none.
std::optional<TextRange> findMixer(llvm::StringRef text, llvm::StringRef name);

/// What a text says of its mixer of a name, as Markdown: its line with options, `doc` and `source`. Empty where there
/// is none.
std::string describeMixer(llvm::StringRef text, llvm::StringRef name);

} // namespace morph::language

#endif // MORPH_FRONTENDS_MORPH_LANGUAGESERVICE_H
