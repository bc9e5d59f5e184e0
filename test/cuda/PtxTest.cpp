// SPDX-License-Identifier: Apache-2.0
// The parser and the translator by themselves: what they refuse, with its line, and texts of any origin.

#include "test/cuda/driver/Ptx.h"
#include "test/cuda/CudaTesting.h"
#include "test/cuda/driver/Translate.h"

#include <filesystem>
#include <unistd.h>

namespace morph {
namespace {

using standin::parsePtx;
using standin::translate;
using testing::HasSubstr;

/// What is wrong with a text; nothing where it is fine.
std::string complaint(const std::string &text) {
  auto module = parsePtx(text);
  if (!module.ok())
    return module.status().message();
  auto translation = translate(*module);
  return translation.ok() ? "" : translation.status().message();
}
std::string complaintOfBody(const std::string &body) { return complaint(kernelText("u64 a", body)); }

std::vector<std::string> ptxFiles() {
  std::vector<std::string> names;
  for (const auto &entry : std::filesystem::directory_iterator(ptxFolder()))
    if (entry.path().extension() == ".ptx")
      names.push_back(entry.path().filename());
  return names;
}

TEST(PtxTest, FilesAreKnownAndAssembled) {
  EXPECT_GE(ptxFiles().size(), 4u);
  for (const std::string &name : ptxFiles()) {
    EXPECT_EQ(complaint(readPtx(name)), "") << name;
    EXPECT_EQ(assemble(readPtx(name)), "") << name;
  }
  // Where the assembler is, it does look.
  if (::access(MORPH_PTXAS, X_OK) == 0) {
    EXPECT_THAT(assemble("x"), HasSubstr("ptxas"));
  }
}

TEST(PtxTest, Module) {
  auto module = parsePtx(readPtx("calls.ptx"));
  ASSERT_TRUE(module.ok()) << module.status().message();
  EXPECT_EQ(module->version, 75);
  EXPECT_EQ(module->target, 80);
  ASSERT_EQ(module->functions.size(), 2u);
  EXPECT_EQ(module->functions[0].name, "pick");
  EXPECT_FALSE(module->functions[0].isEntry);
  EXPECT_EQ(module->functions[0].parameters[1].bytes, 16u);
  EXPECT_TRUE(module->functions[1].isEntry);
  EXPECT_EQ(module->variables[0].name, "table");
  EXPECT_EQ(module->variables[0].bytes, 16u);
  EXPECT_EQ(module->variables[0].initial[4].bits, 20u);
}

TEST(PtxTest, WhatTheParserRefuses) {
  EXPECT_EQ(complaint(""), "line 1: there is no .version");
  EXPECT_EQ(complaint(".version 7.0\n"), "line 2: there is no .target");
  EXPECT_EQ(complaint(".version 7.0\n.target sm_80\n.address_size 32\n"),
            "line 4: only addresses of 64 bits are known");
  EXPECT_EQ(complaint(".version 7.0\n.target sm_80\n.tex .u32 t;\n"), "line 3: '.tex' is not known here");
  EXPECT_EQ(complaint(".version 7.0\n.target sm_80\n/* and then"), "line 3: a comment without its end");
  EXPECT_EQ(complaint(".version 7.0\n.target sm_80\n.global .b8 v[99999999999999];\n"),
            "line 3: variable 'v' is too large");
  EXPECT_EQ(complaint(".version 7.0\n.target sm_80\n.entry k() { .reg .b32 %r<2>; mov.u32 %r2, 0; }"),
            "line 3: register '%r2' is not declared");
  EXPECT_EQ(complaint(".version 7.0\n.target sm_80\n.entry k() { ret"), "line 3: expected an operand before ''");
  EXPECT_EQ(complaint(".version 7.0\n.target sm_80\n.entry k() { ret;"), "line 3: a '{' without its '}'");
  EXPECT_THAT(complaint(".version 7.0\n.target sm_80\n.entry k() " + std::string(100000, '{')),
              HasSubstr("braces too deep"));
  EXPECT_THAT(complaint(".version 7.0\n.target sm_80\n.entry k() { mov.b32 " + std::string(100000, '{')),
              HasSubstr("operands too deep"));
  EXPECT_THAT(complaint(".version 7.0\n.target sm_80\n.global .b8 v[4] = " + std::string(100000, '{')),
              HasSubstr("too large an initial value"));
  EXPECT_THAT(complaint(".version 7.0\n.target sm_80\n.entry k() .reqnctapercluster 2 { }"),
              HasSubstr("'.reqnctapercluster' of a function is not known"));
  EXPECT_THAT(complaint(std::string("\0\1", 2)), HasSubstr("a character that PTX does not have"));
}

TEST(PtxTest, WhatIsNotKnownIsNamed) {
  const std::pair<const char *, const char *> cases[] = {
      {"match.any.sync.b32 %r1, %r2, -1;",
       "line 14: `match.any.sync.b32 %r1, %r2, -1`: 'match' is not known to the stand-in"},
      {"redux.sync.add.s32 %r1, %r2, -1;", "'redux' is not known"},
      {"mbarrier.init.shared.b64 [%r1], 1;", "'mbarrier' is not known"},
      {"wgmma.fence.sync.aligned;", "'wgmma' is not known"},
      {"cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], [%rd1], 16, [%r2];",
       "'cp.async.bulk' is not known"},
      {"cp.async.mbarrier.arrive.shared.b64 [%r1];", "'cp.async.mbarrier' is not known"},
      {"mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%fd1, %fd2}, {%fd3}, {%fd4}, {%fd1, %fd2};",
       "this shape of 'mma' is not known"},
      {"mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%r1,%r2,%r3,%r4}, {%r1,%r2}, {%r3}, {%r1,%r2,%r3,%r4};",
       "this shape of 'mma' is not known"},
      {"ldmatrix.sync.aligned.m16n16.x1.trans.shared.b8 {%r1,%r2}, [%r3];", "'.m16n16' is not known"},
      {"atom.global.add.noftz.bf16x2 %r1, [%rd0], %r2;", "'.noftz' is not known"},
      {"ld.global.v8.f32 {%f1,%f2,%f3,%f4,%f5,%f6,%f7,%f8}, [%rd0];", "'.v8' is not known"},
      {"st.async.shared::cluster.mbarrier::complete_tx::bytes.b32 [%r1], %r2, [%r3];", "'.async' is not known"},
      {"cvt.rn.satfinite.e4m3x2.f32 %rs1, %f1, %f2;", "'.satfinite' is not known"},
      {"mov.u32 %r1, %clock;", "'%clock' is not known"},
      {"bar.arrive 1, 64;", "'.arrive' is not known"},
      {"bar.red.popc.u32 %r1, 0, %p1;", "'.red' is not known"},
      {"shfl.bfly.b32 %r1, %r2, 1, 31;", "'shfl' without '.sync' is not known"},
      {"barrier.cluster.arrive;", "'.cluster' is not known"},
      {"fence.proxy.async;", "'.proxy' is not known"},
      {"tanh.approx.bf16x2 %r1, %r2;", "this type is not known"},
      {"set.gt.f32.f32 %f1, %f2, %f3;", "'set' to f32 is not known"},
      {"add.rm.f16 %rs1, %rs2, %rs3;", "this rounding is not known"},
      {"setmaxnreg.inc.sync.aligned.u32 40;", "'setmaxnreg' is not known"},
      {"call.uni %rd1, (), p;", "a call through a pointer is not known"},
      {"call.uni other;", "function 'other' is not defined here"},
      {"mov.u64 %r1, 5;", "register '%r1' is of type .b32"},
      {"mov.u32 %r1, nothing;", "'nothing' is not declared"},
      {"bra $L_nowhere;", "label '$L_nowhere' is not defined"},
      {"add.s32 %r1, %r2;", "has 2 operands"},
      {"ld.global.f32 %f1, %rd0;", "an address is missing"},
      {"ld.global.f32 %f1, [%f2];", "the address is in a register of type .f32"},
      {"@%r1 ret;", "'%r1' is no predicate"},
      {"cp.async.cg.shared.global [%r1], [%rd0], 8;", "cp.async copies 4, 8 (.ca) or 16 bytes"},
  };
  for (auto [instruction, part] : cases) {
    std::string found = complaintOfBody(std::string("  ") + instruction + "\n");
    EXPECT_THAT(found, HasSubstr(part)) << instruction;
  }
}

TEST(PtxTest, WhatTheModuleRefuses) {
  std::string head = ".version 7.0\n.target sm_80\n";
  EXPECT_THAT(complaint(head + ".func f() { call.uni f; ret; }\n"), HasSubstr("function 'f' calls itself"));
  EXPECT_THAT(complaint(head + ".func f();\n.func g() { call.uni f; ret; }\n.func f() { call.uni g; ret; }\n"),
              HasSubstr("calls itself"));
  EXPECT_THAT(complaint(head + ".shared .b8 s[60000];\n.entry k() { .reg .b32 %r<2>; mov.u32 %r1, s; }\n"),
              HasSubstr("kernel 'k' uses too much shared data"));
  EXPECT_EQ(complaint(head + ".shared .b8 s[60000];\n.entry k() { ret; }\n"), "");
  EXPECT_THAT(complaint(head + ".global .u32 v;\n.global .u32 v;\n"), HasSubstr("variable 'v' is defined twice"));
  EXPECT_THAT(complaint(head + ".entry k() { ret; }\n.entry k() { ret; }\n"),
              HasSubstr("function 'k' is defined twice"));
  EXPECT_THAT(complaint(head + ".entry k(.param .align 8 .b8 p[5000]) { ret; }\n"),
              HasSubstr("more than 4 KiB of parameters"));
}

// Texts that were changed at random are refused or translated.
TEST(PtxTest, HostileTexts) {
  std::mt19937 random(3);
  for (const std::string &name : ptxFiles()) {
    std::string text = readPtx(name);
    for (int i = 0; i < 150; ++i) {
      std::string changed = text;
      for (unsigned k = random() % 4 + 1; k > 0; --k) {
        size_t at = random() % changed.size(), n = std::min<size_t>(random() % 12, changed.size() - at);
        switch (random() % 4) {
        case 0:
          changed.erase(at, n);
          break;
        case 1:
          changed.insert(at, changed.substr(random() % changed.size(), n));
          break;
        case 2:
          changed[at] = char(random() % 256);
          break;
        default:
          changed.resize(std::max<size_t>(at, 100));
          break;
        }
      }
      complaint(changed);
    }
  }
}

} // namespace
} // namespace morph
