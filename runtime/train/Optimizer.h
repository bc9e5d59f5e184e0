// SPDX-License-Identifier: Apache-2.0
// AdamW on named tensors, and clipping by the global norm. The arithmetic is PyTorch's (torch.optim.AdamW and
// torch.nn.utils.clip_grad_norm_), operation by operation.

#ifndef MORPH_RUNTIME_TRAIN_OPTIMIZER_H
#define MORPH_RUNTIME_TRAIN_OPTIMIZER_H

#include "runtime/exec/Executor.h"

namespace morph {

struct AdamWOptions {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  /// Decoupled decay a step: p <- p - rate * weightDecay * p. Applied to matrices (two dimensions or more) only: norms,
  /// biases, gates and decay rates are left alone.
  double weightDecay = 0;
};

/// AdamW. Each tensor has a first and second moment of its own shape and dtype and its own step count, so that a tensor
/// that gets no gradient in some steps is treated as PyTorch treats one whose `.grad` is None.
class AdamW {
public:
  explicit AdamW(AdamWOptions options) : options_(options) {}

  /// Updates in place every parameter that has a gradient. `gradients` are by the parameter's name; the learning rate
  /// is per step. Errors: a gradient without parameter, or of another shape.
  Status step(NamedTensors &parameters, const NamedTensors &gradients, double rate);

  /// The moments as `exp_avg.<name>` and `exp_avg_sq.<name>`, and the step counts as one-element I64 tensors
  /// `step.<name>`: what a checkpoint holds.
  NamedTensors state() const;
  /// Restores what `state` gave; a moment whose parameter is missing is an error.
  Status restore(const NamedTensors &state, const NamedTensors &parameters);

private:
  struct Moments {
    at::Tensor first, second;
    int64_t steps = 0;
  };
  AdamWOptions options_;
  std::map<std::string, Moments> moments_;
};

/// The global 2-norm of the gradients.
double globalNorm(const NamedTensors &gradients);

/// Scales the gradients in place so that their global norm is at most `limit` (0: no limit); returns the norm before.
double clipByGlobalNorm(NamedTensors &gradients, double limit);

} // namespace morph

#endif // MORPH_RUNTIME_TRAIN_OPTIMIZER_H
