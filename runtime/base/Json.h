// SPDX-License-Identifier: Apache-2.0
// Reading JSON with errors that say where: the file, line and column for syntax, the path of the member for contents.

#ifndef MORPH_RUNTIME_BASE_JSON_H
#define MORPH_RUNTIME_BASE_JSON_H

#include "runtime/base/File.h"
#include "runtime/base/Status.h"

#include <nlohmann/json.hpp>

#include <iterator>
#include <set>
#include <string>
#include <vector>

namespace morph {

using Json = nlohmann::json;

/// What parseJson takes: deeper or longer texts are refused. Copies and dumps of values recurse, and a value takes up
/// to twenty times the memory of its text.
inline constexpr int kMaximumJsonDepth = 64;
inline constexpr uint64_t kMaximumJsonBytes = 100'000'000;

namespace detail {

/// Reads a text and keeps count of the characters read, which the parser does not tell to its callback.
struct CountingReader {
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char *;
  using reference = const char &;
  const char *at;
  size_t *count;

  reference operator*() const { return *at; }
  CountingReader &operator++() {
    ++at;
    ++*count;
    return *this;
  }
  bool operator==(const CountingReader &other) const { return at == other.at; }
  bool operator!=(const CountingReader &other) const { return at != other.at; }
};

/// Thrown by the callback: the parser cannot be stopped otherwise.
struct JsonRefusal {
  std::string message;
};

inline void appendExcerpt(const Json &json, size_t limit, std::string &text) {
  auto appendText = [&](const std::string &part) {
    text += Json(part.substr(0, limit)).dump(-1, ' ', false, Json::error_handler_t::replace);
  };
  if (!json.is_structured())
    return json.is_string() ? appendText(json.get_ref<const std::string &>()) : void(text += json.dump());
  text += json.is_array() ? '[' : '{';
  const char *separator = "";
  // Every level adds a character, so that the limit bounds the recursion too.
  for (auto element = json.begin(); element != json.end() && text.size() < limit; ++element) {
    text += separator;
    separator = ",";
    if (json.is_object()) {
      appendText(element.key());
      text += ':';
    }
    appendExcerpt(*element, limit, text);
  }
  text += json.is_array() ? ']' : '}';
}

} // namespace detail

/// A value as text for a message: at most `limit` bytes, cut with "..." where it is longer.
inline std::string jsonExcerpt(const Json &json, size_t limit = 60) {
  std::string text;
  detail::appendExcerpt(json, limit, text);
  return shortened(std::move(text), limit);
}

/// Parses `text`; `where` (a file name) goes in front of errors. Malformed text, members given twice in one object and
/// nesting deeper than kMaximumJsonDepth are errors with line and column. `AnyJson` may be nlohmann::ordered_json.
template <typename AnyJson = Json> StatusOr<AnyJson> parseJson(const std::string &text, const std::string &where) {
  if (text.size() > kMaximumJsonBytes)
    return Status::invalid(where + ": " + std::to_string(text.size()) + " bytes of JSON, at most " +
                           std::to_string(kMaximumJsonBytes) + " are read");
  auto refusal = [&](size_t byte, const std::string &message) {
    size_t line = 1, column = 1;
    for (size_t i = 0; i + 1 < byte && i < text.size(); ++i) {
      column = text[i] == '\n' ? 1 : column + 1;
      line += text[i] == '\n';
    }
    return Status::invalid(where + ":" + std::to_string(line) + ":" + std::to_string(column) + ": " + message);
  };
  std::vector<std::set<std::string>> keys;
  auto watch = [&](int depth, typename AnyJson::parse_event_t event, AnyJson &parsed) {
    using Event = typename AnyJson::parse_event_t;
    if ((event == Event::object_start || event == Event::array_start) && depth >= kMaximumJsonDepth)
      throw detail::JsonRefusal{"nested deeper than " + std::to_string(kMaximumJsonDepth) + " levels"};
    if (event == Event::object_start)
      keys.emplace_back();
    else if (event == Event::object_end)
      keys.pop_back();
    else if (event == Event::key && !keys.back().insert(parsed.template get_ref<const std::string &>()).second)
      throw detail::JsonRefusal{"the member '" + parsed.template get<std::string>() + "' is given twice in one object"};
    return true;
  };
  size_t read = 0;
  try {
    return AnyJson::parse(detail::CountingReader{text.data(), &read},
                          detail::CountingReader{text.data() + text.size(), &read}, watch);
  } catch (const detail::JsonRefusal &error) {
    return refusal(read, error.message);
  } catch (const typename AnyJson::exception &error) {
    // "[json.exception.parse_error.101] parse error at line 1, column 2: syntax error while ..."
    std::string message = error.what();
    size_t colon = message.find(": ");
    size_t bracket = message.find("] ");
    size_t begin = colon != std::string::npos ? colon + 2 : bracket != std::string::npos ? bracket + 2 : 0;
    auto *syntax = dynamic_cast<const typename AnyJson::parse_error *>(&error);
    return refusal(syntax ? syntax->byte : read, "malformed JSON: " + message.substr(begin));
  }
}

/// Reads and parses a file.
inline StatusOr<Json> readJson(const std::string &path) {
  MORPH_ASSIGN_OR_RETURN(std::string text, readTextFile(path, kMaximumJsonBytes));
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
                           jsonExcerpt(*found));
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
