// SPDX-License-Identifier: Apache-2.0
#include "test/cuda/driver/FunctionWriter.h"

#include <cinttypes>
#include <cstdio>
#include <cstring>

namespace morph::standin {

std::string hexadecimal(uint64_t value, unsigned bits) {
  char text[32];
  std::snprintf(text, sizeof(text), bits > 32 ? "0x%" PRIx64 "ull" : "0x%" PRIx64 "u", value);
  return text;
}

Status FunctionWriter::run() {
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

std::string FunctionWriter::signature() const {
  std::string arguments = "T *t";
  for (size_t i = 0; i < function.results.size(); ++i)
    arguments += ", u8 *q" + number(i);
  if (!function.isEntry)
    for (size_t i = 0; i < function.parameters.size(); ++i)
      arguments += ", const u8 *p" + number(i);
  return (function.isEntry ? "void kernel" : "static void function") + number(index) + "(" + arguments + ")";
}

void FunctionWriter::failed(int line, const std::string &what) {
  if (status.ok())
    status = Status::invalid("line " + number(line) + ": " + what);
}

void FunctionWriter::unknown(const std::string &what) {
  failed(now->line, "`" + now->text + "`: " + what + " is not known to the stand-in");
}

void FunctionWriter::allow(std::initializer_list<std::string_view> parts) {
  for (size_t i = 1; i < now->opcode.size(); ++i) {
    const std::string &part = now->opcode[i];
    if (!typeBytes(part) && std::find(parts.begin(), parts.end(), part) == parts.end())
      unknown("'." + part + "'");
  }
}

bool FunctionWriter::count(size_t least, size_t most) {
  size_t n = now->operands.size();
  if (n >= least && n <= std::max(least, most))
    return true;
  failed(now->line, "`" + now->text + "`: has " + number(n) + " operands");
  return false;
}

const Operand &FunctionWriter::operand(size_t i) const {
  static const Operand none;
  return i < now->operands.size() ? now->operands[i] : none;
}

std::string FunctionWriter::symbol(const Operand &operand) {
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

std::string FunctionWriter::sharedSymbol(size_t place) {
  needs.shared.insert(place);
  return "t->block->sharedOffsets[" + number(place) + "]";
}

std::string FunctionWriter::special(const Operand &operand) {
  const std::string &name = operand.name;
  auto axis = [&](const char *base, const char *expression) -> std::string {
    size_t n = std::strlen(base);
    if (name.compare(0, n, base) != 0 || name.size() != n + 2 || name[n] != '.')
      return "";
    int i = name[n + 1] - 'x';
    return i >= 0 && i <= 2 ? std::string(expression) + "[" + number(uint64_t(i)) + "]" : "";
  };
  static const std::pair<const char *, const char *> axes[] = {
      {"%tid", "t->tid"}, {"%ntid", "t->block->ntid"}, {"%ctaid", "t->block->ctaid"}, {"%nctaid", "t->block->nctaid"}};
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

std::string FunctionWriter::raw(const Operand &operand) {
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

std::string FunctionWriter::value(const Operand &operand, const Type &type) {
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
  if (type.isPredicate()) // LLVM writes true as -1.
    return operand.kind == Operand::Kind::Integer ? (operand.bits ? "1" : "0") : raw(operand);
  return "((" + type.c() + ")" + raw(operand) + ")";
}

void FunctionWriter::assign(const Operand &to, const Type &type, std::string expression, bool isHalfValue) {
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

void FunctionWriter::assign(size_t i, const Type &type, const std::string &expression, bool isHalfValue) {
  assign(operand(i), type, expression, isHalfValue);
}

void FunctionWriter::assignPair(const Type &type, const std::string &expression, const std::string &predicate) {
  Operand first = operand(0), second = operand(0);
  first.second = second.second = -1;
  second.reg = operand(0).second;
  assign(first, type, expression);
  if (second.reg >= 0)
    assign(second, {"pred"}, predicate);
}

std::string FunctionWriter::address(const Operand &operand) {
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

std::vector<Operand> FunctionWriter::items(const Operand &operand) const {
  return operand.kind == Operand::Kind::Vector ? operand.items : std::vector<Operand>{operand};
}

void FunctionWriter::enterBlock() {
  out += "  ENTER(t, " + number(context.result.blocks.size()) + ");\n";
  context.result.blocks.emplace_back();
}

void FunctionWriter::write(const Instruction &instruction) {
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

Type FunctionWriter::type() {
  if (types.empty()) {
    unknown("an instruction without a type");
    return {"b32"};
  }
  return types.back();
}

std::string FunctionWriter::finished(const Type &type, std::string text) {
  if (type.isSingle() && has("ftz"))
    text = "flush(" + text + ")";
  if (has("sat") && type.isFloat())
    text = (type.isDouble() ? "saturateD(" : "saturate(") + text + ")";
  if (has("relu"))
    text = "maxNan(" + text + ", 0.0f)";
  return text;
}

} // namespace morph::standin
