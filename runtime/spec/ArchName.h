// SPDX-License-Identifier: Apache-2.0
// References to archs, as command lines and specs have them: `small.morph`, or `all.morph:small` where the file has
// several.

#ifndef MORPH_RUNTIME_SPEC_ARCHNAME_H
#define MORPH_RUNTIME_SPEC_ARCHNAME_H

#include <string_view>

namespace morph {

/// Parts of the text that was split.
struct ArchWords {
  std::string_view file;
  std::string_view name; ///< Empty: the only arch of the file.
};

/// Any text has words; whether there is such an arch is the compiler's to say.
inline ArchWords splitArch(std::string_view reference) {
  // A file's name may hold colons; an arch's holds neither dots nor slashes.
  const size_t colon = reference.rfind(':');
  if (colon == std::string_view::npos || reference.find_first_of("./", colon) != std::string_view::npos)
    return {reference, {}};
  return {reference.substr(0, colon), reference.substr(colon + 1)};
}

/// The `.morph` file of a spec that is an arch; empty of any other path, which is a TOML file's.
inline std::string_view archFile(std::string_view spec) {
  constexpr std::string_view ending = ".morph";
  const std::string_view file = splitArch(spec).file;
  const bool isArch = file.size() >= ending.size() && file.substr(file.size() - ending.size()) == ending;
  return isArch ? file : std::string_view();
}

} // namespace morph

#endif // MORPH_RUNTIME_SPEC_ARCHNAME_H
