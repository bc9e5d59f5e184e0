// SPDX-License-Identifier: Apache-2.0
// Products of a device against sums in float64.

#include "runtime/device/ProductKinds.h"
#include "test/cuda/device/TestDevice.h"

#include "runtime/base/AtomicFile.h"
#include "runtime/base/File.h"

#include <gmock/gmock.h>

#include <cmath>
#include <random>
#include <sstream>

namespace morph {
namespace {

using testing::HasSubstr;

uint16_t toBf16(double value) {
  const auto narrow = static_cast<float>(value);
  uint32_t bits = 0;
  std::memcpy(&bits, &narrow, 4);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
double fromBf16(uint16_t bits) {
  const uint32_t wide = uint32_t(bits) << 16;
  float value = 0;
  std::memcpy(&value, &wide, 4);
  return value;
}

/// Numbers of a type, as bytes.
struct Numbers {
  CudaType type = CudaType::F32;
  std::vector<uint8_t> bytes;

  Numbers(CudaType type, size_t count) : type(type), bytes(count * static_cast<size_t>(bytesOf(type))) {}
  size_t count() const { return bytes.size() / static_cast<size_t>(bytesOf(type)); }
  double get(int64_t at) const {
    const uint8_t *from = bytes.data() + at * bytesOf(type);
    switch (type) {
    case CudaType::F32: {
      float value = 0;
      std::memcpy(&value, from, 4);
      return value;
    }
    case CudaType::BF16: {
      uint16_t value = 0;
      std::memcpy(&value, from, 2);
      return fromBf16(value);
    }
    case CudaType::F64: {
      double value = 0;
      std::memcpy(&value, from, 8);
      return value;
    }
    }
    return 0;
  }
  void set(int64_t at, double value) {
    uint8_t *to = bytes.data() + at * bytesOf(type);
    if (type == CudaType::F32) {
      const auto narrow = static_cast<float>(value);
      std::memcpy(to, &narrow, 4);
    } else if (type == CudaType::BF16) {
      const uint16_t narrow = toBf16(value);
      std::memcpy(to, &narrow, 2);
    } else {
      std::memcpy(to, &value, 8);
    }
  }
  static Numbers random(CudaType type, size_t count, unsigned seed) {
    std::mt19937 engine(seed);
    std::normal_distribution<double> normal;
    Numbers numbers(type, count);
    for (size_t i = 0; i < count; ++i)
      numbers.set(static_cast<int64_t>(i), normal(engine));
    return numbers;
  }
};

class ProductTest : public CudaTest {
protected:
  /// How many elements operands lie behind an aligned address.
  struct Shifts {
    int64_t a = 0, b = 0, c = 0, bias = 0;
  };

  /// Computes the product of random numbers and compares with float64.
  void check(const CudaProduct &asked, bool hasBias, const Shifts &shifts = {0, 0, 0, 0}) {
    const StatusOr<CudaProduct> checked = checkedProduct(asked);
    ASSERT_OK(checked);
    const CudaProduct &p = *checked;
    const int64_t rowsA = p.transposeA ? p.k : p.m, rowsB = p.transposeB ? p.n : p.k;
    auto count = [&](int64_t shift, int64_t rows, int64_t stride, int64_t batchStride) {
      return static_cast<size_t>(shift + (p.batch - 1) * batchStride + rows * stride);
    };
    const Numbers a = Numbers::random(p.factors, count(shifts.a, rowsA, p.strideA, p.batchStrideA), 1),
                  b = Numbers::random(p.factors, count(shifts.b, rowsB, p.strideB, p.batchStrideB), 2),
                  bias = Numbers::random(p.result, static_cast<size_t>(shifts.bias + p.n), 3);
    Numbers c = Numbers::random(p.result, count(shifts.c, p.m, p.strideC, p.batchStrideC), 4);
    const Numbers before = c;
    auto *aThere = memoryOf(a.bytes), *bThere = memoryOf(b.bytes), *biasThere = memoryOf(bias.bytes),
         *cThere = memoryOf(c.bytes);
    const int64_t factor = bytesOf(p.factors), result = bytesOf(p.result);
    // Twice: the first one measures.
    for (int i = 0; i < 2; ++i)
      ASSERT_OK(device->product(asked, aThere + shifts.a * factor, bThere + shifts.b * factor,
                                hasBias ? biasThere + shifts.bias * result : nullptr, cThere + shifts.c * result,
                                "a product"));
    c.bytes = valuesOf(cThere, c.bytes.size());
    for (auto *memory : {aThere, bThere, biasThere, cThere})
      device->release(memory);

    std::vector<bool> isResult(c.count(), false);
    for (int64_t batch = 0; batch < p.batch; ++batch)
      for (int64_t i = 0; i < p.m; ++i)
        for (int64_t j = 0; j < p.n; ++j) {
          double sum = 0, size = 0;
          for (int64_t l = 0; l < p.k; ++l) {
            const double x = a.get(shifts.a + batch * p.batchStrideA +
                                   (p.transposeA ? l * p.strideA + i : i * p.strideA + l)),
                         y = b.get(shifts.b + batch * p.batchStrideB +
                                   (p.transposeB ? j * p.strideB + l : l * p.strideB + j));
            sum += x * y;
            size += std::abs(x * y);
          }
          const int64_t at = shifts.c + batch * p.batchStrideC + i * p.strideC + j;
          isResult[static_cast<size_t>(at)] = true;
          const double add = hasBias ? bias.get(shifts.bias + j) : 0;
          const double expected = sum + add, unit = p.factors == CudaType::F64 ? 1e-15 : 4e-7;
          double tolerance = unit * (size + std::abs(add) + std::abs(expected) + 1);
          if (p.result == CudaType::BF16)
            // An H100 rounds sums that a bias is added to once more before.
            tolerance += (std::abs(expected) + (hasBias ? std::abs(sum) : 0)) / 128;
          ASSERT_NEAR(c.get(at), expected, tolerance)
              << i << " " << j << " of " << ProductKind{p, hasBias, {}}.text() << " batch " << batch;
        }
    // Between the results nothing is written.
    for (size_t i = 0; i < c.count(); ++i) {
      if (!isResult[i]) {
        ASSERT_EQ(c.get(static_cast<int64_t>(i)), before.get(static_cast<int64_t>(i))) << i;
      }
    }
  }
};

CudaProduct sized(int64_t m, int64_t n, int64_t k) {
  CudaProduct p;
  p.m = m, p.n = n, p.k = k;
  return p;
}

TEST_F(ProductTest, AllTypesAndTransposes) {
  for (const auto &[factors, result] : {std::pair{CudaType::F32, CudaType::F32},
                                        {CudaType::BF16, CudaType::F32},
                                        {CudaType::BF16, CudaType::BF16},
                                        {CudaType::F64, CudaType::F64}})
    for (const bool transposeA : {false, true})
      for (const bool transposeB : {false, true}) {
        CudaProduct p = sized(40, 72, 96);
        p.factors = factors, p.result = result, p.transposeA = transposeA, p.transposeB = transposeB;
        check(p, false);
      }
}

TEST_F(ProductTest, SizesThatFitNothing) {
  for (const auto &[m, n, k] :
       {std::tuple{1, 1, 1}, {1, 300, 7}, {67, 1, 5}, {3, 5, 1000}, {65, 257, 259}, {130, 33, 65}})
    for (const CudaType factors : {CudaType::F32, CudaType::BF16, CudaType::F64}) {
      CudaProduct p = sized(m, n, k);
      p.factors = factors, p.result = factors == CudaType::F64 ? CudaType::F64 : CudaType::F32;
      p.transposeB = m % 2 == 0;
      check(p, false);
    }
}

TEST_F(ProductTest, TypesOfResults) {
  for (const CudaType factors : {CudaType::F32, CudaType::BF16, CudaType::F64})
    for (const CudaType result : {CudaType::F32, CudaType::BF16, CudaType::F64})
      for (const bool hasBias : {false, true}) {
        CudaProduct p = sized(24, 40, 64);
        p.factors = factors, p.result = result;
        if (checkedProduct(p).ok())
          check(p, hasBias);
      }
}

TEST_F(ProductTest, EachHasItsOwnBias) {
  const float *a = memoryOf(std::vector<float>(64, 0));
  for (int i = 0; i < 3; ++i) {
    float *c = memory<float>(64);
    ASSERT_OK(
        device->product(sized(8, 8, 8), a, a, memoryOf(std::vector<float>(8, static_cast<float>(i))), c, "zeros"));
    EXPECT_EQ(valuesOf(c, 64), std::vector<float>(64, static_cast<float>(i)));
  }
}

TEST_F(ProductTest, StridesAndBatches) {
  CudaProduct p = sized(12, 20, 16);
  p.strideA = 19, p.strideB = 24, p.strideC = 29;
  check(p, true);
  p.batch = 3, p.batchStrideA = 12 * 19 + 1, p.batchStrideB = 0, p.batchStrideC = 12 * 29 + 3;
  check(p, true);
  p.transposeA = p.transposeB = true;
  p.batchStrideA = 16 * 19, p.batchStrideB = 20 * 24 + 8;
  check(p, false);
  p = sized(64, 64, 32);
  p.factors = CudaType::BF16;
  p.batch = 4, p.batchStrideA = 64 * 32, p.batchStrideB = 64 * 32, p.batchStrideC = 64 * 64, p.transposeB = true;
  check(p, false);
}

TEST_F(ProductTest, OperandsAtOddAddresses) {
  // Without a file the first proposal is taken, which must suit the addresses; where more are measured, others may.
  ::setenv("MORPH_CACHE", "/proc/nowhere", 1);
  reopen();
  for (const Shifts &shifts :
       {Shifts{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}, {0, 0, 0, 1}, {2, 2, 2, 2}, {8, 1, 2, 3}})
    for (const CudaType factors : {CudaType::F32, CudaType::BF16, CudaType::F64}) {
      CudaProduct p = sized(16, 32, 48);
      p.factors = p.result = factors;
      check(p, true, shifts);
    }
}

TEST_F(ProductTest, EmptyOnesAreNothing) {
  for (const CudaProduct &p : {sized(0, 3, 4), sized(3, 0, 4)})
    EXPECT_OK(device->product(p, nullptr, nullptr, nullptr, nullptr, "nothing"));
  EXPECT_EQ(messageOf(device->product(sized(3, 3, 0), nullptr, nullptr, nullptr, nullptr, "layer 3")),
            "layer 3: a product over nothing: 3 x 3 x 0");
}

TEST_F(ProductTest, AreInTheOrderOfTheStream) {
  // c = a a, a = c, c = a a ...: of powers of a permutation every one shows.
  constexpr int64_t kSize = 64;
  std::vector<float> a(kSize * kSize, 0);
  for (int64_t i = 0; i < kSize; ++i)
    a[static_cast<size_t>(i * kSize + (i + 1) % kSize)] = 1;
  float *x = memoryOf(a), *y = memory<float>(a.size());
  const CudaProduct p = sized(kSize, kSize, kSize);
  for (int i = 0; i < 4; ++i) {
    ASSERT_OK(device->product(p, x, x, nullptr, y, "a square"));
    ASSERT_OK(device->copy(x, y, static_cast<int64_t>(a.size() * 4)));
    ASSERT_OK(device->fill(y, 0xff, static_cast<int64_t>(a.size() * 4)));
  }
  const std::vector<float> result = valuesOf(x, a.size());
  for (int64_t i = 0; i < kSize; ++i)
    for (int64_t j = 0; j < kSize; ++j)
      ASSERT_EQ(result[static_cast<size_t>(i * kSize + j)], j == (i + 16) % kSize ? 1 : 0) << i << " " << j;
}

//===----------------------------------------------------------------------===//
// Choices
//===----------------------------------------------------------------------===//

class ProductChoiceTest : public ProductTest {
protected:
  std::string file() const { return productChoicesPath(device->properties()); }
  std::vector<uint8_t> bitsOf(const CudaProduct &p) {
    const auto size = static_cast<size_t>(p.m * p.k);
    auto *a = memoryOf(Numbers::random(p.factors, size, 1).bytes);
    auto *b = memoryOf(Numbers::random(p.factors, static_cast<size_t>(p.k * p.n), 2).bytes);
    auto *c = memory<uint8_t>(static_cast<size_t>(p.m * p.n * 4));
    EXPECT_OK(device->product(p, a, b, nullptr, c, "a product"));
    return valuesOf(c, static_cast<size_t>(p.m * p.n * 4));
  }
};

TEST_F(ProductChoiceTest, AreMeasuredOnceAndKept) {
  const CudaProduct p = sized(32, 48, 512);
  const std::vector<uint8_t> bits = bitsOf(p);
  EXPECT_EQ(device->measuredProducts(), 1);
  EXPECT_EQ(bitsOf(p), bits);
  EXPECT_EQ(device->measuredProducts(), 1);
  EXPECT_THAT(*readTextFile(file()), HasSubstr("f32 f32 nn 32x48x512 strides 512,48,48 aligned 256,256,256,256\t"));
  reopen();
  EXPECT_EQ(bitsOf(p), bits);
  EXPECT_EQ(device->measuredProducts(), 0);
  bitsOf(sized(32, 48, 513));
  EXPECT_EQ(device->measuredProducts(), 1);
  // A file that means nothing is as good as none.
  const std::string kept = *readTextFile(file());
  ASSERT_TRUE(writeFile(file(), "\x7f\x45\x4c\x46 no choices\t\t\n").ok());
  reopen();
  bitsOf(p);
  EXPECT_EQ(device->measuredProducts(), 1);
}

TEST_F(ProductChoiceTest, WhatTheFileSaysIsTaken) {
  if (!standIn<uint64_t()>("morphStandInErrors"))
    GTEST_SKIP() << "asks the stand-in for its third algorithm";
  // The third one splits k, which rounds in another order.
  const CudaProduct p = sized(32, 48, 600);
  const std::string kind = "f32 f32 nn 32x48x600 strides 600,48,48 aligned 256,256,256,256";
  std::vector<std::vector<uint8_t>> bits;
  for (const char *algorithm : {"1/0/1/0/0/0/0/0/0", "2/0/1/0/0/0/0/0/0", "3/0/2/2/0/0/0/0/0"}) {
    ASSERT_TRUE(writeFile(file(), kind + "\t" + algorithm + "\n").ok());
    reopen();
    bits.push_back(bitsOf(p));
    EXPECT_EQ(device->measuredProducts(), 0) << algorithm;
  }
  EXPECT_EQ(bits[0], bits[1]);
  EXPECT_NE(bits[0], bits[2]);
  // What this version of the library does not propose is measured again, and replaced.
  ASSERT_TRUE(writeFile(file(), kind + "\t77/0/1/0/0/0/0/0/0\n").ok());
  reopen();
  bitsOf(p);
  EXPECT_EQ(device->measuredProducts(), 1);
  EXPECT_THAT(*readTextFile(file()), testing::Not(HasSubstr("77/")));
}

TEST_F(ProductChoiceTest, WhereNothingCanBeKeptTheFirstProposalIsTaken) {
  ::setenv("MORPH_CACHE", "/proc/nowhere", 1);
  reopen();
  bitsOf(sized(32, 48, 512));
  EXPECT_EQ(device->measuredProducts(), 0);
}

TEST_F(ProductChoiceTest, UnderCaptureNothingIsMeasured) {
  const CudaProduct p = sized(32, 48, 512);
  auto *a = memoryOf(Numbers::random(p.factors, 32 * 512, 1).bytes);
  auto *b = memoryOf(Numbers::random(p.factors, 48 * 512, 2).bytes);
  auto *c = memory<uint8_t>(32 * 48 * 4);
  auto work = [&] { return device->product(p, a, b, nullptr, c, "layer 3"); };
  EXPECT_EQ(messageOf(device->capture(work)), "the first product cannot be part of a graph");
  bitsOf(sized(8, 8, 8));
  EXPECT_EQ(device->measuredProducts(), 1);
  StatusOr<CudaGraph> graph = device->capture(work);
  ASSERT_OK(graph);
  EXPECT_EQ(device->measuredProducts(), 1);
  ASSERT_OK(device->launch(*graph));
  Numbers result(CudaType::F32, 32 * 48);
  result.bytes = valuesOf(c, result.bytes.size());
  EXPECT_TRUE(std::isfinite(result.get(0)));
  // Outside, it is then.
  ASSERT_OK(work());
  EXPECT_EQ(device->measuredProducts(), 2);
}

} // namespace
} // namespace morph
