// SPDX-License-Identifier: Apache-2.0
// Every op of kernels, compiled, against its definition in float64: odd widths, any split of the rows with the same
// bits, values at the ends of the range.
// Shapes: R rows, W width.

#include "test/kernels/CompiledKernels.h"
#include "test/kernels/KernelCases.h"

#include "runtime/base/File.h"
#include "runtime/base/Sha256.h"
#include "runtime/plan/Workspace.h"

#include <ATen/ATen.h>

#include <cmath>
#include <dlfcn.h>
#include <ostream>

namespace morph {
namespace {

const std::vector<KernelCase> kCases = kernelCases();
constexpr int64_t kRows = 13;
const std::vector<int64_t> kWidths = {1, 7, 64, 576, 1537};

/// Kernels of every case and width, and a few of other shapes.
class CompiledKernelTest : public testing::Test {
protected:
  static void SetUpTestSuite() {
    std::string text;
    for (const KernelCase &c : kCases)
      for (int64_t width : kWidths)
        text += textOf(c, width);
    text += R"(
      morph.kernel @heads rows 2 (%x: tensor<?x?x60xf32>, %w: tensor<20xf32>, %z: tensor<?x?x60xf32>) {
        %0 = morph.split_heads %x heads 3 : tensor<?x?x60xf32>
        %1 = morph.rms_norm %0, %w eps 1.0e-5 : tensor<?x?x3x20xf32>, tensor<20xf32>
        %2 = morph.merge_heads %1 : tensor<?x?x3x20xf32>
        %3 = morph.mul %2, %z : tensor<?x?x60xf32>, tensor<?x?x60xf32>
        morph.return %3 : tensor<?x?x60xf32>
      }
      morph.kernel @turns rows 1 (%x: tensor<?x3x20xf32>, %w: tensor<3x20xf32>) {
        %0 = morph.l2_norm %x eps 1.0e-6 : tensor<?x3x20xf32>
        %1 = morph.mul %0, %w : tensor<?x3x20xf32>, tensor<3x20xf32>
        morph.return %1 : tensor<?x3x20xf32>
      }
      morph.kernel @sums rows 2 (%x: tensor<?x?x42xf32>, %y: tensor<?x?x42xf32>, %z: tensor<?x?x42xf32>) {
        %0 = morph.silu %x : tensor<?x?x42xf32>
        %1 = morph.rms_norm_weight_grad %0, %y eps 1.0e-5 : tensor<?x?x42xf32>, tensor<?x?x42xf32>
        %2 = morph.reduce_to %0 rank 1 : tensor<?x?x42xf32>
        %3 = morph.reduce_to %0 rank 0 : tensor<?x?x42xf32>
        %4 = morph.blend_gate_grad %0, %x, %y, %z : tensor<?x?x42xf32>, tensor<?x?x42xf32>, tensor<?x?x42xf32>, tensor<?x?x42xf32>
        morph.return %0, %1, %2, %3, %4 : tensor<?x?x42xf32>, tensor<42xf32>, tensor<42xf32>, tensor<f32>, tensor<2xf32>
      }
      morph.kernel @headSums rows 1 (%x: tensor<?x3x20xf32>) {
        %0 = morph.reduce_to %x rank 1 : tensor<?x3x20xf32>
        %1 = morph.reduce_to %x rank 2 : tensor<?x3x20xf32>
        morph.return %0, %1 : tensor<20xf32>, tensor<3x20xf32>
      }
      morph.kernel @toBf16 rows 1 (%x: tensor<?x37xf32>) {
        %0 = morph.cast %x to "bf16" : tensor<?x37xf32>
        morph.return %0 : tensor<?x37xbf16>
      }
      morph.kernel @siluOfBf16 rows 1 (%x: tensor<?x37xbf16>, %w: tensor<37xf32>) {
        %0 = morph.cast %x to "f32" : tensor<?x37xbf16>
        %1 = morph.rms_norm %0, %w eps 1.0e-5 : tensor<?x37xf32>, tensor<37xf32>
        morph.return %1 : tensor<?x37xf32>
      }
    )";
    StatusOr<KernelLibrary> compiled = compileKernels(text);
    if (compiled.ok())
      library = new KernelLibrary(*compiled);
    else
      failure = compiled.status().message();
  }
  // Here and not above, where a failure would skip the tests.
  void SetUp() override { ASSERT_TRUE(library) << failure; }
  static void TearDownTestSuite() {
    delete library;
    library = nullptr;
  }

