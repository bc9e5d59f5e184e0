// SPDX-License-Identifier: Apache-2.0

#include "test/cuda/device/TestDevice.h"

#include <gmock/gmock.h>

#include <cstdio>
#include <numeric>
#include <stdexcept>

namespace morph {
namespace {

using testing::AllOf;
using testing::HasSubstr;

/// Runs something in a process of its own, whose device may break; what it prints is matched.
#define EXPECT_IN_ANOTHER_PROCESS(body, matcher)                                                                       \
  GTEST_FLAG_SET(death_test_style, "threadsafe");                                                                      \
  EXPECT_EXIT(                                                                                                         \
      {                                                                                                                \
        body;                                                                                                          \
        std::fflush(nullptr);                                                                                          \
        std::_Exit(0);                                                                                                 \
      },                                                                                                               \
      testing::ExitedWithCode(0), matcher)

void say(const std::string &text) { std::fprintf(stderr, "%s\n", text.c_str()); }

//===----------------------------------------------------------------------===//
// Opening
//===----------------------------------------------------------------------===//

TEST(CudaOpen, WithoutADriver) {
  EXPECT_IN_ANOTHER_PROCESS(
      {
        ::setenv("MORPH_CUDA_DRIVER", "/nowhere/libcuda.so.1", 1);
        say(messageOf(CudaDevice::open(0)));
      },
      "^no CUDA device: /nowhere/libcuda.so.1: cannot open shared object file");
}

TEST(CudaOpen, AFileThatIsNoDriver) {
  EXPECT_IN_ANOTHER_PROCESS(
      {
        ::setenv("MORPH_CUDA_DRIVER", "libm.so.6", 1);
        say(messageOf(CudaDevice::open(0)));
      },
      "^no CUDA device: the driver 'libm.so.6' is too old: it has no cuInit");
}

TEST(CudaOpen, ADriverWithoutADevice) {
  EXPECT_IN_ANOTHER_PROCESS(
      {
        ::setenv("MORPH_STAND_IN_DEVICE", "none", 1);
        ::setenv("CUDA_VISIBLE_DEVICES", "", 1);
        say(messageOf(CudaDevice::open(0)));
        say(messageOf(CudaDevice::describe(0)));
      },
      "^no CUDA device: cuInit: CUDA_ERROR_NO_DEVICE \\(.*\\)\nno CUDA device: cuInit: CUDA_ERROR_NO_DEVICE");
}

TEST(CudaOpen, AnOrdinalThatTheMachineDoesNotHave) {
  EXPECT_THAT(messageOf(CudaDevice::open(99)),
              HasSubstr("no CUDA device: device 99 was asked for, and the machine has"));
  EXPECT_THAT(messageOf(CudaDevice::open(-1)), HasSubstr("no CUDA device: device -1 was asked for"));
}

TEST(CudaOpen, WithoutCublasLt) {
  EXPECT_IN_ANOTHER_PROCESS(
      {
        ::setenv("MORPH_CUBLASLT", "/nowhere/libcublasLt.so.13", 1);
        auto device = *CudaDevice::open(0);
        CudaProduct product;
        product.m = product.n = product.k = 1;
        say(messageOf(CudaDevice::productLibrary()));
        say(messageOf(device->product(product, nullptr, nullptr, nullptr, nullptr, "layer 3")));
      },
      "no cuBLASLt: /nowhere/libcublasLt.so.13: cannot open.*\nlayer 3: no cuBLASLt: /nowhere");
}

class CudaDeviceTest : public CudaTest {};

TEST_F(CudaDeviceTest, SaysWhatItIs) {
  const CudaProperties &properties = device->properties();
  EXPECT_THAT(properties.name, HasSubstr("NVIDIA"));
  EXPECT_GE(properties.major, 8);
  EXPECT_GT(properties.multiprocessors, 0);
  EXPECT_GT(properties.memoryBytes, int64_t(1) << 30);
  EXPECT_GE(properties.sharedBytesPerBlock, 99 << 10);
  EXPECT_GE(properties.driverVersion, 13000);
  EXPECT_EQ(CudaDevice::describe(0)->name, properties.name);
  EXPECT_THAT(*CudaDevice::productLibrary(), testing::StartsWith("cuBLASLt 13."));
  EXPECT_EQ(device->ordinal(), 0);
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

TEST_F(CudaDeviceTest, MemoryIsAlignedAndOwned) {
  std::vector<char *> taken;
  for (const size_t bytes : {1, 3, 0, 256, 1000})
    taken.push_back(memory<char>(bytes));
  EXPECT_EQ(device->allocations(), 5);
  for (char *address : taken) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(address) % 256, 0u);
    EXPECT_TRUE(device->owns(address));
  }
  EXPECT_TRUE(device->owns(taken[4] + 999));
  EXPECT_FALSE(device->owns(taken[4] + 1000));
  EXPECT_FALSE(device->owns(nullptr));
  device->release(nullptr);
  device->release(taken[4] + 1); // No beginning of any.
  EXPECT_EQ(device->allocations(), 5);
  device->release(taken[4]);
  EXPECT_FALSE(device->owns(taken[4]));
  EXPECT_EQ(device->allocations(), 4);
}

TEST_F(CudaDeviceTest, OutOfMemorySaysWhatTheBytesWereFor) {
  const int64_t all = device->properties().memoryBytes;
  memory<char>(1000);
  EXPECT_THAT(
      messageOf(device->allocate(2 * all, "the arena of gates")),
      AllOf(HasSubstr("out of memory on NVIDIA"),
            HasSubstr("the arena of gates takes " + std::to_string(2 * all) + " bytes beside 1000 that are held, "),
            HasSubstr(" are free")));
  // The device works on.
  EXPECT_OK(device->fill(memory<char>(100), 1, 100));
  EXPECT_OK(device->synchronize());
}

TEST_F(CudaDeviceTest, NoRoomForTheWorkspaceOfProducts) {
  const int64_t most = *device->freeBytes() - (16 << 20);
  void *values = *device->allocate(most, "values");
  EXPECT_THAT(messageOf(device->prepareProducts("program 'gates'")),
              AllOf(HasSubstr("program 'gates': out of memory on NVIDIA"),
                    HasSubstr(": the workspace of products takes 33554432 bytes beside " + std::to_string(most) +
                              " that are held, ")));
  device->release(values);
  EXPECT_OK(device->prepareProducts("program 'gates'"));
}

TEST_F(CudaDeviceTest, CopiesOfEverySize) {
  constexpr size_t kBuffer = 4 << 20;
  for (const size_t size : {size_t(1), size_t(5), kBuffer - 1, kBuffer, kBuffer + 1, 3 * kBuffer + 77}) {
    std::vector<uint8_t> host(size);
    for (size_t i = 0; i < size; ++i)
      host[i] = static_cast<uint8_t>(i * 7 + i / 251 + size);
    const std::vector<uint8_t> before = host;
    auto *there = memory<uint8_t>(size), *copied = memory<uint8_t>(size);
    ASSERT_OK(device->copyIn(there, host.data(), static_cast<int64_t>(size)));
    std::fill(host.begin(), host.end(), uint8_t(0)); // Ours again as soon as the copy returned.
    ASSERT_OK(device->copy(copied, there, static_cast<int64_t>(size)));
    EXPECT_EQ(valuesOf(copied, size), before) << size;
    device->release(there);
    device->release(copied);
  }
  EXPECT_OK(device->copyIn(nullptr, nullptr, 0));
  EXPECT_OK(device->copyOut(nullptr, nullptr, 0));
  EXPECT_OK(device->copy(nullptr, nullptr, 0));
}

TEST_F(CudaDeviceTest, ManySmallCopiesShareTheirBuffers) {
  constexpr size_t kCopies = 3000, kBytes = 5001;
  auto *there = memory<uint8_t>(kCopies * kBytes);
  std::vector<uint8_t> host(kBytes);
  for (size_t i = 0; i < kCopies; ++i) {
    std::fill(host.begin(), host.end(), static_cast<uint8_t>(i * 3));
    ASSERT_OK(device->copyIn(there + i * kBytes, host.data(), kBytes));
  }
  const std::vector<uint8_t> all = valuesOf(there, kCopies * kBytes);
  for (size_t i = 0; i < kCopies; ++i)
    for (const size_t at : {size_t(0), kBytes - 1})
      ASSERT_EQ(all[i * kBytes + at], static_cast<uint8_t>(i * 3)) << i;
}

TEST_F(CudaDeviceTest, Fills) {
  auto *there = memory<uint32_t>(10);
  ASSERT_OK(device->fill(there, 0xab, 40));
  ASSERT_OK(device->fillWords(there + 2, 0x01020304, 3));
  ASSERT_OK(device->fill(there + 9, 0, 0));
  const uint32_t b = 0xabababab, w = 0x01020304;
  EXPECT_EQ(valuesOf(there, 10), (std::vector<uint32_t>{b, b, w, w, w, b, b, b, b, b}));
}

TEST_F(CudaDeviceTest, NothingIsLeft) {
  // Another one keeps the context, which would take everything with it. The driver's own memory is taken at the first
  // use of each kind.
  const std::shared_ptr<CudaDevice> keeper = *CudaDevice::open(0);
  int64_t size = 8;
  auto use = [&] {
    const CudaModule module = *device->load(kTestPtx, "the test");
    std::vector<float> ones(64, 1);
    float *a = memoryOf(ones), *c = memory<float>(64);
    CudaProduct product;
    product.m = product.n = product.k = --size; // Another kind, which is measured.
    ASSERT_OK(device->product(product, a, a, nullptr, c, "a product"));
    const CudaGraph graph = *device->capture([&] { return device->fill(c, 0, 256); });
    ASSERT_OK(device->launch(graph));
    ASSERT_OK(device->synchronize());
  };
  use();
  reopen();
  const int64_t before = *keeper->freeBytes();
  for (int i = 0; i < 3; ++i) {
    use();
    reopen();
  }
  EXPECT_EQ(*keeper->freeBytes(), before);
  EXPECT_EQ(device->allocations(), 0);
}

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

/// add_to of kTestPtx.
Status addTo(CudaDevice &device, const CudaFunction &function, const float *x, float *y, float by, uint32_t count,
             const std::string &what = "add") {
  void *arguments[] = {&x, &y, &by, &count};
  return device.launch(function, {(count + 63) / 64, 1, 1}, {64, 1, 1}, 0, arguments, what);
}

TEST_F(CudaDeviceTest, KernelsRunInOrder) {
  const CudaModule module = *device->load(kTestPtx, "the test");
  const CudaFunction add = *module.find("add_to");
  EXPECT_EQ(add.name, "add_to");
  EXPECT_GT(add.maximumThreads, 255);
  EXPECT_EQ(add.staticSharedBytes, 0);
  std::vector<float> values(1000);
  std::iota(values.begin(), values.end(), 0.0f);
  float *x = memoryOf(values), *y = memory<float>(1000);
  ASSERT_OK(addTo(*device, add, x, y, 1, 1000));
  ASSERT_OK(addTo(*device, add, y, x, 2, 1000));
  ASSERT_OK(addTo(*device, add, x, y, 4, 999));
  // An argument may change as soon as the launch returned, and an empty grid is no work.
  ASSERT_OK(addTo(*device, add, x, y, 100, 0));
  std::vector<float> result = valuesOf(y, 1000);
  for (size_t i = 0; i < 999; ++i)
    ASSERT_EQ(result[i], values[i] + 7) << i;
  EXPECT_EQ(result[999], values[999] + 1);
}

TEST_F(CudaDeviceTest, SharedMemoryBeyond48KiB) {
  const CudaModule module = *device->load(kTestPtx, "the test");
  const CudaFunction turn = *module.find("turn_around");
  std::vector<uint32_t> values(256);
  std::iota(values.begin(), values.end(), 0u);
  uint32_t *y = memoryOf(values);
  void *arguments[] = {&y};
  ASSERT_OK(device->launch(turn, {1, 1, 1}, {256, 1, 1}, 1024, arguments, "a small one"));
  ASSERT_OK(device->launch(turn, {1, 1, 1}, {256, 1, 1}, 90 << 10, arguments, "a large one"));
  EXPECT_EQ(valuesOf(y, 256), values);
  ASSERT_OK(device->launch(turn, {1, 1, 1}, {255, 1, 1}, 1024, arguments, "an odd one"));
  const std::vector<uint32_t> result = valuesOf(y, 256);
  EXPECT_EQ(result[0], 254u);
  EXPECT_EQ(result[254], 0u);
  EXPECT_EQ(result[255], 255u);

  EXPECT_THAT(messageOf(device->launch(turn, {1, 1, 1}, {256, 1, 1}, 300 << 10, arguments, "softmax of layer 3")),
              AllOf(HasSubstr("softmax of layer 3: kernel 'turn_around' needs 307200 bytes of shared memory"),
                    HasSubstr("for a block")));
}

TEST_F(CudaDeviceTest, WhatCannotBeLaunchedIsSaidBefore) {
  const CudaModule module = *device->load(kTestPtx, "the test");
  EXPECT_EQ(messageOf(module.find("nowhere")), "the PTX of the test has no kernel 'nowhere'");
  const CudaFunction turn = *module.find("turn_around");
  auto *y = memory<uint32_t>(4);
  void *arguments[] = {&y};
  EXPECT_THAT(messageOf(device->launch(turn, {1, 1, 1}, {2048, 1, 1}, 0, arguments, "layer 3")),
              HasSubstr("layer 3: kernel 'turn_around' with 2048 threads a block, of which it can have"));
  EXPECT_THAT(messageOf(device->launch(turn, {1, 1, 1}, {0, 1, 1}, 0, arguments, "layer 3")),
              HasSubstr("with 0 threads a block"));
  EXPECT_THAT(messageOf(device->launch(turn, {1, 1 << 20, 1}, {32, 1, 1}, 128, arguments, "layer 3")),
              HasSubstr("layer 3: kernel 'turn_around' (grid 1 x 1048576 x 1, block 32 x 1 x 1): CUDA_ERROR_INVALID"));
  EXPECT_OK(device->synchronize());
}

TEST_F(CudaDeviceTest, CodeThatIsRefusedSaysWhy) {
  EXPECT_THAT(
      messageOf(device->load("no code at all", "softmax of layer 3")),
      AllOf(HasSubstr("softmax of layer 3: its code for NVIDIA"), HasSubstr("is refused"), HasSubstr("CUDA_ERROR_")));
  std::string wrong = kTestPtx;
  wrong.replace(wrong.find("add.f32"), 7, "odd.f32");
  EXPECT_THAT(messageOf(device->load(wrong, "softmax of layer 3")), HasSubstr("odd"));
  std::string later = kTestPtx;
  later.replace(later.find("sm_80"), 5, "sm_999");
  EXPECT_THAT(messageOf(device->load(later, "softmax of layer 3")), HasSubstr("CUDA_ERROR_"));
}

TEST_F(CudaDeviceTest, ModulesAndGraphsMove) {
  CudaModule module = *device->load(kTestPtx, "the test");
  CudaModule other = std::move(module);
  EXPECT_OK(other.find("add_to"));
  EXPECT_THAT(messageOf(module.find("add_to")), HasSubstr("moved")); // NOLINT
  module = std::move(other);
  EXPECT_OK(module.find("add_to"));
  // They keep what they need.
  device.reset();
  EXPECT_OK(module.find("add_to"));
}

//===----------------------------------------------------------------------===//
// Errors of work that runs late
//===----------------------------------------------------------------------===//

/// What the two that follow launch: the second kernel writes where nothing is.
struct Launches {
  std::shared_ptr<CudaDevice> device = *CudaDevice::open(0);
  CudaModule module = *device->load(kTestPtx, "the test");
  CudaFunction add = *module.find("add_to"), behind = *module.find("write_behind");
  float *y = static_cast<float *>(*device->allocate(256, "y"));
  const float *x = y;
  uint64_t reach = uint64_t(1) << 40;
  void *arguments[2] = {&y, &reach};

