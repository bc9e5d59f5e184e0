// SPDX-License-Identifier: Apache-2.0
#include "test/cuda/driver/Context.h"

#include "test/cuda/driver/HostCompile.h"
#include "test/cuda/driver/Ptx.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

namespace morph::standin {

namespace {

uint64_t environmentNumber(const char *name, uint64_t otherwise) {
  const char *text = std::getenv(name);
  return text && *text ? std::strtoull(text, nullptr, 0) : otherwise;
}

CUresult resultOf(Fault fault) {
  switch (fault) {
  case Fault::None:
    return CUDA_SUCCESS;
  case Fault::IllegalAddress:
    return CUDA_ERROR_ILLEGAL_ADDRESS;
  case Fault::Misaligned:
    return CUDA_ERROR_MISALIGNED_ADDRESS;
  case Fault::LaunchFailed:
    return CUDA_ERROR_LAUNCH_FAILED;
  }
  return CUDA_ERROR_UNKNOWN;
}

} // namespace

Settings Settings::read() {
  Settings settings;
  const char *key = std::getenv("MORPH_STAND_IN_DEVICE");
  std::string name = key && *key ? key : "h100";
  settings.device = findDevice(name);
  if (!settings.device && name != "none")
    std::fprintf(stderr, "stand-in driver: no device '%s' is known (a100, h100, b200, none)\n", name.c_str());
  if (settings.device)
    settings.memory =
        std::min(settings.device->memory, environmentNumber("MORPH_STAND_IN_MEMORY", settings.device->memory));
  if (settings.device) {
    settings.machine.processors = uint64_t(settings.device->processors);
    settings.machine.sharedBytes = uint64_t(settings.device->sharedPerProcessor);
    settings.machine.cacheBytes = uint64_t(settings.device->l2);
  }
  if (const char *report = std::getenv("MORPH_STAND_IN_REPORT"))
    settings.report = report;
  settings.machine.checks = environmentNumber("MORPH_STAND_IN_CHECKS", 1) != 0;
  settings.machine.seed = environmentNumber("MORPH_STAND_IN_SEED", 0);
  settings.machine.threads =
      unsigned(environmentNumber("MORPH_STAND_IN_THREADS", std::max(1u, std::thread::hardware_concurrency())));
  return settings;
}

Context::~Context() {
  while (!modules.empty())
    unloadModule(*modules.begin());
  for (Event *event : events)
    delete event;
  for (auto *graph : graphs)
    delete graph;
  for (auto *graph : executables)
    delete graph;
  for (auto [pointer, isOwn] : hostAllocations)
    if (isOwn)
      std::free(pointer);
}

CUresult Context::loadModule(const char *text, ModuleHandle *&handle, std::string &log) {
  StatusOr<Module> module = parsePtx(text);
  if (!module.ok()) {
    log = module.status().message();
    return CUDA_ERROR_INVALID_PTX;
  }
  const int capability = settings.device->major * 10 + settings.device->minor;
  if (module->version > 90) {
    log = "PTX version " + std::to_string(module->version / 10) + "." + std::to_string(module->version % 10) +
          " is newer than this driver's (9.0)";
    return CUDA_ERROR_UNSUPPORTED_PTX_VERSION;
  }
  if (module->target > capability || (module->targetIsExact && module->target != capability)) {
    log = "the .target sm_" + std::to_string(module->target) + (module->targetIsExact ? "a" : "") +
          " is not for this device, sm_" + std::to_string(capability);
    return CUDA_ERROR_INVALID_PTX;
  }
  StatusOr<Translation> translated = translate(*module);
  if (!translated.ok()) {
    log = translated.status().message();
    return CUDA_ERROR_INVALID_PTX;
  }
  auto object = compileForHost(translated->code, settings.machine.checks);
  if (!object.ok()) {
    log = object.status().message();
    return CUDA_ERROR_INVALID_PTX;
  }
  auto *made = new ModuleHandle;
  modules.insert(made);
  auto refuse = [&](CUresult result) {
    unloadModule(made);
    return result;
  };
  made->module = std::make_shared<LoadedModule>();
  made->module->object = *object;
  made->module->translation = std::make_shared<const Translation>(*std::move(translated));
  // Variables of global and constant memory, in the order of the translation's table.
  std::vector<std::pair<const Variable *, uint64_t>> placed;
  for (const Variable &variable : module->variables) {
    if (variable.space == Space::Shared)
      continue;
    if (variable.isExtern) {
      log = "line " + std::to_string(variable.line) + ": variable '" + variable.name +
            "' is extern, and nothing is linked to it";
      return refuse(CUDA_ERROR_INVALID_PTX);
    }
    uint64_t address = memory.reserve(variable.bytes);
    if (!address)
      return refuse(CUDA_ERROR_OUT_OF_MEMORY);
    memory.setAllocated(address);
    std::memset(memory.hostAddress(address), 0, variable.bytes);
    made->module->globals.push_back(address);
    made->variables[variable.name] = {address, variable.bytes};
    placed.emplace_back(&variable, address);
  }
  for (auto [variable, address] : placed) {
    char *to = memory.hostAddress(address);
    for (const Variable::Item &item : variable->initial) {
      uint64_t bits = item.bits;
      if (!item.name.empty()) {
        auto other = made->variables.find(item.name);
        if (other == made->variables.end()) {
          log = "line " + std::to_string(variable->line) + ": '" + item.name + "' is no variable";
          return refuse(CUDA_ERROR_INVALID_PTX);
        }
        bits += other->second.first;
      }
      std::memcpy(to, &bits, variable->width);
      to += variable->width;
    }
  }
  for (const KernelInfo &kernel : made->module->translation->kernels) {
    auto function = std::make_unique<LoadedFunction>();
    function->module = made->module;
    function->kernel = &kernel;
    function->function = reinterpret_cast<MorphKernel>(made->module->object->find(kernel.symbol));
    function->target = module->target;
    function->dynamicLimit = 49152 - int(kernel.staticShared);
    functions.insert(function.get());
    made->functions[kernel.name] = std::move(function);
  }
  handle = made;
  return CUDA_SUCCESS;
}

void Context::unloadModule(ModuleHandle *handle) {
  for (const auto &[name, variable] : handle->variables)
    memory.release(variable.first);
  for (const auto &[name, function] : handle->functions)
    functions.erase(function.get());
  modules.erase(handle);
  delete handle;
}

void Context::noteFaults() {
  if (error == CUDA_SUCCESS)
    error = resultOf(errors.fault());
}

void Context::fail(const std::string &place, const std::string &text, Fault fault) {
  errors.add(place, text, fault);
  noteFaults();
}

char *Context::span(uint64_t address, uint64_t bytes, const std::string &what, const Confinement &confinement) {
  std::shared_ptr<const LiveRanges> live = memory.live();
  if (confinement)
    live = std::make_shared<LiveRanges>(live->within(*confinement));
  uint64_t delta = memory.isDevice(address) ? memory.delta() : 0;
  // Parts that lie side by side may be copied together.
  for (uint64_t at = address, rest = bytes; rest;) {
    const LiveRange *range = live->find(at, 1);
    if (!range) {
      fail(what + "/" + memory.explain(at, rest, *live),
           what + ": " + std::to_string(bytes) + " bytes from " + memory.explain(address, bytes, *live) + "; byte " +
               std::to_string(at - address) + " is " + memory.explain(at, 1, *live),
           Fault::IllegalAddress);
      return nullptr;
    }
    uint64_t here = std::min(rest, range->begin + range->bytes - at);
    at += here;
    rest -= here;
  }
  return reinterpret_cast<char *>(address + delta);
}

} // namespace morph::standin
