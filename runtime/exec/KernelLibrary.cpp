// SPDX-License-Identifier: Apache-2.0
#include "runtime/exec/KernelLibrary.h"

#include "runtime/base/File.h"
#include "runtime/base/Sha256.h"

#include <dlfcn.h>

namespace morph {

namespace {

std::string loaderMessage() {
  const char *message = dlerror();
  return message ? message : "unknown reason";
}

} // namespace

std::vector<std::string> KernelLibrary::instructionSets() {
#if defined(__x86_64__)
  std::vector<std::string> sets;
  bool isV3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  if (isV3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    sets.push_back("v4");
  if (isV3)
    sets.push_back("v3");
  return sets;
#else
  return {"generic"};
#endif
}

StatusOr<KernelLibrary> KernelLibrary::open(const std::string &path, const std::string &hash) {
  // Before anything of it runs or is mapped: what is damaged would end the process.
  StatusOr<std::string> bytes = readTextFile(path);
  if (!bytes.ok())
    return Status(bytes.status()).withContext("cannot load the kernels");
  if (!isSealed(*bytes))
    return Status::failed(path + " is damaged: its bytes are not those that its hash is of");
  KernelLibrary library;
  void *handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle)
    return Status::failed("cannot load the kernels: " + loaderMessage());
  library.handle = std::shared_ptr<void>(handle, [](void *object) { dlclose(object); });
  const auto *abi = static_cast<const int32_t *>(dlsym(handle, kKernelAbiSymbol));
  const auto *own = static_cast<const char *>(dlsym(handle, kKernelHashSymbol));
  if (!abi || !own)
    return Status::failed(path + " is no object of kernels");
  if (*abi != kKernelAbi)
    return Status::failed(path + " holds kernels of version " + std::to_string(*abi) + ", expected " +
                          std::to_string(kKernelAbi));
  if (hash != own)
    return Status::failed(path + " holds the kernels " + std::string(own) + ", expected " + hash);
  for (const std::string &set : instructionSets())
    if (dlsym(handle, (kKernelSetPrefix + set).c_str())) {
      library.suffix = set;
      return library;
    }
  return Status::failed(path + " holds no kernels for this machine's processor");
}

StatusOr<KernelLibrary> KernelLibrary::openFirst(const std::vector<std::string> &folders, const std::string &name,
                                                 const std::string &hash) {
  Status first;
  for (const std::string &folder : folders) {
    StatusOr<KernelLibrary> library = open(kernelObjectFile(folder, name), hash);
    if (library.ok())
      return library;
    if (first.ok())
      first = library.status();
  }
  return first.ok() ? Status::failed("there is no folder of compiled kernels") : first;
}

KernelFunction KernelLibrary::find(const std::string &kernel, const std::string &instructionSet) const {
  if (!handle)
    return nullptr;
  const std::string &set = instructionSet.empty() ? suffix : instructionSet;
  return reinterpret_cast<KernelFunction>(dlsym(handle.get(), (kernel + "." + set).c_str()));
}

} // namespace morph
