// SPDX-License-Identifier: Apache-2.0
// The recurrence of linear attention on GPUs in chunks: within a chunk it is products of matrices. The formulas are
// those of runtime/kernels/ChunkedRecurrence.h, whose letters hold. Three kinds of kernels: one over all chunks at once
// for what is of a chunk alone (ChunkScores.cpp), one that goes over the chunks with some columns of a head's state in
// registers (ChunkPass.cpp), forward or back, and of the gradient one more over all chunks (ChunkGradients.cpp).
// Legend: see RecurrenceSteps.h; N chunks of a sequence, C positions of a chunk, padded.

#ifndef MORPH_PASSES_LOWER_CUDA_RECURRENCECHUNKS_H
#define MORPH_PASSES_LOWER_CUDA_RECURRENCECHUNKS_H

#include "passes/lower/cuda/BlockProducts.h"
#include "passes/lower/cuda/LinearAttentionForm.h"

namespace morph {

/// Whether the recurrence, or its gradient, has its chunked form. Where no states at its chunks' starts are `kept`,
/// chunks that are too long for a block are made shorter.
bool isChunked(RecurrenceShape &shape, bool hasKeptStates);

/// What is of the chunks alone, in scratch: matrices [B,H,N,C,C] of the type of factors, of which blocks above the
/// diagonal are not there.
struct ChunkScores {
  /// scale * Q:K, with the bonus on the diagonal. Where the passes find them by one cheap product they are not there.
  plan::LaunchArgument ofQueries;
  plan::LaunchArgument inverse; ///< (I + M diag(beta))^-1 of the delta rule.
  plan::LaunchArgument decays;  ///< [B,H,N,K], fp32: the logarithm of what of each channel decays over the chunk.
  /// Where channels decay each by itself, e Q, e K of the delta rule, and f K: [B,H,N,C,K], of the type of factors.
  plan::LaunchArgument queries, readKeys, writtenKeys;
};

/// Room for `elements` of a type for each chunk of each head.
plan::LaunchArgument takeOfChunks(DeviceFormCall &call, const RecurrenceShape &shape, int64_t elements,
                                  plan::DType type);

ChunkScores launchChunkScores(DeviceFormCall &call, const RecurrenceShape &shape);
/// The pass of the states from the first chunk to the last one. `keptType`: of states and of what is written.
void launchChunkPass(DeviceFormCall &call, const RecurrenceShape &shape, const ChunkScores &scores,
                     const RecurrenceOutputs &outputs, plan::DType keptType);
/// The pass of the state's gradient from the last chunk to the first one: the gradients of states after the chunks
/// [B,H,N,K,W], of the type of factors, and of values [B,T,H,V].
void launchChunkPassBack(DeviceFormCall &call, const RecurrenceShape &shape, const ChunkScores &scores,
                         const plan::LaunchArgument &dy, plan::DType dyType, const plan::LaunchArgument &dStates,
                         const plan::LaunchArgument &dv);

/// What the gradients of a chunk are made of, and where these go, [B,T,H,K] but for beta's and the decay's, [B,T,H].
struct ChunkGradients {
  plan::LaunchArgument dy, states, dStates, dv;
  std::optional<plan::LaunchArgument> written; ///< Of the delta rule.
  plan::DType dyType, statesType, writtenType;
  plan::LaunchArgument dq, dk;
  std::optional<plan::LaunchArgument> dDecay, dBeta, dBonus;
};
void launchChunkGradients(DeviceFormCall &call, const RecurrenceShape &shape, const ChunkGradients &gradients);

/// Bytes of shared memory that the kernels take.
int64_t chunkScoresBytes(const RecurrenceShape &shape);
int64_t chunkPassBytes(const RecurrenceShape &shape);
int64_t chunkGradientsBytes(const RecurrenceShape &shape);

/// What the kernels have in common. Pointers begin with the operands.
class ChunkKernel {
public:
  using Carried = KernelBuilder::Carried;
  using Shape = RecurrenceShape;

  // Pointers behind the operands: those of ChunkScores, and then those of a kernel that reads them.
  static constexpr unsigned kScores = Shape::Count, kInverse = kScores + 1, kDecays = kScores + 2,
                            kQueries = kScores + 3, kReadKeys = kScores + 4, kWrittenKeys = kScores + 5,
                            kOwn = kScores + 6;

  explicit ChunkKernel(const Shape &shape);

  int64_t threads() const { return p.threads(); }
  int64_t sharedBytes() const { return p.sharedBytes() + 4 * vectorElements; }
  /// Whether a position decays by one number, or by one of each channel.
  bool hasRowDecay() const { return shape.hasDecay() && !hasChannels(); }
  bool hasChannels() const { return shape.has[Shape::ChannelDecay]; }
  /// Whether the passes find the scores of queries themselves: on tensor cores that is one product of a chunk, which
  /// waits for no state, and less than bringing them through memory.
  bool hasOwnScores() const { return p.isHalf() && !hasDiagonal(); }

  const Shape &shape;
  int64_t size;        ///< C
  int64_t width;       ///< K, padded.
  int64_t tileColumns; ///< Columns of a state that a block has at once.
  BlockProducts p;

protected:
  /// Begins a kernel for a head of a sequence.
  void begin(KernelBuilder &kernel, Index head, Index batch);
  void beginChunk(Index number);

