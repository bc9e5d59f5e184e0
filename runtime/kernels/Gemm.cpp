// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernels/Gemm.h"

#include "runtime/kernels/GemmChoice.h"
#include "runtime/kernels/GemmLibrary.h"
#include "runtime/kernels/GemmLoops.h"
#include "runtime/kernels/Parallel.h"

#include <algorithm>

namespace morph {
namespace {

GemmDescription withStrides(GemmDescription d) {
  if (d.strideA == 0)
    d.strideA = d.transposeA ? d.m : d.k;
  if (d.strideB == 0)
    d.strideB = d.transposeB ? d.k : d.n;
  if (d.strideC == 0)
    d.strideC = d.n;
  return d;
}

/// Calls body(begin, end) for blocks of c's rows.
template <typename Body> void forBlocks(const GemmDescription &d, int threads, const Body &body) {
  constexpr int64_t block = 16;
  parallelTasks(threads, (d.m + block - 1) / block,
                [&](int64_t task, int) { body(task * block, std::min(d.m, (task + 1) * block)); });
}

template <typename T> void fillZero(const GemmDescription &d, T *c) {
  for (int64_t i = 0; i < d.m; ++i)
    std::fill_n(c + i * d.strideC, d.n, T(0));
}

template <typename T> void addBias(const GemmDescription &d, const T *bias, T *c, int threads) {
  forBlocks(d, threads, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      addRow(bias, c + i * d.strideC, d.n);
  });
}

/// The library for a product. Kinds are wide: one that was chosen may not have this very product.
const GemmLibrary &libraryOf(const GemmDescription &d, int threads) {
  const GemmLibrary &library = chooseGemmLibrary(d, threads);
  return library.serves(d, threads) ? library : *ownGemm();
}

} // namespace

void gemm(const GemmDescription &description, const void *a, const void *b, const void *bias, void *c, int threads) {
  if (description.m == 0 || description.n == 0)
    return;
  const GemmDescription d = withStrides(description);
  if (insideTasks())
    threads = 1;
  const bool isDouble = d.sums() == plan::DType::F64;
  if (d.k > 0)
    libraryOf(d, threads).run(d, a, b, c, threads);
  else if (isDouble)
    fillZero(d, static_cast<double *>(c));
  else
    fillZero(d, static_cast<float *>(c));
  if (bias && isDouble)
    addBias(d, static_cast<const double *>(bias), static_cast<double *>(c), threads);
  else if (bias)
    addBias(d, static_cast<const float *>(bias), static_cast<float *>(c), threads);
}

/// The rows of hasFewRows.
static int64_t fewRows = kFewRows;

void keepRowsApart(bool apart) { fewRows = apart ? kRowsApart : kFewRows; }

bool hasFewRows(const GemmDescription &d) { return d.m <= fewRows && d.transposeB && !d.transposeA; }

const std::vector<const GemmLibrary *> &gemmLibraryList() {
  static const std::vector<const GemmLibrary *> all = [] {
    std::vector<const GemmLibrary *> list = {ownGemm()};
    // Of two that are as fast the later one is taken.
    for (const GemmLibrary *library : {widenedMklGemm(), widenedOneDnnGemm(), mklGemm(), oneDnnGemm()})
      if (library)
        list.push_back(library);
    return list;
  }();
  return all;
}

std::string gemmLibraries() {
  std::string text;
  for (const GemmLibrary *library : gemmLibraryList())
    if (const std::string version = library->version(); !version.empty())
      text += (text.empty() ? "" : ", ") + version;
  return text;
}

} // namespace morph
