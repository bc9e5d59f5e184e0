// SPDX-License-Identifier: Apache-2.0
// The words of a reference to a mixer, as specs have them: `mixers/mine.morph:mine(rank = 8)`. The compiler reads what
// the options mean (dialect/MixerReference.h).

#ifndef MORPH_RUNTIME_SPEC_MIXERNAME_H
#define MORPH_RUNTIME_SPEC_MIXERNAME_H

#include <string>
#include <vector>

namespace morph {

struct MixerWords {
  std::string file; ///< Empty for a mixer that comes with Morph, or is in the model.
  std::string name;
  std::string options; ///< With their brackets; empty where there are none.
};

/// Any text has words; whether they name a mixer is the compiler's to say.
inline MixerWords splitMixer(const std::string &reference) {
  const auto trim = [](const std::string &text) {
    const size_t first = text.find_first_not_of(" \t"), last = text.find_last_not_of(" \t");
    return first == std::string::npos ? "" : text.substr(first, last - first + 1);
  };
  MixerWords words;
  std::string rest = trim(reference);
  // A path may hold brackets: the options are the last ones, up to the end.
  if (!rest.empty() && rest.back() == ')') {
    size_t begin = rest.size();
    for (int depth = 0; begin-- > 0;) {
      depth += rest[begin] == ')' ? 1 : rest[begin] == '(' ? -1 : 0;
      if (depth == 0)
        break;
    }
    if (begin < rest.size()) {
      words.options = rest.substr(begin);
      rest = trim(rest.substr(0, begin));
    }
  }
  const size_t colon = rest.rfind(':');
  words.name = trim(rest.substr(colon + 1)); // npos + 1 is 0: all of it.
  if (colon != std::string::npos)
    words.file = trim(rest.substr(0, colon));
  return words;
}

/// The references in a text with commas between them, outside of brackets.
inline std::vector<std::string> splitReferences(const std::string &text) {
  std::vector<std::string> references(1);
  int depth = 0;
  for (const char c : text) {
    depth += c == '(' ? 1 : c == ')' ? -1 : 0;
    if (c == ',' && depth == 0)
      references.emplace_back();
    else
      references.back() += c;
  }
  return references;
}

inline std::string mixerName(const std::string &reference) { return splitMixer(reference).name; }

} // namespace morph

#endif // MORPH_RUNTIME_SPEC_MIXERNAME_H
