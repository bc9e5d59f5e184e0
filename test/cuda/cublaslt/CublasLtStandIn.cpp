// SPDX-License-Identifier: Apache-2.0
// The entry points of the stand-in for cuBLASLt. Products run on the host, in the order of the stream that they were
// given, as work of the stand-in driver's queue, and see device memory through its checks. What the real library
// refuses is refused; what this one does not know is an error by name on stderr, never a wrong result.
//
// Three algorithms are proposed for a product: 1 for operands whose addresses and strides are multiples of 16 bytes, 2
// for any, 3 with k split in two, which needs a workspace.

#include "test/cuda/StandIn.h"
#include "test/cuda/cublaslt/Product.h"

#include <cublasLt.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <string>
#include <type_traits>

using namespace standin;

struct cublasLtContext {
  int magic = 0;
};

namespace {

constexpr int kMagic = 0x6c742121;
/// As the wheel that Morph is built with.
constexpr size_t kVersion = 130100;
constexpr size_t kSplitWorkspace = 1 << 20;

cublasStatus_t refuse(cublasStatus_t status, const std::string &why) {
  std::fprintf(stderr, "stand-in for cuBLASLt: %s: %s\n", cublasLtGetStatusName(status), why.c_str());
  return status;
}
cublasStatus_t unsupported(const std::string &why) { return refuse(CUBLAS_STATUS_NOT_SUPPORTED, why); }
cublasStatus_t invalid(const std::string &why) { return refuse(CUBLAS_STATUS_INVALID_VALUE, why); }

//===----------------------------------------------------------------------===//
// The stand-in driver
//===----------------------------------------------------------------------===//

struct Driver {
  decltype(&::morphStandInEnqueue) enqueue = nullptr;
  decltype(&::morphStandInHostPointer) hostPointer = nullptr;

  bool ready() const { return enqueue && hostPointer; }

