// SPDX-License-Identifier: Apache-2.0
// TCP connections between the drivers of a run's processes: JSON, a line a message.

#ifndef MORPH_TOOLS_MORPH_CONNECTION_H
#define MORPH_TOOLS_MORPH_CONNECTION_H

#include "runtime/base/Json.h"

#include <chrono>
#include <memory>
#include <optional>
#include <string>

namespace morph {

/// A socket that listens.
class Listener {
public:
  /// At `port` of this machine's loopback address or of all of its addresses; 0: any that is free. Errors: the port is
  /// taken.
  static StatusOr<Listener> open(int64_t port, bool onlyThisMachine);
  Listener(Listener &&other) noexcept : socket_(std::exchange(other.socket_, -1)), port_(other.port_) {}
  ~Listener();

  int socket() const { return socket_; }
  int64_t port() const { return port_; }

private:
  Listener() = default;
  int socket_ = -1;
  int64_t port_ = 0;
};

/// Messages to another driver and from it. A machine that is gone without a word is noticed within 20 seconds.
class Connection {
public:
  /// The next one that comes to `listener`; null where there is none within `wait`.
  static std::unique_ptr<Connection> accept(const Listener &listener, std::chrono::milliseconds wait);
  /// To `host`, once it listens. Errors: it does not within `wait`; a signal came.
  static StatusOr<std::unique_ptr<Connection>> connect(const std::string &host, int64_t port,
                                                       std::chrono::seconds wait);
  ~Connection();

  /// Sends a message; one that cannot be sent closes the connection.
  void send(const Json &message);
  /// The next message, if there is one within `wait`. What is no JSON closes the connection.
  std::optional<Json> receive(std::chrono::milliseconds wait);
  /// Whether the other end is gone and everything that it has sent was received.
  bool isClosed() const { return isClosed_; }
  /// The address of the other end.
  const std::string &peer() const { return peer_; }

private:
  explicit Connection(int socket);
  int socket_ = -1;
  std::string buffer_, peer_;
  bool isClosed_ = false;
};

} // namespace morph

#endif // MORPH_TOOLS_MORPH_CONNECTION_H
