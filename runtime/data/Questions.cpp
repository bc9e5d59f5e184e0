// SPDX-License-Identifier: Apache-2.0
#include "runtime/data/Questions.h"

#include "runtime/base/Json.h"
#include "runtime/data/Tasks.h"

#include <algorithm>

namespace morph {
namespace {

/// Fewer questions than this say nothing about a model, and are soon learnt by heart.
constexpr int64_t kLeastQuestions = 8;

struct Question {
  TokenSpan asked, answer; ///< Next to each other.
  int64_t size() const { return asked.size() + answer.size(); }
};

/// A permutation of [0, count): where `index` goes. A Feistel network over the next power of four, walked until it is
/// back in the range.
int64_t permuted(uint64_t seed, int64_t index, int64_t count) {
  int half = 1;
  while ((int64_t{1} << (2 * half)) < count)
    ++half;
  const uint64_t mask = (uint64_t{1} << half) - 1;
  uint64_t value = static_cast<uint64_t>(index);
  do {
    uint64_t left = value >> half, right = value & mask;
    for (uint64_t round = 0; round < 4; ++round) {
      const uint64_t mixed = Random(seed, "round", (right << 2) | round).next() & mask;
      const uint64_t next = left ^ mixed;
      left = right;
      right = next;
    }
    value = (left << half) | right;
  } while (value >= static_cast<uint64_t>(count));
  return static_cast<int64_t>(value);
}

class QuestionTask final : public TaskGenerator {
public:
  QuestionTask(const TaskSpec &task, std::shared_ptr<const TokenFile> file, const std::vector<TokenSpan> &documents)
      : TaskGenerator(task.name, task.length), file_(std::move(file)) {
    for (size_t i = 0; i + 1 < documents.size(); i += 2) {
      const Split split = splitOf(file_->tokens(documents[i]));
      questions_[static_cast<size_t>(split)].push_back({documents[i], documents[i + 1]});
    }
    for (std::vector<Question> &questions : questions_)
      std::stable_sort(questions.begin(), questions.end(),
                       [](const Question &a, const Question &b) { return a.size() < b.size(); });
  }

  Status checkLength(int64_t length) const override;
  std::optional<int64_t> sampleCount(int64_t length, Split split) const override;
  bool hasDepths() const override { return false; }
  StatusOr<Sample> sample(uint64_t seed, uint64_t index, int64_t length, const SampleOptions &options) const override;

private:
  const std::vector<Question> &questions(Split split) const { return questions_[static_cast<size_t>(split)]; }

  std::shared_ptr<const TokenFile> file_;
  std::array<std::vector<Question>, 3> questions_; ///< By split, the shortest first.
};

std::optional<int64_t> QuestionTask::sampleCount(int64_t length, Split split) const {
  const std::vector<Question> &all = questions(split);
  return std::upper_bound(all.begin(), all.end(), length,
                          [](int64_t most, const Question &question) { return most < question.size(); }) -
         all.begin();
}

Status QuestionTask::checkLength(int64_t length) const {
  int64_t rows = 0, fitting = 0;
  std::string counts;
  bool enough = true;
  for (Split split : kSplits) {
    const int64_t count = *sampleCount(length, split);
    rows += static_cast<int64_t>(questions(split).size());
    fitting += count;
    enough &= count >= kLeastQuestions;
    counts += (counts.empty() ? "" : ", ") + std::to_string(count) + " for " + splitName(split);
  }
  if (enough)
    return {};
  return Status::invalid("task '" + name_ + "': of its " + std::to_string(rows) + " questions " +
                             std::to_string(fitting) + " fit into " + std::to_string(length) + " tokens: " + counts +
                             "; each needs " + std::to_string(kLeastQuestions),
                         "a question's hash divides them into half, a quarter and a quarter: give " +
                             std::to_string(8 * kLeastQuestions) + " or more of different questions, or raise length");
}

StatusOr<Sample> QuestionTask::sample(uint64_t seed, uint64_t index, int64_t length,
                                      const SampleOptions &options) const {
  const std::vector<Question> &all = questions(options.split);
  const int64_t count = *sampleCount(length, options.split);
  if (count == 0)
    return checkLength(length);
  const uint64_t stream = Random::streamSeed(seed, "questions/" + name_);
  const uint64_t round = index / static_cast<uint64_t>(count);
  const Question &question =
      all[static_cast<size_t>(permuted(Random(stream, "round of questions", round).next(),
                                       static_cast<int64_t>(index % static_cast<uint64_t>(count)), count))];
  Sample sample;
  sample.isTask = true;
  sample.tokens = file_->tokens({question.asked.begin, question.answer.end});
  for (int64_t i = 0; i < question.answer.size(); ++i) {
    sample.positions.push_back(question.asked.size() + i - 1);
    sample.targets.push_back((*file_)[question.answer.begin + i]);
    sample.answerId.push_back(0);
  }
  sample.answerDepth.push_back(0);
  Random random(stream, "behind", index);
  while (static_cast<int64_t>(sample.tokens.size()) < length) {
    const Question &next = all[static_cast<size_t>(random.below(static_cast<int64_t>(all.size())))];
    const int64_t take = std::min(next.size(), length - static_cast<int64_t>(sample.tokens.size()));
    append(sample.tokens, file_->tokens({next.asked.begin, next.asked.begin + take}));
  }
  return sample;
}

} // namespace

StatusOr<std::unique_ptr<TaskGenerator>> createQuestions(const TaskSpec &task, const std::string &dataDir,
                                                         int64_t vocabulary) {
  const std::string prefix = dataDir + "/task-" + task.name, where = prefix + ".json";
  MORPH_ASSIGN_OR_RETURN(const Json json, readJson(where));
  MORPH_ASSIGN_OR_RETURN(const std::string dtypeName, jsonGet<std::string>(json, "dtype", where));
  MORPH_ASSIGN_OR_RETURN(const int64_t number, jsonGet<int64_t>(json, "documents", where));
  auto dtype = parseTokenDType(dtypeName);
  if (!dtype.ok())
    return std::move(dtype).status().withContext(where);
  MORPH_ASSIGN_OR_RETURN(std::shared_ptr<const TokenFile> file,
                         TokenFile::open(prefix + ".tokens", *dtype, vocabulary));
  MORPH_ASSIGN_OR_RETURN(const std::vector<int64_t> offsets, readOffsets(prefix + ".documents", number));
  auto documents = file->documentsAt(offsets);
  if (!documents.ok())
    return std::move(documents).status().withContext(where);
  if (documents->size() % 2 != 0)
    return Status::invalid(where + ": the last question has no answer", "run the tokenising step again");
  auto generator = std::make_unique<QuestionTask>(task, std::move(file), *documents);
  MORPH_RETURN_IF_ERROR(
      generator->checkLength(*std::min_element(generator->lengths().begin(), generator->lengths().end())));
  return std::unique_ptr<TaskGenerator>(std::move(generator));
}

} // namespace morph
