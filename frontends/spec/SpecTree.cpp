// SPDX-License-Identifier: Apache-2.0
// The only file that knows toml++.

#include "frontends/spec/SpecTree.h"

#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"

#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

using namespace morph;
using namespace morph::spec;

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
    lines_.push_back(0);
    for (size_t i = 0; i < text.size(); ++i)
      if (text[i] == '\n')
        lines_.push_back(i + 1);
  }

  /// The offset of a position, at most the text's end.
  size_t getOffset(const toml::source_position &position) const {
    if (position.line == 0)
      return 0;
    if (position.line > lines_.size())
      return text_.size();
    size_t offset = lines_[position.line - 1];
    for (unsigned column = 1; column < position.column && offset < text_.size() && text_[offset] != '\n'; ++column) {
      ++offset;
      while (offset < text_.size() && (static_cast<unsigned char>(text_[offset]) & 0xC0) == 0x80)
        ++offset;
    }
    return offset;
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
  std::vector<size_t> lines_;
};

} // namespace

/// Parses without printing: the tree, or the error's text and place.
static std::optional<Node> tryReadToml(llvm::StringRef text, std::string &message, SourceRange &range) {
  toml::parse_result result = toml::parse(std::string_view(text.data(), text.size()));
  TomlConverter converter(text);
  if (!result) {
    message = std::string(result.error().description());
    size_t offset = std::min(converter.getOffset(result.error().source().begin), text.size());
    range = makeRange(text.slice(offset, std::min(offset + 1, text.size())));
    return std::nullopt;
  }
  Node root = converter.convert(result.table());
  root.keyRange = SourceRange();
  return root;
}

std::optional<Node> morph::spec::readToml(llvm::StringRef text, Diagnostics &diagnostics) {
  std::string message;
  SourceRange range;
  std::optional<Node> root = tryReadToml(text, message, range);
  if (!root) {
    // toml++ begins its sentences as "Error while parsing string: ...".
    llvm::StringRef description = message;
    description.consume_front("Error while parsing ");
    diagnostics.error(range, "malformed TOML: " + description);
  }
  return root;
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
  llvm::StringRef bare = value.trim();
  if (parsed && parsed->members.size() == 1 && parsed->members.front().first == "v") {
    leaf = std::move(parsed->members.front().second);
  } else if (!bare.empty() && !bare.contains_insensitive("\"") && !bare.contains('[') && !bare.contains('{') &&
             !bare.contains('\n')) {
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
