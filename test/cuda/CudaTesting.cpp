// SPDX-License-Identifier: Apache-2.0
#include "test/cuda/CudaTesting.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <fstream>
#include <set>
#include <sstream>
#include <unistd.h>

namespace morph {

namespace {

#define TEXT_OF(name) #name
#define TEXT(name) TEXT_OF(name)

void *library() {
  static void *const handle = [] {
    const char *path = std::getenv("MORPH_CUDA_DRIVER");
    void *opened = dlopen(path ? path : MORPH_STAND_IN_DRIVER, RTLD_NOW | RTLD_LOCAL);
    if (!opened) {
      std::fprintf(stderr, "%s\n", dlerror());
      std::abort();
    }
    return opened;
  }();
  return handle;
}

} // namespace

const CudaFunctions &cuda() {
  static const CudaFunctions functions = [] {
    CudaFunctions found;
#define FIND(name)                                                                                                     \
  found.name = reinterpret_cast<decltype(found.name)>(dlsym(library(), TEXT(name)));                                   \
  if (!found.name) {                                                                                                   \
    std::fprintf(stderr, "the driver has no %s\n", TEXT(name));                                                        \
    std::abort();                                                                                                      \
  }
    MORPH_CUDA_FUNCTIONS(FIND)
    if (dlsym(library(), "morphStandInErrors")) {
      MORPH_STAND_IN_FUNCTIONS(FIND)
    }
    return found;
  }();
  return functions;
}

bool isStandIn() { return cuda().morphStandInErrors != nullptr; }

std::string errorName(CUresult result) {
  const char *name = nullptr;
  cuda().cuGetErrorName(result, &name);
  return name ? name : std::to_string(result);
}

std::string ptxFolder() { return ::access(MORPH_PTX_FOLDER, R_OK) == 0 ? MORPH_PTX_FOLDER : "test/cuda/ptx"; }

std::string readPtx(const std::string &name) {
  std::ifstream file(ptxFolder() + "/" + name);
  EXPECT_TRUE(file.good()) << name;
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string assemble(const std::string &ptx) {
  static std::set<std::string> seen;
  if (::access(MORPH_PTXAS, X_OK) != 0 || !seen.insert(ptx).second)
    return "";
  size_t target = ptx.find(".target sm_");
  std::string chip = target == std::string::npos
                         ? "sm_80"
                         : ptx.substr(target + 8, ptx.find_first_of(", \n", target + 8) - target - 8);
  std::string base = testing::TempDir() + "/morph-ptx-" + std::to_string(::getpid());
  std::ofstream(base + ".ptx") << ptx;
  std::string command = std::string("'") + MORPH_PTXAS + "' -arch=" + chip + " '" + base + ".ptx' -o '" + base +
                        ".o' >'" + base + ".log' 2>&1";
  int result = std::system(command.c_str());
  std::stringstream log;
  log << std::ifstream(base + ".log").rdbuf();
  for (const char *end : {".ptx", ".o", ".log"})
    std::remove((base + end).c_str());
  return result == 0 ? "" : "ptxas: " + log.str();
}

void CudaTest::SetUp() { open(); }

void CudaTest::open(const std::map<std::string, std::string> &settings) {
  if (context)
    close();
  for (const char *name : {"DEVICE", "MEMORY", "SEED", "CHECKS", "THREADS"}) {
    auto found = settings.find(name);
    std::string variable = std::string("MORPH_STAND_IN_") + name;
    if (found == settings.end())
      unsetenv(variable.c_str());
    else
      setenv(variable.c_str(), found->second.c_str(), 1);
  }
  ASSERT_CUDA(cuda().cuInit(0));
  ASSERT_CUDA(cuda().cuDevicePrimaryCtxRetain(&context, 0));
  ASSERT_CUDA(cuda().cuCtxSetCurrent(context));
}

void CudaTest::close() {
  if (isStandIn()) {
    EXPECT_EQ(takeErrors(), "");
  }
  EXPECT_CUDA(cuda().cuDevicePrimaryCtxRelease(0));
  context = nullptr;
}

void CudaTest::TearDown() {
  if (context)
    close();
}

CUmodule CudaTest::load(const std::string &ptx) {
  CUmodule module = nullptr;
  EXPECT_EQ(assemble(ptx), "");
  EXPECT_CUDA(cuda().cuModuleLoadData(&module, ptx.c_str())) << ptx;
  return module;
}

CUfunction CudaTest::find(CUmodule module, const std::string &name) {
  CUfunction function = nullptr;
  EXPECT_CUDA(cuda().cuModuleGetFunction(&function, module, name.c_str())) << name;
  return function;
}

std::string CudaTest::takeErrors() {
  std::string text(1 << 16, '\0');
  text.resize(std::min(text.size() - 1, cuda().morphStandInTakeErrors(text.data(), text.size())));
  return text;
}

MorphStandInCounters CudaTest::counters(const std::string &kernel) {
  MorphStandInCounters counters = {};
  EXPECT_CUDA(cuda().morphStandInCounters(kernel.c_str(), &counters));
  return counters;
}

uint16_t toBf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

float fromBf16(uint16_t bits) {
  uint32_t wide = uint32_t(bits) << 16;
  float value;
  std::memcpy(&value, &wide, 4);
  return value;
}

double mmaBound(double magnitude, int count, int step) { return magnitude * (count / step + 1) * std::ldexp(1.0, -22); }

std::string kernelText(const std::string &parameters, const std::string &body, const std::string &before, int target,
                       const std::string &directives) {
  std::string list, loads;
  std::stringstream words(parameters);
  std::string type, name;
  std::map<std::string, int> counts;
  while (words >> type >> name) {
    if (name.back() == ',')
      name.pop_back();
    list += (list.empty() ? "" : ", ") + (".param ." + type + " " + name);
    std::string prefix = type == "u64" ? "%rd" : type == "f32" ? "%f" : type == "f64" ? "%fd" : "%r";
    std::string reg = prefix + std::to_string(counts[prefix]++);
    loads += "  ld.param." + type + " " + reg + ", [" + name + "];\n";
    if (type == "u64")
      loads += "  cvta.to.global.u64 " + reg + ", " + reg + ";\n";
  }
  return ".version 7.8\n.target sm_" + std::to_string(target) + "\n.address_size 64\n" + before + ".visible .entry k(" +
         list + ")" + directives +
         "\n{\n  .reg .pred %p<8>;\n  .reg .b16 %rs<32>;\n  .reg .b32 %r<64>;\n  .reg .f32 %f<64>;\n  .reg .b64 "
         "%rd<32>;\n"
         "  .reg .f64 %fd<16>;\n" +
         loads + body + "  ret;\n}\n";
}

} // namespace morph
