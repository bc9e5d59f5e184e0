// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernels/GemmChoice.h"

#include "runtime/base/AtomicFile.h"
#include "runtime/base/CacheFolder.h"
#include "runtime/base/Cpu.h"
#include "runtime/base/FileLock.h"
#include "runtime/base/Json.h"
#include "runtime/base/Sha256.h"
#include "runtime/kernels/Parallel.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <shared_mutex>
#include <utility>

namespace morph {
namespace {

namespace fs = std::filesystem;

/// Sizes that are measured are cut to this: a measurement takes about a second and 48 MB at most.
constexpr int64_t kMeasured = 2048;
/// A library must be this much faster than one that comes after it in the list: a close race is not decided by noise.
constexpr double kClearly = 1.05;
constexpr int64_t kVersion = 2;
constexpr uint64_t kMostBytes = 1 << 20;

const GemmLibrary *findLibrary(const std::string &name) {
  for (const GemmLibrary *library : gemmLibraryList())
    if (library->name() == name)
      return library;
  return nullptr;
}

/// The sizes of a product's kind, m, n and k. Rows (the sizes that data have: m or, of a weight's gradient, k) are the
/// next power of two; a weight's are themselves. Libraries differ by a fifth even between 576 and 1536 columns.
std::array<int64_t, 3> sizesOf(const GemmDescription &d) {
  std::array<int64_t, 3> sizes = {std::min(d.m, kMeasured), std::min(d.n, kMeasured), std::min(d.k, kMeasured)};
  int64_t &rows = sizes[d.transposeA ? 2 : 0], size = std::exchange(rows, 1);
  while (rows < size && rows < kMeasured)
    rows *= 2;
  return sizes;
}

const char *nameOf(plan::DType type) {
  return type == plan::DType::F64 ? "f64" : type == plan::DType::BF16 ? "bf16" : "f32";
}

std::string kindOf(const GemmDescription &d) {
  const auto [m, n, k] = sizesOf(d);
  return std::string(nameOf(d.factors)) + " " + (d.transposeA ? "t" : "n") + (d.transposeB ? "t" : "n") + " " +
         std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k);
}

/// kindOf as a number, to look up without a string.
uint64_t kindNumber(const GemmDescription &d) {
  static_assert(kMeasured < 1 << 16);
  const auto [m, n, k] = sizesOf(d);
  return static_cast<uint64_t>(m) | static_cast<uint64_t>(n) << 16 | static_cast<uint64_t>(k) << 32 |
         uint64_t(d.transposeA) << 48 | uint64_t(d.transposeB) << 49 | static_cast<uint64_t>(d.factors) << 50;
}

double secondsOf(const GemmLibrary &library, const GemmDescription &d, const void *a, const void *b, void *c,
                 int threads) {
  const auto begin = std::chrono::steady_clock::now();
  library.run(d, a, b, c, threads);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// The fastest for products like `d`: the least of several runs each, in turn, so that all see the same machine.
const GemmLibrary &measure(GemmDescription d, const std::vector<const GemmLibrary *> &libraries, int threads) {
  d.m = std::min(d.m, kMeasured);
  d.n = std::min(d.n, kMeasured);
  d.k = std::min(d.k, kMeasured);
  d.strideA = d.transposeA ? d.m : d.k;
  d.strideB = d.transposeB ? d.k : d.n;
  d.strideC = d.n;
  // Zeros: no number below the normal range, and processors do not multiply them faster.
  const size_t width = d.factors == plan::DType::F64 ? 8 : 4;
  const std::vector<char> a(static_cast<size_t>(d.m * d.k) * width + 64),
      b(static_cast<size_t>(d.k * d.n) * width + 64);
  std::vector<char> c(static_cast<size_t>(d.m * d.n) * width + 64);
  auto aligned = [](const std::vector<char> &memory) {
    return const_cast<char *>(memory.data()) + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64) % 64;
  };
  const int64_t products = d.m * d.n * d.k;
  const int runs = products > (int64_t(1) << 28) ? 3 : products > (int64_t(1) << 24) ? 7 : 25;
  std::vector<double> best(libraries.size(), 1e9);
  for (int run = 0; run <= runs; ++run)
    for (size_t i = 0; i < libraries.size(); ++i) {
      const double seconds = secondsOf(*libraries[i], d, aligned(a), aligned(b), aligned(c), threads);
      if (run > 0) // The first one warms up.
        best[i] = std::min(best[i], seconds);
    }
  size_t chosen = libraries.size() - 1;
  for (size_t i = libraries.size() - 1; i-- > 0;)
    if (best[i] * kClearly < best[chosen])
      chosen = i;
  return *libraries[chosen];
}

using Names = std::map<std::string, std::string>;

/// The choices in a file, or none where it is missing or wrong in any way.
Names readChoices(const std::string &path) {
  StatusOr<std::string> text = readTextFile(path, kMostBytes);
  if (!text.ok())
    return {};
  StatusOr<Json> json = parseJson(*text, path);
  if (!json.ok() || !json->is_object() || !json->contains("choices") || !(*json)["choices"].is_object())
    return {};
  const StatusOr<int64_t> version = jsonGet<int64_t>(*json, "version", path);
  const StatusOr<std::string> libraries = jsonGet<std::string>(*json, "libraries", path);
  if (!version.ok() || *version != kVersion || !libraries.ok() || *libraries != gemmLibraries())
    return {};
  Names names;
  for (const auto &[kind, name] : (*json)["choices"].items()) {
    if (!name.is_string() || !findLibrary(name.get<std::string>()))
      return {};
    names[kind] = name.get<std::string>();
  }
  return names;
}

Status writeChoices(const std::string &path, const Names &names) {
  const Json json = {{"version", kVersion}, {"libraries", gemmLibraries()}, {"choices", names}};
  return writeFile(path, json.dump(2) + "\n");
}

} // namespace

