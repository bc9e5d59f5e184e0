// SPDX-License-Identifier: Apache-2.0
// A mixer whose names mean something in Python, for the folder of a hybrid.
module {
  morph.model @mixers base architecture "llama" layers 2 {
    morph.mixer @odd doc "has \22\22\22 in it" options [#morph.mixer_option<"gain" = 2.000000e+00 : f64 in [0.000000e+00, 8.000000e+00]>] sizes [] requires [] {
    ^bb0(%x: tensor<?x?x?xf32>):
      %half = morph.mixer_weight "heads" ["M"] indices [""] init <values, "1"> : tensor<?xf32>
      %lambda = morph.mixer_weight "lambda.weight" ["M", "M"] indices ["", ""] init <normal, "0.02"> : tensor<?x?xf32>
      %part = morph.mixer_weight "0.if" ["M"] indices [""] init <values, "0"> frozen : tensor<?xf32>
      %norm = morph.mixer_weight "config.weight" ["M"] indices [""] init <values, "1"> : tensor<?xf32>
      %y = morph.linear %x, %lambda : tensor<?x?x?xf32>, tensor<?x?xf32>
      %n = morph.mixer_norm %y, %norm eps "base.norm_eps" : tensor<?x?x?xf32>, tensor<?xf32>
      %m = morph.mul %n, %half : tensor<?x?x?xf32>, tensor<?xf32>
      %a = morph.add %m, %part : tensor<?x?x?xf32>, tensor<?xf32>
      %s = morph.mixer_scale %a by "gain" : tensor<?x?x?xf32>
      morph.mixer_yield %s : tensor<?x?x?xf32>
    }
  }
}
