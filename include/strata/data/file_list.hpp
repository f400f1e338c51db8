// The files that a user names: a file, a folder, a pattern such as "books/*.txt", or a list of such names in a file.
#pragma once

#include <algorithm>
#include <filesystem>
#include <glob.h>
#include <map>
#include <string>
#include <string_view>
#include <sys/stat.h>
#include <utility>
#include <vector>

#include <strata/core/error.hpp>
#include <strata/io/file.hpp>

namespace strata::inline STRATA_ABI {

namespace detail {

/// Adds the files of a folder and of its folders, by name. Names that begin with a dot are left out.
inline void add_folder(const std::filesystem::path& folder, std::vector<std::filesystem::path>& files) {
  std::error_code problem;
  std::vector<std::filesystem::path> entries;
  for (std::filesystem::directory_iterator entry(folder, problem), end; !problem && entry != end;
       entry.increment(problem))
    if (!entry->path().filename().string().starts_with('.')) entries.push_back(entry->path());
  if (problem) fail("cannot read the folder ", folder, ": ", problem.message());
  std::ranges::sort(entries);
  for (const auto& each : entries) {
    if (std::filesystem::is_directory(each, problem))
      // A link to a folder may lead back here.
      problem.clear(), std::filesystem::is_symlink(each) ? void() : add_folder(each, files);
    else if (std::filesystem::is_regular_file(each, problem))
      files.push_back(each);
  }
}

inline void add_pattern(const std::string& pattern, std::vector<std::filesystem::path>& files) {
  glob_t found{};
  const int code = ::glob(pattern.c_str(), 0, nullptr, &found);
  std::vector<std::filesystem::path> matches(found.gl_pathv, found.gl_pathv + (code == 0 ? found.gl_pathc : 0));
  ::globfree(&found);
  require(code == 0 || code == GLOB_NOMATCH, "cannot look for files named \"", pattern, "\"");
  const std::size_t before = files.size();
  for (const auto& each : matches) {
    std::error_code ignored;
    if (std::filesystem::is_directory(each, ignored))
      add_folder(each, files);
    else
      files.push_back(each);
  }
  require(files.size() > before, "no file matches \"", pattern, "\"");
}

}  // namespace detail

/// Throws if two of these are the same file.
inline void require_different_files(const std::vector<std::filesystem::path>& files) {
  std::map<std::pair<dev_t, ino_t>, std::filesystem::path> known;
  for (const auto& each : files) {
    struct stat status {};
    if (::stat(each.c_str(), &status) != 0) detail::fail_on_file("read", each, errno);
    const auto [other, first] = known.emplace(std::pair(status.st_dev, status.st_ino), each);
    if (!first && S_ISREG(status.st_mode))
      fail(each == other->second ? to_text(each, " is given twice")
                                 : to_text(other->second, " and ", each, " are the same file"));
  }
}

/// The files that `names` stand for, in this order. A name is that of a file or of a folder with files, a pattern with *,
/// ? or [..], or @ and the name of a file with one name a line. Two names of one file are an error, and so is a name
/// without a file.
inline std::vector<std::filesystem::path> list_files(const std::vector<std::string>& names) {
  std::vector<std::filesystem::path> files;
  const auto add = [&](const std::string& name) {
    std::error_code ignored;
    const std::filesystem::path path(name);
    const std::size_t before = files.size();
    if (std::filesystem::is_directory(path, ignored)) {
      detail::add_folder(path, files);
      require(files.size() > before, "the folder ", path, " has no files");
    } else if (!std::filesystem::exists(path, ignored) && name.find_first_of("*?[") != std::string::npos) {
      detail::add_pattern(name, files);
    } else {
      files.push_back(path);
    }
  };
  for (const std::string& name : names) {
    require(!name.empty(), "the name of a text must not be empty");
    if (name.front() != '@') {
      add(name);
      continue;
    }
    const std::filesystem::path list(name.substr(1));
    const buffer<std::byte> bytes = read_file(list);
    std::string_view rest(reinterpret_cast<const char*>(bytes.data()), static_cast<std::size_t>(bytes.size()));
    const std::size_t before = files.size();
    while (!rest.empty()) {
      const std::size_t end = std::min(rest.find('\n'), rest.size());
      std::string line(rest.substr(0, end));
      rest.remove_prefix(std::min(end + 1, rest.size()));
      if (line.ends_with('\r')) line.pop_back();
      if (!line.empty()) add(line);
    }
    require(files.size() > before, "the list of files ", list, " is empty");
  }
  require_different_files(files);
  return files;
}

}  // namespace strata