struct GemmChoices::State {
  std::string path;
  int threads = 1;
  const char *forced = nullptr;
  mutable std::shared_mutex mutex;
  std::map<uint64_t, const GemmLibrary *> chosen;
  std::mutex slow; ///< Held while one is measured.
  int64_t measured = 0;

  const GemmLibrary &decide(const GemmDescription &d) {
    std::vector<const GemmLibrary *> serving;
    for (const GemmLibrary *library : gemmLibraryList())
      if (library->serves(d, threads))
        serving.push_back(library);
    for (const GemmLibrary *library : serving)
      if (forced && std::strcmp(library->name(), forced) == 0)
        return *library;
    const GemmLibrary &fallback = *serving.back();
    if (serving.size() == 1 || path.empty())
      return fallback;
    const std::string kind = kindOf(d);
    auto known = [&](const Names &names) -> const GemmLibrary * {
      auto found = names.find(kind);
      const GemmLibrary *library = found == names.end() ? nullptr : findLibrary(found->second);
      return library && library->serves(d, threads) ? library : nullptr;
    };
    if (const GemmLibrary *library = known(readChoices(path)))
      return *library;
    const GemmLibrary &fastest = measure(d, serving, threads);
    ++measured;
    const FileLock lock(path + ".lock");
    if (!lock.held())
      return fallback;
    // Another process may have been first: what is in the file counts.
    Names names = readChoices(path);
    if (const GemmLibrary *library = known(names))
      return *library;
    names[kind] = fastest.name();
    return writeChoices(path, names).ok() ? fastest : fallback;
  }
};

GemmChoices::GemmChoices(std::string path, int threads) : state_(std::make_unique<State>()) {
  state_->path = std::move(path);
  state_->threads = threads;
  state_->forced = std::getenv("MORPH_PRODUCTS");
}
GemmChoices::~GemmChoices() = default;

int64_t GemmChoices::measured() const { return state_->measured; }

const GemmLibrary &GemmChoices::choose(const GemmDescription &d) {
  // Not measured: the larger sides of such products do not matter.
  if (!state_->forced && (d.m * d.n * d.k <= kSmallProduct || hasFewRows(d)))
    return *ownGemm();
  const uint64_t kind = kindNumber(d);
  {
    const std::shared_lock<std::shared_mutex> lock(state_->mutex);
    if (auto found = state_->chosen.find(kind); found != state_->chosen.end())
      return *found->second;
  }
  const std::lock_guard<std::mutex> one(state_->slow);
  {
    const std::shared_lock<std::shared_mutex> lock(state_->mutex);
    if (auto found = state_->chosen.find(kind); found != state_->chosen.end())
      return *found->second;
  }
  const GemmLibrary &library = state_->decide(d);
  const std::unique_lock<std::shared_mutex> lock(state_->mutex);
  state_->chosen[kind] = &library;
  return library;
}

std::string gemmChoicesPath(int threads) {
  const std::string folder = cacheFolder();
  std::error_code error;
  if (folder.empty() || (fs::create_directories(folder, error), error))
    return "";
  return folder + "/products-" + slugOf(cpuName()) + "-" + sha256(gemmLibraries()).substr(0, 8) + "-threads-" +
         std::to_string(threads) + ".json";
}

const GemmLibrary &chooseGemmLibrary(const GemmDescription &description, int threads) {
  static std::shared_mutex mutex;
  static std::map<int, std::unique_ptr<GemmChoices>> byThreads;
  {
    const std::shared_lock<std::shared_mutex> lock(mutex);
    if (auto found = byThreads.find(threads); found != byThreads.end())
      return found->second->choose(description);
  }
  GemmChoices *choices = nullptr;
  {
    const std::unique_lock<std::shared_mutex> lock(mutex);
    std::unique_ptr<GemmChoices> &made = byThreads[threads];
    if (!made)
      made = std::make_unique<GemmChoices>(gemmChoicesPath(threads), threads);
    choices = made.get();
  }
  return choices->choose(description);
}

} // namespace morph
