// SPDX-License-Identifier: Apache-2.0
// SHA-256 (FIPS 180-4), by which stages know whether their inputs changed, and files whether they are whole.

#ifndef MORPH_RUNTIME_BASE_SHA256_H
#define MORPH_RUNTIME_BASE_SHA256_H

#include "runtime/base/Status.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace morph {

/// A running hash: add bytes, then take the digest once.
class Sha256 {
public:
  void add(const void *data, size_t size);
  /// The digest in hexadecimal, 64 characters. Ends the hash.
  std::string finish();

private:
  void compress(const uint8_t *block);

  std::array<uint32_t, 8> state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<uint8_t, 64> block_{};
  size_t filled_ = 0;
  uint64_t total_ = 0;
};

/// Hash of a string.
std::string sha256(std::string_view text);
/// Hash of a file's content.
StatusOr<std::string> sha256File(const std::string &path);

/// Appends the hash of a file's bytes to them, its seal. What follows an ELF file does not matter to those who load it.
void seal(std::string &bytes);
/// Whether bytes are those that were sealed, all of them.
bool isSealed(std::string_view bytes);

} // namespace morph

#endif // MORPH_RUNTIME_BASE_SHA256_H
