// SPDX-License-Identifier: Apache-2.0
// Matrix products of every library that is present, and the choice among them, against sums in fp64.

#include "runtime/kernels/Gemm.h"
#include "runtime/base/AtomicFile.h"
#include "runtime/base/File.h"
#include "runtime/kernels/Bf16.h"
#include "runtime/kernels/GemmChoice.h"
#include "runtime/kernels/GemmLibrary.h"
#include "runtime/kernels/TiledProduct.h"
#include "runtime/plan/Workspace.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <thread>
#include <unistd.h>

namespace morph {
namespace {

using plan::DType;

/// A matrix of any type, with its values as they are after rounding.
struct Values {
  Values(int64_t rows, int64_t columns, int64_t stride, DType type, unsigned seed) : type(type), stride(stride) {
    std::mt19937 random(seed);
    std::uniform_real_distribution<double> uniform(-1, 1);
    for (int64_t i = 0; i < rows * stride; ++i)
      push(i % stride < columns ? uniform(random) : 1e30);
  }
  void push(double value) {
    const auto append = [&](auto x) {
      const char *bytes = reinterpret_cast<const char *>(&x);
      memory.insert(memory.end(), bytes, bytes + sizeof x);
    };
    if (type == DType::F64)
      append(value);
    else if (type == DType::BF16)
      append(roundToBf16(static_cast<float>(value)));
    else
      append(static_cast<float>(value));
  }
  double at(int64_t i, int64_t j) const {
    const int64_t index = i * stride + j;
    if (type == DType::F64)
      return reinterpret_cast<const double *>(memory.data())[index];
    if (type == DType::BF16)
      return widen(reinterpret_cast<const Bf16 *>(memory.data())[index]);
    return reinterpret_cast<const float *>(memory.data())[index];
  }
  DType type;
  int64_t stride;
  std::vector<char> memory;
};

struct Problem {
  Problem(GemmDescription description, bool bias, bool gate, bool residual)
      : d(description), a(d.transposeA ? d.k : d.m, d.transposeA ? d.m : d.k, d.strideA, d.a, 1),
        b(d.transposeB ? d.n : d.k, d.transposeB ? d.k : d.n, d.strideB, d.b, 2), c(d.m, d.n, d.strideC, d.c, 3),
        bias(1, d.n, d.n, d.a == DType::F64 ? DType::F64 : DType::F32, 4), gate(d.m, d.n, d.n + 2, d.c, 5),
        residual(d.m, d.n, d.n + 1, d.c, 6) {
    if (bias)
      epilogue.bias = this->bias.memory.data();
    if (gate) {
      epilogue.gate = this->gate.memory.data();
      epilogue.strideGate = d.n + 2;
    }
    if (residual) {
      epilogue.residual = this->residual.memory.data();
      epilogue.strideResidual = d.n + 1;
    }
  }
  double expected(int64_t i, int64_t j) const {
    double sum = d.accumulate ? c.at(i, j) : 0;
    for (int64_t p = 0; p < d.k; ++p)
      sum += (d.transposeA ? a.at(p, i) : a.at(i, p)) * (d.transposeB ? b.at(j, p) : b.at(p, j));
    if (epilogue.bias)
      sum += bias.at(0, j);
    if (epilogue.gate)
      sum *= gate.at(i, j) / (1 + std::exp(-gate.at(i, j)));
    return epilogue.residual ? sum + residual.at(i, j) : sum;
  }
  void expectClose(const Values &actual) const {
    const double unit = d.c == DType::F64 ? 1e-14 : d.c == DType::BF16 ? 5e-3 : 1e-6;
    const double tolerance = unit * (2 + std::sqrt(static_cast<double>(d.k)) * (d.c == DType::BF16 ? 0.2 : 1));
    double worst = 0;
    for (int64_t i = 0; i < d.m; ++i)
      for (int64_t j = 0; j < d.strideC; ++j) {
        // Beside the columns nothing is written.
        const double wanted = j < d.n ? expected(i, j) : c.at(i, j);
        const double error = std::abs(actual.at(i, j) - wanted) / (1 + std::abs(wanted));
        worst = std::max(worst, std::isfinite(error) ? error : 1e30);
      }
    EXPECT_LT(worst, tolerance);
  }

