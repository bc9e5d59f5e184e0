// SPDX-License-Identifier: Apache-2.0
// A plan file is untrusted input: everything that can be wrong with it is refused with a message that says what.

#include "test/plan/PlanBuilder.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>

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
    {"NewerVersion", [](Json &j) { j["version"] = 6; }, "plan of version 6, this program reads version 5"},
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
     "linear_c1: weight is [6], expected [O,I]"},
    {"ResultShape", [](Json &j) { j["values"][j["instructions"][5]["results"][0].get<int>()]["shape"] = {"N", 12}; },
     "is declared as [N,12] of f32 but is [N,11] of f32"},
    {"AttributeMissing", [](Json &j) { j["instructions"][1].erase("attributes"); }, "attribute 'eps' is missing"},
    {"AttributeKind", [](Json &j) { j["instructions"][1]["attributes"]["eps"] = "small"; }, "'eps' must be a finite"},
    {"AttributeIsNull", [](Json &j) { j["instructions"][1]["attributes"]["eps"] = nullptr; }, "attribute 'eps' must"},
    {"AttributeUnknown", [](Json &j) { j["instructions"][1]["attributes"]["bias"] = 1; }, "unknown attribute 'bias'"},
    {"WeightTwice", [](Json &j) { j["weights"][1]["name"] = j["weights"][0]["name"]; }, "given twice"},
    {"WeightShape", [](Json &j) { j["weights"][0]["shape"] = {11, 7}; }, "it has shape [11,7], its value [11,6]"},
    {"WeightDType", [](Json &j) { j["weights"][0]["dtype"] = "q4_1"; }, "unknown dtype 'q4_1'"},
    {"ZeroSize", [](Json &j) { j["values"][4]["shape"] = {0, 6}; }, "is out of range"},
    {"OverflowingShape", [](Json &j) { j["values"][4]["shape"] = {1ll << 40, 1ll << 40}; }, "is out of range"},
    {"NameForANumber",
     [](Json &j) { j["values"][j["instructions"][5]["results"][0].get<int>()]["shape"] = {"N", "V"}; },
     "is declared as [N,V] of f32 but is [N,11] of f32"},
    {"NumberForAName", [](Json &j) { j["values"][j["instructions"][5]["results"][0].get<int>()]["shape"] = {3, 11}; },
     "is declared as [3,11] of f32 but is [N,11] of f32"},
    {"AnotherName", [](Json &j) { j["values"][j["instructions"][5]["results"][0].get<int>()]["shape"] = {"T", 11}; },
     "is declared as [T,11] of f32 but is [N,11] of f32"},
    {"NamedVocabulary", [](Json &j) { j["values"][3]["shape"] = {"N", "V"}; },
     "teacher is [N,V], expected [N,V]: V is V, but must be known when the program is made"},
    {"NamesThatDiffer", [](Json &j) { j["values"][2]["shape"] = {"M"}; },
     "weights is [M], expected [N]: N is M, but N in x ([N])"},
    {"SizeIsNoName", [](Json &j) { j["values"][0]["shape"] = {"B", "T+1"}; }, "has the size 'T+1', which is no name"},
    {"NegativeEps", [](Json &j) { j["instructions"][1]["attributes"]["eps"] = -1e-5; },
     "rms_norm_c2: eps is -1e-05, expected a positive finite number"},
    {"EpsBeyondFloat", [](Json &j) { j["instructions"][1]["attributes"]["eps"] = 1e39; }, "'eps' must be a finite"},
    {"GradientIsIndex", [](Json &j) { j["outputs"][1]["value"] = 0; }, "and dtype i64, its weight [6]"},
    {"GradientOfNothing", [](Json &j) { j["outputs"].push_back({{"name", "grad.x"}, {"value", 2}}); },
     "'grad.x' is the gradient of no weight"},
    {"InitsInACircle",
     [](Json &j) {
       j["weights"][0]["init"] = {{"kind", "copy"}, {"source", "head.weight"}};
       j["weights"][3]["init"] = {{"kind", "copy"}, {"source", "embed.weight"}};
     },
     "the init of weight 'embed.weight' leads back to itself"},
    {"InitBeyondFloat", [](Json &j) { j["weights"][0]["init"] = {{"kind", "normal"}, {"value", 1e39}}; },
     "has a value out of range"},
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
    {"PieceRows", [](Json &j) { j["weights"][1]["pieces"] = {{{"tensor", "a"}, {"rows", {3, 3}}}}; },
     "'rows' must be a begin and a greater end"},
    {"PieceRowsBeyond",
     [](Json &j) { j["weights"][1]["pieces"] = {{{"tensor", "a"}, {"rows", {0, int64_t(1) << 62}}}}; },
     "expected a begin and a greater end"},
    {"PieceSum", [](Json &j) { j["weights"][1]["pieces"] = {{{"tensor", "a"}, {"rows", {0, 5}}}}; },
     "the pieces have 5 rows, expected the product of the first dimensions of [6]"},
    {"PieceWithoutTensor", [](Json &j) { j["weights"][1]["pieces"] = {{{"rows", {0, 6}}}}; }, "tensor"},
    {"PiecesOfNew",
     [](Json &j) {
       j["weights"][1]["pieces"] = {{{"tensor", "a"}, {"rows", {0, 6}}}};
       j["weights"][1]["init"] = {{"kind", "constant"}, {"value", 1}};
     },
     "a weight with 'pieces' is the checkpoint's and has no init"},
    {"GateWithoutLayer", [](Json &j) { j["weights"][1]["gate"] = true; }, "a gate needs 'layer' and 'init'"},
    {"RopeEmpty", [](Json &j) { j["rope_tables"]["r"] = {{"inverse_frequencies", Json::array()}}; },
     "must have 1 to 65536 frequencies"},
    {"ValuesIsObject", [](Json &j) { j["values"] = Json::object(); }, "'values' must be an array"},
    {"DimIsFloat", [](Json &j) { j["values"][0]["shape"][0] = 1.5; }, "must hold integers and names"},
};

