// SPDX-License-Identifier: Apache-2.0
// morph-plan-run PLAN --input FILE --output FILE [--precision f64|f32] [--device cpu|cuda] [--weights PATH]...
//                [--runs N] [--counts FILE] [--factors fast|rounded]
// morph-plan-run --serve
// Runs a plan on the tensors of a safetensors file and writes its outputs to another; gradients begin at zero. With
// `--runs` so often, each on what the one before has left in inputs that are updated. Of the program `decode`, which
// runs once, the input has `tokens` [B,T] I64 and `pieces` [N] I64, how many tokens each step appends; the output is
// `logits` [N,B,V], those after each step. `--counts` writes what the stand-in for NVIDIA's driver counted of each
// kernel (morphStandInCountersJson), as a JSON list. With `--factors rounded` the CPU's kernels round factors to bf16
// as a GPU's, on every processor (roundFactors). With `--serve` many runs are one process, which has LibTorch and the
// device loaded: a line of the input is the arguments of a run, a JSON list of strings, and the line that answers it
// what its exit code would be. Exit 0: done; 1: failed; 2: wrong usage, plan or file.

#include "runtime/base/AtomicFile.h"
#include "runtime/base/EndProcess.h"
#include "runtime/base/Log.h"
#include "runtime/base/TorchGuard.h"
#include "runtime/device/TorchDevice.h"
#include "runtime/kernels/SmallProducts.h"
#include "runtime/plan/Names.h"
#include "runtime/plan/Updates.h"
#include "runtime/train/Inference.h"

#include <dlfcn.h>
#include <iostream>
#include <nlohmann/json.hpp>
#include <set>

using namespace morph;

namespace {

struct Options {
  std::string plan, input, output;
  Precision precision = Precision::F32;
  std::string device = "cpu";
  std::vector<std::string> weights;
  int runs = 1;
  bool roundsFactors = false;
  std::string counts; ///< Empty: none.
};

using Results = std::map<std::string, at::Tensor>;

StatusOr<Results> decode(Executor &executor, SafetensorsFile &file, at::ScalarType type) {
  const at::Tensor tokens = file.tensor("tokens"), pieces = file.tensor("pieces");
  if (!tokens.defined() || !pieces.defined())
    return Status::invalid("'" + file.path() + "' lacks 'tokens' or 'pieces'");
  MORPH_ASSIGN_OR_RETURN(const auto decoder, Decoder::create(executor, at::zeros({tokens.size(0)}, at::kLong)));
  std::vector<at::Tensor> logits;
  int64_t begin = 0;
  for (int64_t i = 0; i < pieces.numel(); ++i) {
    const int64_t end = begin + pieces[i].item<int64_t>();
    MORPH_ASSIGN_OR_RETURN(const at::Tensor last, decoder->append(tokens.slice(1, begin, end).contiguous()));
    logits.push_back(last.to(type).clone());
    begin = end;
  }
  return Results{{"logits", at::stack(logits)}};
}

StatusOr<Results> runOften(Executor &executor, SafetensorsFile &file, at::ScalarType type, int runs) {
  NamedTensors inputs;
  for (const std::string &name : file.names()) {
    const at::Tensor tensor = file.tensor(name);
    inputs[name] = tensor.is_floating_point() ? tensor.to(type) : tensor;
  }
  // What is updated must be writable, and lie where the program runs.
  const plan::Plan &plan = executor.plan();
  const std::vector<bool> updated = plan::updatedInputs(plan);
  for (size_t i = 0; i < plan.inputs.size(); ++i)
    if (const auto found = inputs.find(plan.inputs[i].name); updated[i] && found != inputs.end()) {
      const bool isHalf =
          plan.values[static_cast<size_t>(plan.inputs[i].value)].dtype == plan::DType::BF16 && type == at::kFloat;
      found->second = found->second.to(isHalf ? at::kBFloat16 : type).clone().to(executor.device());
    }
  for (const plan::Weight &weight : executor.plan().weights)
    if (weight.trainable)
      inputs[plan::kGradientPrefix + weight.name] = at::zeros(weight.shape, type).to(executor.device());
  for (int i = 1; i < runs; ++i)
    MORPH_RETURN_IF_ERROR(executor.run(inputs).status());
  MORPH_ASSIGN_OR_RETURN(const NamedTensors outputs, executor.run(inputs));
  Results results;
  for (const auto &[name, tensor] : outputs)
    results[name] = tensor.cpu().to(type).contiguous().clone();
  return results;
}

Status writeCounts(const plan::Plan &plan, const std::string &path) {
  const char *driver = std::getenv("MORPH_CUDA_DRIVER");
  void *library = driver ? ::dlopen(driver, RTLD_NOW | RTLD_NOLOAD) : nullptr;
  using CountersJson = size_t(const char *kernel, char *buffer, size_t size);
  auto *json = reinterpret_cast<CountersJson *>(library ? ::dlsym(library, "morphStandInCountersJson") : nullptr);
  if (!json || plan.devices.empty())
    return Status::invalid("counts are of plans for GPUs, on the stand-in for NVIDIA's driver");
  std::set<std::string> kernels;
  for (const plan::DeviceCode &device : plan.devices)
    for (const plan::InstructionCode &code : device.instructions)
      for (const plan::DeviceLaunch &launch : code.launches)
        kernels.insert(launch.kernel);
  std::string text;
  for (const std::string &kernel : kernels) {
    // Texts end in a zero byte.
    std::string counts(json(kernel.c_str(), nullptr, 0) + 1, '\0');
    json(kernel.c_str(), counts.data(), counts.size());
    counts.pop_back();
    if (counts.empty())
      continue;
    text += (text.empty() ? "" : ",\n") + counts;
  }
  return writeFile(path, "[" + text + "]\n");
}

/// The GPU, open until the process ends.
StatusOr<at::Device> openDevice() {
  static std::optional<at::Device> device;
  if (!device) {
    MORPH_ASSIGN_OR_RETURN(std::shared_ptr<CudaDevice> cuda, CudaDevice::open(0));
    MORPH_ASSIGN_OR_RETURN(device, torchDevice(std::move(cuda)));
  }
  return *device;
}

StatusOr<Options> parse(const std::vector<std::string> &arguments) {
  Options options;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string &argument = arguments[i];
    if (argument.rfind("--", 0) != 0) {
      options.plan = argument;
      continue;
    }
    const std::string value = ++i < arguments.size() ? arguments[i] : "";
    if (argument == "--input")
      options.input = value;
    else if (argument == "--output")
      options.output = value;
    else if (argument == "--weights")
      options.weights.push_back(value);
    else if (argument == "--runs" && std::atoi(value.c_str()) > 0)
      options.runs = std::atoi(value.c_str());
    else if (argument == "--counts")
      options.counts = value;
    else if (argument == "--factors" && (value == "fast" || value == "rounded"))
      options.roundsFactors = value == "rounded";
    else if (argument == "--device" && (value == "cpu" || value == "cuda"))
      options.device = value;
    else if (argument == "--precision" && (value == "f64" || value == "f32"))
      options.precision = value == "f64" ? Precision::F64 : Precision::F32;
    else
      return Status::invalid("unknown option '" + argument + " " + value + "'");
  }
  if (options.plan.empty() || options.input.empty() || options.output.empty())
    return Status::invalid("usage: morph-plan-run PLAN --input FILE --output FILE [--precision f64|f32] "
                           "[--device cpu|cuda] [--weights PATH]... [--runs N] [--counts FILE] "
                           "[--factors fast|rounded]");
  return options;
}

