// SPDX-License-Identifier: Apache-2.0
// What LibTorch's ProcessGroupGloo.hpp reads of Gloo. The torch wheel has that header and Gloo's code, but not Gloo's
// headers; of Gloo's types the class holds pointers only, so that declarations do. Read by Gloo.cpp alone.

#ifndef MORPH_RUNTIME_PROCESSES_GLOO_CONTEXT_H
#define MORPH_RUNTIME_PROCESSES_GLOO_CONTEXT_H

#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace gloo {

class Context {
public:
  void setTimeout(std::chrono::milliseconds timeout);
};

namespace transport {
class Device;
class UnboundBuffer {
public:
  virtual ~UnboundBuffer();
};
} // namespace transport

namespace rendezvous {
class Store {
public:
  virtual ~Store() = default;
  virtual void set(const std::string &key, const std::vector<char> &data) = 0;
  virtual std::vector<char> get(const std::string &key) = 0;
  virtual void wait(const std::vector<std::string> &keys) = 0;
  virtual void wait(const std::vector<std::string> &keys, const std::chrono::milliseconds &timeout) = 0;
};
} // namespace rendezvous

} // namespace gloo

#endif // MORPH_RUNTIME_PROCESSES_GLOO_CONTEXT_H
