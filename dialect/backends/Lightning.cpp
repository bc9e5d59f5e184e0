// SPDX-License-Identifier: Apache-2.0
// Lightning attention (arXiv 2405.17381): linear attention with a fixed decay a head and no normaliser.
//
//   q, k = rope(norm of the projections of x): the base's q/k norms where it has them, else length sqrt(D)
//   S <- exp(decay_h) S + k v^T;  o = S^T q D^-0.5,  decay_h = -2^(-8 (h+1) / H)
//   y    = o_proj(rms_norm(o) * silu(g_proj x))

#include "dialect/MixerBuilder.h"
#include "dialect/backends/LinearAttentionBackend.h"
#include "runtime/plan/SizeLimits.h"

#include <cmath>

using namespace mlir;
using namespace morph;

namespace {
constexpr LinearMixerOption lightningOptions[] = {
    {"chunk", 64, 1, limits::kChunk, "positions that are computed together"},
};
constexpr double lengthEps = 1e-6;

class Lightning final : public LinearAttentionBackend {
public:
  StringRef getKind() const override { return "lightning"; }
  StringRef getSummary() const override { return "linear attention with a fixed decay a head"; }
  ArrayRef<LinearMixerOption> getOptions() const override { return lightningOptions; }
  SmallVector<MixerParameter> getParameters(LinearMixerOp mixer) const override;
  SmallVector<MixerState> getStates(LinearMixerOp mixer) const override;
  MixerExpansion expand(LinearMixerOp mixer, OpBuilder &builder, const MixerInputs &inputs) const override;
  double getFlops(LinearMixerOp mixer, int64_t tokens, int64_t context) const override;
};
} // namespace

SmallVector<MixerParameter> Lightning::getParameters(LinearMixerOp mixer) const {
  SmallVector<MixerParameter> parameters;
  addTransferredParameters(mixer, parameters);
  int64_t heads = mixer.getHeads();
  SmallVector<double> decays;
  for (int64_t head = 0; head < heads; ++head)
    decays.push_back(-std::exp2(-8.0 * double(head + 1) / double(heads)));
  parameters.push_back(makeValues(mixer, "decay", {heads}, decays));
  parameters.back().trainable = false;
  addOutputParameters(mixer, parameters);
  return parameters;
}

SmallVector<MixerState> Lightning::getStates(LinearMixerOp mixer) const {
  int64_t heads = mixer.getHeads(), headDim = mixer.getHeadDim();
  return {{"state", getTensorType(mixer.getContext(), {ShapedType::kDynamic, heads, headDim, headDim})}};
}

MixerExpansion Lightning::expand(LinearMixerOp mixer, OpBuilder &builder, const MixerInputs &inputs) const {
  MixerBuilder mix(builder, mixer.getLoc(), mixer.getPrefix());
  int64_t heads = mixer.getHeads();
  double headDim = mixer.getHeadDim();
  bool decodes = !inputs.states.empty();

  auto [q, k, v] = buildProjections(mixer, builder, inputs);
  auto prepare = [&](Value x, StringRef name) -> Value {
    x = mix.splitHeads(x, heads);
    if (mixer.getQkNormEps())
      x = mix.rmsNorm(x, (name + "_norm").str(), mixer.getQkNormEps()->convertToDouble());
    else
      x = mix.scale(mix.l2Norm(x, lengthEps), std::sqrt(headDim));
    return builder.create<RopeOp>(mixer.getLoc(), x, inputs.offset, mixer.getRope());
  };
  q = prepare(q, "q");
  k = prepare(k, "k");
  v = mix.splitHeads(v, heads);
  Value decay = mix.param("decay", {heads});
  auto attention = builder.create<LinearAttentionOp>(
      mixer.getLoc(), q, k, v, decay, /*decay=*/Value(), /*channel_decay=*/Value(), /*beta=*/Value(), /*write=*/Value(),
      /*erase=*/Value(), /*bonus=*/Value(), decodes ? inputs.states.front() : Value(),
      llvm::APFloat(1.0 / std::sqrt(headDim)), getOption(mixer, "chunk"), /*normaliser=*/FloatAttr());

  MixerExpansion expansion;
  expansion.hidden = buildOutput(mixer, builder, attention.getResult(), buildMaskedHidden(mixer, builder, inputs));
  if (decodes)
    expansion.states.push_back(attention.getFinalState());
  return expansion;
}

double Lightning::getFlops(LinearMixerOp mixer, int64_t tokens, int64_t) const {
  double heads = mixer.getHeads(), d = mixer.getHeadDim();
  double chunk = std::min(getOption(mixer, "chunk"), tokens);
  // Within a chunk of c: Q K^T and its product with V. Between chunks: Q S and K^T V.
  double perToken = getProjectionFlops(mixer);
  perToken += tokens == 1 ? heads * 4.0 * d * d : heads * (2.0 * 2.0 * chunk * d + 2.0 * 2.0 * d * d);
  return perToken * double(tokens);
}

MORPH_LINEAR_ATTENTION_BACKEND(Lightning, Lightning)
