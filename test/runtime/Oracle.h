// SPDX-License-Identifier: Apache-2.0
// The oracle of the compiler's gradients: autograd over a plan's forward instructions, and finite differences.

#ifndef MORPH_TEST_RUNTIME_ORACLE_H
#define MORPH_TEST_RUNTIME_ORACLE_H

#include "runtime/exec/Executor.h"

namespace morph {

struct OracleOptions {
  Precision precision = Precision::F64;
  std::map<std::string, int64_t> sizes = {{"B", 2}, {"T", 7}, {"N", 5}};
  uint64_t seed = 1;
  int64_t coordinates = 3; ///< Of each gradient to check by finite differences (fp64 only).
};

/// One gradient's largest error, relative to the gradient's largest element.
struct GradientError {
  std::string weight;
  double autograd = 0;
  double finiteDifference = 0;
  double largest = 0; ///< The gradient's largest element: a gradient of zeros proves nothing.
};

/// Random values for the weights of a plan (norms near one, matrices scaled by their inputs, decays negative, gates
/// inside the simplex), and random inputs for the given sizes, all functions of the seed.
NamedTensors randomWeights(const plan::Plan &plan, uint64_t seed);
NamedTensors randomInputs(const plan::Plan &plan, const OracleOptions &options);

/// Runs the plan's gradients, autograd over its forward, and central differences of its output `loss`.
StatusOr<std::vector<GradientError>> checkGradients(const plan::Plan &plan, const OracleOptions &options);

} // namespace morph

#endif // MORPH_TEST_RUNTIME_ORACLE_H