  Driver() {
    // The driver of the process, whatever its path: it was loaded before anything is multiplied.
    void *library = ::dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
    if (!library)
      return;
    enqueue = reinterpret_cast<decltype(enqueue)>(::dlsym(library, "morphStandInEnqueue"));
    hostPointer = reinterpret_cast<decltype(hostPointer)>(::dlsym(library, "morphStandInHostPointer"));
  }
};

const Driver &driver() {
  static const Driver instance;
  return instance;
}

//===----------------------------------------------------------------------===//
// Descriptors: what the opaque structures of cublasLt.h hold
//===----------------------------------------------------------------------===//

struct Layout {
  cudaDataType_t type;
  int32_t order;
  uint64_t rows, columns;
  int64_t leading;
  int32_t batch;
  int64_t batchStride;
};
static_assert(sizeof(Layout) <= sizeof(cublasLtMatrixLayoutOpaque_t));

struct Operation {
  int32_t compute, scale, pointerMode;
  int32_t transposeA, transposeB, transposeC;
  uint32_t epilogue;
  const void *bias;
  int64_t biasBatchStride;
  int32_t biasType;
};
static_assert(sizeof(Operation) <= sizeof(cublasLtMatmulDescOpaque_t));

struct Preference {
  uint64_t workspace;
  uint32_t alignments[4]; ///< Of a, b, c, d.
  uint32_t reductions;
};
static_assert(sizeof(Preference) <= sizeof(cublasLtMatmulPreferenceOpaque_t));

struct Algorithm {
  int32_t magic, id, splits;
  uint32_t reduction;
};
static_assert(sizeof(Algorithm) <= sizeof(cublasLtMatmulAlgo_t));

template <typename T, typename Opaque> T *open(Opaque *opaque) { return reinterpret_cast<T *>(opaque); }
template <typename T, typename Opaque> const T *open(const Opaque *opaque) {
  return reinterpret_cast<const T *>(opaque);
}

template <typename T> cublasStatus_t take(T &field, const void *buffer, size_t size) {
  if (!buffer || size != sizeof(T))
    return invalid("an attribute of " + std::to_string(size) + " bytes, which has " + std::to_string(sizeof(T)));
  std::memcpy(&field, buffer, size);
  return CUBLAS_STATUS_SUCCESS;
}
template <typename T> cublasStatus_t give(T value, void *buffer, size_t size, size_t *written) {
  if (written)
    *written = sizeof(T);
  if (size == 0)
    return written ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
  if (!buffer || size != sizeof(T))
    return invalid("an attribute of " + std::to_string(size) + " bytes, which has " + std::to_string(sizeof(T)));
  std::memcpy(buffer, &value, size);
  return CUBLAS_STATUS_SUCCESS;
}

const char *nameOf(int32_t type) {
  return type == CUDA_R_32F ? "fp32" : type == CUDA_R_16BF ? "bf16" : type == CUDA_R_64F ? "fp64" : "another type";
}
Type typeOf(int32_t type) { return type == CUDA_R_64F ? Type::F64 : type == CUDA_R_16BF ? Type::BF16 : Type::F32; }

int64_t rowStrideOf(const Layout &layout) { return layout.order == CUBLASLT_ORDER_ROW ? layout.leading : 1; }
int64_t columnStrideOf(const Layout &layout) { return layout.order == CUBLASLT_ORDER_ROW ? 1 : layout.leading; }
/// Elements between the first and the one behind the last, of the whole batch.
int64_t extentOf(const Layout &layout) {
  const auto rows = static_cast<int64_t>(layout.rows), columns = static_cast<int64_t>(layout.columns);
  return (layout.batch - 1) * layout.batchStride + (rows - 1) * rowStrideOf(layout) +
         (columns - 1) * columnStrideOf(layout) + 1;
}

bool hasBias(uint32_t epilogue) {
  return epilogue == CUBLASLT_EPILOGUE_BIAS || epilogue == CUBLASLT_EPILOGUE_RELU_BIAS ||
         epilogue == CUBLASLT_EPILOGUE_GELU_BIAS;
}
bool functionOf(uint32_t epilogue, Function &function) {
  switch (epilogue) {
  case CUBLASLT_EPILOGUE_DEFAULT:
  case CUBLASLT_EPILOGUE_BIAS:
    function = Function::None;
    return true;
  case CUBLASLT_EPILOGUE_RELU:
  case CUBLASLT_EPILOGUE_RELU_BIAS:
    function = Function::Relu;
    return true;
  case CUBLASLT_EPILOGUE_GELU:
  case CUBLASLT_EPILOGUE_GELU_BIAS:
    function = Function::Gelu;
    return true;
  default:
    return false;
  }
}

/// What the real library demands of types, sizes and layouts.
cublasStatus_t checkProblem(const Operation &o, const Layout &a, const Layout &b, const Layout &c, const Layout &d) {
  const bool isDouble = o.compute == CUBLAS_COMPUTE_64F;
  if (!isDouble && o.compute != CUBLAS_COMPUTE_32F)
    return unsupported("compute type " + std::to_string(o.compute) + " is not one that Morph uses");
  const int32_t scale = isDouble ? CUDA_R_64F : CUDA_R_32F;
  if (o.scale != scale)
    return unsupported(std::string("sums of ") + nameOf(scale) + " with factors alpha and beta of " + nameOf(o.scale));
  const bool typesFit =
      isDouble ? a.type == CUDA_R_64F && b.type == CUDA_R_64F && d.type == CUDA_R_64F
               : a.type == b.type && ((a.type == CUDA_R_32F && d.type == CUDA_R_32F) ||
                                      (a.type == CUDA_R_16BF && (d.type == CUDA_R_32F || d.type == CUDA_R_16BF)));
  if (!typesFit || c.type != d.type)
    return unsupported(std::string("no product of ") + nameOf(a.type) + " and " + nameOf(b.type) + " plus " +
                       nameOf(c.type) + " is " + nameOf(d.type));
  if (o.pointerMode != CUBLASLT_POINTER_MODE_HOST)
    return unsupported("factors alpha and beta on the device");
  if (o.transposeC != CUBLAS_OP_N)
    return unsupported("a transposed c");
  for (const int32_t transpose : {o.transposeA, o.transposeB})
    if (transpose != CUBLAS_OP_N && transpose != CUBLAS_OP_T)
      return unsupported("operation " + std::to_string(transpose) + " on a factor");
  Function function;
  if (!functionOf(o.epilogue, function))
    return unsupported("epilogue " + std::to_string(o.epilogue));
  if (o.epilogue != CUBLASLT_EPILOGUE_DEFAULT) {
    if (d.order == CUBLASLT_ORDER_ROW)
      return unsupported("an epilogue on a row-major result");
    if (isDouble && function != Function::None)
      return unsupported("this epilogue in fp64");
  }
  if (hasBias(o.epilogue) && o.biasType != -1 && o.biasType != d.type)
    return unsupported(std::string("a bias of ") + nameOf(o.biasType) + " on results of " + nameOf(d.type));
  for (const Layout *layout : {&a, &b, &c, &d}) {
    if (layout->order != CUBLASLT_ORDER_COL && layout->order != CUBLASLT_ORDER_ROW)
      return unsupported("memory order " + std::to_string(layout->order));
    const uint64_t least = layout->order == CUBLASLT_ORDER_ROW ? layout->columns : layout->rows;
    if (layout->rows == 0 || layout->columns == 0 || layout->leading < 0 ||
        static_cast<uint64_t>(layout->leading) < least)
      return invalid("a layout of " + std::to_string(layout->rows) + " x " + std::to_string(layout->columns) +
                     " with a leading dimension of " + std::to_string(layout->leading));
    if (layout->batch < 1 || layout->batch != d.batch)
      return invalid("batches of " + std::to_string(layout->batch) + " and " + std::to_string(d.batch));
  }
  const bool turnA = o.transposeA == CUBLAS_OP_T, turnB = o.transposeB == CUBLAS_OP_T;
  const uint64_t m = turnA ? a.columns : a.rows, k = turnA ? a.rows : a.columns, kB = turnB ? b.columns : b.rows,
                 n = turnB ? b.rows : b.columns;
  if (k != kB || d.rows != m || d.columns != n || c.rows != m || c.columns != n)
    return invalid("factors of " + std::to_string(m) + " x " + std::to_string(k) + " and " + std::to_string(kB) +
                   " x " + std::to_string(n) + " for a result of " + std::to_string(d.rows) + " x " +
                   std::to_string(d.columns));
  return CUBLAS_STATUS_SUCCESS;
}

bool isAligned(const Layout &layout, uint64_t address, uint64_t bytes) {
  const auto size = static_cast<uint64_t>(bytesOf(typeOf(layout.type)));
  return address % bytes == 0 && static_cast<uint64_t>(layout.leading) * size % bytes == 0 &&
         (layout.batch == 1 || static_cast<uint64_t>(layout.batchStride) * size % bytes == 0);
}

//===----------------------------------------------------------------------===//
// Work of a stream
//===----------------------------------------------------------------------===//

struct Job {
  Product product;                      ///< Without data.
  std::array<CUdeviceptr, 4> addresses; ///< Of a, b, c, d.
  std::array<int64_t, 4> bytes;
  std::array<int64_t, 4> batchBytes;
  CUdeviceptr bias = 0, workspace = 0;
  size_t workspaceBytes = 0;
  int64_t biasBytes = 0, biasBatchBytes = 0;
  int batch = 1;
};
static_assert(std::is_trivially_copyable_v<Job>, "the driver copies it");

void runJob(const void *data) {
  const Job &job = *static_cast<const Job *>(data);
  const char *names[] = {"cuBLASLt's a", "cuBLASLt's b", "cuBLASLt's c", "cuBLASLt's d"};
  std::array<char *, 4> data4 = {};
  bool isThere = true;
  for (size_t i = 0; i < 4; ++i) {
    if (i == 2 && job.product.beta == 0)
      continue; // Not read.
    data4[i] = static_cast<char *>(driver().hostPointer(job.addresses[i], static_cast<size_t>(job.bytes[i]), names[i]));
    isThere &= data4[i] != nullptr;
  }
  char *bias = nullptr;
  if (job.bias) {
    bias = static_cast<char *>(driver().hostPointer(job.bias, static_cast<size_t>(job.biasBytes), "cuBLASLt's bias"));
    isThere &= bias != nullptr;
  }
  if (job.workspaceBytes > 0) {
    void *workspace = driver().hostPointer(job.workspace, job.workspaceBytes, "cuBLASLt's workspace");
    isThere &= workspace != nullptr;
    if (workspace) // What anyone keeps there is lost.
      std::memset(workspace, 0xff, job.workspaceBytes);
  }
  for (int i = 0; isThere && i < job.batch; ++i) {
    Product product = job.product;
    View *views[] = {&product.a, &product.b, &product.c, &product.d};
    for (size_t j = 0; j < 4; ++j)
      views[j]->data = data4[j] ? data4[j] + i * job.batchBytes[j] : nullptr;
    product.bias = bias ? bias + i * job.biasBatchBytes : nullptr;
    multiply(product);
  }
}

} // namespace

