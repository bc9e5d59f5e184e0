// SPDX-License-Identifier: Apache-2.0
// Products by oneDNN, where Morph is built with its headers (MORPH_HAVE_ONEDNN) and the machine has the library. It
// uses AVX512-BF16 and AMX on any vendor's processor.
//
// The library is opened when it is first asked for, and bound to itself: LibTorch carries another version of oneDNN and
// exports instances of templates that both have, with other contents.

#include "runtime/kernels/GemmLibrary.h"

#ifdef MORPH_HAVE_ONEDNN

#include "runtime/kernels/Parallel.h"

#include <dnnl.h>

#include <dlfcn.h>

#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <shared_mutex>
#include <tuple>
#include <utility>

namespace morph {
namespace {

/// AddressSanitizer refuses a library that is bound to itself.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kSanitized = true;
#elif defined(__has_feature)
constexpr bool kSanitized = __has_feature(address_sanitizer);
#else
constexpr bool kSanitized = false;
#endif

/// The functions that are used here; `ready` where the library has them all.
struct Api {
  // clang-format off
#define MORPH_DNNL_FUNCTIONS(F) \
  F(version) F(engine_create) F(stream_create) F(stream_wait) F(memory_desc_init_by_strides) \
  F(matmul_desc_init) F(primitive_desc_create) F(primitive_desc_destroy) F(primitive_desc_query) F(primitive_create) \
  F(primitive_destroy) F(primitive_execute) F(memory_create) F(memory_destroy)
// clang-format on
#define MORPH_DNNL_MEMBER(name) decltype(&dnnl_##name) name = nullptr;
  MORPH_DNNL_FUNCTIONS(MORPH_DNNL_MEMBER)
#undef MORPH_DNNL_MEMBER
  bool ready = false;
  dnnl_engine_t engine = nullptr;

