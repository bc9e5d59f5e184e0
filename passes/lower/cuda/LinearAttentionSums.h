// SPDX-License-Identifier: Apache-2.0
// Sums of what the blocks of linear attention's gradient have. Legend: see RecurrenceSteps.h.

#ifndef MORPH_PASSES_LOWER_CUDA_LINEARATTENTIONSUMS_H
#define MORPH_PASSES_LOWER_CUDA_LINEARATTENTIONSUMS_H

#include "passes/lower/cuda/RecurrenceSteps.h"

namespace morph {

/// The launches after the recurrence. `lines` is B * T * H, `parts` the arrays [parts,lines,width] are of.
struct PartSums {
  DeviceFormCall &call;
  const RecurrenceShape &shape;
  int64_t parts;
  plan::LaunchArgument lines;

  /// to [B*T,H/heads,width] = the sum over the parts and over each group of `heads`.
  void sumHeads(const plan::LaunchArgument &from, const plan::LaunchArgument &to, int64_t width, int64_t heads);
  /// to [H,width] = the sum over the parts, and over batch and positions. A block has a head and some elements.
  void sumPositions(const plan::LaunchArgument &from, const plan::LaunchArgument &to, int64_t width);
  /// to [count] = the sum over `parts` and over each line [count,K], where count is `scale` times the product of
  /// `dims`: a warp a line.
  void sumLines(const plan::LaunchArgument &from, const plan::LaunchArgument &to, llvm::ArrayRef<plan::Dim> dims,
                int64_t scale, int64_t parts);
};

} // namespace morph

#endif // MORPH_PASSES_LOWER_CUDA_LINEARATTENTIONSUMS_H
