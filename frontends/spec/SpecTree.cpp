// SPDX-License-Identifier: Apache-2.0
// The only file that knows toml++.

#include "frontends/spec/SpecTree.h"

#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/JSON.h"

#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
// A spec needs three levels. Together with kMaxKeyParts this bounds the depth of every tree.
#define TOML_MAX_NESTED_VALUES 16
#include <toml++/toml.h>

using namespace morph;
using namespace morph::spec;

/// Parts of a dotted key or header: toml++ makes a table within a table of each, without a limit of its own.
static constexpr size_t kMaxKeyParts = 16;
/// Bytes of a spec. A value takes a few hundred bytes while it is read.
static constexpr uint64_t kMaxSpecBytes = 1 << 20;

size_t morph::spec::skipTomlString(llvm::StringRef text, size_t at) {
  char quote = text[at];
  llvm::StringRef delimiter = text.substr(at, 3);
  bool multiline = delimiter.size() == 3 && delimiter.count(quote) == 3;
  for (size_t end = at + (multiline ? 3 : 1); end < text.size(); ++end) {
    if (text[end] == '\\' && quote == '"') {
      ++end;
    } else if (!multiline && (text[end] == quote || text[end] == '\n')) {
      return end + 1;
    } else if (multiline && text.substr(end).starts_with(delimiter)) {
      // Up to two quotes before the closing ones are the string's own.
      end += 3;
      for (int own = 0; own < 2 && end < text.size() && text[end] == quote; ++own)
        ++end;
      return end;
    }
  }
  return text.size();
}

Node *Node::find(llvm::StringRef key) {
  for (auto &[name, node] : members)
    if (name == key)
      return &node;
  return nullptr;
}

llvm::StringRef morph::spec::getKindName(Node::Kind kind) {
  switch (kind) {
  case Node::Kind::Boolean:
    return "boolean";
  case Node::Kind::Integer:
    return "integer";
  case Node::Kind::Float:
    return "float";
  case Node::Kind::String:
    return "string";
  case Node::Kind::List:
    return "list";
  case Node::Kind::Table:
    return "table";
  case Node::Kind::Time:
    return "date or time";
  }
  return "";
}

namespace {

/// Turns toml++'s tree into ours; its lines and columns (in code points) into places in the text.
class TomlConverter {
public:
  TomlConverter(llvm::StringRef text) : text_(text) {
    bool lineBegins = true;
    for (size_t i = text.starts_with("\xEF\xBB\xBF") ? 3 : 0; i < text.size(); ++i) {
      if (lineBegins)
        lines_.push_back(characters_.size());
      lineBegins = text[i] == '\n';
      if ((static_cast<unsigned char>(text[i]) & 0xC0) != 0x80)
        characters_.push_back(i);
    }
    characters_.push_back(text.size());
  }

  /// The offset of a position; of the line's end where it lies beyond that, and of the text's.
  size_t getOffset(const toml::source_position &position) const {
    if (position.line == 0)
      return 0;
    if (position.line > lines_.size())
      return text_.size();
    size_t last = position.line < lines_.size() ? lines_[position.line] - 1 : characters_.size() - 1;
    return characters_[std::min(lines_[position.line - 1] + position.column - 1, last)];
  }

  /// The range of a region, cut at the end of its first line and without trailing blanks.
  SourceRange getRange(const toml::source_region &region) const {
    size_t begin = getOffset(region.begin);
    size_t end = std::max(getOffset(region.end), begin);
    llvm::StringRef part = text_.slice(begin, end);
    part = part.take_until([](char c) { return c == '\n'; }).rtrim();
    return makeRange(part);
  }

