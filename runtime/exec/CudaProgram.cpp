// SPDX-License-Identifier: Apache-2.0
#include "runtime/exec/CudaProgram.h"

#include "runtime/plan/OpSizes.h"

#include <cstdlib>
#include <map>

namespace morph {

struct CudaProgram::Launches : Prepared {
  struct Argument {
    plan::LaunchArgument::Kind kind;
    int64_t number; ///< An operand or result, a byte of scratch, or the number itself.
  };
  struct Launch {
    Dim3 grid, block;
    std::vector<Argument> arguments;
  };
  struct Instruction {
    std::vector<Launch> launches;
    CudaProduct product; ///< Where there are none.
  };
  std::vector<Instruction> instructions;
};

struct CudaProgram::DriverGraph : Graph {
  explicit DriverGraph(CudaGraph graph) : graph(std::move(graph)) {}
  CudaGraph graph;
};

/// ", layer 3" of weights' names, `model.layers.3.mlp...`, by the weights' values; nothing of those outside layers, as
/// the head's. Gates are of the layer that they stand in.
static std::map<int64_t, std::string> layersOfWeights(const plan::Plan &plan) {
  std::map<int64_t, std::string> layers;
  const std::string begin = "layers.";
  for (size_t w = 0; w < plan.weights.size(); ++w) {
    const std::string &name = plan.weights[w].name;
    if (plan.weights[w].gate)
      continue;
    std::string &layer = layers[plan.weightValues[w]];
    if (const size_t at = name.find(begin); at != std::string::npos) {
      const std::string rest = name.substr(at + begin.size());
      layer = ", layer " + rest.substr(0, rest.find('.'));
    }
  }
  return layers;
}

/// Leaves a plan the latest code that the device runs.
static Status chooseCode(plan::Plan &plan, const CudaProperties &properties, const std::string &what) {
  const int here = properties.major * 10 + properties.minor;
  std::string targets;
  std::optional<plan::DeviceCode> chosen;
  for (plan::DeviceCode &code : plan.devices) {
    targets += (targets.empty() ? "" : ", ") + code.target;
    if (plan::capabilityOf(code.target) <= here)
      chosen = std::move(code);
  }
  if (targets.empty())
    return Status::invalid(what + " has no code for GPUs", "'morph compile SPEC --device sm_90' makes it");
  if (!chosen)
    return Status::invalid(what + " is compiled for " + targets + ", and " + properties.name + " is sm_" +
                               std::to_string(here),
                           "compile it for sm_" + std::to_string(here) + " or an earlier one");
  plan.devices = {std::move(*chosen)};
  return Status();
}

StatusOr<std::unique_ptr<CudaProgram>> CudaProgram::create(plan::Plan &plan, CudaDevice &device) {
  const std::string what = "program '" + plan.program + "'";
  MORPH_RETURN_IF_ERROR(chooseCode(plan, device.properties(), what));
  const plan::DeviceCode &code = plan.devices.front();
  if (code.text.empty())
    return Status::invalid(what + ": its PTX is not there: '" + code.ptx + ".ptx' belongs beside the plan");
  MORPH_ASSIGN_OR_RETURN(CudaModule module, device.load(code.text, what));
  std::unique_ptr<CudaProgram> program(new CudaProgram(plan, device, std::move(module)));
  std::map<int64_t, std::string> layers = layersOfWeights(plan);
  std::string layer; // Of the last weight that was read.
  for (size_t i = 0; i < plan.instructions.size(); ++i) {
    std::vector<CudaFunction> &functions = program->functions_.emplace_back();
    for (const plan::DeviceLaunch &launch : code.instructions[i].launches) {
      MORPH_ASSIGN_OR_RETURN(CudaFunction function, program->module_.find(launch.kernel));
      functions.push_back(std::move(function));
    }
    for (int64_t operand : plan.instructions[i].operands)
      if (const auto found = layers.find(operand); found != layers.end())
        layer = found->second;
    program->names_.push_back(what + ": instruction " + std::to_string(i) + " (" + plan.instructions[i].op + layer +
                              ")");
  }
  // Their workspace is part of what the program takes.
  const auto isProduct = [&](size_t i) {
    const plan::OpRule *rule = plan::findOpRule(plan.instructions[i].op);
    return program->functions_[i].empty() && rule && rule->viewOf.empty();
  };
  for (size_t i = 0; i < plan.instructions.size(); ++i)
    if (isProduct(i)) {
      MORPH_RETURN_IF_ERROR(device.prepareProducts(what));
      break;
    }
  return program;
}

static CudaType cudaType(plan::DType type) {
  return type == plan::DType::F64 ? CudaType::F64 : type == plan::DType::BF16 ? CudaType::BF16 : CudaType::F32;
}

/// The op's product of matrices: rows are all dimensions but the last. Nothing where it is none.
static CudaProduct productOf(const plan::Plan &plan, const plan::Instruction &instruction,
                             const std::vector<std::vector<int64_t>> &shapes) {
  CudaProduct description;
  const auto product = plan::matrixProduct({plan, instruction, shapes});
  if (!product)
    return description;
  description.m = product->m;
  description.n = product->n;
  description.k = product->k;
  description.transposeA = product->transposedA;
  description.transposeB = product->transposedB;
  description.factors = cudaType(product->factors);
  description.result = cudaType(plan.values[static_cast<size_t>(instruction.results[0])].dtype);
  return description;
}

StatusOr<std::unique_ptr<DeviceProgram::Prepared>>
CudaProgram::prepare(const std::map<std::string, int64_t> &sizes,
                     const std::vector<std::vector<int64_t>> &shapes) const {
  auto launches = std::make_unique<Launches>();
  constexpr int64_t most = std::numeric_limits<int32_t>::max();
  for (size_t i = 0; i < plan_.instructions.size(); ++i) {
    Launches::Instruction &instruction = launches->instructions.emplace_back();
    if (functions_[i].empty())
      instruction.product = productOf(plan_, plan_.instructions[i], shapes);
    for (const plan::DeviceLaunch &launch : plan_.devices.front().instructions[i].launches) {
      Launches::Launch prepared;
      prepared.block.x = static_cast<unsigned>(launch.threads);
      unsigned *const axes[] = {&prepared.grid.x, &prepared.grid.y, &prepared.grid.z};
      for (size_t axis = 0; axis < launch.grid.size(); ++axis) {
        MORPH_ASSIGN_OR_RETURN(const int64_t blocks, plan::evaluate(launch.grid[axis], sizes));
        if (blocks > (axis == 0 ? most : 65535))
          return Status::invalid("'" + launch.kernel + "' would have " + std::to_string(blocks) +
                                 " blocks of threads, more than a device takes");
        *axes[axis] = static_cast<unsigned>(blocks);
      }
      for (const plan::LaunchArgument &argument : launch.arguments) {
        int64_t number = argument.index;
        if (!argument.size.empty()) {
          MORPH_ASSIGN_OR_RETURN(number, plan::evaluate(argument.size, sizes));
        }
        prepared.arguments.push_back({argument.kind, number});
      }
      instruction.launches.push_back(std::move(prepared));
    }
  }
  return std::unique_ptr<Prepared>(std::move(launches));
}

StatusOr<std::optional<DeviceProgram::Room>> CudaProgram::room() const {
  MORPH_ASSIGN_OR_RETURN(const int64_t free, device_.freeBytes());
  return std::optional<Room>(Room{device_.properties().name, free, device_.heldBytes()});
}

StatusOr<std::unique_ptr<DeviceProgram::Graph>> CudaProgram::capture(const std::function<Status()> &work) {
  MORPH_ASSIGN_OR_RETURN(CudaGraph graph, device_.capture(work));
  return std::unique_ptr<Graph>(new DriverGraph(std::move(graph)));
}

Status CudaProgram::launch(const Graph &graph) {
  return device_.launch(static_cast<const DriverGraph &>(graph).graph, "program '" + plan_.program + "'");
}

static CudaSpan spanOf(const at::Tensor &tensor) {
  return {tensor.const_data_ptr(), static_cast<int64_t>(tensor.nbytes())};
}

Status CudaProgram::run(size_t i, const Prepared *prepared, const std::vector<at::Tensor> &operands,
                        const std::vector<at::Tensor> &results, ScratchMemory scratch) {
  const Launches::Instruction &instruction = static_cast<const Launches *>(prepared)->instructions[i];
  const bool isChecked = device_.checksAccesses();
  std::vector<CudaSpan> touched;
  const auto give = [&](CudaSpan span) {
    if (isChecked && span.begin)
      touched.push_back(span);
    return span.begin;
  };
  if (functions_[i].empty()) {
    if (instruction.product.k == 0)
      return Status::failed(names_[i] + " is no product of matrices, and has no kernels");
    const bool hasBias = operands.size() > 2 && operands[2].defined();
    const void *const a = give(spanOf(operands[0])), *const b = give(spanOf(operands[1])),
                      *const bias = hasBias ? give(spanOf(operands[2])) : nullptr;
    give(spanOf(results[0]));
    return device_.product(instruction.product, a, b, bias, results[0].mutable_data_ptr(), names_[i],
                           std::move(touched));
  }
  using Kind = plan::LaunchArgument::Kind;
  std::vector<int64_t> values;
  std::vector<void *> addresses;
  for (size_t l = 0; l < functions_[i].size(); ++l) {
    const Launches::Launch &launch = instruction.launches[l];
    values.clear();
    touched.clear();
    for (const Launches::Argument &argument : launch.arguments) {
      const void *pointer = nullptr;
      const auto index = static_cast<size_t>(argument.number);
      if (argument.kind == Kind::Operand && operands[index].defined())
        pointer = give(spanOf(operands[index]));
      else if (argument.kind == Kind::Result)
        pointer = give(spanOf(results[index]));
      else if (argument.kind == Kind::Scratch) // How long its part is no plan says.
        pointer = give({scratch.begin + argument.number, scratch.bytes - argument.number});
      values.push_back(argument.kind == Kind::Size ? argument.number : reinterpret_cast<int64_t>(pointer));
    }
    addresses.clear();
    for (int64_t &value : values)
      addresses.push_back(&value);
    MORPH_RETURN_IF_ERROR(device_.launch(functions_[i][l], launch.grid, launch.block,
                                         plan_.devices.front().instructions[i].launches[l].sharedBytes,
                                         addresses.data(), names_[i], touched));
  }
  return Status();
}

} // namespace morph
