// SPDX-License-Identifier: Apache-2.0
// The errors that were found: counted, each kind at a place kept once, and told on stderr once.

#ifndef MORPH_TEST_CUDA_DRIVER_ERRORS_H
#define MORPH_TEST_CUDA_DRIVER_ERRORS_H

#include <cstdint>
#include <mutex>
#include <set>
#include <string>
#include <vector>

namespace morph::standin {

/// What the context's error becomes.
enum class Fault { None, IllegalAddress, Misaligned, LaunchFailed };

class Errors {
public:
  /// `place` says which errors are the same; only the first text of a place is kept.
  void add(const std::string &place, const std::string &text, Fault fault);
  uint64_t count() const;
  Fault fault() const;
  /// All texts, each ended by a newline.
  std::string texts() const;
  void clear();

private:
  mutable std::mutex mutex;
  uint64_t number = 0;
  Fault first = Fault::None;
  std::set<std::string> places;
  std::vector<std::string> kept;
};

} // namespace morph::standin

#endif // MORPH_TEST_CUDA_DRIVER_ERRORS_H
