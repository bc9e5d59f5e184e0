// SPDX-License-Identifier: Apache-2.0
// The list of backends and what they share.

#include "dialect/backends/LinearAttentionBackend.h"

#include "dialect/MixerBuilder.h"

#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace morph;

#define MORPH_BACKEND(NAME) std::unique_ptr<LinearAttentionBackend> createLinearAttentionBackend##NAME();
#include "dialect/Backends.def"
#undef MORPH_BACKEND

//===----------------------------------------------------------------------===//
// The list
//===----------------------------------------------------------------------===//

ArrayRef<std::unique_ptr<LinearAttentionBackend>> morph::getLinearAttentionBackends() {
  static const std::vector<std::unique_ptr<LinearAttentionBackend>> backends = [] {
    std::vector<std::unique_ptr<LinearAttentionBackend>> list;
#define MORPH_BACKEND(NAME) list.push_back(createLinearAttentionBackend##NAME());
#include "dialect/Backends.def"
#undef MORPH_BACKEND
    llvm::sort(list, [](const auto &a, const auto &b) { return a->getKind() < b->getKind(); });
    return list;
  }();
  return backends;
}

const LinearAttentionBackend *morph::getLinearAttentionBackend(StringRef kind) {
  for (const auto &backend : getLinearAttentionBackends())
    if (backend->getKind() == kind)
      return backend.get();
  return nullptr;
}

SmallVector<StringRef> morph::getLinearAttentionKinds() {
  return llvm::map_to_vector(getLinearAttentionBackends(), [](const auto &backend) { return backend->getKind(); });
}

FailureOr<DictionaryAttr> morph::linearMixerOptions(StringRef kind, DictionaryAttr given,
                                                    function_ref<InFlightDiagnostic()> emitError) {
  auto fail = [&](const Twine &message) {
    if (emitError)
      emitError() << message;
    return failure();
  };
  const LinearAttentionBackend *backend = getLinearAttentionBackend(kind);
  if (!backend)
    return fail("unknown linear attention '" + kind + "'; there are: " + llvm::join(getLinearAttentionKinds(), ", "));

  ArrayRef<LinearMixerOption> options = backend->getOptions();
  for (NamedAttribute attribute : given) {
    const auto *option = llvm::find_if(
        options, [&](const LinearMixerOption &option) { return option.name == attribute.getName().getValue(); });
    if (option == options.end())
      return fail(
          "'" + kind + "' has no option '" + attribute.getName().getValue() + "'; it has: " +
          llvm::join(llvm::map_range(options, [](const LinearMixerOption &option) { return option.name; }), ", "));
    auto value = dyn_cast<IntegerAttr>(attribute.getValue());
    if (!value || !value.getType().isInteger(64))
      return fail("option '" + option->name + "' of '" + kind + "' is not a 64-bit whole number");
    if (value.getInt() < option->minimum || value.getInt() > option->maximum)
      return fail("option '" + option->name + "' of '" + kind + "' is " + Twine(value.getInt()) + ", expected " +
                  Twine(option->minimum) + " to " + Twine(option->maximum));
  }

  NamedAttrList complete(given);
  Builder builder(given.getContext());
  for (const LinearMixerOption &option : options)
    if (!complete.get(option.name))
      complete.set(option.name, builder.getI64IntegerAttr(option.defaultValue));
  DictionaryAttr result = complete.getDictionary(given.getContext());
  // A diagnostic that nobody asked for is made and dropped.
  auto emitErrorOrDrop = [&]() { return emitError ? emitError() : InFlightDiagnostic(); };
  if (failed(backend->verifyOptions(result, emitErrorOrDrop)))
    return failure();
  return result;
}

//===----------------------------------------------------------------------===//
// What backends share
//===----------------------------------------------------------------------===//

LinearAttentionBackend::~LinearAttentionBackend() = default;

LogicalResult LinearAttentionBackend::verifyOptions(DictionaryAttr, function_ref<InFlightDiagnostic()>) const {
  return success();
}

int64_t LinearAttentionBackend::getHiddenSize(LinearMixerOp mixer) {
  return cast<RankedTensorType>(mixer.getHidden().getType()).getShape().back();
}

int64_t LinearAttentionBackend::getOption(LinearMixerOp mixer, StringRef name) {
  return mixer.getOptions().getAs<IntegerAttr>(name).getInt();
}

MixerParameter LinearAttentionBackend::makeNormal(LinearMixerOp mixer, StringRef suffix, ArrayRef<int64_t> shape,
                                                  double deviation) {
  Builder builder(mixer.getContext());
  return makeParameter(
      mixer.getPrefix(), suffix, shape,
      InitAttr::get(mixer.getContext(), InitKind::Normal, nullptr, 0, 0, builder.getF64FloatAttr(deviation), nullptr));
}

MixerParameter LinearAttentionBackend::makeConstant(LinearMixerOp mixer, StringRef suffix, ArrayRef<int64_t> shape,
                                                    double value) {
  Builder builder(mixer.getContext());
  return makeParameter(
      mixer.getPrefix(), suffix, shape,
      InitAttr::get(mixer.getContext(), InitKind::Constant, nullptr, 0, 0, builder.getF64FloatAttr(value), nullptr));
}

