// SPDX-License-Identifier: Apache-2.0
#include "runtime/device/CudaProducts.h"

#include <algorithm>

namespace morph {
namespace {

constexpr int64_t kWorkspaceBytes = int64_t(32) << 20;
/// Of cuBLASLt's proposals: those asked for, where a kept one is found again, and those measured.
constexpr int kProposals = 16;
constexpr size_t kMeasured = 4;
constexpr int kRounds = 3;
/// Longer products are measured once.
constexpr double kLong = 1e-2;
/// A proposal must be this much faster than those before it: a close race is not decided by noise.
constexpr double kClearly = 1.03;
/// Shorter products are run this often between two events.
constexpr double kShort = 1e-4;
constexpr int kRepeats = 10;
/// A process that meets more kinds drops them all.
constexpr size_t kMostKinds = 4096;

cudaDataType_t typeOf(CudaType type) {
  return type == CudaType::F64 ? CUDA_R_64F : type == CudaType::BF16 ? CUDA_R_16BF : CUDA_R_32F;
}

} // namespace

struct CudaProducts::Prepared {
  /// Something of cuBLASLt's that its destroying function ends.
  template <typename T> class Owned {
  public:
    explicit Owned(cublasStatus_t (*destroy)(T)) : destroy_(destroy) {}
    Owned(const Owned &) = delete;
    ~Owned() {
      if (value_)
        destroy_(value_);
    }
    T *address() { return &value_; }
    T get() const { return value_; }

  private:
    T value_ = nullptr;
    cublasStatus_t (*destroy_)(T);
  };

  Owned<cublasLtMatmulDesc_t> operation;
  Owned<cublasLtMatrixLayout_t> first, second, result;
  cublasLtMatmulAlgo_t algorithm = {};
  bool isDouble = false;

