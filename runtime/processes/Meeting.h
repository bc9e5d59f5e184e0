// SPDX-License-Identifier: Apache-2.0
// How processes connect: all of them, or all once more.

#ifndef MORPH_RUNTIME_PROCESSES_MEETING_H
#define MORPH_RUNTIME_PROCESSES_MEETING_H

#include <torch/csrc/distributed/c10d/PrefixStore.hpp>

#include <functional>

namespace morph {

/// On a busy machine a connection may be lost while it is made, which Gloo does not try again. Calls `connect` with a
/// store that no other attempt has written to, tells all others by `store` how that went, and returns where it went
/// well for all; else all try again. Every process calls it. Rethrows what the last attempt threw, or says that others
/// could not connect; the store throws where one of them is gone.
inline void meet(const c10::intrusive_ptr<c10d::Store> &store, int64_t rank, int64_t count, int attempts,
                 const std::function<void(const c10::intrusive_ptr<c10d::Store> &)> &connect) {
  for (int attempt = 1;; ++attempt) {
    const auto own = c10::make_intrusive<c10d::PrefixStore>("attempt " + std::to_string(attempt), store);
    std::exception_ptr failure;
    try {
      connect(own);
    } catch (const std::exception &) {
      failure = std::current_exception();
    }
    own->set("result " + std::to_string(rank), failure ? "failed" : "connected");
    bool isMet = true;
    for (int64_t other = 0; other < count; ++other)
      isMet &= own->get_to_str("result " + std::to_string(other)) == "connected";
    if (isMet)
      return;
    if (attempt < attempts)
      continue;
    if (failure)
      std::rethrow_exception(failure);
    TORCH_CHECK(false, "others could not connect");
  }
}

} // namespace morph

#endif // MORPH_RUNTIME_PROCESSES_MEETING_H
