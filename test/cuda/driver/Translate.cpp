// SPDX-License-Identifier: Apache-2.0
#include "test/cuda/driver/Translate.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <set>

namespace morph::standin {

namespace {

std::string number(uint64_t value) { return std::to_string(value); }

std::string hexadecimal(uint64_t value, unsigned bits) {
  char text[32];
  std::snprintf(text, sizeof(text), bits > 32 ? "0x%" PRIx64 "ull" : "0x%" PRIx64 "u", value);
  return text;
}

/// An elementary type by its name.
struct Type {
  std::string name;
  unsigned bits() const { return 8 * typeBytes(name); }
  bool isPredicate() const { return name == "pred"; }
  bool isSingle() const { return name == "f32"; }
  bool isDouble() const { return name == "f64"; }
  bool isHalf() const { return name == "f16" || name == "bf16"; }
  bool isPacked() const { return name == "f16x2" || name == "bf16x2"; }
  bool isFloat() const { return isSingle() || isDouble() || isHalf(); }
  bool isSigned() const { return name[0] == 's'; }
  bool isInteger() const { return name[0] == 's' || name[0] == 'u' || (name[0] == 'b' && name[1] != 'f'); }
  /// The C type of its values; halves are their bits.
  std::string c() const {
    return isPredicate() ? "u8" : isSingle() || isDouble() ? name : (isSigned() ? "s" : "u") + number(bits());
  }
};

uint64_t alignUp(uint64_t value, uint64_t align) { return (value + align - 1) / align * align; }

/// What a function needs, its callees included.
struct Needs {
  std::set<std::string> callees;
  std::set<size_t> shared;
  bool fibers = false, globalAtomics = false;
  uint64_t localBegin = 0, localEnd = 0;
};

/// What is known of the whole module while functions are written.
struct ModuleContext {
  const Module &module;
  Translation &result;
  std::map<std::string, size_t> globals;       ///< Variables of global and constant memory: place in the table.
  std::map<std::string, size_t> sharedIndices; ///< Shared variables of the module and of functions ("function/name").
  std::vector<const Variable *> shared;
  std::map<std::string, const Function *> functions;
  std::map<std::string, size_t> functionIndices;
};

/// Writes one function. The first error is kept.
class FunctionWriter {
public:
  FunctionWriter(ModuleContext &context, const Function &function, size_t index, uint64_t localBegin)
      : context(context), function(function), index(index) {
    needs.localBegin = needs.localEnd = localBegin;
  }

  Status run() {
    std::string header = signature() + " {\n  u32 cc = 0;\n  (void)cc; (void)t;\n";
    for (size_t i = 0; i < function.registers.size(); ++i)
      header += "  " + Type{function.registers[i].type}.c() + " r" + number(i) + " = 0; (void)r" + number(i) + ";\n";
    uint32_t offset = 0;
    for (const Variable &parameter : function.parameters) {
      offset = uint32_t(alignUp(offset, parameter.align));
      parameters[parameter.name] = function.isEntry ? "t->block->params + " + number(offset) : "p_" + number(offset);
      if (function.isEntry)
        offset += uint32_t(parameter.bytes);
      else
        parameters[parameter.name] = "p" + number(parameters.size() - 1);
    }
    for (size_t i = 0; i < function.results.size(); ++i)
      parameters[function.results[i].name] = "q" + number(i);
    for (const Variable &variable : function.variables) {
      if (variable.space == Space::Local) {
        needs.localEnd = alignUp(needs.localEnd, std::max(variable.align, 16u));
        locals[variable.name] = needs.localEnd;
        needs.localEnd += variable.bytes;
      } else if (variable.space == Space::Param) {
        std::string name = "a" + number(parameters.size());
        if (variable.bytes > 65536)
          failed(variable.line, "a parameter of more than 64 KiB");
        header += "  u8 " + name + "[" + number(variable.bytes) + "] __attribute__((aligned(16)));\n";
        parameters[variable.name] = name;
      }
    }
    for (const Statement &statement : function.body)
      if (!statement.label.empty()) {
        if (!labels.emplace(statement.label, labels.size()).second)
          failed(statement.instruction.line, "label '" + statement.label + "' is defined twice");
        if (!statement.targets.empty())
          tables[statement.label] = statement.targets;
      }
    enterBlock();
    for (const Statement &statement : function.body) {
      if (!status.ok())
        return status;
      if (statement.label.empty())
        write(statement.instruction);
      else if (statement.targets.empty()) {
        out += " L" + number(labels[statement.label]) + ":;\n";
        enterBlock();
      }
    }
    text = header + out + "}\n";
    return status;
  }

  std::string signature() const {
    std::string arguments = "T *t";
    for (size_t i = 0; i < function.results.size(); ++i)
      arguments += ", u8 *q" + number(i);
    if (!function.isEntry)
      for (size_t i = 0; i < function.parameters.size(); ++i)
        arguments += ", const u8 *p" + number(i);
    return (function.isEntry ? "void kernel" : "static void function") + number(index) + "(" + arguments + ")";
  }

  std::string text;
  Needs needs;

private:
  // --- Errors -------------------------------------------------------------------------------------------------------
  void failed(int line, const std::string &what) {
    if (status.ok())
      status = Status::invalid("line " + number(line) + ": " + what);
  }
  void unknown(const std::string &what) {
    failed(now->line, "`" + now->text + "`: " + what + " is not known to the stand-in");
  }
  /// Every part of the opcode must be the first, a type, or one of these.
  void allow(std::initializer_list<std::string_view> parts) {
    for (size_t i = 1; i < now->opcode.size(); ++i) {
      const std::string &part = now->opcode[i];
      if (!typeBytes(part) && std::find(parts.begin(), parts.end(), part) == parts.end())
        unknown("'." + part + "'");
    }
  }
  bool count(size_t least, size_t most = 0) {
    size_t n = now->operands.size();
    if (n >= least && n <= std::max(least, most))
      return true;
    failed(now->line, "`" + now->text + "`: has " + number(n) + " operands");
    return false;
  }

  // --- Operands -----------------------------------------------------------------------------------------------------
  const Operand &operand(size_t i) const {
    static const Operand none;
    return i < now->operands.size() ? now->operands[i] : none;
  }
  Type registerType(int reg) const { return {function.registers[size_t(reg)].type}; }

  /// The address of a name, an integer expression.
  std::string symbol(const Operand &operand) {
    std::string base;
    if (auto parameter = parameters.find(operand.name); parameter != parameters.end()) {
      base = "(u64)(" + parameter->second + ")";
    } else if (auto local = locals.find(operand.name); local != locals.end()) {
      base = "(u64)(t->local + " + number(local->second) + ")";
    } else if (auto own = context.sharedIndices.find(function.name + "/" + operand.name);
               own != context.sharedIndices.end()) {
      base = sharedSymbol(own->second);
    } else if (auto shared = context.sharedIndices.find(operand.name); shared != context.sharedIndices.end()) {
      base = sharedSymbol(shared->second);
    } else if (auto global = context.globals.find(operand.name); global != context.globals.end()) {
      base = "t->block->globals[" + number(global->second) + "]";
    } else {
      failed(now->line, "'" + operand.name + "' is not declared");
    }
    return operand.offset ? "(" + base + " + " + hexadecimal(uint64_t(operand.offset), 64) + ")" : base;
  }
  std::string sharedSymbol(size_t place) {
    needs.shared.insert(place);
    return "t->block->sharedOffsets[" + number(place) + "]";
  }

  std::string special(const Operand &operand) {
    const std::string &name = operand.name;
    auto axis = [&](const char *base, const char *expression) -> std::string {
      size_t n = std::strlen(base);
      if (name.compare(0, n, base) != 0 || name.size() != n + 2 || name[n] != '.')
        return "";
      int i = name[n + 1] - 'x';
      return i >= 0 && i <= 2 ? std::string(expression) + "[" + number(uint64_t(i)) + "]" : "";
    };
    static const std::pair<const char *, const char *> axes[] = {{"%tid", "t->tid"},
                                                                 {"%ntid", "t->block->ntid"},
                                                                 {"%ctaid", "t->block->ctaid"},
                                                                 {"%nctaid", "t->block->nctaid"}};
    for (auto [base, expression] : axes)
      if (std::string text = axis(base, expression); !text.empty())
        return text;
    static const std::map<std::string, const char *> others = {
        {"%laneid", "t->lane"},
        {"%warpid", "t->warp"},
        {"%nwarpid", "((t->block->ntid[0] * t->block->ntid[1] * t->block->ntid[2] + 31) / 32)"},
        {"%lanemask_eq", "(1u << t->lane)"},
        {"%lanemask_lt", "((1u << t->lane) - 1)"},
        {"%lanemask_le", "((2u << t->lane) - 1)"},
        {"%lanemask_gt", "~((2u << t->lane) - 1)"},
        {"%lanemask_ge", "~((1u << t->lane) - 1)"},
        {"%dynamic_smem_size", "t->block->dynamicBytes"}};
    auto found = others.find(name);
    if (found != others.end())
      return found->second;
    unknown("'" + name + "'");
    return "0";
  }

