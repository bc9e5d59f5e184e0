// SPDX-License-Identifier: Apache-2.0
// The interface of a library that computes matrix products. One file a library.

#ifndef MORPH_RUNTIME_KERNELS_GEMMLIBRARY_H
#define MORPH_RUNTIME_KERNELS_GEMMLIBRARY_H

#include "runtime/kernels/Bf16.h"
#include "runtime/kernels/Gemm.h"

#include <vector>

namespace morph {

/// Strides are never 0 here, and m, n and k are positive.
class GemmLibrary {
public:
  virtual ~GemmLibrary() = default;
  /// As in the file of choices.
  virtual const char *name() const = 0;
  /// Empty: that of another one of the list.
  virtual std::string version() const = 0;
  /// Whether it computes such products here.
  virtual bool serves(const GemmDescription &description, int threads) const = 0;
  /// Computes c, without a bias.
  virtual void run(const GemmDescription &description, const void *a, const void *b, void *c, int threads) const = 0;
};

/// All of this process, the first one serving everything: own, MKL where LibTorch carries it, oneDNN where Morph was
/// built with it, and those two behind widened factors.
const std::vector<const GemmLibrary *> &gemmLibraryList();

/// Null where it is not there.
const GemmLibrary *mklGemm();
const GemmLibrary *oneDnnGemm();
const GemmLibrary *ownGemm();
/// The library behind widened bf16 factors; null where it is not there.
const GemmLibrary *widenedMklGemm();
const GemmLibrary *widenedOneDnnGemm();

/// c = op(a) op(b) + beta c by MKL on the calling thread alone, where mklGemm() serves bf16.
void multiplyByMkl(const GemmDescription &description, const Bf16 *a, const Bf16 *b, float beta, float *c);

/// Products of at most this many multiplications, and those of at most kFewRows rows with a transposed b, are ours: no
/// library earns its overhead, or all wait for memory.
inline constexpr int64_t kSmallProduct = 64 * 64 * 64;
inline constexpr int64_t kFewRows = 4;

/// Whether a product is one of few rows with a transposed b: of kFewRows, or kRowsApart where rows are kept apart.
bool hasFewRows(const GemmDescription &description);

} // namespace morph

#endif // MORPH_RUNTIME_KERNELS_GEMMLIBRARY_H
