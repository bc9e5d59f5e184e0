// SPDX-License-Identifier: Apache-2.0

#include "tools/morph/Toolchain.h"

#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <unistd.h>

using namespace morph;
namespace fs = std::filesystem;

namespace {

std::string environmentOr(const char *name, const char *fallback) {
  const char *value = std::getenv(name);
  return value && *value ? value : fallback;
}

} // namespace

Toolchain Toolchain::find() {
  Toolchain tools;
  std::error_code error;
  tools.binFolder = fs::read_symlink("/proc/self/exe", error).parent_path().string();
  tools.pythonFolder = environmentOr("MORPH_PYTHON_ENV", MORPH_PYTHON_ENV);
  tools.pythonProgram = environmentOr("MORPH_PYTHON", (tools.pythonFolder + "/bin/python3").c_str());
  tools.sourceFolder = environmentOr("MORPH_SOURCE_DIR", MORPH_SOURCE_DIR);
  std::istringstream folders(environmentOr("MORPH_PYTHON_PACKAGES", ""));
  for (std::string folder; std::getline(folders, folder, ':');)
    tools.packageFolders.push_back(folder);
  if (tools.packageFolders.empty())
    for (const fs::directory_entry &python : fs::directory_iterator(tools.pythonFolder + "/lib", error))
      tools.packageFolders.push_back(python.path() / "site-packages");
  return tools;
}

StatusOr<std::string> Toolchain::program(const std::string &name) const {
  const std::string path = binFolder + "/" + name;
  if (::access(path.c_str(), X_OK) != 0)
    return Status::failed("the program " + name + " is not beside this one (" + binFolder + ")",
                          "tools/build without arguments makes all programs, and so does tools/quickstart");
  return path;
}

StatusOr<std::string> Toolchain::python() const {
  if (::access(pythonProgram.c_str(), X_OK) != 0)
    return Status::failed("no Python at " + pythonProgram,
                          howToInstall() + ", or name another one in MORPH_PYTHON_ENV");
  return pythonProgram;
}

bool Toolchain::isPacked() const { return ::access((sourceFolder + "/VERSION").c_str(), R_OK) == 0; }

std::string Toolchain::howToInstall() const {
  if (!isPacked())
    return "run tools/setup";
  return "run " + pythonProgram + " -m pip install -r " + sourceFolder + "/tools/python/requirements.txt";
}

std::string Toolchain::packageVersion(const std::string &package) const {
  std::error_code error;
  const std::string begin = package + "-", end = ".dist-info";
  for (const std::string &folder : packageFolders)
    for (const fs::directory_entry &entry : fs::directory_iterator(folder, error)) {
      const std::string name = entry.path().filename().string();
      if (name.rfind(begin, 0) == 0 && entry.path().extension() == end)
        return name.substr(begin.size(), name.size() - begin.size() - end.size());
    }
  return "";
}

StatusOr<std::string> Toolchain::script(const std::string &name) const {
  const std::string path = sourceFolder + "/tools/python/" + name;
  if (::access(path.c_str(), R_OK) != 0)
    return Status::failed("no Python script at " + path, "MORPH_SOURCE_DIR names the project's folder");
  return path;
}
