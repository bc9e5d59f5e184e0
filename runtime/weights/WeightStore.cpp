// SPDX-License-Identifier: Apache-2.0
#include "runtime/weights/WeightStore.h"

#include "runtime/base/Json.h"

#include <filesystem>
#include <set>

namespace morph {

namespace fs = std::filesystem;

namespace {

/// The shards of `model.safetensors.index.json`. A shard's name must be a plain file name: the index is untrusted. A
/// tensor that the index puts into a shard must be there, and in no other.
StatusOr<std::vector<std::shared_ptr<SafetensorsFile>>> openShards(const fs::path &folder, const fs::path &index) {
  MORPH_ASSIGN_OR_RETURN(Json json, readJson(index.string()));
  auto map = json.is_object() ? json.find("weight_map") : json.end();
  if (!json.is_object() || map == json.end() || !map->is_object() || map->empty())
    return Status::invalid(index.string() + ": 'weight_map' must be an object that maps tensors to files");
  std::map<std::string, std::shared_ptr<SafetensorsFile>> shards;
  std::map<std::string, std::string> owner;
  for (const auto &[tensor, value] : map->items()) {
    std::string name = value.is_string() ? value.get<std::string>() : "";
    if (name.empty() || fs::path(name).filename() != fs::path(name) || name == "." || name == "..")
      return Status::invalid(index.string() + ": the file of '" + tensor +
                             "' is not a plain file name: " + jsonExcerpt(value));
    if (!shards.count(name)) {
      MORPH_ASSIGN_OR_RETURN(shards[name], SafetensorsFile::open((folder / name).string()));
      for (const std::string &held : shards[name]->names())
        if (!owner.emplace(held, name).second)
          return Status::invalid(index.string() + ": tensor '" + held + "' is in both '" + owner[held] + "' and '" +
                                 name + "'");
    }
    if (!shards[name]->has(tensor))
      return Status::invalid(index.string() + ": tensor '" + tensor + "' is not in '" + name + "'");
  }
  std::vector<std::shared_ptr<SafetensorsFile>> files;
  for (auto &[name, file] : shards)
    files.push_back(file);
  return files;
}

} // namespace

at::Tensor WeightStore::Layer::find(const std::string &name) const {
  if (auto found = memory.find(name); found != memory.end())
    return found->second;
  for (const auto &file : files)
    if (file->has(name))
      return file->tensor(name);
  return at::Tensor();
}

StatusOr<WeightStore::Layer> WeightStore::openLayer(const std::string &path) {
  Layer layer;
  std::error_code error;
  if (!fs::is_directory(path, error)) {
    MORPH_ASSIGN_OR_RETURN(auto file, SafetensorsFile::open(path));
    layer.files.push_back(std::move(file));
    return layer;
  }
  fs::path single = fs::path(path) / "model.safetensors", index = fs::path(path) / "model.safetensors.index.json";
  if (fs::exists(single, error)) {
    MORPH_ASSIGN_OR_RETURN(auto file, SafetensorsFile::open(single.string()));
    layer.files.push_back(std::move(file));
    return layer;
  }
  if (!fs::exists(index, error))
    return Status::invalid("no weights in '" + path + "': expected model.safetensors or model.safetensors.index.json");
  MORPH_ASSIGN_OR_RETURN(layer.files, openShards(path, index));
  return layer;
}

StatusOr<WeightStore> WeightStore::open(const std::vector<std::string> &paths) {
  WeightStore store;
  for (const std::string &path : paths) {
    MORPH_ASSIGN_OR_RETURN(Layer layer, openLayer(path));
    store.layers_.push_back(std::move(layer));
  }
  return store;
}

WeightStore WeightStore::inMemory(std::map<std::string, at::Tensor> tensors) {
  WeightStore store;
  store.add(std::move(tensors));
  return store;
}

void WeightStore::add(std::map<std::string, at::Tensor> tensors) {
  layers_.emplace_back();
  layers_.back().memory = std::move(tensors);
}

at::Tensor WeightStore::find(const std::string &name) const {
  for (auto layer = layers_.rbegin(); layer != layers_.rend(); ++layer)
    if (at::Tensor tensor = layer->find(name); tensor.defined())
      return tensor;
  return at::Tensor();
}

bool WeightStore::isOverridden(const std::string &name) const {
  for (size_t layer = 1; layer < layers_.size(); ++layer)
    if (layers_[layer].find(name).defined())
      return true;
  return false;
}

at::Tensor WeightStore::findBase(const std::string &name) const {
  return layers_.empty() ? at::Tensor() : layers_.front().find(name);
}

std::string WeightStore::fileOf(const std::string &name) const {
  for (auto layer = layers_.rbegin(); layer != layers_.rend(); ++layer) {
    if (layer->memory.count(name))
      return "memory";
    for (const auto &file : layer->files)
      if (file->has(name))
        return file->path();
  }
  return "";
}

std::vector<std::string> WeightStore::names() const {
  std::set<std::string> names;
  for (const Layer &layer : layers_) {
    for (const auto &file : layer.files)
      for (const std::string &name : file->names())
        names.insert(name);
    for (const auto &[name, tensor] : layer.memory)
      names.insert(name);
  }
  return {names.begin(), names.end()};
}

} // namespace morph
