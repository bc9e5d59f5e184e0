// SPDX-License-Identifier: Apache-2.0
// Ops on windows of several documents (the operand `begins`) are, to the bit, the same ops on each document alone.

#include "runtime/kernels/Documents.h"
#include "test/plan/PlanBuilder.h"

#include "runtime/exec/Executor.h"
#include "runtime/weights/Initialize.h"

#include <ATen/Parallel.h>

#include <gtest/gtest.h>

namespace morph {
namespace {

using Attributes = std::map<std::string, plan::Attribute>;

constexpr int64_t kBatch = 2, kLength = 23;

/// [B,T]: documents of these lengths, one list a sequence.
at::Tensor beginsOf(const std::vector<std::vector<int64_t>> &lengths, int64_t whole = kLength) {
  const at::Tensor begins = at::empty({static_cast<int64_t>(lengths.size()), whole}, at::kLong);
  for (size_t b = 0; b < lengths.size(); ++b) {
    int64_t at = 0;
    for (int64_t length : lengths[b]) {
      begins.select(0, static_cast<int64_t>(b)).slice(0, at, at + length).fill_(at);
      at += length;
    }
    EXPECT_EQ(at, whole);
  }
  return begins;
}

/// An op and its operands as shapes (B and T by name; an empty one: absent).
struct DocumentCase {
  std::string name, op;
  std::vector<std::pair<std::string, std::vector<plan::Dim>>> operands; ///< But for begins, which is the last one.
  Attributes attributes;
};

const plan::Dim kB = std::string("B"), kT = std::string("T");

std::vector<plan::Dim> heads(int64_t count, int64_t width) { return {kB, kT, count, width}; }

std::vector<DocumentCase> documentCases() {
  const Attributes plain = {{"scale", 0.5}}, window = {{"scale", 0.5}, {"window", int64_t(4)}};
  Attributes keeps = window;
  keeps["keep_lse"] = true;
  const Attributes chunks = {{"scale", 0.5}, {"chunk", int64_t(4)}},
                   normalised = {{"scale", 0.5}, {"chunk", int64_t(4)}, {"normaliser", 1.0}};
  const std::pair<std::string, std::vector<plan::Dim>> none;
  const auto q = std::pair("q", heads(4, 8)), k = std::pair("k", heads(2, 8)), v = std::pair("v", heads(2, 8)),
             dy = std::pair("dy", heads(4, 8));
  const auto decay = std::pair("decay", std::vector<plan::Dim>{kB, kT, int64_t(4)}),
             beta = std::pair("beta", std::vector<plan::Dim>{kB, kT, int64_t(4)});
  const auto q2 = std::pair("q", heads(2, 8)), v4 = std::pair("v", heads(4, 6)), dv4 = std::pair("dy", heads(4, 6));
  const auto channels = std::pair("channel_decay", heads(4, 8)), write = std::pair("write", heads(4, 8)),
             erase = std::pair("erase", heads(4, 8));
  const auto bonus = std::pair("bonus", std::vector<plan::Dim>{int64_t(4), int64_t(8)});
  const auto headDecay = std::pair("head_decay", std::vector<plan::Dim>{int64_t(4)});
  const auto x = std::pair("x", std::vector<plan::Dim>{kB, kT, int64_t(8)}),
             dx = std::pair("dy", std::vector<plan::Dim>{kB, kT, int64_t(8)}),
             taps = std::pair("weight", std::vector<plan::Dim>{int64_t(8), int64_t(1), int64_t(4)});
  return {
      {"Attention", "attention", {q, k, v, none, none}, plain},
      {"AttentionWindow", "attention", {q, k, v, none, none}, window},
      {"AttentionSums", "attention", {q, k, v, none, none}, keeps},
      {"AttentionGrad", "attention_grad", {dy, q, k, v, none, none, none}, window},
      {"DeltaRule", "linear_attention", {q2, q2, v4, none, decay, none, beta, none, none, none, none}, chunks},
      {"Normalised", "linear_attention", {q2, q2, v4, headDecay, none, none, none, none, none, none, none}, normalised},
      {"Free", "linear_attention", {q2, q2, v4, none, none, channels, none, write, erase, bonus, none}, chunks},
      {"DeltaRuleGrad",
       "linear_attention_grad",
       {dv4, none, none, q2, q2, v4, none, decay, none, beta, none, none, none, none},
       chunks},
      {"NormalisedGrad",
       "linear_attention_grad",
       {dv4, none, none, q2, q2, v4, headDecay, none, none, none, none, none, none, none},
       normalised},
      {"FreeGrad",
       "linear_attention_grad",
       {dv4, none, none, q2, q2, v4, none, none, channels, none, write, erase, bonus, none},
       chunks},
      {"ShortConv", "short_conv", {x, taps, none}, {}},
      {"ShortConvGrad", "short_conv_grad", {dx, x, taps, none}, {}},
  };
}

/// The plan of the op alone, its results as outputs r0, r1, ...
plan::Plan planOf(const DocumentCase &each, bool separates) {
  PlanBuilder b("test");
  std::vector<int64_t> operands;
  std::map<std::string, int64_t> made;
  for (const auto &[name, shape] : each.operands) {
    if (!shape.empty() && !made.count(name))
      made[name] = b.input(name, shape);
    operands.push_back(shape.empty() ? -1 : made[name]);
  }
  if (separates)
    operands.push_back(b.input("begins", {kB, kT}, plan::DType::I64));
  const std::vector<int64_t> results = b.ops(each.op, operands, each.attributes);
  for (size_t r = 0; r < results.size(); ++r)
    b.output("r" + std::to_string(r), results[r]);
  return b.plan;
}

NamedTensors outputsOf(const plan::Plan &plan, const NamedTensors &inputs, Precision precision = Precision::F64) {
  auto executor = Executor::create(plan, WeightStore::inMemory({}), precision, 0);
  EXPECT_TRUE(executor.ok()) << executor.status().message();
  auto outputs = (*executor)->run(inputs);
  EXPECT_TRUE(outputs.ok()) << outputs.status().message();
  for (auto &[name, tensor] : *outputs)
    tensor = tensor.clone();
  return *outputs;
}

class Documents : public testing::TestWithParam<DocumentCase> {
protected:
  static NamedTensors inputsOf(const DocumentCase &each) {
    NamedTensors inputs;
    for (const auto &[name, shape] : each.operands) {
      std::vector<int64_t> sizes;
      for (const plan::Dim &dim : shape)
        sizes.push_back(dim == kB ? kBatch : dim == kT ? kLength : std::get<int64_t>(dim));
      if (shape.empty())
        continue;
      at::Tensor x = seededNormal(sizes, 1, 5, name, at::kDouble);
      if (name.find("decay") != std::string::npos)
        x = -0.3 * x.abs();
      inputs[name] = name == "beta" ? x.sigmoid() : name == "write" || name == "erase" ? 0.3 * x : x;
    }
    return inputs;
  }
  static bool isOfPositions(const plan::Plan &plan, const std::string &name) {
    for (const plan::NamedValue &input : plan.inputs)
      if (input.name == name) {
        const std::vector<plan::Dim> &shape = plan.values[static_cast<size_t>(input.value)].shape;
        return shape.size() > 1 && shape[1] == kT;
      }
    return false;
  }
};

TEST_P(Documents, AreComputedAlone) {
  const plan::Plan packed = planOf(GetParam(), true), alone = planOf(GetParam(), false);
  NamedTensors inputs = inputsOf(GetParam());
  inputs["begins"] = beginsOf({{5, 1, 9, 8}, {kLength}});
  const NamedTensors whole = outputsOf(packed, inputs);
  std::map<std::string, at::Tensor> sums;
  for (const DocumentSpan &document : documentsOf(inputs["begins"])) {
    NamedTensors parts;
    for (const auto &[name, tensor] : inputs)
      if (name != "begins")
        parts[name] = isOfPositions(packed, name)
                          ? tensor.narrow(0, document.sequence, 1).narrow(1, document.begin, document.length)
                          : tensor;
    for (const auto &[name, result] : outputsOf(alone, parts)) {
      const plan::NamedValue &output = packed.outputs[static_cast<size_t>(std::stoi(name.substr(1)))];
      const std::vector<plan::Dim> &shape = packed.values[static_cast<size_t>(output.value)].shape;
      const auto axis = std::find(shape.begin(), shape.end(), kT) - shape.begin();
      if (shape[0] != kB) {
        sums[name] = sums.count(name) ? sums[name] + result : result;
      } else if (axis < static_cast<int64_t>(shape.size())) {
        EXPECT_TRUE(at::equal(
            whole.at(name).narrow(0, document.sequence, 1).narrow(axis, document.begin, document.length), result))
            << name << " of the document at " << document.begin;
      } else if (document.begin + document.length == kLength) {
        EXPECT_TRUE(at::equal(whole.at(name).narrow(0, document.sequence, 1), result)) << name << ", the last state";
      }
    }
  }
  for (const auto &[name, sum] : sums)
    EXPECT_TRUE(at::equal(whole.at(name), sum)) << name;
}

TEST_P(Documents, AreNotWhatTheWindowIs) {
  NamedTensors inputs = inputsOf(GetParam());
  const NamedTensors joined = outputsOf(planOf(GetParam(), false), inputs);
  inputs["begins"] = beginsOf({{5, 1, 9, 8}, {kLength}});
  const NamedTensors packed = outputsOf(planOf(GetParam(), true), inputs);
  EXPECT_FALSE(at::allclose(joined.at("r0"), packed.at("r0")));
  inputs["begins"] = beginsOf({{kLength}, {kLength}});
  const NamedTensors whole = outputsOf(planOf(GetParam(), true), inputs);
  for (const auto &[name, tensor] : joined)
    EXPECT_TRUE(at::equal(whole.at(name), tensor)) << name;
}

TEST(DocumentScratch, OfOneMayBeMoreThanOfTheWindow) {
  // Two threads have enough to do with the groups of two sequences. Of a document's they take heads as tasks, which
  // keep sums of their own: twice what the window takes.
  constexpr int64_t length = 600;
  const int before = at::get_num_threads();
  at::set_num_threads(2);
  const std::pair<std::string, std::vector<plan::Dim>> none;
  const auto q = std::pair("q", heads(9, 64)), k = std::pair("k", heads(3, 64)), v = std::pair("v", heads(3, 64)),
             dy = std::pair("dy", heads(9, 64));
  const DocumentCase each = {"", "attention_grad", {dy, q, k, v, none, none, none}, {{"scale", 0.125}}};
  const plan::Plan packed = planOf(each, true), alone = planOf(each, false);
  NamedTensors inputs;
  for (const auto &[name, shape] : each.operands)
    if (!shape.empty())
      inputs[name] = seededNormal({kBatch, length, std::get<int64_t>(shape[2]), 64}, 1, 5, name, at::kFloat);
  inputs["begins"] = beginsOf({{length - 8, 8}, {length}}, length);
  const NamedTensors whole = outputsOf(packed, inputs, Precision::F32);
  for (const DocumentSpan &document : documentsOf(inputs["begins"])) {
    auto of = [&](const at::Tensor &x) {
      return x.narrow(0, document.sequence, 1).narrow(1, document.begin, document.length);
    };
    NamedTensors parts;
    for (const auto &[name, tensor] : inputs)
      if (name != "begins")
        parts[name] = of(tensor);
    for (const auto &[name, result] : outputsOf(alone, parts, Precision::F32))
      EXPECT_TRUE(at::equal(of(whole.at(name)), result)) << name << " of the document of " << document.length;
  }
  at::set_num_threads(before);
}

INSTANTIATE_TEST_SUITE_P(Ops, Documents, testing::ValuesIn(documentCases()),
                         [](const auto &info) { return info.param.name; });

TEST(DocumentsOf, RefusesWhatIsNoBegin) {
  EXPECT_EQ(documentsOf(beginsOf({{3, 20}})).size(), 2u);
  for (int64_t wrong : {-1, 1, 3, 22}) {
    const at::Tensor begins = beginsOf({{kLength}, {3, 20}});
    begins[1][2] = wrong;
    EXPECT_THROW(documentsOf(begins), c10::Error) << wrong;
  }
  const at::Tensor begins = beginsOf({{kLength}, {3, 20}});
  begins[1][0] = 1; // Of the sequence before.
  EXPECT_THROW(documentsOf(begins), c10::Error);
}

} // namespace
} // namespace morph
