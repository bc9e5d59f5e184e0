// SPDX-License-Identifier: Apache-2.0

#include "frontends/Diagnostics.h"

#include "frontends/text/TextFile.h"
#include "frontends/text/Utf8.h"

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

static std::string shortenMessage(llvm::StringRef message) {
  if (message.size() <= kMaxMessage)
    return message.str();
  size_t first = findCharacterBegin(message, kMaxMessage / 2);
  size_t last = findCharacterBegin(message, message.size() - kMaxMessage / 2);
  return (message.take_front(first) + " ... " + message.drop_front(last)).str();
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

/// What an error quotes: its line, cut to what surrounds its place, for a config.json may be one line of a megabyte.
/// Under it a caret at the place and tildes under the rest of the line's part; none where there is more than ASCII,
/// since nothing says how wide that is.
static std::string printQuote(const llvm::SMDiagnostic &place) {
  constexpr size_t kWidth = 110, kBefore = 50;
  llvm::StringRef line = place.getLineContents();
  size_t caret = std::min<size_t>(place.getColumnNo(), line.size());
  size_t begin = 0, end = line.size();
  if (line.size() > kWidth) {
    begin = findCharacterBegin(line, caret > kBefore ? caret - kBefore : 0);
    end = findCharacterBegin(line, begin + kWidth);
  }
  llvm::StringRef quoted = line.slice(begin, end);
  llvm::StringRef before = begin > 0 ? "..." : "", after = end < line.size() ? "..." : "";
  std::string text = (before + quoted + after + "\n").str();
  if (!llvm::isASCII(quoted))
    return text;
  text.append(before.size(), ' ');
  // Tabs are as wide under the line as in it.
  for (char c : quoted.take_front(caret - begin))
    text += c == '\t' ? '\t' : ' ';
  text += '^';
  if (!place.getRanges().empty())
    for (size_t at = caret + 1; at < std::min<size_t>(end, place.getRanges().front().second); ++at)
      text += '~';
  return text + "\n";
}

SourceRange morph::makeRange(llvm::StringRef part) {
  return {llvm::SMLoc::getFromPointer(part.begin()), llvm::SMLoc::getFromPointer(part.end())};
}

llvm::StringRef morph::findNearest(llvm::StringRef word, llvm::ArrayRef<llvm::StringRef> candidates) {
  llvm::StringRef nearest;
  // A third of the word may differ: 'step' finds 'steps', 'foo' finds nothing.
  unsigned best = std::max<unsigned>(2, word.size() / 3) + 1;
  for (llvm::StringRef candidate : candidates) {
    unsigned distance = word.edit_distance(candidate, /*AllowReplacements=*/true, best);
    if (candidate.size() > 2 && word.size() > 2 && (candidate.starts_with(word) || word.starts_with(candidate)))
      distance = std::min(distance, 1u);
    if (distance < best && distance < candidate.size()) {
      best = distance;
      nearest = candidate;
    }
  }
  return nearest;
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
  for (unsigned id = 1; id <= sources_.getNumBuffers(); ++id)
    if (const llvm::MemoryBuffer *known = sources_.getMemoryBuffer(id); known->getBufferIdentifier() == path)
      return known->getBuffer();
  llvm::Expected<std::unique_ptr<llvm::MemoryBuffer>> buffer = readTextFile(path, maximum);
  if (!buffer) {
    error(usedAt, "cannot read '" + path + "': " + llvm::toString(buffer.takeError()));
    return std::nullopt;
  }
  return addBuffer(std::move(*buffer));
}

void Diagnostics::printPlace(llvm::raw_ostream &os, SourceRange range, llvm::StringRef kind,
                             llvm::StringRef message) const {
  if (!range.isValid()) {
    os << program_ << ": " << kind << ": " << message << "\n";
    return;
  }
  llvm::SMDiagnostic place = sources_.GetMessage(range.Start, llvm::SourceMgr::DK_Error, "", {range});
  os << place.getFilename() << ":" << place.getLineNo() << ":" << place.getColumnNo() + 1 << ": " << kind << ": "
     << message << "\n"
     << printQuote(place);
}

void Diagnostics::error(SourceRange range, const llvm::Twine &message, const llvm::Twine &hint,
                        llvm::ArrayRef<Note> notes) {
  ++errors_;
  if (pending_.size() == kMaxErrors)
    return;
  auto makeText = [](llvm::StringRef text) { return makePrintable(shortenMessage(text)); };
  Error &error = pending_.emplace_back(Error{range, makeText(message.str()), makeText(hint.str()), {}});
  for (const Note &note : notes)
    error.notes.push_back({note.range, makeText(note.message)});
}

void Diagnostics::sortPending() {
  auto getText = [&](const Error &error) { // The largest number where there is none.
    return error.range.isValid() ? sources_.FindBufferContainingLoc(error.range.Start) : ~0u;
  };
  llvm::stable_sort(pending_, [&](const Error &a, const Error &b) {
    unsigned textOfA = getText(a), textOfB = getText(b);
    return textOfA != textOfB ? textOfA < textOfB
                              : std::less<const char *>()(a.range.Start.getPointer(), b.range.Start.getPointer());
  });
}

void Diagnostics::flush() {
  sortPending();
  for (const Error &error : pending_) {
    std::string text;
    llvm::raw_string_ostream os(text);
    printPlace(os, error.range, "error", error.message);
    if (!error.hint.empty())
      os << "hint: " << error.hint << "\n";
    for (const Note &note : error.notes)
      printPlace(os, note.range, "note", note.message);
    os_ << makePrintable(text);
  }
  if (errors_ > flushed_ + pending_.size())
    os_ << program_ << ": error: " << errors_ - flushed_ - pending_.size() << " more errors are not shown\n";
  flushed_ = errors_;
  pending_.clear();
}

std::vector<Diagnostics::Error> Diagnostics::take() {
  sortPending();
  flushed_ = errors_;
  return std::exchange(pending_, {});
}

std::pair<unsigned, unsigned> Diagnostics::getLineAndColumn(SourceRange range) const {
  if (!range.isValid())
    return {0, 0};
  return sources_.getLineAndColumn(range.Start);
}

llvm::StringRef Diagnostics::getText(SourceRange range) const {
  unsigned id = range.isValid() ? sources_.FindBufferContainingLoc(range.Start) : 0;
  return id == 0 ? "" : sources_.getMemoryBuffer(id)->getBuffer();
}

llvm::StringRef Diagnostics::getTextName(SourceRange range) const {
  if (!range.isValid())
    return "";
  unsigned id = sources_.FindBufferContainingLoc(range.Start);
  return id == 0 ? "" : sources_.getMemoryBuffer(id)->getBufferIdentifier();
}
