// SPDX-License-Identifier: Apache-2.0
// Results of a frozen model that several runs on the same batches need: the first computes them, the others get them.

#ifndef MORPH_RUNTIME_TRAIN_KEPTRESULTS_H
#define MORPH_RUNTIME_TRAIN_KEPTRESULTS_H

#include "runtime/train/TrainLoop.h"

#include <string>
#include <vector>

namespace morph {

/// Keeps some outputs of programs by batch, a file each. A file's digest is of its content, of all inputs of the run
/// and of a key, so that what is found is what the run would compute, or is computed again and replaced.
class KeptResults {
public:
  /// Of the outputs `names`, which become names of folders, in `folder`, which is made with the first file; `key`
  /// stands for all that they depend on beside a run's inputs. Of each output plan::kKeptBytes are kept at most, by
  /// each of `processes` that many parts of them; what comes after them is computed anew each time. Each process keeps
  /// the batches, and parts of batches, that it runs.
  KeptResults(std::string folder, std::string key, std::vector<std::string> names, int64_t processes = 1);

  /// Batches that are given what is kept of them, and of which the rest is kept once it is computed. `stream` tells
  /// batches of other sources from these; it becomes a part of file names. The source refers to this object.
  BatchSource attachTo(BatchSource source, const std::string &stream);

  /// Removes an output's results.
  void forget(const std::string &name);

private:
  /// What is kept of one output.
  struct Output {
    std::string name;
    int64_t bytes = 0; ///< Of the files of this process.
  };

  std::string folder_, key_;
  int64_t processes_ = 1;
  std::vector<Output> outputs_;
  bool warned_ = false;

  std::string pathOf(const Output &output, const std::string &batch) const;
  /// The result of a batch; undefined where it is not kept.
  at::Tensor find(Output &output, const std::string &batch, const NamedTensors &inputs);
  Status keep(Output &output, const std::string &batch, const NamedTensors &inputs, const at::Tensor &result);
  /// Of the key, the inputs and the result.
  std::string digestOf(const NamedTensors &inputs, const at::Tensor &result) const;
};

} // namespace morph

#endif // MORPH_RUNTIME_TRAIN_KEPTRESULTS_H
