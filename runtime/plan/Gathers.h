// SPDX-License-Identifier: Apache-2.0
// Where frozen weights are divided among processes: which of them an instruction reads, and where they lie meanwhile.

#ifndef MORPH_RUNTIME_PLAN_GATHERS_H
#define MORPH_RUNTIME_PLAN_GATHERS_H

#include "runtime/plan/Buffers.h"

namespace morph::plan {

/// A program reads its divided weights in groups, one after another: all of a group lie whole in one buffer while
/// instructions read them, until the next group takes their place. The buffer is no larger than what the one
/// instruction with the most needs, so that a group is as many weights as fit beside each other there.
struct Gathers {
  struct Place {
    size_t weight = 0;  ///< Of the plan.
    int64_t offset = 0; ///< In the buffer, in bytes.
  };
  std::vector<std::vector<Place>> groups;
  std::vector<int64_t> groupOf;  ///< One an instruction: what it reads, or -1. Of a view -1: it moves with its weight.
  std::vector<int64_t> weightOf; ///< One a value: the divided weight that it is, or that it is a view of, or -1.
  int64_t bufferBytes = 0;
};

/// One a weight of the plan: whether processes divide it. Those that are neither trained nor gates and have two or more
/// dimensions: vectors are not worth a message. What is an output is whole.
std::vector<bool> dividableWeights(const Plan &plan);

/// Elements of each of `count` equal parts of a weight; the last ones may be longer than what is left.
inline constexpr int64_t partElements(int64_t elements, int64_t count) { return (elements + count - 1) / count; }

/// How a valid plan gathers the weights that are `divided` among `count` processes.
Gathers planGathers(const Plan &plan, const std::vector<bool> &divided, int64_t count, const RunMode &mode);

} // namespace morph::plan

#endif // MORPH_RUNTIME_PLAN_GATHERS_H
