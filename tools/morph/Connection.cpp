// SPDX-License-Identifier: Apache-2.0

#include "tools/morph/Connection.h"

#include "tools/morph/Process.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

using namespace morph;

namespace {

/// A message that is longer comes from something else.
constexpr size_t kLongestMessage = 4 << 20;

void setOption(int socket, int level, int name, int value) { ::setsockopt(socket, level, name, &value, sizeof value); }

/// Whether there is something to read, within `wait`.
bool isReadable(int socket, std::chrono::milliseconds wait) {
  pollfd entry{socket, POLLIN, 0};
  return ::poll(&entry, 1, static_cast<int>(wait.count())) > 0;
}

} // namespace

StatusOr<Listener> Listener::open(int64_t port, bool onlyThisMachine) {
  Listener listener;
  listener.socket_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  setOption(listener.socket_, SOL_SOCKET, SO_REUSEADDR, 1);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(onlyThisMachine ? INADDR_LOOPBACK : INADDR_ANY);
  socklen_t size = sizeof address;
  if (listener.socket_ < 0 || ::bind(listener.socket_, reinterpret_cast<sockaddr *>(&address), size) != 0 ||
      ::listen(listener.socket_, SOMAXCONN) != 0 ||
      ::getsockname(listener.socket_, reinterpret_cast<sockaddr *>(&address), &size) != 0)
    return Status::failed("cannot listen at port " + std::to_string(port) + ": " + std::strerror(errno),
                          "set MASTER_PORT to another port, for all processes of the run");
  listener.port_ = ntohs(address.sin_port);
  return listener;
}

Listener::~Listener() {
  if (socket_ >= 0)
    ::close(socket_);
}

Connection::Connection(int socket) : socket_(socket) {
  setOption(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
  setOption(socket, IPPROTO_TCP, TCP_KEEPIDLE, 5);
  setOption(socket, IPPROTO_TCP, TCP_KEEPINTVL, 5);
  setOption(socket, IPPROTO_TCP, TCP_KEEPCNT, 3);
  setOption(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, 20000);
  setOption(socket, IPPROTO_TCP, TCP_NODELAY, 1);
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  char host[NI_MAXHOST] = "";
  if (::getpeername(socket, reinterpret_cast<sockaddr *>(&address), &size) == 0)
    ::getnameinfo(reinterpret_cast<sockaddr *>(&address), size, host, sizeof host, nullptr, 0, NI_NUMERICHOST);
  peer_ = host;
}

Connection::~Connection() { ::close(socket_); }

std::unique_ptr<Connection> Connection::accept(const Listener &listener, std::chrono::milliseconds wait) {
  if (!isReadable(listener.socket(), wait))
    return nullptr;
  const int socket = ::accept4(listener.socket(), nullptr, nullptr, SOCK_CLOEXEC);
  return std::unique_ptr<Connection>(socket < 0 ? nullptr : new Connection(socket));
}

StatusOr<std::unique_ptr<Connection>> Connection::connect(const std::string &host, int64_t port,
                                                          std::chrono::seconds wait) {
  const auto deadline = std::chrono::steady_clock::now() + wait;
  std::string reason;
  while (!stopSignal()) {
    addrinfo hints{}, *found = nullptr;
    hints.ai_family = AF_INET;
    hints.ai_socktype = SOCK_STREAM;
    if (const int error = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found); error != 0) {
      reason = ::gai_strerror(error);
    } else {
      const int socket = ::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
      const bool done = socket >= 0 && ::connect(socket, found->ai_addr, found->ai_addrlen) == 0;
      reason = std::strerror(errno);
      ::freeaddrinfo(found);
      if (done)
        return std::unique_ptr<Connection>(new Connection(socket));
      if (socket >= 0)
        ::close(socket);
    }
    if (std::chrono::steady_clock::now() > deadline)
      return Status::failed("the process of rank 0 cannot be reached at " + host + ":" + std::to_string(port) + ": " +
                                reason,
                            "MASTER_ADDR and MASTER_PORT say where it is");
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
  return Status::failed("");
}

void Connection::send(const Json &message) {
  const std::string text = message.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  for (size_t sent = 0; sent < text.size() && !isClosed_;) {
    const ssize_t count = ::send(socket_, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
    if (count > 0)
      sent += static_cast<size_t>(count);
    else if (errno != EINTR)
      isClosed_ = true;
  }
}

std::optional<Json> Connection::receive(std::chrono::milliseconds wait) {
  std::array<char, 65536> data;
  size_t end;
  while ((end = buffer_.find('\n')) == std::string::npos) {
    if (isClosed_ || !isReadable(socket_, wait))
      return std::nullopt;
    const ssize_t count = ::recv(socket_, data.data(), data.size(), 0);
    if (count < 0 && errno == EINTR)
      return std::nullopt;
    if (count > 0)
      buffer_.append(data.data(), static_cast<size_t>(count));
    isClosed_ = count <= 0 || buffer_.size() > kLongestMessage;
  }
  const StatusOr<Json> message = parseJson(buffer_.substr(0, end), "a message of another process");
  buffer_.erase(0, end + 1);
  if (message.ok() && message->is_object())
    return *message;
  isClosed_ = true;
  return std::nullopt;
}
