// How operations launch their kernels.
#pragma once

#include <algorithm>
#include <map>
#include <string>

namespace kernels {

/// The most that any launch of a kernel had.
struct launch_size {
  unsigned threads = 0;          ///< a block
  unsigned long long bytes = 0;  ///< of dynamic shared memory, a block
};

/// `_ZN..` as a person writes it, without namespaces of ours and without parameters; empty where it is no kernel of ours.
std::string readable_name(const char* mangled);

/// By readable name: what is noted while small models train and write on the CPU, and attention meets heads of every width.
std::map<std::string, launch_size> launches_of_all_kernels();

}  // namespace kernels
