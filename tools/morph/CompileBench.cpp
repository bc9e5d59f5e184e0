// SPDX-License-Identifier: Apache-2.0

#include "tools/morph/CompileBench.h"

#include "runtime/base/Cpu.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>

using namespace morph;

namespace {

using OrderedJson = nlohmann::ordered_json;

/// What a run needs, in its order.
constexpr const char *kPrograms[] = {"score", "align", "gates", "distill", "finetune", "decode"};

/// Samples by name, in the order in which names come.
class Samples {
public:
  void add(const std::string &name, double seconds) {
    for (auto &[known, values] : samples_)
      if (known == name)
        return values.push_back(seconds);
    samples_.push_back({name, {seconds}});
  }

  OrderedJson medians() const {
    OrderedJson result = OrderedJson::object();
    for (auto [name, values] : samples_) {
      std::sort(values.begin(), values.end());
      result[name] = values[values.size() / 2];
    }
    return result;
  }

private:
  std::vector<std::pair<std::string, std::vector<double>>> samples_;
};

/// Seconds of each pass as morph-opt reports them; those of a name are together.
Status timePasses(const Toolchain &tools, const fs::path &base, const BenchModel &model, Samples &samples) {
  MORPH_ASSIGN_OR_RETURN(const std::string program, tools.program("morph-opt"));
  std::string candidates;
  for (const std::string &candidate : model.candidates)
    candidates += (candidates.empty() ? "" : ",") + candidate;
  const Command command{{program, base.string(), "--morph-search-pipeline=candidates=" + candidates,
                         "--morph-program-pipeline=program=gates", "--mlir-timing", "--mlir-timing-display=list",
                         "--mlir-output-format=json", "-o", "/dev/null"},
                        /*captureOutput=*/false,
                        /*captureErrors=*/true};
  MORPH_ASSIGN_OR_RETURN(const ProcessResult result, runProcess(command));
  if (!result.ok())
    return toStatus(result, command);
  const std::string where = "the times that morph-opt reports";
  MORPH_ASSIGN_OR_RETURN(const Json lines, parseJson(result.errors, where));
  for (const Json &line : lines) {
    MORPH_ASSIGN_OR_RETURN(const std::string name, jsonGet<std::string>(line, "name", where));
    // Neither sums of others nor analyses within passes.
    if (name == "root" || name == "Rest" || name.find("Pipeline") != std::string::npos || name.rfind("(A)", 0) == 0)
      continue;
    MORPH_ASSIGN_OR_RETURN(const double seconds, jsonGet<double>(line.value("wall", Json()), "duration", where));
    samples.add(name, seconds);
  }
  return Status();
}

} // namespace

StatusOr<OrderedJson> morph::benchCompiler(const Toolchain &tools, const BenchModel &model, int64_t repeat) {
  using Clock = std::chrono::steady_clock;
  const auto since = [](Clock::time_point begin) {
    return std::chrono::duration<double>(Clock::now() - begin).count();
  };
  Samples programs, passes;
  std::vector<double> totals;
  for (int64_t i = 0; i < repeat; ++i) {
    MORPH_ASSIGN_OR_RETURN(const TemporaryFolder folder, TemporaryFolder::create());
    BenchCompiler compiler(tools, model, folder.path());
    // Nothing is cached: the kernels that a program shares with one before it alone are at hand.
    setenv("MORPH_CACHE", folder.path().c_str(), /*overwrite=*/1);
    const Clock::time_point begin = Clock::now();
    for (const char *program : kPrograms) {
      const Clock::time_point now = Clock::now();
      MORPH_RETURN_IF_ERROR(compiler.plan(program).status());
      programs.add(program, since(now));
    }
    totals.push_back(since(begin));
    MORPH_ASSIGN_OR_RETURN(const fs::path base, compiler.phase("base"));
    MORPH_RETURN_IF_ERROR(timePasses(tools, base, model, passes));
  }
  std::sort(totals.begin(), totals.end());
  const double median = totals[totals.size() / 2];
  OrderedJson result = {{"median_seconds", median}, {"spread", (totals.back() - totals.front()) / median}};
  // Nothing is computed here.
  for (const char *key :
       {"tokens_per_second", "flops", "ideal_gemm_seconds", "share", "peak_bytes", "planned_bytes", "allocations"})
    result[key] = nullptr;
  result["cpu"] = cpuName();
  result["programs"] = programs.medians();
  result["passes"] = passes.medians();
  return result;
}
