// SPDX-License-Identifier: Apache-2.0
// What Processes needs of a transport.

#ifndef MORPH_RUNTIME_PROCESSES_GROUP_H
#define MORPH_RUNTIME_PROCESSES_GROUP_H

#include "runtime/processes/Processes.h"

namespace morph {

/// Connections to all other processes. Tensors are contiguous and on the CPU. Errors are exceptions.
class Processes::Group {
public:
  virtual ~Group() = default;
  /// Sum over processes, in place.
  virtual void allReduce(at::Tensor tensor) = 0;
  virtual void broadcast(at::Tensor tensor, int64_t root) = 0;
  /// `result` has a row for each process.
  virtual void allGather(at::Tensor result, at::Tensor tensor) = 0;
  /// Of many tensors of one type at once: `results` are by rank, and of each rank as the tensors.
  virtual void allGather(std::vector<std::vector<at::Tensor>> results, std::vector<at::Tensor> tensors) = 0;

  /// Meets the others; waits as long as `join` says.
  static std::unique_ptr<Group> connect(const Place &place, std::chrono::seconds timeout);
};

} // namespace morph

#endif // MORPH_RUNTIME_PROCESSES_GROUP_H
