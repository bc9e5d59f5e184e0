// SPDX-License-Identifier: Apache-2.0
#include "test/cuda/driver/Ptx.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>

namespace morph::standin {

unsigned typeBytes(std::string_view type) {
  static const std::map<std::string_view, unsigned> bytes = {
      {"pred", 1},   {"b8", 1},   {"u8", 1},  {"s8", 1},  {"b16", 2}, {"u16", 2}, {"s16", 2},
      {"f16", 2},    {"bf16", 2}, {"b32", 4}, {"u32", 4}, {"s32", 4}, {"f32", 4}, {"f16x2", 4},
      {"bf16x2", 4}, {"tf32", 4}, {"b64", 8}, {"u64", 8}, {"s64", 8}, {"f64", 8}};
  auto found = bytes.find(type);
  return found == bytes.end() ? 0 : found->second;
}

bool Instruction::has(std::string_view part) const {
  return std::find(opcode.begin(), opcode.end(), part) != opcode.end();
}

namespace {

constexpr size_t kMaximumText = size_t(1) << 26;
constexpr uint64_t kMaximumVariable = uint64_t(1) << 40;
constexpr size_t kMaximumItems = size_t(1) << 22;
constexpr int kMaximumDepth = 64;

struct Token {
  enum class Kind { Word, Number, String, Mark, End };
  Kind kind = Kind::End;
  std::string_view text;
  int line = 0;
};

/// Words take dots with them ("ld.global.f32", "%tid.x"); a mark is one character.
class Lexer {
public:
  explicit Lexer(std::string_view text) : text(text) {}

  Status run(std::vector<Token> &tokens) {
    while (true) {
      MORPH_RETURN_IF_ERROR(skipBlanks());
      if (at >= text.size())
        break;
      size_t begin = at;
      char c = text[at];
      Token::Kind kind = Token::Kind::Mark;
      if (isDigit(c)) {
        kind = Token::Kind::Number;
        while (at < text.size() && (isWord(text[at]) || (text[at] == '.' && !isHex(begin)) || isExponentSign(begin)))
          ++at;
      } else if (isWord(c) || c == '.' || c == '%' || c == '$') {
        kind = Token::Kind::Word;
        ++at;
        while (at < text.size() && (isWord(text[at]) || text[at] == '.' || text[at] == '$' || isDoubleColon()))
          at += text[at] == ':' ? 2 : 1;
      } else if (c == '"') {
        kind = Token::Kind::String;
        for (++at; at < text.size() && text[at] != '"' && text[at] != '\n'; ++at)
          ;
        if (at >= text.size() || text[at] != '"')
          return error("a string without its end");
        ++at;
      } else if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) > 0x7e) {
        return error("a character that PTX does not have");
      } else {
        ++at;
      }
      tokens.push_back({kind, text.substr(begin, at - begin), line});
    }
    tokens.push_back({Token::Kind::End, "", line});
    return {};
  }

private:
  static bool isDigit(char c) { return c >= '0' && c <= '9'; }
  static bool isWord(char c) { return isDigit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
  bool isHex(size_t begin) const {
    return begin + 1 < text.size() && (text[begin + 1] == 'x' || text[begin + 1] == 'X');
  }
  bool isExponentSign(size_t begin) const {
    return (text[at] == '-' || text[at] == '+') && at > begin && (text[at - 1] == 'e' || text[at - 1] == 'E') &&
           text.substr(begin, at - begin).find('.') != std::string_view::npos;
  }
  bool isDoubleColon() const {
    return text[at] == ':' && at + 2 < text.size() && text[at + 1] == ':' && isWord(text[at + 2]);
  }
  Status error(const std::string &what) const { return Status::invalid("line " + std::to_string(line) + ": " + what); }

  Status skipBlanks() {
    while (at < text.size()) {
      char c = text[at];
      if (c == '\n')
        ++line, ++at;
      else if (c == ' ' || c == '\t' || c == '\r')
        ++at;
      else if (text.substr(at, 2) == "//")
        at = std::min(text.find('\n', at), text.size());
      else if (text.substr(at, 2) == "/*") {
        size_t end = text.find("*/", at + 2);
        if (end == std::string_view::npos)
          return error("a comment without its end");
        line += int(std::count(text.begin() + at, text.begin() + end, '\n'));
        at = end + 2;
      } else
        break;
    }
    return {};
  }

  std::string_view text;
  size_t at = 0;
  int line = 1;
};

/// A recursive-descent parser over the tokens; depth is bounded. The first error is kept and ends every loop.
class Parser {
public:
  explicit Parser(std::vector<Token> tokens) : tokens(std::move(tokens)) {}

