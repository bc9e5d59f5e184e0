// SPDX-License-Identifier: Apache-2.0
// Moves, loads, stores, copies and atomics.

#include "test/cuda/driver/FunctionWriter.h"

namespace morph::standin {

void FunctionWriter::writeMove() {
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

std::string FunctionWriter::spaceMacro() {
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

std::string FunctionWriter::access(const std::string &macro, const Operand &where, unsigned bytes, const char *how) {
  return macro + "(t, " + siteText() + ", " + address(where) + ", " + number(bytes) + ", " + how + ")";
}

void FunctionWriter::writeLoad() {
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

void FunctionWriter::writeStore() {
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

void FunctionWriter::writeAddress() {
  kind(InstructionClass::Integer);
  allow({"to", "global", "shared", "local", "const", "param"});
  if (!count(2))
    return;
  std::string text = raw(operand(1));
  if (has("shared"))
    text = "(u64)" + text + (has("to") ? " - " : " + ") + "(u64)t->block->shared";
  assign(0, type(), text);
}

void FunctionWriter::writeIsSpace() {
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

void FunctionWriter::writeCopy() {
  kind(InstructionClass::Global);
  if (!has("async") || has("bulk") || has("mbarrier"))
    return unknown("'" + now->opcode[0] + (now->opcode.size() > 2 ? "." + now->opcode[1] + "." + now->opcode[2] : "") +
                   "'");
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
  out += " t->block->api->copyAsync(t, " + siteText() + ", (u32)(" + address(operand(0)) + "), " + address(operand(1)) +
         ", " + number(bytes) + ", " + source + ");";
}

void FunctionWriter::writeAtomic() {
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

} // namespace morph::standin
