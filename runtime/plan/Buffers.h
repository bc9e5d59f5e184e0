// SPDX-License-Identifier: Apache-2.0
// Where the values of a program lie while it runs: one arena, with an offset for every value, known before the run. The
// executor, `morph plan` and the tests all take it from here.

#ifndef MORPH_RUNTIME_PLAN_BUFFERS_H
#define MORPH_RUNTIME_PLAN_BUFFERS_H

#include "runtime/plan/Plan.h"

namespace morph::plan {

/// What a run needs beside its plan.
struct RunMode {
  bool wide = false;   ///< Floats are fp64: for tests.
  int64_t threads = 1; ///< Each has scratch of its own.
};

/// How long a value or scratch lives: from the instruction that makes it to the last that reads it.
struct Interval {
  int64_t begin = 0, end = 0; ///< Both included; kAfterRun for what is left after the run.
};
inline constexpr int64_t kAfterRun = INT64_MAX;

/// The places of all values of one run. Bytes are whole cache lines.
struct Buffers {
  /// One a value: the value in whose memory it lies, itself where it has its own. A view lies in what it views, a
  /// result that is computed in place in the operand that it replaces, one that updates in what it updates.
  std::vector<int64_t> owner;
  /// One a value: its offset in the arena, or -1 where it lies outside: weights, inputs, and what lies in these.
  std::vector<int64_t> offset;
  std::vector<int64_t> bytes;
  std::vector<Interval> life; ///< Of owners.
  /// One an instruction: scratch in the arena while it runs, offset -1 where it has none.
  std::vector<int64_t> scratchOffset, scratchBytes;
  int64_t arenaBytes = 0;
  int64_t liveBytes = 0; ///< The most that lives at once: what an arena without gaps would take.
};

/// Gives every value of a validated plan its place. `shapes` are those of all values (`resolveShapes`). Errors: an
/// arena beyond 2^62 bytes.
StatusOr<Buffers> planBuffers(const Plan &plan, const std::vector<std::vector<int64_t>> &shapes, const RunMode &mode);

/// Checks that no two of the places overlap while both live, and that all are within the arena.
Status checkBuffers(const Plan &plan, const Buffers &buffers);

/// The bytes of an element in a run.
int64_t elementBytes(DType dtype, const RunMode &mode);

} // namespace morph::plan

#endif // MORPH_RUNTIME_PLAN_BUFFERS_H
