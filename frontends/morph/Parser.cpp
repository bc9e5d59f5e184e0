// SPDX-License-Identifier: Apache-2.0

#include "frontends/morph/FileParser.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/JSON.h"

using namespace morph;
using namespace morph::language;

static constexpr llvm::StringRef itemWords[] = {"doc",    "source", "dim",    "require",  "weight",
                                                "frozen", "if",     "return", "calibrate"};

bool FileParser::atDeclaration() const {
  const Token &token = reader_.peek();
  return token.startsLine && (token.is("mixer") || token.is("arch"));
}

void FileParser::run(File &file) {
  while (!reader_.atEnd() && !hasTooManyErrors()) {
    Token token = reader_.peek();
    if (!token.is("mixer") && !token.is("arch")) {
      llvm::StringRef words[] = {"mixer", "arch"};
      llvm::StringRef nearest = findNearest(token.text, words);
      fail(token, "expected 'mixer' or 'arch', found " + describeToken(token),
           nearest.empty() ? "" : "did you mean '" + nearest.str() + "'?");
      do
        reader_.take();
      while (!reader_.atEnd() && !atDeclaration());
      continue;
    }
    if (file.mixers.size() + file.archs.size() == kMaxDeclarations) {
      fail(token, "a file has at most " + llvm::Twine(kMaxDeclarations) + " declarations",
           "put further ones into another file");
      break;
    }
    if (token.is("arch")) {
      Arch arch;
      if (parseArch(arch))
        file.archs.push_back(std::move(arch));
      continue;
    }
    Mixer mixer;
    if (parseMixer(mixer))
      file.mixers.push_back(std::move(mixer));
  }
}

bool FileParser::parseHeader(Word &name, llvm::StringRef kind, llvm::function_ref<bool()> afterName) {
  items_ = 0;
  bool named = parseName(name, "the " + kind.str() + "'s name") && afterName();
  if (named && !reader_.peek().is("{"))
    named = fail(reader_.peek(), "expected '{' and the " + kind + "'s lines, found " + describeToken(reader_.peek()));
  if (!named) {
    // Nothing of it can be told from what follows.
    while (!reader_.atEnd() && !atDeclaration())
      reader_.take();
    return false;
  }
  opening_ = reader_.take();
  return true;
}

bool FileParser::parseMixer(Mixer &mixer) {
  Token begin = reader_.take();
  returned_ = unclosed_ = false;
  if (!parseHeader(mixer.name, "mixer", [&] { return !reader_.peek().is("(") || parseOptions(mixer); }))
    return false;
  parseBody(mixer);
  mixer.bodyRange = getRangeFrom(opening_.begin);
  mixer.range = getRangeFrom(begin.begin);
  return true;
}

bool FileParser::parseBody(Mixer &mixer) {
  unsigned before = diagnostics_.getErrorCount();
  while (!reader_.takeIf("}")) {
    Token begin = reader_.peek();
    if (reader_.atEnd() || atDeclaration())
      return failUnclosed("mixer");
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

bool FileParser::failUnclosed(llvm::StringRef kind) {
  return fail(reader_.peek(),
              "expected '}' before " + (reader_.atEnd() ? "the end of the text" : std::string("the next declaration")),
              "", {{getRange(opening_), "the " + kind.str() + "'s lines begin here"}});
}

bool FileParser::countItem() {
  if (++items_ <= kMaxStatements)
    return true;
  fail(reader_.peek(), "a declaration has at most " + llvm::Twine(kMaxStatements) + " lines");
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

bool FileParser::parseStatement(std::vector<Statement> &statements) {
  Statement statement;
  bool ok = reader_.peek().is("if") ? parseIf(statement) : parseAssignment(statement);
  if (ok)
    statements.push_back(std::move(statement));
  return ok;
}

bool FileParser::parseAssignment(Statement &statement) {
  // The word is a name like others where no name follows it on its line.
  Token first = reader_.peek();
  if (const Token &second = reader_.peek(1);
      first.is("calibrate") && second.kind == TokenKind::Name && !second.startsLine) {
    statement.kind = Statement::Kind::Calibrate;
    reader_.take();
  }
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
    return failExpected("'=' after '" + token.text + "'",
                        nearest.empty() ? std::string() : "did you mean '" + nearest.str() + "'?");
  }
  reader_.take();
  statement.target = {token.text.str(), getRange(token)};
  if (!parseValue(statement.value))
    return false;
  statement.range = getRangeFrom(first.begin);
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
    return failExpected("'{'");
  reader_.take();
  while (!reader_.takeIf("}")) {
    Token begin = reader_.peek();
    if (reader_.atEnd() || atDeclaration()) {
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
    return failExpected(what);
  if (isReservedWord(token.text))
    return fail(token, "'" + token.text + "' is a word of the language, expected " + what);
  reader_.take();
  name = {token.text.str(), getRange(token)};
  return true;
}

bool FileParser::parseString(Word &string, llvm::StringRef what) {
  Token token = reader_.peek();
  if (token.kind != TokenKind::String)
    return failExpected("a string after " + what, "write \"...\"");
  reader_.take();
  string = {token.text.drop_front().drop_back().str(), getRange(token)};
  return true;
}

Token FileParser::peekOnLine() const {
  const Token &token = reader_.peek();
  if (!token.startsLine)
    return token;
  size_t end = reader_.previous().end();
  return {TokenKind::End, text_.substr(end, 0), end, false};
}

bool FileParser::failExpected(const llvm::Twine &what, const llvm::Twine &hint) {
  Token token = peekOnLine();
  bool ends = token.kind == TokenKind::End && !reader_.atEnd();
  return fail(token, "expected " + what + ", found " + (ends ? "the end of the line" : describeToken(token)), hint);
}

bool FileParser::expect(llvm::StringRef word, llvm::StringRef after) {
  return reader_.takeIf(word) || failExpected("'" + word + "' after " + after);
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
    if (first && atDeclaration())
      return;
    // A line that no statement begins with goes on with the one before.
    if (open == 0 && ((first && token.kind == TokenKind::Name) || token.is("}")))
      return;
    open += token.is("{");
    open -= token.is("}");
  }
}

File morph::language::parsePartly(llvm::StringRef text, Diagnostics &diagnostics) {
  File file;
  file.text = text;
  if (text.size() > kMaxFileBytes) {
    diagnostics.error("a file of " + llvm::Twine(text.size()) + " bytes, expected at most " +
                      llvm::Twine(kMaxFileBytes));
    return file;
  }
  if (size_t offset = 0; !llvm::json::isUTF8(text, &offset)) {
    diagnostics.error(makeRange(text.substr(offset, 1)), "this is not UTF-8");
    return file;
  }
  TokenList list = readTokens(text);
  for (const TextError &error : list.errors)
    diagnostics.error(makeRange(text.slice(error.begin, error.end)), error.message, error.hint);
  // Words that were left out would be missed as well.
  Diagnostics unheard("", llvm::nulls());
  FileParser(text, list.tokens, list.errors.empty() ? diagnostics : unheard).run(file);
  unheard.take();
  file.comments = std::move(list.comments);
  return file;
}

std::optional<File> morph::language::parseFile(llvm::StringRef text, Diagnostics &diagnostics) {
  unsigned before = diagnostics.getErrorCount();
  File file = parsePartly(text, diagnostics);
  if (diagnostics.getErrorCount() != before)
    return std::nullopt;
  return file;
}
