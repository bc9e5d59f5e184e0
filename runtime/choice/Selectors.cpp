// SPDX-License-Identifier: Apache-2.0

#include "runtime/choice/Selectors.h"

#include <algorithm>
#include <sstream>

namespace morph {

const std::vector<SelectorInfo> &selectors() {
  static const std::vector<SelectorInfo> all = {
#define MORPH_SELECTOR(name, options, needs, visits, summary)                                                          \
  {#name, options, SelectorNeeds::needs, SelectorVisits::visits, summary},
#include "runtime/choice/Selectors.def"
#undef MORPH_SELECTOR
  };
  return all;
}

int64_t beamWidth(const std::string &option) { return option.empty() ? 4 : std::max<int64_t>(1, std::stoll(option)); }

/// Whether `word` is one of `options`, where N stands for a number of at most six digits.
static bool isOption(const std::string &word, const std::string &options) {
  const bool isNumber = !word.empty() && word.size() <= 6 &&
                        std::all_of(word.begin(), word.end(), [](char c) { return c >= '0' && c <= '9'; });
  std::istringstream words(options);
  for (std::string option; words >> option;)
    if (option != "|" && (option == "N" ? isNumber : option == word))
      return true;
  return false;
}

StatusOr<SelectorName> parseSelectorName(const std::string &whole) {
  static const std::string suffix = "+refine";
  const bool refines =
      whole.size() > suffix.size() && whole.compare(whole.size() - suffix.size(), suffix.size(), suffix) == 0;
  const std::string text = refines ? whole.substr(0, whole.size() - suffix.size()) : whole;
  const size_t colon = text.find(':');
  const std::string name = text.substr(0, colon);
  std::string known;
  for (const SelectorInfo &info : selectors()) {
    if (info.name != name) {
      known += (known.empty() ? "" : ", ") + info.name;
      continue;
    }
    if (colon == std::string::npos)
      return SelectorName{&info, "", refines};
    std::string option = text.substr(colon + 1);
    if (isOption(option, info.options))
      return SelectorName{&info, std::move(option), refines};
    return Status::invalid("selector '" + name + "' has no option '" + option + "'",
                           info.options.empty() ? "it has none" : "what may stand after the colon is: " + info.options);
  }
  return Status::invalid("there is no selector '" + name + "'", "known are " + known);
}

} // namespace morph
