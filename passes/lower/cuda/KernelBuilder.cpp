// SPDX-License-Identifier: Apache-2.0
#include "passes/lower/cuda/KernelBuilder.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace morph;

static constexpr unsigned kGlobal = 1, kShared = 3; // Address spaces.

//===----------------------------------------------------------------------===//
// Integers
//===----------------------------------------------------------------------===//

Index Index::constant(int64_t number) const {
  return {*builder, location,
          builder->create<arith::ConstantOp>(location, builder->getIntegerAttr(value.getType(), number))};
}

namespace morph {
Index operator+(Index a, Index b) {
  return {*a.builder, a.location, a.builder->create<arith::AddIOp>(a.location, a.value, b.value)};
}
Index operator-(Index a, Index b) {
  return {*a.builder, a.location, a.builder->create<arith::SubIOp>(a.location, a.value, b.value)};
}
Index operator*(Index a, Index b) {
  return {*a.builder, a.location, a.builder->create<arith::MulIOp>(a.location, a.value, b.value)};
}
Index operator/(Index a, Index b) {
  return {*a.builder, a.location, a.builder->create<arith::DivUIOp>(a.location, a.value, b.value)};
}
Index operator%(Index a, Index b) {
  return {*a.builder, a.location, a.builder->create<arith::RemUIOp>(a.location, a.value, b.value)};
}
Value operator<(Index a, Index b) {
  return a.builder->create<arith::CmpIOp>(a.location, arith::CmpIPredicate::slt, a.value, b.value);
}
Value operator<=(Index a, Index b) {
  return a.builder->create<arith::CmpIOp>(a.location, arith::CmpIPredicate::sle, a.value, b.value);
}
Value operator==(Index a, Index b) {
  return a.builder->create<arith::CmpIOp>(a.location, arith::CmpIPredicate::eq, a.value, b.value);
}
Index min(Index a, Index b) {
  return {*a.builder, a.location, a.builder->create<arith::MinSIOp>(a.location, a.value, b.value)};
}
Index max(Index a, Index b) {
  return {*a.builder, a.location, a.builder->create<arith::MaxSIOp>(a.location, a.value, b.value)};
}
} // namespace morph

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

KernelBuilder::KernelBuilder(gpu::GPUModuleOp module, StringRef name, unsigned pointers, unsigned sizes,
                             int64_t threads)
    : builder(module.getContext()), location(module.getLoc()), module(module), pointers(pointers), threads(threads) {
  SmallVector<Type> arguments(pointers, LLVM::LLVMPointerType::get(module.getContext(), kGlobal));
  arguments.append(sizes, builder.getI64Type());
  builder.setInsertionPoint(module.getBody()->getTerminator());
  function = builder.create<gpu::GPUFuncOp>(location, name, builder.getFunctionType(arguments, {}));
  function->setAttr(gpu::GPUDialect::getKernelFuncAttrName(), builder.getUnitAttr());
  function.setKnownBlockSizeAttr(builder.getDenseI32ArrayAttr({static_cast<int32_t>(threads), 1, 1}));
  builder.setInsertionPointToStart(&function.getBody().front());
}

KernelBuilder::~KernelBuilder() { builder.create<gpu::ReturnOp>(location); }

Index KernelBuilder::thread() {
  Value index = builder.create<gpu::ThreadIdOp>(location, gpu::Dimension::x);
  return wrap(builder.create<arith::IndexCastOp>(location, builder.getI64Type(), index));
}

Index KernelBuilder::block(unsigned axis) {
  Value index = builder.create<gpu::BlockIdOp>(location, static_cast<gpu::Dimension>(axis));
  return wrap(builder.create<arith::IndexCastOp>(location, builder.getI64Type(), index));
}

Index KernelBuilder::integer(int64_t number) {
  return wrap(builder.create<arith::ConstantOp>(location, builder.getI64IntegerAttr(number)));
}

