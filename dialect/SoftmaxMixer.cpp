// SPDX-License-Identifier: Apache-2.0
// Full (or sliding-window) softmax attention of one layer: weights, cache, expansion and costs.

#include "dialect/MixerBuilder.h"

using namespace mlir;
using namespace morph;

/// The dimension C of the mixer's input.
static int64_t getHiddenSize(SoftmaxMixerOp mixer) {
  return cast<RankedTensorType>(mixer.getHidden().getType()).getShape().back();
}

int64_t SoftmaxMixerOp::getMixerLayer() { return getLayer(); }

StringRef SoftmaxMixerOp::getMixerKind() { return getWindow() ? "sliding_window" : "full"; }

StringRef SoftmaxMixerOp::getWeightPrefix() { return getPrefix(); }

SmallVector<MixerParameter> SoftmaxMixerOp::getMixerParameters() {
  AttentionShape shape;
  shape.hidden = getHiddenSize(*this);
  shape.heads = getHeads();
  shape.kvHeads = getKvHeads();
  shape.headDim = getHeadDim();
  shape.qkvBias = getQkvBias();
  shape.outputBias = getOBias();
  shape.isNormed = getQkNormEps().has_value();
  shape.isWide = getQkNormWide();
  return makeAttentionParameters(getPrefix(), shape);
}

SmallVector<MixerState> SoftmaxMixerOp::getMixerStates() {
  RankedTensorType cache = getTensorType(
      getContext(), {ShapedType::kDynamic, ShapedType::kDynamic, int64_t(getKvHeads()), int64_t(getHeadDim())});
  int64_t window = getWindow().value_or(0);
  return {{"k", cache, window}, {"v", cache, window}};
}

MixerExpansion SoftmaxMixerOp::expandMixer(OpBuilder &builder, const MixerInputs &inputs) {
  MixerBuilder mix(builder, getLoc(), getPrefix());
  int64_t heads = getHeads(), kvHeads = getKvHeads(), headDim = getHeadDim();
  auto project = [&](StringRef name, int64_t count, bool isKey) {
    Value x = mix.project(inputs.hidden, (name + "_proj").str(), count * headDim, getQkvBias());
    auto norm = [&] {
      double offset = getQkNormOffset() ? getQkNormOffset()->convertToDouble() : 0;
      x = mix.rmsNorm(x, (name + "_norm").str(), getQkNormEps()->convertToDouble(), offset);
    };
    bool isNormed = isKey && getQkNormEps();
    if (isNormed && getQkNormWide())
      norm();
    x = mix.splitHeads(x, count);
    if (isNormed && !getQkNormWide())
      norm();
    if (isKey && getRope())
      x = builder.create<RopeOp>(getLoc(), x, inputs.offset, *getRope());
    return x;
  };
  Value q = project("q", heads, true);
  Value k = project("k", kvHeads, true);
  Value v = project("v", kvHeads, false);

  MixerExpansion expansion;
  Value ringOffset;
  if (!inputs.states.empty()) {
    ringOffset = inputs.offset;
    k = mix.apply<CacheWriteOp>({inputs.states[0], k, ringOffset});
    v = mix.apply<CacheWriteOp>({inputs.states[1], v, ringOffset});
    expansion.states = {k, v};
  }
  Value mixed = builder
                    .create<AttentionOp>(getLoc(), q, k, v, inputs.start, ringOffset, /*begins=*/Value(),
                                         getScaleAttr(), getWindowAttr(), getSoftcapAttr(), /*keep_lse=*/UnitAttr())
                    .getResult();
  expansion.hidden = mix.project(mix.mergeHeads(mixed), "o_proj", getHiddenSize(*this), getOBias());
  return expansion;
}

double SoftmaxMixerOp::getMixerFlops(int64_t tokens, int64_t context) {
  double qWidth = getHeads() * getHeadDim(), kvWidth = getKvHeads() * getHeadDim(), hidden = getHiddenSize(*this);
  // Pairs of a query and a key that it sees: the i-th new token sees context - tokens + i + 1 positions, or the window.
  int64_t window = getWindow().value_or(context), first = context - tokens + 1;
  int64_t growing = std::clamp<int64_t>(window - first, 0, tokens);
  double pairs = double(growing) * double(first) + 0.5 * double(growing) * double(growing - 1) +
                 double(tokens - growing) * double(window);
  return double(tokens) * 2.0 * hidden * (2.0 * qWidth + 2.0 * kvWidth) + 4.0 * qWidth * pairs;
}

int64_t SoftmaxMixerOp::getMixerCacheBytes(int64_t context, int64_t elementBytes) {
  int64_t positions = getWindow() ? std::min<int64_t>(context, *getWindow()) : context;
  return 2 * positions * int64_t(getKvHeads() * getHeadDim()) * elementBytes;
}