/// The first instruction of an op.
Json &find(Json &plan, const std::string &op) {
  for (Json &instruction : plan["instructions"])
    if (instruction["op"] == op)
      return instruction;
  throw std::runtime_error("no " + op);
}

// Of everyOpPlan, which launches a kernel of two arguments, (x, y) -> silu(x + y) by rows of 8.
const Malformed kKernelCases[] = {
    {"Rows", [](Json &j) { j["kernels"][0]["rows"] = 0; }, "kernel 'add_silu': 'rows' must be from 1 to 4"},
    {"FewerRows", [](Json &j) { j["kernels"][0]["rows"] = 1; },
     "dimension 1 of a value is 'R1', expected a number, or R1 for one of the 1 of rows"},
    {"MoreRows", [](Json &j) { j["kernels"][0]["rows"] = 3; }, "[R0,R1,8] has not 3 dimensions of rows"},
    {"RowsBehind",
     [](Json &j) {
       j["kernels"][0]["rows"] = 1;
       for (Json &value : j["kernels"][0]["values"])
         value["shape"] = {8, "R1"};
     },
     "dimension 1 of a value is 'R1'"},
    {"NoRows",
     [](Json &j) {
       for (Json &value : j["kernels"][0]["values"])
         value["shape"] = {8};
     },
     "no argument has rows"},
    {"OtherNames", [](Json &j) { j["kernels"][0]["values"][0]["shape"][0] = "B"; }, "dimension 0 of a value is 'B'"},
    {"Arguments", [](Json &j) { j["kernels"][0]["arguments"] = 5; }, "'arguments' is 5, but it has 4 values"},
    {"ShapesInside", [](Json &j) { j["kernels"][0]["values"][2]["shape"][2] = 9; }, "instruction 0 (add): result 0 is"},
    {"Update", [](Json &j) { j["kernels"][0]["instructions"][0] = find(j, "cache_write"); },
     "updates nothing in place"},
    {"NestedLaunch", [](Json &j) { j["kernels"][0]["instructions"][0] = find(j, "launch"); }, "launches no kernel"},
    {"NoInPlace", [](Json &j) { j["kernels"][0]["in_place"] = Json::array(); }, "'in_place' must have an element a"},
    {"InPlaceOfNothing", [](Json &j) { j["kernels"][0]["in_place"][0] = 2; }, "'in_place' names no argument"},
    {"InPlaceTwice",
     [](Json &j) {
       j["kernels"][0]["results"] = {2, 3};
       j["kernels"][0]["in_place"] = {1, 1};
     },
     "'in_place' names argument 1 for two results"},
    {"ResultIsArgument", [](Json &j) { j["kernels"][0]["results"][0] = 0; }, "a result is an argument"},
    {"NameTwice", [](Json &j) { j["kernels"].push_back(j["kernels"][0]); }, "'add_silu' is empty or given twice"},
    {"ObjectIsAPath", [](Json &j) { j["kernel_object"] = "../kernels"; }, "'kernel_object' must be hexadecimal"},
    {"ObjectIsLong", [](Json &j) { j["kernel_object"] = std::string(129, 'a'); }, "'kernel_object' is too long"},
    {"UnknownKernel", [](Json &j) { find(j, "launch")["attributes"]["kernel"] = "x"; }, "has no kernel of that name"},
    {"OneArgument",
     [](Json &j) {
       find(j, "launch")["attributes"]["arguments_count"] = 1;
       find(j, "launch")["operands"].erase(1);
     },
     "kernel 'add_silu' takes 2 arguments, got 1"},
    {"OtherShape", [](Json &j) { find(j, "launch")["operands"][0] = find(j, "embedding")["operands"][1]; },
     "argument 0 is [11,8] of f32, but kernel 'add_silu' takes [R0,R1,8] of f32"},
    {"OtherType", [](Json &j) { find(j, "launch")["operands"][1] = find(j, "cast")["results"][0]; },
     "argument 1 is [B,T,8] of bf16, but kernel 'add_silu' takes [R0,R1,8] of f32"},
    {"AttentionScaleIsZero", [](Json &j) { find(j, "attention")["attributes"]["scale"] = 0.0; },
     "attention_c11: scale is 0, expected a positive finite number"},
    {"AttentionScaleIsNegative", [](Json &j) { find(j, "attention")["attributes"]["scale"] = -1.0; },
     "attention_c11: scale is -1, expected a positive finite number"},
    {"AttentionGradScaleIsZero", [](Json &j) { find(j, "attention_grad")["attributes"]["scale"] = 0.0; },
     "attention_grad_c10: scale is 0, expected a positive finite number"},
    {"AttentionGradScaleIsNegative", [](Json &j) { find(j, "attention_grad")["attributes"]["scale"] = -1.0; },
     "attention_grad_c10: scale is -1, expected a positive finite number"},
    {"AttentionDistanceScaleIsZero", [](Json &j) { find(j, "attention_distance")["attributes"]["scale"] = 0.0; },
     "attention_distance_c5: scale is 0, expected a positive finite number"},
    {"AttentionDistanceScaleIsNegative", [](Json &j) { find(j, "attention_distance")["attributes"]["scale"] = -1.0; },
     "attention_distance_c5: scale is -1, expected a positive finite number"},
    {"AttentionDistanceSoftcap", [](Json &j) { find(j, "attention_distance")["attributes"]["softcap"] = 0.0; },
     "attention_distance_c6: softcap is 0, expected a positive finite number"},
    {"DocumentsOfOtherKeys",
     [](Json &j) {
       for (Json &each : j["instructions"])
         if (each["op"] == "attention" && each["operands"][5] != -1)
           each["operands"][1] = each["operands"][2] = find(j, "cache_write")["results"][0];
     },
     "attention_c9: begins is [B,T], expected [B,S]: S is T, but 16 in k ([B,16,2,4])"},
};

