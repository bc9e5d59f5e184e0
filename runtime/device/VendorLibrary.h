// SPDX-License-Identifier: Apache-2.0
// NVIDIA's libraries that PyTorch's wheels bring, opened when a program first asks for them.

#ifndef MORPH_RUNTIME_DEVICE_VENDORLIBRARY_H
#define MORPH_RUNTIME_DEVICE_VENDORLIBRARY_H

#include "runtime/base/Status.h"

#include <string>

namespace morph {

struct VendorLibrary {
  const char *name;     ///< For errors: "cuBLASLt".
  const char *file;     ///< "libcublasLt.so.13"
  const char *variable; ///< Of the environment, that names another file: "MORPH_CUBLASLT".
  const char *wheel;    ///< Its folder where the wheels are: "nvidia/cu13/lib".
  std::string folder{}; ///< One more to look in; may be empty.
};

struct OpenedLibrary {
  void *handle = nullptr; ///< Of dlopen; it stays open.
  std::string file;
};

/// Opens the file that the variable names, or the first that there is of the loader's, the wheel's beside the LibTorch
/// that is loaded, `folder`'s and the toolkit's. An error is "no NAME: REASONS".
StatusOr<OpenedLibrary> openVendorLibrary(const VendorLibrary &library);

} // namespace morph

#endif // MORPH_RUNTIME_DEVICE_VENDORLIBRARY_H
