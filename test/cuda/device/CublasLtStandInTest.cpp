// SPDX-License-Identifier: Apache-2.0
// What the stand-in for cuBLASLt refuses, as the real library does.

#include "test/cuda/device/TestDevice.h"

#include <cublasLt.h>

#include <gmock/gmock.h>

namespace morph {
namespace {

/// A function of the library that the test has loaded.
#define CALL(name) reinterpret_cast<decltype(&::name)>(::dlsym(library, #name))

class CublasLtStandIn : public CudaTest {
protected:
  void SetUp() override {
    CudaTest::SetUp();
    if (!standIn<uint64_t()>("morphStandInErrors"))
      GTEST_SKIP() << "the library is none of ours";
    ASSERT_OK(CudaDevice::productLibrary());
    library = ::dlopen("libcublasLt.so.13", RTLD_NOW | RTLD_NOLOAD);
    ASSERT_TRUE(library);
    ASSERT_EQ(CALL(cublasLtCreate)(&handle), CUBLAS_STATUS_SUCCESS);
    layouts = {make(CUDA_R_32F, 16, 16), make(CUDA_R_32F, 16, 16), make(CUDA_R_32F, 16, 16), make(CUDA_R_32F, 16, 16)};
    begin(CUBLAS_COMPUTE_32F, CUDA_R_32F);
    CALL(cublasLtMatmulPreferenceCreate)(&preference);
    const uint64_t workspace = 1 << 20;
    CALL(cublasLtMatmulPreferenceSetAttribute)(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace,
                                               sizeof(workspace));
  }
  cublasLtMatrixLayout_t make(cudaDataType type, uint64_t rows, uint64_t columns) {
    cublasLtMatrixLayout_t layout = nullptr;
    CALL(cublasLtMatrixLayoutCreate)(&layout, type, rows, columns, static_cast<int64_t>(rows));
    return layout;
  }
  void begin(cublasComputeType_t compute, cudaDataType_t scale) {
    CALL(cublasLtMatmulDescCreate)(&operation, compute, scale);
  }
  template <typename T> cublasStatus_t set(cublasLtMatmulDescAttributes_t attribute, T value) {
    return CALL(cublasLtMatmulDescSetAttribute)(operation, attribute, &value, sizeof(value));
  }
  template <typename T>
  cublasStatus_t set(cublasLtMatrixLayout_t layout, cublasLtMatrixLayoutAttribute_t attribute, T value) {
    return CALL(cublasLtMatrixLayoutSetAttribute)(layout, attribute, &value, sizeof(value));
  }
  cublasStatus_t propose() {
    count = 0;
    return CALL(cublasLtMatmulAlgoGetHeuristic)(handle, operation, layouts[0], layouts[1], layouts[2], layouts[3],
                                                preference, 8, results, &count);
  }
  cublasStatus_t run(const cublasLtMatmulAlgo_t *algorithm, void *a, void *b, void *d, void *workspace = nullptr,
                     size_t bytes = 0) {
    const float one = 1, zero = 0;
    return CALL(cublasLtMatmul)(handle, operation, &one, a, layouts[0], b, layouts[1], &zero, d, layouts[2], d,
                                layouts[3], algorithm, workspace, bytes, static_cast<cudaStream_t>(device->stream()));
  }

