// How many processors this process may use: its affinity, limited by the time quota of its control groups.
// Source: sched_getaffinity(2), cgroups(7), proc_pid_mountinfo(5), Linux "Control Group v2", "CFS Bandwidth Control".
#pragma once

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <locale>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <strata/core/platform.hpp>

#if defined(__linux__)
#include <sched.h>
#endif

namespace strata::inline STRATA_ABI {

/// A file of the system: its numbers look the same whatever the program's locale.
inline std::ifstream system_file(const std::filesystem::path& path) {
  std::ifstream file(path);
  file.imbue(std::locale::classic());
  return file;
}

/// The quota of one control group, in processors; infinite if its folder has none.
inline double quota_of_group(const std::filesystem::path& folder) {
  double time = 0, period = 0;
  std::ifstream version_2 = system_file(folder / "cpu.max");  // "150000 100000" or "max 100000"
  if (!(version_2 >> time >> period)) {
    // A quota of -1 is none.
    std::ifstream quota = system_file(folder / "cpu.cfs_quota_us"), of = system_file(folder / "cpu.cfs_period_us");
    if (!(quota >> time) || !(of >> period)) return std::numeric_limits<double>::infinity();
  }
  return time > 0 && period > 0 ? time / period : std::numeric_limits<double>::infinity();
}

/// The least quota along the path of this process's control groups, in processors. `root` is the root folder.
inline double quota_of_processors(const std::filesystem::path& root = "/") {
  double least = std::numeric_limits<double>::infinity();
  std::ifstream groups(root / "proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {  // "4:cpu,cpuacct:/a/b", in version 2 "0::/a/b"
    std::istringstream group(line);
    std::string number, controllers, path;
    std::getline(std::getline(std::getline(group, number, ':'), controllers, ':'), path);
    const bool version_2 = controllers.empty();
    if (!version_2 && (',' + controllers + ',').find(",cpu,") == std::string::npos) continue;

    std::ifstream mounts(root / "proc/self/mountinfo");
    while (std::getline(mounts, line)) {  // "30 23 0:26 <root> <point> <options> .. - <type> <source> <options>"
      std::istringstream mount(line);
      std::string skipped, top, point, type, options;
      mount >> skipped >> skipped >> skipped >> top >> point;
      while (mount >> skipped && skipped != "-") {
      }
      mount >> type >> skipped >> options;
      if (type != (version_2 ? "cgroup2" : "cgroup")) continue;
      if (!version_2 && (',' + options + ',').find(",cpu,") == std::string::npos) continue;

      // A container may see only the end of the path, or nothing.
      std::filesystem::path folder = root / std::filesystem::path(point).relative_path();
      least = std::min(least, quota_of_group(folder));
      for (const std::filesystem::path& name : std::filesystem::path(path).lexically_relative(top)) {
        if (name == "..") break;
        least = std::min(least, quota_of_group(folder /= name));
      }
    }
  }
  return least;
}

/// The processors that the calling thread may run on.
inline int processors_of_affinity() {
#if defined(__linux__)
  for (std::size_t length = 1; length <= 64; length *= 2) {  // each covers 1024 processors
    std::vector<cpu_set_t> sets(length);
    const std::size_t bytes = length * sizeof(cpu_set_t);
    if (sched_getaffinity(0, bytes, sets.data()) == 0) return CPU_COUNT_S(bytes, sets.data());
  }
#endif
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

/// A part of a processor counts as one: two threads use 1.5 processors best.
inline int available_processors() {
  return static_cast<int>(std::min<double>(processors_of_affinity(), std::max(1.0, std::ceil(quota_of_processors()))));
}

}  // namespace strata