  /// The bits of an operand as an unsigned integer expression.
  std::string raw(const Operand &operand) {
    switch (operand.kind) {
    case Operand::Kind::Register: {
      std::string name = "r" + number(uint64_t(operand.reg));
      if (operand.offset) {
        failed(now->line, "`" + now->text + "`: a register with an offset is no address here");
        return name;
      }
      Type type = registerType(operand.reg);
      if (operand.negated)
        return "(u8)!" + name;
      return type.isSingle() ? "U(" + name + ")" : type.isDouble() ? "UD(" + name + ")" : name;
    }
    case Operand::Kind::Integer:
      return hexadecimal(operand.bits, 64);
    case Operand::Kind::Single:
      return hexadecimal(operand.bits, 32);
    case Operand::Kind::Double:
      return hexadecimal(operand.bits, 64);
    case Operand::Kind::Name:
      return symbol(operand);
    case Operand::Kind::Special:
      return special(operand);
    default:
      failed(now->line, "`" + now->text + "`: this operand cannot be read");
      return "0";
    }
  }

  /// The value of an operand as a C expression of `type`: halves as floats.
  std::string value(const Operand &operand, const Type &type) {
    bool isFlushed = type.isSingle() && now->has("ftz");
    auto flushed = [&](const std::string &text) { return isFlushed ? "flush(" + text + ")" : text; };
    if (type.isSingle()) {
      if (operand.kind == Operand::Kind::Register && registerType(operand.reg).isSingle())
        return flushed("r" + number(uint64_t(operand.reg)));
      if (operand.kind == Operand::Kind::Double) {
        double wide;
        std::memcpy(&wide, &operand.bits, 8);
        float single = float(wide);
        uint32_t bits;
        std::memcpy(&bits, &single, 4);
        return flushed("F(" + hexadecimal(bits, 32) + ")");
      }
      return flushed("F((u32)" + raw(operand) + ")");
    }
    if (type.isDouble()) {
      if (operand.kind == Operand::Kind::Register && registerType(operand.reg).isDouble())
        return "r" + number(uint64_t(operand.reg));
      return "D((u64)" + raw(operand) + ")";
    }
    if (type.name == "f16")
      return "fromF16((u16)" + raw(operand) + ")";
    if (type.name == "bf16")
      return "fromBf16((u16)" + raw(operand) + ")";
    if (type.isPredicate())
      return raw(operand);
    return "((" + type.c() + ")" + raw(operand) + ")";
  }
  std::string value(size_t i, const Type &type) { return value(operand(i), type); }

  /// Assigns an expression of `type` (halves: floats, where `isHalfValue`) to a register.
  void assign(const Operand &to, const Type &type, std::string expression, bool isHalfValue = false) {
    if (to.kind == Operand::Kind::Discard) {
      out += " (void)(" + expression + ");";
      return;
    }
    if (to.kind != Operand::Kind::Register || to.offset || to.negated)
      return failed(now->line, "`" + now->text + "`: the result is no register");
    Type own = registerType(to.reg);
    std::string name = "r" + number(uint64_t(to.reg));
    if (isHalfValue && type.name == "f16")
      expression = "toF16(" + expression + ")";
    else if (isHalfValue && type.name == "bf16")
      expression = "toBf16(" + expression + ")";
    if (own.isPredicate() != type.isPredicate() || own.bits() < (type.isPredicate() ? 8 : type.bits()))
      return failed(now->line, "`" + now->text + "`: register '" + function.registers[size_t(to.reg)].name +
                                   "' is of type ." + own.name);
    if (own.isPredicate())
      out += " " + name + " = (" + expression + ") != 0;";
    else if (own.isSingle())
      out += " " + name + " = " + (type.isSingle() ? expression : "F((u32)(" + expression + "))") + ";";
    else if (own.isDouble())
      out += " " + name + " = " + (type.isDouble() ? expression : "D((u64)(" + expression + "))") + ";";
    else if (type.isSingle())
      out += " " + name + " = U(" + expression + ");";
    else if (type.isDouble())
      out += " " + name + " = UD(" + expression + ");";
    else // Narrower values are extended by their sign.
      out += " " + name + " = (" + own.c() + ")(" + type.c() + ")(" + expression + ");";
  }
  void assign(size_t i, const Type &type, const std::string &expression, bool isHalfValue = false) {
    assign(operand(i), type, expression, isHalfValue);
  }

  std::string address(const Operand &operand) {
    if (operand.kind != Operand::Kind::Address) {
      failed(now->line, "`" + now->text + "`: an address is missing");
      return "0";
    }
    if (operand.reg >= 0) {
      std::string base = "(u64)r" + number(uint64_t(operand.reg));
      Type type = registerType(operand.reg);
      if (!type.isInteger() || type.bits() < 32)
        failed(now->line, "`" + now->text + "`: the address is in a register of type ." + type.name);
      return operand.offset ? "(" + base + " + " + hexadecimal(uint64_t(operand.offset), 64) + ")" : base;
    }
    if (operand.name.empty())
      return hexadecimal(uint64_t(operand.offset), 64);
    return "(u64)" + symbol(operand);
  }

  std::vector<Operand> items(const Operand &operand) const {
    return operand.kind == Operand::Kind::Vector ? operand.items : std::vector<Operand>{operand};
  }

  // --- Instructions -------------------------------------------------------------------------------------------------
  void enterBlock() {
    out += "  ENTER(t, " + number(context.result.blocks.size()) + ");\n";
    context.result.blocks.emplace_back();
  }
  std::string siteText() const { return number(context.result.instructions.size() - 1); }
  InstructionInfo &info() { return context.result.instructions.back(); }

  void write(const Instruction &instruction) {
    now = &instruction;
    context.result.blocks.back().push_back(uint32_t(context.result.instructions.size()));
    context.result.instructions.push_back({instruction.line, instruction.text, InstructionClass::Integer, 0, 0});
    types.clear();
    for (size_t i = 1; i < instruction.opcode.size(); ++i)
      if (typeBytes(instruction.opcode[i]))
        types.push_back({instruction.opcode[i]});
    out += " ";
    if (instruction.predicate >= 0)
      out += std::string(" if (") + (instruction.predicateNegated ? "!" : "") + "r" +
             number(uint64_t(instruction.predicate)) + ")";
    out += " {";
    const std::string &name = instruction.opcode[0];
    using Handler = void (FunctionWriter::*)();
    static const std::map<std::string_view, Handler> handlers = {
        {"mov", &FunctionWriter::writeMove},        {"ld", &FunctionWriter::writeLoad},
        {"ldu", &FunctionWriter::writeLoad},        {"st", &FunctionWriter::writeStore},
        {"cvta", &FunctionWriter::writeAddress},    {"cvt", &FunctionWriter::writeConvert},
        {"add", &FunctionWriter::writeArithmetic},  {"sub", &FunctionWriter::writeArithmetic},
        {"mul", &FunctionWriter::writeArithmetic},  {"mad", &FunctionWriter::writeArithmetic},
        {"fma", &FunctionWriter::writeArithmetic},  {"addc", &FunctionWriter::writeCarry},
        {"subc", &FunctionWriter::writeCarry},      {"madc", &FunctionWriter::writeCarry},
        {"mul24", &FunctionWriter::writeShort},     {"mad24", &FunctionWriter::writeShort},
        {"sad", &FunctionWriter::writeShort},       {"div", &FunctionWriter::writeDivide},
        {"rem", &FunctionWriter::writeDivide},      {"min", &FunctionWriter::writeMinMax},
        {"max", &FunctionWriter::writeMinMax},      {"neg", &FunctionWriter::writeUnary},
        {"abs", &FunctionWriter::writeUnary},       {"not", &FunctionWriter::writeUnary},
        {"cnot", &FunctionWriter::writeUnary},      {"and", &FunctionWriter::writeLogic},
        {"or", &FunctionWriter::writeLogic},        {"xor", &FunctionWriter::writeLogic},
        {"lop3", &FunctionWriter::writeLogic3},     {"shl", &FunctionWriter::writeShift},
        {"shr", &FunctionWriter::writeShift},       {"shf", &FunctionWriter::writeFunnel},
        {"setp", &FunctionWriter::writeCompare},    {"set", &FunctionWriter::writeCompare},
        {"selp", &FunctionWriter::writeSelect},     {"slct", &FunctionWriter::writeSelect},
        {"ex2", &FunctionWriter::writeSpecial},     {"lg2", &FunctionWriter::writeSpecial},
        {"rcp", &FunctionWriter::writeSpecial},     {"rsqrt", &FunctionWriter::writeSpecial},
        {"sqrt", &FunctionWriter::writeSpecial},    {"sin", &FunctionWriter::writeSpecial},
        {"cos", &FunctionWriter::writeSpecial},     {"tanh", &FunctionWriter::writeSpecial},
        {"copysign", &FunctionWriter::writeSign},   {"testp", &FunctionWriter::writeTest},
        {"prmt", &FunctionWriter::writeBits},       {"bfe", &FunctionWriter::writeBits},
        {"bfi", &FunctionWriter::writeBits},        {"popc", &FunctionWriter::writeBits},
        {"clz", &FunctionWriter::writeBits},        {"brev", &FunctionWriter::writeBits},
        {"bfind", &FunctionWriter::writeBits},      {"bra", &FunctionWriter::writeBranch},
        {"brx", &FunctionWriter::writeBranch},      {"call", &FunctionWriter::writeCall},
        {"ret", &FunctionWriter::writeEnd},         {"exit", &FunctionWriter::writeEnd},
        {"trap", &FunctionWriter::writeEnd},        {"bar", &FunctionWriter::writeBarrier},
        {"barrier", &FunctionWriter::writeBarrier}, {"membar", &FunctionWriter::writeFence},
        {"fence", &FunctionWriter::writeFence},     {"prefetch", &FunctionWriter::writeFence},
        {"nanosleep", &FunctionWriter::writeFence}, {"shfl", &FunctionWriter::writeShuffle},
        {"vote", &FunctionWriter::writeVote},       {"activemask", &FunctionWriter::writeVote},
        {"mma", &FunctionWriter::writeMma},         {"ldmatrix", &FunctionWriter::writeLoadMatrix},
        {"cp", &FunctionWriter::writeCopy},         {"atom", &FunctionWriter::writeAtomic},
        {"red", &FunctionWriter::writeAtomic},      {"isspacep", &FunctionWriter::writeIsSpace}};
    auto handler = handlers.find(name);
    if (handler == handlers.end())
      unknown("'" + name + "'");
    else
      (this->*handler->second)();
    out += " }\n";
    if (endsBlock)
      enterBlock();
    endsBlock = false;
  }

