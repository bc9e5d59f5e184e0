// SPDX-License-Identifier: Apache-2.0
// Random numbers by counter: a stream is a function of (seed, name, index), so sample i is the same whatever was drawn
// before it, on every machine. The standard library's distributions differ between implementations; these do not.

#ifndef MORPH_RUNTIME_DATA_RANDOM_H
#define MORPH_RUNTIME_DATA_RANDOM_H

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace morph {

/// The random numbers of one sample.
class Random {
public:
  Random(uint64_t seed, std::string_view name, uint64_t index) : key_(mix(streamSeed(seed, name) + index * kGamma)) {}

  /// A seed for a named part of a run. Parts with other names are independent.
  static constexpr uint64_t streamSeed(uint64_t seed, std::string_view name) {
    uint64_t hash = 0xcbf29ce484222325u; // FNV-1a of the name
    for (char c : name)
      hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
    return mix(mix(seed + kGamma) ^ hash);
  }

  uint64_t next() { return mix(key_ + ++counter_ * kGamma); }

  /// Uniform in [0, bound), without bias: values above the largest multiple of `bound` are drawn again. bound > 0.
  int64_t below(int64_t bound) {
    uint64_t range = static_cast<uint64_t>(bound), rest = (0 - range) % range, bits;
    do
      bits = next();
    while (bits < rest);
    return static_cast<int64_t>(bits % range);
  }

  /// Uniform in [low, high) with 53 random bits.
  double uniform(double low = 0, double high = 1) {
    return low + (high - low) * (static_cast<double>(next() >> 11) * 0x1p-53);
  }

  /// `count` different numbers of [0, bound) in random order; count <= bound.
  std::vector<int64_t> choose(int64_t count, int64_t bound) {
    std::vector<int64_t> all(bound);
    for (int64_t i = 0; i < bound; ++i)
      all[i] = i;
    for (int64_t i = 0; i < count; ++i)
      std::swap(all[i], all[i + below(bound - i)]);
    all.resize(count);
    return all;
  }

private:
  static constexpr uint64_t kGamma = 0x9e3779b97f4a7c15u;

  /// The output function of SplitMix64 (Steele, Lea, Flood 2014): a bijection of 64-bit words that passes BigCrush on a
  /// counter.
  static constexpr uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
  }

  uint64_t key_;
  uint64_t counter_ = 0;
};

} // namespace morph

#endif // MORPH_RUNTIME_DATA_RANDOM_H
