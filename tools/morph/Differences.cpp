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

constexpr const char *kMeasures[] = {"generated", "teacher_forced", "cross_entropy"};

/// What a row has of a measure, with `by_sample`, the value as `value` and its interval; null where it has none.
Json partOf(const Json &row, const std::string &measure) {
  const bool isLoss = measure == "cross_entropy";
  const Json part = isLoss ? row : row.value(measure, Json());
  const char *value = isLoss ? "cross_entropy" : "answers";
  if (!part.is_object() || !part.contains(value))
    return Json();
  return {{"value", part[value]}, {"interval", part.value(isLoss ? "cross_entropy_interval" : "interval", Json())}};
}

/// Puts `difference` (row less other) and its interval, paired by sample, into an entry; whether both rows have the
/// measure.
bool addDifference(const Json &row, const Json &other, const std::string &measure, Json &entry) {
  const bool isLoss = measure == "cross_entropy";
  std::vector<double> a = bySample(isLoss ? row : row.value(measure, Json::object()));
  const std::vector<double> b = bySample(isLoss ? other : other.value(measure, Json::object()));
  if (a.empty() || a.size() != b.size())
    return false;
  if (!isLoss) {
    entry["difference"] = meanOf(a) - meanOf(b);
    entry["interval"] = toJson(pairedShareInterval(a, b, row.value("answers_per_sample", 1.0)));
    return true;
  }
  for (size_t i = 0; i < a.size(); ++i)
    a[i] -= b[i];
  const std::optional<Interval> interval = meanInterval(a);
  entry["difference"] = meanOf(a);
  entry["interval"] = interval ? toJson(*interval) : Json();
  return true;
}

/// The row that measures the same of the model with the same name; null where there is none.
Json findSame(const Json &rows, const Json &row) {
  for (const Json &other : rows)
    if (other.value("model", "") == row.value("model", "") && match(other, row))
      return other;
  return Json();
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
      for (const char *measure : kMeasures)
        if (addDifference(selected, baseline, measure, entry)) {
          entry["measure"] = measure;
          differences.push_back(entry);
        }
    }
  }
  return differences;
}

Json morph::differencesBetween(const Json &first, const Json &second, bool sameSamples) {
  Json rows = first, differences = Json::array();
  for (const Json &row : second)
    if (findSame(first, row).is_null())
      rows.push_back(row);
  for (const Json &row : rows) {
    const Json before = findSame(first, row), after = findSame(second, row);
    if (before == after)
      continue;
    for (const char *measure : kMeasures) {
      Json entry = {{"measure", measure},
                    {"first", before.is_null() ? Json() : partOf(before, measure)},
                    {"second", after.is_null() ? Json() : partOf(after, measure)}};
      if (entry["first"] == entry["second"])
        continue;
      for (const char *key : {"model", "after", "task", "length", "depth"})
        entry[key] = row.value(key, Json());
      if (sameSamples && !before.is_null() && !after.is_null())
        addDifference(after, before, measure, entry);
      differences.push_back(std::move(entry));
    }
  }
  return differences;
}
