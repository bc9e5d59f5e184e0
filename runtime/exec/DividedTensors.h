// SPDX-License-Identifier: Apache-2.0
// Tensors of which each of several processes has a part: what an executor asks of the others (runtime/processes).

#ifndef MORPH_RUNTIME_EXEC_DIVIDEDTENSORS_H
#define MORPH_RUNTIME_EXEC_DIVIDEDTENSORS_H

#include "runtime/base/Status.h"

#include <ATen/ATen.h>

#include <memory>
#include <vector>

namespace morph {

class DividedTensors {
public:
  /// Memory that groups of tensors take turns in.
  struct Buffer {
    at::Tensor memory;  ///< Bytes.
    int64_t group = -1; ///< That lies in it, whole; -1: none does.
  };
  /// Tensors that are read together.
  struct Group {
    std::vector<at::Tensor> parts;  ///< This process' part of each; all processes' are of one size.
    std::vector<int64_t> offsets;   ///< Where in the buffer's bytes all parts of a tensor go, by rank.
    std::shared_ptr<Buffer> buffer; ///< Where the parts lie, on the same device.
  };

  virtual ~DividedTensors() = default;
  /// This process and how many there are.
  virtual int64_t rank() const = 0;
  virtual int64_t count() const = 0;
  /// Makes groups known, which all processes do at once, in the same order and with the same sizes. Returns their
  /// numbers.
  virtual StatusOr<std::vector<int64_t>> add(std::vector<Group> groups) = 0;
  /// They are not read any more here. Others may still do so: the parts live on until they say that they do not.
  virtual void remove(const std::vector<int64_t> &groups) = 0;
  /// Brings a group into its buffer. Not everybody's call: whoever waits for the others, in this or in any other call,
  /// gives them meanwhile what they read, and a buffer may then hold another group.
  virtual Status gather(int64_t group) = 0;
};

} // namespace morph

#endif // MORPH_RUNTIME_EXEC_DIVIDEDTENSORS_H
