// SPDX-License-Identifier: Apache-2.0

#include "runtime/spec/SectionVisitors.h"

namespace morph::detail {

namespace {

std::string printNumber(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.10g", value);
  return text;
}

std::string printBound(const Bound &bound) {
  switch (bound.kind) {
  case Bound::Kind::Above:
    return "> " + printNumber(bound.number);
  case Bound::Kind::AtLeast:
    return ">= " + printNumber(bound.number);
  case Bound::Kind::Below:
    return "< " + printNumber(bound.number);
  case Bound::Kind::AtMost:
    return "<= " + printNumber(bound.number);
  case Bound::Kind::Count:
  case Bound::Kind::Word:
    break;
  }
  return "";
}

/// What is no condition on a number holds for all.
bool holds(const Bound &bound, double value) {
  switch (bound.kind) {
  case Bound::Kind::Above:
    return value > bound.number;
  case Bound::Kind::AtLeast:
    return value >= bound.number;
  case Bound::Kind::Below:
    return value < bound.number;
  case Bound::Kind::AtMost:
    return value <= bound.number;
  case Bound::Kind::Count:
  case Bound::Kind::Word:
    break;
  }
  return true;
}

} // namespace

SectionReader::SectionReader(const Json &object, std::string path, Status &status)
    : object_(object), path_(std::move(path)), status_(status) {
  if (object.is_object())
    for (const auto &[name, value] : object.items())
      rest_[name] = &value;
  else
    refuseType(object, path_.empty() ? "the spec" : path_, "an object");
}

void SectionReader::finish() {
  if (!rest_.empty() && object_.is_object())
    refuse("'" + join(rest_.begin()->first) + "' is not known");
}

const Json *SectionReader::find(const std::string &name) {
  auto found = rest_.find(name);
  if (found == rest_.end())
    return nullptr;
  const Json *value = found->second;
  rest_.erase(found);
  return value;
}

void SectionReader::refuse(const std::string &message) {
  if (status_.ok())
    status_ = Status::invalid(message, "a resolved spec is made by: morph-translate --spec-to-json SPEC");
}

std::string SectionReader::describe(const Json &json) {
  if (json.is_object())
    return "an object";
  if (json.is_array())
    return "a list";
  return jsonExcerpt(json);
}

void SectionReader::refuseType(const Json &json, const std::string &path, const std::string &expected) {
  refuse("'" + path + "' is " + describe(json) + ", expected " + expected);
}

void SectionReader::refuseCount(const Json &json, const std::string &path, size_t expected) {
  refuse("'" + path + "' has " + std::to_string(json.size()) + " elements, expected " + std::to_string(expected));
}

void SectionReader::checkNumber(double value, const std::string &path, Bounds bounds) {
  std::string expected;
  bool ok = std::isfinite(value);
  for (const Bound &bound : bounds) {
    ok &= holds(bound, value);
    const std::string text = printBound(bound);
    expected += (expected.empty() || text.empty() ? "" : ", ") + text;
  }
  if (!ok)
    refuse("'" + path + "' is " + printNumber(value) + ", expected " +
           (expected.empty() ? "a finite number" : expected));
}

void SectionReader::checkWord(const std::string &value, const std::string &path,
                              const std::vector<std::string> &words) {
  std::string expected;
  for (const std::string &word : words) {
    if (word == value)
      return;
    expected += (expected.empty() ? "" : ", ") + word;
  }
  refuse("'" + path + "' is " + describe(value) + ", expected " + expected);
}

void SectionReader::read(const Json &json, const std::string &path, bool &value, Bounds) {
  if (!json.is_boolean())
    return refuseType(json, path, "true or false");
  value = json.get<bool>();
}

void SectionReader::read(const Json &json, const std::string &path, int64_t &value, Bounds bounds) {
  constexpr uint64_t largest = std::numeric_limits<int64_t>::max();
  if (!json.is_number_integer() || (json.is_number_unsigned() && json.get<uint64_t>() > largest))
    return refuseType(json, path, "an integer");
  value = json.get<int64_t>();
  checkNumber(static_cast<double>(value), path, bounds);
}

void SectionReader::read(const Json &json, const std::string &path, double &value, Bounds bounds) {
  if (!json.is_number())
    return refuseType(json, path, "a number");
  value = json.get<double>();
  checkNumber(value, path, bounds);
}

void SectionReader::read(const Json &json, const std::string &path, std::string &value, Bounds bounds) {
  if (!json.is_string())
    return refuseType(json, path, "a string");
  value = json.get<std::string>();
  std::vector<std::string> words;
  for (const Bound &bound : bounds)
    words.push_back(bound.word);
  if (!words.empty())
    checkWord(value, path, words);
}

} // namespace morph::detail
