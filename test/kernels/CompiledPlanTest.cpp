// SPDX-License-Identifier: Apache-2.0
// Plans whose launches run compiled code against the same plans interpreted: the compiler's whole way, from a program
// to what the executor calls.

#include "runtime/base/File.h"
#include "runtime/exec/KernelLibrary.h"
#include "test/kernels/CompiledKernels.h"
#include "test/runtime/Oracle.h"

#include <ATen/Parallel.h>

namespace morph {
namespace {

namespace fs = std::filesystem;

/// Programs of nothing but what kernels do: their results do not depend on a library's products. S is the size that may
/// be zero.
constexpr const char *kModel = R"(
!rows = tensor<?x?x24xf32>
!heads = tensor<?x?x3x8xf32>
!w = tensor<24xf32>
morph.model @m base architecture "llama" layers 1 {
  morph.program @rows(%x: !rows "x" [B, S], %y: !rows "y" [B, S], %z: !rows "z" [B, S], %gate: tensor<2xf32> "gate",
                      %w: !w "w", %head: tensor<8xf32> "head") {
    %sum = morph.add %x, %y : !rows, !rows
    %norm = morph.rms_norm %sum, %w eps 1.0e-5 : !rows, !w
    %gelu = morph.gelu_tanh %norm : !rows
    %gated = morph.mul %gelu, %y : !rows, !rows
    %blend = morph.blend %gate of %gated, %x, %sum : tensor<2xf32>, !rows, !rows, !rows
    %split = morph.split_heads %blend heads 3 : !rows
    %l2 = morph.l2_norm %split eps 1.0e-6 : !heads
    %scaled = morph.mul %l2, %head : !heads, tensor<8xf32>
    %merged = morph.merge_heads %scaled : !heads
    morph.output "sum" = %sum, "blend" = %blend, "merged" = %merged : !rows, !rows, !rows
  }
  morph.program @sums(%x: !rows "x" [B, S], %y: !rows "y" [B, S], %z: !rows "z" [B, S], %gate: tensor<2xf32> "gate",
                      %w: !w "w", %head: tensor<8xf32> "head") {
    %d = morph.silu_grad %x, %y : !rows, !rows
    %dx = morph.rms_norm_input_grad %d, %z, %w eps 1.0e-5 : !rows, !rows, !w
    %dw = morph.rms_norm_weight_grad %d, %z eps 1.0e-5 : !rows, !rows
    %dbias = morph.reduce_to %dx rank 1 : !rows
    %total = morph.reduce_to %dx rank 0 : !rows
    %dgate = morph.blend_gate_grad %dx, %x, %y, %z : !rows, !rows, !rows, !rows
    %split = morph.split_heads %dx heads 3 : !rows
    %dhead = morph.reduce_to %split rank 1 : !heads
    %later = morph.mul %y, %dbias : !rows, !w
    morph.output "dx" = %dx, "dw" = %dw, "dbias" = %dbias, "total" = %total, "dgate" = %dgate, "dhead" = %dhead,
        "later" = %later : !rows, !w, !w, tensor<f32>, tensor<2xf32>, tensor<8xf32>, !rows
  }
}
)";

void runTool(const std::string &command) { ASSERT_EQ(std::system(command.c_str()), 0) << command; }

class CompiledPlanTest : public testing::Test {
protected:
  void SetUp() override {
    folder = (fs::temp_directory_path() / "morph-plans-XXXXXX").string();
    ASSERT_TRUE(mkdtemp(folder.data()));
    for (auto &[name, before] : environment)
      if (const char *value = std::getenv(name.c_str()))
        before = value;
    for (const auto &[name, before] : environment)
      setenv(name.c_str(), folder.c_str(), 1);
    fs::create_directory(folder + "/kernels");
  }
  void TearDown() override {
    for (const auto &[name, before] : environment)
      before ? setenv(name.c_str(), before->c_str(), 1) : unsetenv(name.c_str());
    fs::remove_all(folder);
  }

  /// The plan of a program of kModel, its kernels in the cache.
  plan::Plan compileProgram(const std::string &program) {
    std::ofstream(folder + "/model.mlir") << kModel;
    runTool(MORPH_OPT " " + folder + "/model.mlir --morph-form-kernels=program=" + program +
            " --morph-emit-plan='program=" + program + " output=" + folder + "/plan.json' -o " + folder +
            "/formed.mlir");
    StatusOr<plan::Plan> plan = plan::readPlan(folder + "/plan.json");
    EXPECT_TRUE(plan.ok()) << plan.status().message();
    plan->kernelObject = plan::hashKernels(*plan);
    runTool(MORPH_OPT " " + folder + "/formed.mlir -o /dev/null --morph-compile-kernels='cache=false origin=" +
            plan->kernelObject + " output=" + kernelObjectFile(kernelFolders().front(), plan->kernelObject) + "'");
    return *plan;
  }

