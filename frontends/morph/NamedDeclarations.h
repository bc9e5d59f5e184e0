// SPDX-License-Identifier: Apache-2.0
// Mixers and archs by the names that documents have for them, for editors: of texts with errors what is left.

#ifndef MORPH_FRONTENDS_MORPH_NAMEDDECLARATIONS_H
#define MORPH_FRONTENDS_MORPH_NAMEDDECLARATIONS_H

#include "frontends/LanguageService.h"
#include "frontends/morph/Ast.h"

namespace morph::language {

/// What a text says of one of its mixers.
struct MixerDescription {
  struct Option {
    std::string name;
    std::string line;    ///< "conv: 0 | 2..16 = 4"
    std::string summary; ///< Its values and default, in words.
  };

  std::optional<TextPlace> place; ///< Of its name; none of a mixer that comes with Morph.
  std::string markdown;           ///< Its line with options, `doc` and `source`.
  std::vector<Option> options;
};

/// Describes a mixer of a file; its place is in the document itself.
MixerDescription describeMixer(const File &file, const Mixer &mixer);

/// The mixer that a reference names (`gla(rank = 8)`, `mine.morph:mine`): one that comes with Morph, or of a file,
/// whose path is relative to the document's folder. Nothing where there is none.
std::optional<MixerDescription> findMixer(llvm::StringRef reference, llvm::StringRef documentPath);

/// The name of an arch in a file; of the only one where `name` is empty. Nothing where there is none.
std::optional<TextPlace> findArch(llvm::StringRef path, llvm::StringRef name, llvm::StringRef documentPath);

/// The path of a file that a document names relative to its folder.
std::string resolvePath(llvm::StringRef path, llvm::StringRef documentPath);

/// Text as a block of code of this language, for Markdown.
std::string makeCode(llvm::StringRef text);

} // namespace morph::language

#endif // MORPH_FRONTENDS_MORPH_NAMEDDECLARATIONS_H
