// SPDX-License-Identifier: Apache-2.0
// morph doctor: what of the machine and of Morph's own parts is found.

#include "runtime/base/Cpu.h"
#include "runtime/base/Memory.h"
#include "runtime/device/CudaDevice.h"
#include "runtime/device/Nccl.h"
#include "tools/morph/Commands.h"
#include "tools/morph/Costs.h"
#include "tools/morph/Process.h"
#include "tools/morph/Report.h"

#include <cstdio>
#include <iterator>
#include <memory>
#include <set>
#include <sstream>
#include <thread>

using namespace morph;

namespace {

/// One line of the report.
struct Finding {
  std::string name;
  bool found = false;
  bool needed = true;
  std::string detail;
};

/// The first line that a command prints, or nothing.
std::string firstLine(std::vector<std::string> arguments) {
  auto result = runProcess({std::move(arguments), true, true});
  if (!result.ok() || !result->ok())
    return "";
  std::istringstream text(result->output);
  std::string line;
  std::getline(text, line);
  return line;
}

Finding findProgram(const Toolchain &tools, const std::string &name) {
  auto path = tools.program(name);
  return {name, path.ok(), true, path.ok() ? *path : Status(path.status()).message()};
}

/// A Python package that Morph does without, but for one thing.
struct OptionalPackage {
  const char *name, *use;
};
constexpr OptionalPackage kOptionalPackages[] = {
    {"jinja2", "chats, which a tokenizer's template makes texts of"},
    {"matplotlib", "pages of reports and audits"},
    {"pyarrow", "texts in parquet and arrow files"},
    {"zstandard", "texts that zstd has compressed"},
    {"starlette", "morph serve"},
    {"uvicorn", "morph serve"},
};

/// Versions of the Python packages that Morph uses, by one start of Python: of those that it needs as one finding.
std::vector<Finding> findPython(const Toolchain &tools) {
  auto python = tools.python();
  if (!python.ok())
    return {{"Python environment", false, true, Status(python.status()).message() + "; " + tools.howToInstall()}};
  const std::vector<std::string> needed = {"torch", "transformers", "tokenizers", "safetensors", "numpy"};
  std::vector<std::string> command = {*python, "-c",
                                      "import sys\n"
                                      "from importlib.metadata import PackageNotFoundError, version\n"
                                      "def find(name):\n"
                                      "    try: return version(name)\n"
                                      "    except PackageNotFoundError: return '-'\n"
                                      "print(*map(find, sys.argv[1:]))"};
  command.insert(command.end(), needed.begin(), needed.end());
  for (const OptionalPackage &package : kOptionalPackages)
    command.emplace_back(package.name);
  std::istringstream versions(firstLine(command));
  std::string version, list;
  bool whole = true;
  for (const std::string &name : needed) {
    const bool found = versions >> version && version != "-";
    list += (list.empty() ? "" : ", ") + (found ? name + " " + version : "no " + name);
    whole &= found;
  }
  std::vector<Finding> findings = {
      {"Python environment", whole, true,
       tools.pythonFolder + " (" + list + ")" + (whole ? "" : "; " + tools.howToInstall())}};
  for (const auto &[name, use] : kOptionalPackages) {
    const bool found = versions >> version && version != "-";
    findings.push_back(
        {name, found, false, found ? version + ", for " + use : std::string("not there; not needed but for ") + use});
  }
  return findings;
}

Finding findLibTorch(const Toolchain &tools) {
  std::error_code error;
  for (const std::string &folder : tools.packageFolders) {
    const fs::path root = fs::path(folder) / "torch";
    if (!fs::exists(root / "lib/libtorch_cpu.so", error))
      continue;
    std::ifstream file(root / "version.py");
    std::string line, version = "unknown version";
    while (std::getline(file, line))
      if (line.rfind("__version__ = ", 0) == 0)
        version = line.substr(15, line.size() - 16);
    return {"LibTorch", true, true, version + " in " + root.string()};
  }
  return {"LibTorch", false, true, "no libtorch_cpu.so in the Python environment"};
}

Finding findMlir(const Toolchain &tools) {
  auto program = tools.program("morph-opt");
  if (!program.ok())
    return {"MLIR", false, true, "morph-opt is not built"};
  // "  LLVM version 19.1.7" stands on one of the first lines.
  auto result = runProcess({{*program, "--version"}, true, true});
  if (result.ok() && result->ok()) {
    std::istringstream text(result->output);
    std::string line;
    while (std::getline(text, line))
      if (const size_t at = line.find("version "); at != std::string::npos)
        return {"MLIR", true, true, "LLVM " + line.substr(at + 8)};
  }
  return {"MLIR", false, true, "morph-opt --version fails"};
}

/// The CUDA devices with their libraries, or why there is none.
std::vector<Finding> findCuda() {
  StatusOr<CudaProperties> device = CudaDevice::describe(0);
  if (!device.ok())
    return {{"CUDA", false, false, Status(device.status()).message() + "; none is needed"}};
  const int version = device->driverVersion;
  std::string found = device->name + ", " + formatBytes(device->memoryBytes) + ", capability " +
                      std::to_string(device->major) + "." + std::to_string(device->minor) + ", driver of CUDA " +
                      std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
  StatusOr<std::string> products = CudaDevice::productLibrary();
  found += ", " + (products.ok() ? *products : Status(products.status()).message());
  for (int ordinal = 1; (device = CudaDevice::describe(ordinal)).ok(); ++ordinal)
    found += "; cuda:" + std::to_string(ordinal) + ": " + device->name;
  // Tests set it, and who has forgotten that would take a stand-in for a GPU.
  if (const char *driver = std::getenv("MORPH_CUDA_DRIVER"))
    found += "; by MORPH_CUDA_DRIVER=" + std::string(driver);
  const StatusOr<std::string> nccl = Nccl::file();
  return {{"CUDA", products.ok(), false, found},
          {"NCCL", nccl.ok(), false,
           nccl.ok() ? *nccl : Status(nccl.status()).message() + "; several GPUs exchange by the host without it"}};
}

Status examine(const Toolchain &tools, bool json) {
  std::vector<Finding> findings = {findProgram(tools, "morph-translate"), findProgram(tools, "morph-opt"),
                                   findProgram(tools, "morph-run"), findMlir(tools), findLibTorch(tools)};
  for (Finding &finding : findPython(tools))
    findings.push_back(std::move(finding));
  auto script = tools.script("export/morph_export.py");
  findings.push_back({"Python scripts", script.ok(), true,
                      script.ok() ? tools.sourceFolder + "/tools/python" : Status(script.status()).message()});
  std::istringstream words(cpuFields()["flags"]);
  const std::set<std::string> flags{std::istream_iterator<std::string>(words), {}};
  findings.push_back({"CPU", true, true,
                      cpuName() + ", " + std::to_string(std::thread::hardware_concurrency()) + " cores, " +
                          formatBytes(availableMemory()) + " of memory free"});
  for (const auto &[name, flag, use] :
       {std::tuple<const char *, const char *, const char *>{"AVX-512", "avx512f", "vector kernels"},
        {"AVX512-BF16", "avx512_bf16", "bf16 products"},
        {"AMX-BF16", "amx_bf16", "fast bf16 products"}})
    findings.push_back({name, flags.count(flag) != 0, false, flags.count(flag) ? use : std::string("not on this CPU")});
  for (Finding &finding : findCuda())
    findings.push_back(std::move(finding));

  bool complete = true;
  Json report = Json::array();
  for (const Finding &finding : findings) {
    complete &= finding.found || !finding.needed;
    report.push_back(
        {{"name", finding.name}, {"found", finding.found}, {"needed", finding.needed}, {"detail", finding.detail}});
    if (!json)
      std::printf("  %-4s %-18s %s\n",
                  finding.found    ? "ok"
                  : finding.needed ? "MISS"
                                   : "-",
                  finding.name.c_str(), finding.detail.c_str());
  }
  if (json)
    std::printf("%s\n", report.dump(2).c_str());
  if (!complete)
    return Status::failed("something that Morph needs is missing (above)",
                          tools.isPacked() ? tools.howToInstall() : "tools/quickstart sets up and builds all of it");
  return Status();
}

} // namespace

void morph::addDoctorCommand(CLI::App &app, Action &action) {
  auto json = std::make_shared<bool>(false);
  CLI::App *command = app.add_subcommand("doctor", "Show which programs, libraries and hardware are found");
  command->add_flag("--json", *json, "Print JSON");
  command->callback([&action, json] { action = [json](const Toolchain &tools) { return examine(tools, *json); }; });
}