  /// A vector of fp32 in shared memory, behind the matrices.
  int64_t takeVector(int64_t elements) {
    vectorElements += elements;
    return vectorElements - elements;
  }
  mlir::Value vector(int64_t first) { return k->dynamicShared(p.sharedBytes() / 4 + first); }
  Scalar vectorAt(int64_t first, Index at) { return k->load(vector(first), at); }

  Index line(Index position) { return (*batch * *length + position) * shape.heads + *head; }
  /// A chunk among all of B, H and N.
  Index ofChunks(Index chunk) { return (*batch * shape.heads + *head) * *chunks + chunk; }
  Index ofChunks() { return ofChunks(*chunk); }
  Index positions() { return *end - *first; }
  /// Row of a chunk in an array [B,T,H,rowWidth], or [B,T,G,rowWidth] of what heads share; those beyond the end are not
  /// there.
  BlockProducts::Row place(Index row, int64_t rowWidth, bool isShared = false);

  /// Running sums over the C numbers of a vector, from the first one or from the last one. Barriers before and after
  /// are the caller's.
  void runningSums(int64_t vector, bool isReversed);
  /// Numbers of this chunk's positions that a lane has, those of every warp the same: C / 32 that follow each other.
  int64_t lanePositions() const { return size / 32; }
  /// The logarithms of decays of a lane's positions, and the running sums of such numbers to a vector.
  Carried loadDecays();
  void storeRunningSums(llvm::ArrayRef<Scalar> values, int64_t to);
  void fillShared(const SharedMatrix &to, Shape::Operand from);
  /// Columns from `column` on of a [B,T,H,rowWidth].
  void fillColumns(const SharedMatrix &to, mlir::Value from, plan::DType type, int64_t rowWidth, Index column,
                   BlockProducts::Change change = nullptr);
  /// The same of v, with the normaliser's column of ones.
  void fillValues(const SharedMatrix &to, Index column);
  /// Of an array [B,H,N,K,W] those columns of a chunk's state.
  void fillState(const SharedMatrix &to, mlir::Value from, plan::DType type, Index column, Index chunk);
  /// A matrix [C,C] of the chunk, zeros above the diagonal.
  void fillScores(const SharedMatrix &to, mlir::Value from);
  /// Stores two elements that stand beside each other in a row of `rowWidth`, from `element` on, as far as they are
  /// there.
  void storePair(Scalar a, Scalar b, mlir::Value to, Index element, Index column, int64_t rowWidth, mlir::Value isThere,
                 plan::DType type);
  /// Rows of sums [C,columns] times a factor each.
  void scaleRows(int64_t columns, Carried &sums, llvm::function_ref<Scalar(Index row)> factor);
  void storeState(llvm::ArrayRef<Scalar> state, mlir::Value to, Index element, Index firstColumn, plan::DType type);

  /// What decays, of its logarithm.
  Scalar decayed(Scalar logarithm);
  /// Visits what this thread has of scores [C,C], two elements of a row at a time: decayed by the running sums `decays`
  /// where rows decay, as far as they are seen; zero else.
  void visitSeen(llvm::ArrayRef<Scalar> sums, int64_t decays, bool isStrict,
                 llvm::function_ref<void(Index row, Index column, Carried &pair)> visit);
  /// This thread's position's.
  Scalar loadBeta();
  void storeBeta(Scalar beta, int64_t to);
  /// Rows of sums [C,columns] times `factor` and what decays from the chunk's start to each, or from each to the end.
  /// `logs`: of channels, [C,K]; `decays`: a vector, else.
  void decayRows(int64_t columns, Carried &sums, const SharedMatrix &logs, int64_t decays, bool isToEnd, double factor);

  // Where channels decay each by itself, e_i / e_j is no product of a factor of i and one of j that both stay in range.
  // So the chunk is halved, and halved again: of level l are the pairs i > j whose highest different bit is bit l; what
  // decays between them is what decays from j to the middle of their block, and from there to i. Pairs i = j do not
  // decay.

  int64_t levels() const { return llvm::Log2_64(static_cast<uint64_t>(size)); }
  mlir::Value isOfLevel(Index row, Index column, Index level);
  /// Running sums of the channels' logarithms.
  void loadChannelDecays(const SharedMatrix &to);
  /// What decays between a row and the middle of its block.
  Scalar levelDecay(Index level, const SharedMatrix &logs, Index row, Index column);
  /// Matrices [C,K], the rows scaled so.
  void scaleLevel(Index level, const SharedMatrix &logs,
                  llvm::ArrayRef<std::pair<const SharedMatrix *, const SharedMatrix *>> fromTo);
  /// Pairs i = j are for themselves: where levels have them not, and with a bonus, each channel times this.
  bool hasDiagonal() const { return hasChannels() || shape.has[Shape::Bonus]; }
  Scalar diagonalFactor(Index channel);

  KernelBuilder *k = nullptr;
  std::optional<Index> batch, head, length, chunks, chunk, first, end;

private:
  Carried scan(llvm::ArrayRef<Scalar> values);

  int64_t vectorElements = 0;
};

} // namespace morph

#endif // MORPH_PASSES_LOWER_CUDA_RECURRENCECHUNKS_H
