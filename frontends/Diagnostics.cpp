// SPDX-License-Identifier: Apache-2.0

#include "frontends/Diagnostics.h"

#include "frontends/text/TextFile.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/ConvertUTF.h"
#include "llvm/Support/Format.h"

#include <functional>

using namespace morph;

/// Errors that are printed; more do not help anybody.
static constexpr size_t kMaxErrors = 100;
/// Bytes of a message. What is longer loses its middle, for places come first and expectations last.
static constexpr size_t kMaxMessage = 1000;

static std::string shortenMessage(std::string message) {
  if (message.size() > kMaxMessage)
    message.replace(kMaxMessage / 2, message.size() - kMaxMessage, " ... ");
  return message;
}

/// Bytes of the UTF-8 character that a text begins with, 0 where it is none.
static size_t getCharacterBytes(llvm::StringRef text) {
  unsigned bytes = llvm::getNumBytesForUTF8(static_cast<llvm::UTF8>(text.front()));
  const auto *begin = reinterpret_cast<const llvm::UTF8 *>(text.data());
  return bytes <= text.size() && llvm::isLegalUTF8Sequence(begin, begin + bytes) ? bytes : 0;
}

/// A text that may be printed: one question mark, so that carets stay in place, for each byte that could move a
/// terminal's cursor or break its encoding.
static std::string makePrintable(llvm::StringRef text) {
  std::string result;
  while (!text.empty()) {
    size_t bytes = getCharacterBytes(text);
    bool control = llvm::StringRef("\n\t").contains(text.front()) ? false : bytes == 1 && !llvm::isPrint(text.front());
    // C1 controls are U+0080 to U+009F.
    control |= bytes == 2 && text[0] == '\xC2' && static_cast<unsigned char>(text[1]) < 0xA0;
    size_t taken = std::max<size_t>(bytes, 1);
    result += bytes == 0 || control ? std::string(taken, '?') : text.take_front(taken).str();
    text = text.drop_front(taken);
  }
  return result;
}

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

std::string morph::printNumber(double value) {
  std::string text;
  llvm::raw_string_ostream(text) << llvm::format("%.10g", value);
  return text;
}

llvm::StringRef Diagnostics::addText(llvm::StringRef name, llvm::StringRef text) {
  return addBuffer(llvm::MemoryBuffer::getMemBufferCopy(text, name));
}

llvm::StringRef Diagnostics::addBuffer(std::unique_ptr<llvm::MemoryBuffer> buffer) {
  unsigned id = sources_.AddNewSourceBuffer(std::move(buffer), llvm::SMLoc());
  return sources_.getMemoryBuffer(id)->getBuffer();
}

std::optional<llvm::StringRef> Diagnostics::addFile(llvm::StringRef path, uint64_t maximum, SourceRange usedAt) {
  llvm::Expected<std::unique_ptr<llvm::MemoryBuffer>> buffer = readTextFile(path, maximum);
  if (!buffer) {
    error(usedAt, "cannot read '" + path + "': " + llvm::toString(buffer.takeError()));
    return std::nullopt;
  }
  return addBuffer(std::move(*buffer));
}

void Diagnostics::error(SourceRange range, const llvm::Twine &message, const llvm::Twine &hint) {
  ++errors_;
  if (pending_.size() == kMaxErrors)
    return;
  std::string messageText = shortenMessage(message.str()), hintText = shortenMessage(hint.str());
  Error error{~0u, nullptr, ""};
  std::string text;
  llvm::raw_string_ostream os(text);
  if (range.isValid()) {
    error.text = sources_.FindBufferContainingLoc(range.Start);
    error.place = range.Start.getPointer();
    // A caret under the first character and tildes under the rest of the line's part.
    std::string quoted;
    llvm::raw_string_ostream quotedStream(quoted);
    sources_.PrintMessage(quotedStream, range.Start, llvm::SourceMgr::DK_Error, messageText, {range});
    os << shortenQuote(quoted);
  } else {
    os << program_ << ": error: " << messageText << "\n";
  }
  if (!hintText.empty())
    os << "hint: " << hintText << "\n";
  error.message = makePrintable(text);
  pending_.push_back(std::move(error));
}

void Diagnostics::flush() {
  llvm::stable_sort(pending_, [](const Error &a, const Error &b) {
    return a.text != b.text ? a.text < b.text : std::less<const char *>()(a.place, b.place);
  });
  for (const Error &error : pending_)
    os_ << error.message;
  if (errors_ > flushed_ + pending_.size())
    os_ << program_ << ": error: " << errors_ - flushed_ - pending_.size() << " more errors are not shown\n";
  flushed_ = errors_;
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
