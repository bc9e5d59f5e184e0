// SPDX-License-Identifier: Apache-2.0

#include "tools/morph/Machine.h"

#include "tools/morph/Compiler.h"

#include <algorithm>
#include <iterator>
#include <sstream>

using namespace morph;

static StatusOr<Machine> fromJson(const Json &json, const std::string &where) {
  Machine machine;
  MORPH_ASSIGN_OR_RETURN(machine.threads, jsonGet<int64_t>(json, "threads", where));
  MORPH_ASSIGN_OR_RETURN(machine.instructionSet, jsonGet<std::string>(json, "instruction_set", where));
  MORPH_ASSIGN_OR_RETURN(machine.device, jsonGet<std::string>(json, "device", where));
  MORPH_ASSIGN_OR_RETURN(machine.target, jsonGet<std::string>(json, "target", where));
  return machine;
}

/// The words of `text` that are not in `other`, with commas between.
static std::string wordsBeyond(const std::string &text, const std::string &other) {
  const auto wordsOf = [](std::string words) {
    std::replace(words.begin(), words.end(), ',', ' ');
    std::istringstream stream(words);
    return std::vector<std::string>(std::istream_iterator<std::string>(stream), {});
  };
  const std::vector<std::string> known = wordsOf(other);
  std::string beyond;
  for (const std::string &word : wordsOf(text))
    if (std::find(known.begin(), known.end(), word) == known.end())
      beyond += (beyond.empty() ? "" : ", ") + word;
  return beyond;
}

std::string Machine::differencesFrom(const Machine &other) const {
  std::string text;
  const auto add = [&](const std::string &what) { text += (text.empty() ? "" : ", ") + what; };
  if (threads != other.threads)
    add("with " + std::to_string(threads) + (threads == 1 ? " thread" : " threads"));
  if (instructionSet != other.instructionSet) {
    const std::string beyond = wordsBeyond(instructionSet, other.instructionSet);
    add(beyond.empty() ? "on a CPU without " + wordsBeyond(other.instructionSet, instructionSet)
                       : "on a CPU with " + beyond);
  }
  if (device != other.device)
    add("on " + device);
  return text;
}

StatusOr<Runtime> morph::askRuntime(const Toolchain &tools, int64_t threads, const std::string &device) {
  MORPH_ASSIGN_OR_RETURN(const std::string program, tools.program("morph-run"));
  const Command command{{program, "machine", "--threads", std::to_string(threads), "--device", device},
                        /*captureOutput=*/true};
  MORPH_ASSIGN_OR_RETURN(const ProcessResult result, runProcess(command));
  MORPH_RETURN_IF_ERROR(toStatus(result, command));
  const std::string where = "the output of morph-run machine";
  MORPH_ASSIGN_OR_RETURN(const Json json, parseJson(result.output, where));
  Runtime runtime;
  MORPH_ASSIGN_OR_RETURN(runtime.machine, fromJson(json, where));
  MORPH_ASSIGN_OR_RETURN(runtime.libtorch, jsonGet<std::string>(json, "libtorch", where));
  MORPH_ASSIGN_OR_RETURN(runtime.deviceBytes, jsonGet<int64_t>(json, "device_bytes", where));
  MORPH_ASSIGN_OR_RETURN(runtime.devices, jsonGet<int64_t>(json, "devices", where));
  return runtime;
}

StatusOr<std::string> morph::targetOf(const Toolchain &tools, const std::string &device) {
  if (device == "cpu")
    return std::string();
  MORPH_ASSIGN_OR_RETURN(const Runtime runtime, askRuntime(tools, /*threads=*/0, device));
  return runtime.machine.target;
}

StatusOr<Machine> morph::readMachine(const fs::path &file) {
  MORPH_ASSIGN_OR_RETURN(const Json json, readJson(file.string()));
  return fromJson(json, file.string());
}
