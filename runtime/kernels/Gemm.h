// SPDX-License-Identifier: Apache-2.0
// Matrix products on raw memory: c = op(a) op(b) + bias, where op transposes when its flag is set. Several libraries
// can serve a product; which one does is measured once on a machine and kept in a file (GemmChoice.h).
//
// Same bits: a product's result depends on its description, the number of threads, the machine and the libraries; also
// on the addresses modulo 64 bytes where MKL serves it, so matrices start at multiples of 64 bytes.

#ifndef MORPH_RUNTIME_KERNELS_GEMM_H
#define MORPH_RUNTIME_KERNELS_GEMM_H

#include "runtime/plan/Plan.h"

#include <cstdint>
#include <string>

namespace morph {

/// What a product is, without its data. op(a) is [m,k], op(b) is [k,n], c is [m,n]; matrices are row-major, a stride
/// counts the elements between the starts of two rows as they are stored. Stride 0: rows follow one another.
struct GemmDescription {
  int64_t m = 0, n = 0, k = 0;
  bool transposeA = false, transposeB = false;
  plan::DType factors = plan::DType::F32; ///< Of a and b: fp32, bf16 or fp64.
  int64_t strideA = 0, strideB = 0, strideC = 0;

  /// Of sums, bias and c: fp32, and fp64 for fp64 factors.
  plan::DType sums() const { return factors == plan::DType::F64 ? plan::DType::F64 : plan::DType::F32; }
};

/// Computes c. `bias` [n] may be null. Inside parallelTasks a product runs on one thread whatever `threads` says. The
/// first product of a kind takes a measurement longer (GemmChoice.h).
void gemm(const GemmDescription &description, const void *a, const void *b, const void *bias, void *c, int threads);

/// The most sequences whose products with weights give each the bits that it gets alone, where rows are kept apart.
inline constexpr int64_t kRowsApart = 64;

/// From now on products of at most kRowsApart rows with a weight are ours, whose sums of a row do not depend on the
/// other rows: sequences that decode together get the same bits as each alone. Costs time where a library is faster
/// from some rows on. Not while products run.
void keepRowsApart(bool apart);

/// What can serve products in this process, with versions: "own, mkl 2024.2, onednn 2.6.3".
std::string gemmLibraries();

} // namespace morph

#endif // MORPH_RUNTIME_KERNELS_GEMM_H
