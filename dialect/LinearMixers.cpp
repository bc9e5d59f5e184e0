// SPDX-License-Identifier: Apache-2.0

#include "dialect/LinearMixers.h"

#include <cmath>

using namespace mlir;
using namespace morph;

/// The eps of the norm that makes a mixer's input: the one that the linear branch's output norm takes over.
static FloatAttr inputNormEps(SoftmaxMixerOp mixer) {
  if (auto norm = mixer.getHidden().getDefiningOp<RmsNormOp>())
    return norm.getEpsAttr();
  // Where the input is not normalised, the eps of the model's other norms.
  if (auto function = mixer->getParentOfType<func::FuncOp>()) {
    FloatAttr eps;
    function.walk([&](RmsNormOp norm) {
      eps = norm.getEpsAttr();
      return WalkResult::interrupt();
    });
    if (eps)
      return eps;
  }
  return FloatAttr::get(Float64Type::get(mixer.getContext()), 1e-6);
}

LinearMixerOp morph::createLinearMixer(OpBuilder &builder, SoftmaxMixerOp softmax, MixerOp mixer,
                                       DictionaryAttr options, StringRef prefix) {
  OperationState state(softmax.getLoc(), LinearMixerOp::getOperationName());
  FloatAttr scale;
  if (softmax.getScale().convertToDouble() != 1.0 / std::sqrt(static_cast<double>(softmax.getHeadDim())))
    scale = softmax.getScaleAttr();
  LinearMixerOp::build(
      builder, state, softmax.getType(), softmax.getHidden(), FlatSymbolRefAttr::get(mixer.getSymNameAttr()),
      softmax.getLayerAttr(), builder.getStringAttr(prefix), softmax.getPrefixAttr(), softmax.getHeadsAttr(),
      softmax.getKvHeadsAttr(), softmax.getHeadDimAttr(), softmax.getRopeAttr(), softmax.getQkvBiasAttr(),
      softmax.getOBiasAttr(), softmax.getQkNormEpsAttr(), softmax.getQkNormWideAttr(), softmax.getQkNormOffsetAttr(),
      inputNormEps(softmax), options, scale, softmax.getWindowAttr(), softmax.getSoftcapAttr());
  return cast<LinearMixerOp>(builder.create(state));
}

std::string morph::makeCandidateName(StringRef kind, size_t number) {
  return number == 1 ? kind.str() : (kind + "_" + Twine(number)).str();
}

bool morph::isCandidateOfKind(StringRef name, StringRef kind) {
  if (!name.consume_front(kind))
    return false;
  unsigned number = 0;
  return name.empty() || (name.consume_front("_") && !name.getAsInteger(10, number) && number > 1);
}
