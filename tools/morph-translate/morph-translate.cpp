// SPDX-License-Identifier: Apache-2.0
// Specs and Hugging Face folders to IR, and IR to plans.

#include "Constraints.h"
#include "MixerCosts.h"
#include "MixerList.h"

#include "dialect/MixerReference.h"
#include "frontends/ModelBuilder.h"
#include "frontends/huggingface/Import.h"
#include "frontends/morph/Check.h"
#include "frontends/morph/Format.h"
#include "frontends/morph/Mixers.h"
#include "frontends/morph/Parser.h"
#include "frontends/spec/Schema.h"
#include "frontends/spec/Spec.h"
#include "passes/EmitPlan.h"
#include "passes/EmitPyTorch.h"
#include "passes/Phases.h"
#include "passes/Pipelines.h"
#include "passes/lower/CompileKernels.h"
#include "passes/lower/Passes.h"
#include "passes/lower/cuda/CompileDevice.h"
#include "tools/Containment.h"

#include "mlir/Bytecode/BytecodeReader.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Support/FileUtilities.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/SourceMgr.h"

using namespace mlir;
using namespace morph;
namespace cl = llvm::cl;

namespace {

enum ExitCode { kOk = 0, kFailed = 1, kWrongInput = 2 };

enum class Mode {
  None,
  ImportSpec,
  SpecToJson,
  BaseConfig,
  ImportHf,
  EmitPlan,
  EmitPyTorch,
  MixerCosts,
  Mixers,
  ImportMorph,
  SpecDocs,
  SpecStructs,
  CheckMorph,
  FormatMorph,
  Explain
};

cl::OptionCategory category("morph-translate options");

cl::opt<Mode> mode(
    cl::desc("What to do (one of):"), cl::cat(category), cl::init(Mode::None),
    cl::values(
        clEnumValN(Mode::ImportSpec, "import-spec", "SPEC.toml to IR of the base phase"),
        clEnumValN(Mode::SpecToJson, "spec-to-json", "SPEC.toml to JSON with defaults filled in and paths absolute"),
        clEnumValN(Mode::BaseConfig, "base-config",
                   "SPEC.toml, or a Hugging Face folder, to the base's config.json: of the base that is "
                   "made, or with RoPE parameters for model.context"),
        clEnumValN(Mode::ImportHf, "import-hf",
                   "Hugging Face folder to IR of the base phase (hybrid for Morph's exports)"),
        clEnumValN(Mode::EmitPlan, "emit-plan",
                   "IR to the plan of --program; null where the model needs no program calibrate"),
        clEnumValN(Mode::EmitPyTorch, "emit-pytorch", "IR of a hybrid to JSON: its mixers as classes of PyTorch"),
        clEnumValN(Mode::MixerCosts, "mixer-costs",
                   "IR to JSON: cache bytes and FLOPs of each layer's candidates, 8K to 256K"),
        clEnumValN(Mode::Mixers, "mixers",
                   "print the mixers with their options as JSON; given IR of the base phase, with their costs in it"),
        clEnumValN(Mode::ImportMorph, "import-morph", "FILE.morph to IR: a model that holds its declarations"),
        clEnumValN(Mode::SpecDocs, "spec-docs",
                   "print specs/reference.md: all keys of specs and all functions of mixers"),
        clEnumValN(Mode::SpecStructs, "spec-structs",
                   "write Spec.h and Spec.cpp of the runtime into the folder <input>"),
        clEnumValN(Mode::CheckMorph, "check-morph", "check the mixers of a .morph file"),
        clEnumValN(Mode::FormatMorph, "format-morph", "a .morph file to its canonical text"),
        clEnumValN(Mode::Explain, "explain", "the label of an error, or a key of specs, to JSON: what it stands for")));
cl::opt<std::string> input(cl::Positional, cl::desc("<input>"), cl::cat(category));
cl::opt<std::string> output("o", cl::desc("Output file (default: standard output)"), cl::value_desc("file"),
                            cl::init("-"), cl::cat(category));
cl::list<std::string> overrides("set", cl::desc("Override a key of the spec: align.steps=100, task.<name>.queries=2"),
                                cl::value_desc("key=value"), cl::cat(category));
cl::opt<bool> configOnly("config-only", cl::desc("For planning: weights, tokenizer and data files need not be there"),
                         cl::cat(category));
cl::opt<bool> withoutTimes("without-times",
                           cl::desc("Leave budgets of decode_seconds out: their tables of costs need not be there"),
                           cl::cat(category));
cl::opt<std::string> modelName("name", cl::desc("Name of the model in the IR (default: the folder's)"),
                               cl::value_desc("name"), cl::cat(category));
cl::opt<std::string> program("program",
                             cl::desc("calibrate, align, gates, distill, finetune, pretrain, score, logits, "
                                      "decode or read"),
                             cl::value_desc("program"), cl::cat(category));
cl::opt<std::string> programOptions("program-options", cl::desc("Options of the program, for example loss=kl,kl=true"),
                                    cl::value_desc("key=value,..."), cl::cat(category));
cl::list<std::string>
    devices("device", cl::CommaSeparated,
            cl::desc("For --emit-plan: compile for GPUs of these generations, as PTX beside the plan"),
            cl::value_desc("sm_80,sm_90"), cl::cat(category));
cl::opt<bool>
    withoutCode("without-code",
                cl::desc("For --emit-plan: no machine code and no PTX: a plan that tells costs, and that a GPU "
                         "cannot run"),
                cl::cat(category));
cl::opt<int64_t> elementBytes("element-bytes", cl::desc("Bytes of a cached element for --mixer-costs (default: 2)"),
                              cl::init(2), cl::cat(category));
cl::opt<int64_t> contextLength("context", cl::desc("Tokens of the context for --mixers (default: 32768)"),
                               cl::init(32768), cl::cat(category));
cl::opt<int64_t> positionCount("positions",
                               cl::desc("Positions that RoPE is for, of --import-hf and --base-config of a folder "
                                        "(default: those of the base)"),
                               cl::value_desc("number"), cl::init(0), cl::cat(category));
cl::list<std::string> declared("declare", cl::desc("Mixers of files that --import-hf adds to the model"),
                               cl::value_desc("FILE.morph:NAME"), cl::cat(category));
cl::opt<bool> locations("locations", cl::desc("Print where in the input each op comes from"), cl::cat(category));

/// An error without a place in a text.
ExitCode fail(ExitCode code, const llvm::Twine &message, const llvm::Twine &hint = "") {
  llvm::errs() << "morph-translate: error: " << message << "\n";
  if (!hint.isTriviallyEmpty())
    llvm::errs() << "hint: " << hint << "\n";
  return code;
}

/// Writes a file under a temporary name and renames it, so that a failed run leaves nothing half-written.
ExitCode writeFile(const std::string &output, llvm::function_ref<void(llvm::raw_ostream &)> print) {
  auto failWrite = [&](const llvm::Twine &why) { return fail(kFailed, "cannot write '" + output + "': " + why); };
  // A device is written to; renaming would put a file in its place.
  bool device = output == "-" || (llvm::sys::fs::exists(output) && !llvm::sys::fs::is_regular_file(output));
  std::string path = device ? output : output + ".partial";
  std::error_code code;
  llvm::raw_fd_ostream os(path, code);
  if (code)
    return failWrite(code.message());
  print(os);
  os.flush();
  if (os.has_error()) {
    code = os.error();
    os.clear_error();
    if (!device)
      llvm::sys::fs::remove(path);
    return failWrite(code.message());
  }
  if (!device)
    if ((code = llvm::sys::fs::rename(path, output))) {
      llvm::sys::fs::remove(path);
      return failWrite(code.message());
    }
  return kOk;
}

ExitCode write(llvm::function_ref<void(llvm::raw_ostream &)> print) { return writeFile(output, print); }

ExitCode writeModule(ModuleOp module) {
  OpPrintingFlags flags;
  if (locations)
    flags.enableDebugInfo(/*enable=*/true, /*prettyForm=*/false);
  return write([&](llvm::raw_ostream &os) { module.print(os, flags); });
}

ExitCode translateSpec(MLIRContext &context) {
  Diagnostics diagnostics("morph-translate", llvm::errs());
  SpecOptions options;
  options.overrides = overrides;
  options.configOnly = configOnly;
  options.withoutTimes = withoutTimes;
  options.requireWeights = mode == Mode::ImportSpec;
  std::optional<ImportedSpec> imported = importSpec(context, input, options, diagnostics);
  if (!imported)
    return kWrongInput;
  if (mode == Mode::SpecToJson)
    return write([&](llvm::raw_ostream &os) { os << printSpec(imported->spec); });
  if (mode == Mode::BaseConfig)
    return write([&](llvm::raw_ostream &os) { os << printBaseConfig(imported->model); });
  return writeModule(*imported->module);
}

ExitCode translateHuggingFace(MLIRContext &context) {
  Diagnostics diagnostics("morph-translate", llvm::errs());
  std::optional<ContextRequest> positions;
  if (positionCount != 0)
    positions = ContextRequest{positionCount, {}};
  // 'models/tiny/' is named tiny, too.
  std::string name = modelName.empty() ? llvm::sys::path::filename(llvm::StringRef(input).rtrim('/')).str() : modelName;
  ModelConfig model;
  OwningOpRef<ModuleOp> module =
      importHuggingFace(context, input, name, configOnly ? WeightCheck::IfPresent : WeightCheck::Required, diagnostics,
                        {}, &model, positions);
  if (!module)
    return kWrongInput;
  if (mode == Mode::BaseConfig)
    return write([&](llvm::raw_ostream &os) { os << printBaseConfig(model); });
  MixerFiles mixerFiles(diagnostics);
  for (const std::string &text : declared) {
    std::string message;
    std::optional<MixerReference> reference = parseMixerReference(text, message);
    if (!reference || reference->path.empty())
      return fail(kWrongInput,
                  "--declare '" + text + "' names no mixer of a file" + (message.empty() ? "" : ": ") + message);
    if (!mixerFiles.declare(*module->getOps<ModelOp>().begin(), reference->path, reference->name, {}))
      return kWrongInput;
  }
  return writeModule(*module);
}

/// Reads IR and finds its model; null after an error, which is printed.
OwningOpRef<ModuleOp> readModule(MLIRContext &context, llvm::SourceMgr &sources, ModelOp &model) {
  std::string message;
  std::unique_ptr<llvm::MemoryBuffer> file = openInputFile(input, &message);
  if (!file) {
    fail(kWrongInput, message);
    return nullptr;
  }
  if (isBytecode(*file)) {
    // MLIR's reader of bytecode trusts its input: a damaged file ends the process.
    fail(kWrongInput, "'" + input + "' is MLIR bytecode, expected text", "morph-opt turns it into text");
    return nullptr;
  }
  sources.AddNewSourceBuffer(std::move(file), llvm::SMLoc());
  OwningOpRef<ModuleOp> module = parseSourceFile<ModuleOp>(sources, &context);
  if (!module)
    return nullptr;
  auto models = module->getOps<ModelOp>();
  if (!llvm::hasSingleElement(models)) {
    fail(kWrongInput, "'" + input + "' has " + llvm::Twine(std::distance(models.begin(), models.end())) +
                          " models, expected one morph.model");
    return nullptr;
  }
  model = *models.begin();
  return module;
}

ExitCode translateToPlan(MLIRContext &context) {
  llvm::Expected<ProgramOptions> options = parseProgramOptions(program, programOptions);
  if (!options)
    return fail(kWrongInput, llvm::toString(options.takeError()),
                program.empty() ? "name the program with --program=gates" : "");
  llvm::SourceMgr sources;
  SourceMgrDiagnosticHandler handler(sources, &context);
  ModelOp model;
  OwningOpRef<ModuleOp> module = readModule(context, sources, model);
  if (!module)
    return kWrongInput;
  PassManager manager(&context, ModuleOp::getOperationName());
  addProgramPipeline(manager, *options);
  if (failed(manager.run(*module)))
    return kWrongInput;
  // The pipeline may have put another op in the model's place.
  model = *module->getOps<ModelOp>().begin();
  // A model of which no mixer calibrates weights has no such program, and no plan.
  if (program == "calibrate" && !findProgram(model, program))
    return write([&](llvm::raw_ostream &os) { os << "null\n"; });
  FailureOr<plan::Plan> plan = emitPlan(model, program);
  if (failed(plan))
    return kFailed;
  if (!devices.empty()) {
    DialectRegistry registry;
    registerDeviceDialects(registry);
    context.appendDialectRegistry(registry);
    context.loadAllAvailableDialects();
  }
  if (!devices.empty()) {
    if (failed(compilePlanForDevices(model, *plan, devices, output, withoutCode ? DeviceText::None : DeviceText::Ptx)))
      return kFailed;
  } else if (!withoutCode && failed(compilePlanKernels(model, *plan))) {
    return kFailed;
  }
  if (Status status = plan::validate(*plan); !status.ok())
    return fail(kFailed, "the plan that was made is not valid: " + status.message(),
                "this is an error of Morph, not of the input");
  return write([&](llvm::raw_ostream &os) { os << plan::printPlan(*plan); });
}

/// What the label or key stands for that the input is.
ExitCode explainLabel() {
  std::vector<Constraint> found = findConstraints(input);
  if (found.empty()) {
    std::string nearest = findNearestLabel(input);
    return fail(kWrongInput, "no error has the label '" + input + "', and no key is named so",
                nearest.empty()
                    ? "labels stand in an error's brackets or before its message: S14, model_c3; keys are those of "
                      "specs/reference.md: align.batch, task[].length"
                    : "did you mean '" + nearest + "'?");
  }
  return write([&](llvm::raw_ostream &os) { os << llvm::formatv("{0:2}\n", toJson(found)); });
}

/// The schema as the structs that the runtime reads resolved specs into.
ExitCode writeSpecStructs() {
  for (const auto &file :
       {std::pair("Spec.h", spec::makeStructsHeader()), std::pair("Spec.cpp", spec::makeStructsSource())}) {
    llvm::SmallString<128> path(input);
    llvm::sys::path::append(path, file.first);
    if (ExitCode code = writeFile(std::string(path), [&](llvm::raw_ostream &os) { os << file.second; }); code != kOk)
      return code;
  }
  return kOk;
}

/// Errors of a `.morph` file, or its canonical text, for which it need not be free of errors of meaning.
ExitCode translateMixers() {
  Diagnostics diagnostics("morph-translate", llvm::errs());
  std::optional<llvm::StringRef> text = diagnostics.addFile(input, language::kMaxFileBytes, {});
  if (!text)
    return kWrongInput;
  if (mode == Mode::CheckMorph)
    return language::readMixers(*text, diagnostics) ? kOk : kWrongInput;
  std::optional<language::File> file = language::parseFile(*text, diagnostics);
  if (!file)
    return kWrongInput;
  std::string formatted = language::formatFile(*file);
  std::optional<language::File> again =
      language::parseFile(diagnostics.addText("formatted text", formatted), diagnostics);
  if (!again || !language::haveSameMeaning(*file, *again))
    return fail(kFailed, "the formatted text means something else", "this is an error of Morph, not of the input");
  return write([&](llvm::raw_ostream &os) { os << formatted; });
}

/// A model of one layer and nothing but declarations.
OwningOpRef<ModuleOp> makeEmptyModel(MLIRContext &context, llvm::StringRef name, ModelOp &model) {
  OpBuilder builder(&context);
  OwningOpRef<ModuleOp> module(ModuleOp::create(builder.getUnknownLoc()));
  builder.setInsertionPointToEnd(module->getBody());
  model = builder.create<ModelOp>(builder.getUnknownLoc(), name, Phase::Base, "llama", uint64_t(1));
  model.getBody().emplaceBlock();
  return module;
}

ExitCode importMixers(MLIRContext &context) {
  Diagnostics diagnostics("morph-translate", llvm::errs());
  ModelOp model;
  OwningOpRef<ModuleOp> module = makeEmptyModel(context, "mixers", model);
  if (!declareMixersOfFile(model, input, diagnostics))
    return kWrongInput;
  return writeModule(*module);
}

ExitCode printMixers(MLIRContext &context) {
  llvm::SourceMgr sources;
  SourceMgrDiagnosticHandler handler(sources, &context);
  ModelOp model;
  OwningOpRef<ModuleOp> module =
      input.empty() ? makeEmptyModel(context, "none", model) : readModule(context, sources, model);
  if (!module)
    return kWrongInput;
  return write([&](llvm::raw_ostream &os) { os << llvm::formatv("{0:2}\n", makeMixerList(model, contextLength)); });
}

/// Of a model: its mixers' costs, or their classes of PyTorch.
ExitCode printMixersOfModel(MLIRContext &context) {
  if (elementBytes < 1 || elementBytes > 8)
    return fail(kWrongInput, "--element-bytes is " + llvm::Twine(elementBytes) + ", expected 1 to 8");
  llvm::SourceMgr sources;
  SourceMgrDiagnosticHandler handler(sources, &context);
  ModelOp model;
  OwningOpRef<ModuleOp> module = readModule(context, sources, model);
  if (!module)
    return kWrongInput;
  FailureOr<llvm::json::Value> json =
      mode == Mode::EmitPyTorch ? emitPyTorch(model) : FailureOr(makeMixerCosts(model, elementBytes));
  if (failed(json))
    return kWrongInput;
  return write([&](llvm::raw_ostream &os) { os << llvm::formatv("{0:2}\n", *json); });
}

ExitCode translate(int argc, char **argv) {
  cl::HideUnrelatedOptions(category);
  constexpr llvm::StringLiteral kOverview =
      "Turns specs and Hugging Face folders into Morph IR, and IR into plans\n\n"
      "  morph-translate --import-spec specs/quickstart.toml -o base.mlir\n"
      "  morph-translate --import-hf models/tiny -o base.mlir\n"
      "  morph-translate --emit-plan relaxed.mlir --program=gates -o gates.json\n\n"
      "Exit codes: 0 done, 1 failed, 2 wrong input.\n";
  std::string message;
  llvm::raw_string_ostream messageStream(message);
  if (!cl::ParseCommandLineOptions(argc, argv, kOverview, &messageStream)) {
    llvm::errs() << message;
    return kWrongInput;
  }
  if (mode == Mode::None)
    return fail(kWrongInput, "nothing to do: no mode is given", "morph-translate --help lists the modes");
  if (mode == Mode::SpecDocs)
    return input.empty() ? write([](llvm::raw_ostream &os) { os << spec::makeDocumentation(); })
                         : fail(kWrongInput, "--spec-docs takes no input", "-o names the file that is to be made");
  if (input.empty() && mode != Mode::Mixers)
    return fail(kWrongInput, "no input is given", "morph-translate --help shows examples");
  if (mode == Mode::SpecStructs)
    return writeSpecStructs();
  if (mode == Mode::Explain)
    return explainLabel();
  if (mode == Mode::CheckMorph || mode == Mode::FormatMorph)
    return translateMixers();

  // Models are small for a compiler: threads would only cost their start.
  MLIRContext context(MLIRContext::Threading::DISABLED);
  context.printOpOnDiagnostic(false); // It may be a whole model.
  loadModelDialects(context);
  switch (mode) {
  case Mode::ImportSpec:
  case Mode::SpecToJson:
    return translateSpec(context);
  case Mode::BaseConfig:
    return llvm::sys::fs::is_directory(input) ? translateHuggingFace(context) : translateSpec(context);
  case Mode::ImportHf:
    return translateHuggingFace(context);
  case Mode::EmitPlan:
    return translateToPlan(context);
  case Mode::Mixers:
    return printMixers(context);
  case Mode::ImportMorph:
    return importMixers(context);
  default:
    return printMixersOfModel(context);
  }
}

} // namespace

int main(int argc, char **argv) {
  return runContained("morph-translate", [&]() -> int { return translate(argc, argv); });
}
