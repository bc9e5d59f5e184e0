// SPDX-License-Identifier: Apache-2.0
// Tasks on several threads.

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

} // namespace morph

#endif // MORPH_RUNTIME_KERNELS_PARALLEL_H
