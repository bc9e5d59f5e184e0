// SPDX-License-Identifier: Apache-2.0
// A CUDA device: memory, copies, kernels from PTX, matrix products, graphs. Neither MLIR nor Torch, and no header of
// CUDA's. The driver and cuBLASLt are opened when the first device is, so one binary serves machines with and without.
//
// Order: everything goes on one stream, in the order of calls, and is asynchronous unless said otherwise. An error of
// work that ran late is reported by the next call that waits, with the last launches' names; with MORPH_CUDA_SYNC=1
// every call waits, so that the error names the one that failed. After such an error the device is of no more use to
// this process, which is CUDA's way, and every later call repeats it.
//
// Threads: all calls are safe from several; a capture belongs to the thread that began it, and others wait.

#ifndef MORPH_RUNTIME_DEVICE_CUDADEVICE_H
#define MORPH_RUNTIME_DEVICE_CUDADEVICE_H

#include "runtime/base/Status.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace morph {

struct CudaProperties {
  std::string name;
  int major = 0, minor = 0; ///< Compute capability: 9.0 is sm_90.
  int multiprocessors = 0;
  int64_t memoryBytes = 0;
  int64_t sharedBytesPerBlock = 0; ///< The most that a kernel may have, by opting in.
  int driverVersion = 0;           ///< CUDA's version that the driver serves: 13000 is 13.0.
};

struct Dim3 {
  unsigned x = 1, y = 1, z = 1;
};

/// A part of a device's memory.
struct CudaSpan {
  const void *begin = nullptr;
  int64_t bytes = 0;
};

enum class CudaType { F32, BF16, F64 };
/// c = op(a) op(b) [+ bias]. op transposes when its flag is set; op(a) is [m,k], op(b) [k,n], c [m,n],
/// bias [n]. Matrices are row-major, a stride counts the elements between the starts of two rows as they are stored, 0:
/// rows follow one another; a batch stride those between two matrices, 0: all are the same one (not for c).
/// Types of factors, c and bias: fp32 and fp32; bf16 and either; fp64 and fp64. Sums are fp32, never TF32, and fp64 for
/// fp64 factors.
struct CudaProduct {
  int64_t m = 0, n = 0, k = 0;
  bool transposeA = false, transposeB = false;
  CudaType factors = CudaType::F32;
  CudaType result = CudaType::F32; ///< Of c and of bias.
  int64_t strideA = 0, strideB = 0, strideC = 0;
  int64_t batch = 1;
  int64_t batchStrideA = 0, batchStrideB = 0, batchStrideC = 0;
};

/// A kernel of a module, valid as long as the module.
struct CudaFunction {
  std::string name;
  int registers = 0;
  int maximumThreads = 0;          ///< A block of it can have.
  int64_t staticSharedBytes = 0;   ///< Declared in the kernel.
  int64_t maximumDynamicBytes = 0; ///< What a launch can add.
  int64_t localBytes = 0;          ///< A thread's stack and spilled registers.
  void *handle = nullptr;          ///< The driver's.
};

/// A device's state, which modules and graphs keep alive.
struct CudaState;

/// Compiled code on the device, unloaded with the object.
class CudaModule {
public:
  CudaModule(CudaModule &&other) noexcept;
  CudaModule &operator=(CudaModule &&other) noexcept;
  ~CudaModule();

  /// The kernel of that name, ready to be launched (also under capture).
  StatusOr<CudaFunction> find(const std::string &kernel) const;

private:
  friend class CudaDevice;
  CudaModule(std::shared_ptr<CudaState> state, void *module, std::string what);
  std::shared_ptr<CudaState> state_;
  void *module_ = nullptr;
  std::string what_;
};

/// Work that was captured once and is launched as one. What its launches were given, they are given at every replay.
class CudaGraph {
public:
  CudaGraph(CudaGraph &&other) noexcept;
  CudaGraph &operator=(CudaGraph &&other) noexcept;
  ~CudaGraph();

private:
  friend class CudaDevice;
  CudaGraph(std::shared_ptr<CudaState> state, void *graph);
  std::shared_ptr<CudaState> state_;
  void *graph_ = nullptr;
};

