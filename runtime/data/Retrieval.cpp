// SPDX-License-Identifier: Apache-2.0
#include "runtime/data/Retrieval.h"

#include "runtime/data/Questions.h"
#include "runtime/data/Tasks.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace morph {
namespace {

/// What of a task's sizes would not end in a sample.
Status checkSizes(const TaskSpec &task, const std::string &where) {
  for (int64_t count : {task.needles, task.queries, task.hops, task.keyLength})
    if (count < 1 || count > 65536)
      return Status::invalid(where + ": 'needles', 'queries', 'hops' and 'key_length' must be in 1..65536, not " +
                             std::to_string(count));
  if (task.depth[0] > task.depth[1])
    return Status::invalid(where + ": 'depth' must be [lowest, highest], and it falls");
  if (task.length.empty())
    return Status::invalid(where + ": 'length' must be a list of one or more numbers of tokens");
  for (int64_t length : task.length)
    if (length < 2 || length > INT32_MAX)
      return Status::invalid(where + ": 'length' must be 2 tokens or more, not " + std::to_string(length));
  return {};
}

/// Places where text may be interrupted: moves `offset` to the nearest place behind a token of `breakAfter`, at most
/// `reach` tokens away; unchanged where there is none.
int64_t snapToBreak(const Piece &background, int64_t offset, const std::vector<bool> &breakAfter, int64_t reach) {
  int64_t size = static_cast<int64_t>(background.size());
  auto isBreak = [&](int64_t at) {
    return at >= 0 && at <= size && (at == 0 || at == size || breakAfter[background[at - 1]]);
  };
  for (int64_t distance = 0; distance <= reach; ++distance) {
    if (isBreak(offset - distance))
      return offset - distance;
    if (isBreak(offset + distance))
      return offset + distance;
  }
  return offset;
}

/// Tokens that are not background: prefix, needles, question, leads and answers.
int64_t fixedLength(const Piece &prefix, const TaskPlan &plan) {
  size_t fixed = prefix.size() + plan.question.size();
  for (const Needle &needle : plan.needles)
    fixed += needle.tokens.size();
  for (const Answer &answer : plan.answers)
    fixed += answer.lead.size() + answer.tokens.size();
  return static_cast<int64_t>(fixed);
}

/// The longest of some pieces.
Piece longestOf(const std::vector<Piece> &pieces) {
  return *std::max_element(pieces.begin(), pieces.end(),
                           [](const Piece &a, const Piece &b) { return a.size() < b.size(); });
}

/// The tokens that the longest sample of a kind needs beside background, of one that fills its context the shortest:
/// made of the longest key and value parts, in every wording.
int64_t longestPlan(const TaskKind &kind, const TaskParameters &parameters, const Lexicon &lexicon) {
  auto longest = std::make_shared<Lexicon>(lexicon);
  if (!lexicon.keys.empty())
    longest->keys.assign(static_cast<size_t>(kind.keysOfSample(parameters, lexicon, 0)), longestOf(lexicon.keys));
  if (!kind.fillsContext()) // What is not drawn is in its place.
    for (std::vector<Piece> &alphabet : longest->alphabets)
      alphabet.assign(alphabet.size(), longestOf(alphabet));
  const Pool pool(longest, Split::Training, {/*keys=*/true, /*values=*/true, /*wordings=*/true});
  int64_t most = 0;
  for (const std::vector<Wording> &wordings : lexicon.wordings)
    for (const Wording &wording : wordings) {
      Random random(0, "check", 0);
      most = std::max(most, fixedLength(fill(wording.prefix, {}), kind.plan(parameters, pool, wording, random, {})));
    }
  return most;
}

TaskParameters parametersOf(const TaskSpec &task) {
  TaskParameters parameters;
  parameters.name = task.name;
  parameters.needles = task.needles;
  parameters.queries = task.queries;
  parameters.hops = task.hops;
  parameters.keyLength = task.keyLength;
  parameters.repeats = task.repeats;
  parameters.alpha = task.alpha;
  parameters.depthLow = task.depth[0];
  parameters.depthHigh = task.depth[1];
  return parameters;
}

std::string joinNames(const std::vector<std::string> &names) {
  std::string text;
  for (const std::string &name : names)
    text += (text.empty() ? "" : ", ") + name;
  return text;
}

Status checkKeys(const std::string &where, int64_t needed, size_t there) {
  if (needed <= static_cast<int64_t>(there))
    return {};
  return Status::invalid(where + ": it needs " + std::to_string(needed) + " different keys and there are " +
                             std::to_string(there),
                         "lower needles or length, or give more keys");
}

/// A synthetic task: needles in a background, and questions about them.
class RetrievalTask final : public TaskGenerator {
public:
  static StatusOr<std::unique_ptr<TaskGenerator>> create(const TaskSpec &task, const std::string &dataDir,
                                                         std::shared_ptr<const TextStore> text, int64_t vocabulary,
                                                         const Sharing &shared);
  Status checkLength(int64_t length) const override;
  bool hasDepths() const override { return !kind_->fillsContext(); }
  StatusOr<Sample> sample(uint64_t seed, uint64_t index, int64_t length, const SampleOptions &options) const override;

private:
  explicit RetrievalTask(const TaskSpec &task) : TaskGenerator(task.name, task.length) {}
  Piece background(uint64_t seed, uint64_t index, int64_t length, Split split) const;

