// SPDX-License-Identifier: Apache-2.0

#include "tools/morph-lsp-server/TextLines.h"

#include "llvm/ADT/STLExtras.h"

using namespace morph;
using namespace morph::lsp;

/// UTF-16 code units that a byte begins: two for what takes four bytes of UTF-8, none within a sequence.
static size_t countUnits(char byte) {
  auto value = static_cast<unsigned char>(byte);
  return (value & 0xC0) == 0x80 ? 0 : value >= 0xF0 ? 2 : 1;
}

TextLines::TextLines(std::string text) : text_(std::move(text)), begins_{0} {
  for (size_t i = 0; i < text_.size(); ++i)
    if (text_[i] == '\n' || (text_[i] == '\r' && text_.compare(i, 2, "\r\n") != 0))
      begins_.push_back(i + 1);
}

size_t TextLines::getOffset(const llvm::json::Object &position) const {
  int64_t line = position.getInteger("line").value_or(0), column = position.getInteger("character").value_or(0);
  if (line < 0)
    return 0;
  if (uint64_t(line) >= begins_.size())
    return text_.size();
  size_t at = begins_[line];
  size_t end = size_t(line) + 1 < begins_.size() ? begins_[line + 1] : text_.size();
  while (end > at && (text_[end - 1] == '\n' || text_[end - 1] == '\r'))
    --end;
  int64_t units = 0;
  while (at < end && units + int64_t(countUnits(text_[at])) <= column)
    units += countUnits(text_[at++]);
  return at;
}

llvm::json::Object TextLines::getPosition(size_t offset) const {
  offset = std::min(offset, text_.size());
  size_t line = llvm::upper_bound(begins_, offset) - begins_.begin() - 1;
  size_t units = 0;
  for (char byte : llvm::StringRef(text_).slice(begins_[line], offset))
    units += countUnits(byte);
  return llvm::json::Object{{"line", int64_t(line)}, {"character", int64_t(units)}};
}

llvm::json::Object TextLines::getRange(TextRange range) const {
  return llvm::json::Object{{"start", getPosition(range.begin)}, {"end", getPosition(range.end)}};
}
