// SPDX-License-Identifier: Apache-2.0

#include "frontends/morph/LanguageService.h"

#include "frontends/morph/ArchService.h"
#include "frontends/morph/BaseNames.h"
#include "frontends/morph/Check.h"
#include "frontends/morph/CheckArch.h"
#include "frontends/morph/Format.h"
#include "frontends/morph/NamedDeclarations.h"
#include "frontends/morph/Parser.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

using namespace morph;
using namespace morph::language;

namespace {

/// What a name stands for at a place: the one answer that hovers, completions and definitions are made of.
struct Name {
  std::string name;
  NameKind kind = NameKind::Variable;
  std::string detail;   ///< "[H, D]", "conv: 0 | 2..16 = 0", ...
  std::string markdown; ///< More of it.
  SourceRange place;    ///< Of its declaration or last assignment; invalid of what the language has.
};

/// A word of the language and what it is for.
struct Keyword {
  llvm::StringRef word, summary;
};
constexpr Keyword kTopWords[] = {
    {"mixer", "`mixer NAME(OPTIONS) { ... }` declares a token mixer."},
    {"arch", "`arch NAME { ... }` declares what may stand in the layers of a model."},
};
constexpr Keyword kDeclarationWords[] = {
    {"doc", "`doc \"...\"`: what the mixer is, in a line."},
    {"source", "`source \"...\"`: where it comes from."},
    {"dim", "`dim K = D / 2`: a name for a size."},
    {"require", "`require CONDITION, \"message\"`: what must hold of the model that a mixer is made for."},
    {"weight", "`weight NAME [SIZES] = FORMULA` or `~ normal(DEVIATION)`, with `if CONDITION` where it is not always "
               "there. `h: H` in SIZES names the index along H, for the formula."},
    {"frozen", "`frozen weight ...`: one that is never trained."},
};
constexpr Keyword kStatementWords[] = {
    {"if", "`if CONDITION { ... } else { ... }`: conditions are of sizes, options and facts of the base. What both "
           "branches assign with one shape is there afterwards."},
    {"calibrate", "`calibrate WEIGHT = VALUE`: a first value that activations give, before training begins."},
    {"return", "`return VALUE`: the mixer's last line, an activation [M]."},
};
constexpr Keyword kFrozenWords[] = {{"weight", "A weight that is never trained."}};
constexpr Keyword kElseWords[] = {{"else", "`else { ... }`: where the condition of the `if` does not hold."}};
constexpr Keyword kJoiningWords[] = {
    {"and", "Both conditions hold."},
    {"or", "One of the conditions holds."},
    {"not", "The condition does not hold."},
};
constexpr Keyword kTypeWords[] = {
    {"bool", "`NAME: bool = false`: an option that is true or false."},
    {"real", "`NAME: real 0..1 = 0.5`: an option that is any number of a range."},
};
constexpr llvm::ArrayRef<Keyword> kKeywords[] = {kTopWords,  kDeclarationWords, kStatementWords,
                                                 kElseWords, kJoiningWords,     kTypeWords};

bool isWordCharacter(char c) { return llvm::isAlnum(c) || c == '_' || c == '.'; }

Name makeKeyword(const Keyword &word) { return {word.word.str(), NameKind::Keyword, "", word.summary.str(), {}}; }

Name makeFunction(const TensorFunction &function) {
  return {function.name,
          NameKind::Function,
          function.signature,
          makeCode(function.signature) + function.summary +
              (llvm::StringRef(function.summary).ends_with(".") ? "" : "."),
          {}};
}

Name makeScalarFunction(llvm::StringRef name) {
  size_t arity = *getScalarFunctionArity(name);
  std::string signature = (name + (arity == 1 ? "(number)" : "(number, number)")).str();
  return {name.str(), NameKind::Function, signature, makeCode(signature) + "A function of numbers.", {}};
}

/// A text, and what could be told of it.
struct Reading {
  explicit Reading(llvm::StringRef newText) : text(diagnostics.addText("", newText)), list(readTokens(text)) {
    file = readMixersPartly(text, diagnostics);
    problems = takeProblems(diagnostics, text, [](llvm::StringRef) { return TextRange(); });
  }

