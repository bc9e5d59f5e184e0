// SPDX-License-Identifier: Apache-2.0
// Times the token-mixing kernels, forward and backward, and prints one JSON object a line with the median in
// milliseconds. Not a test: figures depend on the machine; compare them in one run.
//
// Usage: linear-attention-bench [batch [length [heads [width [chunk [repeats]]]]]]

#include "test/kernels/CallOp.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>

namespace {

using morph::callOp;
using Attributes = std::map<std::string, morph::plan::Attribute>;

struct Options {
  int64_t batch = 1, length = 1024, heads = 9, width = 64, chunk = 64, repeats = 20;
};

template <typename F> double medianMilliseconds(int64_t repeats, F &&run) {
  std::vector<double> times;
  run();
  for (int64_t i = 0; i < repeats; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    run();
    times.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count());
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

void report(const Options &o, const std::string &name, double forward, double backward) {
  std::printf("{\"kernel\": \"%s\", \"batch\": %ld, \"length\": %ld, \"heads\": %ld, \"width\": %ld, \"chunk\": %ld, "
              "\"threads\": %d, \"forward_ms\": %.3f, \"backward_ms\": %.3f}\n",
              name.c_str(), o.batch, o.length, o.heads, o.width, o.chunk, at::get_num_threads(), forward, backward);
}

void benchLinear(const Options &o, const std::string &kind) {
  const std::vector<int64_t> shape = {o.batch, o.length, o.heads, o.width};
  const at::Tensor q = at::randn(shape), k = at::randn(shape), v = at::randn(shape), dy = at::randn(shape);
  std::vector<at::Tensor> operands = {q / q.norm(2, -1, true), k / k.norm(2, -1, true), v};
  if (kind == "fixed_decay") {
    operands.push_back(-at::pow(2, -8 * at::arange(1, o.heads + 1, at::kFloat) / static_cast<double>(o.heads)));
  } else {
    const std::vector<int64_t> gates = {o.batch, o.length, o.heads};
    operands.push_back(-at::rand(gates) * 0.2);
    operands.push_back(at::rand(gates));
  }
  operands.push_back({});
  const Attributes attributes = {{"kind", kind}, {"scale", 0.125}, {"chunk", o.chunk}};
  std::vector<at::Tensor> gradOperands = operands;
  gradOperands.insert(gradOperands.begin(), dy);
  report(o, kind, medianMilliseconds(o.repeats, [&] { callOp("linear_attention", operands, attributes); }),
         medianMilliseconds(o.repeats, [&] { callOp("linear_attention_grad", gradOperands, attributes); }));
}

void benchAttention(const Options &o, const std::string &name, morph::Precision precision, int64_t window) {
  const std::vector<int64_t> shape = {o.batch, o.length, o.heads, o.width};
  std::vector<int64_t> kvShape = shape;
  if (o.heads % 3 == 0)
    kvShape[2] = o.heads / 3;
  const std::vector<at::Tensor> operands = {at::randn(shape), at::randn(kvShape), at::randn(kvShape), {}};
  std::vector<at::Tensor> gradOperands = operands;
  gradOperands.insert(gradOperands.begin(), at::randn(shape));
  Attributes attributes = {{"scale", 0.125}};
  if (window > 0)
    attributes["window"] = window;
  report(o, name, medianMilliseconds(o.repeats, [&] { callOp("attention", operands, attributes, precision); }),
         medianMilliseconds(o.repeats, [&] { callOp("attention_grad", gradOperands, attributes, precision); }));
}

void benchShortConv(const Options &o) {
  const std::vector<int64_t> shape = {o.batch, o.length, o.heads * o.width};
  const at::Tensor x = at::randn(shape), dy = at::randn(shape), weight = at::randn({o.heads * o.width, 1, 4});
  report(o, "short_conv", medianMilliseconds(o.repeats, [&] { callOp("short_conv", {x, weight, {}}, {}); }),
         medianMilliseconds(o.repeats, [&] { callOp("short_conv_grad", {dy, x, weight, {}}, {}); }));
}

} // namespace

int main(int argc, char **argv) {
  c10::InferenceMode inference;
  Options o;
  int64_t *const fields[] = {&o.batch, &o.length, &o.heads, &o.width, &o.chunk, &o.repeats};
  for (int i = 1; i < argc && i <= 6; ++i) {
    *fields[i - 1] = std::atoll(argv[i]);
    if (*fields[i - 1] <= 0) {
      std::fprintf(stderr, "linear-attention-bench: error: expected a positive number, got '%s'\n", argv[i]);
      return 2;
    }
  }
  benchLinear(o, "gated_delta_rule");
  benchLinear(o, "fixed_decay");
  benchAttention(o, "attention_fp32", morph::Precision::F32, 0);
  benchAttention(o, "attention_bf16", morph::Precision::BF16, 0);
  benchAttention(o, "attention_window_bf16", morph::Precision::BF16, 128);
  benchShortConv(o);
  return 0;
}
