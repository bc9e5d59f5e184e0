// SPDX-License-Identifier: Apache-2.0

#include "tools/morph/Process.h"

#include "runtime/base/CrashReport.h"

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <filesystem>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace morph;

namespace {

std::atomic<int> receivedSignal{0};
// Children that run now: two in a pipe, or the processes of a stage behind them.
constexpr size_t kPipeChildren = 2;
std::array<std::atomic<pid_t>, 512> children{};

void onSignal(int number, siginfo_t *information, void *) {
  receivedSignal = number;
  // A terminal sends its signal to the whole process group; only one that was sent to the driver alone is passed on.
  if (information->si_code == SI_USER || information->si_code == SI_TKILL || information->si_code == SI_QUEUE)
    for (const std::atomic<pid_t> &child : children)
      if (child > 0)
        kill(child, number);
}

/// A pipe's two ends, closed on destruction.
struct Pipe {
  int ends[2] = {-1, -1};
  bool open() { return pipe2(ends, O_CLOEXEC) == 0; }
  void closeEnd(int end) {
    if (ends[end] >= 0)
      close(ends[end]);
    ends[end] = -1;
  }
  ~Pipe() {
    closeEnd(0);
    closeEnd(1);
  }
};

/// Starts a program with the given descriptors as standard input, output and error (-1: inherited). fork instead of
/// posix_spawn, because only code between fork and exec can tie the child's life to the parent's.
StatusOr<pid_t> start(const Command &command, int input, int output, int errors) {
  std::vector<char *> arguments;
  for (const std::string &argument : command.arguments)
    arguments.push_back(const_cast<char *>(argument.c_str()));
  arguments.push_back(nullptr);
  // The child reports a failed exec through this pipe; a successful exec closes it.
  Pipe report;
  if (!report.open())
    return Status::failed(std::string("cannot make a pipe: ") + std::strerror(errno));
  const char *crashes = crashFile().c_str();
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child < 0)
    return Status::failed(std::string("cannot start a process: ") + std::strerror(errno));
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
      _exit(127);
    if (input >= 0)
      dup2(input, 0);
    if (output >= 0)
      dup2(output, 1);
    if (errors >= 0)
      dup2(errors, 2);
    setenv(kCrashFileVariable, crashes, 1);
    for (const std::string &variable : command.environment)
      putenv(const_cast<char *>(variable.c_str()));
    if (command.inherited >= 0)
      fcntl(command.inherited, F_SETFD, 0);
    execv(arguments[0], arguments.data());
    const int error = errno;
    [[maybe_unused]] const ssize_t written = write(report.ends[1], &error, sizeof error);
    _exit(127);
  }
  report.closeEnd(1);
  int error = 0;
  ssize_t got;
  do
    got = read(report.ends[0], &error, sizeof error);
  while (got < 0 && errno == EINTR);
  if (got == static_cast<ssize_t>(sizeof error)) {
    waitpid(child, nullptr, 0);
    return Status::failed("cannot start " + command.arguments[0] + ": " + std::strerror(error),
                          "'morph doctor' shows which programs are found");
  }
  return child;
}

/// Makes a child one that signals are passed on to, from the one that may have come while it was started on.
void adopt(size_t slot, pid_t child) {
  children[slot] = child;
  if (const int number = receivedSignal)
    kill(child, number);
}

/// How a child has ended, of what waitpid says.
void setResult(int status, ProcessResult &result) {
  if (WIFSIGNALED(status)) {
    result.signal = WTERMSIG(status);
    result.exitCode = 128 + result.signal;
  } else {
    result.exitCode = WEXITSTATUS(status);
  }
}

/// Waits for a child's end.
void finish(pid_t child, ProcessResult &result) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  setResult(status, result);
}

/// Reads both pipes until their writers are gone.
void drain(Pipe &output, std::string &outputText, Pipe &errors, std::string &errorText) {
  pollfd files[2] = {{output.ends[0], POLLIN, 0}, {errors.ends[0], POLLIN, 0}};
  std::string *texts[2] = {&outputText, &errorText};
  std::array<char, 65536> buffer;
  while (files[0].fd >= 0 || files[1].fd >= 0) {
    if (poll(files, 2, -1) < 0 && errno != EINTR)
      return;
    for (int i = 0; i < 2; ++i) {
      if (files[i].fd < 0 || !files[i].revents)
        continue;
      const ssize_t count = read(files[i].fd, buffer.data(), buffer.size());
      if (count > 0)
        texts[i]->append(buffer.data(), count);
      else if (count == 0 || errno != EINTR)
        files[i].fd = -1;
    }
  }
}

} // namespace

void morph::installSignalHandlers() {
  struct sigaction action{};
  action.sa_sigaction = onSignal;
  action.sa_flags = SA_SIGINFO;
  sigemptyset(&action.sa_mask);
  for (int number : {SIGINT, SIGTERM, SIGHUP})
    sigaction(number, &action, nullptr);
}