  explicit Prepared(const CublasLt &blas)
      : operation(blas.MatmulDescDestroy), first(blas.MatrixLayoutDestroy), second(blas.MatrixLayoutDestroy),
        result(blas.MatrixLayoutDestroy) {}
};

StatusOr<std::unique_ptr<CudaProducts>> CudaProducts::make(CudaState &state) {
  const CudaDriver &driver = *state.driver;
  std::unique_ptr<CudaProducts> made(new CudaProducts(state));
  MORPH_ASSIGN_OR_RETURN(made->blas_, CublasLt::open());
  MORPH_RETURN_IF_ERROR(
      made->blas_->check(made->blas_->Create(&made->handle_), "cuBLASLt on " + state.properties.name));
  MORPH_ASSIGN_OR_RETURN(made->workspace_, state.allocate(kWorkspaceBytes, "the workspace of products"));
  MORPH_RETURN_IF_ERROR(state.check(driver.cuEventCreate(&made->begin_, 0), "an event to time products"));
  MORPH_RETURN_IF_ERROR(state.check(driver.cuEventCreate(&made->end_, 0), "an event to time products"));
  made->choices_ = ProductChoices(productChoicesPath(state.properties));
  return made;
}

CudaProducts::CudaProducts(CudaState &state) : state_(state) {}

CudaProducts::~CudaProducts() {
  prepared_.clear();
  if (handle_)
    blas_->Destroy(handle_);
  if (begin_)
    state_.driver->cuEventDestroy(begin_);
  if (end_)
    state_.driver->cuEventDestroy(end_);
  if (workspace_)
    state_.driver->cuMemFree(workspace_);
}

CudaSpan CudaProducts::workspace() const { return {reinterpret_cast<const void *>(workspace_), kWorkspaceBytes}; }

StatusOr<std::unique_ptr<CudaProducts::Prepared>> CudaProducts::prepare(const ProductKind &kind, const void *bias) {
  const CublasLt &blas = *blas_;
  const CudaProduct &p = kind.product;
  auto prepared = std::make_unique<Prepared>(blas);
  prepared->isDouble = p.factors == CudaType::F64;
  const cublasComputeType_t compute = prepared->isDouble ? CUBLAS_COMPUTE_64F : CUBLAS_COMPUTE_32F;
  const cudaDataType_t scale = prepared->isDouble ? CUDA_R_64F : CUDA_R_32F;
  const cudaDataType_t factors = typeOf(p.factors), result = typeOf(p.result);
  MORPH_RETURN_IF_ERROR(blas.check(blas.MatmulDescCreate(prepared->operation.address(), compute, scale), "a product"));
  auto set = [&](cublasLtMatmulDescAttributes_t attribute, const auto &value) {
    return blas.check(blas.MatmulDescSetAttribute(prepared->operation.get(), attribute, &value, sizeof(value)),
                      "an attribute of a product");
  };
  const ColumnMajorProduct columns = columnMajorOf(p);
  const cublasOperation_t opFirst = columns.first.transposed ? CUBLAS_OP_T : CUBLAS_OP_N,
                          opSecond = columns.second.transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
  const cublasLtEpilogue_t epilogue = kind.hasBias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
  MORPH_RETURN_IF_ERROR(set(CUBLASLT_MATMUL_DESC_TRANSA, opFirst));
  MORPH_RETURN_IF_ERROR(set(CUBLASLT_MATMUL_DESC_TRANSB, opSecond));
  MORPH_RETURN_IF_ERROR(set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue));
  if (kind.hasBias) {
    MORPH_RETURN_IF_ERROR(set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, result));
    MORPH_RETURN_IF_ERROR(set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias));
  }
  auto lay = [&](Prepared::Owned<cublasLtMatrixLayout_t> &layout, const ColumnMajor &matrix,
                 cudaDataType_t type) -> Status {
    MORPH_RETURN_IF_ERROR(blas.check(blas.MatrixLayoutCreate(layout.address(), type, static_cast<uint64_t>(matrix.rows),
                                                             static_cast<uint64_t>(matrix.columns), matrix.leading),
                                     "a layout"));
    if (p.batch == 1)
      return Status();
    const auto batch = static_cast<int32_t>(p.batch);
    MORPH_RETURN_IF_ERROR(blas.check(
        blas.MatrixLayoutSetAttribute(layout.get(), CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &batch, sizeof(batch)),
        "a batch"));
    return blas.check(blas.MatrixLayoutSetAttribute(layout.get(), CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                                                    &matrix.batchStride, sizeof(matrix.batchStride)),
                      "a batch");
  };
  MORPH_RETURN_IF_ERROR(lay(prepared->first, columns.first, factors));
  MORPH_RETURN_IF_ERROR(lay(prepared->second, columns.second, factors));
  MORPH_RETURN_IF_ERROR(lay(prepared->result, columns.result, result));
  return prepared;
}

