// SPDX-License-Identifier: Apache-2.0
#include "runtime/exec/Executor.h"

#include "runtime/base/Memory.h"
#include "runtime/base/TorchGuard.h"
#include "runtime/device/TorchDevice.h"
#include "runtime/exec/Bindings.h"
#include "runtime/exec/CpuProgram.h"
#include "runtime/exec/CudaProgram.h"
#include "runtime/exec/HeldMemory.h"
#include "runtime/exec/HostCopies.h"
#include "runtime/plan/InferShapes.h"
#include "runtime/plan/Updates.h"
#include "runtime/plan/Workspace.h"

#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace morph {

namespace {

/// The 16-bit type of a plan's type, if it is one.
std::optional<at::ScalarType> halfType(plan::DType dtype) {
  if (dtype == plan::DType::BF16)
    return at::kBFloat16;
  if (dtype == plan::DType::F16)
    return at::kHalf;
  return std::nullopt;
}

/// Whether a value that is over is filled with NaN, so that nothing uses it: in builds that check themselves, and where
/// MORPH_POISON is set, as it is for tests.
bool isPoisoning() {
#if defined(NDEBUG) && !defined(MORPH_SANITIZE)
  return std::getenv("MORPH_POISON") != nullptr;
#else
  return true;
#endif
}

/// Sets all bits: NaN, whatever the type.
void fillWithOnes(const at::Tensor &tensor) {
  if (!isCuda(tensor.device()))
    std::memset(tensor.data_ptr(), 0xff, tensor.nbytes());
  else
    static_cast<void>(
        cudaDeviceOf(tensor.device()).fill(tensor.data_ptr(), 0xff, static_cast<int64_t>(tensor.nbytes())));
}

} // namespace

Executor::~Executor() {
  if (divided_)
    divided_->remove(groups_);
  addHeldBytes(-viewBytes_);
}

StatusOr<std::unique_ptr<Executor>> Executor::create(plan::Plan plan, const WeightStore &store, Precision precision,
                                                     uint64_t seed, const Executor *sharing, at::Device device,
                                                     std::shared_ptr<DividedTensors> divided) {
  MORPH_RETURN_IF_ERROR(plan::validate(plan));
  // Code for GPUs has scratch of its own, which the CPU's kernels do not go by.
  if (!isCuda(device))
    plan.devices.clear();
  keepFreedMemory();
  std::unique_ptr<Executor> executor(new Executor());
  executor->plan_ = std::move(plan);
  executor->precision_ = precision;
  executor->device_ = device;
  executor->arena_ = sharing ? sharing->arena_ : std::make_shared<Arena>(device);
  std::string what = "program '" + executor->plan_.program + "'";
  if (isCuda(device)) {
    if (precision != Precision::F32)
      return Status::invalid(what + ": GPUs run fp32 and bf16 only");
    MORPH_ASSIGN_OR_RETURN(executor->program_, CudaProgram::create(executor->plan_, cudaDeviceOf(device)));
  } else {
    MORPH_ASSIGN_OR_RETURN(executor->program_, CpuProgram::create(executor->plan_, precision));
  }
  if (divided && divided->count() > 1)
    executor->divided_ = std::move(divided);
  executor->prepare();
  MORPH_RETURN_IF_ERROR(guardTorch(what, [&]() -> Status {
    // Parts that nobody reads any more go before others come.
    if (executor->divided_)
      MORPH_RETURN_IF_ERROR(executor->divided_->add({}).status());
    MORPH_RETURN_IF_ERROR(executor->bindWeights(store, seed, sharing));
    return executor->divideWeights(sharing);
  }));
  return executor;
}

void Executor::prepare() {
  for (const plan::Instruction &instruction : plan_.instructions) {
    if (instruction.op == "launch") {
      viewed_.push_back(-1);
      updated_.emplace_back(instruction.results.size(), -1);
      continue;
    }
    const plan::OpRule &rule = *plan::findOpRule(instruction.op);
    updated_.push_back(plan::updatedValues(instruction, rule));
    viewed_.push_back(rule.viewOf.empty() ? -1 : plan::operandValue(instruction, rule, rule.viewOf));
  }
  inputs_ = std::make_unique<InputChecker>(plan_);
  poisons_ = isPoisoning();
}

