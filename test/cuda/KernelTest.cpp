// SPDX-License-Identifier: Apache-2.0
// Whole kernels as LLVM writes them, against plain C++.

#include "test/cuda/CudaTesting.h"

#include <cmath>
#include <cstring>

namespace morph {
namespace {

class KernelTest : public CudaTest {
protected:
  std::mt19937 random{7};
  std::vector<float> normal(size_t count) {
    std::normal_distribution<float> distribution;
    std::vector<float> values(count);
    for (float &value : values)
      value = distribution(random);
    return values;
  }
  std::vector<uint16_t> halves(size_t count) {
    std::vector<uint16_t> values;
    for (float value : normal(count))
      values.push_back(toBf16(value));
    return values;
  }

  /// Runs the product kernel of a text, and compares: the share of results beyond the bound.
  double productBeyondBound(const std::string &ptx) {
    constexpr int m = 512, n = 64, depth = 128;
    std::vector<uint16_t> a = halves(m * depth), b = halves(n * depth);
    Buffer<uint16_t> left(a), right(b);
    Buffer<float> result(m * n);
    CUfunction function = kernel(ptx, "product");
    void *parameters[] = {&left.pointer, &right.pointer, &result.pointer};
    EXPECT_CUDA(cuda().cuLaunchKernel(function, n / 16, m / 64, 1, 128, 1, 1, 0, nullptr, parameters, nullptr));
    EXPECT_CUDA(cuda().cuCtxSynchronize());
    std::vector<float> c = result.read();
    int beyond = 0;
    for (int i = 0; i < m; ++i)
      for (int j = 0; j < n; ++j) {
        double sum = 0, magnitude = 0;
        for (int k = 0; k < depth; ++k) {
          double product = double(fromBf16(a[i * depth + k])) * fromBf16(b[j * depth + k]);
          sum += product;
          magnitude += std::fabs(product);
        }
        beyond += !(std::fabs(c[i * n + j] - sum) <= mmaBound(magnitude, depth));
      }
    return double(beyond) / (m * n);
  }
};

TEST_F(KernelTest, ProductOnTensorCores) {
  EXPECT_EQ(productBeyondBound(readPtx("product.ptx")), 0);
  if (!isStandIn())
    return;
  MorphStandInCounters counts = counters("product");
  EXPECT_EQ(counts.launches, 1u);
  EXPECT_EQ(counts.blocks, 32u);
  EXPECT_EQ(counts.threads, 32u * 128);
  EXPECT_EQ(counts.mma, 512u / 16 * 64 / 8 * 128 / 16);
  EXPECT_EQ(counts.mmaFlops, 2u * 512 * 64 * 128);
  EXPECT_EQ(counts.bytesLoaded, (512u * 128 * 4 + 64 * 128 * 8) * 2); // a is read by four blocks, b by eight
  EXPECT_EQ(counts.bytesStored, 512u * 64 * 4);
}

// The bound that products are compared with sees fragments in the wrong order.
TEST_F(KernelTest, BoundOfProductsSeesWrongFragments) {
  std::string ptx = readPtx("product.ptx");
  size_t mma = ptx.find("mma.sync");
  size_t open = ptx.find("},", mma) + 2; // behind the results
  size_t begin = ptx.find('{', open) + 1, comma = ptx.find(',', begin), next = ptx.find(',', comma + 1);
  std::string first = ptx.substr(begin, comma - begin), second = ptx.substr(comma + 1, next - comma - 1);
  ptx.replace(begin, next - begin, second + "," + first);
  EXPECT_GT(productBeyondBound(ptx), .4); // One of the two products of a step.
}

TEST_F(KernelTest, SoftmaxByShufflesAndSharedMemory) {
  constexpr int rows = 64, columns = 512;
  std::vector<uint16_t> x = halves(rows * columns);
  Buffer<uint16_t> in(x), out(x.size());
  ASSERT_CUDA(run(kernel(readPtx("softmax.ptx"), "softmax"), rows, 128, in.pointer, out.pointer));
  std::vector<uint16_t> y = out.read();
  double worst = 0;
  for (int i = 0; i < rows; ++i) {
    double sum = 0;
    for (int j = 0; j < columns; ++j)
      sum += std::exp(double(fromBf16(x[i * columns + j])));
    for (int j = 0; j < columns; ++j) {
      double expected = std::exp(double(fromBf16(x[i * columns + j]))) / sum;
      worst = std::max(worst, std::fabs(fromBf16(y[i * columns + j]) - expected) / expected);
    }
  }
  EXPECT_LT(worst, 0x1p-8 * 1.01); // half a unit of bf16
}

TEST_F(KernelTest, FunctionsOfLibdevice) {
  constexpr int count = 2048, functions = 16;
  std::vector<float> x = normal(count);
  for (int i = 0; i < count; ++i)
    x[i] *= i % 4 == 0 ? 10 : 1;
  Buffer<float> in(x), out(count * functions);
  ASSERT_CUDA(
      run(kernel(readPtx("functions.ptx"), "functions"), count / 256, 256, in.pointer, out.pointer, uint64_t(count)));
  std::vector<float> y = out.read();
  const char *names[functions] = {"exp",  "log",   "tanh", "sin",   "cos",   "erf",   "rsqrt", "sqrt",
                                  "powf", "log1p", "exp2", "floor", "atan2", "exp64", "expm1", "f16 square"};
  double worst[functions] = {};
  for (int i = 0; i < count; ++i) {
    double v = x[i], p = std::fabs(v);
    double h = float(std::ldexp(std::nearbyint(std::ldexp(v, 10 - std::ilogb(v))), std::ilogb(v) - 10));
    double square = h * h;
    square = std::ldexp(std::nearbyint(std::ldexp(square, 10 - std::ilogb(square))), std::ilogb(square) - 10);
    const double expected[functions] = {std::exp(v),      std::log(p),   std::tanh(v),     std::sin(v),
                                        std::cos(v),      std::erf(v),   1 / std::sqrt(p), std::sqrt(p),
                                        std::pow(p, 3.0), std::log1p(p), std::exp2(v),     std::floor(v),
                                        std::atan2(v, 3), std::exp(v),   std::expm1(v),    square};
    for (int f = 0; f < functions; ++f) {
      // In units of the last place, but for values near zero of functions that cross it.
      double scale = std::max(std::fabs(expected[f]), f == 1 || f == 3 || f == 4 ? .1 : 1e-30);
      if (f == 15 && std::fabs(square) < 1e-4)
        continue; // subnormal in f16
      worst[f] = std::max(worst[f], std::fabs(y[i * functions + f] - expected[f]) / scale * 0x1p23);
    }
  }
  for (int f = 0; f < functions; ++f)
    EXPECT_LT(worst[f], f == 8 ? 16 : 6) << names[f];
}

TEST_F(KernelTest, CallsStructuresAndTables) {
  constexpr int count = 64;
  std::vector<uint32_t> x(count);
  for (int i = 0; i < count; ++i)
    x[i] = uint32_t(i * 37 + 5);
  Buffer<uint32_t> in(x);
  Buffer<int64_t> out(count);
  CUmodule module = load(readPtx("calls.ptx"));
  CUdeviceptr variable = 0;
  size_t bytes = 0;
  ASSERT_CUDA(cuda().cuModuleGetGlobal(&variable, &bytes, module, "count"));
  EXPECT_EQ(bytes, 4u);
  for (uint32_t added : {5u, 1000u}) {
    if (added != 5) { // The variable's own value first.
      ASSERT_CUDA(cuda().cuMemcpyHtoD(variable, &added, 4));
    }
    ASSERT_CUDA(run(find(module, "calls"), 1, count, in.pointer, out.pointer));
    std::vector<int64_t> y = out.read();
    const int64_t table[] = {10, 20, 30, 40};
    for (int i = 0; i < count; ++i) {
      int64_t first = i + int64_t(added), second = 3 - i, expected = -1;
      switch (x[size_t(i)] & 15) {
      case 0:
        expected = first;
        break;
      case 1:
        expected = second;
        break;
      case 2:
        expected = first * second;
        break;
      case 3:
        expected = first / -2;
        break;
      case 4:
        expected = first ^ second;
        break;
      case 5:
        expected = int64_t(uint64_t(first) << 33);
        break;
      case 6:
        expected = -second;
        break;
      case 7:
        expected = __builtin_popcountll(uint64_t(second));
        break;
      }
      EXPECT_EQ(y[size_t(i)], expected + table[x[size_t(i)] & 3]) << i;
    }
  }
}

// What is translated is C that compiles, with checks and without.
TEST_F(KernelTest, EveryFileLoads) {
  for (const char *checks : {"1", "0"})
    for (const char *name : {"product", "softmax", "functions", "calls", "breadth", "breadth-sm90"}) {
      open({{"CHECKS", checks}});
      load(readPtx(std::string(name) + ".ptx"));
    }
}

// The same numbers without checks.
TEST_F(KernelTest, WithoutChecks) {
  NEED_STAND_IN();
  open({{"CHECKS", "0"}});
  EXPECT_EQ(productBeyondBound(readPtx("product.ptx")), 0);
}

} // namespace
} // namespace morph