  TextRange getRange(SourceRange range) const {
    return {size_t(range.Start.getPointer() - text.data()), size_t(range.End.getPointer() - text.data())};
  }
  llvm::StringRef slice(SourceRange range) const {
    TextRange offsets = getRange(range);
    return text.slice(offsets.begin, offsets.end);
  }
  bool holds(SourceRange range, size_t offset) const {
    return range.isValid() && getRange(range).begin <= offset && offset <= getRange(range).end;
  }
  /// Whether all braces of a mixer have their ends.
  bool isClosed(TextRange mixer) const {
    int64_t open = 0;
    for (const Token &token : list.tokens)
      if (mixer.begin <= token.begin && token.end() <= mixer.end)
        open += token.is("{") - token.is("}");
    return open <= 0;
  }
  /// The mixer whose braces are around a place; the last one before where its end is missing.
  const CheckedMixer *findMixer(size_t offset) const {
    const CheckedMixer *found = nullptr;
    for (const CheckedMixer &mixer : file->mixers) {
      TextRange range = getRange(mixer.mixer->range);
      if (range.begin <= offset)
        found = offset <= range.end || !isClosed(range) ? &mixer : nullptr;
    }
    return found;
  }
  /// The number of the first token that ends at `offset` or after it.
  size_t findToken(size_t offset) const {
    auto found = llvm::partition_point(list.tokens, [&](const Token &token) { return token.end() < offset; });
    return std::min<size_t>(found - list.tokens.begin(), list.tokens.size() - 1);
  }

  Diagnostics diagnostics{"morph", llvm::nulls()};
  llvm::StringRef text;
  TokenList list;
  std::unique_ptr<CheckedFile> file;
  std::vector<Problem> problems;
};

/// The names of one mixer at a place in it.
class NameCollector {
public:
  NameCollector(const Reading &reading, const CheckedMixer &mixer, size_t offset)
      : reading_(reading), mixer_(mixer), offset_(offset) {}

  std::vector<Name> run() {
    for (const BaseName &size : getBaseSizes())
      add({size.name.str(), NameKind::Constant, "a size", (size.summary + ".").str(), {}});
    for (const BaseName &fact : getBaseFacts())
      add({fact.name.str(),
           NameKind::Constant,
           fact.kind == ValueKind::Condition ? "a condition" : "a number",
           ("Of the model that is converted: " + fact.summary + ".").str(),
           {}});
    add({"x", NameKind::Variable, "an activation [M]", "The mixer's input.", {}});
    const Mixer &mixer = *mixer_.mixer;
    for (const Option &option : mixer.options) {
      SourceRange range{option.name.range.Start, option.fallback.range.End};
      std::string line = reading_.slice(range).str();
      add({option.name.text, NameKind::Option, line, makeCode(line) + "An option of the mixer.", option.name.range});
    }
    for (const Dimension &dimension : mixer.dimensions) {
      auto size = mixer_.dimensions.find(dimension.name.text);
      std::string value = size == mixer_.dimensions.end() ? "" : size->second.print();
      add({dimension.name.text, NameKind::Constant, value.empty() ? "a size" : "a size, " + value,
           makeCode(reading_.slice(dimension.range)), dimension.name.range});
    }
    for (const auto &[weight, shape] : llvm::zip(mixer.weights, mixer_.weightShapes))
      addWeight(weight, shape);
    addIndices();
    addValues(mixer.statements);
    return std::move(names_);
  }

private:
  /// A later one of the same name takes the place of the earlier.
  void add(Name name) {
    auto known = llvm::find_if(names_, [&](const Name &other) { return other.name == name.name; });
    if (known == names_.end())
      names_.push_back(std::move(name));
    else
      *known = std::move(name);
  }