std::shared_ptr<Executor::BoundWeight> Executor::findBound(const plan::Weight &weight) const {
  for (size_t w = 0; w < plan_.weights.size(); ++w)
    if (plan_.weights[w].name == weight.name && plan_.weights[w].shape == weight.shape)
      return bound_[w];
  return nullptr;
}

std::shared_ptr<Executor::BoundWeight> Executor::findShared(size_t w, const Executor *sharing, bool dividable) const {
  const plan::Weight &weight = plan_.weights[w];
  std::shared_ptr<BoundWeight> shared = sharing ? sharing->findBound(weight) : nullptr;
  const bool fits = shared && shared->value.scalar_type() == typeOf(plan_.weightValues[w]) &&
                    (shared->master || !(weight.trainable || weight.gate)) && (dividable || !shared->divided);
  return fits ? shared : nullptr;
}

Status Executor::checkRoomForWeights(const Executor *sharing, const std::vector<bool> &dividable) const {
  MORPH_ASSIGN_OR_RETURN(const std::optional<DeviceProgram::Room> room, program_->room());
  if (!room)
    return Status();
  int64_t all = 0, most = 0;
  std::string largest;
  for (size_t w = 0; w < plan_.weights.size(); ++w) {
    if (findShared(w, sharing, dividable[w]))
      continue;
    const int64_t elements = c10::multiply_integers(plan_.weights[w].shape);
    const int64_t bytes = (dividable[w] ? plan::partElements(elements, divided_->count()) : elements) *
                          static_cast<int64_t>(c10::elementSize(typeOf(plan_.weightValues[w])));
    all += bytes;
    if (bytes > most)
      largest = plan_.weights[w].name;
    most = std::max(most, bytes);
  }
  if (all <= room->freeBytes)
    return Status();
  return Status::failed("out of memory on " + room->device + ": the weights of program '" + plan_.program + "' take " +
                            std::to_string(all) + " bytes, '" + largest + "' alone " + std::to_string(most) + "; " +
                            std::to_string(room->freeBytes) + " are free beside " + std::to_string(room->heldBytes) +
                            " that are held",
                        "no length would fit; model.shard divides frozen weights among the GPUs of several processes");
}

at::ScalarType Executor::typeOf(int64_t value) const {
  return scalarType(plan_.values[static_cast<size_t>(value)].dtype, precision_);
}

Status Executor::bindWeights(const WeightStore &store, uint64_t seed, const Executor *sharing) {
  at::NoGradGuard noGrad;
  at::Tensor gates; // Those of a device, one after the other.
  int64_t gateElements = 0;
  for (const plan::Weight &weight : plan_.weights)
    gateElements += weight.gate ? c10::multiply_integers(weight.shape) : 0;
  const std::vector<bool> dividable =
      divided_ ? plan::dividableWeights(plan_) : std::vector<bool>(plan_.weights.size(), false);
  MORPH_RETURN_IF_ERROR(checkRoomForWeights(sharing, dividable));
  for (size_t w = 0; w < plan_.weights.size(); ++w) {
    const plan::Weight &weight = plan_.weights[w];
    const bool master = weight.trainable || weight.gate;
    const at::ScalarType type = typeOf(plan_.weightValues[w]);
    if (std::shared_ptr<BoundWeight> shared = findShared(w, sharing, dividable[w])) {
      if (master)
        masters_[weight.name] = shared->value;
      bound_.push_back(std::move(shared));
      continue;
    }
    const Part part = dividable[w] ? Part{divided_->rank(), divided_->count()} : Part();
    MORPH_ASSIGN_OR_RETURN(at::Tensor tensor,
                           loadWeight(plan_, weight, store, seed, scalarType(plan::DType::F32, precision_), part));
    // What ships is what is measured: a weight has the type in which it is exported, also where a stage left fp32.
    if (const std::optional<at::ScalarType> half = halfType(weight.dtype); half && !weight.trainable)
      tensor = tensor.to(*half);
    MORPH_RETURN_IF_ERROR(guardTorch("program '" + plan_.program + "': weight '" + weight.name + "'", [&] {
      tensor = tensor.to(type, /*non_blocking=*/false, /*copy=*/master).contiguous().to(device_);
      return Status();
    }));
    if (weight.gate && !device_.is_cpu()) {
      if (!gates.defined())
        gates = at::empty({gateElements}, tensor.options());
      gateElements -= tensor.numel();
      tensor = gates.narrow(0, gateElements, tensor.numel()).view(tensor.sizes()).copy_(tensor);
    }
    if (master)
      masters_[weight.name] = tensor;
    // A view of a mapped file takes memory like a tensor of its own, once it is read.
    if (device_.is_cpu() && !tensor.storage().allocator())
      viewBytes_ += static_cast<int64_t>(tensor.nbytes());
    bound_.push_back(std::make_shared<BoundWeight>(BoundWeight{tensor, master, dividable[w]}));
  }
  addHeldBytes(viewBytes_);
  return Status();
}

