// SPDX-License-Identifier: Apache-2.0
// Products by cuBLASLt. Internal to runtime/device.
//
// cuBLASLt proposes algorithms for a product, the likely fastest first. At the first product of a kind (sizes, types,
// strides, epilogue, alignments) the first few are measured, and the choice is kept in a file of the device and its
// driver by the algorithm's configuration, so that a later process gets the same bits; where another version of
// cuBLASLt does not propose it any more, it is measured again. Where no file can be kept, and under capture, the first
// one is taken. Partial sums of a split k are added in fp32 (fp64), never in the result's type nor in an order that may
// change.

#ifndef MORPH_RUNTIME_DEVICE_CUDAPRODUCTS_H
#define MORPH_RUNTIME_DEVICE_CUDAPRODUCTS_H

#include "runtime/device/CublasLt.h"
#include "runtime/device/CudaState.h"
#include "runtime/device/ProductKinds.h"

#include <map>
#include <memory>
#include <vector>

namespace morph {

class CudaProducts {
public:
  /// Opens the library, and takes its handle and workspace. `state` outlives it.
  static StatusOr<std::unique_ptr<CudaProducts>> make(CudaState &state);
  ~CudaProducts();

  Status run(const CudaProduct &product, const void *a, const void *b, const void *bias, void *c,
             const std::string &what);
  int64_t measured() const { return measured_; }
  CudaSpan workspace() const;

private:
  struct Prepared;
  /// One algorithm that cuBLASLt proposes.
  struct Candidate {
    cublasLtMatmulAlgo_t algorithm = {};
    std::string name; ///< Its configuration: "21/15/1/0/0/0/18/0/2".
  };

  explicit CudaProducts(CudaState &state);
  StatusOr<std::unique_ptr<Prepared>> prepare(const ProductKind &kind, const void *bias);
  StatusOr<std::vector<Candidate>> candidates(const ProductKind &kind, const Prepared &prepared);
  /// The index of the fastest; the list's size where there is no memory to measure in.
  StatusOr<size_t> measure(const Prepared &prepared, const std::vector<Candidate> &list, const void *a, const void *b,
                           void *c, const std::string &what);
  cublasStatus_t start(const Prepared &prepared, const cublasLtMatmulAlgo_t &algorithm, const void *a, const void *b,
                       void *c) const;

  CudaState &state_;
  const CublasLt *blas_ = nullptr;
  cublasLtHandle_t handle_ = nullptr;
  CUdeviceptr workspace_ = 0;
  CUevent begin_ = nullptr, end_ = nullptr;
  ProductChoices choices_{""};
  std::map<ProductKind, std::unique_ptr<Prepared>> prepared_;
  int64_t measured_ = 0;
};

} // namespace morph

#endif // MORPH_RUNTIME_DEVICE_CUDAPRODUCTS_H
