// Configurations, the results of runs, and the files that hold them.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "settings.hpp"

namespace experiments {

/// One evaluation during training.
struct curve_point {
  strata::index_type step = 0;
  double seconds = 0;  ///< of training alone
  double bits_per_byte = 0;
};

/// The result of a run.
struct result {
  std::string configuration;
  std::uint64_t seed = 0;
  nlohmann::json model;  ///< results of a changed model must not be mixed in
  strata::index_type steps = 0;
  double seconds = 0;          ///< of training alone
  double bits_per_byte = 0;    ///< on the whole validation part
  double peak_bytes = 0;       ///< of the process while it trained
  double flops_per_token = 0;  ///< of training
  /// On the whole validation part, of the tokens in each eighth of a window.
  std::vector<double> bits_by_eighth;
  std::vector<curve_point> curve;
  std::vector<std::uint8_t> sample;
};

/// A configuration without compiled models, for the rest of the program.
struct configuration {
  std::string name, description;
  nlohmann::json model;  ///< its description, the losses with their weights, and `merges`
  bool merges = true;    ///< whether the merge after every layer is there
  strata::index_type parameters = 0, parameters_of_losses = 0;  ///< all, and those of the losses alone
  strata::index_type max_length = 0;
  /// Of one pass, with the mean positions of levels that follow `text`; without a text, the positions of their strides.
  double (*training_flops)(strata::index_type batch, strata::index_type length,
                           std::span<const std::uint8_t> text) = nullptr;
  /// Trains in this process until the budget is used or a signal comes. Returns whether the run is done.
  bool (*train)(const configuration& what, const settings& own, const fs::path& text, const fs::path& folder,
                std::uint64_t seed) = nullptr;
};

/// Configurations that are compared with the first of them.
struct comparison {
  std::string name, description;
  std::vector<configuration> configurations;
  const configuration& baseline() const { return configurations.front(); }
};

/// Every table of configurations.hpp.
const std::vector<comparison>& all_comparisons();
const comparison& find_comparison(const std::string& name);
const configuration& find_configuration(const comparison& among, const std::string& name);

/// FLOPs of one step of training.
inline double step_flops(const configuration& each, const settings& own, std::span<const std::uint8_t> text) {
  return static_cast<double>(own.training.accumulation) *
         each.training_flops(own.training.batch, own.training.length, text);
}

/// Files of the experiment in `folder`.
fs::path result_path(const fs::path& folder, const std::string& configuration, std::uint64_t seed);
fs::path checkpoint_path(const fs::path& folder, const std::string& configuration, std::uint64_t seed);

void write_result(const result& own, const fs::path& folder);
/// Every result of the table, in the order of the table and by seed. A result of another model is an error.
std::vector<result> read_results(const settings& own, const fs::path& folder);

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(curve_point, step, seconds, bits_per_byte)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(result, configuration, seed, model, steps, seconds, bits_per_byte, peak_bytes,
                                   flops_per_token, bits_by_eighth, curve, sample)

}  // namespace experiments