Status Executor::divideWeights(const Executor *sharing) {
  gathers_.groupOf.assign(plan_.instructions.size(), -1);
  gathers_.weightOf.assign(plan_.values.size(), -1);
  if (!divided_)
    return Status();
  std::vector<bool> isDivided;
  for (const std::shared_ptr<BoundWeight> &bound : bound_)
    isDivided.push_back(bound->divided);
  gathers_ = plan::planGathers(plan_, isDivided, divided_->count(), {precision_ == Precision::F64, 1});
  gathered_ = sharing && sharing->gathered_ ? sharing->gathered_ : std::make_shared<DividedTensors::Buffer>();
  at::Tensor &memory = gathered_->memory;
  if (!memory.defined() || memory.numel() < gathers_.bufferBytes) {
    gathered_->group = -1;
    memory = at::Tensor(); // Never two at once.
    memory = at::empty({gathers_.bufferBytes}, at::TensorOptions(at::kByte).device(device_));
  }
  std::vector<DividedTensors::Group> groups;
  for (const std::vector<plan::Gathers::Place> &places : gathers_.groups) {
    DividedTensors::Group &group = groups.emplace_back();
    group.buffer = gathered_;
    for (const plan::Gathers::Place &place : places) {
      group.parts.push_back(bound_[place.weight]->value);
      group.offsets.push_back(place.offset);
    }
  }
  MORPH_ASSIGN_OR_RETURN(groups_, divided_->add(std::move(groups)));
  return Status();
}

Status Executor::gather(size_t i, std::vector<at::Tensor> &values, const Layout &layout, int64_t &group) {
  const int64_t needed = gathers_.groupOf[i];
  // Another executor may have used the buffer since, or the others while this one waited for them.
  const bool isHere = needed < 0 || gathered_->group == groups_[static_cast<size_t>(needed)];
  if (!isHere)
    MORPH_RETURN_IF_ERROR(divided_->gather(groups_[static_cast<size_t>(needed)]));
  if (needed < 0 || (isHere && group == needed))
    return Status();
  group = needed;
  char *const memory = static_cast<char *>(gathered_->memory.data_ptr());
  std::vector<bool> isInGroup(plan_.weights.size(), false);
  for (const plan::Gathers::Place &place : gathers_.groups[static_cast<size_t>(needed)]) {
    const int64_t value = plan_.weightValues[place.weight];
    values[static_cast<size_t>(value)] = at::from_blob(memory + place.offset, plan_.weights[place.weight].shape,
                                                       at::TensorOptions(typeOf(value)).device(device_));
    isInGroup[place.weight] = true;
  }
  for (size_t v = 0; v < plan_.instructions.size(); ++v) {
    if (viewed_[v] < 0)
      continue;
    const auto result = static_cast<size_t>(plan_.instructions[v].results[0]);
    if (const int64_t weight = gathers_.weightOf[result]; weight >= 0 && isInGroup[static_cast<size_t>(weight)])
      values[result] = values[static_cast<size_t>(viewed_[v])].view(layout.shapes[result]);
  }
  return Status();
}

