// SPDX-License-Identifier: Apache-2.0
// Expressions of the mixer language: text to trees and back, values, and texts that try to break the parser.

#include "dialect/Expression.h"

#include <gtest/gtest.h>

#include <cmath>

namespace morph {
namespace {

/// The canonical text, or the error with the range it stands at.
std::string printed(const std::string &text) {
  TextError error;
  if (std::optional<Expression> expression = parseExpression(text, error))
    return printExpression(*expression);
  std::string where = std::to_string(error.begin) + "-" + std::to_string(error.end);
  return where + ": " + error.message + (error.note.empty() ? "" : " (" + error.note + ")");
}

/// The tree with a bracket around every operation.
std::string tree(const Expression &expression) {
  std::string text = expression.text;
  for (size_t i = 0; i < expression.children.size(); ++i) {
    std::string op = getOperator(expression.kind).str();
    text += i == 0 ? "(" : op.empty() ? "," : op;
    text += tree(expression.children[i]);
  }
  std::string prefix = expression.kind == Expression::Kind::Negate ? "-"
                       : expression.kind == Expression::Kind::Not  ? "!"
                                                                   : "";
  return prefix + text + (expression.children.empty() ? "" : ")");
}

std::string treeOf(const std::string &text) {
  TextError error;
  std::optional<Expression> expression = parseExpression(text, error);
  return expression ? tree(*expression) : error.message;
}

std::optional<double> lookUp(llvm::StringRef name) {
  if (name == "H")
    return 6;
  if (name == "base.qk_norm")
    return 1;
  return std::nullopt;
}

std::string number(const std::string &text) {
  TextError error;
  std::optional<Expression> expression = parseExpression(text, error);
  std::optional<double> value = expression ? evaluateNumber(*expression, lookUp, error) : std::nullopt;
  if (value)
    return std::to_string(*value);
  return std::to_string(error.begin) + "-" + std::to_string(error.end) + ": " + error.message;
}

std::string size(const std::string &text) {
  TextError error;
  std::optional<Expression> expression = parseExpression(text, error);
  auto lookup = [](llvm::StringRef name) -> std::optional<int64_t> {
    if (name == "smallest")
      return INT64_MIN;
    return name == "H" ? std::optional<int64_t>(6) : std::nullopt;
  };
  std::optional<int64_t> value = expression ? evaluateSize(*expression, lookup, error) : std::nullopt;
  return value ? std::to_string(*value) : error.message;
}

std::string repeated(const std::string &text, int times) {
  std::string result;
  for (int i = 0; i < times; ++i)
    result += text;
  return result;
}

TEST(ExpressionTest, BindsAsInPython) {
  EXPECT_EQ(treeOf("a + b * c - d"), "((a+(b*c))-d)");
  EXPECT_EQ(treeOf("-a ^ 2 ^ -b"), "-((a^(2^-(b))))");
  EXPECT_EQ(treeOf("a * -b / c"), "((a*-(b))/c)");
  EXPECT_EQ(treeOf("not a == b and c or not not d"), "((!((a==b))andc)or!(!(d)))");
  EXPECT_EQ(treeOf("a < b + 1 and base.x > 2"), "((a<(b+1))and(base.x>2))");
  EXPECT_EQ(treeOf("f(a, g(b) + 1, scale = -1,)"), "f(a,(g(b)+1),-(1))");
  EXPECT_EQ(treeOf("f()"), "f");
}

TEST(ExpressionTest, PrintsTheFewestBrackets) {
  for (const char *text : {"a - (b - c)",     "a - b - c",        "(a + b) * c",  "a / (b / c)",
                           "(-a) ^ 2",        "-a ^ 2",           "(a ^ b) ^ c",  "a ^ b ^ c",
                           "a ^ -b",          "a ^ (b + c)",      "-(a + b)",     "-(-a) * b",
                           "not (a and b)",   "(not a) == b",     "a == (b < c)", "(a < b) == (c < d)",
                           "a and (b and c)", "(a or b) and c",   "-(not a)",     "f(a, b = c or d) ^ 2",
                           "1e-3 * 0.50",     "f((a < g(b)) < c)"}) {
    std::string expected = text == std::string("-(-a) * b") ? "--a * b" : text;
    EXPECT_EQ(printed(text), expected);
    EXPECT_EQ(treeOf(printed(text)), treeOf(text));
  }
  EXPECT_EQ(printed("((a))+((b)*(c))"), "a + b * c");
}

TEST(ExpressionTest, EndsWithItsLine) {
  TokenList list = readTokens("a +\n b * (c\n - d)\n - e");
  TokenReader reader(list.tokens);
  TextError error;
  std::optional<Expression> first = parseExpression(reader, error);
  ASSERT_TRUE(first);
  EXPECT_EQ(printExpression(*first), "a + b * (c - d)");
  EXPECT_TRUE(reader.peek().is("-"));
  EXPECT_EQ(first->begin, 0u);
  EXPECT_EQ(first->end, 17u);
}

TEST(ExpressionTest, ReportsWhatDoesNotFit) {
  EXPECT_EQ(printed(""), "0-0: expected a value, found the end of the text");
  EXPECT_EQ(printed("a +"), "3-3: expected a value, found the end of the text");
  EXPECT_EQ(printed("(a"), "2-2: expected ')', found the end of the text (the bracket is opened here)");
  EXPECT_EQ(printed("f(a b)"), "4-5: expected ',' or ')', found 'b' (the bracket is opened here)");
  EXPECT_EQ(printed("a b"), "2-3: expected an operator or the end of the text, found 'b'");
  EXPECT_EQ(printed("a < f(b) < c"), "9-10: comparisons follow each other");
  EXPECT_EQ(printed("f(a = 1, b)"), "9-10: an argument without a name follows one with a name");
  EXPECT_EQ(printed("a == not b"), "5-8: expected a value, found 'not'");
  EXPECT_EQ(printed("weight + 1"), "0-6: expected a value, found 'weight'");
  EXPECT_EQ(printed("a # b"), "2-3: this character has no meaning here");
  EXPECT_EQ(printed("\xC3\xA4"), "0-2: this character has no meaning here");
  EXPECT_EQ(printed(std::string("a \0 b", 5)), "2-3: this character has no meaning here");
  EXPECT_EQ(printed("3x"), "0-2: '3x' is neither a number nor a name");
  EXPECT_EQ(printed("\"a"), "0-2: this string has no end");
  EXPECT_EQ(printed("1e999"), "0-5: the number is too large");
  EXPECT_EQ(printed("a."), "1-2: this character has no meaning here");
}

TEST(ExpressionTest, HasLimits) {
  std::string deep = "the expression is nested deeper than 64 levels";
  EXPECT_EQ(treeOf(repeated("(", 200) + "a" + repeated(")", 200)), deep);
  EXPECT_EQ(treeOf(repeated("-", 100) + "a"), deep);
  EXPECT_EQ(treeOf(repeated("not ", 100) + "a"), deep);
  EXPECT_EQ(treeOf(repeated("a ^ ", 100) + "a"), deep);
  EXPECT_EQ(treeOf(repeated("a + ", 100) + "a"), deep);
  EXPECT_EQ(treeOf(repeated("f(", 100) + "a" + repeated(")", 100)), deep);
  EXPECT_EQ(treeOf(repeated("f(a, ", 600)), deep);
  EXPECT_EQ(treeOf("f(" + repeated("1, ", 64) + ")").substr(0, 4), "f(1,");
  EXPECT_EQ(treeOf("f(" + repeated("1, ", 65) + ")"), "a call has at most 64 arguments");
  EXPECT_EQ(treeOf(repeated("a + ", 2000) + "a"), "an expression of 8001 bytes, expected at most 4096");
  EXPECT_EQ(treeOf(std::string(101, 'a')), "a name of 101 bytes, expected at most 100");
  EXPECT_EQ(treeOf(std::string(101, '1')), "a number of 101 bytes, expected at most 100");
  EXPECT_NE(treeOf(repeated("a - (", 63) + "a" + repeated(")", 63)), deep);
  EXPECT_EQ(treeOf(repeated("a - (", 64) + "a" + repeated(")", 64)), deep);
  // What is just allowed prints and parses again, brackets and all.
  for (const char *level : {"a - (", "-(1 + ", "2 ^ -(", "f(-(", "(-(a * ("}) {
    std::string last;
    for (int levels = 1; levels < 100; ++levels) {
      std::string text = repeated(level, levels) + "a";
      text += std::string(std::count(text.begin(), text.end(), '('), ')');
      TextError error;
      std::optional<Expression> expression = parseExpression(text, error);
      if (!expression)
        break;
      std::optional<Expression> again = parseExpression(printExpression(*expression), error);
      ASSERT_TRUE(again) << error.message << "\n" << printExpression(*expression);
      EXPECT_TRUE(*again == *expression);
    }
  }
}

size_t depthOf(const Expression &expression) {
  size_t depth = 0;
  for (const Expression &child : expression.children)
    depth = std::max(depth, depthOf(child));
  return depth + 1;
}

TEST(ExpressionTest, MeasuresWhatItWouldPrint) {
  TextError error;
  for (const char *value :
       {"a", "2.50", "a - b", "-a", "a / b", "a ^ b", "a < b", "not c", "a and b", "f(a, k = b or c)"})
    for (const char *text : {"s", "s * s", "2 - s", "s - 2", "-s", "s ^ s ^ s", "(s < 2) == c",
                             "f(s, g(), k = s, long = -s)", "not s and s or not (s or s)", "s + s - s * s / s"}) {
      const Expression number = *parseExpression(value, error), expression = *parseExpression(text, error);
      const ExpressionExtent extent =
          measureExpression(number, [](llvm::StringRef) -> const ExpressionExtent * { return nullptr; });
      EXPECT_EQ(extent.bytes, printExpression(number).size()) << value;
      EXPECT_EQ(extent.depth, depthOf(number)) << value;
      const Expression whole = replaceNames(expression, [&](llvm::StringRef name) {
        return name == "s" ? &number : static_cast<const Expression *>(nullptr);
      });
      const ExpressionExtent measured = measureExpression(expression, [&](llvm::StringRef name) {
        return name == "s" ? &extent : static_cast<const ExpressionExtent *>(nullptr);
      });
      EXPECT_EQ(measured.bytes, printExpression(whole).size()) << printExpression(whole);
      EXPECT_EQ(measured.depth, depthOf(whole)) << printExpression(whole);
      EXPECT_EQ(measured.kind, whole.kind);
    }
}

TEST(ExpressionTest, EvaluatesNumbers) {
  EXPECT_EQ(number("2 ^ -1 + 7 / 2"), "4.000000");
  EXPECT_EQ(number("log(exp(3)) + sqrt(16) + min(1, 2) + max(1, 2) + abs(-3) + floor(2.5)"), "15.000000");
  EXPECT_EQ(number("H == 6 and base.qk_norm"), "1.000000");
  EXPECT_EQ(number("not H < 6"), "1.000000");
  EXPECT_EQ(number("(H != 6) + (H <= 6) + (H >= 6) + (H > 6)"), "2.000000");
  EXPECT_EQ(number("H < 6 and 1 / 0"), "0.000000");
  EXPECT_EQ(number("H == 6 or nothing"), "1.000000");
  EXPECT_EQ(number("0 or 7"), "1.000000");
  // The inverse of log(1 + exp(y)), also where y is small.
  TextError error;
  double y = *evaluateNumber(*parseExpression("inverse_softplus(1e-3)", error), lookUp, error);
  EXPECT_NEAR(std::log1p(std::exp(y)), 1e-3, 1e-15);
}

TEST(ExpressionTest, ReportsNumbersThatAreNone) {
  EXPECT_EQ(number("1 + K"), "4-5: 'K' has no value here");
  EXPECT_EQ(number("1 / (H - 6)"), "4-11: '1 / (H - 6)' divides by zero");
  EXPECT_EQ(number("1 + log(0)"), "4-10: 'log(0)' is not finite");
  EXPECT_EQ(number("(-8) ^ 0.5"), "0-10: '(-8) ^ 0.5' is not finite");
  EXPECT_EQ(number("exp(exp(H) * 2)"), "0-15: 'exp(exp(H) * 2)' is not finite");
  EXPECT_EQ(number("10 ^ 400"), "0-8: '10 ^ 400' is not finite");
  EXPECT_EQ(number("silu(1)"), "0-7: 'silu' is no function of numbers");
  EXPECT_EQ(number("max(1)"), "0-6: 'max' takes 2 numbers");
  EXPECT_EQ(number("exp(x = 1)"), "0-10: 'exp' takes 1 number");
}

TEST(ExpressionTest, EvaluatesSizesExactly) {
  EXPECT_EQ(size("H * 128 / 3"), "256");
  EXPECT_EQ(size("2 ^ H - 1 ^ 1000000000 + (0 - 1) ^ 2000000001"), "62");
  EXPECT_EQ(size("max(16, floor(H / 4)) + min(3, H) + abs(2 - H) + floor(H)"), "29");
  EXPECT_EQ(size("floor(-7 / 2) + 5"), "1");
  EXPECT_EQ(size("2147483647"), "2147483647");
}

TEST(ExpressionTest, ReportsSizesThatAreNone) {
  EXPECT_EQ(size("H / 4"), "'H / 4' is 6 / 4, not whole");
  EXPECT_EQ(size("H / (H - 6)"), "'H / (H - 6)' divides by zero");
  EXPECT_EQ(size("floor(H / 0)"), "'H / 0' divides by 0, expected more than 0");
  EXPECT_EQ(size("H - 6"), "'H - 6' is 0, expected a size from 1 to 2147483647");
  EXPECT_EQ(size("2 ^ 31"), "'2 ^ 31' is 2147483648, expected a size from 1 to 2147483647");
  EXPECT_EQ(size("2 ^ 63"), "'2 ^ 63' is too large for a size");
  EXPECT_EQ(size("2 ^ (0 - 1)"), "'2 ^ (0 - 1)' has the exponent -1, expected 0 or more");
  EXPECT_EQ(size("3000000000"), "'3000000000' is too large for a size");
  EXPECT_EQ(size("smallest / -1"), "'smallest / -1' is too large for a size");
  EXPECT_EQ(size("abs(smallest)"), "'abs' is no function of sizes");
  EXPECT_EQ(size("-smallest"), "'-smallest' is too large for a size");
  EXPECT_EQ(size("smallest - 1"), "'smallest - 1' is too large for a size");
  EXPECT_EQ(size("H * 0.5"), "'0.5' is no whole number");
  EXPECT_EQ(size("K"), "'K' is no size that has a value here");
  EXPECT_EQ(size("log(H)"), "'log' is no function of sizes");
  EXPECT_EQ(size("H == 6"), "'H == 6' is no size");
}

} // namespace
} // namespace morph
