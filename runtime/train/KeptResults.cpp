// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/KeptResults.h"

#include "runtime/base/Log.h"
#include "runtime/base/Sha256.h"
#include "runtime/plan/Cost.h"
#include "runtime/weights/Safetensors.h"

#include <filesystem>

namespace morph {

namespace fs = std::filesystem;

static const char *const digestName = "morph_kept";

KeptResults::KeptResults(std::string folder, std::string key, std::vector<std::string> names, int64_t processes)
    : folder_(std::move(folder)), key_(std::move(key)), processes_(processes) {
  for (std::string &name : names) {
    Output &output = outputs_.emplace_back();
    output.name = std::move(name);
    std::error_code error; // A folder that is not there holds nothing.
    for (const fs::directory_entry &entry : fs::directory_iterator(folder_ + "/" + output.name, error))
      if (const auto size = entry.file_size(error); !error)
        output.bytes += static_cast<int64_t>(size);
    output.bytes /= processes_; // Of files of all processes.
  }
}

std::string KeptResults::pathOf(const Output &output, const std::string &batch) const {
  return folder_ + "/" + output.name + "/" + batch + ".safetensors";
}

std::string KeptResults::digestOf(const NamedTensors &inputs, const at::Tensor &result) const {
  Sha256 hash;
  // Sizes stand before what they are of, so that no two contents are the same bytes.
  auto addNumber = [&](int64_t number) { hash.add(&number, sizeof number); };
  auto addText = [&](const std::string &text) {
    addNumber(static_cast<int64_t>(text.size()));
    hash.add(text.data(), text.size());
  };
  auto addTensor = [&](const at::Tensor &tensor) {
    const at::Tensor values = tensor.contiguous();
    addText(c10::toString(values.scalar_type()));
    addNumber(values.dim());
    for (int64_t size : values.sizes())
      addNumber(size);
    hash.add(values.const_data_ptr(), values.nbytes());
  };
  addText(key_);
  addNumber(static_cast<int64_t>(inputs.size()));
  for (const auto &[name, input] : inputs) {
    addText(name);
    addTensor(input);
  }
  addTensor(result);
  return hash.finish();
}

at::Tensor KeptResults::find(Output &output, const std::string &batch, const NamedTensors &inputs) {
  const std::string path = pathOf(output, batch);
  std::error_code error;
  const auto size = fs::file_size(path, error);
  if (error)
    return at::Tensor();
  if (auto file = SafetensorsFile::open(path); file.ok()) {
    const at::Tensor result = (*file)->tensor(output.name);
    const auto &metadata = (*file)->metadata();
    if (auto digest = metadata.find(digestName);
        result.defined() && digest != metadata.end() && digest->second == digestOf(inputs, result))
      return result;
  }
  if (!warned_)
    logWarning("morph-run", "'" + path + "' is damaged, or of other inputs than this run's: it is made anew");
  warned_ = true;
  if (fs::remove(path, error))
    output.bytes -= static_cast<int64_t>(size);
  return at::Tensor();
}

Status KeptResults::keep(Output &output, const std::string &batch, const NamedTensors &inputs,
                         const at::Tensor &result) {
  if (output.bytes + static_cast<int64_t>(result.nbytes()) > plan::kKeptBytes / processes_)
    return Status();
  const fs::path path = pathOf(output, batch);
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  if (error)
    return Status::failed("cannot make the folder '" + path.parent_path().string() + "': " + error.message());
  MORPH_RETURN_IF_ERROR(
      writeSafetensors(path.string(), {{output.name, result}}, {{digestName, digestOf(inputs, result)}}));
  output.bytes += static_cast<int64_t>(fs::file_size(path, error));
  return Status();
}

BatchSource KeptResults::attachTo(BatchSource source, const std::string &stream) {
  return [this, source = std::move(source), stream](int64_t index) -> StatusOr<LoopBatch> {
    MORPH_ASSIGN_OR_RETURN(LoopBatch batch, source(index));
    if (batch.share == 0)
      return batch;
    const std::string name = stream + "-" + std::to_string(index) + batch.part;
    std::vector<Output *> missing;
    for (Output &output : outputs_)
      if (const at::Tensor result = find(output, name, batch.inputs); result.defined())
        batch.given[output.name] = result;
      else
        missing.push_back(&output);
    batch.keep = [this, name, missing, inputs = batch.inputs](NamedTensors &outputs) -> Status {
      for (Output *output : missing) {
        auto found = outputs.find(output->name);
        if (found == outputs.end())
          return Status::invalid("the plan has no output '" + output->name + "'");
        MORPH_RETURN_IF_ERROR(keep(*output, name, inputs, found->second.cpu()));
      }
      // What is kept is of no use to the caller: it need not copy it.
      for (const Output &output : outputs_)
        outputs.erase(output.name);
      return Status();
    };
    return batch;
  };
}

void KeptResults::forget(const std::string &name) {
  for (Output &output : outputs_) {
    if (output.name != name)
      continue;
    std::error_code error; // What is left costs room, no more.
    fs::remove_all(folder_ + "/" + name, error);
    output.bytes = 0;
  }
}

} // namespace morph
