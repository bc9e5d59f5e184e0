// SPDX-License-Identifier: Apache-2.0
#include "runtime/data/Questions.h"

#include "runtime/base/Json.h"
#include "runtime/data/Tasks.h"

#include <algorithm>
#include <optional>
#include <set>

namespace morph {
namespace {

/// Fewer questions than this say nothing about a model, and are soon learnt by heart.
constexpr int64_t kLeastQuestions = 8;

/// So many paragraphs one after another that do not fit end a context.
constexpr int kMisses = 8;

struct Question {
  TokenSpan asked, answer;   ///< Next to each other.
  std::vector<int64_t> gold; ///< Paragraphs that a sample must have.
  size_t group = 0;          ///< That its other paragraphs are first taken from.
  int64_t least = 0;         ///< Tokens of its shortest sample.
  int64_t size() const { return asked.size() + answer.size(); }
};

/// What of questions stands before them in a sample; empty of kind jsonl.
struct Paragraphs {
  Piece frame;                 ///< From the first token on.
  std::vector<Piece> headings; ///< Of the first paragraph of a sample, the second, ...: as many as paragraphs.
  std::vector<TokenSpan> spans;
  std::vector<std::vector<int64_t>> groups;
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
  QuestionTask(const TaskSpec &task, std::shared_ptr<const TokenFile> file, std::vector<Question> questions,
               Paragraphs paragraphs)
      : TaskGenerator(task.name, task.length), file_(std::move(file)), paragraphs_(std::move(paragraphs)) {
    sharing_.wordings = task.kind == TaskSpec::Kind::Qa; // There is one.
    for (Question &question : questions) {
      question.least = static_cast<int64_t>(paragraphs_.frame.size()) + question.size();
      for (size_t i = 0; i < question.gold.size(); ++i)
        question.least += headed(i, question.gold[i]);
      std::vector<Question> &split = questions_[static_cast<size_t>(splitOf(file_->tokens(question.asked)))];
      split.push_back(std::move(question));
    }
    for (std::vector<Question> &split : questions_)
      std::stable_sort(split.begin(), split.end(),
                       [](const Question &a, const Question &b) { return a.least < b.least; });
    for (size_t i = 0; i < paragraphs_.spans.size(); ++i)
      allParagraphs_ += headed(i, static_cast<int64_t>(i));
  }

  Status checkLength(int64_t length) const override;
  std::optional<int64_t> sampleCount(int64_t length, Split split) const override;
  bool hasDepths() const override { return false; }
  StatusOr<Sample> sample(uint64_t seed, uint64_t index, int64_t length, const SampleOptions &options) const override;

private:
  const std::vector<Question> &questions(Split split) const { return questions_[static_cast<size_t>(split)]; }
  /// Tokens of a paragraph that comes behind `before` others.
  int64_t headed(size_t before, int64_t paragraph) const {
    return static_cast<int64_t>(paragraphs_.headings[before].size()) +
           paragraphs_.spans[static_cast<size_t>(paragraph)].size();
  }
  /// What stands before a question in a sample of `length` tokens.
  Piece context(const Question &question, int64_t length, Random random) const;

