// SPDX-License-Identifier: Apache-2.0
// What a visit of a section's members does: reading them from JSON, which is not trusted, and writing them.

#ifndef MORPH_RUNTIME_SPEC_SECTIONVISITORS_H
#define MORPH_RUNTIME_SPEC_SECTIONVISITORS_H

#include "runtime/base/Json.h"
#include "runtime/spec/Words.h"

#include <array>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <map>
#include <optional>
#include <type_traits>

namespace morph::detail {

/// Visits every member of a section with its name and its bounds; Spec.cpp specializes it.
template <typename Section> struct Visit;

/// A condition on a value, or on each element of a list.
struct Bound {
  enum class Kind {
    Above,
    AtLeast,
    Below,
    AtMost,
    Count, ///< A list has this many elements, or none.
    Word,  ///< A string is one of all the words given.
  };
  Kind kind;
  double number = 0;
  const char *word = "";
};
using Bounds = std::initializer_list<Bound>;

constexpr Bound above(double number) { return {Bound::Kind::Above, number}; }
constexpr Bound atLeast(double number) { return {Bound::Kind::AtLeast, number}; }
constexpr Bound below(double number) { return {Bound::Kind::Below, number}; }
constexpr Bound atMost(double number) { return {Bound::Kind::AtMost, number}; }
constexpr Bound count(double number) { return {Bound::Kind::Count, number}; }
constexpr Bound word(const char *text) { return {Bound::Kind::Word, 0, text}; }

/// Reads the members of one object. The first thing that is wrong stays in `status`.
class SectionReader {
public:
  /// `path` is the object's in the spec ("align", "tasks[0]"; empty at the root).
  SectionReader(const Json &object, std::string path, Status &status);
  /// Refuses the members that no key has asked for.
  void finish();

  template <typename T> void key(const std::string &name, T &value, Bounds bounds = {}) {
    if (const Json *json = find(name))
      read(*json, join(name), value, bounds);
    else
      refuse("'" + join(name) + "' is missing");
  }
  template <typename T> void key(const std::string &name, std::optional<T> &value, Bounds bounds = {}) {
    if (const Json *json = find(name))
      read(*json, join(name), value.emplace(), bounds);
  }
  template <typename Section> void table(const std::string &name, Section &section) {
    if (const Json *json = find(name))
      readTable(*json, join(name), section);
    else
      refuse("'" + join(name) + "' is missing");
  }
  template <typename Section> void table(const std::string &name, std::optional<Section> &section) {
    if (const Json *json = find(name))
      readTable(*json, join(name), section.emplace());
  }
  template <typename Section> void table(const std::string &name, std::vector<Section> &sections) {
    const Json *json = find(name);
    if (!json || !json->is_array())
      return refuse("'" + join(name) + (json ? "' is " + describe(*json) + ", expected a list" : "' is missing"));
    for (size_t i = 0; i < json->size(); ++i)
      readTable((*json)[i], join(name) + "[" + std::to_string(i) + "]", sections.emplace_back());
  }
  /// Lists of tables.
  template <typename Section> void table(const std::string &name, std::vector<std::vector<Section>> &lists) {
    const Json *json = find(name);
    if (!json || !json->is_array())
      return refuse("'" + join(name) + (json ? "' is " + describe(*json) + ", expected a list" : "' is missing"));
    for (size_t i = 0; i < json->size(); ++i) {
      const std::string path = join(name) + "[" + std::to_string(i) + "]";
      if (!(*json)[i].is_array())
        return refuseType((*json)[i], path, "a list");
      std::vector<Section> &list = lists.emplace_back();
      for (size_t j = 0; j < (*json)[i].size(); ++j)
        readTable((*json)[i][j], path + "[" + std::to_string(j) + "]", list.emplace_back());
    }
  }

private:
  const Json *find(const std::string &name);
  std::string join(const std::string &name) const { return path_.empty() ? name : path_ + "." + name; }
  void refuse(const std::string &message);
  /// A value as errors show it: short, whatever it is.
  static std::string describe(const Json &json);
  void refuseType(const Json &json, const std::string &path, const std::string &expected);
  void checkNumber(double value, const std::string &path, Bounds bounds);
  void checkWord(const std::string &value, const std::string &path, const std::vector<std::string> &words);

