// SPDX-License-Identifier: Apache-2.0
// Numbers: conversions, arithmetic, comparisons, bits.

#include "test/cuda/driver/FunctionWriter.h"

namespace morph::standin {

void FunctionWriter::writeConvert() {
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
                  std::string(to.isSigned() ? "toSigned(" : "toUnsigned(") + rounded + ", " + number(to.bits()) + ", " +
                      (from.isDouble() || to.bits() == 64 ? "1" : "0") + ")");
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

void FunctionWriter::writePacked(const Type &packed,
                                 const std::function<std::string(const std::vector<std::string> &)> &operation) {
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

void FunctionWriter::writeArithmetic() {
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

void FunctionWriter::writeCarry() {
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

void FunctionWriter::writeShort() {
  allow({"lo", "hi"});
  const std::string &name = now->opcode[0];
  Type one = type();
  if (!count(name == "mul24" ? 3 : 4) || one.bits() != 32)
    return unknown("this type");
  if (name == "sad")
    return assign(0, one,
                  "(u64)" + value(3, one) + " + (u64)(" + value(1, one) + " < " + value(2, one) + " ? (s64)" +
                      value(2, one) + " - " + value(1, one) + " : (s64)" + value(1, one) + " - " + value(2, one) + ")");
  auto low = [&](size_t i) {
    return one.isSigned() ? "(s64)((s32)((u32)" + value(i, one) + " << 8) >> 8)"
                          : "(s64)(" + value(i, one) + " & 0xffffffu)";
  };
  std::string text = "(u64)((" + low(1) + " * " + low(2) + ")" + (has("hi") ? " >> 16" : "") + ")";
  assign(0, one, name == "mad24" ? text + " + (u64)" + value(3, one) : text);
}

void FunctionWriter::writeDivide() {
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
                                 : std::string(one.isDouble() ? "divRounded(" : "divRoundedF(") + a + ", " + b + ", " +
                                       std::to_string(mode) + ")";
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

void FunctionWriter::writeMinMax() {
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

void FunctionWriter::writeUnary() {
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

void FunctionWriter::writeLogic() {
  allow({});
  if (!count(3))
    return;
  const std::string &name = now->opcode[0];
  Type one = type();
  assign(0, one, value(1, one) + (name == "and" ? " & " : name == "or" ? " | " : " ^ ") + value(2, one));
}

void FunctionWriter::writeLogic3() {
  allow({});
  if (!count(5) || operand(4).kind != Operand::Kind::Integer)
    return unknown("this table");
  std::string text = "0u";
  for (int i = 0; i < 8; ++i)
    if (operand(4).bits >> i & 1) {
      auto input = [&](size_t k, int bit) { return std::string(i >> bit & 1 ? "" : "~") + "(u32)" + raw(operand(k)); };
      text += " | (" + input(1, 2) + " & " + input(2, 1) + " & " + input(3, 0) + ")";
    }
  assign(0, {"b32"}, text);
}

void FunctionWriter::writeShift() {
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

void FunctionWriter::writeFunnel() {
  allow({"l", "r", "wrap", "clamp"});
  if (!count(4))
    return;
  out +=
      " u64 w = (u64)" + value(2, {"b32"}) + " << 32 | " + value(1, {"b32"}) + "; u32 n = " + value(3, {"b32"}) + ";";
  out += has("clamp") ? " n = n > 32 ? 32 : n;" : " n &= 31;";
  assign(0, {"b32"}, has("l") ? "n == 32 ? w : w << n >> 32" : "w >> n");
}

void FunctionWriter::writeCompare() {
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
  out += " u8 d = " + combined("c") + ", e = " + combined("(u8)!c") + "; (void)e;";
  assignPair({"pred"}, "d", "e");
}

void FunctionWriter::writeSelect() {
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

void FunctionWriter::writeSpecial() {
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

void FunctionWriter::writeSign() {
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

void FunctionWriter::writeTest() {
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

void FunctionWriter::writeBits() {
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
                    std::string("w == 0 ? 0xffffffffu : ") + (has("shiftamt")
                                                                  ? "(u32)(" + bits + " - 64) + (u32)__builtin_clzll(w)"
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

} // namespace morph::standin
