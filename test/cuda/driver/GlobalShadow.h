// SPDX-License-Identifier: Apache-2.0
// What is known of every two bytes of device memory during a launch: which block wrote them and which read them. Blocks
// of a launch run in any order and at once, so what one writes no other may touch, unless all do so by atomics.

#ifndef MORPH_TEST_CUDA_DRIVER_GLOBALSHADOW_H
#define MORPH_TEST_CUDA_DRIVER_GLOBALSHADOW_H

#include <atomic>
#include <cstdint>

namespace morph::standin {

class GlobalShadow {
public:
  /// What an access was found to be.
  enum class Finding { None, WriteWrite, WriteRead, ReadWrite };
  struct Found {
    Finding finding = Finding::None;
    uint64_t other = kSeveral;                ///< The other block, or kSeveral.
    uint64_t address = 0;                     ///< Of the two bytes.
    uint32_t firstRead = 0, firstWritten = 0; ///< Bytes that nobody has read, or written, before in the launch.
  };
  static constexpr uint64_t kSeveral = ~uint64_t(0);

  /// Of device addresses [begin, begin + span). Only what is accessed takes memory, four times the bytes.
  GlobalShadow(uint64_t begin, uint64_t span);
  ~GlobalShadow();
  GlobalShadow(const GlobalShadow &) = delete;

  /// Forgets everything: what earlier launches did lies before.
  void beginLaunch();

  /// An access of a block (its number in the grid), `how` as in MorphAccess. Single bytes are left alone: two blocks
  /// may write the halves of what a cell knows. Safe from several host threads.
  Found access(uint64_t block, uint64_t address, uint32_t bytes, uint32_t how);

private:
  uint64_t begin, span;
  std::atomic<uint64_t> *cells = nullptr; ///< Launch, whether by atomics, writer and reader: see the source.
  uint64_t launch = 0;
};

} // namespace morph::standin

#endif // MORPH_TEST_CUDA_DRIVER_GLOBALSHADOW_H