  TaskParameters parameters_;
  const TaskKind *kind_ = nullptr;
  std::shared_ptr<const Lexicon> lexicon_;
  std::array<Pool, 3> pools_; ///< By split.
  /// The fewest tokens in which every sample of this task fits, in every split: its prefix, needles, question, leads
  /// and answers with the longest pieces there are. Of a kind that fills its context: with the least it has.
  int64_t leastLength_ = 0;
  std::shared_ptr<const TextStore> text_;
  TaskSpec::Background background_ = TaskSpec::Background::Text;
};

} // namespace

int64_t allQueries(const TaskSpec &task) { return findTaskKind(toWord(task.kind))->allQueries(parametersOf(task)); }

StatusOr<std::unique_ptr<TaskGenerator>> TaskGenerator::create(const TaskSpec &task, const std::string &dataDir,
                                                               std::shared_ptr<const TextStore> text,
                                                               int64_t vocabulary, const Sharing &shared) {
  MORPH_RETURN_IF_ERROR(checkSizes(task, "task '" + task.name + "'"));
  if (task.kind == TaskSpec::Kind::Jsonl || task.kind == TaskSpec::Kind::Qa)
    return createQuestions(task, dataDir, vocabulary);
  return RetrievalTask::create(task, dataDir, std::move(text), vocabulary, shared);
}

