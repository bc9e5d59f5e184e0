// SPDX-License-Identifier: Apache-2.0

#include "frontends/morph/NamedDeclarations.h"

#include "dialect/MixerReference.h"
#include "frontends/morph/Mixers.h"
#include "frontends/morph/Parser.h"
#include "frontends/text/TextFile.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/Path.h"

using namespace morph;
using namespace morph::language;

namespace {

/// What can be parsed of a text; its errors are nobody's.
struct QuietFile {
  explicit QuietFile(llvm::StringRef text) : file(parsePartly(diagnostics.addText("", text), diagnostics)) {
    diagnostics.take();
  }

  Diagnostics diagnostics{"morph", llvm::nulls()};
  File file;
};

TextRange getRange(const File &file, SourceRange range) {
  return {size_t(range.Start.getPointer() - file.text.data()), size_t(range.End.getPointer() - file.text.data())};
}

template <typename Declaration>
const Declaration *findByName(const std::vector<Declaration> &declarations, llvm::StringRef name) {
  auto found = llvm::find_if(declarations, [&](const Declaration &known) { return known.name.text == name; });
  return found == declarations.end() ? nullptr : &*found;
}

std::string describeValues(const Option &option) {
  std::string values = option.type == Option::Type::Boolean ? "`true` or `false`"
                       : option.type == Option::Type::Real  ? "any number of "
                                                            : "whole numbers of ";
  for (const auto &[index, range] : llvm::enumerate(option.ranges))
    values += (index ? " | `" : "`") + range.first.text + (range.isNumber ? "" : ".." + range.last.text) + "`";
  return "Values: " + values + ". Default: `" + option.fallback.text + "`.";
}

std::unique_ptr<llvm::MemoryBuffer> readQuietly(llvm::StringRef path) {
  llvm::Expected<std::unique_ptr<llvm::MemoryBuffer>> buffer = readTextFile(path, kMaxFileBytes);
  if (buffer)
    return std::move(*buffer);
  llvm::consumeError(buffer.takeError());
  return nullptr;
}

} // namespace

std::string morph::language::makeCode(llvm::StringRef text) { return ("```morph\n" + text + "\n```\n").str(); }

std::string morph::language::resolvePath(llvm::StringRef path, llvm::StringRef documentPath) {
  llvm::SmallString<256> resolved;
  if (!llvm::sys::path::is_absolute(path))
    resolved = llvm::sys::path::parent_path(documentPath);
  llvm::sys::path::append(resolved, path);
  llvm::sys::path::remove_dots(resolved, /*remove_dot_dot=*/true);
  return resolved.str().str();
}

MixerDescription morph::language::describeMixer(const File &file, const Mixer &mixer) {
  MixerDescription description;
  description.place = TextPlace{"", getRange(file, mixer.name.range)};
  size_t begin = getRange(file, mixer.range).begin, end = getRange(file, mixer.bodyRange).begin;
  description.markdown = makeCode(file.text.slice(begin, end).rtrim());
  if (mixer.doc)
    description.markdown += mixer.doc->text + "\n\n";
  if (mixer.source)
    description.markdown += "From: " + mixer.source->text;
  for (const Option &option : mixer.options) {
    TextRange range = getRange(file, {option.name.range.Start, option.fallback.range.End});
    description.options.push_back(
        {option.name.text, file.text.slice(range.begin, range.end).str(), describeValues(option)});
  }
  return description;
}

std::optional<MixerDescription> morph::language::findMixer(llvm::StringRef text, llvm::StringRef documentPath) {
  std::string message;
  std::optional<MixerReference> reference = parseMixerReference(text, message);
  if (!reference)
    return std::nullopt;
  bool isBuiltin = reference->path.empty();
  std::string path = isBuiltin ? "" : resolvePath(reference->path, documentPath);
  std::unique_ptr<llvm::MemoryBuffer> buffer = isBuiltin ? nullptr : readQuietly(path);
  QuietFile quiet(buffer ? buffer->getBuffer() : isBuiltin ? getBuiltinMixerText(reference->name) : "");
  const Mixer *mixer = findByName(quiet.file.mixers, reference->name);
  if (!mixer)
    return std::nullopt;
  MixerDescription description = describeMixer(quiet.file, *mixer);
  if (isBuiltin)
    description.place.reset();
  else
    description.place->path = path;
  return description;
}

std::optional<TextPlace> morph::language::findArch(llvm::StringRef path, llvm::StringRef name,
                                                   llvm::StringRef documentPath) {
  std::string resolved = resolvePath(path, documentPath);
  std::unique_ptr<llvm::MemoryBuffer> buffer = readQuietly(resolved);
  if (!buffer)
    return std::nullopt;
  QuietFile quiet(buffer->getBuffer());
  const std::vector<Arch> &archs = quiet.file.archs;
  const Arch *arch = !name.empty() ? findByName(archs, name) : archs.size() == 1 ? &archs.front() : nullptr;
  if (!arch)
    return std::nullopt;
  return TextPlace{resolved, getRange(quiet.file, arch->name.range)};
}
