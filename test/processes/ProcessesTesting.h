// SPDX-License-Identifier: Apache-2.0
// Processes as threads of a test.

#ifndef MORPH_TEST_PROCESSES_PROCESSESTESTING_H
#define MORPH_TEST_PROCESSES_PROCESSESTESTING_H

#include "runtime/processes/Processes.h"

#include <cstdlib>
#include <gtest/gtest.h>

#include <functional>
#include <netinet/in.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

namespace morph {

/// A port of this machine that is free.
inline int64_t freePort() {
  const int probe = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  EXPECT_EQ(::bind(probe, reinterpret_cast<sockaddr *>(&address), sizeof address), 0);
  EXPECT_EQ(::getsockname(probe, reinterpret_cast<sockaddr *>(&address), &size), 0);
  ::close(probe);
  return ntohs(address.sin_port);
}

/// Runs `body` in `count` threads, each a process among the others.
inline void runProcesses(int64_t count, const std::function<void(const std::shared_ptr<Processes> &)> &body,
                         std::chrono::seconds timeout = std::chrono::seconds(60)) {
  // c10d's record of collectives is one a process, and not made for the several groups that are threads of this one.
  ::setenv("TORCH_FR_BUFFER_SIZE", "0", /*overwrite=*/1);
  Place place;
  place.count = count;
  place.leader = "127.0.0.1";
  place.port = freePort();
  std::vector<std::thread> threads;
  for (int64_t rank = 0; rank < count; ++rank)
    threads.emplace_back([=] {
      Place own = place;
      own.rank = own.localRank = rank;
      const auto processes = Processes::join(own, timeout);
      ASSERT_TRUE(processes.ok()) << processes.status().message();
      body(*processes);
    });
  for (std::thread &thread : threads)
    thread.join();
}

} // namespace morph

#endif // MORPH_TEST_PROCESSES_PROCESSESTESTING_H
