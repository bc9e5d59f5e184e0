// SPDX-License-Identifier: Apache-2.0
#include "tools/morph/DeviceMeasure.h"

#include "runtime/device/CudaDevice.h"
#include "runtime/plan/DeviceTargets.h"

#include <algorithm>
#include <vector>

using namespace morph;

namespace {

/// Work that takes less says more of its start than of the device's speed.
constexpr double kLongEnough = 2e-3;

/// Memory of a device while this lives.
class Allocation {
public:
  static StatusOr<Allocation> make(CudaDevice &device, int64_t bytes) {
    MORPH_ASSIGN_OR_RETURN(void *memory, device.allocate(bytes, "measurements"));
    return Allocation(device, memory);
  }
  Allocation(Allocation &&other) noexcept : device_(other.device_), memory_(std::exchange(other.memory_, nullptr)) {}
  ~Allocation() { device_.release(memory_); }
  void *get() const { return memory_; }

private:
  Allocation(CudaDevice &device, void *memory) : device_(device), memory_(memory) {}
  CudaDevice &device_;
  void *memory_;
};

/// The median of some runs after a first one.
StatusOr<double> medianSeconds(CudaDevice &device, const std::function<Status()> &work) {
  MORPH_RETURN_IF_ERROR(work());
  std::vector<double> samples;
  for (int i = 0; i < 5; ++i) {
    MORPH_ASSIGN_OR_RETURN(const double seconds, device.secondsOf(work));
    samples.push_back(seconds);
  }
  std::nth_element(samples.begin(), samples.begin() + 2, samples.end());
  return samples[2];
}

/// Bytes a second that a copy reads and writes.
StatusOr<double> copySpeed(CudaDevice &device) {
  for (int64_t bytes = int64_t(16) << 20;; bytes *= 2) {
    MORPH_ASSIGN_OR_RETURN(const Allocation from, Allocation::make(device, bytes));
    MORPH_ASSIGN_OR_RETURN(const Allocation to, Allocation::make(device, bytes));
    MORPH_RETURN_IF_ERROR(device.fill(from.get(), 0, bytes));
    MORPH_ASSIGN_OR_RETURN(const double seconds,
                           medianSeconds(device, [&] { return device.copy(to.get(), from.get(), bytes); }));
    if (seconds >= kLongEnough || bytes >= int64_t(4) << 30)
      return 2 * static_cast<double>(bytes) / seconds;
  }
}

/// FLOP/s of square products.
StatusOr<double> productSpeed(CudaDevice &device, CudaType type) {
  const int64_t element = type == CudaType::F32 ? 4 : 2;
  for (int64_t n = 256;; n *= 2) {
    const int64_t bytes = n * n * element;
    MORPH_ASSIGN_OR_RETURN(const Allocation a, Allocation::make(device, bytes));
    MORPH_ASSIGN_OR_RETURN(const Allocation b, Allocation::make(device, bytes));
    MORPH_ASSIGN_OR_RETURN(const Allocation c, Allocation::make(device, bytes));
    // The same bits in all elements: .00394 as fp32 and as bf16. Zeros would take less power, and so more speed.
    for (const Allocation *factor : {&a, &b})
      MORPH_RETURN_IF_ERROR(device.fillWords(factor->get(), 0x3b813b81, bytes / 4));
    CudaProduct product;
    product.m = product.n = product.k = n;
    product.transposeB = true; // As weights lie.
    product.factors = product.result = type;
    MORPH_ASSIGN_OR_RETURN(const double seconds, medianSeconds(device, [&] {
                             return device.product(product, a.get(), b.get(), nullptr, c.get(), "measurement");
                           }));
    if (seconds >= kLongEnough || n >= 16384)
      return 2 * static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n) / seconds;
  }
}

} // namespace

StatusOr<plan::DeviceModel> morph::measureDevice() {
  MORPH_ASSIGN_OR_RETURN(const std::shared_ptr<CudaDevice> device, CudaDevice::open(0));
  plan::DeviceModel model;
  model.name = device->properties().name;
  const CudaProperties &properties = device->properties();
  const plan::DeviceTarget *target = plan::targetFor(10 * properties.major + properties.minor);
  if (!target)
    return Status::invalid("no CUDA device: " + properties.name + " is too old for code of ours");
  model.target = target->name;
  MORPH_ASSIGN_OR_RETURN(const int64_t memory, device->freeBytes());
  model.memoryBytes = static_cast<double>(memory);
  MORPH_ASSIGN_OR_RETURN(const double copied, copySpeed(*device));
  model.rowBytes = copied * plan::DeviceShares::kRows;
  MORPH_ASSIGN_OR_RETURN(model.halfProducts, productSpeed(*device, CudaType::BF16));
  MORPH_ASSIGN_OR_RETURN(model.floatProducts, productSpeed(*device, CudaType::F32));
  return model;
}
