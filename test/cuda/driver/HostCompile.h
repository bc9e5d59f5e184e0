// SPDX-License-Identifier: Apache-2.0
// C text to a shared object by the host's compiler, kept in ${MORPH_CACHE:-~/.cache/morph}/ptx-stand-in by the hash of
// everything that it depends on.

#ifndef MORPH_TEST_CUDA_DRIVER_HOSTCOMPILE_H
#define MORPH_TEST_CUDA_DRIVER_HOSTCOMPILE_H

#include "runtime/base/Status.h"

#include <memory>
#include <string>

namespace morph::standin {

/// A loaded object; it is closed with the last copy of the pointer.
class HostObject {
public:
  explicit HostObject(void *handle) : handle(handle) {}
  ~HostObject();
  HostObject(const HostObject &) = delete;
  void *find(const std::string &symbol) const;

private:
  void *handle;
};

/// Compiles what Translate wrote, on top of Prelude.h, and loads it. `checks`: with the checks of every access.
StatusOr<std::shared_ptr<const HostObject>> compileForHost(const std::string &code, bool checks);

} // namespace morph::standin

#endif // MORPH_TEST_CUDA_DRIVER_HOSTCOMPILE_H
