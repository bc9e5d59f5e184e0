// SPDX-License-Identifier: Apache-2.0
// What of products on CUDA devices needs neither a driver nor its stand-in.

#include "runtime/device/ProductKinds.h"

#include "runtime/base/AtomicFile.h"
#include "runtime/base/File.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <unistd.h>
#include <vector>

namespace morph {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

/// op(matrix) element (r, c) as cuBLASLt reads it: column-major.
double columnMajorElement(const std::vector<double> &data, const ColumnMajor &matrix, int64_t r, int64_t c) {
  if (matrix.transposed)
    std::swap(r, c);
  EXPECT_LT(r, matrix.rows);
  EXPECT_LT(c, matrix.columns);
  return data[static_cast<size_t>(r + c * matrix.leading)];
}

TEST(ProductKinds, SwappedOperandsAreTheSameProduct) {
  for (const bool transposeA : {false, true})
    for (const bool transposeB : {false, true}) {
      CudaProduct asked;
      asked.m = 3, asked.n = 5, asked.k = 4;
      asked.transposeA = transposeA, asked.transposeB = transposeB;
      asked.strideA = 7, asked.strideB = 8, asked.strideC = 6;
      const StatusOr<CudaProduct> checked = checkedProduct(asked);
      ASSERT_TRUE(checked.ok());
      const CudaProduct &p = *checked;
      std::vector<double> a(7 * 4), b(8 * 5), c(6 * 3, -1);
      for (size_t i = 0; i < a.size(); ++i)
        a[i] = 1 + static_cast<double>(i % 11);
      for (size_t i = 0; i < b.size(); ++i)
        b[i] = 2 - static_cast<double>(i % 7);
      const ColumnMajorProduct columns = columnMajorOf(p);
      // As cuBLASLt computes it: result [rows, columns] = op(first) op(second).
      ASSERT_EQ(columns.result.rows, p.n);
      ASSERT_EQ(columns.result.columns, p.m);
      for (int64_t r = 0; r < columns.result.rows; ++r)
        for (int64_t col = 0; col < columns.result.columns; ++col) {
          double sum = 0;
          for (int64_t i = 0; i < p.k; ++i)
            sum += columnMajorElement(b, columns.first, r, i) * columnMajorElement(a, columns.second, i, col);
          c[static_cast<size_t>(r + col * columns.result.leading)] = sum;
        }
      for (int64_t i = 0; i < p.m; ++i)
        for (int64_t j = 0; j < p.n; ++j) {
          double sum = 0;
          for (int64_t l = 0; l < p.k; ++l)
            sum += a[static_cast<size_t>(transposeA ? l * p.strideA + i : i * p.strideA + l)] *
                   b[static_cast<size_t>(transposeB ? j * p.strideB + l : l * p.strideB + j)];
          EXPECT_EQ(c[static_cast<size_t>(i * p.strideC + j)], sum) << transposeA << transposeB << " " << i << " " << j;
        }
      // Between the rows nothing is written.
      EXPECT_EQ(c[5], -1);
    }
}

TEST(ProductKinds, StridesAreThoseOfRowsThatFollowOneAnother) {
  CudaProduct p;
  p.m = 3, p.n = 5, p.k = 4, p.transposeA = true;
  const StatusOr<CudaProduct> checked = checkedProduct(p);
  ASSERT_TRUE(checked.ok());
  EXPECT_EQ(checked->strideA, 3);
  EXPECT_EQ(checked->strideB, 5);
  EXPECT_EQ(checked->strideC, 5);
}

TEST(ProductKinds, WhatIsNoProductIsAnError) {
  auto message = [](auto &&change) {
    CudaProduct p;
    p.m = 3, p.n = 5, p.k = 4;
    change(p);
    const StatusOr<CudaProduct> checked = checkedProduct(p);
    return checked.ok() ? "none" : checked.status().message();
  };
  EXPECT_EQ(message([](CudaProduct &) {}), "none");
  EXPECT_EQ(message([](CudaProduct &p) { p.m = 0, p.k = 0; }), "none");
  EXPECT_THAT(message([](CudaProduct &p) { p.m = -1; }), HasSubstr("negative size: -1 x 5 x 4"));
  EXPECT_THAT(message([](CudaProduct &p) { p.k = 0; }), HasSubstr("a product over nothing: 3 x 5 x 0"));
  EXPECT_THAT(message([](CudaProduct &p) { p.n = int64_t(1) << 31; }), HasSubstr("beyond 2^31"));
  EXPECT_THAT(message([](CudaProduct &p) { p.strideB = 4; }),
              HasSubstr("rows of a product overlap: 5 elements every 4"));
  EXPECT_THAT(message([](CudaProduct &p) { p.batch = 2, p.batchStrideC = 14; }), HasSubstr("one every 14 elements"));
  EXPECT_EQ(message([](CudaProduct &p) { p.batch = 2, p.batchStrideC = 15; }), "none");
  EXPECT_THAT(message([](CudaProduct &p) { p.result = CudaType::BF16; }), HasSubstr("f32 factors has bf16 results"));
  EXPECT_THAT(message([](CudaProduct &p) { p.factors = CudaType::F64; }), HasSubstr("f64 factors has f32 results"));
  EXPECT_EQ(message([](CudaProduct &p) { p.factors = CudaType::BF16; }), "none");
  EXPECT_EQ(message([](CudaProduct &p) { p.factors = p.result = CudaType::BF16; }), "none");
  EXPECT_EQ(message([](CudaProduct &p) { p.factors = p.result = CudaType::F64; }), "none");
}

TEST(ProductKinds, AlignmentsAreThoseOfTheAddress) {
  auto at = [](uintptr_t address) { return alignmentOf(reinterpret_cast<const void *>(address)); };
  EXPECT_EQ(at(0), 256);
  EXPECT_EQ(at(4096), 256);
  EXPECT_EQ(at(4096 + 64), 64);
  EXPECT_EQ(at(4096 + 6), 2);
}

TEST(ProductKinds, EveryDifferenceIsAnotherKind) {
  ProductKind kind;
  kind.product.m = 3, kind.product.n = 5, kind.product.k = 4, kind.product.batch = 2;
  std::vector<ProductKind> kinds(16, kind);
  kinds[1].product.m = 4, kinds[2].product.n = 6, kinds[3].product.k = 5, kinds[4].product.transposeA = true;
  kinds[5].product.transposeB = true, kinds[6].product.factors = CudaType::BF16;
  kinds[7].product.result = CudaType::F64, kinds[8].product.strideA = 9, kinds[9].product.strideB = 9;
  kinds[10].product.strideC = 9, kinds[11].product.batch = 3, kinds[12].product.batchStrideA = 99;
  kinds[13].product.batchStrideC = 99, kinds[14].hasBias = true, kinds[15].alignments[2] = 16;
  std::map<ProductKind, int> byKind;
  std::map<std::string, int> byText;
  for (const ProductKind &each : kinds) {
    ++byKind[each];
    ++byText[each.text()];
  }
  EXPECT_EQ(byKind.size(), kinds.size());
  EXPECT_EQ(byText.size(), kinds.size());
}

class ProductChoicesTest : public testing::Test {
protected:
  void SetUp() override { fs::create_directories(folder); }
  void TearDown() override { fs::remove_all(folder); }
  const fs::path folder = fs::temp_directory_path() / ("morph-products-" + std::to_string(::getpid()));
  const std::string file = (folder / "products").string();
};

TEST_F(ProductChoicesTest, AreKeptForTheNextProcess) {
  EXPECT_EQ(ProductChoices(file).find("f32 3x4"), "");
  EXPECT_EQ(ProductChoices(file).keep("f32 3x4", "1/2/3", ""), "1/2/3");
  EXPECT_EQ(ProductChoices(file).keep("f32 9x4", "7/0", ""), "7/0");
  EXPECT_EQ(ProductChoices(file).find("f32 3x4"), "1/2/3");
  EXPECT_EQ(ProductChoices(file).find("f32 9x4"), "7/0");
}

TEST_F(ProductChoicesTest, WhoWasFirstCounts) {
  ProductChoices late(file);
  EXPECT_EQ(ProductChoices(file).keep("f32 3x4", "1", ""), "1");
  EXPECT_EQ(late.keep("f32 3x4", "2", ""), "1");
  EXPECT_EQ(late.find("f32 3x4"), "1");
  // What the library no longer proposes is replaced.
  EXPECT_EQ(late.keep("f32 3x4", "2", "1"), "2");
  EXPECT_EQ(ProductChoices(file).find("f32 3x4"), "2");
}

TEST_F(ProductChoicesTest, WhatIsNoLineIsIgnored) {
  ASSERT_TRUE(writeFile(file, "f32 1x1\t1\nno tab\n\t5\nf32 2x2\t\nf32 3x3\t1\x01\nF32 4x4\t2\n" +
                                  std::string(1000, 'a') + "\t1\nf32 5x5\t6/7")
                  .ok());
  ProductChoices choices(file);
  EXPECT_EQ(choices.find("f32 1x1"), "1");
  EXPECT_EQ(choices.find("f32 5x5"), "6/7");
  for (const char *wrong : {"no tab", "", "f32 2x2", "f32 3x3", "F32 4x4"})
    EXPECT_EQ(choices.find(wrong), "") << wrong;
  EXPECT_EQ(choices.find(std::string(1000, 'a')), "");
  choices.keep("f32 6x6", "8", "");
  EXPECT_EQ(*readTextFile(file), "f32 1x1\t1\nf32 5x5\t6/7\nf32 6x6\t8\n");
}

TEST_F(ProductChoicesTest, AFileThatIsTooLongIsBegunAnew) {
  std::string lines;
  for (int i = 0; lines.size() < (size_t(4) << 20) - 20; ++i)
    lines += "f32 " + std::to_string(i) + "\t1\n";
  ASSERT_TRUE(writeFile(file, lines).ok());
  EXPECT_EQ(ProductChoices(file).find("f32 7"), "1");
  EXPECT_EQ(ProductChoices(file).keep("a kind that is a little longer", "2", ""), "2");
  EXPECT_EQ(*readTextFile(file), "a kind that is a little longer\t2\n");
}

TEST_F(ProductChoicesTest, WithoutAFileNothingIsKept) {
  ProductChoices none("");
  EXPECT_FALSE(none.kept());
  EXPECT_EQ(none.keep("f32 3x4", "1", ""), "1");
  EXPECT_EQ(none.find("f32 3x4"), "");
  ProductChoices unwritable((folder / "absent/products").string());
  EXPECT_EQ(unwritable.keep("f32 3x4", "1", ""), "1");
}

TEST_F(ProductChoicesTest, TheFileIsOfTheDeviceAndItsDriver) {
  ::setenv("MORPH_CACHE", folder.c_str(), 1);
  CudaProperties device;
  device.name = "NVIDIA H100 80GB HBM3";
  device.driverVersion = 13000;
  EXPECT_EQ(productChoicesPath(device), (folder / "cuda-products-nvidia-h100-80gb-hbm3-13000").string());
  ::unsetenv("MORPH_CACHE");
}

} // namespace
} // namespace morph
