// SPDX-License-Identifier: Apache-2.0

#include "frontends/huggingface/Import.h"

#include "dialect/MorphOps.h"
#include "frontends/ModelBuilder.h"
#include "frontends/huggingface/Checkpoint.h"
#include "frontends/huggingface/Config.h"
#include "frontends/huggingface/DeclaredMixers.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Verifier.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace morph;

OwningOpRef<ModuleOp> morph::importHuggingFace(MLIRContext &context, StringRef folder, StringRef name,
                                               WeightCheck check, Diagnostics &diagnostics, SourceRange usedAt,
                                               ModelConfig *configOut, const std::optional<ContextRequest> &positions) {
  llvm::SmallString<256> configPath(folder);
  llvm::sys::path::append(configPath, "config.json");
  if (!llvm::sys::fs::is_directory(folder)) {
    diagnostics.error(usedAt,
                      llvm::sys::fs::exists(folder) ? "'" + folder + "' is not a folder"
                                                    : "there is no folder '" + folder + "'",
                      "a model is a Hugging Face folder with config.json and *.safetensors");
    return nullptr;
  }
  if (!llvm::sys::fs::exists(configPath)) {
    const bool isRun = llvm::sys::fs::exists(folder + "/hybrid/config.json");
    diagnostics.error(usedAt, "the folder '" + folder + "' has no config.json",
                      isRun ? "it is a run, whose hybrid is '" + folder + "/hybrid'"
                            : llvm::Twine("a model is a Hugging Face folder with config.json and *.safetensors"));
    return nullptr;
  }
  std::optional<JsonFile> file = JsonFile::read(configPath, diagnostics);
  if (!file)
    return nullptr;
  std::optional<ModelConfig> config = readModelConfig(*file, diagnostics, positions);
  if (!config)
    return nullptr;

  loadModelDialects(context);
  std::optional<OwningOpRef<ModuleOp>> declared = readDeclaredMixers(context, folder, diagnostics);
  if (!declared)
    return nullptr;
  // What MLIR has to say of the model is said in the same style as everything else.
  ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
    diagnostics.error("'" + configPath.str() + "': " + diagnostic.str());
    return success();
  });
  auto [line, column] = diagnostics.getLineAndColumn(file->getPlace("model_type"));
  Location location = FileLineColLoc::get(&context, configPath, line, column);
  OwningOpRef<ModuleOp> module = buildModel(context, *config, name, location, declared->get());
  if (!module)
    return nullptr;

  if (check == WeightCheck::Required || Checkpoint::exists(folder)) {
    std::optional<Checkpoint> checkpoint = Checkpoint::read(folder, diagnostics);
    if (!checkpoint)
      return nullptr;
    std::vector<ExpectedWeight> expected;
    module->walk([&](WeightOp weight) {
      ExpectedWeight &added = expected.emplace_back();
      added.name = weight.getSymName().str();
      added.shape.assign(weight.getType().getShape().begin(), weight.getType().getShape().end());
      if (weight.getPieces())
        for (PieceAttr piece : weight.getPieces()->getAsRange<PieceAttr>())
          added.pieces.push_back({piece.getTensor().str(), piece.getBegin(), piece.getEnd()});
    });
    if (!checkWeights(*checkpoint, expected, config->tied, diagnostics))
      return nullptr;
    module->walk([&](WeightOp weight) {
      StringRef name = weight.getSymName();
      if (weight.getPieces())
        name = cast<PieceAttr>((*weight.getPieces())[0]).getTensor();
      const Checkpoint::Tensor *tensor = checkpoint->find(name);
      weight.setType(weight.getType().clone(getElementType(context, tensor->type)));
      weight->setLoc(FileLineColLoc::get(&context, tensor->file, 1, 1));
    });
  }
  if (failed(verify(*module)))
    return nullptr;
  if (configOut)
    *configOut = std::move(*config);
  return module;
}
