// SPDX-License-Identifier: Apache-2.0
// A plan file is untrusted input: everything that can be wrong with it is refused with a message that says what.

#include "test/plan/PlanBuilder.h"

#include <nlohmann/json.hpp>

#include <functional>

namespace morph {
namespace {

using Json = nlohmann::json;

struct Malformed {
  const char *name;
  std::function<void(Json &)> damage;
  const char *message;
};

// Instructions of smallTrainingPlan: 0 embedding, 1 rms_norm, 2 linear, 3 add, 4 take_rows, 5 linear, 6 kl_divergence.
const Malformed kCases[] = {
    {"WrongFormat", [](Json &j) { j["format"] = "gguf"; }, "'format' is 'gguf'"},
    {"NoFormat", [](Json &j) { j.erase("format"); }, "'format' is missing"},
    {"NewerVersion", [](Json &j) { j["version"] = 2; }, "plan of version 2, this program reads version 1"},
    {"VersionIsText", [](Json &j) { j["version"] = "1"; }, "'version' must be an integer"},
    {"UnknownMember", [](Json &j) { j["extra"] = 1; }, "unknown member 'extra'"},
    {"UnknownOp", [](Json &j) { j["instructions"][2]["op"] = "softmax"; }, "instruction 2 (softmax): unknown op"},
    {"TooFewOperands", [](Json &j) { j["instructions"][2]["operands"].erase(2); }, "has 2 operands, expected 3"},
    {"TooManyResults", [](Json &j) { j["instructions"][2]["results"].push_back(0); }, "has 2 results, expected 1"},
    {"AbsentOperand", [](Json &j) { j["instructions"][2]["operands"][1] = -1; }, "'weight' is absent"},
    {"OperandOutOfRange", [](Json &j) { j["instructions"][2]["operands"][0] = 999; }, "value 999 is out of range"},
    {"NegativeOperand", [](Json &j) { j["instructions"][2]["operands"][0] = -7; }, "value -7 is out of range"},
    {"HugeOperand", [](Json &j) { j["instructions"][2]["operands"][0] = 1e300; }, "'operands' must be an array"},
    {"Cycle", [](Json &j) { j["instructions"][1]["operands"][0] = j["instructions"][3]["results"][0]; },
     "used before it is defined"},
    {"Redefinition", [](Json &j) { j["instructions"][3]["results"][0] = j["instructions"][2]["results"][0]; },
     "is defined twice"},
    {"UndefinedValue", [](Json &j) { j["values"].push_back({{"shape", {1}}, {"dtype", "f32"}}); }, "is never defined"},
    {"IndexIsFloat", [](Json &j) { j["instructions"][4]["operands"][1] = j["instructions"][4]["operands"][0]; },
     "operand 'positions' must be i64"},
    {"ShapesDisagree", [](Json &j) { j["instructions"][5]["operands"][1] = j["instructions"][1]["operands"][1]; },
     "expected 2 dimensions"},
    {"ResultShape", [](Json &j) { j["values"][j["instructions"][5]["results"][0].get<int>()]["shape"] = {"N", 12}; },
     "is declared as [N,12] but is [N,11]"},
    {"AttributeMissing", [](Json &j) { j["instructions"][1].erase("attributes"); }, "attribute 'eps' is missing"},
    {"AttributeKind", [](Json &j) { j["instructions"][1]["attributes"]["eps"] = "small"; }, "'eps' must be a finite"},
    {"AttributeIsNull", [](Json &j) { j["instructions"][1]["attributes"]["eps"] = nullptr; }, "attribute 'eps' must"},
    {"AttributeUnknown", [](Json &j) { j["instructions"][1]["attributes"]["bias"] = 1; }, "unknown attribute 'bias'"},
    {"WeightTwice", [](Json &j) { j["weights"][1]["name"] = j["weights"][0]["name"]; }, "given twice"},
    {"WeightShape", [](Json &j) { j["weights"][0]["shape"] = {11, 7}; }, "it has shape [11,7], its value [11,6]"},
    {"WeightDType", [](Json &j) { j["weights"][0]["dtype"] = "q4_1"; }, "unknown dtype 'q4_1'"},
    {"ZeroSize", [](Json &j) { j["values"][4]["shape"] = {0, 6}; }, "is out of range"},
    {"OverflowingShape", [](Json &j) { j["values"][4]["shape"] = {1ll << 40, 1ll << 40}; }, "is out of range"},
    {"NoGradientOutput", [](Json &j) { j["outputs"].erase(1); }, "trainable but has no output 'grad.norm.weight'"},
    {"GradientOfFrozen", [](Json &j) { j["weights"][1].erase("trainable"); }, "not trainable but has a gradient"},
    {"OutputUndefined", [](Json &j) { j["outputs"][0]["value"] = 1000; }, "output 'loss': value 1000 is out of range"},
    {"OutputTwice", [](Json &j) { j["outputs"].push_back(j["outputs"][0]); }, "output name 'loss'"},
    {"UnknownInit", [](Json &j) { j["weights"][0]["init"] = {{"kind", "orthogonal"}}; }, "unknown init 'orthogonal'"},
    {"InitWithoutSource", [](Json &j) { j["weights"][0]["init"] = {{"kind", "copy"}}; }, "needs a source"},
    {"InitHeads",
     [](Json &j) {
       j["weights"][0]["init"] = {{"kind", "repeat_heads"}, {"source", "a"}, {"heads", 1ll << 62}, {"times", 4}};
     },
     "does not fit the shape"},
    {"InitValues", [](Json &j) { j["weights"][1]["init"] = {{"kind", "values"}, {"values", {1, 2, 3, 4}}}; },
     "has 4 values, the weight has 6"},
    {"TrainedTeacher", [](Json &j) { j["weights"][1]["teacher_of"] = "a"; }, "is frozen and has no init"},
    {"GateWithoutLayer", [](Json &j) { j["weights"][1]["gate"] = true; }, "a gate needs 'layer' and 'init'"},
    {"RopeEmpty", [](Json &j) { j["rope_tables"]["r"] = {{"inverse_frequencies", Json::array()}}; },
     "must have 1 to 65536 frequencies"},
    {"ValuesIsObject", [](Json &j) { j["values"] = Json::object(); }, "'values' must be an array"},
    {"DimIsFloat", [](Json &j) { j["values"][0]["shape"][0] = 1.5; }, "must hold integers and names"},
};

class MalformedPlan : public testing::TestWithParam<Malformed> {};

TEST_P(MalformedPlan, IsRefused) {
  Json json = Json::parse(plan::printPlan(smallTrainingPlan()));
  GetParam().damage(json);
  auto parsed = plan::parsePlan(json.dump(), "plan.json");
  ASSERT_FALSE(parsed.ok());
  EXPECT_EQ(parsed.status().exitCode(), 2);
  EXPECT_NE(parsed.status().message().find(GetParam().message), std::string::npos) << parsed.status().message();
  EXPECT_EQ(parsed.status().message().rfind("plan.json", 0), 0u) << parsed.status().message();
}

INSTANTIATE_TEST_SUITE_P(All, MalformedPlan, testing::ValuesIn(kCases),
                         [](const auto &info) { return std::string(info.param.name); });

TEST(MalformedPlanText, IsRefusedWithItsPlace) {
  std::string text = plan::printPlan(smallTrainingPlan());
  for (const auto &[damaged, message] : std::vector<std::pair<std::string, std::string>>{
           {"", "malformed JSON"},
           {text.substr(0, text.size() / 2), "malformed JSON"},
           {"{\n  \"format\": nonsense}", "plan.json:2:14: malformed JSON"},
           {"[1, 2]", "expected an object"},
           {"{\"format\": \"morph-plan\", \"format\": \"morph-plan\"}", "given twice"},
           {std::string(100000, '['), "malformed JSON"},
           {"\xff\xfe", "malformed JSON"}}) {
    auto parsed = plan::parsePlan(damaged, "plan.json");
    ASSERT_FALSE(parsed.ok());
    EXPECT_NE(parsed.status().message().find(message), std::string::npos) << parsed.status().message();
  }
}

} // namespace
} // namespace morph
