// SPDX-License-Identifier: Apache-2.0
// Every elementwise op beside its definition in ATen's own functions, which run in float64. Interpreted and compiled
// forms are held against it. A new elementwise op is a line here.

#ifndef MORPH_TEST_KERNELS_ELEMENTWISECASES_H
#define MORPH_TEST_KERNELS_ELEMENTWISECASES_H

#include "runtime/plan/Plan.h"

#include <ATen/ATen.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace morph {

struct ElementwiseCase {
  std::string op;
  std::string
      operands; ///< A letter each: x rows, p positive ones, w the elements of one row, which are read by all rows.
  std::function<std::vector<at::Tensor>(const std::vector<at::Tensor> &)> definition;
  std::map<std::string, plan::Attribute> attributes = {};
};

inline const std::vector<ElementwiseCase> &elementwiseCases() {
  using List = std::vector<at::Tensor>;
  static const std::vector<ElementwiseCase> cases = {
      {"add", "xx", [](const List &in) { return List{at::add(in[0], in[1])}; }},
      {"add", "xw", [](const List &in) { return List{at::add(in[0], in[1])}; }},
      {"mul", "xx", [](const List &in) { return List{at::mul(in[0], in[1])}; }},
      {"mul", "xw", [](const List &in) { return List{at::mul(in[0], in[1])}; }},
      {"offset", "x", [](const List &in) { return List{at::add(in[0], -1.5)}; }, {{"term", -1.5}}},
      {"scale", "x", [](const List &in) { return List{at::mul(in[0], -1.5)}; }, {{"factor", -1.5}}},
      {"exp", "x", [](const List &in) { return List{at::exp(in[0])}; }},
      {"log", "p", [](const List &in) { return List{at::log(in[0])}; }},
      {"sigmoid", "x", [](const List &in) { return List{at::sigmoid(in[0])}; }},
      {"sigmoid_grad", "xx", [](const List &in) { return List{at::sigmoid_backward(in[0], in[1])}; }},
      {"tanh", "x", [](const List &in) { return List{at::tanh(in[0])}; }},
      {"silu", "x", [](const List &in) { return List{at::silu(in[0])}; }},
      {"silu_grad", "xx", [](const List &in) { return List{at::silu_backward(in[0], in[1])}; }},
      {"gelu_tanh", "x", [](const List &in) { return List{at::gelu(in[0], "tanh")}; }},
      {"gelu_tanh_grad", "xx", [](const List &in) { return List{at::gelu_backward(in[0], in[1], "tanh")}; }},
      {"quick_gelu", "x", [](const List &in) { return List{in[0] * at::sigmoid(1.702 * in[0])}; }},
      {"quick_gelu_grad", "xx",
       [](const List &in) {
         const at::Tensor s = at::sigmoid(1.702 * in[1]);
         return List{in[0] * (s + 1.702 * in[1] * s * (1 - s))};
       }},
      {"softplus", "x", [](const List &in) { return List{at::softplus(in[0], /*beta=*/1, /*threshold=*/40)}; }},
      {"swiglu", "xx", [](const List &in) { return List{at::silu(in[0]) * in[1]}; }},
      {"swiglu_grad", "xxx",
       [](const List &in) { return List{at::silu_backward(in[0] * in[2], in[1]), in[0] * at::silu(in[1])}; }},
  };
  return cases;
}

} // namespace morph

#endif // MORPH_TEST_KERNELS_ELEMENTWISECASES_H
