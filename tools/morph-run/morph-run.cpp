// SPDX-License-Identifier: Apache-2.0
// morph-run: executes plans. One subcommand a stage; the driver `morph` starts it, people rarely do.

#include "runtime/base/AtomicFile.h"
#include "runtime/base/CrashReport.h"
#include "runtime/base/EndProcess.h"
#include "runtime/base/Json.h"
#include "runtime/base/Log.h"
#include "runtime/base/TorchGuard.h"
#include "runtime/bench/PlanBench.h"
#include "runtime/device/TorchDevice.h"
#include "runtime/exec/HeldMemory.h"
#include "runtime/kernels/Gemm.h"
#include "runtime/plan/Rings.h"
#include "runtime/processes/Exit.h"
#include "runtime/processes/Processes.h"
#include "runtime/serve/LineServer.h"
#include "runtime/serve/SlotDecoder.h"
#include "runtime/train/Inference.h"
#include "runtime/train/Interrupt.h"
#include "runtime/train/Machine.h"
#include "runtime/train/Stages.h"

#include <ATen/Parallel.h>
#include <CLI/CLI.hpp>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <unistd.h>

using namespace morph;

namespace {

/// Flags as they were typed.
struct Flags {
  std::string spec, run, out, key, variant, teacher, teacherKey, choices, choicesKey, device;
  std::vector<std::string> plans, weights;
  bool fp64 = false, shard = false;
  int threads = -1;
  EvaluateOptions evaluate;
  JudgeOptions judge;
  EvalOptions eval;
  int64_t begin = -1;
  uint64_t seed = 0;
  bool json = false;
  GenerationRequest generate;
  std::string prompt;
  SlotDecoder::Sizes slots;
  double memoryLimit = 0;    ///< GB.
  int64_t prefixCache = 512; ///< MB.
  std::string input;
  int64_t split = 1;
  PlanBenchOptions bench;
};

/// Steps that are timed at most.
constexpr int64_t kMaximumRepeats = 1'000'000;

/// The stages that a run directory has.
struct Stage {
  const char *name;
  const char *summary;
  const char *plans;
  StatusOr<StageOutcome> (*run)(const StageContext &);
};
constexpr Stage stages[] = {
    {"pretrain", "train a base model from its initial values", "pretrain, score", runPretrain},
    {"align", "fit every linear branch to its layer's full attention",
     "align, align-forward; calibrate, where a mixer asks for it", runAlign},
    {"select", "choose the layers that keep full attention",
     "what the selector measures with (runtime/choice/Selectors.def): gates, gates-forward; align-forward; score, "
     "logits",
     runSelect},
    {"distill", "KL from the teacher to the hybrid", "distill, distill-forward", runDistill},
    {"finetune", "next-token cross-entropy on the hybrid", "finetune", runFinetune},
};

} // namespace

static Status fillContext(const Flags &flags, bool needsSpec, StageContext &context) {
  for (const std::string &text : flags.plans) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == text.size())
      return Status::invalid("--plan " + text + ": expected NAME=FILE");
    context.planPaths[text.substr(0, equals)] = text.substr(equals + 1);
  }
  context.weightPaths = flags.weights;
  context.runDir = flags.run;
  context.key = flags.key;
  context.variant = flags.variant;
  context.teacherDir = flags.teacher;
  context.teacherKey = flags.teacherKey;
  context.choicesDir = flags.choices;
  context.choicesKey = flags.choicesKey;
  context.shards = flags.shard;
  if (needsSpec || !flags.spec.empty()) {
    MORPH_ASSIGN_OR_RETURN(const Json json, readJson(flags.spec));
    MORPH_ASSIGN_OR_RETURN(context.spec, readSpec(json, flags.spec));
    if (needsSpec)
      context.out = flags.out;
    MORPH_RETURN_IF_ERROR(context.prepare());
  }
  if (flags.fp64)
    context.precision = Precision::F64;
  if (flags.threads > 0)
    MORPH_RETURN_IF_ERROR(setThreads(flags.threads, "--threads"));
  if (!flags.device.empty())
    MORPH_RETURN_IF_ERROR(context.openDevice(flags.device));
  return Status();
}