/// A plan with code for GPUs: one launch of `exp` by blocks of four rows.
plan::Plan devicePlan() {
  PlanBuilder b;
  b.output("y", b.op("exp", {b.input("x", {plan::Dim(std::string("N")), plan::Dim(int64_t(8))})}));
  using Kind = plan::LaunchArgument::Kind;
  const plan::SizeFormula rows = {{1, 1, {"N"}, 4}}, one = plan::constantFormula(1);
  const plan::DeviceLaunch launch{
      "exp", {rows, one, one}, 128, 1024, {{Kind::Operand, 0, {}}, {Kind::Result, 0, {}}, {Kind::Size, 0, rows}}};
  b.plan.devices = {{"sm_90", std::string(64, 'a'), {{{launch}, rows}}, ""}};
  return b.plan;
}

Json &launchOf(Json &plan) { return plan["devices"][0]["instructions"][0]["launches"][0]; }

const Malformed kDeviceCases[] = {
    {"NoList", [](Json &j) { j["devices"] = 3; }, "'devices' must be an array"},
    {"NoObject", [](Json &j) { j["devices"][0] = 3; }, "devices[0]: expected an object"},
    {"OtherTarget", [](Json &j) { j["devices"][0]["target"] = "gfx942"; },
     "devices[0]: 'gfx942' is no generation of GPUs, expected such as sm_90"},
    {"TargetWithFeature", [](Json &j) { j["devices"][0]["target"] = "sm_90a"; }, "'sm_90a' is no generation of GPUs"},
    {"TargetTwice", [](Json &j) { j["devices"].push_back(j["devices"][0]); },
     "devices[1]: 'sm_90' comes after sm_90, expected later generations in order"},
    {"SecondIsBroken",
     [](Json &j) {
       j["devices"].push_back(j["devices"][0]);
       j["devices"][1]["target"] = "sm_100";
       j["devices"][1]["instructions"] = Json::array();
     },
     "devices[1]: there is code of 0 instructions, and the plan has 1"},
    {"NoTarget", [](Json &j) { j["devices"][0].erase("target"); }, "devices[0]: the member 'target' is missing"},
    {"HashIsAPath", [](Json &j) { j["devices"][0]["ptx"] = "../" + std::string(61, 'a'); },
     "devices[0]: 'ptx' must be a SHA-256 in hexadecimal, or empty"},
    {"HashIsShort", [](Json &j) { j["devices"][0]["ptx"] = "abc"; },
     "devices[0]: 'ptx' must be a SHA-256 in hexadecimal, or empty"},
    {"InstructionsIsObject", [](Json &j) { j["devices"][0]["instructions"] = Json::object(); },
     "devices[0]: 'instructions' must be an array"},
    {"MoreInstructions", [](Json &j) { j["devices"][0]["instructions"].push_back({{"launches", Json::array()}}); },
     "devices[0]: there is code of 2 instructions, and the plan has 1"},
    {"InstructionIsNumber", [](Json &j) { j["devices"][0]["instructions"][0] = 1; },
     "devices[0]: instructions[0]: 'launches' must be an array"},
    {"NoLaunches", [](Json &j) { j["devices"][0]["instructions"][0].erase("launches"); },
     "devices[0]: instructions[0]: 'launches' must be an array"},
    {"NoKernel", [](Json &j) { launchOf(j)["kernel"] = ""; }, "devices[0]: instruction 0 (exp): a launch of ''"},
    {"NoThreads", [](Json &j) { launchOf(j)["threads"] = 0; }, "a launch of 'exp' with 0 threads"},
    {"ManyThreads", [](Json &j) { launchOf(j)["threads"] = 1025; },
     "with 1025 threads and 1024 bytes of shared memory"},
    {"NegativeShared", [](Json &j) { launchOf(j)["shared"] = -1; }, "with 128 threads and -1 bytes of shared memory"},
    {"MuchShared", [](Json &j) { launchOf(j)["shared"] = 1 << 20; }, "and 1048576 bytes of shared memory"},
    {"FlatGrid", [](Json &j) { launchOf(j)["grid"].erase(2); },
     "devices[0]: instructions[0]: launches[0]: a grid has three sizes"},
    {"FourSizes", [](Json &j) { launchOf(j)["grid"].push_back(1); }, "grid[3]: a grid has three sizes"},
    {"SizeIsText", [](Json &j) { launchOf(j)["grid"][0] = "N"; }, "grid[0]: a size must be a number, or terms"},
    {"SizeIsHalf", [](Json &j) { launchOf(j)["grid"][0] = 1.5; }, "grid[0]: a size must be a number, or terms"},
    {"ShortTerm", [](Json &j) { launchOf(j)["grid"][0][0].erase(3); }, "grid[0]: a size must be a number, or terms"},
    {"NameIsNumber", [](Json &j) { launchOf(j)["grid"][0][0][2][0] = 4; },
     "grid[0]: a size must be a number, or terms"},
    {"UnknownKind", [](Json &j) { launchOf(j)["arguments"][0]["kind"] = "pointer"; },
     "arguments[0]: unknown kind 'pointer'"},
    {"NoIndex", [](Json &j) { launchOf(j)["arguments"][1].erase("index"); },
     "arguments[1]: the member 'index' is missing"},
    {"NoSuchOperand", [](Json &j) { launchOf(j)["arguments"][0]["index"] = 1; },
     "devices[0]: instruction 0 (exp): 'exp' gets operand or result 1, which there is not"},
    {"NegativeResult", [](Json &j) { launchOf(j)["arguments"][1]["index"] = -1; },
     "'exp' gets operand or result -1, which there is not"},
    {"NoSize", [](Json &j) { launchOf(j)["arguments"][2].erase("size"); }, "arguments[2]: 'size' is missing"},
    {"ScratchIsNull", [](Json &j) { j["devices"][0]["instructions"][0]["scratch"] = nullptr; },
     "scratch: a size must be a number, or terms"},
};

