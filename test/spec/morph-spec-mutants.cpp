// SPDX-License-Identifier: Apache-2.0
// Reads a resolved spec, and every spec that differs from it in one member: removed, of another type, or added. Each of
// those must be refused as wrong input with the member's name. Prints how many were tried; exit code 1 after a failure.

#include "runtime/base/Log.h"
#include "runtime/spec/Spec.h"

#include <cstdio>

using namespace morph;

namespace {

int tried = 0, failures = 0;

/// Members that may be absent.
bool isOptional(const std::string &path) {
  // What a phase does not say, its tasks do.
  const bool isOfPhase = path.rfind("pretrain.phase[", 0) == 0;
  return path == "arch" || path == "model.memory_limit" || path == "pretrain" || path == "pretrain.base" ||
         (isOfPhase && (path.rfind("].needles") != path.npos || path.rfind("].background") != path.npos));
}

void expectRefused(const Json &spec, const std::string &path, const std::string &what) {
  ++tried;
  const StatusOr<ResolvedSpec> read = readSpec(spec, "resolved.json");
  const bool named = !read.ok() && read.status().message().find("resolved.json: '" + path) == 0;
  if (named && read.status().exitCode() == 2)
    return;
  ++failures;
  std::printf("%s %s: %s\n", path.c_str(), what.c_str(), read.ok() ? "accepted" : read.status().message().c_str());
}

/// Mutants of the members of `object`, which is a part of `spec`.
void mutate(Json &spec, Json &object, const std::string &path) {
  const auto join = [&](const std::string &name) { return path.empty() ? name : path + "." + name; };
  object["unknown"] = "x";
  expectRefused(spec, join("unknown"), "added");
  object.erase("unknown");
  std::vector<std::string> names;
  for (const auto &[name, value] : object.items())
    names.push_back(name);
  for (const std::string &name : names) {
    const Json value = object[name];
    if (!isOptional(join(name))) {
      object.erase(name);
      expectRefused(spec, join(name), "removed");
    }
    // An object is no value of any key, null no section.
    object[name] = value.is_object() ? Json() : Json::object();
    expectRefused(spec, join(name), "of another type");
    object[name] = value;
    if (value.is_object())
      mutate(spec, object[name], join(name));
    for (size_t i = 0; value.is_array() && i < value.size(); ++i)
      if (value[i].is_object())
        mutate(spec, object[name][i], join(name) + "[" + std::to_string(i) + "]");
  }
}

} // namespace

int main(int argc, char **argv) {
  if (argc != 2)
    return reportError("morph-spec-mutants", Status::invalid("expected the file of a resolved spec"));
  const StatusOr<Json> json = readJson(argv[1]);
  if (!json.ok())
    return reportError("morph-spec-mutants", json.status());
  const StatusOr<ResolvedSpec> read = readSpec(*json, argv[1]);
  if (!read.ok())
    return reportError("morph-spec-mutants", read.status());
  if (toJson(*read) != *json) {
    std::printf("what was read is written as %s\n", Json::diff(*json, toJson(*read)).dump(2).c_str());
    return 1;
  }
  Json spec = *json;
  mutate(spec, spec, "");
  std::printf("%d mutants, %d not refused\n", tried, failures);
  return failures ? 1 : 0;
}