StatusOr<std::unique_ptr<TaskGenerator>> RetrievalTask::create(const TaskSpec &task, const std::string &dataDir,
                                                               std::shared_ptr<const TextStore> text,
                                                               int64_t vocabulary, const Sharing &shared) {
  std::string where = "task '" + task.name + "'";
  std::unique_ptr<RetrievalTask> generator(new RetrievalTask(task));
  generator->kind_ = findTaskKind(toWord(task.kind));
  if (!generator->kind_)
    return Status::invalid(where + ": unknown kind '" + toWord(task.kind) + "'",
                           "known kinds: " + joinNames(taskKindNames()));
  const TaskParameters &parameters = generator->parameters_ = parametersOf(task);

  Lexicon lexicon;
  if (task.space == TaskSpec::Space::Tokens) {
    MORPH_ASSIGN_OR_RETURN(lexicon, tokenLexicon(task, vocabulary));
  } else {
    std::string path = dataDir + "/lexicon-" + task.name + ".json";
    MORPH_ASSIGN_OR_RETURN(lexicon, readLexicon(path));
    if (lexicon.vocabulary > vocabulary)
      return Status::invalid(path + ": its vocabulary has " + std::to_string(lexicon.vocabulary) +
                             " ids and the model's " + std::to_string(vocabulary));
  }

  const TaskKind &kind = *generator->kind_;
  const TaskSpec::Background background = kind.fillsContext() ? TaskSpec::Background::Repeat : task.background;
  generator->background_ = background;
  switch (background) {
  case TaskSpec::Background::Text:
    if (!text)
      return Status::invalid(where + ": its background is text, and the spec has no text",
                             "give data.text, or another background");
    break;
  case TaskSpec::Background::Noise:
    if (lexicon.noiseBegin == lexicon.noiseEnd)
      return Status::invalid(where + ": its background is noise, and it has no 'noise_tokens'");
    break;
  case TaskSpec::Background::Repeat:
    // Where a key is a token and nothing stands beside it, nothing is left over.
    if (lexicon.repeat.empty() && !(kind.fillsContext() && task.space == TaskSpec::Space::Tokens))
      return Status::invalid(where + ": its background is repeat, and its lexicon has nothing to repeat",
                             "in token space give 'noise_tokens'");
    break;
  }
  generator->text_ = std::move(text);

  MORPH_RETURN_IF_ERROR(kind.check(parameters, lexicon));
  const int64_t longest = *std::max_element(generator->lengths_.begin(), generator->lengths_.end());
  const int64_t keys = kind.keysOfSample(parameters, lexicon, longest);
  MORPH_RETURN_IF_ERROR(checkKeys(where, keys, lexicon.keys.size()));
  for (int64_t length : generator->lengths_) // Before a plan is made, which could be a large one.
    MORPH_RETURN_IF_ERROR(kind.checkLength(parameters, lexicon, length));
  generator->leastLength_ = longestPlan(kind, parameters, lexicon);
  generator->sharing_ = sharingOf(lexicon, keys);
  generator->sharing_.keys |= shared.keys;
  // Where none are drawn, there are none to share.
  generator->sharing_.values =
      !kind.fillsContext() && (generator->sharing_.values || shared.values || kind.sharesValues());
  generator->sharing_.wordings |= shared.wordings;
  generator->lexicon_ = std::make_shared<const Lexicon>(std::move(lexicon));
  for (Split split : kSplits)
    generator->pools_[static_cast<size_t>(split)] = Pool(generator->lexicon_, split, generator->sharing_);
  for (int64_t length : generator->lengths_)
    MORPH_RETURN_IF_ERROR(generator->checkLength(length));
  return std::unique_ptr<TaskGenerator>(std::move(generator));
}

int64_t TaskGenerator::drawLength(uint64_t seed, uint64_t index) const {
  return lengths_[Random(seed, "length/" + name_, index).below(static_cast<int64_t>(lengths_.size()))];
}

Status RetrievalTask::checkLength(int64_t length) const {
  const std::string where = "task '" + parameters_.name + "'";
  if (leastLength_ > length)
    return Status::invalid(
        where + ": " + std::to_string(length) +
            " tokens have no room for its needles and its question, which take up to " + std::to_string(leastLength_),
        kind_->fillsContext() ? "raise length, or lower needles" : "raise length, or ask fewer needles");
  MORPH_RETURN_IF_ERROR(kind_->checkLength(parameters_, *lexicon_, length));
  const int64_t keys = kind_->keysOfSample(parameters_, *lexicon_, length);
  for (const Pool &pool : pools_)
    MORPH_RETURN_IF_ERROR(checkKeys(where + ", " + std::to_string(length) + " tokens", keys, pool.keys().size()));
  return {};
}

Piece RetrievalTask::background(uint64_t seed, uint64_t index, int64_t length, Split split) const {
  Piece tokens;
  if (length == 0)
    return tokens;
  switch (background_) {
  case TaskSpec::Background::Text:
    return text_->window(Random::streamSeed(seed, parameters_.name), index, length, split);
  case TaskSpec::Background::Noise: {
    Random random(seed, "noise/" + parameters_.name, index);
    for (int64_t i = 0; i < length; ++i)
      tokens.push_back(lexicon_->noiseBegin + random.below(lexicon_->noiseEnd - lexicon_->noiseBegin));
    return tokens;
  }
  case TaskSpec::Background::Repeat:
    for (int64_t i = 0; i < length; ++i)
      tokens.push_back(lexicon_->repeat[i % static_cast<int64_t>(lexicon_->repeat.size())]);
    return tokens;
  }
  return tokens;
}