static int finish(const StatusOr<StageOutcome> &outcome) {
  if (!outcome.ok())
    return reportError("morph-run", outcome.status());
  return *outcome == StageOutcome::Interrupted ? kInterruptedExitCode : 0;
}

static StatusOr<StageOutcome> runEval(const StageContext &context, const Flags &flags) {
  EvalOptions options = flags.eval;
  if (flags.begin >= 0)
    options.begin = flags.begin;
  MORPH_ASSIGN_OR_RETURN(const EvalResult result, evalTokens(context, options));
  if (flags.json) {
    const nlohmann::ordered_json line = {{"cross_entropy", result.crossEntropy},
                                         {"perplexity", result.perplexity},
                                         {"tokens", result.tokens},
                                         {"documents", result.documents},
                                         {"seconds", result.seconds}};
    std::printf("%s\n", line.dump().c_str());
  } else {
    std::printf("cross-entropy %.6f nats a token, perplexity %.4f, over %lld tokens of %lld documents\n",
                result.crossEntropy, result.perplexity, static_cast<long long>(result.tokens),
                static_cast<long long>(result.documents));
  }
  return StageOutcome::Done;
}

/// One request, in the one slot that it needs.
static StatusOr<StageOutcome> runGenerate(const StageContext &context, const Flags &flags) {
  GenerationRequest request = flags.generate;
  request.id = "generate";
  request.sampling.seed = flags.seed;
  MORPH_ASSIGN_OR_RETURN(const Json prompt, readJson(flags.prompt));
  MORPH_ASSIGN_OR_RETURN(request.tokens, jsonGet<std::vector<int64_t>>(prompt, "tokens", flags.prompt));
  MORPH_ASSIGN_OR_RETURN(request.eos, jsonGetOr<std::vector<int64_t>>(prompt, "eos", {}, flags.prompt));
  keepRowsApart(true);
  if (request.maxTokens < 1)
    return Status::invalid("--max-tokens must be 1 or more");
  MORPH_ASSIGN_OR_RETURN(const auto executor, context.executor("decode"));
  SlotDecoder::Sizes sizes;
  sizes.context = static_cast<int64_t>(request.tokens.size()) + request.maxTokens;
  MORPH_ASSIGN_OR_RETURN(const auto decoder, SlotDecoder::create(*executor, sizes));
  std::signal(SIGPIPE, SIG_IGN); // A closed pipe ends the generation.
  Status failure;
  bool isRead = true;
  Scheduler scheduler(*decoder, /*prefixBytes=*/0, [&](const GenerationEvent &event) {
    if (event.kind == GenerationEvent::Kind::Error)
      failure = event.error;
    if (event.kind != GenerationEvent::Kind::Token)
      return;
    // A line a token, at once: the driver shows text as it comes.
    std::printf("{\"token\":%lld}\n", static_cast<long long>(event.sample.token));
    isRead = std::fflush(stdout) == 0;
  });
  scheduler.add(std::move(request));
  while (isRead && !scheduler.isIdle())
    MORPH_RETURN_IF_ERROR(scheduler.turn());
  MORPH_RETURN_IF_ERROR(failure);
  return StageOutcome::Done;
}

static StatusOr<StageOutcome> runServe(const StageContext &context, const Flags &flags) {
  // A front ends this by closing the pipes: signals to the whole process group are for the front alone.
  for (int signal : {SIGPIPE, SIGINT, SIGTERM})
    std::signal(signal, SIG_IGN);
  keepRowsApart(true);
  SlotDecoder::Sizes sizes = flags.slots;
  sizes.memoryLimit = static_cast<int64_t>(flags.memoryLimit * 1e9);
  MORPH_ASSIGN_OR_RETURN(const auto executor, context.executor("decode"));
  MORPH_ASSIGN_OR_RETURN(const auto decoder, SlotDecoder::create(*executor, sizes));
  MORPH_RETURN_IF_ERROR(
      serveLines(*decoder, flags.prefixCache * 1'000'000, decoder->bytes() / sizes.slots, STDIN_FILENO, stdout));
  return StageOutcome::Done;
}

