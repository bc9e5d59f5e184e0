// SPDX-License-Identifier: Apache-2.0
// The scratch memory that kernels work in, as functions of sizes alone: what a planner lays out and a kernel is given.
// Bytes; every piece starts at a multiple of 64.

#ifndef MORPH_RUNTIME_PLAN_WORKSPACE_H
#define MORPH_RUNTIME_PLAN_WORKSPACE_H

#include <algorithm>
#include <cstdint>

namespace morph::plan {

/// What `bytes` take where each piece starts at a multiple of 64.
inline constexpr int64_t alignedBytes(int64_t bytes) { return (bytes + 63) / 64 * 64; }

inline constexpr int64_t blocksOf(int64_t count, int64_t block) { return (count + block - 1) / block; }

/// Rows that are added up to one part of a sum over rows. The parts are then added in their order, so that the sum does
/// not depend on the threads.
inline constexpr int64_t kRowBlock = 64;

/// Of a launched kernel, for each sum over rows: its parts, fp32.
inline constexpr int64_t rowSumWorkspace(int64_t rows, int64_t elements) {
  return alignedBytes(blocksOf(rows, kRowBlock) * elements * 4);
}

/// Of rope, a thread: cosines and sines of a position and of a step in double, and rounded.
inline constexpr int64_t ropeWorkspace(int64_t frequencies, int64_t bytes) {
  return 4 * alignedBytes(frequencies * 8) + 2 * alignedBytes(frequencies * bytes);
}

/// The sizes of attention: queries [B,T,H,D], keys and values [B,S,G,D].
struct AttentionSizes {
  int64_t batch = 0, queries = 0, keys = 0, heads = 0, groups = 0, width = 0;
};

/// Queries of a block, keys of a block, and keys of a task of decoding.
inline constexpr int64_t kQueryBlock = 64, kKeyBlock = 256, kDecodeKeys = 512;

/// Of attentionForward: a block's products a thread; with one query, what each task over keys found; where operands are
/// `widened`, a block of queries and one of keys or values, or the single queries. `factorBytes` are those of an
/// element of a factor, `sumBytes` of o.
inline constexpr int64_t attentionWorkspace(const AttentionSizes &s, int threads, int64_t factorBytes = 4,
                                            int64_t sumBytes = 4, bool widened = false) {
  const int64_t rows = s.queries == 1 ? s.heads / std::max<int64_t>(s.groups, 1) : std::min(kQueryBlock, s.queries);
  const int64_t block = rows * std::min(kKeyBlock, s.keys);
  const int64_t each =
      alignedBytes(block * sumBytes) + (factorBytes == sumBytes ? 0 : alignedBytes(block * factorBytes));
  const int64_t parts =
      s.queries == 1 ? alignedBytes(s.batch * s.heads * blocksOf(s.keys, kDecodeKeys) * (s.width + 3) * sumBytes) : 0;
  const int64_t blocks = alignedBytes(rows * s.width * factorBytes) +
                         alignedBytes(std::min(kKeyBlock, s.keys) * s.width * factorBytes),
                single = alignedBytes(s.batch * s.heads * s.width * factorBytes);
  return threads * (each + alignedBytes(rows * 3 * sumBytes)) + parts +
         (!widened         ? 0
          : s.queries == 1 ? single
                           : threads * blocks);
}

/// Of attention_distance: a block's products and its rows' sums a thread, the distances of all keys, and a sum for each
/// block of queries.
inline constexpr int64_t attentionDistanceWorkspace(const AttentionSizes &s, int threads, int64_t bytes = 4) {
  const int64_t each = alignedBytes(kQueryBlock * kKeyBlock * bytes) + alignedBytes(kQueryBlock * 3 * bytes);
  return threads * each + alignedBytes((s.keys + kQueryBlock + kKeyBlock) * bytes) +
         alignedBytes(s.batch * s.heads * blocksOf(s.queries, kQueryBlock) * 8);
}

/// The tasks of attentionBackward. Heads of a group add to the same keys: each sums up by itself, then the sums of a
/// group are added in the order of its heads, whatever the tasks are, so that results do not depend on them.
enum class AttentionGradTasks {
  Groups, ///< One after the other the heads of a group.
  Heads,  ///< All but the first of a group keep their sums until the end.
  Blocks  ///< Blocks of queries, then blocks of keys: two of five products are computed twice.
};

/// The most bytes that sums of heads may take.
inline constexpr int64_t kHeadSumBytes = int64_t(64) << 20;

/// Bytes of a head's sums for the keys and values.
inline constexpr int64_t headSumBytes(const AttentionSizes &s, int64_t keys, int64_t sumBytes) {
  return 2 * alignedBytes(keys * s.width * sumBytes);
}

/// The most keys for which heads may keep their sums, which are kHeadSumBytes then.
inline constexpr int64_t mostHeadSumKeys(const AttentionSizes &s, int64_t sumBytes) {
  const int64_t heads = s.batch * (s.heads - s.groups);
  return heads <= 0 ? s.keys : kHeadSumBytes / (2 * heads) / 64 * 64 / std::max<int64_t>(s.width * sumBytes, 1);
}

/// The tasks that end first; of equals those that take the least memory.
inline constexpr AttentionGradTasks attentionGradTasks(const AttentionSizes &s, int threads, int64_t sumBytes = 4) {
  const int64_t groups = s.batch * s.groups, heads = s.batch * s.heads, each = s.heads / std::max<int64_t>(s.groups, 1);
  // Products that the busiest thread computes.
  const int64_t byGroups = 5 * each * blocksOf(groups, threads), byHeads = 5 * blocksOf(heads, threads),
                byBlocks = 7 * blocksOf(heads, threads) - 7 * (heads % threads != 0) + 1;
  if (threads == 1 || s.queries <= kQueryBlock || (byGroups <= byHeads && byGroups <= byBlocks))
    return AttentionGradTasks::Groups;
  if (byHeads <= byBlocks && s.keys <= mostHeadSumKeys(s, sumBytes))
    return AttentionGradTasks::Heads;
  return AttentionGradTasks::Blocks;
}

/// Of attentionBackward: products of a block of queries with a block of keys, a thread; a number for each query of each
/// head; the sums of heads.
inline constexpr int64_t attentionGradWorkspace(const AttentionSizes &s, int threads, int64_t factorBytes = 4,
                                                int64_t sumBytes = 4) {
  const int64_t rows = std::min(kQueryBlock, s.queries);
  const int64_t block = rows * std::min(kKeyBlock, s.keys);
  const int64_t each =
      2 * alignedBytes(block * sumBytes) + (factorBytes == sumBytes ? 0 : 2 * alignedBytes(block * factorBytes));
  const AttentionGradTasks tasks = attentionGradTasks(s, threads, sumBytes);
  const int64_t sums =
      s.heads == s.groups                   ? 0
      : tasks == AttentionGradTasks::Heads  ? s.batch * (s.heads - s.groups) * headSumBytes(s, s.keys, sumBytes)
      : tasks == AttentionGradTasks::Groups ? threads * headSumBytes(s, s.keys, sumBytes)
                                            : threads * headSumBytes(s, std::min(kKeyBlock, s.keys), sumBytes);
  return threads * each + alignedBytes(s.batch * s.heads * s.queries * sumBytes) + sums;
}

/// How a position of linear attention changes the state (runtime/kernels/ChunkedRecurrence.h).
enum class StateUpdate {
  Add,   ///< k v^T is added.
  Delta, ///< k beta (v - S^T k)^T is added.
  Free   ///< a (S^T b)^T is added, too.
};

/// The sizes of linear attention: q, k [B,T,G,K], values [B,T,H,V], the normaliser's column of ones included, chunks of
/// `chunk` positions (at most T).
struct LinearAttentionSizes {
  int64_t batch = 0, length = 0, heads = 0, groups = 0, width = 0, valueWidth = 0, chunk = 0;
  StateUpdate update = StateUpdate::Add;
  bool channelDecay = false; ///< A decay for each of K channels.
  bool normalised = false;
  bool hasStates = false; ///< The states at the chunks' starts are a result or an operand.
  constexpr int64_t chunks() const { return blocksOf(length, chunk); }
  /// What reads the state of a position: q, and what reads it before it is written.
  constexpr int64_t reads() const { return update == StateUpdate::Add ? 1 : 2; }
  /// What is written into it.
  constexpr int64_t writes() const { return update == StateUpdate::Free ? 2 : 1; }
  /// Decays of a position.
  constexpr int64_t decays() const { return channelDecay ? width : 1; }
};

/// Columns of values of a task of the passes over states.
inline constexpr int64_t kValueColumns = 32;

/// Whether heads alone keep the threads busy.
inline constexpr bool headsSuffice(const LinearAttentionSizes &s, int threads) {
  return threads == 1 || s.batch * s.heads >= 2 * threads || s.length <= s.chunk;
}

namespace detail {
/// What a chunk takes by itself while it is worked on.
inline constexpr int64_t chunkScratch(const LinearAttentionSizes &s, int64_t bytes, bool gradient) {
  const int64_t c = s.chunk, k = s.width, n = s.valueWidth, reads = s.reads(), writes = s.writes();
  int64_t sum = alignedBytes(2 * writes * c * k * bytes) + alignedBytes(reads * writes * c * c * bytes) +
                2 * alignedBytes(c * s.decays() * bytes) + alignedBytes(c * bytes) +
                2 * alignedBytes(c * (k + n) * bytes);
  sum += s.channelDecay ? 3 * alignedBytes(c * k * bytes) + 2 * alignedBytes(2 * c * k * bytes)
                        : alignedBytes(c * c * bytes);
  if (gradient)
    sum += alignedBytes(reads * c * n * bytes) + 2 * alignedBytes(c * n * bytes) +
           alignedBytes(reads * writes * c * c * bytes) + alignedBytes(reads * c * k * bytes) +
           alignedBytes(writes * c * k * bytes) + alignedBytes(c * s.decays() * bytes);
  return sum;
}
/// What a head keeps of its chunks between the steps.
inline constexpr int64_t headScratch(const LinearAttentionSizes &s, int64_t bytes, bool gradient) {
  const int64_t t = s.length, k = s.width, n = s.valueWidth;
  const int64_t forward = alignedBytes(t * (k + n) * bytes) + 2 * alignedBytes(t * s.decays() * bytes) +
                          (s.hasStates ? 0 : alignedBytes(s.chunks() * k * n * bytes)) + alignedBytes(k * n * bytes);
  return gradient ? forward + alignedBytes(t * (k + n) * bytes) + alignedBytes((s.chunks() + 1) * k * n * bytes)
                  : forward;
}
} // namespace detail

/// Of recurrenceForward and recurrenceBackward (runtime/kernels/ChunkedRecurrence.h): a chunk's data for each thread,
/// and for each head that is under way what it keeps from one step to the next. `bytes` are those of a number.
inline constexpr int64_t recurrenceWorkspace(const LinearAttentionSizes &s, int threads, int64_t bytes = 4) {
  return threads * detail::chunkScratch(s, bytes, false) +
         (headsSuffice(s, threads) ? threads : s.batch * s.heads) * detail::headScratch(s, bytes, false);
}
inline constexpr int64_t recurrenceGradWorkspace(const LinearAttentionSizes &s, int threads, int64_t bytes = 4) {
  return threads * detail::chunkScratch(s, bytes, true) +
         (headsSuffice(s, threads) ? threads : s.batch * s.heads) * detail::headScratch(s, bytes, true) +
         alignedBytes(s.batch * s.heads * s.chunks() * bytes);
}

/// Of linear_attention: with a normaliser the values with ones beside them and their outputs; the recurrence's.
inline constexpr int64_t linearAttentionWorkspace(const LinearAttentionSizes &s, int threads, int64_t bytes = 4) {
  const int64_t values = alignedBytes(s.batch * s.length * s.heads * s.valueWidth * bytes);
  return (s.normalised ? 2 * values : 0) + recurrenceWorkspace(s, threads, bytes);
}
/// Of linear_attention_grad: the same with their gradients and the state that the forward leaves; where heads share q
/// and k, each head's gradients of these; the recurrence's.
inline constexpr int64_t linearAttentionGradWorkspace(const LinearAttentionSizes &s, int threads, int64_t bytes = 4) {
  const int64_t lines = s.batch * s.length * s.heads, values = alignedBytes(lines * s.valueWidth * bytes),
                states = alignedBytes(s.batch * s.heads * s.width * s.valueWidth * bytes);
  return (s.normalised ? 4 * values + states : 0) +
         (s.groups < s.heads ? 2 * alignedBytes(lines * s.width * bytes) : 0) +
         recurrenceGradWorkspace(s, threads, bytes);
}

} // namespace morph::plan

#endif // MORPH_RUNTIME_PLAN_WORKSPACE_H
