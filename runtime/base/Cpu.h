// SPDX-License-Identifier: Apache-2.0
// What Linux says of this machine's CPU, for what is measured on it.

#ifndef MORPH_RUNTIME_BASE_CPU_H
#define MORPH_RUNTIME_BASE_CPU_H

#include <fstream>
#include <map>
#include <string>

namespace morph {

/// The fields of the first core in /proc/cpuinfo ("model name", "flags", ...); none without that file.
inline std::map<std::string, std::string> cpuFields() {
  std::ifstream file("/proc/cpuinfo");
  std::map<std::string, std::string> fields;
  std::string line;
  while (std::getline(file, line) && !line.empty()) {
    const size_t colon = line.find(": ");
    if (colon != std::string::npos)
      fields.emplace(line.substr(0, line.find_last_not_of(" \t", colon - 1) + 1), line.substr(colon + 2));
  }
  return fields;
}

/// "AMD EPYC (family 25, model 17)": virtual machines often hide which EPYC, family and model tell. "unknown" where
/// Linux does not say.
inline std::string cpuName() {
  std::map<std::string, std::string> fields = cpuFields();
  if (fields.count("model name") == 0)
    return "unknown";
  return fields["model name"] + " (family " + fields["cpu family"] + ", model " + fields["model"] + ")";
}

} // namespace morph

#endif // MORPH_RUNTIME_BASE_CPU_H
