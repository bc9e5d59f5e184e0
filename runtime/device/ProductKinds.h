// SPDX-License-Identifier: Apache-2.0
// What of products on CUDA devices needs no device: their checks, their form for a library of column-major matrices,
// and the file of the algorithms that were measured.

#ifndef MORPH_RUNTIME_DEVICE_PRODUCTKINDS_H
#define MORPH_RUNTIME_DEVICE_PRODUCTKINDS_H

#include "runtime/base/Status.h"
#include "runtime/device/CudaDevice.h"

#include <array>
#include <cstdint>
#include <map>
#include <string>

namespace morph {

int64_t bytesOf(CudaType type);

/// The product with its strides in place of zeros, or why it is none. Of an empty one (m, n or batch 0) no more is
/// asked.
StatusOr<CudaProduct> checkedProduct(CudaProduct product);
inline bool isEmpty(const CudaProduct &product) { return product.m == 0 || product.n == 0 || product.batch == 0; }

/// A matrix as stored, column-major: element (r, c) lies at r + c * leading.
struct ColumnMajor {
  int64_t rows = 0, columns = 0, leading = 0, batchStride = 0;
  bool transposed = false;
};

/// A row-major product as a column-major one: c^T = op(b)^T op(a)^T, so b comes first. The bias, one number a column of
/// c, is one a row of c^T, which is what libraries have.
struct ColumnMajorProduct {
  ColumnMajor first;  ///< b.
  ColumnMajor second; ///< a.
  ColumnMajor result; ///< c.
};
ColumnMajorProduct columnMajorOf(const CudaProduct &checked);

/// The greatest power of two, at most 256, that divides an address; 256 for null.
int alignmentOf(const void *address);

/// What decides which algorithm is the fastest: the product, whether there is a bias, and how a, b, bias and c are
/// aligned.
struct ProductKind {
  CudaProduct product; ///< Checked.
  bool hasBias = false;
  std::array<int, 4> alignments = {256, 256, 256, 256};

  bool operator<(const ProductKind &other) const;
  /// One line: "bf16 f32 nt 1024x576x1536 strides 1536,1536,576 batch 1 0,0,0 bias aligned 256,256,256,256".
  std::string text() const;
};

/// The algorithms chosen for kinds of products: a text file of lines "KIND<tab>ALGORITHM". Lines that are not so are
/// ignored, and a file that is too long is begun anew. Several processes may add lines: what is there first counts.
class ProductChoices {
public:
  /// `path` empty: no file, nothing is kept.
  explicit ProductChoices(std::string path);
  bool kept() const { return !path_.empty(); }
  /// The algorithm of a kind, or an empty string.
  std::string find(const std::string &kind) const;
  /// Keeps a choice; what holds from now on: another process's where that was first and is not `stale`.
  std::string keep(const std::string &kind, const std::string &algorithm, const std::string &stale);

private:
  std::string path_;
  std::map<std::string, std::string> choices_;
};

/// ${MORPH_CACHE:-~/.cache/morph}/cuda-products-DEVICE-DRIVER, or an empty string where the folder cannot be made.
std::string productChoicesPath(const CudaProperties &device);

} // namespace morph

#endif // MORPH_RUNTIME_DEVICE_PRODUCTKINDS_H