/// The input or output of a name.
Json &named(Json &list, const std::string &name) {
  return *std::find_if(list.begin(), list.end(), [&](const Json &value) { return value["name"] == name; });
}

const Malformed kUpdateCases[] = {
    {"OfItsOwn", [](Json &j) { j["update"]["update"] = j["update"]; }, "an update has no update of its own"},
    {"NoShare", [](Json &j) { named(j["inputs"], "share")["name"] = "part"; }, "not the scalars 'share'"},
    {"NoNorm", [](Json &j) { named(j["update"]["outputs"], "norm")["name"] = "size"; }, "not the scalars 'share'"},
    {"NoSum", [](Json &j) { named(j["inputs"], "grad.norm.weight")["name"] = "sum"; },
     "no input 'grad.norm.weight' to sum up"},
    {"ForeignInput", [](Json &j) { named(j["update"]["inputs"], "exp_avg.norm.weight")["name"] = "moment"; },
     "the update has an input 'moment' of shape [6], which is neither a gradient nor a moment"},
    {"StrangerUpdated", [](Json &j) { named(j["update"]["weights"], "norm.weight")["name"] = "other.weight"; },
     "the update does not update weight 'norm.weight'"},
    {"Beta", [](Json &j) { find(j["update"], "adamw")["attributes"]["beta1"] = 1.0; },
     "adamw_c4: beta1 is 1, expected a number from 0 to less than 1"},
    {"SecondBeta", [](Json &j) { find(j["update"], "adamw")["attributes"]["beta2"] = -5.0; },
     "adamw_c4: beta2 is -5, expected a number from 0 to less than 1"},
    {"Decay", [](Json &j) { find(j["update"], "adamw")["attributes"]["weight_decay"] = -1.0; },
     "adamw_c4: weight_decay is -1, expected a finite number of 0 or more"},
    {"Broken", [](Json &j) { j["update"]["instructions"][0]["op"] = "none"; }, "unknown op"},
};

