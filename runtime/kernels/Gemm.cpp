// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernels/Gemm.h"

#include "runtime/kernels/GemmChoice.h"
#include "runtime/kernels/GemmLibrary.h"
#include "runtime/kernels/GemmLoops.h"
#include "runtime/kernels/Parallel.h"
#include "runtime/plan/Workspace.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace morph {

/// b in a library's layout, and as it was given.
struct PackedWeight::Data {
  const GemmLibrary *library = nullptr;
  const void *plain = nullptr;
  std::shared_ptr<const void> packed; ///< Null: the library reads the plain one.
  int64_t bytes = 0;
};

namespace {

using plan::DType;

int64_t sizeOf(DType type) { return type == DType::F64 ? 8 : type == DType::BF16 ? 2 : 4; }

/// Rows of a matrix, untyped.
const void *rowsFrom(const void *matrix, int64_t row, int64_t stride, DType type) {
  return matrix ? static_cast<const char *>(matrix) + row * stride * sizeOf(type) : nullptr;
}
void *rowsFrom(void *matrix, int64_t row, int64_t stride, DType type) {
  return static_cast<char *>(matrix) + row * stride * sizeOf(type);
}

DType sumType(const GemmDescription &d) { return d.a == DType::F64 ? DType::F64 : DType::F32; }

GemmDescription withStrides(GemmDescription d) {
  if (d.strideA == 0)
    d.strideA = d.transposeA ? d.m : d.k;
  if (d.strideB == 0)
    d.strideB = d.transposeB ? d.k : d.n;
  if (d.strideC == 0)
    d.strideC = d.n;
  return d;
}

/// Sums of rows through the epilogue into c.
template <typename T, typename C>
void store(const GemmDescription &d, const T *sums, C *c, const Epilogue &e, int threads) {
  constexpr int64_t block = 16;
  parallelTasks(threads, (d.m + block - 1) / block, [&](int64_t task, int) {
    for (int64_t i = task * block; i < std::min(d.m, (task + 1) * block); ++i)
      epilogueRow(sums + i * d.n, static_cast<const T *>(e.bias),
                  e.gate ? static_cast<const C *>(e.gate) + i * e.strideGate : nullptr,
                  e.residual ? static_cast<const C *>(e.residual) + i * e.strideResidual : nullptr, c + i * d.strideC,
                  d.n);
  });
}

/// c's rows as the sums to add to.
template <typename T, typename C> void load(const GemmDescription &d, const C *c, T *sums) {
  for (int64_t i = 0; i < d.m; ++i)
    if constexpr (std::is_same_v<T, C>)
      std::copy(c + i * d.strideC, c + i * d.strideC + d.n, sums + i * d.n);
    else
      widenArray(c + i * d.strideC, sums + i * d.n, d.n);
}

/// Calls body with null pointers of the types of sums and of c.
template <typename Body> void withTypes(const GemmDescription &d, const Body &body) {
  if (d.c == DType::F64)
    body(static_cast<double *>(nullptr), static_cast<double *>(nullptr));
  else if (d.c == DType::BF16)
    body(static_cast<float *>(nullptr), static_cast<Bf16 *>(nullptr));
  else
    body(static_cast<float *>(nullptr), static_cast<float *>(nullptr));
}

/// Memory of the calling thread's own.
void *ownWorkspace(int64_t bytes) {
  struct Memory {
    void *data = nullptr;
    int64_t size = 0;
    ~Memory() { std::free(data); }
  };
  thread_local Memory memory;
  if (memory.size < bytes) {
    std::free(memory.data);
    memory.data = std::aligned_alloc(64, static_cast<size_t>(plan::alignedBytes(bytes)));
    memory.size = memory.data ? bytes : 0;
    if (!memory.data)
      throw std::bad_alloc();
  }
  return memory.data;
}

/// The library for a product. Kinds are wide: one that was chosen may not have this very product.
const GemmLibrary &libraryOf(const GemmDescription &d, int threads) {
  const GemmLibrary &library = chooseGemmLibrary(d, threads);
  GemmDescription sums = d;
  sums.c = sumType(d);
  return library.serves(sums, threads) ? library : *ownGemm();
}

void multiply(const GemmLibrary &library, const GemmDescription &d, const void *a, const void *b,
              const PackedWeight::Data *packed, void *c, const Epilogue &e, int threads) {
  const bool ofThis = packed && packed->packed && packed->library == &library;
  if (!ofThis || !library.runPacked(d, a, packed->packed.get(), c, e, threads))
    library.run(d, a, b, c, e, threads);
}

void run(GemmDescription d, const void *a, const void *b, const PackedWeight::Data *packed, void *c, Epilogue e,
         int threads, void *workspace) {
  if (d.m == 0 || d.n == 0)
    return;
  d = withStrides(d);
  if (e.gate && e.strideGate == 0)
    e.strideGate = d.n;
  if (e.residual && e.strideResidual == 0)
    e.strideResidual = d.n;
  if (insideTasks())
    threads = 1;
  // What is added to c in place is a product that accumulates.
  if (e.residual == c && e.residual && !e.gate && !d.accumulate && e.strideResidual == d.strideC) {
    e.residual = nullptr;
    d.accumulate = true;
  }
  const int64_t sumBytes = sizeOf(sumType(d));
  if (d.k > 0) {
    const GemmLibrary &library = libraryOf(d, threads);
    if (library.serves(d, threads) && (e.empty() || library.fuses(d, e, threads)) && e.residual != c) {
      multiply(library, d, a, b, packed, c, e, threads);
      return;
    }
  }

  // Blocks of rows through the workspace, each stored while it is in cache.
  const int64_t block = std::min(d.m, plan::kGemmWorkspaceRows);
  if (!workspace)
    workspace = ownWorkspace(plan::gemmWorkspace(d.m, d.n, sumBytes));
  for (int64_t begin = 0; begin < d.m; begin += block) {
    GemmDescription part = d;
    part.m = std::min(block, d.m - begin);
    void *target = rowsFrom(c, begin, d.strideC, d.c);
    withTypes(d, [&](auto *t, auto *u) {
      using T = std::remove_pointer_t<decltype(t)>;
      using C = std::remove_pointer_t<decltype(u)>;
      if (d.accumulate)
        load(part, static_cast<const C *>(target), static_cast<T *>(workspace));
      else if (d.k == 0)
        std::memset(workspace, 0, static_cast<size_t>(part.m * d.n * sumBytes));
    });
    if (d.k > 0) {
      GemmDescription sums = part;
      sums.c = sumType(d);
      sums.strideC = d.n;
      const void *rows =
          d.transposeA ? static_cast<const char *>(a) + begin * sizeOf(d.a) : rowsFrom(a, begin, d.strideA, d.a);
      multiply(libraryOf(sums, threads), sums, rows, b, packed, workspace, {}, threads);
    }
    Epilogue after = e;
    after.gate = rowsFrom(e.gate, begin, e.strideGate, d.c);
    after.residual = rowsFrom(e.residual, begin, e.strideResidual, d.c);
    withTypes(d, [&](auto *t, auto *u) {
      using T = std::remove_pointer_t<decltype(t)>;
      using C = std::remove_pointer_t<decltype(u)>;
      store(part, static_cast<const T *>(workspace), static_cast<C *>(target), after, threads);
    });
  }
}

} // namespace