StatusOr<std::vector<std::vector<int64_t>>> Executor::shapesOf(const std::map<std::string, int64_t> &sizes) const {
  auto shapes = plan::resolveShapes(plan_, sizes);
  if (!shapes.ok())
    return std::move(shapes).status().withContext("program '" + plan_.program + "'");
  return shapes;
}

StatusOr<Executor::Layout *> Executor::layoutOf(const std::map<std::string, int64_t> &sizes) {
  constexpr size_t capacity = 8;
  const int64_t threads = at::get_num_threads();
  auto found = std::find_if(layouts_.begin(), layouts_.end(),
                            [&](const Layout &layout) { return layout.sizes == sizes && layout.threads == threads; });
  if (found != layouts_.end()) {
    layouts_.splice(layouts_.begin(), layouts_, found);
  } else {
    Layout layout;
    const plan::RunMode mode{precision_ == Precision::F64, threads};
    layout.threads = threads;
    MORPH_ASSIGN_OR_RETURN(layout.shapes, shapesOf(sizes));
    MORPH_ASSIGN_OR_RETURN(layout.buffers, plan::planBuffers(plan_, layout.shapes, mode));
    MORPH_RETURN_IF_ERROR(plan::checkBuffers(plan_, layout.buffers));
    MORPH_ASSIGN_OR_RETURN(layout.prepared, program_->prepare(sizes, layout.shapes));
    layout.sizes = sizes;
    layouts_.push_front(std::move(layout));
    if (layouts_.size() > capacity)
      layouts_.pop_back();
  }
  Layout &layout = layouts_.front();
  MORPH_RETURN_IF_ERROR(checkRoom(layout));
  char *const memory = layout.memory = static_cast<char *>(arena_->reserve(layout.buffers.arenaBytes));
  if (layout.generation == arena_->generation())
    return &layout;
  layout.generation = arena_->generation();
  layout.graphKey.reset();
  layout.graph.reset();
  layout.values.assign(plan_.values.size(), at::Tensor());
  for (size_t value = 0; value < plan_.values.size(); ++value)
    if (layout.buffers.offset[value] >= 0)
      layout.values[value] = at::from_blob(memory + layout.buffers.offset[value], layout.shapes[value],
                                           at::TensorOptions(typeOf(static_cast<int64_t>(value))).device(device_));
  layout.results.clear();
  for (const plan::Instruction &instruction : plan_.instructions) {
    std::vector<at::Tensor> &results = layout.results.emplace_back();
    for (int64_t result : instruction.results)
      results.push_back(layout.values[static_cast<size_t>(result)]);
  }
  return &layout;
}

int64_t Executor::heldInputBytes(const std::vector<std::vector<int64_t>> &shapes) const {
  const std::vector<bool> updated = plan::updatedInputs(plan_);
  int64_t bytes = int64_t(1) << 20; // The update and its like have a few small tensors, too.
  for (size_t i = 0; i < plan_.inputs.size(); ++i)
    if (const auto value = static_cast<size_t>(plan_.inputs[i].value); !updated[i])
      bytes += plan::alignedBytes(c10::multiply_integers(shapes[value]) *
                                  static_cast<int64_t>(c10::elementSize(typeOf(plan_.inputs[i].value))));
  return bytes;
}

Status Executor::checkRoom(const Layout &layout) const {
  if (arena_->bytes() >= layout.buffers.arenaBytes)
    return Status();
  MORPH_ASSIGN_OR_RETURN(const std::optional<DeviceProgram::Room> room, program_->room());
  if (!room)
    return Status();
  const int64_t needed = layout.buffers.arenaBytes + heldInputBytes(layout.shapes);
  return needed <= room->freeBytes + arena_->bytes() ? Status() : explainNoRoom(*room, layout.sizes, needed);
}