void expectRefused(const plan::Plan &plan, const Malformed &malformed) {
  Json json = Json::parse(plan::printPlan(plan));
  malformed.damage(json);
  auto parsed = plan::parsePlan(json.dump(), "plan.json");
  ASSERT_FALSE(parsed.ok());
  EXPECT_EQ(parsed.status().exitCode(), 2);
  EXPECT_NE(parsed.status().message().find(malformed.message), std::string::npos) << parsed.status().message();
  EXPECT_EQ(parsed.status().message().rfind("plan.json", 0), 0u) << parsed.status().message();
}

std::string nameOf(const testing::TestParamInfo<Malformed> &info) { return info.param.name; }

class MalformedPlan : public testing::TestWithParam<Malformed> {};
TEST_P(MalformedPlan, IsRefused) { expectRefused(smallTrainingPlan(), GetParam()); }
INSTANTIATE_TEST_SUITE_P(All, MalformedPlan, testing::ValuesIn(kCases), nameOf);

class MalformedKernel : public testing::TestWithParam<Malformed> {};
TEST_P(MalformedKernel, IsRefused) { expectRefused(everyOpPlan(), GetParam()); }
INSTANTIATE_TEST_SUITE_P(All, MalformedKernel, testing::ValuesIn(kKernelCases), nameOf);

class MalformedDevice : public testing::TestWithParam<Malformed> {};
TEST_P(MalformedDevice, IsRefused) {
  EXPECT_TRUE(plan::parsePlan(plan::printPlan(devicePlan()), "plan.json").ok());
  expectRefused(devicePlan(), GetParam());
}
INSTANTIATE_TEST_SUITE_P(All, MalformedDevice, testing::ValuesIn(kDeviceCases), nameOf);

class MalformedUpdate : public testing::TestWithParam<Malformed> {};
TEST_P(MalformedUpdate, IsRefused) { expectRefused(withUpdate(smallTrainingPlan()), GetParam()); }
INSTANTIATE_TEST_SUITE_P(All, MalformedUpdate, testing::ValuesIn(kUpdateCases), nameOf);

TEST(MalformedPlanText, FactorsOfOneProductAreOfOneType) {
  PlanBuilder b;
  int64_t x =
      b.op("cast", {b.input("x", {plan::Dim(int64_t(3)), plan::Dim(int64_t(4))})}, {{"dtype", std::string("bf16")}});
  b.output("y", b.op("linear", {x, b.weight("w", {2, 4}), -1}));
  EXPECT_NE(
      plan::validate(b.plan).message().find("operand 'weight' is f32, the one before it that may be bf16 is bf16"),
      std::string::npos)
      << plan::validate(b.plan).message();
}

