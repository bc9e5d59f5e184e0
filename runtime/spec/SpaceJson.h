// SPDX-License-Identifier: Apache-2.0
// Spaces of choices as text, for those who have other JSON libraries than the runtime's.

#ifndef MORPH_RUNTIME_SPEC_SPACEJSON_H
#define MORPH_RUNTIME_SPEC_SPACEJSON_H

#include "runtime/choice/Space.h"

namespace morph {

/// The member `space` of a resolved spec or of selection.json.
std::string printSpace(const ChoiceSpace &space);

/// Reads it; `where` goes in front of errors. What is read makes sense (checkSpace).
StatusOr<ChoiceSpace> parseSpace(const std::string &text, const std::string &where);

} // namespace morph

#endif // MORPH_RUNTIME_SPEC_SPACEJSON_H