  void *library = nullptr;
  cublasLtHandle_t handle = nullptr;
  std::vector<cublasLtMatrixLayout_t> layouts;
  cublasLtMatmulDesc_t operation = nullptr;
  cublasLtMatmulPreference_t preference = nullptr;
  cublasLtMatmulHeuristicResult_t results[8] = {};
  int count = 0;
};

TEST_F(CublasLtStandIn, ProposesThreeAlgorithms) {
  EXPECT_EQ(propose(), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(count, 3);
  const uint32_t four = 4;
  auto *prefer = CALL(cublasLtMatmulPreferenceSetAttribute);
  prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &four, sizeof(four));
  EXPECT_EQ(propose(), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(count, 2);
  const uint64_t none = 0;
  prefer(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &none, sizeof(none));
  EXPECT_EQ(propose(), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(count, 1);
}

TEST_F(CublasLtStandIn, TypesThatAreNone) {
  begin(CUBLAS_COMPUTE_32F_FAST_TF32, CUDA_R_32F);
  EXPECT_EQ(propose(), CUBLAS_STATUS_NOT_SUPPORTED);
  begin(CUBLAS_COMPUTE_64F, CUDA_R_64F);
  EXPECT_EQ(propose(), CUBLAS_STATUS_NOT_SUPPORTED);
  begin(CUBLAS_COMPUTE_32F, CUDA_R_64F);
  EXPECT_EQ(propose(), CUBLAS_STATUS_NOT_SUPPORTED);
  begin(CUBLAS_COMPUTE_32F, CUDA_R_32F);
  layouts[0] = make(CUDA_R_16BF, 16, 16);
  EXPECT_EQ(propose(), CUBLAS_STATUS_NOT_SUPPORTED);
  layouts[1] = make(CUDA_R_16BF, 16, 16);
  EXPECT_EQ(propose(), CUBLAS_STATUS_SUCCESS);
  layouts[2] = make(CUDA_R_16BF, 16, 16);
  EXPECT_EQ(propose(), CUBLAS_STATUS_NOT_SUPPORTED);
  layouts[3] = layouts[2];
  EXPECT_EQ(propose(), CUBLAS_STATUS_SUCCESS);
  layouts[0] = layouts[1] = make(CUDA_R_16F, 16, 16);
  EXPECT_EQ(propose(), CUBLAS_STATUS_NOT_SUPPORTED);
}

TEST_F(CublasLtStandIn, EpiloguesThatAreNone) {
  EXPECT_EQ(set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_GELU_AUX), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(propose(), CUBLAS_STATUS_NOT_SUPPORTED);
  set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
  EXPECT_EQ(propose(), CUBLAS_STATUS_SUCCESS);
  set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, CUDA_R_16BF);
  EXPECT_EQ(propose(), CUBLAS_STATUS_NOT_SUPPORTED);
  set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, CUDA_R_32F);
  EXPECT_EQ(propose(), CUBLAS_STATUS_SUCCESS);
  auto *memory = CublasLtStandIn::memory<float>(256);
  EXPECT_EQ(run(&results[0].algo, memory, memory, memory), CUBLAS_STATUS_INVALID_VALUE); // No bias.
  set(layouts[3], CUBLASLT_MATRIX_LAYOUT_ORDER, int32_t(CUBLASLT_ORDER_ROW));
  EXPECT_EQ(propose(), CUBLAS_STATUS_NOT_SUPPORTED);
  set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_DEFAULT);
  EXPECT_EQ(propose(), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(set(CUBLASLT_MATMUL_DESC_FAST_ACCUM, int8_t(1)), CUBLAS_STATUS_NOT_SUPPORTED);
  EXPECT_EQ(set(CUBLASLT_MATMUL_DESC_TRANSA, int64_t(1)), CUBLAS_STATUS_INVALID_VALUE);
}

TEST_F(CublasLtStandIn, SizesThatDoNotFit) {
  layouts[1] = make(CUDA_R_32F, 15, 16);
  EXPECT_EQ(propose(), CUBLAS_STATUS_INVALID_VALUE);
  layouts[1] = make(CUDA_R_32F, 16, 15);
  EXPECT_EQ(propose(), CUBLAS_STATUS_INVALID_VALUE);
  layouts[1] = make(CUDA_R_32F, 16, 16);
  set(layouts[1], CUBLASLT_MATRIX_LAYOUT_LD, int64_t(15));
  EXPECT_EQ(propose(), CUBLAS_STATUS_INVALID_VALUE);
  set(layouts[1], CUBLASLT_MATRIX_LAYOUT_LD, int64_t(16));
  set(layouts[1], CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, int32_t(2));
  EXPECT_EQ(propose(), CUBLAS_STATUS_INVALID_VALUE);
}

TEST_F(CublasLtStandIn, AddressesAndWorkspacesThatDoNotFit) {
  ASSERT_EQ(propose(), CUBLAS_STATUS_SUCCESS);
  auto *memory = CublasLtStandIn::memory<char>(2048);
  auto *workspace = CublasLtStandIn::memory<char>(2 << 20);
  EXPECT_EQ(run(&results[0].algo, memory, memory, memory + 4), CUBLAS_STATUS_NOT_SUPPORTED);
  EXPECT_EQ(run(&results[1].algo, memory, memory, memory + 2), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(run(&results[1].algo, memory, nullptr, memory), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(run(&results[2].algo, memory, memory, memory + 1024), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(run(&results[2].algo, memory, memory, memory + 1024, workspace, 1000), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(run(&results[2].algo, memory, memory, memory + 1024, workspace + 16, 1 << 20), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(run(&results[2].algo, memory, memory, memory + 1024, workspace, 1 << 20), CUBLAS_STATUS_SUCCESS);
  const cublasLtMatmulAlgo_t unknown = {};
  EXPECT_EQ(run(&unknown, memory, memory, memory + 1024), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_OK(device->synchronize());
}

TEST_F(CublasLtStandIn, MemoryThatIsNotThereIsAnError) {
  ASSERT_EQ(propose(), CUBLAS_STATUS_SUCCESS);
  auto *memory = CublasLtStandIn::memory<char>(1024);
  // 1024 bytes from the middle on.
  EXPECT_EQ(run(&results[0].algo, memory, memory, memory + 512), CUBLAS_STATUS_SUCCESS);
  EXPECT_THAT(messageOf(device->synchronize()), testing::HasSubstr("CUDA_ERROR_"));
  std::string texts(4096, '\0');
  standIn<size_t(char *, size_t)>("morphStandInTakeErrors")(texts.data(), texts.size());
  EXPECT_THAT(texts, testing::HasSubstr("cuBLASLt's d"));
}

} // namespace
} // namespace morph
