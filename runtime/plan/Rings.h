// SPDX-License-Identifier: Apache-2.0
// Keys and values of decode programs: rings with as many slots as positions are read of them.

#ifndef MORPH_RUNTIME_PLAN_RINGS_H
#define MORPH_RUNTIME_PLAN_RINGS_H

#include "runtime/plan/Plan.h"

#include <algorithm>

namespace morph::plan {

/// The most new tokens that go through a program at once: enough for its products, few beside windows and contexts.
inline constexpr int64_t kPrefillChunk = 512;

/// The sizes of a program that are slots of rings, with the window of what reads them: 0 where that is all positions.
std::map<std::string, int64_t> ringWindows(const Plan &plan);

/// Slots of a ring for sequences of `positions`: all of them, or the window and a chunk after its first position.
int64_t ringSlots(int64_t window, int64_t positions);

/// How many positions `count` new ones from `first` on see with a window, themselves included; 0: they see all. A ring
/// has a slot for each.
inline int64_t positionsSeen(int64_t first, int64_t count, int64_t window) {
  return count + (window > 0 ? std::min(first, window - 1) : first);
}

/// `sizes` with those of the plan's rings for sequences of `positions`, new tokens included.
std::map<std::string, int64_t> withRings(std::map<std::string, int64_t> sizes, const Plan &plan, int64_t positions);

} // namespace morph::plan

#endif // MORPH_RUNTIME_PLAN_RINGS_H
