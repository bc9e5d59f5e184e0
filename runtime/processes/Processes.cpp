// SPDX-License-Identifier: Apache-2.0

#include "runtime/processes/Processes.h"

#include "runtime/base/Log.h"
#include "runtime/base/TorchGuard.h"
#include "runtime/device/Nccl.h"
#include "runtime/device/TorchDevice.h"
#include "runtime/processes/Group.h"

#include <algorithm>
#include <utility>

namespace morph {

/// Small tensors travel together up to this size.
static constexpr int64_t kBucketBytes = 32 << 20;

/// Calls `send` on contiguous tensors of the CPU that hold `tensors` one after another, and writes back what it has
/// made of them.
template <typename Send> static void sendInBuckets(const std::vector<at::Tensor> &tensors, Send send) {
  for (size_t begin = 0, end; begin < tensors.size(); begin = end) {
    int64_t bytes = static_cast<int64_t>(tensors[begin].nbytes());
    for (end = begin + 1; end < tensors.size() && tensors[end].scalar_type() == tensors[begin].scalar_type() &&
                          bytes + static_cast<int64_t>(tensors[end].nbytes()) <= kBucketBytes;
         ++end)
      bytes += static_cast<int64_t>(tensors[end].nbytes());
    if (end == begin + 1 && tensors[begin].is_contiguous()) {
      if (tensors[begin].is_cpu()) {
        send(tensors[begin]);
        continue;
      }
      // A large one of a GPU, piece by piece: the host has no more of it.
      const at::Tensor flat = tensors[begin].view({-1});
      const int64_t most = kBucketBytes / static_cast<int64_t>(flat.element_size());
      for (int64_t at = 0; at < flat.numel(); at += most) {
        const at::Tensor piece = flat.narrow(0, at, std::min(most, flat.numel() - at)), host = piece.cpu();
        send(host);
        piece.copy_(host);
      }
      continue;
    }
    std::vector<at::Tensor> parts;
    for (size_t i = begin; i < end; ++i)
      parts.push_back(tensors[i].to(at::kCPU).reshape({-1}));
    const at::Tensor bucket = at::cat(parts);
    send(bucket);
    int64_t offset = 0;
    for (size_t i = begin; i < end; ++i) {
      tensors[i].copy_(bucket.narrow(0, offset, tensors[i].numel()).view(tensors[i].sizes()));
      offset += tensors[i].numel();
    }
  }
}

Processes::Processes() = default;
Processes::~Processes() = default;

StatusOr<std::shared_ptr<Processes>> Processes::join(const Place &place, std::chrono::seconds timeout) {
  auto processes = std::make_shared<Processes>();
  if (place.count == 1)
    return processes;
  processes->place_ = place;
  MORPH_RETURN_IF_ERROR(processes->guard("the meeting at " + place.leader + ":" + std::to_string(place.port),
                                         [&] { processes->group_ = Group::connect(place, timeout); }));
  return processes;
}

template <typename Function> Status Processes::guard(const std::string &what, Function &&function) {
  if (!lost_.ok())
    return lost_;
  Status own; // Of this process' device: the others miss it, not it them.
  lost_ =
      guardTorch("process " + std::to_string(rank()) + " of " + std::to_string(count()) + ": " + what, [&]() -> Status {
        try {
          function();
        } catch (const StatusError &error) {
          own = error.status();
        }
        return Status();
      });
  return own.ok() ? lost_ : own;
}

template <typename Function> Status Processes::call(const std::string &what, Function &&function) {
  if (divides_)
    MORPH_RETURN_IF_ERROR(guard("a gathering of weights", [&] {
      while (takeTurn(-1) >= 0) {
      }
      for (int64_t group : std::exchange(removed_, {}))
        divided_.erase(group);
    }));
  return guard(what, std::forward<Function>(function));
}

/// The device of tensors that lie on one GPU, whole; the CPU of others.
static at::Device deviceOf(const std::vector<at::Tensor> &tensors) {
  for (const at::Tensor &tensor : tensors)
    if (!isCuda(tensor.device()) || tensor.device() != tensors[0].device() || !tensor.is_contiguous())
      return at::kCPU;
  return tensors.empty() ? at::kCPU : tensors[0].device();
}

StatusOr<Nccl *> Processes::ncclOf(at::Device device) {
  if (askedForNccl_ || !isCuda(device))
    return isCuda(device) ? nccl_.get() : nullptr;
  askedForNccl_ = true;
  // In an order that leaves nobody waiting: first whether all have the library, then the leader's id, then the group.
  const StatusOr<std::string> id = Nccl::makeId();
  Status reason = id.ok() ? Status() : id.status();
  MORPH_ASSIGN_OR_RETURN(bool isMissing, any(!id.ok()));
  if (!isMissing) {
    MORPH_ASSIGN_OR_RETURN(const std::vector<std::string> ids, gatherTexts(*id));
    auto joined = Nccl::join(cudaDeviceOf(device), ids[0], rank(), count());
    reason = joined.ok() ? Status() : joined.status();
    MORPH_ASSIGN_OR_RETURN(isMissing, any(!joined.ok()));
    if (!isMissing)
      nccl_ = *std::move(joined);
  }
  if (isMissing && isLeader())
    logInfo("morph-run", "gradients and weights go over the host" + (reason.ok() ? "" : ": " + reason.message()));
  return nccl_.get();
}

/// What NCCL says as what the transports throw.
static void require(const Status &status) { TORCH_CHECK(status.ok(), status.message()); }

Status Processes::allReduce(const std::vector<at::Tensor> &tensors) {
  if (isAlone())
    return Status();
  MORPH_ASSIGN_OR_RETURN(Nccl *const nccl, ncclOf(deviceOf(tensors)));
  return call("a sum over processes", [&] {
    if (!nccl)
      return sendInBuckets(tensors, [&](const at::Tensor &bucket) { group_->allReduce(bucket); });
    for (const at::Tensor &tensor : tensors) {
      const at::ScalarType type = tensor.scalar_type();
      require(nccl->allReduce(tensor.mutable_data_ptr(), tensor.numel(),
                              type == at::kFloat    ? Nccl::Type::F32
                              : type == at::kDouble ? Nccl::Type::F64
                                                    : Nccl::Type::I64));
    }
  });
}

Status Processes::allReduce(const at::Tensor &tensor) { return allReduce(std::vector<at::Tensor>{tensor}); }

Status Processes::broadcast(const std::vector<at::Tensor> &tensors, int64_t root) {
  if (isAlone())
    return Status();
  MORPH_ASSIGN_OR_RETURN(Nccl *const nccl, ncclOf(deviceOf(tensors)));
  return call("a message from process " + std::to_string(root), [&] {
    if (!nccl)
      return sendInBuckets(tensors, [&](const at::Tensor &bucket) { group_->broadcast(bucket, root); });
    for (const at::Tensor &tensor : tensors)
      require(nccl->broadcast(tensor.mutable_data_ptr(), static_cast<int64_t>(tensor.nbytes()), root));
  });
}

StatusOr<at::Tensor> Processes::allGather(const at::Tensor &tensor) {
  if (isAlone())
    return tensor.unsqueeze(0);
  at::Tensor result;
  MORPH_RETURN_IF_ERROR(call("an exchange between processes", [&] {
    const at::Tensor own = tensor.to(at::kCPU).contiguous();
    std::vector<int64_t> shape = own.sizes().vec();
    shape.insert(shape.begin(), count());
    result = at::empty(shape, own.options());
    group_->allGather(result, own);
    result = result.to(tensor.device());
  }));
  return result;
}

StatusOr<std::vector<std::string>> Processes::gatherTexts(const std::string &text) {
  MORPH_ASSIGN_OR_RETURN(const at::Tensor lengths,
                         allGather(at::full({}, static_cast<int64_t>(text.size()), at::kLong)));
  const int64_t *length = lengths.const_data_ptr<int64_t>();
  const int64_t longest = *std::max_element(length, length + count());
  if (longest == 0)
    return std::vector<std::string>(static_cast<size_t>(count()));
  const at::Tensor own = at::zeros({longest}, at::kByte);
  std::copy(text.begin(), text.end(), own.mutable_data_ptr<uint8_t>());
  MORPH_ASSIGN_OR_RETURN(const at::Tensor all, allGather(own));
  std::vector<std::string> texts;
  for (int64_t rank = 0; rank < count(); ++rank) {
    const uint8_t *begin = all.const_data_ptr<uint8_t>() + rank * longest;
    texts.emplace_back(begin, begin + length[rank]);
  }
  return texts;
}

StatusOr<std::vector<std::vector<double>>> Processes::collect(const std::vector<std::vector<double>> &own,
                                                              int64_t chunk, int64_t total, int64_t first) {
  if (isAlone())
    return own;
  std::vector<double> packed; // Of each row its length, and the row.
  for (const std::vector<double> &row : own) {
    packed.push_back(static_cast<double>(row.size()));
    packed.insert(packed.end(), row.begin(), row.end());
  }
  MORPH_ASSIGN_OR_RETURN(
      const std::vector<std::string> texts,
      gatherTexts(std::string(reinterpret_cast<const char *>(packed.data()), packed.size() * sizeof(double))));
  std::vector<std::vector<double>> all;
  std::vector<size_t> read(texts.size(), 0); // Bytes of each text.
  const auto next = [&](int64_t process) {
    double value = 0;
    size_t &offset = read[static_cast<size_t>(process)];
    texts[static_cast<size_t>(process)].copy(reinterpret_cast<char *>(&value), sizeof value, offset);
    offset += sizeof value;
    return value;
  };
  for (int64_t i = 0; i < total; ++i) {
    const int64_t process = (first + i / chunk) % count();
    if (read[static_cast<size_t>(process)] >= texts[static_cast<size_t>(process)].size())
      return Status::failed("process " + std::to_string(process) + " of " + std::to_string(count()) +
                            " has done fewer parts of the work than were its own");
    std::vector<double> row(static_cast<size_t>(next(process)));
    for (double &value : row)
      value = next(process);
    all.push_back(std::move(row));
  }
  return all;
}

StatusOr<std::vector<double>> Processes::sum(std::vector<double> values) {
  MORPH_RETURN_IF_ERROR(allReduce(at::from_blob(values.data(), {static_cast<int64_t>(values.size())}, at::kDouble)));
  return values;
}

StatusOr<bool> Processes::any(bool value) {
  MORPH_ASSIGN_OR_RETURN(const std::vector<double> sums, sum({value ? 1.0 : 0.0}));
  return sums[0] > 0;
}

StatusOr<std::vector<int64_t>> Processes::add(std::vector<DividedTensors::Group> groups) {
  // A buffer of a GPU is filled by NCCL, where all have it: that is found out while nobody gathers.
  for (const DividedTensors::Group &group : groups)
    MORPH_RETURN_IF_ERROR(ncclOf(group.buffer->memory.device()).status());
  std::vector<int64_t> numbers;
  std::string sizes;
  for (DividedTensors::Group &group : groups) {
    for (size_t i = 0; i < group.parts.size(); ++i)
      sizes += std::to_string(group.offsets[i]) + "+" + std::to_string(group.parts[i].nbytes()) + " ";
    sizes += "; ";
    divided_.emplace(next_, std::move(group));
    numbers.push_back(next_++);
  }
  divides_ = true;
  // From here on all have them, and may gather.
  MORPH_ASSIGN_OR_RETURN(const std::vector<std::string> all, gatherTexts(sizes));
  if (std::any_of(all.begin(), all.end(), [&](const std::string &other) { return other != sizes; }))
    return Status::failed("the processes have divided other weights", "are they given the same plans and weights?");
  return numbers;
}

void Processes::remove(const std::vector<int64_t> &groups) {
  removed_.insert(removed_.end(), groups.begin(), groups.end());
}

void Processes::bring(int64_t number) {
  const DividedTensors::Group &group = divided_.at(number);
  DividedTensors::Buffer &buffer = *group.buffer;
  buffer.group = -1;
  const at::Device device = buffer.memory.device();
  const auto bytes = [](const void *data, size_t count, at::Device device) {
    return at::from_blob(const_cast<void *>(data), {static_cast<int64_t>(count)},
                         at::TensorOptions(at::kByte).device(device));
  };
  const bool isNccl = nccl_ && isCuda(device);
  // Over the host small parts travel together, up to what a message may take beside the buffer.
  std::vector<at::Tensor> own;
  std::vector<std::vector<at::Tensor>> whole(static_cast<size_t>(count())); // By rank.
  std::vector<std::pair<at::Tensor, at::Tensor>> copies;                    // Onto a GPU.
  size_t packed = 0;
  for (size_t i = 0; i < group.parts.size(); ++i) {
    const at::Tensor &part = group.parts[i];
    char *const place = static_cast<char *>(buffer.memory.data_ptr()) + group.offsets[i];
    if (isNccl) {
      require(nccl_->allGather(part.const_data_ptr(), place, static_cast<int64_t>(part.nbytes())));
      continue;
    }
    own.push_back(bytes(part.const_data_ptr(), part.nbytes(), device).to(at::kCPU));
    for (size_t rank = 0; rank < whole.size(); ++rank) {
      const at::Tensor row = bytes(place + rank * part.nbytes(), part.nbytes(), device);
      whole[rank].push_back(device.is_cpu() ? row : at::empty_like(own.back()));
      if (!device.is_cpu())
        copies.emplace_back(row, whole[rank].back());
    }
    packed += whole.size() * part.nbytes();
    const bool isLast = i + 1 == group.parts.size();
    if (!isLast && packed + whole.size() * group.parts[i + 1].nbytes() <= static_cast<size_t>(kBucketBytes))
      continue;
    group_->allGather(whole, own);
    for (const auto &[row, received] : copies)
      row.copy_(received);
    own.clear();
    copies.clear();
    for (std::vector<at::Tensor> &rows : whole)
      rows.clear();
    packed = 0;
  }
  buffer.group = number;
}

int64_t Processes::takeTurn(int64_t wanted) {
  const at::Tensor own = at::full({1}, wanted, at::kLong), all = at::empty({count()}, at::kLong);
  group_->allGather(all, own);
  int64_t lowest = -1;
  for (int64_t rank = 0; rank < count(); ++rank)
    if (const int64_t other = all.const_data_ptr<int64_t>()[rank]; other >= 0 && (lowest < 0 || other < lowest))
      lowest = other;
  if (lowest >= 0)
    bring(lowest);
  return lowest;
}

Status Processes::gather(int64_t group) {
  return guard("a gathering of weights", [&] {
    while (takeTurn(group) != group) {
    }
  });
}

Status Processes::leave() { return divides_ ? barrier() : Status(); }

Status Processes::barrier() { return any(false).status(); }

} // namespace morph
