// How operations launch their kernels.
#pragma once

#include <algorithm>
#include <map>
#include <string>

namespace kernels {

/// The maxima over all launches of a kernel.
struct launch_size {
  unsigned threads = 0;          ///< a block
  unsigned long long bytes = 0;  ///< of dynamic shared memory, a block
};

/// The mangled name `_ZN..` in readable form, without our namespaces and parameters; empty for other kernels.
std::string readable_name(const char* mangled);

/// By readable name: launches while small models train and generate on the CPU, and attention meets all head widths.
std::map<std::string, launch_size> launches_of_all_kernels();

}  // namespace kernels
