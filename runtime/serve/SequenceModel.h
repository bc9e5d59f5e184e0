// SPDX-License-Identifier: Apache-2.0
// What the scheduler asks of a model: sequences in slots, each with its states. SlotDecoder is one on a decode plan;
// tests have one of their own.

#ifndef MORPH_RUNTIME_SERVE_SEQUENCEMODEL_H
#define MORPH_RUNTIME_SERVE_SEQUENCEMODEL_H

#include "runtime/serve/Sampler.h"

#include <cstdint>
#include <memory>
#include <vector>

namespace morph {

/// What a model holds of a sequence's positions [begin, end), after those before `begin`: recurrent states and tails as
/// they are at `end`, and of rings the keys and values of these positions alone. One after the other they make a slot.
class StateSnapshot {
public:
  virtual ~StateSnapshot() = default;
  virtual int64_t bytes() const = 0;
};

class SequenceModel {
public:
  virtual ~SequenceModel() = default;
  virtual int64_t slots() const = 0;
  /// Positions that a slot has room for.
  virtual int64_t context() const = 0;
  virtual int64_t vocabulary() const = 0;
  /// Tokens that `prefill` takes at most.
  virtual int64_t chunk() const = 0;

  /// Begins a sequence in a slot: states as they are before the first token.
  virtual Status clear(int64_t slot) = 0;
  /// Which of a chunk's tokens get logits.
  enum class Rows { Last, All };
  /// Appends 1 to chunk() tokens to the sequence in `slot`, which has `position` so far.
  virtual Status prefill(int64_t slot, int64_t position, const std::vector<int64_t> &tokens, Rows rows) = 0;
  /// Appends tokens[i] to the sequence in slot i, which has positions[i] so far, for slots 0 to tokens.size() - 1.
  virtual Status step(const std::vector<int64_t> &positions, const std::vector<int64_t> &tokens) = 0;
  /// The next token after row `row` of the last call: of step that of the slot, of prefill with Rows::Last row 0, with
  /// Rows::All that of the token.
  virtual StatusOr<SampledToken> sample(int64_t row, const SamplingOptions &options, int64_t index) = 0;
  /// How likely row i of the last call has tokens[i] as the next one, with the `likely` likeliest ones, for rows 0 to
  /// tokens.size() - 1.
  virtual StatusOr<std::vector<SampledToken>> score(const std::vector<int64_t> &tokens, int64_t likely) = 0;
  /// Copies the sequence in `from`, which has `positions`, over the one in `to`.
  virtual Status move(int64_t from, int64_t to, int64_t positions) = 0;

  /// What the slot holds of positions [begin, end), of which end is the sequence's last.
  virtual StatusOr<std::shared_ptr<const StateSnapshot>> save(int64_t slot, int64_t begin, int64_t end) = 0;
  /// Makes the sequence of `parts`, which follow each other from position 0 on, in a slot.
  virtual Status restore(int64_t slot, const std::vector<std::shared_ptr<const StateSnapshot>> &parts) = 0;
};

} // namespace morph

#endif // MORPH_RUNTIME_SERVE_SEQUENCEMODEL_H
