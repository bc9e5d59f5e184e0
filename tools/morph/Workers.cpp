// SPDX-License-Identifier: Apache-2.0

#include "tools/morph/Workers.h"

#include "runtime/processes/Exit.h"

#include <csignal>
#include <cstdio>
#include <thread>

using namespace morph;

namespace {

using Clock = std::chrono::steady_clock;

/// As long all drivers have to come.
constexpr std::chrono::minutes kGatherTimeout{5};
/// As long others have to say why they end, once one has failed; then they are ended.
constexpr std::chrono::seconds kEndTimeout{5};
constexpr std::chrono::milliseconds kPoll{20};

/// The variables of one process of a stage, as torchrun sets them.
std::vector<std::string> environmentOf(const Place &place, int64_t port) {
  return {"RANK=" + std::to_string(place.rank),
          "WORLD_SIZE=" + std::to_string(place.count),
          "LOCAL_RANK=" + std::to_string(place.localRank),
          "MASTER_ADDR=" + place.leader,
          "MASTER_PORT=" + std::to_string(port),
          "TORCHELASTIC_USE_AGENT_STORE=False",
          std::string(kDriverVariable) + "=1"};
}

Json resultToJson(const ProcessResult &result) {
  return {{"exit_code", result.exitCode}, {"signal", result.signal}, {"errors", result.errors}};
}

ProcessResult resultFromJson(const Json &message) {
  ProcessResult result;
  const std::string where = "a message of another process";
  result.exitCode = static_cast<int>(jsonGetOr<int64_t>(message, "exit_code", 1, where).ok()
                                         ? *jsonGetOr<int64_t>(message, "exit_code", 1, where)
                                         : 1);
  if (const auto signal = jsonGetOr<int64_t>(message, "signal", 0, where); signal.ok())
    result.signal = static_cast<int>(*signal);
  if (const auto errors = jsonGetOr<std::string>(message, "errors", "", where); errors.ok())
    result.errors = *errors;
  return result;
}

} // namespace

/// One process of a stage that runs.
struct Workers::Process {
  std::unique_ptr<ChildProcess> child; ///< Null: another driver has it.
  Connection *driver = nullptr;
  bool ended = false, stopped = false; ///< By itself or not.
  ProcessResult result;

  /// Looks whether it has ended.
  void update(int64_t rank) {
    if (ended)
      return;
    if (child) {
      ended = child->hasEnded();
      if (ended)
        result = child->result();
      return;
    }
    if (const std::optional<Json> message = driver->receive(std::chrono::milliseconds(0))) {
      ended = true;
      result = resultFromJson(*message);
    } else if (driver->isClosed()) {
      ended = true;
      result.exitCode = 1;
      result.errors = "morph: error: process " + std::to_string(rank) + " on " + driver->peer() +
                      " is gone: its driver has ended, or its machine does not answer\n";
    }
  }
  void stop() {
    stopped = true;
    if (child)
      child->kill(SIGKILL);
    else
      driver->send({{"stop", true}});
  }
  /// Whether it failed by itself, not because others had ended.
  bool failed() const {
    return ended && !stopped && result.exitCode != 0 && result.exitCode != kLostOthersExitCode &&
           result.exitCode != kInterruptedExitCode;
  }
};

StatusOr<std::unique_ptr<Workers>> Workers::gather(const Place &place, int64_t local) {
  std::unique_ptr<Workers> workers(new Workers());
  workers->place_ = place;
  if (place.count == 1) {
    workers->place_.count = local;
    workers->place_.leader = "127.0.0.1";
    return workers;
  }
  MORPH_ASSIGN_OR_RETURN(const Listener listener, Listener::open(place.port, /*onlyThisMachine=*/false));
  workers->followers_.resize(static_cast<size_t>(place.count));
  const auto deadline = Clock::now() + kGatherTimeout;
  for (int64_t come = 1; come < place.count;) {
    if (stopSignal())
      return Status::failed("");
    if (Clock::now() > deadline)
      return Status::failed("only " + std::to_string(come) + " of the " + std::to_string(place.count) +
                            " processes that " + place.launcher + " has started have come to port " +
                            std::to_string(place.port));
    std::unique_ptr<Connection> connection = Connection::accept(listener, std::chrono::milliseconds(200));
    if (!connection)
      continue;
    // Anything else that comes to this port is sent away.
    const std::optional<Json> hello = connection->receive(std::chrono::seconds(5));
    const auto rank = jsonGetOr<int64_t>(hello.value_or(Json::object()), "morph_rank", 0, "a message");
    if (!rank.ok() || *rank < 1 || *rank >= place.count || workers->followers_[static_cast<size_t>(*rank)])
      continue;
    workers->followers_[static_cast<size_t>(*rank)] = std::move(connection);
    ++come;
  }
  return workers;
}

