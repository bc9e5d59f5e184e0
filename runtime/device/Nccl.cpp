// SPDX-License-Identifier: Apache-2.0
// NCCL's header needs the CUDA runtime's: the few functions of it that are used are declared here, as NCCL 2 has them.

#include "runtime/device/Nccl.h"

#include "runtime/device/VendorLibrary.h"

#include <algorithm>
#include <cstring>
#include <dlfcn.h>
#include <mutex>
#include <type_traits>

namespace morph {

namespace {

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
  int (*AllGather)(const void *from, void *to, size_t count, int type, void *group, void *stream) = nullptr;
  const char *(*GetErrorString)(int result) = nullptr;
  const char *(*GetLastError)(void *group) = nullptr;
  void *handle = nullptr;
  std::string file;
};

/// NCCL's numbers of types.
int numberOf(Nccl::Type type) { return type == Nccl::Type::F32 ? 7 : type == Nccl::Type::F64 ? 8 : 4; }
constexpr int kBytes = 0;

StatusOr<Library> openNccl() {
  MORPH_ASSIGN_OR_RETURN(const OpenedLibrary opened,
                         openVendorLibrary({"NCCL", "libnccl.so.2", "MORPH_NCCL", "nvidia/nccl/lib"}));
  Library library;
  library.handle = opened.handle;
  library.file = opened.file;
  const auto find = [&](auto &function, const char *name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(::dlsym(library.handle, name));
    return function != nullptr;
  };
  if (!find(library.GetUniqueId, "ncclGetUniqueId") || !find(library.CommInitRank, "ncclCommInitRank") ||
      !find(library.CommDestroy, "ncclCommDestroy") || !find(library.AllReduce, "ncclAllReduce") ||
      !find(library.Broadcast, "ncclBroadcast") || !find(library.AllGather, "ncclAllGather") ||
      !find(library.GetErrorString, "ncclGetErrorString") || !find(library.GetLastError, "ncclGetLastError"))
    return Status::failed("no NCCL: '" + opened.file + "' lacks functions of NCCL 2");
  return library;
}

StatusOr<const Library *> library() {
  static std::mutex mutex;
  static Library opened;
  const std::lock_guard<std::mutex> lock(mutex);
  if (!opened.handle) {
    MORPH_ASSIGN_OR_RETURN(opened, openNccl());
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

StatusOr<std::string> Nccl::file() {
  MORPH_ASSIGN_OR_RETURN(const Library *nccl, library());
  return nccl->file;
}

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

Status Nccl::allGather(const void *part, void *whole, int64_t bytes) {
  MORPH_ASSIGN_OR_RETURN(const Library *nccl, library());
  return check(*nccl, nccl->AllGather(part, whole, static_cast<size_t>(bytes), kBytes, group_, device_.stream()),
               group_, "a gathering between processes");
}

} // namespace morph
