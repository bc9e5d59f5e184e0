// SPDX-License-Identifier: Apache-2.0
#include "passes/lower/ObjectCode.h"

#include "llvm/Analysis/TargetLibraryInfo.h"
#include "llvm/IR/Constants.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/Triple.h"
#include "llvm/Transforms/Utils/Cloning.h"

#include <mutex>

using namespace llvm;
using namespace morph;

std::string morph::getTargetTriple() { return sys::getDefaultTargetTriple(); }

std::vector<CpuTarget> morph::getCpuTargets() {
  if (Triple(getTargetTriple()).getArch() == Triple::x86_64)
    return {{"v3", "x86-64-v3"}, {"v4", "x86-64-v4"}};
  return {{"generic", "generic"}};
}

static Expected<std::unique_ptr<TargetMachine>> makeMachine(const CpuTarget &target) {
  static std::once_flag isInitialised;
  std::call_once(isInitialised, [] {
    InitializeNativeTarget();
    InitializeNativeTargetAsmPrinter();
  });
  std::string triple = getTargetTriple(), message;
  const Target *registered = TargetRegistry::lookupTarget(triple, message);
  if (!registered)
    return createStringError("LLVM has no target " + triple + ": " + message);
  TargetOptions options;
  // Products and sums are contracted in the IR, and nowhere else.
  options.AllowFPOpFusion = FPOpFusion::Strict;
  std::unique_ptr<TargetMachine> machine(registered->createTargetMachine(triple, target.cpu, "", options, Reloc::PIC_,
                                                                         std::nullopt, CodeGenOptLevel::Default));
  if (!machine)
    return createStringError("LLVM has no processor " + target.cpu + " for " + triple);
  return machine;
}

/// The passes that loops of vectors need; they are vectorised and unrolled already.
static Error optimise(Module &module, TargetMachine &machine) {
  LoopAnalysisManager loops;
  FunctionAnalysisManager functions;
  CGSCCAnalysisManager graphs;
  ModuleAnalysisManager modules;
  PassBuilder builder(&machine);
  // No call of a library function may come in, such as memset.
  TargetLibraryInfoImpl libraries(Triple(module.getTargetTriple()));
  libraries.disableAllFunctions();
  functions.registerPass([&] { return TargetLibraryAnalysis(libraries); });
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(graphs);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, graphs, modules);
  ModulePassManager passes;
  if (Error error = builder.parsePassPipeline(
          passes, "function(early-cse<memssa>,simplifycfg,instcombine<no-verify-fixpoint>,loop-mssa(licm),"
                  "early-cse<memssa>,adce,simplifycfg)"))
    return error;
  passes.run(module, modules);
  return Error::success();
}

static Expected<std::string> makeObject(const Module &original, const CpuTarget &target) {
  Expected<std::unique_ptr<TargetMachine>> machine = makeMachine(target);
  if (!machine)
    return machine.takeError();
  std::unique_ptr<Module> module = CloneModule(original);
  module->setTargetTriple(getTargetTriple());
  module->setDataLayout((*machine)->createDataLayout());
  // Says that the object has this instruction set.
  new GlobalVariable(*module, Type::getInt8Ty(module->getContext()), /*isConstant=*/true, GlobalValue::ExternalLinkage,
                     ConstantInt::get(Type::getInt8Ty(module->getContext()), 1), "morph_kernels." + target.suffix);
  for (Function &function : *module) {
    if (function.isDeclaration())
      continue;
    function.setName(function.getName() + "." + target.suffix);
    function.addFnAttr("target-cpu", target.cpu);
    function.addFnAttr("prefer-vector-width", "512");
    function.addFnAttr(Attribute::NoUnwind);
  }
  if (Error error = optimise(*module, **machine))
    return error;
  SmallVector<char> bytes;
  raw_svector_ostream stream(bytes);
  legacy::PassManager emission;
  if ((*machine)->addPassesToEmitFile(emission, stream, nullptr, CodeGenFileType::ObjectFile))
    return createStringError("LLVM cannot write objects for " + getTargetTriple());
  emission.run(*module);
  return std::string(bytes.begin(), bytes.end());
}

namespace {
/// Temporary files, removed at the end.
struct TemporaryFiles {
  std::vector<std::string> paths;
  ~TemporaryFiles() {
    for (const std::string &path : paths)
      sys::fs::remove(path);
  }
};
} // namespace

static Expected<std::string> makeTemporary(StringRef suffix, StringRef content, TemporaryFiles &files) {
  SmallString<128> path;
  int descriptor = -1;
  if (std::error_code code = sys::fs::createTemporaryFile("morph-kernels", suffix, descriptor, path))
    return createStringError("cannot make a temporary file: " + code.message());
  files.paths.push_back(path.str().str());
  raw_fd_ostream stream(descriptor, /*shouldClose=*/true);
  stream << content;
  stream.close();
  if (stream.has_error()) {
    std::error_code code = stream.error();
    stream.clear_error();
    return createStringError("cannot write " + path + ": " + code.message());
  }
  return path.str().str();
}

Expected<std::string> morph::makeSharedObject(const Module &module, ArrayRef<CpuTarget> targets) {
  TemporaryFiles files;
  std::vector<std::string> inputs;
  for (const CpuTarget &target : targets) {
    Expected<std::string> object = makeObject(module, target);
    if (!object)
      return object.takeError();
    Expected<std::string> path = makeTemporary("o", *object, files);
    if (!path)
      return path.takeError();
    inputs.push_back(*path);
  }
  Expected<std::string> output = makeTemporary("so", "", files);
  if (!output)
    return output.takeError();

  // The linker of the build, or one on the path.
  std::string linker = MORPH_LINKER;
  if (!sys::fs::can_execute(linker)) {
    ErrorOr<std::string> found = sys::findProgramByName("ld.lld-19");
    if (!found)
      found = sys::findProgramByName("ld.lld");
    if (!found)
      return createStringError("there is no linker: install lld-19 (tools/setup does)");
    linker = *found;
  }
  // With -z defs a call of any library function is an error here.
  std::vector<StringRef> arguments{linker, "-shared", "-z", "defs", "--hash-style=gnu", "-O0", "-o", *output};
  arguments.insert(arguments.end(), inputs.begin(), inputs.end());
  Expected<std::string> messages = makeTemporary("txt", "", files);
  if (!messages)
    return messages.takeError();
  std::optional<StringRef> redirects[] = {StringRef(""), StringRef(*messages), StringRef(*messages)};
  std::string message;
  if (int code = sys::ExecuteAndWait(linker, arguments, std::nullopt, redirects, 0, 0, &message)) {
    ErrorOr<std::unique_ptr<MemoryBuffer>> words = MemoryBuffer::getFile(*messages);
    return createStringError(linker + " ended with " + Twine(code) + ": " + message +
                             (words ? (*words)->getBuffer() : ""));
  }
  ErrorOr<std::unique_ptr<MemoryBuffer>> bytes = MemoryBuffer::getFile(*output, /*IsText=*/false,
                                                                       /*RequiresNullTerminator=*/false);
  if (!bytes)
    return createStringError("cannot read " + *output + ": " + bytes.getError().message());
  return (*bytes)->getBuffer().str();
}
