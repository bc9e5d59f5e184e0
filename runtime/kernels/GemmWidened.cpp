// SPDX-License-Identifier: Apache-2.0
// Products of bf16 factors by a library's product of fp32 ones: a processor that multiplies no bf16 numbers is faster
// so than by its library's emulation, and the sums are the same but for their order.

#include "runtime/kernels/GemmLibrary.h"
#include "runtime/kernels/GemmLoops.h"
#include "runtime/kernels/Matrix.h"
#include "runtime/kernels/Parallel.h"

#include <algorithm>
#include <cstdlib>
#include <new>

namespace morph {
namespace {

/// Elements of a block of a factor: it stays in a cache between being widened and being read.
constexpr int64_t kBlockElements = int64_t(1) << 20;

/// Memory of the calling thread's own for `count` floats.
class Workspace {
public:
  Workspace() = default;
  Workspace(const Workspace &) = delete;
  ~Workspace() { std::free(data_); }
  float *reserve(int64_t count) {
    if (count <= size_)
      return data_;
    std::free(data_);
    size_ = 0;
    data_ = static_cast<float *>(std::aligned_alloc(64, static_cast<size_t>((count * 4 + 63) / 64 * 64)));
    if (!data_)
      throw std::bad_alloc();
    size_ = count;
    return data_;
  }

private:
  float *data_ = nullptr;
  int64_t size_ = 0;
};

/// y [rows,columns] = x, rows of y one after the other.
void widen(Matrix<const Bf16> x, int64_t rows, int64_t columns, float *y, int threads) {
  constexpr int64_t block = 32;
  parallelTasks(threads, (rows + block - 1) / block, [&](int64_t task, int) {
    const int64_t begin = task * block, count = std::min(block, rows - begin);
    widenRows(x.below(begin), {y + begin * columns, columns}, count, columns);
  });
}

/// How many of `count` lines of `length` elements a block has.
int64_t blockOf(int64_t count, int64_t length) {
  return std::min(count, std::max<int64_t>(kBlockElements / length / 64 * 64, 64));
}

class WidenedGemm : public GemmLibrary {
public:
  WidenedGemm(const char *name, const GemmLibrary &library) : name_(name), library_(library) {}
  const char *name() const override { return name_; }
  std::string version() const override { return ""; }

  bool serves(const GemmDescription &d, int threads) const override {
    if (d.factors != plan::DType::BF16)
      return false;
    GemmDescription widened = d;
    widened.factors = plan::DType::F32;
    return library_.serves(widened, threads);
  }

  void run(const GemmDescription &d, const void *aData, const void *bData, void *cData, int threads) const override {
    thread_local Workspace workspaceA, workspaceB;
    const auto *a = static_cast<const Bf16 *>(aData), *b = static_cast<const Bf16 *>(bData);
    auto *c = static_cast<float *>(cData);
    const int64_t rows = blockOf(d.m, d.k), columns = blockOf(d.n, d.k);
    float *const wideA = workspaceA.reserve(rows * d.k), *const wideB = workspaceB.reserve(columns * d.k);
    GemmDescription part = d;
    part.factors = plan::DType::F32;
    for (int64_t j = 0; j < d.n; j += columns) {
      part.n = std::min(columns, d.n - j);
      part.strideB = d.transposeB ? d.k : part.n;
      widen({b + (d.transposeB ? j * d.strideB : j), d.strideB}, d.transposeB ? part.n : d.k, part.strideB, wideB,
            threads);
      for (int64_t i = 0; i < d.m; i += rows) {
        part.m = std::min(rows, d.m - i);
        part.strideA = d.transposeA ? part.m : d.k;
        widen({a + (d.transposeA ? i : i * d.strideA), d.strideA}, d.transposeA ? d.k : part.m, part.strideA, wideA,
              threads);
        // What the library has for the whole product it may not have for a part.
        const GemmLibrary &library = library_.serves(part, threads) ? library_ : *ownGemm();
        library.run(part, wideA, wideB, c + i * d.strideC + j, threads);
      }
    }
  }

private:
  const char *name_;
  const GemmLibrary &library_;
};

} // namespace

const GemmLibrary *widenedMklGemm() {
  static const GemmLibrary *const library = mklGemm() ? new WidenedGemm("widened-mkl", *mklGemm()) : nullptr;
  return library;
}

const GemmLibrary *widenedOneDnnGemm() {
  static const GemmLibrary *const library = oneDnnGemm() ? new WidenedGemm("widened-onednn", *oneDnnGemm()) : nullptr;
  return library;
}

} // namespace morph
