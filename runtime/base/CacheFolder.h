// SPDX-License-Identifier: Apache-2.0
// The folder of what can be made again: models, environments, compiled kernels, measured choices.

#ifndef MORPH_RUNTIME_BASE_CACHEFOLDER_H
#define MORPH_RUNTIME_BASE_CACHEFOLDER_H

#include <cstdlib>
#include <string>

namespace morph {

/// ${MORPH_CACHE:-~/.cache/morph}, as tools/setup has it; empty where the environment has neither MORPH_CACHE nor HOME.
inline std::string cacheFolder() {
  if (const char *cache = std::getenv("MORPH_CACHE"); cache && *cache)
    return cache;
  const char *home = std::getenv("HOME");
  return home && *home ? std::string(home) + "/.cache/morph" : "";
}

} // namespace morph

#endif // MORPH_RUNTIME_BASE_CACHEFOLDER_H