  void read(const Json &json, const std::string &path, bool &value, Bounds bounds);
  void read(const Json &json, const std::string &path, int64_t &value, Bounds bounds);
  void read(const Json &json, const std::string &path, double &value, Bounds bounds);
  void read(const Json &json, const std::string &path, std::string &value, Bounds bounds);
  template <typename Enum>
  std::enable_if_t<std::is_enum_v<Enum>> read(const Json &json, const std::string &path, Enum &value, Bounds) {
    std::string word;
    read(json, path, word, {});
    if (std::optional<Enum> found = fromWord<Enum>(word))
      value = *found;
    else if (json.is_string())
      checkWord(word, path, getWords<Enum>());
  }
  template <typename T> void read(const Json &json, const std::string &path, std::vector<T> &values, Bounds bounds) {
    if (!json.is_array())
      return refuseType(json, path, "a list");
    for (const Bound &bound : bounds)
      if (bound.kind == Bound::Kind::Count && !json.empty() && static_cast<double>(json.size()) != bound.number)
        refuseCount(json, path, static_cast<size_t>(bound.number));
    for (size_t i = 0; i < json.size(); ++i)
      read(json[i], path + "[" + std::to_string(i) + "]", values.emplace_back(), bounds);
  }
  template <typename T, size_t N>
  void read(const Json &json, const std::string &path, std::array<T, N> &values, Bounds bounds) {
    if (!json.is_array())
      return refuseType(json, path, "a list");
    if (json.size() != N)
      return refuseCount(json, path, N);
    for (size_t i = 0; i < N; ++i)
      read(json[i], path + "[" + std::to_string(i) + "]", values[i], bounds);
  }
  void refuseCount(const Json &json, const std::string &path, size_t expected);
  template <typename Section> void readTable(const Json &json, const std::string &path, Section &section) {
    SectionReader reader(json, path, status_);
    Visit<Section>::run(reader, section);
    reader.finish();
  }

  const Json &object_;
  std::string path_;
  Status &status_;
  std::map<std::string, const Json *> rest_; ///< Members that no key has asked for yet.
};

/// Writes the members of a section into an object.
class SectionWriter {
public:
  const Json &object() const { return object_; }

  template <typename T> void key(const std::string &name, const T &value, Bounds = {}) {
    if constexpr (std::is_enum_v<T>)
      object_[name] = toWord(value);
    else
      object_[name] = value;
  }
  template <typename T> void key(const std::string &name, const std::optional<T> &value, Bounds = {}) {
    if (value)
      key(name, *value);
  }
  template <typename Section> void table(const std::string &name, const Section &section) {
    object_[name] = write(section);
  }
  template <typename Section> void table(const std::string &name, const std::optional<Section> &section) {
    if (section)
      table(name, *section);
  }
  template <typename Section> void table(const std::string &name, const std::vector<Section> &sections) {
    object_[name] = Json::array();
    for (const Section &section : sections)
      object_[name].push_back(write(section));
  }
  template <typename Section> void table(const std::string &name, const std::vector<std::vector<Section>> &lists) {
    object_[name] = Json::array();
    for (const std::vector<Section> &list : lists) {
      Json &written = object_[name].emplace_back(Json::array());
      for (const Section &section : list)
        written.push_back(write(section));
    }
  }

  template <typename Section> static Json write(const Section &section) {
    SectionWriter writer;
    Visit<Section>::run(writer, section);
    return writer.object_;
  }

private:
  Json object_ = Json::object();
};

template <typename Section> StatusOr<Section> readSection(const Json &json, const std::string &where) {
  Status status;
  SectionReader reader(json, "", status);
  Section section;
  Visit<Section>::run(reader, section);
  reader.finish();
  if (!status.ok())
    return std::move(status).withContext(where);
  return section;
}

template <typename Section> Json writeSection(const Section &section) { return SectionWriter::write(section); }

} // namespace morph::detail

#endif // MORPH_RUNTIME_SPEC_SECTIONVISITORS_H
