// SPDX-License-Identifier: Apache-2.0
#include "runtime/plan/Scratch.h"

#include <algorithm>

namespace morph::plan {

namespace {

int64_t elements(const std::vector<int64_t> &shape) {
  int64_t count = 1; // resolveShapes has limited it.
  for (int64_t size : shape)
    count *= size;
  return count;
}

/// Sizes of hostile plans: what no machine has is not worked out.
constexpr int64_t kHuge = int64_t(1) << 61;
bool isHuge(std::initializer_list<int64_t> sizes) {
  double most = 64;
  for (int64_t size : sizes)
    most *= static_cast<double>(std::max<int64_t>(size, 1));
  return most > 0x1p60;
}

AttentionSizes attentionSizes(const ScratchSizes &d) { return {d('B'), d('T'), d('S'), d('H'), d('G'), d('D')}; }
bool isHuge(const AttentionSizes &s) { return isHuge({s.batch, s.queries, s.heads, s.width + 3, s.keys}); }

LinearAttentionSizes linearAttentionSizes(const ScratchSizes &d) {
  const bool normalised = d.has("normaliser");
  const StateUpdate update = d.has("beta") ? StateUpdate::Delta : d.has("write") ? StateUpdate::Free : StateUpdate::Add;
  const int64_t chunk = std::max<int64_t>(1, std::min(d.integer("chunk"), d('T')));
  return {d('B'),
          d('T'),
          d('H'),
          d('G'),
          d('K'),
          d('V') + normalised,
          chunk,
          update,
          d.has("channel_decay"),
          normalised,
          d.has("states") || d.has("keep_states")};
}
bool isHuge(const LinearAttentionSizes &s) {
  return isHuge({s.batch, s.length, s.heads, s.width + s.valueWidth, 4 * s.chunk}) ||
         isHuge({s.batch, s.length, s.heads, s.width, s.valueWidth});
}

/// bf16 operands of linear attention are widened whole: q, k, and as many as `values` of the shape of v.
int64_t widenedBytes(const ScratchSizes &d, const LinearAttentionSizes &s, int64_t values) {
  const int64_t positions = s.batch * s.length;
  return d.isHalf("q") ? 2 * alignedBytes(4 * positions * s.groups * s.width) +
                             values * alignedBytes(4 * positions * s.heads * d('V'))
                       : 0;
}

/// The sizes of one document of a window, which is all that its kernel is called with (runtime/kernels/Documents.h).
AttentionSizes ofDocument(AttentionSizes s, int64_t length) {
  s.batch = 1;
  s.queries = s.keys = length;
  return s;
}
LinearAttentionSizes ofDocument(LinearAttentionSizes s, int64_t length) {
  s.batch = 1;
  s.length = length;
  s.chunk = std::max<int64_t>(1, std::min(s.chunk, length));
  return s;
}

/// The most that `bytesOf` says of the sizes that a kernel may be called with: `whole`, and where the instruction has
/// `begins`, any document. Which tasks threads take depends on the sizes, so that one sequence, or a short one, may
/// take more than many. Of one sequence the bytes grow with its length, but where it is longer than one of `lengths`,
/// from where on other tasks are taken.
template <typename Sizes, typename Bytes>
int64_t mostOf(const ScratchSizes &d, const Sizes &whole, std::initializer_list<int64_t> lengths,
               const Bytes &bytesOf) {
  if (isHuge(whole))
    return kHuge;
  int64_t most = bytesOf(whole);
  if (!d.has("begins"))
    return most;
  const int64_t longest = d('T');
  for (int64_t length : lengths)
    most = std::max(most, bytesOf(ofDocument(whole, std::min(length, longest))));
  return std::max(most, bytesOf(ofDocument(whole, longest)));
}

// bf16 operands of attention are factors as they are, or widened: the forward's a block at a time, the backward's
// whole.

int64_t attentionBytes(const ScratchSizes &d, const AttentionSizes &sizes) {
  const int threads = static_cast<int>(d.threads());
  const bool half = d.isHalf("q");
  const int64_t wide = attentionWorkspace(sizes, threads, d.sumBytes(), d.sumBytes(), half);
  return half ? std::max(wide, attentionWorkspace(sizes, threads, 2, d.sumBytes())) : wide;
}

int64_t attentionGradBytes(const ScratchSizes &d, const AttentionSizes &sizes) {
  const int threads = static_cast<int>(d.threads());
  int64_t bytes = attentionGradWorkspace(sizes, threads, d.sumBytes(), d.sumBytes());
  if (d.isHalf("q")) {
    const int64_t queries = sizes.batch * sizes.queries * sizes.heads * sizes.width,
                  keys = sizes.batch * sizes.keys * sizes.groups * sizes.width;
    const int64_t copies = 2 * alignedBytes(4 * queries) + 2 * alignedBytes(4 * keys);
    bytes = std::max(copies + bytes, attentionGradWorkspace(sizes, threads, 2, d.sumBytes()));
  }
  if (d.has("lse"))
    return bytes;
  // What the forward leaves is found first, in its scratch.
  return alignedBytes(sizes.batch * sizes.heads * sizes.queries * d.sumBytes()) +
         std::max(bytes, attentionBytes(d, sizes));
}

} // namespace

bool ScratchSizes::isHalf(const std::string &operand) const {
  const size_t value = static_cast<size_t>(operandValue(instruction, rule, operand));
  return !mode.wide && plan.values[value].dtype == DType::BF16;
}

int64_t ScratchSizes::frequencies() const {
  const auto constraint = std::find_if(rule.rules.begin(), rule.rules.end(),
                                       [](const ShapeRule &each) { return each.kind == RuleKind::Table; });
  const auto table = plan.ropeTables.find(std::get<std::string>(instruction.attributes.at(constraint->first)));
  return static_cast<int64_t>(table->second.inverseFrequencies.size());
}

int64_t attentionScratch(const ScratchSizes &d) {
  // A single query is decoded.
  return mostOf(d, attentionSizes(d), {1}, [&](const AttentionSizes &sizes) { return attentionBytes(d, sizes); });
}

int64_t attentionDistanceScratch(const ScratchSizes &d) {
  const AttentionSizes sizes = {d('B'), d('T'), d('T'), d('H'), d('G'), d('D')};
  return isHuge(sizes) ? kHuge : attentionDistanceWorkspace(sizes, static_cast<int>(d.threads()), d.sumBytes());
}

int64_t attentionGradScratch(const ScratchSizes &d) {
  const AttentionSizes whole = attentionSizes(d);
  // A single query is decoded once more; of several blocks of queries heads may be tasks, whose sums may be too many.
  return mostOf(d, whole, {1, kQueryBlock, mostHeadSumKeys(ofDocument(whole, 1), d.sumBytes())},
                [&](const AttentionSizes &sizes) { return attentionGradBytes(d, sizes); });
}

int64_t linearAttentionScratch(const ScratchSizes &d) {
  const LinearAttentionSizes whole = linearAttentionSizes(d);
  // Several chunks are tasks.
  return mostOf(d, whole, {whole.chunk}, [&](const LinearAttentionSizes &sizes) {
    return widenedBytes(d, sizes, /*values=*/1) +
           linearAttentionWorkspace(sizes, static_cast<int>(d.threads()), d.sumBytes());
  });
}

int64_t linearAttentionGradScratch(const ScratchSizes &d) {
  const LinearAttentionSizes whole = linearAttentionSizes(d);
  return mostOf(d, whole, {whole.chunk}, [&](const LinearAttentionSizes &sizes) {
    return widenedBytes(d, sizes, /*values=*/2) +
           linearAttentionGradWorkspace(sizes, static_cast<int>(d.threads()), d.sumBytes());
  });
}

/// Bytes of a block of rows of an expert: their numbers, arrays of so many columns each of factors and of sums, and
/// `matrices` sums as large as gate_up of an expert.
static int64_t expertBytes(const ScratchSizes &d, std::initializer_list<int64_t> factors,
                           std::initializer_list<int64_t> sums, int64_t matrices) {
  const int64_t width = d('C'), inner = d('F');
  if (isHuge({d('E'), width + 1, inner + 1, 2 * kExpertRows}) || isHuge({d.rows(), width + 1}))
    return kHuge;
  const int64_t block = std::min(d.rows(), kExpertRows);
  const int64_t factorBytes = d.isHalf("x") ? 2 : d.sumBytes();
  int64_t bytes = alignedBytes(block * static_cast<int64_t>(sizeof(int64_t)));
  for (int64_t columns : factors)
    bytes += alignedBytes(block * columns * factorBytes);
  for (int64_t columns : sums)
    bytes += alignedBytes(block * columns * d.sumBytes());
  return bytes + alignedBytes(matrices * 2 * inner * width * d.sumBytes());
}

int64_t expertsScratch(const ScratchSizes &d) { return expertBytes(d, {d('C'), d('F')}, {2 * d('F'), d('C')}, 0); }

int64_t expertsInputGradScratch(const ScratchSizes &d) {
  return expertBytes(d, {d('C'), 2 * d('F')}, {2 * d('F'), d('F'), d('C')}, 0);
}

int64_t expertsWeightGradScratch(const ScratchSizes &d) {
  return expertBytes(d, {d('C'), d('C'), d('F'), 2 * d('F')}, {2 * d('F'), d('F')}, 1);
}

int64_t launchScratch(const ScratchSizes &d) {
  const Kernel &kernel = *findKernel(d.plan, d.instruction);
  int64_t rows = 1, bytes = 0;
  for (size_t i = 0; i < d.instruction.operands.size(); ++i)
    if (hasRows(kernel.values[i])) {
      const std::vector<int64_t> &shape = d.shapes[static_cast<size_t>(d.instruction.operands[i])];
      rows = elements({shape.begin(), shape.begin() + kernel.rows});
      break;
    }
  for (size_t r = 0; r < kernel.results.size(); ++r) {
    if (hasRows(kernel.values[static_cast<size_t>(kernel.results[r])]))
      continue;
    const int64_t count = elements(d.shapes[static_cast<size_t>(d.instruction.results[r])]);
    if (isHuge({rows, count}))
      return kHuge;
    bytes += rowSumWorkspace(rows, count);
  }
  return bytes;
}

std::map<std::string, int64_t> sizesByName(const Plan &plan, const std::vector<std::vector<int64_t>> &shapes) {
  std::map<std::string, int64_t> sizes;
  for (size_t value = 0; value < plan.values.size(); ++value)
    for (size_t d = 0; d < plan.values[value].shape.size(); ++d)
      if (const auto *name = std::get_if<std::string>(&plan.values[value].shape[d]))
        sizes.emplace(*name, shapes[value][d]);
  return sizes;
}

int64_t scratchBytes(const Plan &plan, const Instruction &instruction, const std::vector<std::vector<int64_t>> &shapes,
                     const RunMode &mode) {
  const ScratchSizes sizes(plan, instruction, shapes, mode);
  return sizes.rule.scratch ? sizes.rule.scratch(sizes) : 0;
}

} // namespace morph::plan
