// SPDX-License-Identifier: Apache-2.0
// Text for people: tables, quantities, and the driver's messages.

#ifndef MORPH_TOOLS_MORPH_REPORT_H
#define MORPH_TOOLS_MORPH_REPORT_H

#include "runtime/base/Status.h"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace morph {

/// A table with a header line; the first `left` columns are aligned left, the others right.
class Table {
public:
  explicit Table(std::vector<std::string> header, size_t left = 1) : rows_{std::move(header)}, left_(left) {}
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  /// Lines indented by two spaces, with a rule below the header.
  std::string print() const;

private:
  std::vector<std::vector<std::string>> rows_;
  size_t left_;
};

std::string formatFixed(double value, int digits);
/// "1.5 GB": powers of ten.
std::string formatBytes(double bytes);
/// "82 k", "1.3 M"; "2.5e+17" from 10^15.
std::string formatCount(double count);
/// "43 s", "4 min 10 s", "2 h 5 min".
std::string formatDuration(double seconds);
/// "4 16 18 23", or "none".
std::string formatLayers(const std::vector<int64_t> &layers);
/// "a, b, c".
std::string joinNames(const std::vector<std::string> &names);
/// A path as short as it can be typed: from the current folder where it lies inside, else absolute.
std::string formatPath(const std::filesystem::path &path);

/// Prints "morph: error: ..." and the hint to standard error. An error without a message was reported already.
void printError(const Status &status);
/// Prints "morph: warning: ..." and the hint to standard error.
void printWarning(const std::string &text, const std::string &hint);
/// Prints "morph: note: ..." to standard error.
void printNote(const std::string &text);

} // namespace morph

#endif // MORPH_TOOLS_MORPH_REPORT_H
