// SPDX-License-Identifier: Apache-2.0
#include "runtime/device/TorchDevice.h"

#include "runtime/base/TorchGuard.h"

#include <ATen/EmptyTensor.h>
#include <ATen/InferSize.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/native/CPUFallback.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <array>
#include <atomic>
#include <cstring>
#include <mutex>
#include <utility>

namespace morph {
namespace {

constexpr at::DeviceType kType = at::kPrivateUse1;

//===----------------------------------------------------------------------===//
// Devices
//===----------------------------------------------------------------------===//

constexpr int kMostDevices = 64;

/// The devices by ordinal. They are never closed: tensors may live until the end of the process.
struct Devices {
  std::mutex mutex;
  std::array<std::atomic<CudaDevice *>, kMostDevices> byOrdinal = {};
  std::array<std::shared_ptr<CudaDevice>, kMostDevices> owned;
  std::atomic<int> count{0}; ///< The highest ordinal and one.
};

Devices &devices() {
  static auto *instance = new Devices;
  return *instance;
}

CudaDevice &deviceAt(int ordinal) {
  CudaDevice *device =
      ordinal >= 0 && ordinal < kMostDevices ? devices().byOrdinal[static_cast<size_t>(ordinal)].load() : nullptr;
  TORCH_CHECK(device, "no CUDA device ", ordinal, " was opened");
  return *device;
}

CudaDevice &deviceOf(const at::Tensor &tensor) { return deviceAt(tensor.device().index()); }

/// The index that functions take which are not told any.
thread_local at::DeviceIndex currentIndex = 0;

at::DeviceIndex indexOf(at::Device device) { return device.has_index() ? device.index() : currentIndex; }

struct GuardImpl final : c10::impl::DeviceGuardImplInterface {
  at::DeviceType type() const override { return kType; }
  at::Device exchangeDevice(at::Device device) const override {
    return {kType, std::exchange(currentIndex, indexOf(device))};
  }
  at::Device getDevice() const override { return {kType, currentIndex}; }
  void setDevice(at::Device device) const override { currentIndex = indexOf(device); }
  void uncheckedSetDevice(at::Device device) const noexcept override { currentIndex = indexOf(device); }
  // A device has one stream.
  c10::Stream getStream(at::Device device) const override {
    return c10::Stream(c10::Stream::DEFAULT, at::Device(kType, indexOf(device)));
  }
  c10::Stream getDefaultStream(at::Device device) const override { return getStream(device); }
  c10::Stream exchangeStream(c10::Stream stream) const override { return getStream(stream.device()); }
  at::DeviceIndex deviceCount() const noexcept override { return static_cast<at::DeviceIndex>(devices().count.load()); }
  void synchronizeStream(const c10::Stream &stream) const override {
    throwIfError(deviceAt(indexOf(stream.device())).synchronize());
  }
  void synchronizeDevice(const at::DeviceIndex index) const override { throwIfError(deviceAt(index).synchronize()); }
};

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

struct DeviceAllocator final : at::Allocator {
  /// Memory with the device that it is of.
  struct Block {
    CudaDevice &device;
    void *memory;
  };

  at::DataPtr allocate(size_t bytes) override {
    const at::Device at(kType, currentIndex);
    if (bytes == 0)
      return {nullptr, nullptr, &end, at};
    CudaDevice &device = deviceAt(currentIndex);
    StatusOr<void *> memory = device.allocate(static_cast<int64_t>(bytes), "a tensor");
    throwIfError(memory.status());
    return {*memory, new Block{device, *memory}, &end, at};
  }
  void copy_data(void *to, const void *from, size_t bytes) const override {
    throwIfError(deviceAt(currentIndex).copy(to, from, static_cast<int64_t>(bytes)));
  }
  static void end(void *context) {
    const std::unique_ptr<Block> block(static_cast<Block *>(context));
    if (block)
      block->device.release(block->memory);
  }
};

DeviceAllocator &allocator() {
  static auto *instance = new DeviceAllocator;
  return *instance;
}

/// A storage of `bytes` bytes that begins with what it has.
void resizeStorage(c10::StorageImpl &storage, size_t bytes) {
  const c10::DeviceGuard guard(storage.device());
  at::DataPtr grown = allocator().allocate(bytes);
  if (const size_t kept = std::min(bytes, storage.nbytes()); kept > 0)
    allocator().copy_data(grown.get(), storage.data(), kept);
  storage.set_data_ptr_noswap(std::move(grown));
  storage.set_nbytes(bytes);
}

/// What the parts of LibTorch ask that are not of one tensor.
struct Hooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return deviceCount() > 0; }
  bool hasPrimaryContext(at::DeviceIndex index) const override { return index < deviceCount(); }
  at::DeviceIndex deviceCount() const override { return static_cast<at::DeviceIndex>(devices().count.load()); }
  at::DeviceIndex getCurrentDevice() const override { return currentIndex; }
  void setCurrentDevice(at::DeviceIndex index) const override { currentIndex = index; }
  at::Device getDeviceFromPtr(void *address) const override {
    for (int i = 0; i < devices().count; ++i)
      if (CudaDevice *device = devices().byOrdinal[static_cast<size_t>(i)].load();
          device && (!address || device->owns(address)))
        return {kType, static_cast<at::DeviceIndex>(i)};
    TORCH_CHECK(false, "an address that is in no memory of a CUDA device");
  }
  /// Random numbers are drawn on the CPU.
  const at::Generator &getDefaultGenerator(at::DeviceIndex) const override {
    return at::globalContext().defaultGenerator(at::kCPU);
  }
  at::Generator getNewGenerator(at::DeviceIndex) const override {
    return at::globalContext().defaultGenerator(at::kCPU).clone();
  }
  void resizePrivateUse1Bytes(const c10::Storage &storage, size_t bytes) const override {
    resizeStorage(*storage.unsafeGetStorageImpl(), bytes);
  }
};

