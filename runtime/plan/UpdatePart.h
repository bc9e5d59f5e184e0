// SPDX-License-Identifier: Apache-2.0
// The part of an update that changes some of its weights.

#ifndef MORPH_RUNTIME_PLAN_UPDATEPART_H
#define MORPH_RUNTIME_PLAN_UPDATEPART_H

#include "runtime/plan/Plan.h"

#include <functional>

namespace morph::plan {

/// Of a program's update what changes the weights for which `owns` is true, and the norm: it reads all gradients that
/// the norm is of, and has the moments of those weights alone. The whole update does the same to them.
Plan updatePart(const Plan &update, const std::function<bool(const std::string &weight)> &owns);

} // namespace morph::plan

#endif // MORPH_RUNTIME_PLAN_UPDATEPART_H
