// SPDX-License-Identifier: Apache-2.0

#include "runtime/processes/Place.h"

#include <cerrno>
#include <cstdlib>

namespace morph {

namespace {

/// torch.distributed's.
constexpr int64_t kDefaultPort = 29500;
constexpr int64_t kMostProcesses = 1 << 20;

/// The variables of a launcher. Those after `count` may be null.
struct Launcher {
  const char *name;
  const char *rank, *count, *localRank;
  const char *localCount; ///< Processes on this machine.
  const char *needs;      ///< It has started this process only if this is set, too.
};
constexpr Launcher launchers[] = {
    {"torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK", nullptr, nullptr},
    {"Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK",
     "OMPI_COMM_WORLD_LOCAL_SIZE", nullptr},
    // A batch script has these as well, as its first task; only steps of srun are several processes.
    {"Slurm", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", nullptr, "SLURM_STEP_ID"},
    {"MPI", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS", nullptr},
};

/// Reads variables as numbers.
class Reader {
public:
  explicit Reader(const Environment &environment) : environment_(environment) {}

  std::string text(const char *name) const {
    const char *value = name ? environment_(name) : nullptr;
    return value ? value : "";
  }
  bool has(const char *name) const { return !text(name).empty(); }
  /// From `least` to less than `end`; `fallback` where the variable is not set.
  StatusOr<int64_t> number(const char *name, int64_t least, int64_t end, int64_t fallback) const {
    const std::string value = text(name);
    if (value.empty())
      return fallback;
    char *rest = nullptr;
    errno = 0;
    const long long result = std::strtoll(value.c_str(), &rest, 10);
    if (errno != 0 || *rest != '\0' || result < least || result >= end)
      return Status::invalid("the environment has " + std::string(name) + " = '" + shortened(value, 60) +
                                 "', expected a number from " + std::to_string(least) + " to " +
                                 std::to_string(end - 1),
                             "unset the variable if this run is of one process");
    return static_cast<int64_t>(result);
  }

private:
  const Environment &environment_;
};

} // namespace

std::string firstHost(const std::string &nodes) {
  const size_t bracket = nodes.find('['), comma = nodes.find(',');
  if (bracket == std::string::npos || comma < bracket)
    return nodes.substr(0, comma);
  const size_t end = nodes.find_first_of(",-]", bracket);
  const size_t close = nodes.find(']', bracket);
  if (end == std::string::npos || close == std::string::npos)
    return nodes.substr(0, bracket);
  // What stands behind the brackets belongs to every name: "rack[1-2]-n0".
  return nodes.substr(0, bracket) + nodes.substr(bracket + 1, end - bracket - 1) +
         nodes.substr(close + 1, nodes.find(',', close) - close - 1);
}

StatusOr<Place> findPlace(const Environment &environment) {
  const Reader reader(environment);
  Place place;
  for (const Launcher &launcher : launchers) {
    if (!reader.has(launcher.rank) || !reader.has(launcher.count) || (launcher.needs && !reader.has(launcher.needs)))
      continue;
    MORPH_ASSIGN_OR_RETURN(place.count, reader.number(launcher.count, 1, kMostProcesses, 1));
    MORPH_ASSIGN_OR_RETURN(place.rank, reader.number(launcher.rank, 0, place.count, 0));
    MORPH_ASSIGN_OR_RETURN(place.localRank, reader.number(launcher.localRank, 0, place.count, place.rank));
    if (place.count == 1)
      return Place();
    place.launcher = launcher.name;
    place.leader = reader.text("MASTER_ADDR");
    MORPH_ASSIGN_OR_RETURN(place.port, reader.number("MASTER_PORT", 1, 65536, 0));
    if (place.launcher == "Slurm") {
      if (place.leader.empty())
        place.leader =
            firstHost(reader.text(reader.has("SLURM_STEP_NODELIST") ? "SLURM_STEP_NODELIST" : "SLURM_JOB_NODELIST"));
      // Two jobs on a machine must not meet.
      MORPH_ASSIGN_OR_RETURN(const int64_t job, reader.number("SLURM_JOB_ID", 0, INT64_MAX, 0));
      if (place.port == 0)
        place.port = 20000 + job % 20000;
    }
    // torchrun's own store has the port that it names.
    if (reader.text("TORCHELASTIC_USE_AGENT_STORE") == "True")
      place.port = place.port % 65535 + 1;
    if (place.leader.empty()) {
      MORPH_ASSIGN_OR_RETURN(const int64_t here, reader.number(launcher.localCount, 1, kMostProcesses, place.count));
      if (here < place.count)
        return Status::invalid(place.launcher + " has started " + std::to_string(place.count) +
                                   " processes on several machines, and where the one of rank 0 is, is not known",
                               "set MASTER_ADDR to its host name for all of them (and MASTER_PORT to a free port)");
      place.leader = "127.0.0.1";
    }
    if (place.port == 0)
      place.port = kDefaultPort;
    return place;
  }
  return place;
}

StatusOr<Place> findPlace() {
  return findPlace([](const char *name) -> const char * { return std::getenv(name); });
}

} // namespace morph
