// SPDX-License-Identifier: Apache-2.0
// Named tensors of a model: a Hugging Face folder or safetensors file, and later files that override it.

#ifndef MORPH_RUNTIME_WEIGHTS_WEIGHTSTORE_H
#define MORPH_RUNTIME_WEIGHTS_WEIGHTSTORE_H

#include "runtime/weights/Safetensors.h"

#include <memory>
#include <string>
#include <vector>

namespace morph {

/// Files in order: the first is the base checkpoint, each later one overrides the names it has.
class WeightStore {
public:
  /// Opens each path: a `.safetensors` file, or a folder with `model.safetensors` or `model.safetensors.index.json`.
  static StatusOr<WeightStore> open(const std::vector<std::string> &paths);
  /// A store of tensors in memory: one base checkpoint without a file.
  static WeightStore inMemory(std::map<std::string, at::Tensor> tensors);

  /// Tensors that override the names they have, as a later file would.
  void add(std::map<std::string, at::Tensor> tensors);

  /// The tensor of the newest file that has it, as a view of the mapped file; undefined where none has it. The tensor
  /// keeps the mapping alive.
  at::Tensor find(const std::string &name) const;
  /// As `find`, in the base checkpoint only.
  at::Tensor findBase(const std::string &name) const;
  /// Whether `find` has another tensor than `findBase`.
  bool isOverridden(const std::string &name) const;
  /// The file that `find` reads the name from, for messages.
  std::string fileOf(const std::string &name) const;
  /// All names, sorted.
  std::vector<std::string> names() const;

private:
  /// One path of `open`: the shards of a folder, or one file.
  struct Layer {
    std::vector<std::shared_ptr<SafetensorsFile>> files;
    std::map<std::string, at::Tensor> memory;
    at::Tensor find(const std::string &name) const;
  };
  static StatusOr<Layer> openLayer(const std::string &path);
  std::vector<Layer> layers_;
};

} // namespace morph

#endif // MORPH_RUNTIME_WEIGHTS_WEIGHTSTORE_H
