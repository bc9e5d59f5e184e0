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
/// Of a token and layer. In picoseconds it is a cost that a space may have.
constexpr double kMaxCostSeconds = 1000;
constexpr double kMaxContext = int64_t(1) << 30;

/// The sizes that decide how long a token takes, beside the number of layers.
struct Size {
  const char *name;
  int64_t ModelConfig::*member;
};
constexpr Size kSizes[] = {{"hidden", &ModelConfig::hidden},    {"heads", &ModelConfig::heads},
                           {"kv_heads", &ModelConfig::kvHeads}, {"head_dim", &ModelConfig::headDim},
                           {"ffn", &ModelConfig::ffn},          {"vocab", &ModelConfig::vocab}};

/// A reference as the table has it: without its file, blanks and options as printMixerReference writes them.
std::string normalize(llvm::StringRef reference) {
  std::string message;
  std::optional<MixerReference> parsed = parseMixerReference(reference, message);
  if (!parsed)
    return reference.str();
  parsed->path.clear();
  return printMixerReference(*parsed);
}

bool readNumbers(const llvm::json::Array *array, double most, std::vector<double> &numbers) {
  if (!array)
    return false;
  for (const llvm::json::Value &value : *array) {
    std::optional<double> number = value.getAsNumber();
    if (!number || !std::isfinite(*number) || *number < 0 || *number > most)
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
  const llvm::json::Object *model = object->getObject("model");
  for (const Size &size : kSizes) {
    std::optional<int64_t> value = model ? model->getInteger(size.name) : std::nullopt;
    if (!value) {
      message = "'model' has no whole number '" + std::string(size.name) + "'";
      return std::nullopt;
    }
    table.sizes[size.name] = *value;
  }
  table.precision = object->getString("precision").value_or("");
  if (table.precision != "fp32" && table.precision != "bf16") {
    message = "'precision' is neither \"fp32\" nor \"bf16\"";
    return std::nullopt;
  }
  auto rises = [](const std::vector<double> &numbers) {
    return std::adjacent_find(numbers.begin(), numbers.end(), std::greater_equal<>()) == numbers.end();
  };
  if (!readNumbers(object->getArray("contexts"), kMaxContext, table.contexts) || table.contexts.empty() ||
      !rises(table.contexts)) {
    message = "'contexts' is no list of rising numbers";
    return std::nullopt;
  }
  const llvm::json::Object *fixed = object->getObject("fixed");
  auto readFixed = [&](const char *name, double &seconds) {
    std::optional<double> number = fixed ? fixed->getNumber(name) : std::nullopt;
    seconds = number.value_or(-1);
    return seconds >= 0 && seconds <= kMaxCostSeconds;
  };
  if (!readFixed("head", table.head) || !readFixed("layer", table.layer)) {
    message = "'fixed' has no seconds 'head' and 'layer'";
    return std::nullopt;
  }
  const llvm::json::Array *mixers = object->getArray("mixers");
  for (const llvm::json::Value &value : mixers ? *mixers : llvm::json::Array()) {
    const llvm::json::Object *mixer = value.getAsObject();
    std::optional<llvm::StringRef> name = mixer ? mixer->getString("mixer") : std::nullopt;
    std::vector<double> seconds;
    if (!name || !readNumbers(mixer->getArray("seconds"), kMaxCostSeconds, seconds) ||
        seconds.size() != table.contexts.size()) {
      message = "'mixers' holds an entry without 'mixer' and a number of 'seconds' for each context";
      return std::nullopt;
    }
    spec::CostTable::Mixer line{mixer->getString("declaration").value_or("").str(), std::move(seconds)};
    if (!table.mixers.try_emplace(normalize(*name), std::move(line)).second) {
      message = "'mixers' holds '" + name->str() + "' twice";
      return std::nullopt;
    }
  }
  if (table.mixers.empty()) {
    message = "'mixers' is no list of mixers";
    return std::nullopt;
  }
  return table;
}

} // namespace

std::string spec::CostTable::differenceFrom(const ModelConfig &model) const {
  std::string difference;
  for (const Size &size : kSizes)
    if (int64_t measured = sizes.at(size.name), expected = model.*size.member; measured != expected)
      difference += (difference.empty() ? "" : ", ") + std::string(size.name) + " is " + std::to_string(measured) +
                    ", expected " + std::to_string(expected);
  return difference;
}

std::optional<double> spec::CostTable::secondsOf(const std::string &reference, llvm::StringRef declaration,
                                                 double context, std::string &message) const {
  auto found = mixers.find(normalize(reference));
  if (found == mixers.end()) {
    auto names = llvm::map_range(mixers, [](const auto &entry) -> const std::string & { return entry.first; });
    message = "the table of costs has no '" + normalize(reference) + "'; it has " + llvm::join(names, ", ");
    return std::nullopt;
  }
  if (found->second.declaration != declaration) {
    message = "the table of costs has another declaration of '" + found->first + "'";
    return std::nullopt;
  }
  if (context < contexts.front() || context > contexts.back()) {
    message = "the table of costs is of " + printNumber(contexts.front()) + " to " + printNumber(contexts.back()) +
              " tokens, which leaves out " + printNumber(context);
    return std::nullopt;
  }
  size_t above = 0;
  while (contexts[above] < context)
    ++above;
  const std::vector<double> &seconds = found->second.seconds;
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
