// SPDX-License-Identifier: Apache-2.0

#include "tools/morph/Seeds.h"

#include "runtime/base/Intervals.h"
#include "tools/morph/Differences.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>

using namespace morph;

namespace {

constexpr size_t kMostSeeds = 1000;

StatusOr<int64_t> parseSeed(const std::string &text) {
  int64_t seed = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), seed);
  if (text.empty() || error != std::errc() || stop != text.data() + text.size() || seed < 0)
    return Status::invalid("--seeds: '" + text + "' is no seed", "give a range or a list: --seeds 0..4, --seeds 0,2,5");
  return seed;
}

bool isText(const Json &row) { return row.value("task", "") == "text"; }

/// What a row is about.
Json keyOf(const Json &row) {
  Json key = Json::array();
  for (const char *name : {"model", "after", "task", "length", "depth", "baseline", "measure"})
    key.push_back(row.value(name, Json()));
  return key;
}

/// The rows of a key in all runs; empty where one has none.
std::vector<Json> rowsOf(const Json &key, const std::vector<Json> &lists) {
  std::vector<Json> rows;
  for (const Json &list : lists)
    for (const Json &row : list)
      if (keyOf(row) == key) {
        rows.push_back(row);
        break;
      }
  return rows.size() == lists.size() ? rows : std::vector<Json>();
}

std::vector<double> valuesOf(const std::vector<Json> &rows, const char *name) {
  std::vector<double> values;
  for (const Json &row : rows)
    values.push_back(row.value(name, std::nan("")));
  return values;
}

std::optional<Interval> intervalOf(const Json &part, const char *name) {
  const Json limits = part.value(name, Json());
  if (!limits.is_array() || limits.size() != 2)
    return std::nullopt;
  return Interval{limits[0].get<double>(), limits[1].get<double>()};
}

/// That of the seeds' spread, but no narrower than that of all samples.
Json widen(const std::optional<Interval> &seeds, const std::optional<Interval> &samples, double least, double most) {
  if (!seeds || !samples)
    return Json();
  return Json::array(
      {std::max(least, std::min(seeds->low, samples->low)), std::min(most, std::max(seeds->high, samples->high))});
}

/// Around `mean`, of two spreads that do not depend on each other: of seeds, and of what all seeds measure.
Json add(double mean, const std::optional<Interval> &seeds, const std::optional<Interval> &shared,
         double least = -std::numeric_limits<double>::infinity(),
         double most = std::numeric_limits<double>::infinity()) {
  if (!seeds || !shared)
    return Json();
  const double half = (seeds->high - seeds->low) / 2;
  return Json::array({std::max(least, mean - std::hypot(half, mean - shared->low)),
                      std::min(most, mean + std::hypot(half, shared->high - mean))});
}

/// The samples of all rows, one row's after another's.
Json joinedSamples(const std::vector<Json> &parts) {
  Json samples = Json::array();
  for (const Json &part : parts)
    for (const Json &value : part.value("by_sample", Json::array()))
      samples.push_back(value);
  return samples;
}

/// Of questions that come in several rows one sample each, the mean over these; in the order of `questions`, which gets
/// their numbers. Nothing where a row does not say which it has.
std::vector<double> samplesByQuestion(const std::vector<Json> &parts, std::vector<int64_t> &questions) {
  std::map<int64_t, std::vector<double>> values;
  for (const Json &part : parts) {
    const auto numbers = part.value("questions", std::vector<int64_t>());
    const auto samples = part.value("by_sample", std::vector<double>());
    if (numbers.empty() || numbers.size() != samples.size())
      return {};
    for (size_t i = 0; i < numbers.size(); ++i)
      values[numbers[i]].push_back(samples[i]);
  }
  std::vector<double> means;
  for (const auto &[question, of] : values) {
    questions.push_back(question);
    means.push_back(meanOf(of));
  }
  return means;
}

