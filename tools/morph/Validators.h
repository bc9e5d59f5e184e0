// SPDX-License-Identifier: Apache-2.0
// Validators of options whose messages a person can read: CLI11's own print the largest double.

#ifndef MORPH_TOOLS_MORPH_VALIDATORS_H
#define MORPH_TOOLS_MORPH_VALIDATORS_H

#include <CLI/CLI.hpp>

#include <string>

namespace morph {

/// A number above 0, or not below it.
inline CLI::Validator aboveZero(bool orEqual = false) {
  return CLI::Validator(
      [orEqual](const std::string &text) -> std::string {
        double value = 0;
        if (CLI::detail::lexical_cast(text, value) && (value > 0 || (orEqual && value == 0)))
          return "";
        return "'" + text + "' is no number " + (orEqual ? "of 0 or more" : "above 0");
      },
      orEqual ? "NONNEGATIVE" : "POSITIVE");
}

} // namespace morph

#endif // MORPH_TOOLS_MORPH_VALIDATORS_H
