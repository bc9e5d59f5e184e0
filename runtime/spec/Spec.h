// SPDX-License-Identifier: Apache-2.0
// The resolved spec. Generated from frontends/spec/SchemaTable.cpp by `morph-translate --spec-structs runtime/spec`.
//
// Defaults are the table's alone: a member holds what the resolved spec says, and what was not read is zero.

#ifndef MORPH_RUNTIME_SPEC_SPEC_H
#define MORPH_RUNTIME_SPEC_SPEC_H

#include "runtime/base/Json.h"
#include "runtime/choice/Space.h"
#include "runtime/spec/Words.h"

#include <array>
#include <map>

namespace morph {

/// What every section has that drives an optimizer.
struct OptimizerSpec {
  enum class Schedule {
    Constant,
    Cosine,
    Linear,
    WarmFlatCooldown,
  };
  /// pretrain: Tasks whose answers are learnt, in turn. align, distill, finetune: Tasks whose prompts are mixed into
  /// the text, in turn. select: Tasks whose answers decide, in turn.
  std::vector<std::string> tasks;
  /// pretrain: Learning rate of AdamW. align, distill, finetune: Learning rate of AdamW after the warm-up. select:
  /// Learning rate of the gates (Adam). (> 0)
  double lr{};
  /// pretrain: Learning rate at the end of the schedule. align, select, distill, finetune: Learning rate at the last
  /// step. (>= 0)
  double lrEnd{};
  /// pretrain: Course of the learning rate after the warm-up. align, select, distill, finetune: Course of the learning
  /// rate from `lr` to `lr_end`.
  Schedule schedule{};
  /// Steps in which the learning rate rises. (steps; >= 0, <= 1000000000)
  int64_t warmup{};
  /// pretrain, align, distill, finetune: Decays of AdamW's moments. select: Decays of Adam's moments. (count 2, >= 0, <
  /// 1)
  std::array<double, 2> betas{};
  /// Steps between checkpoints. (steps; >= 1, <= 1000000000)
  int64_t checkpointEvery{};
  /// Steps between lines of metrics. (steps; >= 1, <= 1000000000)
  int64_t logEvery{};
};

/// What the stages that train weights on text and tasks have.
struct TrainingSpec : OptimizerSpec {
  /// Steps of the optimizer; 0: no such stage. (steps; >= 0, <= 1000000000)
  int64_t steps{};
  /// Sequences of a batch; a step has `accumulate` times as many. (sequences; >= 1, <= 4096)
  int64_t batch{};
  /// Tokens a sequence. (tokens; >= 8, <= 16777216)
  int64_t length{};
  /// Decoupled weight decay. (>= 0)
  double weightDecay{};
  /// Largest norm of the whole gradient; in align layers have equal parts of it. (> 0)
  double clip{};
  /// Batches whose gradients make one step. (>= 1, <= 4096)
  int64_t accumulate{};
  /// Share of batches that are task prompts, where there are tasks. (>= 0, <= 1)
  double taskFraction{};
};

/// The base model and how it is computed.
struct ModelSpec {
  enum class Precision {
    Fp32,
    Bf16,
  };
  /// Hugging Face folder of the base model, relative to the spec's folder; `cache:models/NAME` is where
  /// tools/fetch-model puts it. (path)
  std::string path;
  /// Element type of products; accumulation, residual stream, norms, states and gates are fp32 always.
  Precision precision{};
  /// Where programs run: `cpu`, or an NVIDIA GPU, `cuda` (the first) or `cuda:1`.
  std::string device;
  /// Positions that the hybrid is made for, those of the base where it is left out: the base's RoPE parameters are
  /// scaled to them (a base without scaling gets YaRN), in every stage and in the export's config.json. A base whose
  /// scaling depends on a sequence's length (`dynamic`, `longrope`) is fixed at this one. (tokens; >= 1, <= 2147483648)
  std::optional<int64_t> context;
  /// Threads of the CPU; 0: all cores. (threads; >= 0, <= 4096)
  int64_t threads{};
  /// Memory (of 10^9 bytes) that a stage may take: what does not fit is computed twice, and align goes in waves of
  /// layers; none: everything is kept. (GB; > 0)
  std::optional<double> memoryLimit;
  /// Of several processes each keeps a part of the frozen weights, which are gathered when they are read; false: only
  /// where they fit no other way.
  bool shard{};
};

/// General text and the tokenizer.
struct DataSpec {
  /// General text: files (plain text, JSON lines, parquet, arrow), folders or patterns of such, saved datasets,
  /// relative to the spec's folder; `package:jargon-text` is Debian's. (path)
  std::vector<std::string> text;
  /// Shares in which windows are drawn of the entries of `text`, whatever their sum; none: by their tokens. (count any,
  /// > 0, <= 1e9)
  std::vector<double> weights;
  /// Fields of rows: the first that a row has is its text, or a conversation for the chat template.
  std::vector<std::string> fields;
  /// Share of each document, at its end, that no stage trains on: half for selection and probes, half for evaluation.
  /// Of documents with fewer than four such tokens as large a share of whole ones. (>= 0, < 1)
  double holdout{};
  /// Windows of training hold all documents, short ones too, and no position sees another document than its own:
  /// attention is masked and states are reset between them; so it is where perplexity is measured. false: windows lie
  /// inside documents that are as long, and run over several where none is.
  bool separateDocuments{};
  /// Folder or file of `tokenizer.json`. (path)
  std::string tokenizer;
  /// What divides documents within a file.
  std::string separator;
};

/// A task, synthetic retrieval or your own questions, used by stages under its name.
struct TaskSpec {
  enum class Kind {
    Passkeys,
    NiahSingle,
    NiahMultiKey,
    NiahMultiValue,
    NiahMultiQuery,
    VariableTracking,
    Mqar,
    NearKeys,
    Induction,
    TwoHop,
    Counting,
    CommonWords,
    FrequentWords,
    Jsonl,
    Qa,
  };
  enum class Space {
    Words,
    Tokens,
  };
  enum class Keys {
    Words,
    Numbers,
    Uuid,
  };
  enum class Values {
    Number,
    Words,
    Uuid,
  };
  enum class Background {
    Text,
    Noise,
    Repeat,
  };
  /// The task's name, once in a spec.
  std::string name;
  /// What is hidden and asked; jsonl: your own questions; qa: questions with their paragraphs among others.
  Kind kind{};
  /// File of your own questions (jsonl), in rows of `prompt` and `answer` or of `messages`, the last being the answer;
  /// of qa JSON as SQuAD 1 and 2 or HotpotQA have it. (path)
  std::optional<std::string> path;
  /// The field of a row that asks (jsonl).
  std::string prompt;
  /// The field of a row that answers (jsonl).
  std::string answer;
  /// Needles in words through the tokenizer, or in token ids for tiny bases.
  Space space{};
  /// Lengths that samples have; each batch draws one. In [select] the first task's hold for all tasks. (tokens; >= 8,
  /// <= 16777216)
  std::vector<int64_t> length;
  /// Needles hidden in a sample: chains of variable_tracking and two_hop, marks of counting; words asked for of
  /// common_words and frequent_words, which RULER has 10 and 3 of. (>= 1, <= 65536)
  int64_t needles{};
  /// Needles asked for in a sample; of counting: marks whose number is asked. (>= 1, <= 65536)
  int64_t queries{};
  /// Assignments that a chain of variable_tracking has, needles that a chain of two_hop has. (>= 1, <= 65536)
  int64_t hops{};
  /// What a needle's key looks like.
  Keys keys{};
  /// Tokens of a key of near_keys, and those by which induction asks for a sequence. (tokens; >= 1, <= 4096)
  int64_t keyLength{};
  /// What a needle's value looks like.
  Values values{};
  /// Digits, words or tokens of a value. (>= 1, <= 65536)
  int64_t valueLength{};
  /// How often each word that is asked for stands in the list of common_words, and how often each other. (count 2, >=
  /// 1, <= 65536)
  std::array<int64_t, 2> repeats{};
  /// Exponent of Zipf's law, by which the words of frequent_words are spread. (> 1, <= 16)
  double alpha{};
  /// Share of the context before a needle: drawn between the two. (count 2, >= 0, <= 1)
  std::array<double, 2> depth{};
  /// What surrounds the needles: general text, random tokens, or one repeated sentence. common_words, frequent_words
  /// and qa have none: all of a sample is the task.
  Background background{};
  /// Ask through the tokenizer's chat template, where it has one.
  bool chat{};
  /// First and last + 1 of the ids that keys are drawn from (space tokens), and the words of common_words and
  /// frequent_words. (tokens; count 2, >= 0, <= 16777216)
  std::vector<int64_t> keyTokens;
  /// The same for values; of common_words and frequent_words the last asks, of the latter the first is the noise.
  /// (tokens; count 2, >= 0, <= 16777216)
  std::vector<int64_t> valueTokens;
  /// The same for background `noise`. (tokens; count 2, >= 0, <= 16777216)
  std::vector<int64_t> noiseTokens;
};

/// The shape of the base model that is made.
struct PretrainBaseSpec {
  /// Layers. (layers; >= 1, <= 4096)
  int64_t layers{};
  /// Size of the residual stream. (>= 1, <= 131072)
  int64_t hidden{};
  /// Query heads. (>= 1, <= 8192)
  int64_t heads{};
  /// Key-value heads. (>= 1, <= 8192)
  int64_t kvHeads{};
  /// Elements of a head. (>= 2, <= 8192)
  int64_t headDim{};
  /// Inner size of the feed-forward network. (>= 1, <= 1048576)
  int64_t ffn{};
  /// Size of the vocabulary. (tokens; >= 2, <= 16777216)
  int64_t vocab{};
  /// Base of the rotary frequencies. (>= 1.0001, <= 1e15)
  double theta{};
  /// Epsilon of the RMS norms. (>= 1e-20, <= 1)
  double normEps{};
  /// Longest context, for config.json. (tokens; >= 1, <= 2147483648)
  int64_t maxPositions{};
  /// The head is the embedding's table.
  bool tied{};
  /// Standard deviation of the embedding's first values. (> 0, <= 1000)
  double embeddingStd{};
  /// Output projections start at this over sqrt(2 layers) of fan-in scale, the other projections at fan-in scale. (> 0,
  /// <= 1000)
  double outputScale{};
};

/// A step of the curriculum, over when the accuracy is reached or its steps are done.
struct PretrainPhaseSpec {
  /// Steps at most. (steps; >= 1, <= 1000000000)
  int64_t stepsMax{};
  /// Sequences a step. (sequences; >= 1, <= 4096)
  int64_t batch{};
  /// Tokens a sequence. (tokens; >= 4, <= 16777216)
  int64_t length{};
  /// Tasks of this phase; each sample draws one.
  std::vector<std::string> tasks;
  /// Needles a sequence, all asked for; none: each task's own, and its queries. (>= 1, <= 65536)
  std::optional<int64_t> needles;
  /// What surrounds the needles; none: each task's own.
  std::optional<TaskSpec::Background> background;
  /// Accuracy at which the next phase begins, that of the worst task's held-out answers. (> 0, <= 1)
  double advanceAt{};
};

/// Training of a base model from nothing, instead of `model.path`.
struct PretrainSpec : OptimizerSpec {
  /// Decoupled weight decay. (>= 0)
  double weightDecay{};
  /// Largest norm of the whole gradient. (> 0)
  double clip{};
  /// Weight of the text's cross-entropy beside the answers'. (>= 0)
  double textWeight{};
  std::optional<PretrainBaseSpec> base;
  std::vector<PretrainPhaseSpec> phase;
};

/// Stage 1: every linear branch learns to give what its layer's full attention gives.
struct AlignSpec : TrainingSpec {
  enum class Normalize {
    Relative,
    Mean,
    Rows,
  };
  /// A layer's squared error over its target's power, over its elements, or over its rows (a squared norm a position,
  /// as FlashMorph's paper writes it). `select.method` layer_mse ranks by this error too.
  Normalize normalize{};
  /// Batches of the stage's own that give weights their first values, where a mixer's declaration asks for that
  /// (`calibrate`); 0: they start as declared. (>= 0, <= 1000000)
  int64_t calibration{};
};

/// Stage 2: which layers keep full attention.
struct SelectSpec : OptimizerSpec {
  enum class Loss {
    Kl,
    Ce,
    FinalHidden,
    Layers,
  };
  enum class Target {
    Teacher,
    Local,
  };
  enum class Parametrization {
    Clamp,
    Softmax,
    Sparsemax,
  };
  enum class Pressure {
    Budget,
    Relative,
    Raw,
  };
  /// The selector, which chooses the layers, with its option, if it has one, after a colon: `greedy:backward`. With
  /// `+refine` at the end exchanges of single layers follow, while that lowers the KL at the answers by more than
  /// noise: at most a forward pass for each sample and exchange tried.
  std::string method;
  /// Steps of the gates' optimizer (method gates). (steps; >= 0, <= 1000000000)
  int64_t steps{};
  /// Sequences of a batch; a step has `accumulate` times as many. (sequences; >= 1, <= 4096)
  int64_t batch{};
  /// Batches whose gradients make one step (method gates). (>= 1, <= 4096)
  int64_t accumulate{};
  /// Share of sequences that are task prompts, for all selectors that measure on tasks; the others are windows of text,
  /// as long, of which the last `distill.text_positions` decide. (> 0, <= 1)
  double taskFraction{};
  /// What the gates lower: KL at the answers, the answers' cross-entropy, the final hidden state's error, the layers'.
  Loss loss{};
  /// Whose stream is compared: the teacher's own, or the same-input full branch (only with loss layers).
  Target target{};
  /// Scale of the errors of losses `final_hidden` and `layers`, as in `align.normalize`.
  AlignSpec::Normalize normalize{};
  /// Gates moved as they are and put back among the distributions (with two candidates: clamped to [0, 1]), or the
  /// softmax (with two candidates: the sigmoid) or sparsemax of what is trained.
  Parametrization parametrization{};
  /// Gates driven to the budget in their sum; or `lambda` times their sum added to the loss, in units of (loss all
  /// linear - loss all full) / layers, or as it is, which is FlashMorph's objective.
  Pressure pressure{};
  /// Strength of the pressures relative and raw. (>= 0)
  double lambda{};
  /// Sequences on which the unit of the pressure is measured; with pressures budget and relative. (sequences; >= 2, <=
  /// 1000000)
  int64_t unitSamples{};
  /// Share of the steps over which the target of the sum falls from all layers to the budget; with pressure budget
  /// only. (>= 0, <= 1)
  double anneal{};
  /// Layers that method fixed keeps. (layers; >= 0, <= 4096)
  std::vector<int64_t> layers;
  /// A run's selection.json, whose choice method fixed takes. (path)
  std::optional<std::string> from;
  /// Tokens that the searches random_search and evolution may take beside the teacher's run, those that choices share
  /// counted for each. (tokens; >= 1, <= 1000000000000)
  int64_t searchTokens{};
  /// An exchange of `+refine` counts where it lowers the objective by more than so many standard errors of the
  /// difference over the same samples. Of dozens of exchanges a few would pass by chance at 2. (>= 0)
  double refineErrors{};
  /// After `gates`, `+refine` tries only choices whose gates sum to at most so much less than those of the gates' own
  /// choice: layers that do the same work hold each other's gates down, so that a small difference says little. (>= 0)
  double refineReach{};
  /// Sequences that score layers, choices and exchanges, the same for all. (sequences; >= 2, <= 1000000)
  int64_t samples{};
};

/// Stage 3: the hybrid learns the teacher's distribution.
struct DistillSpec : TrainingSpec {
  enum class Train {
    Linear,
    All,
  };
  enum class Loss {
    Kl,
    ReverseKl,
  };
  enum class Keep {
    Best,
    Last,
  };
  /// What is trained: the linear branches, or every weight.
  Train train{};
  /// Rates of their own: `"mlp = 0.1"` gives weights with `mlp` in their names a tenth of `lr`; of several that fit the
  /// last holds.
  std::vector<std::string> rates;
  /// Parts of the names of frozen matrices (`q_proj`, `mlp`) beside which low-rank adapters are trained, LoRA; at the
  /// end of the stage they are added to the matrices.
  std::vector<std::string> adapters;
  /// Rank of the adapters. (>= 1, <= 4096)
  int64_t adapterRank{};
  /// Lengths of sequences one after another, each for an equal part of the steps, none above `length`; empty: `length`
  /// all along. (tokens; count any, >= 8, <= 16777216)
  std::vector<int64_t> lengths;
  /// KL from the teacher's distribution to the hybrid's, or from the hybrid's to the teacher's, by which the hybrid
  /// does not spread over all that the teacher may say.
  Loss loss{};
  /// The teacher's likeliest tokens at a position, whose distribution alone is learnt; 0: all. (tokens; >= 0, <=
  /// 16777216)
  int64_t topTokens{};
  /// Weight of a second loss beside the KL: the squared error of the residual stream behind each linear mixer, over the
  /// teacher's power, in the mean over these layers, at the same positions. (>= 0)
  double streams{};
  /// Weight of the KL on the text that a task's prompt hides its needles in, beside 1 of its answers. (>= 0)
  double textWeight{};
  /// Last positions of a text sequence at which the KL is taken. (tokens; >= 1, <= 16777216)
  int64_t textPositions{};
  /// Steps between measurements of the KL on held-out samples of each task and on held-out text. (steps; >= 1, <=
  /// 1000000000)
  int64_t evalEvery{};
  /// Held-out sequences of each task, and of text, that it is measured on. (sequences; >= 2, <= 1000000)
  int64_t evalSamples{};
  /// The weights that are kept: those at which the held-out KL was least, in units of that before the training and in
  /// the mean over tasks and text, where none of these was worse than before by more than its error; or the last ones.
  Keep keep{};
  /// Measurements in a row without a better one after which the training ends; 0: it goes through all steps.
  /// (measurements; >= 0, <= 1000000000)
  int64_t patience{};
};

/// Stage 4: the hybrid learns from text itself, at long contexts.
struct FinetuneSpec : TrainingSpec {
  /// What is trained: every weight, or the linear branches.
  DistillSpec::Train train{};
  /// Rates of their own: `"mlp = 0.1"` gives weights with `mlp` in their names a tenth of `lr`; of several that fit the
  /// last holds.
  std::vector<std::string> rates;
  /// Parts of the names of frozen matrices (`q_proj`, `mlp`) beside which low-rank adapters are trained, LoRA; at the
  /// end of the stage they are added to the matrices.
  std::vector<std::string> adapters;
  /// Rank of the adapters. (>= 1, <= 4096)
  int64_t adapterRank{};
  /// Lengths of sequences one after another, each for an equal part of the steps, none above `length`; empty: `length`
  /// all along. (tokens; count any, >= 8, <= 16777216)
  std::vector<int64_t> lengths;
  /// Windows of text lie inside one document; an error where none is as long. Set it for true long contexts: false
  /// joins documents that are too short.
  bool longDocuments{};
};

/// Tables of recall and perplexity for the teacher, the baselines and the selected hybrid.
struct EvaluateSpec {
  /// Tasks whose answers are measured.
  std::vector<std::string> tasks;
  /// Lengths at which tasks are measured. (tokens; >= 8, <= 16777216)
  std::vector<int64_t> lengths;
  /// Depths at which single needles are measured; none: drawn as in training. (>= 0, <= 1)
  std::vector<double> depths;
  /// Samples for a task, length and depth. (>= 1, <= 1000000)
  int64_t samples{};
  /// How many of these samples the model also answers in its own words, token by token; 0: none. (>= 0, <= 1000000)
  int64_t generateSamples{};
  /// Sequences computed at once. (sequences; >= 1, <= 4096)
  int64_t batch{};
  /// Selectors, named as in `select.method`, whose hybrids of the same budget are trained and measured beside the
  /// selected one.
  std::vector<std::string> baselines;
  /// Tokens for perplexity, of the text that is for evaluation only; 0: none. (tokens; >= 0, <= 1000000000000)
  int64_t perplexityTokens{};
  /// Tokens of one window of it. (tokens; >= 8, <= 16777216)
  int64_t perplexityLength{};
};

/// The Hugging Face folder of the hybrid.
struct ExportSpec {
  enum class Format {
    Auto,
    Native,
    Remote,
  };
  /// `native`: a class of stock transformers loads the folder, an error where none computes the hybrid's function;
  /// `remote`: the folder's own code does; `auto`: native where there is one.
  Format format{};
  /// Load the folder in stock transformers and compare log-probabilities.
  bool check{};
  /// Largest |difference of log-probabilities| to transformers that passes; what is larger passes too where it is
  /// fp32's rounding, that is, where both agree in fp64. (> 0)
  double tolerance{};
};

/// A selector with settings of its own.
struct AuditVariantSpec {
  /// What the tables call it.
  std::string name;
  /// Keys of [select] and their values: `select.lr=0.1`.
  std::vector<std::string> settings;
};

/// What `morph audit` holds against each other.
struct AuditSpec {
  enum class Distill {
    None,
    Chosen,
    Every,
  };
  /// Selectors, named as in `select.method`; `uniform:*` are all its offsets and the middles. The first one is what the
  /// others are held against. `exhaustive` is there wherever all choices are judged: the best of them.
  std::vector<std::string> selectors;
  /// Hugging Face folders of base models, as in `model.path`; none: that one. (path)
  std::vector<std::string> bases;
  /// Seeds of alignment, selection and distillation. (>= 0)
  std::vector<int64_t> seeds;
  /// Layers that keep full attention, those that keep their windows (Gemma, OLMo-3) among them, in place of the
  /// budget's; none: the budget's. (layers; >= 0, <= 4096)
  std::vector<int64_t> budgets;
  /// Tasks on whose held-out samples choices are judged: the objective is the mean over them of the KL at the answers.
  std::vector<std::string> tasks;
  /// Samples of each of these tasks, the same for all choices. (sequences; >= 2, <= 1000000)
  int64_t samples{};
  /// Windows of held-out text on which they are judged, too, which is no part of the objective. (sequences; >= 0, <=
  /// 1000000)
  int64_t textSamples{};
  /// Every choice that a budget allows is judged where there are at most so many, else those that were chosen. (>= 0,
  /// <= 100000)
  int64_t mostChoices{};
  /// Which choices are distilled and judged again: none, those that a selector chose, or every one.
  Distill distill{};
  /// A selector is better than another where the interval of this confidence of their difference, a paired bootstrap
  /// over seeds and samples, lies on one side of 0. (> 0, < 1)
  double confidence{};
  /// Resamples of the bootstrap. (>= 100, <= 1000000)
  int64_t resamples{};
  std::vector<AuditVariantSpec> variant;
};

/// What resolving found of the spec's model.
struct ModelInfo {
  /// Its `model_type` in config.json.
  std::string architecture;
  /// Layers. (layers; >= 1)
  int64_t layers{};
  /// Size of the residual stream. (>= 1)
  int64_t hidden{};
  /// Inner size of the feed-forward network. (>= 1)
  int64_t ffn{};
  /// Query heads. (>= 1)
  int64_t heads{};
  /// Key-value heads. (>= 1)
  int64_t kvHeads{};
  /// Elements of a head. (>= 1)
  int64_t headDim{};
  /// Size of the vocabulary. (tokens; >= 1)
  int64_t vocab{};
  /// Longest context, of config.json. (tokens; >= 0)
  int64_t maxPositions{};
  /// Epsilon of the RMS norms. (>= 0)
  double normEps{};
  /// The head is the embedding's table.
  bool tied{};
  /// Element type of its weights: "bf16", "f32".
  std::string dtype;
  /// Elements of all weights. (>= 0)
  int64_t parameters{};
  /// The folder holds its weights.
  bool hasWeights{};
};

/// The spec itself.
struct ResolvedSpec {
  /// The version of the spec format: 1.
  int64_t version{};
  /// The run's name, for tables and reports.
  std::string name;
  /// A `.morph` file, or `FILE:NAME` of several in it, whose `arch` says what `model.path`, [linear] and [budget] say,
  /// and more. (path)
  std::optional<std::string> arch;
  /// Seed of every random draw of the run. (>= 0)
  int64_t seed{};
  ModelSpec model;
  DataSpec data;
  std::vector<TaskSpec> tasks;
  std::optional<PretrainSpec> pretrain;
  AlignSpec align;
  SelectSpec select;
  DistillSpec distill;
  FinetuneSpec finetune;
  EvaluateSpec evaluate;
  ExportSpec export_;
  std::optional<AuditSpec> audit;
  ChoiceSpace space;
  ModelInfo modelInfo;
};

/// The word of a value as specs write it: "niah_single" of TaskSpec::Kind::NiahSingle; empty for what is no value.
const char *toWord(OptimizerSpec::Schedule value);
const char *toWord(ModelSpec::Precision value);
const char *toWord(TaskSpec::Kind value);
const char *toWord(TaskSpec::Space value);
const char *toWord(TaskSpec::Keys value);
const char *toWord(TaskSpec::Values value);
const char *toWord(TaskSpec::Background value);
const char *toWord(AlignSpec::Normalize value);
const char *toWord(SelectSpec::Loss value);
const char *toWord(SelectSpec::Target value);
const char *toWord(SelectSpec::Parametrization value);
const char *toWord(SelectSpec::Pressure value);
const char *toWord(DistillSpec::Train value);
const char *toWord(DistillSpec::Loss value);
const char *toWord(DistillSpec::Keep value);
const char *toWord(ExportSpec::Format value);
const char *toWord(AuditSpec::Distill value);

/// Reads a resolved spec; `where` (its file) goes in front of errors. Every key must be there, of its type and among
/// its allowed values, and no other.
StatusOr<ResolvedSpec> readSpec(const Json &json, const std::string &where);

/// Sections as they stand in a resolved spec: for files, and for keys of what depends on them.
Json toJson(const OptimizerSpec &section);
Json toJson(const TrainingSpec &section);
Json toJson(const ModelSpec &section);
Json toJson(const DataSpec &section);
Json toJson(const TaskSpec &section);
Json toJson(const PretrainBaseSpec &section);
Json toJson(const PretrainPhaseSpec &section);
Json toJson(const PretrainSpec &section);
Json toJson(const AlignSpec &section);
Json toJson(const SelectSpec &section);
Json toJson(const DistillSpec &section);
Json toJson(const FinetuneSpec &section);
Json toJson(const EvaluateSpec &section);
Json toJson(const ExportSpec &section);
Json toJson(const AuditVariantSpec &section);
Json toJson(const AuditSpec &section);
Json toJson(const ModelInfo &section);
Json toJson(const ResolvedSpec &section);

} // namespace morph

#endif // MORPH_RUNTIME_SPEC_SPEC_H
