// SPDX-License-Identifier: Apache-2.0
// What a linear-attention backend is to the compiler, and the list of them.
//
// A backend is one file of this folder: a subclass and, as its last line, MORPH_LINEAR_ATTENTION_BACKEND(<file name
// without .cpp>, <subclass>). CMake lists the files, so nothing else is touched.

#ifndef MORPH_DIALECT_BACKENDS_LINEARATTENTIONBACKEND_H
#define MORPH_DIALECT_BACKENDS_LINEARATTENTIONBACKEND_H

#include "dialect/MorphOps.h"

#include <limits>
#include <memory>
#include <optional>

namespace morph {

/// A whole-number parameter of a backend, a key of a linear mixer's `options` and of a spec's [linear] table.
struct LinearMixerOption {
  llvm::StringRef name;
  int64_t defaultValue;
  int64_t minimum;
  int64_t maximum;
  llvm::StringRef description;
};

/// A linear attention that may take the place of a layer's full attention.
class LinearAttentionBackend {
public:
  virtual ~LinearAttentionBackend();

  /// The name in specs and selections: 'gated_deltanet'.
  virtual llvm::StringRef getKind() const = 0;

  /// One line for people: what it is.
  virtual llvm::StringRef getSummary() const = 0;

  /// The options, all of which a linear mixer has.
  virtual llvm::ArrayRef<LinearMixerOption> getOptions() const = 0;

  /// Checks what the options' limits do not say. The options are present and within their limits.
  virtual llvm::LogicalResult verifyOptions(mlir::DictionaryAttr options,
                                            llvm::function_ref<mlir::InFlightDiagnostic()> emitError) const;

  /// See TokenMixerOpInterface for these.
  virtual llvm::SmallVector<MixerParameter> getParameters(LinearMixerOp mixer) const = 0;
  virtual llvm::SmallVector<MixerState> getStates(LinearMixerOp mixer) const = 0;
  virtual MixerExpansion expand(LinearMixerOp mixer, mlir::OpBuilder &builder, const MixerInputs &inputs) const = 0;
  virtual double getFlops(LinearMixerOp mixer, int64_t tokens, int64_t context) const = 0;

protected:
  /// Parameters that come from the full attention: q, k, v projections with their biases, q and k norms. KV heads are
  /// repeated to one a query head.
  static void addTransferredParameters(LinearMixerOp mixer, llvm::SmallVectorImpl<MixerParameter> &parameters);

  /// Parameters of the output: gate projection [H*D,C], norm [D] and the transferred output projection with its bias.
  static void addOutputParameters(LinearMixerOp mixer, llvm::SmallVectorImpl<MixerParameter> &parameters);

  /// o_proj(rms_norm(o) * silu(g_proj x)) of o [B,T,H,D] and x [B,T,C].
  static mlir::Value buildOutput(LinearMixerOp mixer, mlir::OpBuilder &builder, mlir::Value o, mlir::Value x);

  /// The q, k and v projections [B,T,H*D] of a mixer, in this order. Positions before `start` give zero, biases
  /// included, so that left padding leaves no trace in the states.
  static std::array<mlir::Value, 3> buildProjections(LinearMixerOp mixer, mlir::OpBuilder &builder,
                                                     const MixerInputs &inputs);

  /// The mixer's input with the positions before `start` set to zero; the input itself where there is no padding.
  static mlir::Value buildMaskedHidden(LinearMixerOp mixer, mlir::OpBuilder &builder, const MixerInputs &inputs);

  /// Operations of the q, k, v, gate and output projections a token.
  static double getProjectionFlops(LinearMixerOp mixer);

  /// The dimension C of the mixer's input.
  static int64_t getHiddenSize(LinearMixerOp mixer);

  /// An option of a verified mixer.
  static int64_t getOption(LinearMixerOp mixer, llvm::StringRef name);

  /// A parameter with drawn or constant first values.
  static MixerParameter makeNormal(LinearMixerOp mixer, llvm::StringRef suffix, llvm::ArrayRef<int64_t> shape,
                                   double deviation);
  static MixerParameter makeConstant(LinearMixerOp mixer, llvm::StringRef suffix, llvm::ArrayRef<int64_t> shape,
                                     double value);
  static MixerParameter makeValues(LinearMixerOp mixer, llvm::StringRef suffix, llvm::ArrayRef<int64_t> shape,
                                   llvm::ArrayRef<double> values);
};

/// The backend of a kind; null where there is none.
const LinearAttentionBackend *getLinearAttentionBackend(llvm::StringRef kind);

/// All backends, sorted by kind.
llvm::ArrayRef<std::unique_ptr<LinearAttentionBackend>> getLinearAttentionBackends();

/// The kinds of all backends, sorted.
llvm::SmallVector<llvm::StringRef> getLinearAttentionKinds();

/// The options of a backend: those of `given`, the defaults for the others. Fails where the kind is unknown, where
/// `given` has an option that the backend lacks, or where a value is not a whole number within its limits; the error is
/// reported through `emitError` where that is given.
llvm::FailureOr<mlir::DictionaryAttr>
linearMixerOptions(llvm::StringRef kind, mlir::DictionaryAttr given,
                   llvm::function_ref<mlir::InFlightDiagnostic()> emitError = nullptr);

} // namespace morph

/// Registers a backend; NAME is the name of its file.
#define MORPH_LINEAR_ATTENTION_BACKEND(NAME, CLASS)                                                                    \
  std::unique_ptr<morph::LinearAttentionBackend> createLinearAttentionBackend##NAME() {                                \
    return std::make_unique<CLASS>();                                                                                  \
  }

#endif // MORPH_DIALECT_BACKENDS_LINEARATTENTIONBACKEND_H
