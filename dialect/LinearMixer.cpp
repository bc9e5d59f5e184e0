// SPDX-License-Identifier: Apache-2.0
// Linear attention of one layer: everything is asked of the backend that `kind` names.

#include "dialect/backends/LinearAttentionBackend.h"

using namespace mlir;
using namespace morph;

/// The backend of a verified mixer.
static const LinearAttentionBackend &getBackend(LinearMixerOp mixer) {
  const LinearAttentionBackend *backend = getLinearAttentionBackend(mixer.getKind());
  assert(backend && "the verifier refuses unknown kinds");
  return *backend;
}

int64_t LinearMixerOp::getMixerLayer() { return getLayer(); }

StringRef LinearMixerOp::getMixerKind() { return getKind(); }

StringRef LinearMixerOp::getWeightPrefix() { return getPrefix(); }

SmallVector<MixerParameter> LinearMixerOp::getMixerParameters() { return getBackend(*this).getParameters(*this); }

SmallVector<MixerState> LinearMixerOp::getMixerStates() { return getBackend(*this).getStates(*this); }

MixerExpansion LinearMixerOp::expandMixer(OpBuilder &builder, const MixerInputs &inputs) {
  return getBackend(*this).expand(*this, builder, inputs);
}

double LinearMixerOp::getMixerFlops(int64_t tokens, int64_t context) {
  return getBackend(*this).getFlops(*this, tokens, context);
}

int64_t LinearMixerOp::getMixerCacheBytes(int64_t, int64_t) {
  // Recurrent states are f32 whatever the cached keys' type, and do not grow with the context.
  int64_t bytes = 0;
  for (const MixerState &state : getMixerStates())
    bytes += 4 * ShapedType::getNumElements(state.type.getShape().drop_front());
  return bytes;
}
