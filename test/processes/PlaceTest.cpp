// SPDX-License-Identifier: Apache-2.0
// Launchers' variables.

#include "runtime/processes/Place.h"

#include <gtest/gtest.h>

#include <map>

namespace morph {
namespace {

using Variables = std::map<std::string, std::string>;

StatusOr<Place> placeOf(const Variables &variables) {
  return findPlace([&](const char *name) -> const char * {
    auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

/// "launcher rank/count local leader:port", or the error.
std::string describe(const Variables &variables) {
  const StatusOr<Place> place = placeOf(variables);
  if (!place.ok())
    return place.status().message();
  return place->launcher + " " + std::to_string(place->rank) + "/" + std::to_string(place->count) + " " +
         std::to_string(place->localRank) + " " + place->leader + ":" + std::to_string(place->port);
}

TEST(PlaceTest, NothingIsOneProcess) {
  EXPECT_EQ(describe({}), " 0/1 0 :0");
  EXPECT_EQ(describe({{"MASTER_ADDR", "a"}, {"MASTER_PORT", "1"}}), " 0/1 0 :0");
  EXPECT_EQ(describe({{"RANK", "0"}, {"WORLD_SIZE", "1"}}), " 0/1 0 :0");
}

TEST(PlaceTest, Torchrun) {
  Variables variables = {
      {"RANK", "5"}, {"WORLD_SIZE", "8"}, {"LOCAL_RANK", "1"}, {"MASTER_ADDR", "n0"}, {"MASTER_PORT", "29400"}};
  EXPECT_EQ(describe(variables), "torchrun 5/8 1 n0:29400");
  // Its own store listens there.
  variables["TORCHELASTIC_USE_AGENT_STORE"] = "True";
  EXPECT_EQ(describe(variables), "torchrun 5/8 1 n0:29401");
  // It may have been started by srun itself.
  variables.insert({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "2"}, {"SLURM_STEP_ID", "0"}});
  EXPECT_EQ(describe(variables), "torchrun 5/8 1 n0:29401");
}

TEST(PlaceTest, Slurm) {
  Variables variables = {{"SLURM_PROCID", "3"},
                         {"SLURM_NTASKS", "4"},
                         {"SLURM_LOCALID", "1"},
                         {"SLURM_JOB_ID", "1000123"},
                         {"SLURM_JOB_NODELIST", "gpu[007-010,12],login1"}};
  EXPECT_EQ(describe(variables), " 0/1 0 :0") << "a batch script is one process";
  variables["SLURM_STEP_ID"] = "0";
  EXPECT_EQ(describe(variables), "Slurm 3/4 1 gpu007:20123");
  variables["SLURM_STEP_NODELIST"] = "gpu[009-010]";
  EXPECT_EQ(describe(variables), "Slurm 3/4 1 gpu009:20123");
  variables.insert({{"MASTER_ADDR", "10.0.0.1"}, {"MASTER_PORT", "7"}});
  EXPECT_EQ(describe(variables), "Slurm 3/4 1 10.0.0.1:7");
}

TEST(PlaceTest, Mpi) {
  Variables variables = {{"OMPI_COMM_WORLD_RANK", "1"},
                         {"OMPI_COMM_WORLD_SIZE", "2"},
                         {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                         {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}};
  EXPECT_EQ(describe(variables), "Open MPI 1/2 1 127.0.0.1:29500");
  variables["OMPI_COMM_WORLD_LOCAL_SIZE"] = "1";
  EXPECT_EQ(describe(variables), "Open MPI has started 2 processes on several machines, and where the one of rank 0 "
                                 "is, is not known");
  variables["MASTER_ADDR"] = "n0";
  EXPECT_EQ(describe(variables), "Open MPI 1/2 1 n0:29500");
  EXPECT_EQ(describe({{"PMI_RANK", "1"}, {"PMI_SIZE", "3"}, {"MPI_LOCALRANKID", "1"}, {"MPI_LOCALNRANKS", "3"}}),
            "MPI 1/3 1 127.0.0.1:29500");
}

TEST(PlaceTest, BadNumbersAreNamed) {
  for (const char *rank : {"8", "-1", "x", "1x", "99999999999999999999"}) {
    const StatusOr<Place> place = placeOf({{"RANK", rank}, {"WORLD_SIZE", "8"}, {"MASTER_ADDR", "n0"}});
    ASSERT_FALSE(place.ok()) << rank;
    EXPECT_EQ(place.status().message(),
              std::string("the environment has RANK = '") + rank + "', expected a number from 0 to 7");
    EXPECT_EQ(place.status().exitCode(), 2);
  }
  EXPECT_FALSE(placeOf({{"RANK", "0"}, {"WORLD_SIZE", "0"}}).ok());
  EXPECT_FALSE(placeOf({{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"MASTER_PORT", "65536"}}).ok());
}

TEST(PlaceTest, FirstHost) {
  EXPECT_EQ(firstHost("a"), "a");
  EXPECT_EQ(firstHost("a,b[1-2]"), "a");
  EXPECT_EQ(firstHost("b[1,3]"), "b1");
  EXPECT_EQ(firstHost("rack[01-02]-n0,c"), "rack01-n0");
  EXPECT_EQ(firstHost(""), "");
  EXPECT_EQ(firstHost("b["), "b");
}

} // namespace
} // namespace morph
