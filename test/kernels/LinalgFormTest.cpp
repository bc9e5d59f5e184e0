// SPDX-License-Identifier: Apache-2.0
// Every op's linalg form, run by MLIR's own bufferisation, lowering and CPU runner, against its definition in ATen:
// what the form means to others than passes/lower/RowLoops.cpp.

#include "test/kernels/CompiledKernels.h"
#include "test/kernels/KernelCases.h"

#include "runtime/base/File.h"
#include "runtime/plan/OpTable.h"

#include <filesystem>
#include <regex>
#include <set>
#include <sstream>

namespace morph {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kFormRows = 5, kWidth = 20;

/// Kernels for linalg alone: compiled ones leave parts of sums over rows to the runtime.
std::vector<KernelCase> linalgCases() {
  std::vector<KernelCase> cases = kernelCases();
  const std::vector<KernelCase> further = {
      {"rmsNormWeightGrad", "xx", "%r = morph.rms_norm_weight_grad %0, %1 eps 1.0e-5 : $T, $T", "%r",
       [](auto &in) { return Tensors{(in[0] * rmsNorm(in[1], at::ones({kWidth}, at::kDouble))).sum(0)}; }, "w"},
      {"reduceToRowsElements", "x", "%r = morph.reduce_to %0 rank 1 : $T", "%r",
       [](auto &in) { return Tensors{in[0].sum(0)}; }, "w"},
      {"reduceToScalar", "x", "%r = morph.reduce_to %0 rank 0 : $T", "%r",
       [](auto &in) { return Tensors{in[0].sum()}; }, "s"},
      {"blendGateGrad", "xxxx", "%r = morph.blend_gate_grad %0, %1, %2, %3 : $T, $T, $T, $T", "%r",
       [](auto &in) { return Tensors{at::stack({(in[0] * (in[1] - in[3])).sum(), (in[0] * (in[2] - in[3])).sum()})}; },
       "h"},
      {"roundToBf16", "x", "%h = morph.cast %0 to \"bf16\" : $T\n%r = morph.cast %h to \"f32\" : tensor<?x?x20xbf16>",
       "%r", [](auto &in) { return Tensors{in[0].to(at::kFloat).to(at::kBFloat16).to(at::kDouble)}; }},
      {"normOfHeads", "x",
       "%h = morph.split_heads %0 heads 4 : $T\n%n = morph.l2_norm %h eps 1.0e-6 : tensor<?x?x4x5xf32>\n"
       "%r = morph.merge_heads %n : tensor<?x?x4x5xf32>",
       "%r", [](auto &in) { return Tensors{l2Norm(in[0].view({kFormRows, 4, 5})).view({kFormRows, kWidth})}; }}};
  cases.insert(cases.end(), further.begin(), further.end());
  return cases;
}

/// A case's type in the linalg form, the dimensions of the row space made one, and in its kernel.
std::string linalgType(char letter) { return typeOf(letter, kWidth); }
std::string kernelText(const KernelCase &c) {
  std::string text = textOf(c, kWidth);
  replaceAll(text, "rows 1", "rows 2");
  replaceAll(text, "tensor<?x20x", "tensor<?x?x20x");
  return text;
}

std::string hexOf(const at::Tensor &tensor) {
  const auto *bytes = static_cast<const unsigned char *>(tensor.contiguous().const_data_ptr());
  std::string text = "\"0x";
  for (size_t i = 0; i < tensor.nbytes(); ++i) {
    char digits[3];
    std::snprintf(digits, sizeof(digits), "%02X", bytes[i]);
    text += digits;
  }
  return text + "\"";
}

/// Statements that call a case's function with operands and print its results.
std::string callOf(const KernelCase &c, const Tensors &operands) {
  const std::string prefix = "%" + c.name, letters = lettersOfResults(c);
  std::string text, arguments, argumentTypes, resultTypes, prints;
  for (size_t i = 0; i < operands.size(); ++i) {
    const std::string value = prefix + "_" + std::to_string(i), type = linalgType(c.arguments[i]);
    std::string constant = type;
    replaceAll(constant, "?", std::to_string(kFormRows));
    text += value + "_constant = arith.constant dense<" + hexOf(operands[i]) + "> : " + constant + "\n";
    text += value + " = tensor.cast " + value + "_constant : " + constant + " to " + type + "\n";
    arguments += (i ? ", " : "") + value;
    argumentTypes += (i ? ", " : "") + type;
  }
  for (size_t i = 0; i < letters.size(); ++i) {
    const std::string printed = prefix + "_printed" + std::to_string(i), type = linalgType(letters[i]);
    resultTypes += (i ? ", " : "") + type;
    prints += printed + " = tensor.cast " + prefix + "#" + std::to_string(i) + " : " + type + " to tensor<*xf32>\n" +
              "func.call @printMemrefF32(" + printed + ") : (tensor<*xf32>) -> ()\n";
  }
  return text + prefix + ":" + std::to_string(letters.size()) + " = func.call @" + nameOf(c, kWidth) + "(" + arguments +
         ") : (" + argumentTypes + ") -> (" + resultTypes + ")\n" + prints;
}

/// The functions of `module @kernels` in the output of morph-opt, and the maps that they name.
std::string functionsOf(const std::string &output) {
  std::istringstream lines(output);
  std::string text, line;
  bool isInside = false;
  while (std::getline(lines, line)) {
    if (line == "  }")
      isInside = false;
    if (isInside || line.rfind("#map", 0) == 0)
      text += line + "\n";
    if (line == "  module @kernels {")
      isInside = true;
  }
  return text;
}

/// The numbers of each tensor that the runner has printed.
std::vector<std::vector<double>> parsePrinted(const std::string &output) {
  std::vector<std::vector<double>> tensors;
  const std::string mark = "data =";
  for (size_t place = output.find(mark); place != std::string::npos; place = output.find(mark, place)) {
    place += mark.size();
    std::string numbers = output.substr(place, output.find("Unranked", place) - place);
    for (char &c : numbers)
      c = c == '[' || c == ']' || c == ',' ? ' ' : c;
    std::istringstream stream(numbers);
    tensors.emplace_back();
    for (std::string word; stream >> word;)
      tensors.back().push_back(std::strtod(word.c_str(), nullptr));
  }
  return tensors;
}

TEST(LinalgFormTest, MeansToMlirWhatItMeansToLibTorch) {
  std::string folder = (fs::temp_directory_path() / "morph-linalg-XXXXXX").string();
  ASSERT_TRUE(mkdtemp(folder.data()));
  auto run = [&](const std::string &command) {
    ASSERT_EQ(std::system(("cd " + folder + " && " + command).c_str()), 0) << command;
  };
  const std::vector<KernelCase> cases = linalgCases();
  std::string kernels, calls;
  for (const KernelCase &c : cases) {
    kernels += kernelText(c);
    calls += callOf(c, makeOperands(c, kFormRows, kWidth));
  }
  std::ofstream(folder + "/kernels.mlir") << "morph.model @m base architecture \"llama\" layers 1 {\n"
                                          << kernels << "}\n";
  run(MORPH_OPT " kernels.mlir --morph-kernel-to-linalg -o linalg.mlir");
  StatusOr<std::string> linalg = readTextFile(folder + "/linalg.mlir");
  ASSERT_TRUE(linalg.ok()) << linalg.status().message();
  std::ofstream(folder + "/program.mlir")
      << functionsOf(*linalg) << "func.func private @printMemrefF32(tensor<*xf32>)\nfunc.func @main() {\n"
      << calls << "return\n}\n";
  run(MORPH_LLVM_TOOLS
      "/mlir-opt program.mlir --one-shot-bufferize=bufferize-function-boundaries --convert-linalg-to-loops "
      "--expand-strided-metadata --lower-affine --convert-scf-to-cf --arith-expand=include-bf16=true "
      "--convert-math-to-llvm --convert-math-to-libm --finalize-memref-to-llvm --convert-arith-to-llvm "
      "--convert-func-to-llvm --convert-cf-to-llvm --reconcile-unrealized-casts -o llvm.mlir");
  run(MORPH_LLVM_TOOLS "/mlir-cpu-runner llvm.mlir -e main -entry-point-result=void -shared-libs=" MORPH_LLVM_LIBRARIES
                       "/libmlir_runner_utils.so," MORPH_LLVM_LIBRARIES "/libmlir_c_runner_utils.so > printed.txt");
  StatusOr<std::string> printed = readTextFile(folder + "/printed.txt");
  ASSERT_TRUE(printed.ok()) << printed.status().message();
  const std::vector<std::vector<double>> tensors = parsePrinted(*printed);
  size_t next = 0;
  for (const KernelCase &c : cases) {
    const Tensors expected = refer(c, makeOperands(c, kFormRows, kWidth));
    for (size_t i = 0; i < expected.size(); ++i, ++next) {
      SCOPED_TRACE(c.name + " result " + std::to_string(i));
      ASSERT_LT(next, tensors.size());
      ASSERT_EQ(static_cast<int64_t>(tensors[next].size()), expected[i].numel());
      const at::Tensor result = at::tensor(tensors[next], at::kDouble).view(expected[i].sizes());
      // Six digits are printed.
      EXPECT_LE((result - expected[i]).abs().max().item<double>(), 1e-5 * expected[i].abs().max().item<double>());
    }
  }
  EXPECT_EQ(next, tensors.size());
  fs::remove_all(folder);
}

/// An op with a linalg form of its own, `Values RmsNormOp::lowerToLinalg(...)`, or with an expression, is in a case.
TEST(LinalgFormTest, EveryOpOfKernelsIsInACase) {
  std::set<std::string> ops;
  for (const std::string &op : plan::opNames())
    if (plan::findOpRule(op)->elementwise)
      ops.insert(op);
  StatusOr<std::string> forms = readTextFile(MORPH_SOURCE "/dialect/KernelForms.cpp");
  ASSERT_TRUE(forms.ok()) << forms.status().message();
  const std::regex definition("(\\w+)Op::lowerToLinalg\\(");
  for (std::sregex_iterator match(forms->begin(), forms->end(), definition), end; match != end; ++match) {
    std::string op;
    for (char c : (*match)[1].str())
      op += std::isupper(static_cast<unsigned char>(c)) ? std::string(op.empty() ? "" : "_") + char(std::tolower(c))
                                                        : std::string(1, c);
    ops.insert(op);
  }
  EXPECT_GE(ops.size(), 20u);
  std::string bodies;
  for (const KernelCase &c : linalgCases())
    bodies += c.body;
  for (const std::string &op : ops)
    EXPECT_TRUE(std::regex_search(bodies, std::regex("morph\\." + op + "\\b"))) << op << " is in no case";
}

} // namespace
} // namespace morph
