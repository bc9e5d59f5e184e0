// SPDX-License-Identifier: Apache-2.0
#include "passes/lower/cuda/CompileDevice.h"

#include "passes/lower/Passes.h"
#include "passes/lower/cuda/DeviceForms.h"
#include "passes/lower/cuda/LowerToCuda.h"
#include "runtime/base/Sha256.h"
#include "runtime/plan/DocumentAxes.h"
#include "runtime/plan/Workspace.h"

#include "mlir/Support/FileUtilities.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/ToolOutputFile.h"

using namespace mlir;
using namespace morph;

//===----------------------------------------------------------------------===//
// Kernels of rows
//===----------------------------------------------------------------------===//

/// The launches of a kernel of rows.
static void launchRows(DeviceFormCall &call, const plan::Kernel &kernel, const RowBlocks &blocks) {
  // The row space is that of any argument with rows.
  std::vector<plan::Dim> rows;
  std::vector<plan::LaunchArgument> arguments;
  for (size_t i = 0; i < static_cast<size_t>(kernel.arguments); ++i) {
    if (plan::hasRows(kernel.values[i])) {
      const std::vector<plan::Dim> &shape = call.operandType(i).shape;
      rows.assign(shape.begin(), shape.begin() + kernel.rows);
    }
    arguments.push_back(operandArgument(static_cast<int64_t>(i)));
  }
  struct Sum {
    int64_t result, elements;
    plan::LaunchArgument parts;
  };
  std::vector<Sum> sums;
  for (auto [r, value] : llvm::enumerate(kernel.results)) {
    const plan::TensorType &type = kernel.values[static_cast<size_t>(value)];
    auto result = static_cast<int64_t>(r);
    if (plan::hasRows(type)) {
      arguments.push_back(resultArgument(result));
      continue;
    }
    int64_t elements = 1;
    for (const plan::Dim &dim : type.shape)
      elements *= std::get<int64_t>(dim);
    auto bytes = static_cast<int64_t>(llvm::alignTo(static_cast<uint64_t>(elements) * 4, 256));
    sums.push_back({result, elements, call.takeScratch(productOf(rows, 1, plan::kRowBlock, bytes))});
    arguments.push_back(sums.back().parts);
  }
  arguments.push_back(sizeArgument(productOf(rows)));
  call.launch(kernel.name, {productOf(rows, blocks.unitsPerRow, blocks.perBlock)}, blocks.threads, arguments);
  for (Sum &sum : sums)
    call.launch(call.defineSumOfParts(sum.elements), {plan::constantFormula((sum.elements + 127) / 128)}, 128,
                {sum.parts, resultArgument(sum.result), sizeArgument(productOf(rows, 1, plan::kRowBlock))});
}

//===----------------------------------------------------------------------===//
// Windows of several documents
//===----------------------------------------------------------------------===//

