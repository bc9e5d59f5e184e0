// SPDX-License-Identifier: Apache-2.0
// The name in a reference to a mixer, as specs have them: `mixers/mine.morph:mine(rank = 8)` is `mine`. The compiler
// reads the rest (dialect/MixerReference.h).

#ifndef MORPH_RUNTIME_SPEC_MIXERNAME_H
#define MORPH_RUNTIME_SPEC_MIXERNAME_H

#include <string>

namespace morph {

inline std::string mixerName(const std::string &reference) {
  std::string name = reference.substr(0, reference.find('('));
  name = name.substr(name.rfind(':') + 1); // npos + 1 is 0: all of it.
  const size_t first = name.find_first_not_of(" \t"), last = name.find_last_not_of(" \t");
  return first == std::string::npos ? "" : name.substr(first, last - first + 1);
}

} // namespace morph

#endif // MORPH_RUNTIME_SPEC_MIXERNAME_H