  void kind(InstructionClass kind) { info().kind = kind; }
  bool has(std::string_view part) const { return now->has(part); }
  /// The type of the operands; where there is none, an error.
  Type type() {
    if (types.empty()) {
      unknown("an instruction without a type");
      return {"b32"};
    }
    return types.back();
  }
  /// -1 rm, 1 rp, 0 rz; 2: to nearest.
  int rounding() const { return has("rm") ? -1 : has("rp") ? 1 : has("rz") ? 0 : 2; }
  std::string finished(const Type &type, std::string text) {
    if (type.isSingle() && has("ftz"))
      text = "flush(" + text + ")";
    if (has("sat") && type.isFloat())
      text = (type.isDouble() ? "saturateD(" : "saturate(") + text + ")";
    if (has("relu"))
      text = "maxNan(" + text + ", 0.0f)";
    return text;
  }

  void writeMove() {
    kind(InstructionClass::Move);
    allow({});
    if (!count(2))
      return;
    Type all = type();
    const Operand &to = operand(0), &from = operand(1);
    if (to.kind == Operand::Kind::Vector && from.kind != Operand::Kind::Vector) {
      unsigned bits = all.bits() / unsigned(std::max<size_t>(1, to.items.size()));
      if (to.items.size() < 2 || bits < 8)
        return unknown("this vector");
      out += " u64 z = " + raw(from) + ";";
      for (size_t i = 0; i < to.items.size(); ++i)
        if (to.items[i].kind != Operand::Kind::Discard)
          assign(to.items[i], {"b" + number(bits)}, "z >> " + number(i * bits));
      return;
    }
    if (from.kind == Operand::Kind::Vector) {
      unsigned bits = all.bits() / unsigned(std::max<size_t>(1, from.items.size()));
      if (from.items.size() < 2 || bits < 8 || to.kind == Operand::Kind::Vector)
        return unknown("this vector");
      std::string text;
      for (size_t i = 0; i < from.items.size(); ++i)
        text += (i ? " | " : "") + ("(u64)(u" + number(bits) + ")" + raw(from.items[i])) + " << " + number(i * bits);
      return assign(to, {"b" + number(all.bits())}, text);
    }
    if (all.isSingle() || all.isDouble())
      return assign(to, all, value(from, all));
    assign(to, all.isPredicate() ? all : Type{"b" + number(all.bits())}, raw(from));
  }

  /// The macro of a space, and the class of the instruction.
  std::string spaceMacro() {
    if (has("global") || has("const")) {
      kind(InstructionClass::Global);
      return "GLOBAL";
    }
    if (has("shared") || has("shared::cta")) {
      kind(InstructionClass::Shared);
      return "SHARED";
    }
    if (has("local")) {
      kind(InstructionClass::Local);
      return "LOCAL";
    }
    kind(InstructionClass::Global);
    return "GENERIC";
  }
  unsigned lanes() const { return has("v2") ? 2 : has("v4") ? 4 : 1; }
  std::string access(const std::string &macro, const Operand &where, unsigned bytes, const char *how) {
    return macro + "(t, " + siteText() + ", " + address(where) + ", " + number(bytes) + ", " + how + ")";
  }

  void writeLoad() {
    allow({"global",
           "const",
           "shared",
           "shared::cta",
           "local",
           "param",
           "param::entry",
           "param::func",
           "v2",
           "v4",
           "nc",
           "volatile",
           "weak",
           "relaxed",
           "acquire",
           "cta",
           "gpu",
           "sys",
           "ca",
           "cg",
           "cs",
           "lu",
           "cv",
           "L1::evict_normal",
           "L1::evict_unchanged",
           "L1::evict_first",
           "L1::evict_last",
           "L1::no_allocate",
           "L2::64B",
           "L2::128B",
           "L2::256B"});
    if (!count(2))
      return;
    Type one = type();
    std::vector<Operand> to = items(operand(0));
    if (to.size() != lanes() || one.isPacked() || one.isPredicate())
      return unknown("this vector");
    unsigned bytes = one.bits() / 8;
    if (has("param") || has("param::entry") || has("param::func")) {
      kind(InstructionClass::Local);
      out += " const u8 *q = (const u8 *)(" + address(operand(1)) + ");";
    } else {
      std::string macro = spaceMacro();
      out += " const u8 *q = " + access(macro, operand(1), bytes * unsigned(to.size()), "kRead") + ";";
    }
    for (size_t i = 0; i < to.size(); ++i)
      if (to[i].kind != Operand::Kind::Discard) {
        std::string x = "x" + number(i);
        out += " " + one.c() + " " + x + "; memcpy(&" + x + ", q + " + number(i * bytes) + ", " + number(bytes) + ");";
      }
    for (size_t i = 0; i < to.size(); ++i)
      if (to[i].kind != Operand::Kind::Discard)
        assign(to[i], one, "x" + number(i));
  }

  void writeStore() {
    allow({"global",
           "shared",
           "shared::cta",
           "local",
           "param",
           "param::func",
           "v2",
           "v4",
           "volatile",
           "weak",
           "relaxed",
           "release",
           "cta",
           "gpu",
           "sys",
           "wb",
           "cg",
           "cs",
           "wt",
           "L1::evict_normal",
           "L1::evict_unchanged",
           "L1::evict_first",
           "L1::evict_last",
           "L1::no_allocate"});
    if (!count(2))
      return;
    Type one = type();
    std::vector<Operand> from = items(operand(1));
    if (from.size() != lanes() || one.isPacked() || one.isPredicate())
      return unknown("this vector");
    unsigned bytes = one.bits() / 8;
    if (has("param") || has("param::func")) {
      kind(InstructionClass::Local);
      if (function.isEntry && operand(0).kind == Operand::Kind::Address && operand(0).reg >= 0)
        return unknown("a store to a parameter of a kernel");
      out += " u8 *q = (u8 *)(" + address(operand(0)) + ");";
    } else {
      std::string macro = spaceMacro();
      out += " u8 *q = " + access(macro, operand(0), bytes * unsigned(from.size()), "kWrite") + ";";
    }
    for (size_t i = 0; i < from.size(); ++i) {
      std::string x = "x" + number(i);
      std::string text = one.isSingle() || one.isDouble() ? value(from[i], one) : "(" + one.c() + ")" + raw(from[i]);
      out += " " + one.c() + " " + x + " = " + text + "; memcpy(q + " + number(i * bytes) + ", &" + x + ", " +
             number(bytes) + ");";
    }
  }

  void writeAddress() {
    kind(InstructionClass::Integer);
    allow({"to", "global", "shared", "local", "const", "param"});
    if (!count(2))
      return;
    std::string text = raw(operand(1));
    if (has("shared"))
      text = "(u64)" + text + (has("to") ? " - " : " + ") + "(u64)t->block->shared";
    assign(0, type(), text);
  }

  void writeIsSpace() {
    allow({"global", "shared", "local", "const"});
    if (!count(2))
      return;
    std::string a = "(u64)" + raw(operand(1));
    std::string isShared = "(" + a + " - (u64)t->block->shared < t->block->sharedBytes)";
    std::string isLocal = "(" + a + " - (u64)t->local < t->localBytes)";
    assign(0, {"pred"},
           has("shared")  ? isShared
           : has("local") ? isLocal
           : has("const") ? "0"
                          : "!" + isShared + " && !" + isLocal);
  }

