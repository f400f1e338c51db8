// Tables of a page that a program computes: written to the page, or compared with it.
#pragma once

#include <fstream>
#include <string>
#include <vector>

#include <strata/core/error.hpp>

/// The lines of a text file.
inline std::vector<std::string> lines_of(const std::string& path) {
  std::ifstream file(path);
  strata::require(file.is_open(), "there is no file ", path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}
inline void write_lines(const std::string& path, const std::vector<std::string>& lines) {
  std::ofstream file(path);
  for (const std::string& line : lines) file << line << '\n';
  strata::require(file.flush().good(), path, " cannot be written");
}

/// Replaces the page's table with the same first line by `table`. Without `write`, requires that the page has `table`.
inline void keep_table(const std::string& page, const std::vector<std::string>& table, bool write) {
  std::vector<std::string> lines = lines_of(page);
  auto begin = lines.begin();
  while (begin != lines.end() && *begin != table.front()) ++begin;
  strata::require(begin != lines.end(), page, " has no table that begins with '", table.front(), "'");
  auto end = begin;
  while (end != lines.end() && end->starts_with('|')) ++end;
  if (std::vector<std::string>(begin, end) == table) return;
  strata::require(write, page, " has another table than this program makes below '", table.front(),
                  "': build the target cuda_kernel_tables to write it again");
  lines.insert(lines.erase(begin, end), table.begin(), table.end());
  write_lines(page, lines);
}