StatusOr<Sample> RetrievalTask::sample(uint64_t seed, uint64_t index, int64_t length,
                                       const SampleOptions &options) const {
  if (kind_->fillsContext()) // In a longer sample than was checked keys could run out.
    MORPH_RETURN_IF_ERROR(checkLength(length));
  Random random(seed, "task/" + parameters_.name, index);
  const Pool &pool = pools_[static_cast<size_t>(options.split)];
  const Wording &wording =
      pool.wordings()[static_cast<size_t>(random.below(static_cast<int64_t>(pool.wordings().size())))];
  const Piece prefix = fill(wording.prefix, {});
  const int64_t room = length - static_cast<int64_t>(prefix.size());
  TaskPlan plan = kind_->plan(parameters_, pool, wording, random, {room, options.depth});
  int64_t backgroundLength = length - fixedLength(prefix, plan);
  if (backgroundLength < 0) {
    MORPH_RETURN_IF_ERROR(checkLength(length));
    return Status::failed("task '" + parameters_.name + "': sample " + std::to_string(index) +
                          " is longer than the task's own bound");
  }
  Piece text = background(seed, index, backgroundLength, options.split);

  std::vector<int64_t> offsets;
  for (const Needle &needle : plan.needles) {
    int64_t offset = std::llround(needle.depth * static_cast<double>(backgroundLength));
    if (!lexicon_->breakAfter.empty())
      offset = snapToBreak(text, offset, lexicon_->breakAfter, std::max<int64_t>(32, backgroundLength / 20));
    offsets.push_back(offset);
  }
  // Equal places keep the order of the plan, so that chains of needles stay in order.
  std::vector<size_t> order(plan.needles.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return offsets[a] < offsets[b]; });

  Sample sample;
  sample.isTask = true;
  sample.tokens.reserve(length);
  sample.tokens = prefix;
  int64_t written = 0;
  auto writeBackground = [&](int64_t end) {
    for (; written < end; ++written) {
      if (background_ == TaskSpec::Background::Text && !sample.tokens.empty())
        sample.textPositions.push_back(static_cast<int64_t>(sample.tokens.size()) - 1);
      sample.tokens.push_back(text[written]);
    }
  };
  for (size_t needle : order) {
    writeBackground(offsets[needle]);
    append(sample.tokens, plan.needles[needle].tokens);
  }
  writeBackground(backgroundLength);
  append(sample.tokens, plan.question);
  for (size_t i = 0; i < plan.answers.size(); ++i) {
    const Answer &answer = plan.answers[i];
    append(sample.tokens, answer.lead);
    for (int64_t token : answer.tokens) {
      sample.positions.push_back(static_cast<int64_t>(sample.tokens.size()) - 1);
      sample.targets.push_back(token);
      sample.answerId.push_back(static_cast<int>(i));
      sample.tokens.push_back(token);
    }
    double depth = backgroundLength > 0
                       ? static_cast<double>(offsets[answer.needle]) / static_cast<double>(backgroundLength)
                       : plan.needles[answer.needle].depth;
    sample.answerDepth.push_back(depth);
    sample.depth += depth / static_cast<double>(plan.answers.size());
  }
  return sample;
}

Sample textSample(const TextStore &text, uint64_t seed, uint64_t index, int64_t length, int64_t lastPositions,
                  Split split, bool isPacked) {
  Sample sample;
  if (isPacked) {
    TextWindow window = text.packedWindow(seed, index, length, split);
    sample.tokens = std::move(window.tokens);
    sample.begins = std::move(window.begins);
  } else {
    sample.tokens = text.window(seed, index, length, split);
  }
  int64_t rows = length - 1;
  if (lastPositions > 0)
    rows = std::min(rows, lastPositions);
  for (int64_t position = length - 1 - rows; position < length - 1; ++position) {
    sample.positions.push_back(position);
    sample.targets.push_back(sample.tokens[position + 1]);
    sample.answerId.push_back(-1);
  }
  return sample;
}

} // namespace morph
