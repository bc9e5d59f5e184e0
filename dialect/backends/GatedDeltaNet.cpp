// SPDX-License-Identifier: Apache-2.0
// Gated DeltaNet (arXiv 2412.06464): the delta rule with a decay a head and position, both made from the input.
//
//   q, k, v = silu(conv?(norm?(projections of x)));  q, k divided by their lengths
//   g    = -exp(A_log) * softplus(a_proj x + dt_bias)          [B,T,H]
//   beta = sigmoid(b_proj x)                                    [B,T,H]
//   S <- exp(g) S + k (beta (v - (exp(g) S)^T k))^T;  o = S^T q D^-0.5
//   y    = o_proj(rms_norm(o) * silu(g_proj x))

#include "dialect/MixerBuilder.h"
#include "dialect/backends/LinearAttentionBackend.h"
#include "runtime/plan/SizeLimits.h"

#include <cmath>

using namespace mlir;
using namespace morph;

namespace {
constexpr LinearMixerOption gatedDeltaNetOptions[] = {
    {"chunk", 64, 1, limits::kChunk, "positions that are computed together"},
    {"conv", 0, 0, 16, "width of the short convolutions of q, k and v; 0 for none"},
};
constexpr double lengthEps = 1e-6;

class GatedDeltaNet final : public LinearAttentionBackend {
public:
  StringRef getKind() const override { return "gated_deltanet"; }
  StringRef getSummary() const override { return "gated delta rule, decay and step made from the input"; }
  ArrayRef<LinearMixerOption> getOptions() const override { return gatedDeltaNetOptions; }
  LogicalResult verifyOptions(DictionaryAttr options, function_ref<InFlightDiagnostic()> emitError) const override;
  SmallVector<MixerParameter> getParameters(LinearMixerOp mixer) const override;
  SmallVector<MixerState> getStates(LinearMixerOp mixer) const override;
  MixerExpansion expand(LinearMixerOp mixer, OpBuilder &builder, const MixerInputs &inputs) const override;
  double getFlops(LinearMixerOp mixer, int64_t tokens, int64_t context) const override;
};
} // namespace

LogicalResult GatedDeltaNet::verifyOptions(DictionaryAttr options, function_ref<InFlightDiagnostic()> emitError) const {
  if (options.getAs<IntegerAttr>("conv").getInt() == 1)
    return emitError()
           << "option 'conv' of 'gated_deltanet' is 1, expected 0 (no convolution) or a width of at least 2";
  return success();
}

SmallVector<MixerParameter> GatedDeltaNet::getParameters(LinearMixerOp mixer) const {
  SmallVector<MixerParameter> parameters;
  addTransferredParameters(mixer, parameters);
  int64_t heads = mixer.getHeads(), hidden = getHiddenSize(mixer), width = heads * mixer.getHeadDim();
  parameters.push_back(makeNormal(mixer, "a_proj.weight", {heads, hidden}, 0.02));
  parameters.push_back(makeNormal(mixer, "b_proj.weight", {heads, hidden}, 0.02));

  // Rates A from 1 to 16 and steps dt from 1e-3 to 1e-1, spread over the heads; dt_bias is the inverse softplus of dt.
  SmallVector<double> logA, stepBias;
  for (int64_t head = 0; head < heads; ++head) {
    double place = heads > 1 ? double(head) / double(heads - 1) : 0.0;
    logA.push_back(std::log(1.0 + 15.0 * place));
    double step = std::exp(std::log(1e-3) + place * (std::log(1e-1) - std::log(1e-3)));
    stepBias.push_back(step + std::log(-std::expm1(-step)));
  }
  parameters.push_back(makeValues(mixer, "A_log", {heads}, logA));
  parameters.push_back(makeValues(mixer, "dt_bias", {heads}, stepBias));

  if (int64_t conv = getOption(mixer, "conv")) {
    // The filter that changes nothing: the newest input alone, in every channel.
    SmallVector<double> identity(conv, 0.0);
    identity.back() = 1.0;
    for (StringRef suffix : {"q_conv.weight", "k_conv.weight", "v_conv.weight"})
      parameters.push_back(makeValues(mixer, suffix, {width, 1, conv}, identity));
  }
  addOutputParameters(mixer, parameters);
  return parameters;
}