//===----------------------------------------------------------------------===//
// Entry points
//===----------------------------------------------------------------------===//

#pragma GCC visibility push(default)

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle) {
  if (!handle)
    return invalid("no place for a handle");
  if (!driver().ready())
    return refuse(CUBLAS_STATUS_NOT_INITIALIZED, "the process has not loaded the stand-in driver");
  *handle = new cublasLtContext{kMagic};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}
size_t cublasLtGetVersion(void) { return kVersion; }

const char *cublasLtGetStatusName(cublasStatus_t status) {
  switch (status) {
  case CUBLAS_STATUS_SUCCESS:
    return "CUBLAS_STATUS_SUCCESS";
  case CUBLAS_STATUS_NOT_INITIALIZED:
    return "CUBLAS_STATUS_NOT_INITIALIZED";
  case CUBLAS_STATUS_INVALID_VALUE:
    return "CUBLAS_STATUS_INVALID_VALUE";
  case CUBLAS_STATUS_NOT_SUPPORTED:
    return "CUBLAS_STATUS_NOT_SUPPORTED";
  case CUBLAS_STATUS_EXECUTION_FAILED:
    return "CUBLAS_STATUS_EXECUTION_FAILED";
  default:
    return "CUBLAS_STATUS of another kind";
  }
}
const char *cublasLtGetStatusString(cublasStatus_t status) {
  switch (status) {
  case CUBLAS_STATUS_SUCCESS:
    return "success";
  case CUBLAS_STATUS_NOT_INITIALIZED:
    return "the library was not initialized";
  case CUBLAS_STATUS_INVALID_VALUE:
    return "an unsupported value or parameter was passed to the function";
  case CUBLAS_STATUS_NOT_SUPPORTED:
    return "the functionality requested is not supported";
  case CUBLAS_STATUS_EXECUTION_FAILED:
    return "the GPU program failed to execute";
  default:
    return "";
  }
}

