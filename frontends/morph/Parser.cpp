// SPDX-License-Identifier: Apache-2.0

#include "frontends/morph/Parser.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/JSON.h"

using namespace morph;
using namespace morph::language;

namespace {

/// Errors after which the rest of a file is not read.
constexpr unsigned kMaxErrors = 100;

class FileParser {
public:
  FileParser(llvm::StringRef text, llvm::ArrayRef<Token> tokens, Diagnostics &diagnostics)
      : text_(text), reader_(tokens), diagnostics_(diagnostics) {}

  std::vector<Mixer> run();

private:
  // Parsers return false after an error, which is reported; the reader stands where it was found.
  bool parseMixer(Mixer &mixer);
  bool parseOptions(Mixer &mixer);
  bool parseOption(Option &option);
  bool parseRange(Option &option);
  bool parseConstant(Constant &constant);
  bool parseBody(Mixer &mixer);
  bool parseItem(Mixer &mixer);
  bool parseDocumentation(std::optional<Word> &word, SourceRange &range);
  bool parseDimension(Mixer &mixer);
  bool parseRequirement(Mixer &mixer);
  bool parseWeight(Mixer &mixer);
  bool parseSizes(Weight &weight);
  bool parseInitializer(Initializer &init);
  bool parseStatement(std::vector<Statement> &statements);
  bool parseAssignment(Statement &statement);
  bool parseIf(Statement &statement);
  bool parseBlock(std::vector<Statement> &statements, SourceRange &range);
  bool parseReturn(Mixer &mixer);
  bool parseValue(Expression &expression, bool bracketed = false);
  bool parseName(Word &name, llvm::StringRef what);
  bool parseString(Word &string, llvm::StringRef what);
  bool expect(llvm::StringRef word, llvm::StringRef after);
  bool expectLineEnd();

  bool isDeclaration() const;
  bool countItem();
  /// Goes on after an error: at the token that does not fit where it begins a line after `began`, else at the next
  /// line; blocks that the skipped part opens are skipped whole.
  void recover(size_t began);
  bool hasTooManyErrors() const { return diagnostics_.getErrorCount() >= errorsBefore_ + kMaxErrors; }

  SourceRange getRange(size_t begin, size_t end) const { return makeRange(text_.slice(begin, end)); }
  SourceRange getRange(const Token &token) const { return getRange(token.begin, token.end()); }
  SourceRange getRangeFrom(size_t begin) const { return getRange(begin, reader_.previous().end()); }

  bool fail(const Token &at, const llvm::Twine &message, const llvm::Twine &hint = "",
            llvm::ArrayRef<Note> notes = {}) {
    diagnostics_.error(getRange(at), message, hint, notes);
    return false;
  }

