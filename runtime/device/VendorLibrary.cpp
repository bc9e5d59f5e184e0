// SPDX-License-Identifier: Apache-2.0
#include "runtime/device/VendorLibrary.h"

#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <link.h>
#include <vector>

namespace morph {

/// Of a loaded ".../torch/lib/libtorch_cpu.so": ".../", where the wheels are.
static int findWheels(dl_phdr_info *info, size_t, void *folder) {
  constexpr const char *kTorch = "/torch/lib/libtorch_cpu.so";
  const char *at = info->dlpi_name ? std::strstr(info->dlpi_name, kTorch) : nullptr;
  if (!at || std::strcmp(at, kTorch) != 0)
    return 0;
  *static_cast<std::string *>(folder) = std::string(info->dlpi_name, at) + "/";
  return 1;
}

static std::vector<std::string> candidates(const VendorLibrary &library) {
  if (const char *named = std::getenv(library.variable); named && *named)
    return {named};
  const std::string name = std::string("/") + library.file;
  std::vector<std::string> files = {library.file};
  std::string wheels;
  ::dl_iterate_phdr(findWheels, &wheels);
  if (!wheels.empty())
    files.push_back(wheels + library.wheel + name);
  if (!library.folder.empty())
    files.push_back(library.folder + name);
  files.push_back("/usr/local/cuda/lib64" + name);
  return files;
}

StatusOr<OpenedLibrary> openVendorLibrary(const VendorLibrary &library) {
  std::string tried;
  for (const std::string &file : candidates(library)) {
    if (void *handle = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL))
      return OpenedLibrary{handle, file};
    const char *error = ::dlerror();
    tried += (tried.empty() ? "" : "; ") + std::string(error ? error : file.c_str());
  }
  return Status::failed(std::string("no ") + library.name + ": " + tried,
                        std::string(library.variable) + " names the file of " + library.file);
}

} // namespace morph