  void addWeight(const Weight &weight, const Shape &shape) {
    std::string text = makeCode(reading_.slice(weight.range));
    text += "A weight " + printShape(shape) + (weight.frozen ? ", never trained." : ".");
    if (weight.condition)
      text += " It is there only if `" + printExpression(*weight.condition) + "`.";
    add({weight.name.text, NameKind::Weight, "a weight " + printShape(shape), text, weight.name.range});
  }

  /// `h: H` of the weight that is being written, which the tree may not have.
  void addIndices() {
    llvm::ArrayRef<Token> tokens = reading_.list.tokens;
    size_t head = reading_.findToken(offset_);
    while (head > 0 && !(tokens[head].startsLine && (tokens[head].is("weight") || tokens[head].is("frozen")))) {
      if (tokens[head].is("{") || tokens[head].is("}"))
        return;
      --head;
    }
    for (const Weight &weight : mixer_.mixer->weights)
      if (reading_.getRange(weight.range).begin == tokens[head].begin && !reading_.holds(weight.range, offset_))
        return;
    for (size_t at = head + 1; at + 2 < tokens.size() && !tokens[at].is("]") && !tokens[at].startsLine; ++at)
      if (tokens[at].kind == TokenKind::Name && tokens[at + 1].is(":"))
        add({tokens[at].text.str(), NameKind::Parameter, "an index",
             ("The index along `" + tokens[at + 2].text + "`, from 0.").str(), makeRange(tokens[at].text)});
  }

  void addValues(llvm::ArrayRef<Statement> statements) {
    for (const Statement &statement : statements) {
      TextRange range = reading_.getRange(statement.range);
      if (range.begin > offset_)
        return;
      if (statement.kind == Statement::Kind::Assign) {
        // On the right side of an assignment the name is what it was before.
        if (range.end < offset_ || reading_.holds(statement.target.range, offset_))
          addValue(statement);
      } else if (reading_.holds(statement.elseRange, offset_)) {
        addValues(statement.elseBody);
      } else {
        addValues(statement.thenBody);
        addValues(statement.elseBody);
      }
    }
  }

  void addValue(const Statement &statement) {
    auto type = mixer_.types.find(&statement.value);
    std::string detail = type == mixer_.types.end() ? "a value" : printType(type->second);
    add({statement.target.text, NameKind::Variable, detail, makeCode(reading_.slice(statement.range)),
         statement.target.range});
  }

  const Reading &reading_;
  const CheckedMixer &mixer_;
  size_t offset_;
  std::vector<Name> names_;
};

/// Words of a statement that are looked at around a place.
constexpr size_t kMaxStatementTokens = 4096;

/// A bracket that is open at a place.
struct OpenBracket {
  llvm::StringRef kind;                     ///< "(" or "[".
  llvm::StringRef callee;                   ///< The name before it.
  llvm::SmallVector<llvm::StringRef> given; ///< Arguments by name up to the place.
};

/// The innermost bracket that is open before a token, within its statement.
std::optional<OpenBracket> findOpenBracket(llvm::ArrayRef<Token> tokens, size_t at) {
  OpenBracket bracket;
  size_t depth = 0;
  for (size_t looked = 0; at-- > 0 && looked < kMaxStatementTokens; ++looked) {
    const Token &token = tokens[at];
    if (token.is("{") || token.is("}"))
      return std::nullopt;
    if (token.is(")") || token.is("]")) {
      ++depth;
    } else if (token.is("(") || token.is("[")) {
      if (depth == 0) {
        bracket.kind = token.text;
        if (at > 0 && tokens[at - 1].kind == TokenKind::Name)
          bracket.callee = tokens[at - 1].text;
        return bracket;
      }
      --depth;
    } else if (depth == 0 && token.is("=") && at > 0 && tokens[at - 1].kind == TokenKind::Name) {
      bracket.given.push_back(tokens[at - 1].text);
    }
  }
  return std::nullopt;
}

/// What may stand where a word is being written.
struct Expected {
  llvm::ArrayRef<Keyword> words, moreWords;
  bool target = false;     ///< What may be assigned.
  bool names = false;      ///< Sizes, options and numbers of the base.
  bool values = false;     ///< What statements assign, and functions of tensors.
  bool indices = false;    ///< Indices of the weight, and weights of the base.
  bool conditions = false; ///< `and`, `or`, `not`.
  bool deviation = false;  ///< `normal(...)`.
  std::optional<OpenBracket> call;
};

class MorphService : public LanguageService {
public:
  MorphService(llvm::StringRef path, ArchCheck checkArchs) : path_(path), checkArchs_(std::move(checkArchs)) {}