  static void call(const std::string &kernel, const Tensors &operands, Tensors &results, int64_t begin, int64_t end,
                   const std::string &set = "") {
    KernelFunction function = library->find(kernel, set);
    ASSERT_TRUE(function) << kernel;
    std::vector<void *> buffers;
    for (const Tensors *list : {&operands, const_cast<const Tensors *>(&results)})
      for (const at::Tensor &tensor : *list)
        buffers.push_back(tensor.data_ptr());
    const int64_t sizes[] = {end};
    function(buffers.data(), sizes, begin, end);
  }

  static KernelLibrary *library;
  static std::string failure;
};
KernelLibrary *CompiledKernelTest::library = nullptr;
std::string CompiledKernelTest::failure;

TEST_F(CompiledKernelTest, AgreesWithFloat64) {
  for (const KernelCase &c : kCases)
    for (int64_t width : kWidths) {
      Tensors operands = makeOperands(c, kRows, width), expected = refer(c, operands), results;
      for (const at::Tensor &tensor : expected)
        results.push_back(at::full(tensor.sizes(), NAN, at::kFloat));
      call(nameOf(c, width), operands, results, 0, kRows);
      for (size_t i = 0; i < expected.size(); ++i) {
        double error = (results[i].to(at::kDouble) - expected[i]).abs().max().item<double>();
        double scale = expected[i].abs().max().item<double>();
        // The gradient of a norm of one element is the difference of two numbers that are nearly equal.
        double cancelled = width == 1 && c.name.find("Grad") != std::string::npos ? 1e-5 : 1e-7;
        EXPECT_LE(error, 1e-6 * scale + cancelled) << nameOf(c, width) << " result " << i;
      }
    }
}

TEST_F(CompiledKernelTest, AnySplitOfRowsGivesTheSameBits) {
  for (const KernelCase &c : kCases)
    for (int64_t width : kWidths) {
      Tensors operands = makeOperands(c, kRows, width), whole, parts;
      for (const at::Tensor &tensor : refer(c, operands)) {
        whole.push_back(at::full(tensor.sizes(), NAN, at::kFloat));
        parts.push_back(at::full(tensor.sizes(), NAN, at::kFloat));
      }
      call(nameOf(c, width), operands, whole, 0, kRows);
      call(nameOf(c, width), operands, parts, 5, kRows);
      call(nameOf(c, width), operands, parts, 1, 1); // No row.
      call(nameOf(c, width), operands, parts, 1, 5);
      call(nameOf(c, width), operands, parts, 0, 1);
      for (size_t i = 0; i < whole.size(); ++i)
        EXPECT_TRUE(at::equal(whole[i], parts[i])) << nameOf(c, width) << " result " << i;
    }
}

TEST_F(CompiledKernelTest, AllInstructionSetsGiveTheSameBits) {
  std::vector<std::string> sets = KernelLibrary::instructionSets();
  if (sets.size() < 2)
    GTEST_SKIP() << "this machine has one instruction set";
  for (const KernelCase &c : kCases)
    for (int64_t width : kWidths) {
      Tensors operands = makeOperands(c, kRows, width), best, other;
      for (const at::Tensor &tensor : refer(c, operands)) {
        best.push_back(at::full(tensor.sizes(), NAN, at::kFloat));
        other.push_back(at::full(tensor.sizes(), NAN, at::kFloat));
      }
      call(nameOf(c, width), operands, best, 0, kRows, sets[0]);
      call(nameOf(c, width), operands, other, 0, kRows, sets[1]);
      for (size_t i = 0; i < best.size(); ++i)
        EXPECT_TRUE(at::equal(best[i], other[i])) << nameOf(c, width) << " result " << i;
    }
}

TEST_F(CompiledKernelTest, WritesNothingBeyondItsRows) {
  for (const KernelCase &c : kCases)
    for (int64_t width : kWidths) {
      Tensors operands = makeOperands(c, kRows, width), results;
      for (size_t i = 0; i < refer(c, operands).size(); ++i)
        results.push_back(at::full({kRows, width}, -77, at::kFloat));
      call(nameOf(c, width), operands, results, 3, 6);
      for (const at::Tensor &result : results) {
        EXPECT_TRUE((result.slice(0, 0, 3) == -77).all().item<bool>()) << nameOf(c, width);
        EXPECT_TRUE((result.slice(0, 6) == -77).all().item<bool>()) << nameOf(c, width);
        EXPECT_FALSE((result.slice(0, 3, 6) == -77).any().item<bool>()) << nameOf(c, width);
      }
    }
}

TEST_F(CompiledKernelTest, LinesAreHeads) {
  at::Tensor x = at::randn({2, 5, 60}), w = at::randn({20}), z = at::randn({2, 5, 60});
  Tensors results = {at::empty({2, 5, 60})};
  call("heads", {x, w, z}, results, 0, 10);
  at::Tensor expected = rmsNorm(x.to(at::kDouble).view({2, 5, 3, 20}), w.to(at::kDouble)).view({2, 5, 60}) * z;
  EXPECT_LE((results[0] - expected).abs().max().item<double>(), 3e-6);
}

TEST_F(CompiledKernelTest, SumsOverRowsGetAPartABlock) {
  // Two whole blocks and one that is not.
  const int64_t rows = 2 * plan::kRowBlock + 5;
  at::Tensor x = at::randn({rows, 42}), y = at::randn({rows, 42}), z = at::randn({rows, 42});
  auto make = [&] {
    return Tensors{at::full({rows, 42}, NAN), at::full({3, 42}, NAN), at::full({3, 42}, NAN), at::full({3}, NAN),
                   at::full({3, 2}, NAN)};
  };
  Tensors whole = make();
  call("sums", {x, y, z}, whole, 0, rows);
  at::Tensor dx = at::silu(x.to(at::kDouble)), exact = y.to(at::kDouble);
  at::Tensor terms = dx * exact * at::rsqrt(exact.square().mean(-1, true) + 1e-5);
  for (int64_t b = 0; b < 3; ++b) {
    auto blockOf = [&](const at::Tensor &t) {
      return t.slice(0, b * plan::kRowBlock, std::min(rows, (b + 1) * plan::kRowBlock)).to(at::kDouble);
    };
    auto expectNear = [&](const at::Tensor &part, const at::Tensor &expected) {
      EXPECT_LE((part.to(at::kDouble) - expected).abs().max().item<double>(),
                1e-6 * (10 + expected.abs().max().item<double>()))
          << b;
    };
    expectNear(whole[1][b], blockOf(terms).sum(0));
    expectNear(whole[2][b], blockOf(dx).sum(0));
    expectNear(whole[3][b], blockOf(dx).sum());
    expectNear(whole[4][b][0], (blockOf(dx) * (blockOf(x) - blockOf(z))).sum());
    expectNear(whole[4][b][1], (blockOf(dx) * (blockOf(y) - blockOf(z))).sum());
  }
  // Blocks are computed in calls of their own with the same bits, on all instruction sets.
  for (const std::string &set : KernelLibrary::instructionSets()) {
    Tensors parts = make();
    call("sums", {x, y, z}, parts, plan::kRowBlock, rows, set);
    call("sums", {x, y, z}, parts, 0, plan::kRowBlock, set);
    for (size_t i = 0; i < whole.size(); ++i)
      EXPECT_TRUE(at::equal(whole[i], parts[i])) << set << " result " << i;
  }
}

TEST_F(CompiledKernelTest, SumsOverRowsAndHeads) {
  at::Tensor x = at::randn({7, 3, 20});
  Tensors results = {at::empty({20}), at::empty({3, 20})};
  call("headSums", {x}, results, 0, 7);
  at::Tensor exact = x.to(at::kDouble);
  EXPECT_LE((results[0] - exact.sum(at::IntArrayRef{0, 1})).abs().max().item<double>(), 1e-5);
  EXPECT_LE((results[1] - exact.sum(0)).abs().max().item<double>(), 1e-5);
}

TEST_F(CompiledKernelTest, LinesTakeTurnsOverUniformOperands) {
  at::Tensor x = at::randn({5, 3, 20}), w = at::randn({3, 20});
  Tensors results = {at::empty({5, 3, 20})};
  call("turns", {x, w}, results, 0, 5);
  at::Tensor expected = l2Norm(x.to(at::kDouble)) * w;
  EXPECT_LE((results[0] - expected).abs().max().item<double>(), 1e-6);
}

TEST_F(CompiledKernelTest, RoundsToBf16AsLibTorch) {
  at::Tensor x = at::randn({kRows, 37});
  x[0][0] = NAN;
  x[0][1] = INFINITY;
  x[0][2] = -INFINITY;
  x[0][3] = 1.00390625f; // Between two numbers of bf16: to the even one.
  x[0][4] = 1.01171875f;
  x[0][5] = 3.4e38f;
  Tensors results = {at::empty({kRows, 37}, at::kBFloat16)};
  call("toBf16", {x}, results, 0, kRows);
  at::Tensor expected = x.to(at::kBFloat16);
  EXPECT_TRUE(results[0][0][0].isnan().item<bool>());
  EXPECT_TRUE(at::equal(results[0].nan_to_num(5), expected.nan_to_num(5)));
}

TEST_F(CompiledKernelTest, ReadsBf16) {
  at::Tensor x = at::randn({kRows, 37}).to(at::kBFloat16), w = at::randn({37});
  Tensors results = {at::empty({kRows, 37})};
  call("siluOfBf16", {x, w}, results, 0, kRows);
  at::Tensor expected = rmsNorm(x.to(at::kDouble), w.to(at::kDouble));
  EXPECT_LE((results[0] - expected).abs().max().item<double>(), 3e-6);
}

TEST_F(CompiledKernelTest, ExpIsExactEnoughEverywhere) {
  // Columns of one: any number of rows.
  at::Tensor x = at::linspace(-104, 89, 2000003), y = at::empty_like(x);
  Tensors results = {y};
  call("exp_x_1", {x}, results, 0, x.numel());
  at::Tensor exact = at::exp(x.to(at::kDouble));
  at::Tensor relative = ((y.to(at::kDouble) - exact) / exact).abs();
  at::Tensor isNormal = at::logical_and(exact > 1.2e-38, exact < 3.4e38);
  EXPECT_LE(relative.masked_select(isNormal).max().item<double>(), 2e-7);
  // Below, within one denormal number.
  EXPECT_LE((y.to(at::kDouble) - exact).abs().masked_select(exact <= 1.2e-38).max().item<double>(), 1.5e-45);
  EXPECT_TRUE(y.masked_select(exact > 3.403e38).isinf().all().item<bool>());
}

// softplus(x) = max(x, 0) + log1p(exp(-|x|)): for x < 0 it is log1p alone, of all that any op gives it, (0, 1].
TEST_F(CompiledKernelTest, Log1pIsExactEnoughEverywhere) {
  at::Tensor x = -at::linspace(0, 104, 2000003), y = at::empty_like(x);
  Tensors results = {y};
  call("softplus_x_1", {x}, results, 0, x.numel());
  at::Tensor exact = at::log1p(at::exp(x.to(at::kDouble)));
  at::Tensor relative = ((y.to(at::kDouble) - exact) / exact).abs();
  EXPECT_LE(relative.masked_select(exact > 1.2e-38).max().item<double>(), 4e-7);
  EXPECT_LE((y.to(at::kDouble) - exact).abs().masked_select(exact <= 1.2e-38).max().item<double>(), 3e-45);
}

TEST_F(CompiledKernelTest, LogIsExactEnoughEverywhere) {
  at::Tensor x = at::exp(at::linspace(-87, 88, 2000003)), y = at::empty_like(x);
  Tensors results = {y};
  call("log_p_1", {x}, results, 0, x.numel());
  at::Tensor exact = at::log(x.to(at::kDouble));
  // Near one, where it is nearly zero, the error is that of a number of size one.
  EXPECT_LE(((y.to(at::kDouble) - exact).abs() / (1 + exact.abs())).max().item<double>(), 2e-7);
  at::Tensor ends = at::tensor({0.0f, INFINITY, 1.0f, -1.0f, NAN});
  results = {at::empty_like(ends)};
  call("log_p_1", {ends}, results, 0, ends.numel());
  EXPECT_EQ(results[0][0].item<float>(), -INFINITY);
  EXPECT_EQ(results[0][1].item<float>(), INFINITY);
  EXPECT_EQ(results[0][2].item<float>(), 0.0f);
  EXPECT_TRUE(std::isnan(results[0][3].item<float>()));
  EXPECT_TRUE(std::isnan(results[0][4].item<float>()));
}

TEST_F(CompiledKernelTest, EndsOfTheRange) {
  const std::vector<float> ends = {NAN,    INFINITY, -INFINITY, 0.0f,   -0.0f,   88.0f,
                                   -88.0f, 1e4f,     -1e4f,     1e-30f, -1e-30f, 3e38f};
  at::Tensor x = at::tensor(ends);
  for (const KernelCase &c : kCases) {
    if (c.arguments != "x" || c.name.find("Norm") != std::string::npos)
      continue;
    Tensors results = {at::empty_like(x)};
    call(c.name + "_1", {x}, results, 0, x.numel());
    at::Tensor expected = c.reference({x.to(at::kDouble)})[0].to(at::kFloat);
    for (size_t i = 0; i < ends.size(); ++i) {
      float y = results[0][static_cast<int64_t>(i)].item<float>(), e = expected[static_cast<int64_t>(i)].item<float>();
      if (std::isnan(e) || std::isinf(e))
        EXPECT_TRUE(std::isnan(e) ? std::isnan(y) : y == e)
            << c.name << " of " << ends[i] << " is " << y << ", not " << e;
      else
        EXPECT_NEAR(y, e, 3e-7 * std::abs(e) + 1e-37) << c.name << " of " << ends[i];
    }
  }
}

TEST_F(CompiledKernelTest, AGateOfZeroOrOneGivesACandidateItself) {
  at::Tensor a = at::randn({kRows, 64}), b = at::randn({kRows, 64});
  for (float gate : {0.0f, 1.0f}) {
    Tensors results = {at::empty({kRows, 64})};
    call("blend_64", {at::full({1}, gate), a, b}, results, 0, kRows);
    EXPECT_TRUE(at::equal(results[0], gate == 1 ? a : b));
  }
}

TEST_F(CompiledKernelTest, ResultsMayBeWhereOperandsWere) {
  // What findInPlace says of addRmsNorm: 0=0 0=1 1=0 1=1.
  at::Tensor w = at::randn({576});
  at::Tensor x = at::randn({kRows, 576}), y = at::randn({kRows, 576});
  Tensors apart = {at::empty_like(x), at::empty_like(x)}, swapped;
  call("addRmsNorm_576", {x, y, w}, apart, 0, kRows);
  at::Tensor a = x.clone(), b = y.clone(), c = x.clone(), d = y.clone();
  Tensors inPlace = {a, b};
  call("addRmsNorm_576", {a, b, w}, inPlace, 0, kRows);
  swapped = {d, c};
  call("addRmsNorm_576", {c, d, w}, swapped, 0, kRows);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_TRUE(at::equal(inPlace[i], apart[i])) << i;
    EXPECT_TRUE(at::equal(swapped[i], apart[i])) << i;
  }
}

TEST(KernelLibraryTest, RefusesOtherObjects) {
  StatusOr<KernelLibrary> missing = KernelLibrary::open("/no/such/file.so", "");
  ASSERT_FALSE(missing.ok());
  EXPECT_NE(missing.status().message().find("cannot load the kernels"), std::string::npos);
  // A whole object of something else: this program's C library, sealed.
  Dl_info info;
  ASSERT_NE(dladdr(reinterpret_cast<void *>(&std::fputs), &info), 0);
  StatusOr<std::string> bytes = readTextFile(info.dli_fname);
  ASSERT_TRUE(bytes.ok()) << bytes.status().message();
  seal(*bytes);
  const std::string path = testing::TempDir() + "/morph-foreign-" + std::to_string(::getpid()) + ".so";
  std::ofstream(path, std::ios::binary) << *bytes;
  StatusOr<KernelLibrary> foreign = KernelLibrary::open(path, "");
  std::remove(path.c_str());
  ASSERT_FALSE(foreign.ok());
  EXPECT_NE(foreign.status().message().find("no object of kernels"), std::string::npos) << foreign.status().message();
}

} // namespace
} // namespace morph
