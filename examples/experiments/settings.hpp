// The settings that all runs of an experiment share, and their JSON in the folder of the experiment.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include <strata/train/trainer.hpp>

namespace experiments {

namespace fs = std::filesystem;

struct settings {
  std::string table = "levels";   ///< which configurations, by the names of configurations.hpp
  double seconds = 0, flops = 0;  ///< the budget of a run; one of them is 0
  double validation_fraction = 0.1;
  strata::index_type points = 20, evaluate_windows = 32;  ///< points of the curves, and the windows of each
  std::string prompt = "\n";
  strata::index_type sample_length = 400;
  int threads = 0, jobs = 1;
  bool pin = false;
  strata::training_options training;  ///< seed, steps and merge are those of each run

  std::string processor;
  std::uint64_t text_bytes = 0;
  std::string text_fingerprint;

  bool timed() const { return seconds > 0; }
  double tokens_a_step() const { return static_cast<double>(training.batch * training.accumulation * training.length); }
};

/// Calls visit(name, field) for every setting that all runs share.
template <class Settings, class Visit>
void for_each_setting(Settings& own, Visit visit) {
  visit("table", own.table);
  visit("seconds", own.seconds);
  visit("flops", own.flops);
  visit("validation_fraction", own.validation_fraction);
  visit("points", own.points);
  visit("evaluate_windows", own.evaluate_windows);
  visit("prompt", own.prompt);
  visit("sample_length", own.sample_length);
  visit("threads", own.threads);
  visit("jobs", own.jobs);
  visit("pin", own.pin);
  strata::for_each_option(own.training, [&](std::string_view name, auto& field) {
    if (name != "seed" && name != "steps" && name != "merge") visit(name, field);
  });
  visit("processor", own.processor);
  visit("text_bytes", own.text_bytes);
  visit("text_fingerprint", own.text_fingerprint);
}

nlohmann::json to_json(const settings& own);
/// Reads the settings of the experiment in `folder`.
settings read_settings(const fs::path& folder);
/// Writes settings into a new folder. An existing experiment must have the same settings.
void keep_settings(const settings& own, const fs::path& folder);

}  // namespace experiments
