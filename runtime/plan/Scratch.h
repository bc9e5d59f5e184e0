// SPDX-License-Identifier: Apache-2.0
// The scratch memory of kernels, by sizes alone: it is planned like values, and kernels take what these say. The op
// table has an op's formula; those that are more than an expression are functions here.

#ifndef MORPH_RUNTIME_PLAN_SCRATCH_H
#define MORPH_RUNTIME_PLAN_SCRATCH_H

#include "runtime/plan/Buffers.h"
#include "runtime/plan/OpSizes.h"
#include "runtime/plan/Workspace.h"

namespace morph::plan {

/// What the formulas are of.
class ScratchSizes : public OpSizes<int64_t> {
public:
  ScratchSizes(const Plan &plan, const Instruction &instruction, const std::vector<std::vector<int64_t>> &shapes,
               const RunMode &mode)
      : OpSizes(plan, instruction, shapes), mode(mode) {}

  int64_t threads() const { return mode.threads; }
  /// Bytes of a sum's element.
  int64_t sumBytes() const { return mode.wide ? 8 : 4; }
  /// Whether an operand is bf16 in the run.
  bool isHalf(const std::string &operand) const;
  /// The length of the rope table that the op names.
  int64_t frequencies() const;

private:
  RunMode mode;
};

// Where the instruction has `begins` it is enough for each document alone.

/// Of attention, and of its backward: attentionWorkspace and attentionGradWorkspace of factors as they are, or widened.
int64_t attentionScratch(const ScratchSizes &d);
int64_t attentionGradScratch(const ScratchSizes &d);
/// Of attention_distance: attentionDistanceWorkspace.
int64_t attentionDistanceScratch(const ScratchSizes &d);
/// Of the chunked recurrence, and of its backward: linearAttentionWorkspace and linearAttentionGradWorkspace.
int64_t linearAttentionScratch(const ScratchSizes &d);
int64_t linearAttentionGradScratch(const ScratchSizes &d);
/// Rows that go through an expert's products at once.
inline constexpr int64_t kExpertRows = 256;
/// Of a mixture of experts and its gradients: what a block of rows takes (runtime/kernels/Experts.cpp).
int64_t expertsScratch(const ScratchSizes &d);
int64_t expertsInputGradScratch(const ScratchSizes &d);
int64_t expertsWeightGradScratch(const ScratchSizes &d);
/// Of a launch the rowSumWorkspace of its sums over rows, in order.
int64_t launchScratch(const ScratchSizes &d);

/// The sizes of a plan by name, from the shapes of all values.
std::map<std::string, int64_t> sizesByName(const Plan &plan, const std::vector<std::vector<int64_t>> &shapes);

/// Bytes of scratch that the kernel of an instruction takes on the CPU while it runs; 0 for most. Code for a GPU says
/// itself what it takes.
int64_t scratchBytes(const Plan &plan, const Instruction &instruction, const std::vector<std::vector<int64_t>> &shapes,
                     const RunMode &mode);

} // namespace morph::plan

#endif // MORPH_RUNTIME_PLAN_SCRATCH_H