  void writeConvert() {
    kind(InstructionClass::Convert);
    allow({"rn", "rz", "rm", "rp", "rni", "rzi", "rmi", "rpi", "rna", "ftz", "sat", "relu"});
    if (types.size() != 2)
      return unknown("this conversion");
    Type to = types[0], from = types[1];
    bool isZero = has("rz");
    if (to.isPacked()) {
      if (!count(3) || !from.isSingle() || has("ftz") || has("sat"))
        return unknown("this conversion");
      std::string convert = std::string(to.name == "bf16x2" ? "toBf16" : "toF16") + (isZero ? "Zero" : "");
      auto half = [&](size_t i) {
        return convert + "(" + (has("relu") ? "maxNan(" + value(i, from) + ", 0.0f)" : value(i, from)) + ")";
      };
      return assign(0, {"b32"}, "(u32)" + half(1) + " << 16 | " + half(2));
    }
    if (!count(2))
      return;
    std::string x = value(1, from);
    const char *toInteger = has("rni")   ? "__builtin_rint"
                            : has("rzi") ? "__builtin_trunc"
                            : has("rmi") ? "__builtin_floor"
                            : has("rpi") ? "__builtin_ceil"
                                         : nullptr;
    std::string rounded = toInteger ? std::string(toInteger) + (from.isDouble() ? "(" : "f(") + x + ")" : x;
    if (from.isInteger() && to.isInteger()) {
      if (!has("sat"))
        return assign(0, to, x);
      // Saturation to the bounds of the result's type.
      std::string low = to.isSigned() ? "-((__int128)1 << " + number(to.bits() - 1) + ")" : "(__int128)0";
      std::string high = "((__int128)1 << " + number(to.isSigned() ? to.bits() - 1 : to.bits()) + ") - 1";
      out += " __int128 w = " + x + ", lo = " + low + ", hi = " + high + ";";
      return assign(0, to, "w < lo ? lo : w > hi ? hi : w");
    }
    if (to.isInteger() && to.name != "tf32") {
      if (!toInteger || !from.isFloat())
        return unknown("this conversion");
      return assign(0, to,
                    std::string(to.isSigned() ? "toSigned(" : "toUnsigned(") + rounded + ", " + number(to.bits()) +
                        ", " + (from.isDouble() || to.bits() == 64 ? "1" : "0") + ")");
    }
    int mode = rounding();
    if (from.isInteger()) {
      std::string isSigned = from.isSigned() ? "1" : "0";
      std::string directed = "intRounded((s64)" + x + ", (u64)" + x + ", " + isSigned + ", " +
                             (to.isDouble() ? "0" : "1") + ", " + std::to_string(mode) + ")";
      if (to.isDouble() || to.isSingle())
        return assign(0, to, finished(to, mode == 2 ? "(" + to.c() + ")" + x : "(" + to.c() + ")" + directed));
      if (to.isHalf() && mode == 2)
        return assign(0, to, finished(to, (from.isSigned() ? "toOdd(signedToOdd(" : "toOdd(unsignedToOdd(") + x + "))"),
                      true);
      return unknown("this conversion");
    }
    if (to.name == "tf32") {
      if (!from.isSingle() || has("relu"))
        return unknown("this conversion");
      std::string text = has("rna") ? "toTf32(" + x + ")" : isZero ? "(U(" + x + ") & 0xffffe000u)" : "";
      if (text.empty())
        return unknown("this rounding");
      return assign(0, {"b32"}, text);
    }
    if (!from.isFloat())
      return unknown("this conversion");
    if (to.isHalf() && !(from.name == to.name)) {
      std::string single = from.isDouble() ? "toOdd(" + x + ")" : x;
      if (mode != 2 && mode != 0)
        return unknown("this rounding");
      single = finished(to, single);
      std::string convert = std::string(to.name == "bf16" ? "toBf16" : "toF16") + (mode == 0 ? "Zero(" : "(");
      return assign(0, {"b16"}, convert + single + ")");
    }
    if (from.isDouble() && to.isSingle())
      return assign(0, to,
                    finished(to, mode == 2 ? "(f32)" + x : "toSingleRounded(" + x + ", " + std::to_string(mode) + ")"));
    // Widening, or within a type: exact, perhaps to an integral value.
    assign(0, to, finished(to, "(" + (to.isHalf() ? std::string("f32") : to.c()) + ")" + rounded), true);
  }

  /// An operation on both halves of packed operands.
  void writePacked(const Type &packed, const std::function<std::string(const std::vector<std::string> &)> &operation) {
    Type half{packed.name.substr(0, packed.name.size() - 2)};
    std::string from = half.name == "f16" ? "fromF16" : "fromBf16", to = half.name == "f16" ? "toF16" : "toBf16";
    std::string text;
    for (int part = 1; part >= 0; --part) {
      std::vector<std::string> x;
      for (size_t i = 1; i < now->operands.size(); ++i)
        x.push_back(from + "((u16)(" + raw(operand(i)) + " >> " + (part ? "16" : "0") + "))");
      text += (part ? "(u32)" : " | (u32)") + to + "(" + operation(x) + ")" + (part ? " << 16" : "");
    }
    assign(0, {"b32"}, text);
  }

  void writeArithmetic() {
    const std::string &name = now->opcode[0];
    Type one = type();
    if (has("cc"))
      return writeCarry();
    bool isMad = name == "mad" || name == "fma";
    if (!count(isMad ? 4 : 3))
      return;
    const char *sign = name == "add" ? " + " : name == "sub" ? " - " : " * ";
    if (one.isFloat() || one.isPacked()) {
      kind(InstructionClass::Float);
      allow({"rn", "rz", "rm", "rp", "ftz", "sat", "relu"});
      info().flops = (isMad ? 2 : 1) * (one.isPacked() ? 2 : 1);
      int mode = rounding();
      std::string modeText = std::to_string(mode);
      if (one.isPacked() || one.isHalf()) {
        if (mode != 2 || has("ftz"))
          return unknown("this rounding");
        // In double, with one rounding at the end. Products are exact; a plain sum of two halves that is no double lies
        // so near the larger one that this is the result either way.
        auto operation = [&](const std::vector<std::string> &x) {
          std::string text = isMad ? "sumToOdd((f64)" + x[0] + " * (f64)" + x[1] + ", (f64)" + x[2] + ")"
                                   : "(f64)" + x[0] + sign + "(f64)" + x[1];
          return finished({"f16"}, "toOdd(" + text + ")");
        };
        if (one.isPacked())
          return writePacked(one, operation);
        std::vector<std::string> x;
        for (size_t i = 1; i < now->operands.size(); ++i)
          x.push_back(value(i, one));
        return assign(0, one, operation(x), true);
      }
      std::string a = value(1, one), b = value(2, one);
      std::string text;
      if (isMad)
        text = mode == 2
                   ? (one.isDouble() ? "__builtin_fma(" : "__builtin_fmaf(") + a + ", " + b + ", " + value(3, one) + ")"
               : one.isDouble() ? "fmaRounded(" + a + ", " + b + ", " + value(3, one) + ", " + modeText + ")"
                                : "fmaDirected(" + a + ", " + b + ", " + value(3, one) + ", " + modeText + ")";
      else if (mode == 2)
        text = a + sign + b;
      else if (one.isDouble())
        text = name == "mul" ? "mulRounded(" + a + ", " + b + ", " + modeText + ")"
                             : "addRounded(" + a + ", " + (name == "sub" ? "-" : "") + b + ", " + modeText + ")";
      else
        text = name == "mul" ? "fmaDirected(" + a + ", " + b + ", __builtin_copysignf(0, " + a +
                                   ") * __builtin_copysignf(1, " + b + "), " + modeText + ")"
                             : "fmaDirected(" + a + ", 1.0f, " + (name == "sub" ? "-" : "") + b + ", " + modeText + ")";
      return assign(0, one, finished(one, text));
    }
    allow({"lo", "hi", "wide", "sat"});
    unsigned bits = one.bits();
    if (has("sat")) {
      if (one.name != "s32" || (name != "add" && name != "sub"))
        return unknown("'.sat'");
      out += " s64 w = (s64)" + value(1, one) + sign + "(s64)" + value(2, one) + ";";
      return assign(0, one, "w > 2147483647ll ? 2147483647ll : w < -2147483648ll ? -2147483648ll : w");
    }
    std::string a = value(1, one), b = value(2, one);
    if (name == "add" || name == "sub")
      return assign(0, one, "(u64)" + a + sign + "(u64)" + b);
    if (has("wide")) {
      Type wide{(one.isSigned() ? "s" : "u") + number(2 * bits)};
      if (bits > 32)
        return unknown("'.wide' of 64 bits");
      std::string text = "(u64)((s64)" + a + " * (s64)" + b + ")";
      return assign(0, wide, isMad ? text + " + (u64)" + value(3, wide) : text);
    }
    std::string text = has("hi") ? std::string("(u64)(((") + (one.isSigned() ? "" : "unsigned ") + "__int128)" + a +
                                       " * " + b + ") >> " + number(bits) + ")"
                                 : "(u64)" + a + " * (u64)" + b;
    assign(0, one, isMad ? text + " + (u64)" + value(3, one) : text);
  }

  /// Sums and products of 32 bits with the carry flag.
  void writeCarry() {
    allow({"cc", "lo", "hi"});
    const std::string &name = now->opcode[0];
    Type one = type();
    bool isMad = name == "mad" || name == "madc", takes = name.back() == 'c' && name != "cc";
    if (!count(isMad ? 4 : 3))
      return;
    unsigned bits = one.bits();
    if (bits != 32 && bits != 64)
      return unknown("this width");
    std::string u = bits == 32 ? "u32" : "u64", wide = "unsigned __int128";
    std::string a = "(" + u + ")" + raw(operand(1)), b = "(" + u + ")" + raw(operand(2));
    if (isMad) {
      std::string product = one.isSigned() ? "(" + wide + ")((__int128)" + value(1, one) + " * " + value(2, one) + ")"
                                           : "(" + wide + ")" + a + " * " + b;
      a = "(" + u + ")(" + product + (has("hi") ? " >> " + number(bits) : "") + ")";
      b = "(" + u + ")" + raw(operand(3));
    }
    bool isSub = name == "sub" || name == "subc";
    out += " " + wide + " w = (" + wide + ")(" + a + ")" + (isSub ? " - " : " + ") + "(" + b + ")" +
           (takes ? std::string(isSub ? " - " : " + ") + "cc" : "") + ";";
    if (has("cc"))
      out += " cc = (u32)(w >> " + number(bits) + ") & 1;";
    assign(0, one, "(" + u + ")w");
  }

