// SPDX-License-Identifier: Apache-2.0
#include "runtime/device/CudaDevice.h"

#include "runtime/device/CublasLt.h"
#include "runtime/device/CudaDriver.h"
#include "runtime/device/CudaProducts.h"
#include "runtime/device/CudaState.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace morph {
namespace {

using Lock = std::lock_guard<std::recursive_mutex>;

CUdeviceptr addressOf(const void *memory) { return reinterpret_cast<CUdeviceptr>(memory); }

/// What `state` needs to know of the device before it takes anything: driver, ordinal, properties.
Status examine(CudaState &state, int ordinal) {
  MORPH_ASSIGN_OR_RETURN(state.driver, CudaDriver::open());
  const CudaDriver &driver = *state.driver;
  int count = 0;
  MORPH_RETURN_IF_ERROR(driver.check(driver.cuDeviceGetCount(&count), "the number of devices"));
  if (ordinal < 0 || ordinal >= count)
    return Status::failed("device " + std::to_string(ordinal) + " was asked for, and the machine has " +
                          std::to_string(count));
  state.ordinal = ordinal;
  MORPH_RETURN_IF_ERROR(driver.check(driver.cuDeviceGet(&state.device, ordinal), "the device"));
  char name[256] = "";
  MORPH_RETURN_IF_ERROR(driver.check(driver.cuDeviceGetName(name, sizeof(name), state.device), "the device's name"));
  size_t memory = 0;
  MORPH_RETURN_IF_ERROR(driver.check(driver.cuDeviceTotalMem(&memory, state.device), "the device's memory"));
  CudaProperties &properties = state.properties;
  int shared = 0;
  for (auto [attribute, value] :
       {std::pair<CUdevice_attribute, int *>{CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, &properties.major},
        {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, &properties.minor},
        {CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, &properties.multiprocessors},
        {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, &shared}})
    MORPH_RETURN_IF_ERROR(
        driver.check(driver.cuDeviceGetAttribute(value, attribute, state.device), "the device's properties"));
  properties.name = name;
  properties.memoryBytes = static_cast<int64_t>(memory);
  properties.sharedBytesPerBlock = shared;
  properties.driverVersion = driver.version;
  return Status();
}

Status take(CudaState &state, int ordinal) {
  MORPH_RETURN_IF_ERROR(examine(state, ordinal));
  const CudaDriver &driver = *state.driver;
  CUcontext context = nullptr;
  MORPH_RETURN_IF_ERROR(driver.check(driver.cuDevicePrimaryCtxRetain(&context, state.device), state.properties.name));
  state.context = context;
  MORPH_RETURN_IF_ERROR(state.enter());
  MORPH_RETURN_IF_ERROR(driver.check(driver.cuStreamCreate(&state.stream, CU_STREAM_NON_BLOCKING), "a stream"));
  const char *waits = std::getenv("MORPH_CUDA_SYNC");
  state.waits = waits && std::strcmp(waits, "1") == 0;
  return Status();
}

std::string textOf(Dim3 size) {
  return std::to_string(size.x) + " x " + std::to_string(size.y) + " x " + std::to_string(size.z);
}

/// While it lives, a driver that checks accesses holds what this thread launches to some memory.
class Confined {
public:
  Confined(const CudaDriver &driver, const std::vector<CudaSpan> &touched) : driver_(driver) {
    if (!driver.confine)
      return;
    std::vector<CUdeviceptr> bounds;
    for (const CudaSpan &span : touched)
      bounds.insert(bounds.end(),
                    {addressOf(span.begin), addressOf(static_cast<const char *>(span.begin) + span.bytes)});
    driver.confine(bounds.data(), touched.size());
  }
  ~Confined() {
    if (driver_.confine)
      driver_.confine(nullptr, 0);
  }
  Confined(const Confined &) = delete;

private:
  const CudaDriver &driver_;
};

/// The driver's compiler writes its log here.
constexpr size_t kLogBytes = 8192;

} // namespace

