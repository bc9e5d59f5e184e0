// SPDX-License-Identifier: Apache-2.0
// Places in a text as the protocol has them: lines, and columns in code units of UTF-16.

#ifndef MORPH_TOOLS_MORPHLSPSERVER_TEXTLINES_H
#define MORPH_TOOLS_MORPHLSPSERVER_TEXTLINES_H

#include "frontends/LanguageService.h"

#include "llvm/Support/JSON.h"

namespace morph::lsp {

/// The lines of a text in UTF-8, which it keeps.
class TextLines {
public:
  explicit TextLines(std::string text);

  llvm::StringRef getText() const { return text_; }

  /// The offset of the protocol's position; the line's or the text's end where it lies beyond.
  size_t getOffset(const llvm::json::Object &position) const;
  /// The protocol's position and range.
  llvm::json::Object getPosition(size_t offset) const;
  llvm::json::Object getRange(TextRange range) const;

private:
  std::string text_;
  std::vector<size_t> begins_; ///< Of the lines.
};

} // namespace morph::lsp

#endif // MORPH_TOOLS_MORPHLSPSERVER_TEXTLINES_H
