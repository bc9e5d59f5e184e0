// SPDX-License-Identifier: Apache-2.0
// Token mixing on raw memory: the same bits on any number of threads, also where a head is more than one task, within
// the workspace that runtime/plan/Workspace.h says.

#include "runtime/kernels/BlockAttention.h"
#include "runtime/kernels/ChunkedRecurrence.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <set>
#include <vector>

namespace morph {
namespace {

std::vector<float> random(int64_t count, unsigned seed, float low = -1, float high = 1) {
  std::mt19937 engine(seed);
  std::uniform_real_distribution<float> uniform(low, high);
  std::vector<float> values(static_cast<size_t>(count));
  for (float &value : values)
    value = uniform(engine);
  return values;
}

/// A workspace of exactly so many bytes, with a mark behind it, and not a number in it.
class Workspace {
public:
  explicit Workspace(int64_t bytes)
      : bytes_(bytes), memory_(static_cast<char *>(std::aligned_alloc(64, static_cast<size_t>(bytes) + 128))) {
    std::memset(memory_, 0xff, static_cast<size_t>(bytes) + 128);
  }
  ~Workspace() {
    for (int i = 0; i < 64; ++i)
      EXPECT_EQ(memory_[bytes_ + i], static_cast<char>(0xff)) << "written behind the workspace";
    std::free(memory_);
  }
  Workspace(const Workspace &) = delete;
  ScratchAllocator scratch() { return {memory_, bytes_}; }

private:
  int64_t bytes_;
  char *memory_;
};

struct Recurrence {
  std::vector<float> o, state, dq, dk, dv, dHeadDecay, dDecay, dBeta, dWrite, dErase;
};

Recurrence runRecurrence(plan::StateUpdate update, bool channels, int64_t length, int threads, bool keepsStates = false,
                         bool keepsWritten = false) {
  const int64_t batch = 1, heads = 2, width = 24, values = 40, chunk = std::min<int64_t>(32, length),
                lines = batch * length * heads;
  const auto q = random(lines / heads * width, 1), k = random(lines / heads * width, 2, -0.2f, 0.2f),
             v = random(lines * values, 3), dO = random(lines * values, 4),
             decay = random(lines * (channels ? width : 1), 5, -0.5f, 0), beta = random(lines, 6, 0, 1),
             write = random(lines * width, 8, -0.2f, 0.2f), erase = random(lines * width, 9, -0.2f, 0.2f),
             state = random(batch * heads * width * values, 7);
  const bool isDelta = update == plan::StateUpdate::Delta, isFree = update == plan::StateUpdate::Free;
  RecurrenceProblem<float> p;
  p.sizes = {batch, length, heads, /*groups=*/1, width, values, chunk, update, channels, /*normalised=*/false};
  p.scale = 0.3f;
  p.q = q.data();
  p.k = k.data();
  p.v = v.data();
  (channels ? p.channelDecay : isDelta ? p.decay : p.headDecay) = decay.data();
  p.beta = isDelta ? beta.data() : nullptr;
  p.write = isFree ? write.data() : nullptr;
  p.erase = isFree ? erase.data() : nullptr;
  p.state = state.data();
  Recurrence r;
  r.o.resize(v.size());
  r.state.resize(state.size());
  r.dq.resize(write.size());
  r.dk.resize(write.size());
  r.dv.resize(v.size());
  r.dHeadDecay.resize(static_cast<size_t>(heads));
  r.dDecay.resize(decay.size());
  r.dBeta.resize(beta.size());
  r.dWrite.resize(write.size());
  r.dErase.resize(erase.size());
  RecurrenceGradients<float> to{r.dq.data(), r.dk.data(), r.dv.data()};
  to.dHeadDecay = p.headDecay ? r.dHeadDecay.data() : nullptr;
  to.dDecay = p.decay ? r.dDecay.data() : nullptr;
  to.dChannelDecay = p.channelDecay ? r.dDecay.data() : nullptr;
  to.dBeta = r.dBeta.data();
  to.dWrite = r.dWrite.data();
  to.dErase = r.dErase.data();
  std::vector<float> states(static_cast<size_t>(p.sizes.chunks()) * state.size()), written(v.size());
  p.states = keepsStates ? states.data() : nullptr;
  p.sizes.hasStates = keepsStates;
  p.written = keepsWritten ? written.data() : nullptr;
  Workspace forward(plan::recurrenceWorkspace(p.sizes, threads)),
      backward(plan::recurrenceGradWorkspace(p.sizes, threads));
  recurrenceForward(p, r.o.data(), r.state.data(), threads, forward.scratch());
  recurrenceBackward<float>(p, dO.data(), to, threads, backward.scratch());
  return r;
}

class RecurrenceTest : public testing::TestWithParam<int64_t> {};

TEST_P(RecurrenceTest, SameBitsOnAnyThreads) {
  for (plan::StateUpdate update : {plan::StateUpdate::Add, plan::StateUpdate::Delta, plan::StateUpdate::Free})
    for (bool channels : {false, true}) {
      const Recurrence one = runRecurrence(update, channels, GetParam(), 1);
      for (float x : one.dq)
        ASSERT_TRUE(std::isfinite(x));
      // On three, with what the forward keeps: the states, what is written, both.
      for (auto [threads, kept] : {std::pair(1, 0), {2, 0}, {3, 0}, {3, 1}, {3, 2}, {3, 3}, {16, 0}}) {
        SCOPED_TRACE(testing::Message() << "update " << static_cast<int>(update) << " channels " << channels
                                        << " threads " << threads << " kept " << kept);
        const Recurrence many = runRecurrence(update, channels, GetParam(), threads, (kept & 1) != 0, (kept & 2) != 0);
        if (kept == 0 || GetParam() > 1) { // A single position is another kernel where nothing is kept.
          EXPECT_EQ(many.o, one.o);
          EXPECT_EQ(many.state, one.state);
        }
        EXPECT_EQ(many.dq, one.dq);
        EXPECT_EQ(many.dk, one.dk);
        EXPECT_EQ(many.dv, one.dv);
        EXPECT_EQ(many.dHeadDecay, one.dHeadDecay);
        EXPECT_EQ(many.dDecay, one.dDecay);
        EXPECT_EQ(many.dBeta, one.dBeta);
        EXPECT_EQ(many.dWrite, one.dWrite);
        EXPECT_EQ(many.dErase, one.dErase);
      }
    }
}

INSTANTIATE_TEST_SUITE_P(Lengths, RecurrenceTest, testing::Values(1, 150));

struct Attention {
  std::vector<float> o, lse, dq, dk, dv;
  std::vector<float> oOfBf16; ///< For the operands as bf16, which are widened.
};

std::vector<Bf16> halves(const std::vector<float> &x) {
  std::vector<Bf16> rounded;
  for (float value : x)
    rounded.push_back(roundToBf16(value));
  return rounded;
}

Attention runAttention(int64_t queries, int64_t keys, int64_t window, int threads) {
  AttentionProblem p;
  p.sizes = {2, queries, keys, 6, 2, 16};
  p.scale = 0.4;
  p.window = window;
  const int64_t start[] = {3, keys - 1};
  p.start = start;
  const auto q = random(2 * queries * 6 * 16, 1), k = random(2 * keys * 2 * 16, 2), v = random(2 * keys * 2 * 16, 3),
             dO = random(2 * queries * 6 * 16, 4);
  Attention a;
  a.o.resize(q.size());
  a.lse.resize(static_cast<size_t>(2 * queries * 6));
  a.dq.resize(q.size());
  a.dk.resize(k.size());
  a.dv.resize(v.size());
  Workspace forward(plan::attentionWorkspace(p.sizes, threads)),
      backward(plan::attentionGradWorkspace(p.sizes, threads));
  attentionForward<float, float>(p, q.data(), k.data(), v.data(), a.o.data(), a.lse.data(), threads, forward.scratch());
  const auto q16 = halves(q), k16 = halves(k), v16 = halves(v);
  a.oOfBf16.resize(q.size());
  Workspace widened(plan::attentionWorkspace(p.sizes, threads, 4, 4, /*widened=*/true));
  attentionForward<float, float, Bf16>(p, q16.data(), k16.data(), v16.data(), a.oOfBf16.data(),
                                       /*lse=*/nullptr, threads, widened.scratch());
  attentionBackward<float, float>(p, dO.data(), q.data(), k.data(), v.data(), a.o.data(), a.lse.data(), a.dq.data(),
                                  a.dk.data(), a.dv.data(), threads, backward.scratch());
  return a;
}

TEST(BlockAttentionTest, SameBitsOnAnyThreads) {
  std::set<plan::AttentionGradTasks> tasks;
  const std::vector<std::vector<int64_t>> sizes = {
      {1, 700, 0}, {1, 1500, 900}, {130, 130, 0}, {200, 330, 100}, {70, 2300, 0}};
  for (const auto &size : sizes) {
    const Attention one = runAttention(size[0], size[1], size[2], 1);
    for (int threads : {2, 3, 5, 16}) {
      SCOPED_TRACE(testing::Message() << size[0] << " of " << size[1] << " window " << size[2] << " threads "
                                      << threads);
      tasks.insert(plan::attentionGradTasks({2, size[0], size[1], 6, 2, 16}, threads));
      const Attention many = runAttention(size[0], size[1], size[2], threads);
      EXPECT_EQ(many.o, one.o);
      EXPECT_EQ(many.lse, one.lse);
      EXPECT_EQ(many.oOfBf16, one.oOfBf16);
      EXPECT_EQ(many.dq, one.dq);
      EXPECT_EQ(many.dk, one.dk);
      EXPECT_EQ(many.dv, one.dv);
    }
  }
  EXPECT_EQ(tasks.size(), 3u) << "not every kind of tasks was run";
}

TEST(ScratchAllocatorDeathTest, TakesNoMoreThanThereIs) {
  alignas(64) char memory[128] = {};
  ScratchAllocator scratch(memory, sizeof(memory));
  EXPECT_TRUE(scratch.take<char>(3) == memory);
  EXPECT_TRUE(ScratchAllocator(scratch).take<char>(64) == memory + 64);
  EXPECT_DEATH(scratch.take<char>(65), "a kernel takes 128 bytes of scratch where 64 are left");
}

} // namespace
} // namespace morph