  Status run(Module &module) {
    while (ok() && peek().kind != Token::Kind::End)
      parseTop(module);
    if (ok() && module.version == 0)
      fail("there is no .version");
    if (ok() && module.target == 0)
      fail("there is no .target");
    return status;
  }

private:
  // --- Tokens -------------------------------------------------------------------------------------------------------
  bool ok() const { return status.ok(); }
  void fail(const std::string &what) { failAt(peek().line, what); }
  void failAt(int line, const std::string &what) {
    if (ok())
      status = Status::invalid("line " + std::to_string(line) + ": " + what);
  }
  const Token &peek(size_t ahead = 0) const { return tokens[std::min(at + ahead, tokens.size() - 1)]; }
  Token take() {
    Token token = peek();
    if (at + 1 < tokens.size())
      ++at;
    return token;
  }
  bool is(std::string_view text) const { return peek().kind != Token::Kind::String && peek().text == text; }
  bool accept(std::string_view text) {
    if (!is(text))
      return false;
    take();
    return true;
  }
  void expect(std::string_view text) {
    if (!accept(text))
      fail("expected '" + std::string(text) + "' before '" + std::string(peek().text) + "'");
  }
  std::string takeName(const char *what) {
    if (peek().kind != Token::Kind::Word || peek().text[0] == '.')
      return fail(std::string("expected ") + what + " before '" + std::string(peek().text) + "'"), "";
    return std::string(take().text);
  }

  /// A number without a sign. Decimal, hexadecimal, octal and binary integers, `0f`, `0d` and decimal fractions.
  Operand takeNumber() {
    Operand operand;
    Token token = take();
    std::string text(token.text);
    auto bad = [&] { failAt(token.line, "'" + text + "' is no number"); };
    if (token.kind != Token::Kind::Number)
      return bad(), operand;
    char second = text.size() > 1 ? text[1] : '\0';
    char *end = nullptr;
    errno = 0;
    if (text[0] == '0' && (second == 'f' || second == 'F' || second == 'd' || second == 'D')) {
      bool isSingle = second == 'f' || second == 'F';
      operand.kind = isSingle ? Operand::Kind::Single : Operand::Kind::Double;
      operand.bits = std::strtoull(text.c_str() + 2, &end, 16);
      if (*end || text.size() != (isSingle ? 10u : 18u))
        bad();
      return operand;
    }
    if (text.find('.') != std::string::npos) {
      operand.kind = Operand::Kind::Double;
      double value = std::strtod(text.c_str(), &end);
      std::memcpy(&operand.bits, &value, 8);
      if (*end)
        bad();
      return operand;
    }
    operand.kind = Operand::Kind::Integer;
    if (text.back() == 'U')
      text.pop_back();
    bool isBinary = second == 'b' || second == 'B';
    operand.bits = std::strtoull(text.c_str() + (isBinary ? 2 : 0), &end, isBinary ? 2 : 0);
    if (*end || errno == ERANGE || end == text.c_str() + (isBinary ? 2 : 0))
      bad();
    return operand;
  }
  /// An integer constant, with a sign or without.
  int64_t takeInteger() {
    bool isNegative = accept("-");
    Operand operand = takeNumber();
    if (ok() && operand.kind != Operand::Kind::Integer)
      fail("expected an integer");
    return int64_t(isNegative ? 0 - operand.bits : operand.bits);
  }
  void skipLine() {
    int line = peek().line;
    while (peek().kind != Token::Kind::End && peek().line == line)
      take();
  }
  void skipBraces() {
    int depth = 0;
    do {
      if (is("{"))
        ++depth;
      if (is("}"))
        --depth;
      if (take().kind == Token::Kind::End)
        return fail("a '{' without its '}'");
    } while (depth > 0);
  }

