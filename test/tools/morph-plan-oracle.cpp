// SPDX-License-Identifier: Apache-2.0
// morph-plan-oracle PLAN [--precision f64|f32] [--size NAME=NUMBER]... [--tolerance X] [--seed N]
// Runs a plan on random weights and inputs and compares each of its gradients with autograd over its forward and, in
// fp64, with central differences at a few coordinates. Exit 0: all agree; 1: one does not; 2: wrong usage or plan.

#include "runtime/base/EndProcess.h"
#include "runtime/base/Log.h"
#include "test/runtime/Oracle.h"

#include <cstdlib>

using namespace morph;

namespace {

int usage(const std::string &message) {
  return reportError("morph-plan-oracle",
                     Status::invalid(message, "usage: morph-plan-oracle PLAN [--precision f64|f32] [--size B=2]... "
                                              "[--tolerance X] [--seed N]"));
}

} // namespace

static int run(int argc, char **argv) {
  OracleOptions options;
  options.coordinates = 2;
  std::string path;
  double tolerance = 0;
  for (int i = 1; i < argc; ++i) {
    std::string argument = argv[i], value = i + 1 < argc ? argv[i + 1] : "";
    if (argument.rfind("--", 0) != 0) {
      path = argument;
      continue;
    }
    if (value.empty())
      return usage("'" + argument + "' needs a value");
    ++i;
    if (argument == "--precision" && (value == "f64" || value == "f32"))
      options.precision = value == "f64" ? Precision::F64 : Precision::F32;
    else if (argument == "--size" && value.find('=') != std::string::npos)
      options.sizes[value.substr(0, value.find('='))] = std::atoll(value.substr(value.find('=') + 1).c_str());
    else if (argument == "--tolerance")
      tolerance = std::atof(value.c_str());
    else if (argument == "--seed")
      options.seed = static_cast<uint64_t>(std::atoll(value.c_str()));
    else
      return usage("unknown option '" + argument + " " + value + "'");
  }
  if (path.empty())
    return usage("no plan given");
  bool wide = options.precision == Precision::F64;
  // A gate has one gradient element, a sum of many that nearly cancel: fp32 leaves 1e-4 of it.
  if (tolerance == 0)
    tolerance = wide ? 1e-9 : 2e-4;

  StatusOr<plan::Plan> plan = plan::readPlan(path);
  if (!plan.ok())
    return reportError("morph-plan-oracle", plan.status());
  auto errors = checkGradients(*plan, options);
  if (!errors.ok())
    return reportError("morph-plan-oracle", errors.status());
  // Central differences of step 1e-5 are good to about 1e-6 of the gradient's scale.
  constexpr double differenceTolerance = 1e-5;
  int wrong = 0;
  double worst = 0;
  for (const GradientError &error : *errors) {
    bool agrees = error.autograd <= tolerance && error.finiteDifference <= differenceTolerance;
    wrong += !agrees;
    worst = std::max(worst, error.autograd);
    std::printf("%-5s grad.%s: autograd %.2e, differences %.2e, largest element %.2e\n", agrees ? "ok" : "WRONG",
                error.weight.c_str(), error.autograd, error.finiteDifference, error.largest);
  }
  std::printf("%zu gradients, %d wrong, largest error %.2e\n", errors->size(), wrong, worst);
  if (errors->empty())
    return reportError("morph-plan-oracle", Status::invalid("the plan has no gradients"));
  return wrong ? 1 : 0;
}

int main(int argc, char **argv) { endProcess(run(argc, argv)); }
