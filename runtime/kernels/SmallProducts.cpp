// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernels/SmallProducts.h"

#include "runtime/kernels/GemmLibrary.h"
#include "runtime/kernels/PairProduct.h"
#include "runtime/kernels/TiledProduct.h"

#include <vector>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace morph {

void multiply(bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, float alpha, Matrix<const float> a,
              Matrix<const float> b, float beta, Matrix<float> c) {
  tiledProduct(transposeA, transposeB, m, n, k, alpha, a, b, beta, c);
}

void multiply(bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, double alpha, Matrix<const double> a,
              Matrix<const double> b, double beta, Matrix<double> c) {
  tiledProduct(transposeA, transposeB, m, n, k, alpha, a, b, beta, c);
}

namespace {

bool roundsEverywhere = false;

/// A factor's numbers rounded to bf16, and widened again.
std::vector<float> rounded(int64_t rows, int64_t columns, Matrix<const float> x) {
  std::vector<float> values(static_cast<size_t>(rows * columns));
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j)
      values[static_cast<size_t>(i * columns + j)] = widen(roundToBf16(x.data[i * x.stride + j]));
  return values;
}

/// Whether LibTorch's MKL has the bf16 product and uses AVX512-BF16 or AMX for it, as it does on Intel's processors
/// alone.
bool hasFastMkl() {
  static const bool fast = [] {
#if defined(__x86_64__)
    __builtin_cpu_init();
    GemmDescription d;
    d.m = d.n = d.k = d.strideA = d.strideB = d.strideC = 1;
    d.factors = plan::DType::BF16;
    unsigned a = 0, b = 0, c = 0, edx = 0;
    const bool amx = __get_cpuid_count(7, 0, &a, &b, &c, &edx) && (edx & (1u << 22));
    return __builtin_cpu_is("intel") && (amx || __builtin_cpu_supports("avx512bf16")) && mklGemm() &&
           mklGemm()->serves(d, 1);
#else
    return false;
#endif
  }();
  return fast;
}

} // namespace

void multiply(bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, float alpha, Matrix<const Bf16> a,
              Matrix<const Bf16> b, float beta, Matrix<float> c) {
  if (!hasFastMkl() || alpha != 1 || (beta != 0 && beta != 1) || m * n * k == 0) {
    tiledProduct(transposeA, transposeB, m, n, k, alpha, a, b, beta, c);
    return;
  }
  GemmDescription d;
  d.m = m;
  d.n = n;
  d.k = k;
  d.transposeA = transposeA;
  d.transposeB = transposeB;
  d.factors = plan::DType::BF16;
  d.strideA = a.stride;
  d.strideB = b.stride;
  d.strideC = c.stride;
  multiplyByMkl(d, a.data, b.data, beta, c.data);
}

bool multipliesBf16() { return roundsEverywhere || hasFastMkl() || pairProduct<Bf16>(); }

void multiplyRounded(bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, float alpha,
                     Matrix<const float> a, Matrix<const float> b, float beta, Matrix<float> c) {
  static const PairProduct<float> pairs = pairProduct<float>();
  if (pairs && k > 0) {
    pairs(transposeA, transposeB, m, n, k, alpha, a, b, beta, c);
    return;
  }
  const int64_t rowsA = transposeA ? k : m, columnsA = transposeA ? m : k, rowsB = transposeB ? n : k,
                columnsB = transposeB ? k : n;
  const std::vector<float> factorA = rounded(rowsA, columnsA, a), factorB = rounded(rowsB, columnsB, b);
  multiply(transposeA, transposeB, m, n, k, alpha, Matrix<const float>{factorA.data(), columnsA},
           Matrix<const float>{factorB.data(), columnsB}, beta, c);
}

bool roundsFactors() { return roundsEverywhere || pairProduct<float>(); }

void roundFactors(bool everywhere) { roundsEverywhere = everywhere; }

} // namespace morph
