// SPDX-License-Identifier: Apache-2.0
// A lexicon file, and samples of every kind of task made with it.

#include "TokenMutator.h"

#include "runtime/data/Lexicon.h"
#include "runtime/data/Retrieval.h"

using namespace morph;

const std::vector<std::string> &fuzz::formatWords() {
  static const std::vector<std::string> words{
      "format",   "version", "vocabulary", "keys",        "alphabets", "wordings",   "prefix",      "needle", "link",
      "question", "lead",    "key_join",   "answer_join", "list_join", "repeat",     "break_after", "tokens", "slot",
      "key",      "value",   "source",     "training",    "selection", "evaluation", "null"};
  return words;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  auto lexicon = parseLexicon(std::string(reinterpret_cast<const char *>(data), size), "lexicon.json");
  if (!lexicon.ok())
    return 0;
  for (const std::string &name : taskKindNames()) {
    const TaskKind &kind = *findTaskKind(name);
    TaskParameters parameters;
    parameters.name = name;
    parameters.needles = 2;
    parameters.repeats = {2, 1}; // A short list, for lexicons are small.
    parameters.alpha = 3;
    const int64_t keys = kind.keysOfSample(parameters, *lexicon, 0);
    if (!kind.check(parameters, *lexicon).ok() || keys > static_cast<int64_t>(lexicon->keys.size()))
      continue;
    const auto shared = std::make_shared<const Lexicon>(*lexicon);
    const Sharing sharing = sharingOf(*shared, keys);
    for (Split split : kSplits) {
      const Pool pool(shared, split, sharing);
      Random random(0, name, size);
      for (const Wording &wording : pool.wordings())
        kind.plan(parameters, pool, wording, random, {});
    }
  }
  return 0;
}