cublasStatus_t cublasLtMatrixLayoutInit_internal(cublasLtMatrixLayout_t layout, size_t size, cudaDataType type,
                                                 uint64_t rows, uint64_t cols, int64_t leading) {
  if (!layout || size < sizeof(cublasLtMatrixLayoutOpaque_t))
    return CUBLAS_STATUS_ALLOC_FAILED;
  *open<Layout>(layout) = {type, CUBLASLT_ORDER_COL, rows, cols, leading, 1, 0};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *layout, cudaDataType type, uint64_t rows,
                                          uint64_t cols, int64_t leading) {
  *layout = new cublasLtMatrixLayoutOpaque_t();
  return cublasLtMatrixLayoutInit_internal(*layout, sizeof(**layout), type, rows, cols, leading);
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete layout;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t opaque,
                                                cublasLtMatrixLayoutAttribute_t attribute, const void *buffer,
                                                size_t size) {
  Layout &layout = *open<Layout>(opaque);
  switch (attribute) {
  case CUBLASLT_MATRIX_LAYOUT_ORDER:
    return take(layout.order, buffer, size);
  case CUBLASLT_MATRIX_LAYOUT_LD:
    return take(layout.leading, buffer, size);
  case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT:
    return take(layout.batch, buffer, size);
  case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET:
    return take(layout.batchStride, buffer, size);
  default:
    return unsupported("layout attribute " + std::to_string(attribute));
  }
}