const std::string &morph::crashFile() {
  static const std::string name = [] {
    std::error_code error;
    const std::filesystem::path folder = std::filesystem::temp_directory_path(error);
    return ((error ? "/tmp" : folder) /
            ("morph-crash-" + std::to_string(time(nullptr)) + "-" + std::to_string(getpid()) + ".txt"))
        .string();
  }();
  return name;
}

int morph::stopSignal() { return receivedSignal; }

StatusOr<ProcessResult> morph::runProcess(const Command &command) {
  Pipe output, errors;
  if ((command.captureOutput && !output.open()) || (command.captureErrors && !errors.open()))
    return Status::failed(std::string("cannot make a pipe: ") + std::strerror(errno));
  MORPH_ASSIGN_OR_RETURN(const pid_t child, start(command, -1, output.ends[1], errors.ends[1]));
  adopt(0, child);
  output.closeEnd(1);
  errors.closeEnd(1);
  ProcessResult result;
  drain(output, result.output, errors, result.errors);
  finish(child, result);
  children[0] = 0;
  return result;
}

StatusOr<std::unique_ptr<ChildProcess>> ChildProcess::start(const Command &command) {
  std::unique_ptr<ChildProcess> child(new ChildProcess());
  child->slot_ = kPipeChildren;
  while (child->slot_ < children.size() && children[child->slot_] > 0)
    ++child->slot_;
  if (child->slot_ == children.size())
    return Status::failed("too many processes at once");
  Pipe output, errors;
  if ((command.captureOutput && !output.open()) || (command.captureErrors && !errors.open()))
    return Status::failed(std::string("cannot make a pipe: ") + std::strerror(errno));
  MORPH_ASSIGN_OR_RETURN(child->pid_, ::start(command, -1, output.ends[1], errors.ends[1]));
  adopt(child->slot_, child->pid_);
  for (const auto &[pipe, end] : {std::pair(&output, &child->output_), std::pair(&errors, &child->errors_)}) {
    std::swap(*end, pipe->ends[0]);
    if (*end >= 0)
      fcntl(*end, F_SETFL, O_NONBLOCK);
  }
  return child;
}

ChildProcess::~ChildProcess() {
  if (pid_ > 0) {
    kill(SIGKILL);
    finish(pid_, result_);
    children[slot_] = 0;
  }
  for (int end : {output_, errors_})
    if (end >= 0)
      close(end);
}

void ChildProcess::read() {
  std::array<char, 65536> buffer;
  for (const auto &[end, text] : {std::pair(output_, &result_.output), std::pair(errors_, &result_.errors)})
    for (ssize_t count; end >= 0 && (count = ::read(end, buffer.data(), buffer.size())) > 0;) {
      text->append(buffer.data(), static_cast<size_t>(count));
      if (text->size() > kCapturedBytes)
        text->erase(0, text->size() - kCapturedBytes);
    }
}

bool ChildProcess::hasEnded() {
  if (pid_ < 0)
    return true;
  read();
  int status = 0;
  if (waitpid(pid_, &status, WNOHANG) != pid_)
    return false;
  children[slot_] = 0;
  pid_ = -1;
  setResult(status, result_);
  read();
  return true;
}

void ChildProcess::kill(int signal) const {
  if (pid_ > 0)
    ::kill(pid_, signal);
}

StatusOr<ProcessResult> morph::runPipe(const Command &producer, const Command &consumer) {
  Pipe between;
  if (!between.open())
    return Status::failed(std::string("cannot make a pipe: ") + std::strerror(errno));
  MORPH_ASSIGN_OR_RETURN(const pid_t first, start(producer, -1, between.ends[1], -1));
  adopt(0, first);
  auto second = start(consumer, between.ends[0], -1, -1);
  between.closeEnd(0);
  between.closeEnd(1);
  ProcessResult producerResult, consumerResult;
  if (second.ok()) {
    adopt(1, *second);
    finish(*second, consumerResult);
    children[1] = 0;
  } else {
    kill(first, SIGTERM);
  }
  finish(first, producerResult);
  children[0] = 0;
  if (!second.ok())
    return std::move(second).status();
  return producerResult.ok() ? consumerResult : producerResult;
}

std::string morph::toShell(const Command &command) {
  std::string line;
  for (const std::string &argument : command.arguments) {
    const bool plain =
        !argument.empty() && argument.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUV"
                                                        "WXYZ0123456789_-+=./:,@%") == std::string::npos;
    line += line.empty() ? "" : " ";
    if (plain) {
      line += argument;
      continue;
    }
    line += '\'';
    for (char c : argument)
      line += c == '\'' ? std::string("'\\''") : std::string(1, c);
    line += '\'';
  }
  return line;
}
