// SPDX-License-Identifier: Apache-2.0
// Compiles the text of kernels by morph-opt and loads them.

#ifndef MORPH_TEST_KERNELS_COMPILEDKERNELS_H
#define MORPH_TEST_KERNELS_COMPILEDKERNELS_H

#include "runtime/exec/KernelLibrary.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <unistd.h>

namespace morph {

/// Compiles a model of these `morph.kernel`s, without the cache, and loads the object.
inline StatusOr<KernelLibrary> compileKernels(const std::string &kernels) {
  namespace fs = std::filesystem;
  std::string folder = (fs::temp_directory_path() / "morph-kernels-XXXXXX").string();
  if (!mkdtemp(folder.data()))
    return Status::failed("cannot make a folder");
  std::ofstream(folder + "/model.mlir") << "morph.model @m base architecture \"llama\" layers 1 {\n"
                                        << kernels << "}\n";
  std::string command = MORPH_OPT " " + folder + "/model.mlir -o /dev/null --morph-compile-kernels='output=" + folder +
                        "/kernels.so cache=false print-hash' 2>" + folder + "/errors.txt";
  std::string words, hash;
  if (FILE *pipe = popen(command.c_str(), "r")) {
    std::array<char, 256> line;
    while (fgets(line.data(), line.size(), pipe))
      words += line.data();
    if (pclose(pipe) != 0) {
      std::ifstream errors(folder + "/errors.txt");
      std::string text((std::istreambuf_iterator<char>(errors)), std::istreambuf_iterator<char>());
      fs::remove_all(folder);
      return Status::failed("morph-opt failed: " + text);
    }
  }
  size_t place = words.find("// kernels ");
  if (place == std::string::npos)
    return Status::failed("morph-opt printed no hash");
  hash = words.substr(place + 11, 64);
  StatusOr<KernelLibrary> library = KernelLibrary::open(folder + "/kernels.so", hash);
  fs::remove_all(folder);
  return library;
}

} // namespace morph

#endif // MORPH_TEST_KERNELS_COMPILEDKERNELS_H