//===----------------------------------------------------------------------===//
// Functions of tensors
//===----------------------------------------------------------------------===//

at::Tensor empty(at::IntArrayRef sizes, std::optional<at::ScalarType> type, std::optional<at::Layout> layout,
                 std::optional<at::Device> device, std::optional<bool> pinned, std::optional<at::MemoryFormat> format) {
  TORCH_CHECK(layout.value_or(at::kStrided) == at::kStrided && !pinned.value_or(false),
              "tensors on CUDA devices are strided and not pinned");
  const c10::DeviceGuard guard(at::Device(kType, indexOf(device.value_or(at::Device(kType)))));
  return at::detail::empty_generic(sizes, &allocator(), c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                   type.value_or(at::get_default_dtype_as_scalartype()), format);
}

at::Tensor emptyStrided(at::IntArrayRef sizes, at::IntArrayRef strides, std::optional<at::ScalarType> type,
                        std::optional<at::Layout> layout, std::optional<at::Device> device,
                        std::optional<bool> pinned) {
  TORCH_CHECK(layout.value_or(at::kStrided) == at::kStrided && !pinned.value_or(false),
              "tensors on CUDA devices are strided and not pinned");
  const c10::DeviceGuard guard(at::Device(kType, indexOf(device.value_or(at::Device(kType)))));
  return at::detail::empty_strided_generic(sizes, strides, &allocator(),
                                           c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                           type.value_or(at::get_default_dtype_as_scalartype()));
}

/// Another tensor on the same storage.
at::Tensor viewOf(const at::Tensor &self, at::IntArrayRef sizes, at::IntArrayRef strides, int64_t offset) {
  for (const int64_t stride : strides)
    TORCH_CHECK(stride >= 0, "a view with a negative stride");
  TORCH_CHECK(offset >= 0, "a view with a negative offset");
  const size_t needed =
      at::detail::computeStorageNbytes(sizes, strides, self.dtype().itemsize(), static_cast<size_t>(offset));
  TORCH_CHECK(self.storage() && needed <= self.storage().nbytes(), "a view of ", needed, " bytes on a storage of ",
              self.storage().nbytes());
  at::Tensor view = at::detail::make_tensor<at::TensorImpl>(c10::TensorImpl::VIEW, at::Storage(self.storage()),
                                                            self.key_set(), self.dtype());
  view.unsafeGetTensorImpl()->set_sizes_and_strides(sizes, strides, offset);
  return view;
}

at::Tensor asStrided(const at::Tensor &self, at::IntArrayRef sizes, at::IntArrayRef strides,
                     std::optional<int64_t> offset) {
  return viewOf(self, sizes, strides, offset.value_or(self.storage_offset()));
}

at::Tensor reshapeAlias(const at::Tensor &self, at::IntArrayRef sizes, at::IntArrayRef strides) {
  return viewOf(self, sizes, strides, self.storage_offset());
}

at::Tensor view(const at::Tensor &self, at::IntArrayRef asked) {
  const at::DimVector sizes = at::infer_size_dv(asked, self.numel());
  const auto strides = at::detail::computeStride(self.sizes(), self.strides(), sizes);
  TORCH_CHECK(strides.has_value(), "this view would need a copy: use reshape");
  return viewOf(self, sizes, *strides, self.storage_offset());
}

