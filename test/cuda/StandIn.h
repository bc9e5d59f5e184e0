/* SPDX-License-Identifier: Apache-2.0
 * What the stand-in for NVIDIA's driver offers beyond the driver's own functions, for tests and for the stand-in of
 * cublasLt: found by dlsym in the same library. C11 and C++17. */

#ifndef MORPH_TEST_CUDA_STANDIN_H
#define MORPH_TEST_CUDA_STANDIN_H

#include <cuda.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Counts of a kernel since the last reset, over all its launches. Of a warp's request to global memory the sectors are
 * the pieces of 32 bytes that it touches, the ideal ones those that its bytes would fill; of one to shared memory the
 * wavefronts are the passes that its bank conflicts cost, the ideal ones those without conflicts. */
typedef struct MorphStandInCounters {
  uint64_t launches, blocks, threads;
  uint64_t bytesLoaded, bytesStored; /* global memory, by all threads; atomics count as both */
  /* Of these the bytes that nobody had loaded, or stored, before in a launch, in pairs of bytes: what memory gives and
   * takes with a cache in between that has room for all. An atomic counts as a store. */
  uint64_t firstLoaded, firstStored;
  /* Bytes that the memory gives and takes, in sectors: what the second cache does not have, by the model of
   * driver/SecondCache.h. */
  uint64_t memoryLoaded, memoryStored;
  uint64_t requests, sectors, idealSectors;
  uint64_t sharedRequests, wavefronts, idealWavefronts;
  uint64_t mma, mmaFlops; /* operations of warps */
  uint64_t flops;         /* outside mma; a fused product counts two */
  /* Instructions of threads by class: integer, float, special (approximate functions, divisions, roots), convert, move,
   * control, global, shared, local (and parameters), atomic, barrier, collective, mma. */
  uint64_t instructions[13];
} MorphStandInCounters;

/* Confines what the calling thread launches from here on to `count` spans of device memory, which `bounds` has as the
 * begin and the end of each; no spans end that. Whatever else a kernel touches, but for variables of its module, is an
 * error, and so is what morphStandInHostPointer is asked for in work of morphStandInEnqueue. A launch keeps its spans,
 * in a graph too. */
void morphStandInConfine(const CUdeviceptr *bounds, size_t count);

/* For stand-ins of libraries: work of a stream, as a kernel of the library would be. `function` gets a copy of `bytes`
 * of `data`, made now, and is called when the stream comes to it, each time that a graph which captured it runs; not
 * once the context has an error. It may call the next two functions and no other of the driver. */
CUresult morphStandInEnqueue(CUstream stream, void (*function)(const void *data), const void *data, size_t bytes);
/* Device memory as the host sees it, where all of it is live; else null, and an error that names `what` is kept. Device
 * addresses themselves are not the host's: reading one in a host program ends it, as with hardware. */
void *morphStandInHostPointer(CUdeviceptr begin, size_t bytes, const char *what);
/* Keeps an error; the context fails with CUDA_ERROR_LAUNCH_FAILED. */
void morphStandInFail(const char *text);

/* Launches of graphs since the start. */
uint64_t morphStandInGraphLaunches(void);

/* The number of errors found since the start or since they were taken. */
uint64_t morphStandInErrors(void);
/* Writes the texts of the errors, one a line, as far as they fit, ended by a zero byte, and forgets them; the context's
 * error goes with them. Returns the number of bytes of all texts. A text is "kernel NAME, PTX line N `instruction`,
 * block (x,y,z) thread (x,y,z): what". */
size_t morphStandInTakeErrors(char *buffer, size_t size);

/* Counts of a kernel; CUDA_ERROR_NOT_FOUND where it was never launched. */
CUresult morphStandInCounters(const char *kernel, MorphStandInCounters *counters);
/* The same by PTX line, as JSON: {"kernel": ..., "launches": ..., "blocks": ..., "threads": ..., "lines": [{"line": 12,
 * "class": "float", "instruction": "...", "threads": ..., ...}]}; classes by the names above.
 * Returns the number of bytes of the whole text; 0 where the kernel was never launched. */
size_t morphStandInCountersJson(const char *kernel, char *buffer, size_t size);
void morphStandInResetCounters(void);

#ifdef __cplusplus
}
#endif

#endif