  // --- The module ---------------------------------------------------------------------------------------------------
  void parseTop(Module &module) {
    if (is(".version")) {
      take();
      std::string text(take().text);
      size_t dot = text.find('.');
      module.version =
          std::atoi(text.c_str()) * 10 + (dot == std::string::npos ? 0 : std::atoi(text.c_str() + dot + 1));
      if (module.version < 10 || module.version > 999)
        fail("'" + text + "' is no version");
      return;
    }
    if (is(".target")) {
      take();
      std::string text(take().text);
      if (text.rfind("sm_", 0) != 0 || text.size() > 8)
        return fail("'" + text + "' is no target");
      module.target = std::atoi(text.c_str() + 3);
      module.targetIsExact = text.back() == 'a' || text.back() == 'f';
      while (accept(","))
        take(); // texmode_independent, debug
      if (module.target < 10)
        fail("'" + text + "' is no target");
      return;
    }
    if (is(".address_size")) {
      take();
      if (takeInteger() != 64)
        fail("only addresses of 64 bits are known");
      return;
    }
    if (is(".file") || is(".loc"))
      return skipLine();
    if (is(".section")) {
      while (ok() && !is("{") && peek().kind != Token::Kind::End)
        take();
      return skipBraces();
    }
    bool isExtern = false;
    while (is(".visible") || is(".extern") || is(".weak") || is(".common"))
      isExtern |= take().text == ".extern";
    if (is(".entry") || is(".func"))
      return parseFunction(module, isExtern);
    if (is(".global") || is(".const") || is(".shared")) {
      Variable variable = parseVariable();
      variable.isExtern = isExtern;
      if (!isExtern && variable.bytes == 0)
        fail("variable '" + variable.name + "' has no size");
      expect(";");
      module.variables.push_back(std::move(variable));
      return;
    }
    fail("'" + std::string(peek().text) + "' is not known here");
  }

  static bool isScalarType(std::string_view word) {
    return word.size() > 1 && word[0] == '.' && typeBytes(word.substr(1));
  }

  /// From the space on, to before ';' or ','.
  Variable parseVariable() {
    Variable variable;
    variable.line = peek().line;
    std::string_view space = take().text;
    variable.space = space == ".global"   ? Space::Global
                     : space == ".const"  ? Space::Const
                     : space == ".shared" ? Space::Shared
                     : space == ".local"  ? Space::Local
                                          : Space::Param;
    bool isAligned = false;
    unsigned lanes = 1;
    while (ok() && variable.type.empty()) {
      if (accept(".align")) {
        int64_t align = takeInteger();
        if (align < 1 || align > 4096 || (align & (align - 1)))
          fail("an alignment is a power of two");
        variable.align = unsigned(align);
        isAligned = true;
      } else if (is(".v2") || is(".v4")) {
        lanes = take().text == ".v2" ? 2 : 4;
      } else if (is(".ptr")) { // Says where a kernel's pointer leads: nothing for us.
        take();
        if (is(".global") || is(".const") || is(".shared") || is(".local"))
          take();
      } else if (isScalarType(peek().text)) {
        variable.type = std::string(take().text.substr(1));
      } else {
        fail("'" + std::string(peek().text) + "' is not known in a variable");
      }
    }
    // .param .u64 .ptr .global .align 16 name
    while (ok() && (is(".ptr") || is(".align") || is(".global") || is(".const") || is(".shared") || is(".local"))) {
      if (accept(".align"))
        takeInteger();
      else
        take();
    }
    variable.width = typeBytes(variable.type);
    if (!isAligned)
      variable.align = variable.width * lanes;
    variable.name = takeName("a variable's name");
    variable.bytes = uint64_t(variable.width) * lanes;
    while (ok() && accept("[")) {
      int64_t count = is("]") ? 0 : takeInteger();
      if (count < 0 || uint64_t(count) > kMaximumVariable || variable.bytes * uint64_t(count) > kMaximumVariable)
        fail("variable '" + variable.name + "' is too large");
      variable.bytes *= uint64_t(count);
      expect("]");
    }
    if (accept("="))
      parseInitial(variable, 0);
    if (ok() && variable.initial.size() * variable.width > variable.bytes)
      fail("variable '" + variable.name + "' has more values than elements");
    return variable;
  }