  Node convert(const toml::node &node) const {
    Node result;
    result.range = getRange(node.source());
    if (const auto *table = node.as_table()) {
      result.kind = Node::Kind::Table;
      for (const auto &[key, value] : *table) {
        Node member = convert(value);
        member.keyRange = getRange(key.source());
        result.members.emplace_back(std::string(key.str()), std::move(member));
      }
      // toml++ sorts by name; people read errors in the order of their text.
      std::stable_sort(result.members.begin(), result.members.end(), [](const auto &a, const auto &b) {
        return a.second.keyRange.Start.getPointer() < b.second.keyRange.Start.getPointer();
      });
    } else if (const auto *array = node.as_array()) {
      result.kind = Node::Kind::List;
      for (const toml::node &element : *array)
        result.elements.push_back(convert(element));
    } else if (const auto *string = node.as_string()) {
      result.kind = Node::Kind::String;
      result.string = string->get();
    } else if (const auto *integer = node.as_integer()) {
      result.kind = Node::Kind::Integer;
      result.integer = integer->get();
    } else if (const auto *number = node.as_floating_point()) {
      result.kind = Node::Kind::Float;
      result.number = number->get();
    } else if (const auto *boolean = node.as_boolean()) {
      result.kind = Node::Kind::Boolean;
      result.boolean = boolean->get();
    } else {
      result.kind = Node::Kind::Time;
    }
    return result;
  }

private:
  llvm::StringRef text_;
  std::vector<size_t> characters_; ///< Offsets of the text's characters and of its end.
  std::vector<size_t> lines_;      ///< Which of them begin a line.
};

/// The dot at which a key or header gets too many parts; nothing where none has. Dots elsewhere are in numbers, one in
/// each.
std::optional<size_t> findLongKey(llvm::StringRef text) {
  size_t dots = 0;
  for (size_t at = 0; at < text.size();) {
    char c = text[at];
    if (c == '"' || c == '\'') {
      at = skipTomlString(text, at);
      continue;
    }
    if (c == '#') {
      at = std::min(text.find('\n', at), text.size());
      continue;
    }
    if (c == '.' && ++dots == kMaxKeyParts)
      return at;
    if (llvm::StringRef("\n=,[]{}").contains(c))
      dots = 0;
    ++at;
  }
  return std::nullopt;
}

} // namespace

/// Parses without printing: the tree, or the error's text and place.
static std::optional<Node> tryReadToml(llvm::StringRef text, std::string &message, SourceRange &range) {
  if (std::optional<size_t> dot = findLongKey(text)) {
    message = "a key of more than " + std::to_string(kMaxKeyParts) + " parts";
    range = makeRange(text.substr(*dot, 1));
    return std::nullopt;
  }
  toml::parse_result result = toml::parse(std::string_view(text.data(), text.size()));
  TomlConverter converter(text);
  if (!result) {
    // toml++ begins its sentences as "Error while parsing string: ...".
    llvm::StringRef description = result.error().description();
    description.consume_front("Error while parsing ");
    message = description.str();
    size_t offset = std::min(converter.getOffset(result.error().source().begin), text.size());
    range = makeRange(text.slice(offset, std::min(offset + 1, text.size())));
    return std::nullopt;
  }
  Node root = converter.convert(result.table());
  root.keyRange = SourceRange();
  return root;
}

std::optional<Document> morph::spec::readToml(llvm::StringRef path, Diagnostics &diagnostics, SourceRange usedAt) {
  std::optional<llvm::StringRef> text = diagnostics.addFile(path, kMaxSpecBytes, usedAt);
  return text ? parseToml(*text, diagnostics) : std::nullopt;
}

std::optional<Document> morph::spec::parseToml(llvm::StringRef text, Diagnostics &diagnostics) {
  if (text.size() > kMaxSpecBytes) {
    diagnostics.error("a spec of " + llvm::Twine(text.size()) + " bytes, expected at most " +
                      llvm::Twine(kMaxSpecBytes));
    return std::nullopt;
  }
  std::string message;
  SourceRange range;
  std::optional<Node> root = tryReadToml(text, message, range);
  if (!root) {
    diagnostics.error(range, "malformed TOML: " + llvm::Twine(message));
    return std::nullopt;
  }
  return Document{std::move(*root), makeRange(text.take_front(1))};
}

