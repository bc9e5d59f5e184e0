// SPDX-License-Identifier: Apache-2.0
// The stages of a run. Each reads its section of the spec, runs, and leaves its files in `context.out`.

#ifndef MORPH_RUNTIME_TRAIN_STAGES_H
#define MORPH_RUNTIME_TRAIN_STAGES_H

#include "runtime/train/StageContext.h"

namespace morph {

/// Errors of the stages' tasks, lengths and selectors that would otherwise be found when the stage is reached. Reads
/// `DIR/data`.
Status checkTasks(const StageContext &context);

/// Trains a base model from its initial values. Section `pretrain`: a curriculum of `phase`s, each left when the
/// accuracy on held-out samples reaches its `advance_at` (1: never) or its `steps_max` are through. The learning rate
/// follows the schedule within the last phase and is constant before it. Plans: `pretrain`; `score` (of the base), with
/// which the accuracy is measured. Writes model.safetensors (bf16) and stats.json.
StatusOr<StageOutcome> runPretrain(const StageContext &context);

/// Trains every layer's linear branches on the teacher's hidden states. Plans `align`, `align-forward`; or those of
/// waves of layers, `align-1`, `align-1-forward`, `align-2`, ..., which are gone through one after another on the same
/// batches: the losses of layers are independent, and each layer's gradients are clipped by themselves, so that the
/// branches are those of one wave, bit for bit. Before, the plan `calibrate`, where there is one, gives weights their
/// first values (Calibrate.h). Writes branches.safetensors (fp32) and align.json with each layer's
/// loss on held-out data.
StatusOr<StageOutcome> runAlign(const StageContext &context);

/// Chooses the layers that keep full attention with the selector that `select.method` names. Plans: see select/*.cpp.
/// Writes selection.json.
StatusOr<StageOutcome> runSelect(const StageContext &context);

struct JudgeOptions {
  /// A file: {"choices": [[0, 1, ...], ...], "complete": true}, a candidate's number a layer, and whether these are all
  /// that there are.
  std::string choices;
};
/// Judges choices of layers on `audit.samples` held-out samples (Split::Evaluation) of each of `audit.tasks`, and on
/// text. Plans `score` (relaxed, with kl) and `logits`, of the base alone. Writes judged.json: the choices as names of
/// candidates, whether they are all, and of each, task by task, the samples' KL to the teacher at the answers in nats
/// (`kl`) and the share of the answers' tokens that are most likely (`correct`); the teacher's own share; and what
/// judging took: on the tasks (`cost`, of it the teacher's run `teacher_cost`) and on text (`text_cost`).
StatusOr<StageOutcome> runJudge(const StageContext &context, const JudgeOptions &options);

/// KL from the teacher to the hybrid. Plans `distill`, `distill-forward`. Writes weights.safetensors (fp32) and
/// distill.json with the KL on held-out tasks and text in the course of the training, before it, and of the weights
/// that are kept; warns where it rose beyond the noise of the batches, which are the same each time.
StatusOr<StageOutcome> runDistill(const StageContext &context);

/// Next-token cross-entropy. Plan `finetune`. Writes weights.safetensors and finetune.json.
StatusOr<StageOutcome> runFinetune(const StageContext &context);

struct EvaluateOptions {
  std::string modelName; ///< teacher | uniform | selected: the rows' `model`.
  std::string after;     ///< selection | distill | finetune: the rows' `after`.
};
/// Answers by task, length and depth, and perplexity, on samples and text that no other stage sees (Split::Evaluation).
/// Plans `score` and `decode`. Writes rows.json: a list of rows with model, after, task, length, depth (null: drawn),
/// answers_per_sample, shared (what samples have in common with those of training: keys, values, wording) and two
/// members, `teacher_forced` (every answer token predicted with the true tokens before it) and `generated` (answers are
/// the model's own greedy tokens, in the sample that they stand in), each with samples, answers (share with every token
/// right), interval (95 %, estimateShare) and by_sample (each sample's share); `teacher_forced` also has tokens (share
/// that is right) and cross_entropy (nats an answer token), `generated` has written (the answers' ids by sample). Where
/// a sample has one answer the two shares agree but for rounding: a greedy answer is right exactly if each of its
/// tokens is, given those before. The row of task "text" has samples (windows), cross_entropy, its interval,
/// perplexity, tokens and by_sample. Finished parts survive an interruption.
StatusOr<StageOutcome> runEvaluate(const StageContext &context, const EvaluateOptions &options);

} // namespace morph

#endif // MORPH_RUNTIME_TRAIN_STAGES_H
