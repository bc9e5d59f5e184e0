// SPDX-License-Identifier: Apache-2.0
// Scores of choices, measured once for each and kept in a file.

#ifndef MORPH_RUNTIME_TRAIN_SELECT_MEASUREDCHOICES_H
#define MORPH_RUNTIME_TRAIN_SELECT_MEASUREDCHOICES_H

#include "runtime/choice/Solve.h"
#include "runtime/train/Checkpoint.h"

#include <chrono>
#include <functional>

namespace morph {

/// What measurements took.
struct MeasureCost {
  int64_t tokens = 0;
  double flops = 0, seconds = 0;

  MeasureCost &operator+=(const MeasureCost &other) {
    tokens += other.tokens;
    flops += other.flops;
    seconds += other.seconds;
    return *this;
  }
};

/// What a choice loses, sample by sample.
struct ChoiceScores {
  std::vector<double> kl;      ///< KL to the teacher at the answers, in nats.
  std::vector<double> correct; ///< The share of the answers' tokens that are most likely.
};

/// Remembers the scores of choices. A search that is stopped and begun again asks for the same choices in the same
/// order, so it goes on where it was. Searches that share a file find in it what others have measured, and cost the
/// tokens that they would cost without; FLOPs and seconds are those of the first measurement, which may have shared
/// layers.
class MeasuredChoices {
public:
  /// Measures a choice on the samples from `begin` to `end`, and maybe some more, and adds to the cost.
  using Measure =
      std::function<StatusOr<ChoiceScores>(const Choice &choice, int64_t begin, int64_t end, MeasureCost &cost)>;

  /// Reads `path`, where there is such a file. `fingerprint` is of what the scores depend on; a file of another one is
  /// refused. With `writes` new scores go into it: of several processes that measure together, the leader's do.
  static StatusOr<MeasuredChoices> open(std::string path, std::string fingerprint, Measure measure, bool writes = true);

  /// The choice's scores on the first `samples` samples. What is not known is measured, and is in the file within two
  /// seconds of measuring, or after `flush`.
  StatusOr<ChoiceScores> scores(const Choice &choice, int64_t samples);

  Status flush();

  /// Choices that were asked for.
  int64_t count() const { return static_cast<int64_t>(asked_.size()); }

  /// What the samples asked for took when they were measured.
  MeasureCost cost() const;
  /// Tokens measured since this was opened: without those found in the file.
  int64_t measuredTokens() const { return measuredTokens_; }

private:
  struct Known {
    ChoiceScores scores;
    MeasureCost cost; ///< Of all these samples.
  };
  std::string path_, fingerprint_;
  Measure measure_;
  bool writes_ = true;
  std::chrono::steady_clock::time_point written_ = std::chrono::steady_clock::now();
  std::map<Choice, Known> known_;
  std::map<Choice, int64_t> asked_; ///< For how many samples.
  int64_t measuredTokens_ = 0;
};

} // namespace morph

#endif // MORPH_RUNTIME_TRAIN_SELECT_MEASUREDCHOICES_H