Status Executor::explainNoRoom(const DeviceProgram::Room &room, const std::map<std::string, int64_t> &sizes,
                               int64_t bytes) const {
  const int64_t free = room.freeBytes + arena_->bytes();
  // The length whose values fit: they grow with it.
  int64_t fits = 0, tooLong = sizes.count("T") ? sizes.at("T") : 0;
  while (tooLong - fits > 1) {
    std::map<std::string, int64_t> tried = sizes;
    const int64_t length = tried["T"] = fits + (tooLong - fits) / 2;
    // Rows that a loss reads are at most all; the others stay as they are.
    if (const auto rows = tried.find("N"); rows != tried.end())
      rows->second = std::min(rows->second, length * (tried.count("B") ? tried["B"] : 1));
    const auto shapes = plan::resolveShapes(plan_, tried);
    const auto buffers = shapes.ok() ? plan::planBuffers(plan_, *shapes, {false, at::get_num_threads()})
                                     : StatusOr<plan::Buffers>(shapes.status());
    (buffers.ok() && buffers->arenaBytes + heldInputBytes(*shapes) <= free ? fits : tooLong) = length;
  }
  std::string text = "out of memory on " + room.device + ": the values of program '" + plan_.program + "' take " +
                     std::to_string(bytes) + " bytes at";
  for (const auto &[name, size] : sizes)
    text += " " + name + "=" + std::to_string(size);
  text += ", " + std::to_string(free) + " are free beside weights and caches, which take " +
          std::to_string(room.heldBytes - arena_->bytes());
  return Status::failed(text, fits > 0 ? "a length of " + std::to_string(fits) +
                                             " would fit; so may a smaller batch, or "
                                             "model.memory_limit"
                                       : "take a smaller batch, or give model.memory_limit");
}

Status Executor::runInstruction(size_t i, std::vector<at::Tensor> &values, Layout *layout) {
  const plan::Instruction &instruction = plan_.instructions[i];
  if (layout && viewed_[i] >= 0) {
    const size_t result = static_cast<size_t>(instruction.results[0]);
    if (gathers_.weightOf[result] >= 0) // It comes with its weight.
      return Status();
    values[result] = layout->values[result].defined()
                         ? layout->values[result]
                         : values[static_cast<size_t>(viewed_[i])].view(layout->shapes[result]);
    return Status();
  }
  std::vector<at::Tensor> operands;
  operands.reserve(instruction.operands.size());
  for (int64_t operand : instruction.operands)
    operands.push_back(operand < 0 ? at::Tensor() : values[static_cast<size_t>(operand)]);
  try {
    std::vector<at::Tensor> recorded;
    if (!layout) {
      std::optional<std::vector<at::Tensor>> found = program_->record(i, operands);
      if (!found)
        return Status();
      recorded = std::move(*found);
    }
    std::vector<at::Tensor> &results = layout ? layout->results[i] : recorded;
    auto isUpdated = [&](size_t r) { return layout && updated_[i][r] >= 0; };
    for (size_t r = 0; r < results.size(); ++r)
      if (isUpdated(r))
        results[r] = values[static_cast<size_t>(updated_[i][r])];
    if (layout) {
      const int64_t offset = layout->buffers.scratchOffset[i];
      const ScratchMemory scratch{offset < 0 ? nullptr : layout->memory + offset, layout->buffers.scratchBytes[i]};
      MORPH_RETURN_IF_ERROR(program_->run(i, layout->prepared.get(), operands, results, scratch));
    }
    for (size_t r = 0; r < results.size(); ++r) {
      values[static_cast<size_t>(instruction.results[r])] = results[r];
      if (isUpdated(r))
        results[r].reset(); // The layout keeps none of the caller's memory.
    }
    return Status();
  } catch (const StatusError &error) {
    throw StatusError(
        Status(error.status()).withContext("instruction " + std::to_string(i) + " (" + instruction.op + ")"));
  } catch (const c10::Error &error) {
    std::string message = error.what_without_backtrace();
    throw std::runtime_error("instruction " + std::to_string(i) + " (" + instruction.op +
                             "): " + message.substr(0, message.find('\n')));
  }
}