  Api() {
    if (kSanitized)
      return;
    const std::string file = "libdnnl.so." + std::to_string(DNNL_VERSION_MAJOR);
    void *library = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
    if (!library)
      return;
#define MORPH_DNNL_FIND(name)                                                                                          \
  name = reinterpret_cast<decltype(name)>(::dlsym(library, "dnnl_" #name));                                            \
  if (!name)                                                                                                           \
    return;
    MORPH_DNNL_FUNCTIONS(MORPH_DNNL_FIND)
#undef MORPH_DNNL_FIND
#undef MORPH_DNNL_FUNCTIONS
    ready = engine_create(&engine, dnnl_cpu, 0) == dnnl_success;
  }
};

const Api &api() {
  static const Api instance;
  return instance;
}

bool succeeded(dnnl_status_t status) { return status == dnnl_success; }
/// For what cannot fail unless memory is short.
void check(dnnl_status_t status) {
  if (!succeeded(status))
    throw std::bad_alloc();
}

/// A stream for each thread: one is not for several. They live as long as the process.
dnnl_stream_t stream() {
  thread_local dnnl_stream_t instance = [] {
    dnnl_stream_t made = nullptr;
    check(api().stream_create(&made, api().engine, dnnl_stream_default_flags));
    return made;
  }();
  return instance;
}

/// Something of oneDNN's that its destroying function ends.
template <typename T> class Owned {
public:
  Owned(T value, dnnl_status_t (*destroy)(T)) : value_(value), destroy_(destroy) {}
  Owned(Owned &&other) noexcept : value_(std::exchange(other.value_, nullptr)), destroy_(other.destroy_) {}
  Owned &operator=(Owned &&) = delete;
  ~Owned() {
    if (value_)
      destroy_(value_);
  }
  T get() const { return value_; }

private:
  T value_;
  dnnl_status_t (*destroy_)(T);
};

using Memory = Owned<dnnl_memory_t>;

Memory over(const dnnl_memory_desc_t &description, const void *data) {
  dnnl_memory_t made = nullptr;
  check(api().memory_create(&made, &description, api().engine, const_cast<void *>(data)));
  return {made, api().memory_destroy};
}

dnnl_data_type_t typeOf(plan::DType type) { return type == plan::DType::BF16 ? dnnl_bf16 : dnnl_f32; }

dnnl_memory_desc_t describe(int64_t rows, int64_t columns, plan::DType type, bool transpose, int64_t stride) {
  const dnnl_dims_t sizes = {rows, columns}, strides = {transpose ? 1 : stride, transpose ? stride : 1};
  dnnl_memory_desc_t result;
  check(api().memory_desc_init_by_strides(&result, 2, sizes, typeOf(type), strides));
  return result;
}

/// OpenMP's number of threads, which oneDNN takes, for this scope. Primitives are made for one number.
class Threads {
public:
  explicit Threads([[maybe_unused]] int threads) {
#ifdef _OPENMP
    before_ = omp_get_max_threads();
    if (threads != before_ && !omp_in_parallel())
      omp_set_num_threads(threads);
#endif
  }
  ~Threads() {
#ifdef _OPENMP
    if (!omp_in_parallel() && omp_get_max_threads() != before_)
      omp_set_num_threads(before_);
#endif
  }

private:
  [[maybe_unused]] int before_ = 1;
};

/// A primitive with the layouts of what it reads and writes.
struct Product {
  dnnl_memory_desc_t a, b, c;
  Owned<dnnl_primitive_t> primitive;

  /// Null where oneDNN has no such product on this machine, or only its reference.
  static std::shared_ptr<const Product> make(const GemmDescription &d, int threads) {
    const Api &x = api();
    const Threads scope(threads);
    const dnnl_memory_desc_t a = describe(d.m, d.k, d.factors, d.transposeA, d.strideA),
                             b = describe(d.k, d.n, d.factors, d.transposeB, d.strideB),
                             c = describe(d.m, d.n, plan::DType::F32, false, d.strideC);
    dnnl_matmul_desc_t matmul;
    dnnl_primitive_desc_t description = nullptr;
    if (!succeeded(x.matmul_desc_init(&matmul, &a, &b, nullptr, &c)) ||
        !succeeded(x.primitive_desc_create(&description, &matmul, nullptr, x.engine, nullptr)))
      return nullptr;
    const Owned<dnnl_primitive_desc_t> owned(description, x.primitive_desc_destroy);
    const char *implementation = "";
    check(x.primitive_desc_query(description, dnnl_query_impl_info_str, 0, &implementation));
    if (std::strncmp(implementation, "ref", 3) == 0)
      return nullptr; // A hundred times slower than any other.
    dnnl_primitive_t primitive = nullptr;
    if (!succeeded(x.primitive_create(&primitive, description)))
      return nullptr;
    return std::shared_ptr<const Product>(new Product{a, b, c, {primitive, x.primitive_destroy}});
  }

  void run(const void *aData, const void *bData, void *cData, int threads) const {
    const Memory aMemory = over(a, aData), bMemory = over(b, bData), cMemory = over(c, cData);
    const dnnl_exec_arg_t arguments[] = {
        {DNNL_ARG_SRC, aMemory.get()}, {DNNL_ARG_WEIGHTS, bMemory.get()}, {DNNL_ARG_DST, cMemory.get()}};
    const Threads scope(threads);
    check(api().primitive_execute(primitive.get(), stream(), 3, arguments));
    check(api().stream_wait(stream()));
  }
};

/// The primitive of a product, made once. A program's products are few; a process that meets many drops them all.
std::shared_ptr<const Product> productOf(const GemmDescription &d, int threads) {
  using Key = std::tuple<int64_t, int64_t, int64_t, bool, bool, plan::DType, int64_t, int64_t, int64_t, int>;
  static std::shared_mutex mutex;
  static std::map<Key, std::shared_ptr<const Product>> made;
  constexpr size_t kMost = 4096;
  const Key key(d.m, d.n, d.k, d.transposeA, d.transposeB, d.factors, d.strideA, d.strideB, d.strideC, threads);
  {
    const std::shared_lock<std::shared_mutex> lock(mutex);
    if (auto found = made.find(key); found != made.end())
      return found->second;
  }
  std::shared_ptr<const Product> product = Product::make(d, threads);
  const std::unique_lock<std::shared_mutex> lock(mutex);
  if (made.size() >= kMost)
    made.clear();
  return made.emplace(key, std::move(product)).first->second;
}

class OneDnnGemm : public GemmLibrary {
public:
  const char *name() const override { return "onednn"; }
  std::string version() const override {
    const dnnl_version_t *version = api().version();
    return "onednn " + std::to_string(version->major) + "." + std::to_string(version->minor) + "." +
           std::to_string(version->patch);
  }
  bool serves(const GemmDescription &d, int threads) const override {
    return d.factors != plan::DType::F64 && productOf(d, threads) != nullptr;
  }
  void run(const GemmDescription &d, const void *a, const void *b, void *c, int threads) const override {
    productOf(d, threads)->run(a, b, c, threads);
  }
};

} // namespace

const GemmLibrary *oneDnnGemm() {
  static const OneDnnGemm library;
  return api().ready ? &library : nullptr;
}

} // namespace morph

#else

namespace morph {
const GemmLibrary *oneDnnGemm() { return nullptr; }
} // namespace morph

#endif
