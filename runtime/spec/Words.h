// SPDX-License-Identifier: Apache-2.0
// From the words of a spec to the enumerations of Spec.h, which prints them with `toWord`.

#ifndef MORPH_RUNTIME_SPEC_WORDS_H
#define MORPH_RUNTIME_SPEC_WORDS_H

#include <optional>
#include <string>
#include <vector>

namespace morph {

/// All words of an enumeration, in the order of its values.
template <typename Enum> std::vector<std::string> getWords() {
  std::vector<std::string> words;
  for (int i = 0; *toWord(static_cast<Enum>(i)); ++i)
    words.push_back(toWord(static_cast<Enum>(i)));
  return words;
}

/// The value that is written with `word`; nothing where none is.
template <typename Enum> std::optional<Enum> fromWord(const std::string &word) {
  for (int i = 0; *toWord(static_cast<Enum>(i)); ++i)
    if (word == toWord(static_cast<Enum>(i)))
      return static_cast<Enum>(i);
  return std::nullopt;
}

} // namespace morph

#endif // MORPH_RUNTIME_SPEC_WORDS_H