static int runCommand(int argc, char **argv) {
  CLI::App app{"Executes the plans of Morph's compiler: training stages of a run, scoring, generation.\n"
               "The driver 'morph' starts it; 'morph run SPEC --out DIR' is what people type."};
  app.name("morph-run");
  app.require_subcommand(1);
  app.set_version_flag("--version",
                       "morph-run " MORPH_VERSION " (plan version " + std::to_string(plan::kPlanVersion) + ")");
  app.footer("Exit codes: 0 done, 1 failed, 2 wrong input, 130 stopped by a signal after a checkpoint (run again to\n"
             "continue).");
  Flags flags;

  const auto addCommon = [&](CLI::App *command, const std::string &plans) {
    command->add_option("--plan", flags.plans, "NAME=FILE, a program as a plan; this command reads: " + plans)
        ->type_name("NAME=FILE");
    command
        ->add_option("--weights", flags.weights,
                     "Folder or .safetensors file; the base first, each later one overrides names")
        ->type_name("PATH");
    command->add_flag("--fp64", flags.fp64, "Compute everything in double, for comparisons");
    command->add_option("--threads", flags.threads, "CPU threads (default: the spec's, else all cores)");
    command->add_option("--device", flags.device, "cpu, cuda or cuda:N (default: the spec's, else cpu)");
  };
  const auto addStage = [&](CLI::App *command, const std::string &plans) {
    command->add_option("--spec", flags.spec, "Resolved spec (morph-translate --spec-to-json)")->required();
    command->add_option("--run", flags.run, "Run directory; its data/ is read")->required();
    command->add_option("--out", flags.out, "Folder for checkpoints, metrics and results of this stage")->required();
    command
        ->add_option("--key", flags.key, "What the numbers depend on, in one word; a checkpoint of another is refused")
        ->required();
    command->add_flag("--shard", flags.shard, "Divide the frozen weights among the processes, as model.shard does");
    command->add_option("--variant", flags.variant, "Which selection this is of (selected, uniform, ...)");
    addCommon(command, plans);
  };

  for (const Stage &stage : stages)
    addStage(app.add_subcommand(stage.name, stage.summary), stage.plans);
  CLI::App *distill = app.get_subcommand("distill");
  CLI::Option *teacher = distill->add_option("--teacher", flags.teacher,
                                             "Folder where variants keep the teacher's results for each other");
  distill
      ->add_option("--teacher-key", flags.teacherKey,
                   "What these depend on beside the data, in one word; others "
                   "are made anew")
      ->needs(teacher);
  CLI::App *select = app.get_subcommand("select");
  CLI::Option *choices = select->add_option("--choices", flags.choices,
                                            "Folder where selectors keep the scores of choices for each other");
  select
      ->add_option("--choices-key", flags.choicesKey,
                   "What these depend on beside the choice, in one word; others are refused")
      ->needs(choices);
  CLI::App *evaluate =
      app.add_subcommand("evaluate", "answers by task, length and depth, teacher-forced and generated; perplexity");
  addStage(evaluate, "score, decode");
  evaluate->add_option("--model-name", flags.evaluate.modelName, "The rows' model: teacher, uniform, selected")
      ->required();
  evaluate->add_option("--after", flags.evaluate.after, "The rows' stage: selection, distill, finetune")->required();
  CLI::App *judge = app.add_subcommand("judge", "how far choices of layers are from the teacher on held-out samples");
  addStage(judge, "score, logits");
  judge->add_option("--choices", flags.judge.choices, "JSON: `choices`, of each a candidate's number a layer")
      ->required();

  CLI::App *eval = app.add_subcommand("eval", "cross-entropy of a token file");
  addCommon(eval, "read");
  eval->add_option("--spec", flags.spec, "Resolved spec, for threads");
  eval->add_option("--tokens", flags.eval.tokens, "Raw little-endian token ids")->required();
  eval->add_option("--token-dtype", flags.eval.dtype, "u16 or u32")->capture_default_str();
  eval->add_option("--documents", flags.eval.documents, "Only the first N documents");
  eval->add_option("--begin", flags.begin, "Documents begin with this id (default: pieces of --length tokens)");
  eval->add_option("--length", flags.eval.length, "Tokens to which each document is cut")->capture_default_str();
  eval->add_option("--per-token", flags.eval.perToken, "Write `logprob`, fp32, one a target token, to this file");
  eval->add_flag("--json", flags.json, "Print JSON: cross_entropy, perplexity, tokens, documents, seconds");

  CLI::App *generateCommand = app.add_subcommand("generate", "continuation of a prompt; prints {\"token\": id} lines");
  addCommon(generateCommand, "decode (positions=true)");
  generateCommand->add_option("--spec", flags.spec, "Resolved spec, for threads");
  generateCommand
      ->add_option("--prompt", flags.prompt, "JSON file: `tokens`, the ids of the prompt; `eos`, ids that end the text")
      ->required();
  generateCommand->add_option("--max-tokens", flags.generate.maxTokens, "New tokens at most")->capture_default_str();
  generateCommand->add_option("--temperature", flags.generate.sampling.temperature, "0: the most likely token")
      ->capture_default_str();
  generateCommand->add_option("--top-p", flags.generate.sampling.topP, "Of the tokens the most likely of this share")
      ->capture_default_str();
  generateCommand->add_option("--seed", flags.seed, "Of what is drawn")->capture_default_str();

  CLI::App *serve = app.add_subcommand(
      "serve", "many requests at once: lines of JSON in, lines of JSON out (runtime/serve/LineServer.h)");
  addCommon(serve, "decode (positions=true)");
  serve->add_option("--slots", flags.slots.slots, "Sequences that run at once")
      ->check(CLI::Range(int64_t(1), int64_t(4096)))
      ->capture_default_str();
  serve->add_option("--context", flags.slots.context, "Tokens of a sequence at most, prompt and answer")
      ->check(CLI::Range(int64_t(1), int64_t(1) << 30))
      ->capture_default_str();
  serve->add_option("--chunk", flags.slots.chunk, "Tokens of a prompt between two steps of those that run")
      ->check(CLI::Range(int64_t(1), plan::kPrefillChunk))
      ->capture_default_str();
  serve->add_option("--prefix-cache-mb", flags.prefixCache, "States of prefixes that are kept; 0: none")
      ->check(CLI::Range(int64_t(0), int64_t(1) << 30))
      ->capture_default_str();
  serve->add_option("--memory-limit", flags.memoryLimit, "GB that the slots may take (default: what is free)")
      ->check(CLI::PositiveNumber);

  CLI::App *bench = app.add_subcommand("bench", "times the steps of a plan; prints JSON");
  addCommon(bench, "the program's; score, where weights are made from the seed");
  bench->add_option("--program", flags.bench.program, "The plan that is timed")->required();
  bench->add_option("--batch", flags.bench.sizes.batch, "Sequences")->check(CLI::PositiveNumber)->capture_default_str();
  bench->add_option("--length", flags.bench.sizes.length, "Tokens of a sequence")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  bench->add_option("--context", flags.bench.sizes.context, "Positions in the caches of a program that decodes")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  bench->add_option("--positions", flags.bench.sizes.positions, "Rows of a sequence that a loss reads")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  bench->add_option("--warmup", flags.bench.warmup, "Untimed steps")
      ->check(CLI::Range(int64_t(2), kMaximumRepeats))
      ->capture_default_str();
  bench->add_option("--repeat", flags.bench.repeat, "Samples")
      ->check(CLI::Range(int64_t(1), kMaximumRepeats))
      ->capture_default_str();
  bench->add_option("--seed", flags.seed, "Of weights and inputs")->capture_default_str();
  bench->add_flag("--profile", flags.bench.profile, "Seconds by op, too");
  bench->add_option("--save", flags.bench.save,
                    "Folder to write model, branches and inputs to, each with .safetensors");

  CLI::App *machine = app.add_subcommand(
      "machine", "what of this machine decides the bits of a result, as JSON: threads, instructions");
  machine->add_option("--threads", flags.threads, "CPU threads (default: all cores)");
  machine->add_option("--device", flags.device, "cpu, cuda or cuda:N (default: cpu)");

  CLI::App *check =
      app.add_subcommand("check", "find what would fail later: weights that lack or hold NaN, tasks without room");
  addCommon(check, "any one or several; their weights are bound");
  check->add_option("--spec", flags.spec, "Resolved spec; with --run, its tasks are checked too");
  check->add_option("--run", flags.run, "Run directory, for its data/");

  CLI::App *logits = app.add_subcommand("logits", "logits of given tokens, whole and by prefill and decoding");
  addCommon(logits, "logits, decode (one or both)");
  logits->add_option("--spec", flags.spec, "Resolved spec, for threads");
  logits
      ->add_option("--input", flags.input,
                   "Safetensors with `tokens` [B,T] I64 and, for left-padded rows, `start` [B] I64")
      ->required();
  logits->add_option("--split", flags.split, "Tokens of the prefill; the others follow one by one")
      ->capture_default_str();
  logits->add_option("--out", flags.out, "Safetensors to write: `whole` [B,T,V], `decode` [B,T-split+1,V]")->required();

  try {
    app.parse(argc, argv);
  } catch (const CLI::Success &success) {
    return app.exit(success);
  } catch (const CLI::ParseError &error) {
    return reportError("morph-run", Status::invalid(error.what(), "see morph-run --help"));
  }

  const CLI::App *command = app.get_subcommands().front();
  const bool free = command == eval || command == generateCommand || command == logits || command == check ||
                    command == machine || command == bench || command == serve;
  // A stage stops at a checkpoint; the others have nothing to keep.
  if (!free)
    catchInterrupts();
  installCrashReport();
  countHeldMemory();
  std::shared_ptr<Processes> processes;
  const auto outcome = guardTorch(command->get_name(), [&]() -> StatusOr<StageOutcome> {
    StageContext context;
    if (!free) { // The others are one process wherever they run.
      MORPH_ASSIGN_OR_RETURN(const Place place, findPlace());
      MORPH_ASSIGN_OR_RETURN(processes, Processes::join(place));
      context.processes = processes;
    }
    MORPH_RETURN_IF_ERROR(fillContext(flags, !free, context));
    if (command == eval)
      return runEval(context, flags);
    if (command == generateCommand)
      return runGenerate(context, flags);
    if (command == serve)
      return runServe(context, flags);
    if (command == bench) {
      context.seed = flags.seed;
      MORPH_ASSIGN_OR_RETURN(const nlohmann::ordered_json result, benchPlan(context, flags.bench));
      std::printf("%s\n", result.dump(2).c_str());
      return StageOutcome::Done;
    }
    if (command == machine) {
      MORPH_ASSIGN_OR_RETURN(const Json description, describeMachine(context.device));
      std::printf("%s\n", description.dump(2).c_str());
      return StageOutcome::Done;
    }
    if (command == check) {
      for (const auto &[name, path] : context.planPaths)
        MORPH_RETURN_IF_ERROR(context.executor(name).status());
      if (!flags.run.empty())
        MORPH_RETURN_IF_ERROR(checkTasks(context));
      return StageOutcome::Done;
    }
    if (command == logits) {
      MORPH_RETURN_IF_ERROR(computeLogits(context, flags.input, flags.split, flags.out));
      return StageOutcome::Done;
    }
    StatusOr<StageOutcome> outcome = Status::invalid("unknown stage");
    if (command == judge)
      outcome = runJudge(context, flags.judge);
    if (command == evaluate)
      outcome = runEvaluate(context, flags.evaluate);
    for (const Stage &stage : stages)
      if (command->get_name() == stage.name)
        outcome = stage.run(context);
    if (outcome.ok() && *outcome == StageOutcome::Done && context.processes->isLeader()) {
      const bool cuda = isCuda(context.device);
      const Json facts = {{"peak_bytes", cuda ? cudaDeviceOf(context.device).peakBytes() : peakHeldBytes()},
                          {"unread_share", *context.unreadShare}};
      MORPH_RETURN_IF_ERROR(writeFile(context.outPath("facts.json"), facts.dump() + "\n"));
    }
    if (outcome.ok())
      MORPH_RETURN_IF_ERROR(processes->leave());
    return outcome;
  });
  const bool isLost = processes && processes->hasLostOthers();
  if (isLost && std::getenv(kDriverVariable))
    return kLostOthersExitCode;
  return finish(outcome);
}

int main(int argc, char **argv) { endProcess(runCommand(argc, argv)); }