at::Tensor Executor::outputOf(int64_t value, const at::Tensor &tensor, const Layout *layout) const {
  if (!layout || layout->buffers.offset[static_cast<size_t>(value)] < 0)
    return tensor;
  return at::from_blob(tensor.data_ptr(), tensor.sizes(), [memory = arena_->memory()](void *) {}, tensor.options());
}

void Executor::poison(size_t i, const Layout &layout) const {
  const plan::Buffers &buffers = layout.buffers;
  auto isOver = [&](int64_t value) {
    const int64_t owner = buffers.owner[static_cast<size_t>(value)];
    return buffers.offset[static_cast<size_t>(value)] >= 0 &&
           buffers.life[static_cast<size_t>(owner)].end == static_cast<int64_t>(i);
  };
  for (const std::vector<int64_t> *values : {&plan_.instructions[i].operands, &plan_.instructions[i].results})
    for (int64_t value : *values)
      if (value >= 0 && isOver(value))
        fillWithOnes(layout.values[static_cast<size_t>(value)]);
}

void Executor::findSteps(const std::map<int64_t, at::Tensor> &given) {
  HostCopies onHost; // On a GPU gates lie together (bindWeights): one copy brings all.
  plan::ZeroShares zero(plan_.weights.size());
  bool isPartial = !given.empty();
  for (size_t w = 0; w < plan_.weights.size(); ++w) {
    if (!plan_.weights[w].gate)
      continue;
    std::vector<double> values;
    const at::Tensor gate = onHost.of(bound_[w]->value);
    for (int64_t i = 0; i < gate.numel(); ++i)
      values.push_back(precision_ == Precision::F64 ? gate.const_data_ptr<double>()[i]
                                                    : gate.const_data_ptr<float>()[i]);
    zero[w] = plan::zeroShares(values);
    isPartial |= std::count(zero[w].begin(), zero[w].end(), true) > 0;
  }
  std::set<int64_t> known;
  for (const auto &entry : given)
    known.insert(entry.first);
  if (zero == zero_ && known == given_)
    return;
  steps_ = isPartial ? plan::planSteps(plan_, zero, known) : std::vector<plan::Step>();
  zero_ = std::move(zero);
  given_ = std::move(known);
}

void Executor::fill(size_t i, plan::Step step, std::vector<at::Tensor> &values, const Layout &layout,
                    const std::map<int64_t, at::Tensor> &given) const {
  if (step == plan::Step::Skip)
    return;
  const plan::Instruction &instruction = plan_.instructions[i];
  for (size_t r = 0; r < instruction.results.size(); ++r) {
    const at::Tensor &result = values[static_cast<size_t>(instruction.results[r])] = layout.results[i][r];
    if (auto found = given.find(instruction.results[r]); found != given.end())
      result.copy_(found->second);
    else
      result.zero_();
  }
}

Status Executor::runInstructions(std::vector<at::Tensor> &values, Layout *layout,
                                 const std::map<int64_t, at::Tensor> &given) {
  int64_t group = -1;
  for (size_t i = 0; i < plan_.instructions.size(); ++i) {
    const bool isRun = !layout || steps_.empty() || steps_[i] == plan::Step::Run;
    if (isRun && !groups_.empty())
      MORPH_RETURN_IF_ERROR(gather(i, values, *layout, group));
    if (!isRun) {
      fill(i, steps_[i], values, *layout, given);
    } else if (observer_) {
      MORPH_ASSIGN_OR_RETURN(const double seconds,
                             program_->secondsOf([&] { return runInstruction(i, values, layout); }));
      observer_(i, seconds);
    } else {
      MORPH_RETURN_IF_ERROR(runInstruction(i, values, layout));
    }
    if (poisons_ && layout)
      poison(i, *layout);
  }
  return Status();
}

void Executor::findResults(size_t i, std::vector<at::Tensor> &values, const Layout &layout) const {
  if (!steps_.empty() && steps_[i] == plan::Step::Skip)
    return;
  const plan::Instruction &instruction = plan_.instructions[i];
  for (size_t r = 0; r < instruction.results.size(); ++r) {
    const auto result = static_cast<size_t>(instruction.results[r]);
    if (layout.values[result].defined())
      values[result] = layout.values[result];
    else if (viewed_[i] >= 0)
      values[result] = values[static_cast<size_t>(viewed_[i])].view(layout.shapes[result]);
    else if (updated_[i][r] >= 0)
      values[result] = values[static_cast<size_t>(updated_[i][r])];
  }
}

