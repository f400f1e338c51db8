// The report: one HTML file that needs nothing beside it.
#pragma once

#include "summary.hpp"

namespace experiments {

/// `planned` are all runs that are done or asked for; the report tells how many of them are done.
void write_report(const settings& own, const std::vector<summary>& all, std::size_t planned, const fs::path& path);

}  // namespace experiments
