// SPDX-License-Identifier: Apache-2.0
// Branches, calls, barriers, and what the lanes of a warp do together.

#include "test/cuda/driver/FunctionWriter.h"

namespace morph::standin {

std::string FunctionWriter::labelText(const std::string &name) {
  auto label = labels.find(name);
  if (label == labels.end() || tables.count(name)) {
    failed(now->line, "label '" + name + "' is not defined");
    return "L0";
  }
  return "L" + number(label->second);
}

void FunctionWriter::writeBranch() {
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

void FunctionWriter::writeCall() {
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

void FunctionWriter::writeEnd() {
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

void FunctionWriter::writeBarrier() {
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

void FunctionWriter::writeFence() {
  // Fibers change only where they wait, and memory is one: nothing to do. Hints neither.
  kind(InstructionClass::Control);
  allow({"cta", "gl", "gpu", "sys", "sc", "acq_rel", "global", "local", "L1", "L2"});
}

void FunctionWriter::writeShuffle() {
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
  assignPair({"b32"}, "t->out[0]", "t->predicate");
}

void FunctionWriter::writeVote() {
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

void FunctionWriter::writeMma() {
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

void FunctionWriter::writeLoadMatrix() {
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

} // namespace morph::standin