  /// The executor of a plan, and that of the same plan without compiled code.
  std::pair<std::unique_ptr<Executor>, std::unique_ptr<Executor>> makeExecutors(plan::Plan plan) {
    // Else both are interpreted.
    EXPECT_FALSE(plan.kernels.empty());
    EXPECT_TRUE(KernelLibrary::openFirst(kernelFolders(), plan.kernelObject, plan::hashKernels(plan)).ok());
    const WeightStore store = WeightStore::inMemory(randomWeights(plan, 1));
    auto compiled = Executor::create(plan, store, Precision::F32, 1);
    plan.kernelObject.clear();
    auto interpreted = Executor::create(plan, store, Precision::F32, 1);
    EXPECT_TRUE(compiled.ok() && interpreted.ok());
    return {std::move(*compiled), std::move(*interpreted)};
  }

  static NamedTensors runOn(Executor &executor, const NamedTensors &inputs) {
    StatusOr<NamedTensors> outputs = executor.run(inputs);
    EXPECT_TRUE(outputs.ok()) << outputs.status().message();
    for (auto &[name, tensor] : *outputs)
      tensor = tensor.clone();
    return *outputs;
  }

  static void expectClose(const NamedTensors &results, const NamedTensors &expected, double tolerance) {
    ASSERT_EQ(results.size(), expected.size());
    for (const auto &[name, tensor] : expected) {
      ASSERT_EQ(results.at(name).sizes(), tensor.sizes()) << name;
      if (tensor.numel() == 0)
        continue;
      EXPECT_TRUE(at::isfinite(results.at(name)).all().item<bool>()) << name;
      EXPECT_LE((results.at(name) - tensor).abs().max().item<double>(),
                tolerance * std::max(1.0, tensor.abs().max().item<double>()))
          << name;
    }
  }

