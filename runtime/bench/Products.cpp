// SPDX-License-Identifier: Apache-2.0

#include "runtime/bench/Products.h"

#include "runtime/bench/Sampler.h"
#include "runtime/device/TorchDevice.h"
#include "runtime/kernels/Gemm.h"
#include "runtime/plan/InferShapes.h"
#include "runtime/weights/Initialize.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <tuple>

namespace morph {

namespace {

/// On a GPU, where new memory would take longer than the product.
void cudaProduct(const at::Tensor &a, const at::Tensor &b, at::Tensor &c) {
  if (!c.defined())
    c = at::empty({a.size(0), b.size(1)}, a.options().dtype(at::kFloat));
  CudaProduct d;
  d.m = a.size(0), d.n = b.size(1), d.k = a.size(1);
  d.transposeA = !a.is_contiguous(), d.transposeB = !b.is_contiguous();
  d.factors = a.scalar_type() == at::kBFloat16 ? CudaType::BF16 : CudaType::F32;
  const Status status =
      cudaDeviceOf(a.device())
          .product(d, a.const_data_ptr(), b.const_data_ptr(), nullptr, c.mutable_data_ptr(), "a product");
  TORCH_CHECK(status.ok(), status.message());
}

/// One way to compute a [m,k] times b [k,n], each contiguous or the transpose of a contiguous matrix.
struct Library {
  const char *name;
  bool half; ///< Reads bf16.
  bool cuda; ///< On a GPU, else on the CPU.
  void (*multiply)(const at::Tensor &a, const at::Tensor &b, at::Tensor &c);
};

/// By what a plan's products are computed by: oneDNN, MKL or our own loops.
void gemmProduct(const at::Tensor &a, const at::Tensor &b, at::Tensor &c) {
  c = at::empty({a.size(0), b.size(1)}, at::kFloat);
  GemmDescription d;
  d.m = a.size(0), d.n = b.size(1), d.k = a.size(1);
  d.transposeA = !a.is_contiguous(), d.transposeB = !b.is_contiguous();
  d.factors = a.scalar_type() == at::kBFloat16 ? plan::DType::BF16 : plan::DType::F32;
  gemm(d, a.const_data_ptr(), b.const_data_ptr(), nullptr, c.mutable_data_ptr(), at::get_num_threads());
}

/// A further library is one line here.
const Library kLibraries[] = {
    {"at::mm fp32", false, false, [](const at::Tensor &a, const at::Tensor &b, at::Tensor &c) { c = at::mm(a, b); }},
    {"at::mm bf16", true, false, [](const at::Tensor &a, const at::Tensor &b, at::Tensor &c) { c = at::mm(a, b); }},
    {"gemm fp32", false, false, gemmProduct},
    {"gemm bf16", true, false, gemmProduct},
    {"cuBLASLt fp32", false, true, cudaProduct},
    {"cuBLASLt bf16", true, true, cudaProduct},
};

at::Tensor matrix(int64_t rows, int64_t columns, bool transposed, const std::string &name) {
  return transposed ? seededNormal({columns, rows}, 1, 0, name).t() : seededNormal({rows, columns}, 1, 0, name);
}

} // namespace

StatusOr<ProductTimer> ProductTimer::create(const plan::Plan &plan, const RunSizes &sizes, at::Device device) {
  MORPH_ASSIGN_OR_RETURN(const auto shapes, plan::resolveShapes(plan, sizes.bound(plan)));
  ProductTimer timer;
  timer.device_ = device;
  std::map<std::tuple<int64_t, int64_t, int64_t, bool, bool>, size_t> known;
  for (const plan::Instruction &instruction : plan.instructions) {
    const auto matrices = plan::matrixProduct({plan, instruction, shapes});
    if (!matrices)
      continue;
    timer.halves_ |= matrices->factors == plan::DType::BF16;
    const auto key = std::tuple(matrices->m, matrices->n, matrices->k, matrices->transposedA, matrices->transposedB);
    const auto [found, added] = known.emplace(key, timer.products_.size());
    if (added) {
      Product product;
      product.matrices = *matrices;
      product.seconds.resize(std::size(kLibraries));
      timer.products_.push_back(std::move(product));
    }
    ++timer.products_[found->second].count;
  }
  return timer;
}

void ProductTimer::round() {
  for (Product &product : products_) {
    if (!product.a.defined()) {
      product.a = matrix(product.matrices.m, product.matrices.k, product.matrices.transposedA, "a").to(device_);
      product.b = matrix(product.matrices.k, product.matrices.n, product.matrices.transposedB, "b").to(device_);
      if (halves_) {
        product.halfA = product.a.to(at::kBFloat16);
        product.halfB = product.b.to(at::kBFloat16);
      }
    }
    for (size_t l = 0; l < std::size(kLibraries); ++l) {
      const Library &library = kLibraries[l];
      if ((library.half && !halves_) || library.cuda != isCuda(device_))
        continue;
      const at::Tensor &a = library.half ? product.halfA : product.a, &b = library.half ? product.halfB : product.b;
      at::Tensor c;
      library.multiply(a, b, c); // Into the caches, as far as it goes.
      if (library.cuda) {
        constexpr int64_t times = 8;
        const StatusOr<double> seconds = cudaDeviceOf(device_).secondsOf([&] {
          for (int64_t i = 0; i < times; ++i)
            library.multiply(a, b, c);
          return Status();
        });
        TORCH_CHECK(seconds.ok(), Status(seconds.status()).message());
        product.seconds[l].push_back(*seconds / times);
        continue;
      }
      // Small ones several times, so that the clock counts for nothing.
      Sampler sampler(/*warmup=*/1, /*repeat=*/1, /*leastSeconds=*/2e-3, [] {});
      do
        library.multiply(a, b, c);
      while (!sampler.stepDone());
      product.seconds[l].push_back(sampler.seconds().front());
    }
  }
}

std::pair<size_t, double> ProductTimer::best(const Product &product) {
  std::pair<size_t, double> best{0, 0};
  bool any = false;
  for (size_t l = 0; l < product.seconds.size(); ++l) {
    if (product.seconds[l].empty())
      continue;
    const double seconds = median(product.seconds[l]);
    if (!any || seconds < best.second)
      best = {l, seconds};
    any = true;
  }
  return best;
}

double ProductTimer::seconds() const {
  double sum = 0;
  for (const Product &product : products_)
    sum += static_cast<double>(product.count) * best(product).second;
  return sum;
}

nlohmann::ordered_json ProductTimer::describe() const {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Product &product : products_) {
    const auto [library, seconds] = best(product);
    const double flops = 2 * static_cast<double>(product.matrices.m) * static_cast<double>(product.matrices.n) *
                         static_cast<double>(product.matrices.k);
    list.push_back({{"rows", product.matrices.m},
                    {"columns", product.matrices.n},
                    {"inner", product.matrices.k},
                    {"count", product.count},
                    {"seconds", seconds},
                    {"library", kLibraries[library].name},
                    {"gflops_per_second", seconds > 0 ? flops / seconds / 1e9 : 0}});
  }
  return list;
}

} // namespace morph
