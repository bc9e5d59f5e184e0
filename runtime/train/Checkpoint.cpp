// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/Checkpoint.h"

#include <ATen/core/grad_mode.h>
#include <unistd.h>

namespace morph {

// One file holds the tensors and, in its metadata, the state: two files could be of different steps after a kill.
static const char *const metadataKey = "morph_checkpoint";
static constexpr int64_t checkpointVersion = 1;

Status writeCheckpoint(const std::string &path, const Checkpoint &checkpoint) {
  Json header = {{"version", checkpointVersion},          {"step", checkpoint.step},
                 {"tokens", checkpoint.tokens},           {"seconds", checkpoint.seconds},
                 {"fingerprint", checkpoint.fingerprint}, {"state", checkpoint.state}};
  std::map<std::string, at::Tensor> tensors;
  for (const auto &[name, tensor] : checkpoint.masters)
    tensors["master/" + name] = tensor;
  for (const auto &[name, tensor] : checkpoint.optimizer)
    tensors["optimizer/" + name] = tensor;
  for (const auto &[name, tensor] : checkpoint.stage)
    tensors["stage/" + name] = tensor;
  return writeSafetensors(path, tensors, {{metadataKey, header.dump()}}).withContext("checkpoint");
}

StatusOr<std::optional<Checkpoint>> readCheckpoint(const std::string &path, const std::string &fingerprint) {
  if (::access(path.c_str(), F_OK) != 0)
    return std::optional<Checkpoint>();
  MORPH_ASSIGN_OR_RETURN(std::shared_ptr<SafetensorsFile> file, SafetensorsFile::open(path));
  const std::string hint = "remove that folder to start the stage again";
  auto found = file->metadata().find(metadataKey);
  if (found == file->metadata().end())
    return Status::failed("'" + path + "' is not a checkpoint of this program", hint);
  Checkpoint checkpoint;
  auto readHeader = [&]() -> Status {
    const std::string where = "'" + path + "' is damaged";
    MORPH_ASSIGN_OR_RETURN(const Json header, parseJson(found->second, where));
    MORPH_ASSIGN_OR_RETURN(const int64_t version, jsonGet<int64_t>(header, "version", where));
    if (version != checkpointVersion)
      return Status::failed("'" + path + "' has another checkpoint version");
    MORPH_ASSIGN_OR_RETURN(checkpoint.step, jsonGet<int64_t>(header, "step", where));
    MORPH_ASSIGN_OR_RETURN(checkpoint.tokens, jsonGet<int64_t>(header, "tokens", where));
    MORPH_ASSIGN_OR_RETURN(checkpoint.seconds, jsonGet<double>(header, "seconds", where));
    MORPH_ASSIGN_OR_RETURN(checkpoint.fingerprint, jsonGet<std::string>(header, "fingerprint", where));
    checkpoint.state = header.value("state", Json());
    if (checkpoint.step < 0 || checkpoint.tokens < 0 || !checkpoint.state.is_object())
      return Status::failed(where + ": a step, tokens or a state that cannot be");
    return Status();
  };
  if (Status status = readHeader(); !status.ok())
    return Status::failed(status.message(), hint);
  if (checkpoint.fingerprint != fingerprint)
    return Status::invalid("'" + path + "' was made with other settings than this run's", hint);
  // Copies: the file is replaced while the loop goes on.
  for (const std::string &name : file->names()) {
    const at::Tensor tensor = file->tensor(name).clone();
    const size_t slash = name.find('/');
    const std::string kind = name.substr(0, slash);
    const std::string rest = slash == std::string::npos ? "" : name.substr(slash + 1);
    if (kind == "master")
      checkpoint.masters[rest] = tensor;
    else if (kind == "optimizer")
      checkpoint.optimizer[rest] = tensor;
    else if (kind == "stage")
      checkpoint.stage[rest] = tensor;
  }
  return std::optional<Checkpoint>(std::move(checkpoint));
}

Status restoreMasters(NamedTensors &masters, const NamedTensors &saved) {
  at::NoGradGuard noGrad;
  for (auto &[name, master] : masters) {
    auto found = saved.find(name);
    if (found == saved.end() || found->second.sizes() != master.sizes())
      return Status::failed("checkpoint: '" + name + "' is missing or has another shape",
                            "remove the stage's folder to start it again");
    master.copy_(found->second);
  }
  return Status();
}

} // namespace morph
