// SPDX-License-Identifier: Apache-2.0
// A stand-in for libnccl.so.2 on the stand-in driver: one group of processes of this machine, which send what they have
// to the first and get back what it makes of it, over a socket whose name is the group's id. It reads and writes the
// device by the driver's copies, in the order of the stream.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <string>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <vector>

namespace {

constexpr int kSuccess = 0, kSystemError = 2, kInvalidArgument = 4;

struct UniqueId {
  char bytes[128];
};

struct Group {
  int rank = 0, count = 0;
  std::vector<int> sockets; ///< To the first process, or the first one's to all others by rank.
};

template <typename Function> Function *driver(const char *name) {
  static void *library = ::dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
  return library ? reinterpret_cast<Function *>(::dlsym(library, name)) : nullptr;
}

sockaddr_un addressOf(const UniqueId &id) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  // In the abstract name space: nothing is left behind.
  std::memcpy(address.sun_path + 1, id.bytes, sizeof address.sun_path - 1);
  return address;
}

bool sendAll(int socket, const char *data, size_t bytes) {
  for (ssize_t sent; bytes > 0; data += sent, bytes -= static_cast<size_t>(sent))
    if ((sent = ::send(socket, data, bytes, MSG_NOSIGNAL)) <= 0)
      return false;
  return true;
}

bool receiveAll(int socket, char *data, size_t bytes) {
  for (ssize_t got; bytes > 0; data += got, bytes -= static_cast<size_t>(got))
    if ((got = ::recv(socket, data, bytes, 0)) <= 0)
      return false;
  return true;
}

template <typename T> void add(std::vector<char> &sum, const std::vector<char> &other) {
  T a, b;
  for (size_t i = 0; i + sizeof(T) <= sum.size(); i += sizeof(T)) {
    std::memcpy(&a, &sum[i], sizeof a);
    std::memcpy(&b, &other[i], sizeof b);
    a += b;
    std::memcpy(&sum[i], &a, sizeof a);
  }
}

/// Exchanges `bytes` bytes of device memory: `root` < 0 adds up numbers of `type`, which for bytes of which all but a
/// process' own are zero puts them together; else all get the root's.
int exchange(Group &group, void *memory, size_t bytes, int type, int root, void *stream) {
  auto *wait = driver<int(void *)>("cuStreamSynchronize");
  auto *out = driver<int(void *, unsigned long long, size_t)>("cuMemcpyDtoH_v2");
  auto *in = driver<int(unsigned long long, const void *, size_t)>("cuMemcpyHtoD_v2");
  const auto address = reinterpret_cast<unsigned long long>(memory);
  std::vector<char> own(bytes), other(bytes);
  if (!wait || !out || !in || wait(stream) != 0 || out(own.data(), address, bytes) != 0)
    return kSystemError;
  if (group.rank > 0) {
    if (!sendAll(group.sockets[0], own.data(), bytes) || !receiveAll(group.sockets[0], own.data(), bytes))
      return kSystemError;
  } else {
    for (int rank = 1; rank < group.count; ++rank) {
      if (!receiveAll(group.sockets[static_cast<size_t>(rank)], other.data(), bytes))
        return kSystemError;
      if (rank == root)
        own = other;
      else if (root < 0 && type == 7)
        add<float>(own, other);
      else if (root < 0 && type == 8)
        add<double>(own, other);
      else if (root < 0 && type == 0)
        add<char>(own, other);
      else if (root < 0)
        add<long long>(own, other);
    }
    for (int rank = 1; rank < group.count; ++rank)
      if (!sendAll(group.sockets[static_cast<size_t>(rank)], own.data(), bytes))
        return kSystemError;
  }
  return in(address, own.data(), bytes) == 0 ? kSuccess : kSystemError;
}

} // namespace

extern "C" {

int ncclGetUniqueId(UniqueId *id) {
  std::snprintf(id->bytes, sizeof id->bytes, "morph-nccl-%d-%p", ::getpid(), static_cast<void *>(id));
  return kSuccess;
}

int ncclCommInitRank(void **result, int count, UniqueId id, int rank) {
  auto *group = new Group{rank, count, {}};
  const sockaddr_un address = addressOf(id);
  const int own = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  *result = group;
  if (rank == 0) {
    group->sockets.assign(static_cast<size_t>(count), -1);
    if (::bind(own, reinterpret_cast<const sockaddr *>(&address), sizeof address) != 0 || ::listen(own, count) != 0)
      return kSystemError;
    for (int come = 1; come < count; ++come) {
      const int socket = ::accept(own, nullptr, nullptr);
      int other = 0;
      if (!receiveAll(socket, reinterpret_cast<char *>(&other), sizeof other) || other < 1 || other >= count)
        return kInvalidArgument;
      group->sockets[static_cast<size_t>(other)] = socket;
    }
    ::close(own);
    return kSuccess;
  }
  while (::connect(own, reinterpret_cast<const sockaddr *>(&address), sizeof address) != 0)
    ::usleep(10000);
  group->sockets = {own};
  return sendAll(own, reinterpret_cast<const char *>(&rank), sizeof rank) ? kSuccess : kSystemError;
}

int ncclCommDestroy(void *group) {
  for (int socket : static_cast<Group *>(group)->sockets)
    if (socket >= 0)
      ::close(socket);
  delete static_cast<Group *>(group);
  return kSuccess;
}

int ncclAllReduce(const void *from, void *to, size_t count, int type, int op, void *group, void *stream) {
  if (from != to || op != 0 || (type != 4 && type != 7 && type != 8))
    return kInvalidArgument; // Nothing else is asked of it.
  return exchange(*static_cast<Group *>(group), to, count * (type == 7 ? 4 : 8), type, -1, stream);
}

int ncclBroadcast(const void *from, void *to, size_t count, int type, int root, void *group, void *stream) {
  if (from != to || type != 0)
    return kInvalidArgument;
  return exchange(*static_cast<Group *>(group), to, count, type, root, stream);
}

int ncclAllGather(const void *from, void *to, size_t count, int type, void *group, void *stream) {
  auto *wait = driver<int(void *)>("cuStreamSynchronize");
  auto *out = driver<int(void *, unsigned long long, size_t)>("cuMemcpyDtoH_v2");
  auto *in = driver<int(unsigned long long, const void *, size_t)>("cuMemcpyHtoD_v2");
  const auto &own = *static_cast<Group *>(group);
  std::vector<char> all(count * static_cast<size_t>(own.count), 0);
  if (type != 0)
    return kInvalidArgument;
  if (!wait || !out || !in || wait(stream) != 0 ||
      out(&all[count * static_cast<size_t>(own.rank)], reinterpret_cast<unsigned long long>(from), count) != 0 ||
      in(reinterpret_cast<unsigned long long>(to), all.data(), all.size()) != 0)
    return kSystemError;
  return exchange(*static_cast<Group *>(group), to, all.size(), type, -1, stream);
}

const char *ncclGetErrorString(int result) { return result == kSystemError ? "system error" : "invalid argument"; }
const char *ncclGetLastError(void *) { return ""; }
}