  llvm::StringRef text_;
  TokenReader reader_;
  Diagnostics &diagnostics_;
  unsigned errorsBefore_ = diagnostics_.getErrorCount();
  size_t items_ = 0;   ///< Of the mixer.
  size_t nesting_ = 0; ///< Of `if`.
  Token opening_;      ///< The brace of the mixer.
  bool returned_ = false;
  bool unclosed_ = false; ///< A block of the mixer has no end.
};

constexpr llvm::StringRef itemWords[] = {"doc", "source", "dim", "require", "weight", "frozen", "if", "return"};

std::vector<Mixer> FileParser::run() {
  std::vector<Mixer> mixers;
  while (!reader_.atEnd() && !hasTooManyErrors()) {
    Token token = reader_.peek();
    if (!token.is("mixer")) {
      llvm::StringRef words[] = {"mixer"};
      fail(token, "expected 'mixer', found " + describeToken(token),
           findNearest(token.text, words).empty() ? "" : "did you mean 'mixer'?");
      do
        reader_.take();
      while (!reader_.atEnd() && !(reader_.peek().startsLine && reader_.peek().is("mixer")));
      continue;
    }
    if (mixers.size() == kMaxMixers) {
      fail(token, "a file has at most " + llvm::Twine(kMaxMixers) + " mixers", "put further ones into another file");
      break;
    }
    Mixer mixer;
    if (parseMixer(mixer))
      mixers.push_back(std::move(mixer));
  }
  return mixers;
}

bool FileParser::parseMixer(Mixer &mixer) {
  Token begin = reader_.take();
  items_ = 0;
  returned_ = unclosed_ = false;
  bool named = parseName(mixer.name, "the mixer's name") && (!reader_.peek().is("(") || parseOptions(mixer));
  if (named && !reader_.peek().is("{"))
    named = fail(reader_.peek(), "expected '{' and the mixer's lines, found " + describeToken(reader_.peek()));
  if (!named) {
    // Nothing of it can be told from what follows.
    while (!reader_.atEnd() && !(reader_.peek().startsLine && reader_.peek().is("mixer")))
      reader_.take();
    return false;
  }
  opening_ = reader_.take();
  if (!parseBody(mixer))
    return false;
  mixer.bodyRange = getRangeFrom(opening_.begin);
  mixer.range = getRangeFrom(begin.begin);
  return true;
}

bool FileParser::parseOptions(Mixer &mixer) {
  Token opening = reader_.take();
  while (!reader_.peek().is(")")) {
    if (mixer.options.size() == kMaxOptions)
      return fail(reader_.peek(), "a mixer has at most " + llvm::Twine(kMaxOptions) + " options");
    if (!parseOption(mixer.options.emplace_back()))
      return false;
    if (!reader_.takeIf(","))
      break;
  }
  if (reader_.takeIf(")"))
    return true;
  return fail(reader_.peek(), "expected ',' or ')' after an option, found " + describeToken(reader_.peek()), "",
              {{getRange(opening), "the options begin here"}});
}

bool FileParser::parseOption(Option &option) {
  if (!parseName(option.name, "an option's name") || !expect(":", "the option's name"))
    return false;
  if (reader_.takeIf("bool")) {
    option.type = Option::Type::Boolean;
  } else {
    if (reader_.takeIf("real"))
      option.type = Option::Type::Real;
    do
      if (!parseRange(option))
        return false;
    while (option.type == Option::Type::Whole && reader_.takeIf("|"));
  }
  if (!expect("=", "the option's values"))
    return false;
  if (option.type != Option::Type::Boolean)
    return parseConstant(option.fallback);
  Token value = reader_.peek();
  if (!value.is("true") && !value.is("false"))
    return fail(value, "expected true or false, found " + describeToken(value));
  reader_.take();
  option.fallback = {value.text.str(), value.is("true") ? 1.0 : 0.0, getRange(value)};
  return true;
}

bool FileParser::parseRange(Option &option) {
  Option::Range &range = option.ranges.emplace_back();
  if (!parseConstant(range.first))
    return false;
  range.last = range.first;
  range.isNumber = !reader_.takeIf("..");
  return range.isNumber || parseConstant(range.last);
}

bool FileParser::parseConstant(Constant &constant) {
  size_t begin = reader_.peek().begin;
  bool negative = reader_.takeIf("-");
  Token number = reader_.peek();
  if (number.kind != TokenKind::Number)
    return fail(number, "expected a number, found " + describeToken(number));
  TextError error;
  std::optional<Expression> value = parseExpression(number.text, error);
  if (!value)
    return fail(number, error.message);
  reader_.take();
  constant.text = (negative ? "-" : "") + value->text;
  constant.value = negative ? -value->number : value->number;
  constant.range = getRangeFrom(begin);
  return true;
}

bool FileParser::parseBody(Mixer &mixer) {
  unsigned before = diagnostics_.getErrorCount();
  while (!reader_.takeIf("}")) {
    Token begin = reader_.peek();
    if (reader_.atEnd() || (begin.is("mixer") && begin.startsLine))
      return fail(begin,
                  "expected '}' before " + (reader_.atEnd() ? "the end of the text" : std::string("the next mixer")),
                  "", {{getRange(opening_), "the mixer's lines begin here"}});
    if (!countItem())
      return false;
    if (!parseItem(mixer) || !expectLineEnd())
      recover(begin.begin);
    if (unclosed_ || hasTooManyErrors())
      return false;
  }
  // A return with an error is one too.
  if (!returned_)
    fail(reader_.previous(), "mixer '" + mixer.name.text + "' returns nothing",
         "its last line is return, with a value of shape [M]");
  return diagnostics_.getErrorCount() == before;
}

bool FileParser::countItem() {
  if (++items_ <= kMaxStatements)
    return true;
  fail(reader_.peek(), "a mixer has at most " + llvm::Twine(kMaxStatements) + " lines");
  // There may be a million more.
  while (!reader_.atEnd())
    reader_.take();
  return false;
}

bool FileParser::isDeclaration() const {
  return llvm::any_of(llvm::ArrayRef(itemWords).take_front(6),
                      [&](llvm::StringRef word) { return reader_.peek().is(word); });
}

bool FileParser::parseItem(Mixer &mixer) {
  const Token &token = reader_.peek();
  if (returned_)
    return fail(token, "nothing follows return", "return is a mixer's last line",
                {{mixer.resultRange, "the mixer returns here"}});
  if (isDeclaration() && !mixer.statements.empty())
    return fail(token, "'" + token.text + "' follows a statement", "declarations come before the first statement",
                {{mixer.statements.front().range, "the first statement is here"}});
  if (token.is("doc"))
    return parseDocumentation(mixer.doc, mixer.docRange);
  if (token.is("source"))
    return parseDocumentation(mixer.source, mixer.sourceRange);
  if (token.is("dim"))
    return parseDimension(mixer);
  if (token.is("require"))
    return parseRequirement(mixer);
  if (token.is("weight") || token.is("frozen"))
    return parseWeight(mixer);
  if (token.is("return"))
    return parseReturn(mixer);
  return parseStatement(mixer.statements);
}

bool FileParser::parseDocumentation(std::optional<Word> &word, SourceRange &range) {
  Token keyword = reader_.take();
  if (word)
    return fail(keyword, "'" + keyword.text + "' stands twice", "", {{range, "it stands here first"}});
  Word string;
  if (!parseString(string, keyword.text))
    return false;
  word = std::move(string);
  range = getRangeFrom(keyword.begin);
  return true;
}

bool FileParser::parseDimension(Mixer &mixer) {
  size_t begin = reader_.take().begin;
  Dimension dimension;
  if (!parseName(dimension.name, "the dimension's name") || !expect("=", "the dimension's name") ||
      !parseValue(dimension.size))
    return false;
  dimension.range = getRangeFrom(begin);
  mixer.dimensions.push_back(std::move(dimension));
  return true;
}

bool FileParser::parseRequirement(Mixer &mixer) {
  size_t begin = reader_.take().begin;
  Requirement requirement;
  if (!parseValue(requirement.condition) || !expect(",", "the condition") ||
      !parseString(requirement.message, "the condition"))
    return false;
  requirement.range = getRangeFrom(begin);
  mixer.requirements.push_back(std::move(requirement));
  return true;
}

bool FileParser::parseWeight(Mixer &mixer) {
  size_t begin = reader_.peek().begin;
  Weight weight;
  weight.frozen = reader_.takeIf("frozen");
  if (!reader_.takeIf("weight"))
    return fail(reader_.peek(), "expected 'weight' after 'frozen', found " + describeToken(reader_.peek()));
  if (!parseName(weight.name, "the weight's name") || !parseSizes(weight) || !parseInitializer(weight.init))
    return false;
  if (!reader_.peek().startsLine && reader_.takeIf("if")) {
    if (!parseValue(weight.condition.emplace()))
      return false;
  }
  weight.range = getRangeFrom(begin);
  mixer.weights.push_back(std::move(weight));
  return true;
}

bool FileParser::parseSizes(Weight &weight) {
  Token opening = reader_.peek();
  if (!opening.is("["))
    return fail(opening, "expected '[' and the weight's sizes, found " + describeToken(opening),
                "write for example [H * D, M]");
  reader_.take();
  while (!reader_.peek().is("]")) {
    if (weight.sizes.size() == kMaxRank)
      return fail(reader_.peek(), "a weight has at most " + llvm::Twine(kMaxRank) + " sizes");
    WeightSize &size = weight.sizes.emplace_back();
    if (reader_.peek(1).is(":")) {
      if (!parseName(size.index.emplace(), "an index's name"))
        return false;
      reader_.take();
    }
    if (!parseValue(size.size, /*bracketed=*/true))
      return false;
    if (!reader_.takeIf(","))
      break;
  }
  if (!reader_.peek().is("]"))
    return fail(reader_.peek(), "expected ',' or ']' after a size, found " + describeToken(reader_.peek()), "",
                {{getRange(opening), "the sizes begin here"}});
  reader_.take();
  return !weight.sizes.empty() || fail(opening, "a weight has at least one size", "write [1] for a single number");
}

bool FileParser::parseInitializer(Initializer &init) {
  Token begin = reader_.take();
  if (!begin.is("=") && !begin.is("~"))
    return fail(begin, "expected the weight's first values, found " + describeToken(begin),
                "write = FORMULA or ~ normal(DEVIATION)");
  Expression value;
  if (!parseValue(value))
    return false;
  init.range = getRange(value.begin, value.end);
  auto isBase = [](const Expression &name) {
    llvm::StringRef text = name.text;
    return name.kind == Expression::Kind::Name && text.starts_with("base.") &&
           (text.ends_with(".weight") || text.ends_with(".bias"));
  };
  if (begin.is("~")) {
    if (value.kind != Expression::Kind::Call || value.text != "normal" || value.children.size() != 1 ||
        !value.argumentNames[0].empty()) {
      diagnostics_.error(init.range, "expected normal(DEVIATION) after '~'", "other first values follow '='");
      return false;
    }
    init.kind = Initializer::Kind::Normal;
    init.formula = std::move(value.children[0]);
  } else if (isBase(value)) {
    init.kind = Initializer::Kind::Copy;
    init.source = {value.text.substr(5), init.range};
  } else if (value.kind == Expression::Kind::Call && value.text == "repeat" && value.children.size() == 1 &&
             isBase(value.children[0])) {
    init.kind = Initializer::Kind::Repeat;
    const Expression &source = value.children[0];
    init.source = {source.text.substr(5), getRange(source.begin, source.end)};
  } else {
    init.formula = std::move(value);
  }
  return true;
}

bool FileParser::parseStatement(std::vector<Statement> &statements) {
  Statement statement;
  bool ok = reader_.peek().is("if") ? parseIf(statement) : parseAssignment(statement);
  if (ok)
    statements.push_back(std::move(statement));
  return ok;
}

bool FileParser::parseAssignment(Statement &statement) {
  Token token = reader_.peek();
  if (token.is("else"))
    return fail(token, "'else' follows no 'if'");
  if (token.is("return"))
    return fail(token, "'return' stands within an if", "a mixer returns in its last line");
  if (token.kind != TokenKind::Name || isReservedWord(token.text))
    return fail(token, "expected a statement, found " + describeToken(token));
  reader_.take();
  if (!reader_.peek().is("=")) {
    llvm::StringRef nearest = findNearest(token.text, itemWords);
    return fail(reader_.peek(), "expected '=' after '" + token.text + "', found " + describeToken(reader_.peek()),
                nearest.empty() ? std::string() : "did you mean '" + nearest.str() + "'?");
  }
  reader_.take();
  statement.target = {token.text.str(), getRange(token)};
  if (!parseValue(statement.value))
    return false;
  statement.range = getRangeFrom(token.begin);
  return true;
}

bool FileParser::parseIf(Statement &statement) {
  Token begin = reader_.take();
  statement.kind = Statement::Kind::If;
  if (nesting_ == kMaxNesting)
    return fail(begin, "ifs are nested deeper than " + llvm::Twine(kMaxNesting) + " levels");
  ++nesting_;
  bool ok = parseValue(statement.value) && parseBlock(statement.thenBody, statement.thenRange);
  if (ok && reader_.takeIf("else"))
    ok = parseBlock(statement.elseBody, statement.elseRange);
  --nesting_;
  statement.range = getRangeFrom(begin.begin);
  return ok;
}

bool FileParser::parseBlock(std::vector<Statement> &statements, SourceRange &range) {
  Token opening = reader_.peek();
  if (!opening.is("{"))
    return fail(opening, "expected '{', found " + describeToken(opening));
  reader_.take();
  while (!reader_.takeIf("}")) {
    Token begin = reader_.peek();
    if (reader_.atEnd() || (begin.is("mixer") && begin.startsLine)) {
      unclosed_ = true;
      return fail(begin, "expected '}', found " + describeToken(begin), "",
                  {{getRange(opening), "the block begins here"}});
    }
    if (!countItem())
      return false;
    if (isDeclaration())
      fail(begin, "'" + begin.text + "' stands within an if", "declarations come before the first statement");
    if (isDeclaration() || !parseStatement(statements) || !expectLineEnd())
      recover(begin.begin);
    if (unclosed_ || hasTooManyErrors())
      return false;
  }
  range = getRangeFrom(opening.begin);
  return true;
}

bool FileParser::parseReturn(Mixer &mixer) {
  size_t begin = reader_.take().begin;
  returned_ = true;
  bool ok = parseValue(mixer.result);
  mixer.resultRange = getRangeFrom(begin);
  return ok;
}

bool FileParser::parseValue(Expression &expression, bool bracketed) {
  TextError error;
  std::optional<Expression> parsed = parseExpression(reader_, error, bracketed);
  if (!parsed) {
    llvm::SmallVector<Note, 1> notes;
    if (!error.note.empty())
      notes.push_back({getRange(error.noteBegin, error.noteEnd), error.note});
    diagnostics_.error(getRange(error.begin, error.end), error.message, error.hint, notes);
    return false;
  }
  expression = std::move(*parsed);
  return true;
}

bool FileParser::parseName(Word &name, llvm::StringRef what) {
  Token token = reader_.peek();
  if (token.kind != TokenKind::Name)
    return fail(token, "expected " + what + ", found " + describeToken(token));
  if (isReservedWord(token.text))
    return fail(token, "'" + token.text + "' is a word of the language, expected " + what);
  reader_.take();
  name = {token.text.str(), getRange(token)};
  return true;
}

bool FileParser::parseString(Word &string, llvm::StringRef what) {
  Token token = reader_.peek();
  if (token.kind != TokenKind::String)
    return fail(token, "expected a string after " + what + ", found " + describeToken(token), "write \"...\"");
  reader_.take();
  string = {token.text.drop_front().drop_back().str(), getRange(token)};
  return true;
}

bool FileParser::expect(llvm::StringRef word, llvm::StringRef after) {
  if (reader_.takeIf(word))
    return true;
  return fail(reader_.peek(), "expected '" + word + "' after " + after + ", found " + describeToken(reader_.peek()));
}

bool FileParser::expectLineEnd() {
  const Token &token = reader_.peek();
  if (token.startsLine || token.is("}") || reader_.atEnd())
    return true;
  return fail(token, "expected the end of the line, found " + describeToken(token));
}

void FileParser::recover(size_t began) {
  size_t open = 0;
  for (; !reader_.atEnd(); reader_.take()) {
    const Token &token = reader_.peek();
    bool first = token.startsLine && token.begin != began;
    if (token.is("mixer") && first)
      return;
    if (open == 0 && (first || token.is("}")))
      return;
    open += token.is("{");
    open -= token.is("}");
  }
}

} // namespace

std::optional<File> morph::language::parseFile(llvm::StringRef text, Diagnostics &diagnostics) {
  unsigned before = diagnostics.getErrorCount();
  if (text.size() > kMaxFileBytes) {
    diagnostics.error("a file of " + llvm::Twine(text.size()) + " bytes, expected at most " +
                      llvm::Twine(kMaxFileBytes));
    return std::nullopt;
  }
  if (size_t offset = 0; !llvm::json::isUTF8(text, &offset)) {
    diagnostics.error(makeRange(text.substr(offset, 1)), "this is not UTF-8");
    return std::nullopt;
  }
  TokenList list = readTokens(text);
  for (const TextError &error : list.errors)
    diagnostics.error(makeRange(text.slice(error.begin, error.end)), error.message, error.hint);
  // Words that were left out would be missed as well.
  if (!list.errors.empty())
    return std::nullopt;
  File file{text, FileParser(text, list.tokens, diagnostics).run(), std::move(list.comments)};
  if (diagnostics.getErrorCount() != before)
    return std::nullopt;
  return file;
}
