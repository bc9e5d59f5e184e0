// SPDX-License-Identifier: Apache-2.0
// A plan's large matrix products alone: what a step would take if everything else were free.

#ifndef MORPH_RUNTIME_BENCH_PRODUCTS_H
#define MORPH_RUNTIME_BENCH_PRODUCTS_H

#include "runtime/base/Json.h"
#include "runtime/bench/SeededData.h"
#include "runtime/plan/OpSizes.h"

namespace morph {

/// The products of matrices of a plan (plan::matrixProduct), each shape once, timed by every library at hand.
class ProductTimer {
public:
  /// Where the plan's factors are bf16 all libraries are candidates, else those that compute in fp32. On a GPU there is
  /// one.
  static StatusOr<ProductTimer> create(const plan::Plan &plan, const RunSizes &sizes, at::Device device = at::kCPU);

  /// Times every shape by every library once more; to be called between the samples of what is compared with it.
  void round();

  /// Seconds of all products of a step, each shape by the library with the least median so far.
  double seconds() const;
  /// A list of the shapes: rows, columns, inner, count, seconds of one, library, gflops a second.
  nlohmann::ordered_json describe() const;

private:
  struct Product {
    plan::MatrixProduct matrices;
    int64_t count = 0;
    at::Tensor a, b, halfA, halfB;            ///< [m,k] and [k,n] in fp32 and bf16; made by the first round.
    std::vector<std::vector<double>> seconds; ///< By library, one a round.
  };
  /// The library with the least median of a product, and that median.
  static std::pair<size_t, double> best(const Product &product);

  std::vector<Product> products_;
  bool halves_ = false;
  at::Device device_ = at::kCPU;
};

} // namespace morph

#endif // MORPH_RUNTIME_BENCH_PRODUCTS_H