class CudaDevice {
public:
  /// An error is "no CUDA device: REASON", where this build knows none, the machine has no driver or an old one, the
  /// driver has none, or fewer than `ordinal` + 1.
  static StatusOr<std::shared_ptr<CudaDevice>> open(int ordinal);
  /// What `open(ordinal)` would find, without taking anything of the device. The same errors.
  static StatusOr<CudaProperties> describe(int ordinal);
  /// "cuBLASLt 13.1.0", or why it cannot be used.
  static StatusOr<std::string> productLibrary();

  ~CudaDevice();
  CudaDevice(const CudaDevice &) = delete;
  CudaDevice &operator=(const CudaDevice &) = delete;

  int ordinal() const;
  const CudaProperties &properties() const;
  /// Bytes that nobody has allocated.
  StatusOr<int64_t> freeBytes() const;
  /// MORPH_CUDA_SYNC=1: every launch waits, so that an error names it.
  bool waits() const;
  /// Whether the driver checks what launches touch (test/cuda). On others it is of no use to say what that is.
  bool checksAccesses() const;
  /// The driver's stream, for checkers.
  void *stream() const;

  /// Memory at a multiple of 256 bytes, with anything in it. Out of memory: the error says `what`, and the bytes asked
  /// for, held, free and there. Not under capture.
  StatusOr<void *> allocate(int64_t bytes, const std::string &what);
  /// Waits for work that may use the memory. Null is nothing.
  void release(void *memory);
  /// True for an address inside memory of allocate.
  bool owns(const void *address) const;
  /// Allocations that were not released, and the bytes that they hold now and held at most since restartPeak.
  int64_t allocations() const;
  int64_t heldBytes() const;
  int64_t peakBytes() const;
  void restartPeak();

  /// Copies from the host, through pinned memory: when it returns, `host` may be changed or freed. Not under capture.
  Status copyIn(void *device, const void *host, int64_t bytes);
  /// Copies to the host, and waits for it and all before. Not under capture.
  Status copyOut(void *host, const void *device, int64_t bytes);
  Status copy(void *to, const void *from, int64_t bytes);
  Status fill(void *to, uint8_t byte, int64_t bytes);
  /// `to` at a multiple of 4 bytes.
  Status fillWords(void *to, uint32_t word, int64_t words);

  /// Compiles PTX for this device. `what` names it in errors, which have the compiler's log.
  StatusOr<CudaModule> load(const std::string &ptx, const std::string &what);
  /// Starts a kernel; `arguments` are addresses of its parameters' values, read before this returns. A grid with a side
  /// of 0 is no work. `what` names the launch in errors: instruction, layer. `touched` is all memory that the kernel
  /// may read or write, beside its module's variables, for a driver that checks it; none: any.
  Status launch(const CudaFunction &function, Dim3 grid, Dim3 block, int64_t sharedBytes, void *const *arguments,
                const std::string &what, const std::vector<CudaSpan> &touched = {});

  /// Multiplies by cuBLASLt. `bias` may be null; c overlaps no other operand. The first product of a kind waits,
  /// measures the algorithms that cuBLASLt proposes and keeps the choice in ${MORPH_CACHE:-~/.cache/morph}
  /// (CudaProducts.h); under capture nothing is measured: run a product once before it is captured. `touched` as of
  /// launch; the workspace is added.
  Status product(const CudaProduct &product, const void *a, const void *b, const void *bias, void *c,
                 const std::string &what, std::vector<CudaSpan> touched = {});
  /// Opens cuBLASLt and takes its workspace, which the first product does otherwise. Not under capture.
  Status prepareProducts(const std::string &what);
  /// Kinds of products that were measured by this object.
  int64_t measuredProducts() const;

  /// Waits for everything so far, and reports its errors. Not under capture.
  Status synchronize();

  /// Records what `work` puts on the stream instead of running it. Inside, calls that wait are errors. An error of
  /// `work` ends the capture and is returned.
  StatusOr<CudaGraph> capture(const std::function<Status()> &work);
  Status launch(const CudaGraph &graph, const std::string &what = "a graph");

  /// The device's seconds between the beginning and the end of `work`. Waits.
  StatusOr<double> secondsOf(const std::function<Status()> &work);

private:
  explicit CudaDevice(std::shared_ptr<CudaState> state);
  std::shared_ptr<CudaState> state_;
};

} // namespace morph

#endif // MORPH_RUNTIME_DEVICE_CUDADEVICE_H