  Launches() { (void)device->fill(y, 0, 256); }
};

/// Three launches, of which the second writes where nothing is.
void writeBehind() {
  Launches launches;
  auto &[device, module, add, behind, y, x, reach, arguments] = launches;
  say("1 " + messageOf(addTo(*device, add, x, y, 1, 64, "norm of layer 1")));
  say("2 " + messageOf(device->launch(behind, {1, 1, 1}, {1, 1, 1}, 0, arguments, "softmax of layer 2")));
  const Status status = device->synchronize();
  say("3 " + messageOf(status) + " [" + status.hint() + "]");
  say("4 " + messageOf(addTo(*device, add, x, y, 1, 64, "norm of layer 3")));
  device->release(y);
}

TEST(CudaErrors, AWrongAddressIsReportedWithTheLastLaunches) {
  EXPECT_IN_ANOTHER_PROCESS(
      {
        ::unsetenv("MORPH_CUDA_SYNC");
        writeBehind();
      },
      "1 no error\n(.*\n)*2 no error\n(.*\n)*3 waiting for the device: CUDA_ERROR_ILLEGAL_ADDRESS \\(.*\\), in one of "
      "the 2 launches since the device was last waited for: norm of layer 1: kernel 'add_to', softmax of layer 2: "
      "kernel 'write_behind' \\[the same again "
      "with MORPH_CUDA_SYNC=1 .*\\]\n(.*\n)*4 waiting for the device: "
      "CUDA_ERROR_ILLEGAL_ADDRESS");
}

/// The wrong one, and more behind it than are named.
void writeBehindBeforeMany() {
  Launches launches;
  auto &[device, module, add, behind, y, x, reach, arguments] = launches;
  (void)device->launch(behind, {1, 1, 1}, {1, 1, 1}, 0, arguments, "softmax of layer 2");
  for (int i = 0; i < 9; ++i)
    (void)addTo(*device, add, x, y, 1, 64, "norm of layer " + std::to_string(i));
  say(messageOf(device->synchronize()));
  device->release(y);
}

TEST(CudaErrors, OfManyLaunchesTheLastAreNamed) {
  EXPECT_IN_ANOTHER_PROCESS(
      {
        ::unsetenv("MORPH_CUDA_SYNC");
        writeBehindBeforeMany();
      },
      "in one of the 10 launches since the device was last waited for, of which the last are: norm of layer 1: kernel "
      "'add_to', .*norm of layer 8: kernel 'add_to'\n");
}

/// The same launches as a graph.
void writeBehindInAGraph() {
  Launches launches;
  CudaDevice &device = *launches.device;
  StatusOr<CudaGraph> graph = device.capture([&]() -> Status {
    MORPH_RETURN_IF_ERROR(addTo(device, launches.add, launches.x, launches.y, 1, 64, "norm of layer 1"));
    return device.launch(launches.behind, {1, 1, 1}, {1, 1, 1}, 0, launches.arguments, "softmax of layer 2");
  });
  say("1 " + messageOf(graph.status()));
  say("2 " + messageOf(device.launch(*graph, "program 'gates'")));
  const Status status = device.synchronize();
  say("3 " + messageOf(status) + " [" + status.hint() + "]");
  device.release(launches.y);
}

// Of a graph's launches nobody knows which one it was: the hint says how to learn it.
TEST(CudaErrors, AGraphIsReportedByItsNameAndHowToLearnMore) {
  EXPECT_IN_ANOTHER_PROCESS(
      {
        ::unsetenv("MORPH_CUDA_SYNC");
        writeBehindInAGraph();
      },
      "1 no error\n(.*\n)*2 no error\n(.*\n)*3 waiting for the device: CUDA_ERROR_ILLEGAL_ADDRESS \\(.*\\), in one of "
      "the 1 launches since the device was last waited for: program 'gates' \\[the same again with MORPH_CUDA_SYNC=1 "
      "starts no graphs, waits for every "
      "launch, and names the one that failed; morph run goes on from its last checkpoint\\]");
}

TEST(CudaErrors, WaitingForEveryLaunchNamesTheOne) {
  EXPECT_IN_ANOTHER_PROCESS(
      {
        ::setenv("MORPH_CUDA_SYNC", "1", 1);
        writeBehind();
      },
      "1 no error\n(.*\n)*2 softmax of layer 2: kernel 'write_behind': CUDA_ERROR_ILLEGAL_ADDRESS "
      "\\([^,]*\\)\n(.*\n)*3 "
      "softmax of layer 2: kernel 'write_behind': CUDA_ERROR_ILLEGAL_ADDRESS");
}

// A driver that checks accesses holds a launch to what it is said to touch.
TEST_F(CudaDeviceTest, WhatALaunchTouches) {
  if (!device->checksAccesses())
    GTEST_SKIP() << "the driver checks no accesses";
  CudaProduct product;
  product.m = product.n = product.k = 10;
  for (const bool isProduct : {false, true}) {
    const CudaModule module = *device->load(kTestPtx, "the test");
    const CudaFunction add = *module.find("add_to");
    // All in one allocation, as in an arena.
    float *x = memoryOf(std::vector<float>(300, 1)), *y = x + 100, *c = x + 200;
    const auto start = [&](int64_t reach) {
      if (isProduct)
        return device->product(product, x, y, nullptr, c, "a product", {{x, 400}, {y, reach}, {c, 400}});
      uint32_t count = 100;
      float by = 1;
      void *arguments[] = {&x, &y, &by, &count};
      return device->launch(add, {2, 1, 1}, {64, 1, 1}, 0, arguments, "a sum", {{x, 400}, {y, reach}});
    };
    ASSERT_OK(start(400));
    ASSERT_OK(device->synchronize());
    ASSERT_OK(start(396));
    EXPECT_THAT(messageOf(device->synchronize()), HasSubstr("CUDA_ERROR_ILLEGAL_ADDRESS"));
    std::string text(4096, '\0');
    standIn<size_t(char *, size_t)>("morphStandInTakeErrors")(text.data(), text.size());
    EXPECT_THAT(text, HasSubstr(isProduct ? "byte 396 is 796 bytes into an allocation of 1200, in no buffer that"
                                          : "796 bytes into an allocation of 1200, in no buffer that"));
    reopen();
  }
}

//===----------------------------------------------------------------------===//
// Graphs, time
//===----------------------------------------------------------------------===//

TEST_F(CudaDeviceTest, GraphsRunWhatWasCaptured) {
  const CudaModule module = *device->load(kTestPtx, "the test");
  const CudaFunction add = *module.find("add_to");
  float *x = memoryOf(std::vector<float>(100, 1)), *y = memory<float>(100), *c = memory<float>(100);
  CudaProduct product;
  product.m = product.n = product.k = 10;
  ASSERT_OK(device->product(product, x, x, nullptr, c, "a product"));
  ASSERT_OK(device->fill(c, 0, 400));
  StatusOr<CudaGraph> graph = device->capture([&]() -> Status {
    MORPH_RETURN_IF_ERROR(addTo(*device, add, x, y, 1, 100));
    MORPH_RETURN_IF_ERROR(device->copy(x, y, 400));
    return device->product(product, x, x, nullptr, c, "a product");
  });
  ASSERT_OK(graph);
  // Nothing ran yet.
  EXPECT_EQ(valuesOf(x, 1)[0], 1);
  EXPECT_EQ(valuesOf(c, 1)[0], 0);
  for (int i = 1; i <= 3; ++i) {
    ASSERT_OK(device->launch(*graph, "a step"));
    ASSERT_OK(device->synchronize());
    EXPECT_EQ(valuesOf(x, 100), std::vector<float>(100, 1.0f + static_cast<float>(i)));
    EXPECT_EQ(valuesOf(c, 1)[0], 10.0f * static_cast<float>((1 + i) * (1 + i)));
  }
  CudaGraph moved = std::move(*graph);
  ASSERT_OK(device->launch(moved));
  EXPECT_THAT(messageOf(device->launch(*graph)), HasSubstr("moved"));
  EXPECT_EQ(valuesOf(x, 1)[0], 5);
}

TEST_F(CudaDeviceTest, WhatWaitsIsNoPartOfAGraph) {
  auto *x = memory<float>(100);
  std::vector<float> host(100);
  auto captured = [&](auto &&work) {
    const StatusOr<CudaGraph> graph = device->capture(work);
    // Whatever happened, the device goes on.
    EXPECT_OK(device->synchronize());
    return messageOf(graph);
  };
  EXPECT_EQ(captured([&] { return device->copyIn(x, host.data(), 4); }),
            "a copy from the host cannot be part of a graph");
  EXPECT_EQ(captured([&] { return device->copyOut(host.data(), x, 4); }),
            "a copy to the host cannot be part of a graph");
  EXPECT_EQ(captured([&] { return device->synchronize(); }), "waiting for the device cannot be part of a graph");
  EXPECT_EQ(captured([&] { return device->allocate(4, "a value").status(); }),
            "memory for a value cannot be part of a graph");
  EXPECT_EQ(captured([&] { return device->load(kTestPtx, "a kernel").status(); }),
            "code for a kernel cannot be part of a graph");
  EXPECT_EQ(captured([&] { return device->secondsOf([] { return Status(); }).status(); }),
            "measuring time cannot be part of a graph");
  EXPECT_EQ(captured([&] { return device->capture([] { return Status(); }).status(); }),
            "a graph cannot be part of a graph");
  EXPECT_EQ(captured([] { return Status::failed("its own"); }), "its own");
  EXPECT_THROW((void)device->capture([]() -> Status { throw std::runtime_error("thrown"); }), std::runtime_error);
  EXPECT_OK(device->synchronize());
  // Memory that is released inside stays until the end.
  StatusOr<CudaGraph> graph = device->capture([&] {
    device->release(x);
    return Status();
  });
  ASSERT_OK(graph);
  EXPECT_FALSE(device->owns(x));
  EXPECT_OK(device->launch(*graph));
  EXPECT_OK(device->synchronize());
}

TEST_F(CudaDeviceTest, TimeIsTheDevices) {
  auto *x = memory<char>(1 << 20);
  const StatusOr<double> seconds = device->secondsOf([&] { return device->fill(x, 1, 1 << 20); });
  ASSERT_OK(seconds);
  EXPECT_GE(*seconds, 0);
  EXPECT_LT(*seconds, 10);
  EXPECT_EQ(messageOf(device->secondsOf([] { return Status::failed("its own"); })), "its own");
}

} // namespace
} // namespace morph
