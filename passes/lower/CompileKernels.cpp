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

/// Puts an object into the cache, whole or not at all. Without it the next run compiles again, which is no error.
static void writeCache(StringRef path, StringRef bytes) {
  if (path.empty() || llvm::sys::fs::create_directories(llvm::sys::path::parent_path(path)))
    return;
  SmallString<128> temporary;
  int descriptor = -1;
  if (llvm::sys::fs::createUniqueFile(path + ".%%%%%%%%", descriptor, temporary))
    return;
  llvm::raw_fd_ostream stream(descriptor, /*shouldClose=*/true);
  stream << bytes;
  stream.close();
  if (stream.has_error() || llvm::sys::fs::rename(temporary, path)) {
    stream.clear_error();
    llvm::sys::fs::remove(temporary);
  }
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
  const std::string path = options.cache.empty() ? "" : kernelObjectFile(options.cache, object.hash);
  if (!path.empty())
    if (auto bytes = llvm::MemoryBuffer::getFile(path, /*IsText=*/false, /*RequiresNullTerminator=*/false);
        bytes && isSealed((*bytes)->getBuffer())) {
      object.bytes = (*bytes)->getBuffer().str();
      object.wasCached = true;
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
  writeCache(path, object.bytes);
  return object;
}

LogicalResult morph::compilePlanKernels(ModelOp model, plan::Plan &plan) {
  KernelCompileOptions options;
  if (plan.kernels.empty() || options.cache.empty())
    return success();
  options.origin = plan::hashKernels(plan);
  model.getContext()
      ->loadDialect<arith::ArithDialect, func::FuncDialect, linalg::LinalgDialect, LLVM::LLVMDialect,
                    math::MathDialect, scf::SCFDialect, tensor::TensorDialect, vector::VectorDialect>();
  SymbolTable symbols(model);
  SmallVector<KernelOp> kernels;
  for (const plan::Kernel &kernel : plan.kernels)
    kernels.push_back(symbols.lookup<KernelOp>(kernel.name));
  FailureOr<KernelObject> object = compileKernels(kernels, options);
  if (failed(object))
    return failure();
  plan.kernelObject = object->hash;
  return success();
}
