// SPDX-License-Identifier: Apache-2.0
// The header of a safetensors file, read as untrusted input. Values are not read: the runtime does that.

#ifndef MORPH_FRONTENDS_HUGGINGFACE_SAFETENSORSHEADER_H
#define MORPH_FRONTENDS_HUGGINGFACE_SAFETENSORSHEADER_H

#include "frontends/Diagnostics.h"

#include "llvm/ADT/SmallVector.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace morph {

/// One tensor of a file: its type's name as in the header ("BF16"), shape, and bytes of the data part.
struct TensorEntry {
  std::string name;
  std::string type;
  llvm::SmallVector<int64_t, 4> shape;
  int64_t begin = 0;
  int64_t end = 0;
};

/// Reads the header of a file: 8 bytes of length, little endian, then JSON, then data. As in the format's own library
/// the tensors, in the order of their offsets, must fill the data without overlap or gap. Refused are also headers of
/// more than 100 MB or than the file, what is no JSON object, names given twice, unknown types, sizes that do not fit
/// the shape, and files that end before their data. Prints one error that names the file, the place in the header's
/// text, and the tensor.
std::optional<std::vector<TensorEntry>> readSafetensorsHeader(llvm::StringRef path, Diagnostics &diagnostics);

} // namespace morph

#endif // MORPH_FRONTENDS_HUGGINGFACE_SAFETENSORSHEADER_H