SmallVector<MixerState> GatedDeltaNet::getStates(LinearMixerOp mixer) const {
  MLIRContext *context = mixer.getContext();
  int64_t heads = mixer.getHeads(), headDim = mixer.getHeadDim();
  SmallVector<MixerState> states;
  states.push_back({"state", getTensorType(context, {ShapedType::kDynamic, heads, headDim, headDim})});
  if (int64_t conv = getOption(mixer, "conv"))
    for (const char *name : {"conv_q", "conv_k", "conv_v"})
      states.push_back({name, getTensorType(context, {ShapedType::kDynamic, conv - 1, heads * headDim})});
  return states;
}

MixerExpansion GatedDeltaNet::expand(LinearMixerOp mixer, OpBuilder &builder, const MixerInputs &inputs) const {
  MixerBuilder mix(builder, mixer.getLoc(), mixer.getPrefix());
  int64_t heads = mixer.getHeads(), conv = getOption(mixer, "conv");
  bool decodes = !inputs.states.empty();
  SmallVector<Value> convStates;

  auto projections = buildProjections(mixer, builder, inputs);
  constexpr std::array<StringRef, 3> names{"q", "k", "v"};
  for (auto [index, name] : llvm::enumerate(names)) {
    Value x = mix.splitHeads(projections[index], heads);
    if (name != "v" && mixer.getQkNormEps())
      x = mix.rmsNorm(x, (name + "_norm").str(), mixer.getQkNormEps()->convertToDouble());
    if (conv) {
      Value filter = mix.param((name + "_conv.weight").str(), {heads * int64_t(mixer.getHeadDim()), 1, conv});
      Value state = decodes ? inputs.states[1 + index] : Value();
      auto convolved = builder.create<ShortConvOp>(mixer.getLoc(), mix.mergeHeads(x), filter, state);
      convStates.push_back(convolved.getFinalState());
      x = mix.splitHeads(convolved.getResult(), heads);
    }
    x = mix.apply<SiluOp>(x);
    projections[index] = name == "v" ? x : mix.l2Norm(x, lengthEps);
  }

  Value hidden = buildMaskedHidden(mixer, builder, inputs);
  Value rate = mix.scale(mix.apply<ExpOp>(mix.param("A_log", {heads})), -1.0);
  Value stepWeight = mix.param("a_proj.weight", {heads, getHiddenSize(mixer)});
  Value step = builder.create<LinearOp>(mixer.getLoc(), hidden, stepWeight, mix.param("dt_bias", {heads}));
  Value decay = mix.apply<MulOp>({mix.apply<SoftplusOp>(step), rate});
  Value beta = mix.apply<SigmoidOp>(mix.project(hidden, "b_proj", heads, false));

  auto [q, k, v] = projections;
  auto attention = builder.create<LinearAttentionOp>(
      mixer.getLoc(), q, k, v, /*head_decay=*/Value(), decay, /*channel_decay=*/Value(), beta, /*write=*/Value(),
      /*erase=*/Value(), /*bonus=*/Value(), decodes ? inputs.states.front() : Value(),
      llvm::APFloat(1.0 / std::sqrt(double(mixer.getHeadDim()))), getOption(mixer, "chunk"),
      /*normaliser=*/FloatAttr());

  MixerExpansion expansion;
  expansion.hidden = buildOutput(mixer, builder, attention.getResult(), hidden);
  if (decodes) {
    expansion.states.push_back(attention.getFinalState());
    expansion.states.append(convStates);
  }
  return expansion;
}

double GatedDeltaNet::getFlops(LinearMixerOp mixer, int64_t tokens, int64_t) const {
  double heads = mixer.getHeads(), d = mixer.getHeadDim(), hidden = getHiddenSize(mixer);
  double chunk = std::min(getOption(mixer, "chunk"), tokens), conv = getOption(mixer, "conv");
  double perToken = getProjectionFlops(mixer) + 2.0 * 2.0 * heads * hidden + 3.0 * 2.0 * conv * heads * d;
  // Within a chunk of c: K K^T, the triangular inverse, W and U, Q K^T and its product with the values. Between chunks:
  // W S, Q S and K^T V. One position at a time costs the four passes over the state.
  perToken +=
      tokens == 1 ? heads * 8.0 * d * d : heads * (5.0 * 2.0 * chunk * d + chunk * chunk / 3.0 + 3.0 * 2.0 * d * d);
  return perToken * double(tokens);
}

MORPH_LINEAR_ATTENTION_BACKEND(GatedDeltaNet, GatedDeltaNet)
