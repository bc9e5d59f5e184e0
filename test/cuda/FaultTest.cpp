// SPDX-License-Identifier: Apache-2.0
// Kernels with a fault, each of which the stand-in finds and names, beside the same kernel without it.

#include "test/cuda/CudaTesting.h"

#include <algorithm>
#include <set>

namespace morph {
namespace {

using testing::HasSubstr;

/// Replaces the first `from` at or behind a place.
std::string replaced(std::string text, const std::string &from, const std::string &to, size_t after = 0) {
  size_t place = text.find(from, after);
  EXPECT_NE(place, std::string::npos) << from;
  return text.replace(place, from.size(), to);
}

class FaultTest : public CudaTest {
protected:
  void SetUp() override {
    NEED_STAND_IN();
    CudaTest::SetUp();
  }

  /// Runs a kernel `k` of one block on a buffer of `count` numbers, under a few seeds; expects nothing.
  void expectFine(const std::string &ptx, unsigned threads, size_t count = 1024) {
    for (int seed = 0; seed < 4; ++seed) {
      open({{"SEED", std::to_string(seed)}});
      Buffer<float> buffer(std::vector<float>(count, 1.f));
      EXPECT_CUDA(run(kernel(ptx, "k"), 1, threads, buffer.pointer));
      EXPECT_EQ(takeErrors(), "");
    }
  }
  /// The same; expects that every order shows the fault, and what the call returns and the text says.
  void expectFault(const std::string &ptx, unsigned threads, const std::string &result,
                   const std::vector<std::string> &parts, size_t count = 1024) {
    for (int seed = 0; seed < 4; ++seed) {
      open({{"SEED", std::to_string(seed)}});
      CUdeviceptr pointer = 0;
      ASSERT_CUDA(cuda().cuMemAlloc(&pointer, count * 4));
      ASSERT_CUDA(cuda().cuMemsetD8Async(pointer, 0, count * 4, nullptr));
      EXPECT_EQ(errorName(run(kernel(ptx, "k"), 1, threads, pointer)), result);
      EXPECT_GT(cuda().morphStandInErrors(), 0u);
      std::string texts = takeErrors();
      for (const std::string &part : parts)
        EXPECT_THAT(texts, HasSubstr(part)) << "seed " << seed;
    }
  }
};

const char *const kShared = ".shared .align 16 .b8 s[1024];\n";
/// %rd1: the thread's place in a buffer of floats; %r1: in shared memory; %r0: the thread.
const std::string kPlaces = "  mov.u32 %r0, %tid.x;\n  mul.wide.u32 %rd1, %r0, 4;\n  add.s64 %rd1, %rd0, %rd1;\n"
                            "  mov.u32 %r2, s;\n  shl.b32 %r1, %r0, 2;\n  add.s32 %r1, %r1, %r2;\n";
const std::string kPlacesGlobal = "  mov.u32 %r0, %tid.x;\n  mul.wide.u32 %rd1, %r0, 4;\n  add.s64 %rd1, %rd0, %rd1;\n";

TEST_F(FaultTest, LoadBeyondABuffer) {
  std::string text = kernelText("u64 a", kPlacesGlobal + "  ld.global.f32 %f1, [%rd1];\n");
  expectFine(text, 64, 64);
  expectFault(text, 64, "CUDA_ERROR_ILLEGAL_ADDRESS",
              {"kernel k, PTX line 17 `ld.global.f32 %f1, [%rd1]`, block (0,0,0) thread (63,0,0): loads 4 bytes at 0x",
               "0 bytes behind an allocation of 252"},
              63);
}

TEST_F(FaultTest, StoreBeyondABuffer) {
  expectFault(kernelText("u64 a", kPlacesGlobal + "  st.global.v2.f32 [%rd0+48], {%f1, %f1};\n"), 1,
              "CUDA_ERROR_ILLEGAL_ADDRESS",
              {"`st.global.v2.f32 [%rd0+48], {%f1, %f1}`", "stores 8 bytes", "beyond its end"}, 13);
}

TEST_F(FaultTest, AtomicBeyondABuffer) {
  expectFault(kernelText("u64 a", "  red.global.add.u32 [%rd0+16], 1;\n"), 1, "CUDA_ERROR_ILLEGAL_ADDRESS",
              {"changes 4 bytes", "0 bytes behind"}, 4);
}

TEST_F(FaultTest, NullPointer) {
  expectFault(kernelText("u64 a", "  mov.u64 %rd1, 0;\n  ld.global.f32 %f1, [%rd1];\n"), 1,
              "CUDA_ERROR_ILLEGAL_ADDRESS", {"a null pointer"});
}

// A host address is none of the device's.
TEST_F(FaultTest, HostMemoryThatIsNotRegistered) {
  CUfunction function = kernel(kernelText("u64 a", "  ld.global.f32 %f1, [%rd0];\n"), "k");
  float own[4] = {};
  ASSERT_CUDA(cuda().cuMemHostRegister(own, sizeof(own), 0));
  EXPECT_CUDA(run(function, 1, 1, &own[0]));
  ASSERT_CUDA(cuda().cuMemHostUnregister(own));
  EXPECT_CUDA_ERROR(run(function, 1, 1, &own[0]), CUDA_ERROR_ILLEGAL_ADDRESS);
  EXPECT_THAT(takeErrors(), HasSubstr("no device memory"));
}

TEST_F(FaultTest, DeviceMemoryIsNotTheHosts) {
  CUdeviceptr pointer = 0;
  ASSERT_CUDA(cuda().cuMemAlloc(&pointer, 16));
  EXPECT_DEATH(std::printf("%f", *reinterpret_cast<volatile float *>(pointer)), "");
}

TEST_F(FaultTest, WhatALaunchWasNotGiven) {
  CUfunction function = kernel(kernelText("u64 a", kPlacesGlobal + "  st.global.f32 [%rd1], 0f3F800000;\n"), "k");
  Buffer<float> buffer(1024), other(64);
  const CUdeviceptr at = buffer.pointer;
  // Spans that overlap are one; what is not memory is none.
  const CUdeviceptr bounds[] = {at + 512, at + 768, at, at + 128, at + 64, at + 256, 4096, 8192};
  cuda().morphStandInConfine(bounds, 4);
  EXPECT_CUDA(run(function, 1, 64, at));
  EXPECT_CUDA(run(function, 1, 64, at + 512));
  EXPECT_CUDA_ERROR(run(function, 1, 65, at), CUDA_ERROR_ILLEGAL_ADDRESS);
  EXPECT_THAT(takeErrors(), HasSubstr("thread (64,0,0): stores 4 bytes at"));
  EXPECT_CUDA_ERROR(run(function, 1, 1, at + 1024), CUDA_ERROR_ILLEGAL_ADDRESS);
  EXPECT_THAT(takeErrors(), HasSubstr("1024 bytes into an allocation of 4096, in no buffer that the launch was given "
                                      "(256 bytes behind the nearest below)"));
  EXPECT_CUDA_ERROR(run(function, 1, 1, other.pointer), CUDA_ERROR_ILLEGAL_ADDRESS);
  EXPECT_THAT(takeErrors(), HasSubstr("0 bytes into an allocation of 256, in no buffer that the launch was given\n"));
  // Copies are given all that is alive, and so is everything from here on.
  char host[4096];
  EXPECT_CUDA(cuda().cuMemcpyDtoH(host, at, sizeof(host)));
  cuda().morphStandInConfine(nullptr, 0);
  EXPECT_CUDA(run(function, 1, 1024, at));
}

TEST_F(FaultTest, BuffersSideBySideAreTwo) {
  Buffer<float> buffer(std::vector<float>(4, 0.f));
  const CUdeviceptr at = buffer.pointer, bounds[] = {at, at + 4, at + 4, at + 8};
  cuda().morphStandInConfine(bounds, 2);
  EXPECT_CUDA(run(kernel(kernelText("u64 a", "  ld.global.f32 %f1, [%rd0+4];\n"), "k"), 1, 1, at));
  EXPECT_CUDA_ERROR(run(kernel(kernelText("u64 a", "  ld.global.u64 %rd1, [%rd0];\n"), "k"), 1, 1, at),
                    CUDA_ERROR_ILLEGAL_ADDRESS);
  EXPECT_THAT(takeErrors(), HasSubstr("beyond the end of a buffer of 4 bytes that the launch was given"));
  cuda().morphStandInConfine(nullptr, 0);
}

// A module's variables are its kernels' own.
TEST_F(FaultTest, VariablesOfTheModule) {
  Buffer<float> buffer(std::vector<float>(1, 0.f));
  const CUdeviceptr bounds[] = {buffer.pointer, buffer.pointer + 4};
  CUfunction function = kernel(kernelText("u64 a", "  ld.global.f32 %f1, [v];\n  st.global.f32 [%rd0], %f1;\n",
                                          ".global .f32 v = 0f40400000;\n"),
                               "k");
  cuda().morphStandInConfine(bounds, 1);
  EXPECT_CUDA(run(function, 1, 1, buffer.pointer));
  cuda().morphStandInConfine(nullptr, 0);
  EXPECT_EQ(buffer.read()[0], 3);
}

// What a library does with memory that it was not given.
TEST_F(FaultTest, WorkOfALibrary) {
  Buffer<float> buffer(64);
  const CUdeviceptr bounds[] = {buffer.pointer, buffer.pointer + 128};
  const auto work = [](const void *data) {
    cuda().morphStandInHostPointer(*static_cast<const CUdeviceptr *>(data), 128, "a product");
  };
  CUdeviceptr inside = buffer.pointer, outside = buffer.pointer + 64;
  cuda().morphStandInConfine(bounds, 1);
  ASSERT_CUDA(cuda().morphStandInEnqueue(nullptr, work, &inside, sizeof(inside)));
  cuda().morphStandInConfine(nullptr, 0);
  ASSERT_CUDA(cuda().morphStandInEnqueue(nullptr, work, &outside, sizeof(outside)));
  EXPECT_CUDA(cuda().cuCtxSynchronize());
  cuda().morphStandInConfine(bounds, 1);
  ASSERT_CUDA(cuda().morphStandInEnqueue(nullptr, work, &outside, sizeof(outside)));
  cuda().morphStandInConfine(nullptr, 0);
  EXPECT_CUDA_ERROR(cuda().cuCtxSynchronize(), CUDA_ERROR_ILLEGAL_ADDRESS);
  EXPECT_THAT(takeErrors(), HasSubstr("a product: 128 bytes from 64 bytes into an allocation of 256, beyond the end of "
                                      "a buffer of 128 bytes that the launch was given; byte 64 is 128 bytes into"));
}

TEST_F(FaultTest, FreedMemory) {
  CUfunction function = kernel(kernelText("u64 a", "  ld.global.f32 %f1, [%rd0];\n"), "k");
  CUdeviceptr pointer = 0;
  ASSERT_CUDA(cuda().cuMemAlloc(&pointer, 64));
  ASSERT_CUDA(cuda().cuMemFree(pointer));
  EXPECT_CUDA_ERROR(run(function, 1, 1, pointer), CUDA_ERROR_ILLEGAL_ADDRESS);
  EXPECT_THAT(takeErrors(), HasSubstr("0 bytes into an allocation of 64 that was freed"));
}

TEST_F(FaultTest, MisalignedVector) {
  expectFault(kernelText("u64 a", "  ld.global.v4.f32 {%f1, %f2, %f3, %f4}, [%rd0+4];\n"), 1,
              "CUDA_ERROR_MISALIGNED_ADDRESS", {"misaligned access of 16 bytes at 0x"});
}

// An array lies at its own alignment, not at a better one by chance.
TEST_F(FaultTest, SharedArrayWithTooLittleAlignment) {
  std::string body = "  mov.u32 %r2, s;\n  st.shared.v4.f32 [%r2], {%f1, %f1, %f1, %f1};\n";
  expectFine(kernelText("u64 a", body, ".shared .align 16 .b8 s[64];\n"), 1);
  expectFault(kernelText("u64 a", body, ".shared .align 2 .b8 s[64];\n"), 1, "CUDA_ERROR_MISALIGNED_ADDRESS",
              {"misaligned access of 16 bytes at shared byte"});
}

TEST_F(FaultTest, OutsideSharedVariables) {
  std::string two = ".shared .align 16 .b8 s[64];\n.shared .align 16 .b8 t[64];\n";
  auto body = [](int at) {
    return "  mov.u32 %r2, s;\n  mov.u32 %r3, t;\n  st.shared.u32 [%r3], 0;\n  st.shared.u32 [%r2+" +
           std::to_string(at) + "], 0;\n";
  };
  expectFine(kernelText("u64 a", body(60), two), 1);
  expectFault(kernelText("u64 a", body(64), two), 1, "CUDA_ERROR_ILLEGAL_ADDRESS",
              {"outside every variable of shared memory"});
}

TEST_F(FaultTest, BeyondDynamicSharedMemory) {
  CUfunction function = kernel(
      kernelText("u64 a", "  mov.u32 %r2, d;\n  st.shared.u32 [%r2+124], 0;\n", ".extern .shared .align 16 .b8 d[];\n"),
      "k");
  dynamicShared = 128;
  EXPECT_CUDA(run(function, 1, 1, CUdeviceptr(0)));
  dynamicShared = 124;
  EXPECT_CUDA_ERROR(run(function, 1, 1, CUdeviceptr(0)), CUDA_ERROR_ILLEGAL_ADDRESS);
  EXPECT_THAT(takeErrors(), HasSubstr("outside every variable of shared memory"));
}

TEST_F(FaultTest, OutsideLocalMemory) {
  auto text = [](int at) {
    return kernelText("u64 a", "  .local .align 16 .b8 l[64];\n  mov.u64 %rd2, l;\n  st.local.u32 [%rd2+" +
                                   std::to_string(at) + "], 0;\n  ld.local.u32 %r1, [%rd2+" + std::to_string(at) +
                                   "];\n  st.global.u32 [%rd0], %r1;\n");
  };
  expectFine(text(60), 1);
  expectFault(text(64), 1, "CUDA_ERROR_ILLEGAL_ADDRESS", {"outside the thread's local memory"});
  expectFault(text(1 << 20), 1, "CUDA_ERROR_ILLEGAL_ADDRESS", {"outside the thread's local memory"});
}

// --- Shared memory ---------------------------------------------------------------------------------------------------

/// Every thread writes its word, then reads that of the thread 32 further: of another warp.
std::string exchange(const std::string &between, int distance = 32) {
  return kernelText("u64 a",
                    kPlaces + "  ld.global.f32 %f1, [%rd1];\n  st.shared.f32 [%r1], %f1;\n" + between +
                        "  xor.b32 %r3, %r0, " + std::to_string(distance) +
                        ";\n  shl.b32 %r3, %r3, 2;\n  add.s32 %r3, %r3, %r2;\n" +
                        "  ld.shared.f32 %f2, [%r3];\n  st.global.f32 [%rd1], %f2;\n",
                    kShared);
}

TEST_F(FaultTest, ReadAfterWriteWithoutABarrier) {
  expectFine(exchange("  bar.sync 0;\n"), 64);
  // The first to come reads what nobody has written yet, the last one what another has written.
  expectFault(exchange(""), 64, "CUDA_ERROR_LAUNCH_FAILED",
              {"`ld.shared.f32 %f2, [%r3]`", "reads uninitialised shared memory at byte",
               "race: reads what another thread has written with no barrier between, in shared memory at byte",
               "`st.shared.f32 [%r1], %f1`)"});
}

TEST_F(FaultTest, LanesOfAWarpWithoutABarrier) {
  expectFine(exchange("  bar.warp.sync -1;\n", 1), 64);
  expectFine(exchange("  bar.sync 0;\n", 1), 64);
  // A shuffle orders nothing.
  expectFault(exchange("  shfl.sync.bfly.b32 %r5, %r0, 1, 31, -1;\n", 1), 64, "CUDA_ERROR_LAUNCH_FAILED",
              {"race: reads what another thread has written with no barrier between"});
  // Nor does the barrier of a warp order other warps.
  expectFault(exchange("  bar.warp.sync -1;\n", 32), 64, "CUDA_ERROR_LAUNCH_FAILED",
              {"race: reads what another thread has written"});
}

TEST_F(FaultTest, WriteAfterReadWithoutABarrier) {
  auto text = [](const std::string &between) {
    return kernelText(
        "u64 a",
        kPlaces +
            "  st.shared.u32 [%r1], %r0;\n  bar.sync 0;\n  xor.b32 %r3, %r1, 128;\n  ld.shared.u32 %r4, [%r3];\n" +
            between + "  st.shared.u32 [%r1], %r4;\n",
        kShared);
  };
  expectFine(text("  bar.sync 0;\n"), 64);
  expectFault(text(""), 64, "CUDA_ERROR_LAUNCH_FAILED",
              {"race: writes what another thread has read with no barrier between"});
}

TEST_F(FaultTest, TwoThreadsWriteOneWord) {
  auto text = [](const std::string &between) {
    return kernelText("u64 a", kPlaces + "  st.shared.u32 [%r1], 0;\n" + between + "  st.shared.u32 [%r2], 0;\n",
                      kShared);
  };
  expectFine(text(""), 1);
  expectFault(text("  bar.sync 0;\n"), 64, "CUDA_ERROR_LAUNCH_FAILED",
              {"race: writes what another thread has written with no barrier between"});
}

// Bytes are told apart: two threads may write the halves of a word.
TEST_F(FaultTest, HalvesOfAWordAreNoRace) {
  expectFine(
      kernelText(
          "u64 a",
          kPlaces +
              "  shl.b32 %r3, %r0, 1;\n  add.s32 %r3, %r3, %r2;\n  mov.u16 %rs1, 7;\n  st.shared.u16 [%r3], %rs1;\n",
          kShared),
      64);
}

TEST_F(FaultTest, SharedAtomicsAreNoRaceAmongThemselves) {
  auto text = [](const std::string &between) {
    return kernelText("u64 a",
                      kPlaces +
                          "  setp.ne.u32 %p1, %r0, 0;\n  @!%p1 st.shared.u32 [%r2], 0;\n  bar.sync 0;\n"
                          "  atom.shared.add.u32 %r4, [%r2], 2;\n" +
                          between + "  ld.shared.u32 %r5, [%r2];\n  st.global.u32 [%rd1], %r5;\n",
                      kShared);
  };
  expectFine(text("  bar.sync 0;\n"), 64);
  expectFault(text(""), 64, "CUDA_ERROR_LAUNCH_FAILED", {"race: reads what another thread has written"});
}

TEST_F(FaultTest, UninitialisedSharedMemory) {
  expectFault(kernelText("u64 a", kPlaces + "  ld.shared.f32 %f1, [%r1+4];\n  st.global.f32 [%rd1], %f1;\n", kShared),
              32, "CUDA_ERROR_LAUNCH_FAILED", {"reads uninitialised shared memory at byte"});
}

// What an earlier block of the same host thread wrote is not there.
TEST_F(FaultTest, SharedMemoryOfAnEarlierBlock) {
  CUfunction function = kernel(
      kernelText("u64 a",
                 kPlaces + "  mov.u32 %r4, %ctaid.x;\n  setp.eq.u32 %p1, %r4, 0;\n  @%p1 st.shared.u32 [%r1], %r0;\n"
                           "  ld.shared.u32 %r5, [%r1];\n  st.global.u32 [%rd1], %r5;\n",
                 kShared),
      "k");
  Buffer<float> buffer(64);
  EXPECT_CUDA(run(function, 1, 32, buffer.pointer));
  EXPECT_CUDA_ERROR(run(function, 2, 32, buffer.pointer), CUDA_ERROR_LAUNCH_FAILED);
  EXPECT_THAT(takeErrors(), HasSubstr("block (1,0,0) thread"));
}

// Warps 0 and 1 wait at barrier 1 for each other, 2 and 3 at barrier 2.
TEST_F(FaultTest, NamedBarriers) {
  auto text = [](int distance) {
    return exchange("  shr.u32 %r6, %r0, 6;\n  add.s32 %r6, %r6, 1;\n  bar.sync %r6, 64;\n", distance);
  };
  expectFine(text(32), 128);
  // A warp of the other pair has not been waited for.
  expectFault(text(64), 128, "CUDA_ERROR_LAUNCH_FAILED", {"with no barrier between"});
}

// --- Asynchronous copies ---------------------------------------------------------------------------------------------

std::string copies(const std::string &wait, const std::string &barrier, int distance) {
  return kernelText("u64 a",
                    kPlaces +
                        "  cp.async.ca.shared.global [%r1], [%rd1], 4;\n  cp.async.commit_group;\n"
                        "  cp.async.ca.shared.global [%r1+512], [%rd1], 4;\n  cp.async.commit_group;\n" +
                        wait + barrier + "  xor.b32 %r3, %r1, " + std::to_string(distance) +
                        ";\n  ld.shared.f32 %f1, [%r3];\n  st.global.f32 [%rd1+2048], %f1;\n",
                    kShared);
}

TEST_F(FaultTest, AsynchronousCopies) {
  expectFine(copies("  cp.async.wait_group 1;\n", "", 0), 64);
  expectFine(copies("  cp.async.wait_group 1;\n", "  bar.sync 0;\n", 128), 64);
  expectFine(copies("  cp.async.wait_all;\n", "  bar.sync 0;\n", 512), 64);
  // Not waited for at all.
  expectFault(copies("", "  bar.sync 0;\n", 0), 64, "CUDA_ERROR_LAUNCH_FAILED",
              {"`ld.shared.f32 %f1, [%r3]`", "touches what an asynchronous copy that was not waited for writes",
               "`cp.async.ca.shared.global [%r1], [%rd1], 4`"});
  // One group may still be on its way: the second.
  expectFault(copies("  cp.async.wait_group 1;\n", "  bar.sync 0;\n", 512), 64, "CUDA_ERROR_LAUNCH_FAILED",
              {"touches what an asynchronous copy that was not waited for writes"});
  // Waited for by the thread that copied, with no barrier for the one that reads.
  expectFault(copies("  cp.async.wait_group 0;\n", "", 128), 64, "CUDA_ERROR_LAUNCH_FAILED",
              {"reads uninitialised", "with no barrier between"});
}

TEST_F(FaultTest, CopyFromBeyondABuffer) {
  std::string text = kernelText(
      "u64 a", "  mov.u32 %r2, s;\n  cp.async.cg.shared.global [%r2], [%rd0], 16, %r3;\n  cp.async.wait_all;\n",
      kShared);
  // %r3 is what the source has.
  expectFine(replaced(text, "  mov.u32 %r2, s;", "  mov.u32 %r2, s;\n  mov.u32 %r3, 8;"), 1, 2);
  expectFault(replaced(text, "  mov.u32 %r2, s;", "  mov.u32 %r2, s;\n  mov.u32 %r3, 12;"), 1,
              "CUDA_ERROR_ILLEGAL_ADDRESS", {"loads 12 bytes"}, 2);
}

// The product kernel of LLVM, with one thing changed.
class ProductFaultTest : public FaultTest {
protected:
  std::string errorsOf(const std::string &ptx, int seed) {
    open({{"SEED", std::to_string(seed)}});
    Buffer<uint16_t> a(std::vector<uint16_t>(512 * 128, 0x3f80)), b(std::vector<uint16_t>(64 * 128, 0x3f80));
    Buffer<float> c(512 * 64);
    void *parameters[] = {&a.pointer, &b.pointer, &c.pointer};
    EXPECT_CUDA(cuda().cuLaunchKernel(kernel(ptx, "product"), 4, 8, 1, 128, 1, 1, 0, nullptr, parameters, nullptr));
    cuda().cuCtxSynchronize();
    return takeErrors();
  }
  std::string ptx = readPtx("product.ptx");
};

TEST_F(ProductFaultTest, AsItIs) {
  for (int seed = 0; seed < 4; ++seed)
    EXPECT_EQ(errorsOf(ptx, seed), "");
}

TEST_F(ProductFaultTest, WithoutABarrier) {
  // Before the fragments are read, and before the buffer is filled again.
  size_t first = ptx.find("bar.sync"), second = ptx.find("bar.sync", first + 1);
  for (int seed = 0; seed < 4; ++seed) {
    EXPECT_THAT(errorsOf(replaced(ptx, "bar.sync", "// ", first), seed), HasSubstr("ldmatrix"));
    EXPECT_THAT(errorsOf(replaced(ptx, "bar.sync", "// ", second), seed),
                HasSubstr("race: writes what another thread has read"));
  }
}

TEST_F(ProductFaultTest, WaitsForOneGroupTooFew) {
  for (int seed = 0; seed < 4; ++seed)
    EXPECT_THAT(errorsOf(replaced(ptx, "cp.async.wait_group 1", "cp.async.wait_group 2"), seed),
                HasSubstr("that was not waited for"));
}

// --- Global memory between threads of a block ------------------------------------------------------------------------

/// Every thread writes its word of device memory, then reads that of the thread `distance` further.
std::string exchangeGlobal(const std::string &between, int distance = 32) {
  return kernelText("u64 a", kPlacesGlobal + "  st.global.u32 [%rd1], %r0;\n" + between + "  xor.b32 %r3, %r0, " +
                                 std::to_string(distance) +
                                 ";\n  mul.wide.u32 %rd2, %r3, 4;\n  add.s64 %rd2, %rd0, %rd2;\n" +
                                 "  ld.global.u32 %r4, [%rd2];\n");
}

TEST_F(FaultTest, GlobalReadAfterWriteWithoutABarrier) {
  expectFine(exchangeGlobal("  bar.sync 0;\n"), 64);
  expectFault(exchangeGlobal(""), 64, "CUDA_ERROR_LAUNCH_FAILED",
              {"race: reads what another thread has written with no barrier between, in device memory, ",
               " bytes into an allocation of 4096 (thread (", "`st.global.u32 [%rd1], %r0`)"});
}

TEST_F(FaultTest, GlobalLanesOfAWarpWithoutABarrier) {
  expectFine(exchangeGlobal("  bar.warp.sync -1;\n", 1), 64);
  expectFault(exchangeGlobal("  shfl.sync.bfly.b32 %r5, %r0, 1, 31, -1;\n", 1), 64, "CUDA_ERROR_LAUNCH_FAILED",
              {"race: reads what another thread has written with no barrier between, in device memory"});
  expectFault(exchangeGlobal("  bar.warp.sync -1;\n"), 64, "CUDA_ERROR_LAUNCH_FAILED",
              {"race: reads what another thread has written with no barrier between, in device memory"});
}

TEST_F(FaultTest, GlobalWriteAfterReadWithoutABarrier) {
  // Vectors too: a thread reads 16 bytes, of which three others write their words.
  auto text = [](const std::string &between) {
    return kernelText("u64 a", kPlacesGlobal +
                                   "  and.b64 %rd2, %rd1, -16;\n  ld.global.v4.f32 {%f1, %f2, %f3, %f4}, "
                                   "[%rd2];\n" +
                                   between + "  st.global.u32 [%rd1], %r0;\n");
  };
  expectFine(text("  bar.sync 0;\n"), 64);
  expectFault(text(""), 64, "CUDA_ERROR_LAUNCH_FAILED",
              {"race: writes what another thread has read with no barrier between, in device memory"});
}

TEST_F(FaultTest, GlobalWritesOfTwoThreads) {
  // One after the other, and the same number.
  auto text = [](const std::string &between) {
    return kernelText("u64 a", kPlacesGlobal + "  setp.eq.u32 %p1, %r0, 0;\n  @%p1 st.global.u32 [%rd0], 5;\n" +
                                   between + "  setp.eq.u32 %p1, %r0, 63;\n  @%p1 st.global.u32 [%rd0], 5;\n");
  };
  expectFine(text("  bar.sync 0;\n"), 64);
  expectFault(text(""), 64, "CUDA_ERROR_LAUNCH_FAILED",
              {"race: writes what another thread has written with no barrier between, in device memory"});
  // Halves of a word are two threads' own.
  expectFine(kernelText("u64 a", "  mov.u32 %r0, %tid.x;\n  mul.wide.u32 %rd1, %r0, 2;\n  add.s64 %rd1, %rd0, %rd1;\n"
                                 "  mov.u16 %rs1, 7;\n  st.global.u16 [%rd1], %rs1;\n"),
             64);
}

// By who comes first it is the one or the other that is told.
TEST_F(FaultTest, GlobalAtomicsAreNoRaceAmongThemselves) {
  auto text = [](const std::string &between) {
    return kernelText("u64 a", kPlacesGlobal + "  setp.eq.u32 %p1, %r0, 5;\n  @!%p1 red.global.add.u32 [%rd0], 1;\n" +
                                   between + "  @%p1 ld.global.u32 %r4, [%rd0];\n");
  };
  expectFine(text("  bar.sync 0;\n"), 64);
  expectFault(text(""), 64, "CUDA_ERROR_LAUNCH_FAILED", {"race: ", " with no barrier between, in device memory, "});
}

TEST_F(FaultTest, GlobalAsynchronousCopiesRead) {
  auto text = [](const std::string &between) {
    return kernelText("u64 a",
                      kPlacesGlobal + "  st.global.u32 [%rd1], %r0;\n" + between +
                          "  mov.u32 %r2, s;\n  setp.eq.u32 %p1, %r0, 0;\n"
                          "  @%p1 cp.async.ca.shared.global [%r2], [%rd0+64], 4;\n  cp.async.wait_all;\n",
                      kShared);
  };
  expectFine(text("  bar.sync 0;\n"), 64);
  expectFault(text(""), 64, "CUDA_ERROR_LAUNCH_FAILED", {"race: ", " with no barrier between, in device memory, "});
}

// What a block did lies before the next one's, and much of it is remembered.
TEST_F(FaultTest, GlobalMemoryOfManyBlocks) {
  const std::string text =
      kernelText("u64 a", "  mov.u32 %r0, %tid.x;\n  mov.u32 %r1, %ctaid.x;\n  shl.b32 %r2, %r1, 16;\n"
                          "  shl.b32 %r3, %r0, 4;\n  add.s32 %r2, %r2, %r3;\n  cvt.u64.u32 %rd1, %r2;\n"
                          "  add.s64 %rd1, %rd0, %rd1;\n  mov.u32 %r4, 64;\n$L:\n"
                          "  st.global.v4.f32 [%rd1], {%f1, %f1, %f1, %f1};\n  add.s64 %rd1, %rd1, 1024;\n"
                          "  sub.u32 %r4, %r4, 1;\n  setp.ne.u32 %p1, %r4, 0;\n  @%p1 bra $L;\n"
                          "  add.s64 %rd1, %rd1, -65520;\n  setp.lt.u32 %p1, %r0, LAST;\n"
                          "  @%p1 ld.global.f32 %f2, [%rd1];\n");
  for (bool isRight : {true, false}) {
    open({{"SEED", "1"}});
    Buffer<float> buffer(std::vector<float>(8 << 14, 1.f));
    run(kernel(replaced(text, "LAST", isRight ? "0" : "63"), "k"), 8, 64, buffer.pointer);
    const std::string errors = takeErrors();
    EXPECT_EQ(errors.empty(), isRight) << errors;
  }
}

// --- Global memory between blocks ------------------------------------------------------------------------------------

/// Races of blocks are found in any order of the blocks, on one host thread and on several. Two bytes a block are in
/// %rd1, what the next one has in %rd2 (the first, after the last).
class BlocksTest : public FaultTest {
protected:
  static constexpr unsigned kBlocks = 8;

