// SPDX-License-Identifier: Apache-2.0
// Products by the MKL inside LibTorch. On AMD its bf16 product is emulated, as slow as fp32.

#include "runtime/kernels/GemmLibrary.h"

#include <algorithm>
#include <limits>

// Weak: a LibTorch for other processors does not export them. 32-bit sizes, as LibTorch links it.
extern "C" {
__attribute__((weak)) void sgemm_(const char *, const char *, const int *, const int *, const int *, const float *,
                                  const float *, const int *, const float *, const int *, const float *, float *,
                                  const int *);
__attribute__((weak)) void dgemm_(const char *, const char *, const int *, const int *, const int *, const double *,
                                  const double *, const int *, const double *, const int *, const double *, double *,
                                  const int *);
__attribute__((weak)) void gemm_bf16bf16f32_(const char *, const char *, const int *, const int *, const int *,
                                             const float *, const void *, const int *, const void *, const int *,
                                             const float *, float *, const int *);
__attribute__((weak)) int MKL_Set_Num_Threads_Local(int threads);
__attribute__((weak)) void MKL_Get_Version_String(char *text, int length);
}

namespace morph {
namespace {

/// MKL's number of threads for the products of this scope's thread.
class Threads {
public:
  explicit Threads(int threads) : before_(MKL_Set_Num_Threads_Local(threads)) {}
  ~Threads() { MKL_Set_Num_Threads_Local(before_); }

private:
  int before_;
};

/// BLAS is column-major: a row-major product is the product of the transposes in the other order.
template <typename Blas, typename E, typename T>
void run(Blas *blas, const GemmDescription &d, const E *a, const E *b, T beta, T *c) {
  const char flagA = d.transposeA ? 'T' : 'N', flagB = d.transposeB ? 'T' : 'N';
  const int rows = static_cast<int>(d.n), columns = static_cast<int>(d.m), inner = static_cast<int>(d.k);
  const int strideA = static_cast<int>(d.strideA), strideB = static_cast<int>(d.strideB),
            strideC = static_cast<int>(d.strideC);
  const T one = 1;
  blas(&flagB, &flagA, &rows, &columns, &inner, &one, b, &strideB, a, &strideA, &beta, c, &strideC);
}

class MklGemm : public GemmLibrary {
public:
  const char *name() const override { return "mkl"; }
  std::string version() const override {
    char text[200] = "";
    if (MKL_Get_Version_String)
      MKL_Get_Version_String(text, sizeof text);
    return std::string("mkl ") + text;
  }
  bool serves(const GemmDescription &d, int) const override {
    constexpr int64_t limit = std::numeric_limits<int>::max();
    if (std::max({d.m, d.n, d.k, d.strideA, d.strideB, d.strideC}) > limit)
      return false;
    if (d.factors == plan::DType::F64)
      return dgemm_ != nullptr;
    return d.factors == plan::DType::BF16 ? gemm_bf16bf16f32_ != nullptr : sgemm_ != nullptr;
  }
  void run(const GemmDescription &d, const void *a, const void *b, void *c, int threads) const override {
    const Threads scope(threads);
    if (d.factors == plan::DType::F64)
      morph::run(dgemm_, d, static_cast<const double *>(a), static_cast<const double *>(b), 0.0,
                 static_cast<double *>(c));
    else if (d.factors == plan::DType::BF16)
      morph::run(gemm_bf16bf16f32_, d, a, b, 0.0f, static_cast<float *>(c));
    else
      morph::run(sgemm_, d, static_cast<const float *>(a), static_cast<const float *>(b), 0.0f,
                 static_cast<float *>(c));
  }
};

} // namespace

void multiplyByMkl(const GemmDescription &d, const Bf16 *a, const Bf16 *b, float beta, float *c) {
  const Threads scope(1);
  morph::run(gemm_bf16bf16f32_, d, static_cast<const void *>(a), static_cast<const void *>(b), beta, c);
}

const GemmLibrary *mklGemm() {
  static const MklGemm library;
  return sgemm_ && MKL_Set_Num_Threads_Local ? &library : nullptr;
}

} // namespace morph