const at::Tensor &resize(const at::Tensor &self, at::IntArrayRef sizes, std::optional<at::MemoryFormat> format) {
  TORCH_CHECK(format.value_or(at::MemoryFormat::Contiguous) == at::MemoryFormat::Contiguous,
              "tensors on CUDA devices are resized to contiguous ones");
  c10::TensorImpl *tensor = self.unsafeGetTensorImpl();
  const size_t needed = at::detail::computeStorageNbytesContiguous(sizes, self.dtype().itemsize(),
                                                                   static_cast<size_t>(self.storage_offset()));
  if (needed > self.storage().nbytes())
    resizeStorage(*self.storage().unsafeGetStorageImpl(), needed);
  tensor->set_sizes_contiguous(sizes);
  return self;
}

at::Tensor &setStorage(at::Tensor &self, at::Storage source, int64_t offset, at::IntArrayRef sizes,
                       at::IntArrayRef strides) {
  TORCH_CHECK(source.device() == self.device(), "a storage of another device");
  c10::TensorImpl *tensor = self.unsafeGetTensorImpl();
  tensor->set_storage_keep_dtype(std::move(source));
  if (strides.data() == nullptr || (strides.empty() && !sizes.empty())) {
    tensor->set_storage_offset(offset);
    tensor->set_sizes_contiguous(sizes);
  } else {
    tensor->set_sizes_and_strides(sizes, strides, offset);
  }
  const size_t needed = at::detail::computeStorageNbytes(self.sizes(), self.strides(), self.dtype().itemsize(),
                                                         static_cast<size_t>(offset));
  if (self.numel() > 0 && needed > self.storage().nbytes())
    resizeStorage(*self.storage().unsafeGetStorageImpl(), needed);
  return self;
}

at::Tensor &setWhole(at::Tensor &self, at::Storage source) {
  const auto elements = static_cast<int64_t>(source.nbytes() / self.dtype().itemsize());
  return setStorage(self, std::move(source), 0, {elements}, {});
}

at::Tensor &setTensor(at::Tensor &self, const at::Tensor &source) {
  return setStorage(self, source.storage(), source.storage_offset(), source.sizes(), source.strides());
}

at::Tensor &setNothing(at::Tensor &self) {
  return setStorage(self, at::Storage(at::Storage::use_byte_size_t(), 0, allocator().allocate(0), &allocator(), true),
                    0, {0}, {});
}

//===----------------------------------------------------------------------===//
// Copies
//===----------------------------------------------------------------------===//

/// Bytes from a tensor's first element to behind its last, gaps included.
int64_t extentOf(const at::Tensor &tensor) {
  return static_cast<int64_t>(
      at::detail::computeStorageNbytes(tensor.sizes(), tensor.strides(), tensor.dtype().itemsize()));
}

/// A tensor of the device as one of the CPU, with the same sizes and strides.
at::Tensor toHost(const at::Tensor &tensor) {
  TORCH_CHECK(!tensor.is_conj() && !tensor.is_neg(), "conjugated views on CUDA devices are not known");
  if (tensor.numel() == 0)
    return at::empty(tensor.sizes(), tensor.options().device(at::kCPU));
  const int64_t bytes = extentOf(tensor);
  const at::Tensor memory = at::empty({bytes}, at::kByte);
  throwIfError(deviceOf(tensor).copyOut(memory.mutable_data_ptr(), tensor.const_data_ptr(), bytes));
  at::Tensor host = at::empty({0}, tensor.options().device(at::kCPU));
  host.set_(memory.storage(), 0, tensor.sizes(), tensor.strides());
  return host;
}

/// The values of a tensor of the CPU, converted and broadcast, into one of the device.
void fromHost(const at::Tensor &host, const at::Tensor &tensor) {
  if (tensor.numel() == 0)
    return;
  at::Tensor staged;
  if (!tensor.is_non_overlapping_and_dense())
    staged = toHost(tensor).copy_(host); // With what lies in the gaps.
  else if (host.scalar_type() == tensor.scalar_type() && host.sizes() == tensor.sizes() &&
           host.strides() == tensor.strides() && !host.is_conj() && !host.is_neg())
    staged = host;
  else
    staged = at::empty_strided(tensor.sizes(), tensor.strides(), tensor.options().device(at::kCPU)).copy_(host);
  throwIfError(deviceOf(tensor).copyIn(tensor.mutable_data_ptr(), staged.const_data_ptr(), extentOf(tensor)));
}

