// SPDX-License-Identifier: Apache-2.0
// The executor: results, lifetimes, masters, errors.

#include "runtime/exec/Executor.h"
#include "runtime/exec/Bindings.h"
#include "runtime/plan/Buffers.h"
#include "runtime/plan/InferShapes.h"
#include "test/plan/PlanBuilder.h"
#include "test/plan/WithBf16.h"

#include <ATen/Parallel.h>

#include <cmath>
#include <cstdlib>

namespace morph {
namespace {

using plan::Dim;

/// Other builds poison always.
#if defined(NDEBUG) && !defined(MORPH_SANITIZE)
constexpr bool kReleased = true;
#else
constexpr bool kReleased = false;
#endif

NamedTensors smallWeights() {
  return {{"embed.weight", at::arange(66, at::kFloat).view({11, 6}).sin()},
          {"norm.weight", at::ones({6})},
          {"proj.weight", at::arange(36, at::kFloat).view({6, 6}).cos() * 0.3},
          {"head.weight", at::arange(66, at::kFloat).view({11, 6}).cos()}};
}

NamedTensors smallInputs() {
  return {{"tokens", at::arange(8, at::kLong).view({2, 4})},
          {"positions", at::tensor({1, 3, 6}, at::kLong)},
          {"weights", at::ones({3})},
          {"teacher_logits", at::arange(33, at::kFloat).view({3, 11}).sin()}};
}

std::unique_ptr<Executor> make(const plan::Plan &plan, const NamedTensors &weights,
                               Precision precision = Precision::F32) {
  auto executor = Executor::create(plan, WeightStore::inMemory(weights), precision, 1);
  EXPECT_TRUE(executor.ok()) << executor.status().message();
  return executor.ok() ? std::move(*executor) : nullptr;
}

/// Outputs that outlive the next run.
NamedTensors copies(NamedTensors outputs) {
  for (auto &[name, tensor] : outputs)
    tensor = tensor.clone();
  return outputs;
}

std::string createError(const plan::Plan &plan, const NamedTensors &weights) {
  auto executor = Executor::create(plan, WeightStore::inMemory(weights), Precision::F32, 1);
  return executor.ok() ? "created" : executor.status().message();
}

TEST(ExecutorTest, RunsAPlanInEachPrecision) {
  NamedTensors wide = *make(smallTrainingPlan(), smallWeights(), Precision::F64)->run(smallInputs());
  NamedTensors single = *make(smallTrainingPlan(), smallWeights(), Precision::F32)->run(smallInputs());
  NamedTensors half = *make(withBf16(smallTrainingPlan()), smallWeights())->run(smallInputs());
  EXPECT_EQ(wide.at("loss").scalar_type(), at::kDouble);
  EXPECT_EQ(half.at("loss").scalar_type(), at::kFloat);
  for (const char *name : {"loss", "grad.norm.weight", "grad.proj.weight"}) {
    double size = wide.at(name).abs().max().item<double>();
    EXPECT_LT((single.at(name).to(at::kDouble) - wide.at(name)).abs().max().item<double>(), 1e-5 * size) << name;
    EXPECT_LT((half.at(name).to(at::kDouble) - wide.at(name)).abs().max().item<double>(), 0.05 * size) << name;
  }
}

TEST(ExecutorTest, WhatIsNotTrainedHasThePlansTypeWhateverTheStoreHolds) {
  plan::Plan plan = smallTrainingPlan();
  NamedTensors rounded = smallWeights();
  for (plan::Weight &weight : plan.weights) {
    weight.dtype = plan::DType::BF16;
    if (!weight.trainable)
      rounded[weight.name] = rounded[weight.name].to(at::kBFloat16).to(at::kFloat);
  }
  for (bool half : {false, true}) {
    NamedTensors kept = *make(half ? withBf16(plan) : plan, smallWeights())->run(smallInputs());
    NamedTensors expected =
        *make(half ? withBf16(smallTrainingPlan()) : smallTrainingPlan(), rounded)->run(smallInputs());
    for (const auto &[name, value] : kept)
      EXPECT_TRUE(at::equal(value, expected.at(name))) << name;
  }
  EXPECT_FALSE(at::equal(make(plan, smallWeights())->run(smallInputs())->at("loss"),
                         make(smallTrainingPlan(), smallWeights())->run(smallInputs())->at("loss")));
}

TEST(ExecutorTest, WeightsOfPiecesAreThePieces) {
  const NamedTensors whole = smallWeights();
  const NamedTensors expected = copies(*make(smallTrainingPlan(), whole)->run(smallInputs()));
  plan::Plan plan = smallTrainingPlan();
  NamedTensors split = whole;
  const at::Tensor head = whole.at("head.weight"), proj = whole.at("proj.weight");
  for (plan::Weight &weight : plan.weights) {
    if (weight.name == "head.weight")
      weight.pieces = {{"fused", 6, 9}, {"rest"}};
    if (weight.name == "proj.weight")
      weight.pieces = {{"fused", 0, 6}};
  }
  split.erase("head.weight");
  split.erase("proj.weight");
  split["fused"] = at::cat({proj, head.narrow(0, 0, 3)});
  split["rest"] = head.narrow(0, 3, 8).contiguous();
  const NamedTensors outputs = *make(plan, split)->run(smallInputs());
  for (const auto &[name, value] : expected)
    EXPECT_TRUE(at::equal(value, outputs.at(name))) << name;

  // One piece of a frozen weight is a view of the checkpoint, and what training stored under the weight's name goes
  // first.
  WeightStore store = WeightStore::inMemory(split);
  auto part = loadWeight(plan, plan.weights[2], store, 0, at::kFloat, Part());
  ASSERT_TRUE(part.ok()) << part.status().message();
  EXPECT_EQ(part->storage().data(), split.at("fused").storage().data());
  store.add({{"proj.weight", at::ones({6, 6})}});
  EXPECT_EQ(loadWeight(plan, plan.weights[2], store, 0, at::kFloat, Part())->sum().item<float>(), 36);

  split.erase("rest");
  EXPECT_EQ(createError(plan, split), "the checkpoint has no tensor 'rest' that program 'distill' reads a weight from");
  split["rest"] = at::zeros({7, 6});
  EXPECT_EQ(createError(plan, split), "'memory': the pieces of 'fused' and others have 60 elements together, expected "
                                      "the 66 of [11,6]");
  split["rest"] = at::full({8, 6}, NAN);
  EXPECT_NE(createError(plan, split).find("weight 'head.weight' of 'memory' holds 48 of 66 values"), std::string::npos)
      << createError(plan, split);
}

TEST(ExecutorTest, FirstValuesAreCopiedFromPieces) {
  plan::Weight weight;
  weight.name = "w";
  weight.shape = {8, 3};
  weight.init = plan::Init{"repeat_heads", "k_proj.weight", 2, 2, 0, {}, {{"fused", 4, 8}}};
  const at::Tensor fused = at::arange(30, at::kFloat).view({10, 3});
  auto value = loadWeight(plan::Plan(), weight, WeightStore::inMemory({{"fused", fused}}), 0, at::kFloat, Part());
  ASSERT_TRUE(value.ok()) << value.status().message();
  EXPECT_TRUE(at::equal(
      *value, at::cat({fused.narrow(0, 4, 2), fused.narrow(0, 4, 2), fused.narrow(0, 6, 2), fused.narrow(0, 6, 2)})));
}

TEST(ExecutorTest, TheSameRunGivesTheSameBits) {
  auto executor = make(smallTrainingPlan(), smallWeights());
  NamedTensors first = copies(*executor->run(smallInputs())), second = *executor->run(smallInputs());
  for (const auto &[name, value] : first)
    EXPECT_TRUE(at::equal(value, second.at(name))) << name;
}

TEST(ExecutorTest, MastersAreTrainedInPlace) {
  for (bool half : {false, true}) {
    NamedTensors weights = smallWeights();
    at::Tensor original = weights["proj.weight"].clone();
    auto executor = make(half ? withBf16(smallTrainingPlan()) : smallTrainingPlan(), weights);
    EXPECT_EQ(executor->masters().size(), 2u);
    NamedTensors before = copies(*executor->run(smallInputs()));
    for (int step = 0; step < 20; ++step) {
      NamedTensors outputs = *executor->run(smallInputs());
      for (auto &[name, master] : executor->masters())
        master.sub_(outputs.at("grad." + name), 0.5);
    }
    NamedTensors after = *executor->run(smallInputs());
    EXPECT_LT(after.at("loss").item<float>(), 0.8f * before.at("loss").item<float>());
    EXPECT_TRUE(at::equal(weights["proj.weight"], original)) << "the store's tensor was written";
  }
}

TEST(ExecutorTest, WeightsAreSharedWithAnotherExecutor) {
  // The same products without a gradient: the weights that the training plan trains are only read.
  PlanBuilder b("forward");
  Dim rows = std::string("N");
  int64_t x = b.input("x", {rows, Dim(int64_t(6))});
  int64_t matrix = b.weight("proj.weight", {6, 6}), head = b.weight("head.weight", {11, 6});
  b.output("y", b.op("linear", {b.op("linear", {x, matrix, -1}), head, -1}));
  b.output("table", b.op("scale", {b.weight("embed.weight", {11, 6})}, {{"factor", 1.0}}));
  // What this plan may change and the other holds as it is in the file must be a copy of its own.
  plan::Plan trains = b.plan;
  trains.weights[1].gate = true;
  trains.weights[1].layer = 0;
  trains.weights[1].init = plan::Init{"normal", "", 0, 0, 0.1, {}};
  for (bool half : {false, true}) {
    auto in = [&](const plan::Plan &plan) { return half ? withBf16(plan, {"proj.weight", "head.weight"}) : plan; };
    const auto owner = make(in(smallTrainingPlan()), smallWeights());
    // The store lacks what is shared: it is not asked. `embed.weight` under bf16 is read in fp32 by both.
    NamedTensors rest = smallWeights();
    rest.erase("proj.weight");
    rest.erase("head.weight");
    auto created = Executor::create(in(b.plan), WeightStore::inMemory(rest), Precision::F32, 1, owner.get());
    ASSERT_TRUE(created.ok()) << created.status().message();
    Executor &reader = **created;
    EXPECT_TRUE(reader.masters().empty());
    const NamedTensors inputs = {{"x", at::ones({3, 6})}};
    const at::Tensor before = reader.run(inputs)->at("y").clone();
    owner->masters().at("proj.weight").mul_(2);
    const at::Tensor after = reader.run(inputs)->at("y").clone();
    EXPECT_TRUE(at::allclose(after, 2 * before)) << "the change is not read";
    EXPECT_EQ(createError(trains, rest), "the checkpoint has no weight 'proj.weight' that program 'forward' reads");
    auto trainer = Executor::create(in(trains), WeightStore::inMemory(smallWeights()), Precision::F32, 1, owner.get());
    ASSERT_TRUE(trainer.ok()) << trainer.status().message();
    (*trainer)->masters().at("head.weight").zero_();
    EXPECT_TRUE(at::equal(reader.run(inputs)->at("y"), after)) << "a frozen weight was written";
  }
}

TEST(ExecutorTest, ValuesAreFreedAtTheirLastUse) {
#ifdef __has_feature
#if __has_feature(address_sanitizer)
  GTEST_SKIP() << "AddressSanitizer keeps freed memory";
#endif
#endif
  // 40 values of 4 MB in a row: freed in time, the peak is a few of them.
  PlanBuilder b;
  int64_t x = b.input("x", {Dim(std::string("N"))});
  int64_t y = x;
  for (int i = 0; i < 40; ++i)
    y = b.op("scale", {y}, {{"factor", 1.01}});
  b.output("y", y);
  auto executor = make(b.plan, {});
  auto residentPeak = [] {
    std::FILE *status = std::fopen("/proc/self/status", "r");
    char line[256];
    long kilobytes = 0;
    while (status && std::fgets(line, sizeof line, status))
      if (std::sscanf(line, "VmHWM: %ld kB", &kilobytes) == 1)
        break;
    if (status)
      std::fclose(status);
    return kilobytes;
  };
  at::Tensor input = at::ones({1 << 20});
  (void)executor->run({{"x", input.narrow(0, 0, 1000)}});
  long before = residentPeak();
  NamedTensors outputs = *executor->run({{"x", input}});
  EXPECT_NEAR(outputs.at("y")[0].item<double>(), std::pow(1.01, 40), 1e-4);
  EXPECT_LT(residentPeak() - before, 40 * 1024);
}

TEST(ExecutorTest, WhatIsOverIsPoisonedWhereThatIsWanted) {
  // y is over when z is there, in a place of its own: a matrix product writes into no operand.
  PlanBuilder b;
  const int64_t x = b.input("x", {Dim(std::string("N")), Dim(int64_t(8))});
  const int64_t y = b.op("exp", {x}), z = b.op("linear", {y, b.weight("w", {8, 8}), -1});
  b.output("z", z);
  const auto shapes = *plan::resolveShapes(b.plan, {{"N", 16}});
  const plan::Buffers buffers = *plan::planBuffers(b.plan, shapes, {false, at::get_num_threads()});
  ASSERT_NE(buffers.offset[static_cast<size_t>(y)], buffers.offset[static_cast<size_t>(z)]);
  const char *const before = std::getenv("MORPH_POISON");
  for (bool poisoned : {true, false}) {
    poisoned ? setenv("MORPH_POISON", "1", 1) : unsetenv("MORPH_POISON");
    auto executor = make(b.plan, {{"w", at::eye(8)}});
    const NamedTensors outputs = *executor->run({{"x", at::zeros({16, 8})}});
    EXPECT_TRUE(at::equal(outputs.at("z"), at::ones({16, 8})));
    const char *const arena =
        static_cast<const char *>(outputs.at("z").data_ptr()) - buffers.offset[static_cast<size_t>(z)];
    const float *const over = reinterpret_cast<const float *>(arena + buffers.offset[static_cast<size_t>(y)]);
    for (int i = 0; i < 128; ++i)
      EXPECT_TRUE(poisoned ? std::isnan(over[i]) : !kReleased || over[i] == 1) << i;
  }
  before ? setenv("MORPH_POISON", before, 1) : unsetenv("MORPH_POISON");
}

TEST(ExecutorTest, AnInputAndAWeightMayBeOutputs) {
  PlanBuilder b;
  int64_t x = b.input("x", {Dim(int64_t(3))});
  int64_t w = b.weight("w", {3});
  b.output("x", x);
  b.output("w", w);
  b.output("sum", b.op("add", {x, w}));
  NamedTensors outputs = *make(b.plan, {{"w", at::ones({3})}})->run({{"x", at::ones({3})}});
  EXPECT_EQ(outputs.at("sum")[2].item<float>(), 2);
  EXPECT_EQ(outputs.at("x")[2].item<float>(), 1);
  EXPECT_EQ(outputs.at("w")[2].item<float>(), 1);
}

TEST(ExecutorTest, BadWeightsAreErrors) {
  NamedTensors weights = smallWeights();
  weights.erase("head.weight");
  EXPECT_NE(createError(smallTrainingPlan(), weights).find("no weight 'head.weight'"), std::string::npos);
  weights["head.weight"] = at::zeros({11, 7});
  EXPECT_NE(createError(smallTrainingPlan(), weights).find("has shape [11,7], the plan expects [11,6]"),
            std::string::npos);
  weights["head.weight"] = at::zeros({11, 6}, at::kLong);
  EXPECT_NE(createError(smallTrainingPlan(), weights).find("floating-point"), std::string::npos);
  for (double bad : std::vector<double>{std::nan(""), INFINITY, -INFINITY})
    for (at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
      weights["head.weight"] = at::zeros({11, 6}, dtype);
      weights["head.weight"][10][5] = bad;
      EXPECT_NE(createError(smallTrainingPlan(), weights).find("'head.weight' of 'memory' holds 1 of 66 values"),
                std::string::npos)
          << createError(smallTrainingPlan(), weights);
    }
}

TEST(ExecutorTest, InitsFollowEachOther) {
  plan::Plan plan = smallTrainingPlan();
  NamedTensors weights = smallWeights();
  weights.erase("proj.weight");
  plan.weights[2].init = plan::Init{"normal", "", 0, 0, 0.1, {}};
  auto executor = make(plan, weights);
  EXPECT_NEAR(executor->masters().at("proj.weight").std().item<double>(), 0.1, 0.05);
  weights.erase("head.weight");
  weights.erase("embed.weight");
  plan.weights[3].init = plan::Init{"copy", "embed.weight", 0, 0, 0, {}};
  plan.weights[0].init = plan::Init{"normal", "", 0, 0, 0.1, {}};
  EXPECT_NE(make(plan, weights), nullptr);
  plan.weights[0].init = plan::Init{"copy", "head.weight", 0, 0, 0, {}};
  EXPECT_NE(createError(plan, weights).find("leads back to itself"), std::string::npos);
}

TEST(ExecutorTest, TeachersComeFromTheBase) {
  PlanBuilder b;
  int64_t w = b.weight("w", {2}), teacher = b.weight("teacher.w", {2});
  b.plan.weights[1].teacherOf = "w";
  b.output("difference", b.op("add", {w, b.op("scale", {teacher}, {{"factor", -1.0}})}));
  std::string base = testing::TempDir() + "/morph-base.safetensors",
              trained = testing::TempDir() + "/morph-t.safetensors";
  ASSERT_TRUE(writeSafetensors(base, {{"w", at::zeros({2})}}).ok());
  ASSERT_TRUE(writeSafetensors(trained, {{"w", at::ones({2})}}).ok());
  auto store = WeightStore::open({base, trained});
  ASSERT_TRUE(store.ok());
  auto executor = Executor::create(b.plan, *store, Precision::F32, 1);
  ASSERT_TRUE(executor.ok()) << executor.status().message();
  EXPECT_EQ((*executor)->run({})->at("difference")[0].item<float>(), 1);
  std::remove(base.c_str());
  std::remove(trained.c_str());
}

struct BadInput {
  const char *name;
  std::function<void(NamedTensors &)> damage;
  const char *message;
};

TEST(ExecutorTest, BadInputsAreErrors) {
  const BadInput tests[] = {
      {"missing", [](NamedTensors &in) { in.erase("tokens"); }, "input 'tokens' of program 'distill' is missing"},
      {"dtype", [](NamedTensors &in) { in["tokens"] = in["tokens"].to(at::kInt); }, "expected int64"},
      {"float", [](NamedTensors &in) { in["weights"] = at::ones({3}, at::kLong); }, "expected a floating-point type"},
      {"rank", [](NamedTensors &in) { in["tokens"] = in["tokens"].view(-1); }, "has shape [8], expected [B,T]"},
      {"static", [](NamedTensors &in) { in["teacher_logits"] = at::zeros({3, 12}); }, "expected [N,11]"},
      {"sizes", [](NamedTensors &in) { in["weights"] = at::ones({4}); }, "has N = 4, input 'positions' has 3"},
      {"empty", [](NamedTensors &in) { in["tokens"] = at::zeros({0, 4}, at::kLong); }, "its size B is 0"},
      {"id", [](NamedTensors &in) { in["tokens"][1][2] = 11; }, "holds 11 at element 6, expected 0 to 10"},
      {"negative", [](NamedTensors &in) { in["tokens"][0][0] = -1; }, "holds -1 at element 0"},
      {"huge", [](NamedTensors &in) { in["tokens"][1][2] = INT64_MAX; }, "holds 9223372036854775807 at element 6"},
      {"position", [](NamedTensors &in) { in["positions"][2] = 8; }, "holds 8 at element 2, expected 0 to 7"},
  };
  auto executor = make(smallTrainingPlan(), smallWeights());
  for (const BadInput &test : tests) {
    NamedTensors inputs = smallInputs();
    for (auto &[name, tensor] : inputs)
      tensor = tensor.clone();
    test.damage(inputs);
    auto outputs = executor->run(inputs);
    ASSERT_FALSE(outputs.ok()) << test.name;
    EXPECT_NE(outputs.status().message().find(test.message), std::string::npos) << outputs.status().message();
    EXPECT_EQ(outputs.status().exitCode(), 2);
  }
  EXPECT_TRUE(executor->run(smallInputs()).ok());
}

TEST(ExecutorTest, EveryIndexHasItsBound) {
  // The rows of every op that reads or writes at an index are bounded by the sizes of this run, and rows of gradients
  // by the attribute; positions of padding and caches by what sums of them can hold.
  NamedTensors weights, inputs = {{"tokens", at::zeros({2, 3}, at::kLong)},
                                  {"positions", at::zeros({4}, at::kLong)},
                                  {"targets", at::zeros({4}, at::kLong)},
                                  {"start", at::zeros({2}, at::kLong)},
                                  {"offset", at::zeros({2}, at::kLong)},
                                  {"weights", at::ones({4})},
                                  {"begins", at::zeros({2, 3}, at::kLong)},
                                  {"teacher_logits", at::zeros({4, 11})},
                                  {"rate", at::ones({})},
                                  {"step", at::ones({}, at::kLong)}};
  plan::Plan plan = everyOpPlan();
  for (const plan::Weight &weight : plan.weights)
    weights[weight.name] = at::ones(weight.shape);
  for (const auto &[form, precision, ring] :
       {std::tuple(plan, Precision::F32, at::kFloat), std::tuple(withBf16(plan), Precision::F32, at::kBFloat16),
        std::tuple(plan, Precision::F64, at::kDouble)}) {
    auto executor = make(form, weights, precision);
    const at::ScalarType type = precision == Precision::F64 ? at::kDouble : at::kFloat;
    inputs["cache"] = at::ones({2, 16, 2, 4}, ring);
    for (const char *name : {"sum", "parameter", "exp_avg", "exp_avg_sq"})
      inputs[name] = at::ones({11, 8}, type);
    auto outputs = executor->run(inputs);
    ASSERT_TRUE(outputs.ok()) << outputs.status().message();
    for (const auto &[name, limit] : std::map<std::string, int64_t>{{"tokens", 11},
                                                                    {"positions", 6},
                                                                    {"targets", 11},
                                                                    {"start", int64_t(1) << 31},
                                                                    {"offset", int64_t(1) << 31}})
      for (int64_t wrong : {limit, int64_t(-1), INT64_MIN}) {
        NamedTensors changed = inputs;
        changed[name] = inputs[name].clone();
        changed[name].view(-1)[-1] = wrong;
        outputs = executor->run(changed);
        ASSERT_FALSE(outputs.ok()) << name << " " << wrong;
        EXPECT_NE(outputs.status().message().find("input '" + name + "' of program 'test' holds " +
                                                  std::to_string(wrong) + " at element "),
                  std::string::npos)
            << outputs.status().message();
        EXPECT_NE(outputs.status().message().find("expected 0 to " + std::to_string(limit - 1)), std::string::npos)
            << outputs.status().message();
      }
  }
}

TEST(ExecutorTest, ANamedVocabularyDoesNotLiftTheBoundOfTargets) {
  // Found with a plan whose logits were declared [N,V]: targets had no bound, and the gradient wrote where they said.
  PlanBuilder b;
  Dim rows = std::string("N");
  int64_t hidden = b.input("hidden", {rows, Dim(int64_t(6))}), targets = b.input("targets", {rows}, plan::DType::I64);
  int64_t dy = b.input("dy", {rows});
  int64_t logits = b.op("linear", {hidden, b.weight("head.weight", {11, 6}), -1});
  b.output("d", b.op("token_nll_grad", {dy, logits, targets}));
  for (int64_t value : {logits, b.plan.outputs[0].value})
    b.plan.values[static_cast<size_t>(value)].shape[1] = std::string("V");
  const std::string error = createError(b.plan, {{"head.weight", at::ones({11, 6})}});
  EXPECT_NE(error.find("is declared as [N,V] of f32 but is [N,11] of f32"), std::string::npos) << error;
}

TEST(ExecutorTest, SizesOfZeroAndBeyondMemoryAreErrors) {
  auto executor = make(smallTrainingPlan(), smallWeights());
  for (const char *name : {"tokens", "positions"}) {
    NamedTensors inputs = smallInputs();
    inputs[name] = inputs[name].narrow(-1, 0, 0);
    EXPECT_NE(executor->run(inputs).status().message().find("has no elements"), std::string::npos) << name;
  }
  // A view of one element repeated: its products could not be addressed.
  PlanBuilder b;
  int64_t x = b.input("x", {Dim(std::string("N")), Dim(int64_t(1))});
  b.output("y", b.op("linear", {x, b.weight("w", {1024, 1}), -1}));
  auto wide = make(b.plan, {{"w", at::ones({1024, 1})}});
  auto outputs = wide->run({{"x", at::ones({1, 1}).expand({int64_t(1) << 39, 1})}});
  ASSERT_FALSE(outputs.ok());
  EXPECT_NE(outputs.status().message().find("has more elements than can be addressed"), std::string::npos)
      << outputs.status().message();
  // The last dimension of a norm is a number: a size of this run that is 0 cannot divide.
  PlanBuilder n;
  int64_t z = n.input("x", {Dim(std::string("S"))});
  n.output("y", n.op("exp", {z}));
  n.plan.instructions[0].op = "l2_norm";
  n.plan.instructions[0].attributes["eps"] = 1e-6;
  EXPECT_NE(createError(n.plan, {}).find("C is S, but must be known when the program is made"), std::string::npos)
      << createError(n.plan, {});
}

/// Writes x [1,T,2] into a ring of four slots, an input or a trained weight.
plan::Plan ringPlan(bool isWeight) {
  PlanBuilder b;
  const Dim one = int64_t(1), two = int64_t(2);
  const int64_t x = b.input("x", {one, Dim(std::string("T")), two}),
                offset = b.input("offset", {one}, plan::DType::I64);
  const int64_t ring = isWeight ? b.weight("ring", {1, 4, 2}, true) : b.input("ring", {one, Dim(int64_t(4)), two});
  const int64_t next = b.op("cache_write", {ring, x, offset});
  b.output(isWeight ? "grad.ring" : "next", next);
  b.output("twice", b.op("scale", {next}, {{"factor", 2.0}}));
  return b.plan;
}

TEST(ExecutorTest, UpdatesWhatItWasGiven) {
  const at::Tensor expected = at::tensor({3, 3, 0, 0, 1, 1, 2, 2}, at::kFloat).view({1, 4, 2});
  NamedTensors inputs = {{"x", at::tensor({1, 1, 2, 2, 3, 3}, at::kFloat).view({1, 3, 2})},
                         {"offset", at::full({1}, 6, at::kLong)}};
  auto trained = make(ringPlan(true), {{"ring", at::zeros({1, 4, 2})}});
  NamedTensors outputs = *trained->run(inputs);
  EXPECT_TRUE(at::equal(trained->masters().at("ring"), expected));
  for (Precision precision : {Precision::F32, Precision::F64}) {
    auto executor = make(ringPlan(false), {}, precision);
    const at::Tensor ring = at::zeros({1, 4, 2}, precision == Precision::F64 ? at::kDouble : at::kFloat);
    inputs["ring"] = ring;
    outputs = *executor->run(inputs);
    EXPECT_EQ(outputs.at("next").data_ptr(), ring.data_ptr());
    EXPECT_TRUE(at::equal(ring.to(at::kFloat), expected));
    EXPECT_TRUE(at::equal(outputs.at("twice").to(at::kFloat), 2 * expected));
    // Nor does the executor keep the caller's memory.
    outputs.clear();
    inputs.erase("ring");
    EXPECT_EQ(ring.use_count(), 1u);
  }
}

TEST(ExecutorTest, WhatIsUpdatedMustBeTheCallersAlone) {
  auto executor = make(ringPlan(false), {});
  const at::Tensor memory = at::zeros({16});
  NamedTensors inputs = {{"x", at::ones({1, 3, 2})}, {"offset", at::zeros({1}, at::kLong)}};
  auto errorWith = [&](const at::Tensor &ring) {
    inputs["ring"] = ring;
    auto outputs = executor->run(inputs);
    return outputs.ok() ? "ran" : outputs.status().message();
  };
  const std::string form =
      "input 'ring' of program 'test' is updated in place: it must be contiguous, on cpu and of Float";
  EXPECT_NE(errorWith(at::zeros({1, 4, 2}, at::kDouble)).find(form), std::string::npos);
  EXPECT_NE(errorWith(at::zeros({1, 2, 4}).transpose(1, 2)).find(form), std::string::npos);
  inputs["x"] = memory.narrow(0, 6, 6).view({1, 3, 2});
  EXPECT_NE(errorWith(memory.narrow(0, 0, 8).view({1, 4, 2})).find("inputs 'ring' and 'x' of program 'test' overlap"),
            std::string::npos);
  // A third input that begins between them hides nothing.
  inputs["x"] = memory.narrow(0, 0, 12).view({1, 6, 2});
  inputs["offset"] = at::from_blob(memory.data_ptr<float>() + 2, {1}, at::kLong);
  EXPECT_NE(errorWith(memory.narrow(0, 8, 8).view({1, 4, 2})).find("inputs 'x' and 'ring' of program 'test' overlap"),
            std::string::npos);
  inputs["offset"] = at::zeros({1}, at::kLong);
  inputs["x"] = memory.narrow(0, 8, 6).view({1, 3, 2});
  EXPECT_EQ(errorWith(memory.narrow(0, 0, 8).view({1, 4, 2})), "ran");
}

/// Positions x [B,T,1,2] are written into a ring [B,S,1,2] and see the last `window` of it; 0: all.
plan::Plan attentionOnRing(int64_t window) {
  PlanBuilder b;
  const Dim batch = std::string("B"), one = int64_t(1), two = int64_t(2);
  const int64_t x = b.input("x", {batch, Dim(std::string("T")), one, two}),
                offset = b.input("offset", {batch}, plan::DType::I64);
  const int64_t ring = b.op("cache_write", {b.input("ring", {batch, Dim(std::string("S")), one, two}), x, offset});
  std::map<std::string, plan::Attribute> attributes = {{"scale", 1.0}};
  if (window > 0)
    attributes["window"] = window;
  b.output("ring", ring);
  b.output("y", b.op("attention", {x, ring, ring, -1, offset}, attributes));
  return b.plan;
}

TEST(ExecutorTest, ARingHasRoomForWhatIsWrittenAndSeen) {
  // Before anything runs: kernels on a GPU do not look.
  auto errorOf = [](int64_t window, int64_t positions, int64_t slots, int64_t second) -> std::string {
    auto executor = make(attentionOnRing(window), {});
    auto outputs = executor->run({{"x", at::ones({2, positions, 1, 2})},
                                  {"ring", at::ones({2, slots, 1, 2})},
                                  {"offset", at::tensor({int64_t(0), second}, at::kLong)}});
    return outputs.ok() ? "" : outputs.status().message();
  };
  EXPECT_EQ(errorOf(0, 2, 6, 4), "");
  EXPECT_EQ(errorOf(3, 2, 4, 1000), "");
  for (const auto &[error, expected] :
       {std::pair(errorOf(0, 2, 6, 5), "input 'offset' of program 'test' holds 5 at element 1: 2 positions from there "
                                       "on see 7, but a ring keeps 6"),
        std::pair(errorOf(3, 2, 3, 1000), "2 positions from there on see 4, but a ring keeps 3"),
        std::pair(errorOf(3, 5, 4, 0), "program 'test': cache_write_c4: T is 5, expected no more than S, which is 4")})
    EXPECT_NE(error.find(expected), std::string::npos) << error;
}

TEST(ExecutorTest, AKernelsErrorNamesTheInstruction) {
  // Whether there are as many keys as queries is known at run time only.
  PlanBuilder b;
  Dim batch = std::string("B"), one = int64_t(1);
  int64_t q = b.input("q", {batch, Dim(std::string("T")), one, one});
  int64_t k = b.input("k", {batch, Dim(std::string("S")), one, one});
  b.output("y", b.op("attention", {q, k, k, -1, -1}, {{"scale", 1.0}}));
  auto outputs = make(b.plan, {})->run({{"q", at::ones({2, 3, 1, 1})}, {"k", at::ones({2, 2, 1, 1})}});
  ASSERT_FALSE(outputs.ok());
  EXPECT_NE(outputs.status().message().find("instruction 0 (attention)"), std::string::npos)
      << outputs.status().message();
}

} // namespace
} // namespace morph
