// SPDX-License-Identifier: Apache-2.0
// Rotary position embedding. Legend: B batch, T positions, H heads, D head dimension, F frequencies.
//
// Angles are computed in double, a block of positions after the other: the first of a block by sine and cosine, the
// next ones each by a rotation from the one before. Nothing is kept between calls, which takes about half as long again
// as the rotation of x (a thousandth of a step of training).

#include "runtime/kernels/Kernel.h"
#include "runtime/kernels/Parallel.h"
#include "runtime/kernels/RowLoops.h"
#include "runtime/kernels/Rows.h"
#include "runtime/kernels/ScratchAllocator.h"

#include <ATen/Parallel.h>

#include <cmath>

namespace morph {

namespace {

/// Positions of a task. A rotation in double loses a bit in some of them: none of fp32's.
constexpr int64_t kPositions = 64;
/// Elements that one thread has rotated before another one is awake.
constexpr int64_t kElementsAlone = int64_t(1) << 15;

const plan::RopeTable &tableOf(const KernelCall &call) {
  const plan::RopeTable &table = call.plan.ropeTables.at(call.text("table"));
  TORCH_CHECK(2 * static_cast<int64_t>(table.inverseFrequencies.size()) <= call.operands[0].size(3), "x ",
              call.operands[0].sizes(), " for ", table.inverseFrequencies.size(), " frequencies");
  return table;
}

/// [B], or null where all sequences begin at position 0.
const int64_t *offsetsOf(const KernelCall &call) {
  return call.operands[1].defined() ? call.operands[1].const_data_ptr<int64_t>() : nullptr;
}

std::vector<at::Tensor> ropeReference(const KernelCall &call) {
  const at::Tensor &x = call.operands[0];
  const plan::RopeTable &table = tableOf(call);
  at::Tensor position_BT = at::arange(x.size(1), at::kDouble).unsqueeze(0);
  if (call.operands[1].defined())
    position_BT = call.operands[1].unsqueeze(1) + position_BT;
  const at::Tensor angle_BTF = position_BT.unsqueeze(2) * at::tensor(table.inverseFrequencies, at::kDouble);
  const double factor = table.attentionFactor;
  const at::Tensor cosine = (angle_BTF.cos() * factor).to(x.scalar_type()).unsqueeze(2);
  const at::Tensor sine =
      (angle_BTF.sin() * (call.flag("inverse") ? -factor : factor)).to(x.scalar_type()).unsqueeze(2);
  const int64_t half = cosine.size(3), width = x.size(3);
  at::Tensor low = x.narrow(-1, 0, half), high = x.narrow(-1, half, half);
  return {
      at::cat({low * cosine - high * sine, high * cosine + low * sine, x.narrow(-1, 2 * half, width - 2 * half)}, -1)};
}

/// The angles of one position after the other, in the scratch of a thread (plan::ropeWorkspace).
template <typename T> class Angles {
public:
  Angles(ScratchAllocator scratch, const plan::RopeTable &table, bool inverse)
      : count_(static_cast<int64_t>(table.inverseFrequencies.size())), frequencies_(table.inverseFrequencies.data()),
        factor_(table.attentionFactor), sign_(inverse ? -1 : 1), cosine_(scratch.take<double>(count_)),
        sine_(scratch.take<double>(count_)), stepCosine_(scratch.take<double>(count_)),
        stepSine_(scratch.take<double>(count_)), roundedCosine_(scratch.take<T>(count_)),
        roundedSine_(scratch.take<T>(count_)) {
    for (int64_t f = 0; f < count_; ++f) {
      stepCosine_[f] = std::cos(frequencies_[f]);
      stepSine_[f] = sign_ * std::sin(frequencies_[f]);
    }
  }

  void start(int64_t position) {
    for (int64_t f = 0; f < count_; ++f) {
      const double angle = static_cast<double>(position) * frequencies_[f];
      cosine_[f] = std::cos(angle);
      sine_[f] = sign_ * std::sin(angle);
    }
    round();
  }

  void next() {
    for (int64_t f = 0; f < count_; ++f) {
      const double x = cosine_[f], y = sine_[f];
      cosine_[f] = x * stepCosine_[f] - y * stepSine_[f];
      sine_[f] = y * stepCosine_[f] + x * stepSine_[f];
    }
    round();
  }

  /// [F] of the position, times the attention factor; sines are negative where it rotates back.
  const T *cosine() const { return roundedCosine_; }
  const T *sine() const { return roundedSine_; }

private:
  void round() {
    for (int64_t f = 0; f < count_; ++f) {
      roundedCosine_[f] = static_cast<T>(cosine_[f] * factor_);
      roundedSine_[f] = static_cast<T>(sine_[f] * factor_);
    }
  }

  int64_t count_;
  const double *frequencies_;
  double factor_, sign_;
  double *cosine_, *sine_, *stepCosine_, *stepSine_;
  T *roundedCosine_, *roundedSine_;
};

template <typename T> void rotate(const KernelCall &call, const plan::RopeTable &table) {
  const at::Tensor &x = call.operands[0];
  const int64_t length = x.size(1), heads = x.size(2), width = x.size(3), row = heads * width;
  const int64_t *const offset_B = offsetsOf(call);
  const int64_t half = static_cast<int64_t>(table.inverseFrequencies.size());
  const int64_t blocks = plan::blocksOf(length, kPositions), tasks = x.size(0) * blocks;
  const int threads = x.numel() < kElementsAlone ? 1 : at::get_num_threads();
  const int64_t scratchEach = plan::ropeWorkspace(half, sizeof(T));
  ScratchAllocator scratch = call.scratch;
  char *const memory = scratch.take<char>(threads * scratchEach);
  const T *const from = x.const_data_ptr<T>();
  T *const to = call.results[0].mutable_data_ptr<T>();
  parallelTasks(threads, tasks, [&](int64_t task, int thread) {
    Angles<T> angles(ScratchAllocator(memory + thread * scratchEach, scratchEach), table, call.flag("inverse"));
    const int64_t b = task / blocks, first = task % blocks * kPositions, last = std::min(length, first + kPositions);
    for (int64_t t = first; t < last; ++t) {
      if (t == first)
        angles.start((offset_B ? offset_B[b] : 0) + t);
      else
        angles.next();
      const int64_t at = (b * length + t) * row;
      ropeRows(from + at, angles.cosine(), angles.sine(), to + at, heads, width, half);
    }
  });
}

void rope(const KernelCall &call) {
  const plan::RopeTable &table = tableOf(call);
  if (call.operands[0].scalar_type() == at::kDouble)
    rotate<double>(call, table);
  else
    rotate<float>(call, table);
}

const KernelRegistration ropeRegistration("rope", {rope, ropeReference});

} // namespace

} // namespace morph
