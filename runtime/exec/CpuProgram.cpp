// SPDX-License-Identifier: Apache-2.0
#include "runtime/exec/CpuProgram.h"

#include "runtime/base/Log.h"
#include "runtime/exec/Executor.h"
#include "runtime/kernels/Documents.h"
#include "runtime/kernels/Rows.h"
#include "runtime/plan/Workspace.h"

#include <algorithm>
#include <chrono>

namespace morph {

CpuProgram::~CpuProgram() = default;

StatusOr<std::unique_ptr<CpuProgram>> CpuProgram::create(const plan::Plan &plan, Precision precision) {
  std::unique_ptr<CpuProgram> program(new CpuProgram(plan, precision));
  for (const plan::Instruction &instruction : plan.instructions) {
    const bool isLaunch = instruction.op == "launch";
    program->launches_.push_back(isLaunch ? plan::findKernel(plan, instruction) - plan.kernels.data() : -1);
    program->kernels_.push_back(isLaunch ? nullptr : findKernel(instruction.op));
    program->begins_.push_back(isLaunch ? -1 : plan::findBegins(instruction));
    if (!isLaunch && !program->kernels_.back())
      return Status::failed("no kernel for op '" + instruction.op + "' is linked into this program");
  }
  program->loadCompiled();
  return program;
}

void CpuProgram::loadCompiled() {
  // Compiled code is of fp32 values. It is loaded only where it says that it was made of these very kernels.
  if (!plan_.kernels.empty() && precision_ == Precision::F32) {
    StatusOr<KernelLibrary> library = Status::failed("its plan names no compiled kernels");
    if (!plan_.kernelObject.empty())
      library = KernelLibrary::openFirst(kernelFolders(), plan_.kernelObject, plan::hashKernels(plan_));
    if (library.ok())
      library_ = std::move(*library);
    else
      notCompiled_ = library.status().message();
  }
  for (const plan::Kernel &kernel : plan_.kernels) {
    Launched &launched = launched_.emplace_back();
    launched.kernel = &kernel;
    launched.function = library_.find(kernel.name);
  }
}

/// The sums of `blocks` parts of a sum over rows, in their order.
static void addParts(const float *parts, int64_t blocks, int64_t elements, float *sums) {
  forRows(elements, blocks, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      double sum = 0;
      for (int64_t block = 0; block < blocks; ++block)
        sum += static_cast<double>(parts[block * elements + i]);
      sums[i] = static_cast<float>(sum);
    }
  });
}

void CpuProgram::launch(const Launched &launched, const std::vector<at::Tensor> &operands,
                        const std::vector<at::Tensor> &results, char *scratch) {
  const plan::Kernel &kernel = *launched.kernel;
  std::vector<void *> buffers;
  std::vector<int64_t> sizes;
  int64_t elements = 1;
  for (size_t i = 0; i < operands.size(); ++i) {
    buffers.push_back(const_cast<void *>(operands[i].const_data_ptr()));
    if (!plan::hasRows(kernel.values[i]))
      continue;
    elements = std::max(elements, operands[i].numel());
    const auto rows = operands[i].sizes().slice(0, static_cast<size_t>(kernel.rows));
    sizes.assign(rows.begin(), rows.end());
  }
  const int64_t count = c10::multiply_integers(sizes), blocks = plan::blocksOf(count, plan::kRowBlock);
  std::vector<size_t> sums;
  for (size_t r = 0; r < results.size(); ++r) {
    if (plan::hasRows(kernel.values[static_cast<size_t>(kernel.results[r])])) {
      buffers.push_back(results[r].mutable_data_ptr());
      elements = std::max(elements, results[r].numel());
      continue;
    }
    sums.push_back(r);
    buffers.push_back(scratch);
    scratch += plan::rowSumWorkspace(count, results[r].numel());
  }
  const int64_t width = elements / std::max<int64_t>(count, 1);
  if (sums.empty())
    return forRows(count, width,
                   [&](int64_t begin, int64_t end) { launched.function(buffers.data(), sizes.data(), begin, end); });
  forRows(blocks, plan::kRowBlock * width, [&](int64_t begin, int64_t end) {
    launched.function(buffers.data(), sizes.data(), begin * plan::kRowBlock, std::min(count, end * plan::kRowBlock));
  });
  for (size_t r : sums)
    addParts(static_cast<const float *>(buffers[operands.size() + r]), blocks, results[r].numel(),
             results[r].mutable_data_ptr<float>());
}

std::vector<at::Tensor> CpuProgram::interpret(Launched &launched, const std::vector<at::Tensor> &operands,
                                              bool recording) {
  auto orThrow = [](auto result) {
    if (!result.ok())
      throw std::runtime_error(result.status().message());
    return std::move(*result);
  };
  if (!launched.body)
    launched.body = orThrow(Executor::create(plan::planOf(*launched.kernel), WeightStore::inMemory({}), precision_, 0));
  NamedTensors inputs;
  for (size_t i = 0; i < operands.size(); ++i)
    inputs["a" + std::to_string(i)] = operands[i];
  NamedTensors outputs = orThrow(recording ? launched.body->runRecording(inputs) : launched.body->run(inputs));
  std::vector<at::Tensor> results;
  for (size_t i = 0; i < launched.kernel->results.size(); ++i)
    results.push_back(outputs["r" + std::to_string(i)]);
  return results;
}

Status CpuProgram::run(size_t i, const Prepared *, const std::vector<at::Tensor> &operands,
                       const std::vector<at::Tensor> &results, ScratchMemory scratch) {
  if (launches_[i] < 0) {
    const KernelCall call{plan_, plan_.instructions[i], operands, results, {scratch.begin, scratch.bytes}};
    if (begins_[i] >= 0)
      runByDocument(*kernels_[i], call, begins_[i]);
    else
      kernels_[i]->run(call);
    return Status();
  }
  Launched &launched = launched_[static_cast<size_t>(launches_[i])];
  if (launched.function) {
    launch(launched, operands, results, scratch.begin);
    return Status();
  }
  if (!notCompiled_.empty())
    logWarning("morph-run", "the kernels of program '" + plan_.program +
                                "' are interpreted, which is slow: " + std::exchange(notCompiled_, {}));
  const std::vector<at::Tensor> interpreted = interpret(launched, operands, /*recording=*/false);
  for (size_t r = 0; r < results.size(); ++r)
    results[r].copy_(interpreted[r]);
  return Status();
}

StatusOr<double> CpuProgram::secondsOf(const std::function<Status()> &work) {
  const auto begin = std::chrono::steady_clock::now();
  MORPH_RETURN_IF_ERROR(work());
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

std::optional<std::vector<at::Tensor>> CpuProgram::record(size_t i, const std::vector<at::Tensor> &operands) {
  for (size_t o = 0; o < operands.size(); ++o)
    if (!operands[o].defined() && plan_.instructions[i].operands[o] >= 0)
      return std::nullopt;
  if (launches_[i] >= 0)
    return interpret(launched_[static_cast<size_t>(launches_[i])], operands, /*recording=*/true);
  if (!kernels_[i]->reference)
    return std::nullopt;
  const KernelCall call{plan_, plan_.instructions[i], operands, {}};
  return begins_[i] >= 0 ? referenceByDocument(*kernels_[i], call, begins_[i]) : kernels_[i]->reference(call);
}

} // namespace morph
