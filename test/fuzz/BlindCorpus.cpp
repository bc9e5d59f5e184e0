// SPDX-License-Identifier: Apache-2.0
// Lets libFuzzer keep a corpus in a build without coverage, where it would mutate one seed for ever: each of the first
// inputs (the seeds, then mutations of them) counts as one that reached something new.

#include <cstddef>
#include <cstdint>

/// What libFuzzer reads beside coverage; it sets it to zero before every input.
__attribute__((used, section("__libfuzzer_extra_counters"))) static volatile uint8_t counters[2048];

extern "C" int __real_LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/// Linked in the place of the target's function (--wrap).
extern "C" int __wrap_LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static size_t inputs = 0;
  if (inputs < sizeof(counters))
    counters[inputs++] = 1;
  return __real_LLVMFuzzerTestOneInput(data, size);
}
