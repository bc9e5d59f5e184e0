// SPDX-License-Identifier: Apache-2.0
// Reads a resolved spec (morph-translate --spec-to-json). The first thing that is wrong is kept as an error.

#ifndef MORPH_RUNTIME_TRAIN_SPECREADER_H
#define MORPH_RUNTIME_TRAIN_SPECREADER_H

#include "runtime/base/Json.h"

#include <string>
#include <vector>

namespace morph {

/// Typed access to one section. Getters return the default where the key is absent or null; a value of another type
/// sets `status` and gives the default, so that a stage reads all its keys and asks once.
class SpecReader {
public:
  /// `section` of `spec`, or the spec itself where `section` is empty. A missing section reads as empty.
  SpecReader(const Json &spec, const std::string &section);

  bool has(const std::string &key) const;
  int64_t integer(const std::string &key, int64_t fallback);
  /// As `integer`, and an error where the value is less than `least`.
  int64_t integerAtLeast(const std::string &key, int64_t fallback, int64_t least);
  double number(const std::string &key, double fallback);
  bool flag(const std::string &key, bool fallback);
  std::string text(const std::string &key, const std::string &fallback);
  std::vector<std::string> texts(const std::string &key, const std::vector<std::string> &fallback = {});
  /// A list of integers; a single integer is a list of one.
  std::vector<int64_t> integers(const std::string &key, const std::vector<int64_t> &fallback = {});
  std::vector<double> numbers(const std::string &key, const std::vector<double> &fallback = {});
  const Json &object() const { return object_; }

  const Status &status() const { return status_; }

private:
  const Json *find(const std::string &key) const;
  void refuse(const std::string &key, const std::string &expected);
  Json object_;
  std::string section_;
  Status status_;
};

/// The task of this name in the spec's `tasks`.
StatusOr<Json> findTask(const Json &spec, const std::string &name);

} // namespace morph

#endif // MORPH_RUNTIME_TRAIN_SPECREADER_H
