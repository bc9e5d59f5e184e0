// SPDX-License-Identifier: Apache-2.0
// niah_multi_value (RULER MV): one key with N values in needles of their own; all are asked, in the order in which they
// stand in the context.

#include "runtime/data/Tasks.h"

#include <algorithm>

namespace morph {
namespace {

class MultiValueKind : public TaskKind {
public:
  int64_t keysOfSample(const TaskParameters &, const Lexicon &, int64_t) const override { return 1; }
  int64_t allQueries(const TaskParameters &) const override { return 1; }

  Status check(const TaskParameters &parameters, const Lexicon &) const override {
    if (parameters.queries != 1)
      return Status::invalid("task '" + parameters.name + "': niah_multi_value asks for one key: 'queries' must be 1");
    return {};
  }

  TaskPlan plan(const TaskParameters &parameters, const Pool &pool, const Wording &wording, Random &random,
                const SampleRoom &room) const override {
    TaskPlan plan;
    const Piece &key = pool.keys()[static_cast<size_t>(random.below(static_cast<int64_t>(pool.keys().size())))];
    std::vector<double> depths;
    for (int64_t i = 0; i < parameters.needles; ++i)
      depths.push_back(room.depth ? *room.depth : drawDepth(parameters, random));
    std::sort(depths.begin(), depths.end());
    for (int64_t i = 0; i < parameters.needles; ++i) {
      Piece value = pool.drawValue(random);
      plan.needles.push_back({fill(wording.needle, {{"key", key}, {"value", value}}), depths[i]});
      Piece lead = i == 0 ? fill(wording.lead, {{"key", key}, {"value", value}}) : pool.lexicon().listJoin;
      plan.answers.push_back({lead, value, static_cast<size_t>(i)});
    }
    plan.question = fill(wording.question, {{"key", key}, {"keys", key}, {"value", {}}});
    return plan;
  }
};

} // namespace

void addMultiValueKind(TaskKinds &kinds) {
  static const MultiValueKind kind;
  kinds["niah_multi_value"] = &kind;
}

} // namespace morph
