// SPDX-License-Identifier: Apache-2.0
// metrics.jsonl of a stage's folder: a line a logged step. The driver puts those of all stages together.

#ifndef MORPH_RUNTIME_TRAIN_METRICS_H
#define MORPH_RUNTIME_TRAIN_METRICS_H

#include "runtime/base/Status.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>

namespace morph {

/// Appends lines of one stage. Keys of every line: stage, variant (where the stage has one), step (steps done), loss
/// (mean since the last line), tokens and seconds (spent by the stage up to this step, interruptions not counted).
class MetricsFile {
public:
  /// Opens `path` for a stage that continues after `step` steps (0: from the start). Lines of the variant that are
  /// later than `step`, and a torn last line, are removed.
  static StatusOr<MetricsFile> open(const std::string &path, const std::string &stage, const std::string &variant,
                                    int64_t step);
  /// A file that swallows everything.
  MetricsFile() = default;

  /// Writes one line: stage and variant are added in front of `line`'s keys. The line is whole or absent.
  Status append(const nlohmann::ordered_json &line);

private:
  std::string path_, stage_, variant_;
};

} // namespace morph

#endif // MORPH_RUNTIME_TRAIN_METRICS_H
