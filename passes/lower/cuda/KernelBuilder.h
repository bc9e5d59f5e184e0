// SPDX-License-Identifier: Apache-2.0
// Kernels for GPUs, written as C++ that builds them: what ops have that are no rows of a `morph.kernel`.

#ifndef MORPH_PASSES_LOWER_CUDA_KERNELBUILDER_H
#define MORPH_PASSES_LOWER_CUDA_KERNELBUILDER_H

#include "dialect/Scalar.h"
#include "runtime/plan/Plan.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"

#include <utility>

namespace morph {

/// Threads of a warp.
inline constexpr int64_t kWarp = 32;
/// Elements of fp32 that a thread loads at once (16 bytes), and the step of a product's inner loop.
inline constexpr int64_t kVector = 4;

/// An integer in the IR, of 64 bits but where `narrow` made it one of 32; operators build ops, as those of Scalar do.
/// Division and remainder are of numbers that are not negative.
class Index {
public:
  Index(mlir::OpBuilder &builder, mlir::Location location, mlir::Value value)
      : builder(&builder), location(location), value(value) {}

  mlir::Value get() const { return value; }
  Index constant(int64_t number) const;

  friend Index operator+(Index a, Index b);
  friend Index operator-(Index a, Index b);
  friend Index operator*(Index a, Index b);
  friend Index operator/(Index a, Index b);
  friend Index operator%(Index a, Index b);
  friend Index operator+(Index a, int64_t b) { return a + a.constant(b); }
  friend Index operator-(Index a, int64_t b) { return a - a.constant(b); }
  friend Index operator*(Index a, int64_t b) { return b == 1 ? a : a * a.constant(b); }
  friend Index operator/(Index a, int64_t b) { return b == 1 ? a : a / a.constant(b); }
  friend Index operator%(Index a, int64_t b) { return a % a.constant(b); }
  /// Truth values.
  friend mlir::Value operator<(Index a, Index b);
  friend mlir::Value operator<=(Index a, Index b);
  friend mlir::Value operator==(Index a, Index b);
  friend mlir::Value operator<(Index a, int64_t b) { return a < a.constant(b); }
  friend mlir::Value operator==(Index a, int64_t b) { return a == a.constant(b); }
  friend Index min(Index a, Index b);
  friend Index max(Index a, Index b);

private:
  mlir::OpBuilder *builder;
  mlir::Location location;
  mlir::Value value;
};
Index min(Index a, Index b);
Index max(Index a, Index b);

/// A kernel under construction: a `gpu.func` of pointers and sizes with one-dimensional blocks. Floats in memory are
/// f32 or bf16, and f32 in registers, f64 where a sum needs it; integers are 64 bits.
class KernelBuilder {
public:
  using Carried = llvm::SmallVector<Scalar>;

  KernelBuilder(mlir::gpu::GPUModuleOp module, llvm::StringRef name, unsigned pointers, unsigned sizes,
                int64_t threads);
  /// Ends the kernel.
  ~KernelBuilder();
  KernelBuilder(const KernelBuilder &) = delete;

  Index thread();
  Index block(unsigned axis = 0);
  mlir::Value pointer(unsigned place) { return function.getArgument(place); }
  Index size(unsigned place) { return wrap(function.getArgument(pointers + place)); }

  Index integer(int64_t number);
  Scalar number(double value);
  Index wrap(mlir::Value value) { return Index(builder, location, value); }
  Scalar scalar(mlir::Value value) { return Scalar(builder, location, value); }

  Scalar load(mlir::Value pointer, Index element, plan::DType type = plan::DType::F32);
  Index loadInteger(mlir::Value pointer, Index element);
  void store(Scalar value, mlir::Value pointer, Index element, plan::DType type = plan::DType::F32);
  void storeInteger(Index value, mlir::Value pointer, Index element);
  /// Up to 16 bytes at once: the address must be a multiple of what is loaded or stored. bf16 is stored one by one.
  Carried loadVector(mlir::Value pointer, Index element, int64_t lanes, plan::DType type = plan::DType::F32);
  void storeVector(llvm::ArrayRef<Scalar> values, mlir::Value pointer, Index element,
                   plan::DType type = plan::DType::F32);
  /// The same, with bf16 stored at once.
  void storePacked(llvm::ArrayRef<Scalar> values, mlir::Value pointer, Index element, plan::DType type);
  /// f32 or f64 in memory that the threads of a block share.
  mlir::Value shared(int64_t elements, plan::DType type = plan::DType::F32);
  /// Such memory from this element on, f32, of which a launch says how much there is. Its begin is aligned to 16 bytes.
  mlir::Value dynamicShared(int64_t element);

