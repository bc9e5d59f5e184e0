// SPDX-License-Identifier: Apache-2.0
#include "test/cuda/driver/Machine.h"

#include "test/cuda/driver/Worker.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <numeric>
#include <thread>

namespace morph::standin {

/// Host threads that wait for launches; the caller is one of them.
struct Machine::Pool {
  Pool(const MachineOptions &options, Memory &memory, Errors &errors, Counters &counters)
      : options(options), memory(memory), errors(errors), counters(counters), workers(std::max(1u, options.threads)) {
    if (options.checks)
      shadow = std::make_unique<GlobalShadow>(memory.begin(), memory.span());
  }

  ~Pool() {
    {
      std::lock_guard<std::mutex> lock(mutex);
      isEnding = true;
    }
    wake.notify_all();
    for (std::thread &thread : threads)
      thread.join();
  }

  void run(const Launch &launch) {
    SharedLaunch shared;
    shared.launch = &launch;
    shared.options = &options;
    shared.memory = &memory;
    shared.errors = &errors;
    shared.live = options.checks && launch.confinement ? confined(launch) : memory.live();
    shared.shadow = shadow.get();
    if (shadow)
      shadow->beginLaunch();
    shared.blocks = uint64_t(launch.grid[0]) * launch.grid[1] * launch.grid[2];
    if (options.checks)
      shared.requests.resize(shared.blocks);
    Random random(options.seed * 0x9e3779b97f4a7c15ull + ++launches);
    shared.seed = random.next();
    // Every block once, in an order of the seed: a step that shares no factor with their number.
    do
      shared.factor = random.below(shared.blocks) + 1;
    while (std::gcd(shared.factor, shared.blocks) != 1);
    shared.shift = random.below(shared.blocks);
    size_t used = launch.kernel->hasGlobalAtomics ? 1 : size_t(std::min<uint64_t>(workers.size(), shared.blocks));
    for (size_t i = 0; i < used; ++i)
      if (!workers[i])
        workers[i] = std::make_unique<Worker>();
    if (used > 1) {
      while (threads.size() + 1 < used)
        threads.emplace_back([this, index = threads.size() + 1] { serve(index); });
      {
        std::lock_guard<std::mutex> lock(mutex);
        current = &shared;
        helpers = used - 1;
        running = used - 1;
        ++generation;
      }
      wake.notify_all();
    }
    workers[0]->run(shared);
    if (used > 1) {
      std::unique_lock<std::mutex> lock(mutex);
      ended.wait(lock, [&] { return running == 0; });
      current = nullptr;
    }
    if (!options.checks)
      return;
    Counters::Launch all = std::move(workers[0]->counts);
    for (size_t i = 1; i < used; ++i) {
      all.blocks += workers[i]->counts.blocks;
      all.threads += workers[i]->counts.threads;
      all.firstLoaded += workers[i]->counts.firstLoaded;
      all.firstStored += workers[i]->counts.firstStored;
      for (size_t k = 0; k < all.sites.size(); ++k)
        all.sites[k].add(workers[i]->counts.sites[k]);
    }
    countMemory(shared.requests, mostBlocks(launch), options.cacheBytes, all);
    counters.add(launch.kernel->name, launch.module->translation, all);
  }

  std::shared_ptr<const LiveRanges> confined(const Launch &launch) const {
    std::vector<Span> spans = *launch.confinement;
    for (uint64_t variable : launch.module->globals) {
      uint64_t begin = 0, bytes = 0;
      if (memory.find(variable, begin, bytes))
        spans.push_back({begin, begin + bytes});
    }
    return std::make_shared<LiveRanges>(memory.live()->within(std::move(spans)));
  }

  /// Blocks of a launch that the device has at once, as far as threads and shared memory say.
  uint64_t mostBlocks(const Launch &launch) const {
    constexpr uint64_t threads = 2048, blocks = 32, reserved = 1024;
    const uint64_t sharedBytes = launch.kernel->dynamicBegin + launch.dynamicShared + reserved;
    uint64_t each = std::min(
        {threads / (launch.block[0] * launch.block[1] * launch.block[2]), blocks, options.sharedBytes / sharedBytes});
    return options.processors * std::max<uint64_t>(1, each);
  }

  void serve(size_t index) {
    uint64_t seen = 0;
    while (true) {
      SharedLaunch *shared = nullptr;
      {
        std::unique_lock<std::mutex> lock(mutex);
        wake.wait(lock, [&] { return isEnding || (generation != seen && current && index <= helpers); });
        if (isEnding)
          return;
        seen = generation;
        shared = current;
      }
      workers[index]->run(*shared);
      std::lock_guard<std::mutex> lock(mutex);
      if (--running == 0)
        ended.notify_all();
    }
  }

  MachineOptions options;
  Memory &memory;
  Errors &errors;
  Counters &counters;
  std::unique_ptr<GlobalShadow> shadow;
  uint64_t launches = 0;
  std::vector<std::unique_ptr<Worker>> workers;
  std::vector<std::thread> threads;
  std::mutex mutex;
  std::condition_variable wake, ended;
  SharedLaunch *current = nullptr;
  uint64_t generation = 0;
  size_t helpers = 0, running = 0;
  bool isEnding = false;
};

Machine::Machine(const MachineOptions &options, Memory &memory, Errors &errors, Counters &counters)
    : pool(std::make_unique<Pool>(options, memory, errors, counters)) {}

Machine::~Machine() = default;

void Machine::run(const Launch &launch) { pool->run(launch); }

} // namespace morph::standin
