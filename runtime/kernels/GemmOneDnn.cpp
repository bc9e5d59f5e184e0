// SPDX-License-Identifier: Apache-2.0
// Products by oneDNN, where Morph is built with its headers (MORPH_HAVE_ONEDNN) and the machine has the library. It
// uses AVX512-BF16 and AMX on any vendor's processor, adds bias and residual to the sums itself, and reads weights in
// blocks of its own.
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
  F(memory_desc_init_by_tag) F(memory_desc_get_size) F(matmul_desc_init) F(post_ops_create) F(post_ops_destroy) \
  F(post_ops_append_sum) F(post_ops_append_binary) F(primitive_attr_create) F(primitive_attr_destroy) \
  F(primitive_attr_set_post_ops) F(primitive_desc_create) F(primitive_desc_destroy) F(primitive_desc_query) \
  F(primitive_desc_query_md) F(primitive_create) F(primitive_destroy) F(primitive_execute) F(memory_create) \
  F(memory_destroy) F(memory_get_data_handle) F(memory_get_memory_desc) F(reorder_primitive_desc_create)
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

/// How b lies in memory: as described, as oneDNN likes it best, or in the blocks that it liked before.
enum class Layout { Plain, Best, Packed };

/// What a primitive is made for.
struct Form {
  Form(const GemmDescription &d, const Epilogue &e, int threads)
      : d(d), bias(e.bias), residual(e.residual), strideResidual(e.residual ? e.strideResidual : 0), threads(threads) {}

  /// The blocks of a packed b: of several layouts, these tell them apart.
  std::vector<int64_t> blocks() const {
    std::vector<int64_t> result;
    if (layout == Layout::Packed) {
      const dnnl_blocking_desc_t &blocking = packed.format_desc.blocking;
      result.assign(blocking.strides, blocking.strides + 2);
      for (int i = 0; i < blocking.inner_nblks; ++i) {
        result.push_back(blocking.inner_blks[i]);
        result.push_back(blocking.inner_idxs[i]);
      }
    }
    return result;
  }
  auto key() const {
    return std::make_tuple(d.m, d.n, d.k, d.transposeA, d.transposeB, d.a, d.c, d.strideA,
                           layout == Layout::Plain ? d.strideB : 0, d.strideC, d.accumulate, bias, residual,
                           strideResidual, threads, layout, blocks());
  }

  GemmDescription d;
  bool bias, residual;
  int64_t strideResidual;
  int threads;
  Layout layout = Layout::Plain;
  dnnl_memory_desc_t packed; ///< Of Layout::Packed.
};

/// A primitive with the layouts of what it reads and writes.
struct Product {
  dnnl_memory_desc_t a, b, c, bias, residual;
  int residualPlace = 0;
  Owned<dnnl_primitive_t> primitive;

  /// Null where oneDNN has no such product on this machine, or only its reference.
  static std::shared_ptr<const Product> make(const Form &f) {
    const GemmDescription &d = f.d;
    const Api &x = api();
    const Threads scope(f.threads);
    Product made{describe(d.m, d.k, d.a, d.transposeA, d.strideA),
                 describe(d.k, d.n, d.b, d.transposeB, d.strideB),
                 describe(d.m, d.n, d.c, false, d.strideC),
                 describe(1, d.n, plan::DType::F32, false, d.n),
                 describe(d.m, d.n, d.c, false, f.residual ? f.strideResidual : d.n),
                 DNNL_ARG_ATTR_MULTIPLE_POST_OP(d.accumulate ? 1 : 0) | DNNL_ARG_SRC_1,
                 {nullptr, x.primitive_destroy}};
    const dnnl_dims_t sizes = {d.k, d.n};
    if (f.layout == Layout::Packed)
      made.b = f.packed;
    else if (f.layout == Layout::Best)
      check(x.memory_desc_init_by_tag(&made.b, 2, sizes, typeOf(d.b), dnnl_format_tag_any));

    dnnl_post_ops_t after = nullptr;
    check(x.post_ops_create(&after));
    const Owned<dnnl_post_ops_t> ownedAfter(after, x.post_ops_destroy);
    if (d.accumulate)
      check(x.post_ops_append_sum(after, 1.0f));
    if (f.residual)
      check(x.post_ops_append_binary(after, dnnl_binary_add, &made.residual));
    dnnl_primitive_attr_t attributes = nullptr;
    check(x.primitive_attr_create(&attributes));
    const Owned<dnnl_primitive_attr_t> ownedAttributes(attributes, x.primitive_attr_destroy);
    check(x.primitive_attr_set_post_ops(attributes, after));

    dnnl_matmul_desc_t matmul;
    dnnl_primitive_desc_t description = nullptr;
    if (!succeeded(x.matmul_desc_init(&matmul, &made.a, &made.b, f.bias ? &made.bias : nullptr, &made.c)) ||
        !succeeded(x.primitive_desc_create(&description, &matmul, attributes, x.engine, nullptr)))
      return nullptr;
    const Owned<dnnl_primitive_desc_t> ownedDescription(description, x.primitive_desc_destroy);
    const char *implementation = "";
    check(x.primitive_desc_query(description, dnnl_query_impl_info_str, 0, &implementation));
    if (std::strncmp(implementation, "ref", 3) == 0)
      return nullptr; // A hundred times slower than any other.
    made.b = *x.primitive_desc_query_md(description, dnnl_query_weights_md, 0);
    dnnl_primitive_t primitive = nullptr;
    if (!succeeded(x.primitive_create(&primitive, description)))
      return nullptr;
    return std::shared_ptr<const Product>(new Product{
        made.a, made.b, made.c, made.bias, made.residual, made.residualPlace, {primitive, x.primitive_destroy}});
  }

