// The page of one training run: curves, samples and options. It needs no other file.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace examples {

/// What the page says beside the metrics.
struct run_facts {
  std::string title;
  std::vector<std::pair<std::string, std::string>> rows;  ///< name and value
};

/// Writes the page of the metrics in `metrics`, a file with one JSON object a line.
void write_run_report(const std::filesystem::path& page, const run_facts& facts, const std::filesystem::path& metrics);

}  // namespace examples
