// SPDX-License-Identifier: Apache-2.0
// Progress on stderr: one line that is drawn again on a terminal, plain lines otherwise.

#ifndef MORPH_RUNTIME_TRAIN_PROGRESS_H
#define MORPH_RUNTIME_TRAIN_PROGRESS_H

#include <chrono>
#include <cstdint>
#include <string>

namespace morph {

/// 12 s, 3m05s, 2h07m.
std::string formatDuration(double seconds);
/// 950, 12.3k, 4.5M.
std::string formatCount(double count);

/// Shows how far a stage of known length is.
class Progress {
public:
  /// `label` opens every line; `total` steps of which `done` lie behind (a resumed run). `unit` names a step in plain
  /// lines ("step", "document").
  Progress(std::string label, int64_t total, int64_t done = 0, std::string unit = "step");
  ~Progress() { finish(); }
  Progress(const Progress &) = delete;
  Progress &operator=(const Progress &) = delete;

  /// After `done` steps. `tokens` were seen since construction; `details` ("loss 0.123") may be empty. On a terminal
  /// every call may redraw (at most ten times a second); otherwise only a call with `line` set prints.
  void update(int64_t done, int64_t tokens, const std::string &details, bool line);
  /// Prints a line of its own above the bar.
  void note(const std::string &text);
  /// Removes the bar.
  void finish();

private:
  using Clock = std::chrono::steady_clock;
  std::string label_, unit_;
  int64_t total_, first_;
  bool terminal_, drawn_ = false;
  Clock::time_point begin_, lastDraw_;
};

} // namespace morph

#endif // MORPH_RUNTIME_TRAIN_PROGRESS_H
