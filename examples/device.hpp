// Where a program computes. A device is a class with the same members in cpu_device.hpp and cuda_device.hpp.
#pragma once

#include <iostream>
#include <map>
#include <string>

#include <strata/core/error.hpp>

namespace examples {

#if STRATA_HAS_CUDA
inline constexpr bool has_cuda = true;
#else
inline constexpr bool has_cuda = false;
#endif

struct device_options {
  std::string name = "cpu", products = "automatic", precision = "float32";
  int threads = 0;
};

/// Prints a backend's message, such as that it lacks the precision asked for.
inline void print_note(const std::string& message) {
  if (!message.empty()) std::cerr << "note: " << message << '\n';
}

/// The value called `asked`. The error names `option` and `device`.
template <class Value>
Value named(const std::map<std::string, Value>& values, const std::string& asked, const char* option,
            const char* device) {
  const auto found = values.find(asked);
  if (found != values.end()) return found->second;
  std::string names;
  for (const auto& [name, value] : values) names += ' ' + name;
  strata::fail("--device ", device, " has no ", option, " ", asked, "; it has:", names);
}

}  // namespace examples
