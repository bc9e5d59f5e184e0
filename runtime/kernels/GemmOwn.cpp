// SPDX-License-Identifier: Apache-2.0
// Products by our own loops: small ones, those of few rows, and all where no library is. Blocks of c in parallel.

#include "runtime/kernels/GemmLibrary.h"
#include "runtime/kernels/GemmLoops.h"
#include "runtime/kernels/Parallel.h"
#include "runtime/kernels/TiledProduct.h"

#include <algorithm>

namespace morph {
namespace {

/// A task's block of c: its rows of a stay in the second cache while the columns of b pass.
constexpr int64_t kRows = 192, kColumns = 512;
/// Bytes of a b that one thread has read before another one is awake.
constexpr int64_t kReadAlone = int64_t(1) << 18;
/// Bytes of a b that stay in the second cache while the rows of a pass.
constexpr int64_t kStays = int64_t(1) << 18;

/// c = a times the transposed b for few rows of a: all the time goes into reading b. A thread reads one part of it.
template <typename T, typename E> void runFewRows(const GemmDescription &d, const E *a, const E *b, T *c, int threads) {
  const int64_t rowBytes = d.k * static_cast<int64_t>(sizeof(E));
  const int64_t parts = d.n * rowBytes < kReadAlone ? 1 : threads, block = std::max<int64_t>(4, kStays / rowBytes);
  parallelTasks(threads, parts, [&](int64_t part, int) {
    const int64_t end = d.n * (part + 1) / parts;
    for (int64_t j = d.n * part / parts; j < end; j += block)
      rowsTimesRows(Matrix<const E>{a, d.strideA}, Matrix<const E>{b + j * d.strideB, d.strideB},
                    Matrix<T>{c + j, d.strideC}, d.m, std::min(block, end - j), d.k);
  });
}

template <typename T, typename E> void runOf(const GemmDescription &d, const E *a, const E *b, T *c, int threads) {
  if (hasFewRows(d))
    return runFewRows(d, a, b, c, threads);
  const int64_t rowBlocks = (d.m + kRows - 1) / kRows, columnBlocks = (d.n + kColumns - 1) / kColumns;
  parallelTasks(threads, rowBlocks * columnBlocks, [&](int64_t task, int) {
    const int64_t i = task % rowBlocks * kRows, j = task / rowBlocks * kColumns;
    tiledProduct(d.transposeA, d.transposeB, std::min(kRows, d.m - i), std::min(kColumns, d.n - j), d.k, T(1),
                 Matrix<const E>{a + (d.transposeA ? i : i * d.strideA), d.strideA},
                 Matrix<const E>{b + (d.transposeB ? j * d.strideB : j), d.strideB}, T(0),
                 Matrix<T>{c + i * d.strideC + j, d.strideC});
  });
}

class OwnGemm : public GemmLibrary {
public:
  const char *name() const override { return "own"; }
  std::string version() const override { return "own"; }
  bool serves(const GemmDescription &, int) const override { return true; }
  void run(const GemmDescription &d, const void *a, const void *b, void *c, int threads) const override {
    if (d.factors == plan::DType::F64)
      runOf(d, static_cast<const double *>(a), static_cast<const double *>(b), static_cast<double *>(c), threads);
    else if (d.factors == plan::DType::BF16)
      runOf(d, static_cast<const Bf16 *>(a), static_cast<const Bf16 *>(b), static_cast<float *>(c), threads);
    else
      runOf(d, static_cast<const float *>(a), static_cast<const float *>(b), static_cast<float *>(c), threads);
  }
};

} // namespace

const GemmLibrary *ownGemm() {
  static const OwnGemm library;
  return &library;
}

} // namespace morph