  void writeShort() {
    allow({"lo", "hi"});
    const std::string &name = now->opcode[0];
    Type one = type();
    if (!count(name == "mul24" ? 3 : 4) || one.bits() != 32)
      return unknown("this type");
    if (name == "sad")
      return assign(0, one,
                    "(u64)" + value(3, one) + " + (u64)(" + value(1, one) + " < " + value(2, one) + " ? (s64)" +
                        value(2, one) + " - " + value(1, one) + " : (s64)" + value(1, one) + " - " + value(2, one) +
                        ")");
    auto low = [&](size_t i) {
      return one.isSigned() ? "(s64)((s32)((u32)" + value(i, one) + " << 8) >> 8)"
                            : "(s64)(" + value(i, one) + " & 0xffffffu)";
    };
    std::string text = "(u64)((" + low(1) + " * " + low(2) + ")" + (has("hi") ? " >> 16" : "") + ")";
    assign(0, one, name == "mad24" ? text + " + (u64)" + value(3, one) : text);
  }

  void writeDivide() {
    kind(InstructionClass::Special);
    const std::string &name = now->opcode[0];
    Type one = type();
    if (!count(3))
      return;
    if (one.isSingle() || one.isDouble()) {
      allow({"rn", "rz", "rm", "rp", "ftz", "approx", "full"});
      if (name == "rem")
        return unknown("this type");
      info().flops = 1;
      int mode = rounding();
      std::string a = value(1, one), b = value(2, one);
      std::string text = mode == 2 ? a + " / " + b
                                   : std::string(one.isDouble() ? "divRounded(" : "divRoundedF(") + a + ", " + b +
                                         ", " + std::to_string(mode) + ")";
      return assign(0, one, finished(one, text));
    }
    if (!one.isInteger())
      return unknown("this type");
    allow({});
    // By zero: all bits of the result are set, as the hardware has it.
    std::string c = one.isSigned() ? "s64" : "u64";
    out += " " + c + " x = " + value(1, one) + ", y = " + value(2, one) + ";";
    if (name == "div")
      assign(0, one, one.isSigned() ? "y == 0 ? -1 : y == -1 ? (s64)(0 - (u64)x) : x / y" : "y == 0 ? ~0ull : x / y");
    else
      assign(0, one, one.isSigned() ? "y == 0 ? -1 : y == -1 ? 0 : x % y" : "y == 0 ? ~0ull : x % y");
  }

  void writeMinMax() {
    std::string name = now->opcode[0];
    Type one = type();
    if (!count(3))
      return;
    if (one.isFloat() || one.isPacked()) {
      kind(InstructionClass::Float);
      allow({"ftz", "NaN"});
      info().flops = one.isPacked() ? 2 : 1;
      std::string call = name + (one.isDouble() ? "D" : has("NaN") ? "Nan" : "F");
      auto operation = [&](const std::vector<std::string> &x) { return call + "(" + x[0] + ", " + x[1] + ")"; };
      if (one.isPacked())
        return writePacked(one, operation);
      return assign(0, one, finished(one, operation({value(1, one), value(2, one)})), true);
    }
    allow({});
    std::string a = value(1, one), b = value(2, one);
    assign(0, one, a + (name == "min" ? " < " : " > ") + b + " ? " + a + " : " + b);
  }

  void writeUnary() {
    const std::string &name = now->opcode[0];
    Type one = type();
    if (!count(2))
      return;
    allow({"ftz"});
    if (one.isFloat() || one.isPacked()) {
      kind(InstructionClass::Float);
      if (name != "neg" && name != "abs")
        return unknown("this type");
      if (one.isSingle())
        return assign(0, one, name == "neg" ? "-(" + value(1, one) + ")" : "__builtin_fabsf(" + value(1, one) + ")");
      if (one.isDouble())
        return assign(0, one, name == "neg" ? "-(" + value(1, one) + ")" : "__builtin_fabs(" + value(1, one) + ")");
      std::string sign = one.isPacked() ? "0x80008000u" : "0x8000u";
      return assign(0, {"b" + number(one.bits())}, raw(operand(1)) + (name == "neg" ? " ^ " + sign : " & ~" + sign));
    }
    if (name == "not")
      return assign(0, one, one.isPredicate() ? "!" + raw(operand(1)) : "~" + raw(operand(1)));
    std::string a = value(1, one);
    if (name == "cnot")
      return assign(0, one, a + " == 0");
    assign(0, one, name == "neg" ? "0 - (u64)" + a : a + " < 0 ? 0 - (u64)" + a + " : (u64)" + a);
  }

  void writeLogic() {
    allow({});
    if (!count(3))
      return;
    const std::string &name = now->opcode[0];
    Type one = type();
    assign(0, one, value(1, one) + (name == "and" ? " & " : name == "or" ? " | " : " ^ ") + value(2, one));
  }

  void writeLogic3() {
    allow({});
    if (!count(5) || operand(4).kind != Operand::Kind::Integer)
      return unknown("this table");
    std::string text = "0u";
    for (int i = 0; i < 8; ++i)
      if (operand(4).bits >> i & 1) {
        auto input = [&](size_t k, int bit) {
          return std::string(i >> bit & 1 ? "" : "~") + "(u32)" + raw(operand(k));
        };
        text += " | (" + input(1, 2) + " & " + input(2, 1) + " & " + input(3, 0) + ")";
      }
    assign(0, {"b32"}, text);
  }

  void writeShift() {
    allow({});
    if (!count(3))
      return;
    Type one = type();
    std::string by = "(u32)" + raw(operand(2)), bits = number(one.bits()), a = value(1, one);
    if (now->opcode[0] == "shl")
      return assign(0, one, by + " >= " + bits + " ? 0 : (u64)" + a + " << (" + by + " & 63)");
    std::string over = one.isSigned() ? a + " >> " + number(one.bits() - 1) : "0";
    assign(0, one, by + " >= " + bits + " ? " + over + " : " + a + " >> (" + by + " & 63)");
  }

  void writeFunnel() {
    allow({"l", "r", "wrap", "clamp"});
    if (!count(4))
      return;
    out +=
        " u64 w = (u64)" + value(2, {"b32"}) + " << 32 | " + value(1, {"b32"}) + "; u32 n = " + value(3, {"b32"}) + ";";
    out += has("clamp") ? " n = n > 32 ? 32 : n;" : " n &= 31;";
    assign(0, {"b32"}, has("l") ? "n == 32 ? w : w << n >> 32" : "w >> n");
  }

  void writeCompare() {
    const std::string &name = now->opcode[0];
    static const std::map<std::string_view, const char *> signs = {
        {"eq", " == "}, {"ne", " != "}, {"lt", " < "},  {"le", " <= "}, {"gt", " > "},
        {"ge", " >= "}, {"lo", " < "},  {"ls", " <= "}, {"hi", " > "},  {"hs", " >= "}};
    Type one = type();
    std::string comparison, combination;
    for (size_t i = 1; i < now->opcode.size(); ++i) {
      const std::string &part = now->opcode[i];
      if (typeBytes(part) || part == "ftz")
        continue;
      if (part == "and" || part == "or" || part == "xor")
        combination = part;
      else if (comparison.empty())
        comparison = part;
      else
        return unknown("'." + part + "'");
    }
    if (!count(combination.empty() ? 3 : 4))
      return;
    if (one.isFloat())
      kind(InstructionClass::Float);
    std::string a = value(1, one), b = value(2, one), text;
    std::string unordered = "(" + a + " != " + a + " || " + b + " != " + b + ")";
    if (one.isPredicate() || one.isPacked())
      return unknown("this type");
    if (comparison == "num" || comparison == "nan")
      text = (comparison == "num" ? "!" : "") + unordered;
    else if (one.isFloat() && comparison.size() == 3 && comparison[2] == 'u' && signs.count(comparison.substr(0, 2)))
      text = unordered + " || " + a + signs.at(comparison.substr(0, 2)) + b;
    else if (one.isFloat() && comparison == "ne")
      text = a + " < " + b + " || " + a + " > " + b;
    else if (signs.count(comparison))
      text = a + signs.at(comparison) + b;
    else
      return unknown("'." + comparison + "'");
    out += " u8 c = " + text + ";";
    auto combined = [&](const std::string &c) {
      if (combination.empty())
        return c;
      return c + (combination == "and" ? " & " : combination == "or" ? " | " : " ^ ") + raw(operand(3));
    };
    if (name == "set") {
      Type to = types.front();
      if (types.size() != 2 || !to.isInteger() || to.bits() != 32)
        return unknown("'set' to " + to.name);
      return assign(0, to, "(" + combined("c") + ") ? 0xffffffffu : 0u");
    }
    Operand first = operand(0), second = operand(0);
    out += " u8 d = " + combined("c") + ", e = " + combined("(u8)!c") + "; (void)e;";
    first.second = -1;
    assign(first, {"pred"}, "d");
    if (operand(0).second >= 0) {
      second.reg = operand(0).second;
      second.second = -1;
      assign(second, {"pred"}, "e");
    }
  }

