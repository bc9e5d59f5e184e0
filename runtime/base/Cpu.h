// SPDX-License-Identifier: Apache-2.0
// The name of this machine's CPU, for what is measured on it.

#ifndef MORPH_RUNTIME_BASE_CPU_H
#define MORPH_RUNTIME_BASE_CPU_H

#include <fstream>
#include <map>
#include <string>

namespace morph {

/// "AMD EPYC (family 25, model 17)": virtual machines often hide which EPYC, family and model tell. "unknown" without
/// /proc/cpuinfo.
inline std::string cpuName() {
  std::ifstream file("/proc/cpuinfo");
  std::map<std::string, std::string> fields; // Of the first core.
  std::string line;
  while (std::getline(file, line) && !line.empty()) {
    const size_t colon = line.find(": ");
    if (colon != std::string::npos)
      fields.emplace(line.substr(0, line.find_last_not_of(" \t", colon - 1) + 1), line.substr(colon + 2));
  }
  if (fields.count("model name") == 0)
    return "unknown";
  return fields["model name"] + " (family " + fields["cpu family"] + ", model " + fields["model"] + ")";
}

} // namespace morph

#endif // MORPH_RUNTIME_BASE_CPU_H
