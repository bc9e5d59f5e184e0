// SPDX-License-Identifier: Apache-2.0
#include "runtime/plan/Scratch.h"

#include "runtime/plan/OpTable.h"
#include "runtime/plan/Workspace.h"

#include <algorithm>

namespace morph::plan {

namespace {

class ScratchModel {
public:
  ScratchModel(const Plan &plan, const Instruction &instruction, const std::vector<std::vector<int64_t>> &shapes,
               const RunMode &mode)
      : plan(plan), instruction(instruction), rule(*findOpRule(instruction.op)), shapes(shapes), mode(mode) {}

  int64_t bytes() const {
    if (instruction.op == "launch")
      return launch();
    if (instruction.op == "attention" || instruction.op == "attention_grad")
      return attention(instruction.op == "attention_grad");
    if (instruction.op == "linear_attention" || instruction.op == "linear_attention_grad")
      return linearAttention(instruction.op == "linear_attention_grad");
    if (instruction.op == "rope")
      return mode.threads * ropeWorkspace(frequencies(), sumBytes());
    if (instruction.op == "short_conv") // The taps as rows.
      return alignedBytes(elements(shape("weight")) * sumBytes());
    if (instruction.op == "short_conv_grad") // These, and their gradients.
      return alignedBytes(2 * elements(shape("weight")) * sumBytes());
    return 0;
  }

private:
  const Plan &plan;
  const Instruction &instruction;
  const OpRule &rule;
  const std::vector<std::vector<int64_t>> &shapes;
  const RunMode &mode;

  int64_t sumBytes() const { return mode.wide ? 8 : 4; }

  static int64_t elements(const std::vector<int64_t> &shape) {
    int64_t count = 1; // resolveShapes has limited it.
    for (int64_t size : shape)
      count *= size;
    return count;
  }

  /// Sizes of hostile plans: what no machine has is not worked out.
  static constexpr int64_t kHuge = int64_t(1) << 61;
  static bool isHuge(std::initializer_list<int64_t> sizes) {
    double most = 64;
    for (int64_t size : sizes)
      most *= static_cast<double>(std::max<int64_t>(size, 1));
    return most > 0x1p60;
  }

  size_t indexOf(const char *name) const {
    return static_cast<size_t>(instruction.operands[static_cast<size_t>(operandPosition(instruction, rule, name))]);
  }
  const TensorType &value(const char *name) const { return plan.values[indexOf(name)]; }
  const std::vector<int64_t> &shape(const char *name) const { return shapes[indexOf(name)]; }

  int64_t frequencies() const {
    const auto table = plan.ropeTables.find(std::get<std::string>(instruction.attributes.at("table")));
    return static_cast<int64_t>(table->second.inverseFrequencies.size());
  }

  int64_t launch() const {
    const Kernel &kernel = *findKernel(plan, instruction);
    int64_t rows = 1, bytes = 0;
    for (size_t i = 0; i < instruction.operands.size(); ++i)
      if (hasRows(kernel.values[i])) {
        const std::vector<int64_t> &shape = shapes[static_cast<size_t>(instruction.operands[i])];
        rows = elements({shape.begin(), shape.begin() + kernel.rows});
        break;
      }
    for (size_t r = 0; r < kernel.results.size(); ++r) {
      if (hasRows(kernel.values[static_cast<size_t>(kernel.results[r])]))
        continue;
      const int64_t count = elements(shapes[static_cast<size_t>(instruction.results[r])]);
      if (isHuge({rows, count}))
        return kHuge;
      bytes += rowSumWorkspace(rows, count);
    }
    return bytes;
  }

  int64_t linearAttention(bool gradient) const {
    const std::vector<int64_t> &q = shape("q"), &v = shape("v");
    const int64_t chunk = std::min(std::get<int64_t>(instruction.attributes.at("chunk")), q[1]);
    if (isHuge({q[0], q[1], q[2], q[3] + v[3], 2 * chunk}) || isHuge({q[0], q[1], q[2], q[3], v[3]}))
      return kHuge;
    const LinearAttentionSizes sizes{q[0], q[1], q[2], q[3], v[3], std::max<int64_t>(1, chunk)};
    const int threads = static_cast<int>(mode.threads);
    // bf16 operands are widened whole.
    const bool half = !mode.wide && value("q").dtype == DType::BF16;
    const int64_t copies =
        half ? 2 * alignedBytes(4 * elements(q)) + (gradient ? 2 : 1) * alignedBytes(4 * elements(v)) : 0;
    return copies + (gradient ? linearAttentionGradWorkspace(sizes, threads, sumBytes())
                              : linearAttentionWorkspace(sizes, threads, sumBytes()));
  }

  /// bf16 operands are factors as they are, or widened: the forward's a block at a time, the backward's whole.
  int64_t attention(bool gradient) const {
    const std::vector<int64_t> &q = shape("q"), &k = shape("k");
    const AttentionSizes sizes{q[0], q[1], k[1], q[2], k[2], q[3]};
    if (isHuge({q[0], q[1], q[2], q[3] + 3, k[1]}))
      return kHuge;
    const int threads = static_cast<int>(mode.threads);
    const bool half = !mode.wide && value("q").dtype == DType::BF16;
    if (!gradient) {
      const int64_t wide = attentionWorkspace(sizes, threads, sumBytes(), sumBytes(), half);
      return half ? std::max(wide, attentionWorkspace(sizes, threads, 2, sumBytes())) : wide;
    }
    const int64_t wide = attentionGradWorkspace(sizes, threads, sumBytes(), sumBytes());
    if (!half)
      return wide;
    const int64_t copies = 2 * alignedBytes(4 * elements(q)) + 2 * alignedBytes(4 * elements(k));
    return std::max(copies + wide, attentionGradWorkspace(sizes, threads, 2, sumBytes()));
  }
};

} // namespace

int64_t scratchBytes(const Plan &plan, const Instruction &instruction, const std::vector<std::vector<int64_t>> &shapes,
                     const RunMode &mode) {
  return ScratchModel(plan, instruction, shapes, mode).bytes();
}

} // namespace morph::plan