  std::shared_ptr<const TokenFile> file_;
  Paragraphs paragraphs_;
  std::array<std::vector<Question>, 3> questions_; ///< By split, the shortest first.
  int64_t allParagraphs_ = 0;                      ///< Tokens of all paragraphs with headings.
};

Piece QuestionTask::context(const Question &question, int64_t length, Random random) const {
  std::vector<int64_t> chosen = question.gold;
  std::set<int64_t> seen(chosen.begin(), chosen.end());
  int64_t left = length - question.least;
  int misses = 0;
  const auto take = [&](int64_t paragraph) {
    if (!seen.insert(paragraph).second)
      return;
    const int64_t tokens = headed(chosen.size(), paragraph);
    misses = tokens > left ? misses + 1 : 0;
    if (misses > 0)
      return;
    left -= tokens;
    chosen.push_back(paragraph);
  };
  if (!paragraphs_.groups.empty()) {
    const std::vector<int64_t> &group = paragraphs_.groups[question.group];
    const int64_t size = static_cast<int64_t>(group.size());
    for (int64_t i : random.choose(size, size))
      if (misses < kMisses)
        take(group[static_cast<size_t>(i)]);
  }
  const uint64_t order = random.next();
  const int64_t all = static_cast<int64_t>(paragraphs_.spans.size());
  for (int64_t i = 0; i < all && misses < kMisses; ++i)
    take(permuted(order, i, all));

  Piece tokens = paragraphs_.frame;
  const int64_t count = static_cast<int64_t>(chosen.size());
  const std::vector<int64_t> places = random.choose(count, count);
  for (size_t i = 0; i < places.size(); ++i) {
    append(tokens, paragraphs_.headings[i]);
    const int64_t paragraph = chosen[static_cast<size_t>(places[i])];
    append(tokens, file_->tokens(paragraphs_.spans[static_cast<size_t>(paragraph)]));
  }
  return tokens;
}

std::optional<int64_t> QuestionTask::sampleCount(int64_t length, Split split) const {
  const std::vector<Question> &all = questions(split);
  return std::upper_bound(all.begin(), all.end(), length,
                          [](int64_t most, const Question &question) { return most < question.least; }) -
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
  if (enough) {
    // The shortest question has the most room.
    int64_t most = 0;
    for (Split split : kSplits)
      most = std::max(most, length - questions(split).front().size());
    most -= static_cast<int64_t>(paragraphs_.frame.size());
    if (paragraphs_.spans.empty() || allParagraphs_ >= most)
      return {};
    return Status::invalid("task '" + name_ + "': its " + std::to_string(paragraphs_.spans.size()) +
                               " paragraphs have " + std::to_string(allParagraphs_) +
                               " tokens, too few to fill samples of " + std::to_string(length),
                           "give a file with more paragraphs, or lower length");
  }
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
  Sample sample;
  sample.question = permuted(Random(stream, "round of questions", round).next(),
                             static_cast<int64_t>(index % static_cast<uint64_t>(count)), count);
  const Question &question = all[static_cast<size_t>(sample.question)];
  sample.isTask = true;
  if (!paragraphs_.spans.empty())
    sample.tokens = context(question, length, Random(stream, "paragraphs", index));
  append(sample.tokens, file_->tokens({question.asked.begin, question.answer.end}));
  const int64_t begin = static_cast<int64_t>(sample.tokens.size()) - question.answer.size();
  for (int64_t i = 0; i < question.answer.size(); ++i) {
    sample.positions.push_back(begin + i - 1);
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

/// Reads what the JSON of kind qa has beside that of jsonl; every message names the member. `paragraphs` documents come
/// before the questions.
class ParagraphReader {
public:
  ParagraphReader(const Json &json, const std::string &where, int64_t vocabulary)
      : json_(json), where_(where), vocabulary_(vocabulary) {}

  Status read(int64_t paragraphs, Paragraphs &result, std::vector<Question> &questions) const {
    MORPH_ASSIGN_OR_RETURN(const auto frame, numbers("frame", vocabulary_, /*count=*/1));
    result.frame = frame[0];
    MORPH_ASSIGN_OR_RETURN(result.headings, numbers("headings", vocabulary_, static_cast<size_t>(paragraphs)));
    MORPH_ASSIGN_OR_RETURN(result.groups, numbers("groups", paragraphs, std::nullopt));
    const int64_t groups = static_cast<int64_t>(result.groups.size());
    MORPH_ASSIGN_OR_RETURN(const auto of, numbers("questions", std::max(paragraphs, groups), questions.size()));
    for (size_t i = 0; i < questions.size(); ++i) {
      if (of[i].empty() || of[i][0] >= groups)
        return error("questions", "must be the number of a group and those of paragraphs");
      questions[i].group = static_cast<size_t>(of[i][0]);
      questions[i].gold.assign(of[i].begin() + 1, of[i].end());
      const std::set<int64_t> different(questions[i].gold.begin(), questions[i].gold.end());
      if (different.size() < questions[i].gold.size() || (!different.empty() && *different.rbegin() >= paragraphs))
        return error("questions", "must name paragraphs that there are, each once");
    }
    return {};
  }

private:
  Status error(const std::string &key, const std::string &what) const {
    return Status::invalid(where_ + ": '" + key + "' " + what, "run the tokenising step again");
  }

  /// Lists of numbers of [0, bound); `count` of them, if it is given.
  StatusOr<std::vector<Piece>> numbers(const std::string &key, int64_t bound, std::optional<size_t> count) const {
    if (!json_.contains(key) || !json_.at(key).is_array() || (count && json_.at(key).size() != *count))
      return error(key, "must be an array of " + (count ? std::to_string(*count) + " " : std::string()) +
                            "arrays of numbers");
    std::vector<Piece> lists;
    for (const Json &list : json_.at(key)) {
      if (!list.is_array())
        return error(key, "must be an array of arrays of numbers");
      Piece &entries = lists.emplace_back();
      for (const Json &entry : list) {
        if (!entry.is_number_integer() || entry < 0 || entry >= bound)
          return error(key, "has " + jsonExcerpt(entry) + ", which is no number below " + std::to_string(bound));
        entries.push_back(entry.get<int64_t>());
      }
    }
    return lists;
  }

  const Json &json_;
  std::string where_;
  int64_t vocabulary_;
};

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
  size_t before = 0;
  if (task.kind == TaskSpec::Kind::Qa) {
    MORPH_ASSIGN_OR_RETURN(const int64_t count, jsonGet<int64_t>(json, "paragraphs", where));
    if (count < 1 || count > number)
      return Status::invalid(where + ": 'paragraphs' must be in 1.." + std::to_string(number),
                             "run the tokenising step again");
    before = static_cast<size_t>(count);
  }
  if ((documents->size() - before) % 2 != 0)
    return Status::invalid(where + ": the last question has no answer", "run the tokenising step again");
  std::vector<Question> questions;
  for (size_t i = before; i < documents->size(); i += 2)
    questions.push_back({(*documents)[i], (*documents)[i + 1], {}});
  Paragraphs paragraphs;
  if (before > 0) {
    paragraphs.spans.assign(documents->begin(), documents->begin() + static_cast<std::ptrdiff_t>(before));
    MORPH_RETURN_IF_ERROR(
        ParagraphReader(json, where, vocabulary).read(static_cast<int64_t>(before), paragraphs, questions));
  }
  auto generator = std::make_unique<QuestionTask>(task, std::move(file), std::move(questions), std::move(paragraphs));
  for (int64_t length : generator->lengths())
    MORPH_RETURN_IF_ERROR(generator->checkLength(length));
  return std::unique_ptr<TaskGenerator>(std::move(generator));
}

} // namespace morph
