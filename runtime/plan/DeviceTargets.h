// SPDX-License-Identifier: Apache-2.0
// The generations of GPUs that plans have code for.

#ifndef MORPH_RUNTIME_PLAN_DEVICETARGETS_H
#define MORPH_RUNTIME_PLAN_DEVICETARGETS_H

namespace morph::plan {

struct DeviceTarget {
  const char *name;
  int capability;  ///< 10 * major + minor; GPUs of this capability and later ones run it.
  const char *ptx; ///< LLVM's feature: the first version of PTX that knows it.
};

/// LLVM 19 knows no later ones.
inline constexpr DeviceTarget kDeviceTargets[] = {{"sm_80", 80, "+ptx70"}, {"sm_90", 90, "+ptx80"}};

/// The latest target that a GPU of this capability runs; null: it is too old.
inline const DeviceTarget *targetFor(int capability) {
  const DeviceTarget *latest = nullptr;
  for (const DeviceTarget &target : kDeviceTargets)
    if (target.capability <= capability)
      latest = &target;
  return latest;
}

} // namespace morph::plan

#endif // MORPH_RUNTIME_PLAN_DEVICETARGETS_H
