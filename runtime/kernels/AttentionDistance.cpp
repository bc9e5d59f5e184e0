// SPDX-License-Identifier: Apache-2.0
// attention_distance: how far back the heads of a causal softmax attention look. A task is a block of queries of a
// head, which goes over blocks of keys as BlockAttention does; it keeps no more than a block's products. Shapes: B
// batch, T queries and keys, H query heads, G key heads, D head dimension.

#include "runtime/kernels/AttentionLoops.h"
#include "runtime/kernels/Kernel.h"
#include "runtime/kernels/Parallel.h"
#include "runtime/kernels/Rows.h"
#include "runtime/kernels/ScratchAllocator.h"
#include "runtime/kernels/SmallProducts.h"

#include <algorithm>

namespace morph {
namespace {

using plan::blocksOf;
using plan::kKeyBlock;
using plan::kQueryBlock;

struct Problem {
  int64_t batch, length, heads, groups, width;
  double scale;
  int64_t window; ///< At most the length.
  double softcap; ///< 0: none.
  int64_t firstSeen(int64_t query) const { return std::max<int64_t>(0, query - window + 1); }
};

/// The sum over the queries of block `number` of what they see on average. `distances` points to the distance 0 of a
/// falling row, in which the distance of the key n positions later stands n further.
template <typename T>
double blockDistance(const Problem &p, int64_t number, Matrix<const T> q, Matrix<const T> k, const T *distances,
                     T *scores, RowSums<T> *sums) {
  const T factor = T(p.softcap > 0 ? p.softcap : p.scale); // Of what takes the products' place.
  const int64_t begin = number * kQueryBlock, rows = std::min(kQueryBlock, p.length - begin), end = begin + rows;
  std::fill(sums, sums + rows, RowSums<T>{0, 0, 0});
  for (int64_t at = p.firstSeen(begin) / kKeyBlock * kKeyBlock; at < end; at += kKeyBlock) {
    const int64_t n = std::min(kKeyBlock, end - at);
    multiply(false, true, rows, n, p.width, T(1), q.below(begin), k.below(at), T(0), Matrix<T>{scores, n});
    if (p.softcap > 0)
      capRow(scores, rows * n, T(p.scale / p.softcap));
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t query = begin + i, first = std::clamp<int64_t>(p.firstSeen(query) - at, 0, n),
                    last = std::clamp<int64_t>(query + 1 - at, 0, n);
      addInner(scores + i * n, distances - (query - at), first, last, n, factor, sums + i);
    }
  }
  double sum = 0;
  for (int64_t i = 0; i < rows; ++i)
    sum += static_cast<double>(sums[i].inner / sums[i].sum);
  return sum;
}

template <typename T> void measure(const KernelCall &call, const Problem &p, T *result) {
  const T *const q = call.operands[0].const_data_ptr<T>(), *const k = call.operands[1].const_data_ptr<T>();
  const int threads = at::get_num_threads();
  const int64_t blocks = blocksOf(p.length, kQueryBlock), tasks = p.batch * p.heads * blocks;
  ScratchAllocator scratch = call.scratch;
  double *const parts = scratch.take<double>(tasks);
  T *const row = scratch.take<T>(p.length + kQueryBlock + kKeyBlock);
  for (int64_t i = 0; i < p.length + kQueryBlock + kKeyBlock; ++i)
    row[i] = static_cast<T>(p.length - i);
  T *const scores = scratch.take<T>(threads * kQueryBlock * kKeyBlock);
  RowSums<T> *const sums = scratch.take<RowSums<T>>(threads * kQueryBlock);
  parallelTasks(threads, tasks, [&](int64_t task, int thread) {
    const int64_t b = task / blocks / p.heads, h = task / blocks % p.heads;
    // The last queries see the most keys.
    const int64_t number = blocks - 1 - task % blocks;
    parts[(b * p.heads + h) * blocks + number] =
        blockDistance<T>(p, number, headOf(q, b, h, p.length, p.heads, p.width),
                         headOf(k, b, h / (p.heads / p.groups), p.length, p.groups, p.width), row + p.length,
                         scores + thread * kQueryBlock * kKeyBlock, sums + thread * kQueryBlock);
  });
  for (int64_t h = 0; h < p.heads; ++h) {
    double sum = 0;
    for (int64_t b = 0; b < p.batch; ++b)
      for (int64_t block = 0; block < blocks; ++block)
        sum += parts[(b * p.heads + h) * blocks + block];
    result[h] = static_cast<T>(sum / static_cast<double>(std::max<int64_t>(1, p.batch * p.length)));
  }
}

void attentionDistance(const KernelCall &call) {
  const at::Tensor &q = call.operands[0], &k = call.operands[1];
  TORCH_CHECK(q.dim() == 4 && k.dim() == 4 && q.size(0) == k.size(0) && q.size(1) == k.size(1) && k.size(2) > 0 &&
                  q.size(2) % k.size(2) == 0 && q.size(3) == k.size(3),
              "attention_distance: expected q [B,T,H,D] and k [B,T,G,D] with H a multiple of G, but got ", q.sizes(),
              " and ", k.sizes());
  const int64_t window = call.flag("window") ? call.integer("window") : q.size(1);
  const Problem p{q.size(0),
                  q.size(1),
                  q.size(2),
                  k.size(2),
                  q.size(3),
                  call.number("scale"),
                  std::min(window, q.size(1)),
                  call.flag("softcap") ? call.number("softcap") : 0};
  withType(call.results[0], [&](auto *type) {
    using T = std::remove_pointer_t<decltype(type)>;
    measure<T>(call, p, call.results[0].mutable_data_ptr<T>());
  });
}

const KernelRegistration registration("attention_distance", {attentionDistance});

} // namespace
} // namespace morph
