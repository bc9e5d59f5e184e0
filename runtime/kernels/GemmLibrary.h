// SPDX-License-Identifier: Apache-2.0
// The interface of a library that computes matrix products. One file a library.

#ifndef MORPH_RUNTIME_KERNELS_GEMMLIBRARY_H
#define MORPH_RUNTIME_KERNELS_GEMMLIBRARY_H

#include "runtime/kernels/Gemm.h"

namespace morph {

/// Strides are never 0 here, and m, n and k are positive.
class GemmLibrary {
public:
  virtual ~GemmLibrary() = default;
  /// As in the file of choices.
  virtual const char *name() const = 0;
  virtual std::string version() const = 0;
  /// Whether it computes such products here, without an epilogue.
  virtual bool serves(const GemmDescription &description, int threads) const = 0;
  /// Whether it applies this epilogue itself.
  virtual bool fuses(const GemmDescription &description, const Epilogue &epilogue, int threads) const = 0;
  /// Computes c with an epilogue that is empty or that it fuses.
  virtual void run(const GemmDescription &description, const void *a, const void *b, void *c, const Epilogue &epilogue,
                   int threads) const = 0;
  /// b as `runPacked` reads it, and its bytes; null: it has no better layout than the plain one.
  virtual std::shared_ptr<const void> pack(const GemmDescription &, const void *, int, int64_t &) const {
    return nullptr;
  }
  /// As `run`, with what `pack` gave as b; false, and nothing is done, where such products cannot read it.
  virtual bool runPacked(const GemmDescription &, const void *, const void *, void *, const Epilogue &, int) const {
    return false;
  }
};

/// All of this process, the first one serving everything: own, MKL where LibTorch carries it, oneDNN where Morph was
/// built with it.
const std::vector<const GemmLibrary *> &gemmLibraryList();

/// Null where it is not there.
const GemmLibrary *mklGemm();
const GemmLibrary *oneDnnGemm();
const GemmLibrary *ownGemm();

/// Products of at most this many multiplications, and those of at most kFewRows rows with a transposed b, are ours: no
/// library earns its overhead, or all wait for memory.
inline constexpr int64_t kSmallProduct = 64 * 64 * 64;
inline constexpr int64_t kFewRows = 4;

} // namespace morph

#endif // MORPH_RUNTIME_KERNELS_GEMMLIBRARY_H