  void setText(llvm::StringRef text) override {
    if (current_ && (!previous_ || current_->file->mixers.size() >= previous_->file->mixers.size()))
      previous_ = std::move(current_);
    current_ = std::make_unique<Reading>(text);
  }

  std::vector<Problem> getProblems() override {
    if (!current_->problems.empty() || current_->file->file.archs.empty() || path_.empty() || !checkArchs_)
      return current_->problems;
    return checkArchs_(path_, current_->text);
  }

  std::optional<Hover> getHover(size_t offset) override {
    TextRange word = findWord(offset);
    if (auto arch = findArchService(word))
      return arch->getHover(word);
    Place place = locate(offset);
    const Token *token = place.findWord();
    if (!token)
      return std::nullopt;
    std::string text;
    if (std::optional<Name> name = findName(place, *token))
      text = printName(place, *token, *name);
    else if (const Type *type = place.findType(*token); type && type->isTensor())
      text = "This is " + printType(*type) + ".";
    if (text.empty())
      return std::nullopt;
    // The token's place in the document that was asked about.
    size_t begin = token->begin + offset - place.offset;
    return Hover{{begin, begin + token->text.size()}, text};
  }

  std::optional<TextPlace> findDefinition(size_t offset) override {
    TextRange word = findWord(offset);
    if (auto arch = findArchService(word))
      return arch->findDefinition(word);
    Place place = locate(offset);
    const Token *token = place.findWord();
    std::optional<Name> name = token ? findName(place, *token) : std::nullopt;
    if (!name || !name->place.isValid())
      return std::nullopt;
    // What an older text declares is where the change since then has left it.
    TextRange range = place.reading->getRange(name->place);
    if (place.reading == previous_.get()) {
      std::optional<size_t> begin = map(range.begin, *previous_, *current_);
      if (!begin)
        return std::nullopt;
      range = {*begin, *begin + range.end - range.begin};
    }
    return TextPlace{"", range};
  }

  std::vector<Completion> getCompletions(size_t offset) override;

  std::vector<Symbol> getSymbols() override {
    std::vector<Symbol> symbols;
    for (const CheckedMixer &checked : current_->file->mixers) {
      const Mixer &mixer = *checked.mixer;
      std::string doc = mixer.doc ? mixer.doc->text : "";
      Symbol symbol{mixer.name.text,
                    doc,
                    NameKind::Mixer,
                    current_->getRange(mixer.range),
                    current_->getRange(mixer.name.range),
                    {}};
      for (const auto &[weight, shape] : llvm::zip(mixer.weights, checked.weightShapes))
        symbol.children.push_back({weight.name.text,
                                   printShape(shape),
                                   NameKind::Weight,
                                   current_->getRange(weight.range),
                                   current_->getRange(weight.name.range),
                                   {}});
      symbols.push_back(std::move(symbol));
    }
    for (const Arch &arch : current_->file->file.archs) {
      const ArchLine *doc = findLine(arch, ArchLine::Kind::Doc);
      symbols.push_back({arch.name.text,
                         doc ? doc->text.text : "",
                         NameKind::Section,
                         current_->getRange(arch.range),
                         current_->getRange(arch.name.range),
                         {}});
    }
    return symbols;
  }

  std::optional<std::string> format() override {
    Diagnostics diagnostics("morph", llvm::nulls());
    std::optional<File> file = parseFile(diagnostics.addText("", current_->text), diagnostics);
    return file ? std::optional(formatFile(*file)) : std::nullopt;
  }

private:
  /// A place of the document in the reading that knows most of it.
  struct Place {
    const Reading *reading = nullptr;
    const CheckedMixer *mixer = nullptr;
    size_t offset = 0;

