// SPDX-License-Identifier: Apache-2.0
// morph-plan-mutants [--count N] [--seed N] PLAN...
// Changes each plan at random N times and runs on tiny inputs what is still valid. Exit 0: none crashed; 2: wrong usage
// or plan. A crash shows the seed, with which `--count 1 --seed N` repeats it.

#include "runtime/base/EndProcess.h"
#include "runtime/base/Log.h"
#include "test/runtime/PlanMutants.h"

#include <cstdlib>

using namespace morph;

static int run(int argc, char **argv) {
  uint64_t count = 1000, first = 0;
  std::vector<std::string> paths;
  for (int i = 1; i < argc; ++i) {
    std::string argument = argv[i];
    if ((argument == "--count" || argument == "--seed") && i + 1 < argc)
      (argument == "--count" ? count : first) = std::strtoull(argv[++i], nullptr, 10);
    else if (argument.rfind("--", 0) == 0)
      return reportError("morph-plan-mutants", Status::invalid("unknown option '" + argument + "'"));
    else
      paths.push_back(argument);
  }
  if (paths.empty())
    return reportError("morph-plan-mutants", Status::invalid("no plan given"));
  for (const std::string &path : paths) {
    auto plan = plan::readPlan(path);
    if (!plan.ok())
      return reportError("morph-plan-mutants", plan.status());
    uint64_t valid = 0;
    for (uint64_t seed = first; seed < first + count; ++seed) {
      // Kept where a crash leaves it: the terminal.
      std::fprintf(stderr, "\r%s: seed %llu ", path.c_str(), static_cast<unsigned long long>(seed));
      valid += runMutant(*plan, seed);
    }
    std::fprintf(stderr, "\r");
    std::printf("%s: %llu mutants, %llu of them valid, none crashed\n", path.c_str(),
                static_cast<unsigned long long>(count), static_cast<unsigned long long>(valid));
  }
  return 0;
}

int main(int argc, char **argv) { endProcess(run(argc, argv)); }