  void writeSelect() {
    kind(InstructionClass::Move);
    allow({"ftz"});
    if (!count(4))
      return;
    if (now->opcode[0] == "slct") {
      if (types.size() != 2)
        return unknown("this type");
      Type one = types[0];
      std::string condition = types[1].isSingle() ? value(3, types[1]) + " >= 0" : value(3, {"s32"}) + " >= 0";
      return assign(0, one, condition + " ? " + value(1, one) + " : " + value(2, one));
    }
    Type one = type();
    if (one.isHalf())
      one = {"b16"};
    assign(0, one, raw(operand(3)) + " ? " + value(1, one) + " : " + value(2, one));
  }

  void writeSpecial() {
    kind(InstructionClass::Special);
    allow({"approx", "ftz", "rn", "rz", "rm", "rp"});
    if (!count(2))
      return;
    const std::string &name = now->opcode[0];
    Type one = type();
    info().flops = 1;
    std::string x = value(1, one), text, mode = std::to_string(rounding());
    if (one.isDouble()) {
      if (name == "sqrt")
        text = rounding() == 2 ? "__builtin_sqrt(" + x + ")" : "sqrtRounded(" + x + ", " + mode + ")";
      else if (name == "rcp" && !has("approx"))
        text = rounding() == 2 ? "1.0 / " + x : "divRounded(1.0, " + x + ", " + mode + ")";
      else if (name == "rcp" && has("ftz")) // The upper half of the result alone.
        text = "D(UD(1.0 / " + x + ") & 0xffffffff00000000ull)";
      else if (name == "rsqrt" && has("ftz"))
        text = "D(UD(1.0 / __builtin_sqrt(" + x + ")) & 0xffffffff00000000ull)";
      else if (name == "rsqrt")
        text = "1.0 / __builtin_sqrt(" + x + ")";
      else
        return unknown("this type");
      return assign(0, one, text);
    }
    if (one.isHalf() && (name == "ex2" || name == "tanh"))
      return assign(0, one, (name == "ex2" ? "__builtin_exp2f(" : "__builtin_tanhf(") + x + ")", true);
    if (!one.isSingle())
      return unknown("this type");
    if (rounding() != 2) {
      if (name == "sqrt")
        text = "sqrtRoundedF(" + x + ", " + mode + ")";
      else if (name == "rcp")
        text = "divRoundedF(1.0f, " + x + ", " + mode + ")";
      else
        return unknown("this rounding");
    } else {
      static const std::map<std::string_view, const char *> functions = {
          {"ex2", "__builtin_exp2f("},          {"lg2", "__builtin_log2f("},  {"rcp", "1.0f / ("},
          {"rsqrt", "1.0f / __builtin_sqrtf("}, {"sqrt", "__builtin_sqrtf("}, {"sin", "__builtin_sinf("},
          {"cos", "__builtin_cosf("},           {"tanh", "__builtin_tanhf("}};
      text = functions.at(name) + x + ")";
    }
    assign(0, one, finished(one, text));
  }

  void writeSign() {
    kind(InstructionClass::Float);
    allow({});
    if (!count(3))
      return;
    Type one = type();
    if (!one.isSingle() && !one.isDouble())
      return unknown("this type");
    assign(0, one,
           std::string(one.isDouble() ? "__builtin_copysign(" : "__builtin_copysignf(") + value(2, one) + ", " +
               value(1, one) + ")");
  }

  void writeTest() {
    kind(InstructionClass::Float);
    allow({"finite", "infinite", "number", "notanumber", "normal", "subnormal"});
    if (!count(2))
      return;
    Type one = type();
    if (!one.isSingle() && !one.isDouble())
      return unknown("this type");
    std::string x = "(" + value(1, one) + ")";
    std::string normal = std::string("__builtin_isnormal") + x, isNan = x + " != " + x;
    assign(0, {"pred"},
           has("finite")       ? "__builtin_isfinite" + x
           : has("infinite")   ? "__builtin_isinf" + x + " != 0"
           : has("number")     ? "!(" + isNan + ")"
           : has("notanumber") ? isNan
           : has("normal")     ? normal
                               : "__builtin_isfinite" + x + " && " + x + " != 0 && !" + normal);
  }

  void writeBits() {
    const std::string &name = now->opcode[0];
    Type one = type();
    std::string bits = number(one.bits());
    if (name == "prmt") {
      allow({});
      if (count(4))
        assign(0, {"b32"}, "permute(" + value(1, {"b32"}) + ", " + value(2, {"b32"}) + ", " + value(3, {"b32"}) + ")");
    } else if (name == "bfe") {
      allow({});
      if (count(4))
        assign(0, one,
               std::string(one.isSigned() ? "extractS((u64)" : "extractU((u64)") + value(1, one) + ", " +
                   value(2, {"u32"}) + ", " + value(3, {"u32"}) + ", " + bits + ")");
    } else if (name == "bfi") {
      allow({});
      if (count(5))
        assign(0, one,
               "insertBits((u64)" + value(1, one) + ", (u64)" + value(2, one) + ", " + value(3, {"u32"}) + ", " +
                   value(4, {"u32"}) + ", " + bits + ")");
    } else if (count(2)) {
      std::string a = "(u64)" + value(1, {"u" + bits});
      if (name == "bfind") {
        allow({"shiftamt"});
        // The highest bit that differs from the sign.
        std::string seen =
            one.isSigned() ? "(u64)(" + value(1, one) + " < 0 ? ~" + value(1, one) + " : " + value(1, one) + ")" : a;
        out += " u64 w = " + seen + "; w = " + bits + " == 64 ? w : w & 0xffffffffull;";
        return assign(0, {"u32"},
                      std::string("w == 0 ? 0xffffffffu : ") +
                          (has("shiftamt") ? "(u32)(" + bits + " - 64) + (u32)__builtin_clzll(w)"
                                           : "63u - (u32)__builtin_clzll(w)"));
      }
      allow({});
      if (name == "popc")
        return assign(0, {"u32"}, "(u32)__builtin_popcountll(" + a + ")");
      if (name == "clz")
        return assign(0, {"u32"},
                      a + " == 0 ? " + bits + " : (u32)__builtin_clzll(" + a + ") - " + number(64 - one.bits()));
      assign(0, one, "reverseBits(" + a + ", " + bits + ")");
    }
  }

  std::string labelText(const std::string &name) {
    auto label = labels.find(name);
    if (label == labels.end() || tables.count(name)) {
      failed(now->line, "label '" + name + "' is not defined");
      return "L0";
    }
    return "L" + number(label->second);
  }

  void writeBranch() {
    kind(InstructionClass::Control);
    allow({"uni", "idx"});
    endsBlock = true;
    if (now->opcode[0] == "bra") {
      if (!count(1) || operand(0).kind != Operand::Kind::Name)
        return unknown("this target");
      out += " goto " + labelText(operand(0).name) + ";";
      return;
    }
    if (!count(2) || operand(1).kind != Operand::Kind::Name || !tables.count(operand(1).name))
      return unknown("this target");
    out += " switch ((u32)" + raw(operand(0)) + ") {";
    const std::vector<std::string> &targets = tables[operand(1).name];
    for (size_t i = 0; i < targets.size(); ++i)
      out += " case " + number(i) + ": goto " + labelText(targets[i]) + ";";
    out += " default: t->block->api->trap(t, " + siteText() + "); }";
  }

  void writeCall() {
    kind(InstructionClass::Control);
    allow({"uni"});
    size_t at = 0;
    std::vector<Operand> results, arguments;
    if (operand(0).kind == Operand::Kind::Vector)
      results = operand(at++).items;
    if (operand(at).kind != Operand::Kind::Name)
      return unknown("a call through a pointer");
    const std::string &name = operand(at++).name;
    if (operand(at).kind == Operand::Kind::Vector)
      arguments = operand(at++).items;
    auto callee = context.functions.find(name);
    if (callee == context.functions.end() || callee->second->isEntry)
      return failed(now->line, "`" + now->text + "`: function '" + name + "' is not defined here");
    if (at != now->operands.size() || results.size() != callee->second->results.size() ||
        arguments.size() != callee->second->parameters.size())
      return failed(now->line, "`" + now->text + "`: the arguments are not those of '" + name + "'");
    needs.callees.insert(name);
    std::string text = "function" + number(context.functionIndices[name]) + "(t";
    auto pass = [&](const Operand &argument, const Variable &parameter) {
      auto found = parameters.find(argument.name);
      if (argument.kind != Operand::Kind::Name || found == parameters.end())
        return unknown("an argument that is no .param variable");
      for (const Variable &variable : function.variables)
        if (variable.name == argument.name && variable.bytes != parameter.bytes)
          failed(now->line,
                 "`" + now->text + "`: '" + argument.name + "' is not of the size of '" + parameter.name + "'");
      text += ", " + found->second;
    };
    for (size_t i = 0; i < results.size(); ++i)
      pass(results[i], callee->second->results[i]);
    for (size_t i = 0; i < arguments.size(); ++i)
      pass(arguments[i], callee->second->parameters[i]);
    out += " " + text + ");";
    endsBlock = true;
  }

