// SPDX-License-Identifier: Apache-2.0
// Numbers that a seed decides (splitmix64), the same everywhere.

#ifndef MORPH_TEST_CUDA_DRIVER_RANDOM_H
#define MORPH_TEST_CUDA_DRIVER_RANDOM_H

#include <cstdint>

namespace morph::standin {

class Random {
public:
  /// Seeds that lie a step of `next` apart give unlike numbers: the state is a mixture of the seed.
  explicit Random(uint64_t seed = 0) : state(mixed(seed)) {}
  uint64_t next() { return mixed(state += 0x9e3779b97f4a7c15ull); }
  /// Below `bound`, which is not 0.
  uint64_t below(uint64_t bound) { return next() % bound; }

private:
  static uint64_t mixed(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
  }

  uint64_t state;
};

} // namespace morph::standin

#endif // MORPH_TEST_CUDA_DRIVER_RANDOM_H
