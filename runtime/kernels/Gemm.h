// SPDX-License-Identifier: Apache-2.0
// Matrix products on raw memory: c = epilogue(op(a) op(b)), where op transposes when its flag is set. Several libraries
// can serve a product; which one does is measured once on a machine and kept in a file (GemmChoice.h).
//
// Types: a and b alike, fp32, bf16 or fp64; c of that type or, for bf16 factors, fp32; and fp32 factors may give bf16.
// Sums are fp32 (fp64 for fp64) and are rounded to c's type once, at the end of the epilogue.
//
// Same bits: a product's result depends on its description, the number of threads, the machine and the libraries; also
// on the addresses modulo 64 bytes where MKL serves it, so matrices start at multiples of 64 bytes.

#ifndef MORPH_RUNTIME_KERNELS_GEMM_H
#define MORPH_RUNTIME_KERNELS_GEMM_H

#include "runtime/plan/Plan.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace morph {

/// What a product is, without its data. op(a) is [m,k], op(b) is [k,n], c is [m,n]; matrices are row-major, a stride
/// counts the elements between the starts of two rows as they are stored. Stride 0: rows follow one another.
struct GemmDescription {
  int64_t m = 0, n = 0, k = 0;
  bool transposeA = false, transposeB = false;
  plan::DType a = plan::DType::F32, b = plan::DType::F32, c = plan::DType::F32;
  int64_t strideA = 0, strideB = 0, strideC = 0;
  bool accumulate = false; ///< The product is added to what c holds.
};

/// What happens to the sums x before they are stored; null: nothing. In this order: x += bias, x = silu(gate) * x,
/// x += residual.
struct Epilogue {
  const void *bias = nullptr;     ///< [n], fp32 (fp64 for fp64 products).
  const void *gate = nullptr;     ///< [m,n] of c's type.
  const void *residual = nullptr; ///< [m,n] of c's type; may be c.
  int64_t strideGate = 0, strideResidual = 0;

  bool empty() const { return !bias && !gate && !residual; }
};

/// A frozen right factor in the layout that its library reads fastest.
class PackedWeight {
public:
  struct Data;
  PackedWeight() = default;
  explicit PackedWeight(std::shared_ptr<const Data> data) : data_(std::move(data)) {}
  /// The memory that it takes beside the plain weight: 0 where the library reads the plain weight as fast.
  int64_t bytes() const;
  const Data *data() const { return data_.get(); }

private:
  std::shared_ptr<const Data> data_;
};

/// Packs b for products like `description` with any number m of rows, on `threads` threads. b must stay where it is:
/// what cannot be packed is read in place.
PackedWeight packWeight(const GemmDescription &description, const void *b, int threads);

/// Computes c. `workspace` holds at least gemmWorkspace(description, ...) bytes (runtime/plan/Workspace.h), aligned to
/// 64; null: memory of the calling thread's own, which grows to what was needed. Inside parallelTasks a product runs on
/// one thread whatever `threads` says. The first product of a kind takes a measurement longer (GemmChoice.h).
void gemm(const GemmDescription &description, const void *a, const void *b, void *c, const Epilogue &epilogue,
          int threads, void *workspace = nullptr);

/// The same with a packed right factor: the same bits.
void gemm(const GemmDescription &description, const void *a, const PackedWeight &b, void *c, const Epilogue &epilogue,
          int threads, void *workspace = nullptr);

/// One product of several that do not depend on each other.
struct GemmProblem {
  GemmDescription description;
  const void *a = nullptr, *b = nullptr;
  void *c = nullptr;
  Epilogue epilogue;
};

/// Computes all of them: side by side, each on one thread, where there are enough of them to keep all threads busy to
/// the end; else one after the other. Which of the two depends on the descriptions and `threads` alone.
void gemmBatch(const std::vector<GemmProblem> &problems, int threads);

/// What can serve products in this process, with versions: "own, mkl 2024.2, onednn 2.6.3".
std::string gemmLibraries();

} // namespace morph

#endif // MORPH_RUNTIME_KERNELS_GEMM_H
