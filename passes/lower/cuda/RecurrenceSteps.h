// SPDX-License-Identifier: Apache-2.0
// The recurrence of linear attention on GPUs, position by position, as its forward and its gradient have it. A block
// has some columns of the state of a head: columns do not see each other. P threads share a column: a thread has `rows`
// of its K elements in registers, those of `lane`, lane + P, ... Legend: B batch, T positions, H heads, G groups of q
// and k, K key and V value dimension, W columns of a state.

#ifndef MORPH_PASSES_LOWER_CUDA_RECURRENCESTEPS_H
#define MORPH_PASSES_LOWER_CUDA_RECURRENCESTEPS_H

#include "passes/lower/cuda/DeviceForms.h"

namespace morph {

/// The operands and attributes of linear_attention, or of its gradient.
struct RecurrenceShape {
  /// `first`: the place of q among the operands.
  RecurrenceShape(DeviceFormCall &call, size_t first);

  enum Operand { Q, K, V, HeadDecay, Decay, ChannelDecay, Beta, Write, Erase, Bonus, State, Count };
  enum class Update { Add, Delta, Free };

  size_t first;
  int64_t heads, groups, width, valueWidth; ///< Of those the last is V.
  int64_t columns;                          ///< W.
  double scale, normaliser;                 ///< 0: none.
  int64_t chunk;
  plan::DType type; ///< Of q, k and v.
  std::array<bool, Count> has;
  Update update;
  plan::Dim batch, length;

  bool hasDecay() const { return has[HeadDecay] || has[Decay] || has[ChannelDecay]; }
  std::string variant() const;
  /// The operands as pointers of a kernel.
  std::vector<plan::LaunchArgument> arguments() const;
};

/// How threads share a state, and what they have of a few positions in shared memory.
class RecurrenceSteps {
public:
  using Carried = KernelBuilder::Carried;
  /// Vectors of positions in shared memory. Those of K elements come first, then those of a block's columns.
  enum Staged { StagedQ, StagedK, StagedDecay, StagedWrite, StagedErase, StagedV, StagedDy, StagedBeta, StagedCount };

  /// Blocks of up to `mostThreads`; `staged` are the vectors that are of use, of up to `positions` at once.
  RecurrenceSteps(const RecurrenceShape &shape, int64_t mostThreads, int64_t positions, bool hasGradient);

  const RecurrenceShape &shape;
  int64_t lanes, rows, blockColumns, parts, threads, positions;
  int64_t sharedElements = 0; ///< That the vectors take.

  /// Rows with those that a head has not, which are zero.
  int64_t paddedWidth() const { return lanes * rows; }

  /// Begins a kernel of the grid (parts, H, B). `firstPointer` is the one of q, with the others after it.
  void begin(KernelBuilder &kernel, unsigned firstPointer, Index length);
  /// Fills the vectors of `positions` from `at` on, up to `end`. Barriers before and after are the caller's.
  /// `dy`: the gradients of outputs [B,T,H,`dyWidth`].
  void stage(Index at, Index end, mlir::Value dy = {}, int64_t dyWidth = 0, plan::DType dyType = plan::DType::F32);

  struct Step {
    Carried decayed, state;        ///< D S, and S after the position.
    std::optional<Scalar> written; ///< What is kept of the position.
  };
  /// One position, `place` of the staged ones.
  Step step(Index place, llvm::ArrayRef<Scalar> state);

  /// Element of a vector of a position, by row of the state or by this thread's column.
  Scalar ofRow(Staged vector, Index place, Index row) { return k->load(memory(vector), place * paddedWidth() + row); }
  Scalar ofColumn(Staged vector, Index place, Index column) {
    return k->load(memory(vector), place * blockColumns + column);
  }
  /// D of a row.
  Scalar decayOf(Index place, Index row);
  Scalar betaOf(Index place) { return k->load(memory(StagedBeta), place); }
  Carried rowsOf(Staged vector, Index place);
  /// Sums over the rows of products.
  Scalar rowSum(llvm::ArrayRef<Scalar> a, llvm::ArrayRef<Scalar> b);

  Index row(int64_t i) { return *lane + i * lanes; }
  /// Calls visit(i, element) for this thread's elements that a [K,W] has, whose place in it is `element`.
  void visitRows(llvm::function_ref<void(size_t, Index)> visit);
  Carried loadState(mlir::Value from, Index firstElement);
  void storeState(llvm::ArrayRef<Scalar> state, mlir::Value to, Index firstElement);
  Carried loadBonus();

  KernelBuilder *k = nullptr;
  std::optional<Index> batch, head, length, lane, localColumn, column;
  Index line(Index position) { return (*batch * *length + position) * shape.heads + *head; }

private:
  mlir::Value memory(Staged vector) { return k->dynamicShared(offsets[vector]); }
  mlir::Value operand(RecurrenceShape::Operand operand) { return k->pointer(firstPointer + operand); }

  std::array<int64_t, StagedCount> offsets;
  bool hasGradient;
  unsigned firstPointer = 0;
  std::optional<Scalar> headDecay;
};

} // namespace morph

#endif // MORPH_PASSES_LOWER_CUDA_RECURRENCESTEPS_H