    /// The token at the place or before it: a name or number where there is one.
    const Token *findWord() const {
      llvm::ArrayRef<Token> tokens = reading->list.tokens;
      size_t at = reading->findToken(offset);
      auto isWord = [](const Token &token) { return token.kind == TokenKind::Name || token.kind == TokenKind::Number; };
      if (at + 1 < tokens.size() && !isWord(tokens[at]) && tokens[at + 1].begin == offset)
        ++at;
      const Token &token = tokens[at];
      return token.kind != TokenKind::End && token.begin <= offset ? &token : nullptr;
    }
    /// The type of the smallest expression around a token, of a call where the token is the function's name.
    const Type *findType(const Token &token) const {
      if (!mixer)
        return nullptr;
      const Expression *smallest = nullptr;
      const Type *found = nullptr;
      for (const auto &[expression, type] : mixer->types) {
        bool around = expression->begin <= token.begin && token.end() <= expression->end;
        if (around && (!smallest || expression->end - expression->begin < smallest->end - smallest->begin)) {
          smallest = expression;
          found = &type;
        }
      }
      return found;
    }
  };

  /// Where an offset of one text is in another that differs from it in one stretch; nothing within that.
  static std::optional<size_t> map(size_t offset, const Reading &from, const Reading &to) {
    size_t shorter = std::min(from.text.size(), to.text.size()), same = 0, sameEnd = 0;
    while (same < shorter && from.text[same] == to.text[same])
      ++same;
    while (sameEnd < shorter - same &&
           from.text[from.text.size() - 1 - sameEnd] == to.text[to.text.size() - 1 - sameEnd])
      ++sameEnd;
    if (offset <= same)
      return offset;
    if (from.text.size() - offset <= sameEnd)
      return to.text.size() - (from.text.size() - offset);
    return std::nullopt;
  }

  /// The word at a place, which may be empty.
  TextRange findWord(size_t offset) const {
    size_t begin = std::min(offset, current_->text.size()), end = begin;
    while (begin > 0 && isWordCharacter(current_->text[begin - 1]))
      --begin;
    while (end < current_->text.size() && isWordCharacter(current_->text[end]))
      ++end;
    return {begin, end};
  }
  std::optional<ArchService> findArchService(TextRange word) const {
    return ArchService::find(current_->file->file, current_->list, path_, word.begin);
  }

  Place locate(size_t offset) const {
    offset = std::min(offset, current_->text.size());
    Place place{current_.get(), current_->findMixer(offset), offset};
    if (place.mixer || !previous_ || current_->problems.empty())
      return place;
    if (std::optional<size_t> mapped = map(offset, *current_, *previous_))
      if (const CheckedMixer *mixer = previous_->findMixer(*mapped))
        return {previous_.get(), mixer, *mapped};
    return place;
  }

  static std::optional<Name> findName(const Place &place, const Token &token) {
    if (token.kind != TokenKind::Name)
      return std::nullopt;
    llvm::ArrayRef<Token> tokens = place.reading->list.tokens;
    size_t at = &token - tokens.data();
    if (isReservedWord(token.text) || (token.is("arch") && token.startsLine)) {
      for (llvm::ArrayRef<Keyword> words : kKeywords)
        for (const Keyword &word : words)
          if (word.word == token.text)
            return makeKeyword(word);
      return std::nullopt;
    }
    const File &file = place.reading->file->file;
    for (const Mixer &mixer : file.mixers)
      if (mixer.name.range.Start.getPointer() == token.text.data())
        return Name{token.text.str(), NameKind::Mixer, "", describeMixer(file, mixer).markdown, mixer.name.range};
    if (!place.mixer)
      return std::nullopt;
    std::optional<OpenBracket> bracket = findOpenBracket(tokens, at);
    bool isParameter = bracket && tokens[at + 1].is("=") && (tokens[at - 1].is("(") || tokens[at - 1].is(","));
    if (const TensorFunction *function = isParameter ? findTensorFunction(bracket->callee) : nullptr)
      return Name{token.text.str(), NameKind::Parameter, "", makeFunction(*function).markdown, {}};
    if (at + 1 < tokens.size() && tokens[at + 1].is("(")) {
      // Functions of both kinds: tensors are the ones whose shapes help.
      if (const TensorFunction *function = findTensorFunction(token.text))
        return makeFunction(*function);
      if (getScalarFunctionArity(token.text))
        return makeScalarFunction(token.text);
      if (token.is("normal"))
        return makeNormal();
      return token.is("repeat") ? std::optional(makeRepeat()) : std::nullopt;
    }
    for (Name &name : NameCollector(*place.reading, *place.mixer, token.begin).run())
      if (name.name == token.text)
        return std::move(name);
    for (const Name &weight : getWeightsOfBase())
      if (weight.name == token.text)
        return weight;
    return std::nullopt;
  }

