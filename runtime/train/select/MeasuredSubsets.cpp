// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/select/MeasuredSubsets.h"

#include <chrono>

namespace morph {

StatusOr<MeasuredSubsets> MeasuredSubsets::open(std::string path, std::string fingerprint, Measure measure) {
  MeasuredSubsets subsets;
  subsets.path_ = std::move(path);
  subsets.fingerprint_ = std::move(fingerprint);
  subsets.measure_ = std::move(measure);
  MORPH_ASSIGN_OR_RETURN(const std::optional<Checkpoint> saved, readCheckpoint(subsets.path_, subsets.fingerprint_));
  if (!saved)
    return subsets;
  MORPH_RETURN_IF_ERROR(readState(subsets.path_, [&] {
    for (const Json &entry : saved->state.value("subsets", Json::array()))
      subsets.known_[entry.value("kept", std::vector<int64_t>())] = entry.value("values", std::vector<double>());
    subsets.cost_ = {saved->tokens, saved->state.value("flops", 0.0), saved->seconds};
    return Status();
  }));
  return subsets;
}

Status MeasuredSubsets::write() const {
  Checkpoint checkpoint;
  checkpoint.step = static_cast<int64_t>(known_.size());
  checkpoint.tokens = cost_.tokens;
  checkpoint.seconds = cost_.seconds;
  checkpoint.fingerprint = fingerprint_;
  Json subsets = Json::array();
  for (const auto &[kept, values] : known_)
    subsets.push_back({{"kept", kept}, {"values", values}});
  checkpoint.state = {{"flops", cost_.flops}, {"subsets", std::move(subsets)}};
  return writeCheckpoint(path_, checkpoint);
}

StatusOr<std::vector<double>> MeasuredSubsets::values(const std::vector<int64_t> &kept) {
  if (auto known = known_.find(kept); known != known_.end())
    return known->second;
  const auto begin = std::chrono::steady_clock::now();
  MORPH_ASSIGN_OR_RETURN(std::vector<double> values, measure_(kept, cost_));
  cost_.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  known_[kept] = values;
  MORPH_RETURN_IF_ERROR(write());
  return values;
}

} // namespace morph