/// Answers of one measure ("generated", "teacher_forced") in all rows; null where one lacks them.
Json poolAnswers(const std::vector<Json> &rows, const char *measure) {
  std::vector<Json> parts;
  for (const Json &row : rows)
    if (const Json part = row.value(measure, Json()); part.is_object() && part.contains("by_sample"))
      parts.push_back(part);
  if (parts.size() != rows.size())
    return Json();
  Json pooled;
  std::vector<int64_t> questions;
  std::vector<double> samples = samplesByQuestion(parts, questions);
  const bool isShared = !samples.empty();
  if (isShared)
    pooled["questions"] = questions;
  else
    samples = joinedSamples(parts).get<std::vector<double>>();
  if (samples.empty())
    return Json();
  pooled["by_sample"] = samples;
  const std::vector<double> bySeed = valuesOf(parts, "answers");
  const double mean = meanOf(bySeed);
  const Interval ofSamples = estimateShare(samples, rows.front().value("answers_per_sample", 1.0)).interval;
  pooled["samples"] = samples.size();
  pooled["by_seed"] = bySeed;
  pooled["answers"] = mean;
  pooled["interval"] =
      isShared ? add(mean, meanInterval(bySeed), ofSamples, 0, 1) : widen(meanInterval(bySeed), ofSamples, 0, 1);
  for (const char *name : {"tokens", "cross_entropy"})
    if (parts.front().contains(name))
      pooled[name] = meanOf(valuesOf(parts, name));
  return pooled;
}

/// The loss of each part of a window in all rows, the mean over seeds; empty where their windows have other parts.
Json poolPositions(const std::vector<Json> &rows) {
  Json parts = rows.front().value("by_position", Json::array());
  for (size_t p = 0; p < parts.size(); ++p) {
    std::vector<double> losses;
    for (const Json &row : rows) {
      const Json others = row.value("by_position", Json::array());
      if (others.size() != parts.size())
        return Json::array();
      losses.push_back(others[p].value("cross_entropy", std::nan("")));
    }
    parts[p]["cross_entropy"] = meanOf(losses);
  }
  return parts;
}

/// The loss of text in all rows: of each window the mean over seeds.
void poolText(const std::vector<Json> &rows, Json &pooled) {
  std::vector<double> windows(rows.front().value("by_sample", std::vector<double>()).size(), 0);
  for (const Json &row : rows) {
    const auto losses = row.value("by_sample", std::vector<double>());
    if (losses.size() != windows.size())
      return;
    for (size_t w = 0; w < windows.size(); ++w)
      windows[w] += losses[w] / static_cast<double>(rows.size());
  }
  const std::vector<double> bySeed = valuesOf(rows, "cross_entropy");
  const double mean = meanOf(bySeed);
  pooled["samples"] = windows.size();
  pooled["by_sample"] = windows;
  pooled["by_seed"] = bySeed;
  pooled["cross_entropy"] = mean;
  pooled["cross_entropy_interval"] = add(mean, meanInterval(bySeed), meanInterval(windows));
  pooled["perplexity"] = std::exp(mean);
  pooled["tokens"] = meanOf(valuesOf(rows, "tokens"));
  pooled["by_position"] = poolPositions(rows);
}

std::vector<Json> lists(const std::vector<Json> &summaries, const char *name) {
  std::vector<Json> result;
  for (const Json &summary : summaries)
    result.push_back(summary.value(name, Json::array()));
  return result;
}

Json poolRows(const std::vector<Json> &evaluations) {
  Json pooled = Json::array();
  for (const Json &first : evaluations.front()) {
    const std::vector<Json> rows = rowsOf(keyOf(first), evaluations);
    if (rows.empty())
      continue;
    Json row;
    for (const char *name : {"model", "after", "task", "length", "depth", "answers_per_sample", "shared"})
      if (first.contains(name))
        row[name] = first[name];
    if (isText(first))
      poolText(rows, row);
    for (const char *measure : {"generated", "teacher_forced"})
      if (Json part = poolAnswers(rows, measure); !part.is_null())
        row[measure] = std::move(part);
    pooled.push_back(std::move(row));
  }
  return pooled;
}