  static Name makeNormal() {
    return {"normal", NameKind::Function, "normal(deviation)", "Normally distributed first values of mean 0.", {}};
  }
  static Name makeRepeat() {
    return {"repeat",
            NameKind::Function,
            "repeat(base.k_proj.weight)",
            "A weight of the base whose key-value heads are repeated to one a head.",
            {}};
  }
  static std::vector<Name> getWeightsOfBase() {
    std::vector<Name> names;
    for (const BaseWeight &weight : getBaseWeights()) {
      std::string shape;
      for (llvm::StringRef sizes : weight.sizes)
        shape += (shape.empty() ? "" : ", ") + (sizes.size() == 2 ? sizes.take_front().str() + " * " : "") +
                 sizes.take_back().str();
      std::string text = "A weight [" + shape + "] of the base, copied.";
      if (!weight.condition.empty())
        text += (" The base has it only if `" + weight.condition + "`.").str();
      names.push_back({("base." + weight.name).str(), NameKind::Weight, "a weight [" + shape + "]", text, {}});
    }
    return names;
  }

  static std::string printName(const Place &place, const Token &token, const Name &name) {
    std::string text = name.markdown;
    if (name.kind == NameKind::Variable || name.kind == NameKind::Constant || name.detail == "an index")
      text = "`" + name.name + "`: " + name.detail + ".\n\n" + text;
    if (const Type *type = name.kind == NameKind::Function ? place.findType(token) : nullptr; type && type->isTensor())
      text += "\n\nHere it gives " + printType(*type) + ".";
    return text;
  }

  static Expected findExpected(const Reading &reading, size_t begin);