  void writeEnd() {
    kind(InstructionClass::Control);
    allow({"uni"});
    if (!count(0))
      return;
    const std::string &name = now->opcode[0];
    endsBlock = true;
    if (name == "trap")
      out += " t->block->api->trap(t, " + siteText() + "); return;";
    else if (name == "exit" && !function.isEntry)
      out += " t->block->api->leave(t); return;";
    else
      out += " return;";
  }

  void writeBarrier() {
    kind(InstructionClass::Barrier);
    allow({"sync", "warp", "cta", "aligned"});
    needs.fibers = true;
    endsBlock = true;
    if (!has("sync"))
      return unknown("'" + now->opcode[0] + "' without '.sync'");
    if (has("warp")) {
      if (count(1))
        out += " t->block->api->collective(t, " + siteText() + ", kBarrierWarp, (u32)" + raw(operand(0)) + ");";
      return;
    }
    if (!count(1, 2))
      return;
    bool isAligned = now->opcode[0] == "bar" || has("aligned");
    out += " t->block->api->barrier(t, " + siteText() + ", (u32)" + raw(operand(0)) + ", " +
           (now->operands.size() == 2 ? "(u32)" + raw(operand(1)) : "0") + ", " + (isAligned ? "1" : "0") + ");";
  }

  void writeFence() {
    // Fibers change only where they wait, and memory is one: nothing to do. Hints neither.
    kind(InstructionClass::Control);
    allow({"cta", "gl", "gpu", "sys", "sc", "acq_rel", "global", "local", "L1", "L2"});
  }

  void writeShuffle() {
    kind(InstructionClass::Collective);
    allow({"sync", "up", "down", "bfly", "idx"});
    needs.fibers = true;
    if (!has("sync"))
      return unknown("'shfl' without '.sync'");
    if (!count(5))
      return;
    std::string mode = has("up")     ? "kShuffleUp"
                       : has("down") ? "kShuffleDown"
                       : has("bfly") ? "kShuffleXor"
                                     : "kShuffleIndex";
    for (size_t i = 0; i < 3; ++i)
      out += " t->in[" + number(i) + "] = (u32)" + raw(operand(i + 1)) + ";";
    out += " t->block->api->collective(t, " + siteText() + ", " + mode + ", (u32)" + raw(operand(4)) + ");";
    Operand first = operand(0), second = operand(0);
    first.second = -1;
    assign(first, {"b32"}, "t->out[0]");
    if (operand(0).second >= 0) {
      second.reg = operand(0).second;
      second.second = -1;
      assign(second, {"pred"}, "t->predicate");
    }
  }

  void writeVote() {
    kind(InstructionClass::Collective);
    needs.fibers = true;
    if (now->opcode[0] == "activemask") {
      allow({});
      if (!count(1))
        return;
      out += " t->block->api->collective(t, " + siteText() + ", kActiveMask, 0xffffffffu);";
      return assign(0, {"b32"}, "t->out[0]");
    }
    allow({"sync", "all", "any", "uni", "ballot"});
    if (!has("sync"))
      return unknown("'vote' without '.sync'");
    if (!count(3))
      return;
    out += " u32 m = (u32)" + raw(operand(2)) + "; t->in[0] = " + value(1, {"pred"}) + ";";
    out += " t->block->api->collective(t, " + siteText() + ", kBallot, m);";
    // out[1]: those of the mask that exist.
    if (has("ballot"))
      return assign(0, {"b32"}, "t->out[0]");
    assign(0, {"pred"},
           has("any")   ? "t->out[0] != 0"
           : has("all") ? "t->out[0] == t->out[1]"
                        : "t->out[0] == 0 || t->out[0] == t->out[1]");
  }

  void writeMma() {
    kind(InstructionClass::Mma);
    needs.fibers = true;
    struct Shape {
      const char *name;
      const char *kind;
      size_t a, b;
      uint32_t flops;
    };
    static const Shape shapes[] = {{"m16n8k16.row.col.f32.bf16.bf16.f32", "kMmaM16N8K16Bf16", 4, 2, 2 * 16 * 8 * 16},
                                   {"m16n8k16.row.col.f32.f16.f16.f32", "kMmaM16N8K16F16", 4, 2, 2 * 16 * 8 * 16},
                                   {"m16n8k8.row.col.f32.bf16.bf16.f32", "kMmaM16N8K8Bf16", 2, 1, 2 * 16 * 8 * 8},
                                   {"m16n8k8.row.col.f32.f16.f16.f32", "kMmaM16N8K8F16", 2, 1, 2 * 16 * 8 * 8},
                                   {"m16n8k8.row.col.f32.tf32.tf32.f32", "kMmaM16N8K8Tf32", 4, 2, 2 * 16 * 8 * 8},
                                   {"m16n8k4.row.col.f32.tf32.tf32.f32", "kMmaM16N8K4Tf32", 2, 1, 2 * 16 * 8 * 4}};
    std::string name;
    for (size_t i = 3; i < now->opcode.size(); ++i)
      name += (i > 3 ? "." : "") + now->opcode[i];
    for (const Shape &shape : shapes) {
      if (now->opcode.size() < 4 || now->opcode[1] != "sync" || now->opcode[2] != "aligned" || name != shape.name)
        continue;
      if (!count(4))
        return;
      std::vector<Operand> d = items(operand(0)), a = items(operand(1)), b = items(operand(2)), c = items(operand(3));
      if (d.size() != 4 || a.size() != shape.a || b.size() != shape.b || c.size() != 4)
        return failed(now->line, "`" + now->text + "`: the fragments are not of this shape");
      info().mmaFlops = shape.flops;
      size_t at = 0;
      for (const std::vector<Operand> *part : {&a, &b, &c}) {
        at = part == &b ? 4 : part == &c ? 6 : 0;
        for (const Operand &item : *part)
          out += " t->in[" + number(at++) + "] = (u32)" + raw(item) + ";";
      }
      out += " t->block->api->collective(t, " + siteText() + ", " + shape.kind + ", 0xffffffffu);";
      for (size_t i = 0; i < 4; ++i)
        assign(d[i], {"f32"}, "F(t->out[" + number(i) + "])");
      return;
    }
    unknown("this shape of 'mma'");
  }

  void writeLoadMatrix() {
    kind(InstructionClass::Shared);
    needs.fibers = true;
    allow({"sync", "aligned", "m8n8", "x1", "x2", "x4", "trans", "shared", "shared::cta"});
    if (!count(2))
      return;
    std::vector<Operand> to = items(operand(0));
    size_t n = has("x1") ? 1 : has("x2") ? 2 : 4;
    if (!has("sync") || !has("aligned") || !has("m8n8") || type().name != "b16" || to.size() != n ||
        !(has("x1") || has("x2") || has("x4")))
      return unknown("this shape of 'ldmatrix'");
    std::string base = address(operand(1));
    if (!has("shared") && !has("shared::cta"))
      base = "(u32)(" + base + " - (u64)t->block->shared)";
    out += " t->address = (u32)(" + base + "); t->count = " + number(n) + ";";
    out += " t->block->api->collective(t, " + siteText() + ", " +
           (has("trans") ? "kLoadMatrixTransposed" : "kLoadMatrix") + ", 0xffffffffu);";
    for (size_t i = 0; i < n; ++i)
      assign(to[i], {"b32"}, "t->out[" + number(i) + "]");
  }

  void writeCopy() {
    kind(InstructionClass::Global);
    if (!has("async") || has("bulk") || has("mbarrier"))
      return unknown("'" + now->opcode[0] +
                     (now->opcode.size() > 2 ? "." + now->opcode[1] + "." + now->opcode[2] : "") + "'");
    allow({"async", "ca", "cg", "shared", "shared::cta", "global", "commit_group", "wait_group", "wait_all", "L2::64B",
           "L2::128B", "L2::256B"});
    if (has("commit_group")) {
      kind(InstructionClass::Control);
      out += " t->block->api->commitAsync(t);";
      return void(count(0));
    }
    if (has("wait_all")) {
      kind(InstructionClass::Control);
      out += " t->block->api->commitAsync(t); t->block->api->waitAsync(t, " + siteText() + ", 0);";
      return void(count(0));
    }
    if (has("wait_group")) {
      kind(InstructionClass::Control);
      if (count(1))
        out += " t->block->api->waitAsync(t, " + siteText() + ", (u32)" + raw(operand(0)) + ");";
      return;
    }
    if (!count(3, 4) || operand(2).kind != Operand::Kind::Integer)
      return unknown("this size of 'cp.async'");
    uint64_t bytes = operand(2).bits;
    if (!(bytes == 16 || (has("ca") && (bytes == 4 || bytes == 8))))
      return failed(now->line, "`" + now->text + "`: cp.async copies 4, 8 (.ca) or 16 bytes");
    std::string source = now->operands.size() == 4 ? "(u32)" + raw(operand(3)) : number(bytes);
    out += " t->block->api->copyAsync(t, " + siteText() + ", (u32)(" + address(operand(0)) + "), " +
           address(operand(1)) + ", " + number(bytes) + ", " + source + ");";
  }