MixerParameter LinearAttentionBackend::makeValues(LinearMixerOp mixer, StringRef suffix, ArrayRef<int64_t> shape,
                                                  ArrayRef<double> values) {
  return makeParameter(mixer.getPrefix(), suffix, shape,
                       InitAttr::get(mixer.getContext(), InitKind::Values, nullptr, 0, 0, nullptr,
                                     DenseF64ArrayAttr::get(mixer.getContext(), values)));
}

/// A parameter copied from the full attention, its groups of rows repeated `times` times.
static MixerParameter makeTransferred(LinearMixerOp mixer, StringRef suffix, ArrayRef<int64_t> shape, int64_t groups,
                                      int64_t times) {
  auto source = StringAttr::get(mixer.getContext(), mixer.getSource() + "." + suffix);
  InitAttr init =
      times == 1 ? InitAttr::get(mixer.getContext(), InitKind::Copy, source, 0, 0, nullptr, nullptr)
                 : InitAttr::get(mixer.getContext(), InitKind::RepeatHeads, source, groups, times, nullptr, nullptr);
  return makeParameter(mixer.getPrefix(), suffix, shape, init);
}

void LinearAttentionBackend::addTransferredParameters(LinearMixerOp mixer,
                                                      SmallVectorImpl<MixerParameter> &parameters) {
  int64_t width = mixer.getHeads() * mixer.getHeadDim(), hidden = getHiddenSize(mixer);
  int64_t groups = mixer.getSourceKvHeads(), times = mixer.getHeads() / groups;
  parameters.push_back(makeTransferred(mixer, "q_proj.weight", {width, hidden}, 0, 1));
  parameters.push_back(makeTransferred(mixer, "k_proj.weight", {width, hidden}, groups, times));
  parameters.push_back(makeTransferred(mixer, "v_proj.weight", {width, hidden}, groups, times));
  if (mixer.getQkvBias()) {
    parameters.push_back(makeTransferred(mixer, "q_proj.bias", {width}, 0, 1));
    parameters.push_back(makeTransferred(mixer, "k_proj.bias", {width}, groups, times));
    parameters.push_back(makeTransferred(mixer, "v_proj.bias", {width}, groups, times));
  }
  if (mixer.getQkNormEps()) {
    int64_t headDim = mixer.getHeadDim();
    parameters.push_back(makeTransferred(mixer, "q_norm.weight", {headDim}, 0, 1));
    parameters.push_back(makeTransferred(mixer, "k_norm.weight", {headDim}, 0, 1));
  }
}

void LinearAttentionBackend::addOutputParameters(LinearMixerOp mixer, SmallVectorImpl<MixerParameter> &parameters) {
  int64_t headDim = mixer.getHeadDim(), width = mixer.getHeads() * headDim, hidden = getHiddenSize(mixer);
  parameters.push_back(makeNormal(mixer, "g_proj.weight", {width, hidden}, 0.02));
  parameters.push_back(makeConstant(mixer, "o_norm.weight", {headDim}, 1.0));
  parameters.push_back(makeTransferred(mixer, "o_proj.weight", {hidden, width}, 0, 1));
  if (mixer.getOBias())
    parameters.push_back(makeTransferred(mixer, "o_proj.bias", {hidden}, 0, 1));
}

Value LinearAttentionBackend::buildOutput(LinearMixerOp mixer, OpBuilder &builder, Value o, Value x) {
  MixerBuilder mix(builder, mixer.getLoc(), mixer.getPrefix());
  int64_t width = mixer.getHeads() * mixer.getHeadDim();
  Value normalised = mix.mergeHeads(mix.rmsNorm(o, "o_norm", mixer.getNormEps().convertToDouble()));
  Value gate = mix.apply<SiluOp>(mix.project(x, "g_proj", width, false));
  return mix.project(mix.apply<MulOp>({normalised, gate}), "o_proj", getHiddenSize(mixer), mixer.getOBias());
}

Value LinearAttentionBackend::buildMaskedHidden(LinearMixerOp mixer, OpBuilder &builder, const MixerInputs &inputs) {
  if (!inputs.start)
    return inputs.hidden;
  return builder.create<MaskPaddingOp>(mixer.getLoc(), inputs.hidden, inputs.start, inputs.offset);
}

std::array<Value, 3> LinearAttentionBackend::buildProjections(LinearMixerOp mixer, OpBuilder &builder,
                                                              const MixerInputs &inputs) {
  MixerBuilder mix(builder, mixer.getLoc(), mixer.getPrefix());
  int64_t width = mixer.getHeads() * mixer.getHeadDim();
  Value hidden = buildMaskedHidden(mixer, builder, inputs);
  constexpr std::array<StringRef, 3> suffixes{"q_proj", "k_proj", "v_proj"};
  std::array<Value, 3> projected;
  for (auto [value, suffix] : llvm::zip_equal(projected, suffixes)) {
    value = mix.project(hidden, suffix, width, mixer.getQkvBias());
    // A zero input still gives the bias.
    if (inputs.start && mixer.getQkvBias())
      value = builder.create<MaskPaddingOp>(mixer.getLoc(), value, inputs.start, inputs.offset);
  }
  return projected;
}

double LinearAttentionBackend::getProjectionFlops(LinearMixerOp mixer) {
  return 2.0 * 5.0 * double(getHiddenSize(mixer)) * double(mixer.getHeads() * mixer.getHeadDim());
}