StatusOr<std::vector<CudaProducts::Candidate>> CudaProducts::candidates(const ProductKind &kind,
                                                                        const Prepared &prepared) {
  const CublasLt &blas = *blas_;
  Prepared::Owned<cublasLtMatmulPreference_t> preference(blas.MatmulPreferenceDestroy);
  MORPH_RETURN_IF_ERROR(blas.check(blas.MatmulPreferenceCreate(preference.address()), "a preference"));
  auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto &value) {
    return blas.check(blas.MatmulPreferenceSetAttribute(preference.get(), attribute, &value, sizeof(value)),
                      "a preference");
  };
  const uint64_t workspace = kWorkspaceBytes;
  const uint32_t reduction = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
  MORPH_RETURN_IF_ERROR(prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace));
  MORPH_RETURN_IF_ERROR(prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, reduction));
  // The library's first factor is our b.
  const auto a = static_cast<uint32_t>(kind.alignments[0]), b = static_cast<uint32_t>(kind.alignments[1]),
             c = static_cast<uint32_t>(kind.alignments[3]);
  MORPH_RETURN_IF_ERROR(prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, b));
  MORPH_RETURN_IF_ERROR(prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, a));
  MORPH_RETURN_IF_ERROR(prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, c));
  MORPH_RETURN_IF_ERROR(prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, c));

  std::vector<cublasLtMatmulHeuristicResult_t> found(kProposals);
  int count = 0;
  MORPH_RETURN_IF_ERROR(
      blas.check(blas.MatmulAlgoGetHeuristic(handle_, prepared.operation.get(), prepared.first.get(),
                                             prepared.second.get(), prepared.result.get(), prepared.result.get(),
                                             preference.get(), kProposals, found.data(), &count),
                 "no algorithm of cuBLASLt for " + kind.text()));
  std::vector<Candidate> list;
  for (int i = 0; i < count; ++i) {
    const cublasLtMatmulHeuristicResult_t &proposal = found[static_cast<size_t>(i)];
    if (proposal.state != CUBLAS_STATUS_SUCCESS || proposal.workspaceSize > kWorkspaceBytes)
      continue;
    Candidate candidate;
    candidate.algorithm = proposal.algo;
    for (const cublasLtMatmulAlgoConfigAttributes_t attribute :
         {CUBLASLT_ALGO_CONFIG_ID, CUBLASLT_ALGO_CONFIG_TILE_ID, CUBLASLT_ALGO_CONFIG_SPLITK_NUM,
          CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME, CUBLASLT_ALGO_CONFIG_CTA_SWIZZLING, CUBLASLT_ALGO_CONFIG_CUSTOM_OPTION,
          CUBLASLT_ALGO_CONFIG_STAGES_ID, CUBLASLT_ALGO_CONFIG_INNER_SHAPE_ID, CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID}) {
      // The last two are 16 bits wide.
      const bool isShort =
          attribute == CUBLASLT_ALGO_CONFIG_INNER_SHAPE_ID || attribute == CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID;
      uint32_t value = 0;
      size_t written = 0;
      // What an algorithm does not have is 0.
      if (blas.MatmulAlgoConfigGetAttribute(&proposal.algo, attribute, &value, isShort ? 2 : 4, &written) !=
          CUBLAS_STATUS_SUCCESS)
        value = 0;
      candidate.name += (candidate.name.empty() ? "" : "/") + std::to_string(value);
    }
    list.push_back(std::move(candidate));
  }
  if (list.empty())
    return Status::failed("no algorithm of cuBLASLt for " + kind.text());
  return list;
}

cublasStatus_t CudaProducts::start(const Prepared &prepared, const cublasLtMatmulAlgo_t &algorithm, const void *a,
                                   const void *b, void *c) const {
  static const float one = 1, zero = 0;
  static const double oneDouble = 1, zeroDouble = 0;
  const void *alpha = prepared.isDouble ? static_cast<const void *>(&oneDouble) : &one;
  const void *nothing = prepared.isDouble ? static_cast<const void *>(&zeroDouble) : &zero;
  return blas_->Matmul(handle_, prepared.operation.get(), alpha, b, prepared.first.get(), a, prepared.second.get(),
                       nothing, c, prepared.result.get(), c, prepared.result.get(), &algorithm,
                       reinterpret_cast<void *>(workspace_), kWorkspaceBytes,
                       reinterpret_cast<cudaStream_t>(state_.stream));
}

