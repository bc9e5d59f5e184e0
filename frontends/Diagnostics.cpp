// SPDX-License-Identifier: Apache-2.0

#include "frontends/Diagnostics.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MemoryBuffer.h"

#include <functional>

using namespace morph;

/// Shortens the quoted line of a message, and the carets under it, to what surrounds the caret: a config.json may be
/// one line of a thousand characters.
static std::string shortenQuote(llvm::StringRef message) {
  constexpr size_t kWidth = 110, kBefore = 50;
  auto [head, rest] = message.split('\n');
  auto [line, carets] = rest.split('\n');
  size_t caret = carets.find_first_of("^~");
  if (line.size() <= kWidth || caret == llvm::StringRef::npos)
    return message.str();
  size_t begin = caret > kBefore ? caret - kBefore : 0;
  std::string quote = begin == 0 ? "" : "...";
  std::string marks = std::string(quote.size(), ' ') + carets.substr(begin, kWidth).rtrim('\n').str();
  quote += line.substr(begin, kWidth);
  if (begin + kWidth < line.size())
    quote += "...";
  return head.str() + "\n" + quote + "\n" + marks + "\n";
}

SourceRange morph::makeRange(llvm::StringRef part) {
  return {llvm::SMLoc::getFromPointer(part.begin()), llvm::SMLoc::getFromPointer(part.end())};
}

llvm::StringRef Diagnostics::addText(llvm::StringRef name, llvm::StringRef text) {
  unsigned id = sources_.AddNewSourceBuffer(llvm::MemoryBuffer::getMemBufferCopy(text, name), llvm::SMLoc());
  return sources_.getMemoryBuffer(id)->getBuffer();
}

std::optional<llvm::StringRef> Diagnostics::addFile(llvm::StringRef path, SourceRange usedAt) {
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/false);
  if (!buffer) {
    error(usedAt, "cannot read '" + path + "': " + buffer.getError().message());
    return std::nullopt;
  }
  unsigned id = sources_.AddNewSourceBuffer(std::move(*buffer), llvm::SMLoc());
  return sources_.getMemoryBuffer(id)->getBuffer();
}

void Diagnostics::error(SourceRange range, const llvm::Twine &message, const llvm::Twine &hint) {
  ++errors_;
  std::string hintText = hint.str();
  Error error{~0u, nullptr, ""};
  llvm::raw_string_ostream os(error.message);
  if (range.isValid()) {
    error.text = sources_.FindBufferContainingLoc(range.Start);
    error.place = range.Start.getPointer();
    // A caret under the first character and tildes under the rest of the line's part.
    std::string quoted;
    llvm::raw_string_ostream quotedStream(quoted);
    sources_.PrintMessage(quotedStream, range.Start, llvm::SourceMgr::DK_Error, message, {range});
    os << shortenQuote(quoted);
  } else {
    os << program_ << ": error: " << message << "\n";
  }
  if (!hintText.empty())
    os << "hint: " << hintText << "\n";
  pending_.push_back(std::move(error));
}

void Diagnostics::flush() {
  llvm::stable_sort(pending_, [](const Error &a, const Error &b) {
    return a.text != b.text ? a.text < b.text : std::less<const char *>()(a.place, b.place);
  });
  for (const Error &error : pending_)
    os_ << error.message;
  pending_.clear();
}

std::pair<unsigned, unsigned> Diagnostics::getLineAndColumn(SourceRange range) const {
  if (!range.isValid())
    return {0, 0};
  return sources_.getLineAndColumn(range.Start);
}

llvm::StringRef Diagnostics::getTextName(SourceRange range) const {
  if (!range.isValid())
    return "";
  unsigned id = sources_.FindBufferContainingLoc(range.Start);
  return id == 0 ? "" : sources_.getMemoryBuffer(id)->getBufferIdentifier();
}
