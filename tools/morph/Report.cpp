// SPDX-License-Identifier: Apache-2.0

#include "tools/morph/Report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

using namespace morph;

namespace {

/// Characters of UTF-8 text, so that columns line up.
size_t width(const std::string &text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; });
}

std::string formatScaled(double value, const char *const *units, int count) {
  int unit = 0;
  while (std::fabs(value) >= 999.5 && unit + 1 < count) {
    value /= 1000;
    ++unit;
  }
  return formatFixed(value, unit == 0 || value >= 99.5 ? 0 : value >= 9.95 ? 1 : 2) + units[unit];
}

} // namespace

std::string Table::print() const {
  std::vector<size_t> widths;
  for (const std::vector<std::string> &row : rows_)
    for (size_t i = 0; i < row.size(); ++i) {
      if (i == widths.size())
        widths.push_back(0);
      widths[i] = std::max(widths[i], width(row[i]));
    }
  std::string text;
  for (size_t r = 0; r < rows_.size(); ++r) {
    std::string line = "  ";
    for (size_t i = 0; i < rows_[r].size(); ++i) {
      const std::string space(widths[i] - width(rows_[r][i]), ' ');
      line += (i ? "  " : "") + (i < left_ ? rows_[r][i] + space : space + rows_[r][i]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
    if (r == 0) {
      text += "  ";
      for (size_t i = 0; i < widths.size(); ++i)
        text += (i ? "  " : "") + std::string(widths[i], '-');
      text += "\n";
    }
  }
  return text;
}

std::string morph::formatFixed(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

std::string morph::formatBytes(double bytes) {
  static const char *const units[] = {" B", " kB", " MB", " GB", " TB", " PB"};
  return formatScaled(bytes, units, 6);
}

std::string morph::formatCount(double count) {
  if (count >= 1e15) {
    char text[32];
    std::snprintf(text, sizeof text, "%.1e", count);
    return text;
  }
  static const char *const units[] = {"", " k", " M", " G", " T"};
  return formatScaled(count, units, 5);
}

std::string morph::formatDuration(double seconds) {
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  if (seconds < 9.95)
    return formatFixed(seconds, 1) + " s";
  if (whole < 60)
    return std::to_string(whole) + " s";
  if (whole < 3600)
    return std::to_string(whole / 60) + " min " + std::to_string(whole % 60) + " s";
  return std::to_string(whole / 3600) + " h " + std::to_string(whole % 3600 / 60) + " min";
}

std::string morph::formatLayers(const std::vector<int64_t> &layers) {
  std::string text;
  for (int64_t layer : layers)
    text += (text.empty() ? "" : " ") + std::to_string(layer);
  return text.empty() ? "none" : text;
}

std::string morph::joinNames(const std::vector<std::string> &names) {
  std::string text;
  for (const std::string &name : names)
    text += (text.empty() ? "" : ", ") + name;
  return text;
}

std::string morph::formatPath(const std::filesystem::path &path) {
  std::error_code error;
  const std::filesystem::path inside = std::filesystem::proximate(path, error);
  if (error || inside.empty() || *inside.begin() == "..")
    return path.string();
  return inside.string();
}

void morph::printError(const Status &status) {
  if (status.message().empty())
    return;
  std::fprintf(stderr, "morph: error: %s\n", status.message().c_str());
  if (!status.hint().empty())
    std::fprintf(stderr, "morph: hint: %s\n", status.hint().c_str());
}

void morph::printWarning(const std::string &text, const std::string &hint) {
  std::fprintf(stderr, "morph: warning: %s\nmorph: hint: %s\n", text.c_str(), hint.c_str());
}

void morph::printNote(const std::string &text) { std::fprintf(stderr, "morph: note: %s\n", text.c_str()); }
