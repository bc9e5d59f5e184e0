// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernels/Kernel.h"

namespace morph {

namespace {

std::map<std::string, Kernel> &registry() {
  // Made at its first use: registrations run before main in no particular order.
  static std::map<std::string, Kernel> kernels;
  return kernels;
}

} // namespace

const Kernel *findKernel(const std::string &op) {
  auto found = registry().find(op);
  return found == registry().end() ? nullptr : &found->second;
}

KernelRegistration::KernelRegistration(const std::string &op, Kernel kernel) {
  registry().emplace(op, std::move(kernel));
}

} // namespace morph
