// SPDX-License-Identifier: Apache-2.0
// Pipelines of passes.

#include "passes/Pipelines.h"

#include "passes/Passes.h"

#include "mlir/Pass/PassOptions.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"

#include "llvm/ADT/StringExtras.h"

#include <functional>

using namespace mlir;

namespace morph {

static constexpr StringRef kPrograms[] = {"calibrate", "align", "gates",  "distill", "finetune",
                                          "pretrain",  "score", "logits", "decode",  "read"};
static constexpr StringRef kTraining[] = {"align", "gates", "distill", "finetune", "pretrain"};

ArrayRef<StringRef> programNames() { return kPrograms; }

namespace {

/// One key of program options: which programs have it, what its values are, and how one is read; false where it is
/// none.
struct OptionRule {
  StringRef key;
  SmallVector<StringRef> programs;
  std::string expected;
  std::function<bool(ProgramOptions &, StringRef)> read;
};

OptionRule makeChoice(StringRef key, std::string ProgramOptions::*member, SmallVector<StringRef> programs,
                      SmallVector<StringRef> values) {
  return {key, std::move(programs), "one of " + llvm::join(values, ", "),
          [=](ProgramOptions &options, StringRef value) {
            options.*member = value.str();
            return llvm::is_contained(values, value);
          }};
}

OptionRule makeFlag(StringRef key, bool ProgramOptions::*member, SmallVector<StringRef> programs) {
  return {key, std::move(programs), "one of true, false", [=](ProgramOptions &options, StringRef value) {
            options.*member = value == "true";
            return value == "true" || value == "false";
          }};
}

template <typename Member>
OptionRule makeNumber(StringRef key, Member ProgramOptions::*member, SmallVector<StringRef> programs, int64_t least) {
  return {key, std::move(programs), "a number of " + std::to_string(least) + " or more",
          [=](ProgramOptions &options, StringRef value) {
            int64_t number = 0;
            bool isNumber = !value.getAsInteger(10, number) && number >= least;
            options.*member = number;
            return isNumber;
          }};
}

OptionRule makeWords(StringRef key, std::vector<std::string> ProgramOptions::*member, SmallVector<StringRef> programs) {
  return {key, std::move(programs), "words with spaces between", [=](ProgramOptions &options, StringRef value) {
            SmallVector<StringRef> words;
            value.split(words, ' ', /*MaxSplit=*/-1, /*KeepEmpty=*/false);
            (options.*member).assign(words.begin(), words.end());
            return !words.empty();
          }};
}

/// What range it is of is the pass's to say.
OptionRule makeReal(StringRef key, double ProgramOptions::*member, SmallVector<StringRef> programs) {
  return {key, std::move(programs), "a number",
          [=](ProgramOptions &options, StringRef value) { return !value.getAsDouble(options.*member); }};
}

} // namespace

llvm::Expected<ProgramOptions> parseProgramOptions(StringRef program, StringRef text) {
  const SmallVector<StringRef> all(programNames());
  const SmallVector<StringRef> training(ArrayRef<StringRef>{kTraining});
  SmallVector<StringRef> ofWindows(training);
  ofWindows.append({"score", "logits"});
  const OptionRule rules[] = {
      makeChoice("loss", &ProgramOptions::loss, {"gates"}, {"kl", "ce", "final_hidden", "layers"}),
      makeChoice("target", &ProgramOptions::target, {"gates"}, {"teacher", "local"}),
      makeChoice("normalize", &ProgramOptions::normalize, {"align", "gates"}, {"relative", "mean", "rows"}),
      {"layers",
       {"align"},
       "FIRST-LAST",
       [](ProgramOptions &options, StringRef value) {
         options.layers = value.str();
         return value.contains('-');
       }},
      makeChoice("train", &ProgramOptions::train, {"distill", "finetune"}, {"linear", "all"}),
      makeFlag("kl", &ProgramOptions::kl, {"score"}),
      makeFlag("positions", &ProgramOptions::positions, {"decode"}),
      makeFlag("gradients", &ProgramOptions::gradients, training),
      makeFlag("separate", &ProgramOptions::separate, ofWindows),
      makeReal("clip", &ProgramOptions::clip, training),
      makeChoice("clip_by", &ProgramOptions::clipBy, training, {"all", "layer"}),
      makeReal("beta1", &ProgramOptions::beta1, training),
      makeReal("beta2", &ProgramOptions::beta2, training),
      makeReal("weight_decay", &ProgramOptions::weightDecay, training),
      makeWords("rates", &ProgramOptions::rates, {"distill", "finetune"}),
      makeWords("adapters", &ProgramOptions::adapters, {"distill", "finetune"}),
      makeNumber("adapter_rank", &ProgramOptions::adapterRank, {"distill", "finetune"}, 1),
      makeChoice("divergence", &ProgramOptions::divergence, {"distill"}, {"kl", "reverse_kl"}),
      makeNumber("top", &ProgramOptions::top, {"distill"}, 0),
      makeReal("streams", &ProgramOptions::streams, {"distill"}),
      makeFlag("kernels", &ProgramOptions::kernels, all),
      makeChoice("precision", &ProgramOptions::precision, all, {"fp32", "bf16"}),
      makeNumber("limit", &ProgramOptions::limit, training, 0),
      makeNumber("threads", &ProgramOptions::threads, training, 1),
      {"sizes", training, "NAME=NUMBER with spaces between",
       [](ProgramOptions &options, StringRef value) {
         SmallVector<StringRef> entries;
         value.split(entries, ' ', /*MaxSplit=*/-1, /*KeepEmpty=*/false);
         options.sizes.assign(entries.begin(), entries.end());
         return llvm::all_of(entries, [](StringRef entry) { return entry.contains('='); });
       }},
  };
  if (!llvm::is_contained(kPrograms, program))
    return llvm::createStringError("unknown program '" + program + "', expected one of " +
                                   llvm::join(programNames(), ", "));
  ProgramOptions options;
  options.program = program.str();
  SmallVector<StringRef> entries;
  text.split(entries, ',', /*MaxSplit=*/-1, /*KeepEmpty=*/false);
  for (StringRef entry : entries) {
    StringRef key, value; // Not a structured binding, which C++17 does not let lambdas capture.
    std::tie(key, value) = entry.trim().split('=');
    const OptionRule *rule = llvm::find_if(rules, [&](const OptionRule &rule) { return rule.key == key; });
    if (rule == std::end(rules) || !llvm::is_contained(rule->programs, program))
      return llvm::createStringError("program '" + program + "' has no option '" + key + "'");
    if (!rule->read(options, value))
      return llvm::createStringError("option '" + key + "' of program '" + program + "' is '" + value + "', expected " +
                                     rule->expected);
  }
  if (options.target == "local" && options.loss != "layers")
    return llvm::createStringError(
        "option 'target' of program 'gates' can be 'local' only where 'loss' is 'layers', but it is '" + options.loss +
        "'");
  return options;
}

static std::unique_ptr<Pass> createBuilder(const ProgramOptions &options) {
  if (options.program == "calibrate")
    return createBuildCalibratePass();
  if (options.program == "align")
    return createBuildAlignPass({options.layers, options.normalize});
  if (options.program == "gates")
    return createBuildGatesPass({options.loss, options.target, options.normalize});
  if (options.program == "distill") {
    BuildDistillPassOptions distill;
    distill.train = options.train.empty() ? "linear" : options.train;
    distill.loss = options.divergence;
    distill.top = options.top;
    // What is measured is the divergence alone.
    distill.streams = options.gradients ? options.streams : 0;
    distill.adapters = options.adapters;
    return createBuildDistillPass(distill);
  }
  if (options.program == "finetune")
    return createBuildFinetunePass({options.train.empty() ? "all" : options.train});
  if (options.program == "pretrain")
    return createBuildPretrainPass();
  if (options.program == "score")
    return createBuildScorePass({options.kl});
  if (options.program == "logits")
    return createBuildLogitsPass();
  if (options.program == "decode")
    return createBuildDecodePass({options.positions});
  assert(options.program == "read" && "unknown program");
  return createBuildReadPass();
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
  if (!options.adapters.empty()) {
    AddAdaptersPassOptions adapters;
    adapters.program = options.program;
    adapters.weights = options.adapters;
    adapters.rank = options.adapterRank;
    manager.addNestedPass<ModelOp>(createAddAdaptersPass(adapters));
  }
  if (options.separate)
    manager.addNestedPass<ModelOp>(createSeparateDocumentsPass({options.program}));
  // Before differentiation: what is not needed gets no gradient, and a teacher and a student share their common part.
  manager.addNestedPass<ModelOp>(createDemandRowsPass());
  addCleanup(manager);
  const bool hasGradients = options.gradients && llvm::is_contained(kTraining, options.program);
  if (hasGradients) {
    DifferentiatePassOptions differentiate;
    differentiate.program = options.program;
    manager.addNestedPass<ModelOp>(createDifferentiatePass(differentiate));
    AccumulateGradientsPassOptions accumulate;
    accumulate.program = options.program;
    manager.addNestedPass<ModelOp>(createAccumulateGradientsPass(accumulate));
    BuildUpdatePassOptions update;
    update.program = options.program;
    update.clip = options.clip;
    update.clipBy = options.clipBy;
    update.beta1 = options.beta1;
    update.beta2 = options.beta2;
    update.weightDecay = options.weightDecay;
    update.rates = options.rates;
    manager.addNestedPass<ModelOp>(createBuildUpdatePass(update));
    addCleanup(manager);
  }
  manager.addNestedPass<ModelOp>(createAssignPrecisionPass({options.precision}));
  if (options.limit) {
    RecomputePassOptions recompute;
    recompute.program = options.program;
    recompute.limit = *options.limit;
    recompute.sizes = options.sizes;
    recompute.threads = options.threads;
    recompute.least = true;
    manager.addNestedPass<ModelOp>(createRecomputePass(recompute));
  }
  if (hasGradients) {
    KeepStatesPassOptions keep;
    keep.program = options.program;
    keep.limit = options.limit.value_or(-1);
    keep.sizes = options.sizes;
    keep.threads = options.threads;
    manager.addNestedPass<ModelOp>(createKeepStatesPass(keep));
  }
  if (options.kernels) // Where nothing is to calibrate, there is no such program.
    manager.addNestedPass<ModelOp>(createFormKernelsPass({options.program == "calibrate" ? "" : options.program}));
}

namespace {

struct SearchPipelineOptions : public PassPipelineOptions<SearchPipelineOptions> {
  Option<std::string> candidates{*this, "candidates", llvm::cl::desc("The candidates, with their options"),
                                 llvm::cl::init("gated_deltanet")};
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
  pair.candidates = options.candidates;
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
