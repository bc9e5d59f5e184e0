// SPDX-License-Identifier: Apache-2.0

#include "frontends/morph/Format.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

#include <functional>

using namespace morph;
using namespace morph::language;

namespace {

constexpr size_t kWidth = 120;
/// Where a line may be broken, in text that is not laid out yet. Texts that were parsed have no such character outside
/// of comments, which are never broken.
constexpr llvm::StringLiteral kBreak = "\n";

class Formatter {
public:
  explicit Formatter(const File &file) : file_(file) {}

  std::string run() {
    // In the order of the source, which the tree keeps apart.
    std::vector<std::pair<size_t, std::function<void()>>> declarations;
    for (const Mixer &mixer : file_.mixers)
      declarations.emplace_back(getOffset(mixer.range.Start), [&] { printMixer(mixer); });
    for (const Arch &arch : file_.archs)
      declarations.emplace_back(getOffset(arch.range.Start), [&] { printArch(arch); });
    llvm::sort(declarations, llvm::less_first());
    for (const auto &[offset, print] : declarations)
      print();
    printComments(file_.text.size());
    return std::move(text_);
  }

private:
  void printMixer(const Mixer &mixer);
  void printArch(const Arch &arch);
  void printStatements(const std::vector<Statement> &statements);
  void printStatement(const Statement &statement);
  /// A whole line of the source, which stands at `range`.
  void printLine(SourceRange range, const std::string &line);
  /// A line that ends with the brace at `brace`, and what follows up to the closing one.
  void openBlock(size_t begin, size_t brace, const std::string &line);
  void closeBlock(size_t end);

  /// Comments before an offset, on lines of their own.
  void printComments(size_t offset, bool keepBlankLines = true);
  /// Comments before a statement, and those within it, which go before it.
  void printCommentsAround(size_t begin, size_t end);
  /// The comment that follows on the same line of the source, and the end of the line.
  void endLine(size_t sourceEnd);
  /// A blank line where the source has one before `offset`, except where a block begins, and one after each
  /// declaration.
  void printBlankLine(size_t offset);
  /// Text at the current level, broken where it is too wide.
  void printWrapped(llvm::StringRef line);

  size_t getOffset(llvm::SMLoc place) const { return place.getPointer() - file_.text.begin(); }