//===----------------------------------------------------------------------===//
// Opening
//===----------------------------------------------------------------------===//

StatusOr<std::shared_ptr<CudaDevice>> CudaDevice::open(int ordinal) {
  auto state = std::make_shared<CudaState>();
  MORPH_RETURN_IF_ERROR(take(*state, ordinal).withContext("no CUDA device"));
  return std::shared_ptr<CudaDevice>(new CudaDevice(std::move(state)));
}

StatusOr<CudaProperties> CudaDevice::describe(int ordinal) {
  CudaState state;
  MORPH_RETURN_IF_ERROR(examine(state, ordinal).withContext("no CUDA device"));
  return state.properties;
}

StatusOr<std::string> CudaDevice::productLibrary() {
  MORPH_ASSIGN_OR_RETURN(const CublasLt *blas, CublasLt::open());
  return "cuBLASLt " + blas->version();
}

CudaDevice::CudaDevice(std::shared_ptr<CudaState> state) : state_(std::move(state)) {}
CudaDevice::~CudaDevice() = default;

int CudaDevice::ordinal() const { return state_->ordinal; }
const CudaProperties &CudaDevice::properties() const { return state_->properties; }
bool CudaDevice::waits() const { return state_->waits; }
bool CudaDevice::checksAccesses() const { return state_->driver->confine != nullptr; }
void *CudaDevice::stream() const { return state_->stream; }

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

StatusOr<int64_t> CudaDevice::freeBytes() const {
  const Lock lock(state_->mutex);
  MORPH_RETURN_IF_ERROR(state_->enter());
  size_t free = 0, total = 0;
  MORPH_RETURN_IF_ERROR(state_->check(state_->driver->cuMemGetInfo(&free, &total), "free memory"));
  return static_cast<int64_t>(free);
}

StatusOr<void *> CudaDevice::allocate(int64_t bytes, const std::string &what) {
  const Lock lock(state_->mutex);
  if (bytes < 0)
    return Status::failed(what + ": memory of negative size");
  MORPH_RETURN_IF_ERROR(state_->enterOutsideCapture("memory for " + what));
  // An address of its own for nothing, too.
  bytes = std::max<int64_t>(bytes, 1);
  MORPH_ASSIGN_OR_RETURN(const CUdeviceptr memory, state_->allocate(bytes, what));
  auto *address = reinterpret_cast<char *>(memory);
  state_->allocations[address] = bytes;
  state_->held += bytes;
  state_->peak = std::max(state_->peak, state_->held);
  return static_cast<void *>(address);
}

void CudaDevice::release(void *memory) {
  const Lock lock(state_->mutex);
  const auto found = state_->allocations.find(static_cast<char *>(memory));
  if (found == state_->allocations.end())
    return;
  state_->held -= found->second;
  state_->allocations.erase(found);
  if (state_->capturing) {
    state_->releasedLater.push_back(addressOf(memory));
    return;
  }
  // A device that is broken has lost its memory.
  if (state_->enter().ok())
    (void)state_->check(state_->driver->cuMemFree(addressOf(memory)), "the release of memory").ok();
}

bool CudaDevice::owns(const void *address) const {
  const Lock lock(state_->mutex);
  const char *at = static_cast<const char *>(address);
  auto next = state_->allocations.upper_bound(at);
  if (next == state_->allocations.begin())
    return false;
  --next;
  return at < next->first + next->second;
}

int64_t CudaDevice::allocations() const {
  const Lock lock(state_->mutex);
  return static_cast<int64_t>(state_->allocations.size());
}

int64_t CudaDevice::heldBytes() const {
  const Lock lock(state_->mutex);
  return state_->held;
}

int64_t CudaDevice::peakBytes() const {
  const Lock lock(state_->mutex);
  return state_->peak;
}

void CudaDevice::restartPeak() {
  const Lock lock(state_->mutex);
  state_->peak = state_->held;
}