/// Whether the row that a difference is of has questions that are the same for all seeds.
bool hasQuestions(const Json &rows, const Json &difference) {
  for (const Json &row : rows) {
    const bool isOf = row.value("model", "") == "selected" && row.value("task", "") == difference.value("task", "") &&
                      row.value("length", 0) == difference.value("length", 0);
    if (isOf && row.value(difference.value("measure", ""), Json::object()).contains("questions"))
      return true;
  }
  return false;
}

/// The differences of the pooled rows, their intervals over seeds too.
Json poolDifferences(const Json &rows, const std::vector<Json> &differences) {
  Json pooled = Json::array();
  for (Json entry : pairedDifferences(rows)) {
    const std::vector<Json> bySeed = rowsOf(keyOf(entry), differences);
    if (bySeed.empty())
      continue;
    const std::vector<double> values = valuesOf(bySeed, "difference");
    const std::optional<Interval> seeds = meanInterval(values), samples = intervalOf(entry, "interval");
    entry["by_seed"] = values;
    entry["difference"] = meanOf(values);
    // Answers' differences are of shares.
    if (isText(entry))
      entry["interval"] = add(meanOf(values), seeds, samples);
    else
      entry["interval"] =
          hasQuestions(rows, entry) ? add(meanOf(values), seeds, samples, -1, 1) : widen(seeds, samples, -1, 1);
    pooled.push_back(std::move(entry));
  }
  return pooled;
}

} // namespace

StatusOr<std::vector<int64_t>> morph::parseSeeds(const std::string &text) {
  std::vector<int64_t> seeds;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string part = text.substr(begin, end - begin);
    begin = end + 1;
    const size_t dots = part.find("..");
    MORPH_ASSIGN_OR_RETURN(const int64_t first, parseSeed(part.substr(0, dots)));
    int64_t last = first;
    if (dots != std::string::npos) {
      MORPH_ASSIGN_OR_RETURN(last, parseSeed(part.substr(dots + 2)));
    }
    if (last < first)
      return Status::invalid("--seeds: '" + part + "' falls", "the first seed of a range is the least: --seeds 0..4");
    if (static_cast<size_t>(last - first) >= kMostSeeds - seeds.size())
      return Status::invalid("--seeds: there are more than " + std::to_string(kMostSeeds));
    // By their distance: after the largest seed there is no other number.
    for (int64_t further = 0; further <= last - first; ++further) {
      const int64_t seed = first + further;
      if (std::count(seeds.begin(), seeds.end(), seed))
        return Status::invalid("--seeds: " + std::to_string(seed) + " is there twice");
      seeds.push_back(seed);
    }
  }
  if (seeds.size() < 2)
    return Status::invalid("--seeds: two seeds or more give a mean and its error, and here is one",
                           "--seeds 0..4, or --set seed=" + text + " for one");
  return seeds;
}

Json morph::poolSeeds(const std::vector<int64_t> &seeds, const std::vector<Json> &summaries) {
  Json pooled = {{"version", 1}, {"name", summaries.front().value("name", "")}, {"seeds", seeds}};
  for (const Json &summary : summaries) {
    pooled["runs"].push_back(summary.value("run", ""));
    pooled["kept"]["selected"].push_back(summary.value("selection", Json::object()).value("kept", Json::array()));
    const Json baselines = summary.value("baselines", Json::object());
    for (const auto &[name, kept] : baselines.items())
      pooled["kept"][name].push_back(kept);
  }
  pooled["evaluation"] = poolRows(lists(summaries, "evaluation"));
  pooled["differences"] = poolDifferences(pooled["evaluation"], lists(summaries, "differences"));
  return pooled;
}
