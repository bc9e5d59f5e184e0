// SPDX-License-Identifier: Apache-2.0
// variable_tracking (RULER VT): N chains of `hops` assignments, a key set to a value and further keys each set to the
// one before; no two chains have the same value. Asked are all keys of one chain, by its value, in the order in which
// they were set.

#include "runtime/data/Tasks.h"

#include <algorithm>
#include <set>

namespace morph {
namespace {

/// Values that are drawn for a chain at most: a split may have fewer than the lexicon.
constexpr int kDraws = 256;

class VariableTrackingKind : public TaskKind {
public:
  int64_t keysOfSample(const TaskParameters &parameters, const Lexicon &, int64_t) const override {
    return parameters.needles * parameters.hops;
  }
  int64_t allQueries(const TaskParameters &) const override { return 1; }

  Status check(const TaskParameters &parameters, const Lexicon &lexicon) const override {
    if (parameters.queries != 1)
      return Status::invalid("task '" + parameters.name +
                             "': variable_tracking asks for one chain: 'queries' must be 1");
    double values = 1;
    for (size_t part : lexicon.value)
      values *= static_cast<double>(lexicon.alphabets[part].size());
    if (values < static_cast<double>(parameters.needles))
      return Status::invalid("task '" + parameters.name + "': " + std::to_string(parameters.needles) +
                                 " chains need as many different values, and there are " +
                                 std::to_string(static_cast<int64_t>(values)),
                             "lower needles, or give more values");
    return checkLinks(parameters, lexicon, "variable_tracking");
  }

  TaskPlan plan(const TaskParameters &parameters, const Pool &pool, const Wording &wording, Random &random,
                const SampleRoom &room) const override {
    TaskPlan plan;
    int64_t perChain = parameters.hops;
    std::vector<int64_t> keys = random.choose(parameters.needles * perChain, static_cast<int64_t>(pool.keys().size()));
    int64_t asked = random.below(parameters.needles);
    Piece askedValue;
    std::set<Piece> values;
    for (int64_t chain = 0; chain < parameters.needles; ++chain) {
      Piece value = pool.drawValue(random);
      // Of two chains with the value that is asked for, neither would be the answer.
      for (int draw = 0; draw < kDraws && !values.insert(value).second; ++draw)
        value = pool.drawValue(random);
      std::vector<double> depths;
      for (int64_t i = 0; i < perChain; ++i)
        depths.push_back(room.depth && chain == asked ? *room.depth : drawDepth(parameters, random));
      std::sort(depths.begin(), depths.end());
      for (int64_t i = 0; i < perChain; ++i) {
        const Piece &key = pool.keys()[keys[chain * perChain + i]];
        Piece tokens =
            i == 0 ? fill(wording.needle, {{"key", key}, {"value", value}})
                   : fill(wording.link, {{"key", key}, {"source", pool.keys()[keys[chain * perChain + i - 1]]}});
        if (chain == asked)
          plan.answers.push_back({i == 0 ? Piece{} : pool.lexicon().listJoin, key, plan.needles.size()});
        plan.needles.push_back({std::move(tokens), depths[i]});
      }
      if (chain == asked)
        askedValue = value;
    }
    const Piece &firstKey = plan.answers[0].tokens;
    plan.question = fill(wording.question, {{"key", firstKey}, {"keys", firstKey}, {"value", askedValue}});
    plan.answers[0].lead = fill(wording.lead, {{"key", firstKey}, {"value", askedValue}});
    return plan;
  }
};

} // namespace

void addVariableTrackingKind(TaskKinds &kinds) {
  static const VariableTrackingKind kind;
  kinds["variable_tracking"] = &kind;
}

} // namespace morph
