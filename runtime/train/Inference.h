// SPDX-License-Identifier: Apache-2.0
// Programs on a finished model, without a spec: scoring a token file, decoding, logits for comparisons.

#ifndef MORPH_RUNTIME_TRAIN_INFERENCE_H
#define MORPH_RUNTIME_TRAIN_INFERENCE_H

#include "runtime/train/StageContext.h"

namespace morph {

struct EvalOptions {
  std::string tokens;           ///< Token file.
  std::string dtype = "u16";    ///< u16 | u32
  std::optional<int64_t> begin; ///< Documents begin with this id; unset: the file is cut into pieces of `length`.
  int64_t documents = -1;       ///< The first so many; negative: all.
  int64_t length = 512;         ///< Each document is cut to so many tokens.
  std::string perToken;         ///< Safetensors file for `logprob` [targets] fp32; empty: none.
};
struct EvalResult {
  double crossEntropy = 0; ///< Nats a target token, over all target tokens.
  double perplexity = 0;
  int64_t tokens = 0; ///< Target tokens: every token of a document but its first.
  int64_t documents = 0;
  double seconds = 0;
};
/// Log-probabilities of the tokens of a file. Plan `read`: documents go through in pieces, so that memory does not grow
/// with them but for what full attention keeps. Documents of fewer than two tokens have no target.
StatusOr<EvalResult> evalTokens(const StageContext &context, const EvalOptions &options);

/// The most likely token of each row of logits [B,V], into tokens [B,1] on the CPU; of equal ones the first.
void takeMostLikely(const at::Tensor &logits, const at::Tensor &tokens_B1);

/// Logits for comparisons. `input` is a safetensors file with `tokens` [B,T] I64 and, for left-padded rows, `start` [B]
/// I64 (index of each row's first real token). Writes to `output`: with a plan `logits`, `whole` [B,T,V], all positions
/// in one run (rows with padding are not masked there); with a plan `decode`, `decode` [B,T-split+1,V]: a prefill of
/// `split` tokens, then one token at a time; element i is the row of position split-1+i.
Status computeLogits(const StageContext &context, const std::string &input, int64_t split, const std::string &output);

/// Steps the program `decode`, or `read`: owns the caches and states, which the program updates in place.
class Decoder {
public:
  /// Begins B sequences; `executor` outlives the decoder. `start_B` [B] int64: how many tokens of padding each row
  /// begins with. `positions`: how many tokens a row will have, padding included, where that is known; rings have room
  /// for so many, and those without a window double where there are more.
  static StatusOr<std::unique_ptr<Decoder>> create(Executor &executor, const at::Tensor &start_B,
                                                   int64_t positions = 0);
  /// Appends tokens [B,T]; logits [B,V] of the last position, which lie in the executor's arena.
  StatusOr<at::Tensor> append(const at::Tensor &tokens);
  /// Appends tokens [B,T], plan::kPrefillChunk of them at most, with further inputs of the program. Its outputs lie in
  /// the executor's arena.
  StatusOr<NamedTensors> appendPiece(const at::Tensor &tokens, const NamedTensors &further = {});
  /// Bytes of the caches and states that are held between calls.
  int64_t cacheBytes() const;

private:
  struct Ring {
    std::string input;
    int64_t window = 0; ///< 0: none.
  };
  Executor *executor_ = nullptr;
  NamedTensors inputs_; ///< start, offset and cache.<layer>.<state>
  std::vector<Ring> rings_;
  int64_t offset_ = 0, room_ = 0; ///< Positions so far, and those that the rings have room for.

  Decoder() = default;
  /// Makes room for so many positions.
  void reserve(int64_t positions);
};

} // namespace morph

#endif // MORPH_RUNTIME_TRAIN_INFERENCE_H
