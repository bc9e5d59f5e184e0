// SPDX-License-Identifier: Apache-2.0
#include "test/cuda/driver/Counters.h"

#include <algorithm>

namespace morph::standin {

namespace {
/// Of InstructionClass.
constexpr const char *kClassNames[kInstructionClasses] = {"integer", "float",      "special", "convert", "move",
                                                          "control", "global",     "shared",  "local",   "atomic",
                                                          "barrier", "collective", "mma"};
} // namespace

void SiteCounts::add(const SiteCounts &other) {
  threads += other.threads;
  bytesLoaded += other.bytesLoaded;
  bytesStored += other.bytesStored;
  requests += other.requests;
  sectors += other.sectors;
  idealSectors += other.idealSectors;
  sharedRequests += other.sharedRequests;
  wavefronts += other.wavefronts;
  idealWavefronts += other.idealWavefronts;
}

void SiteCounts::add(const WarpRequest &request) {
  if (!request.isShared) {
    uint64_t seen[96], bytes = 0;
    unsigned n = 0;
    for (unsigned lane = 0; lane < 32; ++lane) {
      if (!(request.mask >> lane & 1))
        continue;
      bytes += request.bytes;
      for (uint64_t sector = request.address[lane] / 32; sector <= (request.address[lane] + request.bytes - 1) / 32;
           ++sector) {
        // The newest first: neighbours share sectors.
        bool isNew = true;
        for (unsigned i = n; i-- > 0 && isNew;)
          isNew = seen[i] != sector;
        if (isNew && n < 96)
          seen[n++] = sector;
      }
    }
    ++requests;
    sectors += n;
    idealSectors += std::min<uint64_t>(n, (bytes + 31) / 32);
    return;
  }
  unsigned lanes = request.bytes > 8 ? 8 : request.bytes > 4 ? 16 : 32;
  ++sharedRequests;
  for (unsigned part = 0; part < 32; part += lanes) {
    uint32_t words[32][32];
    unsigned used[32] = {}, most = 0;
    for (unsigned lane = part; lane < part + lanes; ++lane) {
      if (!(request.mask >> lane & 1))
        continue;
      for (uint32_t word = uint32_t(request.address[lane] / 4),
                    last = uint32_t((request.address[lane] + request.bytes - 1) / 4);
           word <= last; ++word) {
        unsigned bank = word % 32;
        if (std::find(words[bank], words[bank] + used[bank], word) == words[bank] + used[bank] && used[bank] < 32)
          words[bank][used[bank]++] = word;
        most = std::max(most, used[bank]);
      }
    }
    wavefronts += most;
    idealWavefronts += most > 0;
  }
}

void Counters::add(const std::string &kernel, const std::shared_ptr<const Translation> &module, const Launch &launch) {
  std::lock_guard<std::mutex> lock(mutex);
  std::vector<Kernel> &all = kernels[kernel];
  auto found = std::find_if(all.begin(), all.end(), [&](const Kernel &one) { return one.module == module; });
  if (found == all.end()) {
    all.emplace_back();
    found = all.end() - 1;
    found->module = module;
    found->sites.resize(launch.sites.size());
  }
  ++found->launches;
  found->blocks += launch.blocks;
  found->threads += launch.threads;
  found->firstLoaded += launch.firstLoaded;
  found->firstStored += launch.firstStored;
  found->memoryLoaded += launch.memoryLoaded;
  found->memoryStored += launch.memoryStored;
  for (size_t i = 0; i < launch.sites.size(); ++i)
    found->sites[i].add(launch.sites[i]);
}

bool Counters::get(const std::string &name, MorphStandInCounters &counters) const {
  std::lock_guard<std::mutex> lock(mutex);
  counters = {};
  auto found = kernels.find(name);
  if (found == kernels.end())
    return false;
  for (const Kernel &kernel : found->second) {
    counters.launches += kernel.launches;
    counters.blocks += kernel.blocks;
    counters.threads += kernel.threads;
    counters.firstLoaded += kernel.firstLoaded;
    counters.firstStored += kernel.firstStored;
    counters.memoryLoaded += kernel.memoryLoaded;
    counters.memoryStored += kernel.memoryStored;
    for (size_t i = 0; i < kernel.sites.size(); ++i) {
      const SiteCounts &site = kernel.sites[i];
      const InstructionInfo &info = kernel.module->instructions[i];
      counters.bytesLoaded += site.bytesLoaded;
      counters.bytesStored += site.bytesStored;
      counters.requests += site.requests;
      counters.sectors += site.sectors;
      counters.idealSectors += site.idealSectors;
      counters.sharedRequests += site.sharedRequests;
      counters.wavefronts += site.wavefronts;
      counters.idealWavefronts += site.idealWavefronts;
      counters.instructions[size_t(info.kind)] += site.threads;
      counters.flops += site.threads * info.flops;
      counters.mma += info.mmaFlops ? site.threads / 32 : 0;
      counters.mmaFlops += site.threads / 32 * info.mmaFlops;
    }
  }
  return true;
}

std::string Counters::json(const std::string &name) const {
  std::lock_guard<std::mutex> lock(mutex);
  auto found = kernels.find(name);
  if (found == kernels.end())
    return "";
  // Names and instructions have no characters that JSON escapes but quotes and backslashes.
  auto quoted = [](const std::string &text) {
    std::string result = "\"";
    for (char c : text) {
      if (c == '"' || c == '\\')
        result += '\\';
      result += c;
    }
    return result + "\"";
  };
  Kernel all;
  for (const Kernel &kernel : found->second) {
    all.launches += kernel.launches;
    all.blocks += kernel.blocks;
    all.threads += kernel.threads;
    all.firstLoaded += kernel.firstLoaded;
    all.firstStored += kernel.firstStored;
    all.memoryLoaded += kernel.memoryLoaded;
    all.memoryStored += kernel.memoryStored;
  }
  std::string text = "{\"kernel\": " + quoted(name);
  const std::pair<const char *, uint64_t> sums[] = {
      {"launches", all.launches},         {"blocks", all.blocks},
      {"threads", all.threads},           {"first_loaded", all.firstLoaded},
      {"first_stored", all.firstStored},  {"memory_loaded", all.memoryLoaded},
      {"memory_stored", all.memoryStored}};
  for (auto [key, value] : sums)
    text += ", \"" + std::string(key) + "\": " + std::to_string(value);
  text += ", \"lines\": [";
  const char *comma = "\n";
  for (const Kernel &kernel : found->second)
    for (size_t i = 0; i < kernel.sites.size(); ++i) {
      const SiteCounts &site = kernel.sites[i];
      if (site.threads == 0)
        continue;
      const InstructionInfo &info = kernel.module->instructions[i];
      text += comma + std::string("{\"line\": ") + std::to_string(info.line) + ", \"class\": \"" +
              kClassNames[size_t(info.kind)] + "\", \"instruction\": " + quoted(info.text);
      comma = ",\n";
      const std::pair<const char *, uint64_t> numbers[] = {{"threads", site.threads},
                                                           {"flops", site.threads * info.flops},
                                                           {"mma_flops", site.threads / 32 * info.mmaFlops},
                                                           {"bytes_loaded", site.bytesLoaded},
                                                           {"bytes_stored", site.bytesStored},
                                                           {"requests", site.requests},
                                                           {"sectors", site.sectors},
                                                           {"ideal_sectors", site.idealSectors},
                                                           {"shared_requests", site.sharedRequests},
                                                           {"wavefronts", site.wavefronts},
                                                           {"ideal_wavefronts", site.idealWavefronts}};
      for (auto [key, value] : numbers)
        if (value)
          text += ", \"" + std::string(key) + "\": " + std::to_string(value);
      text += "}";
    }
  return text + "\n]}\n";
}

void Counters::clear() {
  std::lock_guard<std::mutex> lock(mutex);
  kernels.clear();
}

} // namespace morph::standin
