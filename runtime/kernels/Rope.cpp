// SPDX-License-Identifier: Apache-2.0
// Rotary position embedding. Legend: B batch, T positions, H heads, D head dimension, F frequencies.

#include "runtime/kernels/Kernel.h"
#include "runtime/kernels/RowLoops.h"
#include "runtime/kernels/Rows.h"

#include <cmath>
#include <list>
#include <mutex>

namespace morph {

namespace {

/// Cosines and sines [T,F] of the positions `offset` and following, times the attention factor.
struct Angles {
  plan::RopeTable table;
  int64_t offset = 0, length = 0;
  bool inverse = false; ///< Sines are negative.
  at::ScalarType dtype = at::kFloat;
  at::Tensor cosine_TF, sine_TF;
};

/// The angles of the last calls are kept: every layer asks for the same ones. Angles are computed in double.
Angles anglesOf(const plan::RopeTable &table, int64_t offset, int64_t length, bool inverse, at::ScalarType dtype) {
  static std::mutex mutex;
  static std::list<Angles> recent;
  constexpr size_t capacity = 4; // Those of the gradients beside them.
  std::lock_guard<std::mutex> lock(mutex);
  for (auto angles = recent.begin(); angles != recent.end(); ++angles)
    if (angles->offset == offset && angles->length == length && angles->inverse == inverse && angles->dtype == dtype &&
        angles->table.attentionFactor == table.attentionFactor &&
        angles->table.inverseFrequencies == table.inverseFrequencies) {
      recent.splice(recent.begin(), recent, angles);
      return recent.front();
    }
  const int64_t frequencies = static_cast<int64_t>(table.inverseFrequencies.size());
  const at::TensorOptions options = at::TensorOptions(dtype).requires_grad(false);
  Angles angles{table,
                offset,
                length,
                inverse,
                dtype,
                at::empty({length, frequencies}, options),
                at::empty({length, frequencies}, options)};
  withType(angles.cosine_TF, [&](auto *type) {
    using T = std::remove_pointer_t<decltype(type)>;
    T *cosine = angles.cosine_TF.template mutable_data_ptr<T>(), *sine = angles.sine_TF.template mutable_data_ptr<T>();
    for (int64_t t = 0; t < length; ++t)
      for (double frequency : table.inverseFrequencies) {
        const double angle = static_cast<double>(offset + t) * frequency;
        *cosine++ = static_cast<T>(std::cos(angle) * table.attentionFactor);
        *sine++ = static_cast<T>((inverse ? -1 : 1) * std::sin(angle) * table.attentionFactor);
      }
  });
  recent.push_front(std::move(angles));
  if (recent.size() > capacity)
    recent.pop_back();
  return recent.front();
}

/// The angles of a call; sines negative where it rotates back.
Angles anglesOf(const KernelCall &call) {
  const at::Tensor &x = call.operands[0];
  const int64_t offset = call.operands[1].defined() ? call.operands[1].item<int64_t>() : 0;
  Angles angles =
      anglesOf(call.plan.ropeTables.at(call.text("table")), offset, x.size(1), call.flag("inverse"), x.scalar_type());
  TORCH_CHECK(2 * angles.cosine_TF.size(1) <= x.size(3), "x ", x.sizes(), " for ", angles.cosine_TF.size(1),
              " frequencies");
  return angles;
}

std::vector<at::Tensor> ropeReference(const KernelCall &call) {
  const at::Tensor &x = call.operands[0];
  const Angles angles = anglesOf(call);
  const at::Tensor cosine = angles.cosine_TF.unsqueeze(1), sine = angles.sine_TF.unsqueeze(1);
  const int64_t half = cosine.size(2), width = x.size(3);
  at::Tensor low = x.narrow(-1, 0, half), high = x.narrow(-1, half, half);
  return {
      at::cat({low * cosine - high * sine, high * cosine + low * sine, x.narrow(-1, 2 * half, width - 2 * half)}, -1)};
}

void rope(const KernelCall &call) {
  const at::Tensor &x = call.operands[0];
  const int64_t length = x.size(1), heads = x.size(2), width = x.size(3);
  const Angles angles = anglesOf(call);
  const int64_t half = angles.cosine_TF.size(1);
  withType(x, [&](auto *type) {
    using T = std::remove_pointer_t<decltype(type)>;
    const T *px = x.const_data_ptr<T>();
    const T *pc = angles.cosine_TF.template const_data_ptr<T>(), *ps = angles.sine_TF.template const_data_ptr<T>();
    T *py = call.results[0].mutable_data_ptr<T>();
    forRows(x.size(0) * length, heads * width, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row)
        ropeRows(px + row * heads * width, pc + row % length * half, ps + row % length * half, py + row * heads * width,
                 heads, width, half);
    });
  });
}

const KernelRegistration ropeRegistration("rope", {rope, ropeReference});

} // namespace

} // namespace morph
