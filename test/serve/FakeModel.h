// SPDX-License-Identifier: Apache-2.0
// A model whose states are the tokens themselves: the next token is a function of all before it, so that a state that
// is lost, moved wrongly or of another sequence gives a wrong token.

#ifndef MORPH_TEST_SERVE_FAKEMODEL_H
#define MORPH_TEST_SERVE_FAKEMODEL_H

#include "runtime/serve/SequenceModel.h"

#include <gtest/gtest.h>

namespace morph {

class FakeModel : public SequenceModel {
public:
  FakeModel(int64_t slots, int64_t context, int64_t chunk = 4)
      : context_(context), chunk_(chunk), states_(static_cast<size_t>(slots)) {}

  static constexpr int64_t kVocabulary = 97;
  /// The token after these.
  static int64_t next(const std::vector<int64_t> &tokens) {
    uint64_t hash = 7;
    for (int64_t token : tokens)
      hash = (hash ^ static_cast<uint64_t>(token)) * 0x100000001b3u;
    return static_cast<int64_t>((hash ^ (hash >> 32)) % kVocabulary);
  }
  /// How likely the token after `tokens` is `token`: of each context and token something else.
  static double logProbability(std::vector<int64_t> tokens, int64_t token) {
    tokens.push_back(token);
    tokens.push_back(kVocabulary);
    return -1 - static_cast<double>(next(tokens)) / 8;
  }
  /// What a request gives that is alone.
  static std::vector<int64_t> generate(std::vector<int64_t> tokens, int64_t count, int64_t end = -1) {
    std::vector<int64_t> generated;
    while (static_cast<int64_t>(generated.size()) < count && (generated.empty() || generated.back() != end)) {
      generated.push_back(next(tokens));
      tokens.push_back(generated.back());
    }
    return generated;
  }

  int64_t slots() const override { return static_cast<int64_t>(states_.size()); }
  int64_t context() const override { return context_; }
  int64_t vocabulary() const override { return kVocabulary; }
  int64_t chunk() const override { return chunk_; }

  Status clear(int64_t slot) override {
    at(slot).clear();
    return Status();
  }
  Status prefill(int64_t slot, int64_t position, const std::vector<int64_t> &tokens, Rows rows) override {
    EXPECT_LE(static_cast<int64_t>(tokens.size()), chunk_);
    EXPECT_FALSE(tokens.empty());
    computed += static_cast<int64_t>(tokens.size());
    const size_t before = at(slot).size();
    append(slot, position, tokens);
    rows_.clear();
    for (size_t i = rows == Rows::All ? 1 : tokens.size(); i <= tokens.size(); ++i)
      rows_.emplace_back(at(slot).begin(), at(slot).begin() + static_cast<ptrdiff_t>(before + i));
    logitRows += static_cast<int64_t>(rows_.size());
    if (failsAfter >= 0 && failsAfter-- == 0)
      return Status::failed("the model fails");
    return Status();
  }
  Status step(const std::vector<int64_t> &positions, const std::vector<int64_t> &tokens) override {
    EXPECT_EQ(positions.size(), tokens.size());
    batches.push_back(static_cast<int64_t>(tokens.size()));
    for (size_t slot = 0; slot < tokens.size(); ++slot)
      append(static_cast<int64_t>(slot), positions[slot], {tokens[slot]});
    rows_.assign(states_.begin(), states_.begin() + static_cast<ptrdiff_t>(tokens.size()));
    return Status();
  }
  StatusOr<SampledToken> sample(int64_t row, const SamplingOptions &options, int64_t) override {
    if (options.seed == kNotFinite)
      return Status::failed("not finite");
    const std::vector<int64_t> &tokens = rows_.at(static_cast<size_t>(row));
    return describe(tokens, next(tokens), options.likely);
  }
  StatusOr<std::vector<SampledToken>> score(const std::vector<int64_t> &tokens, int64_t likely) override {
    std::vector<SampledToken> scores;
    for (size_t row = 0; row < tokens.size(); ++row) {
      if (tokens[row] == kUnscorable)
        return Status::failed("not finite");
      scores.push_back(describe(rows_.at(row), tokens[row], likely));
    }
    return scores;
  }
  Status move(int64_t from, int64_t to, int64_t positions) override {
    EXPECT_EQ(static_cast<int64_t>(at(from).size()), positions);
    at(to) = at(from);
    at(from).assign(3, -1); // Whoever reads it is wrong.
    return Status();
  }
  StatusOr<std::shared_ptr<const StateSnapshot>> save(int64_t slot, int64_t begin, int64_t end) override {
    EXPECT_EQ(static_cast<int64_t>(at(slot).size()), end);
    auto snapshot = std::make_shared<Snapshot>();
    snapshot->tokens.assign(at(slot).begin() + begin, at(slot).end());
    return std::shared_ptr<const StateSnapshot>(std::move(snapshot));
  }
  Status restore(int64_t slot, const std::vector<std::shared_ptr<const StateSnapshot>> &parts) override {
    at(slot).clear();
    for (const auto &part : parts) {
      const auto &tokens = static_cast<const Snapshot &>(*part).tokens;
      at(slot).insert(at(slot).end(), tokens.begin(), tokens.end());
    }
    return Status();
  }

  static constexpr uint64_t kNotFinite = 666; ///< Requests of this seed have logits that are not finite.
  static constexpr int64_t kUnscorable = 96;  ///< A token for which no row has a score.
  int64_t computed = 0, logitRows = 0;        ///< Tokens of prompts; those of them that got logits.
  int64_t failsAfter = -1;                    ///< Prefills, of which the last fails; negative: none.
  std::vector<int64_t> batches;               ///< Sequences of each step.

private:
  struct Snapshot : StateSnapshot {
    std::vector<int64_t> tokens;
    int64_t bytes() const override { return static_cast<int64_t>(tokens.size()) * 100; }
  };
  static SampledToken describe(const std::vector<int64_t> &tokens, int64_t token, int64_t likely) {
    SampledToken described;
    described.token = token;
    described.logProbability = logProbability(tokens, token);
    for (int64_t i = 0; i < likely; ++i)
      described.likely.push_back({i, logProbability(tokens, i)});
    return described;
  }
  std::vector<int64_t> &at(int64_t slot) { return states_.at(static_cast<size_t>(slot)); }
  void append(int64_t slot, int64_t position, const std::vector<int64_t> &tokens) {
    EXPECT_EQ(static_cast<int64_t>(at(slot).size()), position) << "slot " << slot;
    at(slot).insert(at(slot).end(), tokens.begin(), tokens.end());
    EXPECT_LE(static_cast<int64_t>(at(slot).size()), context_);
  }

  int64_t context_, chunk_;
  std::vector<std::vector<int64_t>> states_, rows_;
};

} // namespace morph

#endif // MORPH_TEST_SERVE_FAKEMODEL_H