StatusOr<size_t> CudaProducts::measure(const Prepared &prepared, const std::vector<Candidate> &list, const void *a,
                                       const void *b, void *c, const std::string &what) {
  const CudaDriver &driver = *state_.driver;
  auto timed = [&](const Candidate &candidate, int repeats) -> StatusOr<double> {
    MORPH_RETURN_IF_ERROR(state_.check(driver.cuEventRecord(begin_, state_.stream), what));
    for (int i = 0; i < repeats; ++i)
      MORPH_RETURN_IF_ERROR(blas_->check(start(prepared, candidate.algorithm, a, b, c), what));
    MORPH_RETURN_IF_ERROR(state_.check(driver.cuEventRecord(end_, state_.stream), what));
    MORPH_RETURN_IF_ERROR(state_.check(driver.cuEventSynchronize(end_), what));
    float milliseconds = 0;
    MORPH_RETURN_IF_ERROR(state_.check(driver.cuEventElapsedTime(&milliseconds, begin_, end_), what));
    return milliseconds * 1e-3 / repeats;
  };
  // The first time warms up; what fails then is no candidate. Then in turn, so that all see the same machine.
  Status failure;
  std::vector<double> best(list.size(), -1);
  std::vector<int> repeats(list.size(), 0);
  int rounds = kRounds;
  for (int round = 0; round <= rounds; ++round)
    for (size_t i = 0; i < list.size(); ++i) {
      if (round > 0 && repeats[i] == 0)
        continue;
      StatusOr<double> seconds = timed(list[i], std::max(repeats[i], 1));
      if (!seconds.ok()) {
        repeats[i] = 0;
        failure = std::move(seconds).status();
      } else if (round == 0) {
        repeats[i] = *seconds < kShort ? kRepeats : 1;
        if (*seconds > kLong)
          rounds = 1;
      } else {
        best[i] = best[i] < 0 ? *seconds : std::min(best[i], *seconds);
      }
    }
  size_t chosen = list.size();
  for (size_t i = 0; i < list.size(); ++i)
    if (repeats[i] > 0 && (chosen == list.size() || best[i] * kClearly < best[chosen]))
      chosen = i;
  if (chosen == list.size())
    return failure;
  return chosen;
}

Status CudaProducts::run(const CudaProduct &product, const void *a, const void *b, const void *bias, void *c,
                         const std::string &what) {
  ProductKind kind{product, bias != nullptr, {alignmentOf(a), alignmentOf(b), alignmentOf(bias), alignmentOf(c)}};
  auto found = prepared_.find(kind);
  if (found != prepared_.end()) {
    const Prepared &prepared = *found->second;
    if (bias)
      MORPH_RETURN_IF_ERROR(
          blas_->check(blas_->MatmulDescSetAttribute(prepared.operation.get(), CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias,
                                                     sizeof(bias)),
                       what));
    return blas_->check(start(prepared, prepared.algorithm, a, b, c), what);
  }

  MORPH_ASSIGN_OR_RETURN(std::unique_ptr<Prepared> prepared, prepare(kind, bias));
  MORPH_ASSIGN_OR_RETURN(std::vector<Candidate> list, candidates(kind, *prepared));
  const std::string text = kind.text(), kept = choices_.find(text);
  auto named = [&](const std::string &name) {
    return std::find_if(list.begin(), list.end(), [&](const Candidate &each) { return each.name == name; });
  };
  auto chosen = named(kept);
  bool isFinal = true;
  if (chosen == list.end()) {
    chosen = list.begin();
    if (state_.capturing)
      isFinal = false;
    else if (choices_.kept() && list.size() > 1) {
      list.resize(std::min(list.size(), kMeasured));
      MORPH_ASSIGN_OR_RETURN(const size_t fastest, measure(*prepared, list, a, b, c, what));
      chosen = list.begin();
      if (fastest < list.size()) {
        ++measured_;
        // Another process may have been first: what is in the file counts.
        chosen = named(choices_.keep(text, list[fastest].name, kept));
        if (chosen == list.end())
          chosen = list.begin() + static_cast<std::ptrdiff_t>(fastest);
      }
    }
  }
  prepared->algorithm = chosen->algorithm;
  MORPH_RETURN_IF_ERROR(blas_->check(start(*prepared, prepared->algorithm, a, b, c), what));
  if (isFinal) {
    if (prepared_.size() >= kMostKinds)
      prepared_.clear();
    prepared_.emplace(kind, std::move(prepared));
  }
  return Status();
}

} // namespace morph
