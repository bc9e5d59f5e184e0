// SPDX-License-Identifier: Apache-2.0
// Plans survive writing and reading, byte for byte.

#include "test/plan/PlanBuilder.h"

#include <cstdio>
#include <fstream>

namespace morph {
namespace {

TEST(PlanTest, RoundTripGivesTheSameBytes) {
  plan::Plan plan = smallTrainingPlan();
  plan.ropeTables["rope"] = {{1, 0.1, 1.0 / 3}, 1.25};
  plan.weights[0].init = plan::Init{"repeat_heads", "source.weight", 11, 1, 0, {}};
  plan.weights[3].init = plan::Init{"normal", "", 0, 0, 0.02, {}};
  std::string text = plan::printPlan(plan);
  auto parsed = plan::parsePlan(text, "plan.json");
  ASSERT_TRUE(parsed.ok()) << parsed.status().message();
  EXPECT_EQ(plan::printPlan(*parsed), text);
  EXPECT_EQ(parsed->weights[0].init->heads, 11);
  EXPECT_EQ(parsed->ropeTables.at("rope").inverseFrequencies[2], 1.0 / 3);
  EXPECT_EQ(std::get<double>(parsed->instructions[1].attributes.at("eps")), 1e-5);
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

TEST(PlanTest, EveryOpHasAShapeRule) {
  for (const std::string &op : plan::opNames()) {
    const plan::OpRule &rule = *plan::findOpRule(op);
    plan::Plan plan;
    plan::Instruction instruction;
    instruction.op = op;
    for (const plan::AttributeRule &attribute : rule.attributes)
      switch (attribute.kind) {
      case plan::AttributeKind::Flag:
        break;
      case plan::AttributeKind::Integer:
        instruction.attributes[attribute.name] = int64_t(1);
        break;
      case plan::AttributeKind::Real:
        instruction.attributes[attribute.name] = 1.0;
        break;
      case plan::AttributeKind::Text:
        instruction.attributes[attribute.name] = std::string("x");
        break;
      }
    // Absent operands everywhere: an error, but not that the rule is missing, and no crash.
    std::vector<const std::vector<plan::Dim> *> operands(plan::expectedOperands(instruction, rule), nullptr);
    auto shapes = plan::inferShapes(plan, instruction, operands);
    std::string message = shapes.ok() ? "" : shapes.status().message();
    EXPECT_EQ(message.find("no shape rule"), std::string::npos) << op;
  }
}

} // namespace
} // namespace morph