Status CudaDevice::copyIn(void *device, const void *host, int64_t bytes) {
  const Lock lock(state_->mutex);
  if (bytes <= 0)
    return Status();
  CudaState &state = *state_;
  MORPH_RETURN_IF_ERROR(state.enterOutsideCapture("a copy from the host"));
  const CudaDriver &driver = *state.driver;
  MORPH_RETURN_IF_ERROR(state.in.make(state));
  for (int64_t done = 0; done < bytes;) {
    // Small copies share a buffer; one that is full is used again when the copies out of it are over.
    if (state.in.current().used == PinnedPair::kBytes) {
      state.in.turn();
      MORPH_RETURN_IF_ERROR(state.check(driver.cuEventSynchronize(state.in.current().event), "a copy to the device"));
      state.in.current().used = 0;
    }
    PinnedPair::Buffer &buffer = state.in.current();
    const int64_t part = std::min(bytes - done, PinnedPair::kBytes - buffer.used);
    char *staged = buffer.memory + buffer.used;
    std::memcpy(staged, static_cast<const char *>(host) + done, static_cast<size_t>(part));
    MORPH_RETURN_IF_ERROR(state.check(driver.cuMemcpyHtoDAsync(addressOf(device) + static_cast<uint64_t>(done), staged,
                                                               static_cast<size_t>(part), state.stream),
                                      "a copy to the device"));
    MORPH_RETURN_IF_ERROR(state.check(driver.cuEventRecord(buffer.event, state.stream), "a copy to the device"));
    // The next part starts at a multiple of what a cache line has.
    buffer.used = std::min((buffer.used + part + 255) / 256 * 256, PinnedPair::kBytes);
    done += part;
  }
  return state.waits ? state.wait("a copy to the device") : Status();
}

Status CudaDevice::copyOut(void *host, const void *device, int64_t bytes) {
  const Lock lock(state_->mutex);
  CudaState &state = *state_;
  MORPH_RETURN_IF_ERROR(state.enterOutsideCapture("a copy to the host"));
  const CudaDriver &driver = *state.driver;
  if (bytes > 0)
    MORPH_RETURN_IF_ERROR(state.out.make(state));
  // One part is on its way while the one before is taken out of its buffer.
  auto *to = static_cast<char *>(host);
  int64_t before = 0;
  for (int64_t done = 0; done < bytes || before > 0;) {
    const int64_t part = std::clamp<int64_t>(bytes - done, 0, PinnedPair::kBytes);
    PinnedPair::Buffer &buffer = state.out.current();
    if (part > 0) {
      MORPH_RETURN_IF_ERROR(
          state.check(driver.cuMemcpyDtoHAsync(buffer.memory, addressOf(device) + static_cast<uint64_t>(done),
                                               static_cast<size_t>(part), state.stream),
                      "a copy to the host"));
      MORPH_RETURN_IF_ERROR(state.check(driver.cuEventRecord(buffer.event, state.stream), "a copy to the host"));
    }
    state.out.turn();
    if (before > 0) {
      const PinnedPair::Buffer &arrived = state.out.current();
      MORPH_RETURN_IF_ERROR(state.check(driver.cuEventSynchronize(arrived.event), "a copy to the host"));
      std::memcpy(to + done - before, arrived.memory, static_cast<size_t>(before));
    }
    done += part;
    before = part;
  }
  return state.wait("a copy to the host");
}

Status CudaDevice::copy(void *to, const void *from, int64_t bytes) {
  const Lock lock(state_->mutex);
  if (bytes <= 0)
    return Status();
  MORPH_RETURN_IF_ERROR(state_->enter());
  MORPH_RETURN_IF_ERROR(state_->check(
      state_->driver->cuMemcpyDtoDAsync(addressOf(to), addressOf(from), static_cast<size_t>(bytes), state_->stream),
      "a copy on the device"));
  return state_->waits ? state_->started("a copy on the device") : Status();
}

