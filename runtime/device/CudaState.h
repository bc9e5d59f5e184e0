// SPDX-License-Identifier: Apache-2.0
// What a device, its modules and its graphs share. Internal to runtime/device.

#ifndef MORPH_RUNTIME_DEVICE_CUDASTATE_H
#define MORPH_RUNTIME_DEVICE_CUDASTATE_H

#include "runtime/device/CudaDevice.h"
#include "runtime/device/CudaDriver.h"

#include <array>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace morph {

class CudaProducts;

/// Two buffers of pinned memory that copies go through in turn, each with an event behind the last copy that uses it.
/// Made at the first copy.
class PinnedPair {
public:
  static constexpr int64_t kBytes = int64_t(4) << 20; ///< Of one buffer.

  struct Buffer {
    char *memory = nullptr;
    CUevent event = nullptr;
    int64_t used = 0; ///< Bytes of copies that may be under way.
  };

  Status make(const CudaState &state);
  void destroy(const CudaState &state);
  /// The buffer to use next. The caller waits for its event before it uses bytes that were used.
  Buffer &current() { return buffers_[turn_]; }
  void turn() { turn_ ^= 1; }

private:
  std::array<Buffer, 2> buffers_;
  int turn_ = 0;
};

struct CudaState {
  const CudaDriver *driver = nullptr;
  int ordinal = 0;
  CudaProperties properties;
  CUdevice device = 0;
  CUcontext context = nullptr;
  CUstream stream = nullptr;
  bool waits = false; ///< MORPH_CUDA_SYNC=1.

  /// Held by every call, and by a capture from its beginning to its end.
  mutable std::recursive_mutex mutex;
  bool capturing = false;
  PinnedPair in, out;
  std::map<const char *, int64_t> allocations; ///< Bytes by address.
  int64_t held = 0, peak = 0;                  ///< Their sum, and the most that it was.
  std::vector<CUdeviceptr> releasedLater;      ///< During a capture.
  std::unique_ptr<CudaProducts> products;

  CudaState();
  ~CudaState();
  CudaState(const CudaState &) = delete;

  /// Before anything: this thread's context, and the error that the device already has.
  Status enter();
  /// The same where `what` would wait, allocate or read the host's memory, which a capture cannot record.
  Status enterOutsideCapture(const std::string &what);
  /// Memory that the caller frees. Out of memory: the error has `what`, and the bytes asked for, held, free and there.
  StatusOr<CUdeviceptr> allocate(int64_t bytes, const std::string &what);
  /// An error of `what`, which may be one of work that ran before.
  Status check(CUresult result, const std::string &what);
  /// After something was put on the stream: remembers its name, with a kernel's, and waits where everything does.
  Status started(const std::string &what, const std::string &kernel = "");
  Status wait(const std::string &what);

private:
  static constexpr size_t kNames = 8;
  std::array<std::string, kNames> names_; ///< Of what was started since the last wait, a ring.
  size_t started_ = 0;
  Status broken_;

  /// "in one of the 214 launches since the last wait, of which the last are: ..."
  std::string amongLaunches() const;
};

} // namespace morph

#endif // MORPH_RUNTIME_DEVICE_CUDASTATE_H
