// SPDX-License-Identifier: Apache-2.0
#include "runtime/device/CublasLt.h"

#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <link.h>
#include <mutex>
#include <vector>

namespace morph {
namespace {

constexpr const char *kLibrary = "libcublasLt.so.13";

/// Of a loaded ".../torch/lib/libtorch_cpu.so": ".../nvidia/cu13/lib/", where the wheels put CUDA's libraries.
int findWheel(dl_phdr_info *info, size_t, void *folder) {
  constexpr const char *kTorch = "/torch/lib/libtorch_cpu.so";
  const char *at = info->dlpi_name ? std::strstr(info->dlpi_name, kTorch) : nullptr;
  if (!at || std::strcmp(at, kTorch) != 0)
    return 0;
  *static_cast<std::string *>(folder) = std::string(info->dlpi_name, at) + "/nvidia/cu13/lib/";
  return 1;
}

std::vector<std::string> candidates() {
  if (const char *named = std::getenv("MORPH_CUBLASLT"); named && *named)
    return {named};
  std::vector<std::string> files = {kLibrary};
  std::string wheel;
  ::dl_iterate_phdr(findWheel, &wheel);
  if (!wheel.empty())
    files.push_back(wheel + kLibrary);
  if (*MORPH_CUDA_WHEEL)
    files.push_back(std::string(MORPH_CUDA_WHEEL) + "/lib/" + kLibrary);
  files.push_back(std::string("/usr/local/cuda/lib64/") + kLibrary);
  return files;
}

StatusOr<CublasLt> openLibrary() {
  CublasLt blas;
  std::string tried, file;
  for (const std::string &candidate : candidates()) {
    blas.library = ::dlopen(candidate.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (blas.library) {
      file = candidate;
      break;
    }
    const char *error = ::dlerror();
    tried += (tried.empty() ? "" : "; ") + std::string(error ? error : candidate.c_str());
  }
  if (!blas.library)
    return Status::failed("no cuBLASLt: " + tried, "MORPH_CUBLASLT names the file of libcublasLt.so.13");
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
    MORPH_ASSIGN_OR_RETURN(opened, openLibrary());
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