Status CudaDevice::fill(void *to, uint8_t byte, int64_t bytes) {
  const Lock lock(state_->mutex);
  if (bytes <= 0)
    return Status();
  MORPH_RETURN_IF_ERROR(state_->enter());
  MORPH_RETURN_IF_ERROR(
      state_->check(state_->driver->cuMemsetD8Async(addressOf(to), byte, static_cast<size_t>(bytes), state_->stream),
                    "a fill of memory"));
  return state_->waits ? state_->started("a fill of memory") : Status();
}

Status CudaDevice::fillWords(void *to, uint32_t word, int64_t words) {
  const Lock lock(state_->mutex);
  if (words <= 0)
    return Status();
  MORPH_RETURN_IF_ERROR(state_->enter());
  MORPH_RETURN_IF_ERROR(
      state_->check(state_->driver->cuMemsetD32Async(addressOf(to), word, static_cast<size_t>(words), state_->stream),
                    "a fill of memory"));
  return state_->waits ? state_->started("a fill of memory") : Status();
}

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

CudaModule::CudaModule(std::shared_ptr<CudaState> state, void *module, std::string what)
    : state_(std::move(state)), module_(module), what_(std::move(what)) {}
CudaModule::CudaModule(CudaModule &&other) noexcept
    : state_(std::move(other.state_)), module_(std::exchange(other.module_, nullptr)), what_(std::move(other.what_)) {}
CudaModule &CudaModule::operator=(CudaModule &&other) noexcept {
  std::swap(state_, other.state_);
  std::swap(module_, other.module_);
  std::swap(what_, other.what_);
  return *this;
}
CudaModule::~CudaModule() {
  if (!module_)
    return;
  const Lock lock(state_->mutex);
  if (state_->enter().ok())
    (void)state_->check(state_->driver->cuModuleUnload(static_cast<CUmodule>(module_)), "the end of " + what_).ok();
}

StatusOr<CudaModule> CudaDevice::load(const std::string &ptx, const std::string &what) {
  const Lock lock(state_->mutex);
  MORPH_RETURN_IF_ERROR(state_->enterOutsideCapture("code for " + what));
  std::string errors(kLogBytes, '\0');
  CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
  void *values[] = {errors.data(), reinterpret_cast<void *>(kLogBytes)};
  CUmodule module = nullptr;
  const CUresult result = state_->driver->cuModuleLoadDataEx(&module, ptx.c_str(), 2, options, values);
  if (result != CUDA_SUCCESS) {
    errors.resize(errors.find_last_not_of(std::string_view("\0\n ", 3)) + 1);
    return state_->check(result, what + ": its code for " + state_->properties.name + " is refused" +
                                     (errors.empty() ? "" : ": " + errors));
  }
  return CudaModule(state_, module, what);
}

StatusOr<CudaFunction> CudaModule::find(const std::string &kernel) const {
  if (!module_)
    return Status::failed("kernel '" + kernel + "' of a module that was moved");
  const Lock lock(state_->mutex);
  MORPH_RETURN_IF_ERROR(state_->enterOutsideCapture("code for " + what_));
  const CudaDriver &driver = *state_->driver;
  const std::string name = "kernel '" + kernel + "' of " + what_;
  CUfunction function = nullptr;
  const CUresult result = driver.cuModuleGetFunction(&function, static_cast<CUmodule>(module_), kernel.c_str());
  if (result == CUDA_ERROR_NOT_FOUND)
    return Status::invalid("the PTX of " + what_ + " has no kernel '" + kernel + "'", "compile it again");
  MORPH_RETURN_IF_ERROR(state_->check(result, name));
  CudaFunction found;
  found.name = kernel;
  found.handle = function;
  int shared = 0, local = 0;
  // These also make the driver load the code, which it must not do under capture.
  for (auto [attribute, value] : {std::pair<CUfunction_attribute, int *>{CU_FUNC_ATTRIBUTE_NUM_REGS, &found.registers},
                                  {CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, &found.maximumThreads},
                                  {CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, &shared},
                                  {CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES, &local}})
    MORPH_RETURN_IF_ERROR(state_->check(driver.cuFuncGetAttribute(value, attribute, function), name));
  found.staticSharedBytes = shared;
  found.localBytes = local;
  found.maximumDynamicBytes = std::max<int64_t>(state_->properties.sharedBytesPerBlock - shared, 0);
  // A kernel may have more than 48 KiB where it says so before.
  MORPH_RETURN_IF_ERROR(
      state_->check(driver.cuFuncSetAttribute(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                              static_cast<int>(found.maximumDynamicBytes)),
                    name));
  return found;
}

