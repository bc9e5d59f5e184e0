// SPDX-License-Identifier: Apache-2.0
// TiledProduct for bf16 factors on processors that multiply and add pairs of them at twice the speed of fp32:
// AVX512-BF16 of AMD since Zen 4. (Intel's has half the rate, no more than fp32; there MKL and AMX serve.) Factors of
// fp32 are rounded on the way, which costs next to nothing: a factor is packed anyway.
//
// Two factors that follow each other over k are one word: op(a) is read, or packed where its pairs do not lie together,
// as words that go to all lanes, op(b) packed as words of 16 columns. A tile of 8 rows and two vectors of columns of c
// stays in registers. As in TiledProduct, the bits of an element of c depend on its row and its column alone. The
// instruction takes numbers below fp32's normal range as zero.

#ifndef MORPH_RUNTIME_KERNELS_PAIRPRODUCT_H
#define MORPH_RUNTIME_KERNELS_PAIRPRODUCT_H

#include "runtime/kernels/Bf16.h"
#include "runtime/kernels/Matrix.h"

#include <cstdint>

namespace morph {

/// The function for this machine, with TiledProduct's arguments and a k above 0; null where it has no such
/// instructions. E is Bf16, or float for factors that are rounded to bf16.
template <typename E>
using PairProduct = void (*)(bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, float alpha,
                             Matrix<const E> a, Matrix<const E> b, float beta, Matrix<float> c);
template <typename E> PairProduct<E> pairProduct();

} // namespace morph

#endif // MORPH_RUNTIME_KERNELS_PAIRPRODUCT_H
