// SPDX-License-Identifier: Apache-2.0

#include "tools/morph/Differences.h"

#include "runtime/base/Intervals.h"

using namespace morph;

namespace {

std::vector<double> bySample(const Json &part) { return part.value("by_sample", std::vector<double>()); }

Json toJson(const Interval &interval) { return Json::array({interval.low, interval.high}); }

/// Whether two rows measure the same thing at the same stage.
bool match(const Json &a, const Json &b) {
  for (const char *key : {"after", "task", "length", "depth"})
    if (a.value(key, Json()) != b.value(key, Json()))
      return false;
  return true;
}

} // namespace

Json morph::pairedDifferences(const Json &rows) {
  Json differences = Json::array();
  for (const Json &selected : rows) {
    if (selected.value("model", "") != "selected")
      continue;
    for (const Json &baseline : rows) {
      const std::string model = baseline.value("model", "");
      if (model == "selected" || model == "teacher" || !match(selected, baseline))
        continue;
      Json entry;
      for (const char *key : {"after", "task", "length", "depth"})
        entry[key] = selected.value(key, Json());
      entry["baseline"] = model;
      const double answers = selected.value("answers_per_sample", 1.0);
      for (const char *measure : {"generated", "teacher_forced"}) {
        const std::vector<double> a = bySample(selected.value(measure, Json::object()));
        const std::vector<double> b = bySample(baseline.value(measure, Json::object()));
        if (a.empty() || a.size() != b.size())
          continue;
        entry["measure"] = measure;
        entry["difference"] = meanOf(a) - meanOf(b);
        entry["interval"] = toJson(pairedShareInterval(a, b, answers));
        differences.push_back(entry);
      }
      std::vector<double> loss = bySample(selected), other = bySample(baseline);
      if (loss.empty() || loss.size() != other.size())
        continue;
      for (size_t i = 0; i < loss.size(); ++i)
        loss[i] -= other[i];
      const std::optional<Interval> interval = meanInterval(loss);
      entry["measure"] = "cross_entropy";
      entry["difference"] = meanOf(loss);
      entry["interval"] = interval ? toJson(*interval) : Json();
      differences.push_back(entry);
    }
  }
  return differences;
}
