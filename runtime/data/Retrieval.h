// SPDX-License-Identifier: Apache-2.0
// Synthetic retrieval tasks: samples of exactly the asked length, with the positions of their answers. One interface
// for all tasks, in token space for tiny bases and in words for real ones. A new task is a new file under tasks/ and a
// line in Tasks.cpp.

#ifndef MORPH_RUNTIME_DATA_RETRIEVAL_H
#define MORPH_RUNTIME_DATA_RETRIEVAL_H

#include "runtime/data/Pool.h"
#include "runtime/data/TextStore.h"
#include "runtime/spec/Spec.h"

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace morph {

/// One sequence and the rows whose next token counts. `positions[i]` is the index of the token before `targets[i]`:
/// tokens[positions[i] + 1] == targets[i]. A text sample has answerId -1 everywhere.
struct Sample {
  std::vector<int64_t> tokens;        ///< [T]
  std::vector<int64_t> begins;        ///< [T] where the document of a token begins; empty: all are of one.
  std::vector<int64_t> positions;     ///< [N], increasing.
  std::vector<int64_t> targets;       ///< [N]
  std::vector<int> answerId;          ///< [N] which answer of the sample; an answer is right when all its targets are.
  std::vector<int64_t> textPositions; ///< Positions whose next token is background text (pretraining's second loss).
  std::vector<double> answerDepth;    ///< By answer id: tokens of background before its needle / all background; 0
                                      ///< of tasks without depths.
  double depth = 0;                   ///< Mean of answerDepth.
  int64_t question = -1;              ///< Of tasks with finitely many: its number among the split's.
  bool isTask = false;
  int answers() const { return static_cast<int>(answerDepth.size()); }
};

/// A needle: tokens put into the background at a depth in [0, 1].
struct Needle {
  Piece tokens;
  double depth = 0;
};

/// What follows the question: tokens that are given, and an answer that must be predicted.
struct Answer {
  Piece lead;
  Piece tokens;
  size_t needle = 0; ///< The needle that holds it.
};

/// What a task decides about a sample; the generator adds the background and lays it out.
struct TaskPlan {
  std::vector<Needle> needles; ///< Needles of equal depth keep their order.
  Piece question;
  std::vector<Answer> answers;
};

/// A task's parameters, from its [[task]] section.
struct TaskParameters {
  std::string name;
  int64_t needles = 1;   ///< variable_tracking and two_hop: chains; counting: marks; the two below: words asked for.
  int64_t queries = 1;   ///< Of kinds that do not ask for all they hide.
  int64_t hops = 2;      ///< variable_tracking: assignments of a chain; two_hop: needles of a chain.
  int64_t keyLength = 2; ///< near_keys: tokens of a key; induction: those that ask for a sequence.
  std::array<int64_t, 2> repeats = {30, 3}; ///< common_words: how often a common word stands there, and any other.
  double alpha = 2;                         ///< frequent_words: the exponent of Zipf's law.
  double depthLow = 0.05, depthHigh = 0.95;
  int64_t depthCandidates = 1000;
};

/// What a sample has for its plan.
struct SampleRoom {
  int64_t tokens = 0;          ///< All behind the prefix. Kinds that fill their context use them up.
  std::optional<double> depth; ///< Where the asked needles go; unset: drawn.
};

/// A kind of task. Stateless; all randomness comes from `random`.
class TaskKind {
public:
  virtual ~TaskKind() = default;
  /// Whether the whole context is the kind's own: it gives as much as there is room for, draws no values, and what it
  /// asks for lies at no depth. There is no background but the lexicon's `repeat`, where nothing else has room.
  virtual bool fillsContext() const { return false; }
  /// How many different keys a sample of `length` tokens takes at most; of near_keys: tokens in which its keys differ.
  /// Length 0: those that the shortest sample has.
  virtual int64_t keysOfSample(const TaskParameters &parameters, const Lexicon &lexicon, int64_t length) const = 0;
  /// The `queries` that ask for all that a sample hides.
  virtual int64_t allQueries(const TaskParameters &parameters) const { return parameters.needles; }
  /// Whether answers are the same few in every split whatever the lexicon has.
  virtual bool sharesValues() const { return false; }
  /// Parameters that this kind cannot do, as more queries than needles, or not with this lexicon.
  virtual Status check(const TaskParameters &parameters, const Lexicon &lexicon) const = 0;
  /// A length that is far too short, or for which the lexicon has not enough beside keys.
  virtual Status checkLength(const TaskParameters &, const Lexicon &, int64_t /*length*/) const { return {}; }
  /// Needles, question and answers of one sample in one of the pool's wordings. How many tokens they take follows from
  /// the parameters and the lengths of the pieces alone; of kinds that fill their context from the room, too: as many
  /// as it has but for less than a key, or where it has too few the least that a sample takes.
  virtual TaskPlan plan(const TaskParameters &parameters, const Pool &pool, const Wording &wording, Random &random,
                        const SampleRoom &room) const = 0;
};

/// The kind of that name, or null. Kinds are listed in Tasks.cpp.
const TaskKind *findTaskKind(const std::string &name);
std::vector<std::string> taskKindNames();

/// The `queries` that ask for all that a task hides: 1 of kinds that ask for one thing.
int64_t allQueries(const TaskSpec &task);

struct SampleOptions {
  std::optional<double> depth;   ///< Where the asked needles go; unset: drawn.
  Split split = Split::Training; ///< Of keys, values and wordings, and of the background text.
};

/// Makes the samples of one task.
class TaskGenerator {
public:
  virtual ~TaskGenerator() = default;
  /// A generator for a [[task]] of a resolved spec. Words-space tasks read `<dataDir>/lexicon-<name>.json`, kinds jsonl
  /// and qa `<dataDir>/task-<name>.json` (Questions.h); background "text" needs `text`. `vocabulary` is the model's.
  /// What `shared` says is shared by all splits however much of it there is.
  static StatusOr<std::unique_ptr<TaskGenerator>> create(const TaskSpec &task, const std::string &dataDir,
                                                         std::shared_ptr<const TextStore> text, int64_t vocabulary,
                                                         const Sharing &shared = {});

  const std::string &name() const { return name_; }
  /// The task's lengths in tokens: its `length` key.
  const std::vector<int64_t> &lengths() const { return lengths_; }
  /// The length of batch `index`, one of `lengths`.
  int64_t drawLength(uint64_t seed, uint64_t index) const;
  /// What training, selection and evaluation of this task have in common, for want of entries.
  const Sharing &sharing() const { return sharing_; }
  /// An error where samples of `length` tokens have no room for what the task puts into them.
  virtual Status checkLength(int64_t length) const = 0;
  /// How many different samples of `length` tokens a split has; nothing: as many as are asked for.
  virtual std::optional<int64_t> sampleCount(int64_t /*length*/, Split /*split*/) const { return std::nullopt; }
  /// Whether what is asked for lies at a depth that can be chosen.
  virtual bool hasDepths() const { return true; }

  /// Sample `index` of the stream `seed` (any 64 bits; see Random::streamSeed), exactly `length` tokens. The same
  /// arguments give the same sample whatever was made before. An error where it does not fit.
  virtual StatusOr<Sample> sample(uint64_t seed, uint64_t index, int64_t length,
                                  const SampleOptions &options = {}) const = 0;

protected:
  TaskGenerator(std::string name, std::vector<int64_t> lengths)
      : name_(std::move(name)), lengths_(std::move(lengths)) {}
  std::string name_;
  std::vector<int64_t> lengths_;
  Sharing sharing_;
};

/// `length` tokens of text whose last `lastPositions` next-token rows count (all of them when 0 or too large). With
/// `isPacked` they are of as many documents as there are in a window of that length (TextStore::packedWindow), else of
/// `TextStore::window`.
Sample textSample(const TextStore &text, uint64_t seed, uint64_t index, int64_t length, int64_t lastPositions = 0,
                  Split split = Split::Training, bool isPacked = false);

} // namespace morph

#endif // MORPH_RUNTIME_DATA_RETRIEVAL_H
