// SPDX-License-Identifier: Apache-2.0
#include "test/cuda/driver/HostCompile.h"

#include "runtime/base/AtomicFile.h"
#include "runtime/base/CacheFolder.h"
#include "runtime/base/Cpu.h"
#include "runtime/base/Sha256.h"
#include "test/cuda/driver/PreludeText.h"

#include <cerrno>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <spawn.h>
#include <sstream>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

extern char **environ;

namespace morph::standin {

namespace {

/// The flags of every module: no contraction, and no folding of what depends on the rounding mode.
const char *const kFlags[] = {"-x",
                              "c",
                              "-std=gnu11",
                              "-O0",
                              "-ffp-contract=off",
                              "-frounding-math",
                              "-fPIC",
                              "-shared",
                              "-fno-math-errno",
                              "-march=native",
                              "-w",
                              "-fno-strict-aliasing",
                              "-pthread"};

Status runCompiler(const std::string &source, const std::string &object, const std::string &messages) {
  std::vector<std::string> words = {MORPH_HOST_COMPILER};
  words.insert(words.end(), std::begin(kFlags), std::end(kFlags));
  for (const std::string &word : {std::string("-o"), object, source, std::string("-lm")})
    words.push_back(word);
  std::vector<char *> arguments;
  for (std::string &word : words)
    arguments.push_back(word.data());
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 2, messages.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  pid_t child = 0;
  int error = posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error)
    return Status::failed(std::string("cannot start ") + MORPH_HOST_COMPILER + ": " + std::strerror(error));
  int state = 0;
  while (waitpid(child, &state, 0) < 0 && errno == EINTR)
    ;
  if (WIFEXITED(state) && WEXITSTATUS(state) == 0)
    return {};
  std::ifstream file(messages);
  std::stringstream text;
  text << file.rdbuf();
  return Status::failed(std::string(MORPH_HOST_COMPILER) + " cannot compile the translated module (" + source +
                        "): " + text.str());
}

} // namespace

HostObject::~HostObject() { dlclose(handle); }

void *HostObject::find(const std::string &symbol) const { return dlsym(handle, symbol.c_str()); }

StatusOr<std::shared_ptr<const HostObject>> compileForHost(const std::string &code, bool checks) {
  std::string text =
      std::string("#define MORPH_TRANSLATED 1\n#define CHECKS ") + (checks ? "1\n" : "0\n") + kPreludeText + code;
  std::string key = text + MORPH_HOST_COMPILER + MORPH_HOST_COMPILER_VERSION + cpuFields()["flags"];
  for (const char *flag : kFlags)
    key += flag;
  std::string folder = cacheFolder();
  if (folder.empty())
    folder = temporaryFolder();
  if (folder.empty())
    return Status::failed("there is no folder for compiled modules: set MORPH_CACHE");
  folder += "/ptx-stand-in";
  std::error_code ignored;
  std::filesystem::create_directories(folder, ignored);
  std::string base = folder + "/" + sha256(key), object = base + ".so";
  if (!std::filesystem::exists(object)) {
    // Under names of our own until it is whole: others may compile the same.
    std::string own = base + "." + std::to_string(::getpid());
    MORPH_RETURN_IF_ERROR(writeFile(own + ".c", text));
    MORPH_RETURN_IF_ERROR(runCompiler(own + ".c", own + ".so", own + ".log"));
    std::filesystem::rename(own + ".so", object, ignored);
    for (const char *rest : {".c", ".log"})
      std::filesystem::remove(own + rest, ignored);
  }
  void *handle = dlopen(object.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle)
    return Status::failed(std::string("cannot load the translated module: ") + dlerror());
  return std::shared_ptr<const HostObject>(std::make_shared<HostObject>(handle));
}

} // namespace morph::standin
