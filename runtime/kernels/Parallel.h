// SPDX-License-Identifier: Apache-2.0
// Loops on several threads: tasks of their own length, ranges of equal rows.

#ifndef MORPH_RUNTIME_KERNELS_PARALLEL_H
#define MORPH_RUNTIME_KERNELS_PARALLEL_H

#include <algorithm>
#include <cstdint>

#ifdef _OPENMP
#include <omp.h>
#endif

namespace morph {

/// Whether the caller is one of several threads that work on tasks already.
inline bool insideTasks() {
#ifdef _OPENMP
  return omp_in_parallel();
#else
  return false;
#endif
}

/// Calls body(task, thread) for every task of [0, tasks) on at most `threads` threads, numbered from 0; a thread takes
/// the next task when it is done with one, so that tasks may differ in length (put the long ones first). Results must
/// not depend on which thread runs a task. Inside another such loop everything runs on the calling thread, as thread 0.
/// `body` must not throw.
template <typename Body> void parallelTasks(int threads, int64_t tasks, const Body &body) {
  if (std::min<int64_t>(threads, tasks) <= 1 || insideTasks()) {
    for (int64_t task = 0; task < tasks; ++task)
      body(task, 0);
    return;
  }
#ifdef _OPENMP
  // All threads, also where tasks are fewer: libgomp ends threads that a smaller team has no use for, and the next team
  // waits for new ones.
#pragma omp parallel num_threads(threads)
  {
    const int thread = omp_get_thread_num();
#pragma omp for schedule(dynamic, 1)
    for (int64_t task = 0; task < tasks; ++task)
      body(task, thread);
  }
#else
  for (int64_t task = 0; task < tasks; ++task)
    body(task, 0);
#endif
}

/// Calls body(begin, end) over ranges that make up [0, count), one a thread and none but the last shorter than `grain`:
/// what is that short is done here.
template <typename Body> void parallelRanges(int threads, int64_t count, int64_t grain, const Body &body) {
  const int64_t parts = std::clamp<int64_t>(count / std::max<int64_t>(grain, 1), 1, threads);
  parallelTasks(threads, parts, [&](int64_t part, int) {
    if (const int64_t begin = count * part / parts, end = count * (part + 1) / parts; begin < end)
      body(begin, end);
  });
}

} // namespace morph

#endif // MORPH_RUNTIME_KERNELS_PARALLEL_H
