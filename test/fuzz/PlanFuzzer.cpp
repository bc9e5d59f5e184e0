// SPDX-License-Identifier: Apache-2.0
// A plan as text: parsed, validated, bound and run.

#include "PlanRunner.h"
#include "TokenMutator.h"

#include "runtime/plan/OpTable.h"

#include <set>

using namespace morph;

const std::vector<std::string> &fuzz::formatWords() {
  static const std::vector<std::string> words = [] {
    std::set<std::string> words{"B",        "T",      "N",       "S",        "f32",    "i64",
                                "bf16",     "true",   "false",   "null",     "copy",   "repeat_heads",
                                "constant", "normal", "values",  "relative", "mean",   "rows",
                                "operand",  "result", "scratch", "size",     "shared", "launches"};
    for (const std::string &op : plan::opNames()) {
      words.insert(op);
      for (const plan::AttributeRule &attribute : plan::findOpRule(op)->attributes)
        words.insert(attribute.name);
    }
    return std::vector<std::string>(words.begin(), words.end());
  }();
  return words;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  auto plan = plan::parsePlan(std::string(reinterpret_cast<const char *>(data), size), "plan.json");
  if (plan.ok())
    fuzz::runPlan(*std::move(plan), size);
  return 0;
}