  void onlyIf(mlir::Value condition, llvm::function_ref<void()> body);
  void onlyOne(mlir::Value condition, llvm::function_ref<void()> body, llvm::function_ref<void()> otherwise);
  /// One of two numbers, of which only the one asked for is computed.
  Scalar choose(mlir::Value condition, llvm::function_ref<Scalar()> whole, llvm::function_ref<Scalar()> otherwise);
  /// The same of several numbers.
  Carried choose(mlir::Value condition, llvm::function_ref<Carried()> whole, llvm::function_ref<Carried()> otherwise);
  Scalar select(mlir::Value condition, Scalar a, Scalar b);
  Index select(mlir::Value condition, Index a, Index b);
  void loop(Index from, Index to, int64_t step, llvm::function_ref<void(Index)> body);
  Carried loop(Index from, Index to, int64_t step, llvm::ArrayRef<Scalar> start,
               llvm::function_ref<Carried(Index, llvm::ArrayRef<Scalar>)> body);
  void barrier();

  /// False where one is not a number.
  mlir::Value less(Scalar a, Scalar b);
  mlir::Value lessOrEqual(Scalar a, Scalar b);
  /// Whether a bit, counted from the lowest, is one.
  mlir::Value hasBit(Index value, Index bit);
  mlir::Value both(mlir::Value a, mlir::Value b);
  Scalar toScalar(Index value);
  Scalar toDouble(Index value);
  Scalar toDouble(Scalar value);
  Scalar toSingle(Scalar value);
  /// Of a number that is whole.
  Index toInteger(Scalar value);
  /// The low 32 bits.
  Index narrow(Index value);
  /// The place of an f32 among all of them in their order, -0 before 0, and the number at a place: those next to each
  /// other have places next to each other, from -2^31 to 2^31 - 1.
  Index orderOf(Scalar value);
  Scalar numberAt(Index order);
  /// 2^x as the hardware has it: within 2 units of the last place, 0 below -126, and not the same bits on every device.
  Scalar exp2Approximate(Scalar x);
  /// The larger of two; not a number where one is not.
  Scalar maximum(Scalar a, Scalar b);
  /// Element `index` of a table of doubles that the module holds.
  Scalar constant(llvm::ArrayRef<double> table, Index index);
  /// Of an angle in double, below 2^31 times pi; in f32, within 1e-7.
  std::pair<Scalar, Scalar> sineAndCosine(Scalar angle);
  /// The sum, or the largest, of what the block's threads have, in one order; all threads get it. f32 or f64.
  Scalar blockSum(Scalar value);
  Scalar blockMax(Scalar value);
  /// The same of groups of lanes of a warp that follow each other, a power of two, or that are `distance` apart.
  Scalar laneSum(Scalar value, int64_t lanes, int64_t distance = 1);
  Scalar laneMax(Scalar value, int64_t lanes);
  /// What the thread has whose number in the warp differs by one bit, `distance`.
  Scalar partner(Scalar value, int64_t distance);

  mlir::OpBuilder builder;
  mlir::Location location;

private:
  using Combine = llvm::function_ref<Scalar(Scalar, Scalar)>;
  mlir::Value flipNegative(mlir::Value bits);
  Carried scalarsOf(mlir::ValueRange values);
  mlir::Value laneNumber(int64_t number);
  Scalar reduceLanes(Scalar value, int64_t lanes, int64_t distance, Combine combine);
  Scalar reduce(Scalar value, Combine combine);

  mlir::gpu::GPUModuleOp module;
  mlir::gpu::GPUFuncOp function;
  unsigned pointers;
  int64_t threads;
  int64_t globalCount = 0;
};

} // namespace morph

#endif // MORPH_PASSES_LOWER_CUDA_KERNELBUILDER_H
