// SPDX-License-Identifier: Apache-2.0
// The tensors of a Hugging Face folder and their fit to a model.

#ifndef MORPH_FRONTENDS_HUGGINGFACE_CHECKPOINT_H
#define MORPH_FRONTENDS_HUGGINGFACE_CHECKPOINT_H

#include "frontends/ModelConfig.h"
#include "frontends/huggingface/SafetensorsHeader.h"

#include "runtime/plan/Pieces.h"

#include "llvm/ADT/StringMap.h"

namespace morph {

/// All tensors of a folder.
class Checkpoint {
public:
  struct Tensor {
    WeightType type = WeightType::F32;
    bool supportedType = true;
    TensorEntry entry;
    std::string file; ///< Path of the file that holds it.
  };

  /// Whether the folder holds weights: `model.safetensors` or its index.
  static bool exists(llvm::StringRef folder);
  /// Reads the headers: of `model.safetensors`, or of the shards of `model.safetensors.index.json`, whose map must
  /// agree with what the shards hold. Prints errors.
  static std::optional<Checkpoint> read(llvm::StringRef folder, Diagnostics &diagnostics);

  const Tensor *find(llvm::StringRef name) const;
  /// The names in sorted order.
  std::vector<llvm::StringRef> getNames() const;
  llvm::StringRef getFolder() const { return folder_; }

private:
  std::string folder_;
  llvm::StringMap<Tensor> tensors_;
};

/// A weight that a model reads.
struct ExpectedWeight {
  std::string name;
  llvm::SmallVector<int64_t> shape;
  std::vector<plan::Piece> pieces; ///< What the checkpoint has in its place; empty: a tensor of its name.
};

/// Checks that the model's weights, or their pieces, are in the checkpoint with their shapes and a supported type, and
/// that the checkpoint has no other tensors or rows; harmless buffers (`rotary_emb.inv_freq`) and a tied head's copy do
/// not count. Prints an error for each kind of mismatch with the tensors' names. Returns whether all fit.
bool checkWeights(const Checkpoint &checkpoint, llvm::ArrayRef<ExpectedWeight> expected, bool tied,
                  Diagnostics &diagnostics);

} // namespace morph

#endif // MORPH_FRONTENDS_HUGGINGFACE_CHECKPOINT_H