Status CudaDevice::launch(const CudaFunction &function, Dim3 grid, Dim3 block, int64_t sharedBytes,
                          void *const *arguments, const std::string &what, const std::vector<CudaSpan> &touched) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0)
    return Status();
  if (sharedBytes > function.maximumDynamicBytes)
    return Status::failed(what + ": kernel '" + function.name + "' needs " +
                          std::to_string(sharedBytes + function.staticSharedBytes) + " bytes of shared memory, and " +
                          state_->properties.name + " has " + std::to_string(state_->properties.sharedBytesPerBlock) +
                          " for a block");
  const uint64_t threads = uint64_t(block.x) * block.y * block.z;
  if (threads == 0 || threads > static_cast<uint64_t>(function.maximumThreads))
    return Status::failed(what + ": kernel '" + function.name + "' with " + std::to_string(threads) +
                          " threads a block, of which it can have " + std::to_string(function.maximumThreads));
  const Lock lock(state_->mutex);
  MORPH_RETURN_IF_ERROR(state_->enter());
  const Confined confined(*state_->driver, touched);
  const CUresult result = state_->driver->cuLaunchKernel(
      static_cast<CUfunction>(function.handle), grid.x, grid.y, grid.z, block.x, block.y, block.z,
      static_cast<unsigned>(sharedBytes), state_->stream, const_cast<void **>(arguments), nullptr);
  if (result != CUDA_SUCCESS)
    return state_->check(result, what + ": kernel '" + function.name + "' (grid " + textOf(grid) + ", block " +
                                     textOf(block) + ")");
  return state_->started(what, function.name);
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

Status CudaDevice::prepareProducts(const std::string &what) {
  const Lock lock(state_->mutex);
  if (!state_->products) {
    MORPH_RETURN_IF_ERROR(state_->enterOutsideCapture("the first product"));
    auto made = CudaProducts::make(*state_);
    if (!made.ok())
      return std::move(made).status().withContext(what);
    state_->products = *std::move(made);
  }
  return Status();
}

Status CudaDevice::product(const CudaProduct &product, const void *a, const void *b, const void *bias, void *c,
                           const std::string &what, std::vector<CudaSpan> touched) {
  StatusOr<CudaProduct> checked = checkedProduct(product);
  if (!checked.ok())
    return std::move(checked).status().withContext(what);
  if (isEmpty(*checked))
    return Status();
  const Lock lock(state_->mutex);
  MORPH_RETURN_IF_ERROR(state_->enter());
  MORPH_RETURN_IF_ERROR(prepareProducts(what));
  if (!touched.empty())
    touched.push_back(state_->products->workspace());
  const Confined confined(*state_->driver, touched);
  MORPH_RETURN_IF_ERROR(state_->products->run(*checked, a, b, bias, c, what));
  return state_->started(what);
}

int64_t CudaDevice::measuredProducts() const {
  const Lock lock(state_->mutex);
  return state_->products ? state_->products->measured() : 0;
}

//===----------------------------------------------------------------------===//
// Order, graphs, time
//===----------------------------------------------------------------------===//

Status CudaDevice::synchronize() {
  const Lock lock(state_->mutex);
  MORPH_RETURN_IF_ERROR(state_->enterOutsideCapture("waiting for the device"));
  return state_->wait("waiting for the device");
}

CudaGraph::CudaGraph(std::shared_ptr<CudaState> state, void *graph) : state_(std::move(state)), graph_(graph) {}
CudaGraph::CudaGraph(CudaGraph &&other) noexcept
    : state_(std::move(other.state_)), graph_(std::exchange(other.graph_, nullptr)) {}
