// SPDX-License-Identifier: Apache-2.0
// Times matrix products x [m,k] times w [n,k] transposed by every library that is present, and prints one JSON object a
// line with the best GFLOP/s of each, measured in turn. Not a test: figures depend on the machine; compare them in one
// run.
//
// Usage: gemm-bench [m,k,n ...]     threads: OMP_NUM_THREADS

#include "runtime/kernels/GemmLibrary.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

using morph::GemmDescription;
using morph::GemmLibrary;
using morph::plan::DType;

void bench(int64_t m, int64_t k, int64_t n, DType type, const char *name) {
  const int threads = at::get_num_threads();
  GemmDescription d;
  d.m = m;
  d.n = n;
  d.k = k;
  d.transposeB = true;
  d.a = d.b = type;
  d.strideA = d.strideB = k;
  d.strideC = n;
  const at::ScalarType element = type == DType::BF16 ? at::kBFloat16 : at::kFloat;
  const at::Tensor a = at::randn({m, k}).to(element), b = at::randn({n, k}).to(element), c = at::empty({m, n});
  const double flops = 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  const int runs = static_cast<int>(std::clamp(4e9 / flops, 5.0, 200.0));
  const std::vector<const GemmLibrary *> &libraries = morph::gemmLibraryList();
  std::vector<double> best(libraries.size(), 1e9);
  for (int run = 0; run <= runs; ++run)
    for (size_t i = 0; i < libraries.size(); ++i) {
      if (!libraries[i]->serves(d, threads))
        continue;
      const auto begin = std::chrono::steady_clock::now();
      libraries[i]->run(d, a.const_data_ptr(), b.const_data_ptr(), c.mutable_data_ptr(), {}, threads);
      const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
      if (run > 0)
        best[i] = std::min(best[i], seconds);
    }
  std::printf("{\"m\": %ld, \"k\": %ld, \"n\": %ld, \"type\": \"%s\", \"threads\": %d", m, k, n, name, threads);
  for (size_t i = 0; i < libraries.size(); ++i)
    if (best[i] < 1e9)
      std::printf(", \"%s\": %.1f", libraries[i]->name(), flops / best[i] / 1e9);
  std::printf("}\n");
}

} // namespace

int main(int argc, char **argv) {
  std::vector<std::vector<int64_t>> shapes = {{1024, 576, 1536},  {1024, 1536, 576}, {1024, 512, 2048},
                                              {1024, 576, 49152}, {64, 576, 1536},   {1, 576, 1536},
                                              {1, 576, 49152},    {64, 64, 64}};
  if (argc > 1)
    shapes.clear();
  for (int i = 1; i < argc; ++i) {
    long m = 0, k = 0, n = 0;
    if (std::sscanf(argv[i], "%ld,%ld,%ld", &m, &k, &n) != 3 || m <= 0 || k <= 0 || n <= 0) {
      std::fprintf(stderr, "gemm-bench: error: expected m,k,n, got '%s'\n", argv[i]);
      return 2;
    }
    shapes.push_back({m, k, n});
  }
  for (const auto &shape : shapes) {
    bench(shape[0], shape[1], shape[2], DType::F32, "fp32");
    bench(shape[0], shape[1], shape[2], DType::BF16, "bf16");
  }
  return 0;
}
