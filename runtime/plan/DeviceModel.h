// SPDX-License-Identifier: Apache-2.0
// How long a program would take on a GPU: an estimate from its shapes, each instruction bound by its arithmetic, by its
// bytes, or by being started.

#ifndef MORPH_RUNTIME_PLAN_DEVICEMODEL_H
#define MORPH_RUNTIME_PLAN_DEVICEMODEL_H

#include "runtime/plan/Buffers.h"

namespace morph::plan {

/// What is reached, as shares of what data sheets promise. `morph plan --device` prints them.
struct DeviceShares {
  /// Matrix products of bf16 by cuBLASLt, of the dense peak of tensor cores; of fp32, of the peak of fused products.
  /// Assumed: what is published for large ones on A100 to H100 lies between .6 and .8.
  static constexpr double kProducts = .7;
  /// A copy, of the bandwidth: measured on an H100, 2.91 of 3.35 TB/s (passes/lower/README.md).
  static constexpr double kCopy = .87;
  /// Kernels of rows, of a copy's bytes a second: measured there, .83 to 1.02 of a copy.
  static constexpr double kRows = .9;
  /// Attention, of what products reach. Assumed: FlashAttention-2's published 335 TFLOP/s on an H100.
  static constexpr double kAttention = .48;
  /// Linear attention by chunks, of what products reach. Assumed: small products with fp32 between them.
  static constexpr double kLinearAttention = .15;
  /// From the beginning of one launch to the next, in seconds, where nothing else takes longer. Assumed: in a graph.
  static constexpr double kLaunchSeconds = 2e-6;
};

/// What a GPU reaches.
struct DeviceModel {
  std::string name;
  std::string target; ///< The newest code of ours that it runs: "sm_90".
  double memoryBytes = 0;
  double rowBytes = 0;      ///< Bytes a second that kernels of rows move.
  double halfProducts = 0;  ///< FLOP/s of products of bf16.
  double floatProducts = 0; ///< Of fp32.
};

/// The names of Devices.def: "a100", ...
std::vector<std::string> deviceNames();
/// The GPU of that name by its data sheet and DeviceShares. Errors: a name that is not known, with those that are.
StatusOr<DeviceModel> findDeviceModel(const std::string &name);

/// Seconds of each instruction of a valid plan with the named sizes bound: 0 for views. Instructions without compiled
/// code (`Plan::device`) count as one launch.
StatusOr<std::vector<double>> instructionSeconds(const Plan &plan, const std::map<std::string, int64_t> &sizes,
                                                 const DeviceModel &device);

} // namespace morph::plan

#endif // MORPH_RUNTIME_PLAN_DEVICEMODEL_H
