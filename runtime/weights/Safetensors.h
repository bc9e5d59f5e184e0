// SPDX-License-Identifier: Apache-2.0
// Safetensors files: reading through a memory map, with everything in the header checked, and atomic writing.

#ifndef MORPH_RUNTIME_WEIGHTS_SAFETENSORS_H
#define MORPH_RUNTIME_WEIGHTS_SAFETENSORS_H

#include "runtime/base/File.h"

#include <ATen/ATen.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace morph {

/// A memory-mapped safetensors file (https://huggingface.co/docs/safetensors, `Metadata::validate` of its crate).
/// Refused: a truncated file, a header longer than 100 MB or than the file, malformed or deep JSON, duplicate names,
/// metadata that is no text, unknown dtypes, offsets that do not fit the shape, and tensors that do not follow each
/// other from the header's end to the file's end without an overlap or a gap.
class SafetensorsFile {
public:
  static StatusOr<std::shared_ptr<SafetensorsFile>> open(const std::string &path);

  const std::string &path() const { return map_->path(); }
  std::vector<std::string> names() const;
  bool has(const std::string &name) const { return entries_.count(name) != 0; }
  /// A read-only view of the mapped bytes (a copy where they are not aligned); undefined where the name is absent. The
  /// tensor keeps the mapping alive.
  at::Tensor tensor(const std::string &name);
  const std::map<std::string, std::string> &metadata() const { return metadata_; }

private:
  struct Entry {
    at::ScalarType dtype;
    std::vector<int64_t> shape;
    uint64_t begin, end;
  };
  SafetensorsFile() = default;
  Status readHeader(const std::string &text);
  Status checkPlaces() const;
  std::shared_ptr<const MappedFile> map_;
  uint64_t dataBegin_ = 0;
  std::map<std::string, Entry> entries_;
  std::map<std::string, std::string> metadata_;
};

/// Writes `path` under a temporary name beside it, syncs and renames: the file is whole or absent. Tensors are written
/// in the order of their names, so the same tensors give the same bytes.
Status writeSafetensors(const std::string &path, const std::map<std::string, at::Tensor> &tensors,
                        const std::map<std::string, std::string> &metadata = {});

} // namespace morph

#endif // MORPH_RUNTIME_WEIGHTS_SAFETENSORS_H
