// SPDX-License-Identifier: Apache-2.0
// Where a program's values and weights live while it runs: what the executor does, and what estimates count.

#ifndef MORPH_RUNTIME_PLAN_RESIDENCE_H
#define MORPH_RUNTIME_PLAN_RESIDENCE_H

#include "runtime/plan/Plan.h"

#include <cstdint>
#include <limits>
#include <vector>

namespace morph::plan {

/// The last uses of a value, by instruction. Once both are over it is freed; where only uses as a bf16 factor of
/// products follow, its bf16 copy lives on alone.
struct Lifetime {
  static constexpr int64_t kForEver = std::numeric_limits<int64_t>::max();
  int64_t lastFull = -1;   ///< Other than as a factor; kForEver for outputs, -1 where there is none.
  int64_t lastFactor = -1; ///< As a factor of a product.
};

/// How the executor holds a weight.
enum class WeightForm {
  Master, ///< A copy of its own in fp32, which the optimizer writes.
  Half,   ///< bf16: a view of the file where that has bf16, else a copy.
  Full,   ///< fp32: a view of the file where that has fp32, else a copy.
};

struct Residence {
  std::vector<Lifetime> lifetimes;        ///< One a value.
  std::vector<std::vector<bool>> factors; ///< One flag an operand of an instruction: a factor of a product.
  std::vector<int64_t> weightOf;          ///< One a value: the weight that defines it, or -1.
  /// One a weight: read by products alone, or by products and embeddings, under bf16.
  std::vector<bool> onlyFactor, onlyFactorOrTable;

  /// The form of weight `w`; `halves`: products are bf16; `storedHalf`: the checkpoint has it in bf16.
  WeightForm formOf(const Plan &plan, size_t w, bool halves, bool storedHalf) const;
};

/// For a valid plan.
Residence findResidence(const Plan &plan);

} // namespace morph::plan

#endif // MORPH_RUNTIME_PLAN_RESIDENCE_H