  static std::string text(const std::string &body) {
    return kernelText("u64 a",
                      "  mov.u32 %r0, %ctaid.x;\n  shl.b32 %r1, %r0, 1;\n  add.s32 %r2, %r1, 2;\n"
                      "  rem.u32 %r2, %r2, 16;\n  cvt.u64.u32 %rd1, %r1;\n  cvt.u64.u32 %rd2, %r2;\n"
                      "  add.s64 %rd1, %rd0, %rd1;\n  add.s64 %rd2, %rd0, %rd2;\n" +
                          body,
                      ".shared .align 16 .b8 s[64];\n");
  }
  /// Under some orders; either all or none of them show something.
  std::string errorsOf(const std::string &body, unsigned launches = 1) {
    std::string all;
    for (int seed = 0; seed < 8; ++seed) {
      open({{"SEED", std::to_string(seed)}, {"THREADS", seed < 4 ? "1" : "2"}});
      Buffer<uint32_t> buffer(std::vector<uint32_t>(64, 0));
      CUfunction function = kernel(text(body), "k");
      for (unsigned i = 0; i < launches; ++i)
        run(function, kBlocks, 1, buffer.pointer);
      const std::string errors = takeErrors();
      EXPECT_EQ(errors.empty(), seed == 0 ? errors.empty() : all.empty()) << "seed " << seed << "\n" << errors;
      all += errors;
    }
    return all;
  }
};

TEST_F(BlocksTest, EachItsOwn) {
  // Neighbours write the halves of a word; what all read nobody writes; the next launch may read what others wrote.
  EXPECT_EQ(errorsOf("  mov.u16 %rs1, 7;\n  st.global.u16 [%rd1], %rs1;\n  ld.global.u16 %rs2, [%rd1];\n"
                     "  ld.global.v4.f32 {%f1, %f2, %f3, %f4}, [%rd0+64];\n"),
            "");
  EXPECT_EQ(errorsOf("  ld.global.u16 %rs1, [%rd1+32];\n  st.global.u16 [%rd1], %rs1;\n", 3), "");
}

TEST_F(BlocksTest, ReadsWhatAnotherWrites) {
  const std::string errors =
      errorsOf("  mov.u16 %rs1, 7;\n  st.global.u16 [%rd1], %rs1;\n  ld.global.u16 %rs2, [%rd2];\n");
  // By who comes first.
  EXPECT_THAT(errors, HasSubstr("`ld.global.u16 %rs2, [%rd2]`"));
  EXPECT_THAT(errors, HasSubstr("race of blocks: reads what block ("));
  EXPECT_THAT(errors, HasSubstr("has written in the same launch, "));
  EXPECT_THAT(errors, HasSubstr("`st.global.u16 [%rd1], %rs1`"));
  EXPECT_THAT(errors, HasSubstr("race of blocks: writes what block ("));
  EXPECT_THAT(errors, HasSubstr("has read in the same launch, "));
  EXPECT_THAT(errors, HasSubstr("bytes into an allocation of 256"));
  EXPECT_NE(errorsOf("  ld.global.u16 %rs2, [%rd2];\n  st.global.u16 [%rd1], %rs2;\n"), "");
  // Of a word that many read, one block writes half.
  EXPECT_THAT(errorsOf("  ld.global.u32 %r3, [%rd0];\n  mov.u16 %rs1, 7;\n  setp.eq.u32 %p1, %r0, 3;\n"
                       "  @%p1 st.global.u16 [%rd0+2], %rs1;\n"),
              HasSubstr("race of blocks: "));
}

TEST_F(BlocksTest, WritesWhatAnotherWrites) {
  EXPECT_THAT(errorsOf("  st.global.u32 [%rd0], %r0;\n"), HasSubstr("race of blocks: writes what block ("));
  // Even the same number.
  EXPECT_THAT(errorsOf("  st.global.u32 [%rd0], 1;\n"), HasSubstr("has written in the same launch"));
}

TEST_F(BlocksTest, AtomicsAreNoRaceAmongThemselves) {
  EXPECT_EQ(errorsOf("  red.global.add.u32 [%rd0], 1;\n  atom.global.add.u32 %r3, [%rd0], 1;\n"), "");
  EXPECT_THAT(errorsOf("  red.global.add.u32 [%rd0], 1;\n  ld.global.u32 %r3, [%rd0];\n"),
              HasSubstr("race of blocks: "));
  EXPECT_THAT(errorsOf("  setp.eq.u32 %p1, %r0, 0;\n  @%p1 st.global.u32 [%rd0], 0;\n"
                       "  red.global.add.u32 [%rd0], 1;\n"),
              HasSubstr("race of blocks: "));
}

TEST_F(BlocksTest, AsynchronousCopiesRead) {
  EXPECT_THAT(errorsOf("  st.global.u16 [%rd1], %rs1;\n  mov.u32 %r3, s;\n"
                       "  cp.async.ca.shared.global [%r3], [%rd0], 4;\n  cp.async.wait_all;\n"),
              HasSubstr("race of blocks: "));
}

// --- Barriers and collectives ----------------------------------------------------------------------------------------

TEST_F(FaultTest, BarrierThatNotAllReach) {
  expectFault(kernelText("u64 a", "  mov.u32 %r0, %tid.x;\n  setp.eq.u32 %p1, %r0, 5;\n  @%p1 ret;\n  bar.sync 0;\n"),
              64, "CUDA_ERROR_LAUNCH_FAILED",
              {"`bar.sync 0`", "barrier 0 is not reached by all: 63 of 64 threads wait, thread (5,0,0) has left"});
  expectFault(
      kernelText("u64 a",
                 "  mov.u32 %r0, %tid.x;\n  setp.lt.u32 %p1, %r0, 32;\n  @%p1 bar.sync 1;\n  @!%p1 bar.sync 2;\n"),
      64, "CUDA_ERROR_LAUNCH_FAILED", {"is not reached by all: 32 of 64 threads wait"});
}

TEST_F(FaultTest, LanesAtDifferentBarriers) {
  expectFault(
      kernelText("u64 a",
                 "  mov.u32 %r0, %tid.x;\n  setp.eq.u32 %p1, %r0, 5;\n  @%p1 bar.sync 0;\n  @!%p1 bar.sync 0;\n"),
      32, "CUDA_ERROR_LAUNCH_FAILED", {"lanes of one warp wait at different instructions for a barrier"});
}

TEST_F(FaultTest, ShuffleThatNotAllReach) {
  expectFault(kernelText("u64 a", "  mov.u32 %r0, %tid.x;\n  setp.eq.u32 %p1, %r0, 5;\n  @%p1 ret;\n  "
                                  "shfl.sync.bfly.b32 %r1, %r0, 1, 31, -1;\n"),
              32, "CUDA_ERROR_LAUNCH_FAILED",
              {"`shfl.sync.bfly.b32 %r1, %r0, 1, 31, -1`", "the lanes 0xffffffff do not all come: lane 5 has left"});
  expectFault(kernelText("u64 a", "  mov.u32 %r0, %tid.x;\n  shfl.sync.bfly.b32 %r1, %r0, 1, 31, 0xffff;\n"), 32,
              "CUDA_ERROR_LAUNCH_FAILED", {"the mask 0xffff has not the lane itself"});
  expectFault(
      kernelText("u64 a",
                 "  mov.u32 %r0, %tid.x;\n  setp.eq.u32 %p1, %r0, 5;\n  @%p1 shfl.sync.bfly.b32 %r1, %r0, 1, 31, -1;\n"
                 "  @!%p1 shfl.sync.bfly.b32 %r1, %r0, 2, 31, -1;\n"),
      32, "CUDA_ERROR_LAUNCH_FAILED", {"do not all come: lane", "is at PTX line"});
}

TEST_F(FaultTest, PartOfAWarpAtAProduct) {
  expectFault(kernelText("u64 a", "  mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%f1, %f2, %f3, %f4}, {%r1, "
                                  "%r2, %r3, %r4}, {%r5, %r6}, {%f1, %f2, %f3, %f4};\n"
                                  "  st.global.f32 [%rd0], %f1;\n"),
              16, "CUDA_ERROR_LAUNCH_FAILED", {"the warp has not all of its 32 lanes"});
}

TEST_F(FaultTest, Trap) { expectFault(kernelText("u64 a", "  trap;\n"), 1, "CUDA_ERROR_LAUNCH_FAILED", {"`trap`"}); }

// --- Errors ----------------------------------------------------------------------------------------------------------

TEST_F(FaultTest, AnErrorStays) {
  CUfunction function = kernel(kernelText("u64 a", "  ld.global.f32 %f1, [%rd0];\n"), "k");
  Buffer<float> buffer(16);
  EXPECT_CUDA(launch(function, 1, 1, CUdeviceptr(64)));
  EXPECT_CUDA_ERROR(cuda().cuCtxSynchronize(), CUDA_ERROR_ILLEGAL_ADDRESS);
  EXPECT_CUDA_ERROR(cuda().cuCtxSynchronize(), CUDA_ERROR_ILLEGAL_ADDRESS);
  EXPECT_CUDA_ERROR(launch(function, 1, 1, buffer.pointer), CUDA_ERROR_ILLEGAL_ADDRESS);
  CUdeviceptr pointer = 0;
  EXPECT_CUDA_ERROR(cuda().cuMemAlloc(&pointer, 16), CUDA_ERROR_ILLEGAL_ADDRESS);
  EXPECT_EQ(cuda().morphStandInErrors(), 1u);
  EXPECT_NE(takeErrors(), "");
  EXPECT_EQ(cuda().morphStandInErrors(), 0u);
  EXPECT_CUDA(run(function, 1, 1, buffer.pointer));
}

// The same fault of many threads is told once, and counted as often as it is found.
TEST_F(FaultTest, OneTextForManyThreads) {
  CUfunction function = kernel(
      kernelText("u64 a", kPlaces + "  ld.shared.f32 %f1, [%r1];\n  st.global.f32 [%rd1], %f1;\n", kShared), "k");
  Buffer<float> buffer(64);
  EXPECT_CUDA_ERROR(run(function, 1, 64, buffer.pointer), CUDA_ERROR_LAUNCH_FAILED);
  EXPECT_EQ(cuda().morphStandInErrors(), 64u);
  std::string texts = takeErrors();
  EXPECT_EQ(std::count(texts.begin(), texts.end(), '\n'), 1);
}

TEST_F(FaultTest, WithoutChecks) {
  open({{"CHECKS", "0"}});
  Buffer<float> buffer(std::vector<float>(64, 2.f));
  EXPECT_CUDA(run(kernel(exchange("  bar.sync 0;\n"), "k"), 1, 64, buffer.pointer));
  EXPECT_EQ(buffer.read(), std::vector<float>(64, 2.f));
  MorphStandInCounters counts;
  EXPECT_CUDA_ERROR(cuda().morphStandInCounters("k", &counts), CUDA_ERROR_NOT_FOUND);
}

// --- Orders ----------------------------------------------------------------------------------------------------------

// The last block, warp or lane to write wins: the seeds give different ones.
TEST_F(FaultTest, OrdersDependOnTheSeed) {
  for (auto [grid, block] : {std::pair<unsigned, unsigned>{64, 1}, {1, 512}}) {
    for (bool hasBarrier : {false, true}) {
      std::set<uint32_t> winners;
      for (int seed = 0; seed < 8; ++seed) {
        // Without the checks, which call it the race that it is.
        open({{"SEED", std::to_string(seed)}, {"THREADS", "1"}, {"CHECKS", "0"}});
        Buffer<uint32_t> buffer(1);
        ASSERT_CUDA(run(kernel(kernelText("u64 a", std::string(hasBarrier ? "  bar.sync 0;\n" : "") +
                                                       "  mov.u32 %r0, %tid.x;\n  mov.u32 %r1, %ctaid.x;\n  add.s32 "
                                                       "%r0, %r0, %r1;\n  st.global.u32 [%rd0], %r0;\n"),
                               "k"),
                        grid, block, buffer.pointer));
        winners.insert(buffer.read()[0]);
      }
      EXPECT_GT(winners.size(), 3u);
    }
  }
}

} // namespace
} // namespace morph