StatusOr<int> run(const std::vector<std::string> &arguments) {
  MORPH_ASSIGN_OR_RETURN(const Options options, parse(arguments));
  roundFactors(options.roundsFactors);
  const at::ScalarType type = options.precision == Precision::F64 ? at::kDouble : at::kFloat;
  MORPH_ASSIGN_OR_RETURN(plan::Plan plan, plan::readPlan(options.plan));
  MORPH_ASSIGN_OR_RETURN(const WeightStore store, WeightStore::open(options.weights));
  MORPH_ASSIGN_OR_RETURN(const auto file, SafetensorsFile::open(options.input));
  MORPH_ASSIGN_OR_RETURN(const at::Device device, options.device == "cuda" ? openDevice() : at::Device(at::kCPU));
  MORPH_ASSIGN_OR_RETURN(const auto executor, Executor::create(std::move(plan), store, options.precision, /*seed=*/0,
                                                               /*sharing=*/nullptr, device));
  MORPH_ASSIGN_OR_RETURN(const Results results, executor->plan().program == "decode"
                                                    ? decode(*executor, *file, type)
                                                    : runOften(*executor, *file, type, options.runs));
  MORPH_RETURN_IF_ERROR(writeSafetensors(options.output, results));
  if (!options.counts.empty())
    MORPH_RETURN_IF_ERROR(writeCounts(executor->plan(), options.counts));
  return 0;
}

/// The exit code of a run.
int runOnce(const std::vector<std::string> &arguments) {
  const StatusOr<int> done = guardTorch("run", [&] { return run(arguments); });
  return done.ok() ? *done : reportError("morph-plan-run", done.status());
}

void serve() {
  for (std::string line; std::getline(std::cin, line);)
    std::cout << runOnce(nlohmann::json::parse(line)) << std::endl;
}

} // namespace

int main(int argc, char **argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments != std::vector<std::string>{"--serve"})
    endProcess(runOnce(arguments));
  serve();
  endProcess(0);
}
