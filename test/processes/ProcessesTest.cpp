// SPDX-License-Identifier: Apache-2.0
// What processes tell each other.

#include "runtime/processes/Meeting.h"
#include "test/processes/ProcessesTesting.h"

#include <arpa/inet.h>
#include <atomic>
#include <resolv.h>
#include <torch/csrc/distributed/c10d/HashStore.hpp>

namespace morph {
namespace {

class ProcessesTest : public testing::TestWithParam<int64_t> {};
INSTANTIATE_TEST_SUITE_P(Counts, ProcessesTest, testing::Values(1, 2, 3));

TEST_P(ProcessesTest, Collectives) {
  const int64_t count = GetParam();
  runProcesses(count, [&](const std::shared_ptr<Processes> &all) {
    const double rank = static_cast<double>(all->rank()), n = static_cast<double>(count);
    // Several types and sizes, one of which is larger than a bucket, and a tensor that is not contiguous.
    std::vector<at::Tensor> tensors = {at::full({2, 3}, rank + 1), at::full({}, rank, at::kDouble),
                                       at::full({3}, all->rank(), at::kLong), at::zeros({4, 2}).t(),
                                       at::full({9 << 20}, rank)};
    tensors[3].fill_(rank);
    ASSERT_TRUE(all->allReduce(tensors).ok());
    const double sum = n * (n - 1) / 2;
    EXPECT_TRUE(at::equal(tensors[0], at::full({2, 3}, sum + n)));
    EXPECT_EQ(tensors[1].item<double>(), sum);
    EXPECT_TRUE(at::equal(tensors[2], at::full({3}, static_cast<int64_t>(sum), at::kLong)));
    EXPECT_TRUE(at::equal(tensors[3], at::full({2, 4}, sum)));
    EXPECT_TRUE(at::equal(tensors[4], at::full({9 << 20}, sum)));

    for (int64_t root = 0; root < count; ++root) {
      const at::Tensor a = at::full({2}, rank), b = at::full({3, 2}, rank).t();
      ASSERT_TRUE(all->broadcast({a, b}, root).ok());
      EXPECT_TRUE(at::equal(a, at::full({2}, static_cast<double>(root))));
      EXPECT_TRUE(at::equal(b, at::full({2, 3}, static_cast<double>(root))));
    }
    const auto gathered = all->allGather(at::full({2}, rank));
    ASSERT_TRUE(gathered.ok()) << gathered.status().message();
    EXPECT_TRUE(at::equal(*gathered, at::arange(count).to(at::kFloat).unsqueeze(1).expand({count, 2})));
    const auto texts = all->gatherTexts(std::string(static_cast<size_t>(3 * all->rank()), 'x'));
    ASSERT_TRUE(texts.ok());
    for (int64_t r = 0; r < count; ++r)
      EXPECT_EQ((*texts)[static_cast<size_t>(r)], std::string(static_cast<size_t>(3 * r), 'x'));
    const auto any = all->any(all->rank() == count - 1), none = all->any(false);
    ASSERT_TRUE(any.ok() && none.ok());
    EXPECT_TRUE(*any);
    EXPECT_FALSE(*none);
    EXPECT_TRUE(all->barrier().ok());
  });
}

/// What each of two processes that `meet` says at the end, where process r cannot connect the first `failures[r]`
/// times.
std::array<std::string, 2> meetWithFailures(std::array<int, 2> failures) {
  const auto store = c10::make_intrusive<c10d::HashStore>();
  std::array<std::string, 2> said;
  std::vector<std::thread> threads;
  for (int64_t rank = 0; rank < 2; ++rank)
    threads.emplace_back([&, rank] {
      const auto r = static_cast<size_t>(rank);
      int calls = 0;
      try {
        meet(store, rank, 2, /*attempts=*/3, [&](const c10::intrusive_ptr<c10d::Store> &own) {
          // An attempt is the same for both, and nothing of one before it is there.
          EXPECT_FALSE(own->check({"mine " + std::to_string(rank)}));
          own->set("mine " + std::to_string(rank), "here");
          if (calls++ < failures[r])
            throw std::runtime_error("the line is busy");
        });
        said[r] = "met after " + std::to_string(calls);
      } catch (const std::exception &error) {
        said[r] = error.what();
      }
    });
  for (std::thread &thread : threads)
    thread.join();
  return said;
}

TEST(ProcessesTest, AllConnectOnceMoreWhereOneCouldNot) {
  EXPECT_EQ(meetWithFailures({0, 0}), (std::array<std::string, 2>{"met after 1", "met after 1"}));
  EXPECT_EQ(meetWithFailures({0, 1}), (std::array<std::string, 2>{"met after 2", "met after 2"}));
  EXPECT_EQ(meetWithFailures({2, 1}), (std::array<std::string, 2>{"met after 3", "met after 3"}));
  const std::array<std::string, 2> lost = meetWithFailures({0, 3});
  EXPECT_NE(lost[0].find("others could not connect"), std::string::npos) << lost[0];
  EXPECT_EQ(lost[1], "the line is busy");
}

TEST(ProcessesTest, SumsHaveTheSameBitsEverywhere) {
  at::Tensor results[3];
  runProcesses(3, [&](const std::shared_ptr<Processes> &all) {
    const at::Tensor values = at::arange(1000).to(at::kFloat).mul_(static_cast<double>(all->rank() + 1) / 7).sin_();
    ASSERT_TRUE(all->allReduce(values).ok());
    results[all->rank()] = values;
  });
  EXPECT_TRUE(at::equal(results[0], results[1]));
  EXPECT_TRUE(at::equal(results[0], results[2]));
}

TEST(ProcessesTest, JoiningAsksNoNameServer) {
  // One of this thread's own, which answers nothing.
  const int server = ::socket(AF_INET, SOCK_DGRAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(::bind(server, reinterpret_cast<sockaddr *>(&address), size), 0);
  ASSERT_EQ(::getsockname(server, reinterpret_cast<sockaddr *>(&address), &size), 0);
  Place place;
  place.count = 2;
  place.leader = "127.0.0.1";
  place.port = freePort();
  const auto join = [&](int64_t rank) {
    ::res_init();
    _res.nscount = 1;
    _res.nsaddr_list[0] = address;
    _res.retrans = _res.retry = 1;
    Place own = place;
    own.rank = rank;
    EXPECT_TRUE(Processes::join(own).ok());
  };
  std::thread other(join, 1);
  std::thread(join, 0).join();
  other.join();
  char query[512];
  EXPECT_LT(::recv(server, query, sizeof query, MSG_DONTWAIT), 0) << "a name was looked up";
  ::close(server);
}

TEST(ProcessesTest, OneThatIsGoneIsAnErrorOfTheOthers) {
  runProcesses(3, [](const std::shared_ptr<Processes> &all) {
    // Who has joined need not be connected by all yet.
    ASSERT_TRUE(all->barrier().ok());
    if (all->rank() == 1)
      return;
    const Status status = all->barrier();
    ASSERT_FALSE(status.ok());
    EXPECT_EQ(status.message().rfind("process " + std::to_string(all->rank()) + " of 3: a sum over processes: ", 0), 0U)
        << status.message();
    EXPECT_TRUE(all->hasLostOthers());
    EXPECT_EQ(all->allGather(at::zeros({1})).status().message(), status.message());
  });
}

TEST(ProcessesTest, OneThatDoesNotAnswerIsAnErrorOfTheOthers) {
  runProcesses(
      2,
      [](const std::shared_ptr<Processes> &all) {
        if (all->rank() == 1) {
          std::this_thread::sleep_for(std::chrono::seconds(4));
          return;
        }
        EXPECT_FALSE(all->barrier().ok());
      },
      std::chrono::seconds(1));
}

} // namespace
} // namespace morph