Status Executor::runGraph(std::vector<at::Tensor> &values, Layout &layout) {
  GraphKey key;
  for (const plan::NamedValue &input : plan_.inputs)
    key.inputs.push_back(values[static_cast<size_t>(input.value)].const_data_ptr());
  key.steps = steps_;
  if (!layout.graphKey || !(*layout.graphKey == key)) {
    layout.graph.reset();
    layout.graphKey = std::move(key);
    return runInstructions(values, &layout, {});
  }
  if (!layout.graph) {
    std::vector<at::Tensor> captured = values;
    MORPH_ASSIGN_OR_RETURN(layout.graph, program_->capture([&] { return runInstructions(captured, &layout, {}); }));
  }
  MORPH_RETURN_IF_ERROR(program_->launch(*layout.graph));
  // While the device works.
  for (size_t i = 0; i < plan_.instructions.size(); ++i)
    findResults(i, values, layout);
  return Status();
}

StatusOr<NamedTensors> Executor::execute(const NamedTensors &inputs, const NamedTensors &given, bool recording) {
  return guardTorch("program '" + plan_.program + "'", [&]() -> StatusOr<NamedTensors> {
    at::AutoGradMode mode(recording);
    std::vector<at::Tensor> values(plan_.values.size());
    MORPH_ASSIGN_OR_RETURN(const auto sizes, inputs_->sizesOf(inputs));
    Layout *layout = nullptr;
    if (recording) {
      MORPH_RETURN_IF_ERROR(shapesOf(sizes).status());
    } else {
      MORPH_ASSIGN_OR_RETURN(layout, layoutOf(sizes));
    }
    MORPH_RETURN_IF_ERROR(
        inputs_->bind(inputs, sizes, precision_, device_, layout ? &layout->inputs : nullptr, values));
    for (size_t w = 0; w < plan_.weights.size(); ++w)
      if (!bound_[w]->divided)
        values[static_cast<size_t>(plan_.weightValues[w])] = bound_[w]->value;
    std::map<int64_t, at::Tensor> known;
    for (const auto &[name, tensor] : given) {
      auto output = std::find_if(plan_.outputs.begin(), plan_.outputs.end(),
                                 [&, &name = name](const plan::NamedValue &output) { return output.name == name; });
      if (output == plan_.outputs.end())
        return Status::invalid("program '" + plan_.program + "' has no output '" + name + "' that could be given");
      if (layout && tensor.sizes() != at::IntArrayRef(layout->shapes[static_cast<size_t>(output->value)]))
        return Status::invalid("program '" + plan_.program + "' is given an output '" + name + "' of another shape");
      known[output->value] = tensor;
    }
    if (!recording)
      findSteps(known);
    if (program_->hasGraphs() && known.empty() && !observer_ && groups_.empty())
      MORPH_RETURN_IF_ERROR(runGraph(values, *layout));
    else
      MORPH_RETURN_IF_ERROR(runInstructions(values, layout, known));
    NamedTensors outputs;
    for (const plan::NamedValue &output : plan_.outputs)
      if (const at::Tensor &value = values[static_cast<size_t>(output.value)]; value.defined())
        outputs[output.name] = outputOf(output.value, value, layout);
    return outputs;
  });
}

StatusOr<NamedTensors> Executor::run(const NamedTensors &inputs, const NamedTensors &given) {
  return execute(inputs, given, false);
}

StatusOr<NamedTensors> Executor::runRecording(const NamedTensors &inputs) {
  if (!program_->records())
    return Status::failed("program '" + plan_.program + "': autograd records on the CPU alone");
  if (!groups_.empty())
    return Status::failed("program '" + plan_.program + "': autograd records whole weights alone");
  return execute(inputs, {}, true);
}

} // namespace morph
