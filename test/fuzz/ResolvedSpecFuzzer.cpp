// SPDX-License-Identifier: Apache-2.0
// A resolved spec, what is written of it, and samples of its tasks in token space.

#include "TokenMutator.h"

#include "runtime/data/Retrieval.h"
#include "runtime/spec/Spec.h"

#include <cstdlib>

using namespace morph;

const std::vector<std::string> &fuzz::formatWords() {
  static const std::vector<std::string> words = [] {
    std::vector<std::string> words{"name",       "kind",         "space",        "tokens", "words",
                                   "length",     "needles",      "queries",      "hops",   "value_length",
                                   "depth",      "background",   "text",         "noise",  "repeat",
                                   "key_tokens", "value_tokens", "noise_tokens", "null"};
    for (const std::string &kind : taskKindNames())
      words.push_back(kind);
    return words;
  }();
  return words;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  constexpr int64_t kVocabulary = 256;
  static const std::shared_ptr<const TextStore> text = [] {
    std::vector<int64_t> tokens;
    for (int64_t i = 0; i < 1000; ++i)
      tokens.push_back(i % kVocabulary);
    auto file = TokenFile::fromTokens(tokens);
    return *TextStore::create(file, {{0, 300}, {300, 1000}}, 0.1);
  }();
  const auto json = parseJson(std::string(reinterpret_cast<const char *>(data), size), "resolved.json");
  if (!json.ok())
    return 0;
  const auto spec = readSpec(*json, "resolved.json");
  if (!spec.ok())
    return 0;
  if (!readSpec(toJson(*spec), "again").ok())
    std::abort();
  for (const TaskSpec &task : spec->tasks) {
    auto generator = TaskGenerator::create(task, "/nowhere", text, kVocabulary);
    for (uint64_t index = 0; generator.ok() && index < 2; ++index)
      if (int64_t length = (*generator)->drawLength(0, index); length <= 1 << 16)
        for (Split split : kSplits)
          (void)(*generator)->sample(/*seed=*/0, index, length, {std::nullopt, split});
  }
  return 0;
}
