// SPDX-License-Identifier: Apache-2.0
#include "runtime/plan/DeviceCodeJson.h"

#include <algorithm>
#include <charconv>
#include <string_view>

namespace morph::plan {

namespace {

constexpr int64_t kMost = int64_t(1) << 62;

using OrderedJson = nlohmann::ordered_json;

const std::pair<LaunchArgument::Kind, const char *> kKinds[] = {{LaunchArgument::Kind::Operand, "operand"},
                                                                {LaunchArgument::Kind::Result, "result"},
                                                                {LaunchArgument::Kind::Scratch, "scratch"},
                                                                {LaunchArgument::Kind::Size, "size"},
                                                                {LaunchArgument::Kind::Document, "document"}};

bool isIndexed(LaunchArgument::Kind kind) {
  return kind == LaunchArgument::Kind::Operand || kind == LaunchArgument::Kind::Result;
}
bool isSized(LaunchArgument::Kind kind) {
  return kind == LaunchArgument::Kind::Scratch || kind == LaunchArgument::Kind::Size;
}

//===----------------------------------------------------------------------===//
// Reading
//===----------------------------------------------------------------------===//

template <typename Function>
Status each(const Json &object, const char *key, const std::string &where, Function &&function) {
  auto found = object.find(key);
  if (found == object.end() || !found->is_array())
    return Status::invalid(where + ": '" + key + "' must be an array");
  size_t i = 0;
  for (const Json &element : *found)
    MORPH_RETURN_IF_ERROR(function(element, where + ": " + key + "[" + std::to_string(i++) + "]"));
  return Status();
}

StatusOr<SizeFormula> readFormula(const Json &json, const std::string &where) {
  auto isWhole = [](const Json &number) { return detail::JsonKind<int64_t>::is(number); };
  if (isWhole(json))
    return constantFormula(json.get<int64_t>());
  const Status wrong = Status::invalid(
      where + ": a size must be a number, or terms [times, scale, [names], per], not " + jsonExcerpt(json));
  if (!json.is_array())
    return wrong;
  SizeFormula formula;
  for (const Json &term : json) {
    if (!term.is_array() || term.size() != 4 || !isWhole(term[0]) || !isWhole(term[1]) || !term[2].is_array() ||
        !isWhole(term[3]))
      return wrong;
    SizeTerm read{term[0].get<int64_t>(), term[1].get<int64_t>(), {}, term[3].get<int64_t>()};
    for (const Json &name : term[2]) {
      if (!name.is_string())
        return wrong;
      read.of.push_back(name.get<std::string>());
    }
    formula.push_back(std::move(read));
  }
  return formula;
}

StatusOr<SizeFormula> readFormulaOf(const Json &object, const char *key, const std::string &where) {
  auto found = object.find(key);
  if (found == object.end())
    return Status::invalid(where + ": '" + key + "' is missing");
  return readFormula(*found, where + ": " + key);
}

StatusOr<LaunchArgument> readArgument(const Json &json, const std::string &where) {
  LaunchArgument argument;
  MORPH_ASSIGN_OR_RETURN(const std::string kind, jsonGet<std::string>(json, "kind", where));
  const auto *found =
      std::find_if(std::begin(kKinds), std::end(kKinds), [&](const auto &known) { return kind == known.second; });
  if (found == std::end(kKinds))
    return Status::invalid(where + ": unknown kind '" + kind + "'",
                           "known are operand, result, scratch, size, document");
  argument.kind = found->first;
  if (isIndexed(argument.kind)) {
    MORPH_ASSIGN_OR_RETURN(argument.index, jsonGet<int64_t>(json, "index", where));
  } else if (isSized(argument.kind)) {
    MORPH_ASSIGN_OR_RETURN(argument.size, readFormulaOf(json, "size", where));
  }
  return argument;
}

StatusOr<DeviceLaunch> readLaunch(const Json &json, const std::string &where) {
  DeviceLaunch launch;
  MORPH_ASSIGN_OR_RETURN(launch.kernel, jsonGet<std::string>(json, "kernel", where));
  MORPH_ASSIGN_OR_RETURN(launch.threads, jsonGet<int64_t>(json, "threads", where));
  MORPH_ASSIGN_OR_RETURN(launch.sharedBytes, jsonGetOr<int64_t>(json, "shared", 0, where));
  size_t axis = 0;
  MORPH_RETURN_IF_ERROR(each(json, "grid", where, [&](const Json &size, const std::string &at) -> Status {
    if (axis == launch.grid.size())
      return Status::invalid(at + ": a grid has three sizes");
    MORPH_ASSIGN_OR_RETURN(launch.grid[axis++], readFormula(size, at));
    return Status();
  }));
  if (axis != launch.grid.size())
    return Status::invalid(where + ": a grid has three sizes");
  MORPH_RETURN_IF_ERROR(each(json, "arguments", where, [&](const Json &argument, const std::string &at) -> Status {
    MORPH_ASSIGN_OR_RETURN(LaunchArgument read, readArgument(argument, at));
    launch.arguments.push_back(std::move(read));
    return Status();
  }));
  return launch;
}

//===----------------------------------------------------------------------===//
// Writing
//===----------------------------------------------------------------------===//

OrderedJson toJson(const SizeFormula &formula) {
  if (formula.size() == 1 && formula[0].of.empty() && formula[0].scale == 1 && formula[0].per == 1)
    return formula[0].times;
  OrderedJson json = OrderedJson::array();
  for (const SizeTerm &term : formula)
    json.push_back({term.times, term.scale, term.of, term.per});
  return json;
}

OrderedJson toJson(const LaunchArgument &argument) {
  OrderedJson json;
  for (const auto &[kind, name] : kKinds)
    if (kind == argument.kind)
      json["kind"] = name;
  if (isIndexed(argument.kind))
    json["index"] = argument.index;
  else if (isSized(argument.kind))
    json["size"] = toJson(argument.size);
  return json;
}

OrderedJson toJson(const DeviceLaunch &launch) {
  OrderedJson json = {{"kernel", launch.kernel}, {"threads", launch.threads}};
  if (launch.sharedBytes > 0)
    json["shared"] = launch.sharedBytes;
  json["grid"] = OrderedJson::array();
  for (const SizeFormula &size : launch.grid)
    json["grid"].push_back(toJson(size));
  json["arguments"] = OrderedJson::array();
  for (const LaunchArgument &argument : launch.arguments)
    json["arguments"].push_back(toJson(argument));
  return json;
}

} // namespace

StatusOr<int64_t> evaluate(const SizeFormula &formula, const std::map<std::string, int64_t> &sizes) {
  const Status large = Status::invalid("a size of the device's code is out of range");
  int64_t sum = 0;
  for (const SizeTerm &term : formula) {
    int64_t product = term.scale, part = 0;
    for (const std::string &name : term.of) {
      const auto size = sizes.find(name);
      if (size == sizes.end())
        return Status::invalid("the device's code names a size '" + name + "', which the program does not have");
      if (__builtin_mul_overflow(product, size->second, &product))
        return large;
    }
    if (product < 0 || product > kMost || term.per < 1 || term.per > kMost)
      return large;
    if (__builtin_mul_overflow(term.times, (product + term.per - 1) / term.per, &part) ||
        __builtin_add_overflow(sum, part, &sum) || sum < 0 || sum > kMost)
      return large;
  }
  return sum;
}

int capabilityOf(const std::string &target) {
  constexpr std::string_view kPrefix = "sm_";
  int capability = 0;
  const char *end = target.data() + target.size();
  if (target.rfind(kPrefix, 0) != 0)
    return 0;
  const auto [stop, error] = std::from_chars(target.data() + kPrefix.size(), end, capability);
  return error == std::errc() && stop == end ? std::max(capability, 0) : 0;
}

StatusOr<DeviceCode> readDeviceCode(const Json &json, const std::string &where) {
  DeviceCode code;
  MORPH_ASSIGN_OR_RETURN(code.target, jsonGet<std::string>(json, "target", where));
  MORPH_ASSIGN_OR_RETURN(code.ptx, jsonGet<std::string>(json, "ptx", where));
  MORPH_RETURN_IF_ERROR(each(json, "instructions", where, [&](const Json &element, const std::string &at) -> Status {
    InstructionCode instruction;
    MORPH_RETURN_IF_ERROR(each(element, "launches", at, [&](const Json &launch, const std::string &place) -> Status {
      MORPH_ASSIGN_OR_RETURN(DeviceLaunch read, readLaunch(launch, place));
      instruction.launches.push_back(std::move(read));
      return Status();
    }));
    if (element.contains("scratch")) {
      MORPH_ASSIGN_OR_RETURN(instruction.scratchBytes, readFormulaOf(element, "scratch", at));
    }
    code.instructions.push_back(std::move(instruction));
    return Status();
  }));
  return code;
}

std::string printDeviceCode(const DeviceCode &code) {
  std::string text = "{\n    \"target\": " + Json(code.target).dump() + ",\n    \"ptx\": " + Json(code.ptx).dump() +
                     ",\n    \"instructions\": [\n";
  for (size_t i = 0; i < code.instructions.size(); ++i) {
    const InstructionCode &instruction = code.instructions[i];
    OrderedJson json = {{"launches", OrderedJson::array()}};
    for (const DeviceLaunch &launch : instruction.launches)
      json["launches"].push_back(toJson(launch));
    if (!instruction.scratchBytes.empty())
      json["scratch"] = toJson(instruction.scratchBytes);
    text += "      " + json.dump() + (i + 1 < code.instructions.size() ? ",\n" : "\n");
  }
  return text + "    ]\n  }";
}

} // namespace morph::plan