  std::string folder;
  std::map<std::string, std::optional<std::string>> environment = {{"MORPH_CACHE", {}}, {"TMPDIR", {}}};
};

TEST_F(CompiledPlanTest, AgreesWithTheInterpretedPlan) {
  for (const char *program : {"rows", "sums"}) {
    const plan::Plan plan = compileProgram(program);
    auto [compiled, interpreted] = makeExecutors(plan);
    // One row, an odd number, whole blocks of a sum, one more.
    for (const auto &[batch, length] : std::vector<std::pair<int64_t, int64_t>>{{1, 1}, {3, 7}, {2, 64}, {1, 129}}) {
      SCOPED_TRACE(std::string(program) + " " + std::to_string(batch) + " x " + std::to_string(length));
      OracleOptions options;
      options.sizes = {{"B", batch}, {"S", length}};
      const NamedTensors inputs = randomInputs(plan, options);
      expectClose(runOn(*compiled, inputs), runOn(*interpreted, inputs), 2e-5);
    }
  }
}

TEST_F(CompiledPlanTest, ThreadsDoNotChangeABit) {
  const int threads = at::get_num_threads();
  for (const char *program : {"rows", "sums"}) {
    const plan::Plan plan = compileProgram(program);
    auto [compiled, interpreted] = makeExecutors(plan);
    OracleOptions options;
    options.sizes = {{"B", 3}, {"S", 1001}};
    const NamedTensors inputs = randomInputs(plan, options);
    at::set_num_threads(1);
    const NamedTensors expected = runOn(*compiled, inputs);
    for (int count : {2, 3, 5}) {
      at::set_num_threads(count);
      for (const auto &[name, tensor] : runOn(*compiled, inputs))
        EXPECT_TRUE(at::equal(tensor, expected.at(name))) << program << " " << name << " on " << count << " threads";
    }
    at::set_num_threads(threads);
  }
}

// A cache on a disk that was full, or that lost bytes: such an object would end the process where it is loaded or run.
TEST_F(CompiledPlanTest, ADamagedObjectIsNotRun) {
  const plan::Plan plan = compileProgram("rows");
  const std::string path = kernelObjectFile(kernelFolders().front(), plan.kernelObject);
  StatusOr<std::string> whole = readTextFile(path);
  ASSERT_TRUE(whole.ok());
  std::string changed = *whole;
  for (size_t i = changed.size() / 4; i < changed.size() / 2; ++i)
    changed[i] = static_cast<char>(~changed[i]);
  const std::pair<const char *, std::string> damaged[] = {{"cut", whole->substr(0, whole->size() / 2)},
                                                          {"cut by a byte", whole->substr(0, whole->size() - 1)},
                                                          {"changed", changed},
                                                          {"longer", *whole + "0"},
                                                          {"empty", ""}};
  OracleOptions options;
  options.sizes = {{"B", 2}, {"S", 3}};
  const NamedTensors inputs = randomInputs(plan, options);
  for (const auto &[name, bytes] : damaged) {
    SCOPED_TRACE(name);
    fs::remove(path);
    std::ofstream(path, std::ios::binary) << bytes;
    StatusOr<KernelLibrary> library = KernelLibrary::open(path, plan::hashKernels(plan));
    ASSERT_FALSE(library.ok());
    EXPECT_NE(library.status().message().find("is damaged"), std::string::npos) << library.status().message();
    testing::internal::CaptureStderr();
    auto executor = Executor::create(plan, WeightStore::inMemory({}), Precision::F32, 1);
    ASSERT_TRUE(executor.ok()) << executor.status().message();
    EXPECT_TRUE((*executor)->run(inputs).ok());
    EXPECT_NE(testing::internal::GetCapturedStderr().find("are interpreted"), std::string::npos);
  }
}

// A machine without a home, or with one that cannot be written.
TEST_F(CompiledPlanTest, WithoutACacheKernelsAreKeptInATemporaryFolder) {
  setenv("MORPH_CACHE", "/proc/nowhere", 1);
  const std::string relaxed = folder + "/relaxed.mlir", file = folder + "/gates.json";
  runTool(MORPH_OPT " " MORPH_SOURCE "/test/passes/Inputs/tiny-base.mlir "
                    "--morph-search-pipeline=candidates=lightning -o " +
          relaxed);
  auto warningsOf = [&](const plan::Plan &plan) {
    testing::internal::CaptureStderr();
    auto executor = Executor::create(plan, WeightStore::inMemory(randomWeights(plan, 1)), Precision::F32, 1);
    EXPECT_TRUE(executor.ok()) << executor.status().message();
    // Who only binds weights hears nothing.
    EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
    testing::internal::CaptureStderr();
    OracleOptions options;
    options.precision = Precision::F32;
    EXPECT_TRUE((*executor)->run(randomInputs(plan, options)).ok());
    return testing::internal::GetCapturedStderr();
  };
  const std::string command = MORPH_TRANSLATE " --emit-plan " + relaxed + " --program=gates -o " + file;
  runTool(command);
  StatusOr<plan::Plan> plan = plan::readPlan(file);
  ASSERT_TRUE(plan.ok()) << plan.status().message();
  EXPECT_TRUE(fs::exists(kernelObjectFile(temporaryFolder() + "/kernels", plan->kernelObject)));
  EXPECT_EQ(warningsOf(*plan), "");

  // What others can write is not run, and nothing is put there.
  fs::permissions(temporaryFolder(), fs::perms::others_write, fs::perm_options::add);
  EXPECT_EQ(temporaryFolder(), "");
  EXPECT_NE(warningsOf(*plan).find("are interpreted, which is slow: cannot load the kernels"), std::string::npos);
  testing::internal::CaptureStderr();
  runTool(command);
  EXPECT_NE(testing::internal::GetCapturedStderr().find("can be kept in no folder"), std::string::npos);
  plan = plan::readPlan(file);
  ASSERT_TRUE(plan.ok()) << plan.status().message();
  EXPECT_EQ(plan->kernelObject, "");
  EXPECT_NE(warningsOf(*plan).find("its plan names no compiled kernels"), std::string::npos);
}

TEST_F(CompiledPlanTest, AWholeProgramAgreesWithTheInterpretedOne) {
  runTool(MORPH_OPT " " MORPH_SOURCE "/test/passes/Inputs/tiny-base.mlir "
                    "--morph-search-pipeline='candidates=gated_deltanet(chunk=3),lightning(chunk=3)' -o " +
          folder + "/relaxed.mlir");
  runTool(MORPH_TRANSLATE " --emit-plan " + folder + "/relaxed.mlir --program=gates -o " + folder + "/gates.json");
  StatusOr<plan::Plan> plan = plan::readPlan(folder + "/gates.json");
  ASSERT_TRUE(plan.ok()) << plan.status().message();
  auto [compiled, interpreted] = makeExecutors(*plan);
  OracleOptions options;
  options.precision = Precision::F32;
  // Each has sums of its own, to which it adds.
  expectClose(runOn(*compiled, randomInputs(*plan, options)), runOn(*interpreted, randomInputs(*plan, options)), 1e-4);
}

} // namespace
} // namespace morph
