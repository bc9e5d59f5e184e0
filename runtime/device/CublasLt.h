// SPDX-License-Identifier: Apache-2.0
// cuBLASLt's functions, found when a device first multiplies. Internal to runtime/device.

#ifndef MORPH_RUNTIME_DEVICE_CUBLASLT_H
#define MORPH_RUNTIME_DEVICE_CUBLASLT_H

#include "runtime/base/Status.h"

#include <cublasLt.h>

#include <string>

namespace morph {

#define MORPH_CUBLASLT_FUNCTIONS(F)                                                                                    \
  F(Create)                                                                                                            \
  F(Destroy)                                                                                                           \
  F(GetVersion)                                                                                                        \
  F(GetStatusName)                                                                                                     \
  F(GetStatusString)                                                                                                   \
  F(Matmul)                                                                                                            \
  F(MatmulDescCreate)                                                                                                  \
  F(MatmulDescDestroy)                                                                                                 \
  F(MatmulDescSetAttribute)                                                                                            \
  F(MatrixLayoutCreate)                                                                                                \
  F(MatrixLayoutDestroy)                                                                                               \
  F(MatrixLayoutSetAttribute)                                                                                          \
  F(MatmulPreferenceCreate)                                                                                            \
  F(MatmulPreferenceDestroy)                                                                                           \
  F(MatmulPreferenceSetAttribute)                                                                                      \
  F(MatmulAlgoGetHeuristic)                                                                                            \
  F(MatmulAlgoConfigGetAttribute)

struct CublasLt {
#define MORPH_CUBLASLT_MEMBER(name) decltype(&::cublasLt##name) name = nullptr;
  MORPH_CUBLASLT_FUNCTIONS(MORPH_CUBLASLT_MEMBER)
#undef MORPH_CUBLASLT_MEMBER
  void *library = nullptr;

  /// The library of this process: the file that MORPH_CUBLASLT names, or the first `libcublasLt.so.13` of the loader's
  /// path, of the wheel beside LibTorch, of the environment that Morph was built with and of the toolkit. It is opened
  /// once and stays. An error says what was tried.
  static StatusOr<const CublasLt *> open();

  /// "13.1.0".
  std::string version() const;
  /// `what`: "CUBLAS_STATUS_NOT_SUPPORTED (...)"; no error for CUBLAS_STATUS_SUCCESS.
  Status check(cublasStatus_t status, const std::string &what) const;
};

} // namespace morph

#endif // MORPH_RUNTIME_DEVICE_CUBLASLT_H