  std::string path_;
  ArchCheck checkArchs_;
  std::unique_ptr<Reading> current_, previous_;
};

/// What may stand at the word that begins at `begin`, by the words before it.
Expected MorphService::findExpected(const Reading &reading, size_t begin) {
  llvm::ArrayRef<Token> tokens = reading.list.tokens;
  size_t at = llvm::partition_point(tokens, [&](const Token &token) { return token.begin < begin; }) - tokens.begin();
  Expected expected;
  for (const Comment &comment : reading.list.comments)
    if (comment.begin < begin && !reading.text.slice(comment.begin, begin).contains('\n'))
      return expected;
  if (at > 0 && tokens[at - 1].kind == TokenKind::String && tokens[at - 1].end() > begin)
    return expected;
  expected.call = findOpenBracket(tokens, at);
  bool startsLine = reading.text.take_front(begin).rsplit('\n').second.trim().empty() ||
                    !reading.text.take_front(begin).contains('\n');
  llvm::StringRef before = at > 0 ? tokens[at - 1].text : "";
  bool goesOn = expected.call || (at > 0 && tokens[at - 1].kind == TokenKind::Punctuation && before != "{" &&
                                  before != "}" && before != ")" && before != "]");
  // The statement's first word.
  size_t head = at;
  while (head > 0 && at - head < kMaxStatementTokens && !tokens[head - 1].is("{") && !tokens[head - 1].is("}")) {
    --head;
    if (tokens[head].startsLine && !findOpenBracket(tokens, head))
      break;
  }
  bool inHead = head < at && (tokens[head].is("mixer") || tokens[head].is("arch"));
  size_t depth = 0;
  for (const Token &token : tokens.take_front(at)) {
    if (token.startsLine && (token.is("mixer") || token.is("arch")))
      depth = 0;
    depth += token.is("{");
    depth -= token.is("}") && depth > 0;
  }
  if (inHead || depth == 0) {
    if (expected.call && inHead && before == ":")
      expected.words = kTypeWords;
    else if (startsLine && !expected.call && !inHead)
      expected.words = kTopWords;
    return expected;
  }
  if (startsLine && !goesOn) {
    expected.words = kDeclarationWords;
    expected.moreWords = kStatementWords;
    expected.target = true;
    return expected;
  }
  if (before == "}") {
    expected.words = kElseWords;
    return expected;
  }
  auto has = [&](llvm::StringRef word) {
    return llvm::any_of(tokens.slice(head, at - head), [&](const Token &token) { return token.is(word); });
  };
  const Token &first = tokens[head];
  if (first.is("doc") || first.is("source"))
    return expected;
  if (first.is("weight") || first.is("frozen")) {
    if (before == "frozen")
      expected.words = kFrozenWords;
    expected.deviation = before == "~";
    expected.names = expected.call || has("=") || has("if");
    expected.indices = has("=") && !has("if");
    expected.conditions = has("if");
  } else if (first.is("dim")) {
    expected.names = has("=");
  } else {
    expected.names = true;
    expected.conditions = first.is("require") || first.is("if");
    expected.values = !expected.conditions;
  }
  return expected;
}

std::vector<Completion> MorphService::getCompletions(size_t offset) {
  TextRange word = findWord(offset);
  if (auto arch = findArchService(word))
    return arch->getCompletions(word);
  size_t begin = word.begin;
  Place place = locate(begin);
  Expected expected = findExpected(*current_, begin);
  std::vector<Completion> completions;
  auto add = [&](const Name &name, llvm::StringRef text = "") {
    completions.push_back({name.name, name.kind, name.detail, name.markdown, text.str(), word});
  };
  for (llvm::ArrayRef<Keyword> words : {expected.words, expected.moreWords})
    for (const Keyword &word : words)
      add(makeKeyword(word));
  if (const TensorFunction *function =
          expected.call && expected.values ? findTensorFunction(expected.call->callee) : nullptr)
    for (const Parameter &parameter : function->parameters)
      if (!llvm::is_contained(expected.call->given, parameter.name) && (parameter.onlyByName || !parameter.required))
        add({parameter.name + " =", NameKind::Parameter, "", makeFunction(*function).markdown, {}},
            parameter.name + " = ");
  if (place.mixer)
    for (const Name &name : NameCollector(*place.reading, *place.mixer, place.offset).run()) {
      bool isTensor = name.kind == NameKind::Variable || name.kind == NameKind::Weight;
      bool isAssigned = name.kind == NameKind::Variable && name.place.isValid();
      bool fits = name.kind == NameKind::Parameter ? expected.indices : isTensor ? expected.values : expected.names;
      if (fits || (expected.target && isAssigned))
        add(name);
    }
  if (expected.deviation)
    add(makeNormal());
  if (expected.indices) {
    for (const Name &weight : getWeightsOfBase())
      add(weight);
    add(makeRepeat());
  }
  if (expected.names)
    for (llvm::StringRef function : getScalarFunctionNames())
      if (!expected.values || !findTensorFunction(function))
        add(makeScalarFunction(function));
  if (expected.values)
    for (const auto &function : getTensorFunctions())
      add(makeFunction(function.second));
  if (expected.conditions)
    for (const Keyword &word : kJoiningWords)
      add(makeKeyword(word));
  return completions;
}

} // namespace

std::unique_ptr<LanguageService> morph::language::makeLanguageService(llvm::StringRef path, ArchCheck checkArchs) {
  auto service = std::make_unique<MorphService>(path, std::move(checkArchs));
  service->setText("");
  return service;
}
