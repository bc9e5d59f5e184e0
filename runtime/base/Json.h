// SPDX-License-Identifier: Apache-2.0
// Reading JSON with errors that say where: the file, line and column for syntax, the path of the member for contents.

#ifndef MORPH_RUNTIME_BASE_JSON_H
#define MORPH_RUNTIME_BASE_JSON_H

#include "runtime/base/Status.h"

#include <nlohmann/json.hpp>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace morph {

using Json = nlohmann::json;

/// The whole content of a file, or an error that names it and the reason.
inline StatusOr<std::string> readTextFile(const std::string &path) {
  errno = 0;
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream text;
  if (stream)
    text << stream.rdbuf();
  if (!stream)
    return Status::invalid("cannot read '" + path + "': " + (errno ? std::strerror(errno) : "not a regular file"));
  return std::move(text).str();
}

/// Parses `text`; `where` (a file name) goes in front of errors. Malformed text and members given twice in one object
/// are errors with line and column.
inline StatusOr<Json> parseJson(const std::string &text, const std::string &where) {
  auto place = [&](size_t byte) {
    size_t line = 1, column = 1;
    for (size_t i = 0; i + 1 < byte && i < text.size(); ++i) {
      column = text[i] == '\n' ? 1 : column + 1;
      line += text[i] == '\n';
    }
    return where + ":" + std::to_string(line) + ":" + std::to_string(column);
  };
  std::vector<std::set<std::string>> keys;
  std::string duplicate;
  auto watch = [&](int, Json::parse_event_t event, Json &parsed) {
    if (event == Json::parse_event_t::object_start)
      keys.emplace_back();
    else if (event == Json::parse_event_t::object_end)
      keys.pop_back();
    else if (event == Json::parse_event_t::key && !keys.back().insert(parsed.get_ref<const std::string &>()).second &&
             duplicate.empty())
      duplicate = parsed.get<std::string>();
    return true;
  };
  try {
    Json json = Json::parse(text, watch);
    if (!duplicate.empty())
      return Status::invalid(where + ": the member '" + duplicate + "' is given twice in one object");
    return json;
  } catch (const Json::parse_error &error) {
    std::string message = error.what();
    // "[json.exception.parse_error.101] parse error at line 1, column 2: syntax error while ..."
    size_t colon = message.find(": ");
    return Status::invalid(place(error.byte) + ": malformed JSON" +
                           (colon == std::string::npos ? "" : ": " + message.substr(colon + 2)));
  } catch (const Json::exception &error) {
    return Status::invalid(where + ": malformed JSON: " + error.what());
  }
}

/// Reads and parses a file.
inline StatusOr<Json> readJson(const std::string &path) {
  MORPH_ASSIGN_OR_RETURN(std::string text, readTextFile(path));
  return parseJson(text, path);
}

namespace detail {
template <typename T> struct JsonKind;
template <> struct JsonKind<bool> {
  static constexpr const char *name = "a boolean";
  static bool is(const Json &json) { return json.is_boolean(); }
};
template <> struct JsonKind<int64_t> {
  static constexpr const char *name = "an integer";
  static bool is(const Json &json) {
    return json.is_number_integer() && (!json.is_number_unsigned() || json.get<uint64_t>() <= INT64_MAX);
  }
};
template <> struct JsonKind<double> {
  static constexpr const char *name = "a number";
  static bool is(const Json &json) { return json.is_number(); }
};
template <> struct JsonKind<std::string> {
  static constexpr const char *name = "a string";
  static bool is(const Json &json) { return json.is_string(); }
};
template <typename E> struct JsonKind<std::vector<E>> {
  static constexpr const char *name = "an array of matching elements";
  static bool is(const Json &json) {
    if (!json.is_array())
      return false;
    for (const Json &element : json)
      if (!JsonKind<E>::is(element))
        return false;
    return true;
  }
};
} // namespace detail

/// The member `key` of `object` as bool, int64_t, double, std::string or a vector of them. `where` is the path of the
/// object ("plan.json: weights[3]").
template <typename T> StatusOr<T> jsonGet(const Json &object, const std::string &key, const std::string &where) {
  if (!object.is_object())
    return Status::invalid(where + ": expected an object");
  auto found = object.find(key);
  if (found == object.end())
    return Status::invalid(where + ": the member '" + key + "' is missing");
  if (!detail::JsonKind<T>::is(*found))
    return Status::invalid(where + ": '" + key + "' must be " + detail::JsonKind<T>::name + ", not " +
                           found->dump().substr(0, 40));
  return found->template get<T>();
}

/// As jsonGet, with a default where the member is absent or null.
template <typename T>
StatusOr<T> jsonGetOr(const Json &object, const std::string &key, T fallback, const std::string &where) {
  if (object.is_object() && (!object.contains(key) || object.at(key).is_null()))
    return fallback;
  return jsonGet<T>(object, key, where);
}

} // namespace morph

#endif // MORPH_RUNTIME_BASE_JSON_H
