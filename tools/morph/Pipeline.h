// SPDX-License-Identifier: Apache-2.0
// The main job: the stages of a run in order, each skipped where its inputs have not changed, continued where it was
// stopped.

#ifndef MORPH_TOOLS_MORPH_PIPELINE_H
#define MORPH_TOOLS_MORPH_PIPELINE_H

#include "tools/morph/Compiler.h"
#include "tools/morph/Costs.h"
#include "tools/morph/RunDirectory.h"
#include "tools/morph/StageCache.h"

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace morph {

/// Stops of the pipeline.
enum class Until { End, Select };

class Pipeline {
public:
  /// `settings` are those that `run.resolved()` was made with; `spec` is the file. With `force` a machine that looks
  /// too small is noted, not refused.
  Pipeline(const Toolchain &tools, const RunDirectory &run, fs::path spec, std::vector<std::string> settings,
           bool force = false)
      : tools_(tools), compiler_(tools), run_(run), resolved_(run.resolved()), spec_(std::move(spec)),
        settings_(std::move(settings)), force_(force) {}

  /// Everything up to `until`.
  Status execute(Until until);
  /// Writes `hybrid/` of a run whose other stages are there; nothing else is run.
  Status exportOnly();

  /// What each stage took: stage, state (done now, or before), seconds, tokens, flops.
  const std::vector<Json> &stageRecords() const { return records_; }

private:
  /// What a stage does: fills the folder.
  using Body = std::function<Status(const fs::path &partial)>;

  // Pipeline.cpp: the order, and the frame that every stage runs in.
  /// A stage without a title is part of another: it is neither announced nor counted.
  Status runStage(const std::string &folder, const std::string &title, const StageKey &key, const Body &body);
  Status prepare();
  Status preflight();
  /// The error of a machine that is too small, or a note with `force`.
  Status refuse(const std::string &message, const std::string &hint) const;
  Status checkTasks();
  /// Whether all folders of a stage of the estimate are whole.
  bool isWhole(const std::string &stage) const;
  Status mergeEvaluation();
  size_t countStages(Until until) const;

  // Stages.cpp: what each stage is.
  Status compileBase();
  Status compileHybrid(const std::string &variant);
  Status data();
  Status pretrain();
  Status align();
  Status select(const std::string &variant);
  Status train(const std::string &stage, const std::string &variant);
  Status evaluate(const std::string &model, const std::string &after);
  Status exportHybrid();

  /// The section of stage distill or finetune.
  const TrainingSpec &trainingSection(const std::string &stage) const;
  std::vector<std::string> variants() const;
  /// Whether a stage of training has anything to train: with `train` linear, some layer must have linear attention.
  bool trains(const std::string &stage, bool hasLinear) const;
  /// Whether a variant's selection leaves a layer to linear attention.
  StatusOr<bool> hasLinear(const std::string &variant) const;
  fs::path ir(const std::string &name) const { return run_.file("ir/" + name + ".mlir"); }
  fs::path planFile(const std::string &name) const { return run_.file("plans/" + name + ".json"); }
  fs::path selectionFile(const std::string &variant) const;
  /// Folder of the base model: the spec's, or the one that stage pretrain made.
  fs::path baseFolder() const;
  /// The base checkpoint and what overrides it in a variant after its last stage of training so far.
  std::vector<fs::path> weights(const std::string &variant) const;
  /// A call of morph-run for a stage into `out`.
  StatusOr<Command> runtimeCommand(const std::string &stage, const fs::path &out, const std::string &variant,
                                   const std::vector<std::pair<std::string, std::string>> &plans,
                                   const std::vector<fs::path> &weights, const fs::path &spec) const;
  /// The hash of the base model's files, kept beside their sizes and times.
  StatusOr<std::string> modelHash();
  StatusOr<StageKey> stageKey(const std::string &folder, const std::vector<std::string> &sections,
                              const std::vector<std::string> &plans, const std::vector<std::string> &inputs);

  Toolchain tools_;
  Compiler compiler_;
  const RunDirectory &run_;
  ResolvedSpec resolved_;
  fs::path spec_;
  std::vector<std::string> settings_;
  bool force_;
  std::map<std::string, std::string> keys_; ///< Of the stages that are whole, by folder.
  std::vector<Json> records_;
  std::vector<std::string> evaluated_; ///< Folders of evaluations, in the order of the table.
  size_t stages_ = 0;
};

} // namespace morph

#endif // MORPH_TOOLS_MORPH_PIPELINE_H
