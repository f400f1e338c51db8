// The results of an experiment by configuration, and its table as CSV.
#pragma once

#include <vector>

#include "runs.hpp"

namespace experiments {

/// Mean and standard deviation of a sample (divided by count - 1).
struct statistics {
  std::size_t count = 0;
  double mean = 0, deviation = 0;
};
statistics describe(const std::vector<double>& numbers);

/// All runs of one configuration.
struct summary {
  const configuration* what = nullptr;
  int index = 0;  ///< index of the configuration in its table
  std::vector<result> runs = {};
  statistics bits_per_byte = {}, tokens_per_second = {};
  double flops_per_token = 0, peak_bytes = 0;  ///< the largest peak of the runs
  /// Bits per byte minus those of the baseline with the same seed, over the seeds that both have.
  statistics difference = {};
};

/// In the order of the configurations. Configurations without a run are left out.
std::vector<summary> summarise(const settings& own, const std::vector<result>& results);

double tokens_of(const settings& own, strata::index_type steps);
void write_csv(const settings& own, const std::vector<summary>& all, const fs::path& path);

}  // namespace experiments