/// Writes x into a ring that is an input, a trained weight, a frozen one, or none of these.
class Updates : public testing::Test {
protected:
  PlanBuilder b;
  plan::Dim two = int64_t(2), four = int64_t(4), eight = int64_t(8), length = std::string("T");
  int64_t x = b.input("x", {two, length, eight}), offset = b.input("offset", {two}, plan::DType::I64);

  int64_t write(int64_t ring, int64_t rows) { return b.op("cache_write", {ring, rows, offset}); }
  void expectRefused(const std::string &message) const {
    const Status status = plan::validate(b.plan);
    EXPECT_NE(status.message().find(message), std::string::npos) << status.message();
  }
};

TEST_F(Updates, OfInputsAndTrainedWeightsOneAfterAnother) {
  const int64_t ring = b.input("ring", {two, four, eight}), weight = b.weight("w", {2, 4, 8}, /*trainable=*/true);
  b.output("next", write(write(ring, x), b.op("exp", {x})));
  const int64_t heads = b.op("split_heads", {b.input("other", {two, four, eight})}, {{"heads", int64_t(2)}});
  b.output("heads", write(heads, b.op("split_heads", {x}, {{"heads", int64_t(2)}})));
  b.output("grad.w", write(weight, x));
  EXPECT_TRUE(plan::validate(b.plan).ok()) << plan::validate(b.plan).message();
}

TEST_F(Updates, OfWhatLiesInTheArena) {
  b.output("y", write(b.op("exp", {b.input("ring", {two, four, eight})}), x));
  expectRefused("operand 'cache' is updated, but lies in no input and in no weight that the program trains");
}

TEST_F(Updates, OfAFrozenWeight) {
  b.output("y", write(b.weight("w", {2, 4, 8}), x));
  expectRefused("operand 'cache' is updated, but lies in no input and in no weight that the program trains");
}

TEST_F(Updates, OfAnotherOperandsMemory) {
  const int64_t ring = b.input("ring", {two, four, eight});
  const int64_t heads = b.op("split_heads", {ring}, {{"heads", int64_t(2)}});
  b.output("y", write(ring, b.op("merge_heads", {heads})));
  expectRefused("operand 'cache' is updated, but another operand lies in the same memory");
}

TEST_F(Updates, AreReadByTheirResult) {
  const int64_t ring = b.input("ring", {two, four, eight});
  const int64_t heads = b.op("split_heads", {ring}, {{"heads", int64_t(2)}});
  b.output("next", write(ring, x));
  b.output("old", b.op("exp", {heads}));
  expectRefused("operand 'x' is read after 'cache_write' has updated its memory");
}

TEST_F(Updates, AreNotMadeTwice) {
  const int64_t ring = b.input("ring", {two, four, eight});
  b.output("a", write(ring, x));
  b.output("b", write(ring, x));
  expectRefused("operand 'cache' is read after 'cache_write' has updated its memory");
}

TEST_F(Updates, LeaveNoOldOutput) {
  const int64_t ring = b.input("ring", {two, four, eight});
  b.output("next", write(ring, x));
  b.output("old", ring);
  expectRefused("output 'old' is read after 'cache_write' has updated its memory");
}

