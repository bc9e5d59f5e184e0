// SPDX-License-Identifier: Apache-2.0
// The main job: the stages of a run in order, each skipped where its inputs have not changed, continued where it was
// stopped; and an audit's, which has the same first ones. Nothing in the run directory is used or shown but what was
// made from this run's inputs.

#ifndef MORPH_TOOLS_MORPH_PIPELINE_H
#define MORPH_TOOLS_MORPH_PIPELINE_H

#include "tools/morph/Compiler.h"
#include "tools/morph/Costs.h"
#include "tools/morph/FileHashes.h"
#include "tools/morph/Machine.h"
#include "tools/morph/MemoryLimit.h"
#include "tools/morph/RunDirectory.h"
#include "tools/morph/Selection.h"
#include "tools/morph/StageCache.h"
#include "tools/morph/Workers.h"

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace morph {

/// What the stages are gone through for.
enum class Goal {
  Hybrid,    ///< All of them.
  Selection, ///< Those up to the choice of layers.
  Audit,     ///< Many choices of layers, judged.
};

class Pipeline {
public:
  /// `settings` are those that `run.resolved()` was made with; `spec` is the file; plans are
  /// for the machine of the run. `force` makes notes of the errors of a machine that looks too small. `workers`
  /// do the stages.
  Pipeline(const Toolchain &tools, const RunDirectory &run, Runtime runtime, fs::path spec,
           std::vector<std::string> settings, bool force, Workers &workers)
      : tools_(tools), compiler_(tools, run.machine().target), run_(run), resolved_(run.resolved()),
        runtime_(std::move(runtime)), spec_(std::move(spec)), settings_(std::move(settings)), force_(force),
        workers_(workers), hashes_(run.file("hashes.json")), variants_(variantsOf(resolved_)) {}

  /// The main job, whole or up to the selection.
  Status execute(Goal goal);
  /// What these selectors choose, judged on samples that no selector sees, and every choice that their budgets allow
  /// where those are few; with `audit.distill` again after distillation. What is to be compared, one entry a budget
  /// and state: `budget`, `after`, `measures` (a file of runJudge) and `selections` (files by label), paths from the
  /// run's folder.
  StatusOr<Json> audit(std::vector<Variant> variants);
  /// Writes `hybrid/` of a run whose other stages are there; nothing else is run. An error where a stage that it is
  /// made from is missing or was made from other inputs.
  Status exportOnly();

  /// Folders of the stages that are whole and made from this run's inputs, in the order of the stages.
  const std::vector<std::string> &wholeStages() const { return whole_; }
  /// What each stage took: stage, state (done now, or before), seconds, tokens, flops.
  const std::vector<Json> &stageRecords() const { return records_; }

private:
  /// What a stage does: fills the folder. `key` is what its checkpoints carry.
  using Body = std::function<Status(const fs::path &partial, const std::string &key)>;
  /// How the stages are gone through.
  enum class Mode {
    Look, ///< Only to learn which are whole.
    Run,
  };

  // Pipeline.cpp: the order, and the frame that every stage runs in.
  /// A stage without a title is part of another: it is neither announced nor counted. A key that is not known (nothing)
  /// is that of a stage whose inputs are still to be made; only in mode Look.
  Status runStage(const std::string &folder, const std::string &title, const std::optional<StageKey> &key,
                  const Body &body);
  Status prepare();
  Status preflight();
  /// The error of a machine that is too small, or a note with `force`.
  Status refuse(Status error) const;
  Status checkTasks();
  /// Goes through the stages. Those after the goal's are looked at.
  Status walk(Mode mode);
  Status walkRun();
  bool isWhole(const std::string &folder) const { return keys_.count(folder) != 0; }
  /// Whether all folders of a stage of the estimate are whole.
  bool isStageWhole(const std::string &stage) const;
  /// Writes the files at the top of the run directory that repeat what stages made, from those that are whole now, and
  /// removes those that nothing stands behind.
  Status publish() const;
  size_t countStages() const;

  // Stages.cpp: what each stage is.
  /// A training program, with the options of `spec`, of an IR as the plan `name`, within the memory limit, and beside
  /// it `forward-<name>`: the same loss without gradients, with which stages measure. Where align goes in waves, each
  /// has both. Returns their names.
  StatusOr<std::vector<std::string>> emitTraining(const ResolvedSpec &spec, const std::string &ir,
                                                  const std::string &program, const std::string &name);
  Status compileBase();
  Status compileHybrid(const std::string &variant, const ChoiceSpace &space, const Choice &choice);
  /// Distils the models with one layer, or tied group, full, for selectors that ask for that (distilsAlone).
  Status distillAlone(const ChoiceSpace &space);
  Status data();
  Status pretrain();
  Status align();
  Status select(const Variant &variant);
  /// The variants whose selectors measure nothing.
  Status selectUnmeasured();
  Status train(const std::string &stage, const std::string &variant);
  Status evaluate(const std::string &model, const std::string &after);
  Status exportHybrid();
  Status checkHybrid();

  // AuditStages.cpp: what an audit does after align.
  /// Choices of one budget.
  struct AuditedBudget {
    int64_t budget = 0;
    ResolvedSpec spec;
    std::map<std::string, std::string> selections; ///< Files in the run's folder, by the selectors' labels.
    std::vector<Choice> choices;                   ///< Chosen, or all that there are.
    std::set<Choice> chosen;
    bool complete = false;
  };
  Status walkAudit();
  /// Judges these choices, with weights of stage distill of `hybrid` (empty: none).
  Status judge(const AuditedBudget &budget, const std::vector<Choice> &choices, const std::string &hybrid);
  /// Distils choices of a budget, and judges each.
  Status distillChoices(const AuditedBudget &budget);
  /// One file of those of all choices.
  Status joinJudged(const AuditedBudget &budget);
  std::vector<Choice> toDistill(const AuditedBudget &budget) const;
  /// As isStageWhole, of stages judge and distill.
  bool isAuditWhole(const std::string &stage) const;

  /// The section of stage distill or finetune.
  const TrainingSpec &trainingSection(const std::string &stage) const;
  /// Whether a stage of training has anything to train: with `train` linear, some layer must have linear attention.
  bool trains(const std::string &stage, bool hasLinear) const;
  /// What a variant's selection chose.
  StatusOr<Choice> choiceOf(const Variant &variant) const;
  fs::path ir(const std::string &name) const { return run_.file("ir/" + name + ".mlir"); }
  fs::path planFile(const std::string &name) const { return run_.file("plans/" + name + ".json"); }
  /// Folder of the stage that makes a variant's selection.
  std::string selectionStage(const std::string &variant) const;
  fs::path selectionFile(const std::string &variant) const;
  /// Folder of the base model: the spec's, or the one that stage pretrain made.
  fs::path baseFolder() const;
  /// The base checkpoint and what overrides it in a variant after its last stage of training so far.
  std::vector<fs::path> weights(const std::string &variant) const;
  /// Where the variants that are distilled keep the teacher's results for each other, until the last one is through.
  fs::path teacherFolder() const { return run_.file("distill/teacher"); }
  /// Where selectors keep the scores of choices for each other, until all have chosen.
  fs::path choicesFolder() const { return run_.file("choices"); }
  /// What tells the stage select of a variant to use it.
  StatusOr<std::vector<std::string>> choicesArguments(const Variant &variant);
  /// What tells the stage distill of a variant, one of `trained_`, to use it.
  StatusOr<std::vector<std::string>> teacherArguments(const std::string &variant);
  /// A call of morph-run for a stage into `out`.
  StatusOr<Command> runtimeCommand(const std::string &stage, const fs::path &out, const std::string &key,
                                   const std::string &variant,
                                   const std::vector<std::pair<std::string, std::string>> &plans,
                                   const std::vector<fs::path> &weights, const fs::path &spec) const;
  /// Runs such a call in all processes.
  Status runWorkers(const Command &command);
  /// What a stage's numbers depend on. The seed goes into every key.
  struct Inputs {
    std::vector<std::string> sections; ///< Of the resolved spec, without what changes no number.
    std::vector<std::string> plans;    ///< The compiler's part in the numbers: its programs are in no key.
    std::vector<std::string> stages;   ///< Folders; those that this run does not have are left out.
    bool base = false;                 ///< The files of the base model that the spec names.
    bool runtime = false;              ///< morph-run as a program.
    bool arithmetic = false;           ///< What decides the bits of products: LibTorch, threads, instructions.
    std::vector<fs::path> files;       ///< Texts, tokenizers, programs.
    std::vector<std::string> scripts;  ///< Below tools/python.
    std::vector<std::string> packages; ///< Of the Python environment.
  };
  /// Nothing where a stage among the inputs is still to be made.
  StatusOr<std::optional<StageKey>> stageKey(const Inputs &inputs) { return stageKey(inputs, resolved_); }
  StatusOr<std::optional<StageKey>> stageKey(const Inputs &inputs, const ResolvedSpec &spec);

  Toolchain tools_;
  Compiler compiler_;
  const RunDirectory &run_;
  ResolvedSpec resolved_;
  Runtime runtime_;
  fs::path spec_;
  std::vector<std::string> settings_;
  bool force_;
  Workers &workers_;
  FileHashes hashes_;
  std::vector<Variant> variants_;
  Goal goal_ = Goal::Hybrid;
  Mode mode_ = Mode::Look;
  std::map<std::string, std::string> keys_; ///< Of the stages that are whole, by folder.
  std::vector<std::string> whole_;          ///< Their folders, in the order of the stages.
  /// Folders of the stages that are not, and what is wrong with what lies there.
  std::map<std::string, std::string> missing_;
  std::vector<std::string> waves_;   ///< Plans of align: "align", or one a wave.
  bool calibrates_ = false;          ///< Whether align has a plan `calibrate`.
  std::set<std::string> sharded_;    ///< Stages whose frozen weights fit no other way than divided among the processes.
  std::set<std::string> compiled_;   ///< Variants whose hybrid is compiled.
  std::vector<std::string> trained_; ///< Hybrids that share the teacher's results in distillation.
  std::vector<AuditedBudget> audited_; ///< By budget, what an audit has chosen.
  std::vector<Json> records_;
  size_t stages_ = 0;
};

} // namespace morph

#endif // MORPH_TOOLS_MORPH_PIPELINE_H
