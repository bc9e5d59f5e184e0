// SPDX-License-Identifier: Apache-2.0

#include "frontends/spec/LanguageService.h"

#include "frontends/morph/CheckArch.h"
#include "frontends/morph/Mixers.h"
#include "frontends/morph/NamedDeclarations.h"
#include "frontends/morph/Parser.h"
#include "frontends/spec/Schema.h"
#include "frontends/spec/Spec.h"
#include "frontends/spec/SpecArch.h"
#include "frontends/spec/SpecTree.h"
#include "frontends/spec/TomlLines.h"

#include "mlir/IR/Diagnostics.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Path.h"

using namespace morph;
using namespace morph::spec;

/// Whether values of a key are mixers: S3 is what they must be.
static bool namesMixers(const Key &key) { return key.label == "S3"; }
/// Whether values of a key are names of tasks.
static bool namesTasks(const Key &key) { return key.label == "S14"; }

static const Key *findKey(llvm::StringRef path) {
  const Key *key = llvm::find_if(getKeys(), [&](const Key &known) { return known.path == path; });
  return key == getKeys().end() ? nullptr : key;
}
static const Section *findSection(llvm::StringRef name) {
  const Section *section = llvm::find_if(getSections(), [&](const Section &known) { return known.name == name; });
  return name.empty() || section == getSections().end() ? nullptr : section;
}

/// `[align]`, `[[task]]`.
static std::string printHeader(llvm::StringRef section) {
  bool isList = section.consume_back("[]");
  return ((isList ? "[[" : "[") + section + (isList ? "]]" : "]")).str();
}

static std::string describe(const Section &section) {
  std::string text = "**" + printHeader(section.name) + "**\n\n" + section.text.str() + "\n\nKeys: ";
  for (const auto &[index, key] : llvm::enumerate(getKeysOf(section.name)))
    text += ((index ? ", `" : "`") + getLeafName(*key) + "`").str();
  return text;
}

static std::string describe(const Key &key) {
  std::string text = ("**" + key.path + "**: " + getTypeName(key.type)).str();
  if (!key.unit.empty())
    text += " (" + key.unit.str() + ")";
  text += "\n\n" + key.text.str() + "\n";
  bool isComputed = key.fallback.starts_with("<");
  if (key.fallback == "required")
    text += "\n- required";
  else
    text +=
        ("\n- default: " + (isComputed ? key.fallback.drop_front().drop_back() : "`" + key.fallback.str() + "`")).str();
  if (!key.allowed.empty())
    text += "\n- allowed: `" + key.allowed.str() + "`";
  return text;
}

/// Where a text names a file, or the folder that it is in; its first character where it does not.
static TextRange findMention(llvm::StringRef text, llvm::StringRef path) {
  for (; !path.empty(); path = llvm::sys::path::parent_path(path)) {
    llvm::StringRef name = llvm::sys::path::filename(path);
    if (size_t at = text.find(name); at != llvm::StringRef::npos && name.size() > 1)
      return {at, at + name.size()};
  }
  return {};
}

/// The problems of a text that `import` reports errors of, which is given a context and where they go.
static std::vector<Problem>
findProblems(llvm::StringRef path, llvm::StringRef given,
             llvm::function_ref<void(mlir::MLIRContext &, llvm::StringRef, Diagnostics &)> import) {
  Diagnostics diagnostics("morph", llvm::nulls());
  llvm::StringRef text = diagnostics.addText(path, given);
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  context.printOpOnDiagnostic(false);
  mlir::ScopedDiagnosticHandler handler(&context, [&](mlir::Diagnostic &diagnostic) {
    diagnostics.error(diagnostic.str());
    return mlir::success();
  });
  import(context, text, diagnostics);
  return takeProblems(diagnostics, text, [&](llvm::StringRef other) { return findMention(text, other); });
}

namespace {

class SpecService : public LanguageService {
public:
  explicit SpecService(llvm::StringRef path) : path_(path.empty() ? "untitled.toml" : path.str()) {}

  void setText(llvm::StringRef text) override {
    text_ = text.str();
    lines_ = readTomlLines(text_);
  }

  std::vector<Problem> getProblems() override {
    if (!isSpec())
      return {};
    return findProblems(path_, text_, [&](mlir::MLIRContext &context, llvm::StringRef text, Diagnostics &diagnostics) {
      importSpec(context, path_, text, SpecOptions(), diagnostics);
    });
  }

