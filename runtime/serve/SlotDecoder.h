// SPDX-License-Identifier: Apache-2.0
// Sequences in slots on a plan `decode` with `positions`: the states of all lie in memory [slots,...], slot after slot,
// so that a step of the first n sequences is one run with B = n on the first n rows of it, and a chunk of a prompt one
// with B = 1.

#ifndef MORPH_RUNTIME_SERVE_SLOTDECODER_H
#define MORPH_RUNTIME_SERVE_SLOTDECODER_H

#include "runtime/exec/Executor.h"
#include "runtime/serve/SequenceModel.h"

namespace morph {

class SlotDecoder : public SequenceModel {
public:
  struct Sizes {
    int64_t slots = 1;
    int64_t context = 2048;  ///< Positions of a slot.
    int64_t chunk = 512;     ///< Of a prompt at once; at most plan::kPrefillChunk.
    int64_t memoryLimit = 0; ///< Bytes that the slots may take; 0: what the machine has free.
  };
  /// `executor` outlives the decoder. Errors: a plan whose caches are not of the form [B, ...], or whose logits are not
  /// of the rows that `positions` names; slots that take more than the limit, with what would fit.
  static StatusOr<std::unique_ptr<SlotDecoder>> create(Executor &executor, const Sizes &sizes);

  int64_t slots() const override { return sizes_.slots; }
  int64_t context() const override { return sizes_.context; }
  int64_t vocabulary() const override { return vocabulary_; }
  int64_t chunk() const override { return sizes_.chunk; }
  /// Bytes of the states of all slots.
  int64_t bytes() const;

  Status clear(int64_t slot) override;
  Status prefill(int64_t slot, int64_t position, const std::vector<int64_t> &tokens, Rows rows) override;
  Status step(const std::vector<int64_t> &positions, const std::vector<int64_t> &tokens) override;
  StatusOr<SampledToken> sample(int64_t row, const SamplingOptions &options, int64_t index) override;
  StatusOr<std::vector<SampledToken>> score(const std::vector<int64_t> &tokens, int64_t likely) override;
  Status move(int64_t from, int64_t to, int64_t positions) override;
  StatusOr<std::shared_ptr<const StateSnapshot>> save(int64_t slot, int64_t begin, int64_t end) override;
  Status restore(int64_t slot, const std::vector<std::shared_ptr<const StateSnapshot>> &parts) override;

private:
  /// One cache or state of all slots.
  struct State {
    std::string input;
    at::Tensor memory;   ///< [slots, ...]
    bool isRing = false; ///< [slots, S, ...]: the position p lies in p mod S.
  };

  SlotDecoder(Executor &executor, const Sizes &sizes) : executor_(executor), sizes_(sizes) {}
  Status allocate();
  /// Runs the plan on the slots from `first` on; logits are of those rows of [B*T] that `positions_N` names.
  Status run(int64_t first, const at::Tensor &tokens_BT, const at::Tensor &offset_B, const at::Tensor &positions_N);

  Executor &executor_;
  Sizes sizes_;
  int64_t vocabulary_ = 0;
  std::vector<State> states_;
  at::Tensor logits_NV; ///< Of the last run, on the CPU.
};

} // namespace morph

#endif // MORPH_RUNTIME_SERVE_SLOTDECODER_H
