// SPDX-License-Identifier: Apache-2.0
// The transport over TCP: LibTorch's ProcessGroupGloo.

#include "runtime/processes/Exit.h"
#include "runtime/processes/Group.h"
#include "runtime/processes/Meeting.h"

#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <arpa/inet.h>
#include <csignal>
#include <cstdlib>
#include <dlfcn.h>
#include <netdb.h>
#include <stdexcept>
#include <sys/socket.h>
#include <unistd.h>

/// Takes the place of the C library's in LibTorch, too, and leaves addresses numbers. c10d looks up the name of each
/// peer, for messages that it does not print, before it goes on: where no name server answers, or one that is busy
/// loses a query, all processes of a stage stood still for 5 to 10 seconds a connection.
extern "C" __attribute__((visibility("default"))) int getnameinfo(const sockaddr *address, socklen_t size, char *host,
                                                                  socklen_t hostSize, char *service,
                                                                  socklen_t serviceSize, int flags) {
  using Function = decltype(&::getnameinfo);
  static const auto next = reinterpret_cast<Function>(::dlsym(RTLD_NEXT, "getnameinfo"));
  return next(address, size, host, hostSize, service, serviceSize, flags | NI_NUMERICHOST);
}

namespace morph {

namespace {

constexpr int kAttempts = 3;

/// As long all processes have to come.
constexpr std::chrono::minutes kJoinTimeout{5};

/// This machine's address on the way to `host`: what others reach it by. A host name of its own may lead to a loopback
/// address only. Empty where it is not known.
std::string addressTowards(const std::string &host, int64_t port) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_DGRAM;
  if (::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) != 0)
    return "";
  char text[NI_MAXHOST] = "";
  const int probe = ::socket(found->ai_family, SOCK_DGRAM, 0);
  sockaddr_storage own{};
  socklen_t size = sizeof own;
  // Nothing is sent: connecting a datagram socket only looks up the route.
  if (probe >= 0 && ::connect(probe, found->ai_addr, found->ai_addrlen) == 0 &&
      ::getsockname(probe, reinterpret_cast<sockaddr *>(&own), &size) == 0 &&
      ::getnameinfo(reinterpret_cast<sockaddr *>(&own), size, text, sizeof text, nullptr, 0, NI_NUMERICHOST) != 0)
    text[0] = '\0';
  if (probe >= 0)
    ::close(probe);
  ::freeaddrinfo(found);
  return text;
}

class GlooGroup final : public Processes::Group {
public:
  GlooGroup(const Place &place, std::chrono::seconds timeout) {
    // What is written to a process that is gone is an error here, not this one's end: Gloo is at home in Python, which
    // ignores the signal.
    std::signal(SIGPIPE, SIG_IGN);
    c10d::TCPStoreOptions options;
    options.port = static_cast<std::uint16_t>(place.port);
    options.isServer = place.isLeader();
    options.numWorkers = static_cast<std::size_t>(place.count);
    options.timeout = kJoinTimeout;
    if (const char *socket = std::getenv(kListenVariable); socket && place.isLeader())
      options.masterListenFd = std::atoi(socket);
    store_ = c10::make_intrusive<c10d::TCPStore>(place.leader, options);
    auto gloo = c10d::ProcessGroupGloo::Options::create(timeout);
    const char *interface = std::getenv("GLOO_SOCKET_IFNAME");
    const std::string address = addressTowards(place.leader, place.port);
    gloo->devices = {interface          ? c10d::ProcessGroupGloo::createDeviceForInterface(interface)
                     : !address.empty() ? c10d::ProcessGroupGloo::createDeviceForHostname(address)
                                        : c10d::ProcessGroupGloo::createDefaultDevice()};
    meet(store_, place.rank, place.count, kAttempts, [&](const c10::intrusive_ptr<c10d::Store> &store) {
      backend_.reset(); // One that the others do not have.
      backend_ = c10::make_intrusive<c10d::ProcessGroupGloo>(store, static_cast<int>(place.rank),
                                                             static_cast<int>(place.count), gloo);
    });
  }

  void allReduce(at::Tensor tensor) override {
    std::vector<at::Tensor> tensors = {std::move(tensor)};
    backend_->allreduce(tensors)->wait();
  }
  void broadcast(at::Tensor tensor, int64_t root) override {
    c10d::BroadcastOptions options;
    options.rootRank = root;
    std::vector<at::Tensor> tensors = {std::move(tensor)};
    backend_->broadcast(tensors, options)->wait();
  }
  // It counts elements along the first dimension.
  void allGather(at::Tensor result, at::Tensor tensor) override {
    at::Tensor rows = result.view({-1}), row = tensor.view({-1});
    backend_->_allgather_base(rows, row)->wait();
  }
  void allGather(std::vector<std::vector<at::Tensor>> results, std::vector<at::Tensor> tensors) override {
    backend_->allgather_coalesced(results, tensors)->wait();
  }

private:
  c10::intrusive_ptr<c10d::Store> store_;
  c10::intrusive_ptr<c10d::ProcessGroupGloo> backend_;
};

} // namespace

std::unique_ptr<Processes::Group> Processes::Group::connect(const Place &place, std::chrono::seconds timeout) {
  return std::make_unique<GlooGroup>(place, timeout);
}

} // namespace morph