Scalar KernelBuilder::number(double value) {
  return scalar(builder.create<arith::ConstantOp>(location, builder.getF32FloatAttr(static_cast<float>(value))));
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

Scalar KernelBuilder::load(Value pointer, Index element, plan::DType type) {
  bool isHalf = type == plan::DType::BF16;
  Type stored = isHalf                     ? Type(builder.getI16Type())
                : type == plan::DType::F64 ? Type(builder.getF64Type())
                                           : Type(builder.getF32Type());
  Value address = builder.create<LLVM::GEPOp>(location, pointer.getType(), stored, pointer, ValueRange{element.get()});
  Value value = builder.create<LLVM::LoadOp>(location, stored, address);
  if (isHalf) {
    value = builder.create<arith::BitcastOp>(location, builder.getBF16Type(), value);
    value = builder.create<arith::ExtFOp>(location, builder.getF32Type(), value);
  }
  return scalar(value);
}

Index KernelBuilder::loadInteger(Value pointer, Index element) {
  Type type = builder.getI64Type();
  Value address = builder.create<LLVM::GEPOp>(location, pointer.getType(), type, pointer, ValueRange{element.get()});
  return wrap(builder.create<LLVM::LoadOp>(location, type, address));
}

void KernelBuilder::store(Scalar value, Value pointer, Index element, plan::DType type) {
  Value stored = value.get();
  if (type == plan::DType::BF16) {
    stored = builder.create<arith::TruncFOp>(location, builder.getBF16Type(), stored);
    stored = builder.create<arith::BitcastOp>(location, builder.getI16Type(), stored);
  }
  Value address =
      builder.create<LLVM::GEPOp>(location, pointer.getType(), stored.getType(), pointer, ValueRange{element.get()});
  builder.create<LLVM::StoreOp>(location, stored, address);
}

void KernelBuilder::storeInteger(Index value, Value pointer, Index element) {
  Value address = builder.create<LLVM::GEPOp>(location, pointer.getType(), value.get().getType(), pointer,
                                              ValueRange{element.get()});
  builder.create<LLVM::StoreOp>(location, value.get(), address);
}

KernelBuilder::Carried KernelBuilder::loadVector(Value pointer, Index element, int64_t lanes, plan::DType type) {
  if (lanes == 1)
    return {load(pointer, element, type)};
  bool isHalf = type == plan::DType::BF16;
  Type stored = isHalf ? Type(builder.getI16Type()) : builder.getF32Type();
  Value address = builder.create<LLVM::GEPOp>(location, pointer.getType(), stored, pointer, ValueRange{element.get()});
  Value vector = builder.create<LLVM::LoadOp>(location, VectorType::get(lanes, stored), address,
                                              static_cast<unsigned>(lanes * (isHalf ? 2 : 4)));
  if (isHalf) {
    vector = builder.create<arith::BitcastOp>(location, VectorType::get(lanes, builder.getBF16Type()), vector);
    vector = builder.create<arith::ExtFOp>(location, VectorType::get(lanes, builder.getF32Type()), vector);
  }
  Carried values;
  for (int64_t lane = 0; lane < lanes; ++lane)
    values.push_back(scalar(builder.create<vector::ExtractOp>(location, vector, lane)));
  return values;
}

void KernelBuilder::storeVector(ArrayRef<Scalar> values, Value pointer, Index element, plan::DType type) {
  if (values.size() == 1 || type != plan::DType::F32) {
    for (auto [lane, value] : llvm::enumerate(values))
      store(value, pointer, element + static_cast<int64_t>(lane), type);
    return;
  }
  auto vectorType = VectorType::get(static_cast<int64_t>(values.size()), builder.getF32Type());
  Value vector = builder.create<LLVM::UndefOp>(location, vectorType);
  for (auto [lane, value] : llvm::enumerate(values))
    vector = builder.create<vector::InsertOp>(location, value.get(), vector, static_cast<int64_t>(lane));
  Value address = builder.create<LLVM::GEPOp>(location, pointer.getType(), builder.getF32Type(), pointer,
                                              ValueRange{element.get()});
  builder.create<LLVM::StoreOp>(location, vector, address, static_cast<unsigned>(4 * values.size()));
}

void KernelBuilder::storePacked(ArrayRef<Scalar> values, Value pointer, Index element, plan::DType type) {
  if (values.size() == 1 || type != plan::DType::BF16)
    return storeVector(values, pointer, element, type);
  Type i16 = builder.getI16Type();
  auto vectorType = VectorType::get(static_cast<int64_t>(values.size()), i16);
  Value vector = builder.create<LLVM::UndefOp>(location, vectorType);
  for (auto [lane, value] : llvm::enumerate(values)) {
    Value half = builder.create<arith::TruncFOp>(location, builder.getBF16Type(), value.get());
    half = builder.create<arith::BitcastOp>(location, i16, half);
    vector = builder.create<vector::InsertOp>(location, half, vector, static_cast<int64_t>(lane));
  }
  Value address = builder.create<LLVM::GEPOp>(location, pointer.getType(), i16, pointer, ValueRange{element.get()});
  builder.create<LLVM::StoreOp>(location, vector, address, static_cast<unsigned>(2 * values.size()));
}

Value KernelBuilder::dynamicShared(int64_t element) {
  constexpr StringRef symbol = "dynamic_shared";
  auto global = cast_if_present<LLVM::GlobalOp>(SymbolTable::lookupSymbolIn(module, symbol));
  if (!global) {
    OpBuilder outside = OpBuilder::atBlockBegin(module.getBody());
    global = outside.create<LLVM::GlobalOp>(location, LLVM::LLVMArrayType::get(builder.getF32Type(), 0),
                                            /*isConstant=*/false, LLVM::Linkage::External, symbol, Attribute(),
                                            /*alignment=*/16, kShared);
  }
  Value base = builder.create<LLVM::AddressOfOp>(location, global);
  return builder.create<LLVM::GEPOp>(location, base.getType(), builder.getF32Type(), base,
                                     ValueRange{integer(element).get()});
}

Value KernelBuilder::laneNumber(int64_t number) {
  return builder.create<arith::ConstantOp>(location, builder.getI32IntegerAttr(static_cast<int32_t>(number)));
}

Value KernelBuilder::shared(int64_t elements, plan::DType element) {
  Type number = element == plan::DType::F64 ? Type(builder.getF64Type()) : Type(builder.getF32Type());
  auto type = LLVM::LLVMArrayType::get(number, static_cast<uint64_t>(elements));
  std::string symbol = (function.getName() + ".shared" + Twine(globalCount++)).str();
  OpBuilder outside = OpBuilder::atBlockBegin(module.getBody());
  auto global = outside.create<LLVM::GlobalOp>(location, type, /*isConstant=*/false, LLVM::Linkage::Internal, symbol,
                                               Attribute(), /*alignment=*/16, kShared);
  OpBuilder inside = OpBuilder::atBlockEnd(&global.getInitializerRegion().emplaceBlock());
  inside.create<LLVM::ReturnOp>(location, inside.create<LLVM::UndefOp>(location, type).getResult());
  return builder.create<LLVM::AddressOfOp>(location, global);
}

//===----------------------------------------------------------------------===//
// Control
//===----------------------------------------------------------------------===//

static SmallVector<Value> valuesOf(ArrayRef<Scalar> scalars) {
  return llvm::map_to_vector(scalars, [](Scalar scalar) { return scalar.get(); });
}

KernelBuilder::Carried KernelBuilder::scalarsOf(ValueRange values) {
  return llvm::map_to_vector(values, [&](Value value) { return scalar(value); });
}

void KernelBuilder::onlyIf(Value condition, llvm::function_ref<void()> body) {
  auto branch = builder.create<scf::IfOp>(location, condition, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(branch.thenBlock());
  body();
}

void KernelBuilder::onlyOne(Value condition, llvm::function_ref<void()> body, llvm::function_ref<void()> otherwise) {
  auto build = [](llvm::function_ref<void()> part) {
    return [part] {
      part();
      return Carried();
    };
  };
  choose(condition, build(body), build(otherwise));
}

Scalar KernelBuilder::choose(Value condition, llvm::function_ref<Scalar()> whole,
                             llvm::function_ref<Scalar()> otherwise) {
  return choose(condition, [&] { return Carried{whole()}; }, [&] { return Carried{otherwise()}; }).front();
}

KernelBuilder::Carried KernelBuilder::choose(Value condition, llvm::function_ref<Carried()> whole,
                                             llvm::function_ref<Carried()> otherwise) {
  auto build = [&](llvm::function_ref<Carried()> body) {
    return [&, body](OpBuilder &inner, Location) {
      OpBuilder::InsertionGuard guard(builder);
      builder.setInsertionPointToEnd(inner.getInsertionBlock());
      builder.create<scf::YieldOp>(location, valuesOf(body()));
    };
  };
  return scalarsOf(builder.create<scf::IfOp>(location, condition, build(whole), build(otherwise)).getResults());
}

Scalar KernelBuilder::select(Value condition, Scalar a, Scalar b) {
  return scalar(builder.create<arith::SelectOp>(location, condition, a.get(), b.get()));
}

Index KernelBuilder::select(Value condition, Index a, Index b) {
  return wrap(builder.create<arith::SelectOp>(location, condition, a.get(), b.get()));
}

void KernelBuilder::loop(Index from, Index to, int64_t step, llvm::function_ref<void(Index)> body) {
  loop(from, to, step, {}, [&](Index index, ArrayRef<Scalar>) {
    body(index);
    return Carried();
  });
}

KernelBuilder::Carried KernelBuilder::loop(Index from, Index to, int64_t step, ArrayRef<Scalar> start,
                                           llvm::function_ref<Carried(Index, ArrayRef<Scalar>)> body) {
  auto loop = builder.create<scf::ForOp>(location, from.get(), to.get(), integer(step).get(), valuesOf(start),
                                         [&](OpBuilder &inner, Location, Value index, ValueRange carried) {
                                           OpBuilder::InsertionGuard guard(builder);
                                           builder.setInsertionPointToEnd(inner.getInsertionBlock());
                                           builder.create<scf::YieldOp>(
                                               location, valuesOf(body(wrap(index), scalarsOf(carried))));
                                         });
  return scalarsOf(loop.getResults());
}

void KernelBuilder::barrier() { builder.create<gpu::BarrierOp>(location); }

//===----------------------------------------------------------------------===//
// Numbers
//===----------------------------------------------------------------------===//

Value KernelBuilder::hasBit(Index value, Index bit) {
  Value shifted = builder.create<arith::ShRUIOp>(location, value.get(), bit.get());
  return builder.create<arith::TruncIOp>(location, builder.getI1Type(), shifted);
}

Value KernelBuilder::both(Value a, Value b) { return builder.create<arith::AndIOp>(location, a, b); }

Value KernelBuilder::less(Scalar a, Scalar b) {
  return builder.create<arith::CmpFOp>(location, arith::CmpFPredicate::OLT, a.get(), b.get());
}

Value KernelBuilder::lessOrEqual(Scalar a, Scalar b) {
  return builder.create<arith::CmpFOp>(location, arith::CmpFPredicate::OLE, a.get(), b.get());
}

Scalar KernelBuilder::toScalar(Index value) {
  return scalar(builder.create<arith::SIToFPOp>(location, builder.getF32Type(), value.get()));
}

Scalar KernelBuilder::toDouble(Index value) {
  return scalar(builder.create<arith::SIToFPOp>(location, builder.getF64Type(), value.get()));
}

Scalar KernelBuilder::toDouble(Scalar value) { return convert(value, builder.getF64Type()); }

Scalar KernelBuilder::toSingle(Scalar value) { return convert(value, builder.getF32Type()); }

Index KernelBuilder::toInteger(Scalar value) {
  return wrap(builder.create<arith::FPToSIOp>(location, builder.getI64Type(), value.get()));
}

Index KernelBuilder::narrow(Index value) {
  return wrap(builder.create<arith::TruncIOp>(location, builder.getI32Type(), value.get()));
}

/// Of 32 bits with a sign: the others are flipped where it is set. Applied twice it is nothing.
Value KernelBuilder::flipNegative(Value bits) {
  Value shift = builder.create<arith::ConstantOp>(location, builder.getI32IntegerAttr(31));
  Value others = builder.create<arith::ConstantOp>(location, builder.getI32IntegerAttr(0x7fffffff));
  Value mask = builder.create<arith::AndIOp>(location, builder.create<arith::ShRSIOp>(location, bits, shift), others);
  return builder.create<arith::XOrIOp>(location, bits, mask);
}

Index KernelBuilder::orderOf(Scalar value) {
  Value bits = builder.create<arith::BitcastOp>(location, builder.getI32Type(), value.get());
  return wrap(builder.create<arith::ExtSIOp>(location, builder.getI64Type(), flipNegative(bits)));
}

Scalar KernelBuilder::numberAt(Index order) {
  return scalar(builder.create<arith::BitcastOp>(location, builder.getF32Type(), flipNegative(narrow(order).get())));
}

Scalar KernelBuilder::exp2Approximate(Scalar x) {
  Value result = builder
                     .create<LLVM::CallIntrinsicOp>(location, builder.getF32Type(),
                                                    StringRef("llvm.nvvm.ex2.approx.ftz.f"), ValueRange{x.get()})
                     .getResult(0);
  return scalar(result);
}

Scalar KernelBuilder::maximum(Scalar a, Scalar b) {
  return scalar(builder.create<arith::MaximumFOp>(location, a.get(), b.get()));
}

Scalar KernelBuilder::constant(ArrayRef<double> table, Index index) {
  auto type = LLVM::LLVMArrayType::get(builder.getF64Type(), table.size());
  std::string symbol = (function.getName() + ".table" + Twine(globalCount++)).str();
  OpBuilder outside = OpBuilder::atBlockBegin(module.getBody());
  auto values =
      DenseElementsAttr::get(RankedTensorType::get({static_cast<int64_t>(table.size())}, builder.getF64Type()), table);
  auto global = outside.create<LLVM::GlobalOp>(location, type, /*isConstant=*/true, LLVM::Linkage::Internal, symbol,
                                               values, /*alignment=*/16, kGlobal);
  Value base = builder.create<LLVM::AddressOfOp>(location, global);
  Value address =
      builder.create<LLVM::GEPOp>(location, base.getType(), builder.getF64Type(), base, ValueRange{index.get()});
  return scalar(builder.create<LLVM::LoadOp>(location, builder.getF64Type(), address));
}

std::pair<Scalar, Scalar> KernelBuilder::sineAndCosine(Scalar angle) {
  // The nearest multiple of pi / 2, which the lowest bits of a sum hold, and the rest, in two steps (Cody and Waite).
  constexpr double kRound = 6755399441055744.0; // 1.5 * 2^52
  Scalar shifted = fma(angle, 0.63661977236758134308, kRound);
  Scalar n = shifted - kRound;
  Scalar rest = fma(n, angle.constant(-1.57079632679489655800), angle);
  rest = fma(n, rest.constant(-6.12323399573676603587e-17), rest);
  Index quarter = wrap(builder.create<arith::BitcastOp>(location, builder.getI64Type(), shifted.get()));
  Scalar x = convert(rest, builder.getF32Type()), square = x * x;
  // Cephes' sinf and cosf.
  Scalar sine = fma(square, -1.9515295891e-4, 8.3321608736e-3);
  sine = fma(square, sine, sine.constant(-1.6666654611e-1));
  sine = fma(x * square, sine, x);
  Scalar cosine = fma(square, 2.443315711809948e-5, -1.388731625493765e-3);
  cosine = fma(square, cosine, cosine.constant(4.166664568298827e-2));
  cosine = fma(square * square, cosine, 1 - 0.5 * square);
  Value swaps = hasBit(quarter, integer(0));
  Scalar s = select(swaps, cosine, sine), c = select(swaps, sine, cosine);
  Index second = integer(1);
  return {select(hasBit(quarter, second), -s, s), select(hasBit(quarter + 1, second), -c, c)};
}

Scalar KernelBuilder::partner(Scalar value, int64_t distance) {
  auto exchange = [&](Value bits) -> Value {
    return builder
        .create<gpu::ShuffleOp>(location, bits, laneNumber(distance), laneNumber(kWarp), gpu::ShuffleMode::XOR)
        .getShuffleResult();
  };
  if (!value.get().getType().isF64())
    return scalar(exchange(value.get()));
  // A shuffle moves 32 bits.
  Type i32 = builder.getI32Type(), i64 = builder.getI64Type();
  Value bits = builder.create<arith::BitcastOp>(location, i64, value.get()), half = integer(32).get();
  Value low = exchange(builder.create<arith::TruncIOp>(location, i32, bits));
  Value high =
      exchange(builder.create<arith::TruncIOp>(location, i32, builder.create<arith::ShRUIOp>(location, bits, half)));
  high = builder.create<arith::ShLIOp>(location, builder.create<arith::ExtUIOp>(location, i64, high), half);
  bits = builder.create<arith::OrIOp>(location, high, builder.create<arith::ExtUIOp>(location, i64, low));
  return scalar(builder.create<arith::BitcastOp>(location, builder.getF64Type(), bits));
}

Scalar KernelBuilder::reduceLanes(Scalar value, int64_t lanes, int64_t distance, Combine combine) {
  for (int64_t step = lanes / 2; step >= 1; step /= 2)
    value = combine(value, partner(value, step * distance));
  return value;
}

Scalar KernelBuilder::reduce(Scalar value, Combine combine) {
  // Pairs of a warp, then the warps in their order.
  value = reduceLanes(value, kWarp, 1, combine);
  if (threads == kWarp)
    return value;
  plan::DType type = value.get().getType().isF64() ? plan::DType::F64 : plan::DType::F32;
  Value memory = shared(threads / kWarp, type);
  // Where it is in a loop, the sum before has been read.
  barrier();
  Index thread = this->thread();
  onlyIf(thread % kWarp == 0, [&] { store(value, memory, thread / kWarp, type); });
  barrier();
  Scalar result = load(memory, integer(0), type);
  for (int64_t warp = 1; warp < threads / kWarp; ++warp)
    result = combine(result, load(memory, integer(warp), type));
  return result;
}

static Scalar addScalars(Scalar a, Scalar b) { return a + b; }

Scalar KernelBuilder::blockSum(Scalar value) { return reduce(value, addScalars); }

Scalar KernelBuilder::laneSum(Scalar value, int64_t lanes, int64_t distance) {
  return reduceLanes(value, lanes, distance, addScalars);
}

Scalar KernelBuilder::blockMax(Scalar value) {
  return reduce(value, [&](Scalar a, Scalar b) { return maximum(a, b); });
}

Scalar KernelBuilder::laneMax(Scalar value, int64_t lanes) {
  return reduceLanes(value, lanes, 1, [](Scalar a, Scalar b) { return max(a, b); });
}
