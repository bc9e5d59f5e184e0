// SPDX-License-Identifier: Apache-2.0
// The processes that work on one stage together, and what they tell each other: LibTorch's c10d, over Gloo.

#ifndef MORPH_RUNTIME_PROCESSES_PROCESSES_H
#define MORPH_RUNTIME_PROCESSES_PROCESSES_H

#include "runtime/exec/DividedTensors.h"
#include "runtime/processes/Place.h"

#include <ATen/ATen.h>

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace morph {

class Nccl;

/// A process among its equals. All of them make the same calls in the same order. Alone, a call leaves what it is given
/// as it is. Sums and broadcasts of tensors of CudaDevices are NCCL's, where all processes have it and a GPU each; else
/// they go over the host. Every error is that another process has ended, does not answer
/// within the timeout or makes another call; from then on calls only repeat it.
///
/// Tensors may be divided. `gather` alone is not everybody's call: while some of them are in it, those that are in
/// another call are not done with it, but say before it that they want nothing, and give the others their parts.
class Processes : public DividedTensors {
public:
  class Group;
  /// One process.
  Processes();
  ~Processes() override;
  Processes(const Processes &) = delete;
  Processes &operator=(const Processes &) = delete;

  /// Meets the others and waits for them. `timeout` is of each later call. The leader listens at `place.port`, or on
  /// the socket that the variable MORPH_LISTEN names by its descriptor. Errors: the leader cannot be reached, the port
  /// is taken, not all have come in five minutes.
  static StatusOr<std::shared_ptr<Processes>> join(const Place &place,
                                                   std::chrono::seconds timeout = std::chrono::minutes(30));

  int64_t rank() const override { return place_.rank; }
  int64_t count() const override { return place_.count; }
  int64_t localRank() const { return place_.localRank; }
  bool isLeader() const { return place_.isLeader(); }
  bool isAlone() const { return place_.count == 1; }
  /// Whether this process does part `index` of a work that is dealt out in turn.
  bool owns(int64_t index) const { return index % place_.count == place_.rank; }

  /// The sum of all processes' tensors, of one shape and of type f32, f64 or i64, in its place in each of them. All get
  /// the same bits: each element is added up once, in an order that depends on the sizes and the count alone.
  Status allReduce(const at::Tensor &tensor);
  /// The same of many tensors; small ones travel together.
  Status allReduce(const std::vector<at::Tensor> &tensors);
  /// The tensors of process `root`, in the place of those of the others.
  Status broadcast(const std::vector<at::Tensor> &tensors, int64_t root);
  /// [count, ...] of all tensors of one shape, by rank.
  StatusOr<at::Tensor> allGather(const at::Tensor &tensor);
  /// Texts of all processes, by rank.
  StatusOr<std::vector<std::string>> gatherTexts(const std::string &text);
  /// The rows of a list of `total` that was dealt out in turn, `chunk` rows at a time: chunk i to the process that
  /// `owns(first + i)`, which gives its rows in their order. All get the whole list.
  StatusOr<std::vector<std::vector<double>>> collect(const std::vector<std::vector<double>> &own, int64_t chunk,
                                                     int64_t total, int64_t first = 0);
  /// Sums of numbers, in the order given.
  StatusOr<std::vector<double>> sum(std::vector<double> values);
  /// Whether it is so in any process.
  StatusOr<bool> any(bool value);
  /// Waits until all have come here.
  Status barrier();

  StatusOr<std::vector<int64_t>> add(std::vector<DividedTensors::Group> groups) override;
  void remove(const std::vector<int64_t> &groups) override;
  Status gather(int64_t group) override;
  /// To be called before a process ends that has not failed: others may still gather.
  Status leave();

  /// Whether a call has failed: others are gone, and it is theirs to say why.
  bool hasLostOthers() const { return !lost_.ok(); }

private:
  Place place_;
  std::unique_ptr<Group> group_;
  std::unique_ptr<Nccl> nccl_;
  bool askedForNccl_ = false;
  Status lost_;
  bool divides_ = false; ///< Tensors have been divided, so that every call begins by asking who gathers.
  int64_t next_ = 0;     ///< Of groups, the number.
  std::map<int64_t, DividedTensors::Group> divided_; ///< By number.
  std::vector<int64_t> removed_; ///< Of these, what no process reads after the next call that is everybody's.

  /// NCCL for tensors of `device`, which is asked for once; null where not all have it.
  StatusOr<Nccl *> ncclOf(at::Device device);
  /// Runs `function` on the group; what it throws is the error of this and of all later calls.
  template <typename Function> Status guard(const std::string &what, Function &&function);
  /// The same of what is everybody's, once nobody gathers any more.
  template <typename Function> Status call(const std::string &what, Function &&function);
  /// One round of all processes: each says which group it wants, -1: none, and all bring the lowest of them into their
  /// buffers, whose number this returns. Who is behind is served first, until all want the same.
  int64_t takeTurn(int64_t wanted);
  void bring(int64_t group);
};

} // namespace morph

#endif // MORPH_RUNTIME_PROCESSES_PROCESSES_H
