// SPDX-License-Identifier: Apache-2.0
// Helpers of the chunked linear-attention kernels: decays and triangular solves of one chunk, and what every kernel
// does with its operands. A chunk kernel handles one batch element and head at a time, so that its chunk's data stays
// in cache; heads run in parallel.

#ifndef MORPH_RUNTIME_KERNELS_CHUNKMATH_H
#define MORPH_RUNTIME_KERNELS_CHUNKMATH_H

#include "runtime/kernels/ChunkLoops.h"
#include "runtime/kernels/LinearAttention.h"
#include "runtime/kernels/SmallProducts.h"

#include <ATen/ATen.h>

#include <cstdint>

namespace morph::chunk {

/// Solves (I + M diag(beta)) E = X for E and gives U = diag(beta) E, where M [c,c] is zero on and above the diagonal.
/// `e` [c,n] holds X on entry and E on return; `u` [c,n] is written.
void solveLower(int64_t c, int64_t n, Matrix<float> m, const float *beta, Matrix<float> e, Matrix<float> u);
void solveLower(int64_t c, int64_t n, Matrix<double> m, const double *beta, Matrix<double> e, Matrix<double> u);

/// Solves (I + diag(beta) M)^T R = D for R and gives X = diag(beta) R, with M as above. `r` [c,n] holds D on entry and
/// R on return; `x` [c,n] is written.
void solveUpper(int64_t c, int64_t n, Matrix<float> m, const float *beta, Matrix<float> r, Matrix<float> x);
void solveUpper(int64_t c, int64_t n, Matrix<double> m, const double *beta, Matrix<double> r, Matrix<double> x);

/// The operands contiguous and of one floating type (that of q, or fp32 where q is of lower precision), shapes checked.
/// The state becomes a fresh tensor that the kernel may overwrite, zero where absent.
LinearAttentionInputs prepare(const char *kind, const LinearAttentionInputs &inputs);

/// Whether autograd would record what is computed of these inputs.
bool recorded(const LinearAttentionInputs &inputs);

} // namespace morph::chunk

#endif // MORPH_RUNTIME_KERNELS_CHUNKMATH_H
