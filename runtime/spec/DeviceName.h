// SPDX-License-Identifier: Apache-2.0
// The devices that programs run on, as specs and command lines name them.

#ifndef MORPH_RUNTIME_SPEC_DEVICENAME_H
#define MORPH_RUNTIME_SPEC_DEVICENAME_H

#include <cstdlib>
#include <optional>
#include <string>

namespace morph {

struct DeviceName {
  int cuda = -1; ///< The ordinal of an NVIDIA GPU; -1: the CPU.

  bool isCpu() const { return cuda < 0; }
};

/// For hints.
inline constexpr const char *kDeviceNames =
    "a device is 'cpu', 'cuda' or 'cuda:N', N from 0 to 99; 'morph plan --device' takes names like h100, "
    "'morph compile --device' generations like sm_90";

/// Of "cpu", "cuda", which is the first GPU, or "cuda:N"; nothing of any other text.
inline std::optional<DeviceName> parseDeviceName(const std::string &text) {
  const std::string prefix = "cuda:";
  if (text == "cpu" || text == "cuda")
    return DeviceName{text == "cuda" ? 0 : -1};
  if (text.rfind(prefix, 0) != 0 || text.size() > prefix.size() + 2 ||
      text.find_first_not_of("0123456789", prefix.size()) != std::string::npos || text.size() == prefix.size())
    return std::nullopt;
  return DeviceName{std::atoi(text.c_str() + prefix.size())};
}

} // namespace morph

#endif // MORPH_RUNTIME_SPEC_DEVICENAME_H
