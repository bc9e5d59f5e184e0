// SPDX-License-Identifier: Apache-2.0
// Linear attention of one layer: everything follows from the body of the mixer that is declared.

#include "dialect/MixerExpander.h"
#include "dialect/OpCosts.h"

using namespace mlir;
using namespace morph;

/// The expander of a verified mixer.
static MixerExpander getExpander(LinearMixerOp mixer) {
  FailureOr<MixerExpander> expander = MixerExpander::create(mixer);
  assert(succeeded(expander) && "the verifier refuses what does not fit");
  return std::move(*expander);
}

/// Positions of the context that a ring holds.
static int64_t getSlots(const MixerState &ring, int64_t context) {
  return ring.window ? std::min(ring.window, context) : context;
}

int64_t LinearMixerOp::getMixerLayer() { return getLayer(); }

StringRef LinearMixerOp::getMixerKind() { return getMixer(); }

StringRef LinearMixerOp::getWeightPrefix() { return getPrefix(); }

SmallVector<MixerParameter> LinearMixerOp::getMixerParameters() { return *getExpander(*this).getParameters(); }

SmallVector<MixerParameter> LinearMixerOp::getInitialParameters() {
  return *getExpander(*this).getParameters(/*withFirstValues=*/true);
}

SmallVector<MixerState> LinearMixerOp::getMixerStates() { return *getExpander(*this).getStates(); }

MixerExpansion LinearMixerOp::expandMixer(OpBuilder &builder, const MixerInputs &inputs) {
  return *getExpander(*this).expand(builder, inputs);
}

double LinearMixerOp::getMixerFlops(int64_t tokens, int64_t context) {
  // Of a copy that decodes one sequence, whose rings hold the context.
  MixerExpander expander = getExpander(*this);
  Block scratch;
  OpBuilder builder(getContext());
  builder.setInsertionPointToEnd(&scratch);
  int64_t hidden = cast<RankedTensorType>(getHidden().getType()).getShape().back();
  MixerInputs inputs;
  inputs.hidden = scratch.addArgument(getTensorType(getContext(), {1, tokens, hidden}), getLoc());
  inputs.offset = scratch.addArgument(getIndexTensorType(getContext(), {1}), getLoc());
  FailureOr<SmallVector<MixerState>> states = expander.getStates();
  for (const MixerState &state : *states) {
    SmallVector<int64_t> shape(state.type.getShape());
    for (auto [index, size] : llvm::enumerate(shape))
      if (ShapedType::isDynamic(size))
        size = index == 0 ? 1 : getSlots(state, context);
    inputs.states.push_back(scratch.addArgument(getTensorType(getContext(), shape), getLoc()));
  }
  (void)*expander.expand(builder, inputs);
  return countFlops(scratch);
}

int64_t LinearMixerOp::getMixerCacheBytes(int64_t context, int64_t elementBytes) {
  // Recurrent states are f32 whatever the cached keys' type, and do not grow with the context.
  int64_t bytes = 0;
  for (const MixerState &state : getMixerStates()) {
    int64_t elements = 1;
    bool isRing = false;
    for (int64_t size : state.type.getShape().drop_front()) {
      isRing |= ShapedType::isDynamic(size);
      elements *= ShapedType::isDynamic(size) ? getSlots(state, context) : size;
    }
    bytes += elements * (isRing ? elementBytes : 4);
  }
  return bytes;
}
