// SPDX-License-Identifier: Apache-2.0

#include "frontends/spec/CostTable.h"

#include "dialect/MixerReference.h"
#include "frontends/text/Json.h"
#include "runtime/choice/Space.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

#include <cmath>

using namespace morph;

namespace {

constexpr uint64_t kMaxTableBytes = 10'000'000;

/// A reference as the table has it: with blanks and options as printMixerReference writes them.
std::string normalize(llvm::StringRef reference) {
  std::string message;
  std::optional<MixerReference> parsed = parseMixerReference(reference, message);
  return parsed ? printMixerReference(*parsed) : reference.str();
}

bool readNumbers(const llvm::json::Array *array, std::vector<double> &numbers) {
  if (!array)
    return false;
  for (const llvm::json::Value &value : *array) {
    std::optional<double> number = value.getAsNumber();
    if (!number || !std::isfinite(*number) || *number < 0 || *number > 1e9)
      return false;
    numbers.push_back(*number);
  }
  return true;
}

/// Nothing where the JSON is no table; `message` says why.
std::optional<spec::CostTable> readTable(const llvm::json::Value &json, std::string &message) {
  spec::CostTable table;
  const llvm::json::Object *object = json.getAsObject();
  if (!object || object->getInteger("version") != 1) {
    message = "it is no object with 'version' 1";
    return std::nullopt;
  }
  if (!readNumbers(object->getArray("contexts"), table.contexts) || table.contexts.empty() ||
      !llvm::is_sorted(table.contexts)) {
    message = "'contexts' is no list of rising numbers";
    return std::nullopt;
  }
  const llvm::json::Object *fixed = object->getObject("fixed");
  std::vector<double> numbers;
  if (!fixed ||
      !readNumbers(std::make_unique<llvm::json::Array>(
                       llvm::json::Array{fixed->getNumber("head").value_or(-1), fixed->getNumber("layer").value_or(-1)})
                       .get(),
                   numbers)) {
    message = "'fixed' has no seconds 'head' and 'layer'";
    return std::nullopt;
  }
  table.head = numbers[0];
  table.layer = numbers[1];
  const llvm::json::Array *mixers = object->getArray("mixers");
  for (const llvm::json::Value &value : mixers ? *mixers : llvm::json::Array()) {
    const llvm::json::Object *mixer = value.getAsObject();
    std::optional<llvm::StringRef> name = mixer ? mixer->getString("mixer") : std::nullopt;
    std::vector<double> seconds;
    if (!name || !readNumbers(mixer->getArray("seconds"), seconds) || seconds.size() != table.contexts.size()) {
      message = "'mixers' holds an entry without 'mixer' and a number of 'seconds' for each context";
      return std::nullopt;
    }
    table.mixers[normalize(*name)] = std::move(seconds);
  }
  return table;
}

} // namespace

std::optional<double> spec::CostTable::secondsOf(const std::string &reference, double context,
                                                 std::string &message) const {
  auto found = mixers.find(normalize(reference));
  if (found == mixers.end()) {
    auto names = llvm::map_range(mixers, [](const auto &entry) -> const std::string & { return entry.first; });
    message = "the table of costs has no '" + normalize(reference) + "'; it has " + llvm::join(names, ", ");
    return std::nullopt;
  }
  if (context < contexts.front() || context > contexts.back()) {
    message = "the table of costs ends at " + printNumber(contexts.back()) + " and begins at " +
              printNumber(contexts.front()) + " tokens, which leaves out " + printNumber(context);
    return std::nullopt;
  }
  size_t above = 0;
  while (contexts[above] < context)
    ++above;
  const std::vector<double> &seconds = found->second;
  if (contexts[above] == context)
    return seconds[above];
  double share = (context - contexts[above - 1]) / (contexts[above] - contexts[above - 1]);
  return seconds[above - 1] + share * (seconds[above] - seconds[above - 1]);
}

std::optional<spec::CostTable> spec::readCostTable(llvm::StringRef path, Diagnostics &diagnostics, SourceRange usedAt) {
  std::optional<llvm::StringRef> text = diagnostics.addFile(path, kMaxTableBytes, usedAt);
  if (!text)
    return std::nullopt;
  JsonError error;
  std::optional<llvm::json::Value> json = parseJson(*text, error);
  if (!json) {
    diagnostics.error(makeRange(text->substr(error.offset, 1)), error.message);
    return std::nullopt;
  }
  std::string message;
  std::optional<CostTable> table = readTable(*json, message);
  if (!table)
    diagnostics.error(makeRange(text->take_front(1)), "this is no table of costs: " + message,
                      "'morph bench mixers' writes one");
  return table;
}
