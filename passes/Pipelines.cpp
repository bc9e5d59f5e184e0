// SPDX-License-Identifier: Apache-2.0
// Pipelines of passes.

#include "passes/Pipelines.h"

#include "passes/Passes.h"

#include "mlir/Pass/PassOptions.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"

#include "llvm/ADT/StringExtras.h"

using namespace mlir;

namespace morph {

static constexpr StringRef kPrograms[] = {"align",    "gates", "distill", "finetune",
                                          "pretrain", "score", "logits",  "decode"};

ArrayRef<StringRef> programNames() { return kPrograms; }

static llvm::Error makeError(const Twine &message) {
  return llvm::createStringError(llvm::inconvertibleErrorCode(), message);
}

namespace {

/// One key of program options: where it goes (a text or a flag), which programs have it, and its values.
struct OptionRule {
  StringRef key;
  std::string ProgramOptions::*text;
  bool ProgramOptions::*flag;
  SmallVector<StringRef> programs;
  SmallVector<StringRef> values;
};

} // namespace

llvm::Expected<ProgramOptions> parseProgramOptions(StringRef program, StringRef text) {
  const OptionRule rules[] = {
      {"loss", &ProgramOptions::loss, nullptr, {"gates"}, {"kl", "ce", "final_hidden", "layers"}},
      {"target", &ProgramOptions::target, nullptr, {"gates"}, {"teacher", "local"}},
      {"normalize", &ProgramOptions::normalize, nullptr, {"align", "gates"}, {"relative", "mean", "rows"}},
      {"train", &ProgramOptions::train, nullptr, {"distill", "finetune"}, {"linear", "all"}},
      {"kl", nullptr, &ProgramOptions::kl, {"score"}, {"true", "false"}},
      {"gradients",
       nullptr,
       &ProgramOptions::gradients,
       {"align", "gates", "distill", "finetune", "pretrain"},
       {"true", "false"}},
      {"kernels", nullptr, &ProgramOptions::kernels, SmallVector<StringRef>(programNames()), {"true", "false"}},
      {"precision", &ProgramOptions::precision, nullptr, SmallVector<StringRef>(programNames()), {"fp32", "bf16"}},
  };
  if (!llvm::is_contained(kPrograms, program))
    return makeError("unknown program '" + program + "', expected one of " + llvm::join(programNames(), ", "));
  ProgramOptions options;
  options.program = program.str();
  SmallVector<StringRef> entries;
  text.split(entries, ',', /*MaxSplit=*/-1, /*KeepEmpty=*/false);
  for (StringRef entry : entries) {
    StringRef key, value; // Not a structured binding, which C++17 does not let lambdas capture.
    std::tie(key, value) = entry.trim().split('=');
    const OptionRule *rule = llvm::find_if(rules, [&](const OptionRule &rule) { return rule.key == key; });
    if (rule == std::end(rules) || !llvm::is_contained(rule->programs, program))
      return makeError("program '" + program + "' has no option '" + key + "'");
    if (!llvm::is_contained(rule->values, value))
      return makeError("option '" + key + "' of program '" + program + "' is '" + value + "', expected one of " +
                       llvm::join(rule->values, ", "));
    if (rule->text)
      options.*rule->text = value.str();
    else
      options.*rule->flag = value == "true";
  }
  if (options.target == "local" && options.loss != "layers")
    return makeError("option 'target' of program 'gates' can be 'local' only where 'loss' is 'layers', but it is '" +
                     options.loss + "'");
  return options;
}

static std::unique_ptr<Pass> createBuilder(const ProgramOptions &options) {
  if (options.program == "align")
    return createBuildAlignPass({options.normalize});
  if (options.program == "gates")
    return createBuildGatesPass({options.loss, options.target, options.normalize});
  if (options.program == "distill")
    return createBuildDistillPass({options.train.empty() ? "linear" : options.train});
  if (options.program == "finetune")
    return createBuildFinetunePass({options.train.empty() ? "all" : options.train});
  if (options.program == "pretrain")
    return createBuildPretrainPass();
  if (options.program == "score")
    return createBuildScorePass({options.kl});
  if (options.program == "logits")
    return createBuildLogitsPass();
  assert(options.program == "decode" && "unknown program");
  return createBuildDecodePass();
}

/// Merges what is computed twice and drops what nobody reads, in the model's functions.
static void addCleanup(OpPassManager &manager) {
  manager.addPass(createCanonicalizerPass());
  manager.addPass(createCSEPass());
}

void addProgramPipeline(OpPassManager &manager, const ProgramOptions &options) {
  // Builders take it that every layer is decided once: layers name losses and caches.
  manager.addNestedPass<ModelOp>(createVerifyPhasePass());
  manager.addNestedPass<ModelOp>(createBuilder(options));
  manager.addNestedPass<ModelOp>(createExpandMixersPass());
  // Before differentiation: what is not needed gets no gradient, and a teacher and a student share their common part.
  manager.addNestedPass<ModelOp>(createDemandRowsPass());
  addCleanup(manager);
  if (options.gradients) {
    DifferentiatePassOptions differentiate;
    differentiate.program = options.program;
    manager.addNestedPass<ModelOp>(createDifferentiatePass(differentiate));
    addCleanup(manager);
  }
  manager.addNestedPass<ModelOp>(createAssignPrecisionPass({options.precision}));
  if (options.kernels)
    manager.addNestedPass<ModelOp>(createFormKernelsPass({options.program}));
}

namespace {

struct SearchPipelineOptions : public PassPipelineOptions<SearchPipelineOptions> {
  ListOption<std::string> candidates{*this, "candidates", llvm::cl::desc("Kinds of the candidates")};
  ListOption<std::string> backendOptions{*this, "options", llvm::cl::desc("Parameters of the candidates, key=value")};
  Option<int64_t> window{*this, "window", llvm::cl::desc("Positions that a sliding_window candidate sees"),
                         llvm::cl::init(0)};
};

struct CommitPipelineOptions : public PassPipelineOptions<CommitPipelineOptions> {
  Option<std::string> selection{*this, "selection", llvm::cl::desc("JSON file with kept layers or scores"),
                                llvm::cl::init("")};
  Option<int64_t> budget{*this, "budget", llvm::cl::desc("Layers to keep by their scores"), llvm::cl::init(-1)};
  Option<int64_t> uniform{*this, "uniform", llvm::cl::desc("Keep this many layers at even distances"),
                          llvm::cl::init(-1)};
};

struct ProgramPipelineOptions : public PassPipelineOptions<ProgramPipelineOptions> {
  Option<std::string> program{*this, "program", llvm::cl::desc("Name of the program"), llvm::cl::init("")};
  ListOption<std::string> options{*this, "options", llvm::cl::desc("Options of the program, key=value")};
};

/// Registers a pipeline whose options can be wrong: `add` reports by the error handler.
template <typename Options>
void registerChecked(StringRef name, StringRef description,
                     LogicalResult (*add)(OpPassManager &, const Options &,
                                          function_ref<LogicalResult(const Twine &)>)) {
  registerPassPipeline(
      name, description,
      [add](OpPassManager &manager, StringRef text, function_ref<LogicalResult(const Twine &)> errorHandler) {
        Options options;
        if (failed(options.parseFromString(text)))
          return failure();
        return add(manager, options, errorHandler);
      },
      [](function_ref<void(const mlir::detail::PassOptions &)> handler) { handler(Options()); });
}

LogicalResult addSearch(OpPassManager &manager, const SearchPipelineOptions &options,
                        function_ref<LogicalResult(const Twine &)>) {
  PairBranchesPassOptions pair;
  std::vector<std::string> candidates(options.candidates.begin(), options.candidates.end());
  std::vector<std::string> backendOptions(options.backendOptions.begin(), options.backendOptions.end());
  pair.candidates = candidates;
  pair.backendOptions = backendOptions;
  pair.window = options.window;
  manager.addNestedPass<ModelOp>(createVerifyPhasePass());
  manager.addNestedPass<ModelOp>(createPairBranchesPass(pair));
  manager.addNestedPass<ModelOp>(createVerifyPhasePass());
  manager.addNestedPass<ModelOp>(createRelaxGatesPass());
  manager.addNestedPass<ModelOp>(createVerifyPhasePass());
  return success();
}

LogicalResult addCommit(OpPassManager &manager, const CommitPipelineOptions &options,
                        function_ref<LogicalResult(const Twine &)>) {
  DiscretizePassOptions discretize;
  discretize.selection = options.selection;
  discretize.budget = options.budget;
  discretize.uniform = options.uniform;
  manager.addNestedPass<ModelOp>(createVerifyPhasePass());
  manager.addNestedPass<ModelOp>(createDiscretizePass(discretize));
  manager.addNestedPass<ModelOp>(createVerifyPhasePass());
  return success();
}

LogicalResult addProgram(OpPassManager &manager, const ProgramPipelineOptions &options,
                         function_ref<LogicalResult(const Twine &)> errorHandler) {
  llvm::Expected<ProgramOptions> parsed =
      parseProgramOptions(options.program, llvm::join(options.options.begin(), options.options.end(), ","));
  if (!parsed)
    return errorHandler(llvm::toString(parsed.takeError()));
  addProgramPipeline(manager, *parsed);
  return success();
}

} // namespace

void registerPipelines() {
  registerChecked<SearchPipelineOptions>(
      "morph-search-pipeline", "Pair every layer's full attention with candidates and relax the choices by gates",
      addSearch);
  registerChecked<CommitPipelineOptions>("morph-commit-pipeline", "Leave one token mixer a layer, as a selection says",
                                         addCommit);
  registerChecked<ProgramPipelineOptions>(
      "morph-program-pipeline", "Build a program in primitive ops with its gradients, ready to be emitted", addProgram);
}

} // namespace morph