  const File &file_;
  std::string text_;
  size_t level_ = 0;
  size_t comment_ = 0;           ///< The first that is not printed.
  size_t sourceEnd_ = 0;         ///< Of what is printed.
  bool begins_ = true;           ///< Nothing stands in the block yet.
  bool declarationEnds_ = false; ///< A declaration was the last that was printed.
};

void Formatter::printBlankLine(size_t offset) {
  llvm::StringRef between = offset > sourceEnd_ ? file_.text.slice(sourceEnd_, offset) : "";
  size_t lines = 0;
  // Blank lines right before the offset: what else stands between is printed elsewhere.
  for (char c : llvm::reverse(between)) {
    if (!llvm::isSpace(c))
      break;
    lines += c == '\n';
  }
  if ((lines > 1 || declarationEnds_) && !begins_)
    text_ += '\n';
  begins_ = declarationEnds_ = false;
}

void Formatter::printWrapped(llvm::StringRef line) {
  size_t column = 2 * level_;
  text_.append(column, ' ');
  bool first = true;
  while (!line.empty()) {
    auto [part, rest] = line.split(kBreak);
    // One more for the comma's or operator's blank does not matter: parts have no blank at their ends.
    if (!first && column + 1 + part.size() > kWidth) {
      column = 2 * level_ + 4;
      text_ += '\n';
      text_.append(column, ' ');
    } else if (!first) {
      text_ += ' ';
      ++column;
    }
    text_ += part;
    column += part.size();
    first = false;
    line = rest;
  }
}

void Formatter::printComments(size_t offset, bool keepBlankLines) {
  for (; comment_ < file_.comments.size() && file_.comments[comment_].begin < offset; ++comment_) {
    const Comment &comment = file_.comments[comment_];
    if (keepBlankLines)
      printBlankLine(comment.begin);
    text_.append(2 * level_, ' ');
    text_ += comment.text;
    text_ += '\n';
    sourceEnd_ = std::max(sourceEnd_, comment.begin + comment.text.size());
  }
}

void Formatter::printCommentsAround(size_t begin, size_t end) {
  printComments(begin);
  printBlankLine(begin);
  printComments(end, /*keepBlankLines=*/false);
}

void Formatter::endLine(size_t sourceEnd) {
  sourceEnd_ = std::max(sourceEnd_, sourceEnd);
  if (comment_ < file_.comments.size()) {
    const Comment &comment = file_.comments[comment_];
    // What stands between must not be of another line, nor of another statement of the same.
    if (comment.begin >= sourceEnd && file_.text.slice(sourceEnd, comment.begin).trim(" \t\r").empty()) {
      text_ += " ";
      text_ += comment.text;
      sourceEnd_ = comment.begin + comment.text.size();
      ++comment_;
    }
  }
  text_ += '\n';
}

void Formatter::printLine(SourceRange range, const std::string &line) {
  printCommentsAround(getOffset(range.Start), getOffset(range.End));
  printWrapped(line);
  endLine(getOffset(range.End));
}

void Formatter::openBlock(size_t begin, size_t brace, const std::string &line) {
  printCommentsAround(begin, brace);
  printWrapped(line);
  endLine(brace + 1);
  ++level_;
  begins_ = true;
}

void Formatter::closeBlock(size_t end) {
  printComments(end - 1);
  --level_;
  text_.append(2 * level_, ' ');
  text_ += '}';
  begins_ = false;
}

std::string printOption(const Option &option) {
  std::string values;
  for (const Option::Range &range : option.ranges)
    values += (values.empty() ? "" : " | ") + range.first.text + (range.isNumber ? "" : ".." + range.last.text);
  if (option.type == Option::Type::Boolean)
    values = "bool";
  return option.name.text + ": " + (option.type == Option::Type::Real ? "real " : "") + values + " = " +
         option.fallback.text;
}

std::string printWeight(const Weight &weight) {
  std::string text = (weight.frozen ? "frozen weight " : "weight ") + weight.name.text + " [";
  for (const WeightSize &size : weight.sizes) {
    if (&size != &weight.sizes.front())
      text += ", ";
    if (size.index)
      text += size.index->text + ": ";
    text += printExpression(size.size);
  }
  text += "]";
  switch (weight.init.kind) {
  case Initializer::Kind::Normal:
    text += " ~ normal(" + printExpression(weight.init.formula, kBreak) + ")";
    break;
  case Initializer::Kind::Formula:
    text += " = " + printExpression(weight.init.formula, kBreak);
    break;
  case Initializer::Kind::Copy:
    text += " = base." + weight.init.source.text;
    break;
  case Initializer::Kind::Repeat:
    text += " = repeat(base." + weight.init.source.text + ")";
    break;
  }
  return text + (weight.condition ? " if " + printExpression(*weight.condition, kBreak) : "");
}

void Formatter::printMixer(const Mixer &mixer) {
  std::string header = "mixer " + mixer.name.text;
  if (!mixer.options.empty())
    header += "(" + llvm::join(llvm::map_range(mixer.options, printOption), ("," + kBreak).str()) + ")";
  openBlock(getOffset(mixer.range.Start), getOffset(mixer.bodyRange.Start), header + " {");

  // Declarations in the order of the source, which the tree keeps apart.
  std::vector<std::pair<SourceRange, std::string>> lines;
  if (mixer.doc)
    lines.emplace_back(mixer.docRange, "doc \"" + mixer.doc->text + "\"");
  if (mixer.source)
    lines.emplace_back(mixer.sourceRange, "source \"" + mixer.source->text + "\"");
  for (const Dimension &dimension : mixer.dimensions)
    lines.emplace_back(dimension.range, "dim " + dimension.name.text + " = " + printExpression(dimension.size, kBreak));
  for (const Requirement &requirement : mixer.requirements)
    lines.emplace_back(requirement.range, "require " + printExpression(requirement.condition, kBreak) + "," +
                                              kBreak.str() + "\"" + requirement.message.text + "\"");
  for (const Weight &weight : mixer.weights)
    lines.emplace_back(weight.range, printWeight(weight));
  llvm::sort(lines,
             [](const auto &a, const auto &b) { return a.first.Start.getPointer() < b.first.Start.getPointer(); });
  for (const auto &[range, line] : lines)
    printLine(range, line);
  printStatements(mixer.statements);
  printLine(mixer.resultRange, "return " + printExpression(mixer.result, kBreak));
  closeBlock(getOffset(mixer.bodyRange.End));
  endLine(getOffset(mixer.bodyRange.End));
  declarationEnds_ = true;
}

/// A name with options as it was written; what would be something else without quotes, such as a file's, in them.
std::string printReference(const Word &reference) {
  TextError error;
  std::optional<Expression> parsed = parseExpression(reference.text, error);
  bool isName = parsed && (parsed->kind == Expression::Kind::Name || parsed->kind == Expression::Kind::Call);
  return isName && printExpression(*parsed) == reference.text ? reference.text : "\"" + reference.text + "\"";
}

std::string printLayers(const LayerSet &layers) {
  std::string text;
  for (const auto &[first, last] : layers.ranges)
    text += (text.empty() ? "" : ", ") + first.text + (first.value == last.value ? "" : ".." + last.text);
  return text.empty() ? "all" : text;
}

std::string printArchLine(const ArchLine &line) {
  using Kind = ArchLine::Kind;
  std::string candidates = llvm::join(llvm::map_range(line.mixers, printReference), (" |" + kBreak).str());
  switch (line.kind) {
  case Kind::Doc:
    return "doc \"" + line.text.text + "\"";
  case Kind::Model:
    return "model \"" + line.text.text + "\"";
  case Kind::Recipe:
    return "recipe \"" + line.text.text + "\"";
  case Kind::Layers:
    return "layers " + printLayers(line.layers) + " = " + candidates;
  case Kind::Tie:
    return "tie " + printLayers(line.layers);
  case Kind::Pin:
    return "pin " + printLayers(line.layers) + " = " + candidates;
  case Kind::Pattern:
    return "pattern " + (line.count.value == 1 ? "one" : line.count.text) + " " + candidates + " in every " +
           line.every.text;
  case Kind::Budget:
    return "budget " + line.text.text + " = " + line.limit.text + (line.context ? " at " + line.context->text : "") +
           (line.table ? " by \"" + line.table->text + "\"" : "");
  }
  llvm_unreachable("unknown kind of line");
}

void Formatter::printArch(const Arch &arch) {
  openBlock(getOffset(arch.range.Start), getOffset(arch.bodyRange.Start), "arch " + arch.name.text + " {");
  for (const ArchLine &line : arch.lines)
    printLine(line.range, printArchLine(line));
  closeBlock(getOffset(arch.bodyRange.End));
  endLine(getOffset(arch.bodyRange.End));
  declarationEnds_ = true;
}

void Formatter::printStatements(const std::vector<Statement> &statements) {
  for (const Statement &statement : statements)
    printStatement(statement);
}

void Formatter::printStatement(const Statement &statement) {
  if (statement.kind != Statement::Kind::If)
    return printLine(statement.range, (statement.kind == Statement::Kind::Calibrate ? "calibrate " : "") +
                                          statement.target.text + " = " + printExpression(statement.value, kBreak));
  openBlock(getOffset(statement.range.Start), getOffset(statement.thenRange.Start),
            "if " + printExpression(statement.value, kBreak) + " {");
  printStatements(statement.thenBody);
  closeBlock(getOffset(statement.thenRange.End));
  size_t end = getOffset(statement.thenRange.End);
  if (statement.elseRange.isValid()) {
    // Comments between the brace and `else` go into its block.
    text_ += " else {";
    endLine(getOffset(statement.elseRange.Start) + 1);
    ++level_;
    begins_ = true;
    printStatements(statement.elseBody);
    closeBlock(getOffset(statement.elseRange.End));
    end = getOffset(statement.elseRange.End);
  }
  endLine(end);
}

} // namespace

std::string morph::language::formatFile(const File &file) { return Formatter(file).run(); }
