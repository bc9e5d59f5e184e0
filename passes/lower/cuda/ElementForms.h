// SPDX-License-Identifier: Apache-2.0
// What forms of ops have in common that go over the elements of a value, whatever their places.

#ifndef MORPH_PASSES_LOWER_CUDA_ELEMENTFORMS_H
#define MORPH_PASSES_LOWER_CUDA_ELEMENTFORMS_H

#include "passes/lower/cuda/DeviceForms.h"

namespace morph {

/// Threads of a block that goes over elements.
inline constexpr int64_t kElementThreads = 256;

/// A number in a kernel's name, exact.
std::string exactName(double number);

/// Elements that a thread takes at once where their number is a multiple of `width`: 1, 2 or 4.
int64_t lanesOf(int64_t width);
/// The same where the elements of a value are all alike.
int64_t lanesOf(const plan::TensorType &type);
/// The product of a value's dimensions from `first` on, which do not depend on a run.
int64_t staticElements(const plan::TensorType &type, size_t first);

/// Launches a kernel with a thread an element of the first result. `build` gets the element's number, which is below
/// the count; sizes are passed on as the kernel's own, after the count.
void forElements(DeviceFormCall &call, const std::string &variant, std::vector<plan::LaunchArgument> pointers,
                 std::vector<plan::SizeFormula> sizes, llvm::function_ref<void(KernelBuilder &, Index element)> build);

/// Builds a loop over the vectors of elements that are the thread's; the body gets the first one's number.
using EachVector = llvm::function_ref<void(llvm::function_ref<void(Index element)>)>;

/// Launches a kernel whose blocks share the elements of `type`, so many that what `build` does before `each` is little
/// beside them. `lanes` must divide the number of elements. Sizes are the kernel's own, after the count.
void forVectors(DeviceFormCall &call, const std::string &variant, const plan::TensorType &type, int64_t lanes,
                std::vector<plan::LaunchArgument> pointers, std::vector<plan::SizeFormula> sizes,
                llvm::function_ref<void(KernelBuilder &, EachVector each)> build);

/// Elements of a part of a sum over all elements, as on CPUs.
inline constexpr int64_t kSumPart = 8192;
/// The number of parts of a sum over all elements.
inline plan::SizeFormula sumParts(const plan::TensorType &type) { return elementsOf(type, kSumPart); }

/// Launches a kernel that makes the parts, f32, of the sum of `body` over the elements of `operands`, which are of one
/// type; what it takes from scratch follows what has been taken before without a gap. `body` gets an element an
/// operand.
plan::LaunchArgument launchSumParts(DeviceFormCall &call, const std::string &variant, const plan::TensorType &type,
                                    std::vector<plan::LaunchArgument> operands,
                                    llvm::function_ref<Scalar(llvm::ArrayRef<Scalar>)> body);

/// The sum of what the threads of one lane have in the warps of a block of kElementThreads, in the warps' order: all
/// threads get that of their lane. Once a kernel, outside of loops.
Scalar sumOverWarps(KernelBuilder &k, Scalar value);

/// The sum in f64 of `body` over the numbers from 0 to `count`, in one order: all threads of the block get it. `body`
/// gives f32.
Scalar blockSumInDouble(KernelBuilder &k, Index count, llvm::function_ref<Scalar(Index)> body);

} // namespace morph

#endif // MORPH_PASSES_LOWER_CUDA_ELEMENTFORMS_H
