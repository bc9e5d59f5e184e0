// SPDX-License-Identifier: Apache-2.0

#include "runtime/spec/SpaceJson.h"

#include "runtime/spec/SpaceVisitors.h"

namespace morph {

std::string printSpace(const ChoiceSpace &space) { return detail::writeSection(space).dump(); }

StatusOr<ChoiceSpace> parseSpace(const std::string &text, const std::string &where) {
  MORPH_ASSIGN_OR_RETURN(const Json json, parseJson(text, where));
  MORPH_ASSIGN_OR_RETURN(ChoiceSpace space, detail::readSection<ChoiceSpace>(json, where));
  if (Status status = checkSpace(space); !status.ok())
    return std::move(status).withContext(where);
  return space;
}

} // namespace morph
