// SPDX-License-Identifier: Apache-2.0
// The choice of what a program keeps and what it computes twice so that its values fit a limit: on plans, whose memory
// is known to the byte. morph-recompute does in the IR what is chosen here.

#ifndef MORPH_PASSES_RECOMPUTATION_H
#define MORPH_PASSES_RECOMPUTATION_H

#include "runtime/plan/Buffers.h"

namespace morph {

/// A program with copies of some of its instructions.
struct Recomputation {
  /// The program before, value by value and instruction by instruction, with copies in between: what they define are
  /// values of greater numbers.
  plan::Plan plan;
  std::vector<size_t> origins; ///< One an instruction: its number in the program before, or that of what it copies.
  int64_t arenaBytes = 0;      ///< Of a run: `planBuffers`.
  double extraFlops = 0;       ///< What the copies compute.

  /// Whether an instruction of `plan` is a copy; `before` is the program before.
  static bool isCopy(const plan::Instruction &instruction, const plan::Plan &before) {
    return instruction.results.front() >= static_cast<int64_t>(before.values.size());
  }
};

/// Finds copies with which a run of `plan`, of the named `sizes`, takes at most `limit` bytes in its arena, at as few
/// operations as a greedy choice gives. Where the limit cannot be met, the result is the least that was found: the
/// caller compares `arenaBytes`. Results are the same bits, for a copy is the same instruction on the same operands.
/// Errors: a size that is not bound, more memory than can be addressed, an update in place (programs that train have
/// none).
///
/// The peak of the planned memory is lowered until it is within the limit. A value that lives across it and is not read
/// at it can be dropped: what reads it later reads copies, made right before the first of these readers out of what
/// lives there, copies of dropped values included. Values are dropped in the order of bytes for each operation that
/// computing them again takes. Values that are computed again together live together, so they form groups of limited
/// bytes; what separates the groups (the residual stream between layers) is kept: Chen et al., "Training Deep Nets with
/// Sublinear Memory Cost" (arXiv 1604.06174), with the segments found rather than given. Several group sizes are tried.
StatusOr<Recomputation> chooseRecomputation(const plan::Plan &plan, const std::map<std::string, int64_t> &sizes,
                                            int64_t limit, const plan::RunMode &mode);

} // namespace morph

#endif // MORPH_PASSES_RECOMPUTATION_H