Workers::~Workers() {
  for (const std::unique_ptr<Connection> &follower : followers_)
    if (follower)
      follower->send({{"end", exitCode_}});
}

StatusOr<ProcessResult> Workers::run(const Command &command) {
  if (count() == 1)
    return runProcess(command);
  std::vector<Process> processes(static_cast<size_t>(count()));
  {
    // The leader's process gets the socket as it is: nothing else can take the port.
    MORPH_ASSIGN_OR_RETURN(const Listener listener, Listener::open(0, followers_.empty()));
    for (int64_t rank = 0; rank < count(); ++rank) {
      Process &process = processes[static_cast<size_t>(rank)];
      if (rank > 0 && !followers_.empty()) {
        process.driver = followers_[static_cast<size_t>(rank)].get();
        process.driver->send({{"run", command.arguments}, {"port", listener.port()}});
        continue;
      }
      Command own = command;
      Place place = place_;
      if (followers_.empty())
        place.rank = place.localRank = rank;
      own.environment = environmentOf(place, listener.port());
      if (rank == 0) {
        own.inherited = listener.socket();
        own.environment.push_back(std::string(kListenVariable) + "=" + std::to_string(listener.socket()));
      } else {
        own.captureOutput = own.captureErrors = true;
      }
      MORPH_ASSIGN_OR_RETURN(process.child, ChildProcess::start(own));
    }
  }
  std::optional<Clock::time_point> end; // When those that still run are ended.
  bool stopped = false;
  const Process *first = nullptr; // That failed.
  for (int64_t running = count(); running > 0;) {
    running = 0;
    for (size_t rank = 0; rank < processes.size(); ++rank) {
      Process &process = processes[rank];
      process.update(static_cast<int64_t>(rank));
      running += !process.ended;
      if (!process.ended)
        continue;
      if (!first && process.failed())
        first = &process;
      if (!end && process.result.exitCode != 0 && process.result.exitCode != kInterruptedExitCode)
        end = Clock::now() + kEndTimeout;
    }
    // Those that a signal has come to stop together, and are waited for.
    if (end && !stopped && Clock::now() > *end) {
      stopped = true;
      for (Process &process : processes)
        if (!process.ended)
          process.stop();
    }
    // A driver that does not answer any more is not waited for.
    if (stopped && Clock::now() > *end + kEndTimeout)
      break;
    std::this_thread::sleep_for(kPoll);
  }
  // What is wrong for all of them has been said by the leader's.
  if (processes[0].failed())
    first = &processes[0];
  ProcessResult result = processes[0].result;
  if (first) {
    const auto rank = first - processes.data();
    result = first->result;
    if (rank > 0 && result.signal)
      std::fprintf(stderr, "morph: the process of rank %td of %lld has ended the others\n", rank,
                   static_cast<long long>(count()));
  } else if (result.exitCode == kLostOthersExitCode) {
    result.exitCode = 1;
    result.errors = "morph: error: the processes of the stage have lost each other\n";
  }
  return result;
}

Status morph::followLeader(const Toolchain &tools, const Place &place) {
  MORPH_ASSIGN_OR_RETURN(const auto leader, Connection::connect(place.leader, place.port, kGatherTimeout));
  leader->send({{"morph_rank", place.rank}});
  std::unique_ptr<ChildProcess> child;
  while (true) {
    const std::optional<Json> message = leader->receive(kPoll);
    if (child && child->hasEnded()) {
      leader->send(resultToJson(child->result()));
      child.reset();
    }
    const std::string where = "a message of the leader";
    if (!message) {
      if (leader->isClosed()) // The child goes with this function.
        return Status::failed("the process of rank 0 at " + place.leader + " is gone");
      if (stopSignal() && !child)
        return Status::failed("");
    } else if (message->contains("end")) {
      MORPH_ASSIGN_OR_RETURN(const int64_t code, jsonGet<int64_t>(*message, "end", where));
      return code == 0 ? Status() : code == 2 ? Status::invalid("") : Status::failed("");
    } else if (message->contains("stop")) {
      if (child)
        child->kill(SIGKILL);
    } else {
      MORPH_ASSIGN_OR_RETURN(const int64_t port, jsonGet<int64_t>(*message, "port", where));
      Command command;
      MORPH_ASSIGN_OR_RETURN(command.arguments, jsonGet<std::vector<std::string>>(*message, "run", where));
      if (command.arguments.empty())
        return Status::failed(where + " names no stage");
      // The leader's program may lie elsewhere on its machine.
      MORPH_ASSIGN_OR_RETURN(command.arguments[0], tools.program("morph-run"));
      command.environment = environmentOf(place, port);
      command.captureOutput = command.captureErrors = true;
      MORPH_ASSIGN_OR_RETURN(child, ChildProcess::start(command));
    }
  }
}