  void run(const void *aData, const void *bData, void *cData, const Epilogue &e, int threads) const {
    const Memory aMemory = over(a, aData), bMemory = over(b, bData), cMemory = over(c, cData),
                 biasMemory = over(bias, e.bias ? e.bias : cData),
                 residualMemory = over(residual, e.residual ? e.residual : cData);
    dnnl_exec_arg_t arguments[5] = {
        {DNNL_ARG_SRC, aMemory.get()}, {DNNL_ARG_WEIGHTS, bMemory.get()}, {DNNL_ARG_DST, cMemory.get()}};
    int count = 3;
    if (e.bias)
      arguments[count++] = {DNNL_ARG_BIAS, biasMemory.get()};
    if (e.residual)
      arguments[count++] = {residualPlace, residualMemory.get()};
    const Threads scope(threads);
    check(api().primitive_execute(primitive.get(), stream(), count, arguments));
    check(api().stream_wait(stream()));
  }
};

/// The product of a form, made once. A program's forms are few; a process that meets many drops them all at once.
std::shared_ptr<const Product> productOf(const Form &form) {
  using Key = decltype(form.key());
  static std::shared_mutex mutex;
  static std::map<Key, std::shared_ptr<const Product>> made;
  constexpr size_t kMost = 4096;
  const Key key = form.key();
  {
    const std::shared_lock<std::shared_mutex> lock(mutex);
    if (auto found = made.find(key); found != made.end())
      return found->second;
  }
  std::shared_ptr<const Product> product = Product::make(form);
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
    return d.a != plan::DType::F64 && productOf({d, {}, threads}) != nullptr;
  }
  bool fuses(const GemmDescription &d, const Epilogue &e, int threads) const override {
    return d.a != plan::DType::F64 && !e.gate && productOf({d, e, threads}) != nullptr;
  }
  void run(const GemmDescription &d, const void *a, const void *b, void *c, const Epilogue &e,
           int threads) const override {
    productOf({d, e, threads})->run(a, b, c, e, threads);
  }
  std::shared_ptr<const void> pack(const GemmDescription &d, const void *b, int threads,
                                   int64_t &bytes) const override {
    if (d.a == plan::DType::F64)
      return nullptr;
    Form form(d, {}, threads);
    form.layout = Layout::Best;
    const std::shared_ptr<const Product> product = productOf(form);
    if (!product || (product->b.format_kind == dnnl_blocked && product->b.format_desc.blocking.inner_nblks == 0))
      return nullptr;
    const Api &x = api();
    auto packed = std::make_shared<Memory>(over(product->b, DNNL_MEMORY_ALLOCATE));
    const dnnl_memory_desc_t plainLayout = describe(d.k, d.n, d.b, d.transposeB, d.strideB);
    const Memory plain = over(plainLayout, b);
    dnnl_primitive_desc_t description = nullptr;
    check(x.reorder_primitive_desc_create(&description, &plainLayout, x.engine, &product->b, x.engine, nullptr));
    const Owned<dnnl_primitive_desc_t> ownedDescription(description, x.primitive_desc_destroy);
    dnnl_primitive_t reorder = nullptr;
    check(x.primitive_create(&reorder, description));
    const Owned<dnnl_primitive_t> ownedReorder(reorder, x.primitive_destroy);
    const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, plain.get()}, {DNNL_ARG_TO, packed->get()}};
    check(x.primitive_execute(reorder, stream(), 2, arguments));
    check(x.stream_wait(stream()));
    bytes = static_cast<int64_t>(x.memory_desc_get_size(&product->b));
    return packed;
  }
  bool runPacked(const GemmDescription &d, const void *a, const void *b, void *c, const Epilogue &e,
                 int threads) const override {
    const Memory &packed = *static_cast<const Memory *>(b);
    const dnnl_memory_desc_t *layout = nullptr;
    void *data = nullptr;
    check(api().memory_get_memory_desc(packed.get(), &layout));
    check(api().memory_get_data_handle(packed.get(), &data));
    Form form(d, e, threads);
    form.layout = Layout::Packed;
    form.packed = *layout;
    const std::shared_ptr<const Product> product = productOf(form);
    if (product)
      product->run(a, data, c, e, threads);
    return product != nullptr;
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
