// SPDX-License-Identifier: Apache-2.0
// The mixer language as the compiler sees it: the checked tree, the table of functions, the limits of files. Errors
// have their own tests, morph-*.test.

#include "frontends/morph/Check.h"
#include "frontends/morph/Parser.h"
#include "runtime/plan/OpTable.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace morph::language {
namespace {

using testing::HasSubstr;
using testing::Not;

/// A text with what reading it gives.
struct Reading {
  explicit Reading(const std::string &text) : os(errors), diagnostics("test", os) {
    file = readMixers(diagnostics.addText("a.morph", text), diagnostics);
    diagnostics.flush();
  }

  std::string errors;
  llvm::raw_string_ostream os;
  Diagnostics diagnostics;
  std::unique_ptr<CheckedFile> file;
};

/// A mixer of some lines, the last of which assigns y.
std::string mixer(const std::string &lines) { return "mixer a {\n" + lines + "\nreturn x\n}\n"; }

/// The type of y after some lines, or the errors.
std::string typeOf(const std::string &lines) {
  Reading reading(mixer(lines));
  if (!reading.file)
    return reading.errors;
  const CheckedMixer &checked = reading.file->mixers.front();
  return printType(checked.types.lookup(&checked.mixer->statements.back().value));
}

std::string repeated(const std::string &text, size_t times) {
  std::string result;
  for (size_t i = 0; i < times; ++i)
    result += text;
  return result;
}

TEST(MorphLanguageTest, InfersKindsAndShapes) {
  EXPECT_EQ(typeOf("y = 2 * H ^ -0.5"), "a number");
  EXPECT_EQ(typeOf("y = (H > G) + 1"), "a number");
  EXPECT_EQ(typeOf("y = base.qk_norm and not H == G"), "a condition");
  EXPECT_EQ(typeOf("y = base_q(x)"), "an activation [H, D]");
  EXPECT_EQ(typeOf("y = base_k(x, heads = G)"), "an activation [G, D]");
  EXPECT_EQ(typeOf("y = merge(base_q(x)) * 2 - 1"), "an activation [H * D]");
  EXPECT_EQ(typeOf("y = split(merge(base_q(x)), H)"), "an activation [H, D]");
  EXPECT_EQ(typeOf("dim K = D / 2\ny = split(merge(base_q(x)), 2 * H)"), "an activation [2 * H, D / 2]");
  EXPECT_EQ(typeOf("weight w [H] = 1\ny = -exp(w) / 2"), "a weight [H]");
  EXPECT_EQ(typeOf("weight w [H] = 1\ny = expand(w, D)"), "a weight [H, D]");
  EXPECT_EQ(typeOf("weight w [D] = 1\ny = w * base_q(x)"), "an activation [H, D]");
  EXPECT_EQ(typeOf("weight w [7, D] = 1\ny = project(base_q(x), w)"), "an activation [H, 7]");
  EXPECT_EQ(typeOf("dim K = max(D, 16)\nweight w [K, M] = 1\ny = project(x, w)"), "an activation [K]");
  EXPECT_EQ(typeOf("dim K = D / 2\nweight w [K * 2 * H, M] = 1\ny = base_o(project(x, w))"), "an activation [M]");
}

TEST(MorphLanguageTest, KeepsWhatCallsAreOf) {
  Reading reading(mixer("weight w [H] = 1\n"
                        "y = recurrence(base_q(x, ), v = base_v(x), k = base_q(x), chunk = 32, decay = w)\n"
                        "z = split(x, 3)\n"
                        "z = recurrence(base_k(x, heads = G), base_k(x, heads = G), base_v(x))"));
  ASSERT_TRUE(reading.file) << reading.errors;
  const CheckedMixer &checked = reading.file->mixers.front();
  const Expression &call = checked.mixer->statements.front().value;
  const CheckedCall found = checked.calls.lookup(&call);
  ASSERT_TRUE(found.function);
  EXPECT_EQ(found.function->name, "recurrence");
  std::vector<std::string> arguments;
  for (auto [parameter, argument] : llvm::zip(found.function->parameters, found.arguments))
    if (argument)
      arguments.push_back(parameter.name + " = " + printExpression(*argument));
  EXPECT_THAT(arguments,
              testing::ElementsAre("q = base_q(x)", "k = base_q(x)", "v = base_v(x)", "decay = w", "chunk = 32"));
  EXPECT_EQ(found.sizes.at("R").print(), "H");
  EXPECT_EQ(found.sizes.at("K").print(), "D");
  // What only a model's sizes can tell.
  ASSERT_EQ(checked.divisions.size(), 2u);
  EXPECT_EQ(checked.divisions[0].divisor.print() + " | " + checked.divisions[0].dividend.print(), "3 | M");
  EXPECT_EQ(checked.divisions[1].divisor.print() + " | " + checked.divisions[1].dividend.print(), "G | H");
  EXPECT_EQ(checked.weightShapes, std::vector<Shape>{{SizePolynomial::makeName("H")}});
}

TEST(MorphLanguageTest, TakesElementwiseFunctionsFromTheOpTable) {
  const auto &functions = getTensorFunctions();
  for (const char *name : {"silu", "sigmoid", "softplus", "exp", "gelu_tanh", "quick_gelu"})
    EXPECT_TRUE(functions.count(name)) << name;
  // Ops of several operands, with attributes, or that are no expression of elements.
  for (const char *name : {"add", "swiglu", "scale", "cast", "split_heads", "silu_grad"})
    EXPECT_FALSE(functions.count(name)) << name;
  for (const auto &[name, function] : functions) {
    EXPECT_EQ(name, function.name);
    EXPECT_FALSE(function.summary.empty());
    for (const Parameter &parameter : function.parameters)
      EXPECT_FALSE(parameter.forms.empty()) << function.signature;
  }
}

TEST(MorphLanguageTest, DefaultsOfParametersAreInTheTable) {
  const TensorFunction &recurrence = *findTensorFunction("recurrence");
  std::vector<std::string> defaults;
  for (const Parameter &parameter : recurrence.parameters)
    if (!parameter.required)
      defaults.push_back(parameter.name + " " + (parameter.fallback ? printExpression(*parameter.fallback) : "none"));
  EXPECT_THAT(defaults, testing::ElementsAre("decay none", "beta none", "erase none", "write none", "bonus none",
                                             "scale K ^ -0.5", "normaliser none", "chunk 64"));
}

TEST(MorphLanguageTest, FilesHaveLimits) {
  auto errors = [](const std::string &text) { return Reading(text).errors; };
  EXPECT_THAT(errors(std::string((1 << 20) + 1, ' ')), HasSubstr("a file of 1048577 bytes, expected at most 1048576"));
  EXPECT_THAT(errors(mixer(repeated("y = x\n", 999))), "");
  EXPECT_THAT(errors(mixer(repeated("y = x\n", 1000))), HasSubstr("a declaration has at most 1000 lines"));
  EXPECT_THAT(errors(mixer("if H == 1 {\n" + repeated("y = x\n", 1000) + "}")), HasSubstr("at most 1000 lines"));
  EXPECT_THAT(errors(mixer(repeated("if H == 1 {\n", 64) + repeated("}\n", 64))), "");
  EXPECT_THAT(errors(mixer(repeated("if H == 1 {\n", 65) + repeated("}\n", 65))),
              HasSubstr("ifs are nested deeper than 64 levels"));
  EXPECT_THAT(errors(mixer(std::string(100, 'y') + " = x")), "");
  EXPECT_THAT(errors(mixer(std::string(101, 'y') + " = x")), HasSubstr("a name of 101 bytes, expected at most 100"));
  std::string many;
  for (int i = 0; i < 65; ++i)
    many += "mixer a" + std::to_string(i) + " {\nreturn x\n}\n";
  EXPECT_THAT(errors(many), HasSubstr("a file has at most 64 declarations"));
  std::string options = "o0: 1 = 1";
  for (int i = 1; i < 65; ++i)
    options += ", o" + std::to_string(i) + ": 1 = 1";
  EXPECT_THAT(errors("mixer a(" + options + ") {\nreturn x\n}\n"), HasSubstr("a mixer has at most 64 options"));
  EXPECT_THAT(errors(mixer("weight w [1, 1, 1, 1, 1] = 1\ny = w")), HasSubstr("a weight has at most 4 sizes"));
  EXPECT_THAT(errors("mixer a {\n\"\xff\""), HasSubstr("a.morph:2:2: error: this is not UTF-8"));
  EXPECT_THAT(errors(repeated("mixer\n", 100000)), HasSubstr("expected the mixer's name"));
  EXPECT_THAT(errors(mixer("y = " + repeated("(\n", 900))), HasSubstr("nested deeper than 64"));
  EXPECT_THAT(errors(mixer(repeated("y = (\n", 900))), Not(HasSubstr("more errors are not shown")));
}

TEST(MorphLanguageTest, WhatIsWrittenOutHasLimits) {
  auto errors = [](const std::string &lines) { return Reading(mixer(lines)).errors; };
  // Each line's number is twice as long as that of the line before, or a level deeper.
  EXPECT_EQ(errors("s = M + 1\n" + repeated("s = s * s\n", 8) + "y = x * s"), "");
  std::string twice = errors("s = M + 1\n" + repeated("s = s * s\n", 200) + "y = x * s");
  EXPECT_THAT(twice, HasSubstr("a.morph:11:5: error: written out, this has 5627 bytes, expected at most 4032"));
  EXPECT_THAT(twice, HasSubstr("hint: a number stands in full wherever its name is read"));
  EXPECT_THAT(twice, Not(HasSubstr("a.morph:12:")));
  EXPECT_EQ(errors("s = M + 1\n" + repeated("s = s + 1\n", 59) + "y = x / s"), "");
  std::string deeper = errors("s = M + 1\n" + repeated("s = s + 1\n", 80) + "y = x / s");
  EXPECT_THAT(deeper,
              HasSubstr("a.morph:62:5: error: written out, this is nested 62 levels deep, expected at most 61"));
  EXPECT_THAT(deeper, Not(HasSubstr("a.morph:63:")));
  // In what is no statement of its own, too.
  std::string nearly = "s = M + 1\n" + repeated("s = s * s\n", 8);
  EXPECT_THAT(errors(nearly + "y = x * (s - s)"), HasSubstr("a.morph:11:9: error: written out, this has 5625 bytes"));
  EXPECT_THAT(errors(nearly + "y = base_q(x, norm = s + s)"), HasSubstr("written out, this has 5625 bytes"));

  std::string dims, sum = "0", product = "1", same = "0";
  std::vector<std::string> names;
  for (int i = 0; i < 50; ++i) {
    names.push_back(std::string(97, 'n') + std::to_string(i + 10));
    dims += "dim " + names.back() + " = floor(M / 2)\n";
    sum += " + " + names.back();
    same += " + " + names.front();
    if (i < 15)
      product += " * " + names.back();
  }
  // The first part that is too long, from the left.
  const std::string tooLong = "written out, this has 4183 bytes, expected at most 4096";
  EXPECT_THAT(errors(dims + "dim K = " + sum), HasSubstr(tooLong));
  EXPECT_THAT(errors(dims + "require " + sum + " > 1, \"why\""), HasSubstr(tooLong));
  EXPECT_THAT(errors(dims + "weight w [M] = " + sum), HasSubstr(tooLong));
  EXPECT_THAT(errors(dims + "y = split(x, " + same + ")"),
              HasSubstr("written out, this has 5101 bytes, expected at most 4032"));
  // Of sizes with short names, what they are of.
  dims += "dim P = " + product + "\ndim K = P + P * " + names[0] + " + P * " + names[1] + "\nweight w [K, M] = 1\n";
  EXPECT_EQ(errors(dims + "y = split(project(x, w), 1)\ny = recurrence(y, y, y, scale = 1)"), "");
  EXPECT_THAT(errors(dims + "y = split(project(x, w), 1)\ny = recurrence(y, y, y)"),
              HasSubstr("error: 'recurrence' has a size that takes "));
  EXPECT_THAT(errors(dims + "y = shift(project(x, w))"), HasSubstr("error: 'shift' has a size that takes "));
  // A product of sums that has no size at all.
  std::string sums;
  for (const char *name : {"E", "F"}) {
    sums += std::string("dim ") + name + " = 1";
    for (int i = 0; i < 8; ++i)
      sums += " + " + names[size_t(name[0] == 'E' ? i : i + 8)];
    sums += "\n";
  }
  EXPECT_THAT(errors(dims + sums + "weight v [E, M] = 1\ny = shift(expand(project(x, v), F))"),
              HasSubstr("error: the channels of 'shift' have no size"));
}

TEST(MorphLanguageTest, NumbersOfTheSameNameAreNotTheSame) {
  auto errors = [](const std::string &lines) { return Reading(mixer(lines)).errors; };
  EXPECT_EQ(errors("s = 1\ny = base_q(x, norm = s)\nz = base_q(x, norm = s)"), "");
  EXPECT_THAT(errors("s = 1\ny = base_q(x, norm = s)\ns = 0\nz = base_q(x, norm = s)"),
              HasSubstr("'base_q' has norm = 0 here, and 1 elsewhere"));
}

TEST(MorphLanguageTest, WhatCannotBeTooManyEndsInTime) {
  // Each line's polynomial would have twice the terms of the line before.
  std::string dims = "dim a0 = M + H\n";
  for (int i = 1; i < 300; ++i) {
    std::string last = "a" + std::to_string(i - 1), name = "a" + std::to_string(i);
    dims += "dim " + name + " = " + last + " * (" + last + " + " + (i % 2 ? "G" : "D") + ")\n";
  }
  EXPECT_EQ(Reading(mixer(dims)).errors, "");
  // Names that all have many others near them.
  std::string unknown, names;
  for (int i = 0; i < 490; ++i)
    names += "variable" + std::to_string(i) + " = x\n";
  for (int i = 0; i < 500; ++i)
    unknown += "y = max(" + repeated("max(variabel, variabel) + ", 30) + "1, 2)\n";
  EXPECT_THAT(Reading(mixer(names + unknown)).errors, HasSubstr("29900 more errors are not shown"));
  // Branches that each change all variables.
  std::string assigns, ifs;
  for (int i = 0; i < 480; ++i)
    assigns += "v" + std::to_string(i) + " = x\n";
  EXPECT_EQ(Reading(mixer(assigns + repeated("if H == 1 {\nv1 = x\n}\n", 250))).errors, "");
}

} // namespace
} // namespace morph::language
