// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/Progress.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <sys/ioctl.h>
#include <unistd.h>

namespace morph {

std::string formatDuration(double seconds) {
  const int64_t whole = static_cast<int64_t>(std::max(0.0, std::round(seconds)));
  char text[32];
  if (whole < 60)
    std::snprintf(text, sizeof text, "%d s", static_cast<int>(whole));
  else if (whole < 3600)
    std::snprintf(text, sizeof text, "%dm%02ds", static_cast<int>(whole / 60), static_cast<int>(whole % 60));
  else
    std::snprintf(text, sizeof text, "%lldh%02dm", static_cast<long long>(whole / 3600),
                  static_cast<int>(whole / 60 % 60));
  return text;
}

std::string formatCount(double count) {
  char text[32];
  if (count < 1000)
    std::snprintf(text, sizeof text, "%.0f", count);
  else if (count < 1e6)
    std::snprintf(text, sizeof text, "%.1fk", count / 1e3);
  else if (count < 1e9)
    std::snprintf(text, sizeof text, "%.1fM", count / 1e6);
  else
    std::snprintf(text, sizeof text, "%.1fG", count / 1e9);
  return text;
}

Progress::Progress(std::string label, int64_t total, int64_t done, std::string unit)
    : label_(std::move(label)), unit_(std::move(unit)), total_(total), first_(done),
      terminal_(::isatty(STDERR_FILENO) == 1), begin_(Clock::now()), lastDraw_(begin_ - std::chrono::seconds(1)) {}

void Progress::update(int64_t done, int64_t tokens, const std::string &details, bool line) {
  total_ = std::max(total_, done); // Where the length was a guess.
  const Clock::time_point now = Clock::now();
  if (terminal_ ? (now - lastDraw_ < std::chrono::milliseconds(100) && done < total_) : !line)
    return;
  lastDraw_ = now;
  const double seconds = std::chrono::duration<double>(now - begin_).count();
  const int64_t steps = done - first_;
  std::string text = label_;
  if (terminal_) {
    const int width = 24;
    const int filled = total_ > 0 ? static_cast<int>(width * done / total_) : width;
    text += " [" + std::string(static_cast<size_t>(filled), '#') +
            std::string(static_cast<size_t>(width - filled), '-') + "] " + std::to_string(done) + "/" +
            std::to_string(total_);
  } else {
    text += ": " + unit_ + " " + std::to_string(done) + "/" + std::to_string(total_);
  }
  if (!details.empty())
    text += ", " + details;
  if (tokens > 0 && seconds > 0)
    text += ", " + formatCount(static_cast<double>(tokens) / seconds) + " tokens/s";
  if (steps > 0 && done < total_)
    text += ", " + formatDuration(seconds / static_cast<double>(steps) * static_cast<double>(total_ - done)) + " left";
  if (!terminal_) {
    std::fprintf(stderr, "%s\n", text.c_str());
    return;
  }
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 && text.size() >= size.ws_col)
    text.resize(size.ws_col - 1u);
  std::fprintf(stderr, "\r\x1b[K%s", text.c_str());
  std::fflush(stderr);
  drawn_ = true;
}

void Progress::note(const std::string &text) {
  finish();
  std::fprintf(stderr, "%s: %s\n", label_.c_str(), text.c_str());
}

void Progress::finish() {
  if (drawn_)
    std::fprintf(stderr, "\r\x1b[K");
  std::fflush(stderr);
  drawn_ = false;
}

} // namespace morph
