// SPDX-License-Identifier: Apache-2.0
#include "test/cuda/driver/Translate.h"

#include "test/cuda/driver/FunctionWriter.h"

#include <algorithm>
#include <map>
#include <set>

namespace morph::standin {

namespace {

/// Places of the shared variables that a kernel uses. Each lies at its alignment and no better, with bytes between that
/// nobody may touch.
void placeShared(const ModuleContext &context, const std::set<size_t> &used, KernelInfo &kernel) {
  kernel.sharedOffsets.assign(context.shared.size(), 0);
  uint64_t at = 0, packed = 0;
  unsigned dynamicAlign = 16;
  for (size_t i : used) {
    const Variable &variable = *context.shared[i];
    if (variable.isExtern) {
      dynamicAlign = std::max(dynamicAlign, variable.align);
      continue;
    }
    packed = alignUp(packed, variable.align) + variable.bytes;
    at = alignUp(at, variable.align);
    if (variable.align < 16 && at % (2 * variable.align) == 0)
      at += variable.align;
    kernel.sharedOffsets[i] = uint32_t(at);
    kernel.shared.push_back({uint32_t(at), uint32_t(variable.bytes)});
    at += variable.bytes + 16;
  }
  kernel.staticShared = uint32_t(packed);
  kernel.dynamicBegin = uint32_t(alignUp(at, dynamicAlign));
  for (size_t i : used)
    if (context.shared[i]->isExtern)
      kernel.sharedOffsets[i] = kernel.dynamicBegin;
}

} // namespace

StatusOr<Translation> translate(const Module &module) {
  constexpr uint64_t kMostShared = 1 << 20, kMostLocal = 1 << 19;
  Translation result;
  ModuleContext context{module, result, {}, {}, {}, {}, {}};
  size_t globals = 0;
  uint64_t sharedBytes = 0;
  auto addShared = [&](const std::string &name, const Variable &variable) {
    context.sharedIndices[name] = context.shared.size();
    context.shared.push_back(&variable);
    sharedBytes += variable.bytes;
    return variable.bytes <= kMostShared;
  };
  auto tooLarge = [](const Variable &variable) {
    return Status::invalid("line " + std::to_string(variable.line) + ": variable '" + variable.name + "' is too large");
  };
  for (const Variable &variable : module.variables) {
    if (context.globals.count(variable.name) || context.sharedIndices.count(variable.name))
      return Status::invalid("line " + std::to_string(variable.line) + ": variable '" + variable.name +
                             "' is defined twice");
    if (variable.space != Space::Shared)
      context.globals[variable.name] = globals++;
    else if (!addShared(variable.name, variable))
      return tooLarge(variable);
  }
  for (const Function &function : module.functions) {
    if (function.isDeclaration)
      continue;
    context.functions[function.name] = &function;
    size_t place = context.functionIndices.size();
    context.functionIndices[function.name] = place;
    for (const Variable &variable : function.variables) {
      if (variable.space == Space::Shared && !addShared(function.name + "/" + variable.name, variable))
        return tooLarge(variable);
      if (variable.space == Space::Local && variable.bytes > kMostLocal)
        return tooLarge(variable);
    }
  }
  std::map<std::string, Needs> needs;
  std::string declarations, definitions;
  // Frames in local memory have fixed places, those of kernels behind those of all functions: nothing may call itself.
  uint64_t local = 0;
  for (bool isEntry : {false, true})
    for (const Function &function : module.functions) {
      if (function.isDeclaration || function.isEntry != isEntry)
        continue;
      FunctionWriter writer(context, function, context.functionIndices[function.name], local);
      MORPH_RETURN_IF_ERROR(writer.run());
      if (!isEntry)
        local = writer.needs.localEnd;
      declarations += writer.signature() + ";\n";
      definitions += writer.text;
      needs[function.name] = std::move(writer.needs);
    }
  result.code = declarations + definitions;
  for (const auto &[name, own] : needs) {
    std::set<std::string> reached = own.callees;
    std::vector<std::string> open(reached.begin(), reached.end());
    while (!open.empty()) {
      std::string next = open.back();
      open.pop_back();
      for (const std::string &callee : needs[next].callees)
        if (reached.insert(callee).second)
          open.push_back(callee);
    }
    if (reached.count(name))
      return Status::invalid("function '" + name + "' calls itself, which is not known to the stand-in");
  }
  for (const Function &function : module.functions) {
    if (!function.isEntry || function.isDeclaration)
      continue;
    KernelInfo kernel;
    kernel.name = function.name;
    kernel.symbol = "kernel" + number(context.functionIndices[function.name]);
    for (const Variable &parameter : function.parameters) {
      kernel.paramBytes = uint32_t(alignUp(kernel.paramBytes, parameter.align));
      kernel.params.push_back({kernel.paramBytes, uint32_t(parameter.bytes)});
      if (kernel.paramBytes + parameter.bytes > 4096 && module.version < 81)
        return Status::invalid("line " + std::to_string(function.line) + ": kernel '" + function.name +
                               "' has more than 4 KiB of parameters");
      if (kernel.paramBytes + parameter.bytes > 32764)
        return Status::invalid("line " + std::to_string(function.line) + ": kernel '" + function.name +
                               "' has more than 32764 bytes of parameters");
      kernel.paramBytes += uint32_t(parameter.bytes);
    }
    // What it and everything that it calls need.
    std::set<std::string> seen = {function.name};
    std::vector<std::string> open = {function.name};
    std::set<size_t> shared;
    while (!open.empty()) {
      std::string name = open.back();
      open.pop_back();
      const Needs &own = needs[name];
      kernel.needsFibers |= own.fibers;
      kernel.hasGlobalAtomics |= own.globalAtomics;
      shared.insert(own.shared.begin(), own.shared.end());
      for (const std::string &callee : own.callees)
        if (seen.insert(callee).second)
          open.push_back(callee);
      kernel.localBytes = std::max(kernel.localBytes, uint32_t(own.localEnd));
    }
    if (kernel.localBytes > kMostLocal)
      return Status::invalid("kernel '" + function.name + "' takes more than 512 KiB of local memory");
    placeShared(context, shared, kernel);
    if (kernel.staticShared > 48 * 1024)
      return Status::invalid("kernel '" + function.name + "' uses too much shared data (" +
                             number(kernel.staticShared) + " bytes, 49152 at most)");
    for (int i = 0; i < 3; ++i)
      kernel.requiredThreads[i] = function.requiredThreads[i];
    if (function.maximumThreads[0])
      kernel.maximumThreads =
          std::min(1024u, function.maximumThreads[0] * function.maximumThreads[1] * function.maximumThreads[2]);
    result.kernels.push_back(std::move(kernel));
  }
  return result;
}

} // namespace morph::standin
