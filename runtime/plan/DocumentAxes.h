// SPDX-License-Identifier: Apache-2.0
// Where the documents of a window stand in the values of an op that mixes positions (its operand `begins`).

#ifndef MORPH_RUNTIME_PLAN_DOCUMENTAXES_H
#define MORPH_RUNTIME_PLAN_DOCUMENTAXES_H

#include "runtime/plan/Plan.h"

namespace morph::plan {

/// Where the instruction has the operand `begins`; -1: it has none.
int64_t findBegins(const Instruction &instruction);

/// Which dimensions of a tensor are the sequences' and the positions'; -1: none is.
struct DocumentAxes {
  int64_t sequences = -1, positions = -1;
  /// Of a result: whether it is the sum of what documents give, as the gradient of a weight is.
  bool isSum() const { return sequences < 0; }
  /// Whether what is a document's is one block of memory.
  bool isBlock() const { return positions < 0 || (sequences == 0 && positions == 1); }
};

/// The axes of a value, by the names of the dimensions [B,T] of `begins`, a value too. None where `value` is -1.
DocumentAxes documentAxes(const Plan &plan, int64_t begins, int64_t value);

} // namespace morph::plan

#endif // MORPH_RUNTIME_PLAN_DOCUMENTAXES_H
