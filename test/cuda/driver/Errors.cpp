// SPDX-License-Identifier: Apache-2.0
#include "test/cuda/driver/Errors.h"

#include <cstdio>

namespace morph::standin {

namespace {
constexpr size_t kMostKept = 100;
} // namespace

void Errors::add(const std::string &place, const std::string &text, Fault fault) {
  std::lock_guard<std::mutex> lock(mutex);
  ++number;
  if (first == Fault::None)
    first = fault;
  if (kept.size() >= kMostKept || !places.insert(place).second)
    return;
  kept.push_back(text);
  std::fprintf(stderr, "stand-in driver: %s\n", text.c_str());
}

uint64_t Errors::count() const {
  std::lock_guard<std::mutex> lock(mutex);
  return number;
}

Fault Errors::fault() const {
  std::lock_guard<std::mutex> lock(mutex);
  return first;
}

std::string Errors::texts() const {
  std::lock_guard<std::mutex> lock(mutex);
  std::string all;
  for (const std::string &text : kept)
    all += text + "\n";
  return all;
}

void Errors::clear() {
  std::lock_guard<std::mutex> lock(mutex);
  number = 0;
  first = Fault::None;
  places.clear();
  kept.clear();
}

} // namespace morph::standin
