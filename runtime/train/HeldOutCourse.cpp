// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/HeldOutCourse.h"

#include <algorithm>
#include <limits>

namespace morph {

bool HeldOutCourse::add(HeldOutParts parts) {
  course_.push_back(std::move(parts));
  const HeldOutParts &added = course_.back();
  if (course_.size() > 1 && (!worse(added).empty() || relative(added) >= relative(best())))
    return false;
  best_ = course_.size() - 1;
  return true;
}

std::map<std::string, MeanAndError> HeldOutCourse::worse(const HeldOutParts &parts) const {
  std::map<std::string, MeanAndError> result;
  for (const auto &[name, losses] : parts.losses) {
    const MeanAndError rise = pairedDifference(losses, first().losses.at(name));
    if (rise.mean > studentFactor(losses.size()) * rise.standardError)
      result[name] = rise;
  }
  return result;
}

double HeldOutCourse::relative(const HeldOutParts &parts) const {
  double sum = 0;
  for (const auto &[name, losses] : parts.losses)
    // A part that lost nothing at first can only rise.
    sum += meanAndError(losses).mean /
           std::max(meanAndError(first().losses.at(name)).mean, std::numeric_limits<double>::min());
  return sum / static_cast<double>(parts.losses.size());
}

Json HeldOutCourse::state() const {
  Json course = Json::array();
  for (const HeldOutParts &parts : course_)
    course.push_back(
        {{"step", parts.step}, {"losses", parts.losses}, {"tokens", parts.tokens}, {"flops", parts.flops}});
  return {{"best", best_}, {"course", course}};
}

void HeldOutCourse::restore(const Json &state) {
  course_.clear();
  for (const Json &parts : state.at("course"))
    course_.push_back({parts.at("step").get<int64_t>(),
                       parts.at("losses").get<std::map<std::string, std::vector<double>>>(),
                       parts.at("tokens").get<int64_t>(), parts.at("flops").get<double>()});
  best_ = course_.empty() ? 0 : std::min(state.at("best").get<size_t>(), course_.size() - 1);
}

} // namespace morph
