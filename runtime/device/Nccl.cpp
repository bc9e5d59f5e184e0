// SPDX-License-Identifier: Apache-2.0
// NCCL's header needs the CUDA runtime's: the few functions of it that are used are declared here, as NCCL 2 has them.

#include "runtime/device/Nccl.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <link.h>
#include <mutex>
#include <type_traits>
#include <vector>

namespace morph {

namespace {

constexpr const char *kLibrary = "libnccl.so.2";
constexpr int kSuccess = 0, kSum = 0;

struct UniqueId {
  char bytes[128];
};

struct Library {
  int (*GetUniqueId)(UniqueId *id) = nullptr;
  int (*CommInitRank)(void **group, int count, UniqueId id, int rank) = nullptr;
  int (*CommDestroy)(void *group) = nullptr;
  int (*AllReduce)(const void *from, void *to, size_t count, int type, int op, void *group, void *stream) = nullptr;
  int (*Broadcast)(const void *from, void *to, size_t count, int type, int root, void *group, void *stream) = nullptr;
  const char *(*GetErrorString)(int result) = nullptr;
  const char *(*GetLastError)(void *group) = nullptr;
  void *handle = nullptr;
};

/// NCCL's numbers of types.
int numberOf(Nccl::Type type) { return type == Nccl::Type::F32 ? 7 : type == Nccl::Type::F64 ? 8 : 4; }
constexpr int kBytes = 0;

/// Of a loaded ".../torch/lib/libtorch_cpu.so": ".../nvidia/nccl/lib/", where the wheels put it.
int findWheel(dl_phdr_info *info, size_t, void *folder) {
  constexpr const char *kTorch = "/torch/lib/libtorch_cpu.so";
  const char *at = info->dlpi_name ? std::strstr(info->dlpi_name, kTorch) : nullptr;
  if (!at || std::strcmp(at, kTorch) != 0)
    return 0;
  *static_cast<std::string *>(folder) = std::string(info->dlpi_name, at) + "/nvidia/nccl/lib/";
  return 1;
}

StatusOr<Library> openLibrary() {
  std::vector<std::string> files = {kLibrary};
  std::string wheel;
  ::dl_iterate_phdr(findWheel, &wheel);
  if (!wheel.empty())
    files.push_back(wheel + kLibrary);
  files.push_back(std::string("/usr/local/cuda/lib64/") + kLibrary);
  if (const char *named = std::getenv("MORPH_NCCL"); named && *named)
    files = {named};
  Library library;
  std::string tried, file;
  for (size_t i = 0; i < files.size() && !library.handle; ++i) {
    file = files[i];
    library.handle = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    const char *error = library.handle ? nullptr : ::dlerror();
    tried += (tried.empty() ? "" : "; ") + std::string(error ? error : "");
  }
  if (!library.handle)
    return Status::failed("no NCCL: " + tried, "MORPH_NCCL names the file of libnccl.so.2");
  const auto find = [&](auto &function, const char *name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(::dlsym(library.handle, name));
    return function != nullptr;
  };
  if (!find(library.GetUniqueId, "ncclGetUniqueId") || !find(library.CommInitRank, "ncclCommInitRank") ||
      !find(library.CommDestroy, "ncclCommDestroy") || !find(library.AllReduce, "ncclAllReduce") ||
      !find(library.Broadcast, "ncclBroadcast") || !find(library.GetErrorString, "ncclGetErrorString") ||
      !find(library.GetLastError, "ncclGetLastError"))
    return Status::failed("no NCCL: '" + file + "' lacks functions of NCCL 2");
  return library;
}

StatusOr<const Library *> library() {
  static std::mutex mutex;
  static Library opened;
  const std::lock_guard<std::mutex> lock(mutex);
  if (!opened.handle) {
    MORPH_ASSIGN_OR_RETURN(opened, openLibrary());
  }
  return &opened;
}

Status check(const Library &nccl, int result, void *group, const char *what) {
  if (result == kSuccess)
    return Status();
  const char *more = nccl.GetLastError(group);
  return Status::failed(std::string("NCCL: ") + what + ": " + nccl.GetErrorString(result) +
                        (more && *more ? " (" + std::string(more) + ")" : ""));
}

} // namespace

StatusOr<std::string> Nccl::makeId() {
  MORPH_ASSIGN_OR_RETURN(const Library *nccl, library());
  UniqueId id{};
  MORPH_RETURN_IF_ERROR(check(*nccl, nccl->GetUniqueId(&id), nullptr, "the meeting of the processes"));
  return std::string(id.bytes, sizeof id.bytes);
}

StatusOr<std::unique_ptr<Nccl>> Nccl::join(CudaDevice &device, const std::string &id, int64_t rank, int64_t count) {
  MORPH_ASSIGN_OR_RETURN(const Library *nccl, library());
  UniqueId own{};
  std::memcpy(own.bytes, id.data(), std::min(id.size(), sizeof own.bytes));
  // NCCL takes the device whose context this thread has: any call makes that this one's.
  MORPH_RETURN_IF_ERROR(device.synchronize());
  void *group = nullptr;
  MORPH_RETURN_IF_ERROR(check(*nccl, nccl->CommInitRank(&group, static_cast<int>(count), own, static_cast<int>(rank)),
                              nullptr, "a group of GPUs"));
  return std::unique_ptr<Nccl>(new Nccl(device, group));
}

Nccl::~Nccl() {
  // A group is there, so the library is.
  (void)device_.synchronize();
  (*library())->CommDestroy(group_);
}

Status Nccl::allReduce(void *memory, int64_t count, Type type) {
  MORPH_ASSIGN_OR_RETURN(const Library *nccl, library());
  return check(
      *nccl,
      nccl->AllReduce(memory, memory, static_cast<size_t>(count), numberOf(type), kSum, group_, device_.stream()),
      group_, "a sum over processes");
}

Status Nccl::broadcast(void *memory, int64_t bytes, int64_t root) {
  MORPH_ASSIGN_OR_RETURN(const Library *nccl, library());
  return check(*nccl,
               nccl->Broadcast(memory, memory, static_cast<size_t>(bytes), kBytes, static_cast<int>(root), group_,
                               device_.stream()),
               group_, "a message between processes");
}

} // namespace morph
