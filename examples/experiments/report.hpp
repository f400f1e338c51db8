// The report: one HTML file that needs no other file.
#pragma once

#include "summary.hpp"

namespace experiments {

/// `planned` counts the runs done or asked for. The report says how many are done.
void write_report(const settings& own, const std::vector<summary>& all, std::size_t planned, const fs::path& path);

}  // namespace experiments
