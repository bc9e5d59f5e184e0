// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/Machine.h"

#include "runtime/device/TorchDevice.h"
#include "runtime/kernels/Gemm.h"
#include "runtime/plan/DeviceTargets.h"

#include <ATen/Parallel.h>
#include <ATen/Version.h>

#include <cstdlib>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace morph {

#if defined(__x86_64__)
/// "AuthenticAMD": MKL and oneDNN choose by the vendor, too.
static std::string cpuVendor() {
  unsigned leaf = 0, words[3] = {};
  __get_cpuid(0, &leaf, &words[0], &words[2], &words[1]);
  return std::string(reinterpret_cast<const char *>(words), sizeof words);
}
#endif

static std::string instructionSet() {
  std::string text = "LibTorch " + at::get_cpu_capability();
#if defined(__x86_64__)
  text += ", CPU " + cpuVendor();
  __builtin_cpu_init();
  // The extensions that MKL, oneDNN and MORPH_VECTORIZE have code for.
#define MORPH_EXTENSION(name)                                                                                          \
  if (__builtin_cpu_supports(name))                                                                                    \
    text += " " name;
  MORPH_EXTENSION("sse4.2")
  MORPH_EXTENSION("avx")
  MORPH_EXTENSION("avx2")
  MORPH_EXTENSION("fma")
  MORPH_EXTENSION("avx512f")
  MORPH_EXTENSION("avx512bw")
  MORPH_EXTENSION("avx512dq")
  MORPH_EXTENSION("avx512vl")
  MORPH_EXTENSION("avx512vnni")
  MORPH_EXTENSION("avx512bf16")
#undef MORPH_EXTENSION
  // GCC 12 has no name for these: leaf 7, EDX bits 22 (AMX-BF16) and 23 (AVX512-FP16).
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
    if (d & (1u << 22))
      text += " amx-bf16";
    if (d & (1u << 23))
      text += " avx512fp16";
  }
#endif
  for (const char *name :
       {"MKL_ENABLE_INSTRUCTIONS", "MKL_CBWR", "MKL_DEBUG_CPU_TYPE", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"})
    if (const char *value = std::getenv(name))
      text += std::string(", ") + name + "=" + value;
  return text;
}

/// What decides the bits of a GPU's results, in words.
static StatusOr<std::string> describeDevice(const CudaProperties &device) {
  MORPH_ASSIGN_OR_RETURN(const std::string products, CudaDevice::productLibrary());
  return device.name + ", driver of CUDA " + std::to_string(device.driverVersion / 1000) + "." +
         std::to_string(device.driverVersion % 1000 / 10) + ", " + products;
}

StatusOr<Json> describeMachine(at::Device device) {
  std::string name = "cpu", target;
  int64_t bytes = 0, devices = 0;
  if (isCuda(device)) {
    const CudaProperties &properties = cudaDeviceOf(device).properties();
    const plan::DeviceTarget *found = plan::targetFor(10 * properties.major + properties.minor);
    if (!found)
      return Status::invalid("no CUDA device: " + properties.name + " has compute capability " +
                             std::to_string(properties.major) + "." + std::to_string(properties.minor) +
                             ", and 8.0 (A100) is the least");
    MORPH_ASSIGN_OR_RETURN(name, describeDevice(properties));
    target = found->name;
    bytes = properties.memoryBytes;
    while (CudaDevice::describe(static_cast<int>(devices)).ok())
      ++devices;
  }
  return Json{{"device", name},
              {"target", target},
              {"device_bytes", bytes},
              {"devices", devices},
              {"threads", at::get_num_threads()},
              {"instruction_set", instructionSet()},
              {"libtorch", at::show_config()},
              {"products", gemmLibraries()}};
}

} // namespace morph