int64_t PackedWeight::bytes() const { return data_ ? data_->bytes : 0; }

PackedWeight packWeight(const GemmDescription &description, const void *b, int threads) {
  const GemmDescription d = withStrides(description);
  auto data = std::make_shared<PackedWeight::Data>();
  data->plain = b;
  if (d.m > 0 && d.n > 0 && d.k > 0) {
    data->library = &libraryOf(d, threads);
    data->packed = data->library->pack(d, b, threads, data->bytes);
  }
  return PackedWeight(std::move(data));
}

void gemm(const GemmDescription &description, const void *a, const void *b, void *c, const Epilogue &epilogue,
          int threads, void *workspace) {
  run(description, a, b, nullptr, c, epilogue, threads, workspace);
}

void gemm(const GemmDescription &description, const void *a, const PackedWeight &b, void *c, const Epilogue &epilogue,
          int threads, void *workspace) {
  run(description, a, b.data()->plain, b.data(), c, epilogue, threads, workspace);
}

void gemmBatch(const std::vector<GemmProblem> &problems, int threads) {
  double all = 0, most = 0;
  for (const GemmProblem &p : problems) {
    const double cost = static_cast<double>(p.description.m) * p.description.n * p.description.k;
    all += cost;
    most = std::max(most, cost);
  }
  // Side by side nobody waits at the end of each product, but the last one may run alone: worth it while no product is
  // longer than a third of a thread's share.
  const bool sideBySide = threads > 1 && 3 * most * threads <= all;
  auto compute = [&](const GemmProblem &p, int onThreads) {
    gemm(p.description, p.a, p.b, p.c, p.epilogue, onThreads);
  };
  if (!sideBySide) {
    for (const GemmProblem &p : problems)
      compute(p, threads);
    return;
  }
  // What a first product measures is measured here, not beside others.
  for (const GemmProblem &p : problems)
    if (p.description.m > 0 && p.description.n > 0 && p.description.k > 0)
      chooseGemmLibrary(withStrides(p.description), 1);
  std::vector<const GemmProblem *> order;
  for (const GemmProblem &p : problems)
    order.push_back(&p);
  std::stable_sort(order.begin(), order.end(), [](const GemmProblem *x, const GemmProblem *y) {
    auto cost = [](const GemmDescription &d) { return static_cast<double>(d.m) * d.n * d.k; };
    return cost(x->description) > cost(y->description);
  });
  parallelTasks(threads, static_cast<int64_t>(order.size()),
                [&](int64_t task, int) { compute(*order[static_cast<size_t>(task)], 1); });
}

const std::vector<const GemmLibrary *> &gemmLibraryList() {
  static const std::vector<const GemmLibrary *> all = [] {
    std::vector<const GemmLibrary *> list = {ownGemm()};
    for (const GemmLibrary *library : {mklGemm(), oneDnnGemm()})
      if (library)
        list.push_back(library);
    return list;
  }();
  return all;
}

std::string gemmLibraries() {
  std::string text;
  for (const GemmLibrary *library : gemmLibraryList())
    text += (text.empty() ? "" : ", ") + library->version();
  return text;
}

} // namespace morph
