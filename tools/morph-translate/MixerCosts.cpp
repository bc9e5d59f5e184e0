// SPDX-License-Identifier: Apache-2.0

#include "MixerCosts.h"

#include <map>

using namespace mlir;
using namespace morph;

llvm::json::Value morph::makeMixerCosts(ModelOp model, int64_t elementBytes) {
  constexpr int64_t kContexts[] = {8192, 16384, 32768, 65536, 131072, 262144};
  llvm::json::Array contexts(kContexts);
  // By layer: what the model says of their number is no reason to make room for as many.
  std::map<int64_t, llvm::json::Array> layers;
  auto forward = llvm::dyn_cast_or_null<func::FuncOp>(SymbolTable::lookupSymbolIn(model, "forward"));
  if (forward)
    forward.walk([&](TokenMixerOpInterface mixer) {
      llvm::json::Array cache, prefill, decode;
      for (int64_t context : kContexts) {
        cache.push_back(mixer.getMixerCacheBytes(context, elementBytes));
        prefill.push_back(mixer.getMixerFlops(context, context));
        decode.push_back(mixer.getMixerFlops(1, context));
      }
      int64_t parameters = 0;
      for (const MixerParameter &parameter : mixer.getMixerParameters()) {
        int64_t elements = 1;
        for (int64_t size : parameter.shape)
          elements *= size;
        parameters += elements;
      }
      layers[mixer.getMixerLayer()].push_back(llvm::json::Object{{"kind", mixer.getMixerKind()},
                                                                 {"parameters", parameters},
                                                                 {"cache_bytes", std::move(cache)},
                                                                 {"prefill_flops", std::move(prefill)},
                                                                 {"decode_flops", std::move(decode)}});
    });
  llvm::json::Array list;
  for (auto &[layer, candidates] : layers)
    list.push_back(llvm::json::Object{{"layer", layer}, {"candidates", std::move(candidates)}});
  return llvm::json::Object{{"model", model.getSymName()},
                            {"element_bytes", elementBytes},
                            {"contexts", std::move(contexts)},
                            {"layers", std::move(list)}};
}
