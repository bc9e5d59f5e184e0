// SPDX-License-Identifier: Apache-2.0
// Ops as kernels, beside their definitions in ATen, which run in float64. Compiled code and linalg forms are held
// against them. Elementwise ops are those of ElementwiseCases.h.

#ifndef MORPH_TEST_KERNELS_KERNELCASES_H
#define MORPH_TEST_KERNELS_KERNELCASES_H

#include "test/kernels/ElementwiseCases.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

namespace morph {

using Tensors = std::vector<at::Tensor>;

/// A kernel: its arguments, a letter each, its body, and what it computes.
struct KernelCase {
  std::string name;
  std::string arguments; ///< x a row, w the elements of one row, p positive ones, g a gate, h two gates.
  std::string body;      ///< With $T for a row value's type, $W for that of w, $N for the width.
  std::string results;
  std::function<Tensors(const Tensors &)> reference;
  /// The results, a letter each like arguments, s a scalar; empty: all are rows.
  std::string resultTypes = "";
};

inline at::Tensor rmsNorm(const at::Tensor &x, const at::Tensor &w) {
  return w * x * at::rsqrt(x.square().mean(-1, true) + 1e-5);
}
inline at::Tensor l2Norm(const at::Tensor &x) { return x * at::rsqrt(x.square().sum(-1, true) + 1e-6); }
inline at::Tensor rmsNormGrad(const at::Tensor &dy, const at::Tensor &x, const at::Tensor &w) {
  at::Tensor r = at::rsqrt(x.square().mean(-1, true) + 1e-5);
  return r * (w * dy - x * r * r * (w * dy * x).mean(-1, true));
}
inline at::Tensor l2NormGrad(const at::Tensor &dy, const at::Tensor &x) {
  at::Tensor r = at::rsqrt(x.square().sum(-1, true) + 1e-6);
  return r * (dy - x * r * r * (dy * x).sum(-1, true));
}

/// An elementwise op as a kernel of its own.
inline KernelCase caseOf(const ElementwiseCase &elementwise) {
  const size_t results = elementwise.definition(Tensors(elementwise.operands.size(), at::ones({1}))).size();
  std::string values, operands, types, attributes, returned, returnedTypes;
  for (size_t i = 0; i < elementwise.operands.size(); ++i) {
    operands += (i ? ", %" : "%") + std::to_string(i);
    types += std::string(i ? ", " : "") + (elementwise.operands[i] == 'w' ? "$W" : "$T");
  }
  for (const auto &[name, value] : elementwise.attributes)
    attributes += (attributes.empty() ? "" : ", ") + name + " = " + std::to_string(std::get<double>(value)) + " : f64";
  for (size_t i = 0; i < results; ++i) {
    values += (i ? ", %r" : "%r") + std::to_string(i);
    returnedTypes += i ? ", $T" : "$T";
  }
  return {elementwise.op + "_" + elementwise.operands, elementwise.operands,
          values + " = \"morph." + elementwise.op + "\"(" + operands + ") {" + attributes + "} : (" + types + ") -> (" +
              returnedTypes + ")",
          values, elementwise.definition};
}

/// Kernels whose results are rows.
inline std::vector<KernelCase> kernelCases() {
  std::vector<KernelCase> cases = {
      {"rmsNorm", "xw", "%r = morph.rms_norm %0, %1 eps 1.0e-5 : $T, $W", "%r",
       [](auto &in) { return Tensors{rmsNorm(in[0], in[1])}; }},
      {"l2Norm", "x", "%r = morph.l2_norm %0 eps 1.0e-6 : $T", "%r", [](auto &in) { return Tensors{l2Norm(in[0])}; }},
      {"rmsNormInputGrad", "xxw", "%r = morph.rms_norm_input_grad %0, %1, %2 eps 1.0e-5 : $T, $T, $W", "%r",
       [](auto &in) { return Tensors{rmsNormGrad(in[0], in[1], in[2])}; }},
      {"l2NormGrad", "xx", "%r = morph.l2_norm_grad %0, %1 eps 1.0e-6 : $T, $T", "%r",
       [](auto &in) { return Tensors{l2NormGrad(in[0], in[1])}; }},
      {"blend", "gxx", "%r = morph.blend %0 of %1, %2 : tensor<1xf32>, $T, $T", "%r",
       [](auto &in) { return Tensors{in[0] * in[1] + (1 - in[0]) * in[2]}; }},
      {"blendOfThree", "hxxx", "%r = morph.blend %0 of %1, %2, %3 : tensor<2xf32>, $T, $T, $T", "%r",
       [](auto &in) { return Tensors{in[0][0] * in[1] + in[0][1] * in[2] + (1 - in[0][0] - in[0][1]) * in[3]}; }},
      {"blendCandidateGrad", "xh", "%r = morph.blend_candidate_grad %0, %1 index 1 : $T, tensor<2xf32>", "%r",
       [](auto &in) { return Tensors{in[0] * in[1][1]}; }},
      {"blendLastCandidateGrad", "xh", "%r = morph.blend_candidate_grad %0, %1 index 2 : $T, tensor<2xf32>", "%r",
       [](auto &in) { return Tensors{in[0] * (1 - in[1][0] - in[1][1])}; }},
      // Fused: sums over what the kernel computes, temporaries, several results.
      {"addRmsNorm", "xxw", "%s = morph.add %0, %1 : $T, $T\n%r = morph.rms_norm %s, %2 eps 1.0e-5 : $T, $W", "%s, %r",
       [](auto &in) { return Tensors{in[0] + in[1], rmsNorm(in[0] + in[1], in[2])}; }},
      {"rmsNormGradAdd", "xxwx",
       "%d = morph.rms_norm_input_grad %0, %1, %2 eps 1.0e-5 : $T, $T, $W\n%r = morph.add %3, %d : $T, $T", "%r",
       [](auto &in) { return Tensors{in[3] + rmsNormGrad(in[0], in[1], in[2])}; }},
      {"siluL2Norm", "x", "%s = morph.silu %0 : $T\n%r = morph.l2_norm %s eps 1.0e-6 : $T", "%r",
       [](auto &in) { return Tensors{l2Norm(at::silu(in[0]))}; }},
      {"normOfNorm", "xw",
       "%s = morph.l2_norm %0 eps 1.0e-6 : $T\n%t = morph.exp %s : $T\n%r = morph.rms_norm %t, %1 eps 1.0e-5 : $T, $W",
       "%t, %r", [](auto &in) { return Tensors{at::exp(l2Norm(in[0])), rmsNorm(at::exp(l2Norm(in[0])), in[1])}; }},
  };
  for (const ElementwiseCase &elementwise : elementwiseCases())
    cases.push_back(caseOf(elementwise));
  return cases;
}
inline void replaceAll(std::string &text, const std::string &from, const std::string &to) {
  for (size_t place = 0; (place = text.find(from, place)) != std::string::npos; place += to.size())
    text.replace(place, from.size(), to);
}

inline std::string nameOf(const KernelCase &c, int64_t width) { return c.name + "_" + std::to_string(width); }

inline std::string typeOf(char argument, int64_t width) {
  std::string w = std::to_string(width);
  switch (argument) {
  case 'w':
    return "tensor<" + w + "xf32>";
  case 'g':
    return "tensor<1xf32>";
  case 'h':
    return "tensor<2xf32>";
  case 's':
    return "tensor<f32>";
  default:
    return "tensor<?x" + w + "xf32>";
  }
}

inline std::string lettersOfResults(const KernelCase &c) {
  const auto count = std::count(c.results.begin(), c.results.end(), '%');
  return c.resultTypes.empty() ? std::string(static_cast<size_t>(count), 'x') : c.resultTypes;
}

/// The text of a case whose rows have `width` elements.
inline std::string textOf(const KernelCase &c, int64_t width) {
  std::string text = "morph.kernel @" + nameOf(c, width) + " rows 1 (", types;
  for (size_t i = 0; i < c.arguments.size(); ++i)
    text += (i ? ", %" : "%") + std::to_string(i) + ": " + typeOf(c.arguments[i], width);
  const std::string letters = lettersOfResults(c);
  for (size_t i = 0; i < letters.size(); ++i)
    types += (i ? ", " : "") + typeOf(letters[i], width);
  text += ") {\n" + c.body + "\nmorph.return " + c.results + " : " + types + "\n}\n";
  replaceAll(text, "$T", typeOf('x', width));
  replaceAll(text, "$W", typeOf('w', width));
  return text;
}

/// Random operands of a case.
inline Tensors makeOperands(const KernelCase &c, int64_t rows, int64_t width) {
  at::manual_seed(width);
  Tensors operands;
  for (char argument : c.arguments)
    operands.push_back(argument == 'w'   ? at::randn({width})
                       : argument == 'g' ? at::rand({1})
                       : argument == 'h' ? at::rand({2}) / 2
                       : argument == 'p' ? at::exp(at::randn({rows, width}) * 2)
                                         : at::randn({rows, width}) * 2);
  return operands;
}

/// What a case computes of operands, in float64.
inline Tensors refer(const KernelCase &c, const Tensors &operands) {
  Tensors exact;
  for (const at::Tensor &operand : operands)
    exact.push_back(operand.to(at::kDouble));
  return c.reference(exact);
}

} // namespace morph

#endif // MORPH_TEST_KERNELS_KERNELCASES_H
