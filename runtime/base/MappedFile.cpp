// SPDX-License-Identifier: Apache-2.0
// Maps of files, and what happens when a file is cut under them: reading behind the new end raises SIGBUS, and its
// handler looks up whose map the address is of. Everything that it reads is an atomic of a fixed table.

#include "runtime/base/File.h"

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <mutex>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

namespace morph {

namespace {

struct Slot {
  std::atomic<uintptr_t> begin{0}, end{0};
  std::atomic<const char *> path{nullptr};
};
std::array<Slot, 4096> slots;
std::mutex slotsMutex;
struct sigaction actionBefore;

void onBusError(int, siginfo_t *info, void *) {
  uintptr_t address = reinterpret_cast<uintptr_t>(info->si_addr);
  for (Slot &slot : slots) {
    if (info->si_code != BUS_ADRERR || address < slot.begin.load() || address >= slot.end.load())
      continue;
    auto part = [](const char *text) { return iovec{const_cast<char *>(text), std::strlen(text)}; };
    const char *program = program_invocation_short_name;
    const iovec parts[] = {part(program),          part(": error: '"),
                           part(slot.path.load()), part("' was cut or replaced while it was being read\n"),
                           part(program),          part(": hint: put the file back and run the same command again\n")};
    (void)!::writev(STDERR_FILENO, parts, std::size(parts));
    ::_exit(1);
  }
  // Not ours: returning repeats the access under the action that was there before. One that was sent is sent again.
  ::sigaction(SIGBUS, &actionBefore, nullptr);
  if (info->si_code <= 0)
    ::raise(SIGBUS);
}

void installHandler() {
  struct sigaction action = {};
  action.sa_sigaction = onBusError;
  action.sa_flags = SA_SIGINFO;
  ::sigemptyset(&action.sa_mask);
  ::sigaction(SIGBUS, &action, &actionBefore);
}

} // namespace

StatusOr<std::shared_ptr<const MappedFile>> MappedFile::open(const std::string &path) {
  static std::once_flag installed;
  std::call_once(installed, installHandler);
  MORPH_ASSIGN_OR_RETURN(OpenFile opened, openRegularFile(path));
  std::shared_ptr<MappedFile> file(new MappedFile());
  file->path_ = path;
  if (opened.size == 0)
    return std::shared_ptr<const MappedFile>(std::move(file));
  void *map = ::mmap(nullptr, opened.size, PROT_READ, MAP_PRIVATE, opened.descriptor.get(), 0);
  if (map == MAP_FAILED)
    return Status::failed("cannot map '" + path + "': " + std::strerror(errno));
  file->data_ = static_cast<const char *>(map);
  file->size_ = opened.size;

  std::lock_guard<std::mutex> lock(slotsMutex);
  while (file->slot_ < slots.size() && slots[file->slot_].path.load())
    ++file->slot_;
  if (file->slot_ == slots.size()) {
    ::munmap(map, opened.size);
    file->size_ = 0;
    return Status::failed("cannot map '" + path + "': " + std::to_string(slots.size()) + " files are mapped already");
  }
  Slot &slot = slots[file->slot_];
  slot.path = file->path_.c_str();
  slot.end = reinterpret_cast<uintptr_t>(map) + opened.size;
  slot.begin = reinterpret_cast<uintptr_t>(map);
  return std::shared_ptr<const MappedFile>(std::move(file));
}

MappedFile::~MappedFile() {
  if (size_ == 0)
    return;
  std::lock_guard<std::mutex> lock(slotsMutex);
  slots[slot_].end = 0;
  slots[slot_].begin = 0;
  ::munmap(const_cast<char *>(data_), size_);
  slots[slot_].path = nullptr;
}

} // namespace morph
