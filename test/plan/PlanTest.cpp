// SPDX-License-Identifier: Apache-2.0
// Plans survive writing and reading, byte for byte.

#include "test/plan/PlanBuilder.h"

#include <cstdio>
#include <fstream>
#include <sstream>

namespace morph {
namespace {

TEST(PlanTest, RoundTripGivesTheSameBytes) {
  plan::Plan plan = smallTrainingPlan();
  plan.ropeTables["rope"] = {{1, 0.1, 1.0 / 3}, 1.25};
  plan.weights[0].init = plan::Init{"repeat_heads", "source.weight", 11, 1, 0, {}};
  plan.weights[3].init = plan::Init{"normal", "", 0, 0, 0.02, {}};
  plan.weights[0].init->pieces = {{"fused.weight", 0, 11}};
  plan.weights[2].pieces = {{"other.weight"}, {"fused.weight", 11, 12}};
  std::string text = plan::printPlan(plan);
  auto parsed = plan::parsePlan(text, "plan.json");
  ASSERT_TRUE(parsed.ok()) << parsed.status().message();
  EXPECT_EQ(plan::printPlan(*parsed), text);
  EXPECT_EQ(parsed->weights[0].init->heads, 11);
  EXPECT_EQ(parsed->weights[0].init->pieces.at(0).end, 11);
  EXPECT_EQ(parsed->weights[2].pieces.at(0).tensor, "other.weight");
  EXPECT_EQ(parsed->weights[2].pieces.at(1).begin, 11);
  EXPECT_EQ(parsed->ropeTables.at("rope").inverseFrequencies[2], 1.0 / 3);
  EXPECT_EQ(std::get<double>(parsed->instructions[1].attributes.at("eps")), 1e-5);
}

TEST(PlanTest, RoundTripKeepsTheUpdate) {
  const std::string text = plan::printPlan(withUpdate(smallTrainingPlan()));
  auto parsed = plan::parsePlan(text, "plan.json");
  ASSERT_TRUE(parsed.ok()) << parsed.status().message();
  ASSERT_NE(parsed->update, nullptr);
  EXPECT_EQ(plan::printPlan(*parsed), text);
}

TEST(PlanTest, RoundTripKeepsKernels) {
  plan::Plan plan = everyOpPlan();
  plan.kernelObject = "0123abcd";
  const std::string text = plan::printPlan(plan);
  auto parsed = plan::parsePlan(text, "plan.json");
  ASSERT_TRUE(parsed.ok()) << parsed.status().message();
  EXPECT_EQ(plan::printPlan(*parsed), text);
  EXPECT_EQ(plan::hashKernels(*parsed), plan::hashKernels(plan));
  EXPECT_EQ(parsed->kernelObject, "0123abcd");
}

TEST(PlanTest, WriteAndReadAFile) {
  std::string path = testing::TempDir() + "/morph-plan-test.json";
  ASSERT_TRUE(plan::writePlan(smallTrainingPlan(), path).ok());
  auto read = plan::readPlan(path);
  EXPECT_TRUE(read.ok()) << read.status().message();
  std::remove(path.c_str());
  auto missing = plan::readPlan(path);
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.status().exitCode(), 2);
  EXPECT_NE(missing.status().message().find("No such file"), std::string::npos) << missing.status().message();
}

TEST(PlanTest, WritingIntoAMissingFolderIsAnError) {
  Status status = plan::writePlan(smallTrainingPlan(), testing::TempDir() + "/no/such/folder/plan.json");
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.exitCode(), 1);
}

TEST(PlanTest, AnIntegerIsGoodEnoughForARealAttribute) {
  PlanBuilder b;
  int64_t x = b.input("x", {plan::Dim(int64_t(4))});
  b.output("y", b.op("scale", {x}, {{"factor", 2.0}}));
  std::string text = plan::printPlan(b.plan);
  text.replace(text.find("2.0"), 3, "2");
  auto parsed = plan::parsePlan(text, "p");
  ASSERT_TRUE(parsed.ok()) << parsed.status().message();
  EXPECT_EQ(std::get<double>(parsed->instructions[0].attributes.at("factor")), 2.0);
}

