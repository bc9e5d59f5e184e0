// SPDX-License-Identifier: Apache-2.0
// Streams, events and graphs: work runs late and in any legal order, so what is not ordered is seen.

#include "test/cuda/CudaTesting.h"

#include <atomic>
#include <chrono>
#include <functional>
#include <set>
#include <thread>

namespace morph {
namespace {

using testing::HasSubstr;

class StreamTest : public CudaTest {
protected:
  /// a[i] = a[i] * factor + added, of n numbers.
  CUfunction affine() {
    return kernel(
        kernelText(
            "u64 a, f32 factor, f32 added, u32 n",
            "  mov.u32 %r1, %tid.x;\n  mov.u32 %r2, %ctaid.x;\n  mov.u32 %r3, %ntid.x;\n  mad.lo.s32 %r1, %r2, %r3, "
            "%r1;\n"
            "  setp.ge.u32 %p1, %r1, %r0;\n  @%p1 ret;\n  mul.wide.u32 %rd1, %r1, 4;\n  add.s64 %rd1, %rd0, %rd1;\n"
            "  ld.global.f32 %f2, [%rd1];\n  fma.rn.f32 %f2, %f2, %f0, %f1;\n  st.global.f32 [%rd1], %f2;\n"),
        "k");
  }
  CUresult apply(CUfunction function, CUstream on, CUdeviceptr pointer, float factor, float added) {
    stream = on;
    CUresult result = launch(function, 1, 32, pointer, factor, added, 32u);
    stream = nullptr;
    return result;
  }
  CUstream makeStream(unsigned flags = CU_STREAM_NON_BLOCKING) {
    CUstream made = nullptr;
    EXPECT_CUDA(cuda().cuStreamCreate(&made, flags));
    return made;
  }
  CUevent makeEvent(unsigned flags = CU_EVENT_DISABLE_TIMING) {
    CUevent made = nullptr;
    EXPECT_CUDA(cuda().cuEventCreate(&made, flags));
    return made;
  }
  /// Runs `once` under some seeds; which first numbers it gives.
  std::set<float> outcomes(const std::function<float()> &once) {
    std::set<float> all;
    for (int seed = 0; seed < 12; ++seed) {
      open({{"SEED", std::to_string(seed)}});
      all.insert(once());
    }
    return all;
  }
};

TEST_F(StreamTest, WorkOfAStreamIsInOrder) {
  EXPECT_EQ(outcomes([&] {
              Buffer<float> buffer(std::vector<float>(32, 1.f));
              CUfunction function = affine();
              CUstream one = makeStream();
              EXPECT_CUDA(apply(function, one, buffer.pointer, 2, 0));
              EXPECT_CUDA(apply(function, one, buffer.pointer, 1, 3));
              EXPECT_CUDA(apply(function, one, buffer.pointer, 10, 0));
              EXPECT_CUDA(cuda().cuStreamSynchronize(one));
              return buffer.read()[0];
            }),
            std::set<float>{50.f});
}

TEST_F(StreamTest, MissingEventIsSeen) {
  NEED_STAND_IN();
  for (bool hasEvent : {true, false}) {
    std::set<float> all = outcomes([&] {
      Buffer<float> buffer(std::vector<float>(32, 1.f));
      CUfunction function = affine();
      CUstream one = makeStream(), two = makeStream();
      CUevent event = makeEvent();
      EXPECT_CUDA(apply(function, one, buffer.pointer, 2, 0));
      EXPECT_CUDA(cuda().cuEventRecord(event, one));
      if (hasEvent) {
        EXPECT_CUDA(cuda().cuStreamWaitEvent(two, event, 0));
      }
      EXPECT_CUDA(apply(function, two, buffer.pointer, 1, 3));
      EXPECT_CUDA(cuda().cuCtxSynchronize());
      return buffer.read()[0];
    });
    EXPECT_EQ(all, hasEvent ? std::set<float>{5.f} : (std::set<float>{5.f, 8.f}));
  }
}

// An event means what was in the stream when it was recorded last, before the wait.
TEST_F(StreamTest, EventRecordedTwice) {
  EXPECT_EQ(outcomes([&] {
              Buffer<float> buffer(std::vector<float>(32, 1.f));
              CUfunction function = affine();
              CUstream one = makeStream(), two = makeStream();
              CUevent event = makeEvent();
              EXPECT_CUDA(cuda().cuEventRecord(event, one));
              EXPECT_CUDA(apply(function, one, buffer.pointer, 2, 0));
              EXPECT_CUDA(cuda().cuEventRecord(event, one));
              EXPECT_CUDA(cuda().cuStreamWaitEvent(two, event, 0));
              EXPECT_CUDA(apply(function, two, buffer.pointer, 1, 3));
              EXPECT_CUDA(cuda().cuStreamSynchronize(two));
              return buffer.read()[0];
            }),
            std::set<float>{5.f});
}

TEST_F(StreamTest, DefaultStreamWaitsForBlockingStreams) {
  NEED_STAND_IN();
  for (unsigned flags : {unsigned(CU_STREAM_DEFAULT), unsigned(CU_STREAM_NON_BLOCKING)}) {
    std::set<float> all = outcomes([&] {
      Buffer<float> buffer(std::vector<float>(32, 1.f));
      CUfunction function = affine();
      CUstream one = makeStream(flags), two = makeStream(flags);
      EXPECT_CUDA(apply(function, one, buffer.pointer, 2, 0));
      EXPECT_CUDA(apply(function, nullptr, buffer.pointer, 1, 3));
      EXPECT_CUDA(apply(function, two, buffer.pointer, 10, 0));
      EXPECT_CUDA(cuda().cuCtxSynchronize());
      return buffer.read()[0];
    });
    if (flags == CU_STREAM_DEFAULT) {
      EXPECT_EQ(all, std::set<float>{50.f});
    } else {
      EXPECT_GT(all.size(), 2u);
    }
  }
}

// A copy from pinned memory reads it when its stream comes to it; one from other memory before the call returns.
TEST_F(StreamTest, CopiesReadPinnedMemoryLate) {
  NEED_STAND_IN();
  Buffer<float> buffer(4);
  CUstream one = makeStream();
  void *pinned = nullptr;
  ASSERT_CUDA(cuda().cuMemHostAlloc(&pinned, 16, 0));
  float *values = static_cast<float *>(pinned);
  values[0] = 1;
  ASSERT_CUDA(cuda().cuMemcpyHtoDAsync(buffer.pointer, values, 4, one));
  values[0] = 2;
  float own = 3;
  ASSERT_CUDA(cuda().cuMemcpyHtoDAsync(buffer.pointer + 4, &own, 4, one));
  own = 4;
  ASSERT_CUDA(cuda().cuMemcpyDtoHAsync(&values[2], buffer.pointer, 8, one));
  EXPECT_NE(values[2], 2);
  ASSERT_CUDA(cuda().cuStreamSynchronize(one));
  EXPECT_EQ(values[2], 2);
  EXPECT_EQ(values[3], 3);
  EXPECT_CUDA(cuda().cuMemFreeHost(pinned));
}

TEST_F(StreamTest, CopiesAndSets) {
  std::vector<uint32_t> numbers(64);
  for (uint32_t i = 0; i < 64; ++i)
    numbers[i] = i;
  Buffer<uint32_t> a(numbers), b(64);
  CUstream one = makeStream();
  EXPECT_CUDA(cuda().cuMemsetD32Async(b.pointer, 0x01020304, 64, one));
  EXPECT_CUDA(cuda().cuMemcpyDtoDAsync(b.pointer + 16, a.pointer, 32, one));
  EXPECT_CUDA(cuda().cuMemsetD8Async(b.pointer + 1, 0xee, 1, one));
  std::vector<uint32_t> result(64);
  EXPECT_CUDA(
      cuda().cuMemcpyDtoHAsync(result.data(), b.pointer, 256, one)); // Into memory that is not pinned: it waits.
  EXPECT_CUDA(cuda().cuStreamSynchronize(one));
  EXPECT_EQ(result[0], 0x0102ee04u);
  EXPECT_EQ(result[3], 0x01020304u);
  EXPECT_EQ(result[4], 0u);
  EXPECT_EQ(result[11], 7u);
  EXPECT_EQ(result[12], 0x01020304u);
  EXPECT_CUDA_ERROR(cuda().cuMemsetD32Async(b.pointer + 2, 0, 1, one), CUDA_ERROR_INVALID_VALUE);
  EXPECT_CUDA_ERROR(cuda().cuMemcpyHtoD(b.pointer + (CUdeviceptr(1) << 45), result.data(), 4),
                    CUDA_ERROR_INVALID_VALUE);
}

TEST_F(StreamTest, EventsAndTime) {
  CUstream one = makeStream();
  Buffer<float> buffer(std::vector<float>(32, 1.f));
  CUfunction function = affine();
  CUevent from = makeEvent(CU_EVENT_DEFAULT), to = makeEvent(CU_EVENT_DEFAULT), plain = makeEvent();
  float milliseconds = -1;
  EXPECT_CUDA(cuda().cuEventQuery(from)); // Never recorded: nothing to wait for.
  EXPECT_CUDA_ERROR(cuda().cuEventElapsedTime(&milliseconds, from, to), CUDA_ERROR_INVALID_HANDLE);
  ASSERT_CUDA(cuda().cuEventRecord(from, one));
  ASSERT_CUDA(apply(function, one, buffer.pointer, 2, 0));
  ASSERT_CUDA(cuda().cuEventRecord(to, one));
  if (isStandIn()) {
    EXPECT_CUDA_ERROR(cuda().cuEventElapsedTime(&milliseconds, from, to), CUDA_ERROR_NOT_READY);
  }
  ASSERT_CUDA(cuda().cuEventSynchronize(to));
  EXPECT_CUDA(cuda().cuEventQuery(to));
  ASSERT_CUDA(cuda().cuEventElapsedTime(&milliseconds, from, to));
  EXPECT_GE(milliseconds, 0);
  ASSERT_CUDA(cuda().cuEventRecord(plain, one));
  ASSERT_CUDA(cuda().cuStreamSynchronize(one));
  EXPECT_CUDA_ERROR(cuda().cuEventElapsedTime(&milliseconds, from, plain), CUDA_ERROR_INVALID_HANDLE);
  for (CUevent event : {from, to, plain})
    EXPECT_CUDA(cuda().cuEventDestroy(event));
}

// Nothing runs before somebody asks, and asking often enough lets all of it run.
TEST_F(StreamTest, QueriesLetWorkRun) {
  CUstream one = makeStream();
  Buffer<float> buffer(std::vector<float>(32, 1.f));
  CUfunction function = affine();
  for (int i = 0; i < 5; ++i)
    ASSERT_CUDA(apply(function, one, buffer.pointer, 2, 0));
  int queries = 0;
  while (cuda().cuStreamQuery(one) == CUDA_ERROR_NOT_READY && queries < 1000000)
    ++queries;
  if (isStandIn()) {
    EXPECT_GT(queries, 3);
  }
  EXPECT_CUDA(cuda().cuStreamQuery(one));
  EXPECT_EQ(buffer.read()[31], 32);
}

TEST_F(StreamTest, HostFunctions) {
  CUstream one = makeStream();
  void *pinned = nullptr;
  ASSERT_CUDA(cuda().cuMemHostAlloc(&pinned, 128, 0));
  float *values = static_cast<float *>(pinned);
  for (int i = 0; i < 32; ++i)
    values[i] = 1;
  Buffer<float> buffer(32);
  ASSERT_CUDA(cuda().cuMemcpyHtoDAsync(buffer.pointer, values, 128, one));
  ASSERT_CUDA(apply(affine(), one, buffer.pointer, 2, 0));
  ASSERT_CUDA(cuda().cuMemcpyDtoHAsync(values, buffer.pointer, 128, one));
  ASSERT_CUDA(cuda().cuLaunchHostFunc(one, [](void *data) { static_cast<float *>(data)[0] += 100; }, values));
  ASSERT_CUDA(cuda().cuMemcpyHtoDAsync(buffer.pointer, values, 128, one));
  ASSERT_CUDA(cuda().cuStreamSynchronize(one));
  EXPECT_EQ(buffer.read()[0], 102);
  EXPECT_CUDA(cuda().cuMemFreeHost(pinned));
}

// A program may wait for its host function without a call of the driver.
TEST_F(StreamTest, HostFunctionsRunByThemselves) {
  std::atomic<bool> isDone{false};
  ASSERT_CUDA(cuda().cuLaunchHostFunc(
      makeStream(), [](void *data) { *static_cast<std::atomic<bool> *>(data) = true; }, &isDone));
  for (int i = 0; i < 500 && !isDone; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_TRUE(isDone);
}

// What a library's stand-in does: its work on device memory is a stream's, and a graph's.
TEST_F(StreamTest, WorkOfALibrary) {
  NEED_STAND_IN();
  Buffer<float> buffer(std::vector<float>(32, 1.f));
  CUstream one = makeStream();
  CUfunction function = affine();
  auto add = [](const void *data) {
    if (auto *values = static_cast<float *>(
            cuda().morphStandInHostPointer(*static_cast<const CUdeviceptr *>(data), 128, "library")))
      values[0] += 7;
  };
  CUgraph graph = nullptr;
  CUgraphExec executable = nullptr;
  ASSERT_CUDA(cuda().cuStreamBeginCapture(one, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
  ASSERT_CUDA(apply(function, one, buffer.pointer, 2, 0));
  CUdeviceptr where = buffer.pointer;
  ASSERT_CUDA(cuda().morphStandInEnqueue(one, add, &where, sizeof(where)));
  where = 0; // The data is copied.
  ASSERT_CUDA(apply(function, one, buffer.pointer, 10, 0));
  ASSERT_CUDA(cuda().cuStreamEndCapture(one, &graph));
  ASSERT_CUDA(cuda().cuGraphInstantiate(&executable, graph, 0));
  ASSERT_CUDA(cuda().cuGraphLaunch(executable, one));
  ASSERT_CUDA(cuda().cuGraphLaunch(executable, one));
  ASSERT_CUDA(cuda().cuStreamSynchronize(one));
  EXPECT_EQ(buffer.read()[0], 1870);
  EXPECT_CUDA(cuda().cuGraphExecDestroy(executable));
  EXPECT_CUDA(cuda().cuGraphDestroy(graph));
  // Its faults are the context's, and what comes after does not run.
  where = buffer.pointer + 4;
  ASSERT_CUDA(cuda().morphStandInEnqueue(one, add, &where, sizeof(where)));
  ASSERT_CUDA(cuda().morphStandInEnqueue(one, [](const void *) { std::abort(); }, nullptr, 0));
  EXPECT_CUDA_ERROR(cuda().cuStreamSynchronize(one), CUDA_ERROR_ILLEGAL_ADDRESS);
  EXPECT_THAT(takeErrors(), HasSubstr("library: 128 bytes from 4 bytes into an allocation of 128, beyond its end"));
  ASSERT_CUDA(cuda().morphStandInEnqueue(
      one, [](const void *) { cuda().morphStandInFail("library: a shape that it does not know"); }, nullptr, 0));
  EXPECT_CUDA_ERROR(cuda().cuStreamSynchronize(one), CUDA_ERROR_LAUNCH_FAILED);
  EXPECT_EQ(takeErrors(), "library: a shape that it does not know\n");
}

TEST_F(StreamTest, MemoryInTheOrderOfAStream) {
  CUstream one = makeStream();
  CUdeviceptr pointer = 0;
  CUfunction function = affine();
  ASSERT_CUDA(cuda().cuMemAllocAsync(&pointer, 128, one));
  ASSERT_CUDA(cuda().cuMemsetD32Async(pointer, 0x3f800000, 32, one));
  ASSERT_CUDA(apply(function, one, pointer, 2, 0));
  ASSERT_CUDA(cuda().cuMemFreeAsync(pointer, one));
  EXPECT_CUDA(cuda().cuStreamSynchronize(one));
  if (!isStandIn())
    return;
  // Used after it is freed.
  ASSERT_CUDA(cuda().cuMemAllocAsync(&pointer, 128, one));
  ASSERT_CUDA(cuda().cuMemFreeAsync(pointer, one));
  EXPECT_CUDA_ERROR(cuda().cuMemFreeAsync(pointer, one), CUDA_ERROR_INVALID_VALUE);
  ASSERT_CUDA(apply(function, one, pointer, 2, 0));
  EXPECT_CUDA_ERROR(cuda().cuStreamSynchronize(one), CUDA_ERROR_ILLEGAL_ADDRESS);
  EXPECT_THAT(takeErrors(), HasSubstr("that was freed"));
  // By another stream, perhaps before it is there: which of them is first is the seed's choice.
  EXPECT_EQ(outcomes([&] {
              CUfunction late = affine();
              CUstream other = makeStream(), two = makeStream();
              EXPECT_CUDA(cuda().cuMemAllocAsync(&pointer, 128, other));
              EXPECT_CUDA(apply(late, two, pointer, 2, 0));
              if (cuda().cuStreamSynchronize(two) == CUDA_SUCCESS)
                return 1;
              EXPECT_THAT(takeErrors(), HasSubstr("that its stream has not reached yet"));
              return 0;
            }),
            (std::set<float>{0, 1}));
}

// --- Graphs ----------------------------------------------------------------------------------------------------------

TEST_F(StreamTest, GraphOfOneStream) {
  Buffer<float> buffer(std::vector<float>(32, 1.f));
  CUstream one = makeStream();
  CUfunction function = affine();
  CUgraph graph = nullptr;
  CUgraphExec executable = nullptr;
  CUstreamCaptureStatus status;
  float factor = 2;
  ASSERT_CUDA(cuda().cuStreamBeginCapture(one, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
  ASSERT_CUDA(cuda().cuStreamIsCapturing(one, &status));
  EXPECT_EQ(status, CU_STREAM_CAPTURE_STATUS_ACTIVE);
  ASSERT_CUDA(apply(function, one, buffer.pointer, factor, 0));
  factor = 100; // Parameters are those of the capture.
  ASSERT_CUDA(apply(function, one, buffer.pointer, 1, 3));
  ASSERT_CUDA(cuda().cuStreamEndCapture(one, &graph));
  ASSERT_CUDA(cuda().cuStreamIsCapturing(one, &status));
  EXPECT_EQ(status, CU_STREAM_CAPTURE_STATUS_NONE);
  EXPECT_EQ(buffer.read()[0], 1); // Nothing has run.
  ASSERT_CUDA(cuda().cuGraphInstantiate(&executable, graph, 0));
  ASSERT_CUDA(cuda().cuGraphDestroy(graph));
  ASSERT_CUDA(cuda().cuGraphLaunch(executable, one));
  ASSERT_CUDA(cuda().cuGraphLaunch(executable, one));
  ASSERT_CUDA(cuda().cuStreamSynchronize(one));
  EXPECT_EQ(buffer.read()[0], 13);
  ASSERT_CUDA(cuda().cuGraphExecDestroy(executable));
  ASSERT_CUDA(cuda().cuStreamDestroy(one));
}

// A launch keeps the memory that it may touch, whenever it runs.
TEST_F(StreamTest, GraphOfALaunchWithItsBuffers) {
  NEED_STAND_IN();
  Buffer<float> buffer(std::vector<float>(64, 1.f));
  const CUdeviceptr half[] = {buffer.pointer, buffer.pointer + 128};
  for (const CUdeviceptr place : {buffer.pointer, buffer.pointer + 128}) {
    CUstream one = makeStream();
    CUfunction function = affine();
    CUgraph graph = nullptr;
    CUgraphExec executable = nullptr;
    ASSERT_CUDA(cuda().cuStreamBeginCapture(one, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    cuda().morphStandInConfine(half, 1);
    ASSERT_CUDA(apply(function, one, place, 2, 0));
    cuda().morphStandInConfine(nullptr, 0);
    ASSERT_CUDA(cuda().cuStreamEndCapture(one, &graph));
    ASSERT_CUDA(cuda().cuGraphInstantiate(&executable, graph, 0));
    const uint64_t before = cuda().morphStandInGraphLaunches();
    ASSERT_CUDA(cuda().cuGraphLaunch(executable, one));
    EXPECT_EQ(cuda().morphStandInGraphLaunches(), before + 1);
    if (place == buffer.pointer) {
      EXPECT_CUDA(cuda().cuStreamSynchronize(one));
    } else {
      EXPECT_CUDA_ERROR(cuda().cuStreamSynchronize(one), CUDA_ERROR_ILLEGAL_ADDRESS);
      EXPECT_THAT(takeErrors(), HasSubstr("in no buffer that the launch was given"));
    }
    EXPECT_CUDA(cuda().cuGraphExecDestroy(executable));
    EXPECT_CUDA(cuda().cuGraphDestroy(graph));
  }
}

// Pinned memory is read when the graph runs.
TEST_F(StreamTest, GraphWithCopies) {
  Buffer<float> buffer(std::vector<float>(32, 1.f));
  CUstream one = makeStream();
  CUfunction function = affine();
  void *pinned = nullptr;
  ASSERT_CUDA(cuda().cuMemHostAlloc(&pinned, 128, 0));
  float *values = static_cast<float *>(pinned);
  CUgraph graph = nullptr;
  CUgraphExec executable = nullptr;
  ASSERT_CUDA(cuda().cuStreamBeginCapture(one, CU_STREAM_CAPTURE_MODE_GLOBAL));
  ASSERT_CUDA(cuda().cuMemcpyHtoDAsync(buffer.pointer, values, 128, one));
  ASSERT_CUDA(apply(function, one, buffer.pointer, 2, 1));
  ASSERT_CUDA(cuda().cuMemcpyDtoHAsync(values, buffer.pointer, 128, one));
  ASSERT_CUDA(cuda().cuLaunchHostFunc(one, [](void *data) { static_cast<float *>(data)[1] = 77; }, values));
  ASSERT_CUDA(cuda().cuStreamEndCapture(one, &graph));
  ASSERT_CUDA(cuda().cuGraphInstantiate(&executable, graph, 0));
  for (float start : {5.f, 6.f}) {
    for (int i = 0; i < 32; ++i)
      values[i] = start;
    ASSERT_CUDA(cuda().cuGraphLaunch(executable, one));
    ASSERT_CUDA(cuda().cuStreamSynchronize(one));
    EXPECT_EQ(values[0], 2 * start + 1);
    EXPECT_EQ(values[1], 77);
  }
  EXPECT_CUDA(cuda().cuGraphExecDestroy(executable));
  EXPECT_CUDA(cuda().cuGraphDestroy(graph));
  EXPECT_CUDA(cuda().cuMemFreeHost(pinned));
}

TEST_F(StreamTest, GraphOfTwoStreams) {
  for (bool isOrdered : {true, false}) {
    if (!isOrdered && !isStandIn())
      continue;
    std::set<float> all = outcomes([&] {
      Buffer<float> buffer(std::vector<float>(32, 1.f));
      CUfunction function = affine();
      CUstream one = makeStream(), two = makeStream();
      CUevent fork = makeEvent(), join = makeEvent();
      CUgraph graph = nullptr;
      CUgraphExec executable = nullptr;
      EXPECT_CUDA(cuda().cuStreamBeginCapture(one, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
      EXPECT_CUDA(apply(function, one, buffer.pointer, 2, 0));
      EXPECT_CUDA(cuda().cuEventRecord(fork, one));
      EXPECT_CUDA(cuda().cuStreamWaitEvent(two, fork, 0));
      EXPECT_CUDA(apply(function, two, buffer.pointer, 1, 3));
      EXPECT_CUDA(cuda().cuEventRecord(join, two));
      if (isOrdered) {
        EXPECT_CUDA(cuda().cuStreamWaitEvent(one, join, 0));
      }
      EXPECT_CUDA(apply(function, one, buffer.pointer, 10, 0));
      EXPECT_CUDA(cuda().cuStreamWaitEvent(one, join, 0));
      EXPECT_CUDA(cuda().cuStreamEndCapture(one, &graph));
      EXPECT_CUDA(cuda().cuGraphInstantiate(&executable, graph, 0));
      EXPECT_CUDA(cuda().cuGraphLaunch(executable, two)); // On any stream.
      EXPECT_CUDA(cuda().cuStreamSynchronize(two));
      EXPECT_CUDA(cuda().cuGraphExecDestroy(executable));
      EXPECT_CUDA(cuda().cuGraphDestroy(graph));
      return buffer.read()[0];
    });
    EXPECT_EQ(all, isOrdered ? std::set<float>{50.f} : (std::set<float>{50.f, 23.f}));
  }
}

TEST_F(StreamTest, WrongCaptures) {
  Buffer<float> buffer(std::vector<float>(32, 1.f));
  CUfunction function = affine();
  CUstream one = makeStream(), two = makeStream(), blocking = makeStream(CU_STREAM_DEFAULT);
  CUevent event = makeEvent();
  CUgraph graph = nullptr;
  CUstreamCaptureStatus status;
  auto end = [&] {
    CUresult result = cuda().cuStreamEndCapture(one, &graph);
    EXPECT_EQ(graph, nullptr);
    return result;
  };
  // A stream that joined and is not waited for.
  ASSERT_CUDA(cuda().cuStreamBeginCapture(one, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
  ASSERT_CUDA(cuda().cuEventRecord(event, one));
  ASSERT_CUDA(cuda().cuStreamWaitEvent(two, event, 0));
  ASSERT_CUDA(apply(function, two, buffer.pointer, 2, 0));
  EXPECT_CUDA_ERROR(end(), CUDA_ERROR_STREAM_CAPTURE_UNJOINED);
  // Waiting for a stream that is captured.
  ASSERT_CUDA(cuda().cuStreamBeginCapture(one, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
  EXPECT_CUDA_ERROR(cuda().cuStreamSynchronize(one), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  ASSERT_CUDA(cuda().cuStreamIsCapturing(one, &status));
  EXPECT_EQ(status, CU_STREAM_CAPTURE_STATUS_INVALIDATED);
  EXPECT_CUDA_ERROR(apply(function, one, buffer.pointer, 2, 0), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  EXPECT_CUDA_ERROR(end(), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  // Memory from the device.
  CUdeviceptr pointer = 0;
  ASSERT_CUDA(cuda().cuStreamBeginCapture(one, CU_STREAM_CAPTURE_MODE_GLOBAL));
  EXPECT_CUDA_ERROR(cuda().cuMemAlloc(&pointer, 16), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  EXPECT_CUDA_ERROR(end(), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  // Work that was queued before the capture.
  ASSERT_CUDA(cuda().cuEventRecord(event, two));
  ASSERT_CUDA(cuda().cuStreamBeginCapture(one, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
  EXPECT_CUDA_ERROR(cuda().cuStreamWaitEvent(one, event, 0), CUDA_ERROR_STREAM_CAPTURE_ISOLATION);
  EXPECT_CUDA_ERROR(end(), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  // An event of a capture is none to wait for or to ask.
  for (decltype(cuda().cuEventQuery) wrong : {cuda().cuEventSynchronize, cuda().cuEventQuery}) {
    ASSERT_CUDA(cuda().cuStreamBeginCapture(one, CU_STREAM_CAPTURE_MODE_RELAXED));
    ASSERT_CUDA(cuda().cuEventRecord(event, one));
    EXPECT_CUDA_ERROR(wrong(event), CUDA_ERROR_CAPTURED_EVENT);
    ASSERT_CUDA(cuda().cuStreamIsCapturing(one, &status));
    EXPECT_EQ(status, CU_STREAM_CAPTURE_STATUS_INVALIDATED);
    EXPECT_CUDA_ERROR(end(), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  }
  // The default stream waits for blocking streams, which a captured one cannot be waited for.
  ASSERT_CUDA(cuda().cuStreamBeginCapture(blocking, CU_STREAM_CAPTURE_MODE_RELAXED));
  EXPECT_CUDA_ERROR(apply(function, nullptr, buffer.pointer, 2, 0), CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
  EXPECT_CUDA_ERROR(cuda().cuStreamEndCapture(blocking, &graph), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  // The default stream itself, and a stream that is captured already.
  EXPECT_CUDA_ERROR(cuda().cuStreamBeginCapture(nullptr, CU_STREAM_CAPTURE_MODE_RELAXED),
                    CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  EXPECT_CUDA_ERROR(cuda().cuStreamEndCapture(one, &graph), CUDA_ERROR_ILLEGAL_STATE);
}

TEST_F(StreamTest, DestroyedStreamsStillRun) {
  Buffer<float> buffer(std::vector<float>(32, 1.f));
  CUstream one = makeStream();
  ASSERT_CUDA(apply(affine(), one, buffer.pointer, 2, 0));
  ASSERT_CUDA(cuda().cuStreamDestroy(one));
  if (isStandIn()) {
    EXPECT_CUDA_ERROR(cuda().cuStreamSynchronize(one), CUDA_ERROR_INVALID_HANDLE);
  }
  ASSERT_CUDA(cuda().cuCtxSynchronize());
  EXPECT_EQ(buffer.read()[0], 2);
}

} // namespace
} // namespace morph