  std::optional<Hover> getHover(size_t offset) override {
    if (!maybeSpec())
      return std::nullopt;
    if (const TomlTable *table = findHeader(offset)) {
      const Section *section = findSection(table->name);
      return section ? std::optional(Hover{table->header, describe(*section)}) : std::nullopt;
    }
    const TomlPair *pair = findPair(offset);
    const Key *key = pair ? findKey(pair->path) : nullptr;
    if (!key)
      return std::nullopt;
    if (offset <= pair->key.end)
      return Hover{pair->key, describe(*key)};
    if (offset < pair->value.begin || offset > pair->value.end)
      return std::nullopt;
    if (std::optional<TextRange> string = findTomlString(text_, pair->value, offset); string && namesMixers(*key)) {
      if (auto mixer = language::findMixer(slice(*string), path_))
        return Hover{*string, mixer->markdown};
    }
    return Hover{pair->value, describe(*key)};
  }

  std::vector<Completion> getCompletions(size_t offset) override;

  std::optional<TextPlace> findDefinition(size_t offset) override {
    const TomlPair *pair = maybeSpec() ? findPair(offset) : nullptr;
    const Key *key = pair ? findKey(pair->path) : nullptr;
    std::optional<TextRange> string = key ? findTomlString(text_, pair->value, offset) : std::nullopt;
    if (!string)
      return std::nullopt;
    if (namesTasks(*key))
      for (const auto &[name, range] : getTasks())
        if (name == slice(*string))
          return TextPlace{"", range};
    if (key->path == "arch") {
      auto [path, name] = splitArchReference(slice(*string));
      return language::findArch(path, name, path_);
    }
    if (!namesMixers(*key))
      return std::nullopt;
    auto mixer = language::findMixer(slice(*string), path_);
    return mixer ? mixer->place : std::nullopt;
  }

  std::vector<Symbol> getSymbols() override {
    std::vector<Symbol> symbols;
    if (isSpec())
      for (const TomlTable &table : lines_.tables)
        if (!table.name.empty())
          symbols.push_back(
              {printHeader(table.name), "", NameKind::Section, {table.header.begin, table.end}, table.header, {}});
    return symbols;
  }

  std::optional<std::string> format() override { return std::nullopt; }

private:
  llvm::StringRef slice(TextRange range) const { return llvm::StringRef(text_).slice(range.begin, range.end); }

  bool hasVersion() const {
    return llvm::any_of(lines_.pairs, [](const TomlPair &pair) { return pair.path == "version" && pair.hasValue; });
  }
  bool isSpec() const {
    return hasVersion() &&
           (llvm::any_of(lines_.tables, [](const TomlTable &table) { return findSection(table.name); }) ||
            llvm::any_of(lines_.pairs, [](const TomlPair &pair) {
              return findSection(llvm::StringRef(pair.path).split('.').first);
            }));
  }
  /// Whether a text is a spec or may become one: nothing in it is another format's.
  bool maybeSpec() const {
    auto isKnown = [](const TomlTable &table) {
      return table.name.empty() || !table.isWhole || findSection(table.name);
    };
    return isSpec() || (llvm::all_of(lines_.tables, isKnown) && llvm::all_of(lines_.pairs, [](const TomlPair &pair) {
                          return !pair.hasValue || findKey(pair.path);
                        }));
  }

  const TomlTable *findHeader(size_t offset) const {
    for (const TomlTable &table : lines_.tables)
      if (!table.name.empty() && table.header.begin <= offset && offset <= table.header.end)
        return &table;
    return nullptr;
  }
  const TomlPair *findPair(size_t offset) const {
    for (const TomlPair &pair : lines_.pairs)
      if (pair.key.begin <= offset && offset <= std::max(pair.value.end, pair.key.end))
        return &pair;
    return nullptr;
  }

  /// The names of the spec's tasks and where they stand, without quotes.
  std::vector<std::pair<std::string, TextRange>> getTasks() const {
    std::vector<std::pair<std::string, TextRange>> tasks;
    for (const TomlPair &pair : lines_.pairs)
      if (pair.path == "task[].name")
        if (auto string = findTomlString(text_, pair.value, pair.value.begin + 1))
          tasks.emplace_back(slice(*string).str(), *string);
    return tasks;
  }

  void completeHeader(TextRange replaced, std::vector<Completion> &completions) const;
  void completeKey(const TomlPair *pair, TextRange replaced, size_t offset, std::vector<Completion> &completions) const;
  void completeValue(const Key &key, TextRange value, size_t offset, std::vector<Completion> &completions) const;

