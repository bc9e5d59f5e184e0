// SPDX-License-Identifier: Apache-2.0
// Checkpoints of a training loop: one safetensors file, so that it is whole or absent.

#ifndef MORPH_RUNTIME_TRAIN_CHECKPOINT_H
#define MORPH_RUNTIME_TRAIN_CHECKPOINT_H

#include "runtime/base/Json.h"
#include "runtime/exec/Executor.h"
#include "runtime/train/Optimizer.h"

#include <optional>

namespace morph {

/// Everything that a loop needs to go on with the numbers of a run that never stopped. There is no random state: data
/// is a function of (seed, stream, index).
struct Checkpoint {
  int64_t step = 0;        ///< Steps done.
  int64_t tokens = 0;      ///< Tokens seen.
  double seconds = 0;      ///< Time spent.
  std::string fingerprint; ///< Of what the numbers depend on; a checkpoint of another spec is refused.
  Json state;              ///< Of the loop and the stage. Doubles survive exactly (shortest round trip).
  NamedTensors masters;    ///< By weight name.
  NamedTensors optimizer;  ///< Optimizer::state.
  NamedTensors stage;      ///< Tensors of the stage.
};

/// Writes the checkpoint to `path`, replacing an older one at once.
Status writeCheckpoint(const std::string &path, const Checkpoint &checkpoint);

/// The checkpoint at `path`; nothing where there is no file. Errors: a file that is no checkpoint, another fingerprint.
StatusOr<std::optional<Checkpoint>> readCheckpoint(const std::string &path, const std::string &fingerprint);

/// Calls `read`, which takes a stage's values out of the state of the checkpoint at `path` and returns a Status. A
/// value of another kind than it takes is an error that names the file.
template <typename Read> Status readState(const std::string &path, Read read) {
  try {
    return read();
  } catch (const Json::exception &error) {
    return Status::failed("'" + path + "' is damaged: " + error.what(), "remove that folder to start the stage again");
  }
}

/// Copies tensors by name into `masters`, in place. Every master must be there with its shape.
Status restoreMasters(NamedTensors &masters, const NamedTensors &saved);

} // namespace morph

#endif // MORPH_RUNTIME_TRAIN_CHECKPOINT_H
