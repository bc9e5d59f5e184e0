// SPDX-License-Identifier: Apache-2.0
#include "runtime/exec/CudaProgram.h"

#include "runtime/plan/OpSizes.h"

#include <cstdlib>
#include <map>

namespace morph {

struct CudaProgram::Launches : Prepared {
  struct Instruction {
    std::vector<Launch> launches;
    CudaProduct product; ///< Where there are none.
  };
  std::vector<Instruction> instructions;
  std::map<std::string, int64_t> sizes;
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
  if (code.ptx.empty())
    return Status::invalid(what + " has no PTX: a plan that tells costs (morph-translate --without-code)",
                           "'morph compile SPEC --device " + code.target + "' makes one that runs");
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
    program->begins_.push_back(plan::findBegins(plan.instructions[i]));
    program->separates_ |= program->begins_.back() >= 0;
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

StatusOr<std::vector<CudaProgram::Launch>>
CudaProgram::launchesOf(size_t i, const std::map<std::string, int64_t> &sizes, int64_t document) const {
  constexpr int64_t most = std::numeric_limits<int32_t>::max();
  std::vector<Launch> launches;
  for (const plan::DeviceLaunch &launch : plan_.devices.front().instructions[i].launches) {
    Launch &prepared = launches.emplace_back();
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
      int64_t number = argument.kind == plan::LaunchArgument::Kind::Document ? document : argument.index;
      if (!argument.size.empty()) {
        MORPH_ASSIGN_OR_RETURN(number, plan::evaluate(argument.size, sizes));
      }
      prepared.arguments.push_back({argument.kind, number});
    }
  }
  return launches;
}

StatusOr<std::unique_ptr<DeviceProgram::Prepared>>
CudaProgram::prepare(const std::map<std::string, int64_t> &sizes,
                     const std::vector<std::vector<int64_t>> &shapes) const {
  auto prepared = std::make_unique<Launches>();
  prepared->sizes = sizes;
  for (size_t i = 0; i < plan_.instructions.size(); ++i) {
    Launches::Instruction &instruction = prepared->instructions.emplace_back();
    if (functions_[i].empty())
      instruction.product = productOf(plan_, plan_.instructions[i], shapes);
    MORPH_ASSIGN_OR_RETURN(instruction.launches, launchesOf(i, sizes, 0));
  }
  return std::unique_ptr<Prepared>(std::move(prepared));
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

Status CudaProgram::launchAll(size_t i, const std::vector<Launch> &launches, const std::vector<at::Tensor> &operands,
                              const std::vector<at::Tensor> &results, ScratchMemory scratch) {
  using Kind = plan::LaunchArgument::Kind;
  std::vector<CudaSpan> touched;
  std::vector<int64_t> values;
  std::vector<void *> addresses;
  for (size_t l = 0; l < launches.size(); ++l) {
    values.clear();
    touched.clear();
    for (const Argument &argument : launches[l].arguments) {
      CudaSpan span;
      const auto index = static_cast<size_t>(argument.number);
      if (argument.kind == Kind::Operand && operands[index].defined())
        span = spanOf(operands[index]);
      else if (argument.kind == Kind::Result)
        span = spanOf(results[index]);
      else if (argument.kind == Kind::Scratch) // How long its part is no plan says.
        span = {scratch.begin + argument.number, scratch.bytes - argument.number};
      if (device_.checksAccesses() && span.begin)
        touched.push_back(span);
      const bool isNumber = argument.kind == Kind::Size || argument.kind == Kind::Document;
      values.push_back(isNumber ? argument.number : reinterpret_cast<int64_t>(span.begin));
    }
    addresses.clear();
    for (int64_t &value : values)
      addresses.push_back(&value);
    MORPH_RETURN_IF_ERROR(device_.launch(functions_[i][l], launches[l].grid, launches[l].block,
                                         plan_.devices.front().instructions[i].launches[l].sharedBytes,
                                         addresses.data(), names_[i], touched));
  }
  return Status();
}

Status CudaProgram::launchByDocument(size_t i, const std::map<std::string, int64_t> &sizes,
                                     const std::vector<DocumentSpan> &documents,
                                     const std::vector<at::Tensor> &operands, const std::vector<at::Tensor> &results,
                                     ScratchMemory scratch) {
  const plan::Instruction &instruction = plan_.instructions[i];
  const DocumentParts parts(plan_, instruction, begins_[i]);
  const int64_t value = instruction.operands[static_cast<size_t>(begins_[i])];
  const std::vector<plan::Dim> &shape = plan_.values[static_cast<size_t>(value)].shape;
  std::map<std::string, int64_t> own = sizes;
  own[std::get<std::string>(shape[0])] = 1;
  for (size_t d = 0; d < documents.size(); ++d) {
    own[std::get<std::string>(shape[1])] = documents[d].length;
    MORPH_ASSIGN_OR_RETURN(const std::vector<Launch> launches, launchesOf(i, own, static_cast<int64_t>(d)));
    std::vector<at::Tensor> ownOperands, ownResults;
    for (size_t o = 0; o < operands.size(); ++o)
      ownOperands.push_back(operands[o].defined() ? parts.operand(o, operands[o], documents[d]) : at::Tensor());
    for (size_t r = 0; r < results.size(); ++r)
      ownResults.push_back(parts.result(r, results[r], documents[d]));
    MORPH_RETURN_IF_ERROR(launchAll(i, launches, ownOperands, ownResults, scratch));
  }
  return Status();
}

Status CudaProgram::run(size_t i, const Prepared *prepared, const std::vector<at::Tensor> &operands,
                        const std::vector<at::Tensor> &results, ScratchMemory scratch) {
  const auto &launches = *static_cast<const Launches *>(prepared);
  const Launches::Instruction &instruction = launches.instructions[i];
  if (functions_[i].empty()) {
    if (instruction.product.k == 0)
      return Status::failed(names_[i] + " is no product of matrices, and has no kernels");
    std::vector<CudaSpan> touched;
    const auto give = [&](CudaSpan span) {
      if (device_.checksAccesses())
        touched.push_back(span);
      return span.begin;
    };
    const bool hasBias = operands.size() > 2 && operands[2].defined();
    const void *const a = give(spanOf(operands[0])), *const b = give(spanOf(operands[1])),
                      *const bias = hasBias ? give(spanOf(operands[2])) : nullptr;
    give(spanOf(results[0]));
    return device_.product(instruction.product, a, b, bias, results[0].mutable_data_ptr(), names_[i],
                           std::move(touched));
  }
  if (begins_[i] >= 0) {
    const at::Tensor &begins_BT = operands[static_cast<size_t>(begins_[i])];
    if (const std::vector<DocumentSpan> documents = documentsOf(begins_BT); !areWhole(documents, begins_BT))
      return launchByDocument(i, launches.sizes, documents, operands, results, scratch);
  }
  return launchAll(i, instruction.launches, operands, results, scratch);
}

} // namespace morph