/// The launches of an instruction with `begins` are made once a document, each on its block of the values. What is the
/// documents' sum goes to scratch, and from there to the result. Fails where a document has no block of a value.
static LogicalResult addUpDocuments(DeviceFormCall &call, int64_t begins) {
  constexpr int64_t threads = 128;
  using Kind = plan::LaunchArgument::Kind;
  const plan::Instruction &instruction = call.instruction;
  auto axesOf = [&](int64_t value) {
    return plan::documentAxes(call.plan, instruction.operands[static_cast<size_t>(begins)], value);
  };
  if (!llvm::all_of(instruction.operands, [&](int64_t operand) { return axesOf(operand).isBlock(); }))
    return failure();
  for (auto [r, value] : llvm::enumerate(instruction.results)) {
    const auto result = static_cast<int64_t>(r);
    if (!axesOf(value).isBlock())
      return failure();
    if (!axesOf(value).isSum())
      continue;
    int64_t elements = 1;
    for (size_t d = 0; d < call.resultType(r).shape.size(); ++d)
      elements *= staticSize(call.resultType(r), d);
    const plan::LaunchArgument part = call.takeScratch(scratchOf({}, elements));
    for (plan::DeviceLaunch &launch : call.code.launches)
      for (plan::LaunchArgument &argument : launch.arguments)
        if (argument.kind == Kind::Result && argument.index == result)
          argument = part;
    std::string add = call.define(
        "document_" + std::to_string(elements), /*pointers=*/2, /*sizes=*/1, threads, [&](KernelBuilder &k) {
          Index element = k.block() * threads + k.thread();
          k.onlyIf(element < elements, [&] {
            Scalar before =
                k.choose(k.size(0) == 0, [&] { return k.number(0); }, [&] { return k.load(k.pointer(1), element); });
            k.store(before + k.load(k.pointer(0), element), k.pointer(1), element);
          });
        });
    call.launch(add, {plan::constantFormula(llvm::divideCeil(elements, threads))}, threads,
                {part, resultArgument(result), {Kind::Document, 0, {}}});
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Plans
//===----------------------------------------------------------------------===//

/// The code of one plan.
static FailureOr<plan::DeviceCode> compile(ModelOp model, const plan::Plan &plan, const plan::DeviceTarget &target,
                                           DeviceText text) {
  MLIRContext *context = model.getContext();
  SymbolTable symbols(model);
  SmallVector<KernelOp> kernels;
  llvm::StringMap<size_t> places;
  for (const plan::Kernel &kernel : plan.kernels) {
    places[kernel.name] = kernels.size();
    kernels.push_back(symbols.lookup<KernelOp>(kernel.name));
  }
  FailureOr<CudaKernels> cuda = buildCudaKernels(context, kernels);
  if (failed(cuda))
    return failure();
  plan::DeviceCode device;
  device.target = target.name;
  for (const plan::Instruction &instruction : plan.instructions) {
    plan::InstructionCode &code = device.instructions.emplace_back();
    const plan::OpRule *rule = plan::findOpRule(instruction.op);
    DeviceFormCall call(plan, instruction, cuda->getGpuModule(), target, text == DeviceText::EveryTile, code);
    if (const plan::Kernel *kernel = plan::findKernel(plan, instruction)) {
      launchRows(call, *kernel, cuda->rows[places[kernel->name]]);
      continue;
    }
    bool isProduct =
        llvm::count_if(rule->operands, [](const plan::OperandRule &operand) { return operand.factor; }) == 2;
    if (!rule->viewOf.empty() || (isProduct && !findDeviceForm(instruction.op)))
      continue;
    DeviceForm form = findDeviceForm(instruction.op);
    if (!form)
      return emitError(model.getLoc()) << "program '" << plan.program << "': '" << instruction.op
                                       << "' has no form on GPUs yet";
    form(call);
    if (const int64_t begins = plan::findBegins(instruction); begins >= 0 && failed(addUpDocuments(call, begins)))
      return emitError(model.getLoc()) << "program '" << plan.program << "': a value of '" << instruction.op
                                       << "' has no block of memory a document";
  }
  if (text == DeviceText::None)
    return device;
  FailureOr<std::string> ptx = translateToPtx(*cuda->module, target);
  if (failed(ptx))
    return failure();
  device.ptx = sha256(*ptx);
  device.text = std::move(*ptx);
  return device;
}

void morph::registerDeviceDialects(DialectRegistry &registry) {
  registry.insert<arith::ArithDialect, cf::ControlFlowDialect, func::FuncDialect, gpu::GPUDialect,
                  linalg::LinalgDialect, LLVM::LLVMDialect, NVVM::NVVMDialect, math::MathDialect, scf::SCFDialect,
                  tensor::TensorDialect, vector::VectorDialect>();
}

/// Writes code's PTX beside the plan at `planPath`.
static LogicalResult writePtx(ModelOp model, const plan::DeviceCode &code, StringRef planPath) {
  SmallString<256> path(llvm::sys::path::parent_path(planPath));
  llvm::sys::path::append(path, code.ptx + ".ptx");
  std::string message;
  std::unique_ptr<llvm::ToolOutputFile> file = openOutputFile(path, &message);
  if (!file)
    return emitError(model.getLoc()) << message;
  file->os() << code.text;
  file->keep();
  return success();
}

/// Gives a plan code for one target.
static LogicalResult compileFor(ModelOp model, plan::Plan &plan, const plan::DeviceTarget &target, StringRef planPath,
                                DeviceText text) {
  FailureOr<plan::DeviceCode> code = compile(model, plan, target, text);
  if (failed(code))
    return failure();
  if (text != DeviceText::None && failed(writePtx(model, *code, planPath)))
    return failure();
  plan.devices.push_back(std::move(*code));
  return success();
}

LogicalResult morph::compilePlanForDevices(ModelOp model, plan::Plan &plan, ArrayRef<std::string> chips,
                                           StringRef planPath, DeviceText text) {
  for (StringRef chip : chips)
    if (!findPtxTarget(chip))
      return emitError(model.getLoc()) << describeUnknownTarget(chip);
  if (planPath == "-" && text != DeviceText::None)
    return emitError(model.getLoc(), "PTX is written beside the plan, which must be a file");
  for (const plan::DeviceTarget &target : plan::kDeviceTargets)
    if (llvm::is_contained(chips, target.name) && failed(compileFor(model, plan, target, planPath, text)))
      return failure();
  if (!plan.update)
    return success();
  auto update = std::make_shared<plan::Plan>(*plan.update);
  if (failed(compilePlanForDevices(model, *update, chips, planPath, text)))
    return failure();
  plan.update = std::move(update);
  return success();
}
