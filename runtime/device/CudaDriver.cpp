// SPDX-License-Identifier: Apache-2.0
#include "runtime/device/CudaDriver.h"

#include <cstdlib>
#include <dlfcn.h>
#include <mutex>

namespace morph {
namespace {

/// The oldest driver that cuBLASLt 13 runs on.
constexpr int kOldestDriver = 13000;

StatusOr<CudaDriver> openDriver() {
  const char *named = std::getenv("MORPH_CUDA_DRIVER");
  const std::string file = named && *named ? named : "libcuda.so.1";
  CudaDriver driver;
  driver.library = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!driver.library) {
    const char *error = ::dlerror();
    return Status::failed(error ? error : file + " cannot be opened",
                          "NVIDIA's driver brings libcuda.so.1; MORPH_CUDA_DRIVER names another file");
  }
#define MORPH_CUDA_TEXT(name) #name
#define MORPH_CUDA_SYMBOL(name) MORPH_CUDA_TEXT(name)
#define MORPH_CUDA_FIND(name)                                                                                          \
  driver.name = reinterpret_cast<decltype(driver.name)>(::dlsym(driver.library, MORPH_CUDA_SYMBOL(name)));             \
  if (!driver.name)                                                                                                    \
    return Status::failed("the driver '" + file + "' is too old: it has no " MORPH_CUDA_SYMBOL(name));
  MORPH_CUDA_FUNCTIONS(MORPH_CUDA_FIND)
#undef MORPH_CUDA_FIND
#undef MORPH_CUDA_SYMBOL
#undef MORPH_CUDA_TEXT
  driver.confine = reinterpret_cast<decltype(driver.confine)>(::dlsym(driver.library, "morphStandInConfine"));
  // The version first: a driver without a device tells it, too.
  MORPH_RETURN_IF_ERROR(driver.check(driver.cuDriverGetVersion(&driver.version), "cuDriverGetVersion"));
  if (driver.version < kOldestDriver)
    return Status::failed("the driver is too old: it serves CUDA " + cudaVersionText(driver.version) +
                          ", and Morph needs " + cudaVersionText(kOldestDriver));
  MORPH_RETURN_IF_ERROR(driver.check(driver.cuInit(0), "cuInit"));
  return driver;
}

} // namespace

StatusOr<const CudaDriver *> CudaDriver::open() {
  static std::mutex mutex;
  static CudaDriver opened;
  const std::lock_guard<std::mutex> lock(mutex);
  if (!opened.library) {
    MORPH_ASSIGN_OR_RETURN(opened, openDriver());
  }
  return &opened;
}

std::string CudaDriver::describe(CUresult result) const {
  const char *name = nullptr, *text = nullptr;
  if (cuGetErrorName(result, &name) != CUDA_SUCCESS || !name)
    return "error " + std::to_string(result) + " of the driver";
  if (cuGetErrorString(result, &text) != CUDA_SUCCESS || !text)
    return name;
  return std::string(name) + " (" + text + ")";
}

std::string cudaVersionText(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

} // namespace morph
