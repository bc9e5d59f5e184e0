// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/SpecReader.h"

namespace morph {

SpecReader::SpecReader(const Json &spec, const std::string &section) : section_(section) {
  if (section.empty()) {
    object_ = spec;
    return;
  }
  auto found = spec.find(section);
  object_ = found == spec.end() || found->is_null() ? Json::object() : *found;
  if (!object_.is_object()) {
    status_ = Status::invalid("spec: '" + section + "' is not a table");
    object_ = Json::object();
  }
}

const Json *SpecReader::find(const std::string &key) const {
  auto found = object_.find(key);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

bool SpecReader::has(const std::string &key) const { return find(key) != nullptr; }

void SpecReader::refuse(const std::string &key, const std::string &expected) {
  if (status_.ok())
    status_ = Status::invalid("spec: '" + (section_.empty() ? key : section_ + "." + key) + "' is not " + expected +
                              ": " + find(key)->dump());
}

int64_t SpecReader::integer(const std::string &key, int64_t fallback) {
  const Json *value = find(key);
  if (!value)
    return fallback;
  if (!value->is_number_integer()) {
    refuse(key, "an integer");
    return fallback;
  }
  return value->get<int64_t>();
}

int64_t SpecReader::integerAtLeast(const std::string &key, int64_t fallback, int64_t least) {
  const int64_t value = integer(key, fallback);
  if (value < least && find(key))
    refuse(key, "at least " + std::to_string(least));
  return value;
}

double SpecReader::number(const std::string &key, double fallback) {
  const Json *value = find(key);
  if (!value)
    return fallback;
  if (!value->is_number()) {
    refuse(key, "a number");
    return fallback;
  }
  return value->get<double>();
}

bool SpecReader::flag(const std::string &key, bool fallback) {
  const Json *value = find(key);
  if (!value)
    return fallback;
  if (!value->is_boolean()) {
    refuse(key, "true or false");
    return fallback;
  }
  return value->get<bool>();
}

std::string SpecReader::text(const std::string &key, const std::string &fallback) {
  const Json *value = find(key);
  if (!value)
    return fallback;
  if (!value->is_string()) {
    refuse(key, "a string");
    return fallback;
  }
  return value->get<std::string>();
}

/// The elements of a list, or of a single value; false where one has another type.
template <typename T, typename Predicate>
static bool readList(const Json &value, Predicate isElement, std::vector<T> &list) {
  const Json elements = value.is_array() ? value : Json::array({value});
  for (const Json &element : elements) {
    if (!isElement(element))
      return false;
    list.push_back(element.get<T>());
  }
  return true;
}

std::vector<std::string> SpecReader::texts(const std::string &key, const std::vector<std::string> &fallback) {
  const Json *value = find(key);
  std::vector<std::string> list;
  if (!value)
    return fallback;
  if (!readList(*value, [](const Json &element) { return element.is_string(); }, list)) {
    refuse(key, "a list of strings");
    return fallback;
  }
  return list;
}

std::vector<int64_t> SpecReader::integers(const std::string &key, const std::vector<int64_t> &fallback) {
  const Json *value = find(key);
  std::vector<int64_t> list;
  if (!value)
    return fallback;
  if (!readList(*value, [](const Json &element) { return element.is_number_integer(); }, list)) {
    refuse(key, "a list of integers");
    return fallback;
  }
  return list;
}

std::vector<double> SpecReader::numbers(const std::string &key, const std::vector<double> &fallback) {
  const Json *value = find(key);
  std::vector<double> list;
  if (!value)
    return fallback;
  if (!readList(*value, [](const Json &element) { return element.is_number(); }, list)) {
    refuse(key, "a list of numbers");
    return fallback;
  }
  return list;
}

StatusOr<Json> findTask(const Json &spec, const std::string &name) {
  std::string known;
  if (auto tasks = spec.find("tasks"); tasks != spec.end() && tasks->is_array()) {
    for (const Json &task : *tasks) {
      const std::string taskName = task.value("name", "");
      if (taskName == name)
        return task;
      known += (known.empty() ? "" : ", ") + taskName;
    }
  }
  return Status::invalid("spec: no task is named '" + name + "'",
                         known.empty() ? "the spec has no [[task]]" : "the tasks are: " + known);
}

} // namespace morph