  void writeAtomic() {
    kind(InstructionClass::Atomic);
    allow({"global", "shared", "shared::cta", "add",     "min",     "max",     "exch",    "cas", "and", "or",
           "xor",    "inc",    "dec",         "relaxed", "acquire", "release", "acq_rel", "cta", "gpu", "sys"});
    bool hasResult = now->opcode[0] == "atom", isCas = has("cas");
    if (!count((hasResult ? 3u : 2u) + (isCas ? 1u : 0u)))
      return;
    size_t at = hasResult ? 1 : 0;
    Type one = type();
    if ((one.bits() != 32 && one.bits() != 64) || one.isPacked())
      return unknown("'" + now->opcode[0] + "' of type ." + one.name);
    bool isShared = has("shared") || has("shared::cta");
    std::string macro = isShared ? "SHARED" : has("global") ? "GLOBAL" : "GENERIC";
    if (!isShared)
      needs.globalAtomics = true;
    std::string c = one.c(), bytes = number(one.bits() / 8);
    out += " u8 *q = " + access(macro, operand(at), one.bits() / 8, "kAtomic") + "; " + c +
           " o, v = " + value(at + 1, one) + "; memcpy(&o, q, " + bytes + ");";
    std::string text;
    if (isCas)
      text = "o == v ? " + value(at + 2, one) + " : o";
    else if (has("exch"))
      text = "v";
    else if (has("add"))
      text = one.isFloat() ? "o + v" : "(" + c + ")((u64)o + (u64)v)";
    else if ((has("min") || has("max")) && !one.isFloat())
      text = has("min") ? "o < v ? o : v" : "o > v ? o : v";
    else if ((has("and") || has("or") || has("xor")) && !one.isFloat())
      text = has("and") ? "o & v" : has("or") ? "o | v" : "o ^ v";
    else if (has("inc") && one.name == "u32")
      text = "o >= v ? 0 : o + 1";
    else if (has("dec") && one.name == "u32")
      text = "o == 0 || o > v ? v : o - 1";
    else
      return unknown("this operation");
    out += " " + c + " w = " + text + "; memcpy(q, &w, " + bytes + ");";
    if (hasResult)
      assign(0, one, "o");
  }

  ModuleContext &context;
  const Function &function;
  size_t index;
  Status status;
  const Instruction *now = nullptr;
  std::vector<Type> types;
  bool endsBlock = false;
  std::string out;
  std::map<std::string, size_t> labels;
  std::map<std::string, std::vector<std::string>> tables;
  std::map<std::string, std::string> parameters; ///< Name to the C expression of its first byte.
  std::map<std::string, uint64_t> locals;        ///< Name to its place in the thread's local memory.
};

/// Places of the shared variables that a kernel uses. Each lies at its alignment and no better, with bytes between that
/// nobody may touch.
void placeShared(const ModuleContext &context, const std::set<size_t> &used, KernelInfo &kernel) {
  kernel.sharedOffsets.assign(context.shared.size(), 0);
  uint64_t at = 0, packed = 0;
  unsigned dynamicAlign = 16;
  for (size_t i : used) {
    const Variable &variable = *context.shared[i];
    if (variable.isExtern) {
      dynamicAlign = std::max(dynamicAlign, variable.align);
      continue;
    }
    packed = alignUp(packed, variable.align) + variable.bytes;
    at = alignUp(at, variable.align);
    if (variable.align < 16 && at % (2 * variable.align) == 0)
      at += variable.align;
    kernel.sharedOffsets[i] = uint32_t(at);
    kernel.shared.push_back({uint32_t(at), uint32_t(variable.bytes)});
    at += variable.bytes + 16;
  }
  kernel.staticShared = uint32_t(packed);
  kernel.dynamicBegin = uint32_t(alignUp(at, dynamicAlign));
  for (size_t i : used)
    if (context.shared[i]->isExtern)
      kernel.sharedOffsets[i] = kernel.dynamicBegin;
}

} // namespace

StatusOr<Translation> translate(const Module &module) {
  constexpr uint64_t kMostShared = 1 << 20, kMostLocal = 1 << 19;
  Translation result;
  ModuleContext context{module, result, {}, {}, {}, {}, {}};
  size_t globals = 0;
  uint64_t sharedBytes = 0;
  auto addShared = [&](const std::string &name, const Variable &variable) {
    context.sharedIndices[name] = context.shared.size();
    context.shared.push_back(&variable);
    sharedBytes += variable.bytes;
    return variable.bytes <= kMostShared;
  };
  auto tooLarge = [](const Variable &variable) {
    return Status::invalid("line " + std::to_string(variable.line) + ": variable '" + variable.name + "' is too large");
  };
  for (const Variable &variable : module.variables) {
    if (context.globals.count(variable.name) || context.sharedIndices.count(variable.name))
      return Status::invalid("line " + std::to_string(variable.line) + ": variable '" + variable.name +
                             "' is defined twice");
    if (variable.space != Space::Shared)
      context.globals[variable.name] = globals++;
    else if (!addShared(variable.name, variable))
      return tooLarge(variable);
  }
  for (const Function &function : module.functions) {
    if (function.isDeclaration)
      continue;
    context.functions[function.name] = &function;
    size_t place = context.functionIndices.size();
    context.functionIndices[function.name] = place;
    for (const Variable &variable : function.variables) {
      if (variable.space == Space::Shared && !addShared(function.name + "/" + variable.name, variable))
        return tooLarge(variable);
      if (variable.space == Space::Local && variable.bytes > kMostLocal)
        return tooLarge(variable);
    }
  }
  std::map<std::string, Needs> needs;
  std::string declarations, definitions;
  // Frames in local memory have fixed places, those of kernels behind those of all functions: nothing may call itself.
  uint64_t local = 0;
  for (bool isEntry : {false, true})
    for (const Function &function : module.functions) {
      if (function.isDeclaration || function.isEntry != isEntry)
        continue;
      FunctionWriter writer(context, function, context.functionIndices[function.name], local);
      MORPH_RETURN_IF_ERROR(writer.run());
      if (!isEntry)
        local = writer.needs.localEnd;
      declarations += writer.signature() + ";\n";
      definitions += writer.text;
      needs[function.name] = std::move(writer.needs);
    }
  result.code = declarations + definitions;
  for (const auto &[name, own] : needs) {
    std::set<std::string> reached = own.callees;
    std::vector<std::string> open(reached.begin(), reached.end());
    while (!open.empty()) {
      std::string next = open.back();
      open.pop_back();
      for (const std::string &callee : needs[next].callees)
        if (reached.insert(callee).second)
          open.push_back(callee);
    }
    if (reached.count(name))
      return Status::invalid("function '" + name + "' calls itself, which is not known to the stand-in");
  }
  for (const Function &function : module.functions) {
    if (!function.isEntry || function.isDeclaration)
      continue;
    KernelInfo kernel;
    kernel.name = function.name;
    kernel.symbol = "kernel" + number(context.functionIndices[function.name]);
    for (const Variable &parameter : function.parameters) {
      kernel.paramBytes = uint32_t(alignUp(kernel.paramBytes, parameter.align));
      kernel.params.push_back({kernel.paramBytes, uint32_t(parameter.bytes)});
      if (kernel.paramBytes + parameter.bytes > 4096 && module.version < 81)
        return Status::invalid("line " + std::to_string(function.line) + ": kernel '" + function.name +
                               "' has more than 4 KiB of parameters");
      if (kernel.paramBytes + parameter.bytes > 32764)
        return Status::invalid("line " + std::to_string(function.line) + ": kernel '" + function.name +
                               "' has more than 32764 bytes of parameters");
      kernel.paramBytes += uint32_t(parameter.bytes);
    }
    // What it and everything that it calls need.
    std::set<std::string> seen = {function.name};
    std::vector<std::string> open = {function.name};
    std::set<size_t> shared;
    while (!open.empty()) {
      std::string name = open.back();
      open.pop_back();
      const Needs &own = needs[name];
      kernel.needsFibers |= own.fibers;
      kernel.hasGlobalAtomics |= own.globalAtomics;
      shared.insert(own.shared.begin(), own.shared.end());
      for (const std::string &callee : own.callees)
        if (seen.insert(callee).second)
          open.push_back(callee);
      kernel.localBytes = std::max(kernel.localBytes, uint32_t(own.localEnd));
    }
    if (kernel.localBytes > kMostLocal)
      return Status::invalid("kernel '" + function.name + "' takes more than 512 KiB of local memory");
    placeShared(context, shared, kernel);
    if (kernel.staticShared > 48 * 1024)
      return Status::invalid("kernel '" + function.name + "' uses too much shared data (" +
                             number(kernel.staticShared) + " bytes, 49152 at most)");
    for (int i = 0; i < 3; ++i)
      kernel.requiredThreads[i] = function.requiredThreads[i];
    if (function.maximumThreads[0])
      kernel.maximumThreads =
          std::min(1024u, function.maximumThreads[0] * function.maximumThreads[1] * function.maximumThreads[2]);
    result.kernels.push_back(std::move(kernel));
  }
  return result;
}

} // namespace morph::standin