  std::string path_;
  std::string text_;
  TomlLines lines_;
};

std::vector<Completion> SpecService::getCompletions(size_t offset) {
  std::vector<Completion> completions;
  offset = std::min(offset, text_.size());
  if (!maybeSpec())
    return completions;
  const TomlPair *pair = findPair(offset);
  if (pair && pair->hasValue && offset > pair->key.end) {
    if (const Key *key = findKey(pair->path))
      completeValue(*key, pair->value, offset, completions);
    return completions;
  }
  llvm::StringRef text = text_;
  size_t begin = text.take_front(offset).rfind('\n') + 1; // npos + 1 is 0.
  llvm::StringRef before = text.slice(begin, offset);
  begin += before.size() - before.ltrim().size();
  llvm::StringRef line = text.substr(begin).take_until([](char c) { return c == '\n' || c == '\r'; });
  if (line.starts_with("[")) {
    // Editors close brackets by themselves.
    completeHeader({begin, begin + line.rtrim().size()}, completions);
  } else if (!before.contains('#')) {
    size_t end = begin + line.take_while([](char c) { return llvm::isAlnum(c) || c == '_'; }).size();
    completeKey(pair, {begin, std::max(end, offset)}, offset, completions);
  }
  return completions;
}

void SpecService::completeHeader(TextRange replaced, std::vector<Completion> &completions) const {
  for (const Section &section : getSections()) {
    bool isList = section.name.ends_with("[]");
    bool isGiven = llvm::any_of(lines_.tables, [&](const TomlTable &table) {
      return table.name == section.name && table.header.begin != replaced.begin;
    });
    if (!section.name.empty() && (isList || !isGiven))
      completions.push_back({printHeader(section.name), NameKind::Section, "", describe(section), "", replaced});
  }
}

void SpecService::completeKey(const TomlPair *pair, TextRange replaced, size_t offset,
                              std::vector<Completion> &completions) const {
  size_t table = 0;
  while (table + 1 < lines_.tables.size() && lines_.tables[table + 1].header.begin <= offset)
    ++table;
  for (const Key *key : getKeysOf(lines_.tables[table].name)) {
    bool isGiven = llvm::any_of(lines_.pairs, [&](const TomlPair &other) {
      return &other != pair && other.table == table && other.path == key->path;
    });
    if (isGiven)
      continue;
    std::string name = getLeafName(*key).str();
    bool hasValue = pair && pair->hasValue;
    completions.push_back(
        {name, NameKind::Key, getTypeName(key->type).str(), describe(*key), hasValue ? name : name + " = ", replaced});
  }
}

void SpecService::completeValue(const Key &key, TextRange value, size_t offset,
                                std::vector<Completion> &completions) const {
  std::optional<TextRange> string = findTomlString(text_, value, offset);
  TextRange replaced = string.value_or(TextRange{offset, offset});
  while (!string && replaced.begin > value.begin && !llvm::StringRef(" \t\n[],=#").contains(text_[replaced.begin - 1]))
    --replaced.begin;
  auto add = [&](llvm::StringRef label, NameKind kind, std::string markdown, bool isString) {
    completions.push_back({label.str(), kind, "", std::move(markdown),
                           isString && !string ? "\"" + label.str() + "\"" : label.str(), replaced});
  };
  for (llvm::StringRef word : getAllowedWords(key))
    add(word, NameKind::Word, describe(key), /*isString=*/true);
  if (namesMixers(key))
    for (llvm::StringRef mixer : getBuiltinMixers())
      add(mixer, NameKind::Mixer, language::findMixer(mixer, path_)->markdown, /*isString=*/true);
  if (namesTasks(key))
    for (const auto &[name, range] : getTasks())
      add(name, NameKind::Word, "", /*isString=*/true);
  if (key.type == ValueType::Boolean && !string)
    for (llvm::StringRef word : {"true", "false"})
      add(word, NameKind::Word, describe(key), /*isString=*/false);
}

} // namespace

std::unique_ptr<LanguageService> morph::spec::makeLanguageService(llvm::StringRef path) {
  return std::make_unique<SpecService>(path);
}

std::vector<Problem> morph::spec::findArchProblems(llvm::StringRef path, llvm::StringRef given) {
  return findProblems(path, given, [&](mlir::MLIRContext &context, llvm::StringRef text, Diagnostics &diagnostics) {
    std::optional<language::File> file = language::parseFile(text, diagnostics);
    for (const language::Arch &arch : file ? file->archs : std::vector<language::Arch>()) {
      SpecOptions options;
      options.configOnly = true;
      if (!diagnostics.hasErrors() && language::findLine(arch, language::ArchLine::Kind::Model))
        importArch(context, path, text, arch.name.text, options, diagnostics);
    }
  });
}