  void parseInitial(Variable &variable, int depth) {
    if (depth > kMaximumDepth || variable.initial.size() > kMaximumItems)
      return fail("too large an initial value");
    if (accept("{")) {
      while (ok() && !is("}")) {
        parseInitial(variable, depth + 1);
        if (!accept(","))
          break;
      }
      return expect("}");
    }
    Variable::Item item;
    if (peek().kind == Token::Kind::Number || is("-")) {
      bool isNegative = accept("-");
      Operand number = takeNumber();
      item.bits = isNegative ? 0 - number.bits : number.bits;
      if (number.kind == Operand::Kind::Double && variable.width == 4) {
        double value;
        std::memcpy(&value, &number.bits, 8);
        float single = float(isNegative ? -value : value);
        uint32_t bits;
        std::memcpy(&bits, &single, 4);
        item.bits = bits;
      } else if (number.kind == Operand::Kind::Double && isNegative) {
        item.bits = number.bits ^ (uint64_t(1) << 63);
      }
    } else {
      item.name = takeName("a value");
      if (item.name == "generic" && accept("(")) {
        item.name = takeName("a name");
        expect(")");
      }
      if (accept("+") || is("-"))
        item.bits = uint64_t(takeInteger());
      if (ok() && variable.width != 8)
        fail("an address takes 64 bits");
    }
    variable.initial.push_back(std::move(item));
  }

  // --- Functions ----------------------------------------------------------------------------------------------------
  std::vector<Variable> parseParameters() {
    std::vector<Variable> parameters;
    expect("(");
    while (ok() && !is(")")) {
      if (!is(".param"))
        fail("only parameters of the space .param are known, not '" + std::string(peek().text) + "'");
      else
        parameters.push_back(parseVariable());
      if (!accept(","))
        break;
    }
    expect(")");
    return parameters;
  }

  void parseFunction(Module &module, bool isExtern) {
    Function function;
    function.line = peek().line;
    function.isEntry = take().text == ".entry";
    if (!function.isEntry && is("("))
      function.results = parseParameters();
    function.name = takeName("a function's name");
    if (is("("))
      function.parameters = parseParameters();
    while (ok() && !is("{") && !is(";")) {
      std::string directive(take().text);
      uint32_t *sizes = directive == ".maxntid"   ? function.maximumThreads
                        : directive == ".reqntid" ? function.requiredThreads
                                                  : nullptr;
      if (sizes) {
        sizes[0] = sizes[1] = sizes[2] = 1;
        int i = 0;
        do {
          int64_t size = takeInteger();
          if (i > 2 || size < 1 || size > 1024)
            return fail(directive + " is not a size of a block");
          sizes[i++] = uint32_t(size);
        } while (accept(","));
      } else if (directive == ".minnctapersm" || directive == ".maxnreg") {
        takeInteger();
      } else if (directive != ".noreturn") {
        return fail("'" + directive + "' of a function is not known");
      }
    }
    if (accept(";")) {
      function.isDeclaration = true;
    } else if (isExtern) {
      return fail("an extern function has a body");
    } else {
      scopes.assign(1, {});
      parseBlock(function, 0);
    }
    for (const Function &other : module.functions)
      if (ok() && other.name == function.name && !other.isDeclaration && !function.isDeclaration)
        return failAt(function.line, "function '" + function.name + "' is defined twice");
    module.functions.push_back(std::move(function));
  }

  struct Range {
    std::string prefix, type;
    uint64_t count;
  };
  struct Scope {
    std::map<std::string, int, std::less<>> registers;
    std::vector<Range> ranges;
    std::map<std::string, std::string, std::less<>> variables; ///< Name to unique name.
    std::map<std::string, std::string, std::less<>> singles;   ///< Registers declared one by one, not used yet.
  };

  void parseBlock(Function &function, int depth) {
    if (depth > kMaximumDepth)
      return fail("braces too deep");
    expect("{");
    scopes.emplace_back();
    while (ok() && !is("}"))
      parseStatement(function, depth);
    scopes.pop_back();
    expect("}");
  }

