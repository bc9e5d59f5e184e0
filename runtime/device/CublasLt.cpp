// SPDX-License-Identifier: Apache-2.0
#include "runtime/device/CublasLt.h"

#include "runtime/device/VendorLibrary.h"

#include <dlfcn.h>
#include <mutex>

namespace morph {
namespace {

StatusOr<CublasLt> openCublasLt() {
  VendorLibrary library{"cuBLASLt", "libcublasLt.so.13", "MORPH_CUBLASLT", "nvidia/cu13/lib"};
  if (*MORPH_CUDA_WHEEL)
    library.folder = std::string(MORPH_CUDA_WHEEL) + "/lib";
  MORPH_ASSIGN_OR_RETURN(const OpenedLibrary opened, openVendorLibrary(library));
  const std::string &file = opened.file;
  CublasLt blas;
  blas.library = opened.handle;
#define MORPH_CUBLASLT_FIND(name)                                                                                      \
  blas.name = reinterpret_cast<decltype(blas.name)>(::dlsym(blas.library, "cublasLt" #name));                          \
  if (!blas.name)                                                                                                      \
    return Status::failed("no cuBLASLt: '" + file + "' has no cublasLt" #name);
  MORPH_CUBLASLT_FUNCTIONS(MORPH_CUBLASLT_FIND)
#undef MORPH_CUBLASLT_FIND
  return blas;
}

} // namespace

StatusOr<const CublasLt *> CublasLt::open() {
  static std::mutex mutex;
  static CublasLt opened;
  const std::lock_guard<std::mutex> lock(mutex);
  if (!opened.library) {
    MORPH_ASSIGN_OR_RETURN(opened, openCublasLt());
  }
  return &opened;
}

std::string CublasLt::version() const {
  const size_t number = GetVersion();
  return std::to_string(number / 10000) + "." + std::to_string(number % 10000 / 100) + "." +
         std::to_string(number % 100);
}

Status CublasLt::check(cublasStatus_t status, const std::string &what) const {
  if (status == CUBLAS_STATUS_SUCCESS)
    return Status();
  const char *name = GetStatusName(status), *text = GetStatusString(status);
  return Status::failed(what + ": " + (name ? name : "an error of cuBLASLt") +
                        (text && *text ? " (" + std::string(text) + ")" : ""));
}

} // namespace morph