cublasStatus_t cublasLtMatmulDescInit_internal(cublasLtMatmulDesc_t operation, size_t size, cublasComputeType_t compute,
                                               cudaDataType_t scale) {
  if (!operation || size < sizeof(cublasLtMatmulDescOpaque_t))
    return CUBLAS_STATUS_ALLOC_FAILED;
  *open<Operation>(operation) = {compute,     scale,       CUBLASLT_POINTER_MODE_HOST, CUBLAS_OP_N,
                                 CUBLAS_OP_N, CUBLAS_OP_N, CUBLASLT_EPILOGUE_DEFAULT,  nullptr,
                                 0,           -1};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *operation, cublasComputeType_t compute,
                                        cudaDataType_t scale) {
  *operation = new cublasLtMatmulDescOpaque_t();
  return cublasLtMatmulDescInit_internal(*operation, sizeof(**operation), compute, scale);
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t operation) {
  delete operation;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t opaque, cublasLtMatmulDescAttributes_t attribute,
                                              const void *buffer, size_t size) {
  Operation &operation = *open<Operation>(opaque);
  switch (attribute) {
  case CUBLASLT_MATMUL_DESC_SCALE_TYPE:
    return take(operation.scale, buffer, size);
  case CUBLASLT_MATMUL_DESC_POINTER_MODE:
    return take(operation.pointerMode, buffer, size);
  case CUBLASLT_MATMUL_DESC_TRANSA:
    return take(operation.transposeA, buffer, size);
  case CUBLASLT_MATMUL_DESC_TRANSB:
    return take(operation.transposeB, buffer, size);
  case CUBLASLT_MATMUL_DESC_TRANSC:
    return take(operation.transposeC, buffer, size);
  case CUBLASLT_MATMUL_DESC_EPILOGUE:
    return take(operation.epilogue, buffer, size);
  case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
    return take(operation.bias, buffer, size);
  case CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE:
    return take(operation.biasBatchStride, buffer, size);
  case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE:
    return take(operation.biasType, buffer, size);
  default:
    return unsupported("attribute " + std::to_string(attribute) + " of a product");
  }
}