  void parseStatement(Function &function, int depth) {
    if (peek().kind == Token::Kind::End)
      return fail("a '{' without its '}'");
    if (accept(";"))
      return;
    if (is("{"))
      return parseBlock(function, depth + 1);
    if (is(".reg"))
      return parseRegisters();
    if (is(".loc") || is(".file"))
      return skipLine();
    if (is(".pragma")) {
      take();
      take();
      return expect(";");
    }
    if (is(".local") || is(".shared") || is(".param")) {
      Variable variable = parseVariable();
      std::string unique = variable.name;
      if (variable.space == Space::Param || scopes.size() > 2)
        unique += "." + std::to_string(function.variables.size());
      scopes.back().variables[variable.name] = unique;
      variable.name = unique;
      if (variable.bytes == 0)
        fail("variable '" + variable.name + "' has no size");
      function.variables.push_back(std::move(variable));
      return expect(";");
    }
    if (peek(1).text == ":" && peek(1).kind == Token::Kind::Mark) {
      Statement statement;
      statement.instruction.line = peek().line;
      statement.label = takeName("a label");
      expect(":");
      if (accept(".branchtargets")) {
        do
          statement.targets.push_back(takeName("a label"));
        while (ok() && accept(","));
        expect(";");
      } else if (is(".callprototype") || is(".calltargets")) {
        return fail("'" + std::string(peek().text) + "': calls through a pointer are not known");
      }
      function.body.push_back(std::move(statement));
      return;
    }
    parseInstruction(function);
  }

  void parseRegisters() {
    take();
    std::string type(take().text);
    if (!isScalarType(type))
      return fail("registers of type '" + type + "' are not known");
    type = type.substr(1);
    do {
      std::string name = takeName("a register");
      if (accept("<")) {
        int64_t count = takeInteger();
        if (count < 0)
          fail("a negative number of registers");
        scopes.back().ranges.push_back({name, type, uint64_t(count)});
        expect(">");
      } else {
        scopes.back().singles[name] = type;
      }
    } while (ok() && accept(","));
    expect(";");
  }

  /// The place of a register, or -1 where none of this name is declared.
  int findRegister(Function &function, std::string_view name) {
    for (auto scope = scopes.rbegin(); scope != scopes.rend(); ++scope) {
      auto found = scope->registers.find(name);
      if (found != scope->registers.end())
        return found->second;
      std::string type;
      auto single = scope->singles.find(name);
      if (single != scope->singles.end())
        type = single->second;
      for (const Range &range : scope->ranges) {
        if (!type.empty() || name.substr(0, range.prefix.size()) != range.prefix ||
            name.size() == range.prefix.size() || name.size() > range.prefix.size() + 10)
          continue;
        std::string digits(name.substr(range.prefix.size()));
        if (digits.find_first_not_of("0123456789") == std::string::npos && (digits == "0" || digits[0] != '0') &&
            std::strtoull(digits.c_str(), nullptr, 10) < range.count)
          type = range.type;
      }
      if (!type.empty()) {
        int index = int(function.registers.size());
        function.registers.push_back({std::string(name), type});
        scope->registers.emplace(name, index);
        return index;
      }
    }
    return -1;
  }

  std::string variableName(const std::string &name) const {
    for (auto scope = scopes.rbegin(); scope != scopes.rend(); ++scope) {
      auto found = scope->variables.find(name);
      if (found != scope->variables.end())
        return found->second;
    }
    return name;
  }

  void parseInstruction(Function &function) {
    Statement statement;
    Instruction &instruction = statement.instruction;
    instruction.line = peek().line;
    size_t first = at;
    if (accept("@")) {
      instruction.predicateNegated = accept("!");
      std::string name = takeName("a predicate");
      instruction.predicate = findRegister(function, name);
      if (ok() && instruction.predicate < 0)
        return fail("register '" + name + "' is not declared");
      if (ok() && function.registers[instruction.predicate].type != "pred")
        return fail("'" + name + "' is no predicate");
    }
    std::string opcode = takeName("an instruction");
    for (size_t begin = 0; ok() && begin <= opcode.size();) {
      size_t end = std::min(opcode.find('.', begin), opcode.size());
      instruction.opcode.push_back(opcode.substr(begin, end - begin));
      begin = end + 1;
    }
    bool isCall = ok() && instruction.opcode[0] == "call";
    while (ok() && !is(";")) {
      instruction.operands.push_back(parseOperand(function, 0, isCall));
      if (!accept(","))
        break;
    }
    if (ok() && !is(";"))
      return fail("expected ';' before '" + std::string(peek().text) + "'");
    for (size_t i = first; i < at && instruction.text.size() < 160; ++i) {
      bool isTight = i > first && (tokens[i].text == "," || tokens[i].text == "]" || tokens[i].text == "}" ||
                                   tokens[i].text == ")" || tokens[i].text == "+" || tokens[i].text == "|" ||
                                   (tokens[i].kind == Token::Kind::Number && tokens[i - 1].text == "-"));
      bool isOpen = i > first && (tokens[i - 1].text == "[" || tokens[i - 1].text == "{" || tokens[i - 1].text == "(" ||
                                  tokens[i - 1].text == "+" || tokens[i - 1].text == "@" || tokens[i - 1].text == "!" ||
                                  tokens[i - 1].text == "|");
      if (i > first && !isTight && !isOpen)
        instruction.text += ' ';
      instruction.text += tokens[i].text;
    }
    expect(";");
    function.body.push_back(std::move(statement));
  }