CudaGraph &CudaGraph::operator=(CudaGraph &&other) noexcept {
  std::swap(state_, other.state_);
  std::swap(graph_, other.graph_);
  return *this;
}
CudaGraph::~CudaGraph() {
  if (!graph_)
    return;
  const Lock lock(state_->mutex);
  if (state_->enter().ok())
    (void)state_->check(state_->driver->cuGraphExecDestroy(static_cast<CUgraphExec>(graph_)), "the end of a graph")
        .ok();
}

StatusOr<CudaGraph> CudaDevice::capture(const std::function<Status()> &work) {
  const Lock lock(state_->mutex);
  CudaState &state = *state_;
  MORPH_RETURN_IF_ERROR(state.enterOutsideCapture("a graph"));
  const CudaDriver &driver = *state.driver;
  MORPH_RETURN_IF_ERROR(state.check(driver.cuStreamBeginCapture(state.stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL),
                                    "the beginning of a graph"));
  state.capturing = true;
  CUgraph graph = nullptr;
  CUresult ended = CUDA_SUCCESS;
  // However `work` ends, the capture does.
  struct End {
    CudaState &state;
    CUgraph &graph;
    CUresult &ended;
    ~End() { end(); }
    void end() {
      if (!state.capturing)
        return;
      ended = state.driver->cuStreamEndCapture(state.stream, &graph);
      state.capturing = false;
      for (const CUdeviceptr memory : std::exchange(state.releasedLater, {}))
        state.driver->cuMemFree(memory);
    }
  };
  Status status;
  {
    End guard{state, graph, ended};
    status = work();
  }
  if (status.ok())
    status = state.check(ended, "the end of a graph");
  CUgraphExec executable = nullptr;
  if (status.ok())
    status = state.check(driver.cuGraphInstantiate(&executable, graph, 0), "a graph");
  if (graph)
    driver.cuGraphDestroy(graph);
  if (!status.ok())
    return status;
  return CudaGraph(state_, executable);
}

Status CudaDevice::launch(const CudaGraph &graph, const std::string &what) {
  const Lock lock(state_->mutex);
  if (!graph.graph_)
    return Status::failed(what + ": a graph that was moved");
  MORPH_RETURN_IF_ERROR(state_->enterOutsideCapture(what));
  MORPH_RETURN_IF_ERROR(
      state_->check(state_->driver->cuGraphLaunch(static_cast<CUgraphExec>(graph.graph_), state_->stream), what));
  return state_->started(what);
}

StatusOr<double> CudaDevice::secondsOf(const std::function<Status()> &work) {
  const Lock lock(state_->mutex);
  CudaState &state = *state_;
  MORPH_RETURN_IF_ERROR(state.enterOutsideCapture("measuring time"));
  struct Event {
    const CudaDriver &driver;
    CUevent event = nullptr;
    ~Event() {
      if (event)
        driver.cuEventDestroy(event);
    }
  };
  const CudaDriver &driver = *state.driver;
  Event begin{driver}, end{driver};
  MORPH_RETURN_IF_ERROR(state.check(driver.cuEventCreate(&begin.event, CU_EVENT_DEFAULT), "an event"));
  MORPH_RETURN_IF_ERROR(state.check(driver.cuEventCreate(&end.event, CU_EVENT_DEFAULT), "an event"));
  MORPH_RETURN_IF_ERROR(state.check(driver.cuEventRecord(begin.event, state.stream), "measuring time"));
  MORPH_RETURN_IF_ERROR(work());
  MORPH_RETURN_IF_ERROR(state.check(driver.cuEventRecord(end.event, state.stream), "measuring time"));
  MORPH_RETURN_IF_ERROR(state.wait("measuring time"));
  float milliseconds = 0;
  MORPH_RETURN_IF_ERROR(
      state.check(driver.cuEventElapsedTime(&milliseconds, begin.event, end.event), "measuring time"));
  return static_cast<double>(milliseconds) * 1e-3;
}

} // namespace morph
