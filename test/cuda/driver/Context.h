// SPDX-License-Identifier: Apache-2.0
// The primary context: memory, modules, streams and the machine of the device that the environment chooses, and the
// error that ends all work. The driver's entry points hold `gate` while they touch it.

#ifndef MORPH_TEST_CUDA_DRIVER_CONTEXT_H
#define MORPH_TEST_CUDA_DRIVER_CONTEXT_H

#include "test/cuda/driver/Counters.h"
#include "test/cuda/driver/Device.h"
#include "test/cuda/driver/Errors.h"
#include "test/cuda/driver/Machine.h"
#include "test/cuda/driver/Memory.h"
#include "test/cuda/driver/Streams.h"

#include <cuda.h>

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

namespace morph::standin {

/// What the environment chooses: MORPH_STAND_IN_DEVICE, _MEMORY, _SEED, _CHECKS, _THREADS and _REPORT.
struct Settings {
  const Device *device = nullptr; ///< Null: there is none.
  uint64_t memory = 0;
  MachineOptions machine;
  std::string report; ///< The file that says at the end what the process did; empty: none.
  static Settings read();
};

struct LoadedFunction {
  std::shared_ptr<const LoadedModule> module;
  const KernelInfo *kernel = nullptr;
  MorphKernel function = nullptr;
  int target = 0;
  int dynamicLimit = 0; ///< The most dynamic shared memory of a launch, bytes.
  int carveout = -1;
};

struct ModuleHandle {
  std::shared_ptr<LoadedModule> module;
  std::map<std::string, std::unique_ptr<LoadedFunction>> functions;
  std::map<std::string, std::pair<uint64_t, uint64_t>> variables; ///< Name to address and bytes.
};

class Context {
public:
  Context(const Settings &settings, std::mutex &gate)
      : settings(settings), memory(settings.memory, settings.machine.checks),
        machine(settings.machine, memory, errors, counters), streams(settings.machine.seed, gate) {}
  /// Everything that the program has left goes with the context.
  ~Context();

  /// Loads PTX text; `log` becomes what is wrong with it.
  CUresult loadModule(const char *text, ModuleHandle *&handle, std::string &log);
  void unloadModule(ModuleHandle *handle);

  /// An error that a piece of work found; from now on every call returns it.
  void fail(const std::string &place, const std::string &text, Fault fault);
  /// Takes over what the machine found.
  void noteFaults();
  /// The host's view of device memory or of registered host memory for a copy; null and an error where not all of it is
  /// live and within `confinement`.
  char *span(uint64_t address, uint64_t bytes, const std::string &what, const Confinement &confinement = nullptr);

  const Settings settings;
  Errors errors;
  Counters counters;
  Memory memory;
  Machine machine;
  Streams streams;
  CUresult error = CUDA_SUCCESS;
  std::set<ModuleHandle *> modules;
  std::set<LoadedFunction *> functions;
  std::set<Event *> events;
  std::set<std::shared_ptr<Graph> *> graphs;
  std::set<std::shared_ptr<const Graph> *> executables;
  std::set<uint64_t> freeing;             ///< Allocations that a stream frees.
  std::map<void *, bool> hostAllocations; ///< Pinned memory; whether it is our own.
};

} // namespace morph::standin

#endif // MORPH_TEST_CUDA_DRIVER_CONTEXT_H
