// SPDX-License-Identifier: Apache-2.0
// What threads do together, and every kind of access: shuffles, votes, barriers, products, atomics, spaces and widths.

#include "test/cuda/CudaTesting.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>

namespace morph {
namespace {

/// Places of the thread in 32-bit (%rd1) and 64-bit (%rd2) arrays at %rd0; %r0: the thread.
const std::string kSharedPlaces =
    "  mov.u32 %r0, %tid.x;\n  mul.wide.u32 %rd1, %r0, 4;\n  add.s64 %rd1, %rd0, %rd1;\n  mul.wide.u32 %rd2, %r0, 8;\n"
    "  add.s64 %rd2, %rd0, %rd2;\n";
const char *const kSharedArray = ".shared .align 16 .b8 s[4096];\n";

class WarpTest : public CudaTest {
protected:
  /// Runs a block on an array of numbers; what the array is then. Under a few orders, which must not matter.
  std::vector<uint32_t> after(const std::string &body, std::vector<uint32_t> numbers, unsigned threads = 64,
                              const std::string &before = kSharedArray, int target = 80) {
    std::vector<uint32_t> first;
    for (int seed = 0; seed < (isStandIn() ? 4 : 1); ++seed) {
      open({{"SEED", std::to_string(seed)}});
      Buffer<uint32_t> buffer(numbers);
      EXPECT_CUDA(
          run(kernel(kernelText("u64 a", kSharedPlaces + body, before, target), "k"), 1, threads, buffer.pointer));
      std::vector<uint32_t> now = buffer.read();
      if (seed == 0)
        first = now;
      EXPECT_EQ(now, first) << "seed " << seed;
    }
    return first;
  }
  static std::vector<uint32_t> counting(size_t n, uint32_t factor = 1) {
    std::vector<uint32_t> numbers(n);
    for (size_t i = 0; i < n; ++i)
      numbers[i] = uint32_t(i) * factor;
    return numbers;
  }
  static std::vector<uint32_t> expected(size_t n, const std::function<uint32_t(uint32_t)> &value) {
    std::vector<uint32_t> numbers(n);
    for (size_t i = 0; i < n; ++i)
      numbers[i] = value(uint32_t(i));
    return numbers;
  }
};

TEST_F(WarpTest, Shuffles) {
  struct Case {
    const char *instruction;
    std::function<int(int)> source; ///< Of a lane; -1: its own value, and the predicate is false.
  };
  const Case cases[] = {
      {"bfly.b32 %r2|%p1, %r1, 5, 31", [](int lane) { return lane ^ 5; }},
      {"up.b32 %r2|%p1, %r1, 3, 0", [](int lane) { return lane < 3 ? -1 : lane - 3; }},
      {"down.b32 %r2|%p1, %r1, 3, 31", [](int lane) { return lane + 3 > 31 ? -1 : lane + 3; }},
      {"idx.b32 %r2|%p1, %r1, 9, 31", [](int) { return 9; }},
      // Segments of eight lanes: 0x18 above.
      {"bfly.b32 %r2|%p1, %r1, 4, 0x181f", [](int lane) { return lane ^ 4; }},
      {"bfly.b32 %r2|%p1, %r1, 9, 0x181f", [](int lane) { return (lane ^ 9) <= (lane | 7) ? lane ^ 9 : -1; }},
      {"up.b32 %r2|%p1, %r1, 3, 0x1800", [](int lane) { return lane % 8 < 3 ? -1 : lane - 3; }},
      {"down.b32 %r2|%p1, %r1, 3, 0x181f", [](int lane) { return lane % 8 + 3 > 7 ? -1 : lane + 3; }},
      {"idx.b32 %r2|%p1, %r1, 2, 0x181f", [](int lane) { return lane / 8 * 8 + 2; }},
      {"down.b32 %r2|%p1, %r1, %r0, 31", [](int lane) { return lane + lane > 31 ? -1 : lane + lane; }},
  };
  for (const Case &one : cases)
    EXPECT_EQ(
        after(std::string("  ld.global.u32 %r1, [%rd1];\n  and.b32 %r0, %r0, 31;\n  shfl.sync.") + one.instruction +
                  ", -1;\n  selp.b32 %r3, 1000, 0, %p1;\n  add.s32 %r2, %r2, %r3;\n  st.global.u32 [%rd1], %r2;\n",
              counting(64)),
        expected(64,
                 [&](uint32_t i) {
                   int source = one.source(int(i % 32));
                   return source < 0 ? i : i / 32 * 32 + uint32_t(source) + 1000;
                 }))
        << one.instruction;
}

// Halves of a warp that shuffle apart from each other, at one instruction and at two.
TEST_F(WarpTest, ShufflesOfHalfAWarp) {
  for (const char *body :
       {"  and.b32 %r4, %r0, 16;\n  setp.eq.u32 %p1, %r4, 0;\n  selp.b32 %r5, 0xffff, 0xffff0000, %p1;\n"
        "  shfl.sync.bfly.b32 %r2, %r0, 1, 31, %r5;\n  st.global.u32 [%rd1], %r2;\n",
        "  and.b32 %r4, %r0, 16;\n  setp.eq.u32 %p1, %r4, 0;\n  @%p1 bra $L_low;\n  shfl.sync.bfly.b32 %r2, %r0, 1, "
        "31, 0xffff0000;\n"
        "  bra.uni $L_end;\n$L_low:\n  shfl.sync.bfly.b32 %r2, %r0, 1, 31, 0xffff;\n$L_end:\n  st.global.u32 [%rd1], "
        "%r2;\n"})
    EXPECT_EQ(after(body, counting(64)), expected(64, [](uint32_t i) { return i ^ 1; }));
}

TEST_F(WarpTest, Votes) {
  EXPECT_EQ(after("  setp.gt.u32 %p1, %r0, 40;\n  vote.sync.ballot.b32 %r2, %p1, -1;\n  st.global.u32 [%rd1], %r2;\n",
                  counting(64)),
            expected(64, [](uint32_t i) { return i < 32 ? 0 : 0xfffffe00u; }));
  auto vote = [&](const std::string &mode, const std::string &predicate) {
    return after("  setp.gt.u32 %p1, %r0, 40;\n  vote.sync." + mode + ".pred %p2, " + predicate +
                     ", -1;\n  selp.b32 %r2, 1, 0, %p2;\n  st.global.u32 [%rd1], %r2;\n",
                 counting(64));
  };
  EXPECT_EQ(vote("any", "%p1"), expected(64, [](uint32_t i) { return i >= 32; }));
  EXPECT_EQ(vote("all", "!%p1"), expected(64, [](uint32_t i) { return i < 32; }));
  EXPECT_EQ(vote("uni", "%p1"), expected(64, [](uint32_t i) { return i < 32; }));
}

TEST_F(WarpTest, ActiveLanes) {
  // Whoever is there together adds once for all: each lane exactly once.
  EXPECT_EQ(after("  and.b32 %r4, %r0, 1;\n  setp.eq.u32 %p1, %r4, 0;\n  @%p1 bra $L_end;\n  activemask.b32 %r2;\n  "
                  "mov.u32 %r3, %lanemask_lt;\n"
                  "  and.b32 %r3, %r3, %r2;\n  setp.ne.u32 %p2, %r3, 0;\n  @%p2 bra $L_end;\n  popc.b32 %r5, %r2;\n  "
                  "red.global.add.u32 [%rd0], %r5;\n$L_end:\n",
                  counting(1)),
            std::vector<uint32_t>{32});
}

TEST_F(WarpTest, SpecialRegisters) {
  Buffer<uint32_t> buffer(2 * 3 * 2 * 4 * 2 * 2 * 12);
  CUfunction function = kernel(
      kernelText(
          "u64 a",
          "  mov.u32 %r1, %tid.x; mov.u32 %r2, %tid.y; mov.u32 %r3, %tid.z; mov.u32 %r4, %ctaid.x; mov.u32 %r5, "
          "%ctaid.y; mov.u32 %r6, %ctaid.z;\n"
          "  mov.u32 %r7, %ntid.x; mov.u32 %r8, %ntid.y; mov.u32 %r9, %ntid.z; mov.u32 %r10, %nctaid.x; mov.u32 %r11, "
          "%nctaid.y; mov.u32 %r12, %nctaid.z;\n"
          "  mad.lo.u32 %r20, %r6, %r11, %r5;\n  mad.lo.u32 %r20, %r20, %r10, %r4;\n  mad.lo.u32 %r20, %r20, %r9, "
          "%r3;\n  mad.lo.u32 %r20, %r20, %r8, %r2;\n"
          "  mad.lo.u32 %r20, %r20, %r7, %r1;\n  mul.wide.u32 %rd1, %r20, 48;\n  add.s64 %rd1, %rd0, %rd1;\n"
          "  st.global.v4.u32 [%rd1], {%r1, %r2, %r3, %r4};\n  st.global.v4.u32 [%rd1+16], {%r5, %r6, %r7, %r8};\n"
          "  st.global.v4.u32 [%rd1+32], {%r9, %r10, %r11, %r12};\n"),
      "k");
  void *parameters[] = {&buffer.pointer};
  ASSERT_CUDA(cuda().cuLaunchKernel(function, 2, 3, 2, 4, 2, 2, 0, nullptr, parameters, nullptr));
  ASSERT_CUDA(cuda().cuCtxSynchronize());
  std::vector<uint32_t> result = buffer.read();
  size_t place = 0;
  for (uint32_t bz = 0; bz < 2; ++bz)
    for (uint32_t by = 0; by < 3; ++by)
      for (uint32_t bx = 0; bx < 2; ++bx)
        for (uint32_t z = 0; z < 2; ++z)
          for (uint32_t y = 0; y < 2; ++y)
            for (uint32_t x = 0; x < 4; ++x)
              for (uint32_t value : {x, y, z, bx, by, bz, 4u, 2u, 2u, 2u, 3u, 2u})
                EXPECT_EQ(result[place++], value);
}

TEST_F(WarpTest, RegistersOfLanes) {
  EXPECT_EQ(after("  mov.u32 %r1, %laneid;\n  mov.u32 %r2, %lanemask_le;\n  add.s32 %r1, %r1, %r2;\n  st.global.u32 "
                  "[%rd1], %r1;\n",
                  counting(64)),
            expected(64, [](uint32_t i) { return i % 32 + uint32_t((2ull << (i % 32)) - 1); }));
}

TEST_F(WarpTest, ReductionThroughSharedMemory) {
  // A tree: every step half of the threads.
  std::string body = "  mov.u32 %r2, s;\n  shl.b32 %r3, %r0, 2;\n  add.s32 %r3, %r3, %r2;\n  ld.global.u32 %r4, "
                     "[%rd1];\n  st.shared.u32 [%r3], %r4;\n  mov.u32 %r5, 128;\n"
                     "$L_loop:\n  bar.sync 0;\n  setp.ge.u32 %p1, %r0, %r5;\n  @%p1 bra $L_skip;\n  shl.b32 %r6, %r5, "
                     "2;\n  add.s32 %r6, %r6, %r3;\n  ld.shared.u32 %r7, [%r6];\n"
                     "  ld.shared.u32 %r8, [%r3];\n  add.s32 %r8, %r8, %r7;\n  st.shared.u32 [%r3], %r8;\n$L_skip:\n  "
                     "shr.u32 %r5, %r5, 1;\n  setp.ne.u32 %p2, %r5, 0;\n"
                     "  @%p2 bra $L_loop;\n  bar.sync 0;\n  ld.shared.u32 %r9, [%r2];\n  st.global.u32 [%rd1], %r9;\n";
  EXPECT_EQ(after(body, counting(256), 256), std::vector<uint32_t>(256, 255 * 128));
}

// Two pairs of warps hand numbers over through barriers of their own, at different instructions.
TEST_F(WarpTest, NamedBarriersOfPairs) {
  EXPECT_EQ(after("  mov.u32 %r2, s;\n  shl.b32 %r3, %r0, 2;\n  add.s32 %r3, %r3, %r2;\n  shr.u32 %r4, %r0, 6;\n  "
                  "add.s32 %r4, %r4, 1;\n  and.b32 %r5, %r0, 32;\n"
                  "  setp.ne.u32 %p1, %r5, 0;\n  @%p1 bra $L_take;\n  ld.global.u32 %r6, [%rd1];\n  st.shared.u32 "
                  "[%r3], %r6;\n  barrier.sync %r4, 64;\n  bra.uni $L_end;\n$L_take:\n"
                  "  barrier.sync %r4, 64;\n  ld.shared.u32 %r6, [%r3+-128];\n  st.global.u32 [%rd1], %r6;\n$L_end:\n",
                  counting(128, 3), 128),
            expected(128, [](uint32_t i) { return (i & ~32u) * 3; }));
}

TEST_F(WarpTest, BlockThatIsNoWholeWarp) {
  EXPECT_EQ(after("  shfl.sync.bfly.b32 %r2, %r0, 1, 31, -1;\n  bar.sync 0;\n  vote.sync.ballot.b32 %r3, 1, -1;\n  "
                  "add.s32 %r2, %r2, %r3;\n  st.global.u32 [%rd1], %r2;\n",
                  counting(40), 40),
            expected(40, [](uint32_t i) { return (i ^ 1) + (i < 32 ? 0xffffffffu : 0xffu); }));
}

// --- Products --------------------------------------------------------------------------------------------------------

uint16_t toHalf(float value) {
  // Small integers and halves of them alone.
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return value == 0 ? 0 : uint16_t((bits >> 16 & 0x8000) | (((bits >> 23 & 255) - 112) << 10) | (bits >> 13 & 0x3ff));
}

TEST_F(WarpTest, Products) {
  struct Shape {
    const char *name;
    int k, aRegisters, bRegisters;
    int kind; ///< 0 bf16, 1 f16, 2 tf32
  };
  const Shape shapes[] = {
      {"m16n8k16.row.col.f32.bf16.bf16.f32", 16, 4, 2, 0}, {"m16n8k16.row.col.f32.f16.f16.f32", 16, 4, 2, 1},
      {"m16n8k8.row.col.f32.bf16.bf16.f32", 8, 2, 1, 0},   {"m16n8k8.row.col.f32.f16.f16.f32", 8, 2, 1, 1},
      {"m16n8k8.row.col.f32.tf32.tf32.f32", 8, 4, 2, 2},   {"m16n8k4.row.col.f32.tf32.tf32.f32", 4, 2, 1, 2}};
  std::mt19937 random(5);
  for (const Shape &shape : shapes) {
    // Integers, whose sums are exact.
    std::vector<float> a(size_t(16 * shape.k)), b(size_t(shape.k * 8)), c(16 * 8);
    for (std::vector<float> *values : {&a, &b, &c})
      for (float &value : *values)
        value = float(int(random() % 65) - 32) / 2;
    auto word = [&](const std::vector<float> &values, int row, int column, int width, bool isByRow) -> uint32_t {
      auto at = [&](int h) { return values[size_t(isByRow ? row * width + column + h : (row + h) * width + column)]; };
      if (shape.kind == 2) {
        uint32_t bits;
        float value = at(0);
        std::memcpy(&bits, &value, 4);
        return bits | 0x1fff; // The lower bits do not count.
      }
      return shape.kind == 0 ? toBf16(at(0)) | uint32_t(toBf16(at(1))) << 16
                             : toHalf(at(0)) | uint32_t(toHalf(at(1))) << 16;
    };
    // As the PTX manual draws the fragments.
    int step = shape.kind == 2 ? 1 : 2;
    std::vector<uint32_t> registers;
    for (int lane = 0; lane < 32; ++lane) {
      int group = lane / 4, place = lane % 4;
      for (int i = 0; i < 4; ++i)
        registers.push_back(
            i < shape.aRegisters ? word(a, group + 8 * (i % 2), place * step + 4 * step * (i / 2), shape.k, true) : 0);
      for (int i = 0; i < 2; ++i)
        registers.push_back(i < shape.bRegisters ? word(b, place * step + 4 * step * i, group, 8, false) : 0);
      for (int i = 0; i < 4; ++i) {
        uint32_t bits;
        std::memcpy(&bits, &c[size_t((group + 8 * (i / 2)) * 8 + place * 2 + i % 2)], 4);
        registers.push_back(bits);
      }
    }
    std::string body = "  mul.wide.u32 %rd3, %r0, 40;\n  add.s64 %rd3, %rd0, %rd3;\n";
    for (int i = 0; i < 6; ++i)
      body += "  ld.global.u32 %r" + std::to_string(10 + i) + ", [%rd3+" + std::to_string(4 * i) + "];\n";
    for (int i = 0; i < 4; ++i)
      body += "  ld.global.f32 %f" + std::to_string(i) + ", [%rd3+" + std::to_string(24 + 4 * i) + "];\n";
    body += std::string("  mma.sync.aligned.") + shape.name + " {%f4, %f5, %f6, %f7}, {%r10, %r11" +
            (shape.aRegisters == 4 ? ", %r12, %r13" : "") + "}, {%r14" + (shape.bRegisters == 2 ? ", %r15" : "") +
            "}, {%f0, %f1, %f2, %f3};\n";
    for (int i = 0; i < 4; ++i)
      body += "  st.global.f32 [%rd3+" + std::to_string(4 * i) + "], %f" + std::to_string(4 + i) + ";\n";
    std::vector<uint32_t> result = after(body, registers, 32);
    for (int row = 0; row < 16; ++row)
      for (int column = 0; column < 8; ++column) {
        double sum = c[size_t(row * 8 + column)];
        for (int k = 0; k < shape.k; ++k)
          sum += double(a[size_t(row * shape.k + k)]) * b[size_t(k * 8 + column)];
        int lane = row % 8 * 4 + column / 2, i = row / 8 * 2 + column % 2;
        float found;
        std::memcpy(&found, &result[size_t(lane * 10 + i)], 4);
        // tf32 inputs have set bits below: truncated they are as they were, rounded they would not be.
        EXPECT_EQ(found, float(sum)) << shape.name << " " << row << " " << column;
      }
  }
}

TEST_F(WarpTest, ProductsTruncate) {
  NEED_STAND_IN();
  // 1 + 2^-24 + 2^-25 rounds up to nearest, but not toward zero: 0x3f80 is 1, 0x3380 is 2^-24, 0x3300 is 2^-25.
  std::vector<uint32_t> result = after(
      "  mov.f32 %f0, 0f3F800000;\n  mov.b32 %r10, 0x33003380;\n  mov.b32 %r11, 0;\n  mov.b32 %r12, 0x00003f80;\n"
      "  and.b32 %r13, %r0, 3;\n  setp.ne.u32 %p1, %r13, 0;\n  @%p1 mov.b32 %r10, 0;\n  mov.b32 %r12, 0x3f803f80;\n"
      "  mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%f4, %f5, %f6, %f7}, {%r10, %r11}, {%r12}, {%f0, %f0, "
      "%f0, %f0};\n"
      "  st.global.f32 [%rd1], %f4;\n",
      counting(32), 32);
  EXPECT_EQ(result, std::vector<uint32_t>(32, 0x3f800000));
}

TEST_F(WarpTest, LoadsOfMatrices) {
  // Rows of 80 bytes; lane i names row i.
  for (int n : {1, 2, 4})
    for (bool isTransposed : {false, true}) {
      std::string body = "  mov.u32 %r2, s;\n  mul.lo.u32 %r3, %r0, 80;\n  add.s32 %r3, %r3, %r2;\n";
      for (int i = 0; i < 4; ++i)
        body += "  mad.lo.u32 %r4, %r0, 0x80008, " + std::to_string(0x10000 * (2 * i + 1) + 2 * i) +
                ";\n  st.shared.u32 [%r3+" + std::to_string(4 * i) + "], %r4;\n";
      std::string list = n == 1 ? "{%r10}" : n == 2 ? "{%r10, %r11}" : "{%r10, %r11, %r12, %r13}";
      body += "  bar.warp.sync -1;\n  ldmatrix.sync.aligned.m8n8.x" + std::to_string(n) +
              (isTransposed ? ".trans" : "") + ".shared.b16 " + list + ", [%r3];\n  mul.wide.u32 %rd3, %r0, " +
              std::to_string(4 * n) + ";\n  add.s64 %rd3, %rd0, %rd3;\n";
      for (int i = 0; i < n; ++i)
        body += "  st.global.u32 [%rd3+" + std::to_string(4 * i) + "], %r" + std::to_string(10 + i) + ";\n";
      EXPECT_EQ(after(body, counting(size_t(32 * n)), 32),
                expected(size_t(32 * n),
                         [&](uint32_t i) {
                           uint32_t lane = i / uint32_t(n), matrix = i % uint32_t(n), value = 0;
                           for (uint32_t h = 0; h < 2; ++h) {
                             uint32_t row = lane / 4, column = lane % 4 * 2 + h;
                             if (isTransposed)
                               std::swap(row, column);
                             value |= ((8 * matrix + row) * 8 + column) << (16 * h);
                           }
                           return value;
                         }))
          << n << isTransposed;
      if (isStandIn()) {
        EXPECT_EQ(counters("k").idealWavefronts, uint32_t(4 + n)); // Four stores, and a pass a matrix.
      }
    }
}

// --- Atomics ---------------------------------------------------------------------------------------------------------

TEST_F(WarpTest, Atomics) {
  struct Case {
    const char *operation;
    uint32_t start, end;
  };
  const Case cases[] = {
      {"add.u32", 5, 5 + 64 * 63 / 2}, {"min.s32", 100, 0},       {"max.u32", 10, 63}, {"and.b32", 0xff, 0},
      {"or.b32", 0x100, 0x13f},        {"xor.b32", 0x100, 0x100}, {"inc.u32", 0, 0},   {"exch.b32", 7, 0}};
  for (const Case &one : cases)
    for (const std::string space : {"global", "shared", ""}) {
      std::string operation = one.operation, to = space == "global" ? "[%rd0]" : space == "shared" ? "[%r2]" : "[%rd5]";
      // inc wraps at its operand: 64 threads come back to zero. The last of exch may be anyone: only its sum of all is
      // fixed.
      std::string value = operation == "inc.u32" ? "63" : operation == "exch.b32" ? "0" : "%r0";
      std::string body = "  mov.u32 %r2, s;\n  cvt.u64.u32 %rd5, %r2;\n  cvta.shared.u64 %rd5, %rd5;\n  setp.ne.u32 "
                         "%p1, %r0, 0;\n  @!%p1 st.shared.u32 [%r2], " +
                         std::to_string(one.start) + ";\n  bar.sync 0;\n  atom." + (space.empty() ? "" : space + ".") +
                         operation + " %r3, " + to + ", " + value + ";\n  bar.sync 0;\n";
      if (space != "global")
        body += "  ld.shared.u32 %r4, [%r2];\n  @!%p1 st.global.u32 [%rd0], %r4;\n";
      EXPECT_EQ(after(body, {one.start}), std::vector<uint32_t>{one.end}) << operation << " " << space;
    }
}

TEST_F(WarpTest, AtomicsOfFloatsAndWideNumbers) {
  std::string start = "  cvt.rn.f32.u32 %f1, %r0;\n  cvt.rn.f64.u32 %fd1, %r0;\n  cvt.u64.u32 %rd3, %r0;\n";
  std::vector<uint32_t> result = after(start + "  red.global.add.f32 [%rd0], %f1;\n  red.global.add.f64 [%rd0+8], "
                                               "%fd1;\n  red.global.add.u64 [%rd0+16], %rd3;\n"
                                               "  atom.global.max.s64 %rd4, [%rd0+24], %rd3;\n",
                                       std::vector<uint32_t>(8, 0));
  float single;
  double wide;
  uint64_t sum, most;
  std::memcpy(&single, &result[0], 4);
  std::memcpy(&wide, &result[2], 8);
  std::memcpy(&sum, &result[4], 8);
  std::memcpy(&most, &result[6], 8);
  EXPECT_EQ(single, 63 * 32);
  EXPECT_EQ(wide, 63 * 32);
  EXPECT_EQ(sum, 63u * 32);
  EXPECT_EQ(most, 63u);
}

// The loop by which LLVM makes other operations, here a float's maximum; but for the load that LLVM's begins with,
// which meets the swaps of others.
TEST_F(WarpTest, CompareAndSwapLoop) {
  EXPECT_EQ(after("  cvt.rn.f32.u32 %f1, %r0;\n  mov.u32 %r5, 0;\n$L_again:\n  mov.b32 %f2, %r5;\n  max.f32 "
                  "%f3, %f1, %f2;\n  mov.b32 %r6, %f3;\n"
                  "  atom.global.cas.b32 %r7, [%rd0], %r5, %r6;\n  setp.ne.s32 %p1, %r7, %r5;\n  mov.b32 %r5, %r7;\n  "
                  "@%p1 bra $L_again;\n",
                  {0}),
            std::vector<uint32_t>{0x427c0000}); // 63
}

// --- Spaces and widths -----------------------------------------------------------------------------------------------

TEST_F(WarpTest, WidthsOfLoadsAndStores) {
  // Bytes 0x80, 0x81, ... are read as signed and unsigned numbers of every width, one and several at a time.
  std::vector<uint32_t> numbers(64, 0);
  for (uint32_t i = 0; i < 64; ++i)
    reinterpret_cast<uint8_t *>(numbers.data())[i] = uint8_t(0x80 + i);
  std::vector<uint32_t> result = after(
      "  ld.global.s8 %r1, [%rd0+1];\n  st.global.u32 [%rd0+64], %r1;\n"
      "  ld.global.u8 %rs1, [%rd0+2];\n  st.global.u16 [%rd0+68], %rs1;\n"
      "  ld.global.s16 %r2, [%rd0+4];\n  st.global.u32 [%rd0+72], %r2;\n"
      "  ld.global.u16 %r3, [%rd0+4];\n  st.global.u32 [%rd0+76], %r3;\n"
      "  ld.global.s32 %rd3, [%rd0+8];\n  st.global.u64 [%rd0+80], %rd3;\n"
      "  ld.global.v2.u8 {%rs2, %rs3}, [%rd0+6];\n  st.global.v2.u8 [%rd0+88], {%rs3, %rs2};\n"
      "  ld.global.v4.u16 {%rs4, %rs5, %rs6, %rs7}, [%rd0+8];\n  st.global.v4.b16 [%rd0+96], {%rs7, %rs6, %rs5, "
      "%rs4};\n"
      "  ld.global.nc.v2.f64 {%fd1, %fd2}, [%rd0+16];\n  st.global.v2.f64 [%rd0+112], {%fd2, %fd1};\n"
      "  ld.global.v4.f32 {%f1, %f2, %f3, %f4}, [%rd0+32];\n  st.global.v4.b32 [%rd0+128], {%f4, %f3, %f2, %f1};\n"
      "  ld.volatile.global.u64 %rd4, [%rd0+48];\n  st.global.b64 [%rd0+144], %rd4;\n  ld.relaxed.gpu.global.v2.b64 "
      "{%rd5, %rd6}, [%rd0+48];\n"
      "  st.global.v2.u64 [%rd0+160], {%rd6, %rd5};\n  mov.u32 %r9, 0x12345678;\n  st.global.u8 [%rd0+176], %r9;\n",
      numbers, 1);
  auto wide = [&](size_t at) { return uint64_t(result[at / 4 + 1]) << 32 | result[at / 4]; };
  EXPECT_EQ(result[16], 0xffffff81u);
  EXPECT_EQ(result[17], 0x82u);
  EXPECT_EQ(result[18], 0xffff8584u);
  EXPECT_EQ(result[19], 0x8584u);
  EXPECT_EQ(wide(80), 0xffffffff8b8a8988u);
  EXPECT_EQ(result[22], 0x8687u);
  EXPECT_EQ(wide(96), 0x89888b8a8d8c8f8eu);
  EXPECT_EQ(wide(112), 0x9f9e9d9c9b9a9998u);
  EXPECT_EQ(wide(120), 0x9796959493929190u);
  EXPECT_EQ(wide(128), 0xabaaa9a8afaeadacu);
  EXPECT_EQ(wide(136), 0xa3a2a1a0a7a6a5a4u);
  EXPECT_EQ(wide(144), 0xb7b6b5b4b3b2b1b0u);
  EXPECT_EQ(wide(160), 0xbfbebdbcbbbab9b8u);
  EXPECT_EQ(result[44], 0x78u);
}

TEST_F(WarpTest, GenericAddresses) {
  EXPECT_EQ(after("  .local .align 8 .b8 l[64];\n  mov.u32 %r2, s;\n  shl.b32 %r3, %r0, 2;\n  add.s32 %r3, %r3, %r2;\n "
                  " cvt.u64.u32 %rd3, %r3;\n  cvta.shared.u64 %rd3, %rd3;\n"
                  "  mov.u64 %rd4, l;\n  cvta.local.u64 %rd5, %rd4;\n  ld.u32 %r4, [%rd1];\n  st.u32 [%rd3], %r4;\n  "
                  "ld.shared.u32 %r5, [%r3];\n  add.s32 %r5, %r5, 1;\n"
                  "  st.local.u32 [%rd4+8], %r5;\n  ld.u32 %r6, [%rd5+8];\n  isspacep.shared %p1, %rd3;\n  "
                  "isspacep.global %p2, %rd1;\n  isspacep.local %p3, %rd5;\n"
                  "  isspacep.global %p4, %rd3;\n  selp.b32 %r7, 100, 0, %p1;\n  add.s32 %r6, %r6, %r7;\n  selp.b32 "
                  "%r7, 200, 0, %p2;\n  add.s32 %r6, %r6, %r7;\n"
                  "  selp.b32 %r7, 400, 0, %p3;\n  add.s32 %r6, %r6, %r7;\n  selp.b32 %r7, 5000, 0, %p4;\n  add.s32 "
                  "%r6, %r6, %r7;\n"
                  "  cvta.to.shared.u64 %rd6, %rd3;\n  cvt.u32.u64 %r8, %rd6;\n  sub.s32 %r8, %r8, %r3;\n  add.s32 "
                  "%r6, %r6, %r8;\n  st.u32 [%rd1], %r6;\n",
                  counting(64)),
            expected(64, [](uint32_t i) { return i + 1 + 700; }));
}

// Every thread has local memory of its own, also across barriers.
TEST_F(WarpTest, LocalMemory) {
  for (const char *barrier : {"", "  bar.sync 0;\n"})
    EXPECT_EQ(after(std::string("  .local .align 4 .b8 l[128];\n  mov.u64 %rd3, l;\n  and.b32 %r2, %r0, 31;\n  "
                                "mul.wide.u32 %rd4, %r2, 4;\n  add.s64 %rd4, %rd4, %rd3;\n"
                                "  st.local.u32 [%rd4], %r0;\n") +
                        barrier + "  ld.local.u32 %r3, [%rd4];\n  st.global.u32 [%rd1], %r3;\n",
                    counting(64, 0)),
              counting(64));
}

TEST_F(WarpTest, AsynchronousCopies) {
  // 16, 8 and 4 bytes; of the first only 12 come from memory, and the rest is zero.
  std::vector<uint32_t> result = after("  mov.u32 %r2, s;\n  mov.u32 %r3, 12;\n  cp.async.cg.shared.global [%r2], "
                                       "[%rd0], 16, %r3;\n  cp.async.ca.shared.global [%r2+16], [%rd0+8], 8;\n"
                                       "  cp.async.ca.shared.global [%r2+24], [%rd0+4], 4;\n  cp.async.commit_group;\n "
                                       " cp.async.ca.shared.global [%r2+28], [%rd0], 4;\n"
                                       "  cp.async.wait_group 0;\n  ld.shared.v4.u32 {%r4, %r5, %r6, %r7}, [%r2];\n  "
                                       "st.global.v4.u32 [%rd0+16], {%r4, %r5, %r6, %r7};\n"
                                       "  ld.shared.v2.u32 {%r4, %r5}, [%r2+16];\n  ld.shared.u32 %r6, [%r2+24];\n  "
                                       "cp.async.wait_all;\n  ld.shared.u32 %r7, [%r2+28];\n"
                                       "  st.global.v4.u32 [%rd0+32], {%r4, %r5, %r6, %r7};\n",
                                       {11, 22, 33, 44, 0, 0, 0, 0, 0, 0, 0, 0}, 1);
  EXPECT_EQ(result, (std::vector<uint32_t>{11, 22, 33, 44, 11, 22, 33, 0, 33, 44, 22, 11}));
}

} // namespace
} // namespace morph
