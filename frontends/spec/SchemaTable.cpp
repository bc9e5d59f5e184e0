// SPDX-License-Identifier: Apache-2.0
// The table of spec v1. A new key is one line here: reading, defaults, errors, specs/reference.md and the runtime's
// structs follow; the last two are files, which these renew:
//   morph-translate --spec-docs -o specs/reference.md
//   morph-translate --spec-structs runtime/spec

#include "frontends/spec/Schema.h"

#include <vector>

using namespace morph::spec;

namespace {

constexpr ValueType kBoolean = ValueType::Boolean;
constexpr ValueType kInteger = ValueType::Integer;
constexpr ValueType kNumber = ValueType::Number;
constexpr ValueType kString = ValueType::String;
constexpr ValueType kIntegers = ValueType::IntegerList;
constexpr ValueType kNumbers = ValueType::NumberList;
constexpr ValueType kStrings = ValueType::StringList;

constexpr Section kSections[] = {
    {"", "The spec itself.", true},
    {"model", "The base model and how it is computed.", true},
    {"linear", "The linear attention that replaces full attention.", true, /*becomesSpace=*/true},
    {"budget", "What the hybrid may cost, and which layers are not free to choose.", true, /*becomesSpace=*/true},
    {"data", "General text and the tokenizer.", true},
    {"task[]", "A task, synthetic retrieval or your own questions, used by stages under its name.", false},
    {"pretrain", "Training of a base model from nothing, instead of `model.path`.", false},
    {"pretrain.base", "The shape of the base model that is made.", false},
    {"pretrain.phase[]", "A step of the curriculum, over when the accuracy is reached or its steps are done.", false},
    {"align", "Stage 1: every linear branch learns to give what its layer's full attention gives.", true},
    {"select", "Stage 2: which layers keep full attention.", true},
    {"distill", "Stage 3: the hybrid learns the teacher's distribution.", true},
    {"finetune", "Stage 4: the hybrid learns from text itself, at long contexts.", true},
    {"evaluate", "Tables of recall and perplexity for the teacher, the baselines and the selected hybrid.", true},
    {"export", "The Hugging Face folder of the hybrid.", true},
    {"audit", "What `morph audit` holds against each other.", false},
    {"audit.variant[]", "A selector with settings of its own.", false},
};

constexpr Key kKeys[] = {
    {"version", kInteger, "", "required", "", "S1", "The version of the spec format: 1."},
    {"name", kString, "", "<the file's name without its ending>", "", "S21", "The run's name, for tables and reports."},
    {"arch", kString, "path", "<none>", "", "S22",
     "A `.morph` file, or `FILE:NAME` of several in it, whose `arch` says what `model.path`, [linear] and [budget] "
     "say, "
     "and more."},
    {"seed", kInteger, "", "0", ">= 0", "root_c1", "Seed of every random draw of the run."},

    {"model.path", kString, "path", "<required without [pretrain]>", "", "S2",
     "Hugging Face folder of the base model, relative to the spec's folder; `cache:models/NAME` is where "
     "tools/fetch-model puts it."},
    {"model.precision", kString, "", "\"fp32\"", "fp32 | bf16", "model_c1",
     "Element type of products; accumulation, residual stream, norms, states and gates are fp32 always."},
    {"model.device", kString, "", "\"cpu\"", "", "S23",
     "Where programs run: `cpu`, or an NVIDIA GPU, `cuda` (the first) or `cuda:1`."},
    {"model.context", kInteger, "tokens", "<none>", ">= 1, <= 2147483648", "S31",
     "Positions that the hybrid is made for, those of the base where it is left out: the base's RoPE parameters are "
     "scaled to them (a base without scaling gets "
     "YaRN), in every stage and in the export's config.json. A base whose scaling depends on a sequence's length "
     "(`dynamic`, `longrope`) is fixed at this one."},
    {"model.threads", kInteger, "threads", "0", ">= 0, <= 4096", "model_c2", "Threads of the CPU; 0: all cores."},
    {"model.memory_limit", kNumber, "GB", "<none>", "> 0", "model_c3",
     "Memory (of 10^9 bytes) that a stage may take: what does not fit is computed twice, and align goes in waves of "
     "layers; none: everything is kept."},
    {"model.shard", kBoolean, "", "false", "", "",
     "Of several processes each keeps a part of the frozen weights, which are gathered when they are read; false: only "
     "where they fit no other way."},

    {"linear.backend", kString, "", "\"gated_deltanet\"", "", "S3",
     "The linear attention of every layer, a mixer with its options: `kda`, `gated_deltanet(conv = 4)`, "
     "`mixers/mine.morph:mine` of a file, relative to the spec's folder."},
    {"linear.candidates", kStrings, "", "[]", "", "S3",
     "Further candidates of every layer, beside full and `backend`, in the same form, `sliding_window(window = 256)` "
     "among them."},
    {"linear.windows", kBoolean, "", "false", "", "S5",
     "Whether layers with a sliding window, where others of the base see all positions (Gemma, OLMo-3), may become "
     "linear, too. They keep their windows otherwise, and are not counted by `budget.full_layers` and `ratio`."},

    {"budget.full_layers", kInteger, "layers", "<from ratio>", ">= 0, <= 4096", "S5",
     "Layers that keep full attention."},
    {"budget.ratio", kNumber, "", "<none>", "> 0, <= 1", "S5",
     "The same as a share of the layers, without those that keep their windows, rounded to the nearest whole "
     "number, at least 1."},
    {"budget.keep", kIntegers, "layers", "[]", ">= 0, <= 4096", "S6",
     "Layers that keep full attention whatever is selected."},
    {"budget.linear", kIntegers, "layers", "[]", ">= 0, <= 4096", "S6",
     "Layers that become linear whatever is selected."},

    {"budget.cache_bytes", kNumber, "bytes", "<none>", "> 0, <= 1e15", "S5",
     "Most that the caches and states of all layers take for one sequence of `context` tokens, two bytes an element of "
     "keys and values, four of states."},
    {"budget.decode_seconds", kNumber, "s", "<none>", "> 0, <= 1e15", "S5",
     "Most that a token takes after `context` tokens, by the table `costs`."},
    {"budget.context", kInteger, "tokens", "<none>", ">= 1, <= 1073741824", "S5",
     "Where `cache_bytes` and `decode_seconds` hold."},
    {"budget.costs", kString, "path", "<none>", "", "S5",
     "Seconds of each mixer in a model of this shape and precision on the machine that is meant: what `morph bench "
     "mixers` writes."},

    {"data.text", kStrings, "path", "[]", "", "S7",
     "General text: files (plain text, JSON lines, parquet, arrow), folders or patterns of such, saved datasets, "
     "relative to the spec's folder; `package:jargon-text` is Debian's."},
    {"data.weights", kNumbers, "", "[]", "count any, > 0, <= 1e9", "S29",
     "Shares in which windows are drawn of the entries of `text`, whatever their sum; none: by their tokens."},
    {"data.fields", kStrings, "", R"(["text", "messages"])", "", "S29",
     "Fields of rows: the first that a row has is its text, or a conversation for the chat template."},
    {"data.holdout", kNumber, "", "0.1", ">= 0, < 1", "data_c1",
     "Share of each document, at its end, that no stage trains on: half for selection and probes, half for "
     "evaluation. Of documents with fewer than four such tokens as large a share of whole ones."},
    {"data.separate_documents", kBoolean, "", "false", "", "",
     "Windows of training hold all documents, short ones too, and no position sees another document than its own: "
     "attention "
     "is masked and states are reset between them; so it is where perplexity is measured. false: windows lie inside "
     "documents that are as long, and run over several where none is."},
    {"data.tokenizer", kString, "path", "<the model's folder>", "", "S7", "Folder or file of `tokenizer.json`."},
    {"data.separator", kString, "", R"("\f")", "", "S18", "What divides documents within a file."},

    {"task[].name", kString, "", "required", "", "S8", "The task's name, once in a spec."},
    {"task[].kind", kString, "", "required",
     "passkeys | niah_single | niah_multi_key | niah_multi_value | niah_multi_query | variable_tracking | mqar | "
     "near_keys | induction | two_hop | counting | common_words | frequent_words | jsonl | qa",
     "task_c1",
     "What is hidden and asked; jsonl: your own questions; qa: questions with their paragraphs among others."},
    {"task[].path", kString, "path", "<none>", "", "S30",
     "File of your own questions (jsonl), in rows of `prompt` and `answer` or of `messages`, the last being the "
     "answer; of qa JSON as SQuAD 1 and 2 or HotpotQA have it."},
    {"task[].prompt", kString, "", "\"prompt\"", "", "S30", "The field of a row that asks (jsonl)."},
    {"task[].answer", kString, "", "\"answer\"", "", "S30", "The field of a row that answers (jsonl)."},
    {"task[].space", kString, "", "\"words\"", "words | tokens", "task_c2",
     "Needles in words through the tokenizer, or in token ids for tiny bases."},
    {"task[].length", kIntegers, "tokens", "[512]", ">= 8, <= 16777216", "S9",
     "Lengths that samples have; each batch draws one. In [select] the first task's hold for all tasks."},
    {"task[].needles", kInteger, "", "1", ">= 1, <= 65536", "task_c3",
     "Needles hidden in a sample: chains of variable_tracking and two_hop, marks of counting; words asked for of "
     "common_words and frequent_words, which RULER has 10 and 3 of."},
    {"task[].queries", kInteger, "", "1", ">= 1, <= 65536", "S10",
     "Needles asked for in a sample; of counting: marks whose number is asked."},
    {"task[].hops", kInteger, "", "2", ">= 1, <= 65536", "task_c4",
     "Assignments that a chain of variable_tracking has, needles that a chain of two_hop has."},
    {"task[].keys", kString, "", "\"words\"", "words | numbers | uuid", "task_c5", "What a needle's key looks like."},
    {"task[].key_length", kInteger, "tokens", "2", ">= 1, <= 4096", "task_c8",
     "Tokens of a key of near_keys, and those by which induction asks for a sequence."},
    {"task[].values", kString, "", "\"number\"", "number | words | uuid", "task_c6",
     "What a needle's value looks like."},
    {"task[].value_length", kInteger, "", "<7, in space tokens 1>", ">= 1, <= 65536", "task_c7",
     "Digits, words or tokens of a value."},
    {"task[].repeats", kIntegers, "", "[30, 3]", "count 2, >= 1, <= 65536", "S37",
     "How often each word that is asked for stands in the list of common_words, and how often each other."},
    {"task[].alpha", kNumber, "", "2.0", "> 1, <= 16", "task_c9",
     "Exponent of Zipf's law, by which the words of frequent_words are spread."},
    {"task[].depth", kNumbers, "", "[0.05, 0.95]", "count 2, >= 0, <= 1", "S11",
     "Share of the context before a needle: drawn between the two."},
    {"task[].background", kString, "", "\"text\"", "text | noise | repeat", "S12",
     "What surrounds the needles: general text, random tokens, or one repeated sentence. common_words, frequent_words "
     "and qa have none: all of a sample is the task."},
    {"task[].chat", kBoolean, "", "true", "", "", "Ask through the tokenizer's chat template, where it has one."},
    {"task[].key_tokens", kIntegers, "tokens", "[]", "count 2, >= 0, <= 16777216", "S13",
     "First and last + 1 of the ids that keys are drawn from (space tokens), and the words of common_words and "
     "frequent_words."},
    {"task[].value_tokens", kIntegers, "tokens", "[]", "count 2, >= 0, <= 16777216", "S13",
     "The same for values; of common_words and frequent_words the last asks, of the latter the first is the noise."},
    {"task[].noise_tokens", kIntegers, "tokens", "[]", "count 2, >= 0, <= 16777216", "S13",
     "The same for background `noise`."},

    {"pretrain.tasks", kStrings, "", "[]", "", "S14", "Tasks whose answers are learnt, in turn."},
    {"pretrain.lr", kNumber, "", "0.003", "> 0", "pretrain_c1", "Learning rate of AdamW."},
    {"pretrain.lr_end", kNumber, "", "<lr>", ">= 0", "pretrain_c2", "Learning rate at the end of the schedule."},
    {"pretrain.schedule", kString, "", "\"constant\"", "constant | cosine | linear | warm_flat_cooldown", "pretrain_c3",
     "Course of the learning rate after the warm-up."},
    {"pretrain.warmup", kInteger, "steps", "60", ">= 0, <= 1000000000", "pretrain_c4",
     "Steps in which the learning rate rises."},
    {"pretrain.betas", kNumbers, "", "[0.9, 0.98]", "count 2, >= 0, < 1", "pretrain_c5", "Decays of AdamW's moments."},
    {"pretrain.weight_decay", kNumber, "", "0.05", ">= 0", "pretrain_c6", "Decoupled weight decay."},
    {"pretrain.clip", kNumber, "", "1.0", "> 0", "pretrain_c7", "Largest norm of the whole gradient."},
    {"pretrain.text_weight", kNumber, "", "0.3", ">= 0", "pretrain_c8",
     "Weight of the text's cross-entropy beside the answers'."},
    {"pretrain.checkpoint_every", kInteger, "steps", "50", ">= 1, <= 1000000000", "pretrain_c9",
     "Steps between checkpoints."},
    {"pretrain.log_every", kInteger, "steps", "10", ">= 1, <= 1000000000", "pretrain_c10",
     "Steps between lines of metrics."},

    {"pretrain.base.layers", kInteger, "layers", "required", ">= 1, <= 4096", "base_c1", "Layers."},
    {"pretrain.base.hidden", kInteger, "", "required", ">= 1, <= 131072", "base_c2", "Size of the residual stream."},
    {"pretrain.base.heads", kInteger, "", "required", ">= 1, <= 8192", "base_c3", "Query heads."},
    {"pretrain.base.kv_heads", kInteger, "", "<heads>", ">= 1, <= 8192", "S15", "Key-value heads."},
    {"pretrain.base.head_dim", kInteger, "", "<hidden / heads>", ">= 2, <= 8192", "S15", "Elements of a head."},
    {"pretrain.base.ffn", kInteger, "", "required", ">= 1, <= 1048576", "base_c4",
     "Inner size of the feed-forward network."},
    {"pretrain.base.vocab", kInteger, "tokens", "required", ">= 2, <= 16777216", "base_c5", "Size of the vocabulary."},
    {"pretrain.base.theta", kNumber, "", "10000.0", ">= 1.0001, <= 1e15", "base_c6", "Base of the rotary frequencies."},
    {"pretrain.base.norm_eps", kNumber, "", "1e-5", ">= 1e-20, <= 1", "base_c7", "Epsilon of the RMS norms."},
    {"pretrain.base.max_positions", kInteger, "tokens", "2048", ">= 1, <= 2147483648", "base_c8",
     "Longest context, for config.json."},
    {"pretrain.base.tied", kBoolean, "", "true", "", "", "The head is the embedding's table."},
    {"pretrain.base.embedding_std", kNumber, "", "0.1", "> 0, <= 1000", "base_c9",
     "Standard deviation of the embedding's first values."},
    {"pretrain.base.output_scale", kNumber, "", "0.3", "> 0, <= 1000", "base_c10",
     "Output projections start at this over sqrt(2 layers) of fan-in scale, the other projections at fan-in scale."},

    {"pretrain.phase[].steps_max", kInteger, "steps", "required", ">= 1, <= 1000000000", "phase_c1", "Steps at most."},
    {"pretrain.phase[].batch", kInteger, "sequences", "required", ">= 1, <= 4096", "phase_c2", "Sequences a step."},
    {"pretrain.phase[].length", kInteger, "tokens", "required", ">= 4, <= 16777216", "phase_c3", "Tokens a sequence."},
    {"pretrain.phase[].tasks", kStrings, "", "<pretrain.tasks>", "", "S14",
     "Tasks of this phase; each sample draws one."},
    {"pretrain.phase[].needles", kInteger, "", "<none>", ">= 1, <= 65536", "phase_c4",
     "Needles a sequence, all asked for; none: each task's own, and its queries."},
    {"pretrain.phase[].background", kString, "", "<none>", "text | noise | repeat", "phase_c5",
     "What surrounds the needles; none: each task's own."},
    {"pretrain.phase[].advance_at", kNumber, "", "0.9", "> 0, <= 1", "phase_c6",
     "Accuracy at which the next phase begins, that of the worst task's held-out answers."},

/// What distillation and finetuning have beyond the keys that align has, too.
#define MORPH_TUNING_KEYS(section)                                                                                     \
  {section ".rates",                                                                                                   \
   kStrings,                                                                                                           \
   "",                                                                                                                 \
   "[]",                                                                                                               \
   "",                                                                                                                 \
   "S32",                                                                                                              \
   "Rates of their own: `\"mlp = 0.1\"` gives weights with `mlp` in their names a tenth of `lr`; of several that fit " \
   "the last holds."},                                                                                                 \
      {section ".adapters",                                                                                            \
       kStrings,                                                                                                       \
       "",                                                                                                             \
       "[]",                                                                                                           \
       "",                                                                                                             \
       "S33",                                                                                                          \
       "Parts of the names of frozen matrices (`q_proj`, `mlp`) beside which low-rank adapters are trained, LoRA; at " \
       "the "                                                                                                          \
       "end of the stage they are added to the matrices."},                                                            \
      {section ".adapter_rank", kInteger, "", "16", ">= 1, <= 4096", section "_c22", "Rank of the adapters."},         \
      {section ".lengths",                                                                                             \
       kIntegers,                                                                                                      \
       "tokens",                                                                                                       \
       "[]",                                                                                                           \
       "count any, >= 8, <= 16777216",                                                                                 \
       "S34",                                                                                                          \
       "Lengths of sequences one after another, each for an equal part of the steps, none above `length`; empty: "     \
       "`length` all along."}
#define MORPH_TRAINING_KEYS(section, steps, length, lr, lrEnd, schedule)                                               \
  {section ".steps",                                                                                                   \
   kInteger,                                                                                                           \
   "steps",                                                                                                            \
   steps,                                                                                                              \
   ">= 0, <= 1000000000",                                                                                              \
   section "_c1",                                                                                                      \
   "Steps of the optimizer; 0: no such stage."},                                                                       \
      {section ".batch",                                                                                               \
       kInteger,                                                                                                       \
       "sequences",                                                                                                    \
       "1",                                                                                                            \
       ">= 1, <= 4096",                                                                                                \
       section "_c2",                                                                                                  \
       "Sequences of a batch; a step has `accumulate` times as many."},                                                \
      {section ".length", kInteger, "tokens", length, ">= 8, <= 16777216", section "_c3", "Tokens a sequence."},       \
      {section ".lr", kNumber, "", lr, "> 0", section "_c4", "Learning rate of AdamW after the warm-up."},             \
      {section ".lr_end", kNumber, "", lrEnd, ">= 0", section "_c5", "Learning rate at the last step."},               \
      {section ".warmup",                                                                                              \
       kInteger,                                                                                                       \
       "steps",                                                                                                        \
       "0",                                                                                                            \
       ">= 0, <= 1000000000",                                                                                          \
       section "_c6",                                                                                                  \
       "Steps in which the learning rate rises."},                                                                     \
      {section ".schedule",                                                                                            \
       kString,                                                                                                        \
       "",                                                                                                             \
       schedule,                                                                                                       \
       "cosine | linear | constant | warm_flat_cooldown",                                                              \
       section "_c7",                                                                                                  \
       "Course of the learning rate from `lr` to `lr_end`."},                                                          \
      {section ".betas",                                                                                               \
       kNumbers,                                                                                                       \
       "",                                                                                                             \
       "[0.9, 0.95]",                                                                                                  \
       "count 2, >= 0, < 1",                                                                                           \
       section "_c8",                                                                                                  \
       "Decays of AdamW's moments."},                                                                                  \
      {section ".weight_decay", kNumber, "", "0.0", ">= 0", section "_c9", "Decoupled weight decay."},                 \
      {section ".clip",                                                                                                \
       kNumber,                                                                                                        \
       "",                                                                                                             \
       "1.0",                                                                                                          \
       "> 0",                                                                                                          \
       section "_c10",                                                                                                 \
       "Largest norm of the whole gradient; in align layers have equal parts of it."},                                 \
      {section ".accumulate",                                                                                          \
       kInteger,                                                                                                       \
       "",                                                                                                             \
       "1",                                                                                                            \
       ">= 1, <= 4096",                                                                                                \
       section "_c11",                                                                                                 \
       "Batches whose gradients make one step."},                                                                      \
      {section ".tasks", kStrings, "", "[]", "", "S14", "Tasks whose prompts are mixed into the text, in turn."},      \
      {section ".task_fraction",                                                                                       \
       kNumber,                                                                                                        \
       "",                                                                                                             \
       "0.5",                                                                                                          \
       ">= 0, <= 1",                                                                                                   \
       section "_c12",                                                                                                 \
       "Share of batches that are task prompts, where there are tasks."},                                              \
      {section ".checkpoint_every", kInteger, "steps", "50", ">= 1, <= 1000000000", section "_c13",                    \
       "Steps between checkpoints."},                                                                                  \
      {section ".log_every",                                                                                           \
       kInteger,                                                                                                       \
       "steps",                                                                                                        \
       "10",                                                                                                           \
       ">= 1, <= 1000000000",                                                                                          \
       section "_c14",                                                                                                 \
       "Steps between lines of metrics."}
    MORPH_TRAINING_KEYS("align", "required", "512", "0.001", "1e-5", "\"cosine\""),
    {"align.normalize", kString, "", "\"relative\"", "relative | mean | rows", "align_c15",
     "A layer's squared error over its target's power, over its elements, or over its rows (a squared norm a position, "
     "as FlashMorph's paper writes it). `select.method` layer_mse ranks by this error too."},
    {"align.calibration", kInteger, "", "4", ">= 0, <= 1000000", "align_c16",
     "Batches of the stage's own that give weights their first values, where a mixer's declaration asks for that "
     "(`calibrate`); 0: they start as declared."},

    {"select.method", kString, "", "\"gates+refine\"", "", "S24",
     "The selector, which chooses the layers, with its option, if it has one, after a colon: `greedy:backward`. With "
     "`+refine` at the end exchanges of single layers follow, while that lowers the KL at the answers by more than "
     "noise: at most a forward pass for each sample and exchange tried."},
    {"select.steps", kInteger, "steps", "80", ">= 0, <= 1000000000", "select_c2",
     "Steps of the gates' optimizer (method gates)."},
    {"select.batch", kInteger, "sequences", "1", ">= 1, <= 4096", "select_c3",
     "Sequences of a batch; a step has `accumulate` times as many."},
    {"select.accumulate", kInteger, "", "1", ">= 1, <= 4096", "select_c19",
     "Batches whose gradients make one step (method gates)."},
    {"select.tasks", kStrings, "", "[]", "", "S14", "Tasks whose answers decide, in turn."},
    {"select.task_fraction", kNumber, "", "1.0", "> 0, <= 1", "select_c22",
     "Share of sequences that are task prompts, for all selectors that measure on tasks; the others are windows of "
     "text, as long, of which the last `distill.text_positions` decide."},
    {"select.lr", kNumber, "", "0.05", "> 0", "select_c4", "Learning rate of the gates (Adam)."},
    {"select.lr_end", kNumber, "", "<lr>", ">= 0", "select_c5", "Learning rate at the last step."},
    {"select.warmup", kInteger, "steps", "0", ">= 0, <= 1000000000", "select_c6",
     "Steps in which the learning rate rises."},
    {"select.schedule", kString, "", "\"constant\"", "constant | cosine | linear | warm_flat_cooldown", "select_c7",
     "Course of the learning rate from `lr` to `lr_end`."},
    {"select.betas", kNumbers, "", "[0.9, 0.999]", "count 2, >= 0, < 1", "select_c8", "Decays of Adam's moments."},
    {"select.loss", kString, "", "\"kl\"", "kl | ce | final_hidden | layers", "select_c9",
     "What the gates lower: KL at the answers, the answers' cross-entropy, the final hidden state's error, the "
     "layers'."},
    {"select.target", kString, "", "\"teacher\"", "teacher | local", "S16",
     "Whose stream is compared: the teacher's own, or the same-input full branch (only with loss layers)."},
    {"select.normalize", kString, "", "\"relative\"", "relative | mean | rows", "select_c10",
     "Scale of the errors of losses `final_hidden` and `layers`, as in `align.normalize`."},
    {"select.parametrization", kString, "", "\"clamp\"", "clamp | softmax | sparsemax", "select_c11",
     "Gates moved as they are and put back among the distributions (with two candidates: clamped to [0, 1]), or the "
     "softmax (with two candidates: the sigmoid) or sparsemax of what is trained."},
    {"select.pressure", kString, "", "\"budget\"", "budget | relative | raw", "select_c12",
     "Gates driven to the budget in their sum; or `lambda` times their sum added to the loss, in units of (loss all "
     "linear - loss all full) / layers, or as it is, which is FlashMorph's objective."},
    {"select.lambda", kNumber, "", "0.1", ">= 0", "select_c13", "Strength of the pressures relative and raw."},
    {"select.unit_samples", kInteger, "sequences", "16", ">= 2, <= 1000000", "select_c20",
     "Sequences on which the unit of the pressure is measured; with pressures budget and relative."},
    {"select.anneal", kNumber, "", "0.6", ">= 0, <= 1", "select_c14",
     "Share of the steps over which the target of the sum falls from all layers to the budget; with pressure budget "
     "only."},
    {"select.layers", kIntegers, "layers", "[]", ">= 0, <= 4096", "S25", "Layers that method fixed keeps."},
    {"select.from", kString, "path", "<none>", "", "S25", "A run's selection.json, whose choice method fixed takes."},
    {"select.search_tokens", kInteger, "tokens", "1000000", ">= 1, <= 1000000000000", "select_c15",
     "Tokens that the searches random_search and evolution may take beside the teacher's run, those that choices share "
     "counted for each."},
    {"select.refine_errors", kNumber, "", "3.0", ">= 0", "select_c21",
     "An exchange of `+refine` counts where it lowers the objective by more than so many standard errors of the "
     "difference over the same samples. Of dozens of exchanges a few would pass by chance at 2."},
    {"select.refine_reach", kNumber, "", "0.5", ">= 0", "select_c23",
     "After `gates`, `+refine` tries only choices whose gates sum to at most so much less than those of the gates' own "
     "choice: layers that do the same work hold each other's gates down, so that a small difference says little."},
    {"select.samples", kInteger, "sequences", "64", ">= 2, <= 1000000", "select_c16",
     "Sequences that score layers, choices and exchanges, the same for all."},
    {"select.checkpoint_every", kInteger, "steps", "20", ">= 1, <= 1000000000", "select_c17",
     "Steps between checkpoints."},
    {"select.log_every", kInteger, "steps", "10", ">= 1, <= 1000000000", "select_c18",
     "Steps between lines of metrics."},

    MORPH_TRAINING_KEYS("distill", "required", "512", "0.0003", "1e-5", "\"cosine\""),
    {"distill.train", kString, "", "\"linear\"", "linear | all", "distill_c15",
     "What is trained: the linear branches, or every weight."},
    MORPH_TUNING_KEYS("distill"),
    {"distill.loss", kString, "", "\"kl\"", "kl | reverse_kl", "distill_c20",
     "KL from the teacher's distribution to the hybrid's, or from the hybrid's to the teacher's, by which the hybrid "
     "does "
     "not spread over all that the teacher may say."},
    {"distill.top_tokens", kInteger, "tokens", "0", ">= 0, <= 16777216", "distill_c21",
     "The teacher's likeliest tokens at a position, whose distribution alone is learnt; 0: all."},
    {"distill.streams", kNumber, "", "0", ">= 0", "distill_c24",
     "Weight of a second loss beside the KL: the squared error of the residual stream behind each linear mixer, over "
     "the teacher's power, in the mean over these layers, at the same positions."},
    {"distill.text_weight", kNumber, "", "0", ">= 0", "distill_c25",
     "Weight of the KL on the text that a task's prompt hides its needles in, beside 1 of its answers."},
    {"distill.text_positions", kInteger, "tokens", "128", ">= 1, <= 16777216", "distill_c16",
     "Last positions of a text sequence at which the KL is taken."},
    {"distill.eval_every", kInteger, "steps", "<steps / 4>", ">= 1, <= 1000000000", "distill_c17",
     "Steps between measurements of the KL on held-out samples of each task and on held-out text."},
    {"distill.eval_samples", kInteger, "sequences", "16", ">= 2, <= 1000000", "distill_c18",
     "Held-out sequences of each task, and of text, that it is measured on."},
    {"distill.keep", kString, "", "\"best\"", "best | last", "distill_c19",
     "The weights that are kept: those at which the held-out KL was least, in units of that before the training and in "
     "the mean over tasks and text, where none of these was worse than before by more than its error; or the last "
     "ones."},
    {"distill.patience", kInteger, "measurements", "0", ">= 0, <= 1000000000", "distill_c23",
     "Measurements in a row without a better one after which the training ends; 0: it goes through all steps."},

    MORPH_TRAINING_KEYS("finetune", "0", "1024", "1e-5", "<lr>", "\"constant\""),
    {"finetune.train", kString, "", "\"all\"", "all | linear", "finetune_c15",
     "What is trained: every weight, or the linear branches."},
    MORPH_TUNING_KEYS("finetune"),
    {"finetune.long_documents", kBoolean, "", "false", "", "",
     "Windows of text lie inside one document; an error where none is as long. Set it for true long contexts: false "
     "joins documents that are too short."},
#undef MORPH_TRAINING_KEYS
#undef MORPH_TUNING_KEYS

    {"evaluate.tasks", kStrings, "", "<select.tasks>", "", "S14", "Tasks whose answers are measured."},
    {"evaluate.lengths", kIntegers, "tokens", "<each task's>", ">= 8, <= 16777216", "evaluate_c7",
     "Lengths at which tasks are measured."},
    {"evaluate.depths", kNumbers, "", "[]", ">= 0, <= 1", "evaluate_c1",
     "Depths at which single needles are measured; none: drawn as in training."},
    {"evaluate.samples", kInteger, "", "32", ">= 1, <= 1000000", "evaluate_c2",
     "Samples for a task, length and depth."},
    {"evaluate.generate_samples", kInteger, "", "32", ">= 0, <= 1000000", "evaluate_c8",
     "How many of these samples the model also answers in its own words, token by token; 0: none."},
    {"evaluate.batch", kInteger, "sequences", "1", ">= 1, <= 4096", "evaluate_c3", "Sequences computed at once."},
    {"evaluate.baselines", kStrings, "", "[\"uniform\", \"uniform:middle\"]", "", "S24",
     "Selectors, named as in `select.method`, whose hybrids of the same budget are trained and measured beside the "
     "selected one."},
    {"evaluate.perplexity_tokens", kInteger, "tokens", "16384", ">= 0, <= 1000000000000", "evaluate_c5",
     "Tokens for perplexity, of the text that is for evaluation only; 0: none."},
    {"evaluate.perplexity_length", kInteger, "tokens", "512", ">= 8, <= 16777216", "evaluate_c6",
     "Tokens of one window of it."},

    {"export.format", kString, "", "\"auto\"", "auto | native | remote", "export_c2",
     "`native`: a class of stock transformers loads the folder, an error where none computes the hybrid's function; "
     "`remote`: the folder's own code does; `auto`: native where there is one."},
    {"export.check", kBoolean, "", "true", "", "",
     "Load the folder in stock transformers and compare log-probabilities."},
    {"export.tolerance", kNumber, "", "0.001", "> 0", "export_c1",
     "Largest |difference of log-probabilities| to transformers that passes; what is larger passes too where it is "
     "fp32's "
     "rounding, that is, where both agree in fp64."},

    {"audit.selectors", kStrings, "", "[]", "", "S24",
     "Selectors, named as in `select.method`; `uniform:*` are all its offsets and the middles. The first one is what "
     "the others are held against. `exhaustive` is there wherever all choices are judged: the best of them."},
    {"audit.bases", kStrings, "path", "[]", "", "S26",
     "Hugging Face folders of base models, as in `model.path`; none: that one."},
    {"audit.seeds", kIntegers, "", "<seed>", ">= 0", "S26", "Seeds of alignment, selection and distillation."},
    {"audit.budgets", kIntegers, "layers", "[]", ">= 0, <= 4096", "S26",
     "Layers that keep full attention, those that keep their windows (Gemma, OLMo-3) among them, in place of the "
     "budget's; none: the budget's."},
    {"audit.tasks", kStrings, "", "<evaluate.tasks>", "", "S14",
     "Tasks on whose held-out samples choices are judged: the objective is the mean over them of the KL at the "
     "answers."},
    {"audit.samples", kInteger, "sequences", "64", ">= 2, <= 1000000", "audit_c1",
     "Samples of each of these tasks, the same for all choices."},
    {"audit.text_samples", kInteger, "sequences", "0", ">= 0, <= 1000000", "audit_c2",
     "Windows of held-out text on which they are judged, too, which is no part of the objective."},
    {"audit.most_choices", kInteger, "", "1000", ">= 0, <= 100000", "audit_c3",
     "Every choice that a budget allows is judged where there are at most so many, else those that were chosen."},
    {"audit.distill", kString, "", "\"none\"", "none | chosen | every", "audit_c4",
     "Which choices are distilled and judged again: none, those that a selector chose, or every one."},
    {"audit.confidence", kNumber, "", "0.95", "> 0, < 1", "audit_c5",
     "A selector is better than another where the interval of this confidence of their difference, a paired bootstrap "
     "over seeds and samples, lies on one side of 0."},
    {"audit.resamples", kInteger, "", "10000", ">= 100, <= 1000000", "audit_c6", "Resamples of the bootstrap."},
    {"audit.variant[].name", kString, "", "required", "", "S27", "What the tables call it."},
    {"audit.variant[].settings", kStrings, "", "[]", "", "S27", "Keys of [select] and their values: `select.lr=0.1`."},
};

constexpr Group kGroups[] = {
    {"optimizer", "What every section has that drives an optimizer.", "pretrain, align, select, distill, finetune"},
    {"training", "What the stages that train weights on text and tasks have.", "align, distill, finetune"},
};

constexpr Key kModelInfoKeys[] = {
    {"model_info.architecture", kString, "", "", "", "", "Its `model_type` in config.json."},
    {"model_info.layers", kInteger, "layers", "", ">= 1", "", "Layers."},
    {"model_info.hidden", kInteger, "", "", ">= 1", "", "Size of the residual stream."},
    {"model_info.ffn", kInteger, "", "", ">= 1", "", "Inner size of the feed-forward network."},
    {"model_info.heads", kInteger, "", "", ">= 1", "", "Query heads."},
    {"model_info.kv_heads", kInteger, "", "", ">= 1", "", "Key-value heads."},
    {"model_info.head_dim", kInteger, "", "", ">= 1", "", "Elements of a head."},
    {"model_info.vocab", kInteger, "tokens", "", ">= 1", "", "Size of the vocabulary."},
    {"model_info.max_positions", kInteger, "tokens", "", ">= 0", "", "Longest context, of config.json."},
    {"model_info.norm_eps", kNumber, "", "", ">= 0", "", "Epsilon of the RMS norms."},
    {"model_info.tied", kBoolean, "", "", "", "", "The head is the embedding's table."},
    {"model_info.dtype", kString, "", "", "", "", "Element type of its weights: \"bf16\", \"f32\"."},
    {"model_info.parameters", kInteger, "", "", ">= 0", "", "Elements of all weights."},
    {"model_info.has_weights", kBoolean, "", "", "", "", "The folder holds its weights."},
};

constexpr CrossConstraint kCrossConstraints[] = {
    {"S1", "`version` is 1."},
    {"S2", "Exactly one of `model.path` and `[pretrain]` is given; the folder exists and holds a supported model."},
    {"S3",
     "`linear.backend` and `linear.candidates` name mixers that come with Morph or that a file declares, each once, "
     "with options that they have; `backend` is a linear one."},
    {"S5", "A budget is given: one of `full_layers` and `ratio`, at most the number of layers, those that keep their "
           "windows not counted, or `cache_bytes` or `decode_seconds` with `context`, the last with `costs`; they may "
           "be combined."},
    {"S6", "Layers that are named exist, and some choice satisfies all pins, ties, patterns and budgets together."},
    {"S7", "Files and folders exist."},
    {"S8", "Task names differ, and none is `text`, as tables call general text."},
    {"S9", "A task has at least one length."},
    {"S10", "`queries` is at most `needles`; it is 1 for niah_multi_value and variable_tracking."},
    {"S11", "The first depth is not above the second."},
    {"S12", "Background `text` needs `data.text`; `noise` in token space needs `noise_tokens`; kinds whose samples are "
            "the task throughout have none."},
    {"S13", "Token ranges are given in space `tokens`, rise, and lie within the vocabulary."},
    {"S14",
     "Stages name tasks of the spec; selectors that measure need one; a stage without tasks, or with text between "
     "them, and a selector that measures on text, needs `data.text`."},
    {"S15", "`kv_heads` divides `heads`; `head_dim` is even; without `head_dim`, `heads` divides `hidden`."},
    {"S16", "`select.target` local goes with `select.loss` layers."},
    {"S17", "A warm-up is not longer than its stage."},
    {"S18", "`data.separator` is not empty."},
    {"S19",
     "Each length at which a task is used has room for its needles, its question and its answers, and the task has "
     "as many keys as it needs, and values: counting one a needle, induction so many that a sequence's beginning is "
     "rarely met twice, frequent_words its noise and what asks."},
    {"S20", "A stage has at most 10^15 tokens, and a batch at most 2^31."},
    {"S21",
     "`name` has 1 to 100 letters, digits, `_`, `-` and `.`, which is not the first: it names the run's folder."},
    {"S22",
     "`arch` names an arch of a `.morph` file; what it says is not said again by `model.path`, [linear] or [budget]."},
    {"S23", "`model.device` is `cpu`, `cuda` or `cuda:N`."},
    {"S24", "Selectors are named as `morph selectors` lists them, baselines each once; for `kl:trained` [distill] has "
            "steps and "
            "text."},
    {"S25", "Method fixed has one of `select.layers` and `select.from`."},
    {"S26", "[audit] names each base, seed, budget and selector once, and at least one selector; a base is a model's "
            "folder, and a number of layers is what the budget asks for where budgets are named."},
    {"S27", "A variant has a name of its own, also with `-` for `:`, that does not begin with `uniform`, of letters, "
            "digits, `_`, `-`, `.`, `:` and `+`, and sets keys of [select]."},
    {"S28",
     "near_keys and induction have space `tokens`; two_hop has two `hops` or more, and near_keys two tokens or more as "
     "`key_length`."},
    {"S29", "`data.weights` has a number for each entry of `data.text`, or none; `data.fields` has a field."},
    {"S30",
     "Kinds jsonl and qa have a `path` and are in space `words`; no other kind has a path, and jsonl alone names "
     "fields."},
    {"S31",
     "`model.context` is of a base with `model.path`: no less than the positions that it is made for, and of one "
     "with longrope no more than those that it has factors for."},
    {"S32", "A rate of its own is `PART = FACTOR`: a part of weights' names, without spaces, commas and `=`, and a "
            "number above "
            "0."},
    {"S33", "A part of names that adapters are for has no spaces, commas or `=`."},
    {"S34", "None of a stage's `lengths` is above its `length`."},
    {"S35", "`distill.top_tokens` goes with `distill.loss` kl, and is at most the vocabulary."},
    {"S36",
     "`evaluate.depths` goes with a task whose needles lie at depths: not of kinds common_words, frequent_words, "
     "jsonl and qa alone."},
    {"S37", "`repeats` falls: words that are asked for stand there more often than others."},
    {"S38", "`distill.text_weight` goes with a task in `distill.tasks` that hides its needles in text."},
};

} // namespace

llvm::ArrayRef<Section> morph::spec::getSections() { return kSections; }
llvm::ArrayRef<Key> morph::spec::getKeys() { return kKeys; }
llvm::ArrayRef<CrossConstraint> morph::spec::getCrossConstraints() { return kCrossConstraints; }
llvm::ArrayRef<Group> morph::spec::getGroups() { return kGroups; }
llvm::ArrayRef<Key> morph::spec::getModelInfoKeys() { return kModelInfoKeys; }
