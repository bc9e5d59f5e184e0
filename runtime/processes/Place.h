// SPDX-License-Identifier: Apache-2.0
// Which process of a run this one is, as what started it says in environment variables. Knows neither Torch nor MLIR.

#ifndef MORPH_RUNTIME_PROCESSES_PLACE_H
#define MORPH_RUNTIME_PROCESSES_PLACE_H

#include "runtime/base/Status.h"

#include <cstdint>
#include <functional>
#include <string>

namespace morph {

/// One process among those of a run. The one of rank 0 leads: it alone prints and writes results.
struct Place {
  int64_t rank = 0;
  int64_t count = 1;     ///< All processes of the run.
  int64_t localRank = 0; ///< Among those of this machine: which GPU it takes.
  std::string leader;    ///< Host name or address of the leader.
  int64_t port = 0;      ///< Where the leader listens.
  std::string launcher;  ///< "torchrun", "Slurm", ...; empty: nothing has started several.

  bool isLeader() const { return rank == 0; }
};

/// The value of an environment variable, or null.
using Environment = std::function<const char *(const char *name)>;

/// This process's place by the variables of the first launcher that has set its own: torchrun (RANK, WORLD_SIZE,
/// LOCAL_RANK, MASTER_ADDR, MASTER_PORT; `morph run --processes` sets these, too), Open MPI (OMPI_COMM_WORLD_RANK,
/// ...), MPICH and Intel MPI (PMI_RANK, ...), Slurm's srun (SLURM_PROCID, SLURM_NTASKS, SLURM_LOCALID, SLURM_STEP_ID).
/// Where the launcher does not say where the leader is, MASTER_ADDR and MASTER_PORT do; the default is this machine,
/// for Slurm the first of the job's nodes. One process where there is none of these. Errors name the variable: a number
/// that is none, a rank that is not below the count, several machines and no leader's address.
StatusOr<Place> findPlace(const Environment &environment);
/// The same in this process's environment.
StatusOr<Place> findPlace();

/// The first host of a Slurm node list: "gpu007" of "gpu[007-010,12],login1".
std::string firstHost(const std::string &nodes);

} // namespace morph

#endif // MORPH_RUNTIME_PROCESSES_PLACE_H