  GemmDescription d;
  Values a, b, c, bias, gate, residual;
  Epilogue epilogue;
};

GemmDescription describe(int64_t m, int64_t n, int64_t k, int form, DType factors, DType result, int64_t pad) {
  GemmDescription d;
  d.m = m;
  d.n = n;
  d.k = k;
  d.transposeA = form & 1;
  d.transposeB = form & 2;
  d.a = d.b = factors;
  d.c = result;
  d.strideA = (d.transposeA ? m : k) + pad;
  d.strideB = (d.transposeB ? k : n) + pad;
  d.strideC = n + pad;
  return d;
}

const std::vector<std::pair<DType, DType>> kTypes = {{DType::F32, DType::F32},
                                                     {DType::BF16, DType::F32},
                                                     {DType::BF16, DType::BF16},
                                                     {DType::F32, DType::BF16},
                                                     {DType::F64, DType::F64}};

/// A library by name, chosen for all products of this process.
class GemmTest : public testing::TestWithParam<std::string> {
protected:
  const GemmLibrary &library() const {
    for (const GemmLibrary *library : gemmLibraryList())
      if (library->name() == GetParam())
        return *library;
    std::abort();
  }
};

std::vector<std::string> libraryNames() {
  std::vector<std::string> names;
  for (const GemmLibrary *library : gemmLibraryList())
    names.push_back(library->name());
  return names;
}

TEST_P(GemmTest, IsTheSumOfProducts) {
  const std::vector<std::vector<int64_t>> sizes = {{1, 1, 1},    {1, 70, 65},  {3, 5, 7},
                                                   {6, 16, 300}, {65, 63, 61}, {200, 33, 20}};
  int64_t served = 0;
  for (const auto &[factors, result] : kTypes)
    for (const auto &size : sizes)
      for (int form = 0; form < 4; ++form)
        for (bool accumulate : {false, true})
          for (int threads : {1, 2}) {
            GemmDescription d = describe(size[0], size[1], size[2], form, factors, result, form == 0 ? 3 : 0);
            d.accumulate = accumulate;
            if (!library().serves(d, threads))
              continue;
            SCOPED_TRACE(testing::Message() << size[0] << "," << size[1] << "," << size[2] << " form " << form
                                            << " accumulate " << accumulate << " threads " << threads);
            ++served;
            const Problem problem(d, true, false, true);
            Values c = problem.c;
            if (library().fuses(d, problem.epilogue, threads)) {
              library().run(d, problem.a.memory.data(), problem.b.memory.data(), c.memory.data(), problem.epilogue,
                            threads);
              problem.expectClose(c);
            }
            const Problem plain(d, false, false, false);
            c = plain.c;
            library().run(d, plain.a.memory.data(), plain.b.memory.data(), c.memory.data(), {}, threads);
            plain.expectClose(c);
            Values again = plain.c;
            library().run(d, plain.a.memory.data(), plain.b.memory.data(), again.memory.data(), {}, threads);
            EXPECT_EQ(again.memory, c.memory);
          }
  EXPECT_GT(served, 0);
}

TEST_P(GemmTest, PackedIsPlain) {
  for (const auto &[factors, result] : kTypes)
    for (int form : {0, 2})
      for (int threads : {1, 2}) {
        GemmDescription d = describe(70, 129, 65, form, factors, result, 0);
        int64_t bytes = 0;
        if (!library().serves(d, threads))
          continue;
        const Problem problem(d, false, false, false);
        const std::shared_ptr<const void> packed = library().pack(d, problem.b.memory.data(), threads, bytes);
        if (!packed)
          continue;
        EXPECT_GT(bytes, 0);
        for (int64_t m : {70, 3, 1}) {
          d.m = m;
          Values plain = problem.c, other = problem.c;
          library().run(d, problem.a.memory.data(), problem.b.memory.data(), plain.memory.data(), {}, threads);
          if (library().runPacked(d, problem.a.memory.data(), packed.get(), other.memory.data(), {}, threads)) {
            EXPECT_EQ(other.memory, plain.memory);
          }
        }
      }
}

INSTANTIATE_TEST_SUITE_P(Present, GemmTest, testing::ValuesIn(libraryNames()),
                         [](const auto &info) { return info.param; });

TEST(GemmEpilogueTest, IsTheDefinition) {
  for (const auto &[factors, result] : kTypes)
    for (int64_t m : {1, 3, 270})
      for (int terms = 0; terms < 16; ++terms) {
        const int threads = 1 + terms % 3 % 2;
        SCOPED_TRACE(testing::Message() << "m " << m << " terms " << terms << " threads " << threads);
        GemmDescription d = describe(m, 71, 30, 2, factors, result, terms % 3);
        d.accumulate = terms & 8;
        const Problem problem(d, terms & 1, terms & 2, terms & 4);
        Values c = problem.c;
        gemm(d, problem.a.memory.data(), problem.b.memory.data(), c.memory.data(), problem.epilogue, threads);
        problem.expectClose(c);
        const PackedWeight packed = packWeight(d, problem.b.memory.data(), threads);
        Values other = problem.c;
        std::vector<char> workspace(static_cast<size_t>(plan::gemmWorkspace(m, d.n, 8)) + 64);
        char *aligned = workspace.data() + (64 - reinterpret_cast<uintptr_t>(workspace.data()) % 64) % 64;
        gemm(d, problem.a.memory.data(), packed, other.memory.data(), problem.epilogue, threads, aligned);
        EXPECT_EQ(other.memory, c.memory);
      }
}

TEST(GemmEpilogueTest, ResidualMayBeTheResult) {
  for (const auto &[factors, result] : kTypes)
    for (bool gate : {false, true}) {
      const GemmDescription d = describe(300, 71, 40, 2, factors, result, 0);
      Problem problem(d, true, gate, false);
      Values c = problem.c;
      problem.epilogue.residual = c.memory.data();
      problem.epilogue.strideResidual = d.strideC;
      problem.residual = problem.c;
      gemm(d, problem.a.memory.data(), problem.b.memory.data(), c.memory.data(), problem.epilogue, 2);
      problem.expectClose(c);
    }
}

TEST(GemmEpilogueTest, EmptyProducts) {
  GemmDescription d = describe(4, 5, 0, 0, DType::F32, DType::F32, 0);
  const std::vector<float> nothing(1);
  std::vector<float> c(20, 7);
  gemm(d, nothing.data(), nothing.data(), c.data(), {}, 1);
  EXPECT_EQ(c, std::vector<float>(20, 0));
  d.m = 0;
  gemm(d, nullptr, nullptr, nullptr, {}, 1);
}

TEST(GemmBatchTest, IsOneAfterTheOther) {
  std::vector<Problem> problems;
  std::vector<Values> results;
  for (int64_t i = 0; i < 12; ++i) {
    problems.emplace_back(describe(64 + i, 60, 65, static_cast<int>(i % 4), DType::F32, DType::F32, 0), i % 2, false,
                          false);
    results.push_back(problems.back().c);
  }
  std::vector<GemmProblem> batch;
  for (size_t i = 0; i < problems.size(); ++i)
    batch.push_back({problems[i].d, problems[i].a.memory.data(), problems[i].b.memory.data(), results[i].memory.data(),
                     problems[i].epilogue});
  gemmBatch(batch, 2);
  for (size_t i = 0; i < problems.size(); ++i) {
    problems[i].expectClose(results[i]);
    Values alone = problems[i].c;
    gemm(problems[i].d, batch[i].a, batch[i].b, alone.memory.data(), batch[i].epilogue, 1);
    EXPECT_EQ(alone.memory, results[i].memory);
  }
}

TEST(TiledProductTest, BitsDoNotDependOnTheTile) {
  const int64_t m = 29, n = 83, k = 300;
  const GemmDescription d = describe(m, n, k, 0, DType::F32, DType::F32, 0);
  const Problem problem(d, false, false, false);
  const float *a = reinterpret_cast<const float *>(problem.a.memory.data());
  const float *b = reinterpret_cast<const float *>(problem.b.memory.data());
  std::vector<float> whole(static_cast<size_t>(m * n)), part(whole.size());
  tiledProduct(false, false, m, n, k, 1.0f, Matrix<const float>{a, k}, Matrix<const float>{b, n}, 0.0f,
               Matrix<float>{whole.data(), n});
  for (int64_t i = 0; i < m; i += 5)
    for (int64_t j = 0; j < n; j += 11)
      tiledProduct(false, false, std::min<int64_t>(5, m - i), std::min<int64_t>(11, n - j), k, 1.0f,
                   Matrix<const float>{a + i * k, k}, Matrix<const float>{b + j, n}, 0.0f,
                   Matrix<float>{part.data() + i * n + j, n});
  EXPECT_EQ(whole, part);
}

class GemmChoiceTest : public testing::Test {
protected:
  void SetUp() override {
    if (gemmLibraryList().size() < 2)
      GTEST_SKIP() << "one library alone: nothing to choose";
    if (std::getenv("MORPH_PRODUCTS"))
      GTEST_SKIP() << "MORPH_PRODUCTS is set";
    char name[] = "/tmp/morph-products-XXXXXX";
    folder = mkdtemp(name);
    path = folder + "/products.json";
  }
  void TearDown() override {
    if (!folder.empty())
      std::filesystem::remove_all(folder);
  }
  std::string folder, path;
  const GemmDescription description = describe(100, 120, 130, 0, DType::F32, DType::F32, 0);
};

TEST_F(GemmChoiceTest, IsKeptForLaterProcesses) {
  GemmChoices first(path, 1), second(path, 1);
  const GemmLibrary &chosen = first.choose(description);
  EXPECT_EQ(first.measured(), 1);
  EXPECT_EQ(&second.choose(description), &chosen);
  EXPECT_EQ(second.measured(), 0);
  EXPECT_EQ(&first.choose(description), &chosen);
  EXPECT_EQ(first.measured(), 1);
}

TEST_F(GemmChoiceTest, TheFileCountsNotTheMeasurement) {
  GemmChoices(path, 1).choose(description);
  std::string text = *readTextFile(path);
  const std::string chosen = GemmChoices(path, 1).choose(description).name();
  const std::string other = chosen == "own" ? "mkl" : "own";
  text.replace(text.find("\": \"" + chosen + "\""), chosen.size() + 6, "\": \"" + other + "\"");
  ASSERT_TRUE(writeFile(path, text).ok());
  EXPECT_EQ(GemmChoices(path, 1).choose(description).name(), other);
}

TEST_F(GemmChoiceTest, WrongFilesAreMadeAgain) {
  GemmChoices(path, 1).choose(description);
  const std::string good = *readTextFile(path);
  const std::vector<std::string> wrong = {
      "",
      "{",
      "[]",
      "7",
      good.substr(0, good.size() / 2),
      std::string(300, '['),
      std::string("\0\xff\xfe", 3),
      R"({"version": 1, "libraries": ")" + gemmLibraries() + R"(", "choices": {"f32 nn 128x128x256": "evil"}})",
      R"({"version": 1, "libraries": ")" + gemmLibraries() + R"(", "choices": {"f32 nn 128x128x256": 3}})",
      R"({"version": 1, "libraries": "others", "choices": {"f32 nn 128x128x256": "own"}})",
      R"({"version": "x", "libraries": 3, "choices": []})",
      R"({"choices": {}})"};
  for (const std::string &text : wrong) {
    SCOPED_TRACE(text.substr(0, 60));
    ASSERT_TRUE(writeFile(path, text).ok());
    GemmChoices choices(path, 1);
    const GemmLibrary &chosen = choices.choose(description);
    EXPECT_EQ(choices.measured(), 1);
    GemmChoices later(path, 1);
    EXPECT_EQ(&later.choose(description), &chosen);
    EXPECT_EQ(later.measured(), 0);
  }
}

TEST_F(GemmChoiceTest, NoFileIsNoMeasurementThatCounts) {
  GemmChoices none("", 1), nowhere(folder + "/missing/products.json", 1);
  const GemmLibrary &chosen = none.choose(description);
  EXPECT_EQ(none.measured(), 0);
  EXPECT_EQ(&nowhere.choose(description), &chosen);
}

TEST_F(GemmChoiceTest, SeveralAtOnceAgree) {
  // Each with an object of its own, as processes have: they meet at the file alone.
  const std::vector<int64_t> widths = {100, 200, 400};
  auto described = [](int64_t n) { return describe(100, n, 100, 0, DType::F32, DType::F32, 0); };
  std::vector<std::vector<const GemmLibrary *>> taken(4);
  std::vector<std::thread> threads;
  for (auto &mine : taken)
    threads.emplace_back([&] {
      GemmChoices choices(path, 1);
      for (int64_t n : widths)
        mine.push_back(&choices.choose(described(n)));
    });
  for (std::thread &thread : threads)
    thread.join();
  GemmChoices later(path, 1);
  for (size_t i = 0; i < widths.size(); ++i)
    for (const auto &mine : taken)
      EXPECT_EQ(mine[i], &later.choose(described(widths[i])));
  EXPECT_EQ(later.measured(), 0);
}

} // namespace
} // namespace morph
