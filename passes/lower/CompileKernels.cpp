// SPDX-License-Identifier: Apache-2.0
#include "passes/lower/CompileKernels.h"

#include "passes/lower/Passes.h"
#include "passes/lower/SourceHash.h"
#include "runtime/base/Sha256.h"

#include "mlir/Pass/PassManager.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/IR/Constants.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace morph;

std::string morph::hashObject(ArrayRef<KernelOp> kernels, const KernelCompileOptions &options) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  stream << kKernelAbi << '\n' << kLowerSourceHash << '\n' << LLVM_VERSION_STRING << '\n' << getTargetTriple() << '\n';
  for (const CpuTarget &target : options.targets)
    stream << target.suffix << ' ' << target.cpu << '\n';
  stream << options.origin << '\n';
  for (KernelOp kernel : kernels) {
    kernel.print(stream, OpPrintingFlags().useLocalScope().enableDebugInfo(false));
    stream << '\n';
  }
  return sha256(text);
}

/// Writes an object, whole or not at all, into a folder that is made where there is none. Whether that went well.
static bool writeObject(const Twine &path, StringRef bytes) {
  SmallString<128> temporary;
  int descriptor = -1;
  if (llvm::sys::fs::create_directories(llvm::sys::path::parent_path(path.str()), /*IgnoreExisting=*/true,
                                        llvm::sys::fs::owner_all) ||
      llvm::sys::fs::createUniqueFile(path + ".%%%%%%%%", descriptor, temporary))
    return false;
  llvm::raw_fd_ostream stream(descriptor, /*shouldClose=*/true);
  stream << bytes;
  stream.close();
  bool isWritten = !stream.has_error() && !llvm::sys::fs::rename(temporary, path);
  if (!isWritten) {
    stream.clear_error();
    llvm::sys::fs::remove(temporary);
  }
  return isWritten;
}

static void addConstants(llvm::Module &module, StringRef hash) {
  llvm::LLVMContext &context = module.getContext();
  auto add = [&](llvm::Constant *value, StringRef name) {
    new llvm::GlobalVariable(module, value->getType(), /*isConstant=*/true, llvm::GlobalValue::WeakODRLinkage, value,
                             name);
  };
  add(llvm::ConstantDataArray::getString(context, hash), kKernelHashSymbol);
  add(llvm::ConstantInt::get(llvm::Type::getInt32Ty(context), kKernelAbi), kKernelAbiSymbol);
}

FailureOr<KernelObject> morph::compileKernels(ArrayRef<KernelOp> kernels, const KernelCompileOptions &options) {
  KernelObject object;
  object.hash = hashObject(kernels, options);
  for (KernelOp kernel : kernels)
    object.kernels.push_back(kernel.getSymName().str());
  if (kernels.empty())
    return object;
  for (const std::string &folder : options.folders)
    if (auto bytes = llvm::MemoryBuffer::getFile(kernelObjectFile(folder, object.hash), /*IsText=*/false,
                                                 /*RequiresNullTerminator=*/false);
        bytes && isSealed((*bytes)->getBuffer())) {
      object.bytes = (*bytes)->getBuffer().str();
      object.isKept = true;
      return object;
    }

  MLIRContext *context = KernelOp(kernels.front()).getContext();
  FailureOr<OwningOpRef<ModuleOp>> module = buildRowLoops(context, kernels);
  if (failed(module))
    return failure();
  PassManager manager(context, ModuleOp::getOperationName());
  addConversionToLlvm(manager);
  if (failed(manager.run(**module)))
    return failure();

  DialectRegistry registry;
  registerBuiltinDialectTranslation(registry);
  registerLLVMDialectTranslation(registry);
  context->appendDialectRegistry(registry);
  llvm::LLVMContext llvmContext;
  std::unique_ptr<llvm::Module> code = translateModuleToLLVMIR(**module, llvmContext, "kernels");
  if (!code)
    return failure();
  addConstants(*code, options.origin.empty() ? object.hash : options.origin);
  llvm::Expected<std::string> bytes = makeSharedObject(*code, options.targets);
  if (!bytes) {
    KernelOp first = kernels.front();
    return emitError(first.getLoc()) << "kernels cannot be compiled: " << llvm::toString(bytes.takeError());
  }
  object.bytes = std::move(*bytes);
  seal(object.bytes);
  object.isKept = llvm::any_of(options.folders, [&](const std::string &folder) {
    return writeObject(kernelObjectFile(folder, object.hash), object.bytes);
  });
  return object;
}

LogicalResult morph::compilePlanKernels(ModelOp model, plan::Plan &plan) {
  KernelCompileOptions options;
  if (plan.kernels.empty())
    return success();
  options.origin = plan::hashKernels(plan);
  model.getContext()
      ->loadDialect<arith::ArithDialect, func::FuncDialect, linalg::LinalgDialect, LLVM::LLVMDialect, math::MathDialect,
                    scf::SCFDialect, tensor::TensorDialect, vector::VectorDialect>();
  SymbolTable symbols(model);
  SmallVector<KernelOp> kernels;
  for (const plan::Kernel &kernel : plan.kernels)
    kernels.push_back(symbols.lookup<KernelOp>(kernel.name));
  FailureOr<KernelObject> object = compileKernels(kernels, options);
  if (failed(object))
    return failure();
  if (object->isKept)
    plan.kernelObject = object->hash;
  else
    emitWarning(model.getLoc()) << "the compiled kernels of program '" << plan.program
                                << "' can be kept in no folder: set MORPH_CACHE to one that can be written";
  return success();
}
