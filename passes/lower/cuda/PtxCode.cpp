// SPDX-License-Identifier: Apache-2.0
#include "passes/lower/cuda/PtxCode.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Target/TargetMachine.h"

#include <mutex>

extern "C" {
void LLVMInitializeNVPTXTarget();
void LLVMInitializeNVPTXTargetInfo();
void LLVMInitializeNVPTXTargetMC();
void LLVMInitializeNVPTXAsmPrinter();
}

using namespace llvm;
using namespace morph;

const plan::DeviceTarget *morph::findPtxTarget(StringRef chip) {
  const auto *found =
      find_if(plan::kDeviceTargets, [&](const plan::DeviceTarget &target) { return target.name == chip; });
  return found == std::end(plan::kDeviceTargets) ? nullptr : found;
}

std::string morph::describeUnknownTarget(StringRef chip) {
  auto chips = map_range(plan::kDeviceTargets, [](const plan::DeviceTarget &target) { return StringRef(target.name); });
  return ("there is no target '" + chip + "': known are " + join(chips, ", ")).str();
}

Expected<std::string> morph::makePtx(Module &module, const plan::DeviceTarget &ptx) {
  static std::once_flag isInitialised;
  std::call_once(isInitialised, [] {
    LLVMInitializeNVPTXTarget();
    LLVMInitializeNVPTXTargetInfo();
    LLVMInitializeNVPTXTargetMC();
    LLVMInitializeNVPTXAsmPrinter();
  });
  const std::string triple = "nvptx64-nvidia-cuda";
  std::string message;
  const Target *registered = TargetRegistry::lookupTarget(triple, message);
  if (!registered)
    return createStringError("this LLVM makes no PTX: " + message);
  TargetOptions options;
  // Products and sums are contracted in the IR, and nowhere else: LLVM writes `.rn`, which ptxas leaves as it is.
  options.AllowFPOpFusion = FPOpFusion::Strict;
  std::unique_ptr<TargetMachine> machine(registered->createTargetMachine(
      triple, ptx.name, ptx.ptx, options, Reloc::PIC_, std::nullopt, CodeGenOptLevel::Aggressive));
  if (!machine)
    return createStringError(Twine("LLVM has no ") + ptx.name);
  module.setTargetTriple(triple);
  module.setDataLayout(machine->createDataLayout());

  LoopAnalysisManager loops;
  FunctionAnalysisManager functions;
  CGSCCAnalysisManager graphs;
  ModuleAnalysisManager modules;
  PassBuilder builder(machine.get());
  machine->registerPassBuilderCallbacks(builder);
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(graphs);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, graphs, modules);
  builder.buildPerModuleDefaultPipeline(OptimizationLevel::O2).run(module, modules);

  SmallString<0> text;
  raw_svector_ostream stream(text);
  legacy::PassManager emission;
  if (machine->addPassesToEmitFile(emission, stream, nullptr, CodeGenFileType::AssemblyFile))
    return createStringError("LLVM cannot write PTX");
  emission.run(module);
  return text.str().str();
}