/// The member or element of `node` that one part of a dotted key names; made where a table lacks it.
static Node *descend(Node &node, llvm::StringRef part, SourceRange range, Diagnostics &diagnostics) {
  if (node.kind == Node::Kind::Table) {
    if (Node *member = node.find(part))
      return member;
    Node member;
    member.range = member.keyRange = range;
    node.members.emplace_back(part.str(), std::move(member));
    return &node.members.back().second;
  }
  if (node.kind == Node::Kind::List) {
    size_t index = 0;
    if (!part.getAsInteger(10, index)) {
      if (index < node.elements.size())
        return &node.elements[index];
      diagnostics.error(range, "there is no element " + part + ", the list has " + llvm::Twine(node.elements.size()) +
                                   " (counted from 0)");
      return nullptr;
    }
    std::string names;
    for (Node &element : node.elements)
      if (Node *name = element.find("name")) {
        if (name->string == part)
          return &element;
        names += (names.empty() ? "'" : ", '") + name->string + "'";
      }
    diagnostics.error(range, "no element is named '" + part + "'",
                      names.empty() ? "elements of this list go by their number, from 0" : "there are " + names);
    return nullptr;
  }
  diagnostics.error(range, "the key before '" + part + "' is a " + getKindName(node.kind) + ", not a table");
  return nullptr;
}

bool morph::spec::applyOverride(Node &root, llvm::StringRef assignment, Diagnostics &diagnostics) {
  llvm::StringRef text = diagnostics.addText("--set", assignment);
  if (size_t offset = 0; !llvm::json::isUTF8(text, &offset)) {
    diagnostics.error(makeRange(text.substr(offset, 1)), "this is not UTF-8");
    return false;
  }
  size_t equals = text.find('=');
  if (equals == llvm::StringRef::npos || text.take_front(equals).trim().empty()) {
    diagnostics.error(makeRange(text), "expected key=value", "for example --set align.steps=100");
    return false;
  }
  llvm::StringRef key = text.take_front(equals).trim();
  llvm::StringRef value = text.drop_front(equals + 1);

  // The value's places are columns of the whole argument: the key is blanked out, not cut off.
  std::string document = "v";
  document.append(equals > 0 ? equals - 1 : 0, ' ');
  document += text.drop_front(equals).str();
  std::string message;
  SourceRange ignored;
  std::optional<Node> parsed = tryReadToml(document, message, ignored);
  Node leaf;
  llvm::StringRef bare = value.trim(), digits = bare.ltrim("+-");
  // A number that is no TOML, being out of range for example, is not meant as a word.
  bool isNumber = !digits.empty() && llvm::all_of(digits, llvm::isDigit);
  if (parsed && parsed->members.size() == 1 && parsed->members.front().first == "v") {
    leaf = std::move(parsed->members.front().second);
  } else if (!bare.empty() && !isNumber && !bare.contains_insensitive("\"") && !bare.contains('[') &&
             !bare.contains('{') && !bare.contains('\n')) {
    leaf.kind = Node::Kind::String;
    leaf.string = bare.str();
  } else {
    diagnostics.error(makeRange(value.empty() ? text : value), "the value is not TOML: " + llvm::Twine(message));
    return false;
  }
  SourceRange keyRange = makeRange(key);
  // Every place inside the value is the value's: the parsed copy's text is gone after this.
  auto place = [&](Node &node, auto &&self) -> void {
    node.range = makeRange(bare);
    node.keyRange = SourceRange();
    for (Node &element : node.elements)
      self(element, self);
    for (auto &member : node.members)
      self(member.second, self);
  };
  place(leaf, place);
  leaf.keyRange = keyRange;

  llvm::SmallVector<llvm::StringRef> parts;
  key.split(parts, '.');
  if (parts.size() > kMaxKeyParts) {
    diagnostics.error(keyRange, "a key of more than " + llvm::Twine(kMaxKeyParts) + " parts");
    return false;
  }
  Node *node = &root;
  for (llvm::StringRef part : parts) {
    part = part.trim();
    if (part.empty()) {
      diagnostics.error(keyRange, "a part of the key is empty");
      return false;
    }
    node = descend(*node, part, keyRange, diagnostics);
    if (!node)
      return false;
  }
  *node = std::move(leaf);
  return true;
}