// What the generator does not check: rules name operands and attributes of the op, and results' letters are bound.
TEST(PlanTest, RulesOfEveryOpAreComplete) {
  for (const std::string &op : plan::opNames()) {
    const plan::OpRule &rule = *plan::findOpRule(op);
    auto isAttribute = [&](const std::string &name) {
      for (const plan::AttributeRule &attribute : rule.attributes)
        if (attribute.name == name)
          return true;
      return false;
    };
    std::string bound = "1";
    for (const plan::ShapeRule &constraint : rule.rules) {
      switch (constraint.kind) {
      case plan::RuleKind::Shape: {
        const int64_t index = rule.operandIndex(constraint.first);
        ASSERT_GE(index, 0) << op << ": " << constraint.first;
        if (rule.operands[static_cast<size_t>(index)].arity != plan::Arity::Optional)
          bound += constraint.second;
        break;
      }
      case plan::RuleKind::Size:
        bound += constraint.first;
        break;
      case plan::RuleKind::Last:
        bound += "~";
        EXPECT_GE(rule.operandIndex(constraint.first), 0) << op;
        EXPECT_TRUE(isAttribute(constraint.second)) << op;
        break;
      case plan::RuleKind::Trailing:
        EXPECT_GE(rule.operandIndex(constraint.first), 0) << op;
        EXPECT_GE(rule.operandIndex(constraint.second), 0) << op;
        break;
      case plan::RuleKind::Divides:
      case plan::RuleKind::AtMost:
        EXPECT_NE(bound.find(constraint.first), std::string::npos) << op;
        EXPECT_NE(bound.find(constraint.second), std::string::npos) << op;
        break;
      case plan::RuleKind::Range:
        EXPECT_TRUE(constraint.first[0] == '#' || isAttribute(constraint.first) ||
                    bound.find(constraint.first) != std::string::npos)
            << op << ": " << constraint.first;
        break;
      case plan::RuleKind::AtMostOne:
      case plan::RuleKind::Together: // The generator checks them.
        break;
      case plan::RuleKind::Positive:
      case plan::RuleKind::Real:
      case plan::RuleKind::OneOf:
      case plan::RuleKind::Table:
        EXPECT_TRUE(isAttribute(constraint.first)) << op << ": " << constraint.first;
        break;
      }
    }
    for (const plan::ResultRule &result : rule.results) {
      if (!result.shape.empty() && result.shape[0] == '=') {
        std::stringstream names(result.shape.substr(1));
        for (std::string name; std::getline(names, name, '|');)
          ASSERT_GE(rule.operandIndex(name), 0) << op;
      } else if (!result.shape.empty() && result.shape[0] == '?') {
        std::stringstream flags(result.shape);
        for (std::string flag, pattern; std::getline(std::getline(flags, flag, '='), pattern, '|');) {
          EXPECT_TRUE(isAttribute(flag.substr(1))) << op << ": " << flag;
          EXPECT_EQ(pattern.find_first_not_of(bound), std::string::npos) << op << ": " << pattern;
        }
      } else {
        EXPECT_EQ(result.shape.find_first_not_of(bound), std::string::npos) << op << ": " << result.shape;
      }
    }
    for (const plan::IndexRule &index : rule.indices) {
      ASSERT_GE(rule.operandIndex(index.operand), 0) << op;
      EXPECT_TRUE(rule.operands[static_cast<size_t>(rule.operandIndex(index.operand))].index) << op;
      EXPECT_EQ(index.letters.find_first_not_of(bound), std::string::npos) << op;
    }
    EXPECT_TRUE(rule.viewOf.empty() || rule.operandIndex(rule.viewOf) >= 0) << op;
  }
}

} // namespace
} // namespace morph