TEST(MalformedPlanText, IsRefusedWithItsPlace) {
  std::string text = plan::printPlan(smallTrainingPlan());
  for (const auto &[damaged, message] : std::vector<std::pair<std::string, std::string>>{
           {"", "malformed JSON"},
           {text.substr(0, text.size() / 2), "malformed JSON"},
           {"{\n  \"format\": nonsense}", "plan.json:2:14: malformed JSON"},
           {"[1, 2]", "expected an object"},
           {"{\"format\": \"morph-plan\", \"format\": \"morph-plan\"}", "given twice"},
           {std::string(100000, '['), "plan.json:1:65: nested deeper than 64 levels"},
           {"{\"format\": " + std::string(300'000, '[') + std::string(300'000, ']') + "}", "nested deeper"},
           {"\xff\xfe", "malformed JSON"}}) {
    auto parsed = plan::parsePlan(damaged, "plan.json");
    ASSERT_FALSE(parsed.ok());
    EXPECT_NE(parsed.status().message().find(message), std::string::npos) << parsed.status().message();
  }
}

TEST(MalformedPlanText, LongNamesAreCut) {
  Json json = Json::parse(plan::printPlan(smallTrainingPlan()));
  json[std::string(1 << 20, 'x')] = 1;
  auto parsed = plan::parsePlan(json.dump(), "plan.json");
  ASSERT_FALSE(parsed.ok());
  EXPECT_LE(parsed.status().message().size(), kMaximumMessage);
}

TEST(MalformedPlanText, AnInitMayNotLeadThroughAThousandWeights) {
  plan::Plan plan = smallTrainingPlan();
  for (int i = 0; i < 1000; ++i) {
    plan::Weight weight;
    weight.name = "w" + std::to_string(i);
    weight.shape = {2};
    weight.init = plan::Init{"copy", "w" + std::to_string(i + 1), 0, 0, 0, {}};
    plan.weights.push_back(weight);
    plan.weightValues.push_back(static_cast<int64_t>(plan.values.size()));
    plan.values.push_back({{plan::Dim(int64_t(2))}, plan::DType::F32});
  }
  Status status = plan::validate(plan);
  EXPECT_NE(status.message().find("'w0' leads through more than 16 weights"), std::string::npos) << status.message();
}

/// Every instruction of a plan with every op, changed in every way that its table forbids.
class EveryOp : public testing::Test {
protected:
  plan::Plan plan = everyOpPlan();

  void expectRefused(size_t i, const std::string &what, const std::function<void(plan::Instruction &)> &damage) {
    plan::Plan damaged = plan;
    damage(damaged.instructions[i]);
    Status status = plan::validate(damaged);
    EXPECT_FALSE(status.ok()) << damaged.instructions[i].op << ": " << what;
    EXPECT_NE(status.message().find("instruction " + std::to_string(i) + " ("), std::string::npos)
        << what << ": " << status.message();
  }
};

TEST_F(EveryOp, IsInThePlan) {
  EXPECT_TRUE(plan::validate(plan).ok()) << plan::validate(plan).message();
  std::set<std::string> used;
  for (const plan::Instruction &instruction : plan.instructions)
    used.insert(instruction.op);
  for (const std::string &op : plan::opNames())
    EXPECT_TRUE(used.count(op)) << op;
}

TEST_F(EveryOp, WantsItsOperandsAndResults) {
  for (size_t i = 0; i < plan.instructions.size(); ++i) {
    const plan::Instruction &old = plan.instructions[i];
    const plan::OpRule &rule = *plan::findOpRule(old.op);
    expectRefused(i, "one more operand", [](auto &x) { x.operands.push_back(0); });
    expectRefused(i, "one more result", [](auto &x) { x.results.push_back(x.results[0]); });
    expectRefused(i, "no results", [](auto &x) { x.results.clear(); });
    expectRefused(i, "a result of an earlier instruction", [](auto &x) { x.results[0] = 0; });
    for (size_t o = 0; o < old.operands.size(); ++o) {
      const plan::OperandRule &operand = plan::operandRuleAt(old, rule, o);
      expectRefused(i, "one operand less",
                    [&](auto &x) { x.operands.erase(x.operands.begin() + static_cast<int>(o)); });
      expectRefused(i, "its own result", [&](auto &x) { x.operands[o] = x.results[0]; });
      expectRefused(i, "no such value", [&](auto &x) { x.operands[o] = 1 << 20; });
      expectRefused(i, "another dtype", [&](auto &x) { x.operands[o] = operand.index ? 5 : 0; });
      if (operand.arity != plan::Arity::Optional)
        expectRefused(i, "an absent operand", [&](auto &x) { x.operands[o] = -1; });
    }
  }
}

TEST_F(EveryOp, WantsItsAttributes) {
  for (size_t i = 0; i < plan.instructions.size(); ++i) {
    const plan::Instruction &old = plan.instructions[i];
    expectRefused(i, "an unknown attribute", [](auto &x) { x.attributes["colour"] = true; });
    for (const plan::AttributeRule &attribute : plan::findOpRule(old.op)->attributes) {
      const std::string &name = attribute.name;
      if (attribute.required)
        expectRefused(i, "no " + name, [&](auto &x) { x.attributes.erase(name); });
      if (attribute.kind != plan::AttributeKind::Text)
        expectRefused(i, name + " is text", [&](auto &x) { x.attributes[name] = std::string("1"); });
      if (attribute.kind == plan::AttributeKind::Real)
        for (double value : {std::nan(""), HUGE_VAL, 1e39})
          expectRefused(i, name + " is no number", [&](auto &x) { x.attributes[name] = value; });
      if (attribute.kind == plan::AttributeKind::Integer)
        for (int64_t value : {int64_t(-1), INT64_MAX, INT64_MIN})
          expectRefused(i, name + " is out of range", [&](auto &x) { x.attributes[name] = value; });
      if (attribute.kind == plan::AttributeKind::Integer && name != "rank" && name != "index")
        expectRefused(i, name + " is 0", [&](auto &x) { x.attributes[name] = int64_t(0); });
      if (attribute.kind == plan::AttributeKind::Text)
        expectRefused(i, name + " is unknown", [&](auto &x) { x.attributes[name] = std::string("none"); });
    }
  }
}

TEST_F(EveryOp, WantsWhatGoesTogether) {
  int refused = 0;
  for (size_t i = 0; i < plan.instructions.size(); ++i) {
    const plan::Instruction &old = plan.instructions[i];
    const plan::OpRule &rule = *plan::findOpRule(old.op);
    for (const plan::ShapeRule &constraint : rule.rules) {
      if (constraint.kind != plan::RuleKind::Together && constraint.kind != plan::RuleKind::AtMostOne)
        continue;
      // Together: one of them is taken away. At most one: an absent one is what the other is.
      const size_t bar = constraint.first.find('|');
      auto place = [&](const std::string &name) { return static_cast<size_t>(plan::operandPosition(old, rule, name)); };
      const size_t first = place(constraint.first.substr(0, bar)),
                   second = place(constraint.first.substr(bar + 1, constraint.first.find('|', bar + 1) - bar - 1));
      if (old.operands[first] < 0 && old.operands[second] < 0)
        continue;
      const bool together = constraint.kind == plan::RuleKind::Together;
      expectRefused(i, constraint.label, [&](auto &x) {
        if (together)
          x.operands[first] = -1;
        else
          x.operands[first] = x.operands[second] = std::max(x.operands[first], x.operands[second]);
      });
      ++refused;
    }
  }
  EXPECT_GT(refused, 0);
}

TEST_F(EveryOp, WantsItsShapes) {
  // A scalar and a value of seven dimensions, in the place of every operand and as the type of every result.
  for (size_t i = 0; i < plan.instructions.size(); ++i) {
    const plan::Instruction &old = plan.instructions[i];
    for (size_t r = 0; r < old.results.size(); ++r)
      for (size_t rank : {size_t(0), size_t(7)}) {
        plan::TensorType &type = plan.values[static_cast<size_t>(old.results[r])], before = type;
        type.shape.assign(rank, plan::Dim(int64_t(1)));
        if (type.shape != before.shape)
          expectRefused(i, "another rank", [](auto &) {});
        type = before;
        for (plan::Dim &dim : type.shape) {
          plan::Dim size = dim;
          for (const plan::Dim &other : {plan::Dim(int64_t(7)), plan::Dim(std::string("Z")), plan::Dim(int64_t(0))}) {
            dim = other;
            EXPECT_FALSE(plan::validate(plan).ok()) << old.op;
          }
          dim = size;
        }
      }
  }
}

// A size by a number is a size like another: of as many chunks as there are, and of the op's own length of a chunk.
TEST_F(EveryOp, KeptStatesAreOfTheirChunks) {
  const auto shapes = plan::resolveShapes(plan, {{"B", 2}, {"T", 5}, {"N", 4}});
  ASSERT_TRUE(shapes.ok()) << shapes.status().message();
  auto find = [&](const char *op) {
    return static_cast<size_t>(
        std::find_if(plan.instructions.begin(), plan.instructions.end(), [&](auto &x) { return x.op == op; }) -
        plan.instructions.begin());
  };
  const size_t forward = find("linear_attention"), gradient = find("linear_attention_grad");
  const size_t states = static_cast<size_t>(plan.instructions[forward].results[2]);
  EXPECT_EQ((*shapes)[states], (std::vector<int64_t>{2, 2, 3, 4, 4}));
  auto expectMessage = [&](size_t i, const std::string &message,
                           const std::function<void(plan::Instruction &)> &damage) {
    plan::Plan damaged = plan;
    damage(damaged.instructions[i]);
    EXPECT_NE(plan::validate(damaged).message().find(message), std::string::npos) << plan::validate(damaged).message();
  };
  expectMessage(gradient, "linear_attention_grad_c2: states is [B,2,T/2,4,4], expected [B,H,N,K,W]: N is T/2",
                [](auto &x) { x.attributes["chunk"] = int64_t(3); });
  expectMessage(forward, "has 4 results, expected 3", [](auto &x) { x.attributes.erase("keep_states"); });
  expectMessage(forward, "attribute 'keep_written' must be true",
                [](auto &x) { x.attributes["keep_written"] = false; });
}

} // namespace
} // namespace morph