cublasStatus_t cublasLtMatmulPreferenceInit_internal(cublasLtMatmulPreference_t preference, size_t size) {
  if (!preference || size < sizeof(cublasLtMatmulPreferenceOpaque_t))
    return CUBLAS_STATUS_ALLOC_FAILED;
  *open<Preference>(preference) = {0, {256, 256, 256, 256}, CUBLASLT_REDUCTION_SCHEME_MASK};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *preference) {
  *preference = new cublasLtMatmulPreferenceOpaque_t();
  return cublasLtMatmulPreferenceInit_internal(*preference, sizeof(**preference));
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  delete preference;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t opaque,
                                                    cublasLtMatmulPreferenceAttributes_t attribute, const void *buffer,
                                                    size_t size) {
  Preference &preference = *open<Preference>(opaque);
  switch (attribute) {
  case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
    return take(preference.workspace, buffer, size);
  case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
    return take(preference.reductions, buffer, size);
  case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
    return take(preference.alignments[0], buffer, size);
  case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
    return take(preference.alignments[1], buffer, size);
  case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
    return take(preference.alignments[2], buffer, size);
  case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
    return take(preference.alignments[3], buffer, size);
  default:
    return unsupported("preference " + std::to_string(attribute));
  }
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t opaque, int requested,
                                              cublasLtMatmulHeuristicResult_t results[], int *returned) {
  if (!handle || handle->magic != kMagic)
    return CUBLAS_STATUS_NOT_INITIALIZED;
  if (requested < 1 || !results || !returned)
    return invalid("no place for algorithms");
  const Layout *layouts[] = {open<Layout>(a), open<Layout>(b), open<Layout>(c), open<Layout>(d)};
  if (cublasStatus_t status =
          checkProblem(*open<Operation>(operation), *layouts[0], *layouts[1], *layouts[2], *layouts[3]))
    return status;
  const Preference &preference = *open<Preference>(opaque);
  bool isWide = true;
  for (size_t i = 0; i < 4; ++i)
    isWide &= isAligned(*layouts[i], preference.alignments[i], 16);
  *returned = 0;
  for (const Algorithm algorithm : {Algorithm{kMagic, 1, 1, CUBLASLT_REDUCTION_SCHEME_NONE},
                                    Algorithm{kMagic, 2, 1, CUBLASLT_REDUCTION_SCHEME_NONE},
                                    Algorithm{kMagic, 3, 2, CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE}}) {
    const size_t workspace = algorithm.splits > 1 ? kSplitWorkspace : 0;
    if ((algorithm.id == 1 && !isWide) || workspace > preference.workspace ||
        (algorithm.reduction & ~preference.reductions) != 0 || *returned == requested)
      continue;
    cublasLtMatmulHeuristicResult_t &result = results[(*returned)++];
    result = {};
    *open<Algorithm>(&result.algo) = algorithm;
    result.workspaceSize = workspace;
    result.state = CUBLAS_STATUS_SUCCESS;
    result.wavesCount = 1;
  }
  return *returned > 0 ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

cublasStatus_t cublasLtMatmulAlgoConfigGetAttribute(const cublasLtMatmulAlgo_t *opaque,
                                                    cublasLtMatmulAlgoConfigAttributes_t attribute, void *buffer,
                                                    size_t size, size_t *written) {
  const Algorithm &algorithm = *open<Algorithm>(opaque);
  switch (attribute) {
  case CUBLASLT_ALGO_CONFIG_ID:
    return give<int32_t>(algorithm.id, buffer, size, written);
  case CUBLASLT_ALGO_CONFIG_SPLITK_NUM:
    return give<int32_t>(algorithm.splits, buffer, size, written);
  case CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME:
    return give<uint32_t>(algorithm.reduction, buffer, size, written);
  case CUBLASLT_ALGO_CONFIG_TILE_ID:
  case CUBLASLT_ALGO_CONFIG_CTA_SWIZZLING:
  case CUBLASLT_ALGO_CONFIG_CUSTOM_OPTION:
  case CUBLASLT_ALGO_CONFIG_STAGES_ID:
    return give<uint32_t>(0, buffer, size, written);
  case CUBLASLT_ALGO_CONFIG_INNER_SHAPE_ID:
  case CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID:
    return give<uint16_t>(0, buffer, size, written);
  default:
    return unsupported("configuration " + std::to_string(attribute) + " of an algorithm");
  }
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t operationOpaque, const void *alpha,
                              const void *a, cublasLtMatrixLayout_t aLayout, const void *b,
                              cublasLtMatrixLayout_t bLayout, const void *beta, const void *c,
                              cublasLtMatrixLayout_t cLayout, void *d, cublasLtMatrixLayout_t dLayout,
                              const cublasLtMatmulAlgo_t *algorithmOpaque, void *workspace, size_t workspaceBytes,
                              cudaStream_t stream) {
  if (!handle || handle->magic != kMagic)
    return CUBLAS_STATUS_NOT_INITIALIZED;
  const Operation &operation = *open<Operation>(operationOpaque);
  const Layout *layouts[] = {open<Layout>(aLayout), open<Layout>(bLayout), open<Layout>(cLayout),
                             open<Layout>(dLayout)};
  if (cublasStatus_t status = checkProblem(operation, *layouts[0], *layouts[1], *layouts[2], *layouts[3]))
    return status;
  if (!algorithmOpaque || open<Algorithm>(algorithmOpaque)->magic != kMagic)
    return invalid("an algorithm that was not proposed");
  const Algorithm &algorithm = *open<Algorithm>(algorithmOpaque);
  if (!alpha || !beta)
    return invalid("no alpha or beta");

  Job job;
  Product &product = job.product;
  const bool isDouble = operation.scale == CUDA_R_64F;
  product.alpha = isDouble ? *static_cast<const double *>(alpha) : *static_cast<const float *>(alpha);
  product.beta = isDouble ? *static_cast<const double *>(beta) : *static_cast<const float *>(beta);
  const void *addresses[] = {a, b, c, d};
  View *views[] = {&product.a, &product.b, &product.c, &product.d};
  for (size_t i = 0; i < 4; ++i) {
    const Layout &layout = *layouts[i];
    const auto address = reinterpret_cast<uint64_t>(addresses[i]);
    if (i == 2 && product.beta == 0)
      continue;
    const auto size = static_cast<uint64_t>(bytesOf(typeOf(layout.type)));
    if (address == 0 || address % size != 0)
      return invalid("operand " + std::to_string(i) + " at a misaligned address");
    if (algorithm.id == 1 && !isAligned(layout, address, 16))
      return unsupported("algorithm 1 with operand " + std::to_string(i) + " that is not aligned to 16 bytes");
    job.addresses[i] = address;
    job.bytes[i] = extentOf(layout) * static_cast<int64_t>(size);
    job.batchBytes[i] = layout.batchStride * static_cast<int64_t>(size);
    *views[i] = {nullptr, typeOf(layout.type), rowStrideOf(layout), columnStrideOf(layout)};
  }
  if (operation.transposeA == CUBLAS_OP_T)
    std::swap(product.a.rowStride, product.a.columnStride);
  if (operation.transposeB == CUBLAS_OP_T)
    std::swap(product.b.rowStride, product.b.columnStride);
  product.m = static_cast<int64_t>(layouts[3]->rows);
  product.n = static_cast<int64_t>(layouts[3]->columns);
  product.k = static_cast<int64_t>(operation.transposeA == CUBLAS_OP_T ? layouts[0]->rows : layouts[0]->columns);
  product.splits = algorithm.splits;
  functionOf(operation.epilogue, product.function);
  job.batch = layouts[3]->batch;
  if (hasBias(operation.epilogue)) {
    if (!operation.bias)
      return invalid("an epilogue with a bias, and no bias");
    product.biasType = typeOf(layouts[3]->type);
    const int64_t size = bytesOf(product.biasType);
    job.bias = reinterpret_cast<CUdeviceptr>(operation.bias);
    if (job.bias % static_cast<uint64_t>(size) != 0)
      return invalid("a bias at a misaligned address");
    job.biasBatchBytes = operation.biasBatchStride * size;
    job.biasBytes = product.m * size + (job.batch - 1) * job.biasBatchBytes;
  }
  if (algorithm.splits > 1) {
    if (workspaceBytes < kSplitWorkspace || !workspace || reinterpret_cast<uint64_t>(workspace) % 256 != 0)
      return invalid("a workspace that is too small or not aligned to 256 bytes");
    job.workspace = reinterpret_cast<CUdeviceptr>(workspace);
    job.workspaceBytes = kSplitWorkspace;
  }

  if (driver().enqueue(reinterpret_cast<CUstream>(stream), runJob, &job, sizeof(job)) != CUDA_SUCCESS)
    return CUBLAS_STATUS_EXECUTION_FAILED;
  return CUBLAS_STATUS_SUCCESS;
}

#pragma GCC visibility pop