at::Tensor copyFrom(const at::Tensor &from, const at::Tensor &to, bool) {
  if (from.is_same(to) || to.numel() == 0)
    return to;
  if (from.is_cpu()) {
    fromHost(from, to);
  } else if (to.is_cpu()) {
    at::Tensor(to).copy_(toHost(from));
  } else if (from.device() == to.device() && from.scalar_type() == to.scalar_type() && from.sizes() == to.sizes() &&
             from.strides() == to.strides() && to.is_non_overlapping_and_dense() && from.is_conj() == to.is_conj() &&
             from.is_neg() == to.is_neg()) {
    throwIfError(deviceOf(to).copy(to.mutable_data_ptr(), from.const_data_ptr(), extentOf(to)));
  } else {
    fromHost(toHost(from), to);
  }
  return to;
}

at::Tensor copyFromAndResize(const at::Tensor &from, const at::Tensor &to) {
  if (to.sizes() != from.sizes())
    at::Tensor(to).resize_(from.sizes());
  return copyFrom(from, to, false);
}

at::Scalar itemOf(const at::Tensor &tensor) { return toHost(tensor).item(); }

at::Tensor &fill(at::Tensor &self, const at::Scalar &value) {
  if (self.numel() == 0)
    return self;
  const at::Tensor one = at::full({}, value, self.options().device(at::kCPU));
  const auto *bytes = static_cast<const uint8_t *>(one.const_data_ptr());
  const size_t width = self.dtype().itemsize();
  bool isOneByte = true;
  for (size_t i = 1; i < width; ++i)
    isOneByte &= bytes[i] == bytes[0];
  if (!self.is_non_overlapping_and_dense()) {
    fromHost(one.expand(self.sizes()), self);
    return self;
  }
  CudaDevice &device = deviceOf(self);
  void *memory = self.mutable_data_ptr();
  const int64_t size = self.numel() * static_cast<int64_t>(width);
  uint32_t word = 0;
  if (isOneByte) {
    throwIfError(device.fill(memory, bytes[0], size));
  } else if (width == 4 && reinterpret_cast<uintptr_t>(memory) % 4 == 0) {
    std::memcpy(&word, bytes, 4);
    throwIfError(device.fillWords(memory, word, size / 4));
  } else {
    fromHost(one.expand(self.sizes()), self);
  }
  return self;
}

at::Tensor &zero(at::Tensor &self) { return fill(self, 0); }

void onCpu(const c10::OperatorHandle &function, torch::jit::Stack *stack) { at::native::cpu_fallback(function, stack); }

/// Before the first tensor: LibTorch knows the device type from the start of the program.
const bool registered = [] {
  c10::register_privateuse1_backend("cuda_driver");
  c10::SetAllocator(kType, &allocator());
  at::RegisterPrivateUse1HooksInterface(new Hooks);
  return true;
}();

C10_REGISTER_GUARD_IMPL(PrivateUse1, GuardImpl)

} // namespace

TORCH_LIBRARY_IMPL(aten, PrivateUse1, library) {
  library.impl("empty.memory_format", &empty);
  library.impl("empty_strided", &emptyStrided);
  library.impl("as_strided", &asStrided);
  library.impl("_reshape_alias", &reshapeAlias);
  library.impl("view", &view);
  library.impl("resize_", &resize);
  library.impl("set_.source_Storage", &setWhole);
  library.impl("set_.source_Storage_storage_offset", &setStorage);
  library.impl("set_.source_Tensor", &setTensor);
  library.impl("set_", &setNothing);
  library.impl("_copy_from", &copyFrom);
  library.impl("_copy_from_and_resize", &copyFromAndResize);
  library.impl("_local_scalar_dense", &itemOf);
  library.impl("fill_.Scalar", &fill);
  library.impl("zero_", &zero);
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, library) { library.fallback(torch::CppFunction::makeFromBoxedFunction<&onCpu>()); }

StatusOr<at::Device> torchDevice(std::shared_ptr<CudaDevice> device) {
  const int ordinal = device->ordinal();
  Devices &all = devices();
  const std::lock_guard<std::mutex> lock(all.mutex);
  if (ordinal >= kMostDevices)
    return Status::failed("CUDA device " + std::to_string(ordinal) + " is beyond what LibTorch's tensors can have");
  std::shared_ptr<CudaDevice> &known = all.owned[static_cast<size_t>(ordinal)];
  if (known && known != device)
    return Status::failed("tensors of CUDA device " + std::to_string(ordinal) + " belong to another CudaDevice");
  known = std::move(device);
  all.byOrdinal[static_cast<size_t>(ordinal)] = known.get();
  all.count = std::max(all.count.load(), ordinal + 1);
  return at::Device(kType, static_cast<at::DeviceIndex>(ordinal));
}

CudaDevice &cudaDeviceOf(at::Device device) { return deviceAt(device.index()); }

} // namespace morph