  Operand parseOperand(Function &function, int depth, bool isCall) {
    Operand operand;
    if (depth > 4)
      return fail("operands too deep"), operand;
    if (is("{") || (isCall && is("("))) {
      std::string_view close = take().text == "{" ? "}" : ")";
      operand.kind = Operand::Kind::Vector;
      while (ok() && !is(close)) {
        operand.items.push_back(parseOperand(function, depth + 1, isCall));
        if (operand.items.size() > 4096)
          fail("too many operands");
        if (!accept(","))
          break;
      }
      expect(close);
      return operand;
    }
    if (accept("[")) {
      operand = parseOperand(function, depth + 1, false);
      if (ok() && operand.kind != Operand::Kind::Register && operand.kind != Operand::Kind::Name &&
          operand.kind != Operand::Kind::Integer)
        fail("this is no address");
      if (operand.kind == Operand::Kind::Integer)
        operand.offset = int64_t(operand.bits);
      operand.kind = Operand::Kind::Address;
      expect("]");
      return operand;
    }
    if (accept("!")) {
      operand = parseOperand(function, depth + 1, false);
      operand.negated = true;
      if (ok() && operand.kind != Operand::Kind::Register)
        fail("only a predicate can be negated");
      return operand;
    }
    if (peek().kind == Token::Kind::Number || is("-")) {
      bool isNegative = accept("-");
      operand = takeNumber();
      if (isNegative && operand.kind == Operand::Kind::Integer)
        operand.bits = 0 - operand.bits;
      else if (isNegative)
        operand.bits ^= uint64_t(1) << (operand.kind == Operand::Kind::Single ? 31 : 63);
      return operand;
    }
    std::string name = takeName("an operand");
    if (!ok())
      return operand;
    if (name == "_") {
      operand.kind = Operand::Kind::Discard;
    } else if (int index = findRegister(function, name); index >= 0) {
      operand.kind = Operand::Kind::Register;
      operand.reg = index;
      if (accept("|")) {
        std::string other = takeName("a register");
        operand.second = findRegister(function, other);
        if (ok() && operand.second < 0)
          fail("register '" + other + "' is not declared");
      }
    } else if (name[0] == '%') {
      operand.kind = Operand::Kind::Special;
      operand.name = name;
      static const char *const known[] = {"%tid",
                                          "%ntid",
                                          "%ctaid",
                                          "%nctaid",
                                          "%laneid",
                                          "%warpid",
                                          "%nwarpid",
                                          "%clock",
                                          "%clock64",
                                          "%globaltimer",
                                          "%smid",
                                          "%nsmid",
                                          "%gridid",
                                          "%lanemask_eq",
                                          "%lanemask_lt",
                                          "%lanemask_le",
                                          "%lanemask_gt",
                                          "%lanemask_ge",
                                          "%dynamic_smem_size",
                                          "%total_smem_size"};
      std::string base = name.substr(0, name.find('.'));
      if (std::none_of(std::begin(known), std::end(known), [&](const char *other) { return base == other; }))
        fail("register '" + name + "' is not declared");
    } else {
      operand.kind = Operand::Kind::Name;
      operand.name = variableName(name);
    }
    if (is("+") || is("-")) {
      bool isMinus = take().text == "-";
      int64_t offset = takeInteger();
      operand.offset = isMinus ? int64_t(0 - uint64_t(offset)) : offset;
    }
    return operand;
  }

  std::vector<Token> tokens;
  size_t at = 0;
  Status status;
  std::vector<Scope> scopes;
};

} // namespace

StatusOr<Module> parsePtx(std::string_view text) {
  if (text.size() > kMaximumText)
    return Status::invalid("line 1: the text is larger than 64 MiB");
  std::vector<Token> tokens;
  MORPH_RETURN_IF_ERROR(Lexer(text).run(tokens));
  Module module;
  MORPH_RETURN_IF_ERROR(Parser(std::move(tokens)).run(module));
  return module;
}

} // namespace morph::standin
